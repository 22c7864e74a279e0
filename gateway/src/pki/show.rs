//! Describes in words the contents of a certificate, key or revocation file.
//!
//! This module describes and does not judge: `store` does, for the route that uses the file. Of a private
//! key it shows only the type.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::pki_types::PrivateKeyDer;

use super::algorithms::{PublicKeyInfo, SignatureFault};
use super::constraints::Constraints;
use super::crl::CrlHead;
use super::expiry::{Expiry, ExpiryKind, date, days_between, plural, system_time, unix};
use super::facts::{CrlFacts, Facts, RevokedEntry, hex, sha256_hex};
use super::file::{self, Contents, FileRole};
use super::store;

/// Entries of a revocation list that are shown; the others are only counted. They fill one or two screens.
const REVOKED_SHOWN_MAX: usize = 100;

/// Columns of the labels.
const LABEL: usize = 14;

/// A file that cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error("{:?} {problem}", path.display().to_string())]
pub struct ShowError {
    path: PathBuf,
    /// The predicate: why it cannot be shown, and what to do.
    problem: String,
}

/// The contents of a file.
#[derive(Debug)]
pub struct Shown {
    /// The description of all readable contents; never empty.
    pub text: String,
    /// One error for each PEM section that is not read.
    pub unread: Vec<ShowError>,
    /// When each certificate and each revocation list expires.
    pub expiries: Vec<Expiry>,
    /// One error for each certificate or list without a date that can be read.
    pub undated: Vec<ShowError>,
}

/// Describes the file at `path`, PEM or DER, as of `now`.
///
/// # Errors
///
/// A file that cannot be read, or that contains none of the three kinds.
pub fn describe(path: &Path, now: SystemTime) -> Result<Shown, ShowError> {
    let error = |problem: String| ShowError {
        path: path.to_owned(),
        problem,
    };
    let raw = file::read(path, FileRole::Given).map_err(error)?;
    let (contents, unread) = if file::is_der(&raw.bytes) {
        (from_der(&raw.bytes), Vec::new())
    } else {
        file::parse_readable(path, &raw.bytes)
    };
    let open = raw
        .key_mode_problem(path, FileRole::Given)
        .filter(|_| contents.has_key());
    let text = Description::of(&contents, unix(now), open.as_deref());
    let mut unread = unread.into_iter().map(error);
    if text.is_empty() {
        return Err(unread.next().unwrap_or_else(|| {
            error(
                "holds no certificate, no private key and no revocation list; PEM or DER is expected"
                    .to_owned(),
            )
        }));
    }
    let unread = unread.collect();
    let (mut expiries, mut undated) = (Vec::new(), Vec::new());
    for dated in dates(&contents) {
        match dated {
            Ok(expiry) => expiries.push(expiry),
            Err(problem) => undated.push(error(problem.to_owned())),
        }
    }
    Ok(Shown {
        text,
        unread,
        expiries,
        undated,
    })
}

/// When each certificate and each list expires, or a predicate.
fn dates(contents: &Contents) -> Vec<Result<Expiry, &'static str>> {
    let certificates = contents.certificates.iter().map(|der| {
        let facts = Facts::of(der).map_err(|_| "holds a certificate whose end cannot be read");
        facts.map(|facts| {
            let (kind, object) = match facts.ca {
                true => (ExpiryKind::Trust, "CA"),
                false => (ExpiryKind::Certificate, "certificate"),
            };
            Expiry {
                kind,
                object: object.to_owned(),
                file: String::new(),
                name: facts.subject,
                begins: system_time(facts.not_before),
                ends: system_time(facts.not_after),
            }
        })
    });
    let lists = contents.crls.iter().map(|der| {
        let head = CrlHead::of(der);
        let head = head.map_err(|_| "holds a revocation list whose end cannot be read")?;
        let ends = head
            .next_update
            .ok_or("holds a revocation list without an end")?;
        Ok(Expiry {
            kind: ExpiryKind::Crl,
            object: "revocation list of".to_owned(),
            file: String::new(),
            name: head.issuer,
            begins: system_time(head.this_update),
            ends: system_time(ends),
        })
    });
    certificates.chain(lists).collect()
}

