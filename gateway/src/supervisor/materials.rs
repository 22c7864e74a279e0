//! The certificates, keys, CAs and revocation lists that a running gateway uses, by the files that they were
//! read from. They stay in use while a file is damaged, incomplete or gone.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{IdentityFiles, Mode, TrustFiles};
use crate::pki::{Identity, Trust};

/// What was loaded.
#[derive(Default)]
pub(super) struct Materials {
    identities: HashMap<(PathBuf, PathBuf, Mode), Arc<Identity>>,
    trusts: HashMap<(PathBuf, Vec<PathBuf>), Arc<Trust>>,
}

impl Materials {
    /// What was loaded of these files for a route of `mode`.
    pub(super) fn identity(&self, files: &IdentityFiles, mode: Mode) -> Option<Arc<Identity>> {
        self.identities.get(&of_identity(files, mode)).cloned()
    }

    /// What was loaded of these files.
    pub(super) fn trust(&self, files: &TrustFiles) -> Option<Arc<Trust>> {
        self.trusts.get(&of_trust(files)).cloned()
    }

    /// Keeps what is in use of these files.
    pub(super) fn keep_identity(
        &mut self,
        files: &IdentityFiles,
        mode: Mode,
        identity: &Arc<Identity>,
    ) {
        let identity = Arc::clone(identity);
        self.identities.insert(of_identity(files, mode), identity);
    }

    /// Keeps what is in use of these files.
    pub(super) fn keep_trust(&mut self, files: &TrustFiles, trust: &Arc<Trust>) {
        self.trusts.insert(of_trust(files), Arc::clone(trust));
    }
}

fn of_identity(files: &IdentityFiles, mode: Mode) -> (PathBuf, PathBuf, Mode) {
    let [certificate, key] = [&files.certificate, &files.key].map(|file| file.value.clone());
    (certificate, key, mode)
}

fn of_trust(files: &TrustFiles) -> (PathBuf, Vec<PathBuf>) {
    let lists = files.crl.iter().map(|file| file.value.clone());
    (files.trust.value.clone(), lists.collect())
}
