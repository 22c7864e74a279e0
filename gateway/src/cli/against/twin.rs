//! `wardgate check --against OTHER --twin`: compares the two machines of one site that take over from each other.
//!
//! Their routes, peers, deadlines and rules must be written alike, and their certificates must have the same names, so that
//! no other site notices which machine serves it. Addresses, interfaces and the keys of `[gateway]` belong to a machine.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use toml::{Table, Value};

use super::end::{ComparedSite, CopiedFiles, FileLack};
use crate::cli::DAYS_WARNED;
use crate::config::{self, RouteConfig};
use crate::pki::facts::Facts;
use crate::pki::{Trust, expiry};

/// Keys of `[gateway]` that must be the same on both machines. The others describe a machine.
const GATEWAY_SHARED: [&str; 2] = ["connections", "handshakes_per_second"];
/// Keys of a route that belong to a machine, or are compared by other means.
const ROUTE_OWN: [&str; 4] = ["name", "listen", "interface", "identity"];
/// Keys of a peer whose files are compared by content.
const PEER_FILES: [&str; 3] = ["name", "trust", "crl"];

/// Compares, and returns the remarks and the mistakes, each as a line. `Err` has the problems of the files themselves.
pub(super) fn compare(
    file: &Path,
    other: &Path,
) -> Result<(Vec<String>, Vec<String>), Vec<String>> {
    let own = ComparedSite::new("this machine", file, config::load(file));
    let theirs = ComparedSite::new("the other machine", other, config::load_elsewhere(other));
    let (own, mut theirs) = match (own, theirs) {
        (Ok(own), Ok(theirs)) => (own, theirs),
        (own, theirs) => {
            let problems = [own.err(), theirs.err()].into_iter().flatten().flatten();
            return Err(problems.collect());
        }
    };
    theirs.copies = Some(CopiedFiles::beside(other, &own.config));
    let mut twins = Twins {
        own,
        theirs,
        now: SystemTime::now(),
        remarks: Vec::new(),
        mistakes: Vec::new(),
    };
    let (here, there) = (table(file)?, table(other)?);
    twins.settings(&here, &there);
    twins.routes_of_both();
    Ok((twins.remarks, twins.mistakes))
}

/// The file as written. It was read before, so it is a table.
fn table(file: &Path) -> Result<Table, Vec<String>> {
    let problem = |why: String| vec![format!("{}: {why}", file.display())];
    let text = fs::read_to_string(file).map_err(|error| problem(error.to_string()))?;
    text.parse()
        .map_err(|error: toml::de::Error| problem(error.message().to_owned()))
}

struct Twins {
    own: ComparedSite,
    theirs: ComparedSite,
    now: SystemTime,
    remarks: Vec<String>,
    mistakes: Vec<String>,
}

