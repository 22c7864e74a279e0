//! DICOM C-ECHO, both ends: an archive that answers, and a client that says how its association ended.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How long a client waits for an answer. A modality waits longer; nothing in these tests may need it.
pub(super) const ANSWER: Duration = Duration::from_secs(20);

/// The archive answers this request much later than the client waits.
const SLOW: u16 = u16::MAX;

const ASSOCIATE_AC: u8 = 2;
const DATA: u8 = 4;
const RELEASE_RQ: u8 = 5;
const RELEASE_RP: u8 = 6;
const ABORT: u8 = 7;

/// Why an association is not there, or not any more, as its application sees it.
#[derive(Debug)]
pub(super) enum Failure {
    /// An A-ABORT has arrived.
    Aborted,
    /// The socket has an error: the connection was reset or refused, or nothing is reachable.
    Error(io::Error),
    /// The connection was closed with a FIN in the middle of the association, as if all was well.
    Closed,
    /// Nothing has arrived for as long as the application waits.
    Late,
    /// Another PDU came than the protocol allows.
    Unexpected(u8),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The kernel reports a broken pipe, and not a reset, if a FIN came before the reset.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Self::Closed,
            io::ErrorKind::WouldBlock => Self::Late,
            _ => Self::Error(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted => write!(to, "A-ABORT"),
            Self::Error(error) => write!(to, "{error}"),
            Self::Closed => write!(to, "closed with a FIN"),
            Self::Late => write!(to, "no answer"),
            Self::Unexpected(kind) => write!(to, "PDU {kind}"),
        }
    }
}

impl Failure {
    fn of_pdu(kind: u8) -> Self {
        match kind {
            ABORT => Self::Aborted,
            kind => Self::Unexpected(kind),
        }
    }
}

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
    within: Duration,
}

impl Association {
    /// Connects and asks for an association. Its application waits for each answer for `within`.
    ///
    /// # Errors
    /// Why there is none: the application knows it.
    pub(super) fn open(to: SocketAddr, within: Duration) -> Result<Self, Failure> {
        let mut stream = TcpStream::connect_timeout(&to, within)?;
        stream.set_read_timeout(Some(within))?;
        stream.set_write_timeout(Some(within))?;
        stream.set_nodelay(true)?;
        stream.write_all(&request())?;
        match read_pdu(&mut stream)? {
            (ASSOCIATE_AC, _) => Ok(Self {
                stream,
                number: 0,
                within,
            }),
            (kind, _) => Err(Failure::of_pdu(kind)),
        }
    }

    /// Lets the kernel probe a connection on which nothing arrives, as `SO_KEEPALIVE` of an application does.
    pub(super) fn set_keepalive(&self, idle: Duration) -> io::Result<()> {
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(idle);
        SockRef::from(&self.stream).set_tcp_keepalive(&keepalive)
    }

    /// Sends a request whose answer does not come in time: only an error ends the wait.
    pub(super) fn wait_in_vain(&mut self) -> Result<(), Failure> {
        self.number = SLOW - 1;
        self.echo()
    }

    /// Sends a C-ECHO and waits for its answer.
    pub(super) fn echo(&mut self) -> Result<(), Failure> {
        self.number = self.number.wrapping_add(1);
        self.stream.write_all(&data(&echo_request(self.number)))?;
        let (kind, body) = read_pdu(&mut self.stream)?;
        let answered = message_number(&body, 0x0120);
        match kind == DATA && answered == Some(self.number) {
            true => Ok(()),
            false => Err(Failure::of_pdu(kind)),
        }
    }

    /// Lets this time pass, and notices an end of the association in it.
    pub(super) fn pause(&mut self, time: Duration) -> Result<(), Failure> {
        self.stream.set_read_timeout(Some(time))?;
        let arrived = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(self.within))?;
        match arrived.map_err(Failure::from) {
            Err(Failure::Late) => Ok(()),
            Err(failure) => Err(failure),
            Ok(_) => Err(Failure::of_pdu(read_pdu(&mut self.stream)?.0)),
        }
    }

    /// Releases the association.
    pub(super) fn release(mut self) -> Result<(), Failure> {
        self.stream.write_all(&pdu(RELEASE_RQ, &[0; 4]))?;
        match read_pdu(&mut self.stream)? {
            (RELEASE_RP, _) => Ok(()),
            (kind, _) => Err(Failure::of_pdu(kind)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    const SHORT: Duration = Duration::from_millis(200);

    /// An association with an archive that accepts it and then ends the connection in this way.
    fn ended(end: fn(TcpStream)) -> Association {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
        let to = listener.local_addr().expect("it is bound");
        let archive = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the client connects");
            let _ = read_pdu(&mut stream).expect("a request");
            stream.write_all(&acceptance()).expect("the client reads");
            end(stream);
        });
        let association = Association::open(to, ANSWER).expect("it is accepted");
        archive.join().expect("it does not panic");
        association
    }

    fn abort(mut stream: TcpStream) {
        let pdu = pdu(ABORT, &[0; 4]);
        stream.write_all(&pdu).expect("the client reads");
    }

    fn reset(stream: TcpStream) {
        let linger = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        linger.expect("it is a TCP socket");
    }

    #[test]
    fn a_fin_within_an_association_is_no_error_of_its_application() {
        for (end, is_expected) in [
            (
                drop as fn(TcpStream),
                (|end| matches!(end, Failure::Closed)) as fn(&Failure) -> bool,
            ),
            (abort, |end| matches!(end, Failure::Aborted)),
            (reset, |end| matches!(end, Failure::Error(_))),
        ] {
            let seen = ended(end).pause(SHORT).expect_err("it has ended");
            assert!(is_expected(&seen), "{seen}");
            // The request meets a closed socket, whose kernel answers with a reset.
            let mut association = ended(end);
            sleep(SHORT);
            let seen = association.echo().expect_err("it has ended");
            assert!(is_expected(&seen), "{seen}");
        }
    }
}
