//! A stream's payload: every byte follows from the stream's number and the byte's place in it.
//!
//! Bytes that were lost, doubled, moved or given to another stream do not compare equal. All streams
//! share one block of memory and begin at different places of it: sending costs no filling.

use std::io::IoSlice;
use std::sync::OnceLock;

/// Bytes of one stream. The first four spell its number, the others come from the shared block.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    number: [u8; NUMBER],
    /// Where in the block the stream begins.
    offset: u64,
}

/// Octets that spell a stream's number.
pub(crate) const NUMBER: usize = 4;

/// A prime a little above 64 KiB: no buffer size hides a shift.
const BLOCK: usize = 65_537;

/// Streams begin so far apart in the block; any number that the block's length does not divide.
const STRIDE: u64 = 25_033;

impl Pattern {
    /// The pattern of a stream by its number.
    pub(crate) fn of_stream(number: u32) -> Self {
        Self {
            number: number.to_be_bytes(),
            offset: u64::from(number) * STRIDE,
        }
    }

    /// Fills a buffer with what stands at `position` of the stream.
    pub(crate) fn fill(&self, position: u64, buffer: &mut [u8]) {
        let mut filled = 0;
        while filled < buffer.len() {
            let piece = self.piece(position + filled as u64, buffer.len() - filled);
            buffer[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        }
    }

    /// Whether bytes that arrived are what stands at `position` of the stream.
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

    /// So many bytes from `position` on as a list for one vectored write.
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

    /// The bytes from `position` on that lie side by side, `most` of them at most and one at least.
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

/// Xorshift: no compressor between shortens it.
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
    fn what_was_filled_holds_at_its_place_and_nowhere_else() {
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
    fn what_is_gathered_is_what_is_filled() {
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
