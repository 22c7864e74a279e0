//! Drafts the routes of one frontend or listen section: one for each address of its `bind` lines.

use std::collections::{BTreeMap, BTreeSet};

use super::super::ImportContext;
use super::super::address::{self, ProtocolGuess, guess, host_and_port};
use super::super::draft::{
    Draft, IdentityDraft, ModeDraft, RouteDraft, TargetDraft, TrustDraft, dns_identity, fill_in,
    is_placeholder, list, listener, quoted,
};
use super::super::report::{Class, Report};
use super::lines::Line;
use super::server::{self, Server};
use super::{Global, Proxy, options};
use crate::cli::limits::IMPORT_ROUTES_MAX;
use crate::config::limits::TARGETS_MAX;

use Class::{Carried, NotCarried, Stricter};

/// Ports on which applications speak TLS from the first byte.
const TLS_PORTS: [u16; 8] = [443, 8443, 2762, 636, 993, 995, 6443, 6514];

/// Options of one side of a route, as HAProxy has them on `bind` and `server` lines.
type Options<'a> = &'a [(&'a str, &'a str)];

/// What a route is made of.
struct Parts<'a> {
    front: &'a Proxy<'a>,
    back: &'a Proxy<'a>,
    bind: &'a Line,
    bind_options: Vec<(&'a str, &'a str)>,
    servers: Vec<Server<'a>>,
    mode: ModeDraft,
    protocol: ProtocolGuess,
    name: String,
}

/// Imports a frontend or listen section.
pub(super) fn import<'a>(
    front: &'a Proxy<'a>,
    proxies: &'a [Proxy<'a>],
    global: &Global,
    draft: &mut Draft,
    context: &ImportContext,
    report: &mut Report,
) {
    let header = &front.section.header;
    let refuse = |report: &mut Report, sentence: &str| {
        report.add(&header.place, &header.text, NotCarried, sentence);
    };
    if front
        .last(&["mode"])
        .is_some_and(|line| line.word(1) != "tcp")
    {
        refuse(
            report,
            "no route: wardgate carries DICOM, HL7 and TCP, and does not read HTTP; keep HAProxy for this section",
        );
        return;
    }
    let chosen = front.last(&["default_backend"]);
    let back = match chosen {
        Some(line) => proxies
            .iter()
            .find(|proxy| proxy.kind() != "frontend" && proxy.name() == line.word(1)),
        None => (front.kind() == "listen").then_some(front),
    };
    let Some(back) = back else {
        refuse(
            report,
            "no route: it has no default_backend with servers; a route does not choose by conditions",
        );
        return;
    };
    if let Some(line) = chosen {
        let sentence = format!("targets are the servers of {:?}", back.name());
        report.add(&line.place, &line.text, Carried, sentence);
    }
    let binds: Vec<_> = front.all("bind").collect();
    if binds.is_empty() {
        refuse(report, "no route: it has no bind line");
        return;
    }
    let before = draft.routes.len();
    for bind in binds {
        for address in bind.word(1).split(',') {
            one(bind, address, (front, back), global, draft, context, report);
        }
    }
    let header = &front.section.header;
    let (class, sentence) = match draft.routes.get(before..).unwrap_or_default() {
        [] => (NotCarried, "no route: see its lines".to_owned()),
        routes => {
            let names: Vec<_> = routes
                .iter()
                .map(|route| format!("{:?}", route.name))
                .collect();
            (Carried, format!("route {}", names.join(", ")))
        }
    };
    report.add(&header.place, &header.text, class, sentence);
    if draft.routes.len() > before {
        let header = &back.section.header;
        report.add(
            &header.place,
            &header.text,
            Carried,
            "its servers are targets",
        );
    }
}

