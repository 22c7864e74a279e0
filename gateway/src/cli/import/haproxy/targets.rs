//! The targets of a route: their order, their bounds, and the probes.

use std::collections::{BTreeMap, BTreeSet};

use super::super::draft::{ModeDraft, TargetDraft, dns_identity, quoted};
use super::super::report::{ImportClass, ImportReport};
use super::options;
use super::parts::{Parts, duration};
use super::server::ServerLine;
use crate::config::limits::TARGETS_MAX;

use ImportClass::{Carried, NotCarried};

impl Parts<'_> {
    /// The servers in the order of their use, and the key `balance`.
    pub(super) fn used_servers(
        &self,
        keys: &mut BTreeMap<&'static str, String>,
        report: &mut ImportReport,
    ) -> Vec<&ServerLine<'_>> {
        let not = |server: &ServerLine<'_>, sentence: &str, report: &mut ImportReport| {
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

    pub(super) fn balance(&self, report: &mut ImportReport) -> &'static str {
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

    pub(super) fn targets(
        &self,
        servers: &[&ServerLine<'_>],
        keys: &mut BTreeMap<&'static str, String>,
        report: &mut ImportReport,
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

    pub(super) fn health(
        &self,
        servers: &[&ServerLine<'_>],
        report: &mut ImportReport,
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
fn server_name(server: &ServerLine<'_>) -> Option<String> {
    let sni = server.value("sni").unwrap_or_default();
    let sni = sni
        .strip_prefix("str(")
        .and_then(|rest| rest.strip_suffix(')'));
    let name = sni.or_else(|| server.value("verifyhost"))?;
    dns_identity(name)
}
