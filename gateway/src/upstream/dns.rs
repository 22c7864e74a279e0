//! What a core knows of targets: addresses of their names, asked again and again, with a short and
//! bounded memory; and whether they are there, which all cores know alike.

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
use crate::limits::{ADDRESSES_MAX, NAME_FRESH, NAME_STALE, NAMES_MAX};
use crate::uring::{LookUp, Network};

/// A core's memory of names.
#[derive(Default)]
pub struct DnsCache {
    known: RefCell<HashMap<String, Known>>,
    // One look-up of a name at a time, which the connections that wait for it await by turns. It stays
    // when a connection has no more time, and the next one goes on with it: a resolver that hangs for
    // one name holds one thread, however many connections ask.
    look_ups: RefCell<HashMap<String, Turn>>,
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

type Turn = Rc<Mutex<Option<Begun>>>;

struct Begun {
    since: Instant,
    look_up: LookUp,
}

#[derive(Debug, Clone)]
struct Known {
    addresses: Vec<IpAddr>,
    since: Instant,
}

impl DnsCache {
    /// Without a memory yet, where this is known of targets.
    #[must_use]
    pub fn new(failures: Arc<Failures>) -> Self {
        Self {
            failures,
            ..Self::default()
        }
    }

    /// The same, with `report` called for each report about an address of a route's target.
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

    /// What is known of targets.
    #[must_use]
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Addresses of `name`, at most `limits::ADDRESSES_MAX`, in the resolver's order.
    ///
    /// They are asked for again when they are older than `limits::NAME_FRESH`; where the resolver
    /// then fails, those of the last `limits::NAME_STALE` serve on.
    ///
    /// # Errors
    /// What the resolver said, where nothing is remembered either. The future may be dropped.
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
            // It may have ended long ago, when nobody waited for it any more.
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

    fn turn(&self, name: &str) -> Turn {
        let mut look_ups = self.look_ups.borrow_mut();
        // LIMIT: NAMES_MAX; those that nobody waits for and that are not under way make room.
        if look_ups.len() >= NAMES_MAX {
            let is_free = |turn: &Turn| turn.try_lock().is_ok_and(|begun| begun.is_none());
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
        // LIMIT: NAMES_MAX; a name beyond it is looked up each time.
        if known.len() < NAMES_MAX || known.contains_key(name) {
            let entry = Known {
                addresses: addresses.to_vec(),
                since,
            };
            known.insert(name.to_owned(), entry);
        }
    }
}
