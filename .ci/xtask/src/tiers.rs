//! The test tiers: their list, running them one after another, and their results.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::Workspace;
use crate::libtest::{self, Counts, Line};
use crate::steps::Steps;

/// The required tiers in the order in which they run: the fastest first.
const EXPECTED: [&str; 10] = [
    "tidy",
    "unit",
    "simulation",
    "fuzz",
    "direct",
    "security",
    "network",
    "wan",
    "interop",
    "packaging",
];

/// The report repeats so many lines of the output of each failed test: the place of the panic, its message,
/// and both sides of an assertion.
const PRINTED_LINES: usize = 8;
/// And so many characters of each line.
const PRINTED_CHARACTERS: usize = 600;

/// The result of one tier.
#[derive(Debug)]
pub(crate) struct Tier {
    /// `unit`, `direct`, ...
    pub(crate) name: String,
    /// The results of its tests; tests that could not run are only counted as `skipped`.
    pub(crate) counts: Counts,
    /// From start to end, including the build of its test program.
    pub(crate) took: Duration,
    /// Names of failed tests.
    pub(crate) failed: Vec<String>,
    /// The first lines that each failed test printed, its panic first of all.
    pub(crate) printed: BTreeMap<String, Vec<String>>,
    /// The failed test whose output is being read.
    reading: Option<String>,
    /// Tests that could not run, with the reason.
    pub(crate) skipped: Vec<Skip>,
}

/// A test that could not run here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Skip {
    /// The tier it belongs to.
    pub(crate) tier: String,
    /// Its name.
    pub(crate) test: String,
    /// What is missing.
    pub(crate) reason: String,
}

/// The names of all tiers: the required ones, then every other test target of the tests' crate.
pub(crate) fn names(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let manifest = fs::read_to_string(workspace.source("tests/Cargo.toml"))
        .context("cannot read tests/Cargo.toml")?;
    let mut names: Vec<String> = EXPECTED.map(str::to_owned).into();
    for target in test_targets(&manifest) {
        if !names.contains(&target) {
            names.push(target);
        }
    }
    Ok(names)
}

/// Runs the tiers one after another, each as a step, even if an earlier one fails.
///
/// If the build failed, no tier runs, because the tests would use old programs.
pub(crate) fn run_all(
    workspace: &Workspace,
    steps: &mut Steps,
    names: &[String],
    built: bool,
) -> anyhow::Result<Vec<Tier>> {
    let mut tiers = Vec::new();
    fs::create_dir_all(workspace.product("."))?;
    fs::write(workspace.product(SKIPS), "").context("cannot start the list of skips")?;
    for name in names {
        let start = Instant::now();
        let mut tier = Tier::new(name);
        steps.run(&format!("{name} tests"), || {
            anyhow::ensure!(built, "not run, because the build failed");
            tier.run(workspace)
        });
        tier.took = start.elapsed();
        tiers.push(tier);
    }
    for (tier, step) in tiers.iter_mut().zip(steps.tail(names.len())) {
        // A test program without a line of counts did not build or was killed, which is a failure.
        if step.failure.is_some() {
            tier.counts.failed = tier.counts.failed.max(1);
        }
    }
    Ok(tiers)
}

/// The file in the target folder to which the tests' harness appends skipped tests.
const SKIPS: &str = "skips.tsv";

