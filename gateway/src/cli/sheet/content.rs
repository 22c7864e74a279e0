//! What is on the sheet.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::config::{Config, Host, Mode, Protocol, RouteConfig, Target};

/// The whole sheet.
#[derive(Debug)]
pub(super) struct Sheet {
    /// The name of this gateway, or of its configuration file.
    pub(super) title: String,
    /// What holds for all routes.
    pub(super) facts: Vec<Fact>,
    pub(super) routes: Vec<RouteSheet>,
}

/// One route with what each team needs.
#[derive(Debug)]
pub(super) struct RouteSheet {
    pub(super) name: String,
    /// What it carries and where to, in a sentence.
    pub(super) summary: String,
    pub(super) connections: Vec<Connection>,
    pub(super) sections: Vec<SheetSection>,
    pub(super) tests: Vec<Step>,
}

/// A TCP connection that the firewall of a site must allow.
#[derive(Debug)]
pub(super) struct Connection {
    /// `this site` or `region`.
    pub(super) site: String,
    pub(super) from: Party,
    pub(super) to: Party,
    /// The port that it goes to.
    pub(super) port: SheetValue,
    pub(super) carries: &'static str,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Party {
    pub(super) what: String,
    pub(super) address: SheetValue,
}

/// What a team enters on a machine.
#[derive(Debug)]
pub(super) struct SheetSection {
    pub(super) title: String,
    pub(super) facts: Vec<Fact>,
}

#[derive(Debug)]
pub(super) struct Fact {
    pub(super) label: String,
    pub(super) value: SheetValue,
}

/// A test: what to do, and the command for it.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) text: String,
    pub(super) command: Option<String>,
}

/// A value, or a blank for a person to fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SheetValue {
    Known(String),
    Blank,
}

impl SheetValue {
    fn known(text: impl Into<String>) -> Self {
        Self::Known(text.into())
    }

    /// The elements of a list; a blank if it is empty.
    fn list(elements: impl IntoIterator<Item = String>) -> Self {
        let all: Vec<_> = elements.into_iter().collect();
        match all.is_empty() {
            true => Self::Blank,
            false => Self::Known(all.join(", ")),
        }
    }
}

/// The words for what sends and what receives.
struct Words {
    protocol: &'static str,
    senders: &'static str,
    receiver: &'static str,
    plain: &'static str,
}

fn words(protocol: Protocol) -> Words {
    match protocol {
        Protocol::Dicom => Words {
            protocol: "DICOM",
            senders: "modalities",
            receiver: "archive (PACS)",
            plain: "DICOM, plaintext",
        },
        Protocol::Mllp => Words {
            protocol: "HL7 (MLLP)",
            senders: "sending systems",
            receiver: "receiving system",
            plain: "HL7 in MLLP, plaintext",
        },
        Protocol::Tcp => Words {
            protocol: "TCP",
            senders: "clients",
            receiver: "server",
            plain: "TCP",
        },
    }
}

impl Sheet {
    /// The sheet of a configuration: `names` are those of this site's certificates, `unpaired` the peers without a table.
    pub(super) fn of(config: &Config, names: &[String], unpaired: &BTreeSet<String>) -> Self {
        let first = names.iter().find_map(|name| name.strip_prefix("dns:"));
        let mut facts = vec![fact(
            "This gateway proves",
            SheetValue::list(names.iter().cloned()),
        )];
        for peer in &config.peers {
            let Some(name) = &peer.name else { continue };
            let value = match unpaired.contains(name) {
                true => SheetValue::known("not paired yet"),
                false => SheetValue::list(peer.identities.iter().map(ToString::to_string)),
            };
            facts.push(fact(format!("{name} proves"), value));
        }
        if let Some(metrics) = config.gateway.metrics {
            let value = match metrics.ip().is_loopback() {
                true => format!("{metrics}, on the gateway itself only"),
                false => format!("{metrics}, from the monitoring server"),
            };
            facts.push(fact("Metrics and health (HTTP)", SheetValue::known(value)));
        }
        Self {
            title: first.map_or_else(|| config.file.display().to_string(), str::to_owned),
            facts,
            routes: config
                .routes
                .iter()
                .map(|route| RouteSheet::of(route))
                .collect(),
        }
    }
}

