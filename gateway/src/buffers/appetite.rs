//! How large a buffer one direction of a connection borrows next.

use super::Size;
use crate::limits::{RECORDS_SMALL, SMALL_READS_MAX};

/// Learns from what was received: who fills small buffers gets large ones, who hardly fills large
/// ones goes back to small ones.
#[derive(Debug, Default)]
pub struct Appetite {
    size: Size,
    small_reads: u32,
}

impl Appetite {
    /// What to borrow next.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// Notes that `count` octets were received into `room` octets.
    pub fn ate(&mut self, count: usize, room: usize) {
        if count >= room {
            (self.size, self.small_reads) = (Size::Large, 0);
        } else if count <= RECORDS_SMALL * crate::limits::PLAINTEXT_ROOM {
            self.small_reads = self.small_reads.saturating_add(1);
            if self.small_reads >= SMALL_READS_MAX {
                self.size = Size::Small;
            }
        } else {
            self.small_reads = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_gets_large_buffers_and_chatter_small_ones() {
        let mut appetite = Appetite::default();
        assert_eq!(appetite.size(), Size::Small);
        appetite.ate(200, 65_536);
        assert_eq!(appetite.size(), Size::Small);
        appetite.ate(65_536, 65_536);
        assert_eq!(appetite.size(), Size::Large);
        for _ in 1..SMALL_READS_MAX {
            appetite.ate(200, 1 << 20);
        }
        assert_eq!(appetite.size(), Size::Large, "a pause is no change of mind");
        appetite.ate(200, 1 << 20);
        assert_eq!(appetite.size(), Size::Small);
    }
}
