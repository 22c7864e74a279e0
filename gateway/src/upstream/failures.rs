//! The addresses that did not answer and the names that did not resolve: one memory for all cores and routes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::addresses::DeadAddresses;
use super::unresolved::UnresolvedNames;

/// What has failed lately.
#[derive(Debug, Default)]
pub struct Failures {
    dead_addresses: Mutex<DeadAddresses>,
    unresolved: Mutex<UnresolvedNames>,
}

impl Failures {
    /// The addresses that did not answer. Locked for a look-up or two per connection that is made, and
    /// never across a wait.
    pub(super) fn dead_addresses(&self) -> MutexGuard<'_, DeadAddresses> {
        let addresses = self.dead_addresses.lock();
        addresses.unwrap_or_else(PoisonError::into_inner)
    }

    /// The names that the resolver did not resolve. Locked when a resolver has answered and when a connection
    /// begins, and never across a wait.
    pub(super) fn unresolved(&self) -> MutexGuard<'_, UnresolvedNames> {
        let dns = self.unresolved.lock();
        dns.unwrap_or_else(PoisonError::into_inner)
    }
}
