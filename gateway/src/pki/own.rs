//! Whether a route would accept this site itself as its peer.

use super::Identity;
use super::facts::Facts;
use crate::config::PeerName;

impl Identity {
    /// The first of `peers` that this site's own certificate proves.
    ///
    /// A route with such a peer accepts every holder of this site's own key, and this gateway itself if a
    /// connection loops back to it.
    #[must_use]
    pub fn among<'p>(&self, peers: impl IntoIterator<Item = &'p PeerName>) -> Option<&'p PeerName> {
        let own = Facts::of(self.chain.first()?).ok()?;
        let key = own.peer_sha256();
        let is_own = |peer: &&PeerName| match peer {
            PeerName::Dns(_) => {
                let peer = peer.to_string();
                own.names
                    .iter()
                    .any(|name| name.eq_ignore_ascii_case(&peer))
            }
            PeerName::Uri(_) => own.names.contains(&peer.to_string()),
            PeerName::Sha256(_) => peer.to_string() == key,
        };
        peers.into_iter().find(is_own)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::SanType;

    use super::*;
    use crate::config::Mode;
    use crate::pki::fixture::Site;

    #[test]
    fn own_names_and_own_key_are_found_among_peers() {
        let site = Site::new();
        site.leaf(|leaf| {
            leaf.subject_alt_names = vec![
                SanType::DnsName("GW.own.example".try_into().expect("a name")),
                SanType::URI("urn:nhs:ods:X26".try_into().expect("a URI")),
            ];
        });
        let (identity, _) = site.load(Mode::Terminate).expect("it is good");
        let key = Facts::of(&identity.chain[0]).expect("it is good").spki;
        let mut sum = [0; 32];
        sum.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &key).as_ref());
        let other = PeerName::Dns("gw.other.example".to_owned());
        for own in [
            PeerName::Dns("gw.own.example".to_owned()),
            PeerName::Uri("urn:nhs:ods:X26".to_owned()),
            PeerName::Sha256(sum),
        ] {
            let peers = [other.clone(), own.clone()];
            assert_eq!(identity.among(&peers), Some(&own));
        }
        let others = [
            other,
            PeerName::Dns("own.example".to_owned()),
            PeerName::Uri("urn:nhs:ods:x26".to_owned()),
            PeerName::Sha256([7; 32]),
        ];
        assert_eq!(identity.among(&others), None);
    }
}
