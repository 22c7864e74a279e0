//! From the configuration as written to the configuration as meant.
//!
//! Nothing stops at the first problem: each value is judged where it can be, and a value that could
//! not be read is left out of what is judged together.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::file::{self, Text};
use super::identity::Identities;
use super::peer::peer;
use super::problem::{Problems, quoted};
use super::table::Written;
use super::{
    Config, IdentityFiles, Located, Mode, PeerName, Policy, Protocol, RecordLayer, Route, RouteTls,
    Target,
};
use super::{address, clash, gateway, name, timeouts, value};
use crate::limits::{KEY_RECORDS_MAX, PEERS_MAX, ROUTES_MAX, TARGETS_MAX};

/// What the meaning of a file depends on besides its text.
pub(super) struct Place<'a> {
    /// The file as given on the command line.
    pub(super) file: &'a Path,
    /// CPUs that this process may run on, ascending.
    pub(super) cpus: &'a [usize],
}

/// A route as far as it could be read.
pub(super) struct Draft<'a> {
    pub(super) written: &'a file::Route,
    pub(super) mode: Option<Mode>,
    pub(super) protocol: Option<Protocol>,
    pub(super) listen: Option<Located<SocketAddr>>,
    pub(super) targets: Vec<Located<Target>>,
    /// Complete, if all of it could be read.
    route: Option<Route>,
}

/// Finds the meaning of `file`, or leaves problems why it has none, and the routes that have one
/// all the same.
pub(super) fn resolve(
    file: &file::File,
    place: &Place<'_>,
    problems: &mut Problems,
) -> (Option<Config>, Vec<Arc<Route>>) {
    let gateway = gateway::resolve(&file.gateway, place, problems);
    let mut resolver = Resolver::new(file, place, problems);
    let drafts: Vec<_> = routes(file, resolver.problems)
        .iter()
        .map(|written| resolver.route(written))
        .collect();
    timeouts::check_site_idle(&file.timeouts, &drafts, problems);
    clash::check_names(&drafts, problems);
    let metrics = gateway.as_ref().and_then(|gateway| gateway.metrics);
    clash::check_addresses(&drafts, file.gateway.metrics.value().zip(metrics), problems);
    let all = drafts.len();
    let routes: Vec<_> = drafts
        .into_iter()
        .filter_map(|draft| draft.route.map(Arc::new))
        .collect();
    let good = problems.is_empty() && routes.len() == all;
    let config = gateway.filter(|_| good).map(|gateway| Config {
        file: place.file.to_owned(),
        gateway,
        routes: routes.clone(),
    });
    (config, routes)
}

fn routes<'f>(file: &'f file::File, problems: &mut Problems) -> &'f [file::Route] {
    if file.routes.is_absent() {
        let text = "no [[route]]; write one with name, mode, protocol, listen, targets and peers";
        problems.missing(None, text.to_owned());
    }
    let Some(routes) = file.routes.value() else {
        return &[];
    };
    // LIMIT: `ROUTES_MAX`.
    if let Some(first_beyond) = routes.value.get(ROUTES_MAX) {
        let text = format!("more than {ROUTES_MAX} routes; run a second gateway for the others");
        problems.wrong(first_beyond.line, text);
        return &[];
    }
    &routes.value
}

struct Resolver<'a> {
    problems: &'a mut Problems,
    identities: Identities<'a>,
    /// The site's own: `None` where there is no `[identity]`, `Some(None)` where it has problems.
    site_identity: Option<Option<Arc<IdentityFiles>>>,
    site_timeouts: super::Timeouts,
}

impl<'a> Resolver<'a> {
    fn new(file: &file::File, place: &Place<'a>, problems: &'a mut Problems) -> Self {
        let mut identities = Identities::new(place.file);
        let identity = file.identity.as_ref();
        Self {
            site_identity: identity.map(|written| identities.resolve(written, problems)),
            site_timeouts: timeouts::site(&file.timeouts, problems),
            identities,
            problems,
        }
    }

