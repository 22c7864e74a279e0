//! Seeded random numbers, and payload that every end can compute itself.

/// A generator whose whole course follows from its seed (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator that begins at `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A length from 1 to `max`.
    pub(crate) fn length(&mut self, max: usize) -> usize {
        let bound = u64::try_from(max.max(1)).expect("lengths fit in 64 bits");
        usize::try_from(self.below(bound) + 1).expect("no more than `max`")
    }

    /// True in so many of a thousand cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of several.
    pub(crate) fn pick<T: Clone>(&mut self, several: &[T]) -> T {
        let which = self.length(several.len()) - 1;
        several[which].clone()
    }
}

/// The byte at `position` of the payload called `stream`. No two streams or parts are alike, so lost,
/// doubled, swapped or foreign bytes are all detected.
pub(crate) fn byte(stream: u64, position: u64) -> u8 {
    // The stream begins like MLLP, so that an MLLP route accepts it.
    if position == 0 {
        return 0x0b;
    }
    let word = mix(stream ^ (position / 8).wrapping_mul(0xd6e8_feb8_6659_fd93));
    word.to_le_bytes()[usize::try_from(position % 8).expect("below 8")]
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
