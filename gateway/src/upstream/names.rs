//! What a core knows of targets: addresses of their names, asked again and again, with a short and
//! bounded memory; and whether they are there, which all cores know alike.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{AddressReport, Upstreams};
use crate::config::Route;
use crate::limits::{ADDRESSES_MAX, NAME_FRESH, NAME_STALE, NAMES_MAX};
use crate::uring::Verbs;

/// A core's memory of names.
#[derive(Debug, Default)]
pub struct Names {
    known: RefCell<HashMap<String, Known>>,
    // One look-up of a name at a time; who waits finds what the one before has found.
    turns: RefCell<HashMap<String, Rc<Mutex<()>>>>,
    upstreams: Arc<Upstreams>,
    reporter: Reporter,
}

type Report = dyn Fn(&Route, &AddressReport);

#[derive(Default)]
struct Reporter(Option<Box<Report>>);

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporter")
    }
}

#[derive(Debug, Clone)]
struct Known {
    addresses: Vec<IpAddr>,
    since: Instant,
}

impl Names {
    /// Without a memory yet, where this is known of targets.
    #[must_use]
    pub fn new(upstreams: Arc<Upstreams>) -> Self {
        Self {
            upstreams,
            ..Self::default()
        }
    }

    /// The same, with `report` called for each report about an address of a route's target.
    #[must_use]
    pub fn reporting(self, report: impl Fn(&Route, &AddressReport) + 'static) -> Self {
        Self {
            reporter: Reporter(Some(Box::new(report))),
            ..self
        }
    }

    pub(super) fn report(&self, route: &Route, report: &AddressReport) {
        if let Reporter(Some(reporter)) = &self.reporter {
            reporter(route, report);
        }
    }

    /// What is known of targets.
    #[must_use]
    pub fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// Addresses of `name`, at most `limits::ADDRESSES_MAX`, in the resolver's order.
    ///
    /// They are asked for again when they are older than `limits::NAME_FRESH`; where the resolver
    /// then fails, those of the last `limits::NAME_STALE` serve on.
    ///
    /// # Errors
    /// What the resolver said, where nothing is remembered either. The future may be dropped.
    pub async fn look_up<V: Verbs>(&self, verbs: &V, name: &str) -> io::Result<Vec<IpAddr>> {
        if let Some(addresses) = self.recall(name, NAME_FRESH) {
            return Ok(addresses);
        }
        let turn = self.turn(name);
        let _turn = turn.lock().await;
        if let Some(addresses) = self.recall(name, NAME_FRESH) {
            return Ok(addresses);
        }
        match verbs.resolve(name).await {
            Ok(mut addresses) => {
                addresses.truncate(ADDRESSES_MAX);
                self.remember(name, &addresses);
                Ok(addresses)
            }
            Err(error) => self.recall(name, NAME_STALE).ok_or(error),
        }
    }

    /// What is remembered of `name` and not older than `limits::NAME_STALE`.
    pub fn last_known(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.recall(name, NAME_STALE)
    }

    fn turn(&self, name: &str) -> Rc<Mutex<()>> {
        let mut turns = self.turns.borrow_mut();
        // LIMIT: NAMES_MAX; those that nobody waits for make room.
        if turns.len() >= NAMES_MAX {
            turns.retain(|_, turn| Rc::strong_count(turn) > 1);
        }
        Rc::clone(turns.entry(name.to_owned()).or_default())
    }

    fn recall(&self, name: &str, age_max: std::time::Duration) -> Option<Vec<IpAddr>> {
        let known = self.known.borrow();
        let found = known
            .get(name)
            .filter(|known| known.since.elapsed() < age_max)?;
        Some(found.addresses.clone())
    }

    fn remember(&self, name: &str, addresses: &[IpAddr]) {
        let mut known = self.known.borrow_mut();
        // LIMIT: NAMES_MAX; a name beyond it is looked up each time.
        if known.len() < NAMES_MAX || known.contains_key(name) {
            let entry = Known {
                addresses: addresses.to_vec(),
                since: Instant::now(),
            };
            known.insert(name.to_owned(), entry);
        }
    }
}
