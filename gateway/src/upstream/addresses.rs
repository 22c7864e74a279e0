//! Remembers addresses that did not answer: they are tried last for a while, and reported.
//!
//! Pure: no socket, no clock.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::measure::ReachedBound;
use crate::upstream::limits::{
    ADDRESS_REPORT_EVERY, ADDRESS_SILENT, BACK_OFF_MAX, DEAD_ADDRESSES_MAX, NAME_STALE,
};

/// The addresses whose last attempt got no answer.
#[derive(Debug, Default)]
pub(super) struct DeadAddresses {
    known: HashMap<SocketAddr, Dead>,
}

#[derive(Debug)]
struct Dead {
    since: Instant,
    failed: Instant,
    reported: Option<Instant>,
}

/// A log message about an address or a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressReport {
    /// The address did not answer, and another one was used.
    Silent {
        /// The target as configured.
        target: String,
        /// Its address that did not answer.
        address: SocketAddr,
        /// The result of the attempt, as text.
        why: String,
        /// The address that was used instead.
        used: SocketAddr,
    },
    /// Connections to the target fail again and again, so others are tried first.
    Fails {
        /// The reason of the last failure, which names the target.
        why: String,
    },
    /// A connection to a target whose failures were reported has succeeded.
    Works {
        /// The target as configured.
        target: String,
        /// The time since the first failure.
        after: Duration,
    },
    /// The name of the target cannot be resolved.
    Unresolved {
        /// The target as configured.
        target: String,
        /// The resolver's error, as text.
        why: String,
        /// Whether a cached address is still in use, for up to `limits::NAME_STALE`.
        is_remembered: bool,
    },
    /// A name that was reported as unresolved can be resolved again.
    Resolved {
        /// The target as configured.
        target: String,
        /// The time since the first failure.
        after: Duration,
    },
    /// An address that was reported as silent answers again.
    Answers {
        /// The target as configured.
        target: String,
        /// Its address.
        address: SocketAddr,
        /// The time since the first attempt without an answer.
        after: Duration,
    },
}

impl DeadAddresses {
    /// Whether `address` should be tried after others: it failed less than `limits::ADDRESS_SILENT` ago.
    pub(super) fn is_dead(&self, address: SocketAddr, now: Instant) -> bool {
        let known = self.known.get(&address);
        known.is_some_and(|dead| now.saturating_duration_since(dead.failed) < ADDRESS_SILENT)
    }

    /// Records that `address` did not answer.
    pub(super) fn on_silence(&mut self, address: SocketAddr, now: Instant) {
        if let Some(dead) = self.known.get_mut(&address) {
            dead.failed = now;
            return;
        }
        // LIMIT: DEAD_ADDRESSES_MAX. When full, entries whose report may be repeated anyway are dropped.
        if self.known.len() >= DEAD_ADDRESSES_MAX {
            ReachedBound::DeadAddresses.note();
            self.known.retain(|_, dead| {
                now.saturating_duration_since(dead.failed) < ADDRESS_REPORT_EVERY
            });
        }
        if self.known.len() < DEAD_ADDRESSES_MAX {
            let dead = Dead {
                since: now,
                failed: now,
                reported: None,
            };
            self.known.insert(address, dead);
        }
    }

    /// Records that `address` answered. If its silence was reported, returns the time since the first
    /// failure.
    pub(super) fn on_answer(&mut self, address: SocketAddr, now: Instant) -> Option<Duration> {
        let dead = self.known.remove(&address)?;
        dead.reported?;
        Some(now.saturating_duration_since(dead.since))
    }

    /// Whether the silence of `address` is due for a report; records it as reported.
    pub(super) fn should_report(&mut self, address: SocketAddr, now: Instant) -> bool {
        let Some(dead) = self.known.get_mut(&address) else {
            return false;
        };
        let is_due = dead
            .reported
            .is_none_or(|reported| now.saturating_duration_since(reported) >= ADDRESS_REPORT_EVERY);
        if is_due {
            dead.reported = Some(now);
        }
        is_due
    }
}

