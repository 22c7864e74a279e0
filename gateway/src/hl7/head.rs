//! Reads the first segments of a frame: the message type in MSH-9 and the code in MSA-1.
//!
//! The reader works byte by byte and keeps only these two fields. In acknowledgements, only SFT and UAC may
//! stand between MSH and MSA (HL7 v2.7 chapter 2, message ACK). The reader therefore stops at any other
//! segment.

use super::code::Code;
use super::kind::MessageType;
use crate::hl7::limits::MLLP_HEAD_BYTES_MAX;

/// Reads the head of one frame. The type has no `Debug`, because it may hold bytes of patient data while it
/// reads.
#[derive(Clone, Copy)]
pub(super) struct HeadReader {
    at: At,
    // The number of bytes that may still be read.
    left: usize,
    // MSH-1 and the first character of MSH-2.
    field: u8,
    component: u8,
    fields: HeadFields,
}

/// The fields of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct HeadFields {
    /// The type of the message; `None` if it is not readable.
    pub(super) kind: Option<MessageType>,
    /// The code of the acknowledgement; `None` if the message is no acknowledgement or the code is unknown.
    pub(super) code: Option<Code>,
}

#[derive(Clone, Copy)]
enum At {
    /// The name of a segment.
    Name(SmallBytes<3>),
    /// The bytes after the name MSH, which are the separators of the message.
    Field,
    Component,
    /// A field of MSH before the ninth.
    Header(u8),
    /// MSH-9, up to its second component.
    Type(SmallBytes<7>),
    /// The byte after the name MSA.
    Answer,
    /// MSA-1.
    Code(SmallBytes<2>),
    /// The rest of a segment, which is not needed.
    Rest,
    /// The reader has finished and ignores further bytes.
    Decided,
}

impl HeadReader {
    pub(super) fn new() -> Self {
        Self {
            at: At::Name(SmallBytes::EMPTY),
            left: MLLP_HEAD_BYTES_MAX,
            field: 0,
            component: b'^',
            fields: HeadFields::default(),
        }
    }

    /// Reads the next bytes of the frame's text.
    pub(super) fn read(&mut self, text: &[u8]) {
        for byte in text {
            if matches!(self.at, At::Decided) {
                return;
            }
            let Some(left) = self.left.checked_sub(1) else {
                // LIMIT: MLLP_HEAD_BYTES_MAX; the message counts as another type, without a code.
                self.at = At::Decided;
                return;
            };
            self.left = left;
            self.at = self.step(*byte);
        }
    }

    /// Returns the fields when the text of the frame has ended.
    pub(super) fn finish(mut self) -> HeadFields {
        match self.at {
            At::Name(name) if self.is_first() => {
                self.fields.code = name.only().and_then(Code::from_byte);
            }
            _ => self.end_field(),
        }
        self.fields
    }

    fn step(&mut self, byte: u8) -> At {
        if is_segment_end(byte) {
            self.end_field();
            return self.next_segment();
        }
        match self.at {
            At::Name(name) => self.name(name, byte),
            At::Field if byte == 0 || byte.is_ascii_alphanumeric() => At::Decided,
            At::Field => {
                self.field = byte;
                At::Component
            }
            At::Component if byte != self.field => {
                self.component = byte;
                At::Header(2)
            }
            At::Component => At::Header(3),
            At::Header(8) if byte == self.field => At::Type(SmallBytes::EMPTY),
            At::Header(field) if byte == self.field => At::Header(field.saturating_add(1)),
            At::Answer if byte == self.field => At::Code(SmallBytes::EMPTY),
            At::Answer => At::Decided,
            At::Type(_) | At::Code(_) if byte == self.field => {
                self.end_field();
                self.behind_field()
            }
            At::Type(kind) => self.kind(kind, byte),
            At::Code(code) => At::Code(code.with(byte)),
            At::Header(_) | At::Rest | At::Decided => self.at,
        }
    }

    // A name is complete with its third byte; the name decides what the reader does next.
    fn name(&self, name: SmallBytes<3>, byte: u8) -> At {
        let is_first = self.is_first();
        if is_first && name.bytes().is_empty() && BOM.contains(&byte) {
            return self.at;
        }
        let name = name.with(byte);
        match name.bytes() {
            b"MSH" if is_first => At::Field,
            b"SFT" | b"UAC" if !is_first => At::Rest,
            b"MSA" if !is_first => At::Answer,
            [_, _, _] => At::Decided,
            _ => At::Name(name),
        }
    }

    // Whether MSH has not come yet.
    fn is_first(&self) -> bool {
        self.field == 0
    }

    fn kind(&mut self, kind: SmallBytes<7>, byte: u8) -> At {
        if byte != self.component {
            // A circumflex that is not the separator is not part of a type.
            return At::Type(kind.with(if byte == b'^' { 0 } else { byte }));
        }
        if kind.bytes().contains(&b'^') {
            self.end_field();
            return At::Rest;
        }
        At::Type(kind.with(b'^'))
    }

    fn end_field(&mut self) {
        match self.at {
            At::Type(kind) => self.fields.kind = MessageType::from_field(kind.bytes()),
            At::Code(code) => self.fields.code = Code::from_field(code.bytes()),
            _ => {}
        }
    }

    // MSA-1 is the last field that is needed.
    fn behind_field(&self) -> At {
        match self.at {
            At::Code(_) => At::Decided,
            _ => At::Rest,
        }
    }

    fn next_segment(&self) -> At {
        match self.at {
            At::Code(_) | At::Answer | At::Field => At::Decided,
            At::Name(name) if !name.bytes().is_empty() => At::Decided,
            _ => At::Name(SmallBytes::EMPTY),
        }
    }
}

