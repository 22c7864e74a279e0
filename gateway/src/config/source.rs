//! How a route learns the address of its clients, and what it shows to its targets: `accept_proxy`,
//! `carry_source`, `carried_from`, `send_proxy` and `source`.

use super::file;
use super::list::{List, values};
use super::network::{self, IpNetwork};
use super::problem::Problems;
use super::value;
use super::written::Written;
use super::{Located, Mode};
use crate::config::limits::NETWORKS_MAX;

/// Where the address of a client comes from, and where it goes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SourceAddress {
    /// The networks of the proxies that connect to the route. Each connection must come from them and begin
    /// with a PROXY header. `None`: the route reads no header. Never empty, at most `limits::NETWORKS_MAX`.
    pub accept_proxy: Option<Vec<IpNetwork>>,
    /// The networks of the addresses that a peer may carry; `None` allows all. Only with
    /// `RouteTls::carries_source` and mode `Terminate`.
    pub carried_from: Option<Vec<IpNetwork>>,
    /// Whether connections to the targets begin with a PROXY header of version 2; not in mode `Originate`.
    pub sends_proxy: bool,
    /// Whether connections to the targets come from the address of the client; only in mode `Terminate`.
    pub is_transparent: bool,
}

/// The keywords of `send_proxy`.
const SEND_PROXY: [(&str, bool); 2] = [("off", false), ("v2", true)];

/// The keywords of `source`.
const SOURCE: [(&str, bool); 2] = [("gateway", false), ("transparent", true)];

/// Resolves the keys of a route other than `carry_source`.
pub(super) fn resolve(
    route: &file::Route,
    mode: Option<Mode>,
    problems: &mut Problems,
) -> SourceAddress {
    let accept_proxy = networks(route, "accept_proxy", &route.accept_proxy, problems);
    let carried_from = networks(route, "carried_from", &route.carried_from, problems);
    let mut keyword = |key, text: &file::Text, words: &[(&'static str, bool)]| {
        let text = text.value()?;
        problems.accept(&route.scope, key, text, value::word(&text.value, words))
    };
    let sends_proxy = keyword("send_proxy", &route.send_proxy, &SEND_PROXY);
    let is_transparent = keyword("source", &route.source, &SOURCE);
    let mut refuse = |line: Option<usize>, reason: &str| {
        if let Some(line) = line {
            problems.wrong(line, format!("{}{reason}", route.scope));
        }
    };
    if (mode, sends_proxy) == (Some(Mode::Originate), Some(true)) {
        refuse(
            line_of(&route.send_proxy),
            "send_proxy is not available in mode \"originate\": the header would cross the network unencrypted, \
             before TLS; write carry_source = true at both ends if the other end is wardgate, or remove it",
        );
    }
    if let (Some(Mode::Originate | Mode::Passthrough), Some(true)) = (mode, is_transparent) {
        refuse(
            line_of(&route.source),
            "source \"transparent\" applies only to mode \"terminate\", whose targets are on a network that this \
             machine routes for; remove it",
        );
    }
    let carries = route.carry_source.value().is_some_and(|flag| flag.value);
    if carries && mode == Some(Mode::Passthrough) {
        refuse(
            line_of(&route.carry_source),
            "carry_source is not available in mode \"passthrough\", because the programs at both ends make the TLS \
             connection; remove it, or choose mode \"originate\" or \"terminate\"",
        );
    }
    if mode.is_some() && !(carries && mode == Some(Mode::Terminate)) {
        refuse(
            line_of(&route.carried_from),
            "carried_from applies only to mode \"terminate\" with carry_source = true, where a peer carries \
             addresses to this route; remove it",
        );
    }
    let everyone = accept_proxy
        .iter()
        .flatten()
        .find(|network| network.is_everyone());
    if let (Some(network), Some(line)) = (everyone, line_of(&route.accept_proxy)) {
        let text = format!(
            "{}accept_proxy \"{network}\" would believe every client whatever address it names; list the \
             addresses of the proxies, such as \"10.20.0.5/32\"",
            route.scope
        );
        problems.wrong(line, text);
    }
    SourceAddress {
        accept_proxy,
        carried_from,
        sends_proxy: sends_proxy.unwrap_or_default(),
        is_transparent: is_transparent.unwrap_or_default(),
    }
}

fn networks(
    route: &file::Route,
    key: &str,
    written: &file::Texts,
    problems: &mut Problems,
) -> Option<Vec<IpNetwork>> {
    // LIMIT: `NETWORKS_MAX`.
    let list = List {
        scope: &route.scope,
        key,
        noun: key,
        max: NETWORKS_MAX,
        empty: "is empty, so nothing would be accepted; list the networks, or remove it",
        long: "write larger networks",
    };
    let written = written.value()?;
    Some(values(list.read(written, network::network, problems)))
}

fn line_of<T>(written: &Written<T>) -> Option<usize> {
    written.value().map(|Located { line, .. }| *line)
}
