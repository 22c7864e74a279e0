//! Fetched lists against the list in the file.

use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::super::authority::{Authority, KeyType, NewAuthority, Permitted, RevokeReason};
use super::*;
use crate::config::{IdentityFiles, Mode};

const DAY: Duration = Duration::from_secs(86_400);

/// A CA whose certificate is the trust, and the file that fetched lists replace.
struct Fetch {
    dir: TempDir,
    now: SystemTime,
}

impl Fetch {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let fetch = Self { dir, now };
        fetch.authority("ca", "Region CA");
        fetch
    }

    fn authority(&self, folder: &str, name: &str) -> Authority {
        let wanted = NewAuthority {
            name: name.to_owned(),
            key: KeyType::P256,
            days: 1000,
            crl_days: 30,
            permitted: Permitted::default(),
        };
        Authority::init(&self.path(folder), &wanted, self.now).expect("a CA")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The next list of the CA in `folder`, made `days` from now, as PEM.
    fn list(&self, folder: &str, days: u32) -> Vec<u8> {
        let mut authority = Authority::open(&self.path(folder)).expect("the CA opens");
        let written = authority
            .renew_crl(30, self.now + DAY * days)
            .expect("a list");
        std::fs::read(written.path).expect("it was written")
    }

    fn take(&self, bytes: &[u8]) -> Result<Taken, String> {
        self.take_at(bytes, self.now + DAY)
    }

    fn take_at(&self, bytes: &[u8], now: SystemTime) -> Result<Taken, String> {
        let at = |value: PathBuf| Located { value, line: 7 };
        let trust = TrustFiles {
            trust: at(self.path("ca/ca.pem")),
            crl: vec![at(self.path("region.crl"))],
        };
        let mut store = Store::new(now);
        let own = IdentityFiles {
            certificate: at(self.path("site.pem")),
            key: at(self.path("site.key")),
            trust: None,
        };
        store.own_chain(&own, Mode::Terminate);
        let taken = take(&store, "peer \"region\": ", &trust, &trust.crl[0], bytes);
        taken.map_err(|error| error.to_string())
    }

    fn file(&self) -> Vec<u8> {
        std::fs::read(self.path("region.crl")).unwrap_or_default()
    }

    /// Expects that `bytes` are refused for a reason with `why` in it, and that the file stays.
    #[track_caller]
    fn assert_refused(&self, bytes: &[u8], why: &str) {
        let before = self.file();
        let error = self.take(bytes).expect_err("refused");
        assert!(error.contains(why), "{why}: {error}");
        assert_eq!(self.file(), before, "{why}");
    }
}

fn der_of(pem: &[u8]) -> Vec<u8> {
    file::parse_crls(Path::new("x"), pem).expect("PEM")[0].to_vec()
}

#[test]
fn a_newer_list_replaces_the_file_and_the_same_list_does_not() {
    let fetch = Fetch::new();
    let [first, second] = [0, 1].map(|days| fetch.list("ca", days));
    let taken = fetch.take(&first).expect("there was none");
    assert!(taken.is_new);
    assert_eq!(fetch.file(), first);
    assert!(!fetch.take(&first).expect("the same").is_new);
    assert!(fetch.take(&second).expect("newer").is_new);
    assert_eq!(fetch.file(), second);
    let expected = Authority::open(&fetch.path("ca"))
        .expect("the CA")
        .renew_crl(30, fetch.now + DAY);
    assert_eq!(
        fetch.take(&second).expect("the same").ends,
        expected.expect("a list").due
    );
}

#[test]
fn a_list_in_der_is_taken_and_text_around_pem_is_not_written() {
    let fetch = Fetch::new();
    let [first, second] = [0, 1].map(|days| fetch.list("ca", days));
    fetch.take(&der_of(&first)).expect("DER");
    assert_eq!(fetch.file(), der_of(&first));
    let with_text = [b"<!-- a mirror's advertisement -->\n".as_slice(), &second].concat();
    fetch.take(&with_text).expect("PEM");
    assert_eq!(fetch.file(), second);
    assert!(
        !fetch
            .take(&der_of(&second))
            .expect("the same in DER")
            .is_new
    );
}

#[test]
fn an_older_list_is_refused_by_its_number_and_by_its_date() {
    let fetch = Fetch::new();
    let [first, second] = [0, 1].map(|days| fetch.list("ca", days));
    fetch.take(&second).expect("there was none");
    fetch.assert_refused(&first, "it is older than the list of \"CN=Region CA\"");
    // A higher number with an older date.
    let back = fetch.list("ca", 0);
    fetch.assert_refused(
        &back,
        "if the CA counts from the beginning again, remove the file and fetch again",
    );
    let head = |number: Option<&[u8]>| CrlHead {
        number: number.map(<[u8]>::to_vec),
        ..CrlHead::of(&der_of(&first)).expect("a list")
    };
    for (new, old, older) in [
        (Some(&[2][..]), Some(&[1][..]), false),
        (Some(&[1, 0]), Some(&[255]), false),
        (Some(&[255]), Some(&[1, 0]), true),
        (Some(&[7]), None, false),
        (None, Some(&[7]), true),
        (None, None, false),
    ] {
        let is_older = is_older(&head(new), &head(old), i64::MAX);
        assert_eq!(is_older, older, "{new:?} {old:?}");
    }
}