impl fmt::Display for AddressReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent {
                target,
                address,
                why,
                used,
            } => write!(
                f,
                "target {target}: no connection to its address {address}: {why}; {used} answered and \
                 is used. Other addresses are tried before {address} for {} s. Correct the address \
                 in DNS or in `targets`, or fix the network path to it",
                ADDRESS_SILENT.as_secs()
            ),
            Self::Fails { why } => write!(
                f,
                "{why}; other targets are tried before this one, which one connection tries again at least \
                 every {} s",
                BACK_OFF_MAX.as_secs()
            ),
            Self::Works { target, after } => write!(
                f,
                "target {target}: connections to it succeed again after {} s",
                after.as_secs()
            ),
            Self::Unresolved {
                target,
                why,
                is_remembered,
            } => {
                write!(f, "target {target}: its name cannot be resolved: {why}; ")?;
                if *is_remembered {
                    let minutes = NAME_STALE.as_secs() / 60;
                    write!(
                        f,
                        "the last known addresses are used for up to {minutes} min; "
                    )?;
                }
                f.write_str("correct the name in `targets`, or fix this machine's DNS resolution")
            }
            Self::Resolved { target, after } => write!(
                f,
                "target {target}: its name can be resolved again after {} s",
                after.as_secs()
            ),
            Self::Answers {
                target,
                address,
                after,
            } => write!(
                f,
                "target {target}: its address {address} answers again after {} s",
                after.as_secs()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    #[test]
    fn a_silent_address_is_dead_for_a_while_after_its_last_failure() {
        let (start, mut dead) = (Instant::now(), DeadAddresses::default());
        assert!(!dead.is_dead(address(1), start), "it was never tried");
        dead.on_silence(address(1), start);
        assert!(dead.is_dead(address(1), start + ADDRESS_SILENT / 2));
        assert!(!dead.is_dead(address(2), start), "another address");
        assert!(!dead.is_dead(address(1), start + ADDRESS_SILENT));
        dead.on_silence(address(1), start + ADDRESS_SILENT);
        assert!(dead.is_dead(address(1), start + ADDRESS_SILENT));
        dead.on_answer(address(1), start + ADDRESS_SILENT);
        assert!(!dead.is_dead(address(1), start + ADDRESS_SILENT));
    }

    #[test]
    fn a_silent_address_is_reported_once_an_hour_and_its_recovery_once() {
        let (start, mut dead) = (Instant::now(), DeadAddresses::default());
        assert!(!dead.should_report(address(1), start), "it never failed");
        let minutes = (0..125).map(|minute| start + minute * Duration::from_secs(60));
        let reports = minutes.filter(|now| {
            dead.on_silence(address(1), *now);
            dead.should_report(address(1), *now)
        });
        assert_eq!(reports.count(), 3);
        let end = start + Duration::from_secs(9000);
        let after = dead.on_answer(address(1), end);
        assert_eq!(after, Some(Duration::from_secs(9000)));
        assert_eq!(dead.on_answer(address(1), end), None, "reported once");
        dead.on_silence(address(1), end);
        assert_eq!(dead.on_answer(address(1), end), None, "never reported");
    }

    #[test]
    fn remembered_addresses_are_bounded_and_old_ones_are_dropped() {
        let (start, mut dead) = (Instant::now(), DeadAddresses::default());
        for port in 1..=2 * u16::try_from(DEAD_ADDRESSES_MAX).expect("it is small") {
            dead.on_silence(address(port), start);
        }
        assert_eq!(dead.known.len(), DEAD_ADDRESSES_MAX);
        assert!(!dead.is_dead(address(9999), start), "there was no room");
        let later = start + ADDRESS_REPORT_EVERY;
        dead.on_silence(address(9999), later);
        assert!(dead.is_dead(address(9999), later));
        assert_eq!(dead.known.len(), 1);
    }
}
