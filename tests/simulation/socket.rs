//! The operations in memory: sockets over `wire`, with the pauses, short transfers and failures that `world`
//! decides, and a check of their use by the gateways.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use gateway::uring::{Lent, LookUp, Network, Pipe, SendQueue, Socket, SocketOptions};
use rustix::io::Errno;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use crate::wire::{Progress, Side, Wire};
use crate::world::{Flaw, Verb, World};

/// A wire and the tasks that wait for it to change.
pub(crate) struct Shared {
    pub(crate) wire: RefCell<Wire>,
    changed: Notify,
}

/// One end of a wire.
pub(crate) struct SimSocket {
    world: Rc<World>,
    shared: Rc<Shared>,
    side: Side,
    number: usize,
    // A gateway's socket: its operations fail by plan, and none may be dropped.
    is_watched: bool,
    connecting: Option<(Option<Instant>, bool)>,
    is_reading: Cell<bool>,
    is_writing: Cell<bool>,
    is_waiting_to_write: Cell<bool>,
    has_finished: Cell<bool>,
    // For the fault that loses the last write.
    kept_back: RefCell<Vec<u8>>,
}

/// Both ends of a new wire; a watched end belongs to a gateway.
pub(crate) fn pair(world: &Rc<World>, nature: usize, watched: [bool; 2]) -> [SimSocket; 2] {
    let nature = world.natures[nature].clone();
    let shared = Rc::new(Shared {
        wire: RefCell::new(Wire::new(nature)),
        changed: Notify::new(),
    });
    [0, 1].map(|side| SimSocket {
        world: Rc::clone(world),
        shared: Rc::clone(&shared),
        side,
        number: world.number(),
        is_watched: watched[side],
        connecting: None,
        is_reading: Cell::new(false),
        is_writing: Cell::new(false),
        is_waiting_to_write: Cell::new(false),
        has_finished: Cell::new(false),
        kept_back: RefCell::default(),
    })
}

impl Shared {
    /// Lets the network do something to the wire.
    pub(crate) fn disturb(&self, how: impl FnOnce(&mut Wire)) {
        how(&mut self.wire.borrow_mut());
        self.changed.notify_waiters();
    }
}

impl SimSocket {
    /// The wire, for the network to disturb.
    pub(crate) fn shared(&self) -> Rc<Shared> {
        Rc::clone(&self.shared)
    }

    // Asks until there is a result. Every change of the wire wakes the waiting tasks.
    async fn until<T>(
        &self,
        mut ask: impl FnMut(&mut Wire, Instant) -> Progress<T>,
    ) -> io::Result<T> {
        loop {
            let changed = self.shared.changed.notified();
            let answer = ask(&mut self.shared.wire.borrow_mut(), Instant::now());
            match answer {
                Progress::Ready(outcome) => {
                    self.shared.changed.notify_waiters();
                    return outcome;
                }
                Progress::Wait(None) => changed.await,
                Progress::Wait(Some(at)) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
            }
        }
    }

    // An operation from its beginning to its completion, with time before and after, so that completions come
    // in another order than their causes.
    async fn operate<T>(
        &self,
        verb: Verb,
        ask: impl FnMut(&mut Wire, Instant) -> Progress<T>,
    ) -> io::Result<T> {
        let flight = self.take_off(verb);
        let fault = match self.is_watched {
            true => self.world.operation(self.number, verb),
            false => None,
        };
        self.pause().await;
        let outcome = match fault {
            Some(cause) => Err(cause.into()),
            None => {
                let outcome = self.until(ask).await;
                self.pause().await;
                outcome
            }
        };
        flight.land();
        outcome
    }

    async fn pause(&self) {
        let nature = self.shared.wire.borrow().nature.clone();
        self.world.pause(&nature).await;
    }

