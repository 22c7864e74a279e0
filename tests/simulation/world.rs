//! What all parties of one simulated run share: chance, faults, the account of operations, and what
//! was seen to be wrong.
//!
//! The clock is tokio's, paused: it moves when every task waits, and then to the next thing that
//! happens. Nothing here depends on the time of day or on the machine, so a seed replays.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::{Instant, sleep};

use crate::random::Random;
use crate::wire::Nature;

/// What a gateway asks of its sockets and of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// `Socket::read`.
    Read,
    /// `Socket::write`.
    Write,
    /// `Socket::splice_in`.
    SpliceIn,
    /// `Socket::splice_out`.
    SpliceOut,
    /// `Socket::wait_readable`.
    WaitReadable,
    /// `Socket::wait_writable`.
    WaitWritable,
    /// `Socket::wait_connected`.
    WaitConnected,
    /// `Socket::finish`.
    Finish,
    /// `Network::connect`.
    Connect,
    /// `Network::pipe`.
    Pipe,
    /// `Network::resolve`.
    Resolve,
}

impl Verb {
    // Those that do not end a connection by a failure that passes by itself.
    fn is_retried(self) -> bool {
        matches!(
            self,
            Self::Read
                | Self::Write
                | Self::SpliceIn
                | Self::SpliceOut
                | Self::Pipe
                | Self::WaitReadable
                | Self::WaitWritable
        )
    }
}

/// How operations of the gateways fail. Applications never fail by themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// Of a thousand operations that are retried, so many fail for a moment.
    pub(crate) passing_per_mille: u64,
    /// This operation, counted from 1 over all gateways, fails.
    pub(crate) at: Option<(u64, Fault)>,
}

/// One failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What the system says.
    pub(crate) cause: Errno,
    /// Whether it says so from then on, to this verb on this socket.
    pub(crate) lasts: bool,
}

/// What passes by itself.
pub(crate) const PASSING: [Errno; 4] = [Errno::INTR, Errno::AGAIN, Errno::NOBUFS, Errno::NOMEM];

/// Ways to make the gateways' sockets wrong, to see that the oracle notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// `abort` ends in order, as `finish` does.
    AbortsInOrder,
    /// The last write before `finish` is not sent, though it says so.
    LosesLastWrite,
    /// Now and then a write is sent twice.
    SendsTwice,
    /// Now and then an octet is altered on its way to the application.
    Alters,
    /// All that was sent seems to be delivered at once.
    HidesQueue,
    /// A read says "end" where the connection was reset.
    ReadsResetAsEnd,
}

/// See the module.
pub(crate) struct World {
    /// Chance. Drawn from in the order of events, which itself follows from it.
    pub(crate) random: RefCell<Random>,
    /// How operations fail.
    pub(crate) faults: Faults,
    /// How the gateways' sockets are wrong.
    pub(crate) flaw: Option<Flaw>,
    /// What each wire is like: from application A to the first gateway, and so on.
    pub(crate) natures: Vec<Nature>,
    start: Instant,
    operations: Cell<u64>,
    sockets: Cell<usize>,
    lasting: RefCell<Vec<(usize, Verb, Errno)>>,
    violations: RefCell<Vec<String>>,
    is_over: Cell<bool>,
    trace: Cell<u64>,
    is_shown: bool,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        faults: Faults,
        flaw: Option<Flaw>,
        natures: Vec<Nature>,
    ) -> Rc<Self> {
        Rc::new(Self {
            random: RefCell::new(Random::new(seed)),
            faults,
            flaw,
            natures,
            start: Instant::now(),
            operations: Cell::new(0),
            sockets: Cell::new(0),
            lasting: RefCell::default(),
            violations: RefCell::default(),
            is_over: Cell::new(false),
            trace: Cell::new(0),
            is_shown: std::env::var_os("WARDGATE_SEED").is_some(),
        })
    }

    /// A number for a new socket.
    pub(crate) fn number(&self) -> usize {
        self.sockets.set(self.sockets.get() + 1);
        self.sockets.get()
    }

    /// Counts an operation of a gateway and says whether it is to fail.
    pub(crate) fn operation(&self, socket: usize, verb: Verb) -> Option<Errno> {
        let number = self.operations.get() + 1;
        self.operations.set(number);
        if let Some((at, fault)) = self.faults.at
            && at == number
        {
            if fault.lasts {
                let lasting = (socket, verb, fault.cause);
                self.lasting.borrow_mut().push(lasting);
            }
            return Some(fault.cause);
        }
        let lasting = self.lasting.borrow();
        let last = lasting
            .iter()
            .find(|entry| entry.0 == socket && entry.1 == verb);
        if let Some((_, _, cause)) = last {
            return Some(*cause);
        }
        let mut random = self.random.borrow_mut();
        let passes = verb.is_retried() && random.chance(self.faults.passing_per_mille);
        passes.then(|| random.pick(&PASSING))
    }

    /// How many operations the gateways have begun.
    pub(crate) fn operations(&self) -> u64 {
        self.operations.get()
    }

    /// Takes the time that an operation takes: at least a turn, so that others come between.
    pub(crate) async fn pause(&self, nature: &Nature) {
        let (least, most) = nature.pause;
        let pause = {
            let mut random = self.random.borrow_mut();
            let extra = u64::try_from((most - least).as_millis()).expect("pauses are short");
            let sleeps = random.chance(200);
            least + Duration::from_millis(if sleeps { random.below(extra + 1) } else { 0 })
        };
        if pause.is_zero() {
            turn().await;
        } else {
            sleep(pause).await;
        }
    }

    /// Notes something that must not be.
    pub(crate) fn violation(&self, what: String) {
        if !self.is_over.get() {
            self.violations.borrow_mut().push(what);
        }
    }

    /// From here on operations may be dropped: the run is over.
    pub(crate) fn end(&self) -> Vec<String> {
        self.is_over.set(true);
        self.violations.take()
    }

    /// Notes what happened, so that two runs can be compared, and shows it where a seed is replayed.
    pub(crate) fn note(&self, socket: usize, what: &str, outcome: i64) {
        let millis = self.start.elapsed().as_millis();
        let mut hash = self.trace.get();
        let words = [
            socket as u64,
            outcome.cast_unsigned(),
            what.len() as u64,
            millis as u64,
        ];
        for word in words {
            hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.trace.set(hash.rotate_left(7));
        if self.is_shown {
            eprintln!("{millis:>8} ms  socket {socket:<3} {what:<28} {outcome}");
        }
    }

    /// A digest of everything that happened, in its order.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.get()
    }
}

/// Lets every other task that can run do so once.
pub(crate) async fn turn() {
    let mut has_turned = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_turned, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
