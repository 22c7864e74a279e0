//! Transfers over plain TCP: so many bytes up, their hash and so many bytes down; and idle connections.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::digest::{Context, SHA256};
use socket2::SockRef;
use wardgate_tests::stream::Noise;

use crate::ledger::{Ending, Hash};
use crate::shared::{Direction, Shared};

const PIECE: usize = 16 << 10;
/// A transfer that stands still for so long has neither completed nor been broken.
pub(crate) const SILENCE: Duration = Duration::from_secs(90);
/// In place of the number of bytes up: an idle connection.
const IDLE: u64 = u64::MAX;
const PING: usize = 16;
/// An idle connection sends this often.
const PING_EVERY: Duration = Duration::from_secs(25);

/// The bytes of one transfer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

/// Connects with limits on reading and writing.
pub(crate) fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&to, SILENCE)?;
    bound(&socket)?;
    Ok(socket)
}

pub(crate) fn bound(socket: &TcpStream) -> io::Result<()> {
    socket.set_read_timeout(Some(SILENCE))?;
    socket.set_write_timeout(Some(SILENCE))?;
    socket.set_nodelay(true)
}

/// Makes one transfer.
pub(crate) fn transfer(shared: &Shared, kind: &'static str, entry: SocketAddr, size: Size) {
    let (number, begun) = (shared.ledger.number(), Instant::now());
    let (hash, ending) = match exchange(shared, kind, entry, number, size) {
        Ok(hash) => (hash, Ending::Complete),
        Err(error) => ([0; 32], Ending::of(&error)),
    };
    let bytes = size.up + size.down;
    shared
        .ledger
        .sent(kind, number, begun, bytes, hash, &ending);
}

fn exchange(
    shared: &Shared,
    kind: &'static str,
    entry: SocketAddr,
    number: u64,
    size: Size,
) -> io::Result<Hash> {
    let mut socket = connect(entry)?;
    let header = [number, size.up, size.down].map(u64::to_be_bytes).concat();
    socket.write_all(&header)?;
    shared.count(kind, Direction::Up, header.len() as u64);
    let count = |bytes| shared.count(kind, Direction::Up, bytes);
    let hash = send(shared, count, &mut socket, number, size.up)?;
    // Half of the clients end their direction first, the others after the answer.
    if number.is_multiple_of(2) {
        socket.shutdown(Shutdown::Write)?;
    }
    let mut answer = [0; 32];
    socket.read_exact(&mut answer)?;
    shared.count(kind, Direction::Down, 32);
    if answer != hash {
        return Err(io::Error::other("the receiver has another hash"));
    }
    receive(&mut socket, !number, size.down)?;
    shared.count(kind, Direction::Down, size.down);
    match socket.read(&mut [0])? {
        0 => Ok(hash),
        _ => Err(io::Error::other("more bytes than were sent")),
    }
}

fn send(
    shared: &Shared,
    count: impl Fn(u64),
    socket: &mut TcpStream,
    seed: u64,
    bytes: u64,
) -> io::Result<Hash> {
    let (mut noise, mut left) = (Noise::new(seed), usize::try_from(bytes).expect("64 bits"));
    let mut hash = Context::new(&SHA256);
    while left > 0 {
        let piece = noise.take(left.min(PIECE));
        shared.pace(piece.len());
        hash.update(&piece);
        socket.write_all(&piece)?;
        count(piece.len() as u64);
        left -= piece.len();
    }
    Ok(to_hash(hash))
}

fn receive(socket: &mut TcpStream, seed: u64, bytes: u64) -> io::Result<Hash> {
    let (mut noise, mut left) = (Noise::new(seed), usize::try_from(bytes).expect("64 bits"));
    let mut hash = Context::new(&SHA256);
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let piece = &mut piece[..left.min(PIECE)];
        socket.read_exact(piece)?;
        hash.update(piece);
        if piece != noise.take(piece.len()) {
            return Err(io::Error::other("other bytes than were sent"));
        }
        left -= piece.len();
    }
    Ok(to_hash(hash))
}

fn to_hash(context: Context) -> Hash {
    let digest = context.finish();
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// An idle connection, which sends a few bytes now and then until the load stops.
pub(crate) fn idle(shared: &Shared, kind: &'static str, entry: SocketAddr) {
    let (number, begun) = (shared.ledger.number(), Instant::now());
    let ending = match stay(shared, kind, entry, number) {
        Ok(()) => Ending::Complete,
        Err(error) => Ending::of(&error),
    };
    shared.ledger.sent(kind, number, begun, 0, [0; 32], &ending);
}

fn stay(shared: &Shared, kind: &'static str, entry: SocketAddr, number: u64) -> io::Result<()> {
    let mut socket = connect(entry)?;
    let header = [number, IDLE, 0].map(u64::to_be_bytes).concat();
    socket.write_all(&header)?;
    shared.count(kind, Direction::Up, header.len() as u64);
    let mut noise = Noise::new(number);
    while !shared.gate.is_closed() {
        let ping = noise.take(PING);
        socket.write_all(&ping)?;
        shared.count(kind, Direction::Up, PING as u64);
        let mut pong = [0; PING];
        socket.read_exact(&mut pong)?;
        shared.count(kind, Direction::Down, PING as u64);
        if pong != *ping {
            return Err(io::Error::other("another answer"));
        }
        // Waits in a read, so that a reset is seen when it comes.
        let since = Instant::now();
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        while since.elapsed() < PING_EVERY && !shared.gate.is_closed() {
            match socket.read(&mut [0]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Err(io::Error::other("bytes that were not sent")),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        socket.set_read_timeout(Some(SILENCE))?;
    }
    socket.shutdown(Shutdown::Write)?;
    match socket.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("bytes that were not sent")),
    }
}

/// Serves connections until the process ends.
pub(crate) fn serve(shared: &Arc<Shared>, kind: &'static str, listener: TcpListener) {
    shared.serve(listener, &format!("{kind}, receiver"), answer);
}

fn answer(shared: &Shared, mut socket: TcpStream) -> io::Result<()> {
    bound(&socket)?;
    // An error ends with a reset, which the sender sees.
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    let mut header = [0; 24];
    let first = socket.read(&mut header)?;
    if first == 0 {
        return Ok(());
    }
    socket.read_exact(header.get_mut(first..).unwrap_or_default())?;
    let field = |at: usize| {
        let bytes = header[8 * at..8 * at + 8].try_into().expect("8 bytes");
        u64::from_be_bytes(bytes)
    };
    let (number, up, down) = (field(0), field(1), field(2));
    if up == IDLE {
        return echo(shared, socket, number);
    }
    let hash = receive(&mut socket, number, up)?;
    shared.ledger.received(number, hash);
    socket.write_all(&hash)?;
    // The clients count: in both directions, what they wrote and read.
    send(shared, |_| {}, &mut socket, !number, down)?;
    end(socket)
}

fn echo(shared: &Shared, mut socket: TcpStream, number: u64) -> io::Result<()> {
    let mut ping = [0; PING];
    loop {
        let first = socket.read(&mut ping)?;
        if first == 0 {
            shared.ledger.received(number, [0; 32]);
            return end(socket);
        }
        socket.read_exact(&mut ping[first..])?;
        socket.write_all(&ping)?;
    }
}

// Ends cleanly, and waits for the end of the other side.
fn end(mut socket: TcpStream) -> io::Result<()> {
    socket.shutdown(Shutdown::Write)?;
    match socket.read(&mut [0])? {
        0 => {
            SockRef::from(&socket).set_linger(None)?;
            Ok(())
        }
        _ => Err(io::Error::other("more bytes than were sent")),
    }
}
