//! The life of a CA in a folder, from its first certificate to its end.

mod permitted;
mod revocation;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::super::facts::CrlFacts;
use super::super::file::parse_crls;
use super::super::fixture::openssl;
use super::super::store;
use super::*;
use crate::config::{IdentityFiles, Located, Mode, Problem, TrustFiles};

/// A folder with a CA named `Region CA` in `ca`, created now, because openssl uses the real clock.
struct Region {
    dir: TempDir,
    now: SystemTime,
}

impl Region {
    fn new() -> Self {
        Self::with(KeyType::P384, CA_DAYS)
    }

    fn with(key: KeyType, days: u32) -> Self {
        let region = Self::empty();
        region.init(key, days).expect("a CA");
        region
    }

    fn empty() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        Self { dir, now }
    }

    fn init(&self, key: KeyType, days: u32) -> Result<Authority, AuthorityError> {
        self.init_permitting(key, days, Permitted::default())
    }

    fn init_permitting(
        &self,
        key: KeyType,
        days: u32,
        permitted: Permitted,
    ) -> Result<Authority, AuthorityError> {
        let wanted = NewAuthority {
            name: "Region CA".to_owned(),
            key,
            days,
            crl_days: CRL_DAYS,
            permitted,
        };
        Authority::init(&self.path("ca"), &wanted, self.now)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn open(&self) -> Authority {
        Authority::open(&self.path("ca")).expect("the CA opens")
    }

    fn output(&self, name: &str) -> OutputFiles {
        OutputFiles {
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        }
    }

    fn issue(&self, name: &str) -> Issued {
        let issued = self.open().issue(&wanted(), &self.output(name), self.now);
        issued.expect("issued")
    }

    fn load(&self, name: &str, now: SystemTime) -> Result<store::Loaded, Vec<Problem>> {
        let at = |value: PathBuf| Located { value, line: 1 };
        let output = self.output(name);
        let files = Arc::new(IdentityFiles {
            certificate: at(output.certificate),
            key: at(output.key),
            trust: Some(Arc::new(TrustFiles {
                trust: at(self.path("ca/ca.pem")),
                crl: vec![at(self.path("ca/ca.crl"))],
            })),
        });
        store::load(&files, Mode::Terminate, now)?;
        store::load(&files, Mode::Originate, now)
    }

    fn crl(&self) -> CrlFacts {
        let bytes = std::fs::read(self.path("ca/ca.crl")).expect("a list");
        let crls = parse_crls(&self.path("ca/ca.crl"), &bytes).expect("PEM");
        CrlFacts::of(&crls[0]).expect("a list")
    }

    fn certificate(&self, name: &str) -> Facts {
        let path = self.path(&format!("{name}.pem"));
        Facts::of(&read_certificate(&path, FileRole::Certificate).expect("PEM"))
            .expect("a certificate")
    }

    /// The message of an error, without the folder's name.
    fn text(&self, error: &AuthorityError) -> String {
        let folder = format!("{}/", self.dir.path().display());
        error.to_string().replace(&folder, "")
    }

    fn names(&self, folder: &str) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.path(folder)).expect("a folder");
        let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        entries
            .map(|entry| name(entry.expect("an entry")))
            .collect()
    }
}

fn wanted() -> NewCertificate {
    NewCertificate {
        dns: vec!["GW.hospital.example".to_owned()],
        uri: vec!["urn:nhs:ods:X26".to_owned()],
        key: KeyType::P256,
        days: CERTIFICATE_DAYS,
    }
}

fn mode(path: &Path) -> u32 {
    let metadata = std::fs::metadata(path).expect("stat");
    metadata.permissions().mode() & 0o7777
}

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

#[test]
fn what_is_issued_loads_in_both_modes_with_the_first_revocation_list() {
    for key in [KeyType::P256, KeyType::P384] {
        let region = Region::with(key, CA_DAYS);
        let issued = region.issue("site");
        assert_eq!(
            issued.names,
            ["dns:gw.hospital.example", "uri:urn:nhs:ods:X26"]
        );
        assert!(!issued.cut_by_authority);
        let (identity, trust) = region.load("site", region.now).expect("good files");
        assert_eq!(identity.chain.len(), 1);
        assert_eq!(trust.expect("it has trust").crls.len(), 1);
    }
}

