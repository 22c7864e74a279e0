//! Loads the certificate, key, trust and revocation files of a configuration, and finds their faults.
//!
//! All problems are reported, not only the first. Files that pass are watched for their expiry by `expiry`.

mod lists;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize;

use super::algorithms::KeyUse;
use super::crl;
use super::expiry::{date, unix};
use super::facts::{self, Facts};
use super::file::{self, Contents, FileRole};
use super::rules::{self, OwnFiles};
use super::{Identity, Trust};
use crate::config::access::UserIds;
use crate::config::{IdentityFiles, Located, Mode, Problem, TrustFiles};
use crate::pki::limits::CHAIN_CERTIFICATES_MAX;
use lists::CrlFile;

/// An identity, and the CAs that it trusts, if it names any.
pub type Loaded = (Arc<Identity>, Option<Arc<Trust>>);

/// The files, kept so that their address is not reused, and the loaded value.
struct Kept<F, L> {
    _files: Arc<F>,
    loaded: Option<Arc<L>>,
    /// Why nothing was loaded.
    problems: Vec<Problem>,
}

/// Loads the files of an identity for a route of `mode`, and those of the CAs that it trusts; the latter
/// are `None` if it names none.
///
/// # Errors
///
/// Every problem found, in the form of [`Store`].
pub fn load(
    files: &Arc<IdentityFiles>,
    mode: Mode,
    now: SystemTime,
) -> Result<Loaded, Vec<Problem>> {
    let mut store = Store::new(now);
    let identity = store.identity("", files, mode);
    let trust = files.trust.as_ref().map(|files| store.trust("", files));
    match identity {
        Some(identity) if store.problems.is_empty() => Ok((identity, trust.flatten())),
        _ => Err(store.problems),
    }
}

/// The certificates of a PEM file without its key, the first one first: the chain of another site.
///
/// # Errors
/// Why the file cannot be read, as a predicate.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let raw = file::read(path, FileRole::Certificate)?;
    let contents = file::parse_pem(path, &raw.bytes)?;
    match contents.certificates.is_empty() {
        true => Err("holds no certificate".to_owned()),
        false => Ok(contents.certificates.clone()),
    }
}

/// The files of a configuration, each loaded once, whatever number of routes names it.
///
/// Identities are loaded before trust, because the CAs of the site's own chains sign revocation lists too,
/// and the site's own certificates are looked up in every list.
#[derive(Default)]
pub struct Store {
    /// Seconds since 1970.
    now: i64,
    problems: Vec<Problem>,
    // By the address of the files.
    identities: HashMap<(*const IdentityFiles, Mode), Kept<IdentityFiles, Identity>>,
    trusts: HashMap<*const TrustFiles, Kept<TrustFiles, Trust>>,
    /// The CAs of trust whose revocation lists have problems.
    without_lists: HashMap<*const TrustFiles, Arc<Trust>>,
    crl_files: HashMap<PathBuf, Arc<CrlFile>>,
    /// The user of the service, which may own revocation lists.
    service: Option<UserIds>,
    own: Vec<OwnChain>,
    /// Own certificates that are revoked, by their files.
    revoked: Vec<(PathBuf, Problem)>,
    remarks: Vec<String>,
}

/// The chain of an identity, with the scope and the location of its problems.
struct OwnChain {
    scope: String,
    at: Located<PathBuf>,
    chain: Vec<Parsed>,
}

impl Store {
    /// Creates an empty store. Dates are checked for `now`.
    #[must_use]
    pub fn new(now: SystemTime) -> Self {
        Self {
            now: unix(now),
            ..Self::default()
        }
    }

