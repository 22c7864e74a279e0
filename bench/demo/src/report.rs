//! The report: a list of checks, each with a measured result.

#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::archive::Received;
use super::dimse::{Receipt, SUCCESS};
use super::needles::Hits;
use super::records::RECORD_TYPES;
use super::sender::Sent;
use super::site::ConnectionLine;
use super::wire::{Direction, WireTraffic};

const VERSION: &str = "1.3";
const SUITE: &str = "TLS_AES_256_GCM_SHA384";

/// With fewer bytes, a figure per GB would mostly consist of handshakes and rounding: the kernel counts CPU
/// time in steps of 10 ms.
const COST_BYTES_MIN: u64 = 256_000_000;

/// All results of one run.
pub(super) struct Measurements {
    /// The description of the study.
    pub(super) title: String,
    /// What the study leaves out, in words.
    pub(super) notes: Vec<String>,
    /// Objects in the study.
    pub(super) objects: usize,
    /// Associations that carried it.
    pub(super) associations: u64,
    /// The sender's results.
    pub(super) sent: Vec<Sent>,
    /// The archive's results.
    pub(super) received: Received,
    /// From the request of the first association to the release of the last.
    pub(super) duration: Duration,
    /// The gateway of site A.
    pub(super) a: GatewayResult,
    /// The gateway of site B.
    pub(super) b: GatewayResult,
    /// The traffic that an eavesdropper could see.
    pub(super) traffic: WireTraffic,
    /// The needles that the same search found in plaintext before the run.
    pub(super) found: Vec<Hits>,
    /// Whether this is a debug build, whose CPU time is not representative.
    pub(super) debug_build: bool,
}

/// The log lines of one gateway, and its CPU time.
pub(super) struct GatewayResult {
    /// For example `site A`.
    pub(super) name: &'static str,
    /// The identity that its peer must have.
    pub(super) peer: &'static str,
    /// Its log lines, one for each connection.
    pub(super) connections: Vec<ConnectionLine>,
    /// CPU time of the process during the transfer.
    pub(super) cpu: Duration,
}

/// The report, ready to print.
pub(super) struct Report {
    sections: Vec<(&'static str, Vec<Row>)>,
}

/// One line of the report.
struct Row {
    label: String,
    text: String,
    mark: Mark,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Information without a claim.
    Info,
    /// The check passed.
    Passed,
    /// The check failed, or it could not be made.
    Failed,
}

impl Report {
    /// Evaluates a run.
    pub(super) fn new(measured: &Measurements) -> Self {
        Self {
            sections: vec![
                ("study", study_rows(measured)),
                ("tunnel", tunnel_rows(measured)),
                ("cost", cost_rows(measured)),
                ("wire", wire_rows(measured)),
            ],
        }
    }

    /// Whether every check passed.
    pub(super) fn holds(&self) -> bool {
        self.failures() == 0
    }

    fn failures(&self) -> usize {
        let rows = self.sections.iter().flat_map(|(_, rows)| rows);
        rows.filter(|row| row.mark == Mark::Failed).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.sections.iter().flat_map(|(_, rows)| rows);
        let width = rows.map(|row| row.label.chars().count()).max().unwrap_or(0);
        for (title, rows) in &self.sections {
            writeln!(f, "{title}")?;
            for Row { label, text, mark } in rows {
                writeln!(f, "  {mark:<4}  {label:<width$}  {text}")?;
            }
            writeln!(f)?;
        }
        match self.failures() {
            0 => writeln!(f, "All checks passed."),
            1 => writeln!(f, "1 check failed; it is marked FAIL."),
            n => writeln!(f, "{n} checks failed; they are marked FAIL."),
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "",
            Self::Passed => "ok",
            Self::Failed => "FAIL",
        })
    }
}

fn info(label: &str, text: impl Into<String>) -> Row {
    Row {
        label: label.into(),
        text: text.into(),
        mark: Mark::Info,
    }
}

