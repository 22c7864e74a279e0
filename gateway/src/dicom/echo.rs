//! A C-ECHO of our own: what is sent and what is read on an association of one question.
//!
//! The side that asks, without a socket (PS3.8 sections 7 and 9.3, PS3.7 section 9.1.5): an association
//! for Verification (PS3.4 annex A), one C-ECHO, and the release. It is how a gateway finds out whether
//! an archive answers.

mod octets;
#[cfg(test)]
mod tests;

use std::{fmt, mem};

use thiserror::Error;

use self::octets::{
    COMMAND, CONTEXT_ID, HEADER, LAST, context_result, pdu, question, request, status,
};
use super::{Abort, AeTitle, Answer, PduType, Rejection};
use crate::limits::ECHO_PDU_BYTES_MAX;

/// An association that asks one C-ECHO.
#[derive(Debug)]
pub struct Echo {
    phase: Phase,
    // What came and is not a whole PDU yet.
    incoming: Vec<u8>,
    // The part of the answer's command set that came.
    command: Vec<u8>,
    is_there: bool,
}

/// What the other side is to say next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Whether it accepts the association.
    Associating,
    /// The answer to the C-ECHO.
    Asking,
    /// That it has released the association.
    Releasing,
    /// Nothing.
    Over,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Receive more.
    Receive,
    /// Send this, then take again: what follows may have come already.
    Send(Vec<u8>),
    /// Close the connection: the association is released.
    Close,
}

/// Why there is no good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EchoError {
    /// The association was not accepted.
    #[error("the association was rejected (A-ASSOCIATE-RJ): {0}")]
    Rejected(Rejection),
    /// It was broken off.
    #[error("the association was aborted (A-ABORT): {0}")]
    Aborted(Abort),
    /// The association was accepted, Verification was not; with its result (PS3.8 table 9-18).
    #[error("Verification was not accepted: {}", result_words(*.0))]
    ContextRefused(u8),
    /// The answer does not say success (PS3.7 section 9.1.5.1.4).
    #[error("the C-ECHO was answered with status {0:04X}H ({words})", words = status_words(*.0))]
    Status(u16),
    /// A PDU that has no place here.
    #[error("a PDU of type {0:02X}H came where {1} was due")]
    OtherPdu(u8, &'static str),
    /// A PDU that cannot be read.
    #[error("{0} that cannot be read")]
    Malformed(&'static str),
    /// A PDU longer than what we said that we take.
    #[error("a PDU of {0} octets came, and none has more than {ECHO_PDU_BYTES_MAX} here")]
    TooLong(u32),
}

/// What is due in each phase, by name.
const ACCEPTANCE: &str = "an A-ASSOCIATE-AC";
const RESPONSE: &str = "the C-ECHO-RSP";
const RELEASE_REPLY: &str = "an A-RELEASE-RP";

impl Echo {
    /// Begins: `calling` calls `called` by the A-ASSOCIATE-RQ that is returned.
    #[must_use]
    pub fn begin(calling: AeTitle, called: AeTitle) -> (Self, Vec<u8>) {
        let echo = Self {
            phase: Phase::Associating,
            incoming: Vec::new(),
            command: Vec::new(),
            is_there: false,
        };
        (echo, request(calling, called))
    }

    /// Whether it has shown that it is there: the C-ECHO was answered with success, or the association
    /// rejected because it has as many as it may. What comes behind it changes that no more.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.is_there
    }

    /// What the other side is to say next, by name.
    #[must_use]
    pub fn awaited(&self) -> &'static str {
        due(self.phase)
    }

    /// Takes the next octets from the other side; none where something was sent since the last.
    ///
    /// # Errors
    /// Why there will be no good answer; `last_words` then has what the other side should be told.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Next, EchoError> {
        self.incoming.extend_from_slice(bytes);
        let incoming = mem::take(&mut self.incoming);
        let mut rest = &incoming[..];
        let mut next = Next::Receive;
        while let Some((kind, body, behind)) = first_pdu(rest)? {
            rest = behind;
            if let Some(step) = self.step(kind, body)? {
                next = step;
                break;
            }
        }
        self.incoming.extend_from_slice(rest);
        Ok(next)
    }

    /// What ends the association where it is neither released nor broken off by the other side.
    #[must_use]
    pub fn last_words(&mut self) -> Vec<u8> {
        let abort = Answer::Abort(Abort {
            source: 0,
            reason: 0,
        });
        match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Over => Vec::new(),
            _ => abort.octets().to_vec(),
        }
    }

    fn step(&mut self, kind: u8, body: &[u8]) -> Result<Option<Next>, EchoError> {
        match (self.phase, PduType::of(kind)) {
            (_, Some(PduType::Abort)) => {
                self.phase = Phase::Over;
                let [_, _, source, reason] = four(body, "an A-ABORT")?;
                Err(EchoError::Aborted(Abort { source, reason }))
            }
            (Phase::Associating, Some(PduType::AssociateRj)) => {
                self.phase = Phase::Over;
                let [_, result, source, reason] = four(body, "an A-ASSOCIATE-RJ")?;
                let rejection = Rejection {
                    result,
                    source,
                    reason,
                };
                self.is_there = is_busy(rejection);
                Err(EchoError::Rejected(rejection))
            }
            (Phase::Associating, Some(PduType::AssociateAc)) => {
                match context_result(body) {
                    Some(0) => {}
                    Some(other) => return Err(EchoError::ContextRefused(other)),
                    None => return Err(EchoError::Malformed(ACCEPTANCE)),
                }
                self.phase = Phase::Asking;
                Ok(Some(Next::Send(question())))
            }
            (Phase::Asking, Some(PduType::Data)) => self.data(body),
            (Phase::Releasing, Some(PduType::ReleaseRp)) => {
                self.phase = Phase::Over;
                Ok(Some(Next::Close))
            }
            // Nothing can follow what ended it, and nobody reads it.
            (Phase::Over, _) => Ok(None),
            (phase, _) => Err(EchoError::OtherPdu(kind, due(phase))),
        }
    }

    // Presentation data values: a length, a context, a control octet, a fragment (PS3.8 section
    // 9.3.5).
    fn data(&mut self, mut body: &[u8]) -> Result<Option<Next>, EchoError> {
        const WRONG: EchoError = EchoError::Malformed(RESPONSE);
        if body.is_empty() {
            return Err(WRONG);
        }
        while let Some((length, rest)) = body.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            let (value, rest) = rest.split_at_checked(length).ok_or(WRONG)?;
            let (head, fragment) = value.split_first_chunk::<2>().ok_or(WRONG)?;
            let [context, control] = *head;
            if context != CONTEXT_ID || control & COMMAND == 0 {
                return Err(WRONG);
            }
            self.gather(fragment)?;
            if control & LAST != 0 {
                return self.answered().map(Some);
            }
            // One that brings nothing could come without an end.
            if fragment.is_empty() {
                return Err(WRONG);
            }
            body = rest;
        }
        match body {
            [] => Ok(None),
            _ => Err(WRONG),
        }
    }

    fn gather(&mut self, fragment: &[u8]) -> Result<(), EchoError> {
        let length = self.command.len().saturating_add(fragment.len());
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        // LIMIT: ECHO_PDU_BYTES_MAX, for the command of several PDUs as well.
        if length > ECHO_PDU_BYTES_MAX {
            return Err(EchoError::TooLong(length));
        }
        self.command.extend_from_slice(fragment);
        Ok(())
    }

    fn answered(&mut self) -> Result<Next, EchoError> {
        match status(&self.command).ok_or(EchoError::Malformed(RESPONSE))? {
            0 => {
                self.is_there = true;
                self.phase = Phase::Releasing;
                Ok(Next::Send(pdu(PduType::ReleaseRq, &[0; 4])))
            }
            other => Err(EchoError::Status(other)),
        }
    }
}

