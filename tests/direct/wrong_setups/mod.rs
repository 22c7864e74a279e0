//! The matrix of wrong set-ups: a mistake of an operator, and the one sentence that names its cause and
//! remedy.
//!
//! Each case runs the real program: `wardgate check` on a site, or a gateway whose log is read. The sentence
//! is compared with `tests/data/wrong_setups.md`; `WARDGATE_BLESS=1` writes that file again. Then read the
//! difference.

mod checked;
mod logged;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use wardgate_tests::tier::workspace;

use crate::check::without_dates;

/// One wrong set-up.
struct Case {
    /// The mistake, as an operator would describe it.
    set_up: &'static str,
    /// Words of the sentence: the cause and the remedy.
    words: &'static [&'static str],
    /// Runs the case, and returns the line that has these words.
    run: fn(&[&str]) -> String,
}

impl Case {
    const fn new(
        set_up: &'static str,
        words: &'static [&'static str],
        run: fn(&[&str]) -> String,
    ) -> Self {
        Self { set_up, words, run }
    }
}

/// The parts of the table, the slowest first.
fn parts() -> [(&'static str, Vec<Case>); 5] {
    [
        ("Targets and networks, in the log", logged::targets()),
        (
            "Certificates of the peer, in the log",
            logged::certificates(),
        ),
        ("Protocols, in the log", logged::protocols()),
        ("Certificates and files, by `check`", checked::files()),
        ("Names, addresses and rules, by `check`", checked::names()),
    ]
}

#[test]
fn every_wrong_set_up_is_named_with_its_remedy_in_one_line() {
    let parts = parts();
    let cases: Vec<_> = parts.iter().flat_map(|(_, cases)| cases).collect();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let said = run_all(&cases);
    let failed: Vec<_> = said
        .iter()
        .filter(|(_, line)| line.starts_with("FAILED"))
        .filter_map(|(index, line)| Some((cases.get(*index)?.set_up, line)))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let mut table = String::from(HEAD);
    let mut number = 0;
    for (title, cases) in &parts {
        let _ = write!(
            table,
            "\n## {title}\n\n| | wrong | what the operator reads |\n|---|---|---|\n"
        );
        for case in cases {
            let line = said.get(&number).expect("each was run");
            number += 1;
            let _ = writeln!(table, "| {number} | {} | {} |", case.set_up, cell(line));
        }
    }
    let path = workspace().join("tests/data/wrong_setups.md");
    if std::env::var_os("WARDGATE_BLESS").is_some() {
        fs::write(&path, &table).expect("the folder can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    for (found, expected) in table.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "{}", path.display());
    }
    assert_eq!(table.len(), expected.len(), "{}", path.display());
}

const HEAD: &str = "\
# Wrong set-ups

What an operator reads of each: a line of `wardgate check`, or a line of the log with its level. Written by
`WARDGATE_BLESS=1 cargo test -p wardgate-tests --test direct wrong_set_up`. Words in capitals (PORT, DATE, PKI, SITE and
the like) stand for what differs from run to run.
";

/// The number of cases that run at the same time. Most of them wait.
const AT_A_TIME: usize = 6;

fn run_all(cases: &[&Case]) -> BTreeMap<usize, String> {
    let (next, said) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else {
                        return;
                    };
                    // All failed cases are reported together.
                    let line = catch_unwind(|| (case.run)(case.words)).unwrap_or_else(|why| {
                        let why = why.downcast_ref::<String>();
                        format!("FAILED: {}", why.map_or("", String::as_str))
                    });
                    let mut said = said.lock().expect("no holder panics");
                    said.insert(index, normal(&line));
                }
            });
        }
    });
    said.into_inner().expect("no holder panics")
}

/// The line without the parts that differ between runs: dates, ports, folders, hashes and serial numbers.
fn normal(line: &str) -> String {
    let text = without_dates(line);
    let mut words = Vec::new();
    for word in text.split(' ') {
        words.push(without_folders(&without_ports(&without_hashes(word))));
    }
    words.join(" ")
}

fn without_hashes(word: &str) -> String {
    let mut shown = String::new();
    let mut run = String::new();
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    for letter in word.chars().chain(['\n']) {
        if is_hex(letter) {
            run.push(letter);
            continue;
        }
        match run.len() {
            64 => shown.push_str("HASH"),
            16..=40 => shown.push_str("SERIAL"),
            _ => shown.push_str(&run),
        }
        run.clear();
        shown.push(letter);
    }
    shown.pop();
    shown
}

fn without_ports(word: &str) -> String {
    let mut shown = String::new();
    let mut rest = word;
    while let Some(at) = rest.find("127.0.0.1:") {
        let (before, behind) = rest.split_at(at + "127.0.0.1:".len());
        let port = behind.trim_start_matches(|c: char| c.is_ascii_digit());
        shown.push_str(before);
        shown.push_str(if port.len() < behind.len() {
            "PORT"
        } else {
            ""
        });
        rest = port;
    }
    shown + rest
}

// Temporary folders are named `.tmp` and letters.
fn without_folders(word: &str) -> String {
    let mut shown = String::new();
    let mut rest = word;
    while let Some(at) = rest.find("/tmp/") {
        let (before, behind) = rest.split_at(at);
        let file = behind.get("/tmp/".len()..).unwrap_or_default();
        let Some((folder, file)) = file.split_once('/') else {
            break;
        };
        shown.push_str(before);
        shown.push_str(if file.starts_with("wardgate.toml") {
            "SITE/"
        } else {
            "PKI/"
        });
        let _ = folder;
        rest = file;
    }
    shown + rest
}

fn cell(line: &str) -> String {
    line.replace('|', "\\|").replace('<', "\\<")
}
