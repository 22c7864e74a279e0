//! Options in which the servers of one route differ, although wardgate has one key for the whole route.

use super::super::address::host_and_port;
use super::super::draft::{ModeDraft, fill_in, quoted};
use super::super::report::{ImportClass, ImportReport};
use super::parts::Parts;
use super::server::ServerLine;
use super::{Global, options};

use ImportClass::{Carried, NotCarried, Stricter};

impl Parts<'_> {
    /// A placeholder for each revocation list of a server that the route does not have from the first one.
    pub(super) fn lists_left_out(&self, servers: &[&ServerLine<'_>]) -> Vec<String> {
        let Some((first, others)) = servers.split_first() else {
            return Vec::new();
        };
        let of_first = first.value("crl-file");
        let others = others.iter().filter(|server| {
            let own = server.value("crl-file").filter(|file| !file.is_empty());
            self.mode == ModeDraft::Originate && own.is_some() && own != of_first
        });
        let lists = others.map(|server| {
            fill_in(&format!(
                "add the revocation list of the server on line {}, or remove this entry if its CA is not in trust",
                server.line.place.line
            ))
        });
        lists.collect()
    }

    /// Reports each option of a server that the route has from another server, or from none.
    pub(super) fn report_differences(
        &self,
        servers: &[&ServerLine<'_>],
        global: &Global,
        report: &mut ImportReport,
    ) {
        let Some((first, others)) = servers.split_first() else {
            return;
        };
        if self.mode == ModeDraft::Originate {
            for server in servers {
                server_name(server, report);
            }
            for server in others {
                certificates(first, server, global, report);
            }
        }
        let headers = |server: &ServerLine<'_>| {
            server
                .options()
                .iter()
                .any(|(name, _)| name.starts_with("send-proxy"))
        };
        let is_client = |server: &ServerLine<'_>| server.value("usesrc") == Some("clientip");
        let has_client_for_all = self
            .back
            .last(&["source"])
            .is_some_and(|line| line.words.iter().any(|word| word == "clientip"));
        let is_terminate = self.mode == ModeDraft::Terminate;
        for server in servers {
            if self.mode != ModeDraft::Originate
                && !headers(server)
                && servers.iter().any(|other| headers(other))
            {
                let sentence = "send_proxy belongs to the route, so this server also gets a PROXY header, which it did not \
                    have: give it a route of its own";
                add(server, NotCarried, sentence, report);
            }
            let others_do = servers.iter().any(|other| is_client(other)) && !has_client_for_all;
            if is_terminate && others_do && !is_client(server) {
                let sentence = "source belongs to the route, so connections to this server also come from the address of \
                    the client: give it a route of its own";
                add(server, NotCarried, sentence, report);
            }
        }
    }
}

fn add(
    server: &ServerLine<'_>,
    class: ImportClass,
    sentence: impl Into<String>,
    report: &mut ImportReport,
) {
    report.add(&server.line.place, &server.line.text, class, sentence);
}

/// The name that HAProxy sends, which wardgate takes from the address of the target.
fn server_name(server: &ServerLine<'_>, report: &mut ImportReport) {
    let Some(sni) = server.value("sni") else {
        return;
    };
    let (host, _) = host_and_port(&server.address);
    match fixed(sni) {
        Some(name) if host.is_some_and(|host| host.eq_ignore_ascii_case(name)) => {}
        Some(name) => add(
            server,
            NotCarried,
            format!(
                "sni: wardgate sends the host name in `targets` as the server name, and not {}. If the other end chooses \
                 by it, write this name in `targets` and make it known in the DNS or in /etc/hosts; most gateways ignore it",
                quoted(name)
            ),
            report,
        ),
        None => add(
            server,
            NotCarried,
            "sni: wardgate sends the host name in `targets` as the server name, and evaluates no expression",
            report,
        ),
    }
    let verified = server.value("verifyhost");
    if fixed(sni).is_some() && verified.is_some_and(|name| Some(name) != fixed(sni)) {
        let sentence = "verifyhost: HAProxy compares the certificate with the name in sni, and so does wardgate";
        add(server, Carried, sentence, report);
    }
}

/// The name in `str(NAME)`.
fn fixed(sni: &str) -> Option<&str> {
    sni.strip_prefix("str(")?.strip_suffix(')')
}

/// The files and versions of TLS: the route has those of the first server.
fn certificates(
    first: &ServerLine<'_>,
    server: &ServerLine<'_>,
    global: &Global,
    report: &mut ImportReport,
) {
    let line = first.line.place.line;
    let value = |server: &ServerLine<'_>, name| server.value(name).unwrap_or_default().to_owned();
    let differs = |name| value(server, name) != value(first, name);
    if differs("ca-file") {
        let sentence = format!(
            "ca-file: the route trusts that of line {line} for every target, so wardgate refuses this server. Write a \
             [[peer]] table with its CA and its identity, add it to `peers`, and name it in `peer` of this target; or give \
             the server a route of its own"
        );
        add(server, NotCarried, sentence, report);
    }
    if differs("crl-file") {
        let (class, sentence) = if server.has("crl-file") {
            let sentence = "this list is left out, because the route has that of line";
            (
                NotCarried,
                format!("crl-file: {sentence} {line} or none: add it to `crl` of the peer"),
            )
        } else {
            let sentence =
                format!("crl-file: the list of line {line} counts for this server as well");
            (Stricter, sentence)
        };
        add(server, class, sentence, report);
    }
    if differs("crt") {
        let what = if server.has("crt") {
            "this server gets that one as well: give it a route of its own"
        } else {
            "this server also gets it"
        };
        let class = if server.has("crt") {
            NotCarried
        } else {
            Stricter
        };
        let sentence =
            format!("crt: a route presents one certificate, that of line {line}; {what}");
        add(server, class, sentence, report);
    }
    let verifies = |server: &ServerLine<'_>| server.value("verify") != Some("none");
    if verifies(server) != verifies(first) {
        let sentence = "verify: wardgate verifies every server of the route";
        add(server, Stricter, sentence, report);
    }
    let is_13 = |server: &ServerLine<'_>| server.options().iter().any(options::is_13_alone);
    match (is_13(first), is_13(server)) {
        _ if global.is_server_13 => {}
        (true, false) => {
            let sentence = format!(
                "policy = \"hscn-tls13\" of the route, as on line {line}; a server with TLS 1.2 alone is refused"
            );
            add(server, Stricter, sentence, report);
        }
        (false, true) => {
            let sentence = format!(
                "TLS 1.3 alone: the route has the versions of line {line}, which allow TLS 1.2 as well; write policy = \
                 \"hscn-tls13\" if all servers have TLS 1.3"
            );
            add(server, NotCarried, sentence, report);
        }
        _ => {}
    }
}