    fn take_off(&self, verb: Verb) -> Flight<'_> {
        let flag = match verb {
            Verb::Write | Verb::SpliceOut => &self.is_writing,
            Verb::WaitWritable => &self.is_waiting_to_write,
            _ => &self.is_reading,
        };
        if flag.replace(true) {
            let what = format!("socket {}: two {verb:?} in flight at a time", self.number);
            self.world.violation(what);
        }
        Flight {
            socket: self,
            verb,
            flag,
            has_landed: false,
        }
    }

    fn note_outcome<T>(
        &self,
        what: &str,
        outcome: &io::Result<T>,
        count: impl FnOnce(&T) -> usize,
    ) {
        let outcome = match outcome {
            Ok(value) => i64::try_from(count(value)).expect("lengths fit"),
            Err(error) => -i64::from(error.raw_os_error().unwrap_or(1)),
        };
        self.world.note(self.number, what, outcome);
    }

    fn has_flaw(&self, flaw: Flaw) -> bool {
        self.is_watched && self.world.flaw == Some(flaw)
    }

    fn now_and_then(&self, flaw: Flaw) -> bool {
        self.has_flaw(flaw) && self.world.random.borrow_mut().chance(100)
    }

    fn put(&self, wire: &mut Wire, bytes: &[u8], now: Instant) -> Progress<usize> {
        let random = &mut *self.world.random.borrow_mut();
        wire.write(self.side, bytes, now, random)
    }

    // The effect of the faults on a write.
    fn put_flawed(&self, wire: &mut Wire, bytes: &[u8], now: Instant) -> Progress<usize> {
        if self.has_flaw(Flaw::LosesLastWrite) {
            let before = self.kept_back.replace(bytes.to_vec());
            if !before.is_empty() {
                let _ = self.put(wire, &before, now);
            }
            return Progress::Ready(Ok(bytes.len()));
        }
        if self.now_and_then(Flaw::SendsTwice) {
            let _ = self.put(wire, bytes, now);
        }
        self.put(wire, bytes, now)
    }
}

impl SimSocket {
    // Like splice(2), without waiting.
    fn pour_into(&self, pipe: &SimPipe) -> io::Result<usize> {
        if pipe.held() > 0 {
            let what = format!("socket {}: the pipe is not empty", self.number);
            self.world.violation(what);
        }
        if self.is_reading.get() {
            let what = format!("socket {}: a splice beside a read", self.number);
            self.world.violation(what);
        }
        let mut bytes = vec![0; self.world.random.borrow_mut().length(PIPE_ROOM)];
        let progress = {
            let random = &mut *self.world.random.borrow_mut();
            let mut wire = self.shared.wire.borrow_mut();
            wire.read(self.side, &mut bytes, Instant::now(), random)
        };
        let outcome = match progress {
            Progress::Ready(Err(_)) if self.has_flaw(Flaw::ReadsResetAsEnd) => Ok(0),
            Progress::Ready(outcome) => outcome,
            Progress::Wait(_) => Err(Errno::AGAIN.into()),
        };
        bytes.truncate(*outcome.as_ref().unwrap_or(&0));
        if self.now_and_then(Flaw::Alters)
            && let Some(first) = bytes.first_mut()
        {
            *first ^= 1;
        }
        self.shared.changed.notify_waiters();
        pipe.0.replace(bytes);
        outcome
    }
}

/// Holds bytes between two sockets.
#[derive(Debug, Default)]
pub(crate) struct SimPipe(RefCell<Vec<u8>>);

/// Small, so that a long stream fills a pipe.
const PIPE_ROOM: usize = 128 << 10;

impl Pipe for SimPipe {
    fn held(&self) -> usize {
        self.0.borrow().len()
    }
}

impl Socket for SimSocket {
    type Pipe = SimPipe;

