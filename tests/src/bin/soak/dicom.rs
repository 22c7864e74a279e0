//! DICOM associations: C-ECHO and C-STORE with one outstanding operation, and the archive at the other end.
//!
//! Only what the load needs of PS3.8 and PS3.7; object data are noise.

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

const APPLICATION: &str = "1.2.840.10008.3.1.1.1";
const VERIFICATION: &str = "1.2.840.10008.1.1";
const CT_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
const IMPLICIT: &str = "1.2.840.10008.1.2";
/// The longest P-DATA-TF that either side sends.
const PDU_MAX: usize = 16_384;
/// Presentation contexts.
const ECHO: u8 = 1;
const STORE: u8 = 3;

const RQ: u8 = 1;
const AC: u8 = 2;
const REJECT: u8 = 3;
const DATA: u8 = 4;
const RELEASE_RQ: u8 = 5;
const RELEASE_RP: u8 = 6;
const ABORT: u8 = 7;

/// An association that sends `count` objects of `bytes`, each after a C-ECHO.
pub(crate) fn associate(shared: &Shared, entry: SocketAddr, count: u32, bytes: usize) {
    let begun = Instant::now();
    let mut socket = match connect(entry) {
        Ok(socket) => Counted { shared, socket },
        Err(error) => return judge(shared, begun, &Ending::of(&error)),
    };
    let ending = match requests(&mut socket, count, bytes) {
        Ok(()) => Ending::Complete,
        Err(error) => Ending::of(&error),
    };
    judge(shared, begun, &ending);
}

fn judge(shared: &Shared, begun: Instant, ending: &Ending) {
    let zero = [0; 32];
    let number = shared.ledger.number();
    if *ending == Ending::Complete {
        shared.ledger.received(number, zero);
    }
    shared
        .ledger
        .sent("association", number, begun, 0, zero, ending);
}

/// An A-ABORT or A-ASSOCIATE-RJ of a gateway is an error for the application, as a reset is.
fn aborted() -> Error {
    ErrorKind::ConnectionAborted.into()
}

fn requests(socket: &mut Counted<'_>, count: u32, bytes: usize) -> io::Result<()> {
    socket.write_pdu(RQ, &association(RQ))?;
    socket.expect(AC)?;
    for message in 1..=count {
        let message = u16::try_from(message).expect("a few");
        let echo = [
            text(0x0002, VERIFICATION),
            short(0x0100, 0x30),
            short(0x0110, message),
            short(0x0800, 0x0101),
        ];
        socket.write_command(ECHO, &echo.concat())?;
        socket.expect_success(message)?;
        store(socket, message, bytes)?;
    }
    socket.write_pdu(RELEASE_RQ, &[0; 4])?;
    socket.expect(RELEASE_RP)?;
    Ok(())
}

fn store(socket: &mut Counted<'_>, message: u16, bytes: usize) -> io::Result<()> {
    let shared = socket.shared;
    let (number, begun) = (shared.ledger.number(), Instant::now());
    let object = object(number, bytes);
    let hash = sha256(&object);
    let stored = socket.store(message, number, &object);
    let ended = match &stored {
        Ok(()) => Ending::Complete,
        Err(error) => Ending::of(error),
    };
    shared
        .ledger
        .sent("object", number, begun, object.len() as u64, hash, &ended);
    stored
}

fn object(number: u64, bytes: usize) -> Vec<u8> {
    let pixels = Noise::new(number).take(bytes & !1);
    let mut object = vec![0xe0, 0x7f, 0x10, 0x00];
    object.extend_from_slice(&u32::try_from(pixels.len()).expect("small").to_le_bytes());
    object.extend_from_slice(&pixels);
    object
}

fn sha256(bytes: &[u8]) -> Hash {
    digest(&SHA256, bytes)
        .as_ref()
        .try_into()
        .expect("32 bytes")
}

/// The client's socket: what it writes and reads is counted.
struct Counted<'a> {
    shared: &'a Shared,
    socket: TcpStream,
}

