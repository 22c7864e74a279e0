//! Compares the logs of both sites about associations with the reports of the applications.
//!
//! ```text
//! modality -> A originate ===> B terminate -> archive
//!     HOME <- A terminate <=== B originate <- archive       the way back: what C-MOVE brings, reports
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, DEADLINE, Gateway, Line, Pki, Site, dicom, free_port, until};

use crate::pair::{A, B, Pair};
use crate::peers::{DCMTK, loopback, storescp_with, storescu};
use crate::recorded::{archive, modality};

/// The AE titles of the scenarios in one run of the modality are the names of the scenarios.
const SCENARIOS: [&str; 16] = [
    "echo:30",
    "store:50",
    "pipeline:60",
    "find:300",
    "worklist:60",
    "cancel",
    "fail",
    "get:40",
    "move:40",
    "astray",
    "commit",
    "commit_apart",
    "film",
    "abort:2",
    "reject",
    "everything:4",
];

#[test]
fn a_thousand_objects_are_a_thousand_in_the_log_of_both_sites() {
    if !tier::ready("interop", &DCMTK) {
        return;
    }
    let pki = Pki::new();
    let (sent, received) = (TempDir::new(), TempDir::new());
    let (sent, received) = (sent.expect("room"), received.expect("room"));
    let files = dicom::series(sent.path(), "WARDGATE", 1000, 2);
    let port = free_port();
    // DCMTK's own variable; without it each object takes two delayed acknowledgements.
    let scp = storescp_with(port, received.path(), &[]).env("TCP_NODELAY", "1");
    let _scp = Background::listening(&scp, port);
    let pair = Pair::start(&pki, "dicom", port);
    let program = storescu(pair.entry, &["-R", "-aet", "ROW"], &files);
    program.env("TCP_NODELAY", "1").run().expect_success();
    let objects = dicom::objects(received.path());
    assert_eq!(objects, dicom::objects_in(&files));
    let bytes: usize = objects.iter().map(|object| object.octets).sum();
    for gateway in [&pair.a, &pair.b] {
        let line = association(gateway, "ROW");
        assert_eq!(line.text("commands"), "C-STORE 1000 (success 1000)");
        assert_eq!(line.number("objects"), 1000);
        assert_eq!(line.number("object_bytes"), bytes as u64);
        let classes = format!("CT Image Storage 1000 ({bytes} bytes)");
        assert_eq!(line.text("classes"), classes);
        assert_eq!(line.text("failures"), "-");
        assert_eq!(line.text("how"), "released by requestor");
    }
    pair.stop();
}

#[test]
fn the_logs_of_both_sites_agree_with_the_applications() {
    if !tier::ready("interop", &[Need::Python]) {
        return;
    }
    let sites = Sites::start(&[], &[]);
    let (report, text) = sites.perform(&SCENARIOS);
    let (home, report): (Vec<_>, Vec<_>) =
        report.into_iter().partition(|report| report.name == "home");
    assert_eq!(report.len(), SCENARIOS.len(), "{text}");
    assert_eq!(report[3].counts["C-FIND"]["pending"], 300, "{text}");
    for gateway in [&sites.a, &sites.b] {
        for report in &report {
            let line = association(gateway, &report.title());
            report.assert_logged(&line);
            sites.assert_received(report);
            let moves = matches!(&*report.name, "move" | "astray" | "everything");
            assert_eq!(line.text("destinations") != "-", moves, "{line:?}");
            let ended = match &*report.name {
                "abort" => "aborted",
                "reject" => "rejected",
                _ => "released",
            };
            for which in ["accepted", "rejected"] {
                let logged = line.number(&format!("contexts_{which}"));
                assert_eq!(report.counts[which], logged, "{which}: {line:?}");
            }
            assert_eq!(line.text("ended"), ended, "{line:?}");
        }
        // By the way back: C-MOVE's objects, and a storage commitment report.
        let back = until("two associations come back", DEADLINE, || {
            let mut lines = gateway.lines();
            lines.retain(|line| is_association(line, "ARCHIVE"));
            (lines.len() >= 2).then_some(lines)
        });
        assert_eq!((back.len(), home.len()), (2, 2), "{back:#?}\n{text}");
        for (report, line) in home.iter().zip(&back) {
            report.assert_logged(line);
            assert_eq!(line.text("called"), "HOME");
        }
        assert_in_metrics(gateway, report.iter().chain(&home));
        let output = gateway.output();
        assert!(!output.contains("without a return route"), "{output}");
        assert!(!output.contains("no longer observed"), "{output}");
    }
    sites.stop();
}

