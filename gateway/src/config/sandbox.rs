//! What the process gives up after its start.

/// Whether the process gives up what it does not need (the sandbox).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum SandboxSetting {
    /// All parts, or no start. An older kernel may lack the ports, and the protection against new code.
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

/// The user of the package.
const PACKAGED: &str = "wardgate";

impl RunAs {
    /// The user that a process of root becomes; `None` if it stays root.
    pub(crate) fn user(&self) -> Option<&str> {
        match self {
            Self::Named(name) if name == "root" => None,
            Self::Named(name) => Some(name),
            Self::Default => Some(PACKAGED),
        }
    }
}
