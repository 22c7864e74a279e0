//! How a route probes whether its targets are available.

use std::time::Duration;

use super::file;
use super::list::title;
use super::problem::Problems;
use super::timeouts::{DurationRange, bounded, bounds};
use super::value::{self, written};
use super::{Located, Mode, Protocol, RouteConfig, Target};
use crate::config::limits::{
    HEALTH_COUNT_MAX, HEALTH_INTERVAL_MAX, HEALTH_INTERVAL_MIN, HEALTH_TIMEOUT_MAX, SLOW_START_MAX,
    SLOW_START_MIN, TIMEOUT_MIN,
};
use crate::dicom::AeTitle;

/// How a route probes whether its targets are available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What a target must do to count as up.
    pub probe: Probe,
    /// The time from the beginning of one probe of a target to the beginning of the next.
    pub interval: Duration,
    /// The time limit of a whole probe; never longer than `interval`.
    pub timeout: Duration,
    /// Successful probes in a row after which a target is up again.
    pub rise: u32,
    /// Failed probes in a row after which a target is down.
    pub fall: u32,
    /// The time in which the share of a target grows to its full share after the target has come up; `None` gives
    /// it its full share at once. Only with balance other than `Priority`.
    pub slow_start: Option<Duration>,
    /// `CEcho`: the calling AE title of the gateway.
    pub calling: AeTitle,
    /// `CEcho`: the called AE title as written; `RouteConfig::echo_title` gives the title that applies.
    pub called: Option<AeTitle>,
}

/// What a target must do to count as up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Accept a TCP connection.
    Connect,
    /// Complete the mutual handshake. Originate only.
    Tls,
    /// Answer a C-ECHO, inside TLS on an originate route. DICOM only.
    CEcho,
    /// Answer a probe message, inside TLS on an originate route. MLLP only.
    Mllp,
}

/// Often enough to show an outage before many applications meet it, at very low cost.
const INTERVAL: Duration = Duration::from_secs(10);
/// The time that a modality waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// One successful probe is proof.
const RISE: u32 = 1;
/// One failed probe may be a lost packet; three are half a minute.
const FALL: u32 = 3;

const INTERVAL_BOUNDS: DurationRange = bounds(HEALTH_INTERVAL_MIN, HEALTH_INTERVAL_MAX);
const SLOW_START_BOUNDS: DurationRange = bounds(SLOW_START_MIN, SLOW_START_MAX);
const TIMEOUT_BOUNDS: DurationRange = bounds(TIMEOUT_MIN, HEALTH_TIMEOUT_MAX);

/// The probes by their keyword; "off" is `None`.
const WORDS: [(&str, Option<Probe>); 5] = [
    ("off", None),
    ("connect", Some(Probe::Connect)),
    ("tls", Some(Probe::Tls)),
    ("c-echo", Some(Probe::CEcho)),
    ("mllp", Some(Probe::Mllp)),
];

/// Reads `health` or `[route.health]`; `None` means no probes.
pub(super) fn resolve(
    route: &file::Route,
    mode: Option<Mode>,
    protocol: Option<Protocol>,
    problems: &mut Problems,
) -> Option<HealthCheck> {
    match &route.health {
        file::Health::Absent => None,
        file::Health::Word(word) => {
            let probe = probe(&route.scope, "health", word, mode, protocol, problems);
            probe.map(with_defaults)
        }
        file::Health::Table(table) => from_table(table, mode, protocol, problems),
    }
}

fn with_defaults(probe: Probe) -> HealthCheck {
    HealthCheck {
        probe,
        interval: INTERVAL,
        timeout: TIMEOUT,
        rise: RISE,
        fall: FALL,
        slow_start: None,
        calling: own_title("WARDGATE"),
        called: None,
    }
}

impl RouteConfig {
    /// The called AE title of a C-ECHO to one of the route's targets: a title whose associations go to this
    /// target, so that the other end knows the title. With several titles, it is the first title of the
    /// target's `[[route.ae]]`; without a known title, it is one that archives usually accept.
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
) -> Option<HealthCheck> {
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

fn overlay(table: &file::HealthTable, below: HealthCheck, problems: &mut Problems) -> HealthCheck {
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
    HealthCheck {
        rise: count("rise", &table.rise).unwrap_or(below.rise),
        fall: count("fall", &table.fall).unwrap_or(below.fall),
        timeout: timeout(table, interval, problems).unwrap_or(below.timeout.min(interval)),
        slow_start: slow_start(table, problems).or(below.slow_start),
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
        "is longer than interval, \"{}\", but a probe must end before the next begins; shorten it",
        written(interval)
    );
    problems.accept(scope, "timeout", table.timeout.value()?, Err(reason))
}

fn slow_start(table: &file::HealthTable, problems: &mut Problems) -> Option<Duration> {
    let text = table.slow_start.value()?;
    if text.value == "off" {
        return None;
    }
    let (scope, written) = (&table.scope, &table.slow_start);
    bounded(scope, "slow_start", written, SLOW_START_BOUNDS, problems)
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
            let text_of = format!("{scope}{key} applies only to probe \"c-echo\"; remove it");
            problems.wrong(text.line, text_of);
        }
    }
}

/// Reads the keyword of a probe and reports if the route does not support the probe.
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

/// Why a route does not support this probe; `None` if it does.
fn misfit(probe: Probe, mode: Option<Mode>, protocol: Option<Protocol>) -> Option<&'static str> {
    match (probe, mode, protocol) {
        (Probe::Connect, ..) => None,
        (_, Some(Mode::Passthrough), _) => Some(
            "needs a route that sends bytes of its own, but mode \"passthrough\" only forwards bytes",
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

/// The probes that a route supports, as text.
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
