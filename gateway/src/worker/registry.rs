//! The open connections of one core, by number.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::audit::{CloseReason, ConnectionId};
use crate::relay::{ConnectionHandle, ConnectionView};
use crate::route::RouteTable;

/// All connections that the core serves. Their number is bounded by the slots of the core.
#[derive(Default)]
pub(crate) struct Registry(RefCell<HashMap<ConnectionId, Rc<ConnectionHandle>>>);

/// A connection's entry. Removed on drop, also after a panic.
pub(crate) struct Registered<'r> {
    registry: &'r Registry,
    id: ConnectionId,
}

impl Registry {
    /// Registers a connection until the returned value is dropped.
    pub(crate) fn enter(&self, handle: Rc<ConnectionHandle>) -> Registered<'_> {
        let id = handle.id;
        self.insert(handle);
        let registry = self;
        Registered { registry, id }
    }

    /// Registers a connection until `remove`.
    pub(crate) fn insert(&self, handle: Rc<ConnectionHandle>) {
        self.0.borrow_mut().insert(handle.id, handle);
    }

    /// Removes a connection.
    pub(crate) fn remove(&self, id: ConnectionId) {
        self.0.borrow_mut().remove(&id);
    }

    /// The number of connections.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// The number of connections, and those that have moved the most bytes, at most `most`.
    pub(crate) fn view(&self, most: usize) -> (usize, Vec<ConnectionView>) {
        let open = self.0.borrow();
        let mut all: Vec<_> = open.values().collect();
        if most < all.len() {
            all.select_nth_unstable_by_key(most, |handle| Reverse(handle.moved_bytes()));
            // LIMIT: CONNECTIONS_SHOWN_MAX; the caller reports how many there are.
            all.truncate(most);
        }
        (open.len(), all.iter().map(|handle| handle.view()).collect())
    }

    /// Ends one connection. Returns whether it was open.
    pub(crate) fn end_one(&self, id: ConnectionId) -> bool {
        let open = self.0.borrow();
        let found = open.get(&id);
        found
            .inspect(|handle| handle.end(CloseReason::EndedByCommand))
            .is_some()
    }

    /// Ends the connections for which `why` returns a reason.
    fn end(&self, why: impl Fn(&ConnectionHandle) -> Option<CloseReason>) {
        for handle in self.0.borrow().values() {
            if let Some(reason) = why(handle) {
                handle.end(reason);
            }
        }
    }

    /// Ends the connections whose peers the routes of `table` would not accept at `now`, in seconds since
    /// 1970. Connections of other routes are drained by their route.
    pub(crate) fn end_unaccepted(&self, table: &RouteTable, now: i64) {
        self.end(|handle| {
            let (peer, route) = (handle.peer()?, table.get(handle.route.id())?);
            // An unchanged route accepts whom it accepted.
            if Arc::ptr_eq(route, &handle.route) {
                return None;
            }
            let fault = route.still_accepts(peer, now).err()?;
            Some(CloseReason::PeerNotAccepted(fault))
        });
    }

    /// Ends the connections whose peers' certificates have expired at `now`, in seconds since 1970.
    pub(crate) fn end_expired(&self, now: i64) {
        self.end(|handle| {
            let fault = handle.peer()?.check_expiry(now).err()?;
            Some(CloseReason::PeerNotAccepted(fault))
        });
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.registry.remove(self.id);
    }
}
