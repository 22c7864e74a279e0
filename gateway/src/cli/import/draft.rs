//! The new configuration on its way to the file: routes, their peers and identities, and the TOML of all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use super::address::{ProtocolGuess, joined};
use crate::config::limits::ROUTE_NAME_BYTES_MAX;
use crate::config::{FILL_IN, is_peer_name};

/// The certificate and the key of a new site, where `wardgate pki issue` writes them in the guide.
pub(super) const SITE_CERTIFICATE: &str = "/etc/wardgate/pki/site.pem";
/// The key of this certificate.
pub(super) const SITE_KEY: &str = "/etc/wardgate/pki/site.key";

/// The direction of TLS on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModeDraft {
    Originate,
    Terminate,
    Passthrough,
}

impl ModeDraft {
    /// The value of the key `mode`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Originate => "originate",
            Self::Terminate => "terminate",
            Self::Passthrough => "passthrough",
        }
    }
}

/// The files of the site's own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdentityDraft {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// The CA that issues to the peers of a route, and its revocation lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TrustDraft {
    pub(super) trust: String,
    pub(super) crl: Vec<String>,
}

/// A target of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetDraft {
    pub(super) address: String,
    /// The identities that must answer there, if they are not those of the route.
    pub(super) identities: Option<BTreeSet<String>>,
    pub(super) connections: Option<u64>,
}

/// A route of the new configuration. Values of keys are TOML.
#[derive(Debug, Clone)]
pub(super) struct NewRoute {
    pub(super) name: String,
    /// Which part of the other configuration it comes from.
    pub(super) origin: String,
    pub(super) mode: ModeDraft,
    pub(super) protocol: ProtocolGuess,
    pub(super) listen: String,
    pub(super) targets: Vec<TargetDraft>,
    /// Further keys of the route.
    pub(super) keys: BTreeMap<&'static str, String>,
    pub(super) timeouts: BTreeMap<&'static str, String>,
    pub(super) keepalive: BTreeMap<&'static str, String>,
    pub(super) health: BTreeMap<&'static str, String>,
    /// `None`: that of the site.
    pub(super) identity: Option<IdentityDraft>,
    pub(super) identities: BTreeSet<String>,
    pub(super) trust: TrustDraft,
}

/// The new configuration.
#[derive(Debug, Default)]
pub(super) struct NewConfig {
    /// Keys of `[gateway]`.
    pub(super) gateway: BTreeMap<&'static str, String>,
    pub(super) routes: Vec<NewRoute>,
}

/// A value that the operator must replace; `wardgate check` refuses it with this advice.
pub(super) fn fill_in(advice: &str) -> String {
    format!("{FILL_IN} {advice}")
}

/// Whether a value must be replaced.
pub(super) fn is_placeholder(value: &str) -> bool {
    value.starts_with(FILL_IN)
}

/// `text` as a string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // The form has four digits, and control characters are below U+00A0.
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The strings as a list of TOML.
pub(super) fn list<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    let texts: Vec<_> = texts.into_iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// A listener on `host`, or on every address if there is none. `lan` is used for plaintext on every address.
pub(super) fn listener(
    mode: ModeDraft,
    host: Option<&str>,
    port: u16,
    lan: Option<IpAddr>,
) -> String {
    let host = match host {
        None | Some("" | "*") => "0.0.0.0",
        Some("localhost") => "127.0.0.1",
        Some(host) => host,
    };
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() && mode == ModeDraft::Originate => match lan {
            Some(lan) => joined(&lan.to_string(), port),
            None => fill_in(&format!(
                "write the address of this machine on the LAN and port {port}, such as \"10.20.0.5:{port}\""
            )),
        },
        Ok(_) => joined(host, port),
        Err(_) => fill_in(&format!(
            "write the IP address of \"{}\" on this machine and port {port}, such as \"10.20.0.5:{port}\"",
            host.replace('"', "")
        )),
    }
}

