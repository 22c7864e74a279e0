//! DICOM C-ECHO, both ends: an archive that answers, and a client that says how its association ended.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How long a client waits for an answer. A modality waits longer; nothing in these tests may need it.
pub(super) const ANSWER: Duration = Duration::from_secs(20);

/// The archive answers this request much later than the client waits.
const SLOW: u16 = u16::MAX;

const ASSOCIATE_AC: u8 = 2;
const DATA: u8 = 4;
const RELEASE_RQ: u8 = 5;
const RELEASE_RP: u8 = 6;

/// Accepts associations until the process ends, and answers their requests.
pub(super) fn serve(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
}

fn answer(mut stream: TcpStream) {
    loop {
        let reply = match read_pdu(&mut stream) {
            Ok((1, _)) => acceptance(),
            Ok((DATA, body)) => {
                if message_number(&body, 0x0110) == Some(SLOW) {
                    std::thread::sleep(3 * ANSWER);
                }
                data(&response(&body))
            }
            Ok((RELEASE_RQ, _)) => pdu(RELEASE_RP, &[0; 4]),
            _ => return,
        };
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}

/// An open association.
pub(super) struct Association {
    stream: TcpStream,
    number: u16,
}

impl Association {
    /// Connects and asks for an association.
    ///
    /// # Errors
    /// Why there is none: the application knows it.
    pub(super) fn open(to: SocketAddr, within: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, within)?;
        stream.set_read_timeout(Some(within))?;
        stream.set_write_timeout(Some(within))?;
        stream.set_nodelay(true)?;
        let mut association = Self { stream, number: 0 };
        association.stream.write_all(&request())?;
        match read_pdu(&mut association.stream)? {
            (ASSOCIATE_AC, _) => Ok(association),
            (kind, _) => Err(io::Error::other(format!(
                "PDU {kind} instead of an acceptance"
            ))),
        }
    }

    /// Sends a request whose answer does not come in time: only an error ends the wait.
    pub(super) fn wait_in_vain(&mut self) -> io::Result<()> {
        self.number = SLOW - 1;
        self.echo()
    }

    /// Sends a C-ECHO and waits for its answer.
    pub(super) fn echo(&mut self) -> io::Result<()> {
        self.number = self.number.wrapping_add(1);
        self.stream.write_all(&data(&echo_request(self.number)))?;
        let (kind, body) = read_pdu(&mut self.stream)?;
        let answered = message_number(&body, 0x0120);
        match kind == DATA && answered == Some(self.number) {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "PDU {kind} instead of the answer"
            ))),
        }
    }

    /// Releases the association.
    pub(super) fn release(mut self) -> io::Result<()> {
        self.stream.write_all(&pdu(RELEASE_RQ, &[0; 4]))?;
        match read_pdu(&mut self.stream)? {
            (RELEASE_RP, _) => Ok(()),
            (kind, _) => Err(io::Error::other(format!(
                "PDU {kind} instead of the release"
            ))),
        }
    }
}

fn read_pdu(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 6];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
    let mut body = vec![0; usize::try_from(length).expect("64 bits").min(1 << 20)];
    stream.read_exact(&mut body)?;
    Ok((head[0], body))
}

fn request() -> Vec<u8> {
    let context = [
        &[1, 0, 0, 0][..],
        &item(0x30, b"1.2.840.10008.1.1"),
        &item(0x40, b"1.2.840.10008.1.2"),
    ];
    associate(1, &item(0x20, &context.concat()))
}

fn acceptance() -> Vec<u8> {
    let context = [&[1, 0, 0, 0][..], &item(0x40, b"1.2.840.10008.1.2")];
    associate(2, &item(0x21, &context.concat()))
}

fn associate(kind: u8, contexts: &[u8]) -> Vec<u8> {
    let body = [
        &[0, 1, 0, 0][..],
        b"ARCHIVE         MODALITY        ",
        &[0; 32],
        &item(0x10, b"1.2.840.10008.3.1.1.1"),
        contexts,
        &item(0x50, &item(0x51, &16_384_u32.to_be_bytes())),
    ]
    .concat();
    pdu(kind, &body)
}

// A C-ECHO-RQ (PS3.7 section 9.3.5.1).
fn echo_request(number: u16) -> Vec<u8> {
    command(&[(0x0100, 0x0030), (0x0110, number), (0x0800, 0x0101)])
}

fn response(request: &[u8]) -> Vec<u8> {
    let number = message_number(request, 0x0110).unwrap_or_default();
    let fields = [
        (0x0100, 0x8030),
        (0x0120, number),
        (0x0800, 0x0101),
        (0x0900, 0),
    ];
    command(&fields)
}

fn command(fields: &[(u16, u16)]) -> Vec<u8> {
    let mut body = element(0x0002, b"1.2.840.10008.1.1\0");
    for (tag, value) in fields {
        body.extend(element(*tag, &value.to_le_bytes()));
    }
    let length = u32::try_from(body.len()).expect("short");
    [element(0x0000, &length.to_le_bytes()), body].concat()
}

fn element(tag: u16, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).expect("short");
    [
        &[0, 0][..],
        &tag.to_le_bytes(),
        &length.to_le_bytes(),
        value,
    ]
    .concat()
}

// The value of a field of two bytes in a command that `command` made.
fn message_number(body: &[u8], tag: u16) -> Option<u16> {
    let head = element(tag, &[0, 0]);
    let at = body.windows(8).position(|window| window == &head[..8])?;
    let value = body.get(at + 8..at + 10)?;
    Some(u16::from_le_bytes([value[0], value[1]]))
}

// One P-DATA-TF with a whole command set.
fn data(command: &[u8]) -> Vec<u8> {
    let length = u32::try_from(command.len() + 2).expect("short");
    pdu(
        DATA,
        &[&length.to_be_bytes()[..], &[1, 3], command].concat(),
    )
}

fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short");
    [&[kind, 0][..], &length.to_be_bytes(), body].concat()
}

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("short");
    [&[kind, 0][..], &length.to_be_bytes(), value].concat()
}