impl Twins {
    /// Everything that is written in the files.
    fn settings(&mut self, here: &Table, there: &Table) {
        let empty = Table::new();
        let inner = |all: &'_ Table, key: &str| -> Table {
            all.get(key)
                .and_then(Value::as_table)
                .unwrap_or(&empty)
                .clone()
        };
        let (own, other) = (inner(here, "gateway"), inner(there, "gateway"));
        for key in GATEWAY_SHARED {
            self.same("[gateway]", key, own.get(key), other.get(key));
        }
        let (own, other) = (inner(here, "timeouts"), inner(there, "timeouts"));
        self.all_same("[timeouts]", &own, &other, &[]);
        for (kind, except) in [("peer", &PEER_FILES[..]), ("route", &ROUTE_OWN[..])] {
            let (own, other) = (named(here, kind), named(there, kind));
            for (name, one) in &own {
                let label = format!("{kind} \"{name}\"");
                match other.iter().find(|(there, _)| there == name) {
                    Some((_, other)) => self.all_same(&label, one, other, except),
                    None => self.mistake(&label, "is not in the other file"),
                }
            }
            let missing = other
                .iter()
                .filter(|(name, _)| !own.iter().any(|(here, _)| here == name));
            for (name, _) in missing {
                let file = self.own.file.display().to_string();
                let label = format!("{kind} \"{name}\"");
                self.mistakes
                    .push(format!("{file}: {label}: is only in the other file"));
            }
        }
    }

    fn all_same(&mut self, label: &str, here: &Table, there: &Table, except: &[&str]) {
        let keys: BTreeSet<_> = here.keys().chain(there.keys()).cloned().collect();
        for key in keys.iter().filter(|key| !except.contains(&key.as_str())) {
            self.same(label, key, here.get(key), there.get(key));
        }
    }

    fn same(&mut self, label: &str, key: &str, here: Option<&Value>, there: Option<&Value>) {
        if here == there {
            return;
        }
        let shown = |value: Option<&Value>| match value {
            Some(value) => value.to_string().trim_end().to_owned(),
            None => "not written".to_owned(),
        };
        let text = format!(
            "{key} is {}, and {} on the other machine; write the same on both",
            shown(here),
            shown(there)
        );
        self.mistake(label, &text);
    }

    fn mistake(&mut self, label: &str, text: &str) {
        let file = self.own.file.display();
        self.mistakes.push(format!("{file}: {label}: {text}"));
    }

    fn remark(&mut self, label: &str, text: &str) {
        let file = self.own.file.display();
        self.remarks
            .push(format!("{file}: remark: {label}: {text}"));
    }

    /// Addresses, certificates, CAs and revocation lists of the routes that both machines have.
    fn routes_of_both(&mut self) {
        let own: Vec<_> = self.own.config.routes.clone();
        // Routes share files, and one sentence for each difference is enough.
        let mut said = BTreeSet::new();
        for here in own {
            let there = self.theirs.config.routes.iter();
            let Some(there) = there.clone().find(|route| route.name == here.name).cloned() else {
                continue;
            };
            let label = format!("route \"{}\"", here.name);
            self.addresses(&label, here.listen, there.listen);
            let mut findings = self.certificates(&here, &there);
            findings.extend(self.trusts(&here, &there));
            for (is_mistake, text) in findings {
                match (said.insert(text.clone()), is_mistake) {
                    (false, _) => {}
                    (true, true) => self.mistake(&label, &text),
                    (true, false) => self.remark(&label, &text),
                }
            }
        }
    }

    fn addresses(&mut self, label: &str, here: SocketAddr, there: SocketAddr) {
        if here.port() != there.port() {
            let text = format!(
                "listen is \"{here}\", and \"{there}\" on the other machine; write the same port on both"
            );
            self.mistake(label, &text);
        } else if here.ip() != there.ip() {
            let text = format!(
                "listen is \"{here}\", and \"{there}\" on the other machine: right if clients know both addresses, and wrong if one \
                 address moves between the machines"
            );
            self.remark(label, &text);
        }
    }

    fn certificates(&self, here: &RouteConfig, there: &RouteConfig) -> Vec<(bool, String)> {
        if here.tls.is_none() || there.tls.is_none() {
            return Vec::new();
        }
        let (own, other) = match (self.leaf(&self.own, here), self.leaf(&self.theirs, there)) {
            (Ok(own), Ok(other)) => (own, other),
            (Err(text), _) | (_, Err(text)) => return vec![(false, text)],
        };
        let mut findings = Vec::new();
        let sorted = |facts: &Facts| facts.names.iter().cloned().collect::<BTreeSet<_>>();
        let (names, others) = (sorted(&own), sorted(&other));
        if names != others {
            let list =
                |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
            let text = format!(
                "the certificate is for {}, and that of the other machine for {}; issue both for the same names, or list both at \
                 the other site",
                list(&names),
                list(&others)
            );
            findings.push((names.is_disjoint(&others), text));
        }
        if own.issuer_der != other.issuer_der {
            let text = format!(
                "the certificate was issued by {:?}, and that of the other machine by {:?}: the other site must trust both",
                own.issuer, other.issuer
            );
            findings.push((false, text));
        }
        if own.spki == other.spki {
            let text = "both machines have the same key; a key of its own for each never leaves its machine (`wardgate pki issue` \
                        on each, for the same name)";
            findings.push((false, text.to_owned()));
        }
        for (whose, facts) in [
            ("the certificate", &own),
            ("that of the other machine", &other),
        ] {
            let seconds = facts.not_after.saturating_sub(expiry::unix(self.now));
            let days = seconds.div_euclid(86_400);
            if seconds < 0 {
                let date = expiry::date(facts.not_after);
                findings.push((true, format!("{whose} expired on {date}; renew it")));
            } else if days < DAYS_WARNED {
                findings.push((false, format!("{whose} expires in {days} days; renew it")));
            }
        }
        findings
    }

    fn leaf(&self, site: &ComparedSite, route: &RouteConfig) -> Result<Facts, String> {
        let lack = |lack: FileLack| lack.sentence("its certificate");
        let chain = site.chain(route).map_err(lack)?;
        let first = chain.first().ok_or("the certificate file is empty")?;
        Facts::of(first)
    }

    fn trusts(&self, here: &RouteConfig, there: &RouteConfig) -> Vec<(bool, String)> {
        let lack = |lack: FileLack| lack.sentence("what it trusts");
        let own = self.own.trust(here, self.now).map_err(lack);
        let other = self.theirs.trust(there, self.now).map_err(lack);
        let (own, other) = match (own, other) {
            (Ok(own), Ok(other)) => (own, other),
            (Err(text), _) | (_, Err(text)) => return vec![(false, text)],
        };
        let pairs = own.iter().zip(&other);
        pairs
            .flat_map(|(own, other)| [anchors(own, other), lists(own, other)])
            .flatten()
            .collect()
    }
}

