//! The whole exchange over a connection: who sends what, and when each side writes its files.
//!
//! | step | the side that connects | the side that listens |
//! |---|---|---|
//! | 1 | HELLO → | |
//! | 2 | | ← HELLO |
//! | 3 | PROOF → | |
//! | 4 | | ← PROOF |
//! | 5 | OFFER → | ← OFFER |
//! | 6 | checks, prepares, READY → | checks, prepares |
//! | 7 | | ← READY |
//! | 8 | writes, DONE → | |
//! | 9 | | writes, ← DONE |
//!
//! Up to step 7 nothing is written at either side. If the connection ends later, the side that connects has written
//! and does not know of the other; both run the command again, which replaces the same things.

use std::io::{Read, Write};

use super::code::PairingCode;
use super::error::{PairingError, RejectCode};
use super::exchange::{Hello, PairRole, PairingChannel, plain_reject};
use super::frame::{FrameKind, PairingFrame};
use super::offer::{Offer, agreement};

/// What a side does with the offer of the other one.
pub trait Partner {
    /// Checks the offer and makes everything ready to be written, so that `commit` hardly can fail. Changes nothing.
    ///
    /// # Errors
    /// `Offer` or `Aborted`: a sentence.
    fn prepare(&mut self, offer: &Offer) -> Result<(), PairingError>;

    /// Writes everything.
    ///
    /// # Errors
    /// `Aborted`: a sentence.
    fn commit(&mut self) -> Result<(), PairingError>;
}

/// How far a side has come when the exchange ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenState {
    /// Neither side has written anything.
    Nothing,
    /// This side has written nothing; the other side may have.
    OtherMaybe,
    /// This side has written everything; the other side may have written nothing.
    OwnOnly,
}

/// An exchange that ended early.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Interrupted {
    /// Why.
    pub error: PairingError,
    /// What was written.
    pub written: WrittenState,
}

/// Decides whether a proof may be checked, and checks it by calling its argument, which returns whether it is right.
pub type TryCheck<'c> = dyn FnMut(&mut dyn FnMut() -> bool) -> Result<bool, RejectCode> + 'c;

/// Makes both sides prove the code. The side that listens checks the proof of the other side through `check`,
/// because that is a try.
///
/// # Errors
/// As `Hello` and `Unproved`. The other side got the reason, as far as it may know it.
pub fn prove<S: Read + Write>(
    stream: &mut S,
    role: PairRole,
    code: &PairingCode,
    check: &mut TryCheck<'_>,
) -> Result<PairingChannel, PairingError> {
    let outcome = prove_steps(stream, role, code, check);
    let reject = outcome.as_ref().err().and_then(PairingError::reject_code);
    if let Some(reject) = reject {
        // The connection may have ended already.
        let _ = plain_reject(reject).send(stream);
    }
    outcome
}

fn prove_steps<S: Read + Write>(
    stream: &mut S,
    role: PairRole,
    code: &PairingCode,
    check: &mut TryCheck<'_>,
) -> Result<PairingChannel, PairingError> {
    let hello = Hello::new(role, code);
    match role {
        PairRole::Connects => {
            hello.frame().send(stream)?;
            let unproved = hello.receive(&PairingFrame::receive(stream)?)?;
            unproved.proof().send(stream)?;
            unproved.check(&PairingFrame::receive(stream)?)
        }
        PairRole::Listens => {
            let first = PairingFrame::receive(stream)?;
            let own = hello.frame().clone();
            let unproved = hello.receive(&first)?;
            own.send(stream)?;
            let proof = unproved.proof();
            let received = PairingFrame::receive(stream)?;
            let mut checked = None;
            let mut unproved = Some(unproved);
            let mut try_it = || {
                checked = unproved.take().map(|unproved| unproved.check(&received));
                matches!(checked, Some(Ok(_)))
            };
            if let Err(code) = check(&mut try_it) {
                // The other side gets the reason; its proof was not checked.
                let _ = plain_reject(code).send(stream);
                return Err(PairingError::Rejected {
                    code,
                    reason: String::new(),
                });
            }
            let channel = checked.unwrap_or(Err(PairingError::WrongCode))?;
            proof.send(stream)?;
            Ok(channel)
        }
    }
}

/// Exchanges the offers over a proved channel, and writes.
///
/// # Errors
/// Why, and what was written.
pub fn exchange<S: Read + Write>(
    stream: &mut S,
    channel: &mut PairingChannel,
    own: &Offer,
    partner: &mut impl Partner,
) -> Result<Offer, Interrupted> {
    let mut written = WrittenState::Nothing;
    let outcome = exchange_steps(stream, channel, own, partner, &mut written);
    outcome.map_err(|error| {
        if let Some(code) = error.reject_code()
            && let Ok(frame) = channel.reject(code, &error.to_string())
        {
            // The connection may have ended already.
            let _ = frame.send(stream);
        }
        Interrupted { error, written }
    })
}

fn exchange_steps<S: Read + Write>(
    stream: &mut S,
    channel: &mut PairingChannel,
    own: &Offer,
    partner: &mut impl Partner,
    written: &mut WrittenState,
) -> Result<Offer, PairingError> {
    let own_bytes = own.bytes();
    channel.seal(FrameKind::Offer, &own_bytes)?.send(stream)?;
    let bytes = channel.open(FrameKind::Offer, PairingFrame::receive(stream)?)?;
    let offer = Offer::read(&bytes)?;
    partner.prepare(&offer)?;
    let (connecting, listening) = match channel.role() {
        PairRole::Connects => (&own_bytes, &bytes),
        PairRole::Listens => (&bytes, &own_bytes),
    };
    let agreed = agreement(channel.transcript(), connecting, listening);
    match channel.role() {
        PairRole::Connects => {
            channel.seal(FrameKind::Ready, &agreed)?.send(stream)?;
            receive_ready(stream, channel, &agreed)?;
            partner.commit()?;
            *written = WrittenState::OwnOnly;
            channel.seal(FrameKind::Done, &[])?.send(stream)?;
            receive_done(stream, channel)?;
        }
        PairRole::Listens => {
            receive_ready(stream, channel, &agreed)?;
            *written = WrittenState::OtherMaybe;
            channel.seal(FrameKind::Ready, &agreed)?.send(stream)?;
            receive_done(stream, channel)?;
            partner.commit()?;
            // If this frame is lost, the other side says that it does not know; both sides have written.
            let done = channel.seal(FrameKind::Done, &[])?;
            let _ = done.send(stream);
        }
    }
    Ok(offer)
}

fn receive_ready<S: Read>(
    stream: &mut S,
    channel: &mut PairingChannel,
    agreed: &[u8; 32],
) -> Result<(), PairingError> {
    let ready = channel.open(FrameKind::Ready, PairingFrame::receive(stream)?)?;
    match ready == agreed {
        true => Ok(()),
        false => Err(PairingError::Protocol("another agreement")),
    }
}

fn receive_done<S: Read>(stream: &mut S, channel: &mut PairingChannel) -> Result<(), PairingError> {
    let done = channel.open(FrameKind::Done, PairingFrame::receive(stream)?)?;
    match done.is_empty() {
        true => Ok(()),
        false => Err(PairingError::Protocol("a DONE with a body")),
    }
}
