//! Frames: a type, a length and a body.

use std::io::{self, Read, Write};

use super::error::PairingError;
use super::limits::{FRAME_BYTES_MAX, UNPROVED_FRAME_BYTES_MAX};

/// Bytes in front of a body.
pub(super) const HEADER_BYTES: usize = 3;

/// The type of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// The version, the role and the message of SPAKE2.
    Hello,
    /// The proof that its sender has the code.
    Proof,
    /// The certificates of the sender, sealed.
    Offer,
    /// The sender accepts the offer, and can write everything, sealed.
    Ready,
    /// The sender has written everything, sealed.
    Done,
    /// The sender ends the exchange: before the proofs as plaintext, after them sealed.
    Reject,
}

impl FrameKind {
    const ALL: [(u8, Self); 6] = [
        (1, Self::Hello),
        (2, Self::Proof),
        (3, Self::Offer),
        (4, Self::Ready),
        (5, Self::Done),
        (6, Self::Reject),
    ];

    /// Its byte on the wire.
    #[must_use]
    pub fn byte(self) -> u8 {
        let mut all = Self::ALL.iter();
        all.find(|(_, kind)| *kind == self)
            .map_or(0, |(byte, _)| *byte)
    }

    fn from_byte(byte: u8) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(known, _)| *known == byte).map(|(_, kind)| *kind)
    }

    /// The most bytes of its body. A REJECT has one byte and a reason, which is sealed only after the proofs.
    fn bytes_max(self) -> usize {
        match self {
            Self::Hello | Self::Proof => UNPROVED_FRAME_BYTES_MAX,
            Self::Reject => 1024,
            Self::Offer | Self::Ready | Self::Done => FRAME_BYTES_MAX,
        }
    }
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingFrame {
    /// Its type.
    pub kind: FrameKind,
    /// Its body.
    pub body: Vec<u8>,
}

impl PairingFrame {
    /// The header of a frame with a body of this length.
    pub(super) fn header(kind: FrameKind, length: usize) -> [u8; HEADER_BYTES] {
        // Every body of ours is shorter than `FRAME_BYTES_MAX`.
        let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        [kind.byte(), high, low]
    }

    /// Its bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let header = Self::header(self.kind, self.body.len());
        [&header[..], &self.body].concat()
    }

    /// Receives a frame, at most as long as its type allows.
    ///
    /// # Errors
    /// `Socket` and `Closed`; `NotPairing` and `Protocol` if this is no frame.
    pub fn receive(from: &mut impl Read) -> Result<Self, PairingError> {
        let mut header = [0; HEADER_BYTES];
        read(from, &mut header)?;
        let [kind, high, low] = header;
        // No type is 21 (a TLS alert) or a letter (HTTP, SSH, SMTP).
        let kind = FrameKind::from_byte(kind).ok_or(PairingError::NotPairing)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        // LIMIT: FRAME_BYTES_MAX, UNPROVED_FRAME_BYTES_MAX.
        if length > kind.bytes_max() {
            return Err(PairingError::Protocol("a frame that is too long"));
        }
        let mut body = vec![0; length];
        read(from, &mut body)?;
        Ok(Self { kind, body })
    }

    /// Sends the frame.
    ///
    /// # Errors
    /// `Socket`.
    pub fn send(&self, to: &mut impl Write) -> Result<(), PairingError> {
        to.write_all(&self.bytes())?;
        to.flush()?;
        Ok(())
    }
}

fn read(from: &mut impl Read, room: &mut [u8]) -> Result<(), PairingError> {
    from.read_exact(room).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => PairingError::Closed,
        _ => PairingError::Socket(error),
    })
}
