//! The request that opens an association, checked while its bytes arrive (PS3.8 section 9.3.2).

use thiserror::Error;

use super::items::{Items, Malformed};
use super::user_information::UserInformation;
use super::{AeTitle, ClosingPdu, PduType, SopClass};
use crate::dicom::limits::{CONTEXTS_MAX, REQUEST_BYTES_MAX};

/// The bytes of a PDU's header: type, reserved, length.
const HEADER: usize = 6;
/// The bytes between the header and the items: version, reserved, both titles, reserved.
pub(super) const FIXED: usize = 68;

/// Types of items in an A-ASSOCIATE-RQ.
const CONTEXT: u8 = 0x20;
const ABSTRACT_SYNTAX: u8 = 0x30;
pub(super) const USER_INFORMATION: u8 = 0x50;

/// The fields of an A-ASSOCIATE-RQ that the gateway uses. It holds no user identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociateRq {
    /// The called AE title.
    pub called: AeTitle,
    /// The calling AE title.
    pub calling: AeTitle,
    /// The proposed presentation contexts, up to `CONTEXTS_MAX`.
    pub contexts: Vec<Proposed>,
    /// The user information of the requestor.
    pub user: UserInformation,
}

/// A proposed presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// Its identifier.
    pub id: u8,
    /// Its abstract syntax; `None` if that is not a well-formed UID.
    pub sop_class: Option<SopClass>,
}

/// Why bytes are not an A-ASSOCIATE-RQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum AssociateRqError {
    /// A PDU that exists but does not open an association.
    #[error("{0} where an A-ASSOCIATE-RQ was due")]
    OtherPdu(PduType),
    /// A PDU of a type that the standard does not have.
    #[error("a PDU of unknown type {0:#04x} where an A-ASSOCIATE-RQ was due")]
    UnknownPdu(u8),
    /// Not a PDU.
    #[error("not DICOM: begins with the byte {0:#04x}")]
    NotDicom(u8),
    /// Version 1 is not offered (PS3.8 table 9-11). Checked when the PDU is complete.
    #[error("A-ASSOCIATE-RQ does not offer version 1 of the protocol")]
    Version,
    /// Only padding in place of the called AE title. Checked when the PDU is complete.
    #[error("A-ASSOCIATE-RQ without a called AE title")]
    CalledEmpty,
    /// Only padding in place of the calling AE title. Checked when the PDU is complete.
    #[error("A-ASSOCIATE-RQ without a calling AE title")]
    CallingEmpty,
    /// Lengths that contradict each other.
    #[error("A-ASSOCIATE-RQ with impossible lengths")]
    Malformed,
    /// More bytes than any request needs.
    #[error("A-ASSOCIATE-RQ of more than {REQUEST_BYTES_MAX} bytes")]
    TooLong,
}

impl AssociateRq {
    /// Reads the request at the beginning of `bytes`, and returns its length in bytes.
    ///
    /// `Ok(None)` if `bytes` could be the beginning of a request. Another call with more bytes costs little
    /// until the request is complete. Errors are returned as early as possible; only errors that are answered
    /// with an A-ASSOCIATE-RJ are returned when the request is complete.
    ///
    /// # Errors
    ///
    /// At the first byte that cannot be part of a request.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, AssociateRqError> {
        let Some(length) = length(bytes)? else {
            return Ok(None);
        };
        let Some(body) = bytes.get(HEADER..length) else {
            return Ok(None);
        };
        Ok(Some((Self::read_body(body)?, length)))
    }

    /// Reads the body of a complete PDU.
    pub(super) fn read_body(body: &[u8]) -> Result<Self, AssociateRqError> {
        let (fixed, items) = body
            .split_first_chunk::<FIXED>()
            .ok_or(AssociateRqError::Malformed)?;
        let fixed = Fixed::read(fixed);
        if !fixed.offers_version_1 {
            return Err(AssociateRqError::Version);
        }
        let mut read = Self {
            called: fixed.called.ok_or(AssociateRqError::CalledEmpty)?,
            calling: fixed.calling.ok_or(AssociateRqError::CallingEmpty)?,
            contexts: Vec::new(),
            user: UserInformation::default(),
        };
        read.read_items(items)?;
        Ok(read)
    }

    fn read_items(&mut self, items: &[u8]) -> Result<(), Malformed> {
        for item in Items::new(items) {
            match item? {
                (CONTEXT, value) => {
                    let context = Proposed::read(value)?;
                    if self.contexts.len() < CONTEXTS_MAX {
                        self.contexts.push(context);
                    }
                }
                (USER_INFORMATION, value) => self.user = UserInformation::read(value)?,
                _ => {}
            }
        }
        Ok(())
    }
}