/// DER has no label: the first kind that can be parsed is used.
fn from_der(bytes: &[u8]) -> Contents {
    let mut contents = Contents::default();
    if Facts::of(bytes).is_ok() {
        contents.certificates.push(bytes.to_vec().into());
    } else if CrlFacts::of(bytes).is_ok() {
        contents.crls.push(bytes.to_vec().into());
    } else if let Ok(key) = PrivateKeyDer::try_from(bytes) {
        contents.keys.push(key.clone_key());
    }
    contents
}

/// The text under construction.
struct Description {
    text: String,
    /// Seconds since 1970.
    now: i64,
}

impl Description {
    fn of(contents: &Contents, now: i64, open: Option<&str>) -> String {
        let text = String::new();
        let mut description = Self { text, now };
        let parsed: Vec<_> = contents
            .certificates
            .iter()
            .map(|der| Facts::of(der))
            .collect();
        for (index, (der, facts)) in contents.certificates.iter().zip(&parsed).enumerate() {
            description.head(format_args!("certificate {}", index + 1));
            match facts {
                Ok(facts) => description.certificate(der, facts),
                Err(error) => description.line("unreadable", error),
            }
        }
        for crl in &contents.crls {
            description.head(format_args!("revocation list"));
            match CrlFacts::of(crl) {
                Ok(facts) => description.crl(&facts),
                Err(error) => description.line("unreadable", error),
            }
        }
        let certificates: Vec<_> = parsed.iter().map(|facts| facts.as_ref().ok()).collect();
        for key in &contents.keys {
            description.key(key, &certificates);
        }
        if contents.encrypted_key {
            description.head(format_args!("private key"));
            description.line("type", "encrypted; nothing else is known about it");
        }
        if let Some(problem) = open {
            description.line("permissions", problem);
        }
        description.text
    }

    fn certificate(&mut self, der: &[u8], facts: &Facts) {
        self.line("subject", format_args!("{:?}", facts.subject));
        self.line(
            "issuer",
            format_args!("{:?}{}", facts.issuer, itself(facts)),
        );
        self.names(facts);
        self.line("key", strength(&facts.key));
        let fault = match facts.signature.fault {
            None => "",
            Some(SignatureFault::Forgeable { .. }) => ", which can be forged",
            Some(_) => ", which is not accepted",
        };
        self.line("signature", format_args!("{}{fault}", facts.signature.name));
        self.line("valid", self.validity(facts.not_before, facts.not_after));
        self.line("use", usage(facts));
        self.line("CA", authority(facts));
        if let Some(constraints) = &facts.constraints {
            self.constraints(constraints);
        }
        if facts.version < 3 {
            self.line("version", format_args!("X.509 version {}", facts.version));
        }
        self.line("serial", facts.serial_hex());
        self.line(
            "fingerprint",
            format_args!("{} (SHA-256 of the certificate)", sha256_hex(der)),
        );
        // A CA is never a peer.
        if !facts.ca {
            self.line("as a peer", format_args!("{:?}", facts.peer_sha256()));
        }
    }

    fn names(&mut self, facts: &Facts) {
        if facts.names.is_empty() {
            self.line(
                "names",
                "none in the SAN; peers can list it only by its key",
            );
        }
        for (index, name) in facts.names.iter().enumerate() {
            let label = if index == 0 { "names" } else { "" };
            self.line(label, name.escape_debug());
        }
    }

    fn constraints(&mut self, constraints: &Constraints) {
        let note = if constraints.critical {
            ""
        } else {
            " (not critical)"
        };
        for (label, subtrees) in [
            ("permitted", &constraints.permitted),
            ("excluded", &constraints.excluded),
        ] {
            for (index, subtree) in subtrees.iter().enumerate() {
                let label = if index == 0 { label } else { "" };
                self.line(label, format_args!("{subtree}{note}"));
            }
        }
    }

