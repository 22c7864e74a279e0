//! The requirements for a certificate on a route: pure checks of `Facts`.
//!
//! Each result is a predicate with its remedy (`expired 2026-03-01, ...; renew it ...`): the caller puts
//! the object in front. `algorithms` defines the accepted keys and signatures.
//! puts the object in front. Which keys and signatures are accepted, `algorithms` decides.

use std::path::Path;

use super::algorithms::{KeyFault, KeyUse, SignatureFault};
use super::crl::CrlHead;
use super::expiry::{date, moment};
use super::facts::Facts;
use crate::config::Mode;
use crate::pki::limits::ANCHORS_OF_ONE_NAME_MAX;

const ISSUE: &str = "issue a new one with `wardgate pki issue`";
const ASK: &str = "get a current one from its CA";

/// The files of a site's certificate and key, for the command that renews both.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnFiles<'f> {
    pub(crate) certificate: &'f Path,
    pub(crate) key: &'f Path,
}

/// What is wrong with the certificate in these files, which a site presents on a route of `mode`; `now` in
/// seconds since 1970. Empty if it is valid.
pub(crate) fn leaf(facts: &Facts, files: OwnFiles<'_>, mode: Mode, now: i64) -> Vec<String> {
    let mut problems: Vec<String> = dates(facts, now, &renew(files)).into_iter().collect();
    if facts.ca {
        let subject = &facts.subject;
        problems.push(format!(
            "is a CA certificate ({subject:?}), not that of a site; issue one from it with \
             `wardgate pki issue`"
        ));
    } else if facts.version < 3 {
        problems.push(version(facts, ISSUE));
    } else {
        problems.extend(names(facts));
        problems.extend(usage(facts));
        problems.extend(extended_usage(facts, mode));
    }
    problems.extend(key(facts, KeyUse::Peer, ISSUE));
    problems.extend(weak_signature(facts, ISSUE));
    problems
}

/// What is wrong with a certificate between leaf and root.
pub(crate) fn intermediate(facts: &Facts, now: i64) -> Vec<String> {
    let mut problems: Vec<String> = dates(facts, now, ASK).into_iter().collect();
    problems.extend(authority(facts));
    // A root signs itself, and no verifier checks that signature: a root is trusted because it is
    // configured.
    if !facts.self_issued() {
        problems.extend(weak_signature(facts, ASK));
    }
    problems
}

/// What is wrong with a certificate as a trust anchor, except for its dates, which are checked over all
/// anchors.
pub(crate) fn anchor(facts: &Facts) -> Vec<String> {
    authority(facts)
}

fn authority(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    if facts.version < 3 {
        problems.push(version(facts, ASK));
    } else if !facts.ca {
        problems
            .push("is not a CA certificate; put that of the CA that issued it there".to_owned());
    }
    problems.extend(key(facts, KeyUse::Authority, ASK));
    problems
}

/// Reports that no trust anchor is currently valid; `None` if at least one is.
pub(super) fn anchors_current(anchors: &[&Facts], now: i64) -> Option<String> {
    if anchors
        .iter()
        .any(|ca| ca.not_before <= now && now < ca.not_after)
    {
        return None;
    }
    let coming = anchors.iter().filter(|ca| now < ca.not_before);
    if let Some(first) = coming.min_by_key(|ca| ca.not_before) {
        let (subject, from, clock) = (&first.subject, date(first.not_before), moment(now));
        return Some(format!(
            "holds no CA that is valid today: {subject:?} is valid only from {from}, and this machine's \
             clock says {clock}; correct the clock"
        ));
    }
    let last = anchors.iter().max_by_key(|ca| ca.not_after)?;
    let (subject, ended) = (&last.subject, date(last.not_after));
    Some(format!(
        "holds expired CAs only, the last ({subject:?}) until {ended}, and this machine's clock says {}; if the clock \
         is right, get the current CA certificates of your peers",
        moment(now)
    ))
}

/// Reports that too many CAs have the same name: each of them costs a signature check for every certificate
/// that fails.
pub(super) fn anchors_of_one_name(anchors: &[&Facts]) -> Option<String> {
    let of_name = |one: &Facts| {
        let namesakes = anchors
            .iter()
            .filter(|ca| ca.subject_der == one.subject_der);
        namesakes.count()
    };
    let first = anchors
        .iter()
        .find(|ca| of_name(ca) > ANCHORS_OF_ONE_NAME_MAX)?;
    let (count, subject) = (of_name(first), &first.subject);
    Some(format!(
        "holds {count} CAs of name {subject:?}, and {ANCHORS_OF_ONE_NAME_MAX} may have one name; take out those \
         that are no longer used, and give each partner a [[peer]] table with its own CA"
    ))
}

/// Renewal keeps the names of the old certificate and creates a new key.
fn renew(files: OwnFiles<'_>) -> String {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    format!(
        "renew it with `wardgate pki renew --certificate {certificate} --key {key}` on the machine that has the \
         CA's folder, or have the CA that issued it issue a new one"
    )
}

fn dates(facts: &Facts, now: i64, remedy: &str) -> Option<String> {
    let clock = moment(now);
    if facts.not_after <= now {
        let ended = date(facts.not_after);
        Some(format!(
            "expired {ended}, and this machine's clock says {clock}; if the clock is right, {remedy}"
        ))
    } else if now < facts.not_before {
        let from = date(facts.not_before);
        Some(format!(
            "is valid only from {from}, and this machine's clock says {clock}; correct the clock, \
             or wait"
        ))
    } else {
        None
    }
}

