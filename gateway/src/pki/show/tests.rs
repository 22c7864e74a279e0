//! The exact output of `wardgate pki show`.

use std::time::{Duration, SystemTime};

use rcgen::{RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd};

use super::super::fixture::{Ca, Site, now, openssl};
use super::describe;

fn shown(site: &Site, name: &str) -> String {
    shown_at(site, name, now())
}

fn shown_at(site: &Site, name: &str, now: SystemTime) -> String {
    describe(&site.path(name), now).expect("shown").text
}

/// The text after the last `=` or space of openssl's output, as plain lower-case hexadecimal.
fn digest(site: &Site, arguments: &str) -> String {
    let printed = site.openssl(arguments);
    let last = printed.trim().rsplit(['=', ' ']).next().expect("an output");
    last.replace(':', "").to_lowercase()
}

#[test]
fn a_certificate_is_described_with_the_same_hashes_as_by_openssl() {
    let site = Site::new();
    let fingerprint = digest(&site, "x509 -in site.pem -noout -fingerprint -sha256");
    site.openssl("pkey -in site.key -pubout -outform DER -out spki.der");
    let key = digest(&site, "dgst -sha256 spki.der");
    assert_eq!(
        shown(&site, "site.pem"),
        format!(
            "certificate 1\n  \
             subject       \"CN=gw.hospital.example\"\n  \
             issuer        \"CN=Region CA\"\n  \
             names         dns:gw.hospital.example\n  \
             key           EC P-256 (256 bit)\n  \
             signature     ECDSA with SHA-256\n  \
             valid         2026-01-01 to 2027-01-01, 213 days left\n  \
             use           TLS server, TLS client; key: digitalSignature\n  \
             CA            no\n  \
             serial        1234\n  \
             fingerprint   {fingerprint} (SHA-256 of the certificate)\n  \
             as a peer     \"sha256:{key}\"\n"
        )
    );
}

#[test]
fn a_root_names_itself_as_issuer_and_a_chain_is_numbered() {
    let site = Site::new();
    site.write("both.pem", site.read("site.pem") + &site.ca.pem());
    let text = shown(&site, "both.pem");
    assert!(text.contains("\n\ncertificate 2\n"), "{text}");
    assert_eq!(
        text.matches("as a peer").count(),
        1,
        "a CA is no peer: {text}"
    );
    assert!(
        text.contains("  issuer        \"CN=Region CA\" (itself)\n"),
        "{text}"
    );
    assert!(text.contains("  CA            yes\n"), "{text}");
    assert!(
        text.contains("  use           any purpose; key: keyCertSign, cRLSign\n"),
        "{text}"
    );
}

#[test]
fn dates_are_relative_to_today() {
    let site = Site::new();
    let at = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
    // 2026-01-01 is day 20454, 2027-01-01 is day 20819.
    for (day, words) in [
        (20_453, "not yet valid, 1 day to go"),
        (20_454, "365 days left"),
        (20_818, "1 day left"),
        (20_819, "expired 0 days ago"),
        (20_829, "expired 10 days ago"),
    ] {
        let text = shown_at(&site, "site.pem", at(day));
        let line = format!("  valid         2026-01-01 to 2027-01-01, {words}\n");
        assert!(text.contains(&line), "{day}: {text}");
    }
}

#[test]
fn a_revocation_list_is_shown_with_its_entries_up_to_a_bound() {
    let site = Site::new();
    let entry = |serial: u64, reason| RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2026, 5, 19),
        reason_code: reason,
        invalidity_date: None,
    };
    let compromised = Some(RevocationReason::KeyCompromise);
    let few = vec![entry(0x12ab, compromised), entry(0x80, None)];
    site.write("ca.crl", site.ca.crl(|crl| crl.revoked_certs = few));
    assert_eq!(
        shown(&site, "ca.crl"),
        "revocation list\n  \
         issuer        \"CN=Region CA\"\n  \
         number        1\n  \
         signature     ECDSA with SHA-256\n  \
         valid         2026-05-20 to 2026-06-20, 18 days left\n  \
         revoked       2 certificates\n                \
         12ab since 2026-05-19, key-compromise\n                \
         80 since 2026-05-19\n"
    );
    let many = (1..=103).map(|serial| entry(serial, None)).collect();
    site.write("ca.crl", site.ca.crl(|crl| crl.revoked_certs = many));
    let text = shown(&site, "ca.crl");
    assert!(
        text.contains("  revoked       103 certificates\n"),
        "{text}"
    );
    assert!(
        text.ends_with("64 since 2026-05-19\n                and 3 more\n"),
        "{text}"
    );
}

