//! A `server` line with the `default-server` lines before it.

use super::super::address::{self, host_and_port, joined};
use super::super::report::{ImportClass, ImportReport};
use super::lines::WordLine;
use super::{Proxy, options};

use ImportClass::{Carried, NotCarried};

/// A server that wardgate can connect to.
pub(super) struct ServerLine<'a> {
    pub(super) line: &'a WordLine,
    pub(super) address: String,
    pub(super) port: u16,
    /// Options of the defaults first; of each option the last one counts.
    options: Vec<(&'a str, &'a str)>,
}

impl<'a> ServerLine<'a> {
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The value of an option; empty if it has none.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        let mut last = self.options.iter().rev();
        last.find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }

    /// All options, to report those without a counterpart.
    pub(super) fn options(&self) -> &[(&'a str, &'a str)] {
        &self.options
    }
}

/// The servers of a proxy. `port` is that of the listener: a server without a port has the same.
pub(super) fn all<'a>(
    proxy: &Proxy<'a>,
    port: u16,
    report: &mut ImportReport,
) -> Vec<ServerLine<'a>> {
    let mut defaults: Vec<(&str, &str)> = Vec::new();
    let mut servers = Vec::new();
    for line in &proxy.lines {
        let (text, words) = match line.word(0) {
            "default-server" => {
                defaults.extend(options::read(line.words.get(1..).unwrap_or_default()));
                let sentence = "its options are part of each server below it";
                report.add(&line.place, &line.text, Carried, sentence);
                continue;
            }
            "server" => (line.word(2), line.words.get(3..)),
            "server-template" => {
                let sentence = "one target: wardgate uses all addresses of its name";
                report.add(&line.place, &line.text, Carried, sentence);
                (line.word(3), line.words.get(4..))
            }
            _ => continue,
        };
        let mut options = defaults.clone();
        options.extend(options::read(words.unwrap_or_default()));
        match target(text, port) {
            Ok((address, port)) => servers.push(ServerLine {
                line,
                address,
                port,
                options,
            }),
            Err(why) => report.add(&line.place, &line.text, NotCarried, why),
        }
    }
    servers
}

/// The target and its port. An error is a sentence.
fn target(text: &str, listener: u16) -> Result<(String, u16), &'static str> {
    let text = without_family(text)
        .ok_or("wardgate connects to TCP addresses only; let the application listen on 127.0.0.1 and a port")?;
    let is_bare_v6 = text.parse::<std::net::Ipv6Addr>().is_ok();
    let (host, port) = match host_and_port(text) {
        _ if is_bare_v6 && !text.ends_with(':') && text.matches(':').count() < 8 => {
            // HAProxy takes what follows the last colon for the port.
            host_and_port(text)
        }
        (None, host) => (Some(host), ""),
        split => split,
    };
    let port = match port {
        "" | "0" => listener,
        port => address::port(port).ok_or(
            "the port is not a number from 1 to 65535 (wardgate adds no offset to the listener's port); write the number",
        )?,
    };
    match host {
        None | Some("" | "*") => Err("the server has no host; write its address or name"),
        Some(host) => Ok((joined(host, port), port)),
    }
}

/// An address without the name of its family; `None` if it is not one of TCP.
pub(super) fn without_family(text: &str) -> Option<&str> {
    let text = match text.split_once('@') {
        Some(("ipv4" | "ipv6" | "tcp" | "tcp4" | "tcp6" | "stream+ipv4" | "stream+ipv6", rest)) => {
            rest
        }
        Some(_) => return None,
        None => text,
    };
    (!text.starts_with('/')).then_some(text)
}
