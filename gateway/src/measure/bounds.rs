//! Counters of bounds that were reached, for bounds that belong to no route.

use super::Counter;

/// A bound whose reaching is an event. The variants carry the names of their constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReachedBound {
    /// `upstream::limits::NAMES_MAX`.
    Names,
    /// `upstream::limits::DEAD_ADDRESSES_MAX`.
    DeadAddresses,
    /// `worker::limits::PROBES_MAX`.
    Probes,
    /// `uring::limits::LOOK_UPS_MAX`.
    LookUps,
    /// `uring::limits::LINGER_BYTES_MAX`.
    LingerBytes,
    /// `relay::limits::RATE_SOURCES_MAX`.
    RateSources,
    /// `dicom::limits::OUTSTANDING_MAX`.
    DicomOutstanding,
    /// `hl7::limits::MLLP_PENDING_MAX`.
    MllpPending,
    /// `hl7::limits::MLLP_TYPES_MAX`.
    MllpTypes,
    /// `audit::limits::SOURCE_LINES_BURST` and `ROUTE_LINES_BURST`.
    LogLines,
    /// `admin::limits::ADMIN_REQUESTS_MAX`.
    AdminRequests,
    /// `admin::limits::ADMIN_REQUEST_BYTES_MAX`.
    AdminRequestBytes,
}

static REACHED: [Counter; ReachedBound::ALL.len()] =
    [const { Counter::zero() }; ReachedBound::ALL.len()];

impl ReachedBound {
    /// All bounds, in the order of the variants.
    pub(crate) const ALL: [Self; 12] = [
        Self::Names,
        Self::DeadAddresses,
        Self::Probes,
        Self::LookUps,
        Self::LingerBytes,
        Self::RateSources,
        Self::DicomOutstanding,
        Self::MllpPending,
        Self::MllpTypes,
        Self::LogLines,
        Self::AdminRequests,
        Self::AdminRequestBytes,
    ];

    /// The bound's name in metrics.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Names => "names",
            Self::DeadAddresses => "dead_addresses",
            Self::Probes => "probes",
            Self::LookUps => "look_ups",
            Self::LingerBytes => "linger_bytes",
            Self::RateSources => "rate_sources",
            Self::DicomOutstanding => "dicom_outstanding",
            Self::MllpPending => "mllp_pending",
            Self::MllpTypes => "mllp_types",
            Self::LogLines => "log_lines",
            Self::AdminRequests => "admin_requests",
            Self::AdminRequestBytes => "admin_request_bytes",
        }
    }

    /// Counts that the bound was reached. Any thread may call it; it is rare, so all share one counter.
    pub(crate) fn note(self) {
        REACHED[self as usize].add(1);
    }

    /// How often the bound was reached since the start of the process.
    #[must_use]
    pub(crate) fn count(self) -> u64 {
        REACHED[self as usize].get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_has_its_own_counter_and_name() {
        for (at, bound) in ReachedBound::ALL.into_iter().enumerate() {
            assert_eq!(bound as usize, at);
            let same = ReachedBound::ALL
                .iter()
                .filter(|other| other.name() == bound.name());
            assert_eq!(same.count(), 1, "{}", bound.name());
        }
        // No other test of this process reaches it.
        ReachedBound::AdminRequestBytes.note();
        assert_eq!(ReachedBound::AdminRequestBytes.count(), 1);
    }
}
