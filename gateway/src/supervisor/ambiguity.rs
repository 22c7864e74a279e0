//! Refuses trust configurations in which several CAs could issue a certificate for the same peer.
//!
//! A CA can issue a certificate for any name. If a route lists identities itself, every CA in its trust file
//! can issue for each of them. That is safe with one CA, or if only keys are listed. CAs with the same
//! subject name count as one, because a CA that renews its key keeps its name. For the same reason several
//! `[[peer]]` tables may share one CA, which then issues for all of them, but not a file that holds the CAs
//! of several partners.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::path::Path as FilePath;
use std::sync::Arc;

use crate::config::limits::ROUTE_NAME_BYTES_MAX;
use crate::config::{Peer, PeerName, Problem, RouteConfig, TrustFiles};
use crate::pki::Trust;

/// The routes with the same trust files that list identities themselves.
pub(super) struct Listing<'r> {
    files: Arc<TrustFiles>,
    trust: Arc<Trust>,
    routes: Vec<(&'r RouteConfig, Arc<Peer>)>,
}

/// All listings of a configuration.
#[derive(Default)]
pub(super) struct Listings<'r> {
    all: Vec<Listing<'r>>,
    tables: Vec<PeerAuthorities>,
}

/// A `[[peer]]` table, and the names and keys of the CAs in its trust file.
struct PeerAuthorities {
    peer: Arc<Peer>,
    authorities: BTreeMap<String, BTreeSet<[u8; 32]>>,
}

/// Two tables with a CA that may issue certificates for both peers.
enum Overlap<'a> {
    /// Both trust the same CAs, more than one: a file of all CAs is named in each table.
    Same(&'a PeerAuthorities, &'a PeerAuthorities),
    /// Both trust this CA, and at least one of them trusts others as well.
    Partly(&'a PeerAuthorities, &'a PeerAuthorities, &'a str),
}

impl<'r> Listings<'r> {
    /// Records a peer of a route and its loaded trust file.
    pub(super) fn note(&mut self, route: &'r RouteConfig, peer: &Arc<Peer>, trust: &Arc<Trust>) {
        if peer.name.is_some() {
            if !self
                .tables
                .iter()
                .any(|table| Arc::ptr_eq(&table.peer, peer))
            {
                self.tables.push(PeerAuthorities {
                    peer: Arc::clone(peer),
                    authorities: trust.keys(),
                });
            }
            return;
        }
        let entry = (route, Arc::clone(peer));
        let mut known = self.all.iter_mut();
        match known.find(|listing| Arc::ptr_eq(&listing.trust, trust)) {
            Some(listing) => listing.routes.push(entry),
            None => self.all.push(Listing {
                files: Arc::clone(&peer.trust),
                trust: Arc::clone(trust),
                routes: vec![entry],
            }),
        }
    }

    /// Returns the problems. `named` are the tables of the configuration.
    pub(super) fn problems(&self, named: &[Arc<Peer>]) -> Vec<Problem> {
        let taken = named.iter().flat_map(|peer| peer.name.clone()).collect();
        let of_routes = self
            .all
            .iter()
            .filter_map(|listing| listing.problem(&taken));
        let of_tables = self.overlaps().filter_map(|overlap| overlap.problem());
        of_routes.chain(of_tables).collect()
    }

    /// Returns remarks for the operator about the trust files of the tables.
    pub(super) fn remarks(&self) -> Vec<String> {
        self.overlaps()
            .filter_map(|overlap| overlap.remark())
            .collect()
    }

    /// Returns at most one overlap per table: with the first other table that shares a CA.
    fn overlaps(&self) -> impl Iterator<Item = Overlap<'_>> {
        let tables = self.tables.iter().enumerate();
        tables.filter_map(|(number, table)| {
            let earlier = self.tables.iter().take(number);
            earlier.filter_map(|first| Overlap::of(first, table)).next()
        })
    }
}

impl PeerAuthorities {
    fn name(&self) -> &str {
        self.peer.name.as_deref().unwrap_or_default()
    }
}

