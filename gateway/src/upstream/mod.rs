//! Where a route connects to: names and their addresses, targets in their order.

mod connect;
mod names;
#[cfg(test)]
mod tests;

pub use connect::{Attempts, Reached, socket_options};
pub use names::Names;