/// The route of one address.
fn one<'a>(
    bind: &'a Line,
    written: &'a str,
    (front, back): (&'a Proxy<'a>, &'a Proxy<'a>),
    global: &Global,
    draft: &mut Draft,
    context: &ImportContext,
    report: &mut Report,
) {
    let (host, port) = match bind_address(written) {
        Ok(found) => found,
        Err(why) => return report.add(&bind.place, &bind.text, NotCarried, why),
    };
    // LIMIT: IMPORT_ROUTES_MAX.
    if draft.routes.len() >= IMPORT_ROUTES_MAX {
        let sentence = format!(
            "{IMPORT_ROUTES_MAX} routes are written at most; import the others on their own"
        );
        return report.add(&bind.place, &bind.text, NotCarried, sentence);
    }
    let bind_options = options::read(bind.words.get(2..).unwrap_or_default());
    let servers = server::all(back, port, report);
    let bind_is_tls = bind_options.iter().any(|(name, _)| *name == "ssl");
    let (encrypted, plain): (Vec<_>, Vec<_>) =
        servers.into_iter().partition(|server| server.has("ssl"));
    let (mode, servers, others) = match (bind_is_tls, encrypted.is_empty()) {
        (true, _) if !plain.is_empty() => (ModeDraft::Terminate, plain, encrypted),
        (true, _) => {
            let sentence = "no route: it has TLS on both sides. Write two routes: one with mode \"terminate\" to \
                127.0.0.1 and a free port, and one with mode \"originate\" that listens there";
            return report.add(&bind.place, &bind.text, NotCarried, sentence);
        }
        (false, false) => (ModeDraft::Originate, encrypted, plain),
        (false, true) => (ModeDraft::Passthrough, plain, encrypted),
    };
    let is_tls_inside = || {
        let lines = front.lines.iter().chain(&back.lines);
        let mut words = lines.flat_map(|line| &line.words);
        let mut ports = servers.iter().map(|server| server.port).chain([port]);
        words.any(|word| {
            word.contains("ssl_hello") || word.contains("ssl_sni") || word == "ssl-hello-chk"
        }) || ports.any(|port| TLS_PORTS.contains(&port))
    };
    if mode == ModeDraft::Passthrough && !is_tls_inside() {
        let sentence = "no route: it has no TLS on either side. Wardgate joins plaintext to TLS; if the applications speak \
            TLS themselves, write a route with mode \"passthrough\"";
        return report.add(&bind.place, &bind.text, NotCarried, sentence);
    }
    for server in others {
        let sentence = "a route has TLS on one side: this server differs from the others; give it a route of its own";
        report.add(&server.line.place, &server.line.text, NotCarried, sentence);
    }
    let name = draft.unused_name(front.name());
    let ports = servers.iter().map(|server| server.port);
    let (guessed, reason) = guess([port].into_iter().chain(ports), [front.name(), back.name()]);
    let (protocol, reason) = match context.protocol_of(&name) {
        Some(given) => (given, "as --protocol says".to_owned()),
        None => (guessed, reason),
    };
    let listen = listener(mode, host, port, context.lan);
    if let Some(wide) = covering(draft, &listen) {
        let sentence =
            format!("route {wide:?} listens on \"[::]:{port}\", which takes IPv4 as well");
        return report.add(&bind.place, &bind.text, Carried, sentence);
    }
    let parts = Parts {
        front,
        back,
        bind,
        bind_options,
        servers,
        mode,
        protocol,
        name,
    };
    let (class, sentence) = if is_placeholder(&listen) {
        (
            Stricter,
            "a listener for plaintext needs an address of the LAN, and every listener an IP address: write it in `listen`, \
             or import again with --lan-address"
                .to_owned(),
        )
    } else {
        (Carried, format!("listen = {}", quoted(&listen)))
    };
    report.add(&bind.place, &bind.text, class, sentence);
    let sentence = format!(
        "route {:?}: mode {:?}, protocol {:?} ({reason})",
        parts.name,
        mode.word(),
        protocol.word()
    );
    report.add(&bind.place, &bind.text, Carried, sentence);
    if let Some(route) = parts.route(listen, global, context, report) {
        draft.routes.push(route);
    }
}

/// Two wildcards of one port would overlap: the first one becomes that of both families. Returns its route.
fn covering(draft: &mut Draft, listen: &str) -> Option<String> {
    let (host, port) = host_and_port(listen);
    let is_wide = |host: Option<&str>| matches!(host, Some("0.0.0.0" | "::"));
    let same = draft.routes.iter_mut().find(|route| {
        let (other, other_port) = host_and_port(&route.listen);
        route.listen == listen || is_wide(host) && is_wide(other) && port == other_port
    })?;
    if !is_placeholder(listen) {
        same.listen = if is_wide(host) {
            format!("[::]:{port}")
        } else {
            listen.to_owned()
        };
    }
    Some(same.name.clone())
}

