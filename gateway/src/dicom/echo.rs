//! A C-ECHO of the gateway itself: the bytes to send and to read on an association with one request.
//!
//! This is the requesting side, without a socket (PS3.8 sections 7 and 9.3, PS3.7 section 9.1.5): an
//! association for Verification (PS3.4 annex A), one C-ECHO, and the release. The gateway uses it to probe
//! whether an archive answers.

mod pdus;
#[cfg(test)]
mod tests;

use std::{fmt, mem};

use thiserror::Error;

use self::pdus::{
    COMMAND, CONTEXT_ID, HEADER, LAST, context_result, pdu, question, request, status,
};
use super::{Abort, AeTitle, ClosingPdu, PduType, Rejection};
use crate::dicom::limits::ECHO_PDU_BYTES_MAX;

/// An association that sends one C-ECHO.
#[derive(Debug)]
pub struct Echo {
    phase: EchoPhase,
    // Received bytes that are not a complete PDU yet.
    incoming: Vec<u8>,
    // The received part of the answer's command set.
    command: Vec<u8>,
    is_there: bool,
}

/// What the other side must send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EchoPhase {
    /// The reply to the association request.
    Associating,
    /// The response to the C-ECHO.
    Asking,
    /// The release response.
    Releasing,
    /// Nothing.
    Over,
}

/// What the caller must do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EchoStep {
    /// Receive more bytes.
    Receive,
    /// Send these bytes, then call `take` again: the reply may have been received already.
    Send(Vec<u8>),
    /// Close the connection: the association is released.
    Close,
}

