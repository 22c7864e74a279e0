//! Constraints of a trust anchor on the hosts of URIs (RFC 5280 section 4.2.1.10).
//!
//! webpki refuses every URI below an anchor with such constraints, whatever they permit. So they are taken out of what
//! webpki reads and judged here. Those of an intermediate CA are left to webpki, which refuses.

use rustls::pki_types::Der;
use webpki::{Cert, VerifiedPath};

use super::der::{Elements, SEQUENCE};
use crate::pki::constraints::{Constraints, Subtree};

/// The constraints of one anchor on URIs.
#[derive(Debug)]
pub(super) struct UriConstraints(Constraints);

/// `permittedSubtrees` and `excludedSubtrees` of NameConstraints.
const PERMITTED: u8 = 0xa0;
const EXCLUDED: u8 = 0xa1;
/// `uniformResourceIdentifier` of GeneralName.
const URI: u8 = 0x86;

impl UriConstraints {
    /// Takes the constraints on URIs out of `all`, the contents of NameConstraints; `None` where there are none. What
    /// cannot be read stays in, for webpki to refuse.
    pub(super) fn take_out_of(all: &mut Der<'static>) -> Option<Self> {
        let mut taken = Constraints::default();
        let mut rest = Vec::new();
        for list in Elements(all) {
            let subtrees = match list.tag {
                PERMITTED => &mut taken.permitted,
                EXCLUDED => &mut taken.excluded,
                _ => return None,
            };
            let mut others = Vec::new();
            for subtree in Elements(list.content) {
                match host(subtree.content).filter(|_| subtree.tag == SEQUENCE) {
                    Some(host) => subtrees.push(Subtree::Uri(host.to_owned())),
                    None => others.extend(element(subtree.tag, subtree.content)?),
                }
            }
            if !others.is_empty() {
                rest.extend(element(list.tag, &others)?);
            }
        }
        if taken.permitted.is_empty() && taken.excluded.is_empty() {
            return None;
        }
        *all = Der::from(rest);
        Some(Self(taken))
    }

    /// Whether every URI of the certificates on `path` is permitted.
    pub(super) fn permit(&self, path: &VerifiedPath<'_>) -> bool {
        let permits = |certificate: &Cert<'_>| {
            let mut uris = certificate.valid_uri_names();
            uris.all(|uri| self.0.permit(&format!("uri:{uri}")))
        };
        permits(path.end_entity()) && path.intermediate_certificates().all(permits)
    }
}

/// The host of a GeneralSubtree that is about URIs and has no other field than its base.
fn host(subtree: &[u8]) -> Option<&str> {
    let mut fields = Elements(subtree);
    let base = fields.next()?;
    let is_alone = fields.0.is_empty();
    let host = std::str::from_utf8(base.content).ok()?;
    (base.tag == URI && is_alone && host.is_ascii()).then_some(host)
}

/// An element of DER; `None` where it is longer than the constraints of a certificate can be.
fn element(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(content.len()).ok()?.to_be_bytes();
    let mut der = vec![tag];
    match length {
        [0, short] if short < 0x80 => der.push(short),
        [0, one] => der.extend([0x81, one]),
        both => der.extend([0x82, both[0], both[1]]),
    }
    der.extend_from_slice(content);
    Some(der)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subtree(tag: u8, base: &[u8]) -> Vec<u8> {
        let base = element(tag, base).expect("short");
        element(SEQUENCE, &base).expect("short")
    }

    #[test]
    fn constraints_on_uris_are_taken_out_and_all_others_stay() {
        const DNS: u8 = 0x82;
        let dns = subtree(DNS, b"gw.a.example");
        let long = subtree(DNS, &[b'a'; 200]);
        let both = [&dns[..], &subtree(URI, b"a.example"), &long].concat();
        let permitted = element(PERMITTED, &both).expect("short");
        let excluded = element(EXCLUDED, &subtree(URI, b".b.example")).expect("short");
        let mut all = Der::from([permitted, excluded].concat());
        let taken = UriConstraints::take_out_of(&mut all).expect("there are some");
        assert_eq!(taken.0.permitted, [Subtree::Uri("a.example".to_owned())]);
        assert_eq!(taken.0.excluded, [Subtree::Uri(".b.example".to_owned())]);
        let rest = element(PERMITTED, &[dns, long].concat()).expect("short");
        assert_eq!(all, Der::from(rest.clone()));
        assert!(UriConstraints::take_out_of(&mut all).is_none());
        assert_eq!(all, Der::from(rest));
    }

    #[test]
    fn what_cannot_be_read_stays_for_webpki_to_refuse() {
        let minimum = [
            &element(URI, b"a.example").expect("short")[..],
            &[0x80, 1, 0],
        ]
        .concat();
        let with_minimum = element(SEQUENCE, &minimum).expect("short");
        for odd in [with_minimum, subtree(URI, b"\xff")] {
            let mut all = Der::from(element(PERMITTED, &odd).expect("short"));
            let before = all.clone();
            assert!(UriConstraints::take_out_of(&mut all).is_none());
            assert_eq!(all, before);
        }
    }
}