/// Both sites, each with a route to the archive and a route back, and the archive behind B.
pub(crate) struct Sites {
    pub(crate) a: Gateway,
    pub(crate) b: Gateway,
    entry: u16,
    home: u16,
    archive: Background,
}

impl Sites {
    /// `near` and `far` are additional keys for the routes to the archive.
    pub(crate) fn start(near: &[(&str, &str)], far: &[(&str, &str)]) -> Self {
        let with = |site: Site, rules: &[(&str, &str)]| {
            let add = |site: Site, (key, value): &(&str, &str)| site.set(key, *value);
            rules.iter().fold(site, add)
        };
        let pki = Pki::new();
        let [entry, wan, port, home, back, back_wan] = [(); 6].map(|()| free_port());
        let archive = archive(back, &[(port, 16_382)]);
        let b = Site::new(&pki, B)
            .terminate(loopback(wan), loopback(port), &[format!("dns:{A}")])
            .set("return", "\"back\"");
        let b = with(b, far)
            .originate(loopback(back), loopback(back_wan), &[format!("dns:{A}")])
            .name("back");
        let a = Site::new(&pki, A)
            .originate(loopback(entry), loopback(wan), &[format!("dns:{B}")])
            .set("return", "\"back\"");
        let a = with(a, near)
            .terminate(loopback(back_wan), loopback(home), &[format!("dns:{B}")])
            .name("back");
        Self {
            b: b.start(),
            a: a.start(),
            entry,
            home,
            archive,
        }
    }

    /// Runs these scenarios on the modality; returns its results, parsed and as printed.
    pub(crate) fn perform(&self, scenarios: &[&str]) -> (Vec<ModalityReport>, String) {
        let program = modality(self.home).arg(self.entry.to_string());
        let text = program.args(scenarios).run().expect_success().text();
        (
            text.lines().filter_map(ModalityReport::read).collect(),
            text,
        )
    }

    /// Checks that the archive received the modality's requests.
    fn assert_received(&self, report: &ModalityReport) {
        let start = format!("closed {} ", report.title());
        let heard: Value = until("the archive has heard it all", DEADLINE, || {
            let output = self.archive.output();
            let line = output.lines().find_map(|line| line.strip_prefix(&start))?;
            serde_json::from_str(line).ok()
        });
        for (command, counts) in report.commands() {
            if !command.ends_with("acceptor") {
                assert_eq!(heard[command], counts["requests"], "{command}: {heard}");
            }
        }
    }

    pub(crate) fn stop(self) {
        self.a.stop();
        self.b.stop();
    }
}

/// The modality's report about one association.
#[derive(Debug, PartialEq)]
pub(crate) struct ModalityReport {
    name: String,
    counts: Value,
}

impl ModalityReport {
    fn read(line: &str) -> Option<Self> {
        let (scenario, counts) = line.strip_prefix("told ")?.split_once(' ')?;
        let name = scenario.split(':').next()?.to_owned();
        let counts = serde_json::from_str(counts).expect("it writes JSON");
        Some(Self { name, counts })
    }

    /// The calling title.
    fn title(&self) -> String {
        self.name.to_uppercase()
    }

    fn commands(&self) -> impl Iterator<Item = (&String, &Value)> {
        let counts = self.counts.as_object().expect("an object");
        counts.iter().filter(|(_, counts)| counts.is_object())
    }

