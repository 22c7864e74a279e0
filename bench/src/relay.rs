//! A plain relay without crypto: the floor for the measurements of gateways.
//!
//! One thread, one read of a large batch, one write of the bytes it got. The relay has no limits, deadlines
//! or log, and is not a product: an error on either side closes both.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::OwnedFd;

use anyhow::Context as _;
use clap::Args;
use rustix::event::epoll::{self, EventData, EventFlags};

use crate::size;

/// The addresses, and the batch size.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Listen address
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Target of each connection
    #[arg(long, value_name = "ADDR")]
    pub(crate) target: SocketAddr,
    /// Bytes that are read at once
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = batch)]
    pub(crate) batch: usize,
}

/// Larger batches bring no gain.
const BATCH_MAX: u64 = 64 << 20;

fn batch(text: &str) -> Result<usize, String> {
    match size::parse(text)? {
        size if size <= BATCH_MAX => Ok(size as usize),
        _ => Err(format!("more than {BATCH_MAX} bytes")),
    }
}

/// Relays until the process is ended.
///
/// # Errors
///
/// Where it cannot listen or wait.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen)
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let mut relay = Relay::new(listener, options.target, options.batch)?;
    loop {
        relay.turn().context("cannot wait for the sockets")?;
    }
}

struct Relay {
    epoll: OwnedFd,
    listener: TcpListener,
    target: SocketAddr,
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// The connections with work for a direction; each is listed once.
    ready: VecDeque<usize>,
    batches: Batches,
}

/// The two sockets of a connection, with one direction from each to the other.
struct Connection {
    sides: [TcpStream; 2],
    pumps: [Pump; 2],
    queued: bool,
}

/// One direction. Readiness is edge-triggered: it holds until a call has shown otherwise.
#[derive(Default)]
struct Pump {
    readable: bool,
    /// The end is among the bytes left to read, so a short read does not mean that there is no more.
    ending: bool,
    writable: bool,
    pending: Option<(Vec<u8>, Range<usize>)>,
    done: bool,
}

/// Unused batches; the last used one is taken first, because it is still cached.
struct Batches {
    size: usize,
    free: Vec<Vec<u8>>,
}

impl Batches {
    fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_else(|| vec![0; self.size])
    }
}

/// Event data of the listener; connections have twice their slot, plus the side.
const LISTENER: u64 = u64::MAX;

/// The events that one wait returns.
const EVENTS: usize = 256;

impl Relay {
    fn new(listener: TcpListener, target: SocketAddr, batch: usize) -> anyhow::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &listener,
            EventData::new_u64(LISTENER),
            EventFlags::IN,
        )?;
        Ok(Self {
            epoll,
            listener,
            target,
            slots: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            batches: Batches {
                size: batch,
                free: Vec::new(),
            },
        })
    }

    /// Processes the available events and serves every ready connection once.
    fn turn(&mut self) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        // Without waiting while a connection still has work.
        let poll = rustix::event::Timespec::default();
        let timeout = (!self.ready.is_empty()).then_some(&poll);
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            timeout,
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events {
            match event.data.u64() {
                LISTENER => self.accept(),
                data => self.note(data, event.flags),
            }
        }
        for _ in 0..self.ready.len() {
            if let Some(slot) = self.ready.pop_front() {
                self.serve(slot);
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        while let Ok((plain, _)) = self.listener.accept() {
            // On loopback the kernel answers at once, so there is no separate state.
            if let Ok(far) = TcpStream::connect(self.target) {
                // A connection that cannot be watched is closed when it is dropped.
                let _ = self.watch([plain, far]);
            }
        }
    }

    fn watch(&mut self, sides: [TcpStream; 2]) -> io::Result<()> {
        let slot = self.free.last().copied().unwrap_or(self.slots.len());
        let both = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        for (data, side) in (slot as u64 * 2..).zip(&sides) {
            side.set_nonblocking(true)?;
            side.set_nodelay(true)?;
            epoll::add(&self.epoll, side, EventData::new_u64(data), both)?;
        }
        if self.free.pop().is_none() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(Connection {
            sides,
            pumps: Default::default(),
            queued: false,
        });
        Ok(())
    }

    fn note(&mut self, data: u64, flags: EventFlags) {
        let (slot, side) = ((data / 2) as usize, (data % 2) as usize);
        let Some(Some(connection)) = self.slots.get_mut(slot) else {
            return;
        };
        connection.note(side, flags);
        if !connection.queued {
            connection.queued = true;
            self.ready.push_back(slot);
        }
    }

    fn serve(&mut self, slot: usize) {
        let Some(Some(connection)) = self.slots.get_mut(slot) else {
            return;
        };
        match connection.turn(&mut self.batches) {
            Ok(Turn::Again) => self.ready.push_back(slot),
            Ok(Turn::Wait) => connection.queued = false,
            Ok(Turn::Over) | Err(_) => {
                self.slots[slot] = None;
                self.free.push(slot);
            }
        }
    }
}

/// The result of a connection or a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Again,
    Wait,
    Over,
}

