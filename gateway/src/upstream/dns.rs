//! A core's DNS cache: addresses of target names, refreshed regularly, with a short and bounded lifetime.
//! Also gives access to the failures that all cores share.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{AddressReport, Failures};
use crate::config::RouteConfig;
use crate::measure::ReachedBound;
use crate::upstream::limits::{ADDRESSES_MAX, NAME_FRESH, NAME_STALE, NAMES_MAX};
use crate::uring::{LookUp, Network};

/// A core's cache of names.
#[derive(Default)]
pub struct DnsCache {
    known: RefCell<HashMap<String, CachedAddresses>>,
    // Each name has one lookup at a time, which all waiting connections poll in turn. The lookup continues
    // when a connection times out, and the next connection waits for the same one. A resolver that hangs for
    // one name therefore holds one thread, however many connections wait.
    look_ups: RefCell<HashMap<String, SharedLookUp>>,
    failures: Arc<Failures>,
    reporter: Reporter,
}

type Report = dyn Fn(&RouteConfig, &AddressReport);

#[derive(Default)]
struct Reporter(Option<Box<Report>>);

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporter")
    }
}

type SharedLookUp = Rc<Mutex<Option<Begun>>>;

struct Begun {
    since: Instant,
    look_up: LookUp,
}

#[derive(Debug, Clone)]
struct CachedAddresses {
    addresses: Vec<IpAddr>,
    since: Instant,
}

impl DnsCache {
    /// An empty cache that shares `failures` with the other cores.
    #[must_use]
    pub fn new(failures: Arc<Failures>) -> Self {
        Self {
            failures,
            ..Self::default()
        }
    }

    /// Like `new`, and calls `report` for each report about an address or name of a route's target.
    #[must_use]
    pub fn reporting(self, report: impl Fn(&RouteConfig, &AddressReport) + 'static) -> Self {
        Self {
            reporter: Reporter(Some(Box::new(report))),
            ..self
        }
    }

    pub(super) fn report(&self, route: &RouteConfig, report: &AddressReport) {
        if let Reporter(Some(reporter)) = &self.reporter {
            reporter(route, report);
        }
    }

    /// The failures that all cores share.
    #[must_use]
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Returns the addresses of `name`, at most `limits::ADDRESSES_MAX`, in the resolver's order.
    ///
    /// Addresses older than `limits::NAME_FRESH` are looked up again. If the resolver then fails, cached
    /// addresses up to `limits::NAME_STALE` old are returned.
    ///
    /// # Errors
    /// The resolver's error, if no address is cached either. Cancel-safe.
    pub async fn look_up<V: Network>(&self, network: &V, name: &str) -> io::Result<Vec<IpAddr>> {
        if let Some(addresses) = self.recall(name, NAME_FRESH) {
            return Ok(addresses);
        }
        let turn = self.turn(name);
        let mut turn = turn.lock().await;
        loop {
            if let Some(addresses) = self.recall(name, NAME_FRESH) {
                return Ok(addresses);
            }
            let begun = turn.get_or_insert_with(|| Begun {
                since: Instant::now(),
                look_up: network.resolve(name),
            });
            let found = begun.look_up.as_mut().await;
            let since = begun.since;
            *turn = None;
            let age_max = match found {
                Ok(_) => NAME_STALE,
                Err(_) => NAME_FRESH,
            };
            // The lookup may have ended long ago, while no connection waited for it.
            if since.elapsed() < age_max {
                return self.conclude(name, found, since);
            }
        }
    }

    fn conclude(
        &self,
        name: &str,
        found: io::Result<Vec<IpAddr>>,
        since: Instant,
    ) -> io::Result<Vec<IpAddr>> {
        let now = Instant::now().into_std();
        match found {
            Ok(mut addresses) => {
                self.failures.unresolved().on_success(name, now);
                addresses.truncate(ADDRESSES_MAX);
                self.remember(name, &addresses, since);
                Ok(addresses)
            }
            Err(error) => {
                let mut unresolved = self.failures.unresolved();
                unresolved.on_failure(name, error.to_string(), now);
                drop(unresolved);
                self.recall(name, NAME_STALE).ok_or(error)
            }
        }
    }

    /// What is remembered of `name` and not older than `limits::NAME_STALE`.
    pub(super) fn last_known(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.recall(name, NAME_STALE)
    }

    fn turn(&self, name: &str) -> SharedLookUp {
        let mut look_ups = self.look_ups.borrow_mut();
        // LIMIT: NAMES_MAX. When full, names without a running lookup and without a waiting connection are
        // dropped.
        if look_ups.len() >= NAMES_MAX {
            ReachedBound::Names.note();
            let is_free = |turn: &SharedLookUp| turn.try_lock().is_ok_and(|begun| begun.is_none());
            look_ups.retain(|_, turn| Rc::strong_count(turn) > 1 || !is_free(turn));
        }
        Rc::clone(look_ups.entry(name.to_owned()).or_default())
    }

    fn recall(&self, name: &str, age_max: Duration) -> Option<Vec<IpAddr>> {
        let known = self.known.borrow();
        let found = known
            .get(name)
            .filter(|known| known.since.elapsed() < age_max)?;
        Some(found.addresses.clone())
    }

    fn remember(&self, name: &str, addresses: &[IpAddr], since: Instant) {
        let mut known = self.known.borrow_mut();
        // LIMIT: NAMES_MAX. A name beyond the limit is looked up for each connection.
        if known.len() < NAMES_MAX || known.contains_key(name) {
            let entry = CachedAddresses {
                addresses: addresses.to_vec(),
                since,
            };
            known.insert(name.to_owned(), entry);
        }
    }
}
