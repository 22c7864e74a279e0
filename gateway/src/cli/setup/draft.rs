//! The answers of `wardgate setup`: which there are, how each is read, and its default.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::super::site_files::site_of_host;
use super::interfaces::Machine;
use crate::config::check_site_name;

/// What is asked. The order is that of the table in which the answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    Route,
    Side,
    Protocol,
    Archive,
    OtherSite,
    OtherName,
    Listen,
    Certificate,
    Key,
    GatewayName,
    SiteName,
}

/// All questions, in the order in which they are asked.
const ALL: [Question; 11] = [
    Question::Route,
    Question::Side,
    Question::Protocol,
    Question::Archive,
    Question::OtherSite,
    Question::OtherName,
    Question::Listen,
    Question::Certificate,
    Question::Key,
    Question::GatewayName,
    Question::SiteName,
];

/// What this site has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SiteSide {
    /// This site has the modalities, or the systems that send HL7: plaintext in, TLS out
    Modalities,
    /// This site has the archive, or the system that receives HL7: TLS in, plaintext out
    Archive,
}

/// What the route carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Carried {
    /// DICOM
    Dicom,
    /// HL7 version 2, in MLLP
    Hl7,
}

/// The port of a DICOM listener in TLS (IANA: dicom-tls).
const PORT_DICOM_TLS: u16 = 2762;
/// The port at which modalities reach this gateway, as archives have it (IANA: dicom).
const PORT_DICOM: u16 = 11112;
/// The port of most archives (IANA: acr-nema).
const PORT_ARCHIVE: u16 = 104;
/// The ports of HL7 in the examples of the guide, and the registered one (IANA: hl7).
const PORT_HL7_ROUTE: u16 = 6660;
const PORT_HL7: u16 = 2575;

/// The answer that lets every address connect.
pub(super) const ANY: &str = "any";

/// The answers so far: as flags or at the terminal.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct SetupAnswers {
    answers: BTreeMap<Question, String>,
}

/// What the defaults depend on.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) machine: &'a Machine,
    /// The answers that the present configuration has.
    pub(super) present: SetupAnswers,
    /// The names of the routes in it.
    pub(super) routes: Vec<String>,
    /// The names of its `[[peer]]` tables.
    pub(super) peers: Vec<String>,
    /// Whether the file of this site's certificate exists.
    pub(super) has_certificate: bool,
}

impl Question {
    /// The option of the command line that answers it.
    pub(super) fn flag(self) -> &'static str {
        match self {
            Self::Route => "--route",
            Self::Side => "--site",
            Self::Protocol => "--protocol",
            Self::Archive => "--archive",
            Self::OtherSite => "--other-site",
            Self::OtherName => "--other-name",
            Self::Listen => "--listen",
            Self::Certificate => "--certificate",
            Self::Key => "--key",
            Self::GatewayName => "--dns",
            Self::SiteName => "--name",
        }
    }

    /// Its row in the table of answers.
    pub(super) fn label(self, draft: &SetupAnswers) -> &'static str {
        let carried = draft.carried();
        match (self, draft.side(), carried) {
            (Self::Route, ..) => "route",
            (Self::Side, ..) => "side",
            (Self::Protocol, ..) => "DICOM or HL7",
            (Self::Archive, _, Some(Carried::Hl7)) => "receiving system",
            (Self::Archive, ..) => "archive",
            (Self::OtherSite, Some(SiteSide::Archive), _) => "other gateway connects from",
            (Self::OtherSite, ..) => "other gateway",
            (Self::OtherName, ..) => "name of other site",
            (Self::Listen, ..) => "this gateway listens",
            (Self::Certificate, ..) => "certificate",
            (Self::Key, ..) => "private key",
            (Self::GatewayName, ..) => "name in certificate",
            (Self::SiteName, ..) => "name of this site's CA",
        }
    }

    /// The text that asks for it.
    pub(super) fn text(self, draft: &SetupAnswers) -> String {
        let port = draft.default_port(self);
        match self {
            Self::Route => "Which route of the configuration? Its name, or a new name to add a route".to_owned(),
            Self::Side => "Which side is this?\n  1  this site has the modalities (or sends HL7)\n  2  this site has the \
                           archive (or receives HL7)\n1 or 2"
                .to_owned(),
            Self::Protocol => "What does the route carry?\n  1  DICOM\n  2  HL7\n1 or 2".to_owned(),
            Self::Archive => format!("Address of the {} (port {port} unless you write another)", self.label(draft)),
            Self::OtherSite if draft.side() == Some(SiteSide::Archive) => {
                "Address from which the other site's gateway connects, as this site sees it, or \"any\"".to_owned()
            }
            Self::OtherSite => format!(
                "Address of the other site's gateway: name or IP address (port {port} unless you write another)"
            ),
            Self::OtherName => "A short name for the other site, such as region".to_owned(),
            Self::Listen => format!(
                "Address of this machine on which the gateway listens for {} (port {port} unless you write another)",
                match (draft.side(), draft.carried()) {
                    (Some(SiteSide::Archive), _) => "the other site",
                    (_, Some(Carried::Hl7)) => "the sending systems",
                    _ => "the modalities",
                }
            ),
            Self::Certificate => "Certificate of this site: make (a CA of this site's own), csr (a request for the CA of \
                                  your organisation), or the path of a PEM file to import"
                .to_owned(),
            Self::Key => "Path of its private key, a PEM file".to_owned(),
            Self::GatewayName => "DNS name of this gateway, which its certificate proves".to_owned(),
            Self::SiteName => "Name of this site, which its CA has, such as Hospital A".to_owned(),
        }
    }
}

