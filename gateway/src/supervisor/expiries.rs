//! Warns of certificates and revocation lists that expire soon or have expired, at startup and at runtime.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::audit::Level;
use crate::config::RouteConfig;
use crate::control::HealthLevel;
use crate::metrics;
use crate::pki::expiry::{Expiry, ExpiryKind, ExpiryStage, unix};
use crate::supervisor::limits::{EXPIRY_LOOK_EVERY, EXPIRY_REPORT_EVERY};

/// The owner of files, as in the labels of metrics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// The files of one route, by its name.
    Route(String),
    /// The files of a `[[peer]]` table, by its name.
    Peer(String),
}

/// All expiry dates of the loaded files.
#[derive(Debug, Default)]
pub struct Expiries {
    all: Vec<WatchedExpiry>,
    owners: Vec<(Owner, Expiry)>,
}

/// A certificate or a list in a file, for the state of the gateway.
pub(super) struct DatedFile {
    /// The routes that use it.
    pub(super) routes: Vec<String>,
    /// `own`, `anchor` or `crl`.
    pub(super) kind: &'static str,
    /// The file and the subject or issuer.
    pub(super) name: String,
    /// When it expires, in seconds since 1970.
    pub(super) ends: i64,
    /// How bad it is; `None` if the expiry is far away.
    pub(super) level: Option<HealthLevel>,
    /// What to do.
    pub(super) sentence: String,
}

#[derive(Debug)]
struct WatchedExpiry {
    expiry: Expiry,
    stage: ExpiryStage,
    // When it was last reported as expired.
    reported: Option<SystemTime>,
}

impl Expiries {
    /// Adds the expiry dates of files of `owner`. The same file may have several owners, but is warned of
    /// once.
    pub(super) fn add(&mut self, owner: &Owner, expiries: Vec<Expiry>) {
        for expiry in expiries {
            if !self.all.iter().any(|known| known.expiry == expiry) {
                self.all.push(WatchedExpiry {
                    expiry: expiry.clone(),
                    stage: ExpiryStage::Far,
                    reported: None,
                });
            }
            self.owners.push((owner.clone(), expiry));
        }
    }

    /// Watches `new` in place of these. What was warned of is not warned of again.
    pub(super) fn replace(&mut self, new: Self) {
        let before = std::mem::replace(self, new);
        for watched in &mut self.all {
            let mut known = before.all.iter();
            if let Some(known) = known.find(|known| known.expiry == watched.expiry) {
                (watched.stage, watched.reported) = (known.stage, known.reported);
            }
        }
    }

    /// Returns messages about files that reached their next warning or expired since the last call. Expired
    /// files are reported again every `limits::EXPIRY_REPORT_EVERY`.
    pub fn look(&mut self, now: SystemTime) -> Vec<(Level, String)> {
        let due = self.all.iter_mut().filter_map(|watched| watched.look(now));
        due.collect()
    }

    /// How long after `now` no message becomes due, at most `limits::EXPIRY_LOOK_EVERY`.
    pub(super) fn rest(&self, now: SystemTime) -> Duration {
        let changes = self.all.iter().filter_map(|of| of.expiry.next_change(now));
        let until = changes.filter_map(|at| at.duration_since(now).ok());
        // Expiry dates are whole seconds; a second that has begun is over one second later.
        let next = until.min().map(|left| left + Duration::from_secs(1));
        next.map_or(EXPIRY_LOOK_EVERY, |next| next.min(EXPIRY_LOOK_EVERY))
    }

    /// All files with their routes, and what to warn of at `now`. A file of several owners comes several times.
    pub(super) fn dates(&self, routes: &[Arc<RouteConfig>], now: SystemTime) -> Vec<DatedFile> {
        let mut of_peers = BTreeMap::<_, Vec<_>>::new();
        for route in routes {
            let peers = route.tls.iter().flat_map(|tls| &tls.peers);
            for name in peers.filter_map(|peer| peer.name.as_ref()) {
                of_peers.entry(name).or_default().push(route.name.clone());
            }
        }
        let each = self.owners.iter().map(|(owner, expiry)| DatedFile {
            routes: match owner {
                Owner::Route(name) => vec![name.clone()],
                Owner::Peer(name) => of_peers.get(name).cloned().unwrap_or_default(),
            },
            kind: match expiry.kind {
                ExpiryKind::Certificate => "own",
                ExpiryKind::Trust => "anchor",
                ExpiryKind::Crl => "crl",
            },
            name: format!("{} ({})", expiry.file, expiry.name),
            ends: unix(expiry.ends),
            level: match expiry.stage(now) {
                ExpiryStage::Far => None,
                ExpiryStage::Near(_) => Some(HealthLevel::Warning),
                ExpiryStage::Expired => Some(HealthLevel::Failed),
            },
            sentence: expiry.sentence(now),
        });
        each.collect()
    }

