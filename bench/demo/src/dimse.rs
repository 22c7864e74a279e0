//! The two messages of a C-STORE (PS3.7 section 9.3.1), encoded and decoded.

use anyhow::{Context, bail};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use ring::digest::{Context as Hasher, SHA256};

/// Command Field values (PS3.7 section E.1).
const C_STORE_RQ: u16 = 0x0001;
const C_STORE_RSP: u16 = 0x8001;

/// Command Data Set Type: none, and any other value (PS3.7 section 9.3.1).
const NO_DATA_SET: u16 = 0x0101;
const DATA_SET: u16 = 0x0000;

/// Priority medium.
const MEDIUM: u16 = 0x0000;

/// The status of an object that was stored.
pub(super) const SUCCESS: u16 = 0x0000;

/// The record that both ends keep of a transferred object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Receipt {
    /// SOP Instance UID, from the command.
    pub(super) sop_instance: String,
    /// SHA-256 of the data set's bytes in the PDUs.
    pub(super) sha256: [u8; 32],
    /// Length of the data set.
    pub(super) bytes: u64,
}

/// Hashes a data set while it is transferred.
pub(super) struct DataSetHasher {
    hasher: Hasher,
    bytes: u64,
}

/// The fields of a C-STORE request that announce its data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoreRequest {
    /// SOP Class UID.
    pub(super) sop_class: String,
    /// SOP Instance UID.
    pub(super) sop_instance: String,
    /// Number of the message on its association.
    pub(super) message: u16,
}

impl DataSetHasher {
    /// The hash of an empty data set.
    pub(super) fn new() -> Self {
        Self {
            hasher: Hasher::new(&SHA256),
            bytes: 0,
        }
    }

    /// Adds the next bytes of the data set.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// The receipt of the whole data set.
    pub(super) fn receipt(self, sop_instance: &str) -> Receipt {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.hasher.finish().as_ref());
        Receipt {
            sop_instance: sop_instance.into(),
            sha256,
            bytes: self.bytes,
        }
    }
}

impl StoreRequest {
    /// The request as a PDU.
    pub(super) fn to_pdu(&self, context: u8) -> anyhow::Result<Pdu> {
        let elements = [
            text(tags::AFFECTED_SOP_CLASS_UID, &self.sop_class),
            number(tags::COMMAND_FIELD, C_STORE_RQ),
            number(tags::MESSAGE_ID, self.message),
            number(tags::PRIORITY, MEDIUM),
            number(tags::COMMAND_DATA_SET_TYPE, DATA_SET),
            text(tags::AFFECTED_SOP_INSTANCE_UID, &self.sop_instance),
        ];
        command_pdu(context, elements)
    }

    /// The response to this request, as a PDU.
    pub(super) fn response(&self, context: u8, status: u16) -> anyhow::Result<Pdu> {
        let elements = [
            text(tags::AFFECTED_SOP_CLASS_UID, &self.sop_class),
            number(tags::COMMAND_FIELD, C_STORE_RSP),
            number(tags::MESSAGE_ID_BEING_RESPONDED_TO, self.message),
            number(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET),
            number(tags::STATUS, status),
            text(tags::AFFECTED_SOP_INSTANCE_UID, &self.sop_instance),
        ];
        command_pdu(context, elements)
    }

    /// Reads a request.
    pub(super) fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let command = parse(bytes)?;
        let field = read_number(&command, tags::COMMAND_FIELD)?;
        if field != C_STORE_RQ {
            bail!("command {field:#06x} is not C-STORE");
        }
        Ok(Self {
            sop_class: read_text(&command, tags::AFFECTED_SOP_CLASS_UID)?,
            sop_instance: read_text(&command, tags::AFFECTED_SOP_INSTANCE_UID)?,
            message: read_number(&command, tags::MESSAGE_ID)?,
        })
    }

    /// Reads the response to this request and returns its status.
    pub(super) fn parse_response(&self, bytes: &[u8]) -> anyhow::Result<u16> {
        let command = parse(bytes)?;
        let message = read_number(&command, tags::MESSAGE_ID_BEING_RESPONDED_TO)?;
        if message != self.message {
            bail!(
                "the response is to message {message}, not to {}",
                self.message
            );
        }
        read_number(&command, tags::STATUS)
    }
}

fn text(tag: Tag, value: &str) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, VR::UI, PrimitiveValue::from(value))
}

fn number(tag: Tag, value: u16) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, VR::US, PrimitiveValue::from(value))
}

// PS3.7 section 6.3.1: command sets are always implicit VR little endian.
fn command_pdu(context: u8, elements: [DataElement<InMemDicomObject>; 6]) -> anyhow::Result<Pdu> {
    let mut data = Vec::new();
    InMemDicomObject::command_from_element_iter(elements)
        .write_dataset_with_ts(&mut data, &IMPLICIT_VR_LITTLE_ENDIAN.erased())
        .context("cannot encode a command")?;
    let value = PDataValue {
        presentation_context_id: context,
        value_type: PDataValueType::Command,
        is_last: true,
        data,
    };
    Ok(Pdu::PData { data: vec![value] })
}

fn parse(bytes: &[u8]) -> anyhow::Result<InMemDicomObject> {
    InMemDicomObject::read_dataset_with_ts(bytes, &IMPLICIT_VR_LITTLE_ENDIAN.erased())
        .context("cannot read a command")
}

fn read_text(command: &InMemDicomObject, tag: Tag) -> anyhow::Result<String> {
    let text = command.element(tag)?.to_str()?;
    Ok(text.trim_end_matches(['\0', ' ']).to_owned())
}

fn read_number(command: &InMemDicomObject, tag: Tag) -> anyhow::Result<u16> {
    Ok(command.element(tag)?.to_int()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> StoreRequest {
        StoreRequest {
            sop_class: "1.2.840.10008.5.1.4.1.1.2".into(),
            sop_instance: "2.25.42".into(),
            message: 7,
        }
    }

    fn command_of(pdu: &Pdu) -> &[u8] {
        let Pdu::PData { data } = pdu else {
            panic!("commands travel in P-DATA");
        };
        &data[0].data
    }

    #[test]
    fn an_encoded_request_can_be_parsed_again() {
        let pdu = request().to_pdu(3).expect("encodes");
        assert_eq!(
            StoreRequest::parse(command_of(&pdu)).expect("parses"),
            request()
        );
    }

    #[test]
    fn a_response_is_accepted_for_its_own_request_only() {
        let pdu = request().response(3, 0xa700).expect("encodes");
        assert_eq!(
            request().parse_response(command_of(&pdu)).expect("parses"),
            0xa700
        );
        let other = StoreRequest {
            message: 8,
            ..request()
        };
        assert!(other.parse_response(command_of(&pdu)).is_err());
        assert!(StoreRequest::parse(command_of(&pdu)).is_err());
    }
}
