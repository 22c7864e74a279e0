//! The severity of a line of the log.

/// The severity of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Information.
    Info,
    /// The operator may soon have to act.
    Warn,
    /// The operator must act.
    Error,
}
