//! Counts of open connections by source and by peer, on one route.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::client_source::Source;
use crate::config::PeerName;

/// Connections by source.
#[derive(Debug, Default)]
pub(super) struct BySource(
    // INVARIANT: each entry has at least one connection, so there are never more entries than connections.
    Mutex<HashMap<Source, u32>>,
);

impl BySource {
    /// Counts a connection and returns how many the source had before.
    pub(super) fn add(&self, source: Source) -> u32 {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        let before = *count;
        *count = before.saturating_add(1);
        before
    }

    /// Uncounts a connection.
    pub(super) fn remove(&self, source: Source) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&source);
            }
        }
    }
}

/// Counts by the identities of peers. The identities of one peer share a count.
#[derive(Debug, Default)]
pub(super) struct ByIdentity(Mutex<HashMap<String, Arc<AtomicU32>>>);

impl ByIdentity {
    /// The count of a peer that is accepted by any of `identities`.
    pub(super) fn of(&self, identities: &[PeerName]) -> Arc<AtomicU32> {
        // A panic cannot leave an entry half made.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = || identities.iter().map(ToString::to_string);
        let count = names().find_map(|name| all.get(&name).cloned());
        let count = count.unwrap_or_default();
        // Drops the entries of identities that are no longer configured and have nothing open.
        all.retain(|_, known| Arc::strong_count(known) > 1);
        all.extend(names().map(|name| (name, Arc::clone(&count))));
        count
    }
}

/// A connection in a count; uncounted on drop.
#[derive(Debug)]
pub(crate) struct CountedPlace(Arc<AtomicU32>);

impl CountedPlace {
    /// Takes a place among at most `most`; `None` if all are taken.
    pub(super) fn take(count: &Arc<AtomicU32>, most: u32) -> Option<Self> {
        let one_more = |open: u32| (open < most).then(|| open.saturating_add(1));
        let taken = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.ok().map(|_| Self(Arc::clone(count)))
    }
}

impl Drop for CountedPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_source_is_forgotten_with_its_last_connection() {
        let counts = BySource::default();
        let source = |text: &str| Source::from(text.parse::<IpAddr>().expect("an address"));
        let (one, other) = (source("2001:db8::1"), source("192.0.2.1"));
        assert_eq!((counts.add(one), counts.add(other)), (0, 0));
        assert_eq!(counts.add(source("2001:db8::2")), 1, "the same /64");
        for source in [one, one, other, other] {
            counts.remove(source);
        }
        assert!(counts.0.lock().expect("no holder panicked").is_empty());
    }

    #[test]
    fn no_more_places_are_taken_than_there_are() {
        let count = Arc::default();
        let places: Vec<_> = (0..9)
            .filter_map(|_| CountedPlace::take(&count, 3))
            .collect();
        assert_eq!(places.len(), 3);
        drop(places);
        assert!(CountedPlace::take(&count, 1).is_some());
    }
}
