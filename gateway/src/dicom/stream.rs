//! Reads one direction of an association: PDUs and their content (PS3.8 sections 9.3 and annex E).
//!
//! The reader reads 6 bytes of each PDU and 6 of each presentation data value. It counts and skips data sets:
//! a slice that holds only a data set costs the same at any length.

use std::borrow::Cow;
use std::fmt;

use super::PduType;
use super::request::FIXED;
use super::verdict::Violation;
use crate::dicom::limits::{COMMAND_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::stream_kind::StreamKind;

/// The bytes of a PDU's header; also of the header of a presentation data value, with context and control.
const HEADER: usize = 6;
/// The bytes of a presentation data value that its own length does not include.
const PDV_LENGTH: u32 = 4;
/// The bytes that its length includes besides the fragment: context and control.
const PDV_CONTROL: u32 = 2;

/// Bits of the control byte (PS3.8 section E.2); the other bits are ignored.
const IS_COMMAND: u8 = 1;
const IS_LAST: u8 = 2;

/// A complete element of the stream.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(super) enum StreamElement<'a> {
    /// A PDU of any type but P-PduType::Data-TF, without its header.
    Pdu(PduType, Cow<'a, [u8]>),
    /// A command set.
    Command(Cow<'a, [u8]>),
    /// A data set of this number of bytes.
    DataSet(u64),
}

/// A set of PDU types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    /// The types of the standard.
    pub(super) const ALL: Self = Self::of(&PduType::ALL);

    pub(super) const fn of(types: &[PduType]) -> Self {
        let (mut set, mut rest) = (0, types);
        while let [first, others @ ..] = rest {
            set |= 1 << first.byte();
            rest = others;
        }
        Self(set)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, kind: PduType) -> Self {
        Self(self.0 & !Self::of(&[kind]).0)
    }

    const fn has(self, kind: PduType) -> bool {
        self.0 & Self::of(&[kind]).0 != 0
    }
}

/// Reads one direction, in slices of any size.
pub(super) struct Stream {
    state: StreamState,
    // Whether a PDU has begun.
    has_begun: bool,
    /// The PDUs that may begin now.
    pub(super) legal: Types,
    head: PartialHeader,
    // The bytes of the PDU after the current presentation data value.
    pdu_left: u32,
    // The bytes left of the fragment, or of the PDU that is collected.
    left: u32,
    // The context of the command set that is collected.
    context: u8,
    // The bytes of the current data set.
    bytes: u64,
    gathered: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamState {
    // A PDU's header, or the rest of it.
    Pdu,
    // The header of a presentation data value.
    Pdv,
    // A PDU that is collected.
    Whole(PduType),
    // A fragment of a command set; whether it is the last.
    Command(bool),
    // A fragment of a data set; whether it is the last.
    Data(bool),
}

impl Stream {
    /// A direction in which the PDUs of `legal` may begin.
    pub(super) fn new(legal: Types) -> Self {
        Self {
            state: StreamState::Pdu,
            has_begun: false,
            legal,
            head: PartialHeader::default(),
            pdu_left: 0,
            left: 0,
            context: 0,
            bytes: 0,
            gathered: Vec::new(),
        }
    }

    /// Whether every PDU that began is complete.
    pub(super) fn is_between_pdus(&self) -> bool {
        self.state == StreamState::Pdu && self.head.count == 0
    }

    /// Whether every message that began is complete, a command set with its fragments and a data set.
    pub(super) fn is_between_messages(&self) -> bool {
        self.is_between_pdus() && self.gathered.is_empty() && self.bytes == 0
    }

    /// Reads to the next event or to the end of `bytes`.
    pub(super) fn next<'a>(
        &mut self,
        bytes: &mut &'a [u8],
    ) -> Result<Option<StreamElement<'a>>, Violation> {
        loop {
            match self.state {
                StreamState::Pdu => match self.head.take(bytes) {
                    Some(header) => self.begin_pdu(header)?,
                    None => return Ok(None),
                },
                StreamState::Pdv => match self.head.take(bytes) {
                    Some(header) => self.begin_pdv(header)?,
                    None => return Ok(None),
                },
                StreamState::Data(is_last) => {
                    self.skip(bytes);
                    if self.left > 0 {
                        return Ok(None);
                    }
                    self.end_pdv()?;
                    if is_last {
                        return Ok(Some(StreamElement::DataSet(std::mem::take(
                            &mut self.bytes,
                        ))));
                    }
                }
                StreamState::Command(false) => {
                    self.gather(bytes);
                    if self.left > 0 {
                        return Ok(None);
                    }
                    self.end_pdv()?;
                }
                StreamState::Command(true) => match self.whole(bytes) {
                    Some(set) => {
                        self.end_pdv()?;
                        return Ok(Some(StreamElement::Command(set)));
                    }
                    None => return Ok(None),
                },
                StreamState::Whole(kind) => match self.whole(bytes) {
                    Some(body) => {
                        self.state = StreamState::Pdu;
                        return Ok(Some(StreamElement::Pdu(kind, body)));
                    }
                    None => return Ok(None),
                },
            }
        }
    }

    fn begin_pdu(&mut self, header: [u8; HEADER]) -> Result<(), Violation> {
        let [kind, _, a, b, c, d] = header;
        let length = u32::from_be_bytes([a, b, c, d]);
        if !std::mem::replace(&mut self.has_begun, true)
            && let Some(foreign) = StreamKind::of(&header)
            && !matches!(foreign, StreamKind::Dicom | StreamKind::Unknown)
        {
            return Err(Violation::Foreign(foreign));
        }
        let kind = PduType::of(kind).ok_or(Violation::UnknownPdu(kind))?;
        if !self.legal.has(kind) {
            return Err(Violation::UnexpectedPdu(kind));
        }
        if kind == PduType::Data {
            self.pdu_left = length;
            // A PDU has at least one value (PS3.8 section 9.3.5).
            return self.begin_values().map_err(|_| Violation::PduLength(kind));
        }
        // The rest of a command cannot come after this PDU.
        self.gathered.clear();
        let is_legal = match kind {
            PduType::AssociateRq | PduType::AssociateAc => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                (FIXED..=REQUEST_BYTES_MAX - HEADER).contains(&length)
            }
            _ => length == 4,
        };
        if !is_legal {
            return Err(Violation::PduLength(kind));
        }
        self.left = length;
        self.state = StreamState::Whole(kind);
        Ok(())
    }

    fn begin_values(&mut self) -> Result<(), Violation> {
        if self.pdu_left < PDV_LENGTH + PDV_CONTROL {
            return Err(Violation::PdvLength);
        }
        self.state = StreamState::Pdv;
        Ok(())
    }

    fn begin_pdv(&mut self, header: [u8; HEADER]) -> Result<(), Violation> {
        let [a, b, c, d, context, control] = header;
        let length = u32::from_be_bytes([a, b, c, d]);
        let behind = self.pdu_left.checked_sub(PDV_LENGTH);
        let behind = behind.and_then(|rest| rest.checked_sub(length));
        self.pdu_left = behind.ok_or(Violation::PdvLength)?;
        self.left = length
            .checked_sub(PDV_CONTROL)
            .ok_or(Violation::PdvLength)?;
        let is_last = control & IS_LAST != 0;
        if control & IS_COMMAND != 0 {
            return self.begin_command(context, is_last);
        }
        if self.is_within_command() {
            return Err(Violation::Interleaved);
        }
        self.bytes = self.bytes.saturating_add(self.left.into());
        self.state = StreamState::Data(is_last);
        Ok(())
    }

    fn begin_command(&mut self, context: u8, is_last: bool) -> Result<(), Violation> {
        if self.is_within_command() && self.context != context {
            return Err(Violation::Interleaved);
        }
        let fragment = usize::try_from(self.left).unwrap_or(usize::MAX);
        if fragment > COMMAND_BYTES_MAX.saturating_sub(self.gathered.len()) {
            return Err(Violation::CommandTooLong);
        }
        self.context = context;
        // An unfinished data set ends where the next command begins.
        self.bytes = 0;
        self.state = StreamState::Command(is_last);
        Ok(())
    }

    // Whether part of a command set has passed, but not its last fragment.
    fn is_within_command(&self) -> bool {
        !self.gathered.is_empty()
    }

    fn end_pdv(&mut self) -> Result<(), Violation> {
        if self.pdu_left > 0 {
            return self.begin_values();
        }
        self.state = StreamState::Pdu;
        Ok(())
    }

    // Skips the bytes of the fragment that are present.
    fn skip(&mut self, bytes: &mut &[u8]) {
        let skipped = self.left.min(clamp(bytes.len()));
        *bytes = bytes.get(wide(skipped)..).unwrap_or(&[]);
        self.left -= skipped;
    }

    // Collects the bytes that are present. Memory grows with received bytes, not with announced ones.
    fn gather(&mut self, bytes: &mut &[u8]) {
        let before = *bytes;
        self.skip(bytes);
        let taken = before.len() - bytes.len();
        self.gathered
            .extend_from_slice(before.get(..taken).unwrap_or(&[]));
    }

    // The collected bytes and their rest; directly from `bytes` if they hold all.
    fn whole<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if self.gathered.is_empty() && bytes.len() >= wide(self.left) {
            let (whole, rest) = bytes.split_at_checked(wide(self.left))?;
            *bytes = rest;
            self.left = 0;
            return Some(Cow::Borrowed(whole));
        }
        self.gather(bytes);
        (self.left == 0).then(|| Cow::Owned(std::mem::take(&mut self.gathered)))
    }
}

