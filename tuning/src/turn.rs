//! When values are written: the order within one run, and the stages of a start of the host.

use std::str::FromStr;

/// The order in which values are written, by `apply` and by `undo`.
///
/// Some drivers take the link down when rings or offloads change, and forget what interrupts were set to. A route may be
/// lost with the link, so routes come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Turn {
    /// Kept by a file of sysctl.d.
    Sysctls,
    /// May take the link down.
    Link,
    Rest,
    Routes,
}

impl Turn {
    pub(crate) const ALL: [Self; 4] = [Self::Sysctls, Self::Link, Self::Rest, Self::Routes];
}

/// When the host starts, units apply what no file of sysctl.d can hold, in two stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootStage {
    /// Rings and offloads, which may take the link down: before the network is configured.
    BeforeNetwork,
    /// The rest: routes and interrupts are there only once the network is up.
    AfterNetwork,
}

impl BootStage {
    /// The name of the stage in options.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeNetwork => "before-network",
            Self::AfterNetwork => "after-network",
        }
    }
}

impl FromStr for BootStage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut stages = [Self::BeforeNetwork, Self::AfterNetwork].into_iter();
        let found = stages.find(|stage| stage.name() == text);
        found.ok_or_else(|| {
            format!("{text:?} is not a stage; write before-network or after-network")
        })
    }
}
