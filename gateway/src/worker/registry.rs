//! The open connections of one core, by number.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::audit::{CloseReason, ConnectionId};
use crate::relay::ConnectionHandle;
use crate::route::RouteTable;

/// All connections that the core serves. Their number is bounded by the slots of the core.
#[derive(Default)]
pub(super) struct Registry(RefCell<HashMap<ConnectionId, Rc<ConnectionHandle>>>);

/// A connection's entry. Removed on drop, also after a panic.
pub(super) struct Registered<'r> {
    registry: &'r Registry,
    id: ConnectionId,
}

impl Registry {
    /// Registers a connection until the returned value is dropped.
    pub(super) fn enter(&self, handle: Rc<ConnectionHandle>) -> Registered<'_> {
        let id = handle.id;
        self.0.borrow_mut().insert(id, handle);
        let registry = self;
        Registered { registry, id }
    }

    /// Ends one connection. Returns whether it was open.
    pub(super) fn end_one(&self, id: ConnectionId) -> bool {
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
    pub(super) fn end_unaccepted(&self, table: &RouteTable, now: i64) {
        self.end(|handle| {
            let (peer, route) = (handle.peer()?, table.get(handle.route.id())?);
            let fault = route.still_accepts(peer, now).err()?;
            Some(CloseReason::PeerNotAccepted(fault))
        });
    }

    /// Ends the connections whose peers' certificates have expired at `now`, in seconds since 1970.
    pub(super) fn end_expired(&self, now: i64) {
        self.end(|handle| {
            let fault = handle.peer()?.check_expiry(now).err()?;
            Some(CloseReason::PeerNotAccepted(fault))
        });
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.registry.0.borrow_mut().remove(&self.id);
    }
}
