//! The faults that are measured.

/// What happens to one machine, or to both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// `kill -9` of its gateway.
    Kill,
    /// `wardgate drain`.
    Drain,
    /// Its link to the LAN is down.
    LanDown,
    /// Its link to the WAN is down.
    WanDown,
    /// The other site does not answer this machine.
    PeerLost,
    /// Both machines are started again.
    BothRestarted,
}

impl Fault {
    /// How the table names it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Kill => "`kill -9` of the gateway",
            Self::Drain => "planned drain",
            Self::LanDown => "LAN link down",
            Self::WanDown => "WAN link down",
            Self::PeerLost => "WAN peer lost for one machine",
            Self::BothRestarted => "both machines restarted",
        }
    }
}
