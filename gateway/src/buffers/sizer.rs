//! Chooses the buffer size of one direction of a connection, from the bytes that its sender offers. The
//! receiver's speed is considered elsewhere (`uring::Socket::send_room`).

use super::{FairnessId, Pool, Size};
use crate::buffers::limits::{PLAINTEXT_ROOM, RECORDS_SMALL, SMALL_READS_MAX};

/// Learns from received bytes: a sender that fills small buffers gets large ones; a sender that hardly fills
/// large buffers gets small ones.
#[derive(Debug)]
pub struct BufferSizer {
    fairness_id: FairnessId,
    is_bulk: bool,
    small_reads: u32,
}

impl BufferSizer {
    /// The sizer of one direction of `fairness_id`.
    #[must_use]
    pub fn new(fairness_id: FairnessId) -> Self {
        Self {
            fairness_id,
            is_bulk: false,
            small_reads: 0,
        }
    }

    /// Whether large buffers are wanted.
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        self.is_bulk
    }

    /// The size to borrow next.
    #[must_use]
    pub fn size(&self, pool: &Pool) -> Size {
        match self.is_bulk {
            true => pool.fairness().next(self.fairness_id),
            false => Size::Small,
        }
    }

    /// Records that `count` bytes were received into `room` bytes.
    pub fn note_received(&mut self, count: usize, room: usize, pool: &Pool) {
        if count >= room {
            (self.is_bulk, self.small_reads) = (true, 0);
            return;
        }
        if count > RECORDS_SMALL * PLAINTEXT_ROOM {
            self.small_reads = 0;
            return;
        }
        self.small_reads = self.small_reads.saturating_add(1);
        self.is_bulk &= self.small_reads < SMALL_READS_MAX;
        if !self.is_bulk {
            pool.fairness().note_short_message(self.fairness_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_gets_large_buffers_and_messages_get_small_ones() {
        let pool = Pool::default();
        let mut sizer = BufferSizer::new(pool.fairness().join());
        assert_eq!(sizer.size(&pool), Size::Small);
        sizer.note_received(200, 65_536, &pool);
        assert_eq!(sizer.size(&pool), Size::Small);
        sizer.note_received(65_536, 65_536, &pool);
        assert_eq!(sizer.size(&pool), Size::Large);
        for _ in 1..SMALL_READS_MAX {
            sizer.note_received(200, 1 << 20, &pool);
        }
        assert_eq!(
            sizer.size(&pool),
            Size::Large,
            "a pause does not change the size"
        );
        sizer.note_received(200, 1 << 20, &pool);
        assert_eq!(sizer.size(&pool), Size::Small);
    }
}