fn checked(label: &str, holds: bool, text: impl Into<String>) -> Row {
    let mark = if holds { Mark::Passed } else { Mark::Failed };
    Row {
        label: label.into(),
        text: text.into(),
        mark,
    }
}

fn study_rows(measured: &Measurements) -> Vec<Row> {
    let total = measured.objects;
    let sent = measured.sent.len();
    let received = measured.received.receipts.len();
    let equal = equal_receipts(&measured.sent, &measured.received.receipts);
    let stored = measured
        .sent
        .iter()
        .filter(|sent| sent.status == SUCCESS)
        .count();
    let mut rows = vec![info("what", &measured.title)];
    rows.extend(measured.notes.iter().map(|note| info("note", note)));
    rows.extend([
        checked(
            "sent",
            sent == total && total > 0,
            format!("{sent} of {total} objects, {}", megabytes(measured.bytes())),
        ),
        checked(
            "received",
            received == total && measured.received.released == measured.associations,
            format!(
                "{received} of {total} objects; associations released cleanly: {} of {}",
                measured.received.released, measured.associations
            ),
        ),
        checked(
            "unaltered",
            equal == total && received == total,
            format!("SHA-256 of the data set equal at both ends for {equal} of {total}"),
        ),
        checked(
            "answered",
            stored == total,
            format!("the archive returned status 0000 for {stored} of {total}"),
        ),
    ]);
    rows.extend(
        measured
            .received
            .faults
            .iter()
            .map(|fault| checked("fault", false, fault)),
    );
    rows
}

/// How many objects arrived with the same name, length and hash as they were sent.
fn equal_receipts(sent: &[Sent], received: &[Receipt]) -> usize {
    let mut open: HashMap<&Receipt, usize> = HashMap::new();
    for receipt in received {
        *open.entry(receipt).or_default() += 1;
    }
    let arrived = |sent: &&Sent| match open.get_mut(&sent.receipt) {
        Some(left) if *left > 0 => {
            *left -= 1;
            true
        }
        _ => false,
    };
    sent.iter().filter(arrived).count()
}

fn tunnel_rows(measured: &Measurements) -> Vec<Row> {
    let lines = || measured.a.connections.iter().chain(&measured.b.connections);
    let version = distinct(lines().map(|line| line.tls.as_str()));
    let suite = distinct(lines().map(|line| line.suite.as_str()));
    let group = distinct(lines().map(|line| line.group.as_str()));
    let mut rows = vec![
        checked("TLS version", version == VERSION, &version),
        checked("suite", suite == SUITE, &suite),
        checked(
            "key exchange",
            !group.contains('-') && !group.contains("nothing"),
            &group,
        ),
    ];
    rows.extend([&measured.a, &measured.b].map(|result| peer_row(result, measured.associations)));
    rows.push(bytes_row(&measured.a, &measured.b));
    rows
}

/// The distinct values, or a text that matches no expected value if there is none: a gateway that logged
/// nothing proves nothing.
fn distinct<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let values: BTreeSet<_> = values.collect();
    if values.is_empty() {
        return "nothing was logged".into();
    }
    Vec::from_iter(values).join(", ")
}

fn peer_row(result: &GatewayResult, associations: u64) -> Row {
    let lines = &result.connections;
    let peers = distinct(lines.iter().map(|line| line.peer.as_str()));
    let keys = distinct(
        lines
            .iter()
            .map(|line| line.key_sha256.get(..16).unwrap_or("-")),
    );
    let endings = distinct(lines.iter().map(|line| line.reason.as_str()));
    let holds = peers == result.peer && endings == "complete" && lines.len() as u64 == associations;
    let text = format!(
        "accepted {peers} with key {keys} on {} of {associations} connections; ended: {endings}",
        lines.len()
    );
    checked(result.name, holds, text)
}