    fn crl(&mut self, facts: &CrlFacts) {
        self.line("issuer", format_args!("{:?}", facts.issuer));
        if let Some(number) = &facts.number {
            self.line("number", decimal(number));
        }
        if facts.delta || facts.indirect {
            self.line("kind", "delta or indirect, which is not supported");
        }
        self.line("signature", &facts.signature.name);
        match facts.next_update {
            Some(next) => self.line("valid", self.validity(facts.this_update, next)),
            None => self.line(
                "valid",
                format_args!("from {}, without an end", date(facts.this_update)),
            ),
        }
        let count = i64::try_from(facts.revoked.len()).unwrap_or(i64::MAX);
        self.line("revoked", plural(count, "certificate"));
        for entry in facts.revoked.iter().take(REVOKED_SHOWN_MAX) {
            self.line("", revoked(entry));
        }
        if let Some(more) = facts.revoked.len().checked_sub(REVOKED_SHOWN_MAX)
            && more > 0
        {
            self.line("", format_args!("and {more} more"));
        }
    }

    fn key(&mut self, key: &PrivateKeyDer<'_>, certificates: &[Option<&Facts>]) {
        self.head(format_args!("private key"));
        let form = match key {
            PrivateKeyDer::Pkcs1(_) => "PKCS#1",
            PrivateKeyDer::Sec1(_) => "SEC1",
            _ => "PKCS#8",
        };
        let Some(public) = store::public_key(key) else {
            let problem = format!("in {form}, of a kind that cannot be used here, or damaged");
            return self.line("type", problem);
        };
        let kind = strength(&PublicKeyInfo::of_spki(&public));
        self.line("type", format_args!("{kind}, in {form}"));
        let fits = |facts: &Option<&Facts>| facts.is_some_and(|facts| facts.spki == public);
        match certificates.iter().position(fits) {
            Some(index) => self.line("belongs to", format_args!("certificate {}", index + 1)),
            None if certificates.is_empty() => {}
            None => self.line("belongs to", "no certificate in this file"),
        }
        let peer = format!("sha256:{}", sha256_hex(&public));
        self.line("as a peer", format_args!("{peer:?}"));
    }

    /// `2026-11-23 to 2027-12-26, 398 days left`.
    fn validity(&self, from: i64, to: i64) -> String {
        let left = days_between(self.now, to);
        let state = if to <= self.now {
            format!("expired {} ago", plural(days_between(to, self.now), "day"))
        } else if self.now < from {
            format!(
                "not yet valid, {} to go",
                plural(days_between(self.now, from), "day")
            )
        } else {
            format!("{} left", plural(left, "day"))
        };
        format!("{} to {}, {state}", date(from), date(to))
    }

    fn head(&mut self, what: fmt::Arguments<'_>) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{gap}{what}");
    }

    fn line(&mut self, label: &str, value: impl fmt::Display) {
        let _ = writeln!(self.text, "  {label:LABEL$}{value}");
    }
}

fn itself(facts: &Facts) -> &'static str {
    if facts.self_issued() { " (itself)" } else { "" }
}

fn strength(key: &PublicKeyInfo) -> String {
    if key.bits == 0 {
        key.name.clone()
    } else {
        format!("{} ({} bit)", key.name, key.bits)
    }
}

fn usage(facts: &Facts) -> String {
    let extended = facts.extended_usage.as_ref().map_or_else(
        || "any purpose".to_owned(),
        |usages| {
            let words = usages.iter().map(|usage| match usage.as_str() {
                "serverAuth" => "TLS server",
                "clientAuth" => "TLS client",
                other => other,
            });
            words.collect::<Vec<_>>().join(", ")
        },
    );
    match &facts.usage {
        Some(usage) => format!("{extended}; key: {}", usage.join(", ")),
        None => extended,
    }
}

fn authority(facts: &Facts) -> String {
    match (facts.ca, facts.path_length) {
        (false, _) => "no".to_owned(),
        (true, None) => "yes".to_owned(),
        (true, Some(0)) => "yes, with no CA below it".to_owned(),
        (true, Some(below)) => format!("yes, with up to {below} CAs below it"),
    }
}

fn revoked(entry: &RevokedEntry) -> String {
    let reason = entry
        .reason
        .map_or_else(String::new, |reason| format!(", {reason}"));
    format!("{} since {}{reason}", hex(&entry.serial), date(entry.at))
}

/// A CRL number: decimal if it fits, as CAs count, else hexadecimal.
fn decimal(number: &[u8]) -> String {
    let value = number.iter().try_fold(0_u64, |value, byte| {
        Some(value.checked_mul(256)? | u64::from(*byte))
    });
    value.map_or_else(|| format!("0x{}", hex(number)), |value| value.to_string())
}

#[cfg(test)]
mod tests;