    async fn read(&self, mut bytes: Vec<u8>, room: Range<usize>) -> (io::Result<usize>, Vec<u8>) {
        let into = bytes.get_mut(room).expect("the room is in the buffer");
        let mut outcome = self
            .operate(Verb::Read, |wire, now| {
                let random = &mut *self.world.random.borrow_mut();
                wire.read(self.side, into, now, random)
            })
            .await;
        if self.has_flaw(Flaw::ReadsResetAsEnd) && outcome.is_err() {
            outcome = Ok(0);
        }
        if self.now_and_then(Flaw::Alters)
            && let Some(first) = into.first_mut()
        {
            *first ^= 1;
        }
        self.note_outcome("read", &outcome, |count| *count);
        (outcome, bytes)
    }

    async fn write(&self, bytes: Vec<u8>, part: Range<usize>) -> (io::Result<usize>, Vec<u8>) {
        let from = bytes.get(part).expect("the part is in the buffer");
        let ask = |wire: &mut Wire, now| self.put_flawed(wire, from, now);
        let outcome = self.operate(Verb::Write, ask).await;
        self.note_outcome("write", &outcome, |count| *count);
        (outcome, bytes)
    }

    async fn readv(&self, (mut bytes, parts): Lent) -> (io::Result<usize>, Lent) {
        let room = parts.iter().map(ExactSizeIterator::len).sum();
        let (outcome, received) = self.read(vec![0; room], 0..room).await;
        let places = parts.iter().flat_map(Clone::clone);
        let count = *outcome.as_ref().unwrap_or(&0);
        for (place, byte) in places.zip(received.iter().take(count)) {
            bytes[place] = *byte;
        }
        (outcome, (bytes, parts))
    }

    async fn writev(&self, (bytes, parts): Lent) -> (io::Result<usize>, Lent) {
        let whole: Vec<u8> = parts
            .iter()
            .flat_map(|part| &bytes[part.clone()])
            .copied()
            .collect();
        let all = 0..whole.len();
        let (outcome, _) = self.write(whole, all).await;
        (outcome, (bytes, parts))
    }

    fn splice_in(&self, pipe: &SimPipe) -> io::Result<usize> {
        let outcome = match self.world.operation(self.number, Verb::SpliceIn) {
            Some(cause) => Err(cause.into()),
            None => self.pour_into(pipe),
        };
        self.note_outcome("splice_in", &outcome, |count| *count);
        outcome
    }

    async fn splice_out(&self, pipe: &SimPipe) -> io::Result<usize> {
        let bytes = pipe.0.borrow().clone();
        if bytes.is_empty() {
            let what = format!("socket {}: nothing in the pipe", self.number);
            self.world.violation(what);
        }
        let ask = |wire: &mut Wire, now| self.put_flawed(wire, &bytes, now);
        let outcome = self.operate(Verb::SpliceOut, ask).await;
        if let Ok(count) = outcome {
            pipe.0.borrow_mut().drain(..count);
        }
        self.note_outcome("splice_out", &outcome, |count| *count);
        outcome
    }

    // Wires have no delayed acknowledgements.
    fn acknowledge(&self) {}

    fn send_now(&self, bytes: &[u8]) -> io::Result<()> {
        if self.is_writing.get() {
            let what = format!("socket {}: send_now during a write", self.number);
            self.world.violation(what);
        }
        let sent = {
            let mut wire = self.shared.wire.borrow_mut();
            self.put(&mut wire, bytes, Instant::now())
        };
        self.shared.changed.notify_waiters();
        let outcome = match sent {
            Progress::Ready(Ok(count)) if count == bytes.len() => Ok(()),
            Progress::Ready(Err(error)) => Err(error),
            Progress::Ready(Ok(_)) | Progress::Wait(_) => Err(io::ErrorKind::WriteZero.into()),
        };
        self.note_outcome("send_now", &outcome, |()| bytes.len());
        outcome
    }

    fn send_queue(&self) -> io::Result<SendQueue> {
        if self.has_flaw(Flaw::HidesQueue) {
            return Ok(SendQueue {
                has_ended: true,
                ..SendQueue::default()
            });
        }
        let wire = self.shared.wire.borrow();
        Ok(wire.send_queue(self.side, Instant::now()))
    }