/// Why the probe failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EchoError {
    /// The association was rejected.
    #[error("the association was rejected (A-ASSOCIATE-RJ): {0}")]
    Rejected(Rejection),
    /// The association was aborted.
    #[error("the association was aborted (A-ABORT): {0}")]
    Aborted(Abort),
    /// The association was accepted, but Verification was not; with its result (PS3.8 table 9-18).
    #[error("Verification was not accepted: {}", result_words(*.0))]
    ContextRefused(u8),
    /// The status of the answer is not success (PS3.7 section 9.1.5.1.4).
    #[error("the C-ECHO was answered with status {0:04X}H ({words})", words = status_words(*.0))]
    Status(u16),
    /// A PDU that is not allowed here.
    #[error("received a PDU of type {0:02X}H in place of {1}")]
    OtherPdu(u8, &'static str),
    /// A malformed PDU.
    #[error("received {0} that is malformed")]
    Malformed(&'static str),
    /// A PDU longer than the announced maximum.
    #[error("received a PDU of {0} bytes; the maximum here is {ECHO_PDU_BYTES_MAX}")]
    TooLong(u32),
}

/// The PDU that is expected in each phase, by name.
const ACCEPTANCE: &str = "an A-ASSOCIATE-AC";
const RESPONSE: &str = "the C-ECHO-RSP";
const RELEASE_REPLY: &str = "an A-RELEASE-RP";

impl Echo {
    /// Begins an association and returns its A-ASSOCIATE-RQ, in which `calling` calls `called`.
    #[must_use]
    pub fn begin(calling: AeTitle, called: AeTitle) -> (Self, Vec<u8>) {
        let echo = Self {
            phase: EchoPhase::Associating,
            incoming: Vec::new(),
            command: Vec::new(),
            is_there: false,
        };
        (echo, request(calling, called))
    }

    /// Whether the other side counts as up: it answered the C-ECHO with success, or rejected the association
    /// because its number of associations is at the limit. Later bytes do not change this.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.is_there
    }

    /// The PDU that the other side must send next, by name.
    #[must_use]
    pub fn awaited(&self) -> &'static str {
        expected(self.phase)
    }

    /// Reads the next bytes of the other side; an empty slice after sending.
    ///
    /// # Errors
    ///
    /// Why the probe failed; `closing_pdu` then returns the PDU to send to the other side.
    pub fn take(&mut self, bytes: &[u8]) -> Result<EchoStep, EchoError> {
        self.incoming.extend_from_slice(bytes);
        let incoming = mem::take(&mut self.incoming);
        let mut rest = &incoming[..];
        let mut next = EchoStep::Receive;
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

    /// The PDU that ends the association, if neither side has released or aborted it.
    #[must_use]
    pub fn closing_pdu(&mut self) -> Vec<u8> {
        let abort = ClosingPdu::Abort(Abort {
            source: 0,
            reason: 0,
        });
        match mem::replace(&mut self.phase, EchoPhase::Over) {
            EchoPhase::Over => Vec::new(),
            _ => abort.to_bytes().to_vec(),
        }
    }

    fn step(&mut self, kind: u8, body: &[u8]) -> Result<Option<EchoStep>, EchoError> {
        match (self.phase, PduType::of(kind)) {
            (_, Some(PduType::Abort)) => {
                self.phase = EchoPhase::Over;
                let [_, _, source, reason] = four_bytes(body, "an A-ABORT")?;
                Err(EchoError::Aborted(Abort { source, reason }))
            }
            (EchoPhase::Associating, Some(PduType::AssociateRj)) => {
                self.phase = EchoPhase::Over;
                let [_, result, source, reason] = four_bytes(body, "an A-ASSOCIATE-RJ")?;
                let rejection = Rejection {
                    result,
                    source,
                    reason,
                };
                self.is_there = is_busy(rejection);
                Err(EchoError::Rejected(rejection))
            }
            (EchoPhase::Associating, Some(PduType::AssociateAc)) => {
                match context_result(body) {
                    Some(0) => {}
                    Some(other) => return Err(EchoError::ContextRefused(other)),
                    None => return Err(EchoError::Malformed(ACCEPTANCE)),
                }
                self.phase = EchoPhase::Asking;
                Ok(Some(EchoStep::Send(question())))
            }
            (EchoPhase::Asking, Some(PduType::Data)) => self.data(body),
            (EchoPhase::Releasing, Some(PduType::ReleaseRp)) => {
                self.phase = EchoPhase::Over;
                Ok(Some(EchoStep::Close))
            }
            // Nothing can follow the end of the association, and nobody reads it.
            (EchoPhase::Over, _) => Ok(None),
            (phase, _) => Err(EchoError::OtherPdu(kind, expected(phase))),
        }
    }

    // Presentation data values: a length, a context, a control byte, a fragment (PS3.8 section 9.3.5).
    fn data(&mut self, mut body: &[u8]) -> Result<Option<EchoStep>, EchoError> {
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
            // Empty fragments could continue without end.
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
        // LIMIT: ECHO_PDU_BYTES_MAX, also for a command in several PDUs.
        if length > ECHO_PDU_BYTES_MAX {
            return Err(EchoError::TooLong(length));
        }
        self.command.extend_from_slice(fragment);
        Ok(())
    }

    fn answered(&mut self) -> Result<EchoStep, EchoError> {
        match status(&self.command).ok_or(EchoError::Malformed(RESPONSE))? {
            0 => {
                self.is_there = true;
                self.phase = EchoPhase::Releasing;
                Ok(EchoStep::Send(pdu(PduType::ReleaseRq, &[0; 4])))
            }
            other => Err(EchoError::Status(other)),
        }
    }
}

/// The type of a PDU, its body, and the bytes after it.
type Pdu<'b> = (u8, &'b [u8], &'b [u8]);

// Returns the first PDU, if it is complete.
fn first_pdu(bytes: &[u8]) -> Result<Option<Pdu<'_>>, EchoError> {
    let Some((header, behind)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [kind, _, a, b, c, d] = *header;
    let length = u32::from_be_bytes([a, b, c, d]);
    // LIMIT: ECHO_PDU_BYTES_MAX; reported as the failure of this C-ECHO.
    if length > ECHO_PDU_BYTES_MAX {
        return Err(EchoError::TooLong(length));
    }
    let end = usize::try_from(length).unwrap_or(usize::MAX);
    let parts = behind.split_at_checked(end);
    Ok(parts.map(|(body, behind)| (kind, body, behind)))
}

// local-limit-exceeded: the number of associations is at the limit (PS3.8 table 9-21). temporary-congestion
// does not count as up: a remote gateway sends it if its archive does not answer.
fn is_busy(rejection: Rejection) -> bool {
    ClosingPdu::Reject(rejection) == ClosingPdu::local_limit_exceeded()
}

fn expected(phase: EchoPhase) -> &'static str {
    match phase {
        EchoPhase::Associating => ACCEPTANCE,
        EchoPhase::Asking => RESPONSE,
        EchoPhase::Releasing | EchoPhase::Over => RELEASE_REPLY,
    }
}

fn four_bytes(body: &[u8], what: &'static str) -> Result<[u8; 4], EchoError> {
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
