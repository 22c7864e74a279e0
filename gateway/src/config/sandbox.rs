//! What the process gives up after its start.

/// Whether the process gives up what it does not need (the sandbox).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum SandboxSetting {
    /// All that this kernel has, or no start.
    Require,
    /// All that can be had; the log and `wardgate status` report what is missing.
    #[default]
    Try,
    /// Nothing.
    Off,
}

/// The user that the process becomes if root starts it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum RunAs {
    /// `wardgate`, because the configuration names none.
    #[default]
    Default,
    /// The one that the configuration names.
    Named(String),
}
