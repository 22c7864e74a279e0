//! Command sets: requests and responses (PS3.7 section 6.3 and annex E).

use std::fmt;

use super::{AeTitle, DimseCommand, RequestedCommand, SopClass};

/// Elements of group 0000 (PS3.7 table E.1-1).
const AFFECTED_SOP_CLASS: u16 = 0x0002;
const COMMAND_FIELD: u16 = 0x0100;
const MESSAGE_ID: u16 = 0x0110;
const MESSAGE_ID_RESPONDED_TO: u16 = 0x0120;
const MOVE_DESTINATION: u16 = 0x0600;
const DATA_SET_TYPE: u16 = 0x0800;
const STATUS: u16 = 0x0900;

/// The Command Field of a C-CANCEL-RQ; in other fields, bit 15 marks a response.
const CANCEL: u16 = 0x0fff;
const RESPONSE: u16 = 0x8000;
/// The Command Data Set Type for a message without a data set.
const NO_DATA_SET: u16 = 0x0101;

/// The elements of a command set that are read.
#[derive(Default)]
pub(super) struct CommandSet<'a> {
    field: Option<u16>,
    message: Option<u16>,
    responded_to: Option<u16>,
    data_set_type: Option<u16>,
    status: Option<u16>,
    affected_class: &'a [u8],
    destination: &'a [u8],
}

/// The meaning of a command set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A request with this Message ID.
    Request(RequestedCommand, u16),
    /// The request to cancel a running request.
    Cancel,
    /// A response to the request with this Message ID.
    Response(RequestedCommand, u16, Status),
}

impl<'a> CommandSet<'a> {
    /// Reads a command set, which is always in Implicit VR Little Endian; `None` if it is malformed.
    pub(super) fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let mut set = Self::default();
        while !bytes.is_empty() {
            let (header, rest) = bytes.split_first_chunk::<8>()?;
            let [g, h, e, f, a, b, c, d] = *header;
            let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
            let (value, rest) = rest.split_at_checked(length)?;
            if u16::from_le_bytes([g, h]) != 0 {
                return None;
            }
            set.take(u16::from_le_bytes([e, f]), value)?;
            bytes = rest;
        }
        Some(set)
    }

    fn take(&mut self, element: u16, value: &'a [u8]) -> Option<()> {
        match element {
            COMMAND_FIELD => put(&mut self.field, value)?,
            MESSAGE_ID => put(&mut self.message, value)?,
            MESSAGE_ID_RESPONDED_TO => put(&mut self.responded_to, value)?,
            DATA_SET_TYPE => put(&mut self.data_set_type, value)?,
            STATUS => put(&mut self.status, value)?,
            AFFECTED_SOP_CLASS => self.affected_class = value,
            MOVE_DESTINATION => self.destination = value,
            _ => {}
        }
        Some(())
    }

    /// The meaning; `None` if a required element is missing.
    pub(super) fn meaning(&self) -> Option<Meaning> {
        let field = self.field?;
        if field == CANCEL {
            return Some(Meaning::Cancel);
        }
        let asked = asked(field & !RESPONSE);
        if field & RESPONSE == 0 {
            return Some(Meaning::Request(asked, self.message?));
        }
        let status = Status(self.status?);
        Some(Meaning::Response(asked, self.responded_to?, status))
    }

    /// Whether a data set follows.
    pub(super) fn has_data_set(&self) -> bool {
        self.data_set_type != Some(NO_DATA_SET)
    }

    /// The affected SOP class, if it is a well-formed UID.
    pub(super) fn sop_class(&self) -> Option<SopClass> {
        SopClass::from_field(self.affected_class)
    }

    /// The destination of a C-MOVE-RQ.
    pub(super) fn destination(&self) -> Option<AeTitle> {
        let mut field = [b' '; 16];
        field
            .get_mut(..self.destination.len())?
            .copy_from_slice(self.destination);
        AeTitle::from_field(&field)
    }
}

// An element that is present twice could mean one value for this observer and another for the receiver.
fn put(place: &mut Option<u16>, value: &[u8]) -> Option<()> {
    let value = u16::from_le_bytes(value.try_into().ok()?);
    place.replace(value).is_none().then_some(())
}

fn asked(field: u16) -> RequestedCommand {
    let command = match field {
        0x0001 => DimseCommand::CStore,
        0x0010 => DimseCommand::CGet,
        0x0020 => DimseCommand::CFind,
        0x0021 => DimseCommand::CMove,
        0x0030 => DimseCommand::CEcho,
        0x0100 => DimseCommand::NEventReport,
        0x0110 => DimseCommand::NGet,
        0x0120 => DimseCommand::NSet,
        0x0130 => DimseCommand::NAction,
        0x0140 => DimseCommand::NCreate,
        0x0150 => DimseCommand::NDelete,
        other => return RequestedCommand::Unknown(other),
    };
    RequestedCommand::For(command)
}

/// The Status (0000,0900) of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(pub u16);

