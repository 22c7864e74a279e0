//! Counts instructions of parts of the byte path and of refused handshakes. Compares the former with a
//! committed baseline and the latter with each other, and compares bulk transfer through a pair of gateways
//! with HAProxy.
//!
//! Run times vary on a busy machine, but valgrind counts the same instructions every time. Each case of
//! `wardgate-bench micro` runs twice with different numbers of turns, so that the start of the program and
//! the set-up of the case cancel out. valgrind supports neither VAES nor AVX-512, so the cipher uses AES-NI
//! here on every machine of the last ten years.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::Workspace;
use crate::steps::must;

/// Cases without randomness: each turn takes the same number of instructions.
const CASES: [&str; 9] = [
    "seal-16k",
    "seal-200",
    "open-16k",
    "open-200",
    "observe-16k",
    "observe-128k",
    "observe-hl7",
    "pool-take",
    "batch-lend",
];
/// Turns of the two runs.
const TURNS: [u64; 2] = [20, 60];
/// Allowed deviation of a count from its baseline, in parts per thousand.
const TOLERANCE: u64 = 30;

/// Refused handshakes and their limits, in percent of `REFUSED_NORMALLY`. Their keys are random, so they are
/// compared with each other and not with a baseline.
const REFUSED: [(&str, u64); 9] = [
    ("refused-forged", 110),
    ("refused-anchor-names", 200),
    ("refused-equal-names", 110),
    ("refused-web", 200),
    ("refused-filled", 250),
    ("refused-oversized", 110),
    ("refused-names", 120),
    ("refused-many-names", 110),
    ("refused-certificates", 200),
];
/// A handshake with a good certificate that is refused because its name is not listed.
const REFUSED_NORMALLY: &str = "refused-unlisted";
/// A successful handshake with a large revocation list and its limit, in percent of one without a list. The
/// list is verified when it is loaded and searched in the handshake.
const WITH_LIST: [(&str, u64); 1] = [("shake-x25519-list", 105)];
const WITHOUT_LIST: &str = "shake-x25519";
const GOOD_PART: &str = "--toggle-collect=*micro::handshake::answer*";
/// Turns of a handshake.
const HANDSHAKE_TURNS: u64 = 10;
/// The counted part of a refused handshake: the server's work.
const REFUSED_PART: &str = "--toggle-collect=*micro::refused::answer*";
const BASELINE: &str = "bench/micro-baseline.toml";

/// Instructions of one turn of each case.
type Counts = BTreeMap<String, u64>;

/// Whether valgrind is installed.
pub(crate) fn can_run() -> bool {
    let asked = Command::new("valgrind").arg("--version").output();
    asked.is_ok_and(|output| output.status.success())
}

/// Counts and compares; with `--renew`, writes the baseline instead.
pub(crate) fn run(workspace: &Workspace, renew: bool) -> anyhow::Result<()> {
    let build = ["build", "--profile", "quick", "--locked", "-p"];
    must(workspace.cargo(&build).arg("wardgate-bench"))?;
    let program = workspace.product("quick/wardgate-bench");
    let mut counts = Counts::new();
    for case in CASES {
        let file = workspace.product(&format!("quick/{case}.callgrind"));
        let [few, many] = TURNS.map(|turns| instructions(&program, case, turns, &file, &[]));
        let more = many?.saturating_sub(few?);
        counts.insert(case.to_owned(), more / (TURNS[1] - TURNS[0]));
    }
    compare(
        workspace,
        &program,
        REFUSED_NORMALLY,
        REFUSED_PART,
        &REFUSED,
    )?;
    compare(workspace, &program, WITHOUT_LIST, GOOD_PART, &WITH_LIST)?;
    let baseline = workspace.source(BASELINE);
    if renew {
        fs::write(&baseline, write(&counts)).context("cannot write the baseline")?;
        println!("wrote {BASELINE}");
        return Ok(());
    }
    let text = fs::read_to_string(&baseline).with_context(|| format!("cannot read {BASELINE}"))?;
    judge(&read(&text)?, &counts)
}

/// Counts handshakes and compares each with `measure`, by the instructions of the function `part`.
fn compare(
    workspace: &Workspace,
    program: &Path,
    measure: &str,
    part: &str,
    cases: &[(&str, u64)],
) -> anyhow::Result<()> {
    let count = |case: &str| {
        let file = workspace.product(&format!("quick/{case}.callgrind"));
        let all = instructions(program, case, HANDSHAKE_TURNS, &file, &[part])?;
        anyhow::ensure!(all > 0, "{case}: callgrind found no {part}");
        Ok(all / HANDSHAKE_TURNS)
    };
    let normal = count(measure)?;
    println!("{measure:<20} {normal:>10} instructions");
    let mut wrong = Vec::new();
    for &(case, most) in cases {
        let count = count(case)?;
        println!(
            "{case:<20} {count:>10} instructions, {} % (at most {most} %)",
            count * 100 / normal
        );
        wrong.extend(excess(case, count, measure, normal, most));
    }
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join(", "));
    Ok(())
}

