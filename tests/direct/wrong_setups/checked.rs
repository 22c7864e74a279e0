//! Wrong set-ups that `wardgate check` names.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::{Pki, Program, Site, wardgate};

use super::Case;
use crate::pair::{A, B};

/// Certificates and files.
pub(super) fn files() -> Vec<Case> {
    vec![
        Case::new(
            "the site's certificate has expired, or the clock is wrong",
            &[
                "expired",
                "clock says",
                "wardgate pki renew --certificate",
                "--key",
            ],
            |words| odd(words, Kind::Expired),
        ),
        Case::new(
            "the site's certificate is valid from tomorrow",
            &["is valid only from", "correct the clock"],
            |words| odd(words, Kind::NotYetValid),
        ),
        Case::new(
            "a CA's certificate in place of the site's",
            &["is a CA certificate", "wardgate pki issue"],
            |words| odd(words, Kind::AuthorityAsLeaf),
        ),
        Case::new(
            "a certificate for signing code",
            &["lacks clientAuth", "issue a new one"],
            |words| odd(words, Kind::WrongUsage),
        ),
        Case::new(
            "a web server's certificate on an originate route",
            &["lacks clientAuth", "mode \"originate\" connects with it"],
            |words| odd(words, Kind::ServerOnly),
        ),
        Case::new(
            "a client's certificate on a terminate route",
            &["lacks serverAuth", "mode \"terminate\" accepts with it"],
            |words| {
                let pki = Pki::new();
                said(words, &terminate(&pki.odd(A, Kind::ClientOnly)))
            },
        ),
        Case::new(
            "an RSA key of 1024 bits",
            &["weak key", "2048 is the least"],
            |words| odd(words, Kind::ShortRsa),
        ),
        Case::new(
            "the name in the common name alone",
            &["no DNS or URI name", "wardgate pki issue --dns"],
            |words| odd(words, Kind::CommonNameOnly),
        ),
        Case::new(
            "a self-signed certificate",
            &["refuse it: it is self-signed", "have it issued by a CA"],
            |words| odd(words, Kind::SelfSigned),
        ),
        Case::new(
            "the site's certificate is revoked",
            &["was revoked", "issue a new one"],
            |words| {
                let pki = Pki::new();
                let leaf = pki.odd(A, Kind::Revoked);
                said(words, &originate(&leaf).crl(&pki.crl()))
            },
        ),
        Case::new(
            "the CA's certificate stands before the site's in the file",
            &["chain out of order", "own certificate first"],
            |words| {
                let pki = Pki::new();
                let leaf = pki.leaf(A);
                let chain = [&pki.trust(), &leaf.certificate]
                    .map(|file| fs::read_to_string(file).expect("it was written"));
                fs::write(&leaf.certificate, chain.concat()).expect("it is ours");
                said(words, &originate(&leaf))
            },
        ),
        Case::new(
            "the key of another certificate",
            &["does not belong to certificate", "name the key"],
            |words| with(words, |pki, leaf| leaf.key = pki.leaf(A).key),
        ),
        Case::new(
            "key and certificate are swapped",
            &["holds a certificate and no private key", "swapped?"],
            |words| {
                with(words, |_, leaf| {
                    std::mem::swap(&mut leaf.key, &mut leaf.certificate);
                })
            },
        ),
        Case::new(
            "every user may read the key",
            &["has mode 0644", "chmod 0600"],
            |words| {
                with(words, |_, leaf| {
                    let mode = fs::Permissions::from_mode(0o644);
                    fs::set_permissions(&leaf.key, mode).expect("it is ours");
                })
            },
        ),
        Case::new(
            "the key file is missing",
            &["key", "correct the path"],
            |words| {
                with(words, |_, leaf| {
                    fs::remove_file(&leaf.key).expect("it is ours");
                })
            },
        ),
        Case::new(
            "the certificate file is missing",
            &["certificate", "correct the path"],
            |words| {
                with(words, |pki, leaf| {
                    leaf.certificate = pki.path("nowhere.pem");
                })
            },
        ),
        Case::new(
            "the certificate file is binary (DER)",
            &["DER", "openssl"],
            |words| {
                with(words, |_, leaf| {
                    fs::write(&leaf.certificate, [0x30, 0x82, 1, 0]).expect("it is ours");
                })
            },
        ),
        Case::new(
            "a certificate request in place of the certificate",
            &[
                "CERTIFICATE REQUEST",
                "put the certificate there that the CA issued",
            ],
            |words| label(words, "CERTIFICATE REQUEST"),
        ),
        Case::new(
            "PKCS#7 in place of PEM certificates",
            &["PKCS7", "convert the file with `openssl pkcs7"],
            |words| label(words, "PKCS7"),
        ),
        Case::new(
            "the key has a passphrase",
            &["is encrypted", "decrypt it with", "umask 077"],
            |words| {
                with(words, |_, leaf| {
                    let text = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAAwAA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
                    fs::write(&leaf.key, text).expect("it is ours");
                })
            },
        ),
        Case::new(
            "the partner's ca.pem is missing",
            &["trust", "ca.pem: fetch it from there"],
            |words| with(words, |pki, leaf| leaf.trust = pki.path("nowhere.pem")),
        ),
        Case::new(
            "the site's own certificate as trust",
            &["trust", "is not a CA certificate"],
            |words| with(words, |_, leaf| leaf.trust = leaf.certificate.clone()),
        ),
        Case::new(
            "the CAs of all partners in one trust file",
            &["holds", "[[peer]]"],
            |words| with(words, |pki, leaf| leaf.trust = pki.both_trusts()),
        ),
        Case::new(
            "the revocation list has expired",
            &["expired", "wardgate pki renew --crl"],
            |words| with_crl(words, Pki::expired_crl),
        ),
        Case::new(
            "the revocation list is dated in the future",
            &[
                "is dated",
                "if this clock is behind, correct it",
                "ask for a list",
            ],
            |words| with_crl(words, Pki::future_crl),
        ),
        Case::new(
            "the revocation list is missing",
            &["crl", "correct the path"],
            |words| with_crl(words, |pki| pki.path("nowhere.crl")),
        ),
        Case::new(
            "a certificate as revocation list",
            &["crl", "trust"],
            |words| with_crl(words, Pki::trust),
        ),
        Case::new(
            "the revocation list of another CA",
            &["crl", "other test authority"],
            |words| with_crl(words, Pki::other_crl),
        ),
        Case::new(
            "the certificates of the two sites are swapped",
            &[
                "is an identity of this site's own certificate",
                "were swapped",
            ],
            |words| {
                let pki = Pki::new();
                said(words, &originate(&pki.leaf(B)))
            },
        ),
    ]
}