/// The class of a status (PS3.7 annex C).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The operation succeeded.
    Success,
    /// The operation succeeded with a warning.
    Warning,
    /// The operation failed.
    Failure,
    /// The operation was cancelled by a C-CANCEL.
    Cancel,
    /// The operation is running: more responses to the same request follow.
    Pending,
}

impl Class {
    /// All classes, in the order of the type.
    pub const ALL: [Self; 5] = [
        Self::Success,
        Self::Warning,
        Self::Failure,
        Self::Cancel,
        Self::Pending,
    ];

    /// The class as one word: a value in logs and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Cancel => "cancelled",
            Self::Pending => "pending",
        }
    }
}

impl Status {
    /// The class of the status. A status without a range in the standard is a failure.
    #[must_use]
    pub fn class(self) -> Class {
        match self.0 {
            0x0000 => Class::Success,
            0x0001 | 0x0107 | 0x0116 | 0xb000..=0xbfff => Class::Warning,
            0xfe00 => Class::Cancel,
            0xff00 | 0xff01 => Class::Pending,
            _ => Class::Failure,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}H", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::made;
    use super::*;

    fn meaning(bytes: &[u8]) -> Option<Meaning> {
        CommandSet::read(bytes)?.meaning()
    }

    #[test]
    fn requests_and_responses_are_distinguished() {
        let store = made::command(0x0001, 7, true, &[]);
        let for_store = RequestedCommand::For(DimseCommand::CStore);
        assert_eq!(meaning(&store), Some(Meaning::Request(for_store, 7)));
        let stored = made::response(0x8001, 7, 0xb007);
        let status = Status(0xb007);
        let expected = Meaning::Response(for_store, 7, status);
        assert_eq!(meaning(&stored), Some(expected));
        assert_eq!(status.to_string(), "B007H");
        let cancel = made::response(0x0fff, 7, 0);
        assert_eq!(meaning(&cancel), Some(Meaning::Cancel));
        let odd = made::command(0x7777, 7, false, &[]);
        let expected = Meaning::Request(RequestedCommand::Unknown(0x7777), 7);
        assert_eq!(meaning(&odd), Some(expected));
    }

    #[test]
    fn every_command_has_its_number() {
        let numbers = [
            0x30, 0x01, 0x20, 0x10, 0x21, 0x100, 0x110, 0x120, 0x130, 0x140, 0x150,
        ];
        for (command, number) in DimseCommand::ALL.into_iter().zip(numbers) {
            assert_eq!(asked(number), RequestedCommand::For(command));
        }
    }

    #[test]
    fn the_requested_command_is_read() {
        let class = made::element(0x0002, b"1.2.840.10008.5.1.4.1.1.2\0");
        let destination = made::element(0x0600, b"STORE_2 ");
        let bytes = made::command(0x0021, 1, true, &[class, destination].concat());
        let set = CommandSet::read(&bytes).expect("a set");
        assert!(set.has_data_set());
        let class = set.sop_class().map(|class| class.to_string());
        assert_eq!(class.as_deref(), Some("CT Image Storage"));
        let destination = set.destination().map(|title| title.to_string());
        assert_eq!(destination.as_deref(), Some("STORE_2"));
        let bytes = made::command(0x0030, 1, false, &[]);
        let set = CommandSet::read(&bytes).expect("a set");
        assert!(!set.has_data_set());
        assert_eq!((set.sop_class(), set.destination()), (None, None));
    }

    #[test]
    fn destinations_that_are_not_titles_are_not_kept() {
        let destination = made::element(0x0600, b"A2345678901234567");
        let bytes = made::command(0x0021, 1, true, &destination);
        let set = CommandSet::read(&bytes).expect("a set");
        assert_eq!(set.destination(), None);
    }

    #[test]
    fn sets_that_cannot_be_read() {
        let good = made::command(0x0001, 7, true, &[]);
        // The first 20 bytes are a set without the element that says whether data follows.
        for end in (0..good.len()).filter(|end| *end != 20) {
            assert_eq!(meaning(&good[..end]), None, "{end}");
        }
        let long = [0, 0, 2, 0, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(meaning(&long), None);
        let mut patient = good.clone();
        patient[0] = 0x10;
        assert_eq!(meaning(&patient), None);
        let twice = [&good[..], &made::element(0x0100, &[0x30, 0])].concat();
        assert_eq!(meaning(&twice), None);
        let wide = made::command(0x0001, 7, true, &made::element(0x0900, &[0; 4]));
        assert_eq!(meaning(&wide), None);
    }

    #[test]
    fn statuses_fall_into_the_classes_of_the_standard() {
        let class = |status| Status(status).class();
        assert_eq!(class(0), Class::Success);
        for warning in [1, 0x107, 0x116, 0xb000, 0xb007, 0xbfff] {
            assert_eq!(class(warning), Class::Warning);
        }
        for pending in [0xff00, 0xff01] {
            assert_eq!(class(pending), Class::Pending);
        }
        assert_eq!(class(0xfe00), Class::Cancel);
        for failure in [0x0110, 0x0122, 0xa700, 0xa801, 0xa9ff, 0xc000, 0xff02] {
            assert_eq!(class(failure), Class::Failure);
        }
    }
}
