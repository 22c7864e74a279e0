//! The pixels of a generated study: noise that is generated while it is sent.

use std::io::{self, Write};

/// Rows and columns of every frame, the size of CT images.
pub(super) const SIDE: u16 = 512;

/// Bytes of a frame of 16-bit pixels.
pub(super) const FRAME_BYTES: u64 = 2 * SIDE as u64 * SIDE as u64;

/// Position of the marker in each frame: the start of the middle row.
pub(super) const STAMP_AT: usize = FRAME_BYTES as usize / 2;

/// Pixels that are generated while they are sent.
pub(super) struct Pixels {
    /// The number of frames.
    pub(super) frames: u64,
    /// The seed of the noise.
    pub(super) seed: u64,
    /// The bytes at `STAMP_AT` of each frame.
    pub(super) stamp: Vec<u8>,
}

impl Pixels {
    /// Their length.
    pub(super) fn bytes(&self) -> u64 {
        self.frames * FRAME_BYTES
    }

    /// Writes them frame by frame.
    pub(super) fn stream(&self, to: &mut impl Write) -> io::Result<()> {
        let mut noise = Noise(self.seed);
        let mut frame = vec![0; FRAME_BYTES as usize];
        for _ in 0..self.frames {
            noise.fill(&mut frame);
            let stamp = frame.iter_mut().skip(STAMP_AT).zip(&self.stamp);
            stamp.for_each(|(pixel, byte)| *pixel = *byte);
            to.write_all(&frame)?;
        }
        Ok(())
    }
}

/// SplitMix64: not for secrets, but incompressible and fast.
pub(super) struct Noise(pub(super) u64);

impl Noise {
    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fills `bytes`, whose length is a multiple of 8.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes());
        }
    }

    /// A UID from a random UUID (PS3.5 section B.2): `2.25.` and its value, at most 44 characters.
    pub(super) fn uid(&mut self) -> String {
        let random = u128::from(self.next()) << 64 | u128::from(self.next());
        // RFC 9562 section 5.4: version 4, variant 10.
        let version = random & !(0xf << 76) | 0x4 << 76;
        let uuid = version & !(0b11 << 62) | 0b10 << 62;
        format!("2.25.{uuid}")
    }
}
