//! The parts of the page that are about the gateway as a whole.

use maud::{Markup, html};

use super::table::table;
use super::words::{self, outside, prose};
use crate::admin::limits::{REASONS_SHOWN_MAX, ROWS_SHOWN_MAX};
use crate::control::{
    CertificateStatus, ConnectionStatus, GatewayStatus, HealthLevel, RefusalStatus,
};

// Days before its end at which a certificate, and a revocation list, needs attention. A CA issues lists every
// few days.
const CERTIFICATE_DAYS: i64 = 30;
const LIST_DAYS: i64 = 7;

/// The state as a shape: each level has its own, so that no reader depends on the colour.
pub(super) fn icon(level: HealthLevel) -> Markup {
    let shape = match level {
        HealthLevel::Good => {
            "M12 2a10 10 0 1 0 0 20 10 10 0 1 0 0-20zM10.3 16.6 6 12.3l1.6-1.6 2.7 2.7 6-6L17.900 9z"
        }
        HealthLevel::Warning => "M12 2 1 21h22zM11 9h2v6h-2zM11 17h2v2h-2z",
        HealthLevel::Failed => {
            "M8 2h8l6 6v8l-6 6H8l-6-6V8zM8.500 7 7 8.500l3.500 3.500L7 15.500 8.500 17l3.500-3.500 3.500 3.500 1.500-1.500-3.500-3.500L17 8.500 15.500 7 12 10.500z"
        }
    };
    html! {
        svg class={ "icon " (words::class(level)) } viewBox="0 0 24 24" aria-hidden="true" {
            path fill-rule="evenodd" d=(shape) {}
        }
    }
}

/// The state as a shape and a word.
pub(super) fn chip(level: HealthLevel, text: &str) -> Markup {
    html! {
        span class={ "chip " (words::class(level)) } { (icon(level)) (text) }
    }
}

/// A shield.
pub(super) fn logo() -> Markup {
    html! {
        svg.logo viewBox="0 0 24 24" aria-hidden="true" {
            path fill-rule="evenodd" d="M12 1 3 5v6c0 6 4 10 9 12 5-2 9-6 9-12V5zM10.800 16 7 12.200l1.400-1.400 2.400 2.400 4.800-4.800L17 9.800z" {}
        }
    }
}

/// The program, and when this was seen.
pub(super) fn about(status: &GatewayStatus) -> Markup {
    html! {
        p {
            "State at " span.nowrap { (words::moment(status.at)) } ". Version " (outside(&status.program))
            ", up for " (words::age(status.uptime_seconds)) ", "
            (words::plural(status.connections, "open connection")) "."
        }
    }
}

/// What the page says first: whether images flow, and if not, why.
pub(super) fn state(status: &GatewayStatus) -> Markup {
    let (level, sentence) = summary(status);
    let reasons = reasons(status);
    html! {
        div class={ "banner " (words::class(level)) } {
            (icon(level))
            div {
                p.summary { (sentence) }
                (list(&reasons))
            }
        }
    }
}

/// The same in one sentence, for screen readers.
pub(super) fn spoken(status: &GatewayStatus) -> Markup {
    html! { (summary(status).1) }
}

// The worst state of all, with the sentence that names it.
fn summary(status: &GatewayStatus) -> (HealthLevel, String) {
    let all = status.routes.len();
    let count = |level| {
        let routes = status.routes.iter();
        routes.filter(|route| route.health.level == level).count()
    };
    let (failed, warned) = (count(HealthLevel::Failed), count(HealthLevel::Warning));
    let of_all = |count: usize, one: &str, many: &str| match (count, all) {
        (1, 1) => format!("The route {one}."),
        (1, _) => format!("1 of {all} routes {one}."),
        _ => format!("{count} of {all} routes {many}."),
    };
    if status.stopping {
        let text = "The gateway is stopping: it accepts no new connections.".to_owned();
        return (status.health.level.max(HealthLevel::Warning), text);
    }
    match (failed, warned, status.health.level) {
        (1.., ..) => {
            let text = of_all(failed, "carries no traffic", "carry no traffic");
            (HealthLevel::Failed, text)
        }
        (0, 1.., level) => (
            level.max(HealthLevel::Warning),
            of_all(warned, "needs attention", "need attention"),
        ),
        (0, 0, HealthLevel::Good) if all == 0 => {
            (HealthLevel::Warning, "No route is configured.".to_owned())
        }
        (0, 0, HealthLevel::Good) => {
            let text = match all {
                1 => "The route works.".to_owned(),
                _ => format!("All {all} routes work."),
            };
            (HealthLevel::Good, text)
        }
        (0, 0, level) => (level, "The gateway needs attention.".to_owned()),
    }
}

