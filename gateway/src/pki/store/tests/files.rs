//! Files that are missing, readable by others, swapped, encrypted, binary or damaged, and keys of other
//! certificates.

use std::time::SystemTime;

use rcgen::KeyPair;

use super::super::load;
use super::{LEAF, Site, now, self_signed};
use crate::config::Mode;

#[test]
fn missing_files_are_all_named() {
    let mut site = Site::new();
    site.add_crl("ca.crl", "");
    for name in ["site.pem", "site.key", "trust.pem", "ca.crl"] {
        std::fs::remove_file(site.path(name)).expect("removed");
    }
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" does not exist; correct the path, or make it with \
             `wardgate pki issue`",
            "12: key \"site.key\" does not exist; correct the path, or make it with `wardgate pki \
             issue`",
            "13: trust \"trust.pem\" does not exist; correct the path; this is the other site's CA \
             certificate, its ca.pem: fetch it from there, and compare its fingerprint (`wardgate pki show`) \
             with that site by telephone",
            "14: crl \"ca.crl\" does not exist; correct the path, or fetch the list from its CA",
        ]
    );
}

#[test]
fn a_folder_in_the_place_of_a_file_is_refused() {
    let site = Site::new();
    std::fs::remove_file(site.path("trust.pem")).expect("removed");
    std::fs::create_dir(site.path("trust.pem")).expect("mkdir");
    assert_eq!(
        site.problems(),
        ["13: trust \"trust.pem\" is not a regular file; name a file"]
    );
}

#[test]
fn a_key_that_every_user_can_access_is_refused() {
    let site = Site::new();
    for mode in [0o604, 0o602, 0o601, 0o644] {
        site.chmod("site.key", mode);
        let path = site.path("site.key");
        let path = path
            .strip_prefix(site.path(""))
            .expect("inside")
            .display()
            .to_string();
        assert_eq!(
            site.problems(),
            [format!(
                "12: key \"site.key\" has mode {mode:04o}: it is open to every user; `chmod 0600 \
                 {path}` (0640 if a service reads it by its group), and replace the key if others had \
                 it"
            )]
        );
    }
}

#[test]
fn a_key_may_be_readable_but_not_writable_for_its_group() {
    let site = Site::new();
    site.chmod("site.key", 0o660);
    assert_eq!(
        site.problems(),
        [
            "12: key \"site.key\" has mode 0660: its group may write to it; `chmod 0600 site.key` \
             (0640 if a service reads it by its group), and replace the key if others had it"
        ]
    );
    site.chmod("site.key", 0o640);
    site.load(Mode::Terminate).expect("a group may read");
}

#[test]
fn encrypted_keys_of_both_forms_are_refused_with_the_way_to_decrypt() {
    let message = "12: key \"site.key\" is encrypted, which is not supported; decrypt it with \
                   `(umask 077; openssl pkey -in site.key -out site.key.plain)` and name that file";
    let site = Site::new();
    site.openssl("pkcs8 -topk8 -v2 aes256 -passout pass:secret -in site.key -out new.key");
    site.write("site.key", site.read("new.key"));
    assert_eq!(site.problems(), [message]);
    let site = Site::new();
    site.openssl("ec -aes256 -passout pass:secret -in site.key -out new.key");
    site.write("site.key", site.read("new.key"));
    assert!(site.read("site.key").contains("Proc-Type"));
    assert_eq!(site.problems(), [message]);
}

#[test]
fn keys_in_sec1_and_pkcs1_load() {
    let site = Site::new();
    site.openssl("ec -in site.key -out sec1.key");
    site.write("site.key", site.read("sec1.key"));
    assert!(site.read("site.key").contains("BEGIN EC PRIVATE KEY"));
    site.load(Mode::Terminate).expect("SEC1");

    let site = Site::new();
    self_signed(&site, "rsa:2048", "-sha256", LEAF);
    site.openssl("rsa -traditional -in site.key -out pkcs1.key");
    site.write("site.key", site.read("pkcs1.key"));
    assert!(site.read("site.key").contains("BEGIN RSA PRIVATE KEY"));
    assert_eq!(
        site.problems_of(Mode::Terminate, SystemTime::now()),
        [""; 0]
    );
}

#[test]
fn swapped_certificate_and_key_are_recognised() {
    let site = Site::new();
    let (certificate, key) = (site.read("site.pem"), site.read("site.key"));
    site.write("site.pem", key);
    site.write("site.key", certificate);
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" holds a private key and no certificate; are \
             \"certificate\" and \"key\" swapped?",
            "12: key \"site.key\" holds a certificate and no private key; are \"certificate\" and \
             \"key\" swapped?",
        ]
    );
}