impl RouteSheet {
    fn of(route: &RouteConfig) -> Self {
        let words = words(route.protocol);
        let other = other_site(route);
        let ends = RouteParties {
            words: &words,
            other: &other,
        };
        let (summary, connections, sections) = match route.mode {
            Mode::Originate => (
                format!(
                    "{} from this site to {other}: plaintext in, mutual TLS out.",
                    words.protocol
                ),
                ends.connections_of_originate(route),
                ends.sections_of_originate(route),
            ),
            Mode::Terminate => (
                format!(
                    "{} from {other} to this site: mutual TLS in, plaintext out.",
                    words.protocol
                ),
                ends.connections_of_terminate(route),
                ends.sections_of_terminate(route),
            ),
            Mode::Passthrough => (
                format!("{}, passed on as it is.", words.protocol),
                ends.connections_of_passthrough(route),
                Vec::new(),
            ),
        };
        Self {
            name: route.name.clone(),
            summary,
            connections,
            sections,
            tests: ends.tests(route),
        }
    }
}

/// The parties of a route.
struct RouteParties<'a> {
    words: &'a Words,
    other: &'a str,
}

const THIS_SITE: &str = "this site";
const TLS: &str = "mutual TLS";

impl RouteParties<'_> {
    fn connections_of_originate(&self, route: &RouteConfig) -> Vec<Connection> {
        let Words {
            senders,
            receiver,
            plain,
            ..
        } = *self.words;
        let mut all = vec![Connection {
            site: THIS_SITE.to_owned(),
            from: party(senders, allowed_from(route)),
            to: party("this gateway", SheetValue::known(listener(route.listen))),
            port: port(route.listen.port()),
            carries: plain,
        }];
        for target in targets(route) {
            all.push(Connection {
                site: THIS_SITE.to_owned(),
                from: party("this gateway", SheetValue::Blank),
                to: party(
                    format!("gateway of {}", self.other),
                    SheetValue::known(host(target)),
                ),
                port: port(target.port),
                carries: TLS,
            });
            all.push(Connection {
                site: self.other.to_owned(),
                from: party("this gateway, as seen there", SheetValue::Blank),
                to: party(
                    format!("gateway of {}", self.other),
                    SheetValue::known(host(target)),
                ),
                port: port(target.port),
                carries: TLS,
            });
        }
        all.push(Connection {
            site: self.other.to_owned(),
            from: party(format!("gateway of {}", self.other), SheetValue::Blank),
            to: party(receiver, SheetValue::Blank),
            port: SheetValue::Blank,
            carries: plain,
        });
        all
    }

    fn connections_of_terminate(&self, route: &RouteConfig) -> Vec<Connection> {
        let Words {
            senders,
            receiver,
            plain,
            ..
        } = *self.words;
        let mut all = vec![
            Connection {
                site: self.other.to_owned(),
                from: party(senders, SheetValue::Blank),
                to: party(format!("gateway of {}", self.other), SheetValue::Blank),
                port: SheetValue::Blank,
                carries: plain,
            },
            Connection {
                site: self.other.to_owned(),
                from: party(format!("gateway of {}", self.other), SheetValue::Blank),
                to: party("this gateway, as seen there", SheetValue::Blank),
                port: port(route.listen.port()),
                carries: TLS,
            },
            Connection {
                site: THIS_SITE.to_owned(),
                from: party(format!("gateway of {}", self.other), allowed_from(route)),
                to: party("this gateway", SheetValue::known(listener(route.listen))),
                port: port(route.listen.port()),
                carries: TLS,
            },
        ];
        all.extend(targets(route).into_iter().map(|target| Connection {
            site: THIS_SITE.to_owned(),
            from: party("this gateway", SheetValue::Blank),
            to: party(receiver, SheetValue::known(host(target))),
            port: port(target.port),
            carries: plain,
        }));
        all
    }

    fn connections_of_passthrough(&self, route: &RouteConfig) -> Vec<Connection> {
        let mut all = vec![Connection {
            site: THIS_SITE.to_owned(),
            from: party("clients", allowed_from(route)),
            to: party("this gateway", SheetValue::known(listener(route.listen))),
            port: port(route.listen.port()),
            carries: "as the client sends it",
        }];
        all.extend(targets(route).into_iter().map(|target| Connection {
            site: THIS_SITE.to_owned(),
            from: party("this gateway", SheetValue::Blank),
            to: party("target", SheetValue::known(host(target))),
            port: port(target.port),
            carries: "as the client sends it",
        }));
        all
    }

    fn sections_of_originate(&self, route: &RouteConfig) -> Vec<SheetSection> {
        let titles = SheetTitles::of(route);
        let sender = match route.protocol {
            Protocol::Dicom => SheetSection {
                title: "Enter on the modality, as its archive".to_owned(),
                facts: vec![
                    fact("IP address", SheetValue::known(listener(route.listen))),
                    fact("Port", port(route.listen.port())),
                    fact("Called AE title", titles.called.clone()),
                    fact("Calling AE title", titles.calling_or("the modality's own")),
                    fact(
                        "TLS, encryption",
                        SheetValue::known("off: the gateway encrypts"),
                    ),
                ],
            },
            _ => SheetSection {
                title: format!("Enter on the {}", self.words.senders),
                facts: vec![
                    fact("IP address", SheetValue::known(listener(route.listen))),
                    fact("Port", port(route.listen.port())),
                    fact(
                        "TLS, encryption",
                        SheetValue::known("off: the gateway encrypts"),
                    ),
                ],
            },
        };
        let receiver = self.receiver_section(&titles, route, self.other, SheetValue::Blank);
        vec![sender, receiver]
    }

    fn sections_of_terminate(&self, route: &RouteConfig) -> Vec<SheetSection> {
        let titles = SheetTitles::of(route);
        let there = SheetSection {
            title: format!("Enter on the {} at {}", self.words.senders, self.other),
            facts: vec![
                fact("IP address", SheetValue::known("that of the gateway there")),
                fact("Port", SheetValue::Blank),
                fact("Called AE title", titles.called.clone()),
                fact(
                    "TLS, encryption",
                    SheetValue::known("off: the gateway encrypts"),
                ),
            ],
        };
        let there = SheetSection {
            facts: there
                .facts
                .into_iter()
                .filter(|fact| {
                    route.protocol == Protocol::Dicom || !fact.label.contains("AE title")
                })
                .collect(),
            ..there
        };
        vec![
            self.receiver_section(&titles, route, THIS_SITE, SheetValue::Blank),
            there,
        ]
    }

    /// What the team of the archive enters: the connections come from a gateway.
    fn receiver_section(
        &self,
        titles: &SheetTitles,
        route: &RouteConfig,
        site: &str,
        gateway: SheetValue,
    ) -> SheetSection {
        let mut facts = vec![fact(
            match site == THIS_SITE {
                true => "Connections come from this gateway",
                false => "Connections come from the gateway there",
            },
            gateway,
        )];
        if route.protocol == Protocol::Dicom {
            facts.push(fact(
                "Calling AE titles",
                titles.calling_or("those of the modalities, unchanged"),
            ));
            facts.push(fact("Called AE title", titles.called.clone()));
            if let Some(most) = route
                .dicom
                .as_ref()
                .and_then(|dicom| dicom.associations_max)
            {
                facts.push(fact(
                    "Associations at a time, at most",
                    SheetValue::known(most.to_string()),
                ));
            }
        }
        facts.push(fact(
            "TLS, encryption",
            SheetValue::known("off: the gateway decrypts"),
        ));
        SheetSection {
            title: format!("Enter on the {} at {site}", self.words.receiver),
            facts,
        }
    }

    fn tests(&self, route: &RouteConfig) -> Vec<Step> {
        let mut steps = vec![step(
            "On this gateway: every step of the path, with the side at fault",
            Some(format!("wardgate doctor {}", route.name)),
        )];
        let names = targets(route)
            .into_iter()
            .filter_map(|target| match &target.host {
                Host::Name(name) if route.mode == Mode::Originate => Some(name.clone()),
                _ => None,
            });
        for name in names {
            steps.push(step(
                "On this gateway: the name of the other gateway has an address",
                Some(format!("getent hosts {name}")),
            ));
        }
        if route.protocol == Protocol::Dicom && route.mode == Mode::Originate {
            let titles = SheetTitles::of(route);
            let first = |cell: &SheetValue, unknown: &str| match cell {
                SheetValue::Known(text) => text.split(", ").next().unwrap_or_default().to_owned(),
                SheetValue::Blank => unknown.to_owned(),
            };
            steps.push(step(
                "From a machine of the LAN: a C-ECHO through both gateways to the archive",
                Some(format!(
                    "echoscu -v -aet {} -aec {} {} {}",
                    first(&titles.calling, "CALLING"),
                    first(&titles.called, "CALLED"),
                    listener(route.listen),
                    route.listen.port()
                )),
            ));
            steps.push(step(
                "On each modality: its own C-ECHO (\"DICOM ping\"), then one test image",
                None,
            ));
        } else if route.protocol == Protocol::Mllp && route.mode == Mode::Originate {
            steps.push(step(
                "On the sending system: one test message; the receiving system must acknowledge it",
                None,
            ));
        } else if route.mode == Mode::Terminate {
            steps.push(step(
                format!(
                    "At {}: a test through both gateways, as its own sheet describes",
                    self.other
                ),
                None,
            ));
        }
        steps.push(step(
            "On this gateway: the connections that have passed",
            Some("wardgate status".to_owned()),
        ));
        steps
    }
}

