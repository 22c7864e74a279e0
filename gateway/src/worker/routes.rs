//! Listeners and probes of the routes that a worker accepts for, across changes of the route table.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::listener::Listening;
use super::probes::Probes;
use super::{NewRoutes, Shared};
use crate::route::{Change, RouteId, RouteTable, diff};

/// The listeners and probes of this worker, by route.
#[derive(Default)]
pub(super) struct Routes {
    table: Option<Arc<RouteTable>>,
    served: HashMap<RouteId, ServedRoute>,
}

struct ServedRoute {
    listening: Listening,
    probes: Probes,
}

impl Routes {
    /// Whether the worker accepts for any route.
    pub(super) fn accepts(&self) -> bool {
        !self.served.is_empty()
    }

    /// Switches to a new table: closes the listeners of routes that are removed or have a new address, and
    /// makes the new routes serve connections accepted from now on.
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
                    let Some(known) = self.served.get_mut(&route.id()) else {
                        continue;
                    };
                    known.listening.accept_for(Arc::clone(&route));
                    let probes = Probes::start(shared, &route, 0, route.probed().len());
                    std::mem::replace(&mut known.probes, probes).stop().await;
                }
                Change::NewListener(route) | Change::Removed(route) => {
                    if let Some(known) = self.served.remove(&route.id()) {
                        known.stop().await;
                    }
                }
            }
        }
        let of_all = || listeners.iter().filter_map(|(id, _)| table.get(*id));
        let count = of_all().map(|route| route.probed().len()).sum();
        let mut turn = 0;
        for (id, listener) in listeners {
            let Some(route) = table.get(id) else { continue };
            let probes = Probes::start(shared, route, turn, count);
            turn += route.probed().len();
            let route = Arc::clone(route);
            let listening = Listening::start(Rc::clone(shared), route, listener);
            self.served.insert(id, ServedRoute { listening, probes });
        }
        self.table = Some(table);
    }

    /// Closes all listeners and ends all probes.
    pub(super) async fn stop(&mut self) {
        for (_, served) in self.served.drain() {
            served.stop().await;
        }
    }
}

impl ServedRoute {
    async fn stop(self) {
        self.listening.stop().await;
        self.probes.stop().await;
    }
}
