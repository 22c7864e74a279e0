//! The keys of a partner's CAs before and after a change, for a person who decides about it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;

use crate::pairing::code::fingerprint;
use crate::pki::partner;

/// What a change does to the CAs that are trusted for a partner.
pub(in crate::cli) struct AuthorityKeys {
    removed: BTreeSet<[u8; 32]>,
    added: BTreeSet<[u8; 32]>,
    /// The certificates are others, whatever their keys are.
    is_reissued: bool,
    /// There were none before.
    is_first: bool,
}

impl AuthorityKeys {
    /// Compares the certificates that are trusted with those that would be.
    pub(in crate::cli) fn of(before: &[CertificateDer<'_>], after: &[CertificateDer<'_>]) -> Self {
        let keys = |all: &[CertificateDer<'_>]| -> BTreeSet<_> {
            all.iter()
                .filter_map(|ca| partner::key_sha256(ca))
                .collect()
        };
        let (old, new) = (keys(before), keys(after));
        Self {
            removed: old.difference(&new).copied().collect(),
            added: new.difference(&old).copied().collect(),
            is_reissued: before != after,
            is_first: before.is_empty(),
        }
    }

    /// Whether a key is trusted that was not.
    pub(in crate::cli) fn has_added(&self) -> bool {
        !self.added.is_empty()
    }

    fn change_keys(&self) -> bool {
        !(self.added.is_empty() && self.removed.is_empty())
    }

    /// Whether anything changes.
    pub(in crate::cli) fn change(&self) -> bool {
        self.is_reissued || self.change_keys()
    }

    /// Whether certificates that are trusted are replaced.
    pub(in crate::cli) fn replace(&self) -> bool {
        self.change() && !self.is_first
    }

    /// The keys that are removed and added, for a person.
    pub(in crate::cli) fn text(&self) -> String {
        let mut text = String::new();
        for (sign, of_sign) in [('-', &self.removed), ('+', &self.added)] {
            for key in of_sign {
                let (hex, words) = (partner::hex(key), fingerprint(key));
                let _ = writeln!(
                    text,
                    "  {sign} CA key sha256:{hex}\n      in words: {words}"
                );
            }
        }
        if self.is_reissued && !self.change_keys() {
            text.push_str("  the CA certificates, with the same keys\n");
        }
        text
    }
}
