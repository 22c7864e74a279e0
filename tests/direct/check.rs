//! `wardgate check` on valid configurations with faulty files, compared with golden messages.
//!
//! A unit test covers wrong configurations (`gateway/src/config/tests.rs`). Set `WARDGATE_BLESS=1` to write
//! the current messages, then read the difference.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::tier::workspace;
use wardgate_tests::{Outcome, Pki, Program, Site, wardgate};

use crate::pair::{A, B};

/// The beginning of a warning that appears only for root.
pub(crate) const AS_ROOT: &str = "wardgate runs as root;";

/// Checks a site and compares the output with `tests/data/check/NAME.expected`.
pub(crate) fn golden(name: &str, pki: &Pki, site: &Site) {
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let file = folder.path().join("wardgate.toml");
    site.write(&file);
    let outcome = check(&file);
    let code = outcome.status.and_then(|status| status.code());
    assert_eq!(code, Some(78), "{outcome}");
    let found = outcome
        .text()
        .replace(&folder.path().display().to_string(), "SITE")
        .replace(&pki.path("").display().to_string(), "PKI/")
        .replace(
            pki.trust()
                .parent()
                .expect("a folder")
                .to_string_lossy()
                .as_ref(),
            "PKI",
        );
    let found = without_dates(&found);
    let path = expected(name);
    if std::env::var_os("WARDGATE_BLESS").is_some() {
        fs::write(&path, &found).expect("the folder can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{}", path.display());
}

fn expected(name: &str) -> PathBuf {
    let folder = workspace().join("tests/data/check");
    folder.join(name).with_added_extension("expected")
}

fn check(file: &Path) -> Outcome {
    let program = Program::new(wardgate());
    program.args(["check", "--config"]).arg(file).run()
}

/// Replaces each calendar date by DATE and the time after it by TIME, so that the day of the test does not
/// matter.
pub(crate) fn without_dates(text: &str) -> String {
    let shape = |word: &str| -> String {
        let class = |c: char| if c.is_ascii_digit() { '9' } else { c };
        word.chars().map(class).collect()
    };
    let mut masked = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if rest.get(..10).map(shape).as_deref() == Some("9999-99-99") {
            masked += "DATE";
            rest = &rest[10..];
            if rest.get(..10).map(shape).as_deref() == Some(" 99:99 UTC") {
                masked += " TIME";
                rest = &rest[10..];
            }
        } else {
            masked.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    masked
}

pub(crate) fn originate(leaf: &Leaf) -> Site {
    let peers = [format!("dns:{B}")];
    Site::with_identity(leaf).originate("127.0.0.1:11112", "127.0.0.1:2762", &peers)
}

fn terminate(leaf: &Leaf) -> Site {
    let peers = [format!("dns:{B}")];
    Site::with_identity(leaf).terminate("127.0.0.1:2762", "127.0.0.1:11112", &peers)
}

#[test]
fn good_site_is_good() {
    let pki = Pki::new();
    let site = originate(&pki.leaf(A)).crl(&pki.crl());
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let file = folder.path().join("wardgate.toml");
    site.write(&file);
    let outcome = check(&file).expect_success();
    assert_eq!(
        without_user(&outcome),
        [format!("{}: good; 1 route", file.display())]
    );
}

/// The output of `check` for a valid site, without the path before each line.
fn remarks(site: &Site) -> Vec<String> {
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let file = folder.path().join("wardgate.toml");
    site.write(&file);
    let path = format!("{}: ", file.display());
    let lines = without_user(&check(&file).expect_success());
    lines.iter().map(|line| line.replace(&path, "")).collect()
}

/// The lines that do not depend on the user who runs the tests.
fn without_user(outcome: &Outcome) -> Vec<String> {
    let text = outcome.text();
    let lines = text.lines().filter(|line| !line.contains(AS_ROOT));
    lines.map(str::to_owned).collect()
}

#[test]
fn rules_that_leave_something_open_are_valid_and_give_warnings() {
    let pki = Pki::new();
    let site = || originate(&pki.leaf(A)).name("out").crl(&pki.crl());
    let good = "good; 1 route";
    assert_eq!(remarks(&site().set("commands", r#"["C-STORE"]"#)), [good]);
    assert_eq!(
        remarks(&site().set("commands", r#"["C-STORE", "C-MOVE"]"#)),
        [
            good,
            "remark: route \"out\": the images of a C-MOVE come in an association that the other side opens, but this \
                route names no route for it; if it is to come through this gateway, write return = \"NAME\""
        ]
    );
    let report = site().set("calling_ae", r#"["CT_A"]"#);
    assert_eq!(remarks(&report), [good]);
    assert_eq!(
        remarks(&report.set("rules", "\"report\"")),
        [
            good,
            "remark: route \"out\": rules = \"report\": what the rules forbid passes, is logged (\"would refuse\") and \
                counted in wardgate_would_refuse_total; remove the line to refuse it"
        ]
    );
}

#[test]
fn an_interface_that_this_machine_lacks_is_valid_and_gives_a_warning() {
    let pki = Pki::new();
    let site = || originate(&pki.leaf(A)).name("out").crl(&pki.crl());
    let good = "good; 1 route";
    assert_eq!(remarks(&site().set("interface", "\"lo\"")), [good]);
    assert_eq!(
        remarks(&site().set("interface", "\"nosuch0\"")),
        [
            "no mistake in the configuration and its files; 1 route",
            "`wardgate run` would not start on this machine (exit code 78): route \"out\": interface \"nosuch0\": this \
             machine has no such interface; `ip link` lists its interfaces; if the file is for another machine, \
             check it there"
        ]
    );
}

#[test]
fn a_way_back_and_a_listener_for_several_archives_are_good() {
    let pki = Pki::new();
    let peers = [format!("dns:{B}")];
    let archives = r#"[{ called = "A", targets = ["127.0.0.1:105"] }, { called = ["B"], targets = ["127.0.0.1:106"] }]"#;
    let site = originate(&pki.leaf(A))
        .name("out")
        .crl(&pki.crl())
        .set("commands", r#"["C-ECHO", "C-MOVE"]"#)
        .set("observe", "\"strict\"")
        .set("return", "\"back\"")
        .set("health", "\"tls\"")
        .terminate("127.0.0.1:2763", "127.0.0.1:104", &peers)
        .name("back")
        .set("ae", archives)
        .set("ae_bind", format!(r#"{{ "CT A" = "dns:{B}" }}"#))
        .set("return", "\"out\"")
        .set("health", r#"{ probe = "c-echo", fall = 2 }"#)
        .set("observe", "\"strict\"");
    assert_eq!(remarks(&site), ["good; 2 routes"]);
}

#[test]
fn wrong_command_line_is_a_usage_error() {
    let outcome = Program::new(wardgate()).args(["check", "--konfig"]).run();
    let code = outcome.status.and_then(|status| status.code());
    assert_eq!(code, Some(2), "{outcome}");
}

#[test]
fn odd_certificates_are_named() {
    let pki = Pki::new();
    for (name, kind) in [
        ("certificate-expired", Kind::Expired),
        ("certificate-not-yet-valid", Kind::NotYetValid),
        ("certificate-of-a-ca", Kind::AuthorityAsLeaf),
        ("certificate-with-wrong-usage", Kind::WrongUsage),
        ("certificate-with-short-rsa-key", Kind::ShortRsa),
        ("certificate-without-names", Kind::CommonNameOnly),
        ("certificate-of-a-server-originates", Kind::ServerOnly),
    ] {
        golden(name, &pki, &originate(&pki.odd(A, kind)));
    }
    let client = pki.odd(A, Kind::ClientOnly);
    golden(
        "certificate-of-a-client-terminates",
        &pki,
        &terminate(&client),
    );
}

#[test]
fn own_revocation_is_named() {
    let pki = Pki::new();
    let site = originate(&pki.odd(A, Kind::Revoked)).crl(&pki.crl());
    golden("certificate-revoked", &pki, &site);
}

#[test]
fn wrong_keys_are_named() {
    let pki = Pki::new();
    let mut leaf = pki.leaf(A);
    leaf.key = pki.leaf(A).key;
    golden("key-of-another", &pki, &originate(&leaf));

    let leaf = pki.leaf(A);
    for (name, mode) in [("key-world-readable", 0o644), ("key-group-writable", 0o620)] {
        fs::set_permissions(&leaf.key, fs::Permissions::from_mode(mode)).expect("it is ours");
        golden(name, &pki, &originate(&leaf));
    }

    let leaf = pki.leaf(A);
    fs::remove_file(&leaf.key).expect("it is ours");
    golden("key-missing", &pki, &originate(&leaf));

    let mut leaf = pki.leaf(A);
    leaf.key = leaf.certificate.clone();
    golden("key-is-a-certificate", &pki, &originate(&leaf));
}

#[test]
fn wrong_files_are_named() {
    let pki = Pki::new();
    let mut leaf = pki.leaf(A);
    leaf.certificate = pki.path("nowhere.pem");
    golden("certificate-missing", &pki, &originate(&leaf));

    let mut leaf = pki.leaf(A);
    leaf.certificate = leaf.key.clone();
    golden("certificate-is-a-key", &pki, &originate(&leaf));

    let mut leaf = pki.leaf(A);
    leaf.trust = pki.path("nowhere.pem");
    golden("trust-missing", &pki, &originate(&leaf));

    let mut leaf = pki.leaf(A);
    leaf.trust = leaf.certificate.clone();
    golden("trust-is-own-certificate", &pki, &originate(&leaf));

    let leaf = pki.leaf(A);
    fs::write(&leaf.certificate, [0x30, 0x82, 1, 0]).expect("it is ours");
    golden("certificate-is-binary", &pki, &originate(&leaf));
}

#[test]
fn wrong_revocation_lists_are_named() {
    let pki = Pki::new();
    let site = originate(&pki.leaf(A));
    let expired = site.clone().crl(&pki.expired_crl());
    golden("crl-expired", &pki, &expired);
    let missing = site.clone().crl(&pki.path("nowhere.crl"));
    golden("crl-missing", &pki, &missing);
    golden("crl-is-a-certificate", &pki, &site.crl(&pki.trust()));
}

/// If a trust file holds several CAs, each of them could issue a certificate for every peer.
#[test]
fn trust_of_several_cas_is_refused_with_the_tables_to_write() {
    let pki = Pki::new();
    let mut leaf = pki.leaf(A);
    leaf.trust = pki.both_trusts();
    let pin = format!("sha256:{}", "ab".repeat(32));
    let site = Site::with_identity(&leaf)
        .crl(&pki.crl())
        .peer("third", &["dns:gw.c.example"], &pki.trust())
        .originate(
            "127.0.0.1:11112",
            "127.0.0.1:2762",
            &[format!("dns:{B}"), pin.clone()],
        )
        .terminate(
            "127.0.0.1:2763",
            "127.0.0.1:11113",
            &[
                format!("dns:{B}"),
                "uri:urn:nhs:ods:X26".to_owned(),
                "third".to_owned(),
            ],
        );
    golden("trust-of-several-cas", &pki, &site);

    // A `sha256:` identity needs no CA.
    let pinned = Site::with_identity(&leaf).originate("127.0.0.1:11112", "127.0.0.1:2762", &[pin]);
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let file = folder.path().join("wardgate.toml");
    pinned.write(&file);
    check(&file).expect_success();
}

#[test]
fn a_file_of_all_cas_is_refused_as_the_trust_of_several_peers() {
    let pki = Pki::new();
    let of_two = |second: &Path| {
        let names = ["a".to_owned(), "b".to_owned()];
        Site::with_identity(&pki.leaf("gw.own.example"))
            .peer("a", &["dns:gw.a.example"], &pki.both_trusts())
            .peer("b", &["dns:gw.b.example"], second)
            .terminate("127.0.0.1:2763", "127.0.0.1:11113", &names)
    };
    golden("trust-of-two-peers", &pki, &of_two(&pki.both_trusts()));

    // One CA for both may be intended, and gives a warning.
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let file = folder.path().join("wardgate.toml");
    of_two(&pki.trust()).write(&file);
    let outcome = check(&file);
    let told = "peer \"b\": its trust and that of peer \"a\" both hold CA ";
    assert!(outcome.text().contains(told), "{outcome}");
    outcome.expect_success();
}

#[test]
fn several_problems_are_reported_at_once() {
    let pki = Pki::new();
    let leaf = pki.odd(A, Kind::Expired);
    fs::set_permissions(&leaf.key, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let mut other = pki.odd(A, Kind::AuthorityAsLeaf);
    other.key = pki.leaf(A).key;
    let site = originate(&leaf)
        .crl(&pki.expired_crl())
        .terminate("127.0.0.1:2763", "127.0.0.1:11113", &[format!("dns:{B}")])
        .route_identity(&other);
    golden("several-at-once", &pki, &site);
}