#[test]
fn openssl_verifies_certificate_and_list() {
    let region = Region::new();
    region.issue("site");
    let dir = region.dir.path();
    for purpose in ["sslserver", "sslclient"] {
        let verified = openssl(
            dir,
            &format!(
                "verify -x509_strict -purpose {purpose} -crl_check -CRLfile ca/ca.crl -CAfile \
                 ca/ca.pem site.pem"
            ),
        );
        assert_eq!(verified, "site.pem: OK\n");
    }
    let crl = openssl(dir, "crl -in ca/ca.crl -noout -text -CAfile ca/ca.pem");
    assert!(crl.contains("No Revoked Certificates"), "{crl}");
    assert!(
        crl.contains("X509v3 CRL Number: \n                1"),
        "{crl}"
    );
}

#[test]
fn certificates_have_the_documented_usages_and_key_identifiers() {
    let region = Region::new();
    region.issue("site");
    let ca = region.certificate("ca/ca");
    assert!(ca.ca);
    assert_eq!(ca.path_length, Some(0));
    assert_eq!(ca.subject, "CN=Region CA");
    assert_eq!(ca.key.name, "EC P-384");
    assert_eq!(ca.usage, Some(vec!["keyCertSign", "cRLSign"]));
    let leaf = region.certificate("site");
    assert!(!leaf.ca);
    assert_eq!(leaf.usage, Some(vec!["digitalSignature"]));
    let extended = ["serverAuth", "clientAuth"].map(str::to_owned).to_vec();
    assert_eq!(leaf.extended_usage, Some(extended));
    assert_eq!(leaf.serial.len(), 16);
    assert_eq!(
        leaf.not_after - leaf.not_before,
        i64::from(CERTIFICATE_DAYS) * 86_400 + 3600
    );
    let text = openssl(region.dir.path(), "x509 -in site.pem -noout -text");
    assert!(text.contains("X509v3 Subject Key Identifier"), "{text}");
    assert!(text.contains("X509v3 Authority Key Identifier"), "{text}");
}

#[test]
fn keys_are_private_and_no_temporary_file_remains() {
    let region = Region::new();
    region.issue("site");
    let revoked = Revocable::Certificate(region.path("site.pem"));
    let revoke = region
        .open()
        .revoke(&revoked, RevokeReason::Superseded, CRL_DAYS, region.now);
    revoke.expect("revoked");
    for key in ["ca/ca.key", "site.key"] {
        assert_eq!(mode(&region.path(key)), 0o600, "{key}");
    }
    assert_eq!(mode(&region.path("ca/ca.pem")), 0o644);
    let expected = ["ca.crl", "ca.key", "ca.pem", "issued.toml"].map(str::to_owned);
    assert_eq!(region.names("ca"), BTreeSet::from(expected));
    let expected = ["ca", "site.key", "site.pem"].map(str::to_owned);
    assert_eq!(region.names(""), BTreeSet::from(expected));
}

#[test]
fn init_leaves_an_existing_ca_alone() {
    let region = Region::new();
    let before = std::fs::read(region.path("ca/ca.key")).expect("read");
    let error = region.init(KeyType::P256, 10).err().expect("refused");
    assert_eq!(
        region.text(&error),
        "\"ca/ca.key\" exists already and is not overwritten; name another folder with --dir"
    );
    assert_eq!(
        std::fs::read(region.path("ca/ca.key")).expect("read"),
        before
    );
}

#[test]
fn issue_overwrites_neither_key_nor_certificate() {
    let region = Region::new();
    region.issue("site");
    for (gone, there) in [("site.key", "site.pem"), ("site.pem", "site.key")] {
        let keep = std::fs::read(region.path(gone)).expect("read");
        std::fs::remove_file(region.path(gone)).expect("removed");
        let outcome = region
            .open()
            .issue(&wanted(), &region.output("site"), region.now);
        assert_eq!(
            region.text(&outcome.expect_err("refused")),
            format!(
                "{there:?} exists already and is not overwritten; name other files with --out and \
                 --key-out, or replace both with `wardgate pki renew`"
            )
        );
        std::fs::write(region.path(gone), keep).expect("written");
    }
}

