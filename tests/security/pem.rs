//! A revocation list in an unusual form is read, or the configuration is refused.

use std::fs;
use std::path::PathBuf;

use rustls::AlertDescription;
use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::tier::workspace;
use wardgate_tests::{Pki, Program, Site, free_port, wardgate};

use crate::plain::{MARKER, Witness, assert_sound, loopback};
use crate::tls::{Peer, Tls, TlsEnd, knock};

const OWN: &str = "gw.b.example";
const PEER: &str = "gw.a.example";

/// The placeholders for the content of the two sections in the texts of `tests/data/pem`.
const FIRST: &str = "Rmlyc3Q=";
const SECOND: &str = "U2Vjb25k";

/// Goal: no peer gets in if a list revokes it, even if the reader did not understand the list. Method: each
/// text of `tests/data/pem` becomes a file of two lists, the second of which revokes the peer. Either `check`
/// refuses the file, or a route with it refuses the peer.
#[test]
fn a_revoked_peer_is_refused_however_its_list_is_written() {
    let pki = Pki::new();
    let own = trusting_both(&pki);
    let revoked = pki.odd(PEER, Kind::Revoked);
    let good = pki.leaf(PEER);
    let mut site = Site::with_identity(&own);
    let mut doors = Vec::new();
    for (name, file) in files(&pki) {
        let port = free_port();
        let target = Witness::start();
        let with_route = site
            .clone()
            .terminate(
                loopback(port),
                loopback(target.port),
                &[
                    format!("sha256:{}", revoked.key_sha256),
                    format!("sha256:{}", good.key_sha256),
                ],
            )
            .name(&name)
            .protocol("tcp")
            .set("identity", identity(&own, &file));
        if is_refused(&pki, &with_route, &file) {
            continue;
        }
        site = with_route;
        doors.push((name, port, target));
    }
    let names: Vec<&str> = doors.iter().map(|(name, ..)| name.as_str()).collect();
    for readable in [
        "good",
        "joined",
        "bom",
        "bom-of-the-second",
        "indented",
        "cr",
    ] {
        assert!(
            names.contains(&readable),
            "{readable} is refused: {names:?}"
        );
    }
    let gateway = site.start();
    for (name, port, target) in &doors {
        let (received, end) = knock(*port, &Peer::of(&revoked), MARKER);
        assert_eq!(received, b"", "{name}");
        let expected = TlsEnd::Alert(AlertDescription::CertificateRevoked);
        assert_eq!(end, expected, "{name}");
        target.assert_alone(name);
        // The route accepts other peers.
        Tls::connect(*port, Peer::of(&good).client()).expect_shake();
    }
    assert_sound(&gateway);
    gateway.stop();
}

/// A site that trusts both authorities of the tests. The first list belongs to the other authority.
fn trusting_both(pki: &Pki) -> Leaf {
    let mut own = pki.leaf(OWN);
    let read = |file: PathBuf| fs::read(file).expect("the harness wrote it");
    own.trust = pki.path("both.pem");
    fs::write(
        &own.trust,
        [read(pki.trust()), read(pki.other_trust())].concat(),
    )
    .expect("the folder is ours");
    own
}

/// Every text with two sections, as a file of two lists.
fn files(pki: &Pki) -> Vec<(String, PathBuf)> {
    let (first, second) = (content(&pki.other_crl()), content(&pki.crl()));
    let mut files = Vec::new();
    for entry in fs::read_dir(workspace().join("tests/data/pem")).expect("it is in the repository")
    {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        let text = fs::read(&path).expect("a text");
        let text = with_wide_characters(&text, |text| {
            let text = replaced(text, FIRST, &first);
            let text = replaced(&text, SECOND, &second);
            replaced(&text, " CERTIFICATE-----", " X509 CRL-----")
        });
        let name = path.file_stem().expect("it has a name").to_string_lossy();
        let file = pki.path(&format!("{name}.crl"));
        fs::write(&file, text).expect("the folder is ours");
        files.push((name.into_owned(), file));
    }
    files.sort();
    assert!(files.len() > 60, "{files:?}");
    files
}

/// The base64 of a file with one section.
fn content(file: &PathBuf) -> String {
    let text = fs::read_to_string(file).expect("the harness wrote it");
    let lines = text.lines().filter(|line| !line.starts_with('-'));
    lines.collect::<Vec<_>>().join("\n")
}

fn replaced(text: &[u8], old: &str, new: &str) -> Vec<u8> {
    let mut result = Vec::new();
    let mut rest = text;
    while let Some(at) = rest
        .windows(old.len())
        .position(|part| part == old.as_bytes())
    {
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(new.as_bytes());
        rest = &rest[at + old.len()..];
    }
    result.extend_from_slice(rest);
    result
}

/// Changes a text whose characters have one byte, or two in UTF-16LE.
fn with_wide_characters(text: &[u8], change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let is_wide = text.starts_with(b"\xff\xfe-\0") || text.starts_with(b"-\0");
    if !is_wide {
        return change(text);
    }
    let (mark, text) = text.split_at(if text[0] == 0xff { 2 } else { 0 });
    let narrow: Vec<u8> = text.iter().copied().step_by(2).collect();
    let wide = change(&narrow).into_iter().flat_map(|byte| [byte, 0]);
    mark.iter().copied().chain(wide).collect()
}

fn identity(own: &Leaf, crl: &PathBuf) -> String {
    let Leaf {
        certificate,
        key,
        trust,
        ..
    } = own;
    format!(
        "{{ certificate = {certificate:?}, key = {key:?}, trust = {trust:?}, crl = [{crl:?}] }}"
    )
}

/// Whether `check` refuses the site, which can only be because of this file.
fn is_refused(pki: &Pki, site: &Site, file: &PathBuf) -> bool {
    let config = pki.path("check.toml");
    site.write(&config);
    let program = Program::new(wardgate()).args(["check", "--config"]);
    let outcome = program.arg(&config).run();
    if outcome.succeeded() {
        return false;
    }
    let text = outcome.text();
    let lines: Vec<&str> = text.lines().collect();
    let is_of_the_file = |line: &str| line.contains(&format!("crl {file:?} "));
    assert!(lines.iter().all(|line| is_of_the_file(line)), "{text}");
    true
}