    // Dead wires end by themselves.
    fn set_user_timeout(&self, _: Option<Duration>) {}

    async fn wait_readable(&self) -> io::Result<()> {
        let ask = |wire: &mut Wire, now| wire.readable(self.side, now);
        let outcome = self.operate(Verb::WaitReadable, ask).await;
        self.note_outcome("wait_readable", &outcome, |()| 0);
        outcome
    }

    fn send_room(&self) -> usize {
        let wire = self.shared.wire.borrow();
        match wire.send_room(self.side, Instant::now()) {
            Progress::Ready(room) => room.unwrap_or(usize::MAX),
            Progress::Wait(_) => 0,
        }
    }

    async fn wait_writable(&self) -> io::Result<()> {
        let ask = |wire: &mut Wire, now| match wire.send_room(self.side, now) {
            Progress::Ready(_) => Progress::Ready(Ok(())),
            Progress::Wait(at) => Progress::Wait(at),
        };
        let outcome = self.operate(Verb::WaitWritable, ask).await;
        self.note_outcome("wait_writable", &outcome, |()| 0);
        outcome
    }

    async fn wait_connected(&self) -> io::Result<()> {
        let (ready, is_refused) = self.connecting.expect("the socket was made by connect");
        let ask = |wire: &mut Wire, now| match ready {
            _ if wire.is_aborted(self.side) => Progress::Ready(Err(Errno::CONNRESET.into())),
            Some(at) if at > now => Progress::Wait(Some(at)),
            Some(_) if is_refused => Progress::Ready(Err(Errno::CONNREFUSED.into())),
            Some(_) => Progress::Ready(Ok(())),
            None => Progress::Wait(None),
        };
        let outcome = self.operate(Verb::WaitConnected, ask).await;
        self.note_outcome("wait_connected", &outcome, |()| 0);
        outcome
    }

    fn finish(&self) -> io::Result<()> {
        let fault = match self.is_watched {
            true => self.world.operation(self.number, Verb::Finish),
            false => None,
        };
        let random = &mut *self.world.random.borrow_mut();
        let outcome = match fault {
            Some(cause) => Err(cause.into()),
            None => {
                let mut wire = self.shared.wire.borrow_mut();
                wire.finish(self.side, Instant::now(), random)
            }
        };
        self.has_finished.set(outcome.is_ok());
        self.shared.changed.notify_waiters();
        self.note_outcome("finish", &outcome, |()| 0);
        outcome
    }

    fn stop_reading(&self) {
        self.shared.disturb(|wire| wire.stop_reading(self.side));
        self.world.note(self.number, "stop_reading", 0);
    }

    fn abort(&self) {
        let mut wire = self.shared.wire.borrow_mut();
        let random = &mut *self.world.random.borrow_mut();
        let now = Instant::now();
        if self.has_flaw(Flaw::AbortsInOrder) {
            wire.abort_in_order(self.side, now, random);
        } else {
            wire.abort(self.side, now, random);
        }
        self.shared.changed.notify_waiters();
        self.world.note(self.number, "abort", 0);
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        if self.is_watched && !self.has_finished.get() {
            // The contract of `Socket`; applications close like the system does.
            return self.abort();
        }
        let mut wire = self.shared.wire.borrow_mut();
        let random = &mut *self.world.random.borrow_mut();
        wire.close(self.side, Instant::now(), random);
        self.shared.changed.notify_waiters();
        self.world.note(self.number, "close", 0);
    }
}

/// An operation in progress. A gateway that drops one loses its result.
struct Flight<'s> {
    socket: &'s SimSocket,
    verb: Verb,
    flag: &'s Cell<bool>,
    has_landed: bool,
}

impl Flight<'_> {
    fn land(mut self) {
        self.has_landed = true;
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.flag.set(false);
        let is_watched = self.socket.is_watched && !std::thread::panicking();
        if !self.has_landed && is_watched {
            let (number, verb) = (self.socket.number, self.verb);
            let what = format!("socket {number}: a {verb:?} in flight was dropped");
            self.socket.world.violation(what);
        }
    }
}

