//! Certificates for the tests: good ones, and one of every kind that must be refused.
//!
//! Made by rcgen from keys of its own; RSA keys come from the `openssl` command, because ring makes
//! none and rightly refuses short ones.

mod leaf;

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber,
};
use tempfile::TempDir;
use test_peers::kind::REVOKED_SERIAL;
use time::{Duration, OffsetDateTime};

pub use leaf::{Key, Leaf};
pub use test_peers::Kind;

/// The name of the authority that both sites trust.
pub const AUTHORITY: &str = "wardgate test authority";

/// A certificate authority that both sites trust, another that neither trusts, and a folder for the
/// files of both. The folder goes with the last of this value, its identities and the sites that have one.
pub struct Pki {
    folder: Arc<TempDir>,
    authority: Authority,
    other: Authority,
    leaves: AtomicU32,
}

/// A certificate authority with its key.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Pki {
    /// Makes both authorities, ECDSA P-384.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
            .expect("the folder is ours");
        let pki = Self {
            folder: Arc::new(folder),
            authority: Authority::new(AUTHORITY),
            other: Authority::new("other test authority"),
            leaves: AtomicU32::new(0),
        };
        write(&pki.trust(), &pki.authority.certificate, 0o644);
        write(&pki.other_trust(), &pki.other.certificate, 0o644);
        write(&pki.crl(), &pki.authority.crl(Duration::days(30)), 0o644);
        let of_other = pki.other.crl(Duration::days(30));
        write(&pki.other_crl(), &of_other, 0o644);
        let expired = pki.authority.crl(-Duration::days(1));
        write(&pki.expired_crl(), &expired, 0o644);
        pki
    }

    /// A good certificate for this DNS name, or this URI, with an ECDSA P-256 key.
    pub fn leaf(&self, name: &str) -> Leaf {
        self.make(name, Kind::Good, Key::P256)
    }

    /// A good certificate for this DNS name with a key of this kind.
    pub fn leaf_with(&self, name: &str, key: Key) -> Leaf {
        self.make(name, Kind::Good, key)
    }

    /// A certificate of an odd kind. [`Kind::OtherName`] is good but for its name, which is not the
    /// one asked for.
    pub fn odd(&self, name: &str, kind: Kind) -> Leaf {
        self.make(name, kind, leaf::key_of(kind))
    }

    /// The trusted authority's certificate, PEM.
    pub fn trust(&self) -> PathBuf {
        self.path("trust.pem")
    }

    /// The other authority's certificate, PEM.
    pub fn other_trust(&self) -> PathBuf {
        self.path("other-trust.pem")
    }

    /// The trusted authority's revocation list, PEM, current for 30 days.
    pub fn crl(&self) -> PathBuf {
        self.path("trust.crl")
    }

    /// The other authority's revocation list, PEM, which names no certificate of the tests.
    pub fn other_crl(&self) -> PathBuf {
        self.path("other-trust.crl")
    }

    /// The trusted authority's list as in [`Pki::crl`], whose time was over yesterday.
    pub fn expired_crl(&self) -> PathBuf {
        self.path("expired.crl")
    }

    /// The same list, made by a machine whose clock was 40 days ahead.
    pub fn future_crl(&self) -> PathBuf {
        let ahead = OffsetDateTime::now_utc() + Duration::days(40);
        let list = self
            .authority
            .list_made(ahead, Duration::days(30), &[REVOKED_SERIAL], 0);
        let file = self.path("future.crl");
        write(&file, &list, 0o644);
        file
    }

    /// The same list, whose time will be over soon. Another file for each name.
    pub fn brief_crl(&self, name: &str, life: std::time::Duration) -> PathBuf {
        let life = Duration::try_from(life).expect("a test waits for seconds");
        let file = self.path(name);
        write(&file, &self.authority.crl(life), 0o644);
        file
    }

    /// The certificates of both authorities in one file, PEM.
    pub fn both_trusts(&self) -> PathBuf {
        let file = self.path("both-trusts.pem");
        if !file.exists() {
            let both = [&self.authority, &self.other].map(|one| one.certificate.as_str());
            write(&file, &both.concat(), 0o644);
        }
        file
    }

    /// A list of the trusted authority that revokes nothing.
    pub fn empty_crl(&self) -> PathBuf {
        let file = self.path("empty.crl");
        write(
            &file,
            &self.authority.list(Duration::days(30), &[], 0),
            0o644,
        );
        file
    }

    /// A list of the trusted authority that names so many certificates, none of them one of ours.
    pub fn large_crl(&self, name: &str, entries: u32) -> PathBuf {
        let file = self.path(name);
        write(
            &file,
            &self
                .authority
                .list(Duration::days(30), &[REVOKED_SERIAL], entries),
            0o644,
        );
        file
    }

    /// A file in the folder of this PKI.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A stem that no other certificate's files have.
    fn stem(&self, name: &str) -> PathBuf {
        let number = self.leaves.fetch_add(1, Ordering::Relaxed);
        let name = name.replace(['/', ':'], "-");
        self.path(&format!("{name}-{number}"))
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("ring makes keys");
        let params = authority_params(name);
        let certificate = params.self_signed(&key).expect("the parameters are whole");
        Self {
            certificate: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for the key of another authority under the name [`AUTHORITY`], PEM.
    fn certify(&self, other: &Self) -> String {
        let params = authority_params(AUTHORITY);
        let certificate = params.signed_by(other.issuer.key(), &self.issuer);
        certificate.expect("the parameters are whole").pem()
    }

    /// A revocation list that names [`REVOKED_SERIAL`] and is current until `until` from now.
    fn crl(&self, until: Duration) -> String {
        self.list(until, &[REVOKED_SERIAL], 0)
    }

    /// The same with further entries.
    fn list(&self, until: Duration, revoked: &[u64], further: u32) -> String {
        self.list_made(OffsetDateTime::now_utc(), until, revoked, further)
    }

    /// The same, made at this time.
    fn list_made(
        &self,
        now: OffsetDateTime,
        until: Duration,
        revoked: &[u64],
        further: u32,
    ) -> String {
        // No serial number of 16 bytes is one of ours, which are shorter or have 20.
        let further = (0..further).map(|number| RevokedCertParams {
            serial_number: SerialNumber::from_slice(
                &(0x7f << 120 | u128::from(number.wrapping_mul(0x9e37_79b1)) << 32).to_be_bytes(),
            ),
            revocation_time: now - Duration::days(3),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: now - Duration::days(2),
            next_update: now + until,
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|serial| RevokedCertParams {
                    serial_number: SerialNumber::from(*serial),
                    revocation_time: now - Duration::days(3),
                    reason_code: Some(RevocationReason::KeyCompromise),
                    invalidity_date: None,
                })
                .chain(further)
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("the dates are sound");
        list.pem().expect("a list that was signed can be written")
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = OffsetDateTime::now_utc() - Duration::days(700);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(700);
    params
}

/// Writes a file with exactly this mode.
fn write(file: &Path, text: &str, mode: u32) {
    use std::io::Write;
    let mut options = fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(file);
    opened
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
}
