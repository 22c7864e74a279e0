//! A stream's payload: every byte follows from the stream's number and the byte's place in it.
//!
//! Bytes that were lost, doubled, moved or given to another stream do not compare equal.

/// Bytes of one stream, repeated from a block whose length is prime: no buffer size hides a shift.
pub(crate) struct Pattern {
    block: Vec<u8>,
}

/// A prime a little above 64 KiB.
const BLOCK: usize = 65_537;

impl Pattern {
    /// The pattern of a stream by its number. The first bytes spell the number.
    pub(crate) fn of_stream(number: u32) -> Self {
        let mut block = number.to_be_bytes().to_vec();
        // Xorshift: no compressor between shortens it, and the same number gives the same bytes.
        let mut state = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        while block.len() < BLOCK {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend(state.to_le_bytes());
        }
        block.truncate(BLOCK);
        Self { block }
    }

    /// Fills a buffer with what stands at `position` of the stream.
    pub(crate) fn fill(&self, position: u64, buffer: &mut [u8]) {
        let mut rest = buffer;
        let mut from = self.place(position);
        while !rest.is_empty() {
            let length = rest.len().min(BLOCK - from);
            let (now, later) = rest.split_at_mut(length);
            now.copy_from_slice(&self.block[from..from + length]);
            rest = later;
            from = 0;
        }
    }

    /// Whether bytes that arrived are what stands at `position` of the stream.
    pub(crate) fn holds(&self, position: u64, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let mut from = self.place(position);
        while !rest.is_empty() {
            let length = rest.len().min(BLOCK - from);
            let (now, later) = rest.split_at(length);
            if now != &self.block[from..from + length] {
                return false;
            }
            rest = later;
            from = 0;
        }
        true
    }

    fn place(&self, position: u64) -> usize {
        let place = position % self.block.len() as u64;
        usize::try_from(place).expect("a place in the block is small")
    }
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
}
