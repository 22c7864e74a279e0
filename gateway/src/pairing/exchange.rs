//! The key exchange: SPAKE2, the proof of both sides that they have the same code, and the sealed channel after it.
//!
//! Each step is a type of its own, so that no step can be left out or repeated: [`Hello`], [`SharedSecret`], [`PairingChannel`].
//! Nothing secret is sent before both proofs. `docs/src/reference/pairing.md` describes every byte.

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hkdf, hmac};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::Zeroizing;

use super::code::PairingCode;
use super::error::{PairingError, RejectCode};
use super::frame::{FrameKind, PairingFrame};
use super::limits::{FRAME_BYTES_MAX, TEXT_BYTES_MAX};

/// The first bytes of a HELLO.
const MAGIC: &[u8; 6] = b"WGPAIR";
/// The version of the protocol.
const VERSION: u8 = 1;
/// The identities of the two roles in SPAKE2.
const CONNECTS: &[u8] = b"wardgate pair 1 connects";
const LISTENS: &[u8] = b"wardgate pair 1 listens";
/// Bytes of a tag of AES-GCM.
const TAG_BYTES: usize = 16;

/// The role of a side: which of the two made the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairRole {
    /// It connected, and a person typed the code there.
    Connects,
    /// It listened, and showed the code.
    Listens,
}

impl PairRole {
    fn byte(self) -> u8 {
        match self {
            Self::Connects => b'C',
            Self::Listens => b'L',
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Connects => Self::Listens,
            Self::Listens => Self::Connects,
        }
    }
}

/// A side that has made its HELLO.
pub struct Hello {
    role: PairRole,
    spake: Spake2<Ed25519Group>,
    own: PairingFrame,
}

impl Hello {
    /// Begins an exchange with a new secret.
    #[must_use]
    pub fn new(role: PairRole, code: &PairingCode) -> Self {
        let (connects, listens) = (Identity::new(CONNECTS), Identity::new(LISTENS));
        let password = Password::new(code.bytes());
        let (spake, message) = match role {
            PairRole::Connects => Spake2::start_a(&password, &connects, &listens),
            PairRole::Listens => Spake2::start_b(&password, &connects, &listens),
        };
        Self::with(role, spake, &message)
    }

    /// Begins an exchange whose secret scalar is made of these bytes, for test vectors.
    #[cfg(test)]
    pub(super) fn with_secret(role: PairRole, code: &PairingCode, secret: [u8; 64]) -> Self {
        let (connects, listens) = (Identity::new(CONNECTS), Identity::new(LISTENS));
        let password = Password::new(code.bytes());
        let bytes = FixedBytes(secret);
        let (spake, message) = match role {
            PairRole::Connects => Spake2::start_a_with_rng(&password, &connects, &listens, bytes),
            PairRole::Listens => Spake2::start_b_with_rng(&password, &connects, &listens, bytes),
        };
        Self::with(role, spake, &message)
    }

    fn with(role: PairRole, spake: Spake2<Ed25519Group>, message: &[u8]) -> Self {
        // SPAKE2 puts a byte for the side in front; the role is that byte here.
        let element = message.get(1..).unwrap_or_default();
        let body = [&MAGIC[..], &[VERSION, role.byte()], element].concat();
        Self {
            role,
            spake,
            own: PairingFrame {
                kind: FrameKind::Hello,
                body,
            },
        }
    }

    /// The frame for the other side.
    #[must_use]
    pub fn frame(&self) -> &PairingFrame {
        &self.own
    }

    /// Takes the HELLO of the other side.
    ///
    /// # Errors
    /// `NotPairing`, `Version`, `SameRole`, `Rejected` and `Protocol`.
    pub fn receive(self, frame: &PairingFrame) -> Result<SharedSecret, PairingError> {
        expect(frame, FrameKind::Hello)?;
        let rest = frame
            .body
            .strip_prefix(MAGIC)
            .ok_or(PairingError::NotPairing)?;
        let (version, rest) = rest.split_first().ok_or(PairingError::NotPairing)?;
        if *version != VERSION {
            return Err(PairingError::Version(*version));
        }
        let (role, element) = rest.split_first().ok_or(PairingError::NotPairing)?;
        if *role == self.role.byte() {
            return Err(PairingError::SameRole);
        }
        let other = self.role.other();
        if *role != other.byte() {
            return Err(PairingError::Protocol("an unknown role"));
        }
        let side = match other {
            PairRole::Connects => 0x41,
            PairRole::Listens => 0x42,
        };
        let message = [&[side], element].concat();
        let shared = self.spake.finish(&message);
        let shared = shared.map_err(|_| PairingError::Protocol("no element of the group"))?;
        let shared = Zeroizing::new(shared);
        let hellos = match self.role {
            PairRole::Connects => [&self.own, frame],
            PairRole::Listens => [frame, &self.own],
        };
        Ok(SharedSecret::new(self.role, hellos, &shared))
    }
}