    /// Loads certificate and key for a route of `mode`; `None` if there is a problem. `scope` is put in
    /// front of the problems' texts (`route "ct": `); the object follows (`certificate "site.pem" expired
    /// ...`).
    pub fn identity(
        &mut self,
        scope: &str,
        files: &Arc<IdentityFiles>,
        mode: Mode,
    ) -> Option<Arc<Identity>> {
        let key = (Arc::as_ptr(files), mode);
        if let Some(known) = self.identities.get(&key) {
            return known.loaded.clone();
        }
        let mut loader = PkiLoader::new(scope, self.now);
        let chain = loader.chain(files, mode);
        let key_file = loader.key(files, &chain);
        let loaded = match key_file {
            Some(key) if loader.problems.is_empty() => Some(Arc::new(Identity {
                chain: chain.iter().map(|parsed| parsed.der.clone()).collect(),
                key: key.into(),
            })),
            Some(mut key) => {
                key.zeroize();
                None
            }
            None => None,
        };
        self.problems.extend_from_slice(&loader.problems);
        for remark in loader.remarks {
            // Routes of both modes have the same chain.
            if !self.remarks.contains(&remark) {
                self.remarks.push(remark);
            }
        }
        // Routes of both modes present the same certificate.
        if !self.own.iter().any(|own| own.at == files.certificate) {
            self.own.push(OwnChain {
                scope: scope.to_owned(),
                at: files.certificate.clone(),
                chain,
            });
        }
        let kept = Kept {
            _files: Arc::clone(files),
            loaded: loaded.clone(),
            problems: loader.problems,
        };
        self.identities.insert(key, kept);
        loaded
    }

    /// Loads the CAs that may issue certificates for a peer, and their revocation lists; `None` if there is
    /// a problem.
    ///
    /// Expired anchors are left out: TLS would accept them for ever, because path validation ignores the
    /// dates of an anchor (RFC 5280 section 6.1.1). Anchors that are not valid yet stay, for a CA that is
    /// about to change.
    pub fn trust(&mut self, scope: &str, files: &Arc<TrustFiles>) -> Option<Arc<Trust>> {
        let key = Arc::as_ptr(files);
        if let Some(known) = self.trusts.get(&key) {
            return known.loaded.clone();
        }
        let mut loader = PkiLoader::new(scope, self.now);
        let anchors = loader.anchors(&files.trust);
        let are_usable = loader.problems.is_empty();
        let mut crls = Vec::new();
        for at in &files.crl {
            let file = self.crl_file(&at.value);
            crls.extend(loader.crls(at, &file, &anchors, &self.own));
        }
        crl::newest_first(&mut crls);
        let anchors = loader.unexpired(anchors);
        let loaded = match loader.problems.is_empty() {
            true => Some(Arc::new(Trust { anchors, crls })),
            false => {
                if are_usable {
                    let trust = Trust {
                        anchors,
                        crls: Vec::new(),
                    };
                    self.without_lists.insert(key, Arc::new(trust));
                }
                None
            }
        };
        self.problems.extend_from_slice(&loader.problems);
        let revoked = loader.revoked.iter().map(|(_, problem)| problem.clone());
        self.problems.extend(revoked);
        self.revoked.append(&mut loader.revoked);
        let kept = Kept {
            _files: Arc::clone(files),
            loaded: loaded.clone(),
            problems: loader.problems,
        };
        self.trusts.insert(key, kept);
        loaded
    }

    /// Why an identity cannot be used on a route of `mode`, judging by its files and all trust that was
    /// loaded. Empty if it can be used, or was not loaded.
    #[must_use]
    pub(crate) fn identity_problems(&self, files: &Arc<IdentityFiles>, mode: Mode) -> Vec<Problem> {
        let kept = self.identities.get(&(Arc::as_ptr(files), mode));
        let of_files = kept.into_iter().flat_map(|kept| &kept.problems);
        let own = |(path, _): &&(PathBuf, Problem)| *path == files.certificate.value;
        let revoked = self.revoked.iter().filter(own).map(|(_, problem)| problem);
        of_files.chain(revoked).cloned().collect()
    }

    /// Why trust cannot be used. Empty if it can be used, or was not loaded.
    #[must_use]
    pub(crate) fn trust_problems(&self, files: &Arc<TrustFiles>) -> &[Problem] {
        let kept = self.trusts.get(&Arc::as_ptr(files));
        kept.map_or(&[], |kept| &kept.problems)
    }

    /// What an operator should know about valid files, in sentences.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Every problem found, with the line of the configuration that names the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether a loaded certificate of this site is not valid yet.
    #[must_use]
    pub fn begins_later(&self) -> bool {
        let own = self.own.iter().flat_map(|own| &own.chain);
        own.into_iter()
            .any(|parsed| parsed.facts.not_before > self.now)
    }
}