fn version(facts: &Facts, remedy: &str) -> String {
    let version = facts.version;
    format!("is X.509 version {version}, which cannot carry names and usages; {remedy}")
}

/// Peers identify a site by its DNS or URI names; the common name does not count (RFC 9525).
fn names(facts: &Facts) -> Option<String> {
    let usable = |name: &String| name.starts_with("dns:") || name.starts_with("uri:");
    (!facts.names.iter().any(usable)).then(|| {
        "has no DNS or URI name in its SAN, and CN does not count; issue a new one with \
         `wardgate pki issue --dns NAME`"
            .to_owned()
    })
}

/// TLS 1.3 and ECDHE sign with the certificate's key (RFC 8446 section 4.4.2.2).
fn usage(facts: &Facts) -> Option<String> {
    let usage = facts.usage.as_ref()?;
    (!usage.contains(&"digitalSignature"))
        .then(|| format!("lacks digitalSignature in its key usage, which TLS needs; {ISSUE}"))
}

fn extended_usage(facts: &Facts, mode: Mode) -> Option<String> {
    let (needed, act, mode) = match mode {
        Mode::Originate => ("clientAuth", "connects", "originate"),
        Mode::Terminate => ("serverAuth", "accepts", "terminate"),
        Mode::Passthrough => return None,
    };
    let usages = facts.extended_usage.as_ref()?;
    // anyExtendedKeyUsage is not enough: peers that follow webpki require the usage itself.
    (!usages.iter().any(|usage| usage == needed)).then(|| {
        format!(
            "lacks {needed} in its extended key usage, and mode \"{mode}\" {act} with it; {ISSUE}"
        )
    })
}

/// Reports a key that no handshake accepts for this use.
fn key(facts: &Facts, purpose: KeyUse, remedy: &str) -> Option<String> {
    Some(match facts.key.fault(purpose)? {
        KeyFault::Weak { key, least } => {
            let (name, bits) = (&key.name, key.bits);
            format!("has a weak key ({name}, {bits} bit; {least} is the least); {remedy}")
        }
        fault => format!("has {fault}, which is not accepted; {remedy}"),
    })
}

/// Reports a signature whose hash is weaker than SHA-256. Other peers may accept algorithms that wardgate
/// does not accept; these are reported as a warning at start (`tls::own_chain`).
fn weak_signature(facts: &Facts, remedy: &str) -> Option<String> {
    let (hash, why) = match facts.signature.fault? {
        SignatureFault::Forgeable { hash } => (hash, "can be forged"),
        SignatureFault::ShortHash { hash } => (hash, "is too short"),
        SignatureFault::Salt { .. } | SignatureFault::Unsupported => return None,
    };
    Some(format!(
        "is signed with {hash}, which {why} (SHA-256 is the least); {remedy}"
    ))
}

/// Reports a wrong order of the chain (leaf first, then each issuer: RFC 8446 section 4.4.2).
pub(super) fn chain_order(chain: &[Facts]) -> Option<String> {
    let broken = chain.windows(2).find_map(|pair| match pair {
        [below, above] if below.issuer_der != above.subject_der => Some((below, above)),
        _ => None,
    });
    let (below, above) = broken?;
    let (subject, issuer, next) = (&below.subject, &below.issuer, &above.subject);
    Some(format!(
        "has its chain out of order: {subject:?} was issued by {issuer:?} but is followed by \
         {next:?}; put the site's own certificate first, then each issuer"
    ))
}

/// What is wrong with a revocation list, except for its signature.
pub(crate) fn crl(facts: &CrlHead, now: i64) -> Vec<String> {
    let mut problems = Vec::new();
    if facts.delta {
        problems.push(
            "is a delta list, which lists changes only; fetch the full list from the CA".to_owned(),
        );
    }
    if facts.indirect {
        problems.push(
            "is an indirect list, which covers several CAs and is not supported; ask each CA \
             for a list of its own"
                .to_owned(),
        );
    }
    problems.extend(crl_dates(facts, now));
    if let Some(SignatureFault::Forgeable { hash }) = facts.signature.fault {
        problems.push(format!(
            "is signed with {hash}, which can be forged; ask the CA for one signed with SHA-256"
        ));
    }
    problems
}

fn crl_dates(facts: &CrlHead, now: i64) -> Option<String> {
    let Some(next_update) = facts.next_update else {
        return Some(
            "has no nextUpdate, so it is unknown when it is out of date; ask the CA for one that \
             has (RFC 5280 section 5.1.2.5)"
                .to_owned(),
        );
    };
    if facts.is_from_future(now) {
        return Some(format!(
            "is dated {}, and this machine's clock says {}; if this clock is behind, correct it; if it is right, the \
             clock of the CA's machine was ahead: let it be corrected, and ask for a list that is made after that \
             (`wardgate pki renew --crl`)",
            moment(facts.this_update),
            moment(now)
        ));
    }
    (next_update <= now).then(|| {
        let ended = date(next_update);
        format!(
            "expired {ended}, and this machine's clock says {}; without a current list every peer of that CA is \
             refused: if the clock is right, fetch the current one, or make it with `wardgate pki renew --crl`",
            moment(now)
        )
    })
}
