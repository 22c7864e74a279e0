//! A core's pool of large buffers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::{Buffer, Purpose};
use crate::limits::{BATCH_BYTES, PLAINTEXT_ROOM, POOL_BUFFERS};

/// Lends large buffers while there are some, and makes small ones when there are none.
#[derive(Debug, Clone)]
pub struct Pool {
    batches: Rc<Shelf>,
    records: Rc<Shelf>,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(POOL_BUFFERS)
    }
}

impl Pool {
    /// A pool that lends at most `count` large buffers of each purpose at a time.
    ///
    /// Memory is taken from the system when it is first lent and kept from then on.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            batches: Shelf::new(count),
            records: Shelf::new(count),
        }
    }

    /// Lends a buffer: large where one is left, else one record long.
    #[must_use]
    pub fn take(&self, purpose: Purpose) -> Buffer {
        let shelf = match purpose {
            Purpose::Batch => &self.batches,
            Purpose::Records => &self.records,
        };
        shelf
            .take(purpose)
            .unwrap_or_else(|| Buffer::with_room(purpose.room(PLAINTEXT_ROOM)))
    }

    /// How many times a small buffer was made because all large ones were lent.
    #[must_use]
    pub fn exhausted(&self) -> u64 {
        self.batches
            .exhausted
            .get()
            .saturating_add(self.records.exhausted.get())
    }
}

#[derive(Debug)]
pub(super) struct Shelf {
    free: RefCell<Vec<Vec<u8>>>,
    // Buffers that were never made yet; with `free` and those lent, this is the pool's bound.
    unmade: Cell<usize>,
    exhausted: Cell<u64>,
}

impl Shelf {
    fn new(count: usize) -> Rc<Self> {
        Rc::new(Self {
            free: RefCell::new(Vec::with_capacity(count)),
            unmade: Cell::new(count),
            exhausted: Cell::new(0),
        })
    }

    fn take(self: &Rc<Self>, purpose: Purpose) -> Option<Buffer> {
        let kept = self.free.borrow_mut().pop();
        let bytes = match (kept, self.unmade.get().checked_sub(1)) {
            (Some(bytes), _) => bytes,
            (None, Some(rest)) => {
                self.unmade.set(rest);
                vec![0; purpose.room(BATCH_BYTES)]
            }
            (None, None) => {
                self.exhausted.set(self.exhausted.get().saturating_add(1));
                return None;
            }
        };
        Some(Buffer {
            bytes,
            start: 0,
            end: 0,
            home: Some(Rc::clone(self)),
        })
    }

    pub(super) fn give_back(&self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            // An operation that was dropped has kept the memory; a new one may be made for it.
            self.unmade.set(self.unmade.get().saturating_add(1));
        } else {
            self.free.borrow_mut().push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exhausted_pool_lends_one_record() {
        let pool = Pool::new(1);
        let large = pool.take(Purpose::Batch);
        let small = pool.take(Purpose::Batch);
        assert_eq!(large.spare(), BATCH_BYTES);
        assert_eq!(small.spare(), PLAINTEXT_ROOM);
        assert_eq!(pool.exhausted(), 1);
        drop(large);
        assert_eq!(pool.take(Purpose::Batch).spare(), BATCH_BYTES);
    }

    #[test]
    fn a_buffer_lost_to_an_operation_is_made_anew() {
        let pool = Pool::new(1);
        let mut buffer = pool.take(Purpose::Records);
        let lent = buffer.lend_spare();
        drop(buffer);
        drop(lent);
        assert_eq!(
            pool.take(Purpose::Records).spare(),
            Purpose::Records.room(BATCH_BYTES)
        );
    }
}
