//! First windows of routes to gateways, and immediate acknowledgements in the own network.

use crate::goal::Goal;
use crate::host::Host;
use crate::limits::ROUTES_MAX;
use crate::place::{Family, Place, Route, is_card_name};
use crate::setting::Importance::Minor;
use crate::setting::{Setting, Source};
use crate::want::Want;

/// Packets of the first window to and from the WAN: 46 kB instead of 14 kB, so a CT slice of 512 KiB needs two round
/// trips less.
const FIRST_WINDOW: u64 = 32;

/// One setting for each route through a network card.
pub(super) fn all(host: &Host, goal: &Goal) -> Vec<Setting> {
    let mut settings = Vec::new();
    for family in Family::ALL {
        let shown = match family.routes(host) {
            Ok(shown) => shown,
            // The second family would give the same reason again.
            Err(reason) if settings.is_empty() => return vec![absent(reason.0)],
            Err(_) => continue,
        };
        let lines = shown.lines().map(Route::parse);
        let ours = lines.filter(|route| {
            let card = route.get("dev");
            let is_ours = card
                .is_some_and(|card| is_card_name(card) && goal.cards.iter().any(|own| own == card));
            is_ours && route.is_plain() && !is_link_local(&route.identity)
        });
        let room = ROUTES_MAX.saturating_sub(settings.len());
        settings.extend(ours.take(room).map(|route| setting(family, route)));
    }
    if settings.is_empty() {
        settings.push(absent(
            "no route uses the network cards of this host".to_owned(),
        ));
    }
    settings
}

fn is_link_local(route: &str) -> bool {
    route.starts_with("fe80:") || route.starts_with("ff00:") || route.starts_with("169.254.")
}

fn setting(family: Family, route: Route) -> Setting {
    let name = route.identity.split_whitespace().next().unwrap_or_default();
    let version = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    let card = route.get("dev").unwrap_or_default();
    let name = format!("{card} {version} route {name}");
    let (want, why, affects) = match route.get("via") {
        Some(_) => (
            vec![("initcwnd", FIRST_WINDOW), ("initrwnd", FIRST_WINDOW)],
            "a new connection over a long line sends 46 kB in its first round trip instead of 14 kB",
            "new connections over this route; until the network configuration sets the route again",
        ),
        None => (
            vec![("quickack", 1)],
            "senders with Nagle's algorithm wait for an acknowledgement that is otherwise delayed by 40 ms; wardgate \
             asks for it on its connections, the route does it without a system call",
            "connections from the own network: a few more acknowledgements; until the network configuration sets the \
             route again",
        ),
    };
    let place = Place::Route {
        family,
        route: route.identity,
    };
    Setting {
        name,
        why: why.to_owned(),
        affects,
        importance: Minor,
        source: Source::Places(vec![(place, Want::Metrics(want))]),
    }
}

fn absent(reason: String) -> Setting {
    Setting {
        name: "routes".to_owned(),
        why: "a larger first window on routes to the WAN, immediate acknowledgements in the own network".to_owned(),
        affects: "new connections",
        importance: Minor,
        source: Source::Absent(reason),
    }
}
