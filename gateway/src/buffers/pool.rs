//! A core's pool of buffers.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use super::fairness::BulkFairness;
use super::{Batch, Buffer, Size};
use crate::buffers::limits::{POOL_LARGE, POOL_LARGE_AT_REST, POOL_SMALL, RECORDS_LARGE};

/// Lends large buffers while some are free, and small ones always.
#[derive(Debug, Clone)]
pub struct Pool {
    large: Rc<Shelf>,
    small: Rc<Shelf>,
    fairness: Rc<BulkFairness>,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(POOL_LARGE)
    }
}

impl Pool {
    /// A pool that lends at most `large` large buffers at a time.
    ///
    /// Memory is allocated when a buffer is first lent. Large buffers are then kept, and up to
    /// `limits::POOL_SMALL` small ones.
    #[must_use]
    pub fn new(large: usize) -> Self {
        Self {
            large: Shelf::new(Size::Large, large),
            small: Shelf::new(Size::Small, POOL_SMALL),
            fairness: Rc::default(),
        }
    }

    /// Lends an empty buffer of this size, or a small one if no large one is free.
    #[must_use]
    pub fn take(&self, size: Size) -> Buffer {
        let large = match size {
            Size::Large | Size::Medium => self.large.take(),
            Size::Small => None,
        };
        let mut buffer = large.unwrap_or_else(|| self.small.take_or_make());
        buffer.limit(size.room());
        buffer
    }

    /// Lends an empty buffer of which at most `most` bytes are used, or a small one.
    #[must_use]
    pub fn take_within(&self, size: Size, most: usize) -> Buffer {
        if most <= Size::Small.room() {
            return self.take(Size::Small);
        }
        let mut buffer = self.take(size);
        buffer.limit(size.room().min(most));
        buffer
    }

    /// Lends an empty batch.
    #[must_use]
    pub fn batch(&self, size: Size) -> Batch {
        Batch::new(self.take(size))
    }

    /// Lends an empty batch of limited size, like `take_within`.
    #[must_use]
    pub fn batch_within(&self, size: Size, most: usize) -> Batch {
        Batch::new(self.take_within(size, most))
    }

    /// The fairness state of this core.
    #[must_use]
    pub fn fairness(&self) -> &BulkFairness {
        &self.fairness
    }

    /// Whether so many large buffers are lent that a waiting connection should hold none.
    #[must_use]
    pub fn is_in_demand(&self) -> bool {
        self.large.lent() > POOL_LARGE_AT_REST
    }

    /// The number of large buffers that are lent.
    #[must_use]
    pub fn lent(&self) -> usize {
        self.large.lent()
    }

    /// How many times a small buffer was lent because all large ones were.
    #[must_use]
    pub fn exhausted(&self) -> u64 {
        self.large.exhausted.get()
    }
}

type Memory = (Vec<u8>, VecDeque<Range<usize>>);

#[derive(Debug)]
pub(super) struct Shelf {
    size: Size,
    // The maximum number.
    count: usize,
    free: RefCell<Vec<Memory>>,
    // The number of buffers that may still be created. Together with `free` and the lent buffers this is the
    // shelf's limit.
    unmade: Cell<usize>,
    exhausted: Cell<u64>,
}

impl Shelf {
    fn new(size: Size, count: usize) -> Rc<Self> {
        Rc::new(Self {
            size,
            count,
            free: RefCell::new(Vec::with_capacity(count)),
            unmade: Cell::new(count),
            exhausted: Cell::new(0),
        })
    }

    fn lent(&self) -> usize {
        let here = self.unmade.get().saturating_add(self.free.borrow().len());
        self.count.saturating_sub(here)
    }

    fn take(self: &Rc<Self>) -> Option<Buffer> {
        let kept = self.free.borrow_mut().pop();
        let (bytes, parts) = match (kept, self.unmade.get().checked_sub(1)) {
            (Some(memory), _) => memory,
            (None, Some(rest)) => {
                self.unmade.set(rest);
                make(self.size)
            }
            (None, None) => {
                self.exhausted.set(self.exhausted.get().saturating_add(1));
                return None;
            }
        };
        let origin = origin(&bytes);
        Some(Buffer::around(bytes, parts, origin, Some(Rc::clone(self))))
    }

    fn take_or_make(self: &Rc<Self>) -> Buffer {
        self.take().unwrap_or_else(|| {
            let (bytes, parts) = make(self.size);
            let origin = origin(&bytes);
            Buffer::around(bytes, parts, origin, None)
        })
    }

    pub(super) fn give_back(&self, memory: Memory) {
        if memory.0.is_empty() {
            // A dropped operation has kept the memory, so another buffer may be created.
            self.unmade.set(self.unmade.get().saturating_add(1));
        } else {
            self.free.borrow_mut().push(memory);
        }
    }
}

/// The offset within a page at which the room of every buffer begins.
///
/// The kernel copies between a socket and a buffer with `rep movsb`. On AMD Zen 3 this is about 20 times
/// slower if destination minus source, modulo the page size, is 1 to 31. The kernel's own data mostly begins
/// at the start of a page, and glibc places a large allocation 16 bytes into a page, which gives such a
/// distance. Half a page is far from both.
pub(super) const PAGE_OFFSET: usize = PAGE / 2;

const PAGE: usize = 4096;