    fn route<'f>(&mut self, written: &'f file::Route) -> Draft<'f> {
        let name = self.required(
            written,
            "name",
            &written.name,
            name::route_name,
            NAME_REMEDY,
        );
        let word = |text: &str| value::word(text, &Mode::WORDS);
        let mode = self.required(written, "mode", &written.mode, word, MODE_REMEDY);
        let word = |text: &str| value::word(text, &Protocol::WORDS);
        let protocol = self.required(
            written,
            "protocol",
            &written.protocol,
            word,
            PROTOCOL_REMEDY,
        );
        let listen = self.required(
            written,
            "listen",
            &written.listen,
            address::listen,
            LISTEN_REMEDY,
        );
        if let (Some(Mode::Originate), Some(listen)) = (mode, listen) {
            self.refuse_plaintext_everywhere(written, listen);
        }
        let targets = self.targets(written);
        let tls = self.tls(written, mode);
        let timeouts = timeouts::route(
            &written.timeouts,
            &self.site_timeouts,
            mode,
            protocol,
            self.problems,
        );
        let route = (|| {
            Some(Route {
                name: name?,
                line: written.line,
                mode: mode?,
                protocol: protocol?,
                listen: listen?,
                targets: targets.iter().map(|target| target.value.clone()).collect(),
                tls: tls?,
                timeouts,
            })
        })();
        let listen = located(listen, &written.listen);
        Draft {
            written,
            mode,
            protocol,
            listen,
            targets,
            route,
        }
    }

    /// Reads what stands under a key that every route has.
    // Plaintext that may come from the WAN as well would be sealed as this site's own.
    fn refuse_plaintext_everywhere(&mut self, route: &file::Route, listen: SocketAddr) {
        if let (true, Some(line)) = (listen.ip().is_unspecified(), line_of(&route.listen)) {
            let scope = &route.scope;
            let text = format!(
                "{scope}listen \"{listen}\" would take plaintext from every network that this \
                 machine is on, the WAN included; write its address on the LAN"
            );
            self.problems.wrong(line, text);
        }
    }

    fn required<T>(
        &mut self,
        route: &file::Route,
        key: &str,
        written: &Text,
        read: impl Fn(&str) -> Result<T, String>,
        remedy: &str,
    ) -> Option<T> {
        let scope = &route.scope;
        if written.is_absent() {
            let text = format!("{scope}{key} is missing; write {remedy}");
            self.problems.missing(Some(route.line), text);
        }
        let text = written.value()?;
        self.problems.accept(scope, key, text, read(&text.value))
    }

    fn targets(&mut self, route: &file::Route) -> Vec<Located<Target>> {
        let scope = &route.scope;
        if route.targets.is_absent() {
            let text = format!("{scope}targets is missing; write {TARGETS_REMEDY}");
            self.problems.missing(Some(route.line), text);
        }
        let Some(targets) = route.targets.value() else {
            return Vec::new();
        };
        let reason = match targets.value.len() {
            0 => Some("is empty; name at least one host and port".to_owned()),
            // LIMIT: `TARGETS_MAX`.
            count if count > TARGETS_MAX => Some(format!(
                "has {count} elements, and {TARGETS_MAX} are the most; they are tried in order \
                 while an \
                 application waits, so leave some out"
            )),
            _ => None,
        };
        if let Some(reason) = reason {
            self.problems
                .wrong(targets.line, format!("{scope}targets {reason}"));
        }
        self.elements(scope, "target", &targets.value, address::target)
    }

    fn peers(&mut self, route: &file::Route, mode: Option<Mode>) -> Option<Vec<PeerName>> {
        let scope = &route.scope;
        if let (Written::Absent, Some(mode)) = (&route.peers, mode) {
            let text = format!(
                "{scope}peers is missing; mode \"{mode}\" needs the identities that the peer may \
                 have, because \
                 being signed by a trusted CA alone is never enough; write {PEERS_REMEDY}"
            );
            self.problems.missing(Some(route.line), text);
        }
        let peers = route.peers.value()?;
        let reason = match peers.value.len() {
            0 => Some(
                "is empty, and being signed by a trusted CA alone is never enough; name at least \
                 one peer"
                    .to_owned(),
            ),
            // LIMIT: `PEERS_MAX`.
            count if count > PEERS_MAX => Some(format!(
                "has {count} elements, and {PEERS_MAX} are the most; split the route"
            )),
            _ => None,
        };
        if let Some(reason) = reason {
            self.problems
                .wrong(peers.line, format!("{scope}peers {reason}"));
        }
        let read = self.elements(scope, "peer", &peers.value, peer);
        Some(read.into_iter().map(|peer| peer.value).collect())
    }

    /// Reads each element of a list and tells of those that are there already.
    fn elements<T: PartialEq>(
        &mut self,
        scope: &str,
        noun: &str,
        written: &[Located<String>],
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<Located<T>> {
        let mut elements: Vec<Located<T>> = Vec::new();
        // Each is compared with all before: a list that is too long already is not read to its end.
        for text in written.iter().take(PEERS_MAX) {
            let Some(value) = self.problems.accept(scope, noun, text, read(&text.value)) else {
                continue;
            };
            let line = text.line;
            if let Some(first) = elements.iter().find(|element| element.value == value) {
                let shown = quoted(&text.value);
                let text = format!(
                    "{scope}{noun} {shown} stands on line {} already; remove one",
                    first.line
                );
                self.problems.wrong(line, text);
            } else {
                elements.push(Located { value, line });
            }
        }
        elements
    }

    /// What TLS needs: `Some(None)` for passthrough, `None` where a problem is in the way.
    fn tls(&mut self, route: &file::Route, mode: Option<Mode>) -> Option<Option<RouteTls>> {
        let policy = self.policy(route);
        let record_layer = self.record_layer(route);
        let key_records = self.key_records(route);
        let own = route.identity.as_ref();
        let own = own.map(|identity| self.identities.resolve(identity, self.problems));
        if mode == Some(Mode::Passthrough) {
            self.refuse_tls_keys(route);
            return Some(None);
        }
        let peers = self.peers(route, mode);
        let identity = own.or_else(|| self.site_identity.clone());
        if let (None, Some(mode)) = (&identity, mode) {
            let text = format!(
                "{}mode \"{mode}\" needs an identity, and there is neither [identity] nor \
                 [route.identity]; \
                 write one with certificate, key and trust",
                route.scope
            );
            self.problems.missing(Some(route.line), text);
        }
        Some(Some(RouteTls {
            identity: identity??,
            peers: peers?,
            policy: policy?,
            require_pq: route.require_pq.value().is_some_and(|flag| flag.value),
            record_layer: record_layer?,
            key_records: key_records?,
        }))
    }

    fn record_layer(&mut self, route: &file::Route) -> Option<RecordLayer> {
        let Some(text) = route.record_layer.value() else {
            return Some(RecordLayer::default());
        };
        let read = value::word(&text.value, &RecordLayer::WORDS);
        self.problems
            .accept(&route.scope, "record_layer", text, read)
    }

    fn key_records(&mut self, route: &file::Route) -> Option<u64> {
        let Some(written) = route.key_records.value() else {
            return route.key_records.is_absent().then_some(KEY_RECORDS_MAX);
        };
        let read = u64::try_from(written.value).ok();
        let read = read.filter(|records| (1..=KEY_RECORDS_MAX).contains(records));
        if read.is_none() {
            let text = format!(
                "{}key_records {} is out of range; write a number from 1 to {KEY_RECORDS_MAX}",
                route.scope, written.value
            );
            self.problems.wrong(written.line, text);
        }
        read
    }

    fn policy(&mut self, route: &file::Route) -> Option<Policy> {
        let Some(text) = route.policy.value() else {
            return Some(Policy::default());
        };
        let read = value::word(&text.value, &Policy::WORDS);
        self.problems.accept(&route.scope, "policy", text, read)
    }

    /// Passthrough sees nothing of the TLS that it carries: rules about it would promise what
    /// nobody checks.
    fn refuse_tls_keys(&mut self, route: &file::Route) {
        let identity = route.identity.as_ref().map(|identity| identity.line);
        let lines = [
            ("peers", line_of(&route.peers)),
            ("policy", line_of(&route.policy)),
            ("require_pq", line_of(&route.require_pq)),
            ("record_layer", line_of(&route.record_layer)),
            ("key_records", line_of(&route.key_records)),
            ("[route.identity]", identity),
        ];
        for (key, line) in lines {
            let text = format!(
                "{}{key} cannot be kept in mode \"passthrough\": the TLS that passes is made and \
                 checked by the \
                 programs at both ends; remove it, or choose mode \"originate\" or \"terminate\"",
                route.scope
            );
            line.into_iter()
                .for_each(|line| self.problems.wrong(line, text.clone()));
        }
    }
}

const NAME_REMEDY: &str = "name = \"pacs-to-region\"";
const MODE_REMEDY: &str = "mode = \"originate\" (plaintext in, TLS out), \"terminate\" (TLS in, \
    plaintext out) or \
                           \"passthrough\" (for streams that are TLS already)";
const PROTOCOL_REMEDY: &str = "protocol = \"dicom\", \"mllp\" (HL7) or \"tcp\" (anything else)";
const LISTEN_REMEDY: &str = "where this route takes connections: listen = \"10.20.0.5:11112\"";
const TARGETS_REMEDY: &str = "where connections go to: targets = [\"gw.region.example:2762\"]";
const PEERS_REMEDY: &str = "for example peers = [\"dns:gw.region.example\"]";

fn line_of<T>(written: &Written<T>) -> Option<usize> {
    written.value().map(|value| value.line)
}

fn located<T>(value: Option<T>, written: &Text) -> Option<Located<T>> {
    let line = line_of(written)?;
    Some(Located {
        value: value?,
        line,
    })
}