// The length of the whole PDU, if its header is complete.
fn length(bytes: &[u8]) -> Result<Option<usize>, AssociateRqError> {
    match bytes.first() {
        None => {}
        Some(&kind) if kind == PduType::AssociateRq.byte() => {}
        Some(&kind) => return Err(other(kind)),
    }
    // Missing bytes of the length could still be 0, so this is its minimum.
    let mut field = [0; 4];
    let there = bytes.get(2..bytes.len().min(HEADER)).unwrap_or(&[]);
    for (byte, there) in field.iter_mut().zip(there) {
        *byte = *there;
    }
    let length =
        usize::try_from(u32::from_be_bytes(field)).map_err(|_| AssociateRqError::TooLong)?;
    if length > REQUEST_BYTES_MAX - HEADER {
        return Err(AssociateRqError::TooLong);
    }
    if there.len() < field.len() {
        return Ok(None);
    }
    if length < FIXED {
        return Err(AssociateRqError::Malformed);
    }
    Ok(Some(HEADER + length))
}

// PDU types are below 10H, where the types of items begin; MLLP begins with 0BH.
fn other(kind: u8) -> AssociateRqError {
    match (PduType::of(kind), kind) {
        (Some(known), _) => AssociateRqError::OtherPdu(known),
        (None, 0x0b | 0x10..) => AssociateRqError::NotDicom(kind),
        (None, _) => AssociateRqError::UnknownPdu(kind),
    }
}

// The fields of an A-ASSOCIATE-RQ before its items.
struct Fixed {
    offers_version_1: bool,
    called: Option<AeTitle>,
    calling: Option<AeTitle>,
}

impl Fixed {
    fn read(bytes: &[u8; FIXED]) -> Self {
        let title = |from: usize| {
            let field = bytes.get(from..)?.first_chunk::<16>()?;
            AeTitle::from_field(field)
        };
        Self {
            offers_version_1: bytes.get(1).is_some_and(|low| low & 1 == 1),
            called: title(4),
            calling: title(20),
        }
    }
}

impl Proposed {
    fn read(value: &[u8]) -> Result<Self, Malformed> {
        let (head, items) = value.split_first_chunk::<4>().ok_or(Malformed)?;
        let [id, ..] = *head;
        let mut sop_class = None;
        for item in Items::new(items) {
            if let (ABSTRACT_SYNTAX, uid) = item? {
                sop_class = SopClass::from_field(uid);
            }
        }
        Ok(Self { id, sop_class })
    }
}

impl From<Malformed> for AssociateRqError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl AssociateRqError {
    /// The reply to send. `None` if the connection is closed without a reply, because a client with another
    /// protocol would not understand it.
    #[must_use]
    pub fn answer(&self) -> Option<ClosingPdu> {
        match self {
            Self::OtherPdu(_) => Some(ClosingPdu::unexpected_pdu()),
            Self::UnknownPdu(_) => Some(ClosingPdu::unrecognized_pdu()),
            Self::NotDicom(_) => None,
            Self::Version => Some(ClosingPdu::protocol_version_not_supported()),
            Self::CalledEmpty => Some(ClosingPdu::called_ae_not_recognized()),
            Self::CallingEmpty => Some(ClosingPdu::calling_ae_not_recognized()),
            Self::Malformed | Self::TooLong => Some(ClosingPdu::invalid_parameter()),
        }
    }
}

#[cfg(test)]
mod tests {
    use test_peers::openings;

    use super::super::made;
    use super::*;

    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

    fn read(bytes: &[u8]) -> Result<Option<(AssociateRq, usize)>, AssociateRqError> {
        AssociateRq::read(bytes)
    }

    fn whole(bytes: &[u8]) -> AssociateRq {
        let (request, length) = read(bytes).expect("a request").expect("it is complete");
        assert_eq!(length, bytes.len());
        request
    }

