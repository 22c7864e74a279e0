//! Imports the configurations in `tests/data/import` and compares the results with golden files.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::FILL_IN;

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/import");
    // As the included files are named.
    folder.canonicalize().expect("it is in the repository")
}

/// Imports a file as if it were in /etc/stunnel or /etc/haproxy.
fn imported(path: &Path) -> (Import, String) {
    let text = fs::read_to_string(path).expect("it is in the repository");
    let name = path.file_name().expect("it has a name").to_string_lossy();
    let (program, home) = program_of(path);
    let mut context = ImportContext {
        folder: home.into(),
        ..ImportContext::default()
    };
    // A file may name options of the command line in its comments.
    for line in text.lines() {
        let words = line.trim_start_matches([';', '#', ' ']);
        if let Some(peer) = words.strip_prefix("--peer ") {
            context.add_peer(peer.trim()).expect("a good option");
        } else if let Some(protocol) = words.strip_prefix("--protocol ") {
            context
                .add_protocol(protocol.trim())
                .expect("a good option");
        } else if let Some(lan) = words.strip_prefix("--lan-address ") {
            context.lan = Some(lan.trim().parse().expect("an address"));
        }
    }
    let include = |name: &str| include::folder(&folder(), name);
    let new = Path::new("wardgate.toml");
    (
        import(program, &text, (&name, new), &context, &include),
        text,
    )
}

fn program_of(path: &Path) -> (OtherProgram, &'static str) {
    match path.extension().and_then(|end| end.to_str()) {
        Some("conf") => (OtherProgram::Stunnel, "/etc/stunnel"),
        Some("cfg") => (OtherProgram::Haproxy, "/etc/haproxy"),
        other => panic!("{other:?}"),
    }
}

fn samples() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("it is in the repository");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|end| end == "conf" || end == "cfg")
    });
    paths.sort();
    paths
}

