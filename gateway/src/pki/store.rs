//! Loads the certificate, key, trust and revocation files of a route, and finds what is wrong.
//!
//! Every problem is reported, not the first. What passes here does not expire silently: `expiry` says
//! how long it still lasts.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroize;

use super::expiry::{date, unix};
use super::facts::{self, CrlFacts, Facts};
use super::file::{self, Contents, Role};
use super::{Identity, Trust, rules};
use crate::config::{IdentityFiles, Located, Mode, Problem};
use crate::limits::CHAIN_CERTIFICATES_MAX;

/// Loads the files of an identity for a route of `mode`.
///
/// Expired anchors are left out of the trust: TLS would believe them for ever, because the dates of
/// an anchor are no part of path validation (RFC 5280 section 6.1.1). Anchors that are not valid yet
/// stay, for a CA that is about to change.
///
/// # Errors
///
/// Every problem found, with the line of the file's name in the configuration. A text begins with the
/// object (`certificate "/etc/wardgate/site.pem" expired ...`): the caller puts the route in front.
pub fn load(files: &IdentityFiles, mode: Mode, now: SystemTime) -> Result<Identity, Vec<Problem>> {
    let mut loader = Loader {
        mode,
        now: unix(now),
        problems: Vec::new(),
    };
    let chain = loader.chain(files);
    let key = loader.key(files, &chain);
    let trust = files.trust.as_deref();
    let anchors = trust.map_or_else(Vec::new, |trust| loader.anchors(&trust.trust));
    let crls = loader.crls(files, &chain, &anchors);
    match key {
        Some(key) if loader.problems.is_empty() => Ok(Identity {
            chain: chain.into_iter().map(|parsed| parsed.der).collect(),
            key,
            trust: Trust {
                anchors: loader.unexpired(anchors),
                crls,
            },
        }),
        Some(mut key) => {
            key.zeroize();
            Err(loader.problems)
        }
        None => Err(loader.problems),
    }
}

/// A certificate as it stands in the file, with what it says.
struct Parsed {
    der: CertificateDer<'static>,
    facts: Facts,
}

/// Gathers problems while it loads. Loading goes on after each, so that all are found.
struct Loader {
    mode: Mode,
    /// Seconds since 1970.
    now: i64,
    problems: Vec<Problem>,
}

impl Loader {
    /// Own chain, leaf first; empty where there is none to speak of.
    fn chain(&mut self, files: &IdentityFiles) -> Vec<Parsed> {
        let at = &files.certificate;
        let Some(mut contents) = self.pem(at, Role::Certificate) else {
            return Vec::new();
        };
        if contents.certificates.is_empty() {
            self.add(at, Role::Certificate, no_certificate(&contents));
        } else if contents.has_key() && files.key.value != at.value {
            self.add(
                at,
                Role::Certificate,
                "also holds a private key; keep the key in the key file alone",
            );
        }
        // LIMIT: CHAIN_CERTIFICATES_MAX; what is beyond it is not looked at.
        if contents.certificates.len() > CHAIN_CERTIFICATES_MAX {
            let count = contents.certificates.len();
            self.add(
                at,
                Role::Certificate,
                format!(
                    "holds {count} certificates, {CHAIN_CERTIFICATES_MAX} at most; keep the chain \
                     of this site there, and CAs of peers in \"trust\""
                ),
            );
            contents.certificates.truncate(CHAIN_CERTIFICATES_MAX);
        }
        let chain = self.parse(at, Role::Certificate, &mut contents);
        self.judge_chain(at, &chain);
        chain
    }

    fn judge_chain(&mut self, at: &Located<PathBuf>, chain: &[Parsed]) {
        let facts: Vec<Facts> = chain.iter().map(|parsed| parsed.facts.clone()).collect();
        if let Some(disorder) = rules::chain_order(&facts) {
            // Which of them is the leaf is then a guess, so nothing is said of single certificates.
            self.add(at, Role::Certificate, disorder);
            return;
        }
        let Some((leaf, above)) = facts.split_first() else {
            return;
        };
        for problem in rules::leaf(leaf, self.mode, self.now) {
            self.add(at, Role::Certificate, problem);
        }
        for ca in above {
            for problem in rules::intermediate(ca, self.now) {
                self.add_within(at, Role::Certificate, ca, &problem);
            }
        }
        self.judge_signatures(at, chain);
    }

    /// A CA that was renewed under its old name breaks a chain that looks whole by its names.
    fn judge_signatures(&mut self, at: &Located<PathBuf>, chain: &[Parsed]) {
        for pair in chain.windows(2) {
            let [below, above] = pair else { continue };
            if facts::certificate_signed_by(&below.der, &above.der) == Some(false) {
                let (subject, issuer) = (&below.facts.subject, &above.facts.subject);
                self.add(
                    at,
                    Role::Certificate,
                    format!(
                        "has a broken chain: {subject:?} is not signed by the key of {issuer:?} \
                         that follows it; put the issuer's certificate of the same time there"
                    ),
                );
            }
        }
    }