/// The error message for a handshake above its limit.
fn excess(case: &str, count: u64, measure: &str, normal: u64, most: u64) -> Option<String> {
    (count * 100 > normal * most)
        .then(|| format!("{case} needs more than {most} % of the instructions of {measure}"))
}

/// Compares bulk transfer through a pair of gateways with a pair of HAProxy in its default build, in one
/// short run. Fails if wardgate needs more than `RATIO_MAX` of HAProxy's CPU time per byte. It usually needs
/// a third or less, so this check only finds gross regressions of the byte path.
pub(crate) fn ratio(workspace: &Workspace, may_install: bool) -> anyhow::Result<()> {
    let build = ["build", "--profile", "quick", "--locked", "-p"];
    must(
        workspace
            .cargo(&build)
            .args(["wardgate", "-p", "wardgate-bench"]),
    )?;
    let mut peers = Command::new(workspace.product("quick/wardgate-bench"));
    peers
        .args(["peers", "--quick", "--only", "wardgate,haproxy"])
        .args(["--scenarios", "bulk", "--at-most", RATIO_MAX, "--wardgate"])
        .arg(workspace.product("quick/wardgate"));
    if !may_install {
        peers.arg("--no-install");
    }
    must(&mut peers)
}

const RATIO_MAX: &str = "0.7";

/// All instructions of a program that runs one case this many times.
fn instructions(
    program: &Path,
    case: &str,
    turns: u64,
    file: &Path,
    options: &[&str],
) -> anyhow::Result<u64> {
    let mut option = std::ffi::OsString::from("--callgrind-out-file=");
    option.push(file);
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .arg(option)
        .args(options)
        .arg(program)
        .args(["micro", "--quiet", "--case", case, "--iterations"])
        .arg(turns.to_string())
        .stdin(Stdio::null());
    must(&mut command)?;
    let text = fs::read_to_string(file).context("callgrind wrote no file")?;
    total(&text).context("callgrind's file has an unknown format")
}

/// The line `totals: NUMBER` of callgrind's file.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals:"));
    line?.trim().parse().ok()
}

/// Prints each count beside its baseline. Fails if a count is too high or has no baseline.
fn judge(baseline: &Counts, counts: &Counts) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for (case, &count) in counts {
        let Some(&before) = baseline.get(case) else {
            wrong.push(format!("{case} has no baseline"));
            continue;
        };
        let change = (count as f64 / before as f64 - 1.0) * 100.0;
        println!("{case:<12} {before:>10} -> {count:>10} instructions a turn, {change:+.2} %");
        if count * 1000 > before * (1000 + TOLERANCE) {
            wrong.push(format!("{case} changed by {change:+.1} % instructions"));
        } else if count * 1000 < before * (1000 - TOLERANCE) {
            println!(
                "{case} needs fewer instructions: record this with `cargo xtask gate --renew`"
            );
        }
    }
    anyhow::ensure!(
        wrong.is_empty(),
        "{}; if this is intended, run `cargo xtask gate --renew` and give the reason in the commit",
        wrong.join(", ")
    );
    Ok(())
}

const HEAD: &str =
    "# Instructions of one turn of each case of `wardgate-bench micro`, counted by callgrind.
# `cargo xtask gate` compares, `cargo xtask gate --renew` writes this file.
";

fn write(counts: &Counts) -> String {
    let lines = counts
        .iter()
        .map(|(case, count)| format!("{case} = {count}\n"));
    HEAD.chars()
        .chain(lines.collect::<String>().chars())
        .collect()
}

fn read(text: &str) -> anyhow::Result<Counts> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter(|line| !line.trim().is_empty()).map(|line| {
        let pair = line.split_once(" = ");
        let pair = pair.and_then(|(case, count)| Some((case.to_owned(), count.parse().ok()?)));
        pair.with_context(|| format!("{BASELINE}: {line:?} is not of the form `case = count`"))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(seal: u64) -> Counts {
        [("seal-16k".to_owned(), seal)].into()
    }

    #[test]
    fn more_instructions_fail_beyond_the_tolerance_and_fewer_do_not() {
        assert!(judge(&counts(1000), &counts(1030)).is_ok());
        assert!(judge(&counts(1000), &counts(1031)).is_err());
        assert!(judge(&counts(1000), &counts(500)).is_ok());
        assert!(judge(&Counts::new(), &counts(1)).is_err(), "no baseline");
    }

    #[test]
    fn a_refused_handshake_fails_above_its_share_of_a_normal_one() {
        assert_eq!(
            excess("refused-forged", 200, REFUSED_NORMALLY, 100, 200),
            None
        );
        assert!(excess("refused-forged", 201, REFUSED_NORMALLY, 100, 200).is_some());
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let written = write(&counts(12));
        assert_eq!(read(&written).ok(), Some(counts(12)), "{written}");
        assert!(read("seal-16k = many\n").is_err());
    }

    #[test]
    fn the_total_is_found_in_callgrinds_file() {
        let text = "version: 1\nsummary: 12 \n\nfn=(0)\n1 12\ntotals: 1234\n";
        assert_eq!(total(text), Some(1234));
        assert_eq!(total("fn=(0)\n"), None);
    }
}
