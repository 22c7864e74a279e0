//! One stream of bulk payload: the bytes that its two ends send and expect.
//!
//! The generator's end always sends the number of the stream, so that the sink knows whose payload to send
//! back. Neither end finishes its direction before it has received everything, because peers that close a
//! connection at the first FIN would cut off the other direction.

use std::io::{self, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use rustix::event::epoll::EventFlags;
use rustix::net::{RecvFlags, recv};

use super::Between;
use super::poll::Task;
use crate::pattern::{NUMBER, Pattern};
use crate::server;

/// The direction of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    /// From the generator to the sink
    There,
    /// From the sink to the generator
    Back,
    /// Both ways at once, as much each way
    Both,
}

/// The state of all streams that both ends share.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The streams whose number has reached the sink.
    pub(crate) named: Named,
    /// The bytes of all streams together in each used direction.
    pub(crate) size: u64,
    pub(crate) streams: u32,
    pub(crate) direction: Direction,
    /// The bytes that are passed to the kernel at once.
    pub(crate) chunk: usize,
    /// Compare the content of received bytes.
    pub(crate) compare: bool,
    /// Ends the generator's streams when it is set, whatever `size` is.
    pub(crate) stop: AtomicBool,
    /// The bytes of all streams that have arrived so far.
    pub(crate) arrived: AtomicU64,
}

impl Plan {
    /// An equal share of the whole; the first streams have one byte more if the division has a remainder.
    pub(crate) fn share(&self, number: u32) -> u64 {
        let streams = u64::from(self.streams);
        self.size / streams + u64::from(u64::from(number) < self.size % streams)
    }

    /// The bytes that the generator sends.
    fn there(&self, number: u32) -> u64 {
        match self.direction {
            Direction::There | Direction::Both => self.share(number),
            Direction::Back => NUMBER as u64,
        }
    }

    /// The bytes that the sink sends.
    fn back(&self, number: u32) -> u64 {
        match self.direction {
            Direction::Back | Direction::Both => self.share(number),
            Direction::There => 0,
        }
    }
}

/// A growing number that a thread can wait for.
#[derive(Debug, Default)]
pub(crate) struct Named {
    count: Mutex<u32>,
    grown: Condvar,
}

impl Named {
    pub(super) fn add(&self) {
        // A panic in another thread leaves the number valid.
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.grown.notify_all();
    }

    /// Waits until the number is reached; an error if it does not grow for `stall`.
    fn wait(&self, wanted: u32, stall: Duration) -> anyhow::Result<()> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        while *count < wanted {
            let before = *count;
            let waited = self.grown.wait_timeout(count, stall);
            (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
            anyhow::ensure!(
                *count > before,
                "{before} streams have reached the sink, and no other did for {stall:?}"
            );
        }
        Ok(())
    }
}

/// Streams that are set up at the same time: more would wait for each other's handshakes.
const AT_ONCE: u32 = 32;

/// Connects all streams, each until its number has reached the sink: the path is then set up, and its set-up
/// is not part of the measurement.
pub(crate) fn connect_all(
    plan: &Arc<Plan>,
    connect: SocketAddr,
    between: &Between,
) -> anyhow::Result<Vec<(TcpStream, Generator)>> {
    let streams = (0..plan.streams).map(|number| {
        let generator = Generator::new(Arc::clone(plan), number);
        let mut stream = server::connect(connect, between)?;
        stream
            .write_all(&number.to_be_bytes())
            .with_context(|| format!("stream {number} could not be set up"))?;
        let at_least = (number + 1).saturating_sub(AT_ONCE);
        plan.named.wait(at_least, between.stall())?;
        Ok((stream, generator))
    });
    let streams = streams.collect::<anyhow::Result<_>>()?;
    plan.named.wait(plan.streams, between.stall())?;
    Ok(streams)
}

/// The result of one end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) number: u32,
    pub(crate) sent: u64,
    pub(crate) arrived: u64,
}

/// The result of a silent connection.
const NOTHING: Moved = Moved {
    number: u32::MAX,
    sent: 0,
    arrived: 0,
};

/// The sink sends the payload of other stream numbers than the generator.
const BACK: u32 = 1 << 31;

