//! As much of the DICOM upper layer (PS3.8 section 9.3) and of C-STORE (PS3.7 section 9.3.1) as a
//! transfer needs: one presentation context, no identification, no compression.

use std::io::{self, Read, Write};

use gateway::dicom::PduType;

/// Octets before a PDU's body.
const HEAD: usize = 6;
/// Octets before a fragment: the PDV's length, context and control header (PS3.8 section 9.3.5.1).
const PDV_HEAD: usize = 6;

/// The one presentation context.
const CONTEXT: u8 = 1;

/// No PDU of the bench is larger than this.
pub(super) const PDU_MAX: usize = 4 << 20;

/// Explicit VR little endian.
const TRANSFER_SYNTAX: &str = "1.2.840.10008.1.2.1";
const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
const IMPLEMENTATION: &str = "2.25.1";

/// What the two ends say of themselves in an association's request or answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) sop_class: String,
    /// Octets of the largest PDU that is received.
    pub(crate) pdu_max: u32,
    /// Operations that may be outstanding.
    pub(crate) outstanding: u16,
}

impl Proposal {
    /// The body of an A-ASSOCIATE-RQ (PS3.8 section 9.3.2) or -AC (9.3.3).
    pub(crate) fn body(&self, kind: PduType) -> Vec<u8> {
        let mut body = vec![0, 1, 0, 0];
        body.extend_from_slice(b"BENCH-SINK      BENCH-GENERATOR ");
        body.extend_from_slice(&[0; 32]);
        item(&mut body, 0x10, APPLICATION_CONTEXT.as_bytes());
        let mut context = vec![CONTEXT, 0, 0, 0];
        if kind == PduType::AssociateRq {
            item(&mut context, 0x30, self.sop_class.as_bytes());
        }
        item(&mut context, 0x40, TRANSFER_SYNTAX.as_bytes());
        let context_item = if kind == PduType::AssociateRq {
            0x20
        } else {
            0x21
        };
        item(&mut body, context_item, &context);
        let mut user = Vec::new();
        item(&mut user, 0x51, &self.pdu_max.to_be_bytes());
        item(&mut user, 0x52, IMPLEMENTATION.as_bytes());
        if self.outstanding > 1 {
            // PS3.7 annex D.3.3.3: invoked, then performed.
            let [high, low] = self.outstanding.to_be_bytes();
            item(&mut user, 0x53, &[high, low, 0, 1]);
        }
        item(&mut body, 0x50, &user);
        body
    }

    /// Reads either body. What the other side does not say has the standard's default.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut proposal = Self {
            sop_class: String::new(),
            pdu_max: 0,
            outstanding: 1,
        };
        for (kind, value) in items(body.get(68..)?) {
            match kind {
                0x20 => {
                    let class = items(value.get(4..)?).find(|(kind, _)| *kind == 0x30)?;
                    proposal.sop_class = String::from_utf8(class.1.to_vec()).ok()?;
                }
                // Result of the one context: 0 is acceptance (PS3.8 table 9-18).
                0x21 if *value.get(2)? != 0 => return None,
                0x50 => proposal.read_user(value)?,
                _ => {}
            }
        }
        Some(proposal)
    }

    fn read_user(&mut self, information: &[u8]) -> Option<()> {
        for (kind, value) in items(information) {
            match kind {
                0x51 => self.pdu_max = u32::from_be_bytes(value.try_into().ok()?),
                0x53 => self.outstanding = u16::from_be_bytes(*value.first_chunk()?),
                _ => {}
            }
        }
        Some(())
    }
}

fn item(into: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let length = u16::try_from(value.len()).expect("items of the bench are short");
    into.extend_from_slice(&[kind, 0]);
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(value);
}

/// Items with their kinds, up to the first that is cut.
fn items(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let ([kind, _, high, low], rest) = bytes.split_first_chunk()?;
        let length = u16::from_be_bytes([*high, *low]);
        let (value, rest) = rest.split_at_checked(length.into())?;
        bytes = rest;
        Some((*kind, value))
    })
}

/// Writes a PDU that is not of data, at once.
pub(crate) fn write(stream: &mut impl Write, kind: PduType, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut pdu = vec![kind.byte(), 0];
    pdu.extend_from_slice(&length.to_be_bytes());
    pdu.extend_from_slice(body);
    stream.write_all(&pdu)
}