    /// Checks that the log agrees.
    fn assert_logged(&self, line: &Line) {
        let mut expected: BTreeSet<_> = self.commands().map(in_log).collect();
        if expected.is_empty() {
            expected.insert("-".to_owned());
        }
        let logged = line.text("commands").replace(", C-", "\nC-");
        let logged = logged.replace(", N-", "\nN-");
        let logged: BTreeSet<_> = logged.lines().map(str::to_owned).collect();
        assert_eq!(logged, expected, "{}", self.name);
        assert_eq!(self.counts["objects"], line.number("objects"), "{line:?}");
        assert_eq!(
            self.counts["octets"],
            line.number("object_bytes"),
            "{line:?}"
        );
    }
}

/// A command with its counts, as the log has it.
fn in_log((command, counts): (&String, &Value)) -> String {
    let (name, by) = command.split_once(' ').unwrap_or((command, ""));
    let mut text = format!("{name} {}", counts["requests"]);
    if !by.is_empty() {
        text = format!("{text} {by}");
    }
    let words = [
        ("success", "success"),
        ("warning", "warning"),
        ("failure", "failure"),
        ("cancel", "cancelled"),
    ];
    let parts = words.iter().filter_map(|(key, word)| {
        let count = counts.get(key)?;
        Some(format!("{word} {count}"))
    });
    let parts: Vec<_> = parts.collect();
    match parts.is_empty() {
        true => text,
        false => format!("{text} ({})", parts.join(", ")),
    }
}

/// Checks that the metrics of all routes agree with the sum of all associations.
fn assert_in_metrics<'t>(gateway: &Gateway, report: impl Iterator<Item = &'t ModalityReport>) {
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for report in report {
        for which in ["objects", "octets"] {
            *expected.entry(which.to_owned()).or_default() += number(&report.counts[which]);
        }
        for (command, counts) in report.commands() {
            let name = command.split(' ').next().unwrap_or_default();
            for (what, count) in counts.as_object().expect("an object") {
                let what = what.replace("cancel", "cancelled");
                *expected.entry(format!("{name} {what}")).or_default() += number(count);
            }
        }
    }
    // The metrics follow the log within moments; a longer difference is shown.
    let start = Instant::now();
    until("one of both", 2 * DEADLINE, || {
        let metrics = in_metrics(&gateway.metrics());
        if start.elapsed() > DEADLINE {
            assert_eq!(metrics, expected);
        }
        (metrics == expected).then_some(())
    });
}

/// The metrics of requests and responses, without those that are zero.
fn in_metrics(text: &str) -> BTreeMap<String, u64> {
    let mut metrics = BTreeMap::new();
    for line in text.lines() {
        let (name, count) = line.rsplit_once(' ').unwrap_or((line, ""));
        let label = |key: &str| {
            let (_, value) = name.split_once(&format!("{key}=\""))?;
            value.split('"').next()
        };
        let command = label("command").unwrap_or_default();
        let key = match name.split('{').next() {
            Some("wardgate_dimse_requests_total") => format!("{command} requests"),
            Some("wardgate_dimse_responses_total") => {
                format!("{command} {}", label("class").unwrap_or_default())
            }
            Some("wardgate_objects_total") => "objects".to_owned(),
            Some("wardgate_object_bytes_total") => "octets".to_owned(),
            _ => continue,
        };
        let count: u64 = count.parse().expect("a count");
        if count > 0 {
            *metrics.entry(key).or_default() += count;
        }
    }
    metrics
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a count")
}

/// Waits for the gateway's log line about the association of this calling title.
pub(crate) fn association(gateway: &Gateway, calling: &str) -> Line {
    gateway.wait_for_line(calling, DEADLINE, |line| is_association(line, calling))
}

fn is_association(line: &Line, calling: &str) -> bool {
    line.message() == "association" && line.text("calling") == calling
}
