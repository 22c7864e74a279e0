//! Targets, and the peer that must answer at each of them.
//!
//! A listed peer must not be able to answer for another peer, because an attacker who redirects connections
//! on the network path could otherwise choose between them. Each target of an originate route therefore has a
//! peer, which is written with the target or follows from its host name. The only exception is a route
//! without `[[peer]]` tables and with one target: the identities that it lists may all belong to one peer.

use std::sync::Arc;

use super::file;
use super::list::{List, values};
use super::peers::{PeerTables, Reference, RoutePeers};
use super::problem::{Problems, quoted};
use super::{Host, Located, Mode, PeerName, Target, address};
use crate::config::limits::{PEERS_MAX, ROUTE_CONNECTIONS_MAX, TARGETS_MAX};

/// The data that decides which peer must answer at the targets of a route.
pub(super) struct Expected<'a> {
    mode: Option<Mode>,
    tables: &'a PeerTables,
    peers: &'a RoutePeers,
    /// Whether the route has only one target, so that no confusion of targets is possible.
    is_one_target: bool,
}

impl<'a> Expected<'a> {
    /// The data for the targets of `route`, including those of its `[[route.ae]]`.
    pub(super) fn new(
        route: &file::Route,
        mode: Option<Mode>,
        tables: &'a PeerTables,
        peers: &'a RoutePeers,
    ) -> Self {
        let by_title = route.ae.value().into_iter().flat_map(|all| &all.value);
        let lists = std::iter::once(&route.targets).chain(by_title.map(|ae| &ae.targets));
        let all = lists
            .filter_map(|list| list.value())
            .flat_map(|list| &list.value);
        let mut all = all.map(|target| address::target(&target.address.value).ok());
        let first = all.next();
        Self {
            mode,
            tables,
            peers,
            is_one_target: all.all(|target| Some(target) == first),
        }
    }

    /// The peer that must answer at one target. `None` if any listed peer may answer, if the route does not
    /// connect with TLS, and if there is a problem.
    fn at(
        &self,
        scope: &str,
        target: &Located<Target>,
        written: &file::Target,
        problems: &mut Problems,
    ) -> Option<Arc<[PeerName]>> {
        match self.mode? {
            Mode::Originate => {}
            mode @ (Mode::Terminate | Mode::Passthrough) => {
                self.refuse_peer(mode, scope, written, problems);
                return None;
            }
        }
        if !written.peer.is_absent() {
            return self.named(scope, target, written, problems);
        }
        if let Some(identities) = self.by_host(&target.value.host) {
            return Some(identities.into());
        }
        if let Some(identities) = self.peers.only() {
            return Some(identities.into());
        }
        // Identities that a route lists itself may all belong to one peer, for example while its key is
        // renewed.
        let may_be_one = self.is_one_target && self.peers.tables().is_empty();
        if !may_be_one && self.peers.is_whole() {
            let target_text = &target.value;
            let text = format!(
                "{scope}target \"{target_text}\" has no peer of its own, and one listed peer could \
                 answer for another's target; write {{ address = \"{target_text}\", peer = ... }}, \
                 with peer = {}",
                self.peers.choices()
            );
            problems.wrong(target.line, text);
        }
        None
    }

    fn refuse_peer(
        &self,
        mode: Mode,
        scope: &str,
        written: &file::Target,
        problems: &mut Problems,
    ) {
        let Some(peer) = written.peer.value() else {
            return;
        };
        let reason = match mode {
            Mode::Passthrough => "the programs at both ends check the TLS that passes",
            _ => "this route reaches its targets in plaintext, and a target proves no identity",
        };
        let text = format!(
            "{scope}peer of a target applies only to mode \"originate\": {reason}; write the \
             address alone, {}",
            quoted(&written.address.value)
        );
        problems.wrong(peer.line, text);
    }

    /// The identities that are written with the address.
    fn named(
        &self,
        scope: &str,
        target: &Located<Target>,
        written: &file::Target,
        problems: &mut Problems,
    ) -> Option<Arc<[PeerName]>> {
        let scope = format!("{scope}target \"{}\": ", target.value);
        // LIMIT: `PEERS_MAX`.
        let list = List {
            scope: &scope,
            key: "peer",
            noun: "peer",
            max: PEERS_MAX,
            empty: "is an empty list; name one of the route's peers, or remove it",
            long: "remove some",
        };
        let texts = written.peer.value()?;
        let read = list.read(texts, |text| self.reference(text), problems);
        if read.len() < texts.value.len() {
            return None;
        }
        let mut identities: Vec<PeerName> = Vec::new();
        for reference in values(read) {
            for identity in reference.identities() {
                if !identities.contains(identity) {
                    identities.push(identity.clone());
                }
            }
        }
        // A table with problems is not checked.
        (!identities.is_empty()).then(|| identities.into())
    }

    fn reference(&self, text: &str) -> Result<Reference, String> {
        let reference = self.tables.reference(text)?;
        if self.peers.may_list(&reference) {
            return Ok(reference);
        }
        Err(format!(
            "is not in peers of the route; write {}, or add it there",
            self.peers.choices()
        ))
    }

    /// The identities of the peer that has the target's host as DNS name.
    fn by_host(&self, host: &Host) -> Option<&[PeerName]> {
        let Host::Name(name) = host else {
            return None;
        };
        self.peers.of(&PeerName::Dns(name.clone()))
    }
}

/// Reads `targets`, each with the peer that must answer there.
pub(super) fn targets(
    scope: &str,
    written: &Located<Vec<file::Target>>,
    expected: &Expected<'_>,
    problems: &mut Problems,
) -> Vec<Located<Target>> {
    // LIMIT: `TARGETS_MAX`.
    let list = List {
        scope,
        key: "targets",
        noun: "target",
        max: TARGETS_MAX,
        empty: "is empty; name at least one host and port",
        long: "they are tried in order while an application waits, so remove some",
    };
    let read = list.read_elements(written, address_of, address::target, problems);
    let read = read.into_iter().map(|(written, mut target)| {
        target.value.expected = expected.at(scope, &target, written, problems);
        target.value.connections = connections(scope, &target.value, written, problems);
        target
    });
    read.collect()
}

fn connections(
    scope: &str,
    target: &Target,
    written: &file::Target,
    problems: &mut Problems,
) -> Option<u32> {
    let scope = format!("{scope}target \"{target}\": ");
    // LIMIT: `ROUTE_CONNECTIONS_MAX`.
    let max = ROUTE_CONNECTIONS_MAX.into();
    let read = problems.accept_number(&scope, "connections", &written.connections, max)?;
    u32::try_from(read).ok()
}

fn address_of(target: &file::Target) -> &Located<String> {
    &target.address
}