/// A PDU's type, its body, and what is behind it.
type Pdu<'b> = (u8, &'b [u8], &'b [u8]);

// Splits the first PDU off, if it is there whole.
fn first_pdu(bytes: &[u8]) -> Result<Option<Pdu<'_>>, EchoError> {
    let Some((header, behind)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [kind, _, a, b, c, d] = *header;
    let length = u32::from_be_bytes([a, b, c, d]);
    // LIMIT: ECHO_PDU_BYTES_MAX, told as the failure of this C-ECHO.
    if length > ECHO_PDU_BYTES_MAX {
        return Err(EchoError::TooLong(length));
    }
    let end = usize::try_from(length).unwrap_or(usize::MAX);
    let parts = behind.split_at_checked(end);
    Ok(parts.map(|(body, behind)| (kind, body, behind)))
}

// local-limit-exceeded: as many associations as it may have (PS3.8 table 9-21). temporary-congestion does
// not count: a gateway between us says so where nothing answers behind it.
fn is_busy(rejection: Rejection) -> bool {
    Answer::Reject(rejection) == Answer::local_limit_exceeded()
}

fn due(phase: Phase) -> &'static str {
    match phase {
        Phase::Associating => ACCEPTANCE,
        Phase::Asking => RESPONSE,
        Phase::Releasing | Phase::Over => RELEASE_REPLY,
    }
}

fn four(body: &[u8], what: &'static str) -> Result<[u8; 4], EchoError> {
    body.try_into().map_err(|_| EchoError::Malformed(what))
}

fn result_words(result: u8) -> impl fmt::Display {
    match result {
        1 => "user-rejection".to_owned(),
        2 => "no-reason (provider rejection)".to_owned(),
        3 => "abstract-syntax-not-supported (provider rejection)".to_owned(),
        4 => "transfer-syntaxes-not-supported (provider rejection)".to_owned(),
        other => format!("result {other}"),
    }
}

/// PS3.7 annex C.
fn status_words(status: u16) -> &'static str {
    match status {
        0x0122 => "SOP class not supported",
        0x0210 => "duplicate invocation",
        0x0211 => "unrecognized operation",
        0x0212 => "mistyped argument",
        0x0110 => "processing failure",
        0x0124 => "not authorized",
        _ => "a failure",
    }
}
