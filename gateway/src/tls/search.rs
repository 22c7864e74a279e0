//! Searches for a path from a peer's chain to a CA of the peer, and decides as which peer it is accepted.
//!
//! webpki builds the path (RFC 5280 section 6) from the normal forms of the certificates (`normal_form`).
//! This module adds the rules that webpki does not have: the length of the chain, the leaf's own key,
//! policies, constraints on URIs and directory names, the anchors' expiry, the identity, and which CA may
//! issue certificates for it.
//!
//! The search uses only the anchors of those peers whose identities the leaf bears, so its cost does not
//! grow with the number of peers. A path counts only if it ends at an anchor of such a peer.

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;

use rustls::pki_types::UnixTime;
use webpki::{EndEntityCert, VerifiedPath};

use super::anchors::{AnchorFacts, Selection};
use super::chain::{self, Checks};
use super::der::Layout;
use super::diagnosis;
use super::identity::{PeerInfo, Proved};
use super::normal_form::{Certificate, NormalChain, Signed};
use super::policies;
use super::refusal::{Refusal, Rule};
use super::rules::{Chain, PeerRules};
use super::text::list;
use super::verified_peer::{PathCertificates, VerifiedPeer};
use crate::pki::algorithms::{KeyUse, PublicKeyInfo};
use crate::pki::crl::{KeyHash, key_hash, may_sign_certificates};
use crate::pki::limits::CHAIN_CERTIFICATES_MAX;
use crate::tls::limits::{ANCHORS_OF_OTHERS_MAX, FAILED_CHECKS_MAX, NAME_COMPARISONS_MAX};

impl PeerRules {
    /// Finds out to which peer a chain belongs, or why it is refused. The result does not count before the
    /// peer has proved its key and `VerifiedPeer::check_revocation` has passed.
    pub(super) fn judge(&self, chain: Chain<'_>) -> Result<VerifiedPeer, Refusal> {
        let refuse = |rule| Refusal::new(chain.side, chain.leaf, rule);
        if chain.intermediates.len() >= CHAIN_CERTIFICATES_MAX {
            return Err(refuse(Rule::ChainTooLong {
                presented: chain.intermediates.len() + 1,
            }));
        }
        self.check_size(chain)?;
        let normal = NormalChain::new(chain.leaf, chain.intermediates);
        let above = normal.above();
        let intermediates = chain::cut(normal.leaf(), &above, self.anchors_at(chain.now));
        let chain = Chain {
            intermediates: &intermediates,
            ..chain
        };
        let leaf = EndEntityCert::try_from(normal.leaf())
            .map_err(|cause| refuse(diagnosis::unreadable(normal.leaf(), &cause)))?;
        let key = PublicKeyInfo::of_spki(&leaf.subject_public_key_info());
        if let Some(fault) = key.fault(KeyUse::Peer) {
            let fault = fault.to_string();
            return Err(refuse(Rule::Key { fault }));
        }
        self.find_path(&leaf, &normal, chain)
    }

    /// Refuses a certificate that is too large before anything reads it.
    fn check_size(&self, chain: Chain<'_>) -> Result<(), Refusal> {
        let presented = std::iter::once(chain.leaf).chain(chain.intermediates);
        for (index, certificate) in presented.enumerate() {
            if let Some(fault) = chain::size_fault(certificate) {
                let refusal = Refusal::new(chain.side, chain.leaf, Rule::TooLarge { fault });
                return Err(match index {
                    0 => refusal,
                    _ => refusal.because_of(certificate),
                });
            }
        }
        Ok(())
    }

