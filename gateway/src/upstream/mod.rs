//! Where a route connects to: names and their addresses, targets in their order, and the health of targets.

mod addresses;
mod connect;
mod dns;
mod failures;
mod health;
pub mod limits;
mod list;
mod passive;
mod probe;
mod race;
mod stop;
mod target;
mod targets;
#[cfg(test)]
mod tests;
mod unresolved;
mod watch;

pub use addresses::AddressReport;
pub use connect::{Attempts, Connected, socket_options};
pub use dns::DnsCache;
pub use failures::Failures;
use health::TargetHealth;
pub use health::Transition;
pub use list::TargetList;
pub use probe::Prober;
pub(crate) use probe::Titles;
pub use target::{RouteTarget, TargetSlot, TargetState, TargetTrouble};
pub use targets::RouteTargets;
pub use watch::watch;