impl SetupAnswers {
    /// The answer to a question, as it is shown and written.
    pub(super) fn get(&self, question: Question) -> Option<&str> {
        self.answers.get(&question).map(String::as_str)
    }

    /// An answer that is a list, separated by commas.
    pub(super) fn list(&self, question: Question) -> Vec<String> {
        let text = self.get(question).unwrap_or_default();
        parts(text).map(str::to_owned).collect()
    }

    pub(super) fn side(&self) -> Option<SiteSide> {
        match self.get(Question::Side)? {
            "modalities" => Some(SiteSide::Modalities),
            _ => Some(SiteSide::Archive),
        }
    }

    pub(super) fn carried(&self) -> Option<Carried> {
        match self.get(Question::Protocol)? {
            "dicom" => Some(Carried::Dicom),
            _ => Some(Carried::Hl7),
        }
    }

    /// Whether the certificate is made or requested now, so that its names are asked for.
    pub(super) fn makes_certificate(&self) -> bool {
        matches!(self.get(Question::Certificate), Some("make" | "csr"))
    }

    /// Takes a value that the present configuration has.
    pub(super) fn adopt(&mut self, question: Question, value: String) {
        self.answers.insert(question, value);
    }

    /// Takes an answer as a person writes it.
    ///
    /// # Errors
    /// A sentence: what is wrong with the answer. The draft has not changed.
    pub(super) fn set(&mut self, question: Question, text: &str) -> Result<(), String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("write an answer".to_owned());
        }
        let value = match question {
            Question::Side => match text.to_lowercase().as_str() {
                "1" | "modalities" => "modalities".to_owned(),
                "2" | "archive" => "archive".to_owned(),
                _ => {
                    return Err(format!(
                        "{text:?} is neither 1 (the modalities) nor 2 (the archive)"
                    ));
                }
            },
            Question::Protocol => match text.to_lowercase().as_str() {
                "1" | "dicom" => "dicom".to_owned(),
                "2" | "hl7" | "mllp" => "hl7".to_owned(),
                _ => return Err(format!("{text:?} is neither 1 (DICOM) nor 2 (HL7)")),
            },
            Question::OtherSite if self.side() == Some(SiteSide::Archive) => {
                let words: Vec<_> = parts(text).map(as_network).collect::<Result<_, _>>()?;
                if words.len() > 1 && words.iter().any(|word| word == ANY) {
                    return Err("write addresses or any, not both".to_owned());
                }
                words.join(", ")
            }
            Question::Archive | Question::OtherSite => {
                let port = self.default_port(question);
                let words: Vec<_> = parts(text).map(|word| with_port(word, port)).collect();
                words.join(", ")
            }
            Question::Listen => with_port(text, self.default_port(question)),
            Question::OtherName => {
                let names: Vec<_> = parts(text).collect();
                for name in names.iter().filter(|name| !name.contains(':')) {
                    check_site_name(name).map_err(|why| format!("{name:?} {why}"))?;
                }
                names.join(", ")
            }
            Question::Certificate if matches!(text, "make" | "csr" | "keep") => text.to_owned(),
            Question::Certificate | Question::Key => match Path::new(text).is_file() {
                true => text.to_owned(),
                false => return Err(format!("there is no file {text:?}")),
            },
            Question::GatewayName | Question::SiteName | Question::Route => text.to_owned(),
        };
        self.answers.insert(question, value);
        Ok(())
    }

    /// Drops the answers that mean something else after a change of this one: addresses and ports differ between the sides
    /// and between DICOM and HL7.
    pub(super) fn forget_what_depends_on(&mut self, question: Question) {
        if matches!(question, Question::Side | Question::Protocol) {
            use Question::{Archive, Listen, OtherSite, Route};
            let depends = [Archive, OtherSite, Listen, Route];
            self.answers
                .retain(|question, _| !depends.contains(question));
        }
    }

    /// The questions that matter with these answers, in their order.
    pub(super) fn questions(&self) -> impl Iterator<Item = Question> {
        let is_path = !matches!(
            self.get(Question::Certificate),
            Some("make" | "csr" | "keep") | None
        );
        ALL.into_iter().filter(move |question| match question {
            Question::Archive => self.side() != Some(SiteSide::Modalities),
            Question::Key => is_path,
            Question::GatewayName | Question::SiteName => self.makes_certificate(),
            _ => true,
        })
    }

    /// The questions that have no answer. The name of a route is the last: the other answers give its default.
    pub(super) fn missing(&self) -> Vec<Question> {
        let open = self.questions();
        let mut open: Vec<_> = open.filter(|one| self.get(*one).is_none()).collect();
        if open.len() > 1 {
            open.retain(|one| *one != Question::Route);
        }
        open
    }

    /// Answers every question that has a default now.
    pub(super) fn fill(&mut self, known: &Known<'_>) {
        for question in ALL {
            let matters = self.questions().any(|one| one == question);
            if matters
                && self.get(question).is_none()
                && let Some(value) = self.proposal(question, known)
            {
                self.answers.insert(question, value);
            }
        }
    }

    /// The default of a question; it depends on the answers before it.
    pub(super) fn proposal(&self, question: Question, known: &Known<'_>) -> Option<String> {
        if let Some(present) = known.present.get(question) {
            return Some(present.to_owned());
        }
        let (side, machine) = (self.side(), known.machine);
        match question {
            Question::Side | Question::Protocol | Question::Archive | Question::Key => None,
            Question::OtherSite => (side == Some(SiteSide::Archive)).then(|| ANY.to_owned()),
            Question::OtherName => match known.peers.as_slice() {
                // A further route most often belongs to the partner that is known already.
                [only] => Some(only.clone()),
                _ => Some(self.name_of_other_site()),
            },
            Question::Listen => {
                let other = self.address_of_other_site();
                let address = match side? {
                    SiteSide::Modalities => machine.lan(other),
                    SiteSide::Archive => machine.wan(other),
                };
                let port = self.default_port(question);
                address.map(|address| SocketAddr::new(address, port).to_string())
            }
            Question::Certificate if known.has_certificate => Some("keep".to_owned()),
            Question::Certificate => Some("make".to_owned()),
            Question::GatewayName => Some(machine.dns_name()),
            Question::SiteName => Some(machine.short_name().to_owned()),
            // Which of several is a person's choice.
            Question::Route => match known.routes.as_slice() {
                [] => {
                    let first = self.list(Question::OtherName).into_iter().next();
                    let other = first.filter(|name| check_site_name(name).is_ok());
                    let other = other.unwrap_or_else(|| self.name_of_other_site());
                    match side? {
                        SiteSide::Modalities => Some(format!("to-{other}")),
                        SiteSide::Archive => Some(format!("from-{other}")),
                    }
                }
                [only] => Some(only.clone()),
                _ => None,
            },
        }
    }

    /// The first address of the other site's gateway, if it is not a name.
    fn address_of_other_site(&self) -> Option<IpAddr> {
        let list = self.list(Question::OtherSite);
        let first = list.first()?;
        let first = first.strip_suffix("/32").unwrap_or(first);
        let address = first.parse::<SocketAddr>().map(|address| address.ip());
        address.or_else(|_| first.parse()).ok()
    }

    /// A label of the other gateway's DNS name: `region` of `gw.region.example`.
    fn name_of_other_site(&self) -> String {
        let list = self.list(Question::OtherSite);
        let host = list.first().map_or("", String::as_str);
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        site_of_host(host)
            .filter(|label| *label != ANY)
            .unwrap_or("other-site")
            .to_owned()
    }

    /// The port of an address that is written without one.
    fn default_port(&self, question: Question) -> u16 {
        let is_hl7 = self.carried() == Some(Carried::Hl7);
        match (question, self.side()) {
            (Question::Archive, _) if is_hl7 => PORT_HL7,
            (Question::Archive, _) => PORT_ARCHIVE,
            _ if is_hl7 => PORT_HL7_ROUTE,
            (Question::Listen, Some(SiteSide::Modalities)) => PORT_DICOM,
            _ => PORT_DICOM_TLS,
        }
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// An address, a network or "any", as `from` takes it. A client has no fixed port: that of `198.51.100.7:2762` goes.
fn as_network(text: &str) -> Result<String, String> {
    if text == ANY || text.contains('/') {
        // `from` is checked with the whole text.
        return Ok(text.to_owned());
    }
    let address = text.parse::<SocketAddr>().map(|address| address.ip());
    match address.or_else(|_| text.parse()) {
        Ok(IpAddr::V4(address)) => Ok(format!("{address}/32")),
        Ok(IpAddr::V6(address)) => Ok(format!("{address}/128")),
        Err(_) => Err(format!(
            "{text:?} is neither an IP address nor a network; write for example 198.51.100.7, or any"
        )),
    }
}

/// An address, with this port if it has none.
fn with_port(text: &str, port: u16) -> String {
    if let Ok(address) = text.parse::<IpAddr>() {
        return SocketAddr::new(address, port).to_string();
    }
    match text.rsplit_once(':') {
        Some(_) => text.to_owned(),
        None => format!("{text}:{port}"),
    }
}
