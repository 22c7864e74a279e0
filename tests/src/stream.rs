//! Streams in tests: send noise, compare received bytes with it, and check how a stream ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::{DEADLINE, until};

/// Noise moves in pieces of this many bytes.
const PIECE: usize = 64 << 10;

/// Bytes without a pattern, the same for the same seed. The first byte begins an MLLP frame, so that an MLLP
/// route accepts the stream.
#[derive(Debug, Clone)]
pub struct Noise {
    state: u64,
    has_begun: bool,
}

impl Noise {
    /// The noise of this seed, from its start.
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            has_begun: false,
        }
    }

    /// The next `count` bytes. Asked for in pieces of the same lengths, they are the same bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        for place in bytes.chunks_mut(8) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            place.copy_from_slice(&self.state.to_le_bytes()[..place.len()]);
        }
        if let Some(first) = bytes.first_mut().filter(|_| !self.has_begun) {
            *first = 0x0b;
            self.has_begun = true;
        }
        bytes
    }
}

/// The pieces in which `count` bytes of noise move.
fn pieces(count: usize) -> impl Iterator<Item = usize> {
    (0..count.div_ceil(PIECE)).map(move |piece| (count - piece * PIECE).min(PIECE))
}

/// Writes `count` bytes of the noise of `seed`.
pub fn send_noise(stream: &mut impl Write, seed: u64, count: usize) {
    let mut noise = Noise::new(seed);
    for piece in pieces(count) {
        let sent = stream.write_all(&noise.take(piece));
        sent.unwrap_or_else(|error| panic!("cannot send noise {seed}: {error}"));
    }
}

/// Reads `count` bytes and compares them with the noise of `seed`.
pub fn expect_noise(stream: &mut impl Read, seed: u64, count: usize) {
    let mut noise = Noise::new(seed);
    let mut at = 0;
    for piece in pieces(count) {
        let mut bytes = vec![0; piece];
        let read = stream.read_exact(&mut bytes);
        read.unwrap_or_else(|error| panic!("noise {seed} ends after {at} of {count}: {error}"));
        // Compared without showing them: 64 KiB of noise in a message help nobody.
        assert!(
            bytes == noise.take(piece),
            "noise {seed} differs after {at}"
        );
        at += piece;
    }
}

/// How a stream ended, as its reader saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// FIN; in TLS: close_notify.
    Orderly,
    /// In TLS: FIN without close_notify.
    Truncated,
    /// RST.
    Reset,
    /// In TLS: an alert, or records that cannot be opened.
    Refused(String),
}

/// Sends four bytes from one end, which must arrive at the other.
pub fn ping(from: &mut impl Write, to: &mut impl Read) {
    from.write_all(b"ping").expect("it is connected");
    let mut arrived = [0; 4];
    to.read_exact(&mut arrived).expect("it arrives");
    assert_eq!(&arrived, b"ping");
}

/// Reads to the end; returns the number of bytes and how the stream ended.
pub fn ending(stream: &mut impl Read) -> (u64, Ending) {
    let mut bytes = vec![0; PIECE];
    let mut count = 0;
    loop {
        let end = match stream.read(&mut bytes) {
            Ok(0) => Ending::Orderly,
            Ok(some) => {
                count += some as u64;
                continue;
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => continue,
                ErrorKind::UnexpectedEof => Ending::Truncated,
                // The same reset: reported once, reported already to a writer, or made by this end.
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected => {
                    Ending::Reset
                }
                ErrorKind::InvalidData => Ending::Refused(error.to_string()),
                _ => panic!("the stream does not end after {count} bytes: {error}"),
            },
        };
        return (count, end);
    }
}

/// Connects, with time limits on reading and writing.
pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, DEADLINE);
    bounded(stream.unwrap_or_else(|error| panic!("cannot connect to {to}: {error}")))
}

/// Connects, sends nothing, and reads to the end, like `ending`. A refusal may come before the connect has
/// returned, which then reports it.
pub fn ending_of(to: SocketAddr) -> (u64, Ending) {
    match TcpStream::connect_timeout(&to, DEADLINE) {
        Ok(stream) => ending(&mut bounded(stream)),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (0, Ending::Reset),
        Err(error) => panic!("cannot connect to {to}: {error}"),
    }
}

/// Accepts the next connection, with time limits on accepting, reading and writing.
pub fn accept(listener: &TcpListener) -> TcpStream {
    let stream = until("no connection arrives", DEADLINE, || accept_now(listener));
    bounded(stream)
}

/// Ends a listener for good. Only dropped, it could accept connections for another moment: a program that another
/// thread of the test starts holds copies of all sockets until its process has become the program.
pub fn stop_listening(listener: TcpListener) {
    SockRef::from(&listener)
        .shutdown(std::net::Shutdown::Both)
        .expect("it listens");
}

/// Accepts a connection if there is one.
pub fn accept_now(listener: &TcpListener) -> Option<TcpStream> {
    listener.set_nonblocking(true).expect("it is a socket");
    let (stream, _) = listener.accept().ok()?;
    stream.set_nonblocking(false).expect("it is a socket");
    Some(stream)
}

/// Sets time limits on reading and writing, and sends small writes at once.
pub fn bounded(stream: TcpStream) -> TcpStream {
    stream
        .set_read_timeout(Some(DEADLINE))
        .and_then(|()| stream.set_write_timeout(Some(DEADLINE)))
        .and_then(|()| stream.set_nodelay(true))
        .expect("it is a socket");
    stream
}

/// Ends a connection with RST, including unsent bytes.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("it is a socket");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let near = connect(listener.local_addr().expect("it is bound"));
        (near, accept(&listener))
    }

    #[test]
    fn noise_arrives_as_it_was_sent() {
        let (mut near, mut far) = both();
        let sender = std::thread::spawn(move || send_noise(&mut near, 3, 200_001));
        expect_noise(&mut far, 3, 200_001);
        sender.join().expect("the sender does not panic");
        assert_eq!(ending(&mut far), (0, Ending::Orderly));
    }

    #[test]
    #[should_panic(expected = "differs")]
    fn other_noise_is_found() {
        let bytes = Noise::new(1).take(100);
        expect_noise(&mut bytes.as_slice(), 2, 100);
    }

    #[test]
    fn a_reset_is_no_orderly_end() {
        let (near, mut far) = both();
        reset(near);
        assert_eq!(ending(&mut far), (0, Ending::Reset));
    }
}