impl Tier {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            counts: Counts::default(),
            took: Duration::ZERO,
            failed: Vec::new(),
            printed: BTreeMap::new(),
            reading: None,
            skipped: Vec::new(),
        }
    }

    /// Runs the tier's tests. Fails if a test failed, or if a required test was skipped.
    fn run(&mut self, workspace: &Workspace) -> anyhow::Result<()> {
        let ended = self.stream(workspace);
        let skips = fs::read_to_string(workspace.product(SKIPS))
            .context("cannot read the list of skips")?;
        self.subtract(read_skips(&skips)?);
        ended?;
        anyhow::ensure!(self.counts != Counts::default(), "this tier has no tests");
        let required = std::env::var("WARDGATE_REQUIRE").unwrap_or_default();
        anyhow::ensure!(
            self.skipped.is_empty() || !is_required(&required, &self.name),
            "{} tests were skipped, but WARDGATE_REQUIRE={required} requires them",
            self.skipped.len()
        );
        Ok(())
    }

    /// Runs cargo, forwards its output line by line, and collects the counts.
    fn stream(&mut self, workspace: &Workspace) -> anyhow::Result<()> {
        let mut cargo = workspace.cargo(&["test", "--locked", "--no-fail-fast"]);
        match self.name.as_str() {
            // The library of wardgate-fuzz is the tier `fuzz` once more.
            "unit" => cargo.args([
                "--workspace",
                "--exclude",
                "wardgate-fuzz",
                "--lib",
                "--bins",
            ]),
            target => cargo.args(["--workspace", "--test", target]),
        };
        if let Some(threads) = self.threads() {
            cargo.arg("--").arg(format!("--test-threads={threads}"));
        }
        cargo.env("WARDGATE_SKIPS", workspace.product(SKIPS));
        let mut child = cargo
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run cargo")?;
        let output = child.stdout.take().expect("stdout was asked to be a pipe");
        for line in BufReader::new(output).split(b'\n') {
            // A test may print bytes that are not UTF-8; the lines of counts are always UTF-8.
            let line = line.context("cannot read the output of cargo")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            self.take(&line);
        }
        let status = child.wait().context("cannot wait for cargo")?;
        anyhow::ensure!(status.success(), "cargo test ended with {status}");
        Ok(())
    }

    /// The number of tests that run at one time, if it is not the number of cores: tests that start programs
    /// wait most of their time.
    fn threads(&self) -> Option<usize> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match self.name.as_str() {
            "direct" => Some(3 * cores),
            "security" | "interop" => Some(2 * cores),
            // All but three wait for the results of one emulated machine.
            "wan" => Some(10),
            _ => None,
        }
    }

    /// Processes one line of the harness.
    fn take(&mut self, line: &str) {
        match libtest::read(line) {
            Some(Line::Result(counts)) => self.counts += counts,
            Some(Line::Failed(test)) => self.failed.push(test.to_owned()),
            Some(Line::Ignored(test, reason)) => self.skipped.push(Skip {
                tier: self.name.clone(),
                test: test.to_owned(),
                reason: format!("marked as ignored {reason}").trim_end().to_owned(),
            }),
            Some(Line::Output(test)) => self.reading = Some(test.to_owned()),
            Some(Line::Failures) => self.reading = None,
            None => self.keep(line),
        }
    }

    /// Keeps the line if it is among the first lines of a failed test's output.
    fn keep(&mut self, line: &str) {
        let Some(test) = &self.reading else { return };
        let lines = self.printed.entry(test.clone()).or_default();
        if lines.len() < PRINTED_LINES && !line.trim().is_empty() && !line.starts_with("note: ") {
            lines.push(line.chars().take(PRINTED_CHARACTERS).collect());
        }
    }

    /// Moves tests that reported themselves as skipped from passed to skipped.
    fn subtract(&mut self, skips: BTreeSet<Skip>) {
        for skip in skips.into_iter().filter(|skip| skip.tier == self.name) {
            self.counts.passed = self.counts.passed.saturating_sub(1);
            self.counts.skipped += 1;
            self.skipped.push(skip);
        }
    }
}

/// Whether WARDGATE_REQUIRE lists this tier.
pub(crate) fn requires(name: &str) -> bool {
    let required = std::env::var("WARDGATE_REQUIRE").unwrap_or_default();
    is_required(&required, name)
}

/// `WARDGATE_REQUIRE` is `all` or a list of tiers separated by commas.
fn is_required(required: &str, tier: &str) -> bool {
    required
        .split(',')
        .map(str::trim)
        .any(|name| name == "all" || name == tier)
}

