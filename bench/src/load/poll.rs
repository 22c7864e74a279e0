//! Many connections on few threads: an epoll loop serves each when it is ready.

use std::io;
#[cfg(test)]
use std::net::SocketAddr;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use super::Between;
use crate::pin;
use crate::server::{self, Outcomes};

/// The work on one connection.
pub(crate) trait Task: Send + 'static {
    /// The result of the work.
    type Outcome: Send + 'static;

    /// Reads or writes once in each `ready` direction, and returns the result when all is done. `room` is
    /// scratch memory of the thread, whose contents are lost after the call.
    fn turn(
        &mut self,
        stream: &TcpStream,
        ready: EventFlags,
        room: &mut [u8],
    ) -> io::Result<Option<Self::Outcome>>;

    /// The readiness that the task waits for next.
    fn wants(&self) -> EventFlags;

    /// Whether the connection was silent: a probe's connection is not part of the run.
    fn is_nothing(_: &Self::Outcome) -> bool {
        false
    }
}

/// Runs tasks on open connections, spread over threads, until all are done.
///
/// # Errors
///
/// The first failure of a connection, or no movement for `stall`.
pub(crate) fn drive<T: Task>(
    connections: Vec<(TcpStream, T)>,
    settings: Settings,
) -> anyhow::Result<Vec<T::Outcome>> {
    let mut shares: Vec<Vec<_>> = (0..settings.threads).map(|_| Vec::new()).collect();
    for (n, connection) in connections.into_iter().enumerate() {
        shares[n % settings.threads].push(connection);
    }
    let threads: Vec<_> = shares
        .into_iter()
        .map(|share| thread::spawn(move || drive_here(share, settings)))
        .collect();
    let mut outcomes = Vec::new();
    for thread in threads {
        let share = thread.join().map_err(|_| anyhow!("a generator panicked"))?;
        outcomes.extend(share.context("a connection failed at the sending end")?);
    }
    Ok(outcomes)
}

/// The settings of a loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// The number of threads, each with its own loop; 1 or more.
    pub(crate) threads: usize,
    /// The bytes of scratch memory per thread.
    pub(crate) room: usize,
    pub(crate) stall: Duration,
}

/// The same without a thread of its own.
pub(crate) fn drive_here<T: Task>(
    connections: Vec<(TcpStream, T)>,
    settings: Settings,
) -> anyhow::Result<Vec<T::Outcome>> {
    let mut turns = Turns::new(settings.room)?;
    for (stream, task) in connections {
        turns.add(stream, task)?;
    }
    let mut outcomes = Vec::new();
    while turns.open > 0 {
        let open = turns.open;
        let stalled = || anyhow!("nothing moved for {:?}, {open} are open", settings.stall);
        let ready = turns.wait(Some(settings.stall))?;
        anyhow::ensure!(!ready.is_empty(), stalled());
        for event in ready {
            if let Some(outcome) = turns.turn(event) {
                outcomes.push(outcome?);
            }
        }
    }
    Ok(outcomes)
}

/// A listening end with many connections on few threads.
pub(crate) struct Sink<O> {
    #[cfg(test)]
    address: SocketAddr,
    outcomes: Outcomes<O>,
    stopping: Arc<AtomicBool>,
    wakers: Vec<Arc<OwnedFd>>,
    threads: Vec<JoinHandle<()>>,
}

impl<O: Send + 'static> Sink<O> {
    /// Listens, and runs the task that `make` returns on each connection.
    pub(crate) fn start<T, F>(
        between: &Between,
        settings: Settings,
        make: F,
    ) -> anyhow::Result<Self>
    where
        T: Task<Outcome = O>,
        F: Fn() -> T + Send + Sync + 'static,
    {
        let listener = server::listen(between)?;
        listener.set_nonblocking(true)?;
        #[cfg(test)]
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let make = Arc::new(make);
        let (sender, outcomes) = channel();
        let mut sink = Self {
            #[cfg(test)]
            address,
            outcomes: Outcomes(outcomes),
            stopping: Arc::clone(&stopping),
            wakers: Vec::new(),
            threads: Vec::new(),
        };
        let mut doors = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in 0..settings.threads {
            let waker = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
            let (door, mailbox) = channel();
            doors.push((door, Arc::clone(&waker)));
            mailboxes.push(mailbox);
            sink.wakers.push(waker);
        }
        // The first thread accepts, and distributes the connections over all threads including itself.
        let mut listener = Some(Front {
            listener,
            doors,
            next: 0,
        });
        for (mailbox, waker) in mailboxes.into_iter().zip(&sink.wakers) {
            let member = Member {
                turns: Turns::new(settings.room)?,
                front: listener.take(),
                mailbox,
                waker: Arc::clone(waker),
                make: Arc::clone(&make),
                sender: sender.clone(),
                stopping: Arc::clone(&stopping),
            };
            member.register()?;
            sink.threads.push(thread::spawn(move || {
                pin::as_listening_end();
                member.run();
            }));
        }
        Ok(sink)
    }

    /// The listen address, with the port that the system selected.
    #[cfg(test)]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Why a connection failed at this end, if one did; the other end may see the failure a little earlier.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        let outcomes = std::iter::from_fn(|| self.outcomes.0.recv_timeout(SOONER).ok());
        outcomes.fuse().find_map(Result::err)
    }

    /// Waits for the results of this number of connections; the first failure ends the wait.
    pub(crate) fn wait(&self, connections: u32, stall: Duration) -> anyhow::Result<Vec<O>> {
        self.outcomes.wait(connections, stall)
    }
}

