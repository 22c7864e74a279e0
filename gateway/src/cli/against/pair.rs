//! Compares an originate route with the terminate route that it reaches.

use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;

use super::end::{AddressFit, ComparedSite, Mismatch, address_fits};
use crate::cli::DAYS_WARNED;
use crate::config::{Connect, Dicom, KeyExchange, Protocol, RouteConfig, Target};
use crate::dicom::AeTitle;
use crate::pki::expiry::unix;
use crate::tls::{TlsRole, would_accept};

/// Two routes, and the target by which the first reaches the second.
pub(super) struct Pair<'a> {
    pub(super) from: &'a ComparedSite,
    pub(super) originate: &'a RouteConfig,
    pub(super) to: &'a ComparedSite,
    pub(super) terminate: &'a RouteConfig,
    pub(super) target: &'a Target,
    pub(super) now: SystemTime,
}

impl Pair<'_> {
    /// Everything that does not fit.
    pub(super) fn findings(&self) -> Vec<Mismatch> {
        let mut findings = Vec::new();
        findings.extend(self.address());
        findings.extend(self.protocol());
        findings.extend(self.tls());
        findings.extend(self.certificate(Judged::ServerOfTerminate));
        findings.extend(self.certificate(Judged::ClientOfOriginate));
        findings.extend(self.rules());
        findings.extend(self.limits());
        findings.extend(self.timeouts());
        findings
    }

    fn address(&self) -> Option<Mismatch> {
        let fit = address_fits(&self.target.host, self.terminate);
        let text = format!(
            "target {} has another address than listen \"{}\" of route \"{}\" there: right only if a device on the path \
             translates the address",
            self.target, self.terminate.listen, self.terminate.name
        );
        (fit == AddressFit::Translated).then(|| self.from.remark(self.originate, text))
    }

    fn protocol(&self) -> Option<Mismatch> {
        let (own, other) = (self.originate.protocol, self.terminate.protocol);
        if own == other {
            return None;
        }
        let text = format!(
            "protocol is \"{own}\", and \"{other}\" on route \"{}\" of the other end; write the same at both ends",
            self.terminate.name
        );
        Some(match own == Protocol::Tcp || other == Protocol::Tcp {
            // A `tcp` route carries every protocol, without its rules and summaries.
            true => self.from.remark(self.originate, text),
            false => self.from.mistake(self.originate, text),
        })
    }

    fn tls(&self) -> Vec<Mismatch> {
        let (Some(own), Some(other)) = (&self.originate.tls, &self.terminate.tls) else {
            return Vec::new();
        };
        let mut findings = Vec::new();
        let name = &self.terminate.name;
        if own.service != other.service {
            let label = |service: &Option<crate::config::ServiceLabel>| match service {
                Some(label) => format!("\"{}\"", label.0),
                None => "not set".to_owned(),
            };
            findings.push(self.from.mistake(
                self.originate,
                format!(
                    "service is {}, and {} on route \"{name}\" of the other end; write the same at both ends",
                    label(&own.service),
                    label(&other.service)
                ),
            ));
        }
        if own.carries_source != other.carries_source {
            findings.push(self.from.mistake(
                self.originate,
                format!(
                    "carry_source is {}, and {} on route \"{name}\" of the other end; write the same at both ends",
                    own.carries_source, other.carries_source
                ),
            ));
        }
        // Every policy has TLS 1.3 with AES-256-GCM, so only the key exchange can have nothing in common.
        use KeyExchange::{Classical, HybridRequired};
        match (own.key_exchange, other.key_exchange) {
            (HybridRequired, Classical) => findings.push(self.to.mistake(
                self.terminate,
                "hybrid = false, but the other end has require_pq = true: no key exchange is common; remove one of them",
            )),
            (Classical, HybridRequired) => findings.push(self.from.mistake(
                self.originate,
                "hybrid = false, but the other end has require_pq = true: no key exchange is common; remove one of them",
            )),
            _ => {}
        }
        if own.policy != other.policy {
            findings.push(self.from.remark(
                self.originate,
                format!(
                    "policy is \"{}\", and \"{}\" on route \"{name}\" of the other end; both negotiate TLS 1.3 with \
                     AES-256-GCM",
                    own.policy, other.policy
                ),
            ));
        }
        findings
    }

    /// Whether one end accepts the certificate of the other.
    fn certificate(&self, direction: Judged) -> Vec<Mismatch> {
        let (judge, route, presenter, presented, role) = match direction {
            Judged::ServerOfTerminate => (
                self.from,
                self.originate,
                self.to,
                self.terminate,
                TlsRole::Client,
            ),
            Judged::ClientOfOriginate => (
                self.to,
                self.terminate,
                self.from,
                self.originate,
                TlsRole::Server,
            ),
        };
        let Some(tls) = &route.tls else {
            return Vec::new();
        };
        let mut findings = Vec::new();
        if tls.peers.iter().any(|peer| peer.trust.crl.is_empty()) {
            findings.push(judge.remark(
                route,
                "no crl is configured for some peers, so a revoked certificate would be accepted until it expires",
            ));
        }
        let chain = match presenter.chain(presented) {
            Ok(chain) => chain,
            Err(lack) => {
                let text = lack.sentence(&format!(
                    "the certificate for route \"{}\" of the other end",
                    route.name
                ));
                findings.push(presenter.remark(presented, text));
                return findings;
            }
        };
        let trust = match judge.trust(route, self.now) {
            Ok(trust) => trust,
            Err(lack) => {
                let text = lack.sentence(&format!(
                    "the certificate of route \"{}\" of the other end",
                    presented.name
                ));
                findings.push(judge.remark(route, text));
                return findings;
            }
        };
        let now = UnixTime::since_unix_epoch(self.since_epoch());
        let target = (role == TlsRole::Client).then_some(self.target);
        match would_accept(tls, &trust, role, &chain, target, now) {
            Ok(Ok(peer)) => {
                let ends = peer.chain.iter().map(|one| one.not_after).min();
                let days = ends.map(|ends| (ends - unix(self.now)).div_euclid(86_400));
                if let Some(days) = days.filter(|days| *days < DAYS_WARNED) {
                    let text = format!("its certificate expires in {days} days; renew it");
                    findings.push(presenter.remark(presented, text));
                }
            }
            Ok(Err(refusal)) => {
                let text = format!("would refuse the other end: {refusal}");
                findings.push(judge.mistake(route, text));
            }
            Err(error) => {
                let text = format!("TLS cannot be set up: {error}");
                findings.push(judge.mistake(route, text));
            }
        }
        findings
    }

    fn since_epoch(&self) -> Duration {
        let since = self.now.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default()
    }

    /// Titles and commands that one end allows and the other refuses.
    fn rules(&self) -> Vec<Mismatch> {
        let (Some(own), Some(other)) = (&self.originate.dicom, &self.terminate.dicom) else {
            return Vec::new();
        };
        let called = self.titles("called_ae", &own.called, &other.called, other);
        let calling = self.titles("calling_ae", &own.calling, &other.calling, other);
        let commands = match (&own.commands, &other.commands) {
            (Some(own), Some(there)) => {
                let refused = own.iter().filter(|command| !there.contains(command));
                let refused: Vec<_> = refused.map(ToString::to_string).collect();
                self.refused("commands", &refused, refused.len() == own.len(), other)
            }
            _ => None,
        };
        [called, calling, commands].into_iter().flatten().collect()
    }

    fn titles(
        &self,
        key: &str,
        own: &Option<Vec<AeTitle>>,
        there: &Option<Vec<AeTitle>>,
        other: &Dicom,
    ) -> Option<Mismatch> {
        let (own, there) = (own.as_ref()?, there.as_ref()?);
        let refused = own.iter().filter(|title| !there.contains(title));
        let refused: Vec<_> = refused.map(|title| format!("\"{title}\"")).collect();
        self.refused(key, &refused, refused.len() == own.len(), other)
    }

    fn refused(&self, key: &str, refused: &[String], all: bool, other: &Dicom) -> Option<Mismatch> {
        if refused.is_empty() {
            return None;
        }
        let text = format!(
            "{key} does not have {}, which route \"{}\" of the other end allows; add what is legitimate",
            refused.join(", "),
            self.originate.name
        );
        Some(match all && other.enforce {
            true => self.to.mistake(self.terminate, text),
            false => self.to.remark(self.terminate, text),
        })
    }

    fn limits(&self) -> Vec<Mismatch> {
        let (own, there) = (self.originate, self.terminate);
        let of_dicom = |route: &RouteConfig| route.dicom.as_ref()?.associations_max;
        let limits = [
            ("connections", own.connections, there.connections),
            (
                "connections_per_peer",
                own.connections,
                there.connections_per_peer,
            ),
            ("associations", of_dicom(own), of_dicom(there)),
        ];
        let exceeded = limits.into_iter().filter_map(|(key, own, there)| {
            let (own, there) = (own?, there?);
            (own > there).then_some((key, own, there))
        });
        let remarks = exceeded.map(|(key, own, there)| {
            let text = format!(
                "{key} is {there}, and route \"{}\" of the other end allows {own}: the others are refused here",
                self.originate.name
            );
            self.to.remark(self.terminate, text)
        });
        remarks.collect()
    }

    fn timeouts(&self) -> Vec<Mismatch> {
        let (own, there) = (&self.originate.timeouts, &self.terminate.timeouts);
        let mut findings = Vec::new();
        let pairs = [
            ("idle", own.idle, there.idle),
            (
                "association_idle",
                own.association_idle,
                there.association_idle,
            ),
        ];
        for (key, own, there) in pairs {
            if own != there {
                let shown = |time: Option<Duration>| {
                    time.map_or_else(
                        || "\"off\"".to_owned(),
                        |time| format!("{} s", time.as_secs()),
                    )
                };
                let text = format!(
                    "timeouts.{key} is {}, and {} on route \"{}\" of the other end; the shorter one ends the connection",
                    shown(own),
                    shown(there),
                    self.terminate.name
                );
                findings.push(self.from.remark(self.originate, text));
            }
        }
        if self.originate.connect == Connect::Early && self.terminate.connect != Connect::Early {
            findings.push(self.to.remark(
                self.terminate,
                "connect is not \"early\", as it is at the other end; an HL7 receiver that waits for the first message \
                 needs it at both ends",
            ));
        }
        findings
    }
}

/// Whose certificate is judged.
#[derive(Clone, Copy)]
enum Judged {
    ServerOfTerminate,
    ClientOfOriginate,
}