    /// The private key, matched with the leaf where that could be read.
    fn key(&mut self, files: &IdentityFiles, chain: &[Parsed]) -> Option<PrivateKeyDer<'static>> {
        let at = &files.key;
        let path = at.value.as_path();
        let raw = match file::read(path, Role::Key) {
            Ok(raw) => raw,
            Err(problem) => {
                self.add(at, Role::Key, problem);
                return None;
            }
        };
        if let Some(problem) = raw.key_mode_problem(path) {
            self.add(at, Role::Key, problem);
        }
        let mut contents = self.sections(at, Role::Key, &raw.bytes)?;
        if contents.has_key()
            && !contents.certificates.is_empty()
            && files.certificate.value != at.value
        {
            self.add(
                at,
                Role::Key,
                "also holds a certificate, which is not read here; keep the key alone, or name this \
                 file in \"certificate\" too",
            );
        }
        if let Some(problem) = key_count_problem(path, &contents) {
            self.add(at, Role::Key, problem);
            return None;
        }
        let key = contents.keys.pop()?;
        self.judge_key(files, &key, chain);
        Some(key)
    }

    fn judge_key(&mut self, files: &IdentityFiles, key: &PrivateKeyDer<'static>, chain: &[Parsed]) {
        let leaf = chain.first().map(|leaf| &leaf.facts);
        // A key that fits further up says only that the chain is out of order, which has been said.
        let belongs = |public: &Vec<u8>| chain.iter().any(|one| one.facts.spki == *public);
        match (public_key(key), leaf) {
            (Some(public), Some(_)) if !belongs(&public) => {
                let certificate = files.certificate.value.display().to_string();
                self.add(
                    &files.key,
                    Role::Key,
                    format!(
                        "does not belong to certificate {certificate:?}: the public keys differ; \
                         name the key that the certificate was issued for"
                    ),
                );
            }
            // That the key is too weak to be used has been said of its certificate.
            (None, Some(leaf)) if rules::weak_key(&leaf.key, "").is_some() => {}
            (None, _) => self.add(
                &files.key,
                Role::Key,
                "is of a kind that cannot be used here, or damaged; use RSA of 2048 to 4096 bit, \
                 EC P-256, EC P-384 or Ed25519",
            ),
            (Some(_), _) => {}
        }
    }

    /// The trust anchors, expired ones included.
    fn anchors(&mut self, at: &Located<PathBuf>) -> Vec<Parsed> {
        let Some(mut contents) = self.pem(at, Role::Trust) else {
            return Vec::new();
        };
        if contents.has_key() {
            self.add(
                at,
                Role::Trust,
                "holds a private key, but trust is handed to others; take it out, and replace that \
                 key if anyone had the file",
            );
        }
        if contents.certificates.is_empty() {
            self.add(
                at,
                Role::Trust,
                "holds no certificate; put the CA certificates of your peers there, as PEM",
            );
        }
        let anchors = self.parse(at, Role::Trust, &mut contents);
        for anchor in &anchors {
            for problem in rules::anchor(&anchor.facts) {
                self.add_within(at, Role::Trust, &anchor.facts, &problem);
            }
        }
        let facts: Vec<&Facts> = anchors.iter().map(|anchor| &anchor.facts).collect();
        if let Some(problem) = rules::anchors_current(&facts, self.now) {
            self.add(at, Role::Trust, problem);
        }
        anchors
    }

    fn unexpired(&self, anchors: Vec<Parsed>) -> Vec<CertificateDer<'static>> {
        let current = |anchor: &Parsed| self.now < anchor.facts.not_after;
        let anchors = anchors.into_iter().filter(current);
        anchors.map(|anchor| anchor.der).collect()
    }

    /// All revocation lists of all configured files.
    fn crls(
        &mut self,
        files: &IdentityFiles,
        chain: &[Parsed],
        anchors: &[Parsed],
    ) -> Vec<CertificateRevocationListDer<'static>> {
        let mut all = Vec::new();
        for at in files.trust.iter().flat_map(|trust| &trust.crl) {
            let crls = self.crl_file(at);
            for crl in &crls {
                self.judge_crl(at, crl, chain, anchors, files);
            }
            all.extend(crls);
        }
        all
    }

    fn crl_file(&mut self, at: &Located<PathBuf>) -> Vec<CertificateRevocationListDer<'static>> {
        let read = file::read(&at.value, Role::Crl);
        let crls = read.and_then(|raw| file::parse_crls(&at.value, &raw.bytes));
        match crls {
            Ok(crls) if crls.is_empty() => self.add(
                at,
                Role::Crl,
                "holds no revocation list; PEM (\"-----BEGIN X509 CRL-----\") or DER is expected",
            ),
            Ok(crls) => return crls,
            Err(problem) => self.add(at, Role::Crl, problem),
        }
        Vec::new()
    }

    fn judge_crl(
        &mut self,
        at: &Located<PathBuf>,
        crl: &CertificateRevocationListDer<'static>,
        chain: &[Parsed],
        anchors: &[Parsed],
        files: &IdentityFiles,
    ) {
        let facts = match CrlFacts::of(crl) {
            Ok(facts) => facts,
            Err(error) => {
                let problem =
                    format!("is not a revocation list that can be read ({error}); fetch it again");
                return self.add(at, Role::Crl, problem);
            }
        };
        let mut problems = rules::crl(&facts, self.now);
        // Intermediates of the own chain count: their CAs revoke peers' certificates as well.
        let above = chain.get(1..).unwrap_or_default();
        problems.extend(crl_issuer_problem(crl, &facts, anchors.iter().chain(above)));
        if problems.is_empty() {
            problems.extend(crl_refused(crl));
        }
        let of = &facts.issuer;
        for problem in problems {
            self.add(at, Role::Crl, format!("of {of:?} {problem}"));
        }
        if let Some(leaf) = chain.first() {
            self.judge_own_revocation(&facts, at, &leaf.facts, files);
        }
    }

    fn judge_own_revocation(
        &mut self,
        crl: &CrlFacts,
        crl_at: &Located<PathBuf>,
        leaf: &Facts,
        files: &IdentityFiles,
    ) {
        if let Some(entry) = crl.revokes(leaf) {
            let (since, list) = (date(entry.at), crl_at.value.display().to_string());
            self.add(
                &files.certificate,
                Role::Certificate,
                format!(
                    "was revoked {since}, says crl {list:?}; issue a new one with `wardgate pki \
                     issue`"
                ),
            );
        }
    }

    fn pem(&mut self, at: &Located<PathBuf>, role: Role) -> Option<Contents> {
        match file::read(&at.value, role) {
            Ok(raw) => self.sections(at, role, &raw.bytes),
            Err(problem) => {
                self.add(at, role, problem);
                None
            }
        }
    }

    fn sections(&mut self, at: &Located<PathBuf>, role: Role, bytes: &[u8]) -> Option<Contents> {
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

    fn parse(&mut self, at: &Located<PathBuf>, role: Role, contents: &mut Contents) -> Vec<Parsed> {
        let mut parsed = Vec::new();
        for (index, der) in std::mem::take(&mut contents.certificates)
            .into_iter()
            .enumerate()
        {
            match Facts::of(&der) {
                Ok(facts) => parsed.push(Parsed { der, facts }),
                Err(error) => {
                    let number = index + 1;
                    self.add(
                        at,
                        role,
                        format!(
                            "holds something else than a certificate in section {number} \
                             ({error}); copy it again"
                        ),
                    );
                }
            }
        }
        parsed
    }

    fn add(&mut self, at: &Located<PathBuf>, role: Role, problem: impl AsRef<str>) {
        let path = at.value.display().to_string();
        self.problems.push(Problem {
            line: Some(at.line),
            text: format!("{role} {path:?} {}", problem.as_ref()),
        });
    }

    /// Reports a problem of one certificate among several in a file.
    fn add_within(&mut self, at: &Located<PathBuf>, role: Role, which: &Facts, problem: &str) {
        let (path, subject) = (at.value.display().to_string(), &which.subject);
        self.problems.push(Problem {
            line: Some(at.line),
            text: format!("{role} {path:?}: {subject:?} {problem}"),
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

/// The SubjectPublicKeyInfo of a private key, where it is of a kind that TLS can sign with here.
pub(crate) fn public_key(key: &PrivateKeyDer<'_>) -> Option<Vec<u8>> {
    let signer = rustls::crypto::ring::sign::any_supported_type(key).ok()?;
    Some(signer.public_key()?.to_vec())
}

/// Says that no known CA signed a list. A CA may have several certificates under one name.
fn crl_issuer_problem<'a>(
    crl: &[u8],
    facts: &CrlFacts,
    known: impl Iterator<Item = &'a Parsed>,
) -> Option<String> {
    let named = known.filter(|ca| ca.facts.subject_der == facts.issuer_der);
    let verdicts: Vec<_> = named.map(|ca| facts::crl_signed_by(crl, &ca.der)).collect();
    if verdicts.is_empty() {
        Some(
            "belongs to no CA in \"trust\"; put that CA's certificate there, or take the list out"
                .to_owned(),
        )
    } else if verdicts.iter().all(|verdict| *verdict == Some(false)) {
        Some(
            "is not signed by that CA's key as \"trust\" has it; fetch list and CA certificate \
             again"
                .to_owned(),
        )
    } else {
        None
    }
}

/// The last word is that of the verifier which will use the list.
fn crl_refused(crl: &[u8]) -> Option<String> {
    let error = webpki::OwnedCertRevocationList::from_der(crl).err()?;
    Some(format!(
        "cannot be used for TLS ({error}); ask the CA for a full list, version 2"
    ))
}

#[cfg(test)]
mod tests;