/// A certificate of a file, with its fields.
struct Parsed {
    der: CertificateDer<'static>,
    facts: Facts,
}

/// Collects problems while it loads. Loading continues after each problem, so all are found.
struct PkiLoader<'a> {
    scope: &'a str,
    /// Seconds since 1970.
    now: i64,
    problems: Vec<Problem>,
    /// Own certificates that a list revokes, by their files. They are no fault of the trust that is loaded.
    revoked: Vec<(PathBuf, Problem)>,
    remarks: Vec<String>,
}

impl<'a> PkiLoader<'a> {
    fn new(scope: &'a str, now: i64) -> Self {
        Self {
            scope,
            now,
            problems: Vec::new(),
            revoked: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// Own chain, leaf first; empty if it cannot be read.
    fn chain(&mut self, files: &IdentityFiles, mode: Mode) -> Vec<Parsed> {
        let at = &files.certificate;
        let Some(mut contents) = self.pem(at, FileRole::Certificate) else {
            return Vec::new();
        };
        if contents.certificates.is_empty() {
            self.add(at, FileRole::Certificate, no_certificate(&contents));
        } else if contents.has_key() && files.key.value != at.value {
            self.add(
                at,
                FileRole::Certificate,
                "also holds a private key; keep the key in the key file alone",
            );
        }
        // LIMIT: CHAIN_CERTIFICATES_MAX; further certificates are ignored.
        if contents.certificates.len() > CHAIN_CERTIFICATES_MAX {
            let count = contents.certificates.len();
            self.add(
                at,
                FileRole::Certificate,
                format!(
                    "holds {count} certificates, {CHAIN_CERTIFICATES_MAX} at most; keep the chain \
                     of this site there, and CAs of peers in \"trust\""
                ),
            );
            contents.certificates.truncate(CHAIN_CERTIFICATES_MAX);
        }
        let chain = self.parse(at, FileRole::Certificate, &mut contents);
        self.judge_chain(files, &chain, mode);
        chain
    }

    fn judge_chain(&mut self, files: &IdentityFiles, chain: &[Parsed], mode: Mode) {
        let at = &files.certificate;
        let own = OwnFiles {
            certificate: &at.value,
            key: &files.key.value,
        };
        let facts: Vec<Facts> = chain.iter().map(|parsed| parsed.facts.clone()).collect();
        if let Some(disorder) = rules::chain_order(&facts) {
            // The leaf is then unknown, so single certificates are not reported.
            self.add(at, FileRole::Certificate, disorder);
            return;
        }
        let Some((leaf, above)) = facts.split_first() else {
            return;
        };
        for problem in rules::leaf(leaf, own, mode, self.now) {
            self.add(at, FileRole::Certificate, problem);
        }
        for (place, ca) in above.iter().enumerate() {
            // Above the CA that issued the leaf, an expired certificate is a root, or was issued to a root
            // by an older one. Peers trust the CA below it by a certificate of their own.
            if ca.not_after <= self.now && place > 0 {
                self.remark_surplus(at, ca);
                continue;
            }
            for problem in rules::intermediate(ca, self.now) {
                self.add_within(at, FileRole::Certificate, ca, &problem);
            }
        }
        self.judge_signatures(at, chain);
    }

    fn remark_surplus(&mut self, at: &Located<PathBuf>, ca: &Facts) {
        let (path, subject) = (at.value.display().to_string(), &ca.subject);
        self.remarks.push(format!(
            "{}{} {path:?}: {subject:?}, issued by {:?}, expired {}; peers that trust {subject:?} itself do not \
             need it, and others refuse this site; take it out of the file",
            self.scope,
            FileRole::Certificate,
            ca.issuer,
            date(ca.not_after)
        ));
    }

    /// A CA that was renewed under its old name breaks a chain whose names still match.
    fn judge_signatures(&mut self, at: &Located<PathBuf>, chain: &[Parsed]) {
        for pair in chain.windows(2) {
            let [below, above] = pair else { continue };
            if facts::certificate_signed_by(&below.der, &above.der) == Some(false) {
                let (subject, issuer) = (&below.facts.subject, &above.facts.subject);
                self.add(
                    at,
                    FileRole::Certificate,
                    format!(
                        "has a broken chain: {subject:?} is not signed by the key of {issuer:?} \
                         that follows it; put the issuer's certificate of the same time there"
                    ),
                );
            }
        }
    }

    /// The private key, compared with the leaf if the leaf could be read.
    fn key(&mut self, files: &IdentityFiles, chain: &[Parsed]) -> Option<PrivateKeyDer<'static>> {
        let at = &files.key;
        let path = at.value.as_path();
        let raw = match file::read(path, FileRole::Key) {
            Ok(raw) => raw,
            Err(problem) => {
                self.add(at, FileRole::Key, problem);
                return None;
            }
        };
        let contents = self.sections(at, FileRole::Key, &raw.bytes);
        // A file that cannot be read may still hold a private key, so its mode is checked in any case.
        let may_hold_key = contents.as_ref().is_none_or(Contents::has_key);
        let mode = raw.key_mode_problem(path, FileRole::Key);
        if let Some(problem) = mode.filter(|_| may_hold_key) {
            self.add(at, FileRole::Key, problem);
        }
        let mut contents = contents?;
        if contents.has_key()
            && !contents.certificates.is_empty()
            && files.certificate.value != at.value
        {
            self.add(
                at,
                FileRole::Key,
                "also holds a certificate, which is not read here; keep the key alone, or name this \
                 file in \"certificate\" too",
            );
        }
        if let Some(problem) = key_count_problem(path, &contents) {
            self.add(at, FileRole::Key, problem);
            return None;
        }
        let key = contents.keys.pop()?;
        self.judge_key(files, &key, chain);
        Some(key)
    }

    fn judge_key(&mut self, files: &IdentityFiles, key: &PrivateKeyDer<'static>, chain: &[Parsed]) {
        let leaf = chain.first().map(|leaf| &leaf.facts);
        // If the key belongs to a certificate further up, the chain is out of order, which was already
        // reported.
        let belongs = |public: &Vec<u8>| chain.iter().any(|one| one.facts.spki == *public);
        match (public_key(key), leaf) {
            (Some(public), Some(_)) if !belongs(&public) => {
                let certificate = files.certificate.value.display().to_string();
                self.add(
                    &files.key,
                    FileRole::Key,
                    format!(
                        "does not belong to certificate {certificate:?}: the public keys differ; \
                         name the key that the certificate was issued for"
                    ),
                );
            }
            // The certificate's own problem already reports the key.
            (None, Some(leaf)) if leaf.key.fault(KeyUse::Peer).is_some() => {}
            (None, _) => self.add(
                &files.key,
                FileRole::Key,
                "is of a kind that cannot be used here, or damaged; use RSA of 2048 to 4096 bit, \
                 EC P-256, EC P-384 or Ed25519",
            ),
            (Some(_), _) => {}
        }
    }

    /// The trust anchors, including expired ones.
    fn anchors(&mut self, at: &Located<PathBuf>) -> Vec<Parsed> {
        let Some(mut contents) = self.pem(at, FileRole::Trust) else {
            return Vec::new();
        };
        if contents.has_key() {
            self.add(
                at,
                FileRole::Trust,
                "holds a private key, but trust is handed to others; take it out, and replace that \
                 key if anyone had the file",
            );
        }
        if contents.certificates.is_empty() {
            self.add(
                at,
                FileRole::Trust,
                "holds no certificate; put the CA certificates of your peers there, as PEM",
            );
        }
        let anchors = self.parse(at, FileRole::Trust, &mut contents);
        for anchor in &anchors {
            for problem in rules::anchor(&anchor.facts) {
                self.add_within(at, FileRole::Trust, &anchor.facts, &problem);
            }
        }
        let facts: Vec<&Facts> = anchors.iter().map(|anchor| &anchor.facts).collect();
        let problems = [
            rules::anchors_current(&facts, self.now),
            rules::anchors_of_one_name(&facts),
        ];
        for problem in problems.into_iter().flatten() {
            self.add(at, FileRole::Trust, problem);
        }
        anchors
    }

    fn unexpired(&self, anchors: Vec<Parsed>) -> Vec<CertificateDer<'static>> {
        let current = |anchor: &Parsed| self.now < anchor.facts.not_after;
        let anchors = anchors.into_iter().filter(current);
        anchors.map(|anchor| anchor.der).collect()
    }

