//! Calling AE titles that are tied to the TLS identity of the site they belong to: `ae_bind`.

use super::dicom::{is_listed, read_title, shown};
use super::file;
use super::list::List;
use super::peer::peer;
use super::problem::{Problems, quoted};
use super::{Located, Mode, PeerName};
use crate::dicom::AeTitle;
use crate::limits::{AE_TITLES_MAX, PEERS_MAX};

/// A title and who may use it.
pub(super) struct Bound {
    title: Located<AeTitle>,
    identities: Vec<Located<PeerName>>,
}

/// Reads the table.
pub(super) fn resolve(route: &file::Route, problems: &mut Problems) -> Vec<Bound> {
    let Some(table) = route.ae_bind.value() else {
        return Vec::new();
    };
    let scope = &format!("{}ae_bind: ", route.scope);
    let count = table.value.len();
    // LIMIT: `AE_TITLES_MAX`.
    if count == 0 {
        let text = format!(
            "{}ae_bind is empty; name an AE title and its identity, or remove it",
            route.scope
        );
        problems.wrong(table.line, text);
    } else if count > AE_TITLES_MAX {
        let text =
            format!("{scope}has {count} titles, and {AE_TITLES_MAX} are the most; split the route");
        problems.wrong(table.line, text);
    }
    let mut all: Vec<Bound> = Vec::new();
    for (title, identities) in table.value.iter().take(AE_TITLES_MAX) {
        if let Some(bound) = entry(scope, title, identities, problems) {
            refuse_twice(scope, &bound, &all, problems);
            all.push(bound);
        }
    }
    all
}

fn entry(
    scope: &str,
    title: &Located<String>,
    identities: &file::Texts,
    problems: &mut Problems,
) -> Option<Bound> {
    let shown = quoted(&title.value);
    let title = read_title(scope, "AE title", title, problems);
    // LIMIT: `PEERS_MAX`.
    let list = List {
        scope,
        key: &shown,
        noun: "identity",
        max: PEERS_MAX,
        empty: "has no identity; name one of the route's peers",
        long: "leave some out",
    };
    let identities = list.read(identities.value()?, peer, problems);
    Some(Bound {
        title: title?,
        identities,
    })
}

/// The same title may be written with spaces around it, which TOML takes for another key.
fn refuse_twice(scope: &str, bound: &Bound, before: &[Bound], problems: &mut Problems) {
    let Bound { title, .. } = bound;
    let first = before.iter().find(|other| other.title.value == title.value);
    if let Some(first) = first {
        let text = format!(
            "{scope}AE title {} stands on line {} already; write one with a list of identities",
            shown(title.value),
            first.title.line
        );
        problems.wrong(title.line, text);
    }
}

/// Judges the table beside the other keys of its route.
pub(super) fn check(
    route: &file::Route,
    mode: Option<Mode>,
    bound: &[Bound],
    calling: Option<&[Located<AeTitle>]>,
    problems: &mut Problems,
) {
    if let (Some(Mode::Originate), Some(table)) = (mode, route.ae_bind.value()) {
        let text = format!(
            "{}ae_bind is for terminate routes: here applications connect in plaintext, and nobody \
             proves an identity; remove it, and name the titles that may call in calling_ae",
            route.scope
        );
        problems.wrong(table.line, text);
        return;
    }
    let peers = peers(route);
    let scope = &format!("{}ae_bind: ", route.scope);
    for Bound { title, identities } in bound {
        if !is_listed(calling, title.value) {
            let text = format!(
                "{scope}AE title {} is not in calling_ae, so it could never call; add it there, or \
                 remove it here",
                shown(title.value)
            );
            problems.wrong(title.line, text);
        }
        let strangers = identities.iter().filter(|identity| {
            let listed = peers.as_ref();
            listed.is_some_and(|peers| !peers.contains(&identity.value))
        });
        for stranger in strangers {
            let text = format!(
                "{scope}identity \"{}\" of {} is not in peers, so it could never come; add it there, \
                 or remove it here",
                stranger.value,
                shown(title.value)
            );
            problems.wrong(stranger.line, text);
        }
    }
}

/// The route's peers, if all of them can be read. What is wrong with them is told where they are.
fn peers(route: &file::Route) -> Option<Vec<PeerName>> {
    let written = route.peers.value()?;
    // LIMIT: `PEERS_MAX`.
    let written = written.value.iter().take(PEERS_MAX);
    written.map(|text| peer(&text.value).ok()).collect()
}

/// The table as it is meant.
pub(super) fn meant(bound: &[Bound]) -> Vec<(AeTitle, Vec<PeerName>)> {
    let names = |bound: &Bound| {
        let identities = bound.identities.iter();
        identities.map(|identity| identity.value.clone()).collect()
    };
    let meant = bound.iter();
    meant
        .map(|bound| (bound.title.value, names(bound)))
        .collect()
}
