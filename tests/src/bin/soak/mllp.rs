//! HL7 messages over MLLP, acknowledged one by one.

use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use socket2::SockRef;
use wardgate_tests::stream::Noise;

use crate::ledger::{Ending, Hash};
use crate::shared::{Direction, Shared};
use crate::stream::{bound, connect};

const KIND: &str = "message";
const BEGIN: u8 = 0x0b;
const END: [u8; 2] = [0x1c, 0x0d];
/// The longest message of the load, with room.
const MESSAGE_MAX: usize = 1 << 20;

/// A connection with `count` messages of about `bytes`.
pub(crate) fn converse(shared: &Shared, entry: SocketAddr, count: u32, bytes: usize) {
    let mut socket = None;
    for _ in 0..count {
        let (number, begun) = (shared.ledger.number(), Instant::now());
        let message = message(number, bytes);
        let ending = match send(shared, &mut socket, entry, number, &message) {
            Ok(()) => Ending::Complete,
            Err(error) => Ending::of(&error),
        };
        let sent = message.len() as u64;
        shared
            .ledger
            .sent(KIND, number, begun, sent, sha256(&message), &ending);
        if ending != Ending::Complete {
            return;
        }
    }
}

fn send(
    shared: &Shared,
    socket: &mut Option<TcpStream>,
    entry: SocketAddr,
    number: u64,
    message: &[u8],
) -> io::Result<()> {
    // An earlier process of an upgrade closes between two messages: the sender connects again.
    let mut repeated = false;
    loop {
        let is_new = socket.is_none();
        let mut used = match socket.take() {
            Some(used) => used,
            None => connect(entry)?,
        };
        shared.pace(message.len());
        match exchange(&mut used, message) {
            Ok(answer) => {
                let framed = message.len() as u64 + 3;
                shared.count(KIND, Direction::Up, framed);
                shared.count(KIND, Direction::Down, answer.len() as u64 + 3);
                *socket = Some(used);
                let expected = format!("MSA|AA|{number}\r");
                return match String::from_utf8_lossy(&answer).contains(&expected) {
                    true => Ok(()),
                    false => Err(Error::other("another acknowledgement")),
                };
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe
                ) && !is_new
                    && !repeated =>
            {
                repeated = true;
                shared.repeated();
            }
            Err(error) => return Err(error),
        }
    }
}

fn exchange(socket: &mut TcpStream, message: &[u8]) -> io::Result<Vec<u8>> {
    socket.write_all(&frame(message))?;
    read_frame(socket)?.ok_or_else(|| ErrorKind::UnexpectedEof.into())
}

fn message(number: u64, bytes: usize) -> Vec<u8> {
    let noise = Noise::new(number).take(bytes / 2);
    let noise: String = noise.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("MSH|^~\\&|SOAK|A|ARCHIVE|B|20260101||ORU^R01|{number}|P|2.5\rOBX|1|TX|1||{noise}\r")
        .into_bytes()
}

fn sha256(bytes: &[u8]) -> Hash {
    digest(&SHA256, bytes)
        .as_ref()
        .try_into()
        .expect("32 bytes")
}

fn frame(message: &[u8]) -> Vec<u8> {
    [&[BEGIN], message, &END].concat()
}

/// Reads a frame; `None` at a clean end before it.
fn read_frame(socket: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    while !bytes.ends_with(&END) {
        match socket.read(&mut piece)? {
            0 if bytes.is_empty() => return Ok(None),
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&piece[..count]),
        }
        if bytes.len() > MESSAGE_MAX {
            return Err(Error::other("a frame that is too long"));
        }
    }
    match bytes.first() {
        Some(&BEGIN) => Ok(Some(bytes[1..bytes.len() - 2].to_vec())),
        _ => Err(Error::other("no frame")),
    }
}

/// Serves connections until the process ends.
pub(crate) fn serve(shared: &Arc<Shared>, listener: TcpListener) {
    shared.serve(listener, "messages, receiver", answer);
}

fn answer(shared: &Shared, mut socket: TcpStream) -> io::Result<()> {
    bound(&socket)?;
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    while let Some(message) = read_frame(&mut socket)? {
        let text = String::from_utf8_lossy(&message);
        let number = text.split('|').nth(9).and_then(|field| field.parse().ok());
        let number = number.ok_or_else(|| Error::other("no control id"))?;
        shared.ledger.received(number, sha256(&message));
        let answer =
            format!("MSH|^~\\&|ARCHIVE|B|SOAK|A|20260101||ACK|{number}|P|2.5\rMSA|AA|{number}\r");
        socket.write_all(&frame(answer.as_bytes()))?;
    }
    SockRef::from(&socket).set_linger(None)
}
