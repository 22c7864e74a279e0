//! How long a turn bulk may take on a core that others share.

use std::cell::Cell;

use super::Size;
use crate::limits::SHORT_TURNS;

/// One connection, as `BulkFairness` knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FairnessId(u64);

/// Who said something short on this core of late. While anybody else chats, bulk takes shorter turns,
/// so that no message waits for a whole large batch.
#[derive(Debug, Default)]
pub struct BulkFairness {
    count: Cell<u64>,
    // The last two that chatted, the latter one first.
    talkers: Cell<[Option<FairnessId>; 2]>,
    short: Cell<u32>,
}

impl BulkFairness {
    /// A new connection.
    pub fn join(&self) -> FairnessId {
        self.count.set(self.count.get().wrapping_add(1));
        FairnessId(self.count.get())
    }

    /// Notes that `fairness_id` said something short.
    pub(super) fn heard(&self, fairness_id: FairnessId) {
        let [latter, former] = self.talkers.get();
        if latter != Some(fairness_id) {
            self.talkers.set([Some(fairness_id), latter]);
        } else {
            self.talkers.set([latter, former]);
        }
        self.short.set(SHORT_TURNS);
    }

    /// How large a turn of bulk `fairness_id` may take now.
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
    fn bulk_beside_chatter_takes_short_turns_for_a_while() {
        let fairness = BulkFairness::default();
        let (bulk, chatter) = (fairness.join(), fairness.join());
        assert_eq!(fairness.next(bulk), Size::Large);
        fairness.heard(chatter);
        for _ in 0..SHORT_TURNS {
            assert_eq!(fairness.next(bulk), Size::Medium);
        }
        assert_eq!(fairness.next(bulk), Size::Large, "silence again");
    }

    #[test]
    fn ones_own_answers_shorten_nothing() {
        let fairness = BulkFairness::default();
        let (one, other) = (fairness.join(), fairness.join());
        fairness.heard(one);
        assert_eq!(fairness.next(one), Size::Large);
        fairness.heard(other);
        fairness.heard(one);
        fairness.heard(one);
        assert_eq!(fairness.next(one), Size::Medium, "the other one chats too");
    }
}
