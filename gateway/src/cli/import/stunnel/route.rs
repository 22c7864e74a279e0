//! Drafts the route of one service of stunnel.

use std::collections::BTreeMap;

use super::super::ImportContext;
use super::super::address::{self, ProtocolGuess, guess, host_and_port, joined};
use super::super::draft::{
    IdentityDraft, ModeDraft, NewConfig, NewRoute, SITE_CERTIFICATE, SITE_KEY, TargetDraft,
    fill_in, is_placeholder, list, listener, quoted,
};
use super::super::report::{ImportClass, ImportReport, shell_word};
use super::lines::OptionLine;
use super::service::{Service, effective};
use super::{is_yes, tls};
use crate::config::limits::TARGETS_MAX;

use ImportClass::{Carried, NotCarried, Stricter};

/// Imports a service: `own` are the lines of its section. Without a header, the file has no section.
pub(super) fn import(
    header: Option<&OptionLine>,
    defaults: &[&OptionLine],
    own: &[&OptionLine],
    draft: &mut NewConfig,
    context: &ImportContext,
    report: &mut ImportReport,
) {
    let lines = effective(defaults, own, report);
    let client = lines.iter().rev().find(|line| line.is("client"));
    let is_client = client.is_some_and(|line| is_yes(line));
    let mut service = Service {
        lines,
        mode: if is_client {
            ModeDraft::Originate
        } else {
            ModeDraft::Terminate
        },
        protocol: ProtocolGuess::Tcp,
        keys: BTreeMap::new(),
        timeouts: BTreeMap::new(),
        keepalive: BTreeMap::new(),
    };
    let section = header.map_or("stunnel", OptionLine::value);
    let Some(accept) = usable_accept(header, &service, report) else {
        return;
    };
    let targets = targets(&service, report);
    if targets.is_empty() {
        if let Some(header) = header {
            let sentence = "no route: it has no target that wardgate can connect to";
            report.add(&header.place, &header.text, NotCarried, sentence);
        }
        return;
    }
    let name = draft.unused_name(section);
    let (accept, host, port) = accept;
    let mut ports = vec![port];
    ports.extend(
        targets
            .iter()
            .filter_map(|target| address::port(host_and_port(&target.address).1)),
    );
    let (guessed, reason) = guess(ports, [section]);
    let (protocol, reason) = match context.protocol_of(&name) {
        Some(given) => (given, "as --protocol says".to_owned()),
        None => (guessed, reason),
    };
    service.protocol = protocol;
    let listen = listener(service.mode, host, port, context.lan);
    report_listener(accept, &listen, &service, report);
    if let Some(header) = header {
        let sentence = format!(
            "route {name:?}: mode {:?}, protocol {:?} ({reason})",
            service.mode.word(),
            protocol.word()
        );
        report.add(&header.place, &header.text, Carried, sentence);
    }
    let identity = identity(&service, context, report);
    let trust = tls::trust(&service, &name, context, report);
    let identities = tls::identities(&service, &name, header, context, report);
    for line in service.lines.clone() {
        plain_option(line, &mut service, report);
    }
    tls::options(&mut service, report);
    let line = header.map_or(1, |header| header.place.line);
    let of_file = header.and_then(|header| header.place.file.as_deref());
    let of_file = of_file.map(|file| format!(" of {file}"));
    draft.routes.push(NewRoute {
        origin: format!("[{section}], line {line}{}", of_file.unwrap_or_default()),
        name,
        mode: service.mode,
        protocol,
        listen,
        targets,
        keys: service.keys,
        timeouts: service.timeouts,
        keepalive: service.keepalive,
        health: BTreeMap::new(),
        identity,
        identities,
        trust,
    });
}

