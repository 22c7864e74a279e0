//! What the first segments of a frame tell: the message type in MSH-9 and the code in MSA-1.
//!
//! Reads octet by octet and gathers these two fields alone. In answers only SFT and UAC may stand
//! between MSH and MSA (HL7 v2.7 chapter 2, message ACK), so the name of any other segment decides,
//! and nothing behind it is looked at.

use super::code::Code;
use super::kind::MessageType;
use crate::limits::MLLP_HEAD_BYTES_MAX;

/// Reads the head of one frame. It has no `Debug`: while it reads, it holds octets of unknown kind.
#[derive(Clone, Copy)]
pub(super) struct Head {
    at: At,
    // Octets that are still looked at.
    left: usize,
    // MSH-1 and the first of MSH-2.
    field: u8,
    component: u8,
    fields: HeadFields,
}

/// What a head told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct HeadFields {
    /// The type of the message, if it could be read.
    pub(super) kind: Option<MessageType>,
    /// The code of the acknowledgement, if it is one and the code is known.
    pub(super) code: Option<Code>,
}

#[derive(Clone, Copy)]
enum At {
    /// The name of a segment.
    Name(SmallBytes<3>),
    /// The octets behind the name MSH, which are the separators of the message.
    Field,
    Component,
    /// A field of MSH, before the ninth.
    Header(u8),
    /// MSH-9, as far as its second component.
    Type(SmallBytes<7>),
    /// The octet behind the name MSA.
    Answer,
    /// MSA-1.
    Code(SmallBytes<2>),
    /// Rest of a segment, of no interest.
    Rest,
    /// Nothing more is looked at.
    Decided,
}

impl Head {
    pub(super) fn new() -> Self {
        Self {
            at: At::Name(SmallBytes::EMPTY),
            left: MLLP_HEAD_BYTES_MAX,
            field: 0,
            component: b'^',
            fields: HeadFields::default(),
        }
    }

    /// Takes the next octets of the frame's text.
    pub(super) fn read(&mut self, text: &[u8]) {
        for octet in text {
            if matches!(self.at, At::Decided) {
                return;
            }
            let Some(left) = self.left.checked_sub(1) else {
                // LIMIT: MLLP_HEAD_BYTES_MAX, counted as another type, without a code.
                self.at = At::Decided;
                return;
            };
            self.left = left;
            self.at = self.step(*octet);
        }
    }

    /// What it told, when the frame's text is at its end.
    pub(super) fn finish(mut self) -> HeadFields {
        match self.at {
            At::Name(name) if self.is_first() => {
                self.fields.code = name.only().and_then(Code::from_octet);
            }
            _ => self.end_field(),
        }
        self.fields
    }

    fn step(&mut self, octet: u8) -> At {
        if is_segment_end(octet) {
            self.end_field();
            return self.next_segment();
        }
        match self.at {
            At::Name(name) => self.name(name, octet),
            At::Field if octet == 0 || octet.is_ascii_alphanumeric() => At::Decided,
            At::Field => {
                self.field = octet;
                At::Component
            }
            At::Component if octet != self.field => {
                self.component = octet;
                At::Header(2)
            }
            At::Component => At::Header(3),
            At::Header(8) if octet == self.field => At::Type(SmallBytes::EMPTY),
            At::Header(field) if octet == self.field => At::Header(field.saturating_add(1)),
            At::Answer if octet == self.field => At::Code(SmallBytes::EMPTY),
            At::Answer => At::Decided,
            At::Type(_) | At::Code(_) if octet == self.field => {
                self.end_field();
                self.behind_field()
            }
            At::Type(kind) => self.kind(kind, octet),
            At::Code(code) => At::Code(code.with(octet)),
            At::Header(_) | At::Rest | At::Decided => self.at,
        }
    }

    // A name is complete with its third octet; what it is decides what to look at.
    fn name(&self, name: SmallBytes<3>, octet: u8) -> At {
        let is_first = self.is_first();
        if is_first && name.octets().is_empty() && BOM.contains(&octet) {
            return self.at;
        }
        let name = name.with(octet);
        match name.octets() {
            b"MSH" if is_first => At::Field,
            b"SFT" | b"UAC" if !is_first => At::Rest,
            b"MSA" if !is_first => At::Answer,
            [_, _, _] => At::Decided,
            _ => At::Name(name),
        }
    }

    // Whether MSH is still to come.
    fn is_first(&self) -> bool {
        self.field == 0
    }

    fn kind(&mut self, kind: SmallBytes<7>, octet: u8) -> At {
        if octet != self.component {
            // A circumflex that does not separate is no part of a type.
            return At::Type(kind.with(if octet == b'^' { 0 } else { octet }));
        }
        if kind.octets().contains(&b'^') {
            self.end_field();
            return At::Rest;
        }
        At::Type(kind.with(b'^'))
    }

    fn end_field(&mut self) {
        match self.at {
            At::Type(kind) => self.fields.kind = MessageType::from_field(kind.octets()),
            At::Code(code) => self.fields.code = Code::from_field(code.octets()),
            _ => {}
        }
    }