/// Without the collected bytes, which may hold a user identity.
impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stream = f.debug_struct("Stream");
        stream.field("state", &self.state).field("left", &self.left);
        stream.finish_non_exhaustive()
    }
}

fn clamp(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn wide(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// A header that may be incomplete.
#[derive(Default)]
struct PartialHeader {
    bytes: [u8; HEADER],
    count: u8,
}

impl PartialHeader {
    fn take(&mut self, bytes: &mut &[u8]) -> Option<[u8; HEADER]> {
        if self.count == 0
            && let Some((header, rest)) = bytes.split_first_chunk::<HEADER>()
        {
            *bytes = rest;
            return Some(*header);
        }
        let room = self.bytes.get_mut(usize::from(self.count)..)?;
        for there in room {
            let (byte, rest) = bytes.split_first()?;
            (*there, *bytes) = (*byte, rest);
            self.count += 1;
        }
        self.count = 0;
        Some(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::made;
    use super::*;

    // The events of a stream in pieces of this length, and where it ends.
    fn events(stream_bytes: &[u8], piece: usize) -> (Vec<String>, Result<bool, Violation>) {
        let mut stream = Stream::new(Types::ALL);
        let mut events = Vec::new();
        for mut bytes in stream_bytes.chunks(piece) {
            loop {
                match stream.next(&mut bytes) {
                    Ok(Some(event)) => events.push(shown(&event)),
                    Ok(None) => break,
                    Err(violation) => return (events, Err(violation)),
                }
            }
            assert!(bytes.is_empty());
        }
        (events, Ok(stream.is_between_pdus()))
    }

    fn shown(event: &StreamElement<'_>) -> String {
        match event {
            StreamElement::Pdu(kind, body) => format!("{}: {}", kind.byte(), body.len()),
            StreamElement::Command(set) => format!("command {set:?}"),
            StreamElement::DataSet(bytes) => format!("data {bytes}"),
        }
    }

    // The events must be the same at every length of pieces.
    fn at_any_split(bytes: &[u8]) -> (Vec<String>, Result<bool, Violation>) {
        let whole = events(bytes, bytes.len().max(1));
        for piece in 1..bytes.len() {
            assert_eq!(events(bytes, piece), whole, "pieces of {piece}");
        }
        whole
    }

    fn refused(bytes: &[u8]) -> Violation {
        at_any_split(bytes).1.expect_err("a violation")
    }

    #[test]
    fn values_are_read_at_any_position_in_pdus() {
        // Two fragments of a command in two PDUs, then three fragments of its data in two PDUs.
        let bytes = [
            made::pdu(PduType::Data.byte(), &made::pdv(1, 1, &[1, 2, 3])),
            made::pdu(
                PduType::Data.byte(),
                &[made::pdv(1, 3, &[4]), made::pdv(1, 0, &[0; 100])].concat(),
            ),
            made::pdu(
                PduType::Data.byte(),
                &[made::pdv(1, 0, &[0; 7]), made::pdv(1, 2, &[])].concat(),
            ),
            made::pdu(PduType::ReleaseRq.byte(), &[0; 4]),
        ]
        .concat();
        let (events, end) = at_any_split(&bytes);
        assert_eq!(events, ["command [1, 2, 3, 4]", "data 107", "5: 4"]);
        assert_eq!(end, Ok(true));
    }

    #[test]
    fn a_pdu_that_began_is_not_between_pdus() {
        let bytes = made::pdu(PduType::Data.byte(), &made::pdv(1, 2, &[0; 9]));
        for end in 0..=bytes.len() {
            let is_whole = end == 0 || end == bytes.len();
            assert_eq!(events(&bytes[..end], 64).1, Ok(is_whole), "{end}");
        }
    }

    #[test]
    fn lengths_of_4_gib_are_followed_and_reserve_nothing() {
        let mut stream = Stream::new(Types::ALL);
        let header = [4, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfb, 1, 2];
        assert_eq!(stream.next(&mut &header[..]), Ok(None));
        let piece = vec![0; 1 << 20];
        let mut left = u64::from(u32::MAX) - 6;
        while left > piece.len() as u64 {
            assert_eq!(stream.next(&mut &piece[..]), Ok(None));
            left -= piece.len() as u64;
        }
        assert!(!stream.is_between_pdus());
        let rest = &piece[..usize::try_from(left).expect("little")];
        let data = StreamElement::DataSet(u64::from(u32::MAX) - 6);
        assert_eq!(stream.next(&mut &rest[..]), Ok(Some(data)));
        assert!(stream.is_between_pdus());
        assert_eq!(stream.gathered.capacity(), 0);
    }

    #[test]
    fn announced_bytes_are_not_reserved() {
        let mut stream = Stream::new(Types::ALL);
        let header = [1, 0, 0, 0x0f, 0xff, 0xfa, 9, 9];
        assert_eq!(stream.next(&mut &header[..]), Ok(None));
        assert!(stream.gathered.capacity() < 64);
    }

    #[test]
    fn impossible_lengths_are_violations() {
        for (kind, length) in [
            (1, 67),
            (2, 67),
            (3, 3),
            (5, 5),
            (6, 0),
            (7, 5),
            (4, 5),
            (4, 0),
        ] {
            let bytes = [kind, 0, 0, 0, 0, length];
            assert_eq!(
                refused(&bytes),
                Violation::PduLength(PduType::of(kind).expect("one of the seven"))
            );
        }
        let long = [1, 0, 0, 0x0f, 0xff, 0xfb];
        assert_eq!(refused(&long), Violation::PduLength(PduType::AssociateRq));
        // A value longer than its PDU, one too short for its context, and bytes behind the last one.
        for value in [
            &[0, 0, 0, 3, 1, 2][..],
            &[0, 0, 0, 1, 1, 2],
            &[0, 0, 0, 2, 1, 2, 0],
        ] {
            assert_eq!(
                refused(&made::pdu(PduType::Data.byte(), value)),
                Violation::PdvLength
            );
        }
        let huge = [0xff, 0xff, 0xff, 0xff, 1, 2];
        assert_eq!(
            refused(&made::pdu(PduType::Data.byte(), &huge)),
            Violation::PdvLength
        );
    }

    #[test]
    fn pdus_that_are_unknown_or_not_legal_now_are_violations() {
        for kind in [0, 8, 9, 0x48, 0xff] {
            let bytes = [kind, 0, 0, 0, 0, 4];
            assert_eq!(refused(&bytes), Violation::UnknownPdu(kind));
        }
        let mut stream = Stream::new(Types::of(&[PduType::Abort]));
        let bytes = made::pdu(PduType::ReleaseRq.byte(), &[0; 4]);
        let unexpected = Err(Violation::UnexpectedPdu(PduType::ReleaseRq));
        assert_eq!(stream.next(&mut &bytes[..]), unexpected);
    }

    #[test]
    fn nothing_comes_between_the_parts_of_a_command() {
        let part = made::pdu(PduType::Data.byte(), &made::pdv(1, 1, &[1]));
        let data = made::pdu(PduType::Data.byte(), &made::pdv(1, 2, &[2]));
        let other = made::pdu(PduType::Data.byte(), &made::pdv(3, 3, &[2]));
        for next in [data, other] {
            let bytes = [part.clone(), next].concat();
            assert_eq!(refused(&bytes), Violation::Interleaved);
        }
    }

    #[test]
    fn a_command_beyond_the_bound_is_refused_by_its_header() {
        let part = made::pdu(PduType::Data.byte(), &made::pdv(1, 1, &[0; 60_000]));
        let more = u32::try_from(COMMAND_BYTES_MAX - 60_000 + 1).expect("little") + 2;
        let header = [&more.to_be_bytes()[..], &[1, 1]].concat();
        let next = [&[4, 0, 0, 1, 0, 0][..], &header].concat();
        let (events, end) = events(&[part, next].concat(), 7000);
        assert_eq!(events, [""; 0]);
        assert_eq!(end, Err(Violation::CommandTooLong));
    }

    #[test]
    fn an_unfinished_data_set_is_not_added_to_the_next() {
        let bytes = [
            made::pdv(1, 3, &[1]),
            made::pdv(1, 0, &[0; 50]),
            made::pdv(1, 3, &[2]),
            made::pdv(1, 2, &[0; 5]),
        ];
        let (events, _) = at_any_split(&made::pdu(PduType::Data.byte(), &bytes.concat()));
        assert_eq!(events, ["command [1]", "command [2]", "data 5"]);
    }
}