impl Counted<'_> {
    fn store(&mut self, message: u16, number: u64, object: &[u8]) -> io::Result<()> {
        let instance = format!("2.25.{number}");
        let command = [
            text(0x0002, CT_IMAGE),
            short(0x0100, 0x01),
            short(0x0110, message),
            short(0x0700, 0),
            short(0x0800, 0x0001),
            text(0x1000, &instance),
        ];
        self.write_command(STORE, &command.concat())?;
        let mut pieces = object.chunks(PDU_MAX - 6).peekable();
        while let Some(piece) = pieces.next() {
            self.shared.pace(piece.len());
            let flags = if pieces.peek().is_none() { 2 } else { 0 };
            let pdu = pdu(DATA, &value(STORE, flags, piece));
            self.write(&pdu)?;
        }
        self.expect_success(message)
    }

    fn write_command(&mut self, context: u8, elements: &[u8]) -> io::Result<()> {
        self.write_pdu(DATA, &command(context, elements))
    }

    fn write_pdu(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        self.write(&pdu(kind, body))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)?;
        self.shared
            .count("dicom", Direction::Up, bytes.len() as u64);
        Ok(())
    }

    fn expect(&mut self, kind: u8) -> io::Result<Vec<u8>> {
        let (is, body) = read_pdu(&mut self.socket)?.ok_or(ErrorKind::UnexpectedEof)?;
        self.shared
            .count("dicom", Direction::Down, 6 + body.len() as u64);
        match is {
            _ if is == kind => Ok(body),
            ABORT | REJECT => Err(aborted()),
            _ => Err(Error::other(format!("PDU {is} in place of {kind}"))),
        }
    }

    fn expect_success(&mut self, message: u16) -> io::Result<()> {
        let body = self.expect(DATA)?;
        let elements = body.get(6..).unwrap_or_default();
        let is_to_this = find(elements, 0x0120) == Some(&message.to_le_bytes());
        match find(elements, 0x0900) {
            Some([0, 0]) if is_to_this => Ok(()),
            _ => Err(Error::other("a response that is no success")),
        }
    }
}

/// Serves associations until the process ends.
pub(crate) fn serve(shared: &Arc<Shared>, listener: TcpListener) {
    shared.serve(listener, "association, archive", answer);
}

fn answer(shared: &Shared, mut socket: TcpStream) -> io::Result<()> {
    bound(&socket)?;
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    let Some((kind, _)) = read_pdu(&mut socket)? else {
        return Ok(());
    };
    if kind == ABORT {
        return Err(aborted());
    }
    socket.write_all(&pdu(AC, &association(AC)))?;
    let (mut request, mut object) = (Vec::new(), Vec::new());
    loop {
        let (kind, body) = read_pdu(&mut socket)?.ok_or(ErrorKind::UnexpectedEof)?;
        match kind {
            DATA => {}
            RELEASE_RQ => break,
            ABORT => return Err(aborted()),
            _ => return Err(Error::other(format!("PDU {kind}"))),
        }
        let flags = body.get(5).copied().unwrap_or_default();
        let rest = body.get(6..).unwrap_or_default();
        if flags & 1 == 1 {
            request = rest.to_vec();
            object.clear();
        } else {
            object.extend_from_slice(rest);
        }
        let has_object = find(&request, 0x0800) == Some(&[1, 0]);
        if flags == 2 {
            let number = instance(&request).ok_or_else(|| Error::other("no instance UID"))?;
            shared.ledger.received(number, sha256(&object));
        }
        if flags == 2 || (flags == 3 && !has_object) {
            socket.write_all(&pdu(DATA, &response(&request)))?;
        }
    }
    socket.write_all(&pdu(RELEASE_RP, &[0; 4]))?;
    // PS3.8 section 9.2: the requestor closes. If the answer did not reach it, an A-ABORT may come (state 13).
    match read_pdu(&mut socket)? {
        None => {
            SockRef::from(&socket).set_linger(None)?;
            Ok(())
        }
        Some((ABORT, _)) => Err(aborted()),
        Some((kind, _)) => Err(Error::other(format!("PDU {kind} behind the release"))),
    }
}