/// Names, addresses and rules.
pub(super) fn names() -> Vec<Case> {
    vec![
        Case::new(
            "the file was saved as UTF-16",
            &["UTF-16", "iconv"],
            |words| {
                let pki = Pki::new();
                let text = originate(&pki.leaf(A)).toml();
                let units = text.encode_utf16().flat_map(u16::to_le_bytes);
                said_of(words, &[vec![0xff, 0xfe], units.collect()].concat())
            },
        ),
        Case::new(
            "quotes of a word processor",
            &["quotes", "\"dicom\""],
            |words| {
                changed(
                    words,
                    "protocol = \"dicom\"",
                    "protocol = \u{201c}dicom\u{201d}",
                )
            },
        ),
        Case::new(
            "a key that does not exist",
            &["unknown key", "listen"],
            |words| changed(words, "listen = ", "lisen = "),
        ),
        Case::new("a port alone in listen", &["listen", "11112"], |words| {
            changed(words, "listen = \"127.0.0.1:11112\"", "listen = \"11112\"")
        }),
        Case::new(
            "an address in listen that this machine has not",
            &[
                "`wardgate run` would not start",
                "no such address",
                "`ip address`",
            ],
            |words| {
                changed(
                    words,
                    "listen = \"127.0.0.1:11112\"",
                    "listen = \"203.0.113.7:11112\"",
                )
            },
        ),
        Case::new(
            "an interface that this machine has not",
            &[
                "`wardgate run` would not start",
                "no such interface",
                "`ip link`",
            ],
            |words| {
                let pki = Pki::new();
                said(
                    words,
                    &originate(&pki.leaf(A)).set("interface", "\"nosuch0\""),
                )
            },
        ),
        Case::new(
            "a target whose name does not resolve",
            &["gw.region.invalid", "does not resolve", "DNS or /etc/hosts"],
            |words| changed(words, "127.0.0.1:2762", "gw.region.invalid:2762"),
        ),
        Case::new(
            "a wildcard in peers",
            &["has a wildcard", "sha256:"],
            |words| changed(words, "dns:gw.b.example", "dns:*.b.example"),
        ),
        Case::new(
            "an IP address in peers",
            &["is an IP address", "DNS name"],
            |words| changed(words, "dns:gw.b.example", "dns:10.1.2.3"),
        ),
        Case::new("a peer without its kind", &["dns:"], |words| {
            changed(words, "dns:gw.b.example", "gw.b.example")
        }),
        Case::new(
            "this site's own name in peers",
            &["peers lists", "write the identity of the other site"],
            |words| changed(words, "dns:gw.b.example", "dns:gw.a.example"),
        ),
        Case::new("no peers at all", &["peers"], |words| {
            let pki = Pki::new();
            said(words, &originate(&pki.leaf(A)).unset("peers"))
        }),
        Case::new(
            "a probe that the route's own rules refuse",
            &["its probe calls", "set `called` in [route.health]"],
            |words| {
                let pki = Pki::new();
                let health = r#"{ probe = "c-echo", called = "OTHER" }"#;
                let site = originate(&pki.leaf(A)).set("called_ae", r#"["PACS"]"#);
                said(words, &site.set("health", health))
            },
        ),
        Case::new(
            "a DICOM rule on an HL7 route",
            &["called_ae", "dicom"],
            |words| {
                let pki = Pki::new();
                let site = originate(&pki.leaf(A)).protocol("mllp");
                said(words, &site.set("called_ae", r#"["PACS"]"#))
            },
        ),
        Case::new("two routes on one address", &["127.0.0.1:11112"], |words| {
            let pki = Pki::new();
            let peers = [format!("dns:{B}")];
            let site = originate(&pki.leaf(A));
            said(
                words,
                &site.originate("127.0.0.1:11112", "127.0.0.1:2763", &peers),
            )
        }),
    ]
}

fn originate(leaf: &Leaf) -> Site {
    crate::check::originate(leaf)
}

fn terminate(leaf: &Leaf) -> Site {
    let peers = [format!("dns:{B}")];
    Site::with_identity(leaf).terminate("127.0.0.1:2762", "127.0.0.1:11112", &peers)
}

fn odd(words: &[&str], kind: Kind) -> String {
    let pki = Pki::new();
    said(words, &originate(&pki.odd(A, kind)))
}

fn with(words: &[&str], spoil: impl FnOnce(&Pki, &mut Leaf)) -> String {
    let pki = Pki::new();
    let mut leaf = pki.leaf(A);
    spoil(&pki, &mut leaf);
    said(words, &originate(&leaf))
}

fn with_crl(words: &[&str], list: impl FnOnce(&Pki) -> std::path::PathBuf) -> String {
    let pki = Pki::new();
    said(words, &originate(&pki.leaf(A)).crl(&list(&pki)))
}

/// The certificate with another PEM label.
fn label(words: &[&str], label: &str) -> String {
    with(words, |_, leaf| {
        let text = fs::read_to_string(&leaf.certificate).expect("it was written");
        let text = text.replace(" CERTIFICATE-", &format!(" {label}-"));
        fs::write(&leaf.certificate, text).expect("it is ours");
    })
}

/// A valid site with one text replaced.
fn changed(words: &[&str], from: &str, to: &str) -> String {
    let pki = Pki::new();
    let text = originate(&pki.leaf(A)).toml();
    assert!(text.contains(from), "{from} in {text}");
    said_of(words, text.replace(from, to).as_bytes())
}

fn said(words: &[&str], site: &Site) -> String {
    said_of(words, site.toml().as_bytes())
}

/// The line of `check` that has all these words.
fn said_of(words: &[&str], text: &[u8]) -> String {
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let file = folder.path().join("wardgate.toml");
    fs::write(&file, text).expect("the folder is ours");
    let text = Program::new(wardgate())
        .arg("check")
        .arg(&file)
        .run()
        .text();
    let mut lines = text.lines();
    let line = lines.find(|line| words.iter().all(|word| line.contains(word)));
    let line = line.unwrap_or_else(|| panic!("{words:?} in {text}"));
    line.to_owned()
}