    fn pem(&mut self, at: &Located<PathBuf>, role: FileRole) -> Option<Contents> {
        match file::read(&at.value, role) {
            Ok(raw) => self.sections(at, role, &raw.bytes),
            Err(problem) => {
                self.add(at, role, problem);
                None
            }
        }
    }

    fn sections(
        &mut self,
        at: &Located<PathBuf>,
        role: FileRole,
        bytes: &[u8],
    ) -> Option<Contents> {
        if file::is_der(bytes) {
            self.add(at, role, file::der_problem(&at.value, role, bytes));
            return None;
        }
        match file::parse_pem(&at.value, bytes) {
            Ok(contents) => {
                if let Some(problem) = contents.out_of_place(role) {
                    self.add(at, role, problem);
                }
                Some(contents)
            }
            Err(problem) => {
                self.add(at, role, problem);
                None
            }
        }
    }

    fn parse(
        &mut self,
        at: &Located<PathBuf>,
        role: FileRole,
        contents: &mut Contents,
    ) -> Vec<Parsed> {
        let mut parsed = Vec::new();
        for (index, der) in std::mem::take(&mut contents.certificates)
            .into_iter()
            .enumerate()
        {
            match Facts::of(&der) {
                Ok(facts) => parsed.push(Parsed { der, facts }),
                Err(_) => {
                    let number = index + 1;
                    self.add(
                        at,
                        role,
                        format!(
                            "holds something else than a certificate, or a damaged one, in section \
                             {number}; copy it again"
                        ),
                    );
                }
            }
        }
        parsed
    }