impl<'a> Overlap<'a> {
    fn of(first: &'a PeerAuthorities, second: &'a PeerAuthorities) -> Option<Self> {
        // A CA with the name of another one and a key of its own can issue nothing for the other's peer: whoever names
        // his CAs like those of another peer must not make the configuration invalid.
        let is_shared = |(name, keys): &(&String, &BTreeSet<_>)| {
            let others = second.authorities.get(*name);
            others.is_some_and(|others| !keys.is_disjoint(others))
        };
        let mut common = first.authorities.iter().filter(is_shared);
        let (shared, _) = common.next()?;
        let common = common.count().saturating_add(1);
        let is_one = |table: &PeerAuthorities| table.authorities.len() < 2;
        // One CA that serves both peers is allowed.
        if is_one(first) && is_one(second) {
            return None;
        }
        let all = [first, second].map(|table| table.authorities.len());
        Some(match all == [common; 2] {
            true => Self::Same(first, second),
            false => Self::Partly(first, second, shared),
        })
    }

    fn problem(&self) -> Option<Problem> {
        let Self::Same(first, second) = self else {
            return None;
        };
        let names: Vec<_> = first
            .authorities
            .keys()
            .map(|name| format!("{name:?}"))
            .collect();
        Some(Problem {
            line: Some(second.peer.trust.trust.line),
            text: format!(
                "peer \"{}\": trust {:?} holds CAs of {} names ({}), and peer \"{}\" trusts the same CAs. \
                 Each of these CAs could issue a certificate for either peer. Give each [[peer]] table a file \
                 that holds its own CA alone",
                second.name(),
                second.peer.trust.trust.value.display().to_string(),
                names.len(),
                names.join(", "),
                first.name(),
            ),
        })
    }

    fn remark(&self) -> Option<String> {
        let Self::Partly(first, second, shared) = self else {
            return None;
        };
        Some(format!(
            "peer \"{}\": its trust and that of peer \"{}\" both hold CA \"{shared}\", which could issue a \
             certificate for either peer; if this CA serves only one of them, remove it from the other's file",
            second.name(),
            first.name(),
        ))
    }
}

impl Listing<'_> {
    fn problem(&self, taken: &HashSet<String>) -> Option<Problem> {
        let subjects = self.trust.subjects();
        let listed: Vec<&PeerName> = self.names().collect();
        if subjects.len() < 2 || listed.is_empty() {
            return None;
        }
        let file = self.files.trust.value.display().to_string();
        let subjects: Vec<_> = subjects.iter().map(|name| format!("{name:?}")).collect();
        let tables = self.tables(&listed, taken);
        Some(Problem {
            line: Some(self.files.trust.line),
            text: format!(
                "trust {file:?} holds CAs of {} names ({}). Each of them could issue a certificate for \
                 any peer that a route lists by \"dns:\" or \"uri:\". Write a [[peer]] table for each peer, \
                 with a file that holds its own CA alone, and list the tables' names:\n\n{tables}",
                subjects.len(),
                subjects.join(", ")
            ),
        })
    }

    /// The listed names that a CA certifies, without duplicates, in the order of the file. A CA does not
    /// certify a key fingerprint.
    fn names(&self) -> impl Iterator<Item = &PeerName> {
        let mut seen = HashSet::new();
        let all = self.routes.iter().flat_map(|(_, peer)| &peer.identities);
        all.filter(move |name| !matches!(name, PeerName::Sha256(_)) && seen.insert(*name))
    }

    /// The configuration text to write instead: a table for each name, and the `peers` lists of the routes.
    /// Its length is bounded by the lists in the configuration.
    fn tables(&self, listed: &[&PeerName], taken: &HashSet<String>) -> String {
        let folder = self.files.trust.value.parent().unwrap_or(FilePath::new(""));
        let mut names: Vec<String> = Vec::new();
        let mut text = String::new();
        for identity in listed {
            let name = table_name(identity, |name| {
                taken.contains(name) || names.iter().any(|known| known == name)
            });
            let file = |ending: &str| {
                folder
                    .join(format!("{name}-ca.{ending}"))
                    .display()
                    .to_string()
            };
            let _ = write!(
                text,
                "[[peer]]\nname = {name:?}\nidentity = {:?}\ntrust = {:?}\n",
                identity.to_string(),
                file("pem")
            );
            if !self.files.crl.is_empty() {
                let _ = writeln!(text, "crl = [{:?}]", file("crl"));
            }
            text.push('\n');
            names.push(name);
        }
        for (route, peer) in &self.routes {
            let of = |identity: &PeerName| {
                let table = listed.iter().position(|listed| *listed == identity);
                let name = table.and_then(|index| names.get(index).cloned());
                format!("{:?}", name.unwrap_or_else(|| identity.to_string()))
            };
            let tables = route.tls.iter().flat_map(|tls| &tls.peers);
            let tables =
                tables.filter_map(|peer| peer.name.as_ref().map(|name| format!("{name:?}")));
            let peers: Vec<_> = tables.chain(peer.identities.iter().map(of)).collect();
            let _ = writeln!(
                text,
                "# route {:?}\npeers = [{}]",
                route.name,
                peers.join(", ")
            );
        }
        text.truncate(text.trim_end().len());
        text
    }
}

