//! Compares two tables of routes.
//!
//! Pure: changes neither table, and uses no clock and no socket.

use std::sync::Arc;

use super::live::Route;
use super::table::RouteTable;

/// The change of one route.
#[derive(Debug)]
pub enum Change {
    /// Unchanged: it keeps its listener, connections, counters and health.
    Kept(Arc<Route>),
    /// Its listener stays; the new route serves connections accepted from now on.
    Changed(Arc<Route>),
    /// It has a new address; the new route serves connections accepted there.
    NewListener(Arc<Route>),
    /// It is new.
    Added(Arc<Route>),
    /// Removed from the configuration: its listener closes and its connections drain.
    Removed(Arc<Route>),
}

/// The changes from `old` to `new`: the routes of `new` in their order, then the removed ones.
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
