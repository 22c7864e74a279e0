//! A DICOM connection byte by byte, for cases that no application produces.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use wardgate_tests::stream::{Ending, connect};

use crate::associations::{CALLED, CALLING};

pub(crate) const REJECT_TEMPORARY: [u8; 10] = [3, 0, 0, 0, 0, 4, 0, 2, 3, 1];
pub(crate) const REJECT_VERSION: [u8; 10] = [3, 0, 0, 0, 0, 4, 0, 1, 2, 2];
pub(crate) const ABORT: [u8; 10] = [7, 0, 0, 0, 0, 4, 0, 0, 2, 0];
pub(crate) const ABORT_UNRECOGNIZED: [u8; 10] = [7, 0, 0, 0, 0, 4, 0, 0, 2, 1];
pub(crate) const ABORT_UNEXPECTED: [u8; 10] = [7, 0, 0, 0, 0, 4, 0, 0, 2, 2];
pub(crate) const ABORT_INVALID: [u8; 10] = [7, 0, 0, 0, 0, 4, 0, 0, 2, 6];

/// A port on loopback.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Sends bytes, and returns all received bytes and the end.
pub(crate) fn answer_to(port: u16, bytes: &[u8]) -> (Vec<u8>, Ending) {
    let mut stream = connect(local(port));
    stream.write_all(bytes).expect("it is connected");
    hear(&mut stream)
}

/// All bytes that come on the connection, and how it ends.
pub(crate) fn hear(stream: &mut TcpStream) -> (Vec<u8>, Ending) {
    let mut heard = Vec::new();
    let ending = match stream.read_to_end(&mut heard) {
        Ok(_) => Ending::Orderly,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ending::Reset,
        Err(error) => panic!("it does not end after {heard:?}: {error}"),
    };
    (heard, ending)
}

/// An A-ASSOCIATE-RQ (PS3.8 section 9.3.2) for C-ECHO.
pub(crate) fn request() -> Vec<u8> {
    let context = [
        &[1, 0, 0, 0][..],
        &item(0x30, b"1.2.840.10008.1.1"),
        &item(0x40, b"1.2.840.10008.1.2"),
    ];
    associate(1, &item(0x20, &context.concat()))
}

/// An A-ASSOCIATE-AC that accepts the request.
pub(crate) fn acceptance() -> Vec<u8> {
    let context = [&[1, 0, 0, 0][..], &item(0x40, b"1.2.840.10008.1.2")];
    associate(2, &item(0x21, &context.concat()))
}

fn associate(kind: u8, contexts: &[u8]) -> Vec<u8> {
    let title = |text: &str| format!("{text:16}").into_bytes();
    let body = [
        &[0, 1, 0, 0][..],
        &title(CALLED),
        &title(CALLING),
        &[0; 32],
        &item(0x10, b"1.2.840.10008.3.1.1.1"),
        contexts,
        &item(0x50, &item(0x51, &16_384_u32.to_be_bytes())),
    ]
    .concat();
    pdu(kind, &body)
}

/// A PDU of this type.
pub(crate) fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("test PDUs are short");
    [&[kind, 0][..], &length.to_be_bytes(), body].concat()
}

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("test items are short");
    [&[kind, 0][..], &length.to_be_bytes(), value].concat()
}

/// Half of a P-DATA-TF whose data set is all zeros.
pub(crate) fn half_of_data() -> Vec<u8> {
    let value = [&2002_u32.to_be_bytes()[..], &[1, 2], &[0; 2000]].concat();
    let mut whole = pdu(4, &value);
    whole.truncate(1000);
    whole
}