#[test]
fn a_list_of_a_clock_that_was_ahead_is_refused_and_replaced_by_one_with_a_higher_number() {
    let fetch = Fetch::new();
    let [first, ahead, next] = [0, 400, 1].map(|days| fetch.list("ca", days));
    fetch.take(&first).expect("there was none");
    fetch.assert_refused(&ahead, "the clock of the CA's machine was ahead");
    // It came into the file when the clock of this machine was ahead as well.
    let later = fetch.now + DAY * 400;
    fetch.take_at(&ahead, later).expect("it is newer");
    fetch.assert_refused(&first, "it is older than the list of \"CN=Region CA\"");
    assert!(fetch.take(&next).expect("its number is higher").is_new);
    assert_eq!(fetch.file(), next);
}

#[test]
fn lists_of_other_cas_and_damaged_and_expired_lists_are_refused() {
    let fetch = Fetch::new();
    let [first, second] = [0, 1].map(|days| fetch.list("ca", days));
    fetch.take(&first).expect("there was none");
    fetch.authority("other", "Other CA");
    fetch.authority("forged", "Region CA");
    fetch.assert_refused(&fetch.list("other", 0), "belongs to no CA in \"trust\"");
    fetch.assert_refused(&fetch.list("forged", 0), "is not signed by that CA's key");
    let der = der_of(&second);
    fetch.assert_refused(
        &der[..der.len() / 2],
        "is not a revocation list that can be read",
    );
    fetch.assert_refused(&second[..second.len() / 2], "");
    fetch.assert_refused(b"", "holds no revocation list");
    fetch.assert_refused(b"<html>not found</html>", "holds no revocation list");
    // Several lists, of which one is not accepted.
    fetch.assert_refused(
        &[second.clone(), fetch.list("other", 0)].concat(),
        "belongs to no CA",
    );
    let error = fetch
        .take_at(&second, fetch.now + DAY * 60)
        .expect_err("expired");
    assert!(error.contains("expired"), "{error}");
}

#[test]
fn a_file_that_is_damaged_or_has_expired_is_replaced_and_one_that_cannot_be_judged_is_not() {
    let fetch = Fetch::new();
    let first = fetch.list("ca", 0);
    fetch.take(&first).expect("there was none");
    // 40 days later the present list has expired, and an old one is still refused.
    let late = fetch.list("ca", 40);
    let then = fetch.now + DAY * 41;
    fetch.take_at(&late, then).expect("newer");
    std::fs::write(fetch.path("region.crl"), "damaged").expect("written");
    fetch.take_at(&late, then).expect("nothing to compare with");
    let path = fetch.path("region.crl");
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("a folder");
    let error = fetch.take_at(&late, then).expect_err("no file");
    assert!(
        error.contains("region.crl\" is not a regular file"),
        "{error}"
    );
}

#[test]
fn a_fetched_list_may_revoke_this_site_and_does_not_drop_the_list_of_another_ca() {
    let fetch = Fetch::new();
    let mut authority = Authority::open(&fetch.path("ca")).expect("the CA");
    let names = super::super::authority::NewCertificate {
        dns: vec!["gw.example".to_owned()],
        uri: Vec::new(),
        key: KeyType::P256,
        days: 100,
    };
    let output = super::super::authority::OutputFiles {
        certificate: fetch.path("site.pem"),
        key: fetch.path("site.key"),
    };
    let issued = authority.issue(&names, &output, fetch.now).expect("issued");
    let serial = super::super::authority::Revocable::Serial(issued.serial);
    authority
        .revoke(&serial, RevokeReason::Unspecified, 30, fetch.now)
        .expect("revoked");
    drop(authority);
    let both = |days| {
        let lists = ["ca", "second"].map(|folder| fetch.list(folder, days));
        lists.concat()
    };
    fetch.authority("second", "Second CA");
    // Both CAs are trusted.
    let trust =
        ["ca/ca.pem", "second/ca.pem"].map(|file| std::fs::read(fetch.path(file)).expect("a CA"));
    std::fs::write(fetch.path("ca/ca.pem.new"), trust.concat()).expect("written");
    let present = both(1);
    let alone = fetch.list("ca", 1);
    std::fs::rename(fetch.path("ca/ca.pem.new"), fetch.path("ca/ca.pem")).expect("renamed");
    fetch.take(&present).expect("both");
    fetch.assert_refused(&alone, "it has no list of \"CN=Second CA\"");
}
