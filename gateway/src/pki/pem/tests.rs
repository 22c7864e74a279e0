//! The texts of `tests/data/pem`, each with its expected result, and the time for hostile texts.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

/// The result of reading a text, a line for each section and each problem.
fn read_result(text: &[u8]) -> String {
    let path = Path::new("FILE");
    let pem = read(text);
    let mut result = String::new();
    let next = pem.sections.iter().skip(1).map(Some).chain([None]);
    for (section, next) in pem.sections.iter().zip(next) {
        let content = String::from_utf8_lossy(&section.der);
        let content: String = content.chars().take(20).collect();
        let (line, kind) = (section.line, section.kind);
        writeln!(result, "line {line}: {kind:?} {content:?}").expect("a string");
        if let Some(problem) = section.unused(next, path) {
            writeln!(result, "{problem}").expect("a string");
        }
    }
    if let Some(fault) = pem.fault {
        writeln!(result, "{}", fault.predicate(path)).expect("a string");
    }
    result
}

#[test]
fn each_text_gives_its_expected_result() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/pem");
    let mut wrong = String::new();
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).expect("the cases are in the repository") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        cases += 1;
        let result = read_result(&std::fs::read(&path).expect("a case"));
        let expected_path = path.with_extension("expected");
        let expected = std::fs::read_to_string(&expected_path);
        let expected = expected.expect("each case has its expectation");
        if result != expected {
            write!(wrong, "{}:\n{result}\n", expected_path.display()).expect("a string");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(cases > 60, "{cases} cases");
}

#[test]
fn no_message_quotes_an_unknown_label_or_a_line_of_the_file() {
    let secret = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
    for text in [
        format!("-----BEGIN PRIVATE KEY {secret}-----\n-----END PRIVATE KEY {secret}-----\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{secret}!\n-----END PRIVATE KEY-----\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END {secret}-----\n"),
        format!("{secret} -----BEGIN PRIVATE KEY-----\n"),
        format!("-----BEGIN PRIVATE KEY{secret}\n"),
        format!("{secret}{secret}\n"),
    ] {
        let pem = read(text.as_bytes());
        let result = read_result(text.as_bytes());
        assert!(!result.contains(&secret[..8]), "{result}");
        let shown = format!("{pem:?}");
        assert!(!shown.contains(&secret[..8]), "{shown}");
    }
}

#[test]
fn hostile_texts_take_time_in_proportion_to_their_length() {
    const LENGTH: usize = 2 << 20;
    let patterns: [&[u8]; 14] = [
        b"-",
        b"-----",
        b"-----BEGIN",
        b"-----BEGIN \n",
        b"-----BEGIN CERTIFICATE-----",
        b"-----BEGIN X-----\nAAAA\n-----END X-----",
        b"-----BEGIN CERTIFICATE-----AAAA-----END CERTIFICATE-----\n",
        b"\xef\xbb\xbf",
        b" ",
        b"--begin ",
        b"--  end--",
        b"bbbbeeee",
        b"\r",
        b"MIIA",
    ];
    for pattern in patterns {
        for prefix in [
            &b""[..],
            b"-----BEGIN CERTIFICATE-----\n",
            b"-----BEGIN X-----\n",
        ] {
            let mut text = prefix.to_vec();
            while text.len() < LENGTH {
                text.extend_from_slice(pattern);
            }
            let start = Instant::now();
            let _ = read(&text);
            let took = start.elapsed();
            // Code that examines the rest of the text for each piece would take minutes.
            let pattern = String::from_utf8_lossy(pattern);
            assert!(took < Duration::from_secs(5), "{pattern:?}: {took:?}");
        }
    }
}