    #[test]
    fn a_request_is_read_once_it_is_whole() {
        let bytes = made::request("CT_1", "PACS", &[(1, CT), (3, "1.2.840.10008.1.1")]);
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), Ok(None), "{end}");
        }
        let request = whole(&bytes);
        assert_eq!(request.calling.to_string(), "CT_1");
        assert_eq!(request.called.to_string(), "PACS");
        let contexts: Vec<_> = request
            .contexts
            .iter()
            .map(|c| (c.id, c.sop_class.as_ref().expect("a UID").to_string()))
            .collect();
        assert_eq!(
            contexts,
            [
                (1, "CT Image Storage".to_owned()),
                (3, "Verification SOP Class".to_owned())
            ]
        );
        assert_eq!(request.user.pdu_length_max, 16_384);
        assert_eq!(
            request.user.implementation.map(|name| name.to_string()),
            Some("MADE_1".to_owned())
        );
        // The bytes after the request are not read.
        let more = [&bytes[..], &[0xff; 9]].concat();
        assert_eq!(read(&more), Ok(Some((request, bytes.len()))));
    }

    #[test]
    fn another_pdu_is_refused_at_its_first_byte() {
        for kind in &PduType::ALL[1..] {
            let no = read(&[kind.byte()]).expect_err("another PDU");
            assert_eq!(no, AssociateRqError::OtherPdu(*kind));
            assert_eq!(no.answer(), Some(ClosingPdu::unexpected_pdu()));
        }
        for kind in [0, 8, 9, 10, 12, 15] {
            let no = read(&[kind, 0, 0, 0]).expect_err("an unknown PDU");
            assert_eq!(no, AssociateRqError::UnknownPdu(kind));
            assert_eq!(no.answer(), Some(ClosingPdu::unrecognized_pdu()));
        }
    }

    #[test]
    fn other_protocols_get_no_answer() {
        for start in [
            openings::HTTP,
            openings::SSH,
            openings::TLS_HELLO,
            openings::HL7,
            b"\xff",
        ] {
            let no = read(start).expect_err("not DICOM");
            assert_eq!(no, AssociateRqError::NotDicom(start[0]));
            assert_eq!(no.answer(), None);
        }
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_by_its_first_byte() {
        assert_eq!(read(&[1, 0, 1]), Err(AssociateRqError::TooLong));
        assert_eq!(read(&[1, 0xff, 0, 0x10]), Err(AssociateRqError::TooLong));
        assert_eq!(
            read(&[1, 0, 0, 0x0f, 0xff, 0xfb]),
            Err(AssociateRqError::TooLong)
        );
        assert_eq!(read(&[1, 0, 0, 0x0f, 0xff, 0xfa]), Ok(None));
        assert_eq!(
            AssociateRqError::TooLong.answer(),
            Some(ClosingPdu::invalid_parameter())
        );
    }

    #[test]
    fn impossible_lengths_are_malformed() {
        assert_eq!(read(&[1, 0, 0, 0, 0, 67]), Err(AssociateRqError::Malformed));
        let good = made::request("CT_1", "PACS", &[(1, CT)]);
        // The application context, the context and its abstract syntax, each one byte too long.
        for at in [77, 102, 110] {
            let mut bytes = good.clone();
            bytes[at] = bytes[at].wrapping_add(200);
            assert_eq!(read(&bytes), Err(AssociateRqError::Malformed), "{at}");
        }
        assert_eq!(
            AssociateRqError::Malformed.answer(),
            Some(ClosingPdu::invalid_parameter())
        );
    }

    #[test]
    fn a_rejection_waits_for_the_whole_request() {
        let good = made::request("CT_1", "PACS", &[(1, CT)]);
        let cases = [
            (
                7,
                1,
                AssociateRqError::Version,
                ClosingPdu::protocol_version_not_supported(),
            ),
            (
                10,
                16,
                AssociateRqError::CalledEmpty,
                ClosingPdu::called_ae_not_recognized(),
            ),
            (
                26,
                16,
                AssociateRqError::CallingEmpty,
                ClosingPdu::calling_ae_not_recognized(),
            ),
        ];
        for (from, count, no, answer) in cases {
            let mut bytes = good.clone();
            bytes[from..from + count].fill(0);
            assert_eq!(read(&bytes[..bytes.len() - 1]), Ok(None));
            assert_eq!(read(&bytes), Err(no));
            assert_eq!(no.answer(), Some(answer));
        }
    }

    #[test]
    fn other_versions_may_be_offered_beside_the_first() {
        let mut bytes = made::request("CT_1", "PACS", &[]);
        bytes[6..8].copy_from_slice(&[0x80, 0x03]);
        whole(&bytes);
    }

    #[test]
    fn a_user_identity_leaves_no_trace() {
        let secret = b"correct horse battery staple";
        let bytes = made::request_with_identity("CT_1", "PACS", secret);
        let holds = |text: &str| text.contains("horse") || text.contains("104, 111, 114, 115");
        assert!(bytes.windows(5).any(|window| window == b"horse"));
        assert!(!holds(&format!("{:?}", whole(&bytes))));
    }

    #[test]
    fn contexts_beyond_the_bound_are_left_out() {
        let many: Vec<_> = (0..200).map(|n| (n, CT)).collect();
        let request = whole(&made::request("CT_1", "PACS", &many));
        assert_eq!(request.contexts.len(), CONTEXTS_MAX);
    }

    #[test]
    fn text_that_is_not_a_uid_is_not_kept_as_one() {
        let request = whole(&made::request("CT_1", "PACS", &[(1, "DOE^JANE")]));
        assert_eq!(request.contexts[0].sop_class, None);
        assert!(!format!("{request:?}").contains("DOE"));
    }
}
