//! The payload of a stream: every byte follows from the number of the stream and the byte's position.
//!
//! Bytes that are lost, doubled, moved or from another stream do not compare equal. All streams share one
//! block of memory and begin at different positions in it, so no buffer has to be filled.

use std::io::IoSlice;
use std::sync::OnceLock;

/// The bytes of one stream. The first four hold its number, the others come from the shared block.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    number: [u8; NUMBER],
    /// The position in the block at which the stream begins.
    offset: u64,
}

/// The bytes that hold a stream's number.
pub(crate) const NUMBER: usize = 4;

/// A prime a little above 64 KiB, so that no buffer size hides a shift.
const BLOCK: usize = 65_537;

/// The distance between the beginnings of streams; any number that does not divide the block's length.
const STRIDE: u64 = 25_033;

impl Pattern {
    /// The pattern of a stream by its number.
    pub(crate) fn of_stream(number: u32) -> Self {
        Self {
            number: number.to_be_bytes(),
            offset: u64::from(number) * STRIDE,
        }
    }

    /// Fills a buffer with the bytes from `position` of the stream.
    pub(crate) fn fill(&self, position: u64, buffer: &mut [u8]) {
        let mut filled = 0;
        while filled < buffer.len() {
            let piece = self.piece(position + filled as u64, buffer.len() - filled);
            buffer[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        }
    }

    /// Whether received bytes are the bytes from `position` of the stream.
    pub(crate) fn holds(&self, position: u64, bytes: &[u8]) -> bool {
        let mut seen = 0;
        while seen < bytes.len() {
            let piece = self.piece(position + seen as u64, bytes.len() - seen);
            if piece != &bytes[seen..seen + piece.len()] {
                return false;
            }
            seen += piece.len();
        }
        true
    }

    /// The given number of bytes from `position` on, as a list for one vectored write.
    pub(crate) fn gather(&self, position: u64, length: usize) -> Vec<IoSlice<'_>> {
        let mut pieces = Vec::with_capacity(length / BLOCK + 3);
        let mut gathered = 0;
        while gathered < length {
            let piece = self.piece(position + gathered as u64, length - gathered);
            pieces.push(IoSlice::new(piece));
            gathered += piece.len();
        }
        pieces
    }

    /// The contiguous bytes from `position` on, at least one and at most `most`.
    fn piece(&self, position: u64, most: usize) -> &[u8] {
        let (bytes, from) = match usize::try_from(position) {
            Ok(position) if position < NUMBER => (&self.number[..], position),
            _ => (block(), self.place(position)),
        };
        &bytes[from..bytes.len().min(from.saturating_add(most))]
    }

    fn place(&self, position: u64) -> usize {
        let place = (position + self.offset) % BLOCK as u64;
        usize::try_from(place).expect("a place in the block is small")
    }
}

/// Xorshift, so that no compression on the path shortens the payload.
fn block() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut bytes = Vec::with_capacity(BLOCK + 8);
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        while bytes.len() < BLOCK {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        bytes.truncate(BLOCK);
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_bytes_match_only_at_their_position() {
        let pattern = Pattern::of_stream(7);
        let mut bytes = vec![0; 200_000];
        pattern.fill(1_000_003, &mut bytes);
        assert!(pattern.holds(1_000_003, &bytes));
        assert!(!pattern.holds(1_000_004, &bytes));
        assert!(!Pattern::of_stream(8).holds(1_000_003, &bytes));
        bytes[150_000] ^= 1;
        assert!(!pattern.holds(1_000_003, &bytes));
    }

    #[test]
    fn a_stream_begins_with_its_number() {
        let mut bytes = [0; 4];
        Pattern::of_stream(0x0102_0304).fill(0, &mut bytes);
        assert_eq!(bytes, [1, 2, 3, 4]);
    }

    #[test]
    fn gathered_bytes_equal_filled_bytes() {
        let pattern = Pattern::of_stream(3);
        for (position, length) in [(0, 1), (2, 5), (3, 200_000), (65_530, 20)] {
            let mut filled = vec![0; length];
            pattern.fill(position, &mut filled);
            let gathered: Vec<u8> = pattern
                .gather(position, length)
                .iter()
                .flat_map(|piece| piece.iter().copied())
                .collect();
            assert_eq!(gathered, filled, "{length} bytes from {position}");
        }
    }
}