/// A connection is closed before its result is sent.
const SOONER: Duration = Duration::from_millis(200);

impl<O> Drop for Sink<O> {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        for waker in &self.wakers {
            wake(waker);
        }
        for thread in self.threads.drain(..) {
            // A panic there shows through missing results.
            let _ = thread.join();
        }
    }
}

fn wake(waker: &OwnedFd) {
    // The write fails only if the counter is full, which also wakes the thread.
    let _ = rustix::io::write(waker, &1_u64.to_ne_bytes());
}

/// The listener, and the destinations of accepted connections.
struct Front {
    listener: TcpListener,
    doors: Vec<(Sender<TcpStream>, Arc<OwnedFd>)>,
    next: usize,
}

impl Front {
    /// Accepts all waiting connections and distributes them.
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let (door, waker) = &self.doors[self.next % self.doors.len()];
            self.next += 1;
            // A missing thread has panicked; the missing result shows it.
            let _ = door.send(stream);
            wake(waker);
        }
    }
}

/// One thread of a sink.
struct Member<T: Task, F> {
    turns: Turns<T>,
    front: Option<Front>,
    mailbox: Receiver<TcpStream>,
    waker: Arc<OwnedFd>,
    make: Arc<F>,
    sender: Sender<io::Result<T::Outcome>>,
    stopping: Arc<AtomicBool>,
}

/// The meaning of an event that is not about a connection.
const LISTENER: u64 = u64::MAX;
const WAKER: u64 = u64::MAX - 1;

impl<T: Task, F: Fn() -> T> Member<T, F> {
    fn register(&self) -> io::Result<()> {
        if let Some(front) = &self.front {
            self.turns.watch(&front.listener, LISTENER)?;
        }
        self.turns.watch(&self.waker, WAKER)
    }

    fn run(mut self) {
        while !self.stopping.load(Ordering::Relaxed) {
            if let Err(error) = self.serve() {
                // No thread waits any more after the run has failed elsewhere.
                let _ = self.sender.send(Err(error));
                return;
            }
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        for event in self.turns.wait(None)? {
            match (event.data.u64(), &mut self.front) {
                (LISTENER, Some(front)) => front.accept()?,
                (WAKER, _) => self.take_in()?,
                _ => {
                    let outcome = self.turns.turn(event);
                    let is_outcome =
                        |outcome: &io::Result<_>| !outcome.as_ref().is_ok_and(T::is_nothing);
                    if let Some(outcome) = outcome.filter(is_outcome) {
                        let _ = self.sender.send(outcome);
                    }
                }
            }
        }
        Ok(())
    }

    fn take_in(&mut self) -> io::Result<()> {
        rustix::io::read(&self.waker, &mut [0; 8])?;
        while let Ok(stream) = self.mailbox.try_recv() {
            self.turns.add(stream, (self.make)())?;
        }
        Ok(())
    }
}

/// The connections of one thread.
struct Turns<T> {
    epoll: OwnedFd,
    connections: Vec<Option<Connection<T>>>,
    /// Empty positions in `connections`.
    free: Vec<usize>,
    open: usize,
    room: Vec<u8>,
}

struct Connection<T> {
    stream: TcpStream,
    task: T,
    wants: EventFlags,
}

/// The number of events that are read from the kernel at once.
const EVENTS_MAX: usize = 256;

impl<T: Task> Turns<T> {
    fn new(room: usize) -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            free: Vec::new(),
            open: 0,
            room: vec![0; room],
        })
    }

    fn watch(&self, source: impl AsFd, number: u64) -> io::Result<()> {
        let data = EventData::new_u64(number);
        Ok(epoll::add(&self.epoll, source, data, EventFlags::IN)?)
    }

    fn add(&mut self, stream: TcpStream, task: T) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let wants = task.wants();
        let place = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let data = EventData::new_u64(place as u64);
        epoll::add(&self.epoll, &stream, data, wants)?;
        self.connections[place] = Some(Connection {
            stream,
            task,
            wants,
        });
        self.open += 1;
        Ok(())
    }

    /// The ready events; none after the timeout.
    fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Event>> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
                Ok(_) => return Ok(events),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Serves a connection once. `Some` when it has ended, which closes it.
    fn turn(&mut self, event: Event) -> Option<io::Result<T::Outcome>> {
        let place = usize::try_from(event.data.u64()).ok()?;
        let connection = self.connections.get_mut(place)?.as_mut()?;
        let outcome = connection.turn(&self.epoll, event.flags, place, &mut self.room);
        let outcome = outcome.transpose()?;
        // Closing a connection removes it from the epoll instance.
        self.connections[place] = None;
        self.free.push(place);
        self.open -= 1;
        Some(outcome)
    }
}

impl<T: Task> Connection<T> {
    fn turn(
        &mut self,
        epoll: &OwnedFd,
        ready: EventFlags,
        place: usize,
        room: &mut [u8],
    ) -> io::Result<Option<T::Outcome>> {
        // The next read or write returns the error.
        let failed = EventFlags::ERR | EventFlags::HUP;
        let ready = if ready.intersects(failed) {
            self.wants
        } else {
            ready
        };
        let outcome = self.task.turn(&self.stream, ready, room)?;
        let wants = self.task.wants();
        if outcome.is_none() && wants != self.wants {
            let data = EventData::new_u64(place as u64);
            epoll::modify(epoll, &self.stream, data, wants)?;
            self.wants = wants;
        }
        Ok(outcome)
    }
}
