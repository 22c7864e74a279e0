//! What the operator can do about a refused certificate, one sentence for each rule.
//!
//! A remedy must work. It never contains a value that `check` refuses. It never asks for another CA in the
//! trust of a peer, because that CA could then issue certificates for the names of that peer.

use super::identity::CertificateDescription;
use super::refusal::{Claim, Refusal, Rule};
use crate::config::is_peer_name;
use crate::pki::algorithms::ACCEPTED_KEYS;

impl Refusal {
    /// What the site with this certificate can do before any peer refuses it.
    pub(super) fn own_remedy(&self) -> String {
        match &self.rule {
            Rule::SelfSigned { .. } => format!(
                "have it issued by a CA, for example one of your own ({MAKE_CA}), and give the ca.pem to the sites \
                 opposite"
            ),
            Rule::ChainTooLong { .. } => {
                "keep this site's own certificate and its intermediates in the file, and nothing else".into()
            }
            Rule::CaAsLeaf => "issue this site a certificate of its own from that CA".into(),
            Rule::Expired { .. } => "replace it by a renewed one, or correct this machine's clock".into(),
            Rule::NotYetValid { .. } => "correct this machine's clock, or wait".into(),
            Rule::Critical { .. } if self.issuer.is_some() => {
                "have it reissued with that extension not critical, or let the sites opposite trust that CA's \
                 certificate itself"
                    .into()
            }
            Rule::Policy { .. } => {
                "have the certificates of the chain reissued with the policy that the CA requires, or let the \
                 sites opposite trust the CA that issued this site's certificate"
                    .into()
            }
            _ => self.remedy(),
        }
    }

    /// The remedy, as the second half of a sentence.
    pub(super) fn remedy(&self) -> String {
        let certificate = self.certificate.as_deref();
        let blamed = self.issuer.as_deref().or(certificate);
        let issuer_of =
            |one: Option<&CertificateDescription>| one.map_or("", |one| &one.issuer).to_owned();
        match &self.rule {
            Rule::Service { own: None, .. } => {
                "check where the client's target leads, or remove the label from its route".into()
            }
            Rule::Service { own: Some(own), .. } => format!(
                "check where the client's target leads, or write service = \"{own}\" at its route too"
            ),
            Rule::ServiceNotConfirmed { own } => format!(
                "check where the target's address leads, or write service = \"{own}\" at the server's route \
                 too; a server that is not wardgate needs a route without it"
            ),
            Rule::CarriedSource { own: true } => "write carry_source = true at the client's route too; for a \
                 client that is not wardgate, remove it here"
                .into(),
            Rule::CarriedSource { own: false } => {
                "write carry_source = true at this route too, or remove it from the client's route".into()
            }
            Rule::CarriedSourceNotConfirmed => {
                "write carry_source = true at the server's route too; for a server that is not wardgate, remove \
                 it here"
                    .into()
            }
            Rule::NotMutual => "turn on client certificates at the server (wardgate: mode \
                 \"terminate\"; stunnel: verifyPeer or verifyChain; HAProxy: verify required)"
                .into(),
            Rule::Unanswerable => {
                "let the server accept the signatures of our key, or use a key of another kind"
                    .into()
            }
            Rule::ChainTooLong { .. } => {
                "let the peer send its own certificate and its intermediates only".into()
            }
            Rule::TooLarge { .. } => {
                "have the certificate reissued with fewer names and extensions".into()
            }
            Rule::Unreadable { .. } | Rule::Path { .. } | Rule::NotACa => {
                "have the certificate reissued in accordance with RFC 5280".into()
            }
            Rule::Key { .. } => format!("have it reissued for a key of {ACCEPTED_KEYS}"),
            Rule::AnchorKey { .. } => format!("replace the CA by one with {ACCEPTED_KEYS}"),
            Rule::Signature { .. } => "have it reissued with SHA-256 or SHA-384".into(),
            Rule::SaltLength { .. } => {
                "have it reissued with a salt as long as the hash, or with RSA PKCS #1 v1.5 or ECDSA \
                 (OpenSSL: -sigopt rsa_pss_saltlen:digest)"
                    .into()
            }
            Rule::CaAsLeaf => "issue the peer a certificate of its own from that CA".into(),
            Rule::UnknownIssuer {
                top,
                is_presented,
                claim,
            } => match claim {
                Some(claim) => other_authority_of_peer(top, *is_presented, claim),
                None => unknown_issuer(top, *is_presented),
            },
            Rule::SelfSigned { claim } => self_signed(claim.as_deref()),
            Rule::OtherKey { trust } => format!(
                "if the CA was replaced under its old name, compare the fingerprint of its new \
                 certificate with its owner and put it beside the old one into {trust:?}"
            ),
            Rule::Expired { .. } => "let the peer install a renewed certificate, or, if its certificate is \
                 current, correct this machine's clock"
                .into(),
            Rule::NotYetValid { .. } => "compare the clocks of both ends".into(),
            Rule::AnchorExpired { trust, .. } => {
                format!("put the CA's renewed certificate into {trust:?}")
            }
            Rule::Revoked => "let the peer have a new certificate; a revoked one stays so".into(),
            Rule::ListExpired { .. } => {
                "put the CA's current list into the peer's crl".into()
            }
            Rule::ListMissing | Rule::ListOfOtherKey | Rule::ListOutOfScope { .. } => format!(
                "put the list of \"{}\" into the peer's crl, then run `wardgate reload`",
                issuer_of(blamed)
            ),
            Rule::ListUnusable { .. } => {
                "fetch the list again from its CA, and replace the file in the peer's crl".into()
            }
            Rule::Purpose => "have it reissued with serverAuth and clientAuth".into(),
            Rule::PathLength => "let a CA issue it that may have no further CA between, or have that \
                 CA's certificate reissued with a larger path length"
                .into(),
            Rule::Critical { .. } => match self.issuer {
                Some(_) => "put that CA's certificate itself into the trust of the peer's [[peer]] table, \
                     or have it reissued with that extension not critical"
                    .into(),
                None => "have it reissued without that extension, or with it not critical".into(),
            },
            Rule::NameConstraint { .. } => {
                "have it issued with a name that the CA may issue certificates for, or by another CA".into()
            }
            Rule::Policy { .. } => "have the certificates of the chain reissued with the policy that \
                 the CA requires, or put the certificate of the CA that issued the peer's certificate \
                 into the trust of the peer's [[peer]] table"
                .into(),
            Rule::NotListed { table, .. } => match certificate {
                Some(certificate) => not_listed(certificate, table.as_deref()),
                None => "list the peer".into(),
            },
            Rule::OtherAuthority { peer, trust, .. } => {
                let whose = match peer {
                    Some(peer) => format!(" of [[peer]] \"{peer}\""),
                    None => String::new(),
                };
                format!(
                    "only the CAs{whose} in \"{trust}\" may; where the peer has changed its CA, compare the \
                     new CA certificate with its owner before you put it there"
                )
            }
            Rule::NotExpected { .. } => {
                "check where the target's address leads, or name this peer for the target".into()
            }
            Rule::NotProved { .. } => {
                "check whether key and certificate of the peer belong together".into()
            }
        }
    }
}

