//! Resolves the configuration as written.
//!
//! The first problem does not stop the work: each value is checked where possible. Values that are not
//! readable are left out of the checks that need several values.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::draft::{Draft, FileContext};
use super::file::{self, Text};
use super::identity::{self, Identities};
use super::peers::{PeerTables, RoutePeers};
use super::problem::{Problems, quoted};
use super::targets::{self, Expected};
use super::written::Written;
use super::{
    Config, IdentityFiles, InterfaceName, KeyExchange, Located, Mode, Policy, Protocol,
    RecordLayer, RouteConfig, RouteTls, RunAs, ServiceLabel, Target,
};
use super::{address, bandwidth, clash, gateway, name, timeouts, value};
use super::{balance, connect, dicom, dscp, health, network, observe, returns, source};
use crate::config::limits::{KEY_RECORDS_MAX, ROUTE_CONNECTIONS_MAX, ROUTES_MAX};

/// What is usable of a file.
pub(super) struct ResolvedFile {
    /// The configuration, if there are no problems.
    pub(super) config: Option<Config>,
    /// The routes without problems.
    pub(super) routes: Vec<Arc<RouteConfig>>,
    pub(super) run_as: RunAs,
}

/// Resolves `file`, or adds its problems.
pub(super) fn resolve(
    file: &file::File,
    place: &FileContext<'_>,
    problems: &mut Problems,
) -> ResolvedFile {
    let gateway = gateway::resolve(&file.gateway, place, problems);
    let run_as = gateway.as_ref().map(|gateway| gateway.run_as.clone());
    let mut resolver = ConfigResolver::new(file, place, problems);
    let drafts: Vec<_> = routes(file, resolver.problems)
        .iter()
        .map(|written| resolver.route(written))
        .collect();
    let peers = resolver.peer_tables.all().to_vec();
    let crl_fetches = resolver.peer_tables.fetches().to_vec();
    let renewed = resolver.peer_tables.renewed().to_vec();
    timeouts::check_site_idle(&file.timeouts, &drafts, problems);
    clash::check_names(&drafts, problems);
    returns::check(&drafts, problems);
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
        peers,
        crl_fetches,
        renewed,
        routes: routes.clone(),
    });
    ResolvedFile {
        config,
        routes,
        run_as: run_as.unwrap_or_default(),
    }
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

struct ConfigResolver<'a> {
    problems: &'a mut Problems,
    identities: Identities<'a>,
    peer_tables: Arc<PeerTables>,
    /// The identity of the site: `None` if there is no `[identity]`, `Some(None)` if it has problems.
    site_identity: Option<Option<Arc<IdentityFiles>>>,
    site_timeouts: super::Timeouts,
    written_timeouts: &'a file::Timeouts,
    /// The lines of the pairs of `trust` and certificate that were checked.
    trust_checked: HashSet<(usize, usize)>,
}