#[test]
fn a_private_key_is_shown_by_its_type_and_never_by_its_bytes() {
    let site = Site::new();
    let key = site.read("site.key");
    site.write("both.pem", site.ca.pem() + &site.read("site.pem") + &key);
    let text = shown(&site, "both.pem");
    assert!(
        text.contains("\nprivate key\n  type          EC P-256 (256 bit), in PKCS#8\n"),
        "{text}"
    );
    assert!(text.contains("  belongs to    certificate 2\n"), "{text}");
    let base64: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let der = openssl(&site.path(""), "pkey -in site.key -noout -text");
    let private: Vec<_> = der.lines().skip(2).take(3).map(str::trim).collect();
    assert!(private[0].contains(':'), "{der}");
    for line in base64.as_bytes().chunks(16).map(String::from_utf8_lossy) {
        assert!(!text.contains(&*line));
    }
    for line in private {
        assert!(!text.contains(&line.replace(':', "")));
    }
    site.write("other.pem", site.ca.pem() + &key);
    assert!(shown(&site, "other.pem").contains("  belongs to    no certificate in this file\n"));
    let alone = shown(&site, "site.key");
    assert!(!alone.contains("belongs to"), "{alone}");
}

#[test]
fn readable_and_encrypted_keys_are_reported() {
    let site = Site::new();
    site.chmod("site.key", 0o644);
    let text = shown(&site, "site.key");
    assert!(
        text.contains("  permissions   has mode 0644: it is open to every user;"),
        "{text}"
    );
    site.openssl("pkcs8 -topk8 -v2 aes256 -passout pass:secret -in site.key -out secret.key");
    let text = shown(&site, "secret.key");
    assert!(
        text.starts_with(
            "private key\n  type          encrypted; nothing else is known about it\n"
        ),
        "{text}"
    );
}

#[test]
fn der_is_shown_like_pem() {
    let site = Site::new();
    site.write("ca.crl", site.ca.crl(|_| {}));
    site.openssl("x509 -in site.pem -outform DER -out site.der");
    site.openssl("crl -in ca.crl -outform DER -out crl.der");
    site.openssl("pkcs8 -topk8 -nocrypt -in site.key -outform DER -out key.der");
    site.chmod("key.der", 0o600);
    for (der, pem) in [
        ("site.der", "site.pem"),
        ("crl.der", "ca.crl"),
        ("key.der", "site.key"),
    ] {
        assert_eq!(shown(&site, der), shown(&site, pem));
    }
}

#[test]
fn control_characters_of_a_certificate_do_not_reach_the_terminal() {
    let site = Site::new();
    site.leaf(|leaf| {
        let name = rcgen::DnType::CommonName;
        leaf.distinguished_name.push(name, "red\u{1b}[31m\nsubject");
        let uri = "urn:\u{1b}[31m\n".try_into().expect("IA5");
        leaf.subject_alt_names = vec![rcgen::SanType::URI(uri)];
    });
    let text = shown(&site, "site.pem");
    assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()),
        "{text:?}"
    );
    assert!(
        text.contains("  names         uri:urn:\\u{1b}[31m\\n\n"),
        "{text:?}"
    );
}

#[test]
fn other_files_are_refused() {
    let site = Site::new();
    site.write("note.txt", "hello");
    let error = describe(&site.path("note.txt"), now()).expect_err("refused");
    let path = site.path("note.txt").display().to_string();
    assert_eq!(
        error.to_string(),
        format!(
            "{path:?} holds no certificate, no private key and no revocation list; PEM or DER is \
             expected"
        )
    );
}

#[test]
fn unused_sections_are_reported_and_the_others_are_shown() {
    let site = Site::new();
    site.openssl("x509 -in trust.pem -trustout -out trusted.pem");
    site.write(
        "both.pem",
        site.read("trusted.pem") + &site.read("site.pem"),
    );
    let path = site.path("both.pem");
    let shown = describe(&path, now()).expect("one can be read");
    assert!(shown.text.starts_with("certificate 1\n"), "{}", shown.text);
    let path = path.display();
    let unread: Vec<_> = shown.unread.iter().map(ToString::to_string).collect();
    assert_eq!(
        unread,
        [format!(
            "\"{path}\" has a section \"TRUSTED CERTIFICATE\" in line 1 that is not read; convert the \
             file with `openssl storeutl -certs -out {path}.new {path}`, and name that file"
        )]
    );
    site.write("both.pem", site.read("trusted.pem"));
    let error = describe(&site.path("both.pem"), now()).expect_err("nothing can be read");
    assert_eq!(error.to_string(), unread[0]);
}

#[test]
fn constraints_that_are_not_critical_or_cannot_be_read_are_reported_so() {
    let site = Site::new();
    let content = |bytes: &[u8]| {
        let oid = &[2, 5, 29, 30];
        rcgen::CustomExtension::from_oid_content(oid, bytes.to_vec())
    };
    let cases: [(&[u8], &str); 2] = [
        (
            b"\x30\x0d\xa0\x0b\x30\x09\x82\x07a.local",
            "  permitted     dns:a.local and names below it (not critical)\n",
        ),
        (
            b"\x30\x03\x02\x01\x05",
            "  excluded      names of a kind that is not known here (not critical)\n",
        ),
    ];
    for (bytes, expected) in cases {
        let ca = Ca::with("Odd CA", |params| {
            params.custom_extensions.push(content(bytes));
        });
        site.write("odd.pem", ca.pem());
        let text = shown(&site, "odd.pem");
        assert!(text.contains(expected), "{text}");
    }
}