    fn add(&mut self, at: &Located<PathBuf>, role: FileRole, problem: impl AsRef<str>) {
        let path = at.value.display().to_string();
        self.problems.push(Problem {
            line: Some(at.line),
            text: format!("{}{role} {path:?} {}", self.scope, problem.as_ref()),
        });
    }

    /// Reports a problem of one of several certificates in a file.
    fn add_within(&mut self, at: &Located<PathBuf>, role: FileRole, which: &Facts, problem: &str) {
        let (path, subject) = (at.value.display().to_string(), &which.subject);
        self.problems.push(Problem {
            line: Some(at.line),
            text: format!("{}{role} {path:?}: {subject:?} {problem}", self.scope),
        });
    }
}

fn no_certificate(contents: &Contents) -> &'static str {
    if contents.has_key() {
        "holds a private key and no certificate; are \"certificate\" and \"key\" swapped?"
    } else {
        "holds no certificate; PEM (\"-----BEGIN CERTIFICATE-----\") is expected"
    }
}

fn key_count_problem(path: &Path, contents: &Contents) -> Option<String> {
    if contents.encrypted_key {
        let path = path.display();
        return Some(format!(
            "is encrypted, which is not supported; decrypt it with `(umask 077; openssl pkey -in \
             {path} -out {path}.plain)` and name that file"
        ));
    }
    match contents.keys.len() {
        1 => None,
        0 if !contents.certificates.is_empty() => Some(
            "holds a certificate and no private key; are \"certificate\" and \"key\" swapped?"
                .to_owned(),
        ),
        0 => Some("holds no private key; PEM with PKCS#8, SEC1 or PKCS#1 is expected".to_owned()),
        count => Some(format!(
            "holds {count} private keys; keep the one that the certificate was issued for"
        )),
    }
}

/// The SubjectPublicKeyInfo of a private key, if TLS can sign with a key of its kind.
pub(crate) fn public_key(key: &PrivateKeyDer<'_>) -> Option<Vec<u8>> {
    let signer = rustls::crypto::ring::sign::any_supported_type(key).ok()?;
    Some(signer.public_key()?.to_vec())
}

#[cfg(test)]
mod tests;
