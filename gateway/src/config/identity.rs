//! The files of the site's identity and of the CAs: their paths, and tables that share them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::draft::FileContext;
use super::file::{self, Text};
use super::problem::Problems;
use super::written::Written;
use super::{IdentityFiles, Located, TrustFiles};

/// The files of the tables that were read so far.
pub(super) struct Identities<'a> {
    folder: &'a Path,
    credentials: Option<&'a Path>,
    known: Vec<Arc<IdentityFiles>>,
    known_trust: Vec<Arc<TrustFiles>>,
}

impl<'a> Identities<'a> {
    /// Without any files yet. Relative paths begin at the folder of the configuration.
    pub(super) fn new(place: &FileContext<'a>) -> Self {
        Self {
            folder: folder(place.file),
            credentials: place.credentials,
            known: Vec::new(),
            known_trust: Vec::new(),
        }
    }

    /// Resolves a table.
    ///
    /// Routes that name the same files get one value, so the files are loaded once.
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

    /// Resolves `trust` and `crl` of the table that `scope` names.
    ///
    /// Tables that name the same files get one value, so the files are loaded once.
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
                "{scope}{key} is missing; an identity needs both certificate and key in the same table"
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
        let read = path_or_credential(self.folder, self.credentials, &written.value);
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

/// Revocation lists belong to the CAs in `trust`; without `trust` they have no effect.
fn refuse_crl(scope: &str, crl: &file::Texts, problems: &mut Problems) {
    if let Some(crl) = crl.value() {
        let text = format!(
            "{scope}crl has no effect without trust, because it revokes certificates of the CAs in \
             trust; write trust, or write crl in the [[peer]] table whose CA it belongs to"
        );
        problems.wrong(crl.line, text);
    }
}

/// If the site trusts its own certificate or key file, the operator has confused two names.
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

/// The folder at which relative paths begin.
pub(super) fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// How the name of a credential of the service begins, in place of a path.
pub(super) const CREDENTIAL: &str = "credential:";

/// The path that a text names, or that of a credential. An error is the end of a sentence.
pub(super) fn path_or_credential(
    folder: &Path,
    credentials: Option<&Path>,
    text: &str,
) -> Result<PathBuf, String> {
    match text.strip_prefix(CREDENTIAL) {
        Some(name) => credential(credentials, name),
        None => path(folder, text),
    }
}

/// The path of a credential that the service manager passes to the service (`LoadCredential=` of
/// systemd.exec(5)). An error is the end of a sentence.
fn credential(folder: Option<&Path>, name: &str) -> Result<PathBuf, String> {
    let is_name = Path::new(name).file_name().is_some_and(|file| file == name);
    if !is_name || name.contains('\0') {
        return Err(format!(
            "names no credential; write \"{CREDENTIAL}\" and the name in `LoadCredential=` of the unit, \
             such as \"{CREDENTIAL}site.key\""
        ));
    }
    match folder {
        Some(folder) => Ok(folder.join(name)),
        None => Err(format!(
            "is a credential, and CREDENTIALS_DIRECTORY is not set: only a service has credentials, by \
             `LoadCredential={name}:PATH` in its unit; for a check by hand, set CREDENTIALS_DIRECTORY to the \
             folder that holds the file {name}"
        )),
    }
}

/// A resolved path. An error is the end of a sentence.
pub(super) fn path(folder: &Path, text: &str) -> Result<PathBuf, String> {
    if text.trim().is_empty() {
        return Err("is empty; write the path of a file".to_owned());
    }
    if text.contains('\0') {
        return Err("has a NUL character, which is not allowed in a path".to_owned());
    }
    Ok(folder.join(text))
}
