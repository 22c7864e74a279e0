//! Which core serves a connection: the one with the fewest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::STRANGERS_SHARE;

/// How many connections each core has, and how many there may be in all.
#[derive(Debug)]
pub struct Loads {
    open: Vec<AtomicUsize>,
    max: usize,
}

impl Loads {
    /// For `cores` cores that may have `max` connections together.
    #[must_use]
    pub fn new(cores: usize, max: usize) -> Arc<Self> {
        Arc::new(Self {
            open: (0..cores).map(|_| AtomicUsize::new(0)).collect(),
            max,
        })
    }

    /// Takes a place on the core with the fewest connections; among equals on `own`, which saves a
    /// connection the way to another core. `None` when there is no place left.
    #[must_use]
    pub fn seat(self: &Arc<Self>, own: usize) -> Option<Seat> {
        // LIMIT: descriptors (two a connection), counted in wardgate_connections_limited_total.
        if self.open() >= self.max {
            return None;
        }
        let load = |core: &usize| self.of(*core);
        let first = Some(own).filter(|own| *own < self.open.len()).into_iter();
        let core = first.chain(0..self.open.len()).min_by_key(load)?;
        self.open.get(core)?.fetch_add(1, Ordering::Relaxed);
        Some(Seat {
            loads: Arc::clone(self),
            core,
        })
    }

    /// How many handshakes with strangers a core may have under way.
    #[must_use]
    pub fn strangers_max(&self) -> usize {
        let share = self.max / STRANGERS_SHARE;
        share.div_ceil(self.open.len().max(1))
    }

    /// Connections on all cores.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
            .iter()
            .map(|open| open.load(Ordering::Relaxed))
            .sum()
    }

    fn of(&self, core: usize) -> usize {
        self.open
            .get(core)
            .map_or(usize::MAX, |open| open.load(Ordering::Relaxed))
    }
}

/// A connection's place on a core; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    loads: Arc<Loads>,
    core: usize,
}

impl Seat {
    /// The core.
    #[must_use]
    pub fn core(&self) -> usize {
        self.core
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(open) = self.loads.open.get(self.core) {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_spread_evenly_and_own_comes_first() {
        let loads = Loads::new(3, 9);
        let seats: Vec<_> = (0..9).map_while(|_| loads.seat(1)).collect();
        assert_eq!(seats.first().map(Seat::core), Some(1));
        for core in 0..3 {
            assert_eq!(
                seats.iter().filter(|seat| seat.core() == core).count(),
                3,
                "core {core}"
            );
        }
    }

    #[test]
    fn a_full_house_turns_away_until_somebody_leaves() {
        let loads = Loads::new(1, 2);
        let (first, _second) = (loads.seat(0), loads.seat(0));
        assert!(loads.seat(0).is_none());
        drop(first);
        assert!(loads.seat(0).is_some());
    }

    #[test]
    fn strangers_leave_room_for_the_others_on_every_core() {
        let loads = Loads::new(2, 1000);
        assert_eq!(loads.strangers_max(), 250);
        assert!(2 * loads.strangers_max() <= 1000 / STRANGERS_SHARE);
        assert_eq!(
            Loads::new(2, 1).strangers_max(),
            0,
            "a house of one has no room for strangers"
        );
    }
}
