//! DICOM programs with TLS of their own (DCMTK's `+tls`) with one gateway at the other end.
//!
//! Debian's DCMTK offers only RSA suites in TLS 1.2, so it supports an ECDSA certificate only in TLS 1.3; the
//! tests use both kinds of certificate.

use tempfile::TempDir;
use wardgate_tests::pki::{Key, Kind, Leaf};
use wardgate_tests::tier;
use wardgate_tests::{Background, DEADLINE, Pki, Program, dicom, free_port};

use crate::pair::{A, B, assert_accepted, originate, terminate};
use crate::peers::{DCMTK, storescp, storescp_with, storescu};

const KEYS: [Key; 2] = [Key::P256, Key::Rsa(2048)];

#[test]
fn storescu_with_tls_stores_through_terminate() {
    if !tier::ready("interop", &DCMTK) {
        return;
    }
    for key in KEYS {
        let pki = Pki::new();
        let (sent, received) = folders();
        let files = dicom::series(sent.path(), "WARDGATE", 6, 256);
        let (wan, target) = (free_port(), free_port());
        let _scp = storescp(target, received.path());
        let site = terminate(&pki, "dicom", wan, target)
            .route_identity(&pki.leaf_with(B, key))
            .start();
        let options = tls(&pki.leaf_with(A, key));
        storescu(wan, &refs(&options), &files)
            .run()
            .expect_success();
        assert_eq!(dicom::objects(received.path()), dicom::objects_in(&files));
        let line = site.wait_for_connections(1);
        assert_accepted(&line[0], A);
        site.stop();
    }
}

#[test]
fn storescu_stores_through_originate_at_storescp_with_tls() {
    if !tier::ready("interop", &DCMTK) {
        return;
    }
    for key in KEYS {
        let pki = Pki::new();
        let (sent, received) = folders();
        let files = dicom::series(sent.path(), "WARDGATE", 6, 256);
        let (entry, wan) = (free_port(), free_port());
        let options = tls(&pki.leaf_with(B, key));
        let scp = storescp_with(wan, received.path(), &refs(&options));
        let _scp = Background::listening(&scp, wan);
        let site = originate(&pki, "dicom", entry, wan)
            .route_identity(&pki.leaf_with(A, key))
            .start();
        storescu(entry, &["-R"], &files).run().expect_success();
        assert_eq!(dicom::objects(received.path()), dicom::objects_in(&files));
        let line = site.wait_for_connections(1);
        assert_accepted(&line[0], B);
        site.stop();
    }
}

#[test]
fn storescu_with_another_sites_certificate_is_refused_by_terminate() {
    if !tier::ready("interop", &DCMTK) {
        return;
    }
    let pki = Pki::new();
    let (sent, received) = folders();
    let files = dicom::series(sent.path(), "WARDGATE", 1, 64);
    let (wan, target) = (free_port(), free_port());
    let _scp = storescp(target, received.path());
    let site = terminate(&pki, "dicom", wan, target).start();
    let options = tls(&pki.odd(A, Kind::OtherName));
    storescu(wan, &refs(&options), &files)
        .run()
        .expect_failure();
    assert_eq!(dicom::objects(received.path()), []);
    let line = site.wait_for_connection_line("the refusal", DEADLINE, |_| true);
    assert!(line.text("reason").contains("other.example"), "{line:?}");
    site.stop();
}

#[test]
fn storescp_with_another_sites_certificate_is_refused_by_originate() {
    if !tier::ready("interop", &DCMTK) {
        return;
    }
    let pki = Pki::new();
    let (_, received) = folders();
    let (entry, wan) = (free_port(), free_port());
    let options = tls(&pki.odd(B, Kind::OtherName));
    let scp = storescp_with(wan, received.path(), &refs(&options));
    let _scp = Background::listening(&scp, wan);
    let site = originate(&pki, "dicom", entry, wan).start();
    let echo = Program::new("echoscu").args(["127.0.0.1", &entry.to_string()]);
    echo.run().expect_failure();
    let line = site.wait_for_connection_line("the refusal", DEADLINE, |_| true);
    assert!(line.text("reason").contains("other.example"), "{line:?}");
    site.stop();
}

/// DCMTK without a certificate of its own (`+tla`).
#[test]
fn anonymous_storescu_is_refused_by_terminate() {
    if !tier::ready("interop", &DCMTK) {
        return;
    }
    let pki = Pki::new();
    let (sent, received) = folders();
    let files = dicom::series(sent.path(), "WARDGATE", 1, 64);
    let (wan, target) = (free_port(), free_port());
    let _scp = storescp(target, received.path());
    let site = terminate(&pki, "dicom", wan, target).start();
    storescu(wan, &["-R", "+tla", "-ic"], &files)
        .run()
        .expect_failure();
    assert_eq!(dicom::objects(received.path()), []);
    site.wait_for_connection_line("the refusal", DEADLINE, |_| true);
    site.stop();
}

fn folders() -> (TempDir, TempDir) {
    let make = || TempDir::new().expect("there is room");
    (make(), make())
}

/// DCMTK's TLS options with this certificate, and with a check of the other party.
fn tls(leaf: &Leaf) -> Vec<String> {
    let file = |path: &std::path::Path| path.display().to_string();
    vec![
        "+tls".into(),
        file(&leaf.key),
        file(&leaf.certificate),
        "+cf".into(),
        file(&leaf.trust),
    ]
}

fn refs(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}
