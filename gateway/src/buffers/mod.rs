//! Buffers for bytes on their way, and the pool of each core that lends them.
//!
//! A connection that moves bytes borrows large buffers and gives them back when it falls idle.
//! When all are lent, further connections get small ones of their own: slower, never stuck behind
//! another connection's slow reader.

mod pool;

pub use pool::Pool;

use std::ops::Range;
use std::rc::Rc;

use crate::limits::PLAINTEXT_ROOM;
use pool::Shelf;

/// A borrowed piece of memory with a filled part. Goes back to its pool when dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    // INVARIANT: start <= end <= bytes.len() while no operation has the bytes.
    start: usize,
    end: usize,
    home: Option<Rc<Shelf>>,
}

impl Buffer {
    /// A buffer of its own, outside of any pool.
    #[must_use]
    pub fn with_room(room: usize) -> Self {
        Self {
            bytes: vec![0; room],
            start: 0,
            end: 0,
            home: None,
        }
    }

    /// The filled part.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// The filled part, to be changed in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// The room behind the filled part.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Octets of room behind the filled part.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.bytes.len().saturating_sub(self.end)
    }

    /// Whether nothing is filled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Adds what was written into the room; at most the room there is.
    pub fn fill(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.bytes.len());
    }

    /// Takes `count` octets from the front of the filled part.
    pub fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Moves the filled part to the front, so that all other room lies behind it.
    pub fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end.saturating_sub(self.start));
        }
    }

    /// Copies as much of `source` as there is room for and says how much that was.
    pub fn append(&mut self, source: &[u8]) -> usize {
        let count = source.len().min(self.spare());
        if let (Some(into), Some(from)) = (self.spare_mut().get_mut(..count), source.get(..count)) {
            into.copy_from_slice(from);
        }
        self.fill(count);
        count
    }

    /// Lends the memory and the range of its room to an operation; `restore` brings it back.
    pub fn lend_spare(&mut self) -> (Vec<u8>, Range<usize>) {
        let bytes = std::mem::take(&mut self.bytes);
        let room = self.end..bytes.len();
        (bytes, room)
    }

    /// Lends the memory and the range of the filled part to an operation.
    pub fn lend_filled(&mut self) -> (Vec<u8>, Range<usize>) {
        (std::mem::take(&mut self.bytes), self.start..self.end)
    }

    /// Takes the memory back from an operation.
    pub fn restore(&mut self, bytes: Vec<u8>) {
        debug_assert!(
            self.end <= bytes.len(),
            "an operation returned other memory"
        );
        self.bytes = bytes;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

/// What a buffer is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Payload as the applications see it, or records as they were received.
    Batch,
    /// Records made from a batch of payload: the payload, and header and tag of each record.
    Records,
}

impl Purpose {
    /// Octets of room, for a batch of `payload` octets.
    #[must_use]
    pub const fn room(self, payload: usize) -> usize {
        match self {
            Self::Batch => payload,
            Self::Records => {
                let records = payload.div_ceil(PLAINTEXT_ROOM);
                records * (PLAINTEXT_ROOM + crate::limits::RECORD_OVERHEAD_MAX)
                    + crate::limits::CONTROL_ROOM
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_gives_its_filled_part_in_order() {
        let mut buffer = Buffer::with_room(8);
        assert_eq!(buffer.append(b"abcdef"), 6);
        buffer.consume(4);
        assert_eq!(buffer.filled(), b"ef");
        assert_eq!(buffer.append(b"ghij"), 2, "only the room behind counts");
        buffer.compact();
        assert_eq!(buffer.filled(), b"efgh");
        assert_eq!(buffer.spare(), 4);
    }

    #[test]
    fn a_consumed_buffer_starts_anew() {
        let mut buffer = Buffer::with_room(4);
        buffer.append(b"abcd");
        buffer.consume(9);
        assert!(buffer.is_empty());
        assert_eq!(buffer.spare(), 4);
    }

    #[test]
    fn records_room_holds_the_sealed_batch() {
        let payload = 3 * PLAINTEXT_ROOM + 1;
        let sealed = payload + 4 * crate::limits::RECORD_OVERHEAD_MAX;
        assert!(Purpose::Records.room(payload) >= sealed);
    }
}
