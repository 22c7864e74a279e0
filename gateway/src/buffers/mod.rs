//! Buffers for bytes in transit, and the pool of each core that lends them.
//!
//! A connection that moves bytes borrows buffers and returns them when it becomes idle: small ones for
//! messages, large ones for images. When all large buffers are lent, further connections use small ones. They
//! are slower, but do not wait for the slow reader of another connection.

mod batch;
mod fairness;
pub mod limits;
mod pool;
mod size;
mod sizer;

pub use batch::Batch;
pub use fairness::FairnessId;
pub use pool::Pool;
pub use size::Size;
pub use sizer::BufferSizer;

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use pool::Shelf;

/// A borrowed piece of memory. It has a filled range, which is still to be processed, and parts that are to
/// be sent. Returned to its pool on drop.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    // Where the room begins. INVARIANT: in a pool's buffer this is `pool::PAGE_OFFSET` bytes into a page of
    // memory, however often the buffer is lent, emptied and compacted.
    origin: usize,
    // Where the currently used room ends.
    room_end: usize,
    // INVARIANT: origin <= start <= end <= room_end <= bytes.len() while no operation has the bytes.
    start: usize,
    end: usize,
    // The parts to be sent, in order. They may lie before `start`, and stay in place until they are sent.
    parts: VecDeque<Range<usize>>,
    home: Option<Rc<Shelf>>,
}

impl Buffer {
    /// A buffer outside of any pool.
    #[must_use]
    pub fn with_room(room: usize) -> Self {
        Self::around(vec![0; room], VecDeque::new(), 0, None)
    }

