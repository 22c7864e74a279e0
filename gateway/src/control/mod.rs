//! What an operator asks a running gateway to do, whichever way the request comes.

/// A request to the supervisor. Signals produce it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Drain all routes, and end the process.
    Stop,
    /// Read the configuration again.
    Reload,
}