/// The connecting end.
#[derive(Debug)]
pub(crate) struct Generator {
    plan: Arc<Plan>,
    number: u32,
    outgoing: Outgoing,
    incoming: Incoming,
    finished: bool,
}

impl Generator {
    /// For a connection on which the number of the stream has been sent.
    pub(crate) fn new(plan: Arc<Plan>, number: u32) -> Self {
        let mut outgoing = Outgoing::new(number, plan.there(number), plan.chunk);
        outgoing.position = NUMBER as u64;
        Self {
            outgoing,
            incoming: Incoming::new(number | BACK, plan.back(number), plan.compare),
            plan,
            number,
            finished: false,
        }
    }

    fn has_all(&self) -> bool {
        self.outgoing.is_done() && self.incoming.position >= self.incoming.share
    }
}

impl Task for Generator {
    type Outcome = Moved;

    fn turn(
        &mut self,
        stream: &TcpStream,
        ready: EventFlags,
        room: &mut [u8],
    ) -> io::Result<Option<Moved>> {
        if self.plan.stop.load(Ordering::Relaxed) {
            self.outgoing.share = self.outgoing.position.max(NUMBER as u64);
        }
        if ready.contains(EventFlags::OUT) {
            self.outgoing.write(stream)?;
        }
        let arrived = match ready.contains(EventFlags::IN) {
            true => self.incoming.read(stream, room)?,
            false => Arrived::Nothing,
        };
        if self.has_all() && !self.finished {
            stream.shutdown(Shutdown::Write)?;
            self.finished = true;
        }
        match arrived {
            Arrived::Bytes(n) => {
                self.plan.arrived.fetch_add(n, Ordering::Relaxed);
                Ok(None)
            }
            Arrived::End if self.finished => Ok(Some(Moved {
                number: self.number,
                sent: self.outgoing.position,
                arrived: self.incoming.position,
            })),
            Arrived::End => Err(self.outgoing.cut(self.number, &self.incoming)),
            Arrived::Nothing => Ok(None),
        }
    }

    fn wants(&self) -> EventFlags {
        if self.has_all() && !self.finished {
            // So that the loop serves it once more to finish.
            return EventFlags::IN | EventFlags::OUT;
        }
        wants(&self.outgoing)
    }
}

/// The listening end.
#[derive(Debug)]
pub(crate) struct Receiver {
    plan: Arc<Plan>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The received bytes of the stream's number, and their count.
    Unnamed([u8; NUMBER], usize),
    Named(u32, Outgoing, Incoming),
}

impl Receiver {
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        Self {
            plan,
            state: State::Unnamed([0; NUMBER], 0),
        }
    }

    /// Reads the number of the stream from its first bytes; returns the result if they never come.
    fn name(&mut self, stream: &TcpStream) -> io::Result<Option<Moved>> {
        let State::Unnamed(bytes, have) = &mut self.state else {
            return Ok(None);
        };
        let n = match recv(stream, &mut bytes[*have..], RecvFlags::empty()) {
            Ok((_, 0)) | Err(rustix::io::Errno::CONNRESET) if *have == 0 => {
                return Ok(Some(NOTHING));
            }
            Ok((_, 0)) => return Err(io::Error::other("a stream ended before its number")),
            Ok((_, n)) => n,
            Err(error) => return Err(error.into()),
        };
        *have += n;
        if *have < NUMBER {
            return Ok(None);
        }
        let number = u32::from_be_bytes(*bytes);
        if number >= self.plan.streams {
            let what = format!("stream {number} of {} is none of ours", self.plan.streams);
            return Err(io::Error::other(what));
        }
        let outgoing = Outgoing::new(number | BACK, self.plan.back(number), self.plan.chunk);
        let mut incoming = Incoming::new(number, u64::MAX, self.plan.compare);
        incoming.position = NUMBER as u64;
        self.state = State::Named(number, outgoing, incoming);
        self.plan.named.add();
        Ok(None)
    }
}

impl Task for Receiver {
    type Outcome = Moved;