/// A listed peer presents a certificate of a CA that is not in its trust.
fn other_authority_of_peer(top: &str, is_presented: bool, claim: &Claim) -> String {
    let Claim {
        trust, authorities, ..
    } = claim;
    let bearer = bearer(claim);
    let intermediate = match is_presented {
        true => String::new(),
        false => format!(
            "; if \"{top}\" is an intermediate CA, let the peer append that CA's certificate to its certificate file"
        ),
    };
    format!(
        "it {bearer}, whose trust {trust:?} holds another CA ({authorities}): if that file is the wrong one or out of \
         date, fetch ca.pem from that site again, and compare its fingerprint (`wardgate pki show`) with that site by \
         telephone before you put it there{intermediate}"
    )
}

fn bearer(claim: &Claim) -> String {
    let identity = &claim.identity;
    match &claim.peer {
        Some(peer) => format!("bears \"{identity}\" of [[peer]] \"{peer}\""),
        None => format!("bears \"{identity}\" of this route's peers"),
    }
}

/// Which CA should issue it, and where the certificate of that CA belongs.
fn self_signed(claim: Option<&Claim>) -> String {
    let (whose, place) = match claim {
        Some(claim) => (
            format!("it {}; ", bearer(claim)),
            format!("{:?}", claim.trust),
        ),
        None => (
            String::new(),
            "the trust of a [[peer]] table for it".to_owned(),
        ),
    };
    format!(
        "{whose}let that site issue its certificate from a CA (wardgate: {MAKE_CA}) and give you the ca.pem for {place}; \
         compare its fingerprint by telephone"
    )
}

const MAKE_CA: &str = "`wardgate pki init` and `wardgate pki issue`";

/// Two causes look the same: an intermediate that was not sent, and an unknown CA.
fn unknown_issuer(top: &str, is_presented: bool) -> String {
    let table = "compare its fingerprint with its owner, then write a [[peer]] table of that partner with \
                 its identity and this CA; never put it into the trust of another peer";
    match is_presented {
        false => format!(
            "if \"{top}\" is an intermediate CA, its certificate is missing in the peer's certificate \
             file: let the peer append it; if it is the CA of a new partner, {table}"
        ),
        true => format!("if it is the CA of a new partner, {table}"),
    }
}

/// The line to add to the configuration: a name if the configuration accepts it, otherwise the key.
fn not_listed(certificate: &CertificateDescription, table: Option<&str>) -> String {
    let place = match table {
        Some(table) => format!("`identity` of [[peer]] \"{table}\""),
        None => "the route's peers".to_owned(),
    };
    // A name that was escaped or shortened for the log would not match.
    let is_whole = |name: &&String| !name.contains('\\') && !name.ends_with("...");
    let mut names = certificate.names.iter().filter(is_whole);
    let name = names.find(|name| is_peer_name(name));
    let key = &certificate.key_sha256;
    match name {
        Some(name) => format!("if this is the right peer, add \"{name}\" to {place}"),
        None if certificate.names.is_empty() => {
            format!("have it reissued with a DNS or URI name, or add \"sha256:{key}\" to {place}")
        }
        None if certificate.names.iter().any(|name| name.contains('*')) => format!(
            "it has wildcard names only, and a wildcard cannot be listed because a peer is one host; if this is the \
             right peer, add \"sha256:{key}\" to {place}"
        ),
        None => format!(
            "no name in it can be listed; if this is the right peer, add \"sha256:{key}\" to {place}"
        ),
    }
}
