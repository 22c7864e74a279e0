//! The certificates that a CA has issued and revoked: the file `issued.toml` in its folder.
//!
//! The revocation list is created from this file, so this file is written first: after a power failure in
//! between, the next list still has every entry and a higher number.

use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::facts::{Facts, hex};
use super::file::{self, FileRole};
use super::write;

const HEADER: &str = "# Written by `wardgate pki`: what this CA has issued and revoked. \
                      Keep it with ca.key.\n\n";

/// The contents of `issued.toml`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    /// Number of the last revocation list; each list has a higher number (RFC 5280 section 5.2.3).
    pub(crate) crl_number: u64,
    #[serde(default, rename = "certificate", skip_serializing_if = "Vec::is_empty")]
    pub(crate) certificates: Vec<IndexEntry>,
}

/// One issued certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IndexEntry {
    /// Lower-case hexadecimal, without leading zero bytes.
    pub(crate) serial: String,
    /// `dns:` and `uri:` names.
    pub(crate) names: Vec<String>,
    /// RFC 3339.
    pub(crate) not_after: String,
    /// When it was revoked, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<String>,
    /// The reason: a name of `authority::RevokeReason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl IndexEntry {
    /// The entry of a certificate that is not revoked.
    pub(crate) fn of(facts: &Facts) -> Self {
        Self {
            serial: hex(&facts.serial),
            names: facts.names.clone(),
            not_after: rfc3339(facts.not_after),
            revoked: None,
            reason: None,
        }
    }
}

impl Index {
    /// Reads the index; the error is a predicate.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let raw = file::read(path, FileRole::Authority)?;
        let text = std::str::from_utf8(&raw.bytes).map_err(|error| damaged(&error))?;
        toml::from_str(text).map_err(|error| damaged(&error))
    }

    /// Replaces the index file; the error is a predicate.
    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        let text = toml::to_string(self).map_err(|error| format!("cannot be written: {error}"))?;
        let bytes = [HEADER, &text].concat();
        write::replace(path, bytes.as_bytes(), write::MODE_PUBLIC)
            .map_err(|error| format!("cannot be written: {error}"))
    }

    /// The day on which this certificate was revoked; `None` if it was not.
    pub(crate) fn revoked_on(&self, facts: &Facts) -> Option<String> {
        let serial = hex(&facts.serial);
        let mut entries = self.certificates.iter();
        let revoked = &entries.find(|entry| entry.serial == serial)?.revoked;
        let revoked = revoked.as_deref()?;
        let day = revoked.split_once('T').map_or(revoked, |(day, _)| day);
        Some(day.to_owned())
    }

    /// The entry with this serial number, which is added if it is missing.
    pub(crate) fn entry(&mut self, of: &Facts) -> &mut IndexEntry {
        let serial = hex(&of.serial);
        let known = self
            .certificates
            .iter()
            .position(|entry| entry.serial == serial);
        let index = known.unwrap_or_else(|| {
            self.certificates.push(IndexEntry::of(of));
            self.certificates.len() - 1
        });
        &mut self.certificates[index]
    }
}

fn damaged(error: &dyn std::fmt::Display) -> String {
    let error = error.to_string();
    let line = error.lines().next().unwrap_or_default();
    format!("is damaged: {line}; restore it from a backup of the CA's folder")
}

/// An instant (seconds since 1970) as `2027-03-01T00:00:00Z`.
pub(super) fn rfc3339(unix: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(unix).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc3339).unwrap_or_default()
}

/// The inverse of `rfc3339`.
pub(super) fn parse_rfc3339(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}
