//! The scenarios that chains are measured by.

use clap::ValueEnum;

use crate::chain::Chain;

/// What is done through every chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Scenario {
    /// Bytes one way: CPU seconds per GB of each end, and the rate
    Bulk,
    /// Full mutual handshakes with B, one after another: CPU time of each
    Handshake,
    /// 200 bytes and their echo: the latency
    Pingpong,
    /// Messages at a fixed rate, beside a stream of bulk through the same chain
    Mixed,
    /// A CT series by dcmtk's programs, with their defaults and without Nagle's algorithm
    Dicom,
    /// Mammograms stored by the bench itself, in PDUs of 16 and of 128 KiB: CPU seconds per GB
    Store,
    /// Many connections that have spoken once and are silent: memory of each end
    Idle,
}

impl Scenario {
    /// In the order of a round.
    pub(crate) const ALL: [Self; 7] = [
        Self::Bulk,
        Self::Handshake,
        Self::Pingpong,
        Self::Mixed,
        Self::Dicom,
        Self::Store,
        Self::Idle,
    ];

    /// Whether what is done is DICOM, which any chain carries.
    pub(crate) fn is_dicom(self) -> bool {
        matches!(self, Self::Dicom | Self::Store)
    }

    /// Whether this is measured of `chain`: some chains are there for one comparison.
    pub(super) fn fits(self, chain: &Chain) -> bool {
        (self.is_dicom() || !chain.is_dicom()) && (self == Self::Bulk || !chain.compares_ciphers())
    }
}
