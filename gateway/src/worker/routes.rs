//! Listeners and probes of the routes that a worker accepts for, across changes of the route table.

use std::collections::HashMap;
use std::net::TcpListener;
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
    // `None` while the route drains.
    listening: Option<Listening>,
    probes: Probes,
}

impl Routes {
    /// Whether the worker accepts for any route.
    pub(super) fn accepts(&self) -> bool {
        let mut served = self.served.values();
        served.any(|served| served.listening.is_some())
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
                    if let Some(listening) = &known.listening {
                        listening.accept_for(Arc::clone(&route));
                    }
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
            let listening = Some(Listening::start(Rc::clone(shared), route, listener));
            self.served.insert(id, ServedRoute { listening, probes });
        }
        self.table = Some(table);
    }

    /// Closes the listener of a route; its probes continue.
    pub(super) async fn stop_listening(&mut self, route: RouteId) {
        let served = self.served.get_mut(&route);
        if let Some(listening) = served.and_then(|served| served.listening.take()) {
            listening.stop().await;
        }
    }

    /// Accepts for a route on `listener`, in place of its earlier one.
    pub(super) async fn listen(
        &mut self,
        shared: &Rc<Shared>,
        id: RouteId,
        listener: Arc<TcpListener>,
    ) {
        self.stop_listening(id).await;
        let table = self.table.as_ref();
        let Some(route) = table.and_then(|table| table.get(id)) else {
            return;
        };
        let listening = Listening::start(Rc::clone(shared), Arc::clone(route), listener);
        let served = self.served.entry(id).or_insert_with(|| ServedRoute {
            listening: None,
            probes: Probes::start(shared, route, 0, route.probed().len()),
        });
        served.listening = Some(listening);
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
        if let Some(listening) = self.listening {
            listening.stop().await;
        }
        self.probes.stop().await;
    }
}