/// The tables of an array with their names.
fn named(all: &Table, kind: &str) -> Vec<(String, Table)> {
    let tables = all.get(kind).and_then(Value::as_array);
    let tables = tables.into_iter().flatten().filter_map(Value::as_table);
    tables
        .map(|table| {
            let name = table.get("name").and_then(Value::as_str);
            (name.unwrap_or_default().to_owned(), table.clone())
        })
        .collect()
}

fn anchors(own: &Trust, other: &Trust) -> Option<(bool, String)> {
    let set = |trust: &Trust| {
        let anchors = trust.anchors.iter();
        anchors.map(|one| one.to_vec()).collect::<BTreeSet<_>>()
    };
    let subjects = |trust: &Trust| trust.subjects().join(", ");
    (set(own) != set(other)).then(|| {
        let text = format!(
            "it trusts {:?}, and {:?} with other certificates on the other machine; copy the file of CAs to both",
            subjects(own),
            subjects(other)
        );
        (true, text)
    })
}

// Lists are fetched by each machine for itself, so one may be newer for a while.
fn lists(own: &Trust, other: &Trust) -> Option<(bool, String)> {
    let newest = |trust: &Trust| trust.crls.first().map(|crl| crl.head().this_update);
    let shown = |at: Option<i64>| match at {
        Some(at) => format!("of {}", expiry::moment(at)),
        None => "absent".to_owned(),
    };
    let set = |trust: &Trust| {
        let lists = trust.crls.iter();
        lists.map(|crl| *crl.sha256()).collect::<BTreeSet<_>>()
    };
    (set(own) != set(other)).then(|| {
        let (here, there) = (newest(own), newest(other));
        let text = format!(
            "the revocation list is {}, and {} on the other machine; copy the newer one, or let both fetch it",
            shown(here),
            shown(there)
        );
        // Without a list, one machine accepts whom the other one refuses.
        (here.is_some() != there.is_some(), text)
    })
}