    fn anchors_at(&self, now: UnixTime) -> impl Iterator<Item = chain::Anchor<'_>> + Clone {
        let anchors = self.anchors.iter().zip(&self.anchor_facts);
        anchors.map(move |(anchor, facts)| chain::Anchor {
            anchor,
            // If an anchor may not issue certificates for every peer, a path may have to continue beyond
            // it.
            in_force: !facts.is_past(now) && facts.may_issue_for_all(self.groups.len()),
        })
    }

    fn find_path(
        &self,
        leaf: &EndEntityCert<'_>,
        normal: &NormalChain<'_>,
        chain: Chain<'_>,
    ) -> Result<VerifiedPeer, Refusal> {
        let search = Search {
            rules: self,
            leaf,
            normal,
            chain,
            proved: OnceCell::new(),
            key: OnceCell::new(),
            found: Cell::new(None),
            expired: Cell::new(None),
            other_authority: Cell::new(None),
            unlisted: Cell::new(None),
            comparisons: Cell::new(NAME_COMPARISONS_MAX),
            broken: RefCell::new(None),
        };
        let checks = Checks::default();
        let counted = checks.counted(self.algorithms.all);
        let signed: Vec<_> = counted
            .iter()
            .map(|algorithm| Signed {
                chain: normal,
                algorithm,
            })
            .collect();
        let algorithms: Vec<_> = signed.iter().map(|algorithm| algorithm as _).collect();
        let mut error = webpki::Error::UnknownIssuer;
        for anchors in &search.anchors() {
            let path = leaf.verify_for_usage(
                &algorithms,
                anchors.all(),
                chain.intermediates,
                chain.now,
                chain.side.purpose(),
                // Revocation is checked after the peer has proved its key.
                None,
                Some(&|path: &VerifiedPath<'_>| search.judge(path, anchors)),
            );
            match path {
                Ok(path) => return search.accept(&path),
                Err(failed) if error == webpki::Error::UnknownIssuer => error = failed,
                Err(_) => {}
            }
        }
        Err(search.explain(&error))
    }
}

/// The search for a path by which the leaf is one of the peers.
struct Search<'a> {
    rules: &'a PeerRules,
    leaf: &'a EndEntityCert<'a>,
    normal: &'a NormalChain<'a>,
    // Its intermediates are in their normal form.
    chain: Chain<'a>,
    // Read before any signature is checked: a certificate has at most `CERTIFICATE_ELEMENTS_MAX` elements.
    proved: OnceCell<Vec<Proved>>,
    key: OnceCell<KeyHash>,
    // The peer, and the anchor that may issue certificates for it.
    found: Cell<Option<(usize, usize)>>,
    // notAfter of an expired anchor that may issue certificates for the peer, and its index.
    expired: Cell<Option<(i64, usize)>>,
    // An anchor that certified a name for which it may not issue certificates.
    other_authority: Cell<Option<usize>>,
    // An anchor that certified a certificate without any listed identity.
    unlisted: Cell<Option<usize>>,
    // How many more comparisons of a name with a constraint are allowed.
    comparisons: Cell<usize>,
    // The rule that a path broke although webpki had found it good.
    broken: RefCell<Option<Refusal>>,
}