fn bytes_row(a: &GatewayResult, b: &GatewayResult) -> Row {
    let sum = |result: &GatewayResult, of: fn(&ConnectionLine) -> u64| -> u64 {
        result.connections.iter().map(of).sum()
    };
    let (a_sealed, a_opened) = (
        sum(a, |line| line.sealed_bytes),
        sum(a, |line| line.opened_bytes),
    );
    let (b_sealed, b_opened) = (
        sum(b, |line| line.sealed_bytes),
        sum(b, |line| line.opened_bytes),
    );
    let holds = a_sealed > 0 && a_sealed == b_opened && b_sealed == a_opened;
    let text = format!(
        "A sealed {a_sealed}, B opened {b_opened}; B sealed {b_sealed}, A opened {a_opened}"
    );
    checked("bytes", holds, text)
}

fn cost_rows(measured: &Measurements) -> Vec<Row> {
    let bytes = measured.bytes();
    let seconds = measured.duration.as_secs_f64();
    let cpu = |result: &GatewayResult| {
        let cpu = result.cpu.as_secs_f64();
        let each = match bytes {
            COST_BYTES_MIN.. => format!("{:.2} s/GB", cpu / (bytes as f64 / 1e9)),
            _ => "too little was sent for a figure per GB".into(),
        };
        info(result.name, format!("{cpu:.2} s of CPU time; {each}"))
    };
    let mut rows = vec![
        info(
            "throughput",
            format!(
                "{:.0} MB/s from end to end, {seconds:.2} s",
                bytes as f64 / 1e6 / seconds
            ),
        ),
        cpu(&measured.a),
        cpu(&measured.b),
        info(
            "note",
            "sender, gateways, eavesdropper and archive shared this machine; CPU times to 0.01 s",
        ),
    ];
    if measured.debug_build {
        let text = "this is a debug build; `cargo demo` gives figures that count";
        rows.push(info("note", text));
    }
    rows
}

fn wire_rows(measured: &Measurements) -> Vec<Row> {
    let traffic = &measured.traffic;
    let seen = traffic.a_to_b.bytes + traffic.b_to_a.bytes;
    let found = measured.found.iter().filter(|hits| hits.count > 0).count();
    let needles = measured.found.len();
    let mut rows = vec![
        checked(
            "connections",
            traffic.connections == measured.associations,
            format!("{} of {}", traffic.connections, measured.associations),
        ),
        direction_row("A to B", &traffic.a_to_b),
        direction_row("B to A", &traffic.b_to_a),
        checked(
            "search",
            found == needles && needles > 0 && traffic.hits.len() == needles,
            format!("checked on plaintext before the run: finds {found} of {needles} byte strings"),
        ),
    ];
    rows.extend(traffic.hits.iter().map(|hits| hits_row(hits, seen)));
    rows
}

fn direction_row(label: &str, direction: &Direction) -> Row {
    let mut text = format!("{}:", megabytes(direction.bytes));
    for (name, count) in RECORD_TYPES.iter().zip(direction.records) {
        let _ = write!(text, " {count} {name},");
    }
    match direction.faults.as_slice() {
        [] => text.push_str(" nothing else"),
        faults => {
            let _ = write!(text, " then {}", faults.join("; "));
        }
    }
    checked(
        label,
        direction.faults.is_empty() && direction.bytes > 0,
        text,
    )
}

fn hits_row(hits: &Hits, seen: u64) -> Row {
    let allowed = hits.allowed(seen);
    let mut text = match hits.count {
        1 => "1 hit".into(),
        n => format!("{n} hits"),
    };
    if allowed > 0 {
        let expected = hits.expected(seen);
        let _ = write!(
            text,
            " ({expected:.2} expected by chance in as many random bytes; more than {allowed} fail)"
        );
    }
    checked(&hits.label, hits.count <= allowed, text)
}

impl Measurements {
    /// Bytes of the data sets that were sent.
    fn bytes(&self) -> u64 {
        self.sent.iter().map(|sent| sent.receipt.bytes).sum()
    }
}

/// In units of 10^6 or 10^3 bytes.
fn megabytes(bytes: u64) -> String {
    match bytes as f64 {
        few if few < 1e6 => format!("{:.1} kB", few / 1e3),
        many => format!("{:.1} MB", many / 1e6),
    }
}
