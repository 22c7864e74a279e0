//! The message with which a gateway probes whether a receiver answers.
//!
//! The message is NMQ^N01, an application management query (HL7 v2.3 chapter 14), whose only segment holds
//! the sender's time. The standard defines this message for queries about a system itself. The message
//! concerns no patient, order or document, is marked as training (MSH-11 `T`), and has an event of its own,
//! so an engine that routes by MSH-9 has no rule that could take it for another message. The receiver still
//! sees the message, once in each interval. The receiver may log the message or reject its type as unknown:
//! an acknowledgement with any code counts as an answer.

use std::mem;

use thiserror::Error;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use super::is_junk;
use super::start::START;
use crate::hl7::limits::PROBE_ANSWER_BYTES_MAX;

/// The probe message in its frame. Its control id, MSH-10, differs from those of other seconds.
#[must_use]
pub fn question(now: OffsetDateTime) -> Vec<u8> {
    let now = now.to_offset(UtcOffset::UTC);
    // The message is valid without a time: MSH-7 is optional in v2.3.
    let time = now.format(TIME).unwrap_or_default();
    let id = now.unix_timestamp();
    let text = format!("MSH|^~\\&|WARDGATE||||{time}||NMQ^N01|WARDGATE{id}|T|2.3\rNCK|{time}\r");
    [&[START], text.as_bytes(), &END].concat()
}

/// A time stamp of HL7 (v2.3 section 2.8.42) in UTC.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day][hour][minute][second]+0000");

/// The bytes that end a frame (HL7's Implementation Guide, appendix C section C.4.2).
const END: [u8; 2] = [0x1c, b'\r'];

/// The codes of MSA-1 (HL7 table 0008).
const CODES: [&[u8]; 6] = [b"AA", b"AE", b"AR", b"CA", b"CE", b"CR"];

/// The texts of a commit acknowledgement in MLLP release 2: stored, and not stored.
const COMMIT: [&[u8]; 2] = [&[0x06], &[0x15]];

/// Why there is no acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoAcknowledgement {
    /// A byte outside of a frame.
    #[error("the answer is not MLLP: byte {0:#04x} outside of a frame")]
    NotMllp(u8),
    /// More than `PROBE_ANSWER_BYTES_MAX` bytes without an acknowledgement.
    #[error("no acknowledgement within {PROBE_ANSWER_BYTES_MAX} bytes")]
    TooLong,
}

/// Reads the answer until it contains an acknowledgement.
///
/// Not `Debug`, because the answer of an application must not reach a log.
#[derive(Default)]
pub struct Reply {
    // Received bytes that are not a complete frame yet.
    incoming: Vec<u8>,
    // The number of these bytes that were searched for an end.
    searched: usize,
    length: usize,
}

impl Reply {
    /// Reads the next bytes and returns whether the message was acknowledged.
    ///
    /// # Errors
    ///
    /// Why no acknowledgement can follow.
    pub fn take(&mut self, bytes: &[u8]) -> Result<bool, NoAcknowledgement> {
        self.length = self.length.saturating_add(bytes.len());
        // LIMIT: PROBE_ANSWER_BYTES_MAX; reported as the failure of this probe.
        if self.length > PROBE_ANSWER_BYTES_MAX {
            return Err(NoAcknowledgement::TooLong);
        }
        self.incoming.extend_from_slice(bytes);
        let incoming = mem::take(&mut self.incoming);
        let mut rest = &incoming[..];
        let mut is_there = false;
        while let Some((text, behind)) = self.frame(&mut rest)? {
            (rest, self.searched) = (behind, 0);
            is_there = is_there || acknowledges(text);
        }
        self.incoming.extend_from_slice(rest);
        Ok(is_there)
    }

    // The text of the first frame and the bytes after it, if the frame is complete. Junk before the frame is
    // skipped.
    fn frame<'b>(
        &mut self,
        rest: &mut &'b [u8],
    ) -> Result<Option<SplitFrame<'b>>, NoAcknowledgement> {
        let junk = rest.iter().take_while(|byte| is_junk(**byte)).count();
        *rest = rest.get(junk..).unwrap_or_default();
        let Some((first, text)) = rest.split_first() else {
            return Ok(None);
        };
        if *first != START {
            return Err(NoAcknowledgement::NotMllp(*first));
        }
        let new = text.get(self.searched..).unwrap_or_default();
        let Some(length) = new.windows(END.len()).position(|pair| pair == END) else {
            self.searched = text.len().saturating_sub(END.len() - 1);
            return Ok(None);
        };
        let end = self.searched.saturating_add(length);
        let parts = text.split_at_checked(end);
        Ok(parts.map(|(text, end)| (text, end.get(END.len()..).unwrap_or_default())))
    }
}