/// A side that has the shared secret, which is the same at both sides only if their codes are.
pub struct SharedSecret {
    role: PairRole,
    transcript: [u8; 32],
    own_proof: hmac::Key,
    other_proof: hmac::Key,
    sends: Sealing,
    receives: Sealing,
}

/// One direction of the channel.
struct Sealing {
    key: LessSafeKey,
    // The number of the next frame.
    next: u64,
}

impl SharedSecret {
    fn new(role: PairRole, hellos: [&PairingFrame; 2], shared: &[u8]) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        for hello in hellos {
            hash.update(&hello.bytes());
        }
        let mut transcript = [0; 32];
        transcript.copy_from_slice(hash.finish().as_ref());
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &transcript).extract(shared);
        let proof = |role| {
            hmac::Key::new(
                hmac::HMAC_SHA256,
                &*derive(&secret, b"wardgate pair 1 proof ", role),
            )
        };
        let sealing = |role| Sealing::new(&derive(&secret, b"wardgate pair 1 key ", role));
        Self {
            role,
            transcript,
            own_proof: proof(role),
            other_proof: proof(role.other()),
            sends: sealing(role),
            receives: sealing(role.other()),
        }
    }

    /// The proof for the other side. A listening side must send it only after it has checked that of the other side:
    /// a proof allows one guess of the code.
    #[must_use]
    pub fn proof(&self) -> PairingFrame {
        PairingFrame {
            kind: FrameKind::Proof,
            body: hmac::sign(&self.own_proof, &self.transcript)
                .as_ref()
                .to_vec(),
        }
    }

    /// Checks the proof of the other side, in constant time.
    ///
    /// # Errors
    /// `WrongCode`, `Rejected` and `Protocol`.
    pub fn check(self, frame: &PairingFrame) -> Result<PairingChannel, PairingError> {
        expect(frame, FrameKind::Proof)?;
        hmac::verify(&self.other_proof, &self.transcript, &frame.body)
            .map_err(|_| PairingError::WrongCode)?;
        Ok(PairingChannel {
            role: self.role,
            transcript: self.transcript,
            sends: self.sends,
            receives: self.receives,
        })
    }
}

/// A value of 32 bytes for one purpose and the side that uses it.
fn derive(secret: &hkdf::Prk, purpose: &[u8], role: PairRole) -> Zeroizing<[u8; 32]> {
    let role: &[u8] = match role {
        PairRole::Connects => b"connects",
        PairRole::Listens => b"listens",
    };
    let info = [purpose, role];
    let mut value = Zeroizing::new([0; 32]);
    secret
        .expand(&info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut *value))
        .expect("HKDF-SHA256 gives 32 bytes");
    value
}

impl Sealing {
    fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&aead::AES_256_GCM, key).expect("AES-256 has keys of 32 bytes");
        Self {
            key: LessSafeKey::new(key),
            next: 0,
        }
    }

    fn nonce(&mut self) -> Nonce {
        let mut bytes = [0; 12];
        let (_, number) = bytes.split_at_mut(4);
        number.copy_from_slice(&self.next.to_be_bytes());
        // A conversation has fewer than ten frames.
        self.next = self.next.saturating_add(1);
        Nonce::assume_unique_for_key(bytes)
    }
}

/// A channel between two sides that have proved to each other that they have the code.
pub struct PairingChannel {
    role: PairRole,
    transcript: [u8; 32],
    sends: Sealing,
    receives: Sealing,
}

impl PairingChannel {
    /// The role of this side.
    #[must_use]
    pub fn role(&self) -> PairRole {
        self.role
    }

    /// The SHA-256 of both HELLO frames, which names this exchange.
    #[must_use]
    pub fn transcript(&self) -> &[u8; 32] {
        &self.transcript
    }

    /// Seals a body. The header of the frame is authenticated too.
    ///
    /// # Errors
    /// `Aborted` if the body is longer than a frame may be.
    pub fn seal(&mut self, kind: FrameKind, plain: &[u8]) -> Result<PairingFrame, PairingError> {
        let length = plain.len().saturating_add(TAG_BYTES);
        // LIMIT: FRAME_BYTES_MAX.
        if length > FRAME_BYTES_MAX {
            return Err(PairingError::Aborted(format!(
                "the certificates of this site are larger than {FRAME_BYTES_MAX} bytes; leave out those that the \
                 other site does not need"
            )));
        }
        let header = PairingFrame::header(kind, length);
        let mut body = plain.to_vec();
        let nonce = self.sends.nonce();
        self.sends
            .key
            .seal_in_place_append_tag(nonce, Aad::from(header), &mut body)
            .map_err(|_| PairingError::Protocol("a body that cannot be sealed"))?;
        Ok(PairingFrame { kind, body })
    }