#[test]
fn certificate_and_key_never_share_a_file() {
    let region = Region::new();
    let both = OutputFiles {
        certificate: region.path("site"),
        key: region.path("site"),
    };
    let outcome = region.open().issue(&wanted(), &both, region.now);
    assert_eq!(
        region.text(&outcome.expect_err("refused")),
        "\"site\" is named for certificate and key alike; name two files"
    );
    assert_eq!(region.names("").len(), 1, "nothing was written");
}

#[test]
fn certificate_never_outlives_its_ca() {
    let region = Region::with(KeyType::P256, 100);
    let issued = region.issue("site");
    assert!(issued.cut_by_authority);
    let (ca, leaf) = (region.certificate("ca/ca"), region.certificate("site"));
    assert_eq!(leaf.not_after, ca.not_after);
    assert!(leaf.not_before >= ca.not_before);
    let later = region.now + days(101);
    let outcome = region
        .open()
        .issue(&wanted(), &region.output("late"), later);
    let text = region.text(&outcome.expect_err("refused"));
    assert!(text.starts_with("the CA in "), "{text}");
    let ended = date(ca.not_after);
    let expected = format!("expired {ended}; make a new one with `wardgate pki init`");
    assert!(text.ends_with(&expected), "{text}");
}

#[test]
fn names_that_a_certificate_cannot_contain_are_refused() {
    let region = Region::new();
    let refused = |dns: &[&str], uri: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let wanted = NewCertificate {
            dns: owned(dns),
            uri: owned(uri),
            ..wanted()
        };
        let outcome = region
            .open()
            .issue(&wanted, &region.output("bad"), region.now);
        region.text(&outcome.expect_err("refused"))
    };
    assert_eq!(
        refused(&["*.hospital.example"], &[]),
        "name \"*.hospital.example\" has a wildcard, but a certificate names one site; write the \
         name out"
    );
    assert_eq!(
        refused(&["10.0.0.1"], &[]),
        "name \"10.0.0.1\" is an address; give a DNS name, which need not resolve, or a URI"
    );
    assert_eq!(
        refused(&["gw hospital"], &[]),
        "name \"gw hospital\" is not a DNS name; labels of letters, digits and hyphens with dots \
         between are"
    );
    for uri in ["hospital", "urn:", ":x", "urn:a b", "urn:\u{fc}"] {
        assert_eq!(
            refused(&[], &[uri]),
            format!(
                "name {uri:?} is not an absolute URI; write it like urn:nhs:ods:X26 or \
                 https://gw.example/"
            )
        );
    }
    assert_eq!(
        refused(&[], &[]),
        "name \"\" is empty; give at least one with --dns or --uri"
    );
    assert_eq!(region.names("").len(), 1, "nothing was written");
}

#[test]
fn ca_names_that_a_certificate_cannot_contain_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let long = "x".repeat(65);
    let cases = [
        (
            " ",
            "is empty; give the CA a name that people will recognise",
        ),
        (long.as_str(), "is longer than 64 characters; shorten it"),
        ("a\u{7}b", "has control characters; leave them out"),
    ];
    for (name, problem) in cases {
        let wanted = NewAuthority {
            name: name.to_owned(),
            key: KeyType::P256,
            days: 1,
            crl_days: 1,
            permitted: Permitted::default(),
        };
        let error = Authority::init(&dir.path().join("ca"), &wanted, SystemTime::now());
        let error = error.err().expect("refused").to_string();
        assert_eq!(error, format!("name {name:?} {problem}"));
    }
}

#[test]
fn renew_completes_a_pair_that_a_crash_between_the_two_files_left() {
    let region = Region::new();
    region.issue("site");
    region.issue("next");
    let (site, next) = (region.output("site"), region.output("next"));
    // The key was renamed and the certificate was not.
    std::fs::copy(&next.key, &site.key).expect("copied");
    region.load("site", region.now).expect_err("no pair");
    let renewed = region.open().renew(&site, CERTIFICATE_DAYS, region.now);
    renewed.expect("renewed");
    region.load("site", region.now).expect("a pair");
}

