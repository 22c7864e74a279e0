//! What changes from one table of routes to the next.
//!
//! Pure: neither table is changed, and no clock or socket is used.

use std::sync::Arc;

use super::id::RouteId;
use super::live::Route;
use super::table::RouteTable;

/// What becomes of one route.
#[derive(Debug)]
pub enum Change {
    /// It stays as it is: listener, connections, counters and health.
    Kept(Arc<Route>),
    /// Its listener stays; connections that are accepted from now on are served by the new route.
    Changed(Arc<Route>),
    /// It listens elsewhere; connections that are accepted there are served by the new route.
    NewListener(Arc<Route>),
    /// It is new.
    Added(Arc<Route>),
    /// It is not configured any more; its listener closes and its connections drain.
    Removed(Arc<Route>),
}

impl Change {
    /// The route that it is about.
    #[must_use]
    pub fn id(&self) -> RouteId {
        let (Self::Kept(route)
        | Self::Changed(route)
        | Self::NewListener(route)
        | Self::Added(route)
        | Self::Removed(route)) = self;
        route.id()
    }
}

/// What changes from `old` to `new`: the routes of `new` in their order, then those that are not in it.
#[must_use]
pub fn diff(old: &RouteTable, new: &RouteTable) -> Vec<Change> {
    let of_new = new.routes.iter().map(|route| {
        let after = Arc::clone(route);
        match old.get(route.id()) {
            None => Change::Added(after),
            Some(before) if Arc::ptr_eq(before, route) => Change::Kept(after),
            Some(before) if listens_as(before, route) => Change::Changed(after),
            Some(_) => Change::NewListener(after),
        }
    });
    let is_gone = |route: &&Arc<Route>| new.get(route.id()).is_none();
    let gone = old.routes.iter().filter(is_gone);
    let gone = gone.map(|route| Change::Removed(Arc::clone(route)));
    of_new.chain(gone).collect()
}

fn listens_as(one: &Route, other: &Route) -> bool {
    let [one, other] = [&one.config, &other.config];
    one.listen == other.listen && one.interface == other.interface
}
