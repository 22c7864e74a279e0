//! The bytes of a C-ECHO on its own association: what the gateway sends and reads.

use super::super::items::Items;
use super::super::{AeTitle, PduType};
use crate::dicom::limits::ECHO_PDU_BYTES_MAX;

/// The bytes of a PDU's header: type, reserved, length.
pub(super) const HEADER: usize = 6;
/// The bytes between the header and the items: version, reserved, both titles, reserved.
pub(super) const FIXED: usize = 68;

/// Items of A-ASSOCIATE PDUs (PS3.8 sections 9.3.2 and 9.3.3).
const APPLICATION_CONTEXT: u8 = 0x10;
const CONTEXT: u8 = 0x20;
const CONTEXT_RESULT: u8 = 0x21;
const ABSTRACT_SYNTAX: u8 = 0x30;
const TRANSFER_SYNTAX: u8 = 0x40;
const USER_INFORMATION: u8 = 0x50;
const LENGTH_MAX: u8 = 0x51;
const IMPLEMENTATION_CLASS: u8 = 0x52;
const IMPLEMENTATION_VERSION: u8 = 0x55;

/// UIDs of the DICOM application context, Verification and Implicit VR Little Endian (PS3.6 annex A).
pub(super) const DICOM: &[u8] = b"1.2.840.10008.3.1.1.1";
pub(super) const VERIFICATION: &[u8] = b"1.2.840.10008.1.1";
pub(super) const IMPLICIT_LITTLE_ENDIAN: &[u8] = b"1.2.840.10008.1.2";
/// The implementation of this gateway: a UID made from a UUID (PS3.5 section B.2), and its name.
const OWN_CLASS: &[u8] = b"2.25.275889785534131441766786143308161582396";
const OWN_VERSION: &[u8] = b"WARDGATE";

/// The only presentation context, and the only message in it.
pub(super) const CONTEXT_ID: u8 = 1;
const MESSAGE_ID: u16 = 1;

/// The last fragment of a command (PS3.8 annex E.2).
pub(super) const COMMAND: u8 = 0b01;
pub(super) const LAST: u8 = 0b10;

/// Elements of group 0000 and their values (PS3.7 section 9.3.5 and annex E).
const GROUP_LENGTH: u16 = 0x0000;
const AFFECTED_SOP_CLASS: u16 = 0x0002;
pub(super) const COMMAND_FIELD: u16 = 0x0100;
const MESSAGE: u16 = 0x0110;
pub(super) const RESPONDED_TO: u16 = 0x0120;
pub(super) const DATA_SET_TYPE: u16 = 0x0800;
pub(super) const STATUS: u16 = 0x0900;
const C_ECHO_RQ: u16 = 0x0030;
pub(super) const C_ECHO_RSP: u16 = 0x8030;
pub(super) const NO_DATA_SET: u16 = 0x0101;

/// The A-ASSOCIATE-RQ: one presentation context, for Verification.
pub(super) fn request(calling: AeTitle, called: AeTitle) -> Vec<u8> {
    let mut body = vec![0, 1, 0, 0];
    body.extend(called.to_field());
    body.extend(calling.to_field());
    body.resize(FIXED, 0);
    item(&mut body, APPLICATION_CONTEXT, DICOM);
    let mut context = vec![CONTEXT_ID, 0, 0, 0];
    item(&mut context, ABSTRACT_SYNTAX, VERIFICATION);
    item(&mut context, TRANSFER_SYNTAX, IMPLICIT_LITTLE_ENDIAN);
    item(&mut body, CONTEXT, &context);
    let mut user = Vec::new();
    item(&mut user, LENGTH_MAX, &ECHO_PDU_BYTES_MAX.to_be_bytes());
    item(&mut user, IMPLEMENTATION_CLASS, OWN_CLASS);
    item(&mut user, IMPLEMENTATION_VERSION, OWN_VERSION);
    item(&mut body, USER_INFORMATION, &user);
    pdu(PduType::AssociateRq, &body)
}

/// The C-ECHO-RQ. It is shorter than the PDU limit of any archive, so it is never split.
pub(super) fn question() -> Vec<u8> {
    let mut elements = Vec::new();
    // Values have an even length; UIDs are padded with NUL (PS3.5 section 9.1).
    element(
        &mut elements,
        AFFECTED_SOP_CLASS,
        &[VERIFICATION, &[0]].concat(),
    );
    element(&mut elements, COMMAND_FIELD, &C_ECHO_RQ.to_le_bytes());
    element(&mut elements, MESSAGE, &MESSAGE_ID.to_le_bytes());
    element(&mut elements, DATA_SET_TYPE, &NO_DATA_SET.to_le_bytes());
    let mut value = vec![CONTEXT_ID, COMMAND | LAST];
    let length = u32::try_from(elements.len()).unwrap_or(u32::MAX);
    element(&mut value, GROUP_LENGTH, &length.to_le_bytes());
    value.extend(elements);
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    pdu(PduType::Data, &[&length.to_be_bytes()[..], &value].concat())
}

/// The result of the presentation context in an A-ASSOCIATE-AC (PS3.8 table 9-18); `None` if it is malformed.
pub(super) fn context_result(body: &[u8]) -> Option<u8> {
    let (_, items) = body.split_at_checked(FIXED)?;
    for item in Items::new(items) {
        if let (CONTEXT_RESULT, [CONTEXT_ID, _, result, ..]) = item.ok()? {
            return Some(*result);
        }
    }
    None
}

/// The status of a C-ECHO-RSP to our message; `None` where it is none. Command sets are in Implicit VR
/// Little Endian (PS3.7 section 6.3.1).
pub(super) fn status(mut command: &[u8]) -> Option<u16> {
    let (mut field, mut responded_to, mut status) = (None, None, None);
    while !command.is_empty() {
        let (header, rest) = command.split_first_chunk::<8>()?;
        let [g, h, e, f, a, b, c, d] = *header;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        if u16::from_le_bytes([g, h]) != 0 {
            return None;
        }
        match u16::from_le_bytes([e, f]) {
            COMMAND_FIELD => field = Some(number(value)?),
            RESPONDED_TO => responded_to = Some(number(value)?),
            STATUS => status = Some(number(value)?),
            _ => {}
        }
        command = rest;
    }
    let is_ours = field == Some(C_ECHO_RSP) && responded_to == Some(MESSAGE_ID);
    status.filter(|_| is_ours)
}

fn number(value: &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes(value.try_into().ok()?))
}

/// A PDU.
pub(super) fn pdu(kind: PduType, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&[kind.byte(), 0][..], &length.to_be_bytes(), body].concat()
}

fn item(into: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    into.extend([kind, 0]);
    into.extend(length.to_be_bytes());
    into.extend_from_slice(value);
}

pub(super) fn element(into: &mut Vec<u8>, element: u16, value: &[u8]) {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    into.extend([0, 0]);
    into.extend(element.to_le_bytes());
    into.extend(length.to_le_bytes());
    into.extend_from_slice(value);
}