/// The AE titles of a route.
struct SheetTitles {
    called: SheetValue,
    calling: SheetValue,
}

impl SheetTitles {
    fn of(route: &RouteConfig) -> Self {
        let dicom = route.dicom.as_ref();
        let list = |titles: Option<&Vec<_>>| {
            let titles = titles.into_iter().flatten();
            SheetValue::list(titles.map(|title: &crate::dicom::AeTitle| title.to_string()))
        };
        Self {
            called: list(dicom.and_then(|dicom| dicom.called.as_ref())),
            calling: list(dicom.and_then(|dicom| dicom.calling.as_ref())),
        }
    }

    /// The calling titles that are allowed, or what holds without a rule.
    fn calling_or(&self, otherwise: &str) -> SheetValue {
        match &self.calling {
            SheetValue::Known(_) => self.calling.clone(),
            SheetValue::Blank => SheetValue::known(otherwise),
        }
    }
}

/// The names of the peers of a route.
fn other_site(route: &RouteConfig) -> String {
    let peers = route.tls.iter().flat_map(|tls| &tls.peers);
    let names: Vec<_> = peers.filter_map(|peer| peer.name.clone()).collect();
    match names.is_empty() {
        true => "the other site".to_owned(),
        false => names.join(", "),
    }
}

/// The targets of a route, those of single titles included.
fn targets(route: &RouteConfig) -> Vec<&Target> {
    let by_title = route.dicom.iter().flat_map(|dicom| &dicom.by_title);
    let by_title = by_title.flat_map(|by_title| &by_title.targets);
    let mut all: Vec<&Target> = Vec::new();
    for target in route.targets.iter().chain(by_title) {
        if !all.iter().any(|known| known.has_address_of(target)) {
            all.push(target);
        }
    }
    all
}

fn allowed_from(route: &RouteConfig) -> SheetValue {
    let networks = route.from.iter().flatten().map(ToString::to_string);
    SheetValue::list(networks.map(|network| match network.strip_suffix("/32") {
        Some(address) => address.to_owned(),
        None => network,
    }))
}

fn host(target: &Target) -> String {
    match &target.host {
        Host::Ip(address) => address.to_string(),
        Host::Name(name) => name.clone(),
    }
}

fn listener(address: SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => "each address of this gateway".to_owned(),
        false => address.ip().to_string(),
    }
}

fn port(number: u16) -> SheetValue {
    SheetValue::known(number.to_string())
}

fn party(what: impl Into<String>, address: SheetValue) -> Party {
    let what = what.into();
    Party { what, address }
}

fn fact(label: impl Into<String>, value: SheetValue) -> Fact {
    let label = label.into();
    Fact { label, value }
}

fn step(text: impl Into<String>, command: Option<String>) -> Step {
    let text = text.into();
    Step { text, command }
}
