//! Plaintext in a buffer that is laid out as records, so that received payload is sealed in place.

use std::collections::VecDeque;
use std::ops::Range;

use super::Buffer;
use crate::buffers::limits::{PLAINTEXT_ROOM, RECORD_HEADER, RECORD_ROOM};

/// A buffer divided into one room per record: header, payload, content type and tag. Payload fills one room
/// after the other, so the sealed records follow each other without a gap.
#[derive(Debug)]
pub struct Batch {
    buffer: Buffer,
    bytes: usize,
}

impl Batch {
    /// An empty batch in `buffer`'s memory.
    #[must_use]
    pub fn new(buffer: Buffer) -> Self {
        Self { buffer, bytes: 0 }
    }

    /// Bytes of payload.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there is no payload.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The number of records that the payload fills.
    #[must_use]
    pub fn records(&self) -> usize {
        self.bytes.div_ceil(PLAINTEXT_ROOM)
    }

    /// Bytes of payload that fit.
    #[must_use]
    pub fn room(&self) -> usize {
        (self.buffer.room() / RECORD_ROOM).saturating_mul(PLAINTEXT_ROOM)
    }

    /// Lends the memory and the payload part of each room to an operation.
    pub fn lend(&mut self) -> (Vec<u8>, VecDeque<Range<usize>>) {
        let rooms = self.buffer.room() / RECORD_ROOM;
        let first = self.buffer.origin.saturating_add(RECORD_HEADER);
        let (bytes, mut parts) = self.buffer.lend_parts();
        parts.clear();
        let starts = (0..rooms).map(|n| n * RECORD_ROOM + first);
        parts.extend(starts.map(|start| start..start + PLAINTEXT_ROOM));
        (bytes, parts)
    }

    /// The same for at most `most` bytes.
    pub fn lend_within(&mut self, most: usize) -> (Vec<u8>, VecDeque<Range<usize>>) {
        let (bytes, mut parts) = self.lend();
        let mut left = most;
        for part in &mut parts {
            part.end = part.start.saturating_add(part.len().min(left));
            left = left.saturating_sub(part.len());
        }
        parts.retain(|part| !part.is_empty());
        (bytes, parts)
    }

    /// Takes memory and parts back from an operation.
    pub fn restore(&mut self, (bytes, mut parts): (Vec<u8>, VecDeque<Range<usize>>)) {
        parts.clear();
        self.buffer.restore_parts((bytes, parts));
    }

    /// Sets the number of bytes that an operation received.
    pub fn fill(&mut self, count: usize) {
        self.bytes = count.min(self.room());
    }

    /// Copies as much of `source` as fits into an empty batch and returns the number of bytes.
    pub fn copy_from(&mut self, source: &[u8]) -> usize {
        let count = source.len().min(self.room());
        let payload = source.get(..count).unwrap_or_default();
        let rooms = self.buffer.memory_mut().chunks_mut(RECORD_ROOM);
        for (room, piece) in rooms.zip(payload.chunks(PLAINTEXT_ROOM)) {
            let at = RECORD_HEADER..RECORD_HEADER.saturating_add(piece.len());
            if let Some(there) = room.get_mut(at) {
                there.copy_from_slice(piece);
            }
        }
        self.bytes = count;
        count
    }

    /// Appends the payload to `there`.
    pub fn append_to(&self, there: &mut Vec<u8>) {
        for index in 0..self.records() {
            there.extend_from_slice(self.payload(index));
        }
    }

    /// The rooms that hold payload, each complete, with the number of payload bytes.
    pub fn rooms(&mut self) -> impl Iterator<Item = (&mut [u8], usize)> {
        let bytes = self.bytes;
        let starts = (0..bytes).step_by(PLAINTEXT_ROOM);
        let lengths = starts.map(move |start| bytes.saturating_sub(start).min(PLAINTEXT_ROOM));
        let rooms = self.buffer.memory_mut().chunks_mut(RECORD_ROOM);
        rooms.zip(lengths)
    }

    /// The payload of the record with this index.
    #[must_use]
    pub fn payload(&self, index: usize) -> &[u8] {
        let start = index.saturating_mul(PLAINTEXT_ROOM).min(self.bytes);
        let length = self.bytes.saturating_sub(start).min(PLAINTEXT_ROOM);
        let at = start_of(&self.buffer, index);
        let payload = at..at.saturating_add(length);
        self.buffer.bytes.get(payload).unwrap_or_default()
    }

    /// The memory with the payload marked to be sent unsealed.
    #[must_use]
    pub fn into_payload(self) -> Buffer {
        let mut buffer = self.buffer;
        for index in 0..self.bytes.div_ceil(PLAINTEXT_ROOM) {
            let done = index.saturating_mul(PLAINTEXT_ROOM);
            let length = self.bytes.saturating_sub(done).min(PLAINTEXT_ROOM);
            let start = start_of(&buffer, index);
            buffer.send(start..start.saturating_add(length));
        }
        buffer
    }

    /// The memory with its first `length` bytes, which are records, marked to be sent.
    #[must_use]
    pub fn into_records(self, length: usize) -> Buffer {
        let mut buffer = self.buffer;
        let length = length.min(buffer.memory());
        buffer.send(buffer.origin..buffer.origin.saturating_add(length));
        buffer
    }
}

// The offset in the memory at which the payload of the record with this index begins.
fn start_of(buffer: &Buffer, index: usize) -> usize {
    let start = index.saturating_mul(RECORD_ROOM);
    let start = start.saturating_add(RECORD_HEADER);
    buffer.origin.saturating_add(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_payload_is_returned_completely() {
        for length in [0, 1, PLAINTEXT_ROOM, PLAINTEXT_ROOM + 1, 3 * PLAINTEXT_ROOM] {
            let source: Vec<u8> = (0..length).map(|n| n.to_le_bytes()[0]).collect();
            let mut batch = Batch::new(Buffer::with_room(3 * RECORD_ROOM));
            assert_eq!(batch.copy_from(&source), length);
            let mut there = Vec::new();
            batch.append_to(&mut there);
            assert_eq!(there, source);
        }
        let mut batch = Batch::new(Buffer::with_room(RECORD_ROOM));
        assert_eq!(batch.copy_from(&[7; PLAINTEXT_ROOM + 9]), PLAINTEXT_ROOM);
    }

    #[test]
    fn payload_fills_one_room_after_the_other() {
        let mut batch = Batch::new(Buffer::with_room(3 * RECORD_ROOM));
        let (bytes, parts) = batch.lend();
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|part| part.len() == PLAINTEXT_ROOM));
        batch.restore((bytes, parts));
        batch.fill(PLAINTEXT_ROOM + 7);
        let lengths: Vec<usize> = batch.rooms().map(|(_, length)| length).collect();
        assert_eq!(lengths, [PLAINTEXT_ROOM, 7]);
        assert_eq!((batch.records(), batch.payload(1).len()), (2, 7));
        assert_eq!(batch.payload(2), b"");
    }

    #[test]
    fn a_full_batch_has_no_short_room() {
        let mut batch = Batch::new(Buffer::with_room(2 * RECORD_ROOM + 100));
        assert_eq!(batch.room(), 2 * PLAINTEXT_ROOM);
        batch.fill(usize::MAX);
        let lengths: Vec<usize> = batch.rooms().map(|(_, length)| length).collect();
        assert_eq!(lengths, [PLAINTEXT_ROOM; 2]);
    }
}
