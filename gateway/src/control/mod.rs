//! Requests of an operator to a running gateway, independent of how they arrive.

/// A request to the supervisor. Signals produce it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Drain all routes, then end the process.
    Stop,
    /// Read the configuration again.
    Reload,
}