/// The listener of a service that wardgate can take over: its line, host and port. Otherwise the reason is reported.
fn usable_accept<'a>(
    header: Option<&OptionLine>,
    service: &Service<'a>,
    report: &mut ImportReport,
) -> Option<(&'a OptionLine, Option<&'a str>, u16)> {
    let mut refuse = |line: &OptionLine, sentence: &str| {
        report.add(&line.place, &line.text, NotCarried, sentence);
        if let Some(header) = header {
            let sentence = "no route: see the lines of this section";
            report.add(&header.place, &header.text, NotCarried, sentence);
        }
    };
    let is_server = service.mode == ModeDraft::Terminate;
    for name in ["exec", "protocol", "sni"] {
        let Some(line) = service.last(name) else {
            continue;
        };
        let sentence = match name {
            "exec" => {
                "wardgate starts no programs; let the program listen on 127.0.0.1 (a socket unit of systemd can start \
                 it), and name this address as the target of a route"
            }
            "protocol" if !line.value().eq_ignore_ascii_case("proxy") => {
                "wardgate does not negotiate TLS inside another protocol (STARTTLS, HTTP CONNECT, SOCKS); use the port \
                 of this protocol that begins with TLS, or keep stunnel for this service"
            }
            "sni" if is_server && service.last("accept").is_none() => {
                "one listener cannot choose a service by the server name; give this service an address or a port of \
                 its own"
            }
            _ => continue,
        };
        refuse(line, sentence);
        return None;
    }
    let Some(accept) = service.last("accept") else {
        if let Some(header) = header {
            let sentence = "no route: it has no accept (inetd mode); wardgate listens by itself, so write an address \
                and a port";
            report.add(&header.place, &header.text, NotCarried, sentence);
        }
        return None;
    };
    if accept.value().starts_with('/') {
        refuse(
            accept,
            "wardgate listens on TCP addresses only; use 127.0.0.1 and a port",
        );
        return None;
    }
    let (host, port) = host_and_port(accept.value());
    let Some(port) = address::port(port) else {
        refuse(
            accept,
            "the port is not a number from 1 to 65535; write the number in place of the name",
        );
        return None;
    };
    Some((accept, host, port))
}

fn report_listener(
    accept: &OptionLine,
    listen: &str,
    service: &Service<'_>,
    report: &mut ImportReport,
) {
    if is_placeholder(listen) {
        let sentence = match service.mode {
            ModeDraft::Originate => {
                "plaintext is not taken from every network: write the address of this machine on the LAN in `listen`, or \
                 import again with --lan-address"
            }
            _ => "a listener needs an IP address; write it in `listen`",
        };
        report.add(&accept.place, &accept.text, Stricter, sentence);
    } else {
        let sentence = format!("listen = {}", quoted(listen));
        report.add(&accept.place, &accept.text, Carried, sentence);
    }
}

/// The targets, in the order of the file.
fn targets(service: &Service<'_>, report: &mut ImportReport) -> Vec<TargetDraft> {
    let mut targets: Vec<TargetDraft> = Vec::new();
    for line in service.all("connect") {
        let (host, port) = host_and_port(line.value());
        let (class, sentence) = match (line.value().starts_with('/'), address::port(port)) {
            (true, _) => (
                NotCarried,
                "wardgate connects to TCP addresses only; let the application listen on 127.0.0.1 and a port".to_owned(),
            ),
            (_, None) => (
                NotCarried,
                "the port is not a number from 1 to 65535; write the number in place of the name".to_owned(),
            ),
            (false, Some(port)) => {
                let host = host.filter(|host| !host.is_empty()).unwrap_or("127.0.0.1");
                let address = joined(host, port);
                let is_known = targets.iter().any(|target| target.address == address);
                // LIMIT: TARGETS_MAX.
                if targets.len() >= TARGETS_MAX && !is_known {
                    (NotCarried, format!("a route has {TARGETS_MAX} targets at most"))
                } else {
                    let sentence = format!("target {}", quoted(&address));
                    if !is_known {
                        targets.push(TargetDraft {
                            address,
                            identities: None,
                            connections: None,
                        });
                    }
                    (Carried, sentence)
                }
            }
        };
        report.add(&line.place, &line.text, class, sentence);
    }
    targets
}