    /// Opens the next frame, which must be of this kind.
    ///
    /// # Errors
    /// `Rejected` if it is a REJECT; `Protocol` if it is another one, or was changed on its way.
    pub fn open(&mut self, kind: FrameKind, frame: PairingFrame) -> Result<Vec<u8>, PairingError> {
        let mut body = frame.body;
        let header = PairingFrame::header(frame.kind, body.len());
        let nonce = self.receives.nonce();
        let key = &self.receives.key;
        let opened = key.open_in_place(nonce, Aad::from(header), &mut body);
        let plain =
            opened.map_err(|_| PairingError::Protocol("a frame that was changed on its way"))?;
        let length = plain.len();
        body.truncate(length);
        if frame.kind == FrameKind::Reject {
            return Err(rejection(&body));
        }
        if frame.kind != kind {
            return Err(PairingError::Protocol("a frame out of order"));
        }
        Ok(body)
    }

    /// The sealed frame that ends the exchange.
    ///
    /// # Errors
    /// As `seal`.
    pub fn reject(&mut self, code: RejectCode, reason: &str) -> Result<PairingFrame, PairingError> {
        let body = rejection_body(code, reason);
        self.seal(FrameKind::Reject, &body)
    }
}

/// The frame that ends an exchange before the proofs. It has a code and no text, because anyone on the network may read it.
#[must_use]
pub fn plain_reject(code: RejectCode) -> PairingFrame {
    PairingFrame {
        kind: FrameKind::Reject,
        body: rejection_body(code, ""),
    }
}

fn rejection_body(code: RejectCode, reason: &str) -> Vec<u8> {
    let mut body = vec![code.byte()];
    body.extend(reason.bytes().take(TEXT_BYTES_MAX));
    body
}

/// What a REJECT says. Its reason is escaped, because it is shown to a person.
fn rejection(body: &[u8]) -> PairingError {
    let code = body.first().and_then(|byte| RejectCode::from_byte(*byte));
    let Some(code) = code else {
        return PairingError::Protocol("an unknown reason");
    };
    let reason = body.get(1..).unwrap_or_default();
    let reason = reason
        .get(..reason.len().min(TEXT_BYTES_MAX))
        .unwrap_or_default();
    let reason = escaped(&String::from_utf8_lossy(reason));
    PairingError::Rejected { code, reason }
}

/// A text without control characters. Quotes stay, because sentences name things in quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '"' | '\'' => escaped.push(c),
            _ => escaped.extend(c.escape_debug()),
        }
    }
    escaped
}

/// A frame before the proofs.
fn expect(frame: &PairingFrame, kind: FrameKind) -> Result<(), PairingError> {
    match frame.kind {
        found if found == kind => Ok(()),
        FrameKind::Reject => Err(match rejection(&frame.body) {
            // Before the proofs the text is not authenticated.
            PairingError::Rejected { code, .. } => PairingError::Rejected {
                code,
                reason: String::new(),
            },
            error => error,
        }),
        _ => Err(PairingError::Protocol("a frame out of order")),
    }
}

/// Random bytes that are not: for test vectors.
#[cfg(test)]
struct FixedBytes([u8; 64]);

#[cfg(test)]
impl rand_core::CryptoRng for FixedBytes {}

#[cfg(test)]
impl rand_core::RngCore for FixedBytes {
    fn next_u32(&mut self) -> u32 {
        0
    }

    fn next_u64(&mut self) -> u64 {
        0
    }

    fn fill_bytes(&mut self, room: &mut [u8]) {
        for (byte, fixed) in room.iter_mut().zip(self.0) {
            *byte = fixed;
        }
    }

    fn try_fill_bytes(&mut self, room: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(room);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_the_other_site_keeps_its_quotes_and_no_control_character() {
        let frame = plain_reject(RejectCode::Offer);
        let mut body = frame.body;
        body.truncate(1);
        body.extend_from_slice(b"peer \"region\"\x1b[31m is known");
        let PairingError::Rejected { reason, .. } = rejection(&body) else {
            panic!("it is a rejection");
        };
        assert_eq!(reason, "peer \"region\"\\u{1b}[31m is known");
    }
}
