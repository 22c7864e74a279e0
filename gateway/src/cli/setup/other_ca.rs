//! The CA certificates of the other site that `--other-ca` names, and those that they would replace.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::anyhow;
use rustls::pki_types::CertificateDer;
use toml_edit::{DocumentMut, Item};

use super::super::pair::authority_keys::AuthorityKeys;
use super::super::unpaired::tables;
use super::text::KnownPeer;
use crate::pki::{pem, store, write};

/// The certificates, read once: what is shown is what is written.
pub(super) struct OtherCa(Vec<CertificateDer<'static>>);

impl OtherCa {
    /// # Errors
    /// Why the file cannot be used.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let read = store::certificates(path);
        Ok(Self(
            read.map_err(|why| anyhow!("--other-ca {shown:?} {why}"))?,
        ))
    }

    /// The file that the configuration names.
    pub(super) fn pem(&self) -> String {
        self.0.iter().map(|ca| pem::of_certificate(ca)).collect()
    }

    /// Whether the file of the peer does not hold them yet.
    pub(super) fn is_new_in(&self, trust: &Path) -> bool {
        store::certificates(trust).ok().as_ref() != Some(&self.0)
    }

    /// Compares them with those that are trusted for the peer now, and with those in the file that would get them.
    pub(super) fn keys(
        &self,
        present: &DocumentMut,
        file: &Path,
        peer: &KnownPeer,
    ) -> AuthorityKeys {
        let text = |table: &toml_edit::Table, key: &str| {
            table.get(key).and_then(Item::as_str).map(str::to_owned)
        };
        let table =
            tables(present, "peer").find(|table| text(table, "name").as_ref() == Some(&peer.name));
        let trust = table.and_then(|table| text(table, "trust"));
        let trust = trust.map(|trust| write::folder(file).join(trust));
        let files: BTreeSet<_> = trust.into_iter().chain([peer.trust.clone()]).collect();
        let before = files
            .iter()
            .filter_map(|file| store::certificates(file).ok());
        let before: Vec<_> = before.flatten().collect();
        AuthorityKeys::of(&before, &self.0)
    }
}