/// Reads a PDU into `body` and gives its type; `None` at an end before one.
pub(super) fn read(stream: &mut impl Read, body: &mut Vec<u8>) -> io::Result<Option<PduType>> {
    let mut head = [0; HEAD];
    if stream.read(&mut head[..1])? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[1..])?;
    let [kind, _, length @ ..] = head;
    let unknown = || io::Error::other(format!("a PDU of unknown type {kind:#04x}"));
    let kind = PduType::of(kind).ok_or_else(unknown)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > PDU_MAX {
        return Err(io::Error::other(format!("a PDU of {length} octets")));
    }
    body.resize(length, 0);
    stream.read_exact(body)?;
    Ok(Some(kind))
}

/// What a fragment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Control {
    /// A command, or a data set.
    pub(crate) command: bool,
    pub(crate) last: bool,
}

/// Octets of a fragment that fill a PDU of this size.
pub(super) fn fragment_max(pdu_max: u32) -> usize {
    (pdu_max as usize).min(PDU_MAX).saturating_sub(PDV_HEAD)
}

/// Lays one fragment into a P-DATA-TF; `fill` writes its octets. The first 12 octets are its heads.
pub(crate) fn lay(
    pdu: &mut Vec<u8>,
    control: Control,
    length: usize,
    fill: impl FnOnce(&mut [u8]),
) -> io::Result<()> {
    let pdv = u32::try_from(length + 2).map_err(io::Error::other)?;
    pdu.clear();
    pdu.extend_from_slice(&[PduType::Data.byte(), 0]);
    pdu.extend_from_slice(&(pdv + 4).to_be_bytes());
    pdu.extend_from_slice(&pdv.to_be_bytes());
    let flags = u8::from(control.command) | u8::from(control.last) << 1;
    pdu.extend_from_slice(&[CONTEXT, flags]);
    pdu.resize(HEAD + PDV_HEAD + length, 0);
    fill(&mut pdu[HEAD + PDV_HEAD..]);
    Ok(())
}

/// The fragments of a P-DATA-TF's body; an error where one is cut.
pub(super) fn fragments(mut body: &[u8]) -> impl Iterator<Item = io::Result<(Control, &[u8])>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let mut next = || {
            let (length, rest) = body.split_first_chunk()?;
            let length = u32::from_be_bytes(*length) as usize;
            let (pdv, rest) = rest.split_at_checked(length)?;
            let ([_context, flags], fragment) = pdv.split_first_chunk()?;
            body = rest;
            let control = Control {
                command: flags & 1 != 0,
                last: flags & 2 != 0,
            };
            Some((control, fragment))
        };
        let found = next();
        if found.is_none() {
            body = &[];
        }
        Some(found.ok_or_else(|| io::Error::other("a fragment is cut")))
    })
}

/// A command of the two that a transfer needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// C-STORE-RQ (PS3.7 table 9.3-1).
    Store {
        message: u16,
        sop_class: String,
        instance: String,
    },
    /// C-STORE-RSP (PS3.7 table 9.3-2).
    Stored { message: u16, status: u16 },
}

/// Elements of group 0000 (PS3.7 table E.1-1).
const SOP_CLASS: u16 = 0x0002;
const FIELD: u16 = 0x0100;
const MESSAGE: u16 = 0x0110;
const RESPONDED: u16 = 0x0120;
const PRIORITY: u16 = 0x0700;
const DATA_SET: u16 = 0x0800;
const STATUS: u16 = 0x0900;
const INSTANCE: u16 = 0x1000;

const STORE_RQ: u16 = 0x0001;
const STORE_RSP: u16 = 0x8001;
const WITH_DATA_SET: u16 = 0x0001;
const WITHOUT_DATA_SET: u16 = 0x0101;