#[test]
fn files_without_the_expected_section_are_refused() {
    let mut site = Site::new();
    site.add_crl("ca.crl", "hello");
    for name in ["site.pem", "site.key", "trust.pem"] {
        site.write(name, "hello");
    }
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" holds no certificate; PEM (\"-----BEGIN \
             CERTIFICATE-----\") is expected",
            "12: key \"site.key\" holds no private key; PEM with PKCS#8, SEC1 or PKCS#1 is \
             expected",
            "13: trust \"trust.pem\" holds no certificate; put the CA certificates of your peers \
             there, as PEM",
            "14: crl \"ca.crl\" holds no revocation list; PEM (\"-----BEGIN X509 CRL-----\") or \
             DER is expected",
        ]
    );
}

#[test]
fn binary_files_are_refused_with_the_way_to_convert_them() {
    let site = Site::new();
    site.openssl("x509 -in site.pem -outform DER -out site.der");
    site.openssl("pkey -in site.key -outform DER -out key.der");
    let read = |name: &str| std::fs::read(site.path(name)).expect("read");
    site.write("site.pem", read("site.der"));
    site.write("site.key", read("key.der"));
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" is binary, and PEM is expected; convert it with `openssl \
             x509 -inform DER -in site.pem -out site.pem.new`, and name that file",
            "12: key \"site.key\" is binary, and PEM is expected; convert it with `(umask 077; \
             openssl pkey -inform DER -in site.key -out site.key.new)`, and name that file",
        ]
    );
}

#[test]
fn other_binary_forms_are_named_with_the_way_to_convert_them() {
    let site = Site::new();
    site.openssl("crl2pkcs7 -nocrl -certfile site.pem -outform DER -out site.p7b");
    site.openssl("req -new -key site.key -subj /CN=gw -outform DER -out site.csr");
    site.openssl("x509 -in site.pem -outform DER -out site.der");
    site.openssl("pkey -in site.key -outform DER -out key.der");
    let read = |name: &str| std::fs::read(site.path(name)).expect("read");
    let key = std::fs::read(site.path("site.key")).expect("read");
    let swapped = "are \"certificate\" and \"key\" swapped?";
    for (file, certificate, as_key) in [
        (
            "site.p7b",
            "is PKCS#7, and PEM is expected; convert it with `openssl pkcs7 -inform DER -print_certs -in \
             site.pem -out site.pem.new`, and name that file"
                .to_owned(),
            format!("holds certificates in binary and no private key; {swapped}"),
        ),
        (
            "site.csr",
            "is a request to a CA (CSR) in binary; name the file that the CA issued for this request".to_owned(),
            "is a request to a CA (CSR) in binary; name the file that the CA issued for this request".to_owned(),
        ),
        (
            "key.der",
            format!("is a private key in binary; {swapped}"),
            String::new(),
        ),
        (
            "site.der",
            String::new(),
            format!("holds certificates in binary and no private key; {swapped}"),
        ),
    ] {
        let pem = read("site.pem");
        if !certificate.is_empty() {
            site.write("site.pem", read(file));
            let problems = site.problems();
            assert_eq!(problems[0], format!("11: certificate \"site.pem\" {certificate}"));
            site.write("site.pem", &pem);
        }
        if !as_key.is_empty() {
            site.write("site.key", read(file));
            assert_eq!(site.problems(), [format!("12: key \"site.key\" {as_key}")]);
            site.write("site.key", &key);
        }
    }
}

#[test]
fn pkcs12_is_recognised_and_its_key_is_not_shown_on_the_screen() {
    let site = Site::new();
    site.openssl("pkcs12 -export -in site.pem -inkey site.key -passout pass: -out site.p12");
    let bundle = std::fs::read(site.path("site.p12")).expect("read");
    site.write("site.pem", &bundle);
    site.write("site.key", &bundle);
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" is PKCS#12, and PEM is expected; convert it with `openssl \
             pkcs12 -nokeys -in site.pem -out site.pem.new`, and name that file",
            "12: key \"site.key\" is PKCS#12, and PEM is expected; convert it with `(umask 077; \
             openssl pkcs12 -nocerts -nodes -in site.key -out site.key.new)`, and name that file",
        ]
    );
}

