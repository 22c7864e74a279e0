//! Limits the turns of bulk connections on a core with other active connections.

use std::cell::Cell;

use super::Size;
use crate::buffers::limits::SHORT_TURNS;

/// The number of a connection in `BulkFairness`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FairnessId(u64);

/// Remembers which connections of this core recently exchanged short messages. While another connection does,
/// bulk connections take shorter turns, so that no message waits for a whole large batch.
#[derive(Debug, Default)]
pub struct BulkFairness {
    count: Cell<u64>,
    // The last two connections with short messages, the latest first.
    talkers: Cell<[Option<FairnessId>; 2]>,
    short: Cell<u32>,
}

impl BulkFairness {
    /// Registers a new connection.
    pub fn join(&self) -> FairnessId {
        self.count.set(self.count.get().wrapping_add(1));
        FairnessId(self.count.get())
    }

    /// Records a short message of `fairness_id`.
    pub(super) fn note_short_message(&self, fairness_id: FairnessId) {
        let [latter, former] = self.talkers.get();
        if latter != Some(fairness_id) {
            self.talkers.set([Some(fairness_id), latter]);
        } else {
            self.talkers.set([latter, former]);
        }
        self.short.set(SHORT_TURNS);
    }

    /// How large a bulk turn of `fairness_id` may be now.
    pub(super) fn next(&self, fairness_id: FairnessId) -> Size {
        let others = self.talkers.get().into_iter().flatten();
        let Some(rest) = self.short.get().checked_sub(1) else {
            self.talkers.set([None; 2]);
            return Size::Large;
        };
        if others.filter(|other| *other != fairness_id).count() == 0 {
            return Size::Large;
        }
        self.short.set(rest);
        Size::Medium
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_takes_short_turns_while_others_exchange_messages() {
        let fairness = BulkFairness::default();
        let (bulk, chatter) = (fairness.join(), fairness.join());
        assert_eq!(fairness.next(bulk), Size::Large);
        fairness.note_short_message(chatter);
        for _ in 0..SHORT_TURNS {
            assert_eq!(fairness.next(bulk), Size::Medium);
        }
        assert_eq!(
            fairness.next(bulk),
            Size::Large,
            "no short messages any more"
        );
    }

    #[test]
    fn own_short_messages_do_not_shorten_own_turns() {
        let fairness = BulkFairness::default();
        let (one, other) = (fairness.join(), fairness.join());
        fairness.note_short_message(one);
        assert_eq!(fairness.next(one), Size::Large);
        fairness.note_short_message(other);
        fairness.note_short_message(one);
        fairness.note_short_message(one);
        assert_eq!(
            fairness.next(one),
            Size::Medium,
            "the other one sends short messages too"
        );
    }
}