/// The text of a frame, and the bytes after the frame.
type SplitFrame<'b> = (&'b [u8], &'b [u8]);

fn acknowledges(text: &[u8]) -> bool {
    if COMMIT.contains(&text) {
        return true;
    }
    // MSH-1 is the byte that separates fields in all segments.
    let Some((separator, _)) = text.strip_prefix(b"MSH").and_then(<[u8]>::split_first) else {
        return false;
    };
    let segments = text.split(|byte| matches!(byte, b'\r' | b'\n'));
    let mut codes = segments.filter_map(|segment| {
        let mut fields = segment.split(|byte| byte == separator);
        let is_answer = fields.next() == Some(b"MSA");
        fields.next().filter(|_| is_answer)
    });
    codes.any(|code| CODES.contains(&code))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::{Start, start};
    use super::*;

    const ANSWER: &[u8] =
        b"\x0bMSH|^~\\&|ENGINE||WARDGATE||20261123||ACK|7|T|2.3\rMSA|AA|WARDGATE1\r\x1c\r";

    fn answer(code: &str) -> Vec<u8> {
        let text = String::from_utf8_lossy(ANSWER).replace("|AA|", &format!("|{code}|"));
        text.into_bytes()
    }

    #[test]
    fn the_question_is_a_message_in_a_frame() {
        let now = datetime!(2026-11-23 23:59:08.5 +1);
        let expected =
            b"\x0bMSH|^~\\&|WARDGATE||||20261123225908+0000||NMQ^N01|WARDGATE1795474748|T|\
            2.3\rNCK|20261123225908+0000\r\x1c\r";
        let question = question(now);
        assert_eq!(question, expected);
        assert_eq!(start(&question), Start::Legal);
        assert_eq!(
            Reply::default().take(&question),
            Ok(false),
            "the question does not answer itself"
        );
    }

    #[test]
    fn any_code_is_an_answer_at_any_split() {
        for code in ["AA", "AE", "AR", "CA", "CE", "CR"] {
            let bytes = [b"\r\n\0", &answer(code)[..]].concat();
            for size in 1..=bytes.len() {
                let mut reply = Reply::default();
                let mut taken = bytes.chunks(size).map(|part| reply.take(part));
                assert!(taken.any(|taken| taken == Ok(true)), "{code} by {size}");
            }
        }
        for commit in [b"\x0b\x06\x1c\r", b"\x0b\x15\x1c\r"] {
            assert_eq!(Reply::default().take(commit), Ok(true));
        }
    }

    #[test]
    fn other_messages_are_skipped() {
        let other = b"\x0bMSH|^~\\&|ENGINE||||20261123||ADT^A08|7|P|2.3\rPID|MSA|AA\r\x1c\r";
        let mut reply = Reply::default();
        assert_eq!(reply.take(other), Ok(false));
        assert_eq!(reply.take(&answer("XX")), Ok(false));
        assert_eq!(reply.take(&answer("AA")), Ok(true));
    }

    #[test]
    fn separators_are_those_of_the_message() {
        let text = String::from_utf8_lossy(ANSWER).replace('|', "#");
        assert_eq!(Reply::default().take(text.as_bytes()), Ok(true));
    }

    #[test]
    fn an_answer_that_is_not_mllp_is_reported() {
        let outcome = Reply::default().take(b"HTTP/1.1 400 Bad Request\r\n");
        assert_eq!(outcome, Err(NoAcknowledgement::NotMllp(b'H')));
    }

    #[test]
    fn an_answer_without_an_end_is_bounded() {
        let mut reply = Reply::default();
        assert_eq!(reply.take(b"\x0bMSH|"), Ok(false));
        let outcome = reply.take(&[b'x'; PROBE_ANSWER_BYTES_MAX]);
        assert_eq!(outcome, Err(NoAcknowledgement::TooLong));
    }
}
