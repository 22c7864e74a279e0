//! The bytes that applications send, such that every end can compute each byte itself: noise, or a DICOM
//! association with noise in its data sets.

use std::sync::OnceLock;

use crate::random::byte;

/// The payload of an application.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload {
    seed: u64,
    shape: Shape,
}

/// The structure of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Without structure.
    Noise,
    /// An A-ASSOCIATE PDU, a C-STORE request, and endless P-DATA-TF PDUs of its data set.
    Association { asks: bool },
}

/// The length of a P-DATA-TF of the data set, of the bytes before its value, and of the header of one
/// presentation data value.
const DATA: usize = 1006;
const HEADS: usize = 12;

/// The maximum length of a first PDU.
pub(crate) const OPENING_MAX: u64 = 300;

impl Payload {
    /// The payload of the application on side `side` of the run.
    pub(crate) fn new(seed: u64, side: usize, is_dicom: bool) -> Self {
        let shape = match is_dicom {
            true => Shape::Association { asks: side == 0 },
            false => Shape::Noise,
        };
        Self {
            seed: seed.wrapping_mul(2).wrapping_add(side as u64),
            shape,
        }
    }

    /// The byte at `position`.
    pub(crate) fn byte(&self, position: u64) -> u8 {
        let Shape::Association { asks } = self.shape else {
            return byte(self.seed, position);
        };
        let head = head(asks);
        let at = usize::try_from(position).expect("amounts fit in memory");
        match head.bytes.get(at) {
            Some(byte) => *byte,
            None => match data_head().get((at - head.bytes.len()) % DATA) {
                Some(byte) => *byte,
                None => byte(self.seed, position),
            },
        }
    }

    /// The bytes that must have come before the other side may continue: none of noise, and of an association
    /// its request or reply.
    pub(crate) fn opening(&self) -> u64 {
        match self.shape {
            Shape::Noise => 0,
            Shape::Association { asks } => head(asks).associate as u64,
        }
    }

    /// The bytes that may be sent before the other side has sent something.
    pub(crate) fn unasked(&self) -> u64 {
        match self.shape {
            Shape::Noise => u64::MAX,
            Shape::Association { asks: true } => self.opening(),
            Shape::Association { asks: false } => 0,
        }
    }

    /// Whether a PDU ends before `position`, so that another sender's PDU may follow.
    pub(crate) fn is_between(&self, position: u64) -> bool {
        let Shape::Association { asks } = self.shape else {
            return false;
        };
        let Head { bytes, associate } = head(asks);
        let at = usize::try_from(position).expect("amounts fit in memory");
        at == 0 || at == *associate || at >= bytes.len() && (at - bytes.len()) % DATA == 0
    }
}

/// The first bytes of an association.
struct Head {
    bytes: Vec<u8>,
    /// Bytes of its first PDU.
    associate: usize,
}

fn head(asks: bool) -> &'static Head {
    static HEADS: [OnceLock<Head>; 2] = [OnceLock::new(), OnceLock::new()];
    HEADS[usize::from(asks)].get_or_init(|| {
        let mut bytes = match asks {
            true => pdu(1, &associate(&item(0x20, &proposed()))),
            false => pdu(2, &associate(&item(0x21, &accepted()))),
        };
        let associate = bytes.len();
        bytes.extend(pdu(4, &value(3, &store())));
        Head { bytes, associate }
    })
}

fn data_head() -> &'static [u8] {
    static HEAD: OnceLock<Vec<u8>> = OnceLock::new();
    HEAD.get_or_init(|| {
        let mut pdu = pdu(4, &value(0, &vec![0; DATA - HEADS]));
        pdu.truncate(HEADS);
        pdu
    })
}

const CT_STORAGE: &[u8] = b"1.2.840.10008.5.1.4.1.1.2\0";
const IMPLICIT_LITTLE_ENDIAN: &[u8] = b"1.2.840.10008.1.2";

fn proposed() -> Vec<u8> {
    let class = item(0x30, CT_STORAGE.strip_suffix(b"\0").expect("it is padded"));
    [
        &[1, 0, 0, 0][..],
        &class,
        &item(0x40, IMPLICIT_LITTLE_ENDIAN),
    ]
    .concat()
}

fn accepted() -> Vec<u8> {
    [&[1, 0, 0, 0][..], &item(0x40, IMPLICIT_LITTLE_ENDIAN)].concat()
}

/// The body of an A-ASSOCIATE-RQ or -AC (PS3.8 sections 9.3.2 and 9.3.3).
fn associate(context: &[u8]) -> Vec<u8> {
    [
        &[0, 1, 0, 0][..],
        b"ARCHIVE         CT_A            ",
        &[0; 32],
        &item(0x10, b"1.2.840.10008.3.1.1.1"),
        context,
        &item(0x50, &item(0x51, &[0; 4])),
    ]
    .concat()
}

/// A C-STORE request (PS3.7 section 9.3.1.1).
fn store() -> Vec<u8> {
    let elements = [
        element(0x0002, CT_STORAGE),
        element(0x0100, &[1, 0]),
        element(0x0110, &[7, 0]),
        element(0x0700, &[0, 0]),
        element(0x0800, &[1, 0]),
        element(0x1000, b"2.25.1"),
    ]
    .concat();
    let length = u32::try_from(elements.len()).expect("it is short");
    [element(0, &length.to_le_bytes()), elements].concat()
}

fn element(number: u16, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).expect("it is short");
    let [low, high] = number.to_le_bytes();
    [&[0, 0, low, high][..], &length.to_le_bytes(), value].concat()
}

/// A presentation data value of context 1.
fn value(control: u8, fragment: &[u8]) -> Vec<u8> {
    let length = u32::try_from(fragment.len() + 2).expect("it is short");
    [&length.to_be_bytes()[..], &[1, control], fragment].concat()
}

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("it is short");
    [&[kind, 0][..], &length.to_be_bytes(), value].concat()
}

fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("it is short");
    [&[kind, 0][..], &length.to_be_bytes(), body].concat()
}
