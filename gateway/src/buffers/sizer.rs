//! How large a buffer one direction of a connection wants next, by what its sender offers. How much of it
//! the receiver takes is the socket's to say (`uring::Socket::send_room`).

use super::{FairnessId, Pool, Size};
use crate::limits::{PLAINTEXT_ROOM, RECORDS_SMALL, SMALL_READS_MAX};

/// Learns from what was received: who fills small buffers gets large ones, who hardly fills large
/// ones goes back to small ones.
#[derive(Debug)]
pub struct BufferSizer {
    fairness_id: FairnessId,
    is_bulk: bool,
    small_reads: u32,
}

impl BufferSizer {
    /// That of one direction of `fairness_id`.
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

    /// What to borrow next.
    #[must_use]
    pub fn size(&self, pool: &Pool) -> Size {
        match self.is_bulk {
            true => pool.fairness().next(self.fairness_id),
            false => Size::Small,
        }
    }

    /// Notes that `count` octets were received into `room` octets.
    pub fn ate(&mut self, count: usize, room: usize, pool: &Pool) {
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
            pool.fairness().heard(self.fairness_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_gets_large_buffers_and_chatter_small_ones() {
        let pool = Pool::default();
        let mut sizer = BufferSizer::new(pool.fairness().join());
        assert_eq!(sizer.size(&pool), Size::Small);
        sizer.ate(200, 65_536, &pool);
        assert_eq!(sizer.size(&pool), Size::Small);
        sizer.ate(65_536, 65_536, &pool);
        assert_eq!(sizer.size(&pool), Size::Large);
        for _ in 1..SMALL_READS_MAX {
            sizer.ate(200, 1 << 20, &pool);
        }
        assert_eq!(
            sizer.size(&pool),
            Size::Large,
            "a pause is no change of mind"
        );
        sizer.ate(200, 1 << 20, &pool);
        assert_eq!(sizer.size(&pool), Size::Small);
    }
}
