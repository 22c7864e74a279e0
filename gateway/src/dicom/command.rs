//! The commands of the DIMSE services (PS3.7 table E.1-1).

use std::fmt;
use std::str::FromStr;

/// A DIMSE service, with the name from the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DimseCommand {
    /// Verification.
    CEcho,
    /// Storage.
    CStore,
    /// Query.
    CFind,
    /// Retrieval over the same association.
    CGet,
    /// Retrieval over another association.
    CMove,
    /// Notification of an event.
    NEventReport,
    /// Reading of attributes.
    NGet,
    /// Change of attributes.
    NSet,
    /// A request to act.
    NAction,
    /// Creation of an instance.
    NCreate,
    /// Deletion of an instance.
    NDelete,
}

impl DimseCommand {
    /// All commands, in the order of the type.
    pub const ALL: [Self; 11] = [
        Self::CEcho,
        Self::CStore,
        Self::CFind,
        Self::CGet,
        Self::CMove,
        Self::NEventReport,
        Self::NGet,
        Self::NSet,
        Self::NAction,
        Self::NCreate,
        Self::NDelete,
    ];

    /// The name, as in a configuration: `C-STORE`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CEcho => "C-ECHO",
            Self::CStore => "C-STORE",
            Self::CFind => "C-FIND",
            Self::CGet => "C-GET",
            Self::CMove => "C-MOVE",
            Self::NEventReport => "N-EVENT-REPORT",
            Self::NGet => "N-GET",
            Self::NSet => "N-SET",
            Self::NAction => "N-ACTION",
            Self::NCreate => "N-CREATE",
            Self::NDelete => "N-DELETE",
        }
    }

    /// Whether the command has intermediate responses and can be cancelled (PS3.7 sections 9.1.2 to 9.1.4).
    #[must_use]
    pub fn has_course(self) -> bool {
        matches!(self, Self::CFind | Self::CGet | Self::CMove)
    }
}

impl fmt::Display for DimseCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is not the name of a DIMSE command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no DIMSE command has this name")]
pub struct NotACommand;

impl FromStr for DimseCommand {
    type Err = NotACommand;

    fn from_str(text: &str) -> Result<Self, NotACommand> {
        let named = |command: &Self| command.name() == text;
        Self::ALL.into_iter().find(named).ok_or(NotACommand)
    }
}