impl NewConfig {
    /// A name for a route: legal, and different from those before.
    pub(super) fn unused_name(&self, wanted: &str) -> String {
        let is_legal = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let legal = wanted.chars().map(|c| if is_legal(&c) { c } else { '-' });
        // Room for a number.
        let legal: String = legal.take(ROUTE_NAME_BYTES_MAX.saturating_sub(6)).collect();
        let trimmed = legal.trim_matches('-');
        let base = if trimmed.is_empty() { "route" } else { trimmed };
        let is_used = |name: &str| self.routes.iter().any(|route| route.name == name);
        let names = (2_u32..).map(|number| format!("{base}-{number}"));
        let mut names = std::iter::once(base.to_owned()).chain(names);
        names.find(|name| !is_used(name)).unwrap_or_default()
    }

    /// The file. `head` is its first comment.
    pub(super) fn toml(&self, head: &[String]) -> String {
        let mut text = String::new();
        for line in head {
            let _ = writeln!(text, "# {line}");
        }
        if !self.gateway.is_empty() {
            text.push_str("\n[gateway]\n");
            keys(&mut text, &self.gateway);
        }
        let site = self.site_identity();
        let plan = self.peer_plan();
        let uses_tls = |route: &&NewRoute| route.mode != ModeDraft::Passthrough;
        if self.routes.iter().any(|route| uses_tls(&route)) {
            let _ = writeln!(
                text,
                "\n[identity]\ncertificate = {}\nkey = {}",
                quoted(&site.certificate),
                quoted(&site.key)
            );
        }
        for (name, (identities, trust)) in &plan.tables {
            let _ = write!(text, "\n[[peer]]\nname = {}\n", quoted(name));
            let identity = match identities.first() {
                Some(one) if identities.len() == 1 => quoted(one),
                _ => list(identities),
            };
            let _ = writeln!(text, "identity = {identity}");
            trust_keys(&mut text, trust);
        }
        for (index, route) in self.routes.iter().enumerate() {
            let table = plan.table_of_route.get(index).and_then(Option::as_deref);
            route.write(&mut text, &site, table);
        }
        text
    }

    /// The identity of most routes.
    fn site_identity(&self) -> IdentityDraft {
        let mut all: Vec<(&IdentityDraft, usize)> = Vec::new();
        for identity in self
            .routes
            .iter()
            .filter_map(|route| route.identity.as_ref())
        {
            match all.iter_mut().find(|(known, _)| *known == identity) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => all.push((identity, 1)),
            }
        }
        // The first of those with the most routes.
        let most = all.iter().rev().max_by_key(|(_, count)| *count);
        most.map_or_else(
            || IdentityDraft {
                certificate: SITE_CERTIFICATE.to_owned(),
                key: SITE_KEY.to_owned(),
            },
            |(identity, _)| (*identity).clone(),
        )
    }

    /// Which routes share a `[[peer]]` table. A CA may issue for one table only, and an identity may be in one
    /// table only: other routes list their identities themselves.
    fn peer_plan(&self) -> PeerPlan {
        let mut plan = PeerPlan::default();
        let with_tls = |route: &&NewRoute| route.mode != ModeDraft::Passthrough;
        for route in &self.routes {
            if !with_tls(&route) {
                plan.table_of_route.push(None);
                continue;
            }
            let same_ca = self.routes.iter().filter(with_tls);
            let mut same_ca = same_ca.filter(|other| other.trust.trust == route.trust.trust);
            let is_one_peer = same_ca
                .all(|other| other.identities == route.identities && other.trust == route.trust);
            let known = plan.tables.iter().find(|(_, (identities, trust))| {
                *identities == route.identities && *trust == route.trust
            });
            let is_taken = |identity: &String| {
                !is_placeholder(identity)
                    && plan
                        .tables
                        .iter()
                        .any(|(_, (identities, _))| identities.contains(identity))
            };
            let table = match known {
                _ if !is_one_peer => None,
                Some((name, _)) => Some(name.clone()),
                None if route.identities.iter().any(is_taken) => None,
                None => {
                    let name = plan.unused(&route.name);
                    let peer = (route.identities.clone(), route.trust.clone());
                    plan.tables.push((name.clone(), peer));
                    Some(name)
                }
            };
            plan.table_of_route.push(table);
        }
        plan
    }
}

/// The `[[peer]]` tables, and the table of each route.
#[derive(Default)]
struct PeerPlan {
    tables: Vec<(String, (BTreeSet<String>, TrustDraft))>,
    table_of_route: Vec<Option<String>>,
}