// The reasons of the gateway, then those of the routes that these do not hold already, the worst first.
fn reasons(status: &GatewayStatus) -> Vec<String> {
    let mut reasons = status.health.reasons.clone();
    let mut routes: Vec<_> = status.routes.iter().collect();
    routes.sort_by_key(|route| std::cmp::Reverse(route.health.level));
    for route in routes {
        for reason in &route.health.reasons {
            let is_known = reasons.iter().any(|known| known.contains(reason.as_str()));
            if !is_known {
                reasons.push(named(&route.name, reason));
            }
        }
    }
    for problem in &status.problems {
        if !reasons.iter().any(|known| known.contains(problem.as_str())) {
            reasons.push(problem.clone());
        }
    }
    if !status.restart.is_empty() {
        let keys = status.restart.join(", ");
        reasons.push(format!(
            "[gateway]: {keys}: the new value takes effect at the next start or `wardgate upgrade`"
        ));
    }
    reasons
}

fn named(route: &str, reason: &str) -> String {
    if reason.contains(&format!("\"{route}\"")) {
        return reason.to_owned();
    }
    format!("route \"{route}\": {reason}")
}

/// Sentences as a list of bounded length.
pub(super) fn list(sentences: &[String]) -> Markup {
    // LIMIT: REASONS_SHOWN_MAX.
    let left = sentences.len().saturating_sub(REASONS_SHOWN_MAX);
    html! {
        @if let [one] = sentences { p.reason { (prose(one)) } }
        @else if !sentences.is_empty() {
            ul.reasons {
                @for sentence in sentences.iter().take(REASONS_SHOWN_MAX) {
                    li { (prose(sentence)) }
                }
                @if left > 0 {
                    li { (left) " more: `wardgate status` shows all" }
                }
            }
        }
    }
}

/// Connections, with the applications at their ends.
pub(super) fn open(status: &GatewayStatus) -> Markup {
    let rows: Vec<_> = status
        .open
        .iter()
        .take(ROWS_SHOWN_MAX)
        .map(connection)
        .collect();
    let caption = match status.open.len() {
        0 => "No connection is open.".to_owned(),
        open => {
            let left_out = usize::try_from(status.open_left_out).unwrap_or_default();
            shown("connection", rows.len(), open.saturating_add(left_out))
        }
    };
    let titles = [
        "Route",
        "Application",
        "Peer",
        "From",
        "To TLS",
        "From TLS",
        "Age",
        "Latency",
    ];
    none_or_table(&caption, &titles, &rows)
}

fn connection(connection: &ConnectionStatus) -> Vec<Markup> {
    let ConnectionStatus {
        calling, called, ..
    } = connection;
    let title = |title: &Option<String>| outside(title.as_deref().unwrap_or("?"));
    let application = html! {
        @if calling.is_some() || called.is_some() {
            span.nowrap { (title(calling)) } " > " span.nowrap { (title(called)) }
        } @else if !connection.types.is_empty() {
            @for (number, kind) in connection.types.iter().take(4).enumerate() {
                @if number > 0 { ", " }
                span.nowrap { (outside(kind)) }
            }
            @if connection.types.len() > 4 { ", ..." }
        } @else { "not observed" }
    };
    let or_none = |value: &Option<String>| outside(value.as_deref().unwrap_or("none"));
    vec![
        html! { (outside(&connection.route)) },
        application,
        html! { (or_none(&connection.peer)) },
        html! {
            @if let Some(client) = &connection.forwarded_for {
                (outside(client)) " through "
            }
            (outside(&connection.source))
        },
        html! { (words::bytes(connection.sealed_bytes)) },
        html! { (words::bytes(connection.opened_bytes)) },
        html! { (words::age(connection.seconds)) },
        html! { (connection.latency_us.map_or_else(|| "none".to_owned(), words::latency)) },
    ]
}

