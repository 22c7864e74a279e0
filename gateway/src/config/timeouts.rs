//! Deadlines: the bounds of each, and the values of a route over those of the site.

use std::time::Duration;

use super::draft::Draft;
use super::file;
use super::problem::{Problems, quoted};
use super::value::{duration, written};
use super::written::Written;
use super::{Connect, Mode, Observe, Protocol};
use crate::config::limits;

/// The deadlines of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For the whole TLS handshake.
    pub handshake: Duration,
    /// For the connection to the targets, including DNS look-ups.
    pub connect: Duration,
    /// `dicom` and `mllp`: until the first bytes of the client have arrived; on passthrough routes also until
    /// the target has answered. `None` means no limit.
    pub first_byte: Option<Duration>,
    /// The time without traffic in both directions after which a connection of a `tcp` or passthrough route
    /// ends; `None` means no limit.
    pub idle: Option<Duration>,
    /// The time without traffic after which an association in which nothing is outstanding is aborted; `None`
    /// means no limit. Only for observed DICOM routes.
    pub association_idle: Option<Duration>,
    /// How long a drain waits for open connections.
    pub drain: Duration,
    /// How long a route accepts after it has reported that it is not ready, before it drains.
    pub drain_delay: Duration,
    /// TCP keepalive on both sockets.
    pub keepalive: Keepalive,
    /// How long sent data may stay unacknowledged (`TCP_USER_TIMEOUT`).
    pub user: Duration,
    /// How long a receiver that acknowledges may read nothing; `None` means no limit.
    pub stall: Option<Duration>,
}

/// TCP keepalive of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keepalive {
    /// The silence before the first probe.
    pub idle: Duration,
    /// The time between probes.
    pub interval: Duration,
    /// Unanswered probes after which the peer is dead.
    pub probes: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            connect: Duration::from_secs(4),
            first_byte: Some(Duration::from_secs(5)),
            idle: None,
            association_idle: None,
            drain: Duration::from_secs(5 * 60),
            drain_delay: Duration::ZERO,
            keepalive: Keepalive {
                idle: Duration::from_secs(60),
                interval: Duration::from_secs(10),
                probes: 6,
            },
            user: Duration::from_secs(120),
            stall: None,
        }
    }
}

/// The shortest and the longest allowed duration.
#[derive(Clone, Copy)]
pub(super) struct DurationRange {
    min: Duration,
    max: Duration,
    /// Whether "never" is allowed as well.
    never: bool,
}

const HANDSHAKE: DurationRange = bounds(limits::TIMEOUT_MIN, limits::HANDSHAKE_TIMEOUT_MAX);
const CONNECT: DurationRange = bounds(limits::TIMEOUT_MIN, limits::CONNECT_TIMEOUT_MAX);
const FIRST_BYTE: DurationRange = DurationRange {
    min: limits::TIMEOUT_MIN,
    max: limits::FIRST_BYTE_TIMEOUT_MAX,
    never: true,
};
const IDLE: DurationRange = DurationRange {
    min: Duration::from_secs(1),
    max: limits::IDLE_TIMEOUT_MAX,
    never: true,
};
const ASSOCIATION_IDLE: DurationRange = DurationRange {
    min: limits::ASSOCIATION_IDLE_MIN,
    max: limits::IDLE_TIMEOUT_MAX,
    never: true,
};
const DRAIN: DurationRange = bounds(limits::TIMEOUT_MIN, limits::DRAIN_TIMEOUT_MAX);
const DRAIN_DELAY: DurationRange = bounds(Duration::ZERO, limits::DRAIN_DELAY_MAX);
const KEEPALIVE: DurationRange = bounds(Duration::from_secs(1), limits::KEEPALIVE_MAX);
const USER: DurationRange = bounds(Duration::from_secs(1), limits::USER_TIMEOUT_MAX);
const STALL: DurationRange = DurationRange {
    min: Duration::from_secs(1),
    max: limits::STALL_TIMEOUT_MAX,
    never: true,
};

/// The bounds from `min` to `max`, without `"never"`.
pub(super) const fn bounds(min: Duration, max: Duration) -> DurationRange {
    DurationRange {
        min,
        max,
        never: false,
    }
}

/// The site's deadlines: `[timeouts]` over the defaults.
pub(super) fn site(written: &file::Timeouts, problems: &mut Problems) -> Timeouts {
    overlay(written, &Timeouts::default(), problems)
}

/// The settings of a route that its deadlines depend on.
#[derive(Clone, Copy)]
pub(super) struct RouteKind {
    pub(super) mode: Option<Mode>,
    pub(super) protocol: Option<Protocol>,
    pub(super) connect: Connect,
    pub(super) observe: Observe,
}