impl PeerPlan {
    fn unused(&self, route: &str) -> String {
        // The table is named like its first route, and route names are unique.
        let base: String = route
            .chars()
            .take(ROUTE_NAME_BYTES_MAX.saturating_sub(8))
            .collect();
        let is_used = |name: &str| self.tables.iter().any(|(known, _)| known == name);
        let names = (2_u32..).map(|number| format!("{base}-p{number}"));
        let mut names = std::iter::once(format!("{base}-peer")).chain(names);
        names.find(|name| !is_used(name)).unwrap_or_default()
    }
}

impl NewRoute {
    /// Writes the route, with the identity of its own that it needs. `table` is the name of its `[[peer]]` table.
    fn write(&self, text: &mut String, site: &IdentityDraft, table: Option<&str>) {
        let with_tls = self.mode != ModeDraft::Passthrough;
        let _ = writeln!(text, "\n# {}", one_line(&self.origin));
        let _ = writeln!(text, "[[route]]\nname = {}", quoted(&self.name));
        let _ = writeln!(text, "mode = {}", quoted(self.mode.word()));
        let _ = writeln!(text, "protocol = {}", quoted(self.protocol.word()));
        let _ = writeln!(text, "listen = {}", quoted(&self.listen));
        let is_inline = with_tls && table.is_none();
        let targets = self.targets.iter().map(|target| {
            let route_lists_several = self.identities.len() > 1 && is_inline;
            let needs_peer = self.mode == ModeDraft::Originate && route_lists_several;
            let identities = match &target.identities {
                Some(own) => Some(own),
                None => needs_peer.then_some(&self.identities),
            };
            target.toml(identities)
        });
        let targets: Vec<_> = targets.collect();
        let _ = writeln!(text, "targets = [{}]", targets.join(", "));
        if let Some(table) = table {
            let _ = writeln!(text, "peers = [{}]", quoted(table));
        } else if with_tls {
            let _ = writeln!(text, "peers = {}", list(&self.identities));
        }
        keys(text, &self.keys);
        if !self.health.is_empty() {
            text.push_str("\n[route.health]\n");
            keys(text, &self.health);
        }
        let own = self.identity.as_ref().filter(|own| *own != site);
        if with_tls && (own.is_some() || is_inline) {
            let own = own.unwrap_or(site);
            let _ = writeln!(
                text,
                "\n[route.identity]\ncertificate = {}\nkey = {}",
                quoted(&own.certificate),
                quoted(&own.key)
            );
            if is_inline {
                trust_keys(text, &self.trust);
            }
        }
        if !self.timeouts.is_empty() || !self.keepalive.is_empty() {
            text.push_str("\n[route.timeouts]\n");
            keys(text, &self.timeouts);
            if !self.keepalive.is_empty() {
                let parts = self.keepalive.iter();
                let parts: Vec<_> = parts
                    .map(|(key, value)| format!("{key} = {value}"))
                    .collect();
                let _ = writeln!(text, "keepalive = {{ {} }}", parts.join(", "));
            }
        }
    }
}

impl TargetDraft {
    fn toml(&self, identities: Option<&BTreeSet<String>>) -> String {
        if identities.is_none() && self.connections.is_none() {
            return quoted(&self.address);
        }
        let mut toml = format!("{{ address = {}", quoted(&self.address));
        if let Some(identities) = identities {
            let _ = write!(toml, ", peer = {}", list(identities));
        }
        if let Some(connections) = self.connections {
            let _ = write!(toml, ", connections = {connections}");
        }
        toml.push_str(" }");
        toml
    }
}

fn keys(text: &mut String, keys: &BTreeMap<&'static str, String>) {
    for (key, value) in keys {
        let _ = writeln!(text, "{key} = {value}");
    }
}

fn trust_keys(text: &mut String, trust: &TrustDraft) {
    let _ = writeln!(text, "trust = {}", quoted(&trust.trust));
    if !trust.crl.is_empty() {
        let _ = writeln!(text, "crl = {}", list(&trust.crl));
    }
}

/// A comment must not end before its text does.
fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// The identity of a host name, if it can be one.
pub(super) fn dns_identity(name: &str) -> Option<String> {
    let identity = format!("dns:{}", name.to_ascii_lowercase());
    is_peer_name(&identity).then_some(identity)
}