/// A byte order mark in UTF-8, which some programs write before MSH.
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// CR ends a segment (HL7 v2.5.1 section 2.5.4); some programs write LF after it, or in its place.
fn is_segment_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Up to `N` bytes. A longer value reads as empty.
#[derive(Clone, Copy)]
struct SmallBytes<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> SmallBytes<N> {
    const EMPTY: Self = Self {
        bytes: [0; N],
        length: 0,
    };

    fn with(mut self, byte: u8) -> Self {
        if let Some(place) = self.bytes.get_mut(usize::from(self.length)) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
        self
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }

    fn only(&self) -> Option<u8> {
        match self.bytes() {
            [byte] => Some(*byte),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &[u8]) -> HeadFields {
        let mut head = HeadReader::new();
        head.read(text);
        head.finish()
    }

    fn kind(text: &[u8]) -> Option<String> {
        fields(text).kind.map(|kind| kind.to_string())
    }

    const ACK: &[u8] = b"MSH|^~\\&|B|SITE|A|SITE|20260101120000||ACK^A01^ACK|42|P|2.5\rMSA|AA|42\r";

    #[test]
    fn type_and_code_are_read() {
        assert_eq!(kind(ACK).as_deref(), Some("ACK^A01"));
        assert_eq!(fields(ACK).code, Some(Code::ApplicationAccept));
        let order = b"MSH|^~\\&|||||||ORM^O01\rPID|1||4711||DOE^JANE";
        assert_eq!(kind(order).as_deref(), Some("ORM^O01"));
        assert_eq!(fields(order).code, None);
    }

    #[test]
    fn pieces_of_any_size_give_the_same_fields() {
        for size in 1..ACK.len() {
            let mut head = HeadReader::new();
            ACK.chunks(size).for_each(|piece| head.read(piece));
            assert_eq!(head.finish(), fields(ACK), "{size}");
        }
    }

    #[test]
    fn a_message_defines_its_own_separators() {
        let text = b"MSH*:~\\&*A*B*C*D*1**ADT:A04:ADT_A01*1\rMSA*AE*1";
        assert_eq!(kind(text).as_deref(), Some("ADT^A04"));
        assert_eq!(fields(text).code, Some(Code::ApplicationError));
        assert_eq!(kind(b"MSH|:~\\&|||||||ADT^A04|1"), None);
        assert_eq!(kind(b"MSH||||||||ACK|1").as_deref(), Some("ACK"));
    }

    #[test]
    fn msa_may_follow_sft_and_uac() {
        let text = b"MSH|^~\\&|||||||ACK\rSFT|x|1\rUAC|KERB^MSA|AA\r\nMSA|CR";
        assert_eq!(fields(text).code, Some(Code::CommitReject));
    }

    #[test]
    fn segments_after_another_segment_are_not_read() {
        for name in ["PID", "ERR", "MSAX", "ZMS", "MSH", "MS", "msa"] {
            let text = format!("MSH|^~\\&|||||||ACK\r{name}|1\rMSA|AA|1\r");
            assert_eq!(fields(text.as_bytes()).code, None, "{name}");
        }
    }

    #[test]
    fn unknown_codes_are_not_reported() {
        for code in ["", "AAA", "aa", "A", "ACK", "A\u{1c}"] {
            let text = format!("MSH|^~\\&|||||||ACK\rMSA|{code}|1\r");
            assert_eq!(fields(text.as_bytes()).code, None, "{code}");
        }
        assert_eq!(fields(b"MSH|^~\\&|||||||ACK\rMSA\rMSA|AA").code, None);
    }

    #[test]
    fn fields_may_end_with_the_frame() {
        assert_eq!(kind(b"MSH|^~\\&|||||||ADT^A08").as_deref(), Some("ADT^A08"));
        assert_eq!(
            fields(b"MSH|^~\\&|||||||ACK\nMSA|AR").code,
            Some(Code::ApplicationReject)
        );
        assert_eq!(kind(b"MSH|^~\\&|||||"), None);
        assert_eq!(kind(b"MSH|^~\\&||||||\rADT^A01|"), None);
    }

    #[test]
    fn one_byte_is_a_commit_acknowledgement() {
        assert_eq!(fields(b"\x06").code, Some(Code::Ack));
        assert_eq!(fields(b"\x15").code, Some(Code::Nak));
        assert_eq!(fields(b"\x06\x06"), HeadFields::default());
        assert_eq!(fields(b"MSH|^~\\&|\r\x06"), HeadFields::default());
    }

    #[test]
    fn texts_that_are_no_messages_give_no_fields() {
        let utf_16: Vec<u8> = String::from_utf8_lossy(ACK)
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for text in [
            &b""[..],
            b"\r\n",
            b"GET / HTTP/1.1",
            b"MSH",
            b"MSHA^~|",
            b"MSH\0",
            b"<ACK/>",
            &utf_16,
        ] {
            assert_eq!(fields(text), HeadFields::default());
        }
    }

    #[test]
    fn bytes_that_programs_write_before_msh_are_skipped() {
        for ahead in [&b"\xef\xbb\xbf"[..], b"\r\n", b"\n"] {
            assert_eq!(fields(&[ahead, ACK].concat()), fields(ACK));
        }
    }

    #[test]
    fn no_more_bytes_are_read_than_the_bound() {
        let filled = |bytes: usize| {
            let mut text = b"MSH|^~\\&|||||||ACK|".to_vec();
            text.resize(MLLP_HEAD_BYTES_MAX - bytes, b'x');
            text.extend(b"\rMSA|AA|");
            fields(&text)
        };
        assert_eq!(filled(8).code, Some(Code::ApplicationAccept));
        assert_eq!(filled(6).code, None);
        assert!(filled(0).kind.is_some());
    }
}