// The allocator chooses the address, so the memory has one extra page from which to choose the origin. The
// rest of this page after the room is unused.
fn make(size: Size) -> Memory {
    let mut bytes = vec![0; size.room() + PAGE];
    bytes.truncate(origin(&bytes).saturating_add(size.room()));
    (bytes, VecDeque::with_capacity(RECORDS_LARGE))
}

// The first offset in `bytes` that is `PAGE_OFFSET` into a page.
fn origin(bytes: &[u8]) -> usize {
    let origin = PAGE_OFFSET.wrapping_sub(bytes.as_ptr().addr()) % PAGE;
    origin.min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffers::limits::{PLAINTEXT_ROOM, RECORD_HEADER};

    #[test]
    fn an_exhausted_pool_lends_small_buffers() {
        let pool = Pool::new(1);
        let large = pool.take(Size::Large);
        let small = pool.take(Size::Large);
        assert_eq!(large.spare(), Size::Large.room());
        assert_eq!(small.spare(), Size::Small.room());
        assert_eq!(pool.exhausted(), 1);
        drop(large);
        assert_eq!(pool.take(Size::Large).spare(), Size::Large.room());
    }

    fn page_offset(bytes: &[u8]) -> usize {
        bytes.as_ptr().addr() % PAGE
    }

    #[test]
    fn every_buffer_begins_half_a_page_into_a_page() {
        let pool = Pool::new(2);
        // Allocations of odd sizes move the allocator to other offsets.
        let mut odd: Vec<Vec<u8>> = Vec::new();
        let mut kept = Vec::new();
        for round in 0..600 {
            odd.push(vec![0; 13 + 16 * round]);
            let size = match round % 3 {
                0 => Size::Small,
                1 => Size::Medium,
                _ => Size::Large,
            };
            let mut buffer = pool.take(size);
            assert_eq!(page_offset(buffer.spare_mut()), PAGE_OFFSET);
            assert!(buffer.spare() == size.room() || buffer.spare() == Size::Small.room());
            kept.extend((round % 2 == 0).then_some(buffer));
        }
    }

    #[test]
    fn a_buffer_begins_at_the_same_offset_after_every_use() {
        for size in [Size::Small, Size::Large] {
            let pool = Pool::new(1);
            for _ in 0..2 {
                let mut buffer = pool.take(size);
                let (bytes, room) = buffer.lend_spare();
                assert_eq!(page_offset(&bytes[room]), PAGE_OFFSET);
                buffer.restore(bytes);
                buffer.fill(100);
                buffer.consume(60);
                buffer.compact();
                assert_eq!(page_offset(buffer.filled()), PAGE_OFFSET, "compacted");
                buffer.send_filled();
                let (bytes, parts) = buffer.lend_parts();
                assert_eq!(page_offset(&bytes[parts[0].clone()]), PAGE_OFFSET);
                buffer.restore_parts((bytes, parts));
                buffer.sent(40);
                assert_eq!(page_offset(buffer.spare_mut()), PAGE_OFFSET, "sent");
                assert_eq!(buffer.spare(), size.room(), "no room is lost");
            }
            let mut batch = pool.batch(size);
            assert_eq!(batch.room(), size.records() * PLAINTEXT_ROOM);
            let (bytes, parts) = batch.lend();
            let first = page_offset(&bytes[parts[0].clone()]);
            assert_eq!(first, PAGE_OFFSET + RECORD_HEADER);
            batch.restore((bytes, parts));
            batch.fill(7);
            let records = batch.into_records(29);
            let part = records.outgoing_parts().next().expect("a record");
            assert_eq!((page_offset(part), part.len()), (PAGE_OFFSET, 29));
        }
    }

    #[test]
    fn no_large_buffer_is_lent_for_a_receiver_that_takes_little() {
        let pool = Pool::new(1);
        for (most, room) in [
            (0, Size::Small.room()),
            (Size::Small.room(), Size::Small.room()),
            (300_000, 300_000),
            (usize::MAX, Size::Large.room()),
        ] {
            let buffer = pool.take_within(Size::Large, most);
            assert_eq!(buffer.spare(), room);
            assert_eq!(
                buffer.memory() > Size::Small.room(),
                room > Size::Small.room()
            );
        }
        assert_eq!(pool.exhausted(), 0);
    }

    #[test]
    fn large_buffers_are_in_demand_when_many_are_lent() {
        let pool = Pool::new(POOL_LARGE);
        let mut lent: Vec<_> = (0..POOL_LARGE_AT_REST)
            .map(|_| pool.take(Size::Large))
            .collect();
        assert!(!pool.is_in_demand());
        lent.push(pool.take(Size::Large));
        assert!(pool.is_in_demand());
        lent.pop();
        assert!(!pool.is_in_demand());
    }

    #[test]
    fn small_buffers_do_not_run_out() {
        let pool = Pool::new(0);
        let many: Vec<_> = (0..POOL_SMALL + 3)
            .map(|_| pool.take(Size::Small))
            .collect();
        assert!(many.iter().all(|b| b.spare() == Size::Small.room()));
        assert_eq!(pool.exhausted(), 0);
        drop(many);
        assert_eq!(pool.small.free.borrow().len(), POOL_SMALL);
    }

    #[test]
    fn a_buffer_lost_to_an_operation_is_replaced() {
        let pool = Pool::new(1);
        let mut buffer = pool.take(Size::Large);
        let lent = buffer.lend_spare();
        drop(buffer);
        drop(lent);
        assert_eq!(pool.take(Size::Large).spare(), Size::Large.room());
    }
}