impl<'a> Search<'a> {
    /// The anchors of each search, in the order of the searches. The first search uses the anchors that may
    /// issue certificates for an identity of the leaf, so its cost does not depend on the number of peers.
    /// The other searches only find the reason of the refusal, so a few anchors suffice.
    fn anchors(&self) -> Vec<Selection<'a>> {
        let rules = self.rules;
        let issuers = self.issuers();
        let mut named: Vec<usize> = (0..rules.anchors.len()).collect();
        named.retain(|index| {
            let anchor = rules.anchors.get(*index);
            anchor.is_some_and(|anchor| issuers.contains(&anchor.subject.as_ref()))
        });
        let candidates = self.candidates();
        let (mut issuing, mut others): (Vec<_>, Vec<_>) = named.into_iter().partition(|index| {
            let facts = rules.anchor_facts.get(*index);
            facts.is_some_and(|facts| candidates.iter().any(|peer| facts.may_issue_for(*peer)))
        });
        // LIMIT: `FAILED_CHECKS_MAX`; beyond it no check is computed. webpki ends its search after 100.
        issuing.truncate(FAILED_CHECKS_MAX);
        // LIMIT: `ANCHORS_OF_OTHERS_MAX`.
        others.truncate(ANCHORS_OF_OTHERS_MAX);
        let others = Some(others).filter(|others| !others.is_empty());
        let all = std::iter::once(issuing).chain(others);
        all.map(|numbers| Selection::new(&rules.anchors, numbers))
            .collect()
    }

    /// The names of the issuers of all presented certificates.
    fn issuers(&self) -> Vec<&[u8]> {
        let above = self
            .chain
            .intermediates
            .iter()
            .filter_map(|der| Layout::of(der));
        let above = above.map(|layout| layout.issuer);
        std::iter::once(self.leaf.issuer()).chain(above).collect()
    }

    /// Checks a path whose signatures, dates and constraints are good. After an error the search continues.
    fn judge(&self, path: &VerifiedPath<'_>, anchors: &Selection<'_>) -> Result<(), webpki::Error> {
        let refused = Err(webpki::Error::UnknownIssuer);
        let index = anchors.number_of(path.anchor());
        let facts = index.and_then(|index| self.rules.anchor_facts.get(index));
        let (Some(index), Some(facts)) = (index, facts) else {
            return refused;
        };
        if let Err(refusal) = self.check_beyond_webpki(path, facts) {
            self.broken.replace(Some(refusal));
            return refused;
        }
        let candidates = self.candidates();
        let issuing_group = candidates
            .iter()
            .copied()
            .find(|group| facts.may_issue_for(*group));
        if issuing_group.is_none() && !candidates.is_empty() {
            self.other_authority.set(Some(index));
            return refused;
        }
        // webpki uses only an anchor's key and name (RFC 5280 section 6.1.1 allows that). An operator
        // expects a CA to be rejected after it has expired.
        if facts.is_past(self.chain.now) {
            self.expired.set(Some((facts.not_after, index)));
            return refused;
        }
        // A certificate without any listed identity is refused by `accept`, whatever other paths there are.
        self.unlisted.set(Some(index));
        self.found.set(issuing_group.map(|group| (group, index)));
        Ok(())
    }

    /// Checks the rules that webpki does not know, on the original certificates of a path.
    fn check_beyond_webpki(
        &self,
        path: &VerifiedPath<'_>,
        anchor: &AnchorFacts,
    ) -> Result<(), Refusal> {
        let refuse = |rule| Refusal::new(self.chain.side, self.chain.leaf, rule);
        let above = path.intermediate_certificates().rev();
        let downwards: Option<Vec<_>> = above
            .map(|certificate| self.normal.find(&certificate.der()))
            .chain([self.normal.find(&path.end_entity().der())])
            .collect();
        let Some(downwards) = downwards else {
            let cause = "a certificate of it was not presented".to_owned();
            return Err(refuse(Rule::Path { cause }));
        };
        let blame = |rule, index: usize| {
            let is_leaf = index + 1 == downwards.len();
            let issuer = downwards.get(index).filter(|_| !is_leaf);
            match issuer {
                Some(issuer) => refuse(rule).because_of(issuer.original()),
                None => refuse(rule),
            }
        };
        let issuers = downwards
            .split_last()
            .map_or(&[][..], |(_, issuers)| issuers);
        let may_sign = |one: &&Certificate<'_>| may_sign_certificates(one.original());
        if let Some(index) = issuers.iter().position(|issuer| !may_sign(issuer)) {
            let cause =
                "its key usage does not allow it to sign certificates (keyCertSign)".to_owned();
            return Err(blame(Rule::Path { cause }, index));
        }
        let policies: Vec<_> = downwards
            .iter()
            .map(|one| (one.original().as_ref(), one.is_self_issued()))
            .collect();
        policies::process(&policies)
            .map_err(|(index, fault)| blame(Rule::Policy { fault }, index))?;
        let mut constraints: Vec<_> = anchor.constraints.iter().collect();
        for (index, certificate) in downwards.iter().enumerate() {
            let is_exempt = certificate.is_self_issued() && index + 1 < downwards.len();
            let der = certificate.original();
            if let Some(broken) = constraints
                .iter()
                .find(|one| !one.permit(der, is_exempt, &self.comparisons))
            {
                let constraints = broken.to_string();
                return Err(blame(Rule::NameConstraint { constraints }, index));
            }
            constraints.extend(certificate.constraints.iter());
        }
        Ok(())
    }

    /// The hash of the leaf's key.
    fn key(&self) -> &KeyHash {
        self.key
            .get_or_init(|| key_hash(&self.leaf.subject_public_key_info()))
    }

    /// The listed identities that the leaf bears.
    fn proved(&self) -> &[Proved] {
        self.proved.get_or_init(|| {
            let (leaf, key) = (self.leaf, self.key());
            self.rules.peers.proved(leaf, key, self.chain.expected)
        })
    }

    /// The peers whose identities the leaf bears, in the order of the configuration: the expected ones, or
    /// all if none of them is expected.
    fn candidates(&self) -> Vec<usize> {
        let proved = self.proved();
        let any_expected = proved.iter().any(|proved| proved.is_expected);
        let mut groups: Vec<_> = proved
            .iter()
            .filter(|proved| proved.is_expected || !any_expected)
            .map(|proved| proved.group)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Accepts the peer that `judge` has found.
    fn accept(&self, path: &VerifiedPath<'_>) -> Result<VerifiedPeer, Refusal> {
        let refuse = |rule| Refusal::new(self.chain.side, self.chain.leaf, rule);
        let not_listed = || {
            let anchor = self.unlisted.get();
            let facts = anchor.and_then(|anchor| self.rules.anchor_facts.get(anchor));
            // If the anchor may issue certificates for several peers, the peer cannot be determined.
            let facts = facts.filter(|facts| facts.is_of_one_peer());
            let group = facts.and_then(|facts| self.rules.group_of(facts));
            refuse(Rule::NotListed {
                peers: self.rules.peers.shown().to_owned(),
                table: group.and_then(|group| group.peer.name.clone()),
            })
        };
        let (number, anchor) = self.found.get().ok_or_else(not_listed)?;
        let facts = self.rules.anchor_facts.get(anchor).ok_or_else(not_listed)?;
        let group = self.rules.groups.get(number).ok_or_else(not_listed)?;
        let of_group = || self.proved().iter().filter(|proved| proved.group == number);
        let first = of_group()
            .find(|proved| proved.is_expected)
            .or_else(|| of_group().next())
            .ok_or_else(not_listed)?;
        if let Some(target) = self.chain.expected
            && !first.is_expected
        {
            let expected = target.expected.as_deref().unwrap_or_default();
            return Err(refuse(Rule::NotExpected {
                target: target.to_string(),
                identity: first.name.to_string(),
                expected: list(expected.iter().map(ToString::to_string)),
            }));
        }
        let further = of_group().filter(|proved| proved.name != first.name);
        let has_lists = !group.trust.crls.is_empty();
        let certificates = PathCertificates::new(path, self.normal, facts.key, has_lists);
        let certificates = certificates.ok_or_else(not_listed)?;
        let info = PeerInfo::new(
            self.leaf,
            self.key(),
            first.name.to_string(),
            further.map(|proved| proved.name.to_string()).collect(),
            certificates.kept,
        );
        let trust = Arc::clone(&group.trust);
        Ok(VerifiedPeer::new(
            info,
            trust,
            certificates.looked_up,
            self.chain.now,
        ))
    }

    /// Why no path was found.
    fn explain(&self, error: &webpki::Error) -> Refusal {
        let refuse = |rule| Refusal::new(self.chain.side, self.chain.leaf, rule);
        // A path that only its anchor made invalid explains more than the errors of other paths.
        if let Some((not_after, anchor)) = self.expired.get() {
            let trust = self.rules.trust_file(anchor);
            return refuse(Rule::AnchorExpired { trust, not_after });
        }
        if let Some(refusal) = self.broken.take() {
            return refusal;
        }
        let facts = self.other_authority.get();
        let facts = facts.and_then(|anchor| self.rules.anchor_facts.get(anchor));
        let claimed = self.candidates().first().copied();
        let claimed = claimed.and_then(|claimed| {
            let name = self
                .proved()
                .iter()
                .find(|proved| proved.group == claimed)?;
            Some((name, self.rules.groups.get(claimed)?))
        });
        match (facts, claimed) {
            (Some(facts), Some((proved, group))) => refuse(Rule::OtherAuthority {
                authority: facts.subject.clone(),
                identity: proved.name.to_string(),
                peer: group.peer.name.clone(),
                trust: group.peer.trust.trust.value.display().to_string(),
            }),
            _ => self
                .rules
                .diagnose(error, self.leaf, self.normal, self.chain),
        }
    }
}