    /// The earliest expiry of each kind for each owner, for the metrics.
    pub(super) fn rows(&self) -> Vec<metrics::FileExpiry> {
        let mut first = BTreeMap::new();
        for (owner, expiry) in &self.owners {
            let ends = unix(expiry.ends);
            let known = first
                .entry((owner, expiry.kind.key()))
                .or_insert((expiry.kind, ends));
            known.1 = known.1.min(ends);
        }
        let rows = first.into_iter().map(|((owner, _), (kind, ends))| {
            let (label, name) = match owner {
                Owner::Route(name) => ("route", name),
                Owner::Peer(name) => ("peer", name),
            };
            metrics::FileExpiry {
                owner: (label, name.clone()),
                file: kind.key(),
                is_list: kind == ExpiryKind::Crl,
                ends,
            }
        });
        rows.collect()
    }
}

impl WatchedExpiry {
    fn look(&mut self, now: SystemTime) -> Option<(Level, String)> {
        let stage = self.expiry.stage(now);
        let is_new = stage != self.stage;
        self.stage = stage;
        match stage {
            ExpiryStage::Far => None,
            ExpiryStage::Near(_) => is_new.then(|| (Level::Warn, self.expiry.sentence(now))),
            ExpiryStage::Expired => {
                let since = self
                    .reported
                    .map(|at| now.duration_since(at).unwrap_or_default());
                if since.is_some_and(|since| since < EXPIRY_REPORT_EVERY) {
                    return None;
                }
                self.reported = Some(now);
                Some((Level::Error, self.expiry.sentence(now)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(days: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(days * 86_400)
    }

    fn ending(kind: ExpiryKind, ends: u64) -> Expiry {
        Expiry {
            kind,
            object: "certificate \"site.pem\"".to_owned(),
            file: "site.pem".to_owned(),
            name: "CN=x".to_owned(),
            begins: at(1),
            ends: at(ends),
        }
    }

    #[test]
    fn each_warning_comes_once_and_an_expired_file_is_reported_every_day() {
        let mut expiries = Expiries::default();
        // The same file in two routes.
        for route in ["a", "b"] {
            let owner = Owner::Route(route.to_owned());
            expiries.add(&owner, vec![ending(ExpiryKind::Certificate, 1000)]);
        }
        let mut levels = Vec::new();
        let mut now = at(960);
        while now < at(1003) {
            let lines = expiries.look(now);
            assert!(lines.len() <= 1, "{lines:?}");
            levels.extend(lines.into_iter().map(|(level, _)| level));
            let rest = expiries.rest(now);
            assert!(rest > Duration::ZERO && rest <= EXPIRY_LOOK_EVERY);
            now += rest;
        }
        assert_eq!(
            levels,
            [[Level::Warn; 5].as_slice(), &[Level::Error; 3]].concat()
        );
    }

    #[test]
    fn the_earliest_expiry_of_each_kind_is_a_metric_of_its_owner() {
        let mut expiries = Expiries::default();
        let region = Owner::Peer("region".to_owned());
        let ends = [
            (ExpiryKind::Trust, 30),
            (ExpiryKind::Trust, 20),
            (ExpiryKind::Crl, 10),
        ];
        expiries.add(
            &region,
            ends.map(|(kind, ends)| ending(kind, ends)).to_vec(),
        );
        let route = Owner::Route("out".to_owned());
        expiries.add(&route, vec![ending(ExpiryKind::Certificate, 40)]);
        let rows = expiries.rows();
        let rows = rows
            .iter()
            .map(|row| (row.owner.0, row.file, row.is_list, row.ends / 86_400));
        let expected = [
            ("route", "certificate", false, 40),
            ("peer", "crl", true, 10),
            ("peer", "trust", false, 20),
        ];
        assert!(rows.eq(expected), "{:?}", expiries.rows());
    }
}