#[test]
fn renew_keeps_names_key_type_and_permissions_and_changes_the_key() {
    let region = Region::new();
    let wanted = NewCertificate {
        key: KeyType::P384,
        ..wanted()
    };
    let output = region.output("site");
    let issued = region
        .open()
        .issue(&wanted, &output, region.now)
        .expect("issued");
    let group_reads = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(&output.key, group_reads).expect("chmod");
    let before = region.certificate("site");
    let later = region.now + days(300);
    let renewed = region
        .open()
        .renew(&output, CERTIFICATE_DAYS, later)
        .expect("renewed");
    let after = region.certificate("site");
    assert_eq!(renewed.names, issued.names);
    assert_ne!(renewed.serial, issued.serial);
    let replaced = Replaced {
        serial: issued.serial,
        revoked: None,
    };
    assert_eq!(renewed.replaced, Some(replaced));
    assert_ne!(after.spki, before.spki);
    assert_eq!(after.key.name, "EC P-384");
    assert_eq!(mode(&output.key), 0o640);
    assert_eq!(after.not_after - before.not_after, 300 * 86_400);
    let crl = region.open().renew_crl(CRL_DAYS, later);
    crl.expect("renewed");
    region.load("site", later).expect("key and certificate fit");
    assert_eq!(region.names("").len(), 3, "nothing is left behind");
}

#[test]
fn open_refuses_a_folder_without_ca_a_readable_key_and_a_foreign_key() {
    let region = Region::new();
    let open = |name: &str| {
        let error = Authority::open(&region.path(name)).err().expect("refused");
        region.text(&error)
    };
    assert_eq!(
        open("nothing"),
        "\"nothing\" does not exist; make a CA with `wardgate pki init`"
    );
    std::fs::create_dir(region.path("empty")).expect("mkdir");
    assert_eq!(
        open("empty"),
        "\"empty/ca.pem\" does not exist; name the CA's folder with --dir, or make a CA with \
         `wardgate pki init`"
    );
    let key = region.path("ca/ca.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    assert_eq!(
        open("ca"),
        "\"ca/ca.key\" has mode 0644: it is open to every user; `chmod 0600 ca/ca.key`, and \
         replace the key if others had it"
    );
    std::fs::remove_file(&key).expect("removed");
    std::fs::copy(Region::new().path("ca/ca.key"), &key).expect("copied");
    assert_eq!(
        open("ca"),
        "\"ca/ca.key\" does not belong to ca.pem beside it"
    );
}

#[test]
fn a_damaged_index_is_refused_and_no_list_is_written() {
    let region = Region::new();
    let path = region.path("ca/issued.toml");
    std::fs::write(&path, "crl_number = 1\nunknown = 2\n").expect("written");
    let error = Authority::open(&region.path("ca")).err().expect("refused");
    let text = region.text(&error);
    assert!(
        text.starts_with("\"ca/issued.toml\" is damaged: "),
        "{text}"
    );
    assert!(
        text.ends_with("; restore it from a backup of the CA's folder"),
        "{text}"
    );
    let entry = "crl_number = 1\n[[certificate]]\nserial = \"12\"\nnames = []\nnot_after = \"\"\n\
                 revoked = \"yesterday\"\n";
    std::fs::write(&path, entry).expect("written");
    let outcome = region.open().renew_crl(CRL_DAYS, region.now);
    assert_eq!(
        region.text(&outcome.expect_err("refused")),
        "\"ca/issued.toml\" has a damaged entry for serial \"12\""
    );
    assert_eq!(region.crl().number, Some(vec![1]));
}

#[test]
fn two_commands_at_once_lose_no_entry() {
    let region = Region::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let region = &region;
            scope.spawn(move || {
                for round in 0..5 {
                    region.issue(&format!("site-{thread}-{round}"));
                }
            });
        }
    });
    assert_eq!(region.open().index.certificates.len(), 20);
}

#[test]
fn dates_beyond_the_calendar_are_refused() {
    let region = Region::new();
    let outcome = region.open().renew_crl(u32::MAX, region.now);
    assert_eq!(
        region.text(&outcome.expect_err("refused")),
        "the certificate cannot be made: its dates go beyond the calendar; give fewer --days"
    );
}
