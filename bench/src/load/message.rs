//! Generated HL7 messages in MLLP framing (HL7 2.5.1 section 2, MLLP release 1), and their answers.
//!
//! The messages name no patient: a header and a comment with filler. Both ends can generate every message, so
//! each byte is compared.

use std::io::{self, Read};

/// Opens a block (MLLP section 2: `<SB>`).
const BEGIN: u8 = 0x0b;
/// Closes a block together with a carriage return.
const END: [u8; 2] = [0x1c, b'\r'];

/// The length of the shortest message: framing, header and the fixed part of the comment.
pub(crate) const MESSAGE_MIN: u32 = 100;

/// The length of the longest message.
pub(crate) const MESSAGE_MAX: u32 = 16 << 20;

/// The identity of a message: its number within a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) stream: u32,
    pub(crate) number: u32,
}

/// Digits of a control id (MSH-10, at most 20): both numbers in hexadecimal.
const CONTROL: usize = 16;

impl Control {
    fn of(block: &[u8]) -> Option<Self> {
        let field = block.split(|&byte| byte == b'|').nth(9)?;
        let digits = std::str::from_utf8(field.get(..CONTROL)?).ok()?;
        let (stream, number) = digits.split_at_checked(CONTROL / 2)?;
        Some(Self {
            stream: u32::from_str_radix(stream, 16).ok()?,
            number: u32::from_str_radix(number, 16).ok()?,
        })
    }

    /// The message, with this length including its framing.
    pub(crate) fn message(self, bytes: usize) -> Vec<u8> {
        let head = format!("{}\rNTE|1||", self.header("A", "B", "ORU^R01"));
        self.block(&head, bytes)
    }

    /// The answer of the receiver, as long as the message.
    pub(crate) fn answer(self, bytes: usize) -> Vec<u8> {
        let Self { stream, number } = self;
        let head = self.header("B", "A", "ACK");
        let head = format!("{head}\rMSA|AA|{stream:08x}{number:08x}|");
        self.block(&head, bytes)
    }

    fn header(self, from: &str, to: &str, kind: &str) -> String {
        let Self { stream, number } = self;
        format!("MSH|^~\\&|{from}|BENCH|{to}|BENCH|20260101||{kind}|{stream:08x}{number:08x}|T|2.5")
    }

    fn block(self, head: &str, bytes: usize) -> Vec<u8> {
        let mut block = Vec::with_capacity(bytes);
        block.push(BEGIN);
        block.extend_from_slice(head.as_bytes());
        // Letters that depend on message and position, so that shifted bytes or those of another message
        // differ.
        let mut state = u64::from(self.stream) << 32 | u64::from(self.number);
        while block.len() + END.len() + 1 < bytes {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            block.push(b'a' + u8::try_from((state >> 40) % 26).expect("26 fit"));
        }
        block.push(b'\r');
        block.extend_from_slice(&END);
        block
    }
}

/// Reads one complete block; `None` if the stream ends before it.
pub(crate) fn read(stream: &mut impl Read, block: &mut Vec<u8>) -> io::Result<Option<()>> {
    block.clear();
    let mut room = [0; 16 << 10];
    while !is_whole(block) {
        let n = stream.read(&mut room)?;
        match (n, block.is_empty()) {
            (0, true) => return Ok(None),
            (0, false) => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => block.extend_from_slice(&room[..n]),
        }
        if block.len() > MESSAGE_MAX as usize {
            return Err(io::Error::other("a block has no end"));
        }
    }
    Ok(Some(()))
}

/// Whether these bytes begin a block.
pub(crate) fn begins(block: &[u8]) -> bool {
    block.first() == Some(&BEGIN)
}

/// Whether the received bytes end a block.
pub(crate) fn is_whole(block: &[u8]) -> bool {
    block.ends_with(&END)
}

/// The answer to a block, which must be the message with its control id.
pub(crate) fn answer_to(block: &[u8]) -> io::Result<Vec<u8>> {
    let control = Control::of(block).ok_or_else(|| io::Error::other("a message has no header"))?;
    if block != control.message(block.len()) {
        let Control { stream, number } = control;
        let what = format!("message {number} of stream {stream} differs");
        return Err(io::Error::other(what));
    }
    Ok(control.answer(block.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: Control = Control {
        stream: 3,
        number: 77,
    };

    #[test]
    fn messages_and_answers_have_the_length_asked_for() {
        for bytes in [MESSAGE_MIN, 200, 100_000] {
            let bytes = bytes as usize;
            let message = CONTROL.message(bytes);
            assert_eq!(message.len(), bytes);
            assert_eq!((message[0], &message[bytes - 2..]), (BEGIN, &END[..]));
            assert_eq!(answer_to(&message).expect("as made").len(), bytes);
        }
    }

    #[test]
    fn any_changed_byte_of_a_message_is_found() {
        let message = CONTROL.message(150);
        for n in 0..message.len() {
            let mut changed = message.clone();
            changed[n] ^= 1;
            assert!(answer_to(&changed).is_err(), "byte {n}");
        }
    }

    #[test]
    fn blocks_are_read_in_pieces_and_an_end_within_one_is_an_error() {
        let message = CONTROL.message(200);
        let mut block = Vec::new();
        let mut pieces = message[..50].chain(&message[50..]);
        assert!(read(&mut pieces, &mut block).expect("whole").is_some());
        assert_eq!(block, message);
        assert!(read(&mut pieces, &mut block).expect("over").is_none());
        assert!(read(&mut &message[..199], &mut block).is_err());
    }
}