/// The certificate and the key of the service; `None` if it has none.
fn identity(
    service: &Service<'_>,
    context: &ImportContext,
    report: &mut ImportReport,
) -> Option<IdentityDraft> {
    let cert = service
        .last("cert")
        .filter(|line| !line.value().is_empty())?;
    let key = service.last("key").filter(|line| !line.value().is_empty());
    let is_token = |line: &OptionLine| {
        let value = line.value().to_ascii_lowercase();
        value.starts_with("pkcs11:") || value.starts_with("engine:")
    };
    let files = || [Some(cert), key].into_iter().flatten();
    if files().any(is_token) {
        for line in files() {
            let sentence = if is_token(line) {
                "wardgate reads keys from files, not from a token; issue a certificate for a new key: `wardgate pki csr` \
                 for your own CA, or `wardgate pki issue`"
            } else {
                "its other half is on a token, which wardgate does not read"
            };
            report.add(&line.place, &line.text, NotCarried, sentence);
        }
        return None;
    }
    let lower = cert.value().to_ascii_lowercase();
    if lower.ends_with(".p12") || lower.ends_with(".pfx") {
        let file = shell_word(&context.path(cert.value()));
        let sentence = format!(
            "wardgate reads PEM, and this is PKCS#12. Split it: `openssl pkcs12 -in {file} -nokeys -out \
             {SITE_CERTIFICATE}`, and `(umask 077; openssl pkcs12 -in {file} -nocerts -nodes -out {SITE_KEY})`; then \
             `chgrp wardgate {SITE_KEY} && chmod 0640 {SITE_KEY}`"
        );
        report.add(&cert.place, &cert.text, Stricter, sentence);
        if let Some(key) = key {
            let sentence = "the key comes from the PKCS#12 file";
            report.add(&key.place, &key.text, Carried, sentence);
        }
        return Some(IdentityDraft {
            certificate: SITE_CERTIFICATE.to_owned(),
            key: SITE_KEY.to_owned(),
        });
    }
    let certificate = context.path(cert.value());
    let key_path = context.path(key.unwrap_or(cert).value());
    if certificate == key_path {
        let file = shell_word(&certificate);
        let sentence = format!(
            "certificate and key are in one file, which wardgate accepts if no other user can read it: `chgrp wardgate \
             {file} && chmod 0640 {file}`. The file names must be equal; stunnel takes the key from `cert` \
             if `key` is missing, and wardgate does not"
        );
        report.add(&cert.place, &cert.text, Stricter, sentence);
    } else {
        let sentence = "certificate; its file begins with this site's own certificate, and intermediate ones follow";
        report.add(&cert.place, &cert.text, Carried, sentence);
    }
    if let Some(key) = key {
        let sentence = "key; wardgate refuses a key that every user can read, a key with a passphrase, and a file with \
            several keys. The user wardgate must be able to read it (group wardgate, mode 0640)";
        report.add(&key.place, &key.text, Stricter, sentence);
    }
    Some(IdentityDraft {
        certificate,
        key: key_path,
    })
}