/// The access of a gateway to the network; its connections are wires of this nature.
pub(crate) struct Arrival {
    /// Whose port it is for.
    pub(crate) port: u16,
    /// When it is there.
    pub(crate) at: Instant,
    /// The accepted end.
    pub(crate) socket: SimSocket,
}

/// What a gateway reaches the network by; its connections are wires of this nature.
pub(crate) struct SimNetwork {
    pub(crate) world: Rc<World>,
    pub(crate) nature: usize,
    /// Where connections are announced.
    pub(crate) arrivals: mpsc::UnboundedSender<Arrival>,
}

/// No program listens here: a connection is refused.
pub(crate) const REFUSING_PORT: u16 = 1;

/// No host answers here.
pub(crate) const SILENT_PORT: u16 = 2;

/// The application after the last gateway.
pub(crate) const APPLICATION_PORT: u16 = 104;

/// Gateways listen here, each at its position in the chain above the first.
pub(crate) const GATEWAY_PORT: u16 = 2762;

/// A name that cannot be resolved.
pub(crate) const UNKNOWN_NAME: &str = "unknown.example";

/// A name with an address that never answers before the right one.
pub(crate) const HALF_SILENT_NAME: &str = "half-silent.example";

/// A name with an address that answers late before the right one, so that both are tried.
pub(crate) const HALF_SLOW_NAME: &str = "half-slow.example";

/// No host answers here, on any port.
const SILENT_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The program at `Ipv4Addr::LOCALHOST` also answers here, but later.
const SLOW_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

impl Network for SimNetwork {
    type Socket = SimSocket;

    fn connect(&self, to: SocketAddr, _: &SocketOptions) -> io::Result<SimSocket> {
        if let Some(cause) = self.world.operation(0, Verb::Connect) {
            return Err(cause.into());
        }
        let port = to.port();
        let watched = [true, port != APPLICATION_PORT];
        let [mut ours, theirs] = pair(&self.world, self.nature, watched);
        let is_silent = port == SILENT_PORT || to.ip() == SILENT_ADDRESS;
        let round_trip = match to.ip() == SLOW_ADDRESS {
            // After 250 ms the next address is tried; one that answers within 50 ms then comes first.
            true => self.world.random.borrow_mut().pick(&[100, 200, 301, 400]),
            false => self.world.random.borrow_mut().below(50),
        };
        let at = Instant::now() + Duration::from_millis(round_trip);
        ours.connecting = Some(((!is_silent).then_some(at), port == REFUSING_PORT));
        self.world.note(ours.number, "connect", port.into());
        if !is_silent && port != REFUSING_PORT {
            let socket = theirs;
            // The task that accepts arrivals runs until the run is over.
            let _ = self.arrivals.send(Arrival { port, at, socket });
        }
        Ok(ours)
    }

    fn pipe(&self) -> io::Result<SimPipe> {
        match self.world.operation(0, Verb::Pipe) {
            Some(cause) => Err(cause.into()),
            None => Ok(SimPipe::default()),
        }
    }

    fn resolve(&self, name: &str) -> LookUp {
        let fault = self.world.operation(0, Verb::Resolve);
        let pause = self.world.random.borrow_mut().below(100);
        let is_unknown = name == UNKNOWN_NAME;
        let before = match name {
            HALF_SILENT_NAME => Some(SILENT_ADDRESS),
            HALF_SLOW_NAME => Some(SLOW_ADDRESS),
            _ => None,
        };
        Box::pin(async move {
            sleep(Duration::from_millis(pause)).await;
            match fault {
                Some(cause) => Err(cause.into()),
                None if is_unknown => Err(io::Error::other("name does not exist")),
                None => {
                    let all = before.into_iter().chain([Ipv4Addr::LOCALHOST]);
                    Ok(all.map(IpAddr::V4).collect())
                }
            }
        })
    }
}