    // MSA-1 is the last thing of interest.
    fn behind_field(&self) -> At {
        match self.at {
            At::Code(_) => At::Decided,
            _ => At::Rest,
        }
    }

    fn next_segment(&self) -> At {
        match self.at {
            At::Code(_) | At::Answer | At::Field => At::Decided,
            At::Name(name) if !name.octets().is_empty() => At::Decided,
            _ => At::Name(SmallBytes::EMPTY),
        }
    }
}

/// A byte order mark in UTF-8, which some programs write ahead of MSH.
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// CR ends a segment (HL7 v2.5.1 section 2.5.4); programs of the field write LF beside it, or
/// instead.
fn is_segment_end(octet: u8) -> bool {
    matches!(octet, b'\r' | b'\n')
}

/// Up to so many octets; more of them are none.
#[derive(Clone, Copy)]
struct SmallBytes<const N: usize> {
    octets: [u8; N],
    length: u8,
}

impl<const N: usize> SmallBytes<N> {
    const EMPTY: Self = Self {
        octets: [0; N],
        length: 0,
    };

    fn with(mut self, octet: u8) -> Self {
        if let Some(place) = self.octets.get_mut(usize::from(self.length)) {
            *place = octet;
        }
        self.length = self.length.saturating_add(1);
        self
    }

    fn octets(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or(&[])
    }

    fn only(&self) -> Option<u8> {
        match self.octets() {
            [octet] => Some(*octet),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &[u8]) -> HeadFields {
        let mut head = Head::new();
        head.read(text);
        head.finish()
    }

    fn kind(text: &[u8]) -> Option<String> {
        fields(text).kind.map(|kind| kind.to_string())
    }

    const ACK: &[u8] = b"MSH|^~\\&|B|SITE|A|SITE|20260101120000||ACK^A01^ACK|42|P|2.5\rMSA|AA|42\r";

    #[test]
    fn type_and_code_are_told() {
        assert_eq!(kind(ACK).as_deref(), Some("ACK^A01"));
        assert_eq!(fields(ACK).code, Some(Code::ApplicationAccept));
        let order = b"MSH|^~\\&|||||||ORM^O01\rPID|1||4711||DOE^JANE";
        assert_eq!(kind(order).as_deref(), Some("ORM^O01"));
        assert_eq!(fields(order).code, None);
    }

    #[test]
    fn pieces_of_any_size_tell_the_same() {
        for size in 1..ACK.len() {
            let mut head = Head::new();
            ACK.chunks(size).for_each(|piece| head.read(piece));
            assert_eq!(head.finish(), fields(ACK), "{size}");
        }
    }

    #[test]
    fn a_message_brings_its_own_separators() {
        let text = b"MSH*:~\\&*A*B*C*D*1**ADT:A04:ADT_A01*1\rMSA*AE*1";
        assert_eq!(kind(text).as_deref(), Some("ADT^A04"));
        assert_eq!(fields(text).code, Some(Code::ApplicationError));
        assert_eq!(kind(b"MSH|:~\\&|||||||ADT^A04|1"), None);
        assert_eq!(kind(b"MSH||||||||ACK|1").as_deref(), Some("ACK"));
    }

    #[test]
    fn the_answer_may_stand_behind_software_and_authentication() {
        let text = b"MSH|^~\\&|||||||ACK\rSFT|x|1\rUAC|KERB^MSA|AA\r\nMSA|CR";
        assert_eq!(fields(text).code, Some(Code::CommitReject));
    }

    #[test]
    fn what_is_behind_another_segment_is_not_looked_at() {
        for name in ["PID", "ERR", "MSAX", "ZMS", "MSH", "MS", "msa"] {
            let text = format!("MSH|^~\\&|||||||ACK\r{name}|1\rMSA|AA|1\r");
            assert_eq!(fields(text.as_bytes()).code, None, "{name}");
        }
    }

    #[test]
    fn codes_that_are_none_are_not_told() {
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
    fn one_octet_is_a_commit_acknowledgement() {
        assert_eq!(fields(b"\x06").code, Some(Code::Ack));
        assert_eq!(fields(b"\x15").code, Some(Code::Nak));
        assert_eq!(fields(b"\x06\x06"), HeadFields::default());
        assert_eq!(fields(b"MSH|^~\\&|\r\x06"), HeadFields::default());
    }

    #[test]
    fn texts_that_are_no_messages_tell_nothing() {
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
    fn what_programs_write_ahead_of_msh_does_no_harm() {
        for ahead in [&b"\xef\xbb\xbf"[..], b"\r\n", b"\n"] {
            assert_eq!(fields(&[ahead, ACK].concat()), fields(ACK));
        }
    }

    #[test]
    fn no_more_is_looked_at_than_the_bound() {
        let filled = |octets: usize| {
            let mut text = b"MSH|^~\\&|||||||ACK|".to_vec();
            text.resize(MLLP_HEAD_BYTES_MAX - octets, b'x');
            text.extend(b"\rMSA|AA|");
            fields(&text)
        };
        assert_eq!(filled(8).code, Some(Code::ApplicationAccept));
        assert_eq!(filled(6).code, None);
        assert!(filled(0).kind.is_some());
    }
}
