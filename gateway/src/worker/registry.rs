//! The open connections of one core, by their numbers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::audit::ConnectionId;
use crate::relay::ConnectionHandle;

/// All connections that the core serves. There are never more than the core was given.
#[derive(Default)]
pub(super) struct Registry(RefCell<HashMap<ConnectionId, Rc<ConnectionHandle>>>);

/// A connection's entry; removed when dropped, also by a panic.
pub(super) struct Registered<'r> {
    registry: &'r Registry,
    id: ConnectionId,
}

impl Registry {
    /// Enters a connection for as long as the result is kept.
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