impl Connection {
    fn note(&mut self, side: usize, flags: EventFlags) {
        let broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        let ending = broken || flags.contains(EventFlags::RDHUP);
        let reader = &mut self.pumps[side];
        reader.readable |= ending || flags.contains(EventFlags::IN);
        reader.ending |= ending;
        self.pumps[1 - side].writable |= broken || flags.contains(EventFlags::OUT);
    }

    fn turn(&mut self, batches: &mut Batches) -> io::Result<Turn> {
        let [near, far] = &self.sides;
        let [there, back] = &mut self.pumps;
        let there = there.turn(near, far, batches)?;
        let back = back.turn(far, near, batches)?;
        Ok(match (there, back) {
            (Turn::Over, Turn::Over) => Turn::Over,
            (Turn::Again, _) | (_, Turn::Again) => Turn::Again,
            _ => Turn::Wait,
        })
    }
}

impl Pump {
    /// At most one read and one write, so that no connection delays the others.
    fn turn(&mut self, from: &TcpStream, to: &TcpStream, all: &mut Batches) -> io::Result<Turn> {
        if self.done {
            return Ok(Turn::Over);
        }
        if self.pending.is_none() && self.readable {
            self.read(from, all)?;
            if self.done {
                to.shutdown(Shutdown::Write)?;
                return Ok(Turn::Over);
            }
        }
        if self.writable {
            self.write(to, all)?;
        }
        let more = match self.pending {
            Some(_) => self.writable,
            None => self.readable,
        };
        Ok(if more { Turn::Again } else { Turn::Wait })
    }

    fn read(&mut self, mut from: &TcpStream, all: &mut Batches) -> io::Result<()> {
        let mut batch = all.take();
        let outcome = from.read(&mut batch);
        match outcome {
            Ok(0) => self.done = true,
            Ok(n) => {
                self.readable = self.ending || n == batch.len();
                self.pending = Some((batch, 0..n));
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) => return Err(error),
        }
        all.free.push(batch);
        Ok(())
    }

    fn write(&mut self, mut to: &TcpStream, all: &mut Batches) -> io::Result<()> {
        let Some((batch, rest)) = &mut self.pending else {
            return Ok(());
        };
        match to.write(&batch[rest.clone()]) {
            Ok(n) => rest.start += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if rest.start == rest.end
            && let Some((batch, _)) = self.pending.take()
        {
            all.free.push(batch);
        }
        self.writable = self.pending.is_none();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    /// A relay in a thread that ends with the test process, and what it leads to.
    fn start(batch: usize) -> (SocketAddr, TcpListener) {
        let any = ("127.0.0.1", 0);
        let target = TcpListener::bind(any).expect("a port is free");
        let listener = TcpListener::bind(any).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let to = target.local_addr().expect("it is bound");
        let mut relay = Relay::new(listener, to, batch).expect("it can be watched");
        thread::spawn(move || while relay.turn().is_ok() {});
        (address, target)
    }

    fn connect(to: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(to).expect("the relay listens");
        let limit = Some(Duration::from_secs(20));
        stream.set_read_timeout(limit).expect("a limit is set");
        stream.set_write_timeout(limit).expect("a limit is set");
        stream
    }

    #[test]
    fn bytes_and_ends_pass_in_both_directions() {
        for batch in [1, 4096, 1 << 20] {
            let (address, target) = start(batch);
            let size = if batch == 1 { 5000 } else { 5_000_000 };
            let sent: Vec<u8> = (0..size).map(|n: u32| ((n * 7) >> 3) as u8).collect();
            let expected = sent.clone();
            let mut near = connect(address);
            let (mut far, _) = target.accept().expect("the relay connects");
            let sender = thread::spawn(move || {
                near.write_all(&sent).expect("the bytes go out");
                near.shutdown(Shutdown::Write).expect("it is open");
                let mut reply = Vec::new();
                near.read_to_end(&mut reply).expect("the reply comes");
                reply
            });
            let mut arrived = Vec::new();
            far.read_to_end(&mut arrived).expect("the end comes");
            assert!(arrived == expected, "batches of {batch}");
            far.write_all(b"got it")
                .expect("the other direction is open");
            drop(far);
            assert_eq!(sender.join().expect("it ends well"), b"got it");
        }
    }

    #[test]
    fn a_reader_that_waits_does_not_delay_others() {
        let (address, target) = start(1 << 20);
        let mut stalled = connect(address);
        let (_unread, _) = target.accept().expect("the relay connects");
        stalled
            .set_nonblocking(true)
            .expect("the mode can be changed");
        // Until all buffers on the path are full: those of the kernel, and one batch in the relay.
        while stalled.write(&[0; 65_536]).is_ok() {}
        let mut other = connect(address);
        let (mut far, _) = target.accept().expect("the relay connects");
        other.write_all(b"ping").expect("the bytes go out");
        let mut got = [0; 4];
        far.read_exact(&mut got).expect("they arrive");
        assert_eq!(&got, b"ping");
    }
}
