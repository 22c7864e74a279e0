//! The catalogue: every setting, with its reason, for a host and a goal.

mod card;
mod cpu;
mod kernel;
mod network;
mod routes;

use crate::goal::Goal;
use crate::host::Host;
use crate::place::Place;
use crate::service;
use crate::setting::{Importance, Setting, Source};
use crate::want::Want;

/// Every setting, in the order of the table and of `apply`.
pub(crate) fn all(host: &Host, goal: &Goal) -> Vec<Setting> {
    let mut settings = kernel::ring(host);
    settings.extend(network::all(host, goal));
    settings.extend(kernel::memory(goal));
    settings.extend(service::limits(host));
    settings.extend(card::all(host, goal));
    settings.extend(cpu::all(host, goal));
    settings.extend(routes::all(host, goal));
    settings.extend(kernel::clocks(host));
    settings
}

/// A setting of one sysctl.
fn sysctl(
    name: &'static str,
    want: Want,
    importance: Importance,
    why: impl Into<String>,
    affects: &'static str,
) -> Setting {
    let place = Place::Sysctl {
        name: name.to_owned(),
    };
    Setting {
        name: name.to_owned(),
        why: why.into(),
        affects,
        importance,
        source: Source::Places(vec![(place, want)]),
    }
}

/// Places, or the reason that there are none.
fn places(places: Vec<(Place, Want)>, reason: &str) -> Source {
    match places.is_empty() {
        true => Source::Absent(reason.to_owned()),
        false => Source::Places(places),
    }
}