#[test]
fn each_construct_of_real_configurations_is_imported_as_before() {
    let folder = folder().display().to_string();
    for path in samples() {
        let (import, _) = imported(&path);
        let name = path.file_name().expect("it has a name").to_string_lossy();
        let report = import
            .report
            .text(&name, &import.open)
            .replace(&folder, "FOLDER");
        let golden = path.with_extension(format!(
            "{}.expected",
            path.extension().expect("it has one").to_string_lossy()
        ));
        let text = format!("{}\n==== report ====\n{report}", import.toml);
        let text = text.replace(&folder, "FOLDER");
        if std::env::var_os("WARDGATE_BLESS").is_some() {
            fs::write(&golden, &text).expect("there is room");
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(text, expected, "{}", path.display());
    }
}

#[test]
fn every_sample_parses_and_is_accepted_once_its_placeholders_are_filled_in() {
    for path in samples() {
        let (import, _) = imported(&path);
        for open in &import.open {
            let is_expected =
                open.contains("is not filled in yet") || open.contains("no route could be made");
            assert!(is_expected, "{}: {open}", path.display());
        }
        if import.routes.is_empty() {
            continue;
        }
        let mut filled = String::new();
        for (number, line) in import.toml.lines().enumerate() {
            let value = match line.split_once(" = ").map(|(key, _)| key.trim()) {
                Some("listen") => format!("10.20.0.5:{}", 20_000 + number),
                Some("accept_proxy" | "from") => "10.20.0.6/32".to_owned(),
                Some("crl") => format!("/etc/wardgate/pki/{number}.crl"),
                _ => format!("dns:gw-{number}.region.example"),
            };
            filled.push_str(&fill(line, &value));
            filled.push('\n');
        }
        let parsed = config::parse(&filled, Path::new("wardgate.toml"));
        assert!(parsed.is_ok(), "{}: {parsed:?}\n{filled}", path.display());
    }
}

/// `line` with `value` in place of each placeholder.
fn fill(line: &str, value: &str) -> String {
    let mut rest = line;
    let mut filled = String::new();
    while let Some((before, after)) = rest.split_once(&format!("\"{FILL_IN}")) {
        let mut end = 0;
        let mut escaped = false;
        for (at, c) in after.char_indices() {
            end = at;
            match c {
                '"' if !escaped => break,
                '\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        filled.push_str(&format!("{before}\"{value}\""));
        rest = after.get(end + 1..).unwrap_or_default();
    }
    filled + rest
}

#[test]
fn every_line_of_a_sample_is_in_the_report() {
    for path in samples() {
        let (import, text) = imported(&path);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start_matches(['\u{feff}', ' ', '\t']);
            let is_text = !line.is_empty() && !line.starts_with('#');
            let is_comment =
                line.starts_with(';') && path.extension().is_some_and(|end| end == "conf");
            let place = LinePlace {
                file: None,
                line: index + 1,
            };
            let is_there = import.report.mentions(&place) || !is_text || is_comment;
            assert!(is_there, "{}:{}: {line}", path.display(), index + 1);
        }
    }
}

#[test]
fn every_sample_has_a_comment_that_names_what_it_tries() {
    let all = samples();
    for path in &all {
        let text = fs::read_to_string(path).expect("it is in the repository");
        let first = text
            .trim_start_matches('\u{feff}')
            .lines()
            .next()
            .unwrap_or_default();
        assert!(first.contains("Tries: "), "{}", path.display());
    }
}

fn stunnel(text: &str) -> Import {
    let none = |_: &str| Err("none".to_owned());
    let context = ImportContext::default();
    import(
        OtherProgram::Stunnel,
        text,
        ("stunnel.conf", Path::new("w.toml")),
        &context,
        &none,
    )
}

#[test]
fn secrets_are_in_neither_the_configuration_nor_the_report() {
    let import = stunnel(
        "PSKsecrets = s3cret-a\nPSKidentity = s3cret-b\nticketKeySecret = s3cret-c\nticketMacSecret = s3cret-d\n[a]\n\
         accept = 127.0.0.1:1\nconnect = 2\nprotocol = proxy\nprotocolPassword = s3cret-e\nprotocolUsername = s3cret-f\n\
         key = pkcs11:pin-value=s3cret-g\ncert = a.pem\nOCSP = http://u:s3cret-h@o.example/\n",
    );
    let report = import.report.text("stunnel.conf", &import.open);
    let json = import.report.json("stunnel.conf", &import.open);
    for text in [&import.toml, &report, &json] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert!(report.contains("ticketKeySecret = (removed)"), "{report}");
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["remarks"][0]["class"], "not carried");
    assert_eq!(json["remarks"][0]["line"], 1);
}

#[test]
fn a_placeholder_is_refused_by_check_with_its_advice() {
    let import = stunnel("[pacs]\naccept = 192.0.2.1:2762\nconnect = 104\n");
    let [open] = &import.open[..] else {
        panic!("{:?}", import.open);
    };
    assert!(
        open.contains(
            "identity is not filled in yet: write the name that the peer's certificate must prove"
        ),
        "{open}"
    );
}

fn haproxy(text: &str) -> Import {
    let none = |_: &str| Err("none".to_owned());
    let mut context = ImportContext::default();
    context
        .add_peer("a=dns:gw.a.example")
        .expect("a good option");
    let new = Path::new("w.toml");
    import(
        OtherProgram::Haproxy,
        text,
        ("haproxy.cfg", new),
        &context,
        &none,
    )
}

/// The beginning of what is left to do, `None` if that is nothing.
type Open = Option<&'static str>;

fn expect_open(import: &Import, expected: Open, what: &str) {
    match (&import.open[..], expected) {
        ([], None) => {}
        ([open], Some(expected)) => assert!(open.contains(expected), "{what}: {open}"),
        (open, _) => panic!("{what}: {open:?} in place of {expected:?}\n{}", import.toml),
    }
}

const FROM: Open = Some("from is not filled in yet: write the networks of the clients");
const LESS: Open = Some("rejects some of these clients");
const CRL: Open = Some("crl is not filled in yet: ");

#[test]
fn a_restriction_of_stunnel_that_is_not_carried_over_is_a_placeholder() {
    let cases: [(&str, Open); 10] = [
        ("libwrap = yes", FROM),
        ("libwrap = no", None),
        ("ident = root", FROM),
        ("CRLpath = crls", CRL),
        ("OCSP = http://ocsp.a.example/", CRL),
        ("OCSPaia = yes", CRL),
        ("OCSPaia = no", None),
        ("OCSPflag = NOCHECKS", None),
        ("CRLfile = a.crl\nOCSPaia = yes", None),
        ("retry = yes", None),
    ];
    for client in ["no", "yes"] {
        for (lines, open) in cases {
            let import = stunnel(&format!(
                "[a]\nclient = {client}\naccept = 192.0.2.10:2762\nconnect = 10.30.0.9:104\ncert = a.pem\nkey = a.key\n\
                 CAfile = ca.pem\ncheckHost = gw.a.example\n{lines}\n"
            ));
            expect_open(&import, open, lines);
        }
    }
}

#[test]
fn a_restriction_of_haproxy_that_is_not_carried_over_is_a_placeholder() {
    let listen = "listen a\nbind 192.0.2.10:2762 ssl crt a.pem ca-file ca.pem verify required\nserver s 10.30.0.9:104\n";
    let cases: [(&str, Open); 11] = [
        ("connection reject", FROM),
        ("connection reject if { src 203.0.113.0/24 }", FROM),
        ("connection reject if { src_conn_rate gt 10 }", FROM),
        ("connection silent-drop unless { src -f /etc/known }", FROM),
        (
            "session accept if { src -f /etc/known }\ntcp-request session reject",
            FROM,
        ),
        ("content reject unless { src \"$LAN\" }", FROM),
        (
            "content reject if { src 10.20.0.7 }\ntcp-request content reject unless { src 10.20.0.0/16 }",
            LESS,
        ),
        ("content reject unless { src 10.20.0.0/16 }", None),
        ("content accept if { src -f /etc/known }", None),
        ("content accept", None),
        ("inspect-delay 2s", None),
    ];
    for (rules, open) in cases {
        let import = haproxy(&format!("{listen}tcp-request {rules}\n"));
        expect_open(&import, open, rules);
    }
    let server = "ssl verify required ca-file ca.pem crt a.pem verifyhost gw.a.example";
    for (lists, open) in [
        (["crl-file a.crl", "crl-file a.crl"], None),
        (["crl-file a.crl", "crl-file b.crl"], CRL),
        (["", "crl-file b.crl"], CRL),
        (["crl-file a.crl", ""], None),
    ] {
        let import = haproxy(&format!(
            "listen a\nbind 10.20.0.5:104\nserver s gw.a.example:2762 {server} {}\nserver t gw.a.example:2763 {server} {}\n",
            lists[0], lists[1]
        ));
        expect_open(&import, open, &lists.join(" and "));
    }
}

#[test]
fn options_of_the_command_line_have_a_form() {
    let mut context = ImportContext::default();
    assert!(context.add_peer("a=dns:gw.region.example").is_ok());
    for wrong in ["a", "a=gw.region.example", "a=dns:*.example", "=x"] {
        assert!(context.add_peer(wrong).is_err(), "{wrong}");
    }
    assert!(context.add_protocol("a=dicom").is_ok());
    assert!(context.add_protocol("a=hl7").is_err());
}
