//! The certificates of a run: one authority, and one identity for each end. All programs use the same ones.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use super::End;

/// Where the files of a run lie.
#[derive(Debug)]
pub(crate) struct Certificates {
    folder: PathBuf,
}

/// The files of one end.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) trust: PathBuf,
}

impl Certificates {
    /// Makes them in the folder: ECDSA on P-256, which every program signs with.
    ///
    /// # Errors
    ///
    /// Where a key cannot be made or a file cannot be written.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        let authority = authority().context("cannot make an authority")?;
        let files = Self {
            folder: folder.to_owned(),
        };
        write(&files.trust(), &authority.pem())?;
        for end in [End::Originate, End::Terminate] {
            let key = KeyPair::generate().context("cannot make a key")?;
            let certificate = identity(end)?
                .signed_by(&key, &authority)
                .context("cannot sign a certificate")?;
            let (chain, key) = (certificate.pem(), key.serialize_pem());
            write(&files.certificate(end), &chain)?;
            write(&files.key(end), &key)?;
            write(&files.both(end), &format!("{chain}{key}"))?;
        }
        Ok(files)
    }

    /// The authority's certificate.
    pub(crate) fn trust(&self) -> PathBuf {
        self.folder.join("trust.pem")
    }

    pub(crate) fn certificate(&self, end: End) -> PathBuf {
        self.folder.join(format!("{}.pem", end.name()))
    }

    pub(crate) fn key(&self, end: End) -> PathBuf {
        self.folder.join(format!("{}.key", end.name()))
    }

    pub(crate) fn identity(&self, end: End) -> Identity {
        Identity {
            certificate: self.certificate(end),
            key: self.key(end),
            trust: self.trust(),
        }
    }

    /// Certificate and key in one file, as HAProxy requires.
    pub(crate) fn both(&self, end: End) -> PathBuf {
        self.folder.join(format!("{}.both.pem", end.name()))
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "wardgate-bench");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn identity(end: End) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new([end.host().to_owned()])?;
    params
        .distinguished_name
        .push(DnType::CommonName, end.host());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}

/// Writes a file that no other user may read: wardgate refuses a key that others can read.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
