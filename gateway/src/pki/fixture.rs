//! A site with valid files in a folder of its own. Tests change one property at a time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

use super::{Identity, Trust, store};
use crate::config::{IdentityFiles, Located, Mode, Problem, TrustFiles};

/// The lines of the configuration that name the files.
pub(crate) const LINES: [usize; 4] = [11, 12, 13, 14];

/// 2026-06-01, noon, in UTC.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_780_315_200)
}

/// A CA with its key.
pub(crate) struct Ca {
    pub(crate) params: CertificateParams,
    pub(crate) key: KeyPair,
    pub(crate) certificate: Certificate,
}

impl Ca {
    /// A CA named `name`, valid from 2020 to 2040.
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    /// The same CA, with `change` applied before it is signed.
    pub(crate) fn with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = Self::params(name);
        change(&mut params);
        let certificate = params.self_signed(&key).expect("a CA");
        Self {
            params,
            key,
            certificate,
        }
    }

    /// A CA that this CA has issued.
    pub(crate) fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = Self::params(name);
        let certificate = params.signed_by(&key, &self.issuer()).expect("a CA");
        Self {
            params,
            key,
            certificate,
        }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    pub(crate) fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// An empty list of 2026-05-20, due 2026-06-20, with `change` applied before it is signed.
    pub(crate) fn crl(&self, change: impl FnOnce(&mut CertificateRevocationListParams)) -> String {
        let mut params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 5, 20),
            next_update: date_time_ymd(2026, 6, 20),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut params);
        let crl = params.signed_by(&self.issuer()).expect("a list");
        crl.pem().expect("PEM")
    }
}

/// A site: a CA, and certificate, key, trust and, if added, a revocation list in one folder.
pub(crate) struct Site {
    dir: TempDir,
    pub(crate) ca: Ca,
    crls: Vec<&'static str>,
}

impl Site {
    /// A site whose files are all valid at `now()`; it has no revocation list.
    pub(crate) fn new() -> Self {
        let site = Self {
            dir: tempfile::tempdir().expect("a folder"),
            ca: Ca::new("Region CA"),
            crls: Vec::new(),
        };
        site.leaf(|_| {});
        site.write("trust.pem", site.ca.pem());
        site
    }

    /// The parameters of a valid certificate for the site, for the year 2026.
    pub(crate) fn leaf_params() -> CertificateParams {
        let mut params = CertificateParams::default();
        let name = "gw.hospital.example";
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().expect("a name"))];
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        params.serial_number = Some(SerialNumber::from(0x1234));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params
    }

    /// Issues a certificate from the site's CA with `change` applied, and writes it with its key.
    pub(crate) fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) {
        self.write("site.pem", self.leaf_pem(&self.ca, change));
    }

    /// Issues a certificate from `ca`, writes its key, and returns the certificate.
    pub(crate) fn leaf_pem(&self, ca: &Ca, change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = Self::leaf_params();
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        self.write("site.key", key.serialize_pem());
        params.signed_by(&key, &ca.issuer()).expect("signed").pem()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a text file")
    }

    /// Writes a file that only its owner may read.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("written");
        self.chmod(name, 0o600);
    }

    pub(crate) fn chmod(&self, name: &str, mode: u32) {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(self.path(name), mode).expect("chmod");
    }

    /// Writes a revocation list and adds it to the configuration.
    pub(crate) fn add_crl(&mut self, name: &'static str, bytes: impl AsRef<[u8]>) {
        self.write(name, bytes);
        self.crls.push(name);
    }

    pub(crate) fn files(&self) -> IdentityFiles {
        let at = |name: &str, line: usize| Located {
            value: self.path(name),
            line,
        };
        IdentityFiles {
            certificate: at("site.pem", LINES[0]),
            key: at("site.key", LINES[1]),
            trust: Some(Arc::new(TrustFiles {
                trust: at("trust.pem", LINES[2]),
                crl: self.crls.iter().map(|name| at(name, LINES[3])).collect(),
            })),
        }
    }

    pub(crate) fn load(&self, mode: Mode) -> Result<(Arc<Identity>, Arc<Trust>), Vec<Problem>> {
        let (identity, trust) = store::load(&Arc::new(self.files()), mode, now())?;
        Ok((identity, trust.expect("a site has trust")))
    }

    /// The problems of a terminate route at `now()`: line and text, without the folder's name.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.problems_of(Mode::Terminate, now())
    }

    pub(crate) fn problems_of(&self, mode: Mode, now: SystemTime) -> Vec<String> {
        let loaded = store::load(&Arc::new(self.files()), mode, now);
        let problems = loaded.err().unwrap_or_default();
        let folder = format!("{}/", self.dir.path().display());
        let text = |problem: Problem| {
            let line = problem.line.expect("a line");
            format!("{line}: {}", problem.text.replace(&folder, ""))
        };
        problems.into_iter().map(text).collect()
    }

    /// Runs `openssl` in the site's folder.
    pub(crate) fn openssl(&self, arguments: &str) -> String {
        openssl(self.dir.path(), arguments)
    }
}

/// Runs `openssl` with arguments separated by spaces and returns its output; panics if it fails.
pub(crate) fn openssl(dir: &Path, arguments: &str) -> String {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(dir)
        .output()
        .expect("openssl is installed: `apt-get install openssl`");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "openssl {arguments}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}
