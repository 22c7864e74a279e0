//! The files that say who the site is and which CAs it trusts: their paths, and what shares them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{self, Text};
use super::problem::Problems;
use super::written::Written;
use super::{IdentityFiles, Located, TrustFiles};

/// The files met so far.
pub(super) struct Identities<'a> {
    folder: &'a Path,
    known: Vec<Arc<IdentityFiles>>,
    known_trust: Vec<Arc<TrustFiles>>,
}

impl<'a> Identities<'a> {
    /// None yet. Relative paths begin at the folder of the configuration `file`.
    pub(super) fn new(file: &'a Path) -> Self {
        Self {
            folder: folder(file),
            known: Vec::new(),
            known_trust: Vec::new(),
        }
    }

    /// Finds the meaning of a table.
    ///
    /// Routes that name the same files get one value, so that the files are loaded once.
    pub(super) fn resolve(
        &mut self,
        written: &file::Identity,
        problems: &mut Problems,
    ) -> Option<Arc<IdentityFiles>> {
        let certificate = self.required(written, "certificate", &written.certificate, problems);
        let key = self.required(written, "key", &written.key, problems);
        let scope = &written.scope;
        let trust = match written.trust {
            Written::Absent => {
                refuse_crl(scope, &written.crl, problems);
                None
            }
            _ => Some(self.trust(scope, &written.trust, &written.crl, problems)?),
        };
        let files = IdentityFiles {
            certificate: certificate?,
            key: key?,
            trust,
        };
        if let Some(trust) = &files.trust {
            check_trust(scope, trust, &files, problems);
        }
        Some(self.shared(files))
    }

    /// Finds the meaning of `trust` and `crl` of the table that `scope` names.
    ///
    /// Tables that name the same files get one value, so that the files are loaded once.
    pub(super) fn trust(
        &mut self,
        scope: &str,
        trust: &Text,
        crl: &file::Texts,
        problems: &mut Problems,
    ) -> Option<Arc<TrustFiles>> {
        let trust = trust.value();
        let trust = trust.and_then(|trust| self.joined(scope, "trust", trust, problems));
        let crl = crl.value().map_or(&[][..], |crl| &crl.value);
        let crl = crl
            .iter()
            .map(|text| self.joined(scope, "crl", text, problems));
        let crl: Vec<_> = crl.collect();
        let files = TrustFiles {
            trust: trust?,
            crl: crl.into_iter().collect::<Option<_>>()?,
        };
        let same = |known: &&Arc<TrustFiles>| trust_paths(known).eq(trust_paths(&files));
        if let Some(known) = self.known_trust.iter().find(same) {
            return Some(Arc::clone(known));
        }
        let files = Arc::new(files);
        self.known_trust.push(Arc::clone(&files));
        Some(files)
    }

    fn required(
        &self,
        identity: &file::Identity,
        key: &str,
        written: &Text,
        problems: &mut Problems,
    ) -> Option<Located<PathBuf>> {
        let scope = &identity.scope;
        if written.is_absent() {
            let text = format!(
                "{scope}{key} is missing; an identity needs both certificate and key, and takes \
                 neither from elsewhere"
            );
            problems.missing(Some(identity.line), text);
        }
        self.joined(scope, key, written.value()?, problems)
    }

    fn joined(
        &self,
        scope: &str,
        key: &str,
        written: &Located<String>,
        problems: &mut Problems,
    ) -> Option<Located<PathBuf>> {
        let read = path(self.folder, &written.value);
        let value = problems.accept(scope, key, written, read)?;
        let line = written.line;
        Some(Located { value, line })
    }

    fn shared(&mut self, files: IdentityFiles) -> Arc<IdentityFiles> {
        if let Some(known) = self
            .known
            .iter()
            .find(|known| paths(known).eq(paths(&files)))
        {
            return Arc::clone(known);
        }
        let files = Arc::new(files);
        self.known.push(Arc::clone(&files));
        files
    }
}

fn paths(files: &IdentityFiles) -> impl Iterator<Item = &Path> {
    let own = [&files.certificate, &files.key].into_iter();
    let own = own.map(|path| path.value.as_path());
    own.chain(files.trust.iter().flat_map(|trust| trust_paths(trust)))
}

fn trust_paths(files: &TrustFiles) -> impl Iterator<Item = &Path> {
    let all = std::iter::once(&files.trust).chain(&files.crl);
    all.map(|path| path.value.as_path())
}

/// Revocation lists belong to the CAs in `trust`; without it nobody would look at them.
fn refuse_crl(scope: &str, crl: &file::Texts, problems: &mut Problems) {
    if let Some(crl) = crl.value() {
        let text = format!(
            "{scope}crl has no effect without trust, because it revokes certificates of the CAs in \
             trust; write trust, or write crl in the [[peer]] table whose CA it belongs to"
        );
        problems.wrong(crl.line, text);
    }
}

/// A site that trusts its own certificate or key file has mixed up two names.
pub(super) fn check_trust(
    scope: &str,
    TrustFiles { trust, .. }: &TrustFiles,
    files: &IdentityFiles,
    problems: &mut Problems,
) {
    let same = match &trust.value {
        path if *path == files.certificate.value => "certificate",
        path if *path == files.key.value => "key",
        _ => return,
    };
    let text = format!(
        "{scope}trust {:?} is the file of the site's own {same}; name the file with the \
         certificates of the authorities that issue to peers",
        trust.value
    );
    problems.wrong(trust.line, text);
}

/// The folder that relative paths begin at.
pub(super) fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// A path as meant; fails with the end of a sentence.
pub(super) fn path(folder: &Path, text: &str) -> Result<PathBuf, String> {
    if text.trim().is_empty() {
        return Err("is empty; write the path of a file".to_owned());
    }
    if text.contains('\0') {
        return Err("has a NUL character, which no path may have".to_owned());
    }
    Ok(folder.join(text))
}
