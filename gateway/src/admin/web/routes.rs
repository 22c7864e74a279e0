//! The routes: a picture of the sites and what connects them, and a card for each route.

use maud::{Markup, html};

use super::history::RouteHistory;
use super::plot;
use super::sections::{chip, icon, list};
use super::words::{self, outside};
use crate::admin::limits::ROUTES_SHOWN_MAX;
use crate::control::{GatewayStatus, HealthLevel, RouteStatus, TargetStatus};

// Peers and targets that the picture names for one route.
const NAMES_SHOWN_MAX: usize = 3;

/// The routes with a card, in the order of the configuration: all, or those in the worst state.
pub(super) fn shown(routes: &[RouteStatus]) -> Vec<&RouteStatus> {
    let mut worst: Vec<_> = routes.iter().enumerate().collect();
    worst.sort_by_key(|(_, route)| std::cmp::Reverse(route.health.level));
    // LIMIT: ROUTES_SHOWN_MAX.
    worst.truncate(ROUTES_SHOWN_MAX);
    worst.sort_by_key(|(number, _)| *number);
    worst.into_iter().map(|(_, route)| route).collect()
}

/// The sites, and the routes between them.
pub(super) fn picture(status: &GatewayStatus, shown: &[&RouteStatus]) -> Markup {
    let left = status.routes.len().saturating_sub(shown.len());
    html! {
        div.sites aria-hidden="true" {
            span.site { "This site" }
            span { "TLS" }
            span.site { "Other sites" }
        }
        ul.picture {
            @for route in shown { (line(route)) }
        }
        @if left > 0 {
            p.none { (words::plural(left, "more route")) ", none in a worse state. `wardgate status` shows all." }
        }
    }
}

// One route: what is at this site, the line, and what is at the other site.
fn line(route: &RouteStatus) -> Markup {
    let level = route.health.level;
    let clients = html! {
        div { span.what { "accepts on" } " " span.address { (route.listen) } }
    };
    let targets = html! { (targets(&route.targets)) };
    let peers = html! { (peers(&route.peers)) };
    let (home, away, direction) = match route.mode.as_str() {
        "terminate" => (html! { (clients) (targets) }, peers, "from the other site"),
        "originate" => (clients, html! { (peers) (targets) }, "to the other site"),
        _ => (clients, targets, "passed on without decryption"),
    };
    let is_reversed = route.mode == "terminate";
    html! {
        li class=(words::class(level)) {
            div.end.home { (home) }
            div.link {
                strong { (outside(&route.name)) }
                (arrow(level, is_reversed))
                span.direction { (direction) }
                (chip(level, words::level(level)))
            }
            div.end.away { (away) }
        }
    }
}

// A solid line, a dashed one, or an interrupted one.
fn arrow(level: HealthLevel, is_reversed: bool) -> Markup {
    let head = match is_reversed {
        true => "M0 12 11 5v14z",
        false => "M220 12 209 5v14z",
    };
    let line = match level {
        HealthLevel::Failed => "M9 12H97M123 12H211",
        _ => "M9 12H211",
    };
    html! {
        svg.arrow viewBox="0 0 220 24" aria-hidden="true" {
            path.line d=(line) {}
            path.head d=(head) {}
            @if level == HealthLevel::Failed {
                path.cross d="M103 5 117 19M117 5 103 19" {}
            }
        }
    }
}

fn peers(peers: &[String]) -> Markup {
    html! {
        @if !peers.is_empty() {
            div {
                span.what { (if peers.len() == 1 { "peer" } else { "peers" }) } " "
                @for (number, peer) in peers.iter().take(NAMES_SHOWN_MAX).enumerate() {
                    @if number > 0 { ", " }
                    span.address { (outside(peer)) }
                }
                (more(peers.len()))
            }
        }
    }
}

fn targets(targets: &[TargetStatus]) -> Markup {
    html! {
        @if !targets.is_empty() {
            div {
                span.what { (if targets.len() == 1 { "target" } else { "targets" }) } " "
                @for (number, target) in targets.iter().take(NAMES_SHOWN_MAX).enumerate() {
                    @if number > 0 { ", " }
                    span.address { (outside(&target.address)) } " " (target_state(target))
                }
                (more(targets.len()))
            }
        }
    }
}

fn more(all: usize) -> Markup {
    let left = all.saturating_sub(NAMES_SHOWN_MAX);
    html! { @if left > 0 { " and " (left) " more" } }
}

fn target_state(target: &TargetStatus) -> Markup {
    let (level, text) = match target.state.as_str() {
        "up" if target.failing_since.is_some() => (HealthLevel::Failed, "failing"),
        "up" => (HealthLevel::Good, "up"),
        "down" => (HealthLevel::Failed, "down"),
        other => (HealthLevel::Warning, other),
    };
    html! {
        span class={ "target " (words::class(level)) } { (icon(level)) (outside(text)) }
    }
}

/// The numbers of a route.
pub(super) fn card(route: &RouteStatus) -> Markup {
    let level = route.health.level;
    let kind = match route.protocol.as_str() {
        "dicom" => "DICOM",
        "hl7" => "HL7",
        "tcp" | "" => "TCP",
        other => other,
    };
    let [to, from] = directions(route);
    html! {
        h3 { (outside(&route.name)) " " (chip(level, words::level(level))) }
        p.kind { (outside(kind)) ", " (outside(&route.mode)) ", " (state(route)) }
        (list(&route.health.reasons))
        dl.numbers {
            div { dt { "Open" } dd { (route.connections) } }
            div { dt { (capital(to)) } dd { (words::rate(route.sealed_per_second)) } }
            div { dt { (capital(from)) } dd { (words::rate(route.opened_per_second)) } }
            div {
                dt { "Latency" }
                dd { (route.latency_us.map_or_else(|| "none".to_owned(), words::latency)) }
            }
        }
    }
}

/// The last hour of a route.
pub(super) fn plots(route: &RouteStatus, history: Option<&RouteHistory>) -> Markup {
    html! {
        div.plots {
            (plot::throughput(history, directions(route)))
            (plot::latency(history))
        }
    }
}

// The two counters of a route.
fn directions(route: &RouteStatus) -> [&'static str; 2] {
    match route.mode.as_str() {
        "passthrough" => ["to the target", "from the target"],
        _ => ["into TLS", "out of TLS"],
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

fn state(route: &RouteStatus) -> String {
    match (&route.drain, route.state.as_str()) {
        (Some(drain), state) => format!(
            "{state}, open connections are reset in {}",
            words::age(drain.seconds_left)
        ),
        (None, "open") => format!("accepts on {}", route.listen),
        (None, state) => state.to_owned(),
    }
}