/// Options of a service that are not about TLS.
fn plain_option(line: &OptionLine, service: &mut Service<'_>, report: &mut ImportReport) {
    let is_server = service.mode == ModeDraft::Terminate;
    let (class, sentence) = match line.name() {
        "client" => (Carried, format!("mode = {}", quoted(service.mode.word()))),
        "failover" => {
            let is_priority = line.value().eq_ignore_ascii_case("prio");
            let balance = quoted(if is_priority { "priority" } else { "round-robin" });
            let sentence = format!("balance = {balance}");
            service.keys.insert("balance", balance);
            (Carried, sentence)
        }
        "timeoutconnect" => match seconds(line.value(), 1, 60) {
            Some(text) => {
                let sentence = format!(
                    "timeouts.connect = {text}, which all targets of the route share; modalities give up after about 5 s"
                );
                service.timeouts.insert("connect", text);
                (Carried, sentence)
            }
            None => (
                Stricter,
                "the time to connect is \"4s\" (timeouts.connect), and 60 s at most".to_owned(),
            ),
        },
        "timeoutidle" => idle(line, service),
        "timeoutbusy" => (
            Stricter,
            "a handshake has 5 s from its first to its last byte (timeouts.handshake, up to \"60s\"), so that silent \
             clients hold no places"
                .to_owned(),
        ),
        "timeoutclose" => (
            Carried,
            "wardgate waits for the other end's close_notify with a bound of its own, and loses no byte".to_owned(),
        ),
        "socket" => return socket(line, service, report),
        "delay" => (
            Carried,
            "names are looked up when a client connects, and used for 10 s".to_owned(),
        ),
        "reset" => (
            Carried,
            "a failure at one end becomes a reset at the other, never a normal end".to_owned(),
        ),
        "retry" => (
            NotCarried,
            "this is for programs that stunnel starts; wardgate starts none".to_owned(),
        ),
        "transparent" => match line.value().to_ascii_lowercase().as_str() {
            "none" | "no" => (Carried, "connections come from the gateway's address".to_owned()),
            "source" | "yes" if is_server => {
                service.keys.insert("source", quoted("transparent"));
                let sentence = "source = \"transparent\"; the routing that stunnel needed is needed here too: see the \
                    chapter \"The address of the client\" of the guide";
                (Carried, sentence.to_owned())
            }
            "source" | "yes" => (
                NotCarried,
                "an originate route connects from the gateway's address; carry_source = true at both gateways sends \
                 the client's address inside TLS"
                    .to_owned(),
            ),
            _ => (
                NotCarried,
                "wardgate takes the destination from `targets` only; clients must connect to the gateway's address"
                    .to_owned(),
            ),
        },
        "protocol" if is_server => {
            service.keys.insert("send_proxy", quoted("v2"));
            let sentence = "send_proxy = \"v2\": the target must read version 2 of the PROXY header, where stunnel sends \
                version 1";
            (Carried, sentence.to_owned())
        }
        "protocol" => (
            NotCarried,
            "no PROXY header crosses the network unencrypted; write carry_source = true at both gateways instead"
                .to_owned(),
        ),
        "local" => (
            NotCarried,
            "wardgate has no key for its own source address; set it in the routing table: `ip route replace NETWORK via \
             ROUTER src ADDRESS`"
                .to_owned(),
        ),
        "libwrap" if is_yes(line) => {
            service.keys.insert("from", clients("hosts.allow and hosts.deny"));
            let sentence = "hosts.allow and hosts.deny are not read; list the networks of the clients in `from`";
            (NotCarried, sentence.to_owned())
        }
        "libwrap" => (Carried, "hosts.allow and hosts.deny are not read".to_owned()),
        "ident" => {
            service.keys.insert("from", clients("the ident server"));
            let sentence = "wardgate asks no ident server, because its answer proves nothing; list the networks of the \
                clients in `from`";
            (NotCarried, sentence.to_owned())
        }
        "pty" | "execargs" => (
            NotCarried,
            "wardgate starts no programs".to_owned(),
        ),
        "redirect" => (
            NotCarried,
            "a client that is not accepted gets a TLS alert, and never reaches another target".to_owned(),
        ),
        "stack" => (Carried, "there is no thread for each connection".to_owned()),
        "logid" => (
            Carried,
            "every connection has an id in the log; `tunnel` is the same at both gateways".to_owned(),
        ),
        name if name.starts_with("protocol") => (
            NotCarried,
            "it belongs to a negotiation inside another protocol, which wardgate does not do".to_owned(),
        ),
        _ => return,
    };
    report.add(&line.place, &line.text, class, sentence);
}

/// The value of `from` for a restriction that is not carried over.
fn clients(by: &str) -> String {
    list([&fill_in(&format!(
        "write the networks of the clients that may connect, for example \"10.20.0.0/16\": {by} decided so far"
    ))])
}

