//! Calling AE titles that are restricted to the TLS identity of their site: `ae_bind`.

use super::file;
use super::list::{List, is_listed, read_title, shown};
use super::peers::{PeerTables, Reference, RoutePeers};
use super::problem::{Problems, quoted};
use super::{Located, Mode, PeerName};
use crate::config::limits::{AE_TITLES_MAX, PEERS_MAX};
use crate::dicom::AeTitle;

/// A title and the peers that may use it.
pub(super) struct Bound {
    title: Located<AeTitle>,
    identities: Vec<Located<Reference>>,
}

/// Reads the table.
pub(super) fn resolve(
    route: &file::Route,
    tables: &PeerTables,
    problems: &mut Problems,
) -> Vec<Bound> {
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
        let text = format!(
            "{scope}has {count} titles, and {AE_TITLES_MAX} is the maximum; split the route"
        );
        problems.wrong(table.line, text);
    }
    let mut all: Vec<Bound> = Vec::new();
    for (title, identities) in table.value.iter().take(AE_TITLES_MAX) {
        if let Some(bound) = entry(scope, title, identities, tables, problems) {
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
    tables: &PeerTables,
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
        long: "remove some",
    };
    let identities = list.read(identities.value()?, |text| tables.reference(text), problems);
    Some(Bound {
        title: title?,
        identities,
    })
}

/// The same title may be written with spaces around it, which TOML reads as a different key.
fn refuse_twice(scope: &str, bound: &Bound, before: &[Bound], problems: &mut Problems) {
    let Bound { title, .. } = bound;
    let first = before.iter().find(|other| other.title.value == title.value);
    if let Some(first) = first {
        let text = format!(
            "{scope}AE title {} duplicates line {}; write it once, with a list of identities",
            shown(title.value),
            first.title.line
        );
        problems.wrong(title.line, text);
    }
}

/// Checks the table together with the other keys of its route.
pub(super) fn check(
    route: &file::Route,
    mode: Option<Mode>,
    bound: &[Bound],
    peers: &RoutePeers,
    calling: Option<&[Located<AeTitle>]>,
    problems: &mut Problems,
) {
    if let (Some(Mode::Originate), Some(table)) = (mode, route.ae_bind.value()) {
        let text = format!(
            "{}ae_bind applies only to mode \"terminate\": here applications connect in plaintext and \
             prove no identity; remove it, and list the titles that may call in calling_ae",
            route.scope
        );
        problems.wrong(table.line, text);
        return;
    }
    let scope = &format!("{}ae_bind: ", route.scope);
    for Bound { title, identities } in bound {
        if !is_listed(calling, title.value) {
            let text = format!(
                "{scope}AE title {} is not in calling_ae, which rejects it in any case; add it there, or \
                 remove it here",
                shown(title.value)
            );
            problems.wrong(title.line, text);
        }
        // The key of a `sha256:` identity may belong to any listed peer.
        let is_key = |one: &Reference| matches!(one, Reference::Identity(PeerName::Sha256(_)));
        let unlisted = identities
            .iter()
            .filter(|identity| !is_key(&identity.value) && !peers.may_list(&identity.value));
        for identity in unlisted {
            let text = format!(
                "{scope}{} of {} is not in peers, so nobody could use the title; add it there, or \
                 remove it here",
                named(&identity.value),
                shown(title.value)
            );
            problems.wrong(identity.line, text);
        }
    }
}

/// `peer "region"` or `identity "dns:gw.region.example"`.
fn named(reference: &Reference) -> String {
    match reference {
        Reference::Table(peer) => {
            format!("peer {}", quoted(peer.name.as_deref().unwrap_or_default()))
        }
        Reference::Unread(name) => format!("peer {}", quoted(name)),
        Reference::Identity(identity) => format!("identity \"{identity}\""),
    }
}

/// The resolved table.
pub(super) fn meant(bound: &[Bound]) -> Vec<(AeTitle, Vec<PeerName>)> {
    let names = |bound: &Bound| {
        let references = bound.identities.iter().map(|one| &one.value);
        let mut names: Vec<PeerName> = Vec::new();
        for identity in references.flat_map(Reference::identities) {
            if !names.contains(identity) {
                names.push(identity.clone());
            }
        }
        names
    };
    let meant = bound.iter();
    meant
        .map(|bound| (bound.title.value, names(bound)))
        .collect()
}