/// Parses `tier<TAB>test<TAB>reason` lines; a test that appears twice counts once.
fn read_skips(text: &str) -> anyhow::Result<BTreeSet<Skip>> {
    let mut skips: BTreeSet<Skip> = BTreeSet::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, '\t').map(str::to_owned);
        let (Some(tier), Some(test), Some(reason)) = (parts.next(), parts.next(), parts.next())
        else {
            anyhow::bail!("the list of skips has an invalid line: {line:?}");
        };
        if !skips.iter().any(|s| s.tier == tier && s.test == test) {
            skips.insert(Skip { tier, test, reason });
        }
    }
    Ok(skips)
}

/// Names of the `[[test]]` targets of a manifest, in order.
fn test_targets(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut within = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            within = line == "[[test]]";
        } else if let Some(value) = line.strip_prefix("name").filter(|_| within) {
            let value = value.trim_start_matches([' ', '=']);
            names.push(value.trim_matches('"').to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(tier: &str, test: &str) -> Skip {
        Skip {
            tier: tier.to_owned(),
            test: test.to_owned(),
            reason: "no dcmtk".to_owned(),
        }
    }

    #[test]
    fn skips_are_read_and_a_repeated_one_counts_once() {
        let text = "interop\techo\tno dcmtk\ninterop\techo\tagain\nnetwork\tx\ta\tb\n";
        let skips = read_skips(text).expect("the form is right");
        let lines: Vec<_> = skips.iter().map(|s| (&*s.test, &*s.reason)).collect();
        assert_eq!(lines, [("echo", "no dcmtk"), ("x", "a\tb")]);
    }

    #[test]
    fn an_invalid_line_of_skips_is_an_error() {
        assert!(read_skips("interop\techo\n").is_err());
        assert!(read_skips("\n").is_err());
        assert!(read_skips("").expect("nothing is a form").is_empty());
    }

    #[test]
    fn a_skipped_test_is_not_counted_as_passed_and_other_tiers_are_ignored() {
        let mut tier = Tier::new("interop");
        tier.take("test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured");
        tier.subtract(
            [
                skip("interop", "a"),
                skip("interop", "b"),
                skip("network", "c"),
            ]
            .into(),
        );
        assert_eq!((tier.counts.passed, tier.counts.skipped), (3, 2));
        assert_eq!(tier.skipped.len(), 2);
    }

    #[test]
    fn counts_of_several_test_programs_add_up_and_failures_are_named() {
        let mut tier = Tier::new("unit");
        for line in [
            "test a::b ... FAILED",
            "test a::c ... ignored, slow",
            "test result: FAILED. 5 passed; 1 failed; 1 ignored; 0 measured",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured",
        ] {
            tier.take(line);
        }
        assert_eq!((tier.counts.passed, tier.counts.failed), (7, 1));
        assert_eq!(tier.failed, ["a::b"]);
        assert_eq!(tier.skipped[0].reason, "marked as ignored slow");
    }

    #[test]
    fn what_a_failed_test_printed_first_is_kept() {
        let mut tier = Tier::new("unit");
        for line in [
            "test a::b ... FAILED",
            "failures:",
            "",
            "---- a::b stdout ----",
            "thread 'a::b' panicked at tests/a.rs:3:5:",
            "no connection arrives",
            "",
            "failures:",
            "    a::b",
        ] {
            tier.take(line);
        }
        let expected = [
            "thread 'a::b' panicked at tests/a.rs:3:5:",
            "no connection arrives",
        ];
        assert_eq!(tier.printed["a::b"], expected);
    }

    #[test]
    fn required_tiers_are_all_or_the_listed_ones() {
        assert!(is_required("all", "network"));
        assert!(is_required("interop, network", "network"));
        assert!(!is_required("interop", "network"));
        assert!(!is_required("", "network"));
    }

    #[test]
    fn test_targets_are_found_in_a_manifest() {
        let manifest = "[package]\nname = \"tests\"\n\n[[test]]\nname = \"direct\"\n\
                        path = \"direct/main.rs\"\n[[test]]\npath = \"t\"\nname=\"tidy\"\n[lints]\n";
        assert_eq!(test_targets(manifest), ["direct", "tidy"]);
    }
}