/// A name for the table of a peer, made of the characters of its identity that are allowed there.
fn table_name(identity: &PeerName, is_taken: impl Fn(&str) -> bool) -> String {
    let text = match identity {
        PeerName::Dns(name) => name.as_str(),
        PeerName::Uri(uri) => uri.split_once(':').map_or(uri.as_str(), |(_, rest)| rest),
        PeerName::Sha256(_) => "",
    };
    let is_legal = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let letters = text
        .chars()
        .map(|letter| if is_legal(letter) { letter } else { '-' });
    let mut name: String = letters.collect::<String>().trim_matches('-').to_owned();
    // Leaves room for a number.
    name.truncate(ROUTE_NAME_BYTES_MAX.saturating_sub(6));
    if !name.is_empty() && !is_taken(&name) {
        return name;
    }
    let numbered = |number: usize| {
        format!("{name}-{number}")
            .trim_start_matches('-')
            .to_owned()
    };
    (2..)
        .map(numbered)
        .find(|name| !is_taken(name))
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Located;
    use crate::pki::fixture::Ca;

    fn table(name: &str, authorities: &[&Ca]) -> PeerAuthorities {
        let anchors = authorities.iter().map(|ca| ca.certificate.der().clone());
        PeerAuthorities {
            peer: Arc::new(Peer {
                name: Some(name.to_owned()),
                identities: Vec::new(),
                trust: Arc::new(TrustFiles {
                    trust: Located {
                        value: name.into(),
                        line: 1,
                    },
                    crl: Vec::new(),
                }),
            }),
            authorities: Trust::new(anchors.collect()).keys(),
        }
    }

    #[test]
    fn cas_with_the_names_of_another_peers_cas_do_not_make_the_configuration_invalid() {
        let [one, two, next, like_one, like_two] = ["One", "Two", "One", "One", "Two"].map(Ca::new);
        let region = table("region", &[&one, &two]);
        let overlap = |authorities: &[&Ca]| {
            let other = table("other", authorities);
            let overlap = Overlap::of(&region, &other);
            overlap.map(|overlap| overlap.problem().is_some())
        };
        assert_eq!(overlap(&[&one, &two]), Some(true));
        assert_eq!(overlap(&[&one, &next, &two]), Some(true));
        assert_eq!(overlap(&[&like_one, &like_two]), None);
        assert_eq!(overlap(&[&one, &like_two]), Some(false));
    }

    #[test]
    fn a_table_name_is_made_of_the_allowed_characters_of_the_identity() {
        let dns = |name: &str| PeerName::Dns(name.to_owned());
        let uri = |uri: &str| PeerName::Uri(uri.to_owned());
        let free = |_: &str| false;
        assert_eq!(table_name(&dns("gw.a.example"), free), "gw.a.example");
        let spiffe = uri("spiffe://region.example/gateway");
        assert_eq!(table_name(&spiffe, free), "region.example-gateway");
        assert_eq!(table_name(&uri("urn:nhs:ods:X26"), free), "nhs-ods-X26");
        let taken = |name: &str| ["gw.a.example", "gw.a.example-2"].contains(&name);
        assert_eq!(table_name(&dns("gw.a.example"), taken), "gw.a.example-3");
        let long = table_name(&dns(&"x".repeat(200)), free);
        assert!(long.len() <= ROUTE_NAME_BYTES_MAX);
        assert_eq!(table_name(&uri("x:%%%"), free), "2");
    }
}