/// `TIMEOUTidle`, by the protocol of the route.
fn idle(line: &OptionLine, service: &mut Service<'_>) -> (ImportClass, String) {
    let Some(text) = seconds(line.value(), 1, 30 * 24 * 3600) else {
        return (
            NotCarried,
            "not a number of seconds from 1 to 2592000; silent connections stay open".to_owned(),
        );
    };
    match service.protocol {
        ProtocolGuess::Tcp => {
            let sentence = format!("timeouts.idle = {text}");
            service.timeouts.insert("idle", text);
            (Carried, sentence)
        }
        ProtocolGuess::Dicom => {
            let sentence = format!(
                "timeouts.association_idle = {text}: it ends a silent association only if no request is outstanding, with \
                 an A-ABORT to both applications"
            );
            service.timeouts.insert("association_idle", text);
            (Carried, sentence)
        }
        ProtocolGuess::Mllp => (
            NotCarried,
            "a silent HL7 connection is not ended, because engines keep it open for hours between messages; dead peers are \
             found by timeouts.keepalive"
                .to_owned(),
        ),
    }
}

/// `socket = l:OPTION=VALUE`.
fn socket(line: &OptionLine, service: &mut Service<'_>, report: &mut ImportReport) {
    let (side, option) = line.value().split_once(':').unwrap_or(("", line.value()));
    let (option, value) = option.split_once('=').unwrap_or((option, ""));
    let (option, value) = (option.trim().to_ascii_uppercase(), value.trim());
    let is_accept = side.trim().eq_ignore_ascii_case("a");
    let is_local = side.trim().eq_ignore_ascii_case("l");
    let is_off = value == "0";
    let number = value.parse::<u64>().ok();
    let mut keepalive = |key: &'static str, text: Option<String>| match text {
        Some(text) => {
            let sentence =
                format!("timeouts.keepalive: {key} = {text}, on both sides of each connection");
            service.keepalive.insert(key, text);
            (Carried, sentence)
        }
        None => (
            NotCarried,
            "out of range; the defaults are 60 s, 10 s and 6 probes".to_owned(),
        ),
    };
    let (class, sentence) = match option.as_str() {
        "TCP_NODELAY" | "SO_KEEPALIVE" if is_off => (
            Stricter,
            "wardgate always sets it, and no key turns it off".to_owned(),
        ),
        "TCP_NODELAY" | "SO_KEEPALIVE" | "SO_REUSEADDR" => {
            (Carried, "wardgate always sets it".to_owned())
        }
        "TCP_KEEPIDLE" => keepalive("idle", seconds(value, 1, 32_767)),
        "TCP_KEEPINTVL" => keepalive("interval", seconds(value, 1, 32_767)),
        "TCP_KEEPCNT" => {
            let probes = number.filter(|number| (1..=127).contains(number));
            keepalive("probes", probes.map(|number| number.to_string()))
        }
        "SO_BINDTODEVICE" if (is_accept || is_local) && is_interface(value) => {
            service.keys.insert("interface", quoted(value));
            (Carried, format!("interface = {}", quoted(value)))
        }
        "IP_TOS" if number.is_some_and(|tos| tos <= 255) => {
            let dscp = number.unwrap_or_default() >> 2;
            service.keys.insert("dscp", dscp.to_string());
            (Carried, format!("dscp = {dscp}, on both sides of the route"))
        }
        "SO_RCVBUF" | "SO_SNDBUF" => (
            NotCarried,
            "the kernel sizes the buffers of each connection; `wardgate tune` sets their limits for the line".to_owned(),
        ),
        _ => (
            NotCarried,
            "wardgate has no key for this option of a socket; most services do not need it".to_owned(),
        ),
    };
    report.add(&line.place, &line.text, class, sentence);
}

/// Whether wardgate accepts the name of a network interface.
fn is_interface(name: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    !name.is_empty()
        && name.len() <= 15
        && !matches!(name, "." | "..")
        && name.chars().all(is_legal)
}

/// A number of seconds in these bounds as a duration in TOML.
pub(super) fn seconds(text: &str, min: u64, max: u64) -> Option<String> {
    let number: u64 = text.trim().parse().ok()?;
    (min..=max)
        .contains(&number)
        .then(|| quoted(&format!("{number}s")))
}
