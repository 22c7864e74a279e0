//! How a route finds out whether its targets are there before an application asks.

use std::time::Duration;

use super::file::{self, Health as Written};
use super::list::title;
use super::problem::Problems;
use super::timeouts::{Bounds, bounded, bounds};
use super::value::{self, written};
use super::{Located, Mode, Protocol, RouteConfig, Target};
use crate::dicom::AeTitle;
use crate::limits::{
    HEALTH_COUNT_MAX, HEALTH_INTERVAL_MAX, HEALTH_INTERVAL_MIN, HEALTH_TIMEOUT_MAX, TIMEOUT_MIN,
};

/// How a route finds out whether its targets are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What a target must do to count as there.
    pub probe: Probe,
    /// From the beginning of one probe to that of the next, of each target.
    pub interval: Duration,
    /// How long a probe may take, whole; never longer than `interval`.
    pub timeout: Duration,
    /// Good probes in a row after which a target is up again.
    pub rise: u32,
    /// Bad probes in a row after which a target is down.
    pub fall: u32,
    /// `CEcho`: the title that the gateway calls itself.
    pub calling: AeTitle,
    /// `CEcho`: the title that it calls, as written; `RouteConfig::echo_title` is what holds.
    pub called: Option<AeTitle>,
}

/// What a target must do to count as there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Accept a connection.
    Connect,
    /// Complete the mutual handshake. Originate only.
    Tls,
    /// Answer a C-ECHO, inside TLS on an originate route. DICOM only.
    CEcho,
    /// Answer a message made for it, inside TLS on an originate route. MLLP only.
    Mllp,
}

/// Targets are probed this often: an outage shows before many have met it, at hardly any cost.
const INTERVAL: Duration = Duration::from_secs(10);
/// As long as a modality waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// One good probe is proof.
const RISE: u32 = 1;
/// One bad probe may be a lost packet; three are half a minute.
const FALL: u32 = 3;

const INTERVAL_BOUNDS: Bounds = bounds(HEALTH_INTERVAL_MIN, HEALTH_INTERVAL_MAX);
const TIMEOUT_BOUNDS: Bounds = bounds(TIMEOUT_MIN, HEALTH_TIMEOUT_MAX);

/// What the words of `probe` stand for; off is `None`.
const WORDS: [(&str, Option<Probe>); 5] = [
    ("off", None),
    ("connect", Some(Probe::Connect)),
    ("tls", Some(Probe::Tls)),
    ("c-echo", Some(Probe::CEcho)),
    ("mllp", Some(Probe::Mllp)),
];

/// Reads `health` or `[route.health]`; `None` is no probe at all.
pub(super) fn resolve(
    route: &file::Route,
    mode: Option<Mode>,
    protocol: Option<Protocol>,
    problems: &mut Problems,
) -> Option<Health> {
    match &route.health {
        Written::Absent => None,
        Written::Word(word) => {
            let probe = probe(&route.scope, "health", word, mode, protocol, problems);
            probe.map(with_defaults)
        }
        Written::Table(table) => from_table(table, mode, protocol, problems),
    }
}

fn with_defaults(probe: Probe) -> Health {
    Health {
        probe,
        interval: INTERVAL,
        timeout: TIMEOUT,
        rise: RISE,
        fall: FALL,
        calling: own_title("WARDGATE"),
        called: None,
    }
}

impl RouteConfig {
    /// The title that a C-ECHO calls at one of the route's targets: a title by which associations are led there, so
    /// that the other end knows it. Where several are, it is the first of the target's [[route.ae]]; where none is
    /// known, one that archives take for any.
    #[must_use]
    pub fn echo_title(&self, target: &Target) -> AeTitle {
        let tables = || self.dicom.iter().flat_map(|dicom| &dicom.by_title);
        let is_own = self.targets.contains(target);
        let of_table = tables().find(|table| table.targets.contains(target));
        let of_table = of_table.and_then(|table| table.called.first());
        let written = self.health.as_ref().and_then(|health| health.called);
        let is_free = |title: &&AeTitle| !tables().any(|table| table.called.contains(title));
        let called = self.dicom.iter().flat_map(|dicom| &dicom.called).flatten();
        written
            .filter(|_| is_own)
            .or(of_table.copied())
            .or_else(|| called.into_iter().find(is_free).copied())
            .unwrap_or_else(|| own_title("ANY-SCP"))
    }
}

fn own_title(text: &str) -> AeTitle {
    text.parse().expect("it has up to 16 letters")
}