impl<'a> ConfigResolver<'a> {
    fn new(file: &'a file::File, place: &FileContext<'a>, problems: &'a mut Problems) -> Self {
        let mut identities = Identities::new(place);
        let peer_tables = PeerTables::resolve(file, &mut identities, problems);
        let identity = file.identity.as_ref();
        Self {
            site_identity: identity.map(|written| identities.resolve(written, problems)),
            site_timeouts: timeouts::site(&file.timeouts, problems),
            written_timeouts: &file.timeouts,
            identities,
            peer_tables: Arc::new(peer_tables),
            trust_checked: HashSet::new(),
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
        let interface = self.interface(written);
        let is_everywhere = written.interface.is_absent();
        if let (Some(Mode::Originate), Some(listen), true) = (mode, listen, is_everywhere) {
            self.refuse_plaintext_everywhere(written, listen);
        }
        let tables = Arc::clone(&self.peer_tables);
        let peers = self.peers(written, mode);
        let expected = Expected::new(written, mode, &tables, &peers);
        let mut targets = self.targets(written, &expected);
        let observe = observe::resolve(written, mode, protocol, self.problems);
        let settings = dicom::RouteSettings {
            mode,
            protocol,
            observe,
            tables: &tables,
            peers: &peers,
            expected: &expected,
        };
        let by_title = dicom::resolve(written, settings, self.problems);
        let connect = connect::resolve(written, (mode, protocol), observe, self.problems);
        let health = health::resolve(written, mode, protocol, self.problems);
        let balance = balance::resolve(written, health.as_ref(), self.problems);
        let when_down = balance::when_down(written, health.as_ref(), self.problems);
        let tls = self.tls(written, mode, &peers);
        let bandwidth = bandwidth::resolve(written, self.problems);
        let dscp = dscp::resolve(written, self.problems);
        let from = network::resolve(written, self.problems);
        let source = source::resolve(written, mode, self.problems);
        let [connections, connections_per_source, connections_per_peer] =
            self.connections(written, mode);
        let written_timeouts = [&written.timeouts, self.written_timeouts];
        let kind = timeouts::RouteKind {
            mode,
            protocol,
            connect,
            observe,
        };
        let timeouts = timeouts::route(written_timeouts, &self.site_timeouts, kind, self.problems);
        let route = (|| {
            Some(RouteConfig {
                name: name?,
                line: written.line,
                mode: mode?,
                protocol: protocol?,
                listen: listen?,
                interface: interface.clone(),
                from,
                targets: targets.iter().map(|target| target.value.clone()).collect(),
                tls: tls?,
                timeouts,
                observe,
                dicom: by_title.dicom,
                connect,
                health,
                balance,
                when_down,
                connections,
                connections_per_source,
                connections_per_peer,
                bandwidth,
                dscp,
                source,
            })
        })();
        targets.extend(by_title.targets);
        balance::check_limits(&written.scope, &targets, self.problems);
        let listen = located(listen, &written.listen);
        Draft {
            written,
            mode,
            protocol,
            listen,
            interface,
            targets,
            route,
        }
    }

    fn interface(&mut self, route: &file::Route) -> Option<InterfaceName> {
        let text = route.interface.value()?;
        let read = name::interface(&text.value);
        self.problems.accept(&route.scope, "interface", text, read)
    }

    // The gateway would send plaintext from the WAN on with the identity of this site.
    fn refuse_plaintext_everywhere(&mut self, route: &file::Route, listen: SocketAddr) {
        if let (true, Some(line)) = (listen.ip().is_unspecified(), line_of(&route.listen)) {
            let scope = &route.scope;
            let text = format!(
                "{scope}listen \"{listen}\" would take plaintext from every network that this \
                 machine is on, the WAN included; write its address on the LAN, or add \
                 interface = \"NAME\" with the LAN's interface"
            );
            self.problems.wrong(line, text);
        }
    }

    /// Reads the value of a key that every route must have.
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

    fn targets(&mut self, route: &file::Route, expected: &Expected<'_>) -> Vec<Located<Target>> {
        let scope = &route.scope;
        // Tables of titles have targets of their own.
        if route.targets.is_absent() && route.ae.is_absent() {
            let text = format!("{scope}targets is missing; write {TARGETS_REMEDY}");
            self.problems.missing(Some(route.line), text);
        }
        let written = route.targets.value();
        written.map_or_else(Vec::new, |written| {
            targets::targets(scope, written, expected, self.problems)
        })
    }

    /// The listed peers; none for passthrough routes, which do not accept the key.
    fn peers(&mut self, route: &file::Route, mode: Option<Mode>) -> RoutePeers {
        let scope = &route.scope;
        match mode {
            Some(Mode::Passthrough) => return RoutePeers::default(),
            Some(mode) if route.peers.is_absent() => {
                let text = format!(
                    "{scope}peers is missing; mode \"{mode}\" needs the peers that may be at the other end, \
                        because a certificate of a trusted CA alone is never enough; write \
                     {PEERS_REMEDY}"
                );
                self.problems.missing(Some(route.line), text);
            }
            _ => {}
        }
        RoutePeers::resolve(route, &self.peer_tables, self.problems)
    }

    /// The TLS settings: `Some(None)` for passthrough, `None` if there is a problem.
    fn tls(
        &mut self,
        route: &file::Route,
        mode: Option<Mode>,
        peers: &RoutePeers,
    ) -> Option<Option<RouteTls>> {
        let policy = self.policy(route);
        let record_layer = self.record_layer(route);
        let key_records = self.key_records(route);
        let service = self.service(route);
        let key_exchange = self.key_exchange(route);
        let own = route.identity.as_ref();
        let own = own.map(|identity| self.identities.resolve(identity, self.problems));
        if mode == Some(Mode::Passthrough) {
            self.refuse_tls_keys(route);
            return Some(None);
        }
        let identity = own.or_else(|| self.site_identity.clone());
        if let (None, Some(mode)) = (&identity, mode) {
            let text = format!(
                "{}mode \"{mode}\" needs an identity, and there is neither [identity] nor \
                 [route.identity]; write one with certificate and key",
                route.scope
            );
            self.problems.missing(Some(route.line), text);
        }
        let identity = identity??;
        self.check_trust(route, peers, &identity);
        let peers = peers.meant(identity.trust.as_ref());
        Some(Some(RouteTls {
            identity,
            peers: peers?,
            service: service?,
            carries_source: route.carry_source.value().is_some_and(|flag| flag.value),
            policy: policy?,
            key_exchange,
            record_layer: record_layer?,
            key_records: key_records?,
        }))
    }

    /// Checks which CAs may issue certificates for the peers of a route, and that these files are not those of the site itself.
    fn check_trust(&mut self, route: &file::Route, peers: &RoutePeers, identity: &IdentityFiles) {
        for peer in peers.tables() {
            let lines = (peer.trust.trust.line, identity.certificate.line);
            if self.trust_checked.insert(lines) {
                let scope = format!(
                    "peer {}: ",
                    quoted(peer.name.as_deref().unwrap_or_default())
                );
                identity::check_trust(&scope, &peer.trust, identity, self.problems);
            }
        }
        if let (None, Some(line)) = (&identity.trust, peers.own_line()) {
            let table = match route.identity {
                Some(_) => "[route.identity]",
                None => "[identity]",
            };
            let text = format!(
                "{}peers lists identities itself, and {table} has no trust that could issue certificates for \
                 them; write a [[peer]] with name, identity and trust and list its name here, or \
                 write trust in {table}",
                route.scope
            );
            self.problems.missing(Some(line), text);
        }
    }

    fn service(&mut self, route: &file::Route) -> Option<Option<ServiceLabel>> {
        let Some(text) = route.service.value() else {
            return Some(None);
        };
        let read = name::service_label(&text.value);
        self.problems
            .accept(&route.scope, "service", text, read)
            .map(Some)
    }

    /// The limits of connections: of the route, of one source, and of one peer.
    fn connections(&mut self, route: &file::Route, mode: Option<Mode>) -> [Option<u32>; 3] {
        let scope = &route.scope;
        let per_peer = &route.connections_per_peer;
        if let (Some(Mode::Originate | Mode::Passthrough), Some(line)) = (mode, line_of(per_peer)) {
            let text = format!(
                "{scope}connections_per_peer applies only to mode \"terminate\": here clients prove no identity; \
                 remove it, or write connections_per_source"
            );
            self.problems.wrong(line, text);
        }
        let limits = [
            ("connections", &route.connections),
            ("connections_per_source", &route.connections_per_source),
            ("connections_per_peer", per_peer),
        ];
        // LIMIT: `ROUTE_CONNECTIONS_MAX`.
        let max = ROUTE_CONNECTIONS_MAX.into();
        let numbers = limits.map(|(key, written)| {
            let read = self.problems.accept_number(scope, key, written, max)?;
            u32::try_from(read).ok()
        });
        let of_all = numbers[0];
        for ((key, written), number) in limits.into_iter().zip(numbers).skip(1) {
            let above = number.zip(of_all).filter(|(number, all)| number > all);
            if let (Some((number, all)), Some(line)) = (above, line_of(written)) {
                let text = format!(
                    "{scope}{key} {number} has no effect above connections = {all}; write a smaller number, or \
                     remove it"
                );
                self.problems.wrong(line, text);
            }
        }
        numbers
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
        if route.key_records.is_absent() {
            return Some(KEY_RECORDS_MAX);
        }
        let (scope, written) = (&route.scope, &route.key_records);
        self.problems
            .accept_number(scope, "key_records", written, KEY_RECORDS_MAX)
    }

    fn key_exchange(&mut self, route: &file::Route) -> KeyExchange {
        let is_required = route.require_pq.value().is_some_and(|flag| flag.value);
        let without_hybrid = route.hybrid.value().filter(|flag| !flag.value);
        if let (true, Some(hybrid)) = (is_required, without_hybrid) {
            let text = format!(
                "{}hybrid = false turns off the key exchange X25519MLKEM768, and require_pq = true allows no \
                 other; remove one of the two",
                route.scope
            );
            self.problems.wrong(hybrid.line, text);
        }
        match (is_required, without_hybrid) {
            (true, _) => KeyExchange::HybridRequired,
            (false, Some(_)) => KeyExchange::Classical,
            (false, None) => KeyExchange::HybridPreferred,
        }
    }

    fn policy(&mut self, route: &file::Route) -> Option<Policy> {
        let Some(text) = route.policy.value() else {
            return Some(Policy::default());
        };
        let read = value::word(&text.value, &Policy::WORDS);
        self.problems.accept(&route.scope, "policy", text, read)
    }

    /// A passthrough route does not read the TLS that it forwards, so rules about TLS would promise checks
    /// that do not happen.
    fn refuse_tls_keys(&mut self, route: &file::Route) {
        let identity = route.identity.as_ref().map(|identity| identity.line);
        let lines = [
            ("peers", line_of(&route.peers)),
            ("service", line_of(&route.service)),
            ("policy", line_of(&route.policy)),
            ("require_pq", line_of(&route.require_pq)),
            ("hybrid", line_of(&route.hybrid)),
            ("record_layer", line_of(&route.record_layer)),
            ("key_records", line_of(&route.key_records)),
            ("[route.identity]", identity),
        ];
        for (key, line) in lines {
            let text = format!(
                "{}{key} is not available in mode \"passthrough\", because the programs at both ends make and \
                    check the TLS connection; remove it, or choose mode \"originate\" or \"terminate\"",
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
const LISTEN_REMEDY: &str =
    "the address on which this route accepts connections: listen = \"10.20.0.5:11112\"";
const TARGETS_REMEDY: &str = "the addresses to connect to: targets = [\"gw.region.example:2762\"]";
const PEERS_REMEDY: &str =
    "peers = [\"region\"], and a [[peer]] with this name, its identity and trust";

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
