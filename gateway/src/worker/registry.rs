//! The open connections of one core, by number.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::audit::ConnectionId;
use crate::relay::ConnectionHandle;

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

    /// Ends the connections that `is_meant` selects.
    pub(super) fn end(&self, is_meant: impl Fn(&ConnectionHandle) -> bool) {
        let open = self.0.borrow();
        let meant = open.values().filter(|handle| is_meant(handle));
        meant.for_each(|handle| handle.end());
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.registry.0.borrow_mut().remove(&self.id);
    }
}