/// A route's deadlines: its own over the site's. `written_site` is the table as written, `site` the resolved
/// one.
pub(super) fn route(
    [written, written_site]: [&file::Timeouts; 2],
    site: &Timeouts,
    kind: RouteKind,
    problems: &mut Problems,
) -> Timeouts {
    let RouteKind { mode, protocol, .. } = kind;
    let mut timeouts = overlay(written, site, problems);
    if let (Some(idle), Some(protocol @ (Protocol::Dicom | Protocol::Mllp))) =
        (written.idle.value(), protocol)
        && timeouts.idle.is_some()
        && mode != Some(Mode::Passthrough)
    {
        let value = quoted(&idle.value);
        let text = format!(
            "{}idle {value} applies only to protocol \"tcp\" or mode \"passthrough\": {}; remove it",
            written.scope,
            silence(protocol)
        );
        problems.wrong(idle.line, text);
    }
    if let (Some(first_byte), Some(Protocol::Tcp)) = (written.first_byte.value(), protocol) {
        let reason = "applies only to protocols \"dicom\" and \"mllp\": on a tcp route, either side may send \
            first, and after any time; remove it";
        problems.wrong(
            first_byte.line,
            format!("{}first_byte {reason}", written.scope),
        );
    }
    if let (Some(first_byte), Connect::Early) = (written.first_byte.value(), kind.connect) {
        let reason = "has no effect beside connect = \"early\": such a route does not wait for a first byte; \
            remove one of the two";
        problems.wrong(
            first_byte.line,
            format!("{}first_byte {reason}", written.scope),
        );
    }
    if let (Some(handshake), Some(Mode::Passthrough)) = (written.handshake.value(), mode) {
        let reason = "applies only to modes \"originate\" and \"terminate\": a passthrough route makes no \
            handshake of \
            its own; remove it";
        problems.wrong(
            handshake.line,
            format!("{}handshake {reason}", written.scope),
        );
    }
    let observes_dicom = protocol == Some(Protocol::Dicom)
        && mode != Some(Mode::Passthrough)
        && kind.observe != Observe::Off;
    if !observes_dicom {
        timeouts.association_idle = None;
    }
    if let (Some(line), Some(_), Some(_), false) = (
        written_line(&written.association_idle),
        protocol,
        mode,
        observes_dicom,
    ) {
        let reason = "applies only to observed dicom routes: it needs to know which requests are outstanding; \
            remove it";
        let text = format!("{}association_idle {reason}", written.scope);
        problems.wrong(line, text);
    }
    let default_idle = default_idle(written, written_site, mode);
    timeouts.idle = timeouts.idle.or(default_idle);
    let is_written = !written.first_byte.is_absent() || !written_site.first_byte.is_absent();
    if waits_for_a_message(kind) && !is_written {
        timeouts.first_byte = None;
    }
    timeouts
}

fn written_line(text: &file::Text) -> Option<usize> {
    text.value().map(|text| text.line)
}

/// The idle time of a passthrough route if neither the route nor the site sets it. The route does not know
/// its clients, so a forgotten connection must end by itself.
fn default_idle(
    route: &file::Timeouts,
    site: &file::Timeouts,
    mode: Option<Mode>,
) -> Option<Duration> {
    let is_written = !route.idle.is_absent() || !site.idle.is_absent();
    let is_open = mode == Some(Mode::Passthrough) && !is_written;
    is_open.then_some(limits::PASSTHROUGH_IDLE)
}

/// Interface engines connect when a channel starts, and send the first message later. On a passthrough route
/// they use TLS, in which the client sends at once.
fn waits_for_a_message(kind: RouteKind) -> bool {
    kind.protocol == Some(Protocol::Mllp) && kind.mode != Some(Mode::Passthrough)
}