fn instance(request: &[u8]) -> Option<u64> {
    let uid = std::str::from_utf8(find(request, 0x1000)?).ok()?;
    uid.trim_end_matches('\0')
        .strip_prefix("2.25.")?
        .parse()
        .ok()
}

fn response(request: &[u8]) -> Vec<u8> {
    let number = |tag| {
        let value = find(request, tag).and_then(|value| value.try_into().ok());
        u16::from_le_bytes(value.unwrap_or_default())
    };
    let (field, message) = (number(0x0100), number(0x0110));
    let (context, class) = match field {
        0x30 => (ECHO, VERIFICATION),
        _ => (STORE, CT_IMAGE),
    };
    let elements = [
        text(0x0002, class),
        short(0x0100, 0x8000 | field),
        short(0x0120, message),
        short(0x0800, 0x0101),
        short(0x0900, 0),
    ];
    command(context, &elements.concat())
}

/// Reads a PDU; `None` at a clean end before it.
fn read_pdu(socket: &mut TcpStream) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; 6];
    let first = socket.read(&mut head)?;
    if first == 0 {
        return Ok(None);
    }
    socket.read_exact(head.get_mut(first..).unwrap_or_default())?;
    let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
    if length > 1 << 20 {
        return Err(Error::other("a PDU that is too long"));
    }
    let mut body = vec![0; length as usize];
    socket.read_exact(&mut body)?;
    Ok(Some((head[0], body)))
}

fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[kind, 0], &length[..], body].concat()
}

/// One presentation data value (PS3.8 section 9.3.5.1).
fn value(context: u8, flags: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len() + 2).expect("short").to_be_bytes();
    [&length[..], &[context, flags], bytes].concat()
}

fn command(context: u8, elements: &[u8]) -> Vec<u8> {
    let length = u32::try_from(elements.len()).expect("short").to_le_bytes();
    let all = [element(0x0000, &length), elements.to_vec()].concat();
    value(context, 3, &all)
}

/// An element of a command set: Implicit VR Little Endian (PS3.7 section 6.3.1).
fn element(tag: u16, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).expect("short").to_le_bytes();
    [&[0, 0], &tag.to_le_bytes()[..], &length, value].concat()
}

fn short(tag: u16, value: u16) -> Vec<u8> {
    element(tag, &value.to_le_bytes())
}

fn text(tag: u16, value: &str) -> Vec<u8> {
    let mut bytes = value.as_bytes().to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    element(tag, &bytes)
}

fn find(mut elements: &[u8], tag: u16) -> Option<&[u8]> {
    loop {
        let (head, rest) = elements.split_at_checked(8)?;
        let length = u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
        let (value, behind) = rest.split_at_checked(length)?;
        if head[2..4] == tag.to_le_bytes() {
            return Some(value);
        }
        elements = behind;
    }
}

/// A-ASSOCIATE-RQ, or the A-ASSOCIATE-AC that accepts it (PS3.8 section 9.3).
fn association(kind: u8) -> Vec<u8> {
    let item = |kind: u8, value: &[u8]| {
        let length = u16::try_from(value.len()).expect("short").to_be_bytes();
        [&[kind, 0], &length[..], value].concat()
    };
    let syntax = item(0x40, IMPLICIT.as_bytes());
    let context = |id: u8, class: &str| match kind {
        RQ => {
            let class = item(0x30, class.as_bytes());
            item(0x20, &[&[id, 0, 0, 0], &class[..], &syntax].concat())
        }
        _ => item(0x21, &[&[id, 0, 0, 0], &syntax[..]].concat()),
    };
    let maximum = u32::try_from(PDU_MAX).expect("small").to_be_bytes();
    let user = [item(0x51, &maximum), item(0x52, b"2.25.1")].concat();
    [
        &[0, 1, 0, 0],
        &b"ARCHIVE         "[..],
        b"SOAK            ",
        &[0; 32],
        &item(0x10, APPLICATION.as_bytes()),
        &context(ECHO, VERIFICATION),
        &context(STORE, CT_IMAGE),
        &item(0x50, &user),
    ]
    .concat()
}