#[test]
fn damaged_sections_are_refused() {
    let site = Site::new();
    site.write(
        "site.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    site.write("trust.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    site.write("site.key", key);
    let problems = site.problems();
    assert_eq!(problems.len(), 3, "{problems:?}");
    let [certificate, key, trust] = problems.as_slice() else {
        unreachable!("three problems")
    };
    assert_eq!(
        certificate,
        "11: certificate \"site.pem\" holds something else than a certificate, or a damaged one, in section \
         1; copy it again"
    );
    assert_eq!(
        key,
        "12: key \"site.key\" is of a kind that cannot be used here, or damaged; use RSA of 2048 to \
         4096 bit, EC P-256, EC P-384 or Ed25519"
    );
    assert_eq!(
        trust,
        "13: trust \"trust.pem\" cannot be read beyond line 1: the section \"CERTIFICATE\" that \
         begins here has no END marker; copy it again"
    );
}

#[test]
fn key_of_another_certificate_is_refused() {
    let site = Site::new();
    let other = KeyPair::generate().expect("a key");
    site.write("site.key", other.serialize_pem());
    assert_eq!(
        site.problems(),
        [
            "12: key \"site.key\" does not belong to certificate \"site.pem\": the public keys \
             differ; name the key that the certificate was issued for"
        ]
    );
}

#[test]
fn two_keys_in_one_file_are_refused() {
    let site = Site::new();
    let key = site.read("site.key");
    site.write("site.key", format!("{key}{key}"));
    assert_eq!(
        site.problems(),
        [
            "12: key \"site.key\" holds 2 private keys; keep the one that the certificate was \
             issued for"
        ]
    );
}

#[test]
fn a_key_in_the_certificate_file_is_refused_unless_that_is_the_key_file() {
    let site = Site::new();
    let both = [site.read("site.pem"), site.read("site.key")].concat();
    site.write("site.pem", &both);
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" also holds a private key; keep the key in the key file \
             alone"
        ]
    );
    let mut files = site.files();
    files.key.value.clone_from(&files.certificate.value);
    load(&files.into(), Mode::Terminate, now()).expect("one file for both");
}

#[test]
fn a_file_with_other_contents_than_its_role_has_is_refused() {
    let mut site = Site::new();
    let crl = || site.ca.crl(|_| {});
    let lists = [crl(), crl()];
    let (certificate, key) = (site.read("site.pem"), site.read("site.key"));
    let trust = site.read("trust.pem");
    site.write("site.pem", certificate.clone() + &lists[0]);
    site.write("site.key", key.clone() + &certificate);
    site.write("trust.pem", trust.clone() + &lists[0]);
    site.add_crl("with-a-certificate.crl", trust + &lists[0]);
    site.add_crl("with-a-key.crl", lists[1].clone() + &key);
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" also holds a revocation list, which is not read here; put it \
             into a file of its own and name that in \"crl\"",
            "12: key \"site.key\" also holds a certificate, which is not read here; keep the key \
             alone, or name this file in \"certificate\" too",
            "13: trust \"trust.pem\" also holds a revocation list, which is not read here; put it into \
             a file of its own and name that in \"crl\"",
            "14: crl \"with-a-certificate.crl\" also holds a certificate, which is not read here; put \
             CA certificates into \"trust\"",
            "14: crl \"with-a-key.crl\" holds a private key, but revocation lists are handed to \
             others; take it out, and replace that key if anyone had the file",
        ]
    );
}

#[test]
fn sections_of_other_kinds_refuse_the_file_and_name_the_command_that_converts_it() {
    let site = Site::new();
    site.openssl("x509 -in trust.pem -trustout -out trusted.pem");
    site.openssl("crl2pkcs7 -nocrl -certfile site.pem -out chain.p7");
    let trusted = site.read("trusted.pem");
    site.write("trust.pem", [trusted.as_str(); 3].concat());
    site.write("site.pem", site.read("chain.p7"));
    let path = |name: &str| site.path(name).display().to_string();
    let folder = path("");
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" has a section \"PKCS7\" in line 1 that is not read; convert \
             the file with `openssl pkcs7 -print_certs -in site.pem -out site.pem.new`, and name that \
             file",
            "13: trust \"trust.pem\" has a section \"TRUSTED CERTIFICATE\" in line 1 that is not read; \
             convert the file with `openssl storeutl -certs -out trust.pem.new trust.pem`, and name \
             that file (and 2 more such sections)",
        ]
    );
    for problem in site.problems() {
        let command = problem.split('`').nth(1).expect("a command");
        let arguments = command.strip_prefix("openssl ").expect("of openssl");
        site.openssl(arguments);
    }
    for name in ["site.pem", "trust.pem"] {
        std::fs::rename(format!("{folder}{name}.new"), path(name)).expect("converted");
    }
    assert_eq!(site.problems(), [""; 0]);
}

#[test]
fn keys_as_openssl_writes_them_load_with_their_parameters() {
    let site = Site::new();
    site.openssl("ecparam -name prime256v1 -genkey -out site.key");
    assert!(site.read("site.key").contains("BEGIN EC PARAMETERS"));
    site.chmod("site.key", 0o600);
    site.openssl(
        "req -x509 -new -key site.key -days 30 -subj /CN=gw -out site.pem -addext \
         subjectAltName=DNS:gw.example -addext basicConstraints=critical,CA:FALSE -addext \
         keyUsage=digitalSignature",
    );
    assert_eq!(
        site.problems_of(Mode::Terminate, SystemTime::now()),
        [""; 0]
    );
}