/// Reports a site's `idle` if it would apply to DICOM and MLLP routes without a value of their own.
pub(super) fn check_site_idle(
    site: &file::Timeouts,
    drafts: &[Draft<'_>],
    problems: &mut Problems,
) {
    let Some(idle) = site
        .idle
        .value()
        .filter(|idle| within(&idle.value, "idle", IDLE).is_ok())
    else {
        return;
    };
    let struck = drafts.iter().find_map(|draft| {
        let protocol = draft
            .protocol
            .filter(|protocol| *protocol != Protocol::Tcp)?;
        draft
            .written
            .timeouts
            .idle
            .is_absent()
            .then_some((draft.written, protocol))
    });
    let Some((route, protocol)) = struck else {
        return;
    };
    let name = route.scope.trim_end_matches(": ");
    let text = format!(
        "{}idle {} would also end connections of {name}: {}; write it in the [route.timeouts] of \
         tcp routes",
        site.scope,
        quoted(&idle.value),
        silence(protocol)
    );
    problems.wrong(idle.line, text);
}

/// Why silence does not mean that a connection is dead.
fn silence(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Dicom => "a DICOM association is silent for minutes while a C-MOVE is pending",
        Protocol::Mllp => "an MLLP connection is silent for hours between messages",
        Protocol::Tcp => "a stream may be silent",
    }
}

/// The written values, over those of `below` key by key.
fn overlay(own: &file::Timeouts, below: &Timeouts, problems: &mut Problems) -> Timeouts {
    let scope = &own.scope;
    let mut read = |key, text: &file::Text, bounds, below| {
        bounded(scope, key, text, bounds, problems).unwrap_or(below)
    };
    Timeouts {
        handshake: read("handshake", &own.handshake, HANDSHAKE, below.handshake),
        connect: read("connect", &own.connect, CONNECT, below.connect),
        drain: read("drain", &own.drain, DRAIN, below.drain),
        drain_delay: read(
            "drain_delay",
            &own.drain_delay,
            DRAIN_DELAY,
            below.drain_delay,
        ),
        user: read("user", &own.user, USER, below.user),
        first_byte: or_never(
            (scope, "first_byte", &own.first_byte),
            FIRST_BYTE,
            below.first_byte,
            problems,
        ),
        idle: or_never((scope, "idle", &own.idle), IDLE, below.idle, problems),
        association_idle: or_never(
            (scope, "association_idle", &own.association_idle),
            ASSOCIATION_IDLE,
            below.association_idle,
            problems,
        ),
        stall: or_never((scope, "stall", &own.stall), STALL, below.stall, problems),
        keepalive: keepalive(&own.keepalive, &below.keepalive, problems),
    }
}

/// A deadline that may be "never".
fn or_never(
    (scope, key, text): (&str, &str, &file::Text),
    bounds: DurationRange,
    below: Option<Duration>,
    problems: &mut Problems,
) -> Option<Duration> {
    match text.value() {
        None => below,
        Some(text) if text.value == "never" => None,
        Some(_) => bounded(scope, key, text, bounds, problems),
    }
}

fn keepalive(own: &file::Keepalive, below: &Keepalive, problems: &mut Problems) -> Keepalive {
    let scope = &own.scope;
    let mut seconds = |key, text: &file::Text, below| {
        let read = bounded(scope, key, text, KEEPALIVE, problems);
        let (Some(value), Some(text)) = (read, text.value()) else {
            return below;
        };
        if value.subsec_nanos() != 0 {
            let reason = "is not in whole seconds, but the kernel counts keepalive in seconds; \
                write for example \"10s\"";
            problems.accept::<()>(scope, key, text, Err(reason.to_owned()));
        }
        value
    };
    Keepalive {
        idle: seconds("idle", &own.idle, below.idle),
        interval: seconds("interval", &own.interval, below.interval),
        probes: probes(scope, &own.probes, problems).unwrap_or(below.probes),
    }
}

fn probes(scope: &str, written: &Written<i64>, problems: &mut Problems) -> Option<u32> {
    let max = limits::KEEPALIVE_PROBES_MAX.into();
    let read = problems.accept_number(scope, "probes", written, max)?;
    u32::try_from(read).ok()
}

/// Reads a duration, if one is written.
pub(super) fn bounded(
    scope: &str,
    key: &str,
    text: &file::Text,
    bounds: DurationRange,
    problems: &mut Problems,
) -> Option<Duration> {
    let text = text.value()?;
    problems.accept(scope, key, text, within(&text.value, key, bounds))
}

fn within(text: &str, key: &str, bounds: DurationRange) -> Result<Duration, String> {
    if text == "never" {
        return Err(format!(
            "would let {key} wait forever; write a duration up to {}",
            quoted(&written(bounds.max))
        ));
    }
    let value = duration(text)?;
    let (min, max) = (written(bounds.min), written(bounds.max));
    if value < bounds.min {
        let or_never = if bounds.never { ", or \"never\"" } else { "" };
        return Err(format!(
            "is too short; write \"{min}\" to \"{max}\"{or_never}"
        ));
    }
    if value > bounds.max {
        return Err(format!("is too long; write \"{min}\" to \"{max}\""));
    }
    Ok(value)
}