fn from_table(
    table: &file::HealthTable,
    mode: Option<Mode>,
    protocol: Option<Protocol>,
    problems: &mut Problems,
) -> Option<Health> {
    let scope = &table.scope;
    if table.probe.is_absent() {
        let text = format!(
            "{scope}probe is missing; write probe = {}",
            choices(mode, protocol)
        );
        problems.missing(Some(table.line), text);
    }
    let word = table.probe.value();
    let probe = word.and_then(|word| probe(scope, "probe", word, mode, protocol, problems));
    if probe.is_some_and(|probe| probe != Probe::CEcho) {
        refuse_titles(table, problems);
    }
    let health = overlay(
        table,
        with_defaults(probe.unwrap_or(Probe::Connect)),
        problems,
    );
    probe.map(|_| health)
}

fn overlay(table: &file::HealthTable, below: Health, problems: &mut Problems) -> Health {
    let scope = &table.scope;
    let interval = bounded(
        scope,
        "interval",
        &table.interval,
        INTERVAL_BOUNDS,
        problems,
    );
    let interval = interval.unwrap_or(below.interval);
    let mut count = |key, number| {
        let read = problems.accept_number(scope, key, number, HEALTH_COUNT_MAX.into());
        read.and_then(|read| u32::try_from(read).ok())
    };
    Health {
        rise: count("rise", &table.rise).unwrap_or(below.rise),
        fall: count("fall", &table.fall).unwrap_or(below.fall),
        timeout: timeout(table, interval, problems).unwrap_or(below.timeout.min(interval)),
        calling: read_title(scope, "calling", &table.calling, problems).unwrap_or(below.calling),
        called: read_title(scope, "called", &table.called, problems).or(below.called),
        interval,
        ..below
    }
}

fn timeout(
    table: &file::HealthTable,
    interval: Duration,
    problems: &mut Problems,
) -> Option<Duration> {
    let scope = &table.scope;
    let timeout = bounded(scope, "timeout", &table.timeout, TIMEOUT_BOUNDS, problems)?;
    if timeout <= interval {
        return Some(timeout);
    }
    let reason = format!(
        "is longer than interval, \"{}\", and a probe must end before the next begins; shorten it",
        written(interval)
    );
    problems.accept(scope, "timeout", table.timeout.value()?, Err(reason))
}

fn read_title(
    scope: &str,
    key: &str,
    text: &file::Text,
    problems: &mut Problems,
) -> Option<AeTitle> {
    let text = text.value()?;
    problems.accept(scope, key, text, title(&text.value))
}

fn refuse_titles(table: &file::HealthTable, problems: &mut Problems) {
    for (key, text) in [("calling", &table.calling), ("called", &table.called)] {
        if let Some(text) = text.value() {
            let scope = &table.scope;
            let text_of = format!("{scope}{key} is for probe \"c-echo\" alone; remove it");
            problems.wrong(text.line, text_of);
        }
    }
}

/// Reads the word for a probe and tells where the route cannot do it.
fn probe(
    scope: &str,
    key: &str,
    word: &Located<String>,
    mode: Option<Mode>,
    protocol: Option<Protocol>,
    problems: &mut Problems,
) -> Option<Probe> {
    let read = value::word(&word.value, &WORDS).and_then(|probe| match probe {
        Some(probe) => match misfit(probe, mode, protocol) {
            Some(reason) => Err(format!("{reason}; write {}", choices(mode, protocol))),
            None => Ok(Some(probe)),
        },
        None => Ok(None),
    });
    problems.accept(scope, key, word, read).flatten()
}

/// Why a route cannot do this probe, if it cannot.
fn misfit(probe: Probe, mode: Option<Mode>, protocol: Option<Protocol>) -> Option<&'static str> {
    match (probe, mode, protocol) {
        (Probe::Connect, ..) => None,
        (_, Some(Mode::Passthrough), _) => Some(
            "would need the route to send bytes of its own, and mode \"passthrough\" only carries those of others",
        ),
        (Probe::Tls, Some(Mode::Terminate), _) => {
            Some("applies only to mode \"originate\": this route reaches its targets in plaintext")
        }
        (Probe::CEcho, _, Some(Protocol::Mllp | Protocol::Tcp)) => {
            Some("applies only to protocol \"dicom\"")
        }
        (Probe::Mllp, _, Some(Protocol::Dicom | Protocol::Tcp)) => {
            Some("applies only to protocol \"mllp\"")
        }
        _ => None,
    }
}

/// The probes that a route can do, in words.
fn choices(mode: Option<Mode>, protocol: Option<Protocol>) -> String {
    let fits = |probe: &Option<Probe>| {
        let misfit = probe.and_then(|probe| misfit(probe, mode, protocol));
        misfit.is_none()
    };
    let fitting = WORDS.iter().filter(|(_, probe)| fits(probe));
    let words: Vec<_> = fitting.map(|(word, _)| format!("\"{word}\"")).collect();
    match words.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
