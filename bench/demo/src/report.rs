//! The report: a list of checks, each with a measured result.

#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::archive::Shelf;
use super::dimse::{Receipt, SUCCESS};
use super::needles::Hits;
use super::records::RECORD_TYPES;
use super::sender::Sent;
use super::site::ConnectionLine;
use super::wire::{Direction, Sight};

const VERSION: &str = "TLSv1.3";
const SUITE: &str = "TLS_AES_256_GCM_SHA384";

/// With fewer bytes, a figure per GB would mostly consist of handshakes and rounding: the kernel counts CPU
/// time in steps of 10 ms.
const COST_BYTES_MIN: u64 = 256_000_000;

/// All results of one run.
pub(super) struct Account {
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
    pub(super) shelf: Shelf,
    /// From the request of the first association to the release of the last.
    pub(super) duration: Duration,
    /// The gateway of site A.
    pub(super) a: Ledger,
    /// The gateway of site B.
    pub(super) b: Ledger,
    /// The traffic that an eavesdropper could see.
    pub(super) sight: Sight,
    /// The needles that the same search found in plaintext before the run.
    pub(super) found: Vec<Hits>,
    /// Whether this is a debug build, whose CPU time is not representative.
    pub(super) debug_build: bool,
}

/// The log lines of one gateway, and its CPU time.
pub(super) struct Ledger {
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
    Told,
    /// The check passed.
    Holds,
    /// The check failed, or it could not be made.
    Fails,
}

impl Report {
    /// Evaluates a run.
    pub(super) fn new(account: &Account) -> Self {
        Self {
            sections: vec![
                ("study", study_rows(account)),
                ("tunnel", tunnel_rows(account)),
                ("cost", cost_rows(account)),
                ("wire", wire_rows(account)),
            ],
        }
    }

    /// Whether every check passed.
    pub(super) fn holds(&self) -> bool {
        self.failures() == 0
    }

    fn failures(&self) -> usize {
        let rows = self.sections.iter().flat_map(|(_, rows)| rows);
        rows.filter(|row| row.mark == Mark::Fails).count()
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
            Self::Told => "",
            Self::Holds => "ok",
            Self::Fails => "FAIL",
        })
    }
}

fn told(label: &str, text: impl Into<String>) -> Row {
    Row {
        label: label.into(),
        text: text.into(),
        mark: Mark::Told,
    }
}

fn judged(label: &str, holds: bool, text: impl Into<String>) -> Row {
    let mark = if holds { Mark::Holds } else { Mark::Fails };
    Row {
        label: label.into(),
        text: text.into(),
        mark,
    }
}

fn study_rows(account: &Account) -> Vec<Row> {
    let total = account.objects;
    let sent = account.sent.len();
    let received = account.shelf.receipts.len();
    let equal = equal_receipts(&account.sent, &account.shelf.receipts);
    let stored = account
        .sent
        .iter()
        .filter(|sent| sent.status == SUCCESS)
        .count();
    let mut rows = vec![told("what", &account.title)];
    rows.extend(account.notes.iter().map(|note| told("note", note)));
    rows.extend([
        judged(
            "sent",
            sent == total && total > 0,
            format!("{sent} of {total} objects, {}", megabytes(account.bytes())),
        ),
        judged(
            "received",
            received == total && account.shelf.released == account.associations,
            format!(
                "{received} of {total} objects; associations released cleanly: {} of {}",
                account.shelf.released, account.associations
            ),
        ),
        judged(
            "unaltered",
            equal == total && received == total,
            format!("SHA-256 of the data set equal at both ends for {equal} of {total}"),
        ),
        judged(
            "answered",
            stored == total,
            format!("the archive returned status 0000 for {stored} of {total}"),
        ),
    ]);
    rows.extend(
        account
            .shelf
            .faults
            .iter()
            .map(|fault| judged("fault", false, fault)),
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

fn tunnel_rows(account: &Account) -> Vec<Row> {
    let lines = || account.a.connections.iter().chain(&account.b.connections);
    let version = distinct(lines().map(|line| line.tls.as_str()));
    let suite = distinct(lines().map(|line| line.suite.as_str()));
    let group = distinct(lines().map(|line| line.group.as_str()));
    let mut rows = vec![
        judged("version", version == VERSION, &version),
        judged("suite", suite == SUITE, &suite),
        judged(
            "key exchange",
            !group.contains('-') && !group.contains("nothing"),
            &group,
        ),
    ];
    rows.extend([&account.a, &account.b].map(|ledger| peer_row(ledger, account.associations)));
    rows.push(bytes_row(&account.a, &account.b));
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

fn peer_row(ledger: &Ledger, associations: u64) -> Row {
    let lines = &ledger.connections;
    let peers = distinct(lines.iter().map(|line| line.peer.as_str()));
    let keys = distinct(
        lines
            .iter()
            .map(|line| line.key_sha256.get(..16).unwrap_or("-")),
    );
    let endings = distinct(lines.iter().map(|line| line.reason.as_str()));
    let holds = peers == ledger.peer && endings == "complete" && lines.len() as u64 == associations;
    let text = format!(
        "accepted {peers} with key {keys} on {} of {associations} connections; ended: {endings}",
        lines.len()
    );
    judged(ledger.name, holds, text)
}

fn bytes_row(a: &Ledger, b: &Ledger) -> Row {
    let sum = |ledger: &Ledger, of: fn(&ConnectionLine) -> u64| -> u64 {
        ledger.connections.iter().map(of).sum()
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
    judged("bytes", holds, text)
}

fn cost_rows(account: &Account) -> Vec<Row> {
    let bytes = account.bytes();
    let seconds = account.duration.as_secs_f64();
    let cpu = |ledger: &Ledger| {
        let cpu = ledger.cpu.as_secs_f64();
        let each = match bytes {
            COST_BYTES_MIN.. => format!("{:.2} s/GB", cpu / (bytes as f64 / 1e9)),
            _ => "too little was sent for a figure per GB".into(),
        };
        told(ledger.name, format!("{cpu:.2} s of CPU time; {each}"))
    };
    let mut rows = vec![
        told(
            "throughput",
            format!(
                "{:.0} MB/s from end to end, {seconds:.2} s",
                bytes as f64 / 1e6 / seconds
            ),
        ),
        cpu(&account.a),
        cpu(&account.b),
        told(
            "note",
            "sender, gateways, eavesdropper and archive shared this machine; CPU times to 0.01 s",
        ),
    ];
    if account.debug_build {
        let text = "this is a debug build; `cargo demo` gives figures that count";
        rows.push(told("note", text));
    }
    rows
}

fn wire_rows(account: &Account) -> Vec<Row> {
    let sight = &account.sight;
    let seen = sight.forth.bytes + sight.back.bytes;
    let found = account.found.iter().filter(|hits| hits.count > 0).count();
    let needles = account.found.len();
    let mut rows = vec![
        judged(
            "connections",
            sight.connections == account.associations,
            format!("{} of {}", sight.connections, account.associations),
        ),
        direction_row("A to B", &sight.forth),
        direction_row("B to A", &sight.back),
        judged(
            "search",
            found == needles && needles > 0 && sight.hits.len() == needles,
            format!("checked on plaintext before the run: finds {found} of {needles} byte strings"),
        ),
    ];
    rows.extend(sight.hits.iter().map(|hits| hits_row(hits, seen)));
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
    judged(
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
    judged(&hits.label, hits.count <= allowed, text)
}

impl Account {
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
