//! Loads revocation lists: each file is read once, and checked for each trust that names it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateRevocationListDer;

use super::super::crl::{self, Crl, CrlHead, SignedBy};
use super::super::expiry::date;
use super::super::file::{self, FileRole};
use super::super::webpki_error::webpki_error_text;
use super::super::{facts, rules};
use super::{OwnChain, Parsed, PkiLoader, Store};
use crate::config::access::UserIds;
use crate::config::{IdentityFiles, Located, Mode, Problem, RunAs, TrustFiles};
use crate::pki::Trust;

/// The revocation lists of a file, or why it cannot be read.
pub(super) type CrlFile = Result<Vec<ReadCrl>, String>;

/// A revocation list, and its problems whatever the trust.
pub(super) struct ReadCrl {
    crl: Option<Arc<Crl>>,
    problems: Vec<String>,
}

impl ReadCrl {
    pub(super) fn new(der: CertificateRevocationListDer<'static>, now: i64) -> Self {
        let head = match CrlHead::of(&der) {
            Ok(head) => head,
            Err(error) => {
                let problem =
                    format!("is not a revocation list that can be read ({error}); fetch it again");
                return Self {
                    crl: None,
                    problems: vec![problem],
                };
            }
        };
        let issuer = head.issuer.clone();
        let mut problems = rules::crl(&head, now);
        let crl = match Crl::with_head(head, der) {
            Ok(crl) => Some(Arc::new(crl)),
            Err(error) => {
                if problems.is_empty() {
                    problems.push(format!(
                        "cannot be used for TLS ({}); ask the CA for a full list, version 2",
                        webpki_error_text(&error)
                    ));
                }
                None
            }
        };
        let of_issuer = |problem| format!("of {issuer:?} {problem}");
        Self {
            crl,
            problems: problems.into_iter().map(of_issuer).collect(),
        }
    }
}

impl Store {
    /// The same store for a gateway with this `run_as`: if root reads revocation lists, they may belong to that user.
    #[must_use]
    pub(crate) fn of_service(self, run_as: &RunAs) -> Self {
        let service = UserIds::of_service(run_as);
        Self { service, ..self }
    }

    /// The CAs of trust that was loaded and cannot be used because of its revocation lists.
    #[must_use]
    pub(crate) fn without_lists(&self, files: &Arc<TrustFiles>) -> Option<Arc<Trust>> {
        self.without_lists.get(&Arc::as_ptr(files)).cloned()
    }

    pub(super) fn crl_file(&mut self, path: &Path) -> Arc<CrlFile> {
        if let Some(known) = self.crl_files.get(path) {
            return Arc::clone(known);
        }
        let raw = file::read_list(path, self.service);
        let crls = raw.and_then(|raw| file::parse_crls(path, &raw.bytes));
        let now = self.now;
        let read = crls.map(|crls| crls.into_iter().map(|der| ReadCrl::new(der, now)).collect());
        let read = Arc::new(read);
        self.crl_files.insert(path.to_owned(), Arc::clone(&read));
        read
    }

    /// Notes the chain of an identity whose key is not needed, because the CAs of the chain sign revocation
    /// lists too.
    pub fn own_chain(&mut self, files: &IdentityFiles, mode: Mode) {
        let chain = PkiLoader::new("", self.now).chain(files, mode);
        self.own.push(OwnChain {
            scope: String::new(),
            at: files.certificate.clone(),
            chain,
        });
    }

    /// The time for which dates are checked, in seconds since 1970.
    pub(in crate::pki) fn now(&self) -> i64 {
        self.now
    }

    /// The revocation lists in `bytes`, PEM or DER, that the CAs in the file `trust` or those above this site
    /// have signed, and every problem of the bytes and of the file. `at` is the file that problems name.
    pub(in crate::pki) fn lists(
        &self,
        scope: &str,
        trust: &Located<PathBuf>,
        at: &Located<PathBuf>,
        bytes: &[u8],
    ) -> (Vec<Arc<Crl>>, Vec<Problem>) {
        let mut loader = PkiLoader::new(scope, self.now);
        let anchors = loader.anchors(trust);
        let crls = file::parse_crls(&at.value, bytes);
        let read = |der| ReadCrl::new(der, self.now);
        let file = crls.map(|crls| crls.into_iter().map(read).collect());
        let lists = loader.crls(at, &file, &anchors, &self.own);
        (lists, loader.problems)
    }
}

