//! Connection numbers, which link the log lines of one connection.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The number of one connection, unique across all starts of the gateway on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    // Milliseconds from 1970 to the start of its worker.
    start: u64,
    core: usize,
    number: u64,
}

impl ConnectionId {
    /// Its number among the connections of its core.
    #[must_use]
    pub fn number(self) -> u64 {
        self.number
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}-{}", self.start, self.core, self.number)
    }
}

/// The number as it is in a log line.
impl FromStr for ConnectionId {
    type Err = NoConnectionId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.trim().splitn(3, '-');
        let mut part = || parts.next().ok_or(NoConnectionId);
        let start = u64::from_str_radix(part()?, 16).map_err(|_| NoConnectionId)?;
        let core = part()?.parse().map_err(|_| NoConnectionId)?;
        let number = part()?.parse().map_err(|_| NoConnectionId)?;
        Ok(Self {
            start,
            core,
            number,
        })
    }
}

/// A text that is no number of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoConnectionId;

/// Assigns numbers to the connections of one core.
#[derive(Debug)]
pub struct ConnectionIds {
    start: u64,
    core: usize,
    given: Cell<u64>,
}

impl ConnectionIds {
    /// For the core with this index, whose worker started at `now`.
    #[must_use]
    pub fn new(core: usize, now: SystemTime) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            start: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            core,
            given: Cell::new(0),
        }
    }

    /// What the ids of this core begin with: milliseconds from 1970 to the start of its worker.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The next number.
    pub fn next(&self) -> ConnectionId {
        let number = self.given.get().wrapping_add(1);
        self.given.set(number);
        ConnectionId {
            start: self.start,
            core: self.core,
            number,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_differ_between_connections_cores_and_starts() {
        let start = UNIX_EPOCH + Duration::from_millis(0x19a_0000_0000);
        let starts = [start, start + Duration::from_millis(1)];
        let cores = starts
            .iter()
            .flat_map(|start| [0, 1].map(|core| (core, *start)));
        let ids: HashSet<_> = cores
            .map(|(core, start)| ConnectionIds::new(core, start))
            .flat_map(|ids| [ids.next(), ids.next()].map(|id| id.to_string()))
            .collect();
        assert_eq!(ids.len(), 8);
        assert!(ids.contains("19a00000000-1-2"), "{ids:?}");
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let ids = ConnectionIds::new(1, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let id = ids.next();
        assert_eq!(format!(" {id}\n").parse(), Ok(id));
        for wrong in ["", "1", "1-2", "g-0-1", "1-2-3-4", "1--1", "1-0-x"] {
            assert_eq!(
                wrong.parse::<ConnectionId>(),
                Err(NoConnectionId),
                "{wrong}"
            );
        }
    }
}