impl Command {
    /// The command set, in implicit VR little endian (PS3.7 section 6.3.1).
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut set = Vec::new();
        match self {
            Self::Store {
                message,
                sop_class,
                instance,
            } => {
                element(&mut set, SOP_CLASS, &uid(sop_class));
                element(&mut set, FIELD, &STORE_RQ.to_le_bytes());
                element(&mut set, MESSAGE, &message.to_le_bytes());
                element(&mut set, PRIORITY, &[0, 0]);
                element(&mut set, DATA_SET, &WITH_DATA_SET.to_le_bytes());
                element(&mut set, INSTANCE, &uid(instance));
            }
            Self::Stored { message, status } => {
                element(&mut set, FIELD, &STORE_RSP.to_le_bytes());
                element(&mut set, RESPONDED, &message.to_le_bytes());
                element(&mut set, DATA_SET, &WITHOUT_DATA_SET.to_le_bytes());
                element(&mut set, STATUS, &status.to_le_bytes());
            }
        }
        let length = u32::try_from(set.len()).expect("a command set is short");
        let mut bytes = Vec::new();
        element(&mut bytes, 0x0000, &length.to_le_bytes());
        bytes.extend(set);
        bytes
    }

    /// Reads a command set; `None` where it is another command or broken.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let value = |wanted| elements(bytes).find(|(element, _)| *element == wanted);
        let number = |wanted| Some(u16::from_le_bytes(value(wanted)?.1.try_into().ok()?));
        let text = |wanted| {
            let text = std::str::from_utf8(value(wanted)?.1).ok()?;
            Some(text.trim_end_matches('\0').to_owned())
        };
        match number(FIELD)? {
            STORE_RQ => Some(Self::Store {
                message: number(MESSAGE)?,
                sop_class: text(SOP_CLASS)?,
                instance: text(INSTANCE)?,
            }),
            STORE_RSP => Some(Self::Stored {
                message: number(RESPONDED)?,
                status: number(STATUS)?,
            }),
            _ => None,
        }
    }
}

fn element(into: &mut Vec<u8>, element: u16, value: &[u8]) {
    let length = u32::try_from(value.len()).expect("values of a command are short");
    into.extend_from_slice(&[0, 0]);
    into.extend_from_slice(&element.to_le_bytes());
    into.extend_from_slice(&length.to_le_bytes());
    into.extend_from_slice(value);
}

/// Elements of a command set, up to the first that is cut.
fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let ([_, _, low, high, length @ ..], rest) = bytes.split_first_chunk::<8>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (value, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        Some((u16::from_le_bytes([*low, *high]), value))
    })
}

/// A UID padded to an even length (PS3.5 section 9.1).
fn uid(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}

/// What a data set begins with, up to its pixels, in explicit VR little endian (PS3.5 section 7.1.2).
pub(super) fn data_set_head(sop_class: &str, instance: &str, pixels: u32) -> Vec<u8> {
    let mut head = Vec::new();
    for (element, text) in [([0x16, 0x00], sop_class), ([0x18, 0x00], instance)] {
        let value = uid(text);
        let length = u16::try_from(value.len()).expect("a UID is short");
        head.extend_from_slice(&[0x08, 0x00]);
        head.extend_from_slice(&element);
        head.extend_from_slice(b"UI");
        head.extend_from_slice(&length.to_le_bytes());
        head.extend(value);
    }
    head.extend_from_slice(&[0xe0, 0x7f, 0x10, 0x00]);
    head.extend_from_slice(b"OW\0\0");
    head.extend_from_slice(&pixels.to_le_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_is_read_as_it_was_written() {
        let proposal = Proposal {
            sop_class: "1.2.840.10008.5.1.4.1.1.2".to_owned(),
            pdu_max: 16_384,
            outstanding: 8,
        };
        let body = proposal.body(PduType::AssociateRq);
        assert_eq!(Proposal::read(&body), Some(proposal.clone()));
        let answer = Proposal::read(&proposal.body(PduType::AssociateAc)).expect("it is accepted");
        assert_eq!((answer.pdu_max, answer.outstanding), (16_384, 8));
        assert_eq!(Proposal::read(&body[..60]), None);
    }

    #[test]
    fn commands_are_read_as_they_were_written_and_cut_ones_are_not() {
        let store = Command::Store {
            message: 7,
            sop_class: "1.2.3".to_owned(),
            instance: "2.25.77".to_owned(),
        };
        let stored = Command::Stored {
            message: 7,
            status: 0xa700,
        };
        for command in [store, stored] {
            let bytes = command.bytes();
            assert_eq!(Command::read(&bytes).as_ref(), Some(&command));
            assert_eq!(Command::read(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn fragments_come_out_as_they_were_laid_and_cut_ones_are_errors() {
        let control = Control {
            command: false,
            last: true,
        };
        let mut pdu = Vec::new();
        lay(&mut pdu, control, 3, |room| room.copy_from_slice(b"abc")).expect("short");
        let mut body = Vec::new();
        let kind = read(&mut &pdu[..], &mut body).expect("whole");
        assert_eq!(kind, Some(PduType::Data));
        let found: Vec<_> = fragments(&body)
            .map(|found| found.expect("whole"))
            .collect();
        assert_eq!(found, [(control, &b"abc"[..])]);
        let mut cut = fragments(&body[..body.len() - 1]);
        assert!(cut.next().is_some_and(|found| found.is_err()));
        assert!(cut.next().is_none());
    }
}