/// Host and port of one address of a `bind` line. An error is a sentence.
fn bind_address(text: &str) -> Result<(Option<&str>, u16), &'static str> {
    let is_v6 = text.starts_with("ipv6@") || text.starts_with("tcp6@");
    let text = server::without_family(text)
        .ok_or("wardgate listens on TCP addresses only; use 127.0.0.1 and a port")?;
    let (host, port) = host_and_port(text);
    if port.contains('-') {
        return Err("a route has one port; write a route for each port of the range");
    }
    let port =
        address::port(port).ok_or("the port is not a number from 1 to 65535; write the number")?;
    let host = match host {
        None | Some("" | "*") if is_v6 => Some("::"),
        host => host,
    };
    Ok((host, port))
}

impl Parts<'_> {
    /// The route; `None` if it has no targets. Reports the lines that it uses.
    fn route(
        self,
        listen: String,
        global: &Global,
        context: &ImportContext,
        report: &mut Report,
    ) -> Option<RouteDraft> {
        let mut keys = BTreeMap::new();
        let servers = self.used_servers(&mut keys, report);
        let first = *servers.first()?;
        let (tls_options, tls_line): (Options<'_>, &Line) = match self.mode {
            ModeDraft::Originate => (first.options(), first.line),
            _ => (&self.bind_options, self.bind),
        };
        let trust = self.trust(tls_options, tls_line, global, context, report);
        let targets = self.targets(&servers, &mut keys, report);
        let identities = self.identities(&targets, &servers, context, report);
        let identity = self.identity(tls_options, tls_line, global, context, report);
        self.versions(tls_options, &mut keys);
        self.side_options(&servers, &mut keys, report);
        let mut timeouts = BTreeMap::new();
        self.timeouts(&mut timeouts, report);
        let health = self.health(&servers, report);
        let line = self.front.section.header.place.line;
        Some(RouteDraft {
            origin: format!("{} {}, line {line}", self.front.kind(), self.front.name()),
            name: self.name,
            mode: self.mode,
            protocol: self.protocol,
            listen,
            targets,
            keys,
            timeouts,
            keepalive: BTreeMap::new(),
            health,
            identity,
            identities,
            trust,
        })
    }

    /// The servers in the order of their use, and the key `balance`.
    fn used_servers(
        &self,
        keys: &mut BTreeMap<&'static str, String>,
        report: &mut Report,
    ) -> Vec<&Server<'_>> {
        let not = |server: &Server<'_>, sentence: &str, report: &mut Report| {
            report.add(&server.line.place, &server.line.text, NotCarried, sentence);
        };
        let mut main = Vec::new();
        let mut backups = Vec::new();
        for server in &self.servers {
            if server.has("disabled") {
                let sentence = "it is disabled; add it to `targets`, and take it out for maintenance with `wardgate \
                    maintenance`";
                not(server, sentence, report);
            } else if server.has("backup") {
                backups.push(server);
            } else {
                main.push(server);
            }
        }
        let mut balance = self.balance(report);
        if main.is_empty() {
            main.append(&mut backups);
        } else if !backups.is_empty() && main.len() == 1 {
            balance = "priority";
            for server in &backups {
                let sentence = "a later target with balance = \"priority\" is a reserve";
                report.add(&server.line.place, &server.line.text, Carried, sentence);
            }
            main.append(&mut backups);
        }
        for server in backups {
            let sentence = "a route has either a reserve (balance = \"priority\") or several targets that share; this \
                reserve is left out";
            not(server, sentence, report);
        }
        // LIMIT: TARGETS_MAX.
        for server in main.iter().skip(TARGETS_MAX) {
            not(server, "a route has 16 targets at most", report);
        }
        main.truncate(TARGETS_MAX);
        let mut known = BTreeSet::new();
        main.retain(|server| known.insert(server.address.clone()));
        if main.len() > 1 {
            keys.insert("balance", quoted(balance));
        }
        let weights: BTreeSet<_> = main
            .iter()
            .map(|server| server.value("weight").unwrap_or("1"))
            .collect();
        for server in main.iter().filter(|server| server.has("weight")) {
            let (class, sentence) = if weights.len() > 1 {
                (
                    NotCarried,
                    "weight: targets have equal shares; a weaker target gets `connections`",
                )
            } else {
                (Carried, "weight: it is the same for all targets")
            };
            report.add(&server.line.place, &server.line.text, class, sentence);
        }
        main
    }

    fn balance(&self, report: &mut Report) -> &'static str {
        let Some(line) = self.back.last(&["balance"]) else {
            return "round-robin";
        };
        let (balance, class) = match line.word(1) {
            "roundrobin" | "static-rr" => ("round-robin", Carried),
            "leastconn" => ("least-connections", Carried),
            "first" => ("priority", Carried),
            "random" => ("least-connections", Carried),
            _ => ("round-robin", NotCarried),
        };
        let reason = match class {
            NotCarried => {
                "; no client is bound to a target, because an association stays where it begins"
            }
            _ => "",
        };
        let sentence = format!(
            "balance = {}, if there are several targets{reason}",
            quoted(balance)
        );
        report.add(&line.place, &line.text, class, sentence);
        balance
    }

    fn targets(
        &self,
        servers: &[&Server<'_>],
        keys: &mut BTreeMap<&'static str, String>,
        report: &mut Report,
    ) -> Vec<TargetDraft> {
        let mut targets = Vec::new();
        for server in servers {
            let line = server.line;
            let sentence = format!("target {}", quoted(&server.address));
            report.add(&line.place, &line.text, Carried, sentence);
            let connections = server
                .value("maxconn")
                .and_then(|text| text.parse::<u64>().ok());
            let connections = connections.filter(|number| (1..=1 << 20).contains(number));
            if let Some(number) = connections {
                let sentence = format!(
                    "maxconn: connections = {number} of the target; further DICOM clients get a transient rejection, and \
                     do not queue"
                );
                report.add(&line.place, &line.text, Carried, sentence);
            }
            let identities = (self.mode == ModeDraft::Originate)
                .then(|| server_name(server))
                .flatten();
            let identities = identities.map(|identity| BTreeSet::from([identity]));
            targets.push(TargetDraft {
                address: server.address.clone(),
                identities,
                connections,
            });
            if server.has("send-proxy")
                || server.has("send-proxy-v2")
                || server.has("send-proxy-v2-ssl")
            {
                let (class, sentence) = if self.mode == ModeDraft::Originate {
                    (
                        NotCarried,
                        "send-proxy: no PROXY header crosses the network unencrypted; write carry_source = true at both \
                         gateways instead",
                    )
                } else {
                    keys.insert("send_proxy", quoted("v2"));
                    (
                        Carried,
                        "send_proxy = \"v2\": every target of the route must read version 2 of the header",
                    )
                };
                report.add(&line.place, &line.text, class, sentence);
            }
        }
        targets
    }

    /// The names that the peers must prove; the targets have theirs.
    fn identities(
        &self,
        targets: &[TargetDraft],
        servers: &[&Server<'_>],
        context: &ImportContext,
        report: &mut Report,
    ) -> BTreeSet<String> {
        if self.mode == ModeDraft::Passthrough {
            return BTreeSet::new();
        }
        if let Some(given) = context.identities_of(&self.name) {
            return given;
        }
        let names = targets
            .iter()
            .filter_map(|target| target.identities.as_ref())
            .flatten();
        let mut names: BTreeSet<String> = names.cloned().collect();
        let hint = format!("import again with --peer {}=dns:NAME", self.name);
        let mut open = |line: &Line, place: &str, sentence: &str, names: &mut BTreeSet<String>| {
            names.insert(fill_in(&format!(
                "write the name that the certificate of {place} must prove, for example \"dns:gw.region.example\"; `wardgate \
                 pki show` prints the names in a certificate ({} {:?})",
                self.front.kind(),
                self.front.name()
            )));
            let sentence = format!("{sentence}: write it in `identity` of the peer, or {hint}");
            report.add(&line.place, &line.text, Stricter, sentence);
        };
        if self.mode == ModeDraft::Terminate {
            let sentence = "`verify` checks that a CA has issued the client's certificate, and wardgate also checks the name \
                in it";
            open(self.bind, "the client", sentence, &mut names);
            return names;
        }
        let nameless = servers
            .iter()
            .zip(targets)
            .filter(|(_, target)| target.identities.is_none());
        let nameless: Vec<_> = nameless.map(|(server, _)| server).collect();
        for server in &nameless {
            let sentence = "the server's certificate must prove a name, and this line has none (verifyhost, or sni with a \
                fixed name)";
            open(server.line, &server.address, sentence, &mut names);
        }
        for (server, target) in servers.iter().zip(targets) {
            let Some(own) = target.identities.iter().flatten().next() else {
                continue;
            };
            let sentence = format!(
                "identity {} of the peer, which must be a subject alternative name of its certificate",
                quoted(own)
            );
            report.add(&server.line.place, &server.line.text, Stricter, sentence);
        }
        names
    }

    fn trust(
        &self,
        options: Options<'_>,
        line: &Line,
        global: &Global,
        context: &ImportContext,
        report: &mut Report,
    ) -> TrustDraft {
        let missing = format!("/etc/wardgate/pki/{}-ca.pem", self.name);
        if self.mode == ModeDraft::Passthrough {
            return TrustDraft::default();
        }
        let value = |name| last(options, name).filter(|value: &&str| !value.is_empty());
        let verify = match value("verify") {
            Some("required") => {
                "verify: both ends always verify each other, and the certificate must prove a written name as well"
            }
            _ => {
                "verify: verification cannot be turned off; both ends present a certificate of a known CA"
            }
        };
        report.add(&line.place, &line.text, Stricter, verify);
        let crl = value("crl-file").map(|file| based(global.ca_base.as_deref(), file, context));
        if crl.is_some() {
            let sentence =
                "crl-file: crl of the peer; with an expired list, no peer of this CA is accepted";
            report.add(&line.place, &line.text, Stricter, sentence);
        }
        let trust = match value("ca-file") {
            Some(file) if !file.starts_with('@') => {
                let sentence = "ca-file: trust of the peer; it must hold the CA of this partner alone, because every CA in \
                    it may issue for the peer";
                report.add(&line.place, &line.text, Stricter, sentence);
                based(global.ca_base.as_deref(), file, context)
            }
            _ => {
                let sentence =
                    format!("no file of a CA: save the other site's ca.pem as {missing}");
                report.add(&line.place, &line.text, Stricter, sentence);
                missing
            }
        };
        TrustDraft {
            trust,
            crl: crl.into_iter().collect(),
        }
    }

    fn identity(
        &self,
        options: Options<'_>,
        line: &Line,
        global: &Global,
        context: &ImportContext,
        report: &mut Report,
    ) -> Option<IdentityDraft> {
        if self.mode == ModeDraft::Passthrough {
            return None;
        }
        let mut files = options.iter().filter(|(name, _)| *name == "crt");
        let Some((_, file)) = files.next() else {
            let sentence = "both ends must present a certificate, and this line has none (crt): it uses that of [identity]. \
                `wardgate pki issue` makes one";
            report.add(&line.place, &line.text, Stricter, sentence);
            return None;
        };
        if files.next().is_some() {
            let sentence = "crt: a listener has one certificate; only the first one is used";
            report.add(&line.place, &line.text, NotCarried, sentence);
        }
        if file.is_empty() || file.ends_with('/') || file.starts_with('@') {
            let sentence = "crt: wardgate reads one file, not a folder; name the certificate and the key in [identity]";
            report.add(&line.place, &line.text, NotCarried, sentence);
            return None;
        }
        let certificate = based(global.crt_base.as_deref(), file, context);
        let sentence = format!(
            "crt: certificate and key are in one file, which wardgate accepts if no other user can read it: `chgrp wardgate \
             {certificate} && chmod 0640 {certificate}`. If the key is in a file beside it, name that file in `key`"
        );
        report.add(&line.place, &line.text, Stricter, sentence);
        Some(IdentityDraft {
            key: certificate.clone(),
            certificate,
        })
    }

    fn versions(&self, options: Options<'_>, keys: &mut BTreeMap<&'static str, String>) {
        let is_13 = |(name, value): &(&str, &str)| match *name {
            "ssl-min-ver" => *value == "TLSv1.3",
            "force-tlsv13" | "no-tlsv12" => true,
            _ => false,
        };
        if self.mode != ModeDraft::Passthrough && options.iter().any(is_13) {
            keys.insert("policy", quoted("hscn-tls13"));
        }
    }

    /// Other options of the `bind` and `server` lines.
    fn side_options(
        &self,
        servers: &[&Server<'_>],
        keys: &mut BTreeMap<&'static str, String>,
        report: &mut Report,
    ) {
        for (name, value) in &self.bind_options {
            let (class, sentence) = match *name {
                "interface"
                    if !value.is_empty()
                        && value.len() <= 15
                        && value.bytes().all(|b| b.is_ascii_alphanumeric()) =>
                {
                    keys.insert("interface", quoted(value));
                    (Carried, format!("interface = {}", quoted(value)))
                }
                "accept-proxy" => {
                    let networks =
                        fill_in("write the addresses of the proxies, for example \"10.20.0.6/32\"");
                    keys.insert("accept_proxy", list([&networks]));
                    let sentence = "accept-proxy: HAProxy believes every client; write the addresses of the proxies in \
                        `accept_proxy`";
                    (Stricter, sentence.to_owned())
                }
                "transparent" => (
                    NotCarried,
                    "transparent: clients must connect to an address of the gateway".to_owned(),
                ),
                _ => match options::remark(name, value) {
                    Some(remark) => remark,
                    None => continue,
                },
            };
            report.add(&self.bind.place, &self.bind.text, class, sentence);
        }
        for server in servers {
            for (name, value) in server.options() {
                if let Some((class, sentence)) = options::remark(name, value) {
                    report.add(&server.line.place, &server.line.text, class, sentence);
                }
            }
        }
        let bind = last(&self.bind_options, "maxconn");
        let line = self.front.last(&["maxconn"]);
        let number = bind
            .or_else(|| Some(line?.word(1)))
            .and_then(|text| text.parse::<u64>().ok());
        if let Some(number) = number.filter(|number| (1..=1 << 20).contains(number)) {
            keys.insert("connections", number.to_string());
            let line = line.filter(|_| bind.is_none()).unwrap_or(self.bind);
            let sentence = format!("maxconn: connections = {number} of the route");
            report.add(&line.place, &line.text, Carried, sentence);
        }
        self.source(servers, keys, report);
    }

    fn source(
        &self,
        servers: &[&Server<'_>],
        keys: &mut BTreeMap<&'static str, String>,
        report: &mut Report,
    ) {
        let of_proxy = self.back.last(&["source"]);
        let of_proxy =
            of_proxy.map(|line| (line, line.words.iter().any(|word| word == "clientip")));
        let of_servers = servers.iter().filter(|server| server.has("source"));
        let of_servers =
            of_servers.map(|server| (server.line, server.value("usesrc") == Some("clientip")));
        for (line, is_client) in of_proxy.into_iter().chain(of_servers) {
            let (class, sentence) = match (is_client, self.mode) {
                (true, ModeDraft::Terminate) => {
                    keys.insert("source", quoted("transparent"));
                    (
                        Carried,
                        "source = \"transparent\"; the routing that HAProxy needed is needed here too: see the chapter \"The \
                         address of the client\" of the guide",
                    )
                }
                (true, _) => (
                    NotCarried,
                    "only terminate routes connect from the client's address; carry_source = true at both gateways sends \
                     it inside TLS",
                ),
                (false, _) => (
                    NotCarried,
                    "source: wardgate has no key for its own source address; set it in the routing table: `ip route replace \
                     NETWORK via ROUTER src ADDRESS`",
                ),
            };
            report.add(&line.place, &line.text, class, sentence);
        }
    }

    fn timeouts(&self, timeouts: &mut BTreeMap<&'static str, String>, report: &mut Report) {
        let line = |proxy: &Proxy<'_>, name| {
            proxy
                .last(&["timeout", name])
                .map(|line| line.place.clone())
        };
        let read =
            |proxy: &Proxy<'_>, name| options::millis(proxy.last(&["timeout", name])?.word(2));
        if let Some(connect) = self.back.last(&["timeout", "connect"]) {
            let millis =
                options::millis(connect.word(2)).filter(|millis| (100..=60_000).contains(millis));
            let (class, sentence) = match millis {
                Some(millis) => {
                    let text = duration(millis);
                    let sentence = format!(
                        "timeouts.connect = {text}, which all targets of the route share; modalities give up after about \
                         5 s"
                    );
                    timeouts.insert("connect", text);
                    (Carried, sentence)
                }
                None => (
                    Stricter,
                    "the time to connect is \"4s\" (timeouts.connect), and 60 s at most".to_owned(),
                ),
            };
            report.add(&connect.place, &connect.text, class, sentence);
        }
        // The tunnel timeout takes the place of the other two.
        let sides = [(self.front, "client"), (self.back, "server")];
        let tunnel = read(self.back, "tunnel");
        let longest = tunnel.or_else(|| {
            sides
                .iter()
                .filter_map(|(proxy, name)| read(proxy, name))
                .max()
        });
        let longest = longest
            .filter(|millis| (1000..=30 * 86_400_000).contains(millis))
            .map(duration);
        let (class, sentence) = match (self.protocol, self.mode, longest) {
            (_, _, None) => (
                NotCarried,
                "silent connections stay open; dead peers are found by timeouts.keepalive".to_owned(),
            ),
            (ProtocolGuess::Tcp, _, Some(text)) | (_, ModeDraft::Passthrough, Some(text)) => {
                let sentence = format!("timeouts.idle = {text}: silence on both sides, the longest of these times");
                timeouts.insert("idle", text);
                (Carried, sentence)
            }
            (ProtocolGuess::Dicom, _, Some(text)) => {
                let sentence = format!(
                    "timeouts.association_idle = {text}: it ends a silent association only if no request is outstanding, \
                     with an A-ABORT to both applications"
                );
                timeouts.insert("association_idle", text);
                (Carried, sentence)
            }
            (ProtocolGuess::Mllp, _, Some(_)) => (
                NotCarried,
                "a silent HL7 connection is not ended, because engines keep it open for hours between messages; dead peers \
                 are found by timeouts.keepalive"
                    .to_owned(),
            ),
        };
        for (proxy, name) in sides.into_iter().chain([(self.back, "tunnel")]) {
            if line(proxy, name).is_some()
                && let Some(used) = proxy.last(&["timeout", name])
            {
                report.add(&used.place, &used.text, class, sentence.clone());
            }
        }
    }

    fn health(
        &self,
        servers: &[&Server<'_>],
        report: &mut Report,
    ) -> BTreeMap<&'static str, String> {
        let mut health = BTreeMap::new();
        let Some(server) = servers
            .iter()
            .find(|server| server.has("check") || server.has("check-ssl"))
        else {
            return health;
        };
        let probe = match self.mode {
            ModeDraft::Originate => "tls",
            _ => "connect",
        };
        health.insert("probe", quoted(probe));
        let millis = |name| server.value(name).and_then(options::millis);
        if let Some(interval) = millis("inter").filter(|millis| (1000..=3_600_000).contains(millis))
        {
            health.insert("interval", duration(interval));
            if interval <= 6000 {
                health.insert("timeout", duration(interval / 2));
            }
        }
        for (theirs, ours) in [("rise", "rise"), ("fall", "fall")] {
            let number = server
                .value(theirs)
                .and_then(|text| text.parse::<u32>().ok());
            if let Some(number) = number.filter(|number| (1..=100).contains(number)) {
                health.insert(ours, number.to_string());
            }
        }
        if let Some(slow) = millis("slowstart").filter(|millis| (1000..=3_600_000).contains(millis))
            && servers.len() > 1
            && self.balance(report) != "priority"
            && !servers.iter().any(|server| server.has("backup"))
        {
            health.insert("slow_start", duration(slow));
        }
        for server in servers {
            let sentence = format!(
                "check: health = {} for all targets of the route, with the interval, rise and fall of the first one; for \
                 DICOM, \"c-echo\" asks the archive itself",
                quoted(probe)
            );
            report.add(&server.line.place, &server.line.text, Carried, sentence);
        }
        health
    }
}

/// The fixed name that a server's certificate must prove: HAProxy compares it with the server name first.
fn server_name(server: &Server<'_>) -> Option<String> {
    let sni = server.value("sni").unwrap_or_default();
    let sni = sni
        .strip_prefix("str(")
        .and_then(|rest| rest.strip_suffix(')'));
    let name = sni.or_else(|| server.value("verifyhost"))?;
    dns_identity(name)
}

/// The value of the last option of this name.
fn last<'a>(options: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    let mut last = options.iter().rev();
    last.find(|(known, _)| *known == name)
        .map(|(_, value)| *value)
}

/// A path below the folder of `global`, if that has one.
fn based(base: Option<&str>, path: &str, context: &ImportContext) -> String {
    match base {
        Some(base) => std::path::Path::new(base).join(path).display().to_string(),
        None => context.path(path),
    }
}

/// A duration in TOML.
fn duration(millis: u64) -> String {
    if millis.is_multiple_of(1000) {
        quoted(&format!("{}s", millis / 1000))
    } else {
        quoted(&format!("{millis}ms"))
    }
}
