//! Addresses that did not answer and names that did not resolve, shared by all cores and routes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::addresses::DeadAddresses;
use super::unresolved::UnresolvedNames;

/// Recent failures.
#[derive(Debug, Default)]
pub struct Failures {
    dead_addresses: Mutex<DeadAddresses>,
    unresolved: Mutex<UnresolvedNames>,
}

impl Failures {
    /// The addresses that did not answer. Locked once or twice per new connection, never across an await.
    pub(super) fn dead_addresses(&self) -> MutexGuard<'_, DeadAddresses> {
        let addresses = self.dead_addresses.lock();
        addresses.unwrap_or_else(PoisonError::into_inner)
    }

    /// The names that did not resolve. Locked when a resolver has answered and when a connection begins,
    /// never across an await.
    pub(super) fn unresolved(&self) -> MutexGuard<'_, UnresolvedNames> {
        let dns = self.unresolved.lock();
        dns.unwrap_or_else(PoisonError::into_inner)
    }
}
