//! A core's pool of buffers.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use super::turns::Turns;
use super::{Batch, Buffer};
use crate::limits::{
    POOL_LARGE, POOL_SMALL, RECORD_ROOM, RECORDS_LARGE, RECORDS_MEDIUM, RECORDS_SMALL,
};

/// How large a buffer is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// `RECORDS_SMALL` records: messages, and the beginning of everything.
    #[default]
    Small,
    /// `RECORDS_MEDIUM` records: bulk beside chatter.
    Medium,
    /// `RECORDS_LARGE` records: bulk.
    Large,
}

impl Size {
    /// Octets of memory.
    #[must_use]
    pub const fn room(self) -> usize {
        self.records() * RECORD_ROOM
    }

    /// Records of full length that there is room for.
    #[must_use]
    pub const fn records(self) -> usize {
        match self {
            Self::Small => RECORDS_SMALL,
            Self::Medium => RECORDS_MEDIUM,
            Self::Large => RECORDS_LARGE,
        }
    }
}

/// Lends large buffers while there are some, and small ones in any case.
#[derive(Debug, Clone)]
pub struct Pool {
    large: Rc<Shelf>,
    small: Rc<Shelf>,
    turns: Rc<Turns>,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(POOL_LARGE)
    }
}

impl Pool {
    /// A pool that lends at most `large` large buffers at a time.
    ///
    /// Memory is taken from the system when it is first lent. Large buffers are kept from then on,
    /// and small ones up to `limits::POOL_SMALL`.
    #[must_use]
    pub fn new(large: usize) -> Self {
        Self {
            large: Shelf::new(Size::Large, large),
            small: Shelf::new(Size::Small, POOL_SMALL),
            turns: Rc::default(),
        }
    }

    /// Lends an empty buffer: a small one where no large one is left.
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

    /// Lends an empty batch.
    #[must_use]
    pub fn batch(&self, size: Size) -> Batch {
        Batch::new(self.take(size))
    }

    /// Who takes turns with whom on this core.
    #[must_use]
    pub fn turns(&self) -> &Turns {
        &self.turns
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
    free: RefCell<Vec<Memory>>,
    // Buffers that were never made yet; with `free` and those lent, this is the shelf's bound.
    unmade: Cell<usize>,
    exhausted: Cell<u64>,
}

impl Shelf {
    fn new(size: Size, count: usize) -> Rc<Self> {
        Rc::new(Self {
            size,
            free: RefCell::new(Vec::with_capacity(count)),
            unmade: Cell::new(count),
            exhausted: Cell::new(0),
        })
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
        Some(Buffer::around(bytes, parts, Some(Rc::clone(self))))
    }

    fn take_or_make(self: &Rc<Self>) -> Buffer {
        self.take().unwrap_or_else(|| {
            let (bytes, parts) = make(self.size);
            Buffer::around(bytes, parts, None)
        })
    }

    pub(super) fn give_back(&self, memory: Memory) {
        if memory.0.is_empty() {
            // An operation that was dropped has kept the memory; a new one may be made for it.
            self.unmade.set(self.unmade.get().saturating_add(1));
        } else {
            self.free.borrow_mut().push(memory);
        }
    }
}

fn make(size: Size) -> Memory {
    (vec![0; size.room()], VecDeque::with_capacity(RECORDS_LARGE))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_buffer_lost_to_an_operation_is_made_anew() {
        let pool = Pool::new(1);
        let mut buffer = pool.take(Size::Large);
        let lent = buffer.lend_spare();
        drop(buffer);
        drop(lent);
        assert_eq!(pool.take(Size::Large).spare(), Size::Large.room());
    }
}