    fn turn(
        &mut self,
        stream: &TcpStream,
        ready: EventFlags,
        room: &mut [u8],
    ) -> io::Result<Option<Moved>> {
        let State::Named(number, outgoing, incoming) = &mut self.state else {
            return self.name(stream);
        };
        if ready.contains(EventFlags::OUT) {
            outgoing.write(stream)?;
        }
        if !ready.contains(EventFlags::IN) {
            return Ok(None);
        }
        match incoming.read(stream, room)? {
            Arrived::Bytes(n) => {
                self.plan.arrived.fetch_add(n, Ordering::Relaxed);
                Ok(None)
            }
            Arrived::Nothing => Ok(None),
            Arrived::End if outgoing.is_done() => Ok(Some(Moved {
                number: *number,
                sent: outgoing.position,
                arrived: incoming.position,
            })),
            Arrived::End => Err(outgoing.cut(*number, incoming)),
        }
    }

    fn wants(&self) -> EventFlags {
        match &self.state {
            State::Unnamed(..) => EventFlags::IN,
            State::Named(_, outgoing, _) => wants(outgoing),
        }
    }

    fn is_nothing(moved: &Moved) -> bool {
        *moved == NOTHING
    }
}

fn wants(outgoing: &Outgoing) -> EventFlags {
    if outgoing.is_done() {
        EventFlags::IN
    } else {
        EventFlags::IN | EventFlags::OUT
    }
}

/// The sending half of an end.
#[derive(Debug)]
struct Outgoing {
    pattern: Pattern,
    share: u64,
    position: u64,
    chunk: usize,
}

impl Outgoing {
    fn new(number: u32, share: u64, chunk: usize) -> Self {
        Self {
            pattern: Pattern::of_stream(number),
            share,
            position: 0,
            chunk,
        }
    }

    fn is_done(&self) -> bool {
        self.position >= self.share
    }

    /// Writes as much as the kernel accepts, at most one chunk.
    fn write(&mut self, mut stream: &TcpStream) -> io::Result<()> {
        let left = usize::try_from(self.share - self.position).unwrap_or(usize::MAX);
        let length = left.min(self.chunk);
        if length == 0 {
            return Ok(());
        }
        match stream.write_vectored(&self.pattern.gather(self.position, length)) {
            Ok(n) => self.position += n as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn cut(&self, number: u32, incoming: &Incoming) -> io::Error {
        io::Error::other(format!(
            "stream {number} was ended by the other side when {} of {} bytes were sent and {} had \
             arrived",
            self.position, self.share, incoming.position
        ))
    }
}

/// The receiving half of an end.
#[derive(Debug)]
struct Incoming {
    pattern: Pattern,
    number: u32,
    /// More bytes are an error.
    share: u64,
    position: u64,
    compare: bool,
}

enum Arrived {
    Nothing,
    Bytes(u64),
    End,
}

impl Incoming {
    fn new(number: u32, share: u64, compare: bool) -> Self {
        Self {
            pattern: Pattern::of_stream(number),
            number: number & !BACK,
            share,
            position: 0,
            compare,
        }
    }

    /// Reads the available bytes, at most the size of `room`, and compares them.
    fn read(&mut self, stream: &TcpStream, room: &mut [u8]) -> io::Result<Arrived> {
        // Without a comparison, the bytes are not read and TCP drops them without a copy (tcp(7)).
        let flags = if self.compare {
            RecvFlags::empty()
        } else {
            RecvFlags::TRUNC
        };
        let n = match recv(stream, &mut *room, flags) {
            Ok((_, 0)) => return Ok(Arrived::End),
            Ok((_, n)) => n,
            Err(rustix::io::Errno::AGAIN) => return Ok(Arrived::Nothing),
            Err(error) => return Err(error.into()),
        };
        let (number, position) = (self.number, self.position);
        if self.compare && !self.pattern.holds(position, &room[..n]) {
            let what = format!("stream {number} differs in the {n} bytes after {position}");
            return Err(io::Error::other(what));
        }
        self.position += n as u64;
        if self.position > self.share {
            let what = format!("stream {number} has more than its {} bytes", self.share);
            return Err(io::Error::other(what));
        }
        Ok(Arrived::Bytes(n as u64))
    }
}