    /// A buffer outside of any pool that holds `bytes`, all of them to be sent.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        let mut buffer = Self::around(bytes, VecDeque::new(), 0, None);
        buffer.send(0..buffer.bytes.len());
        buffer
    }

    // An empty buffer whose room begins at `origin`, which is at most the length of `bytes`.
    fn around(
        bytes: Vec<u8>,
        parts: VecDeque<Range<usize>>,
        origin: usize,
        home: Option<Rc<Shelf>>,
    ) -> Self {
        Self {
            room_end: bytes.len(),
            bytes,
            origin,
            start: origin,
            end: origin,
            parts,
            home,
        }
    }

    /// The filled range.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// The filled range, mutable.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// The offset of the filled range.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// The room after the filled range.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        self.bytes
            .get_mut(self.end..self.room_end)
            .unwrap_or_default()
    }

    /// Limits the used memory to `room` bytes from now on, or to the filled range if that is longer.
    pub fn limit(&mut self, room: usize) {
        let room_end = self.origin.saturating_add(room);
        self.room_end = room_end.max(self.end).min(self.bytes.len());
    }

    /// Bytes of room after the filled range.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.room_end.saturating_sub(self.end)
    }

    /// Bytes of room in the whole memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.len().saturating_sub(self.origin)
    }

    // Bytes of room in use, including the filled range.
    fn room(&self) -> usize {
        self.room_end.saturating_sub(self.origin)
    }

    // The whole memory from the beginning of the room.
    fn memory_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.origin..).unwrap_or_default()
    }

    /// Whether nothing is filled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Extends the filled range over bytes that were written into the room; at most all of it.
    pub fn fill(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.room_end);
    }

    /// Removes `count` bytes from the front of the filled range.
    pub fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (self.origin, self.origin);
        }
    }

    /// Moves the filled range to the front, so that all free room is after it. All parts must have been sent.
    pub fn compact(&mut self) {
        debug_assert!(
            self.parts.is_empty(),
            "moved over parts that are to be sent"
        );
        if self.start > self.origin {
            self.bytes.copy_within(self.start..self.end, self.origin);
            let end = self.end.saturating_sub(self.start);
            (self.start, self.end) = (self.origin, self.origin.saturating_add(end));
        }
    }

    /// Copies as much of `source` as fits and returns the number of bytes.
    pub fn append(&mut self, source: &[u8]) -> usize {
        let count = source.len().min(self.spare());
        if let (Some(into), Some(from)) = (self.spare_mut().get_mut(..count), source.get(..count)) {
            into.copy_from_slice(from);
        }
        self.fill(count);
        count
    }

    /// Lends the memory and the range of its room to an operation; `restore` takes it back.
    pub fn lend_spare(&mut self) -> (Vec<u8>, Range<usize>) {
        let bytes = std::mem::take(&mut self.bytes);
        (bytes, self.end..self.room_end)
    }

    /// Takes the memory back from an operation.
    pub fn restore(&mut self, bytes: Vec<u8>) {
        debug_assert!(
            self.end <= bytes.len(),
            "an operation returned other memory"
        );
        self.bytes = bytes;
    }

    /// Marks a range of the memory to be sent.
    pub fn send(&mut self, part: Range<usize>) {
        if !part.is_empty() {
            self.parts.push_back(part);
        }
    }

    /// Marks the whole filled range to be sent.
    pub fn send_filled(&mut self) {
        self.send(self.start..self.end);
        (self.start, self.end) = (self.origin, self.origin);
    }

    /// The number of parts to be sent.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The parts to be sent.
    pub fn outgoing_parts(&self) -> impl Iterator<Item = &[u8]> {
        let parts = self.parts.iter().cloned();
        parts.map(|part| self.bytes.get(part).unwrap_or_default())
    }

    /// Bytes to be sent.
    #[must_use]
    pub fn outgoing(&self) -> usize {
        self.parts.iter().map(ExactSizeIterator::len).sum()
    }

    /// Moves the bytes to be sent to the end of `there`.
    pub fn move_outgoing(&mut self, there: &mut Vec<u8>) {
        for part in self.parts.drain(..) {
            there.extend_from_slice(self.bytes.get(part).unwrap_or_default());
        }
    }

    /// Lends the memory and the parts to be sent to an operation.
    pub fn lend_parts(&mut self) -> (Vec<u8>, VecDeque<Range<usize>>) {
        (
            std::mem::take(&mut self.bytes),
            std::mem::take(&mut self.parts),
        )
    }

    /// Takes memory and parts back from an operation that sent `count` bytes.
    pub fn restore_parts(&mut self, (bytes, parts): (Vec<u8>, VecDeque<Range<usize>>)) {
        (self.bytes, self.parts) = (bytes, parts);
    }

    /// Removes `count` bytes from the front of the parts to be sent.
    pub fn sent(&mut self, mut count: usize) {
        while let Some(part) = self.parts.front_mut() {
            if count < part.len() {
                part.start = part.start.saturating_add(count);
                return;
            }
            count = count.saturating_sub(part.len());
            self.parts.pop_front();
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            self.parts.clear();
            let memory = (
                std::mem::take(&mut self.bytes),
                std::mem::take(&mut self.parts),
            );
            home.give_back(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_returns_its_bytes_in_order() {
        let mut buffer = Buffer::with_room(8);
        assert_eq!(buffer.append(b"abcdef"), 6);
        buffer.consume(4);
        assert_eq!(buffer.filled(), b"ef");
        assert_eq!(buffer.append(b"ghij"), 2, "only the room at the end counts");
        buffer.compact();
        assert_eq!(buffer.filled(), b"efgh");
        assert_eq!(buffer.spare(), 4);
    }

    #[test]
    fn a_consumed_buffer_starts_again_at_its_front() {
        let mut buffer = Buffer::with_room(4);
        buffer.append(b"abcd");
        buffer.consume(9);
        assert!(buffer.is_empty());
        assert_eq!(buffer.spare(), 4);
    }

    #[test]
    fn parts_are_sent_in_order_at_any_split() {
        for split in 1..=6 {
            let mut buffer = Buffer::with_room(9);
            buffer.append(b"ab-cde-f-");
            for part in [0..2, 3..6, 6..6, 7..8] {
                buffer.send(part);
            }
            let mut left = Vec::new();
            while buffer.parts() > 0 {
                let whole: Vec<u8> = buffer
                    .parts
                    .iter()
                    .flat_map(Clone::clone)
                    .map(|at| buffer.bytes[at])
                    .collect();
                assert_eq!(whole.len(), buffer.outgoing());
                let count = split.min(whole.len());
                left.extend_from_slice(&whole[..count]);
                buffer.sent(count);
            }
            assert_eq!(left, b"abcdef");
        }
    }
}
