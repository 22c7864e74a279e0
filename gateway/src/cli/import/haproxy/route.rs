//! Drafts the routes of one frontend or listen section: one for each address of its `bind` lines.

use std::collections::BTreeMap;

use super::super::ImportContext;
use super::super::address::{self, guess, host_and_port};
use super::super::draft::{ModeDraft, NewConfig, NewRoute, is_placeholder, listener, quoted};
use super::super::report::{ImportClass, ImportReport};
use super::lines::WordLine;
use super::parts::{Options, Parts};
use super::server;
use super::{Global, Proxy, options};
use crate::cli::limits::IMPORT_ROUTES_MAX;

use ImportClass::{Carried, NotCarried, Stricter};

/// Ports on which applications speak TLS from the first byte.
const TLS_PORTS: [u16; 8] = [443, 8443, 2762, 636, 993, 995, 6443, 6514];

/// Imports a frontend or listen section.
pub(super) fn import<'a>(
    front: &'a Proxy<'a>,
    proxies: &'a [Proxy<'a>],
    global: &Global,
    draft: &mut NewConfig,
    context: &ImportContext,
    report: &mut ImportReport,
) {
    let header = &front.section.header;
    let refuse = |report: &mut ImportReport, sentence: &str| {
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
    bind: &'a WordLine,
    written: &'a str,
    (front, back): (&'a Proxy<'a>, &'a Proxy<'a>),
    global: &Global,
    draft: &mut NewConfig,
    context: &ImportContext,
    report: &mut ImportReport,
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
    if let Some(wide) = covering(draft, &listen, &origin(front)) {
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

/// Which section a route comes from.
fn origin(front: &Proxy<'_>) -> String {
    let line = front.section.header.place.line;
    format!("{} {}, line {line}", front.kind(), front.name())
}

/// Two wildcards of one port would overlap: the first one becomes that of both families. Returns its route.
/// Only listeners of one section are joined: others lead to other targets.
fn covering(draft: &mut NewConfig, listen: &str, origin: &str) -> Option<String> {
    let (host, port) = host_and_port(listen);
    let is_wide = |host: Option<&str>| matches!(host, Some("0.0.0.0" | "::"));
    let of_section = draft
        .routes
        .iter_mut()
        .filter(|route| route.origin == origin);
    let mut of_section = of_section.filter(|route| !route.keys.contains_key("interface"));
    let same = of_section.find(|route| {
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
        report: &mut ImportReport,
    ) -> Option<NewRoute> {
        let mut keys = BTreeMap::new();
        let servers = self.used_servers(&mut keys, report);
        let first = *servers.first()?;
        let (tls_options, tls_line): (Options<'_>, &WordLine) = match self.mode {
            ModeDraft::Originate => (first.options(), first.line),
            _ => (&self.bind_options, self.bind),
        };
        let mut trust = self.trust(tls_options, tls_line, global, context, report);
        trust.crl.extend(self.lists_left_out(&servers));
        let targets = self.targets(&servers, &mut keys, report);
        let identities = self.identities(&targets, &servers, context, report);
        let identity = self.identity(tls_options, tls_line, global, context, report);
        self.versions(tls_options, global, &mut keys);
        self.side_options(&servers, &mut keys, report);
        self.report_differences(&servers, global, report);
        if let Some(from) = self.from(report) {
            keys.insert("from", from);
        }
        let mut timeouts = BTreeMap::new();
        self.timeouts(&mut timeouts, report);
        let health = self.health(&servers, report);
        Some(NewRoute {
            origin: origin(self.front),
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
}