impl PkiLoader<'_> {
    /// The revocation lists of one file, signed by one of `anchors` or by a CA of a chain of this site: the
    /// CAs above this site revoke peers' certificates as well.
    pub(super) fn crls(
        &mut self,
        at: &Located<PathBuf>,
        file: &CrlFile,
        anchors: &[Parsed],
        own: &[OwnChain],
    ) -> Vec<Arc<Crl>> {
        let lists = match file {
            Ok(lists) if lists.is_empty() => {
                self.add(
                    at,
                    FileRole::Crl,
                    "holds no revocation list; PEM (\"-----BEGIN X509 CRL-----\") or DER is expected",
                );
                return Vec::new();
            }
            Ok(lists) => lists,
            Err(problem) => {
                self.add(at, FileRole::Crl, problem);
                return Vec::new();
            }
        };
        let above = own.iter().flat_map(|own| own.chain.iter().skip(1));
        let known: Vec<&Parsed> = anchors.iter().chain(above).collect();
        let mut usable = Vec::new();
        for list in lists {
            for problem in &list.problems {
                self.add(at, FileRole::Crl, problem);
            }
            // If the trust was refused, the list's CA is unknown.
            let Some(crl) = list.crl.as_ref().filter(|_| !anchors.is_empty()) else {
                continue;
            };
            match crl_issuer_problem(crl, &known) {
                Some(problem) => {
                    let issuer = &crl.head().issuer;
                    self.add(at, FileRole::Crl, format!("of {issuer:?} {problem}"));
                }
                None => {
                    self.judge_own_revocation(crl, at, &known, own);
                    usable.push(Arc::clone(crl));
                }
            }
        }
        usable
    }

    /// A list belongs to an own certificate's CA if both name and key match: names are not unique.
    fn judge_own_revocation(
        &mut self,
        crl: &Crl,
        crl_at: &Located<PathBuf>,
        known: &[&Parsed],
        own: &[OwnChain],
    ) {
        for own in own {
            let Some(leaf) = own.chain.first() else {
                continue;
            };
            if crl.head().issuer_der != leaf.facts.issuer_der {
                continue;
            }
            let Some(at) = crl.revoked_at(&leaf.facts.serial) else {
                continue;
            };
            let is_signer = |ca: &&&Parsed| crl.signer() == Some(&crl::key_hash(&ca.facts.spki));
            let signer = known.iter().find(is_signer);
            let signed = signer.and_then(|ca| facts::certificate_signed_by(&leaf.der, &ca.der));
            // A peer's CA may have the same name and a key of another kind. Its list says nothing of this certificate.
            if signed != Some(true) {
                continue;
            }
            let (since, list) = (date(at), crl_at.value.display().to_string());
            let certificate = own.at.value.display().to_string();
            let problem = Problem {
                line: Some(own.at.line),
                text: format!(
                    "{}{} {certificate:?} was revoked {since}, says crl {list:?}; issue a new one \
                     with `wardgate pki issue`",
                    own.scope,
                    FileRole::Certificate
                ),
            };
            self.revoked.push((own.at.value.clone(), problem));
        }
    }
}

/// Reports that no known CA signed a list. A CA may have several certificates under one name.
fn crl_issuer_problem(crl: &Crl, known: &[&Parsed]) -> Option<String> {
    let named = known
        .iter()
        .filter(|ca| ca.facts.subject_der == crl.head().issuer_der);
    let verdicts: Vec<_> = named.map(|ca| crl.signed_by(&ca.facts.spki)).collect();
    if verdicts.contains(&SignedBy::ThisKey) {
        None
    } else if verdicts.is_empty() {
        Some(
            "belongs to no CA in \"trust\"; name the list of that CA, and put this list's CA into \"trust\" only \
             if it is the peer's own"
                .to_owned(),
        )
    } else if verdicts.contains(&SignedBy::Unsupported) {
        Some(format!(
            "is signed by {}, which is not accepted, so every peer would be refused; ask the CA for one \
             signed with SHA-256 or SHA-384",
            crl.head().signature.name
        ))
    } else {
        Some(
            "is not signed by that CA's key as \"trust\" has it; fetch list and CA certificate again"
                .to_owned(),
        )
    }
}
