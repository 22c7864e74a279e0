//! What a worker does for the routes that it accepts for, as one table of routes follows another.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::listener::Listening;
use super::probes::Probes;
use super::{NewRoutes, Shared};
use crate::route::{Change, RouteId, RouteTable, diff};

/// The listeners and probes of this worker, by their routes.
#[derive(Default)]
pub(super) struct Routes {
    table: Option<Arc<RouteTable>>,
    at_work: HashMap<RouteId, AtWork>,
}

struct AtWork {
    listening: Listening,
    probes: Probes,
}

impl Routes {
    /// Whether the worker accepts for any route.
    pub(super) fn accepts(&self) -> bool {
        !self.at_work.is_empty()
    }

    /// Takes over a table: closes the listeners of routes that are gone or listen elsewhere, and lets the new
    /// routes serve what is accepted from now on.
    pub(super) async fn take(&mut self, shared: &Rc<Shared>, new: NewRoutes) {
        let NewRoutes { table, listeners } = new;
        let changes = match &self.table {
            Some(before) => diff(before, &table),
            None => Vec::new(),
        };
        for change in changes {
            match change {
                Change::Kept(_) | Change::Added(_) => {}
                Change::Changed(route) => {
                    let Some(known) = self.at_work.get_mut(&route.id()) else {
                        continue;
                    };
                    known.listening.accept_for(Arc::clone(&route));
                    let probes = Probes::start(shared, &route, 0, route.targets.len());
                    std::mem::replace(&mut known.probes, probes).stop().await;
                }
                Change::NewListener(route) | Change::Removed(route) => {
                    if let Some(known) = self.at_work.remove(&route.id()) {
                        known.stop().await;
                    }
                }
            }
        }
        let of_all = || listeners.iter().filter_map(|(id, _)| table.get(*id));
        let count = of_all().map(|route| route.targets.len()).sum();
        let mut turn = 0;
        for (id, listener) in listeners {
            let Some(route) = table.get(id) else { continue };
            let probes = Probes::start(shared, route, turn, count);
            turn += route.targets.len();
            let route = Arc::clone(route);
            let listening = Listening::start(Rc::clone(shared), route, listener);
            self.at_work.insert(id, AtWork { listening, probes });
        }
        self.table = Some(table);
    }

    /// Closes all listeners and ends all probes.
    pub(super) async fn stop(&mut self) {
        for (_, at_work) in self.at_work.drain() {
            at_work.stop().await;
        }
    }
}

impl AtWork {
    async fn stop(self) {
        self.listening.stop().await;
        self.probes.stop().await;
    }
}
