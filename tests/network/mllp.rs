//! HL7 in MLLP frames: a receiver that acknowledges, and a sender that waits for it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use wardgate_tests::DEADLINE;

/// Bytes around a message (MLLP release 1).
const START: u8 = 0x0b;
const END: [u8; 2] = [0x1c, 0x0d];

/// Takes one connection and answers each message on it with an acknowledgement; returns the messages
/// when the sender has ended its stream.
pub(crate) fn receive(listener: &TcpListener) -> Vec<String> {
    let (mut stream, _) = listener.accept().expect("site B connects");
    let mut messages = Vec::new();
    while let Some(message) = frame(&mut stream) {
        let id = message.split('|').nth(9).unwrap_or_default();
        let acknowledgement = format!("MSH|^~\\&|B|FAR|A|NEAR|2026||ACK|{id}|P|2.5\rMSA|AA|{id}\r");
        write(&mut stream, &acknowledgement);
        messages.push(message);
    }
    messages
}

/// Sends a message and returns the acknowledgement.
pub(crate) fn send(stream: &mut TcpStream, message: &str) -> String {
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("the deadline is not zero");
    write(stream, message);
    frame(stream).expect("the receiver acknowledges")
}

fn write(stream: &mut TcpStream, message: &str) {
    let frame = [&[START], message.as_bytes(), &END].concat();
    stream.write_all(&frame).expect("the other end reads");
}

/// Reads one frame; `None` where the stream ends before it begins.
fn frame(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(&END) {
        if stream.read(&mut byte).expect("the stream does not break") == 0 {
            assert!(
                bytes.is_empty(),
                "the stream ends inside a frame: {bytes:?}"
            );
            return None;
        }
        bytes.extend_from_slice(&byte);
    }
    let text = String::from_utf8(bytes).expect("test messages are UTF-8");
    Some(text.trim_matches(['\u{b}', '\u{1c}', '\r']).to_owned())
}