/// Certificates and lists, with the days left.
pub(super) fn certificates(status: &GatewayStatus) -> Markup {
    let certificates = &status.certificates;
    let rows: Vec<_> = certificates
        .iter()
        .take(ROWS_SHOWN_MAX)
        .map(|one| certificate(one, status.at))
        .collect();
    let caption = match certificates.len() {
        0 => "No certificate is in use.".to_owned(),
        all => shown("file", rows.len(), all),
    };
    let titles = ["Name", "What it is", "Routes", "Expires on", "Days left"];
    none_or_table(&caption, &titles, &rows)
}

// `at` is now, in seconds since 1970: on its last day, a file has no days left and works.
fn certificate(certificate: &CertificateStatus, at: u64) -> Vec<Markup> {
    let kind = match certificate.kind.as_str() {
        "own" => "certificate of this site",
        "anchor" => "CA certificate",
        "crl" => "revocation list",
        "peer" => "certificate of a peer",
        other => other,
    };
    let days = certificate.days_left;
    let soon = match certificate.kind.as_str() {
        "crl" => LIST_DAYS,
        _ => CERTIFICATE_DAYS,
    };
    let is_over = i64::try_from(at).is_ok_and(|at| certificate.expires <= at);
    let (level, text) = match days {
        _ if is_over => (HealthLevel::Failed, "expired".to_owned()),
        _ if days <= soon => (HealthLevel::Warning, format!("{days}, expires soon")),
        _ => (HealthLevel::Good, days.to_string()),
    };
    vec![
        html! { (outside(&certificate.name)) },
        html! { (outside(kind)) },
        html! { (outside(&names(&certificate.routes))) },
        html! { span.nowrap { (words::date(certificate.expires)) } },
        chip(level, &text),
    ]
}

fn names(routes: &[String]) -> String {
    match routes {
        [] => "none".to_owned(),
        _ => routes.join(", "),
    }
}

/// Refused connections, with what to do.
pub(super) fn refusals(refusals: &[RefusalStatus]) -> Markup {
    let rows: Vec<_> = refusals.iter().take(ROWS_SHOWN_MAX).map(refusal).collect();
    let caption = match refusals.len() {
        0 => "No connection was refused since the start.".to_owned(),
        all => shown("kind", rows.len(), all),
    };
    let titles = ["Route", "Last one", "From", "Reason", "What to do", "Count"];
    none_or_table(&caption, &titles, &rows)
}

fn refusal(refusal: &RefusalStatus) -> Vec<Markup> {
    vec![
        html! { (outside(&refusal.route)) },
        html! { (words::moment(refusal.at)) },
        html! { (outside(&refusal.source)) },
        prose(&refusal.reason),
        prose(&refusal.remedy),
        html! { (refusal.count) },
    ]
}

/// The cores.
pub(super) fn machine(status: &GatewayStatus) -> Markup {
    let rows = status.cores.iter().take(ROWS_SHOWN_MAX).map(|core| {
        let busy = core.busy_percent.min(100);
        vec![
            html! { "CPU " (core.cpu) @if core.is_silent { ", its worker does not answer" } },
            html! {
                span.nowrap {
                    svg.meter viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                        rect.track width="100" height="8" {}
                        rect.value width=(busy) height="8" {}
                    }
                    (busy) " %"
                }
            },
            html! { (core.connections) },
        ]
    });
    let rows: Vec<_> = rows.collect();
    let caption = words::plural(status.cores.len(), "core");
    none_or_table(
        &format!("{caption} with a worker"),
        &["Core", "Busy", "Connections"],
        &rows,
    )
}

fn none_or_table(caption: &str, titles: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        @if rows.is_empty() { p.none { (prose(caption)) } }
        @else { (table(caption, titles, rows)) }
    }
}

// LIMIT: ROWS_SHOWN_MAX.
fn shown(noun: &str, shown: usize, all: usize) -> String {
    match all > shown {
        true => format!(
            "{shown} of {}; `wardgate status` shows more",
            words::plural(all, noun)
        ),
        false => words::plural(all, noun),
    }
}
