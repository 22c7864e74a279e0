//! The files that say who the site is: their paths, and which routes share them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{self, Text};
use super::problem::Problems;
use super::{IdentityFiles, Located, TrustFiles};

/// The identities met so far.
pub(super) struct Identities<'a> {
    folder: &'a Path,
    known: Vec<Arc<IdentityFiles>>,
}

impl<'a> Identities<'a> {
    /// None yet. Relative paths begin at the folder of the configuration `file`.
    pub(super) fn new(file: &'a Path) -> Self {
        Self {
            folder: folder(file),
            known: Vec::new(),
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
        let trust = self.required(written, "trust", &written.trust, problems);
        let crl = written.crl.value().map_or(&[][..], |crl| &crl.value);
        let crl = crl
            .iter()
            .map(|text| self.joined(&written.scope, "crl", text, problems));
        let crl: Vec<_> = crl.collect();
        let files = IdentityFiles {
            certificate: certificate?,
            key: key?,
            trust: Some(Arc::new(TrustFiles {
                trust: trust?,
                crl: crl.into_iter().collect::<Option<_>>()?,
            })),
        };
        check_trust(&written.scope, &files, problems);
        Some(self.shared(files))
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
                "{scope}{key} is missing; an identity needs certificate, key and trust, and takes \
                 none of \
                 them from elsewhere"
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
    let trust = files.trust.iter();
    own.chain(trust.flat_map(|files| std::iter::once(&files.trust).chain(&files.crl)))
        .map(|path| path.value.as_path())
}

/// A site that trusts its own certificate or key file has mixed up two names.
fn check_trust(scope: &str, files: &IdentityFiles, problems: &mut Problems) {
    let Some(TrustFiles { trust, .. }) = files.trust.as_deref() else {
        return;
    };
    let same = match &trust.value {
        path if *path == files.certificate.value => "certificate",
        path if *path == files.key.value => "key",
        _ => return,
    };
    let text = format!(
        "{scope}trust {:?} is the file of the site's own {same}; name the file with the \
         certificates of the \
         authorities that issue to peers",
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
