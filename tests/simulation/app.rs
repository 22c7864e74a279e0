//! The applications at both ends: what they send, how they read, how they leave, and what they saw.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use gateway::uring::{Socket, race};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::payload::Payload;
use crate::socket::SimSocket;
use crate::world::World;

/// What an application does.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// Bytes that it wants to send.
    pub(crate) amount: u64,
    /// The most that it hands over or takes at once.
    pub(crate) chunk_max: usize,
    /// How long it thinks between chunks at most.
    pub(crate) think_max: Duration,
    /// Which direction it sees to first.
    pub(crate) order: Order,
    /// When it ends its own direction.
    pub(crate) end: End,
    /// When it resets the connection, whatever it was about to do.
    pub(crate) leaves_at: Option<Duration>,
    /// Behind how many bytes it resets the connection.
    pub(crate) leaves_behind: Option<u64>,
    /// How long it keeps its socket open when it was told of the end in words.
    pub(crate) stays: Duration,
}

/// Which direction an application sees to first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Both at once.
    Both,
    /// It sends all before it reads.
    SendThenReceive,
    /// It reads to the end before it sends.
    ReceiveThenSend,
}

/// When an application ends its own direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// When it has sent all.
    Finish,
    /// When the other has ended its direction, and all is sent.
    AfterPeer,
    /// Never: it waits to be told.
    Never,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            amount: 1000,
            chunk_max: 400,
            think_max: Duration::ZERO,
            order: Order::Both,
            end: End::Finish,
            leaves_at: None,
            leaves_behind: None,
            stays: Duration::ZERO,
        }
    }
}

/// What an application did and saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    /// Bytes that its socket took.
    pub(crate) sent: u64,
    /// It ended its direction in order.
    pub(crate) finished: bool,
    /// It reset the connection by itself.
    pub(crate) left: bool,
    /// Bytes that it read.
    pub(crate) received: u64,
    /// The place of the first byte that was not what the other end sent there.
    pub(crate) altered: Option<u64>,
    /// Bytes of an A-ASSOCIATE-RJ or A-ABORT that it read between two PDUs, or instead of the first.
    pub(crate) words: Vec<u8>,
    /// It read the other end's orderly end.
    pub(crate) ended: bool,
    /// That failure came to it as it sent, so it did not read what may have lain there.
    pub(crate) gave_up: bool,
    /// The failure that it saw, were it the reset of the connection or words of the gateway's.
    pub(crate) told: Option<io::ErrorKind>,
}

impl Story {
    /// Both directions ended in order as far as it could see, so it closed and left.
    pub(crate) fn is_over(&self) -> bool {
        self.finished && self.ended
    }
}

/// Runs an application to its end. `streams` are what it sends and what it is to receive.
pub(crate) async fn run(
    world: Rc<World>,
    socket: SimSocket,
    script: Script,
    streams: [Payload; 2],
) -> Story {
    let limit = script.leaves_at.unwrap_or(Duration::MAX);
    let application = Application {
        world,
        socket,
        script,
        streams,
        story: RefCell::default(),
        position: Cell::new(0),
        changed: Notify::new(),
    };
    race(application.both(), limit, || application.leave()).await;
    application.story.take()
}

struct Application {
    world: Rc<World>,
    socket: SimSocket,
    script: Script,
    streams: [Payload; 2],
    story: RefCell<Story>,
    position: Cell<u64>,
    changed: Notify,
}

impl Application {
    async fn both(&self) {
        match self.script.order {
            Order::Both => {
                tokio::join!(self.send(), self.receive());
            }
            Order::SendThenReceive => {
                self.send().await;
                self.receive().await;
            }
            Order::ReceiveThenSend => {
                self.receive().await;
                self.send().await;
            }
        }
    }

    async fn send(&self) {
        while self.is_there() && self.position.get() < self.script.amount {
            if self.may_go_on() {
                self.send_chunk().await;
                self.think().await;
            } else {
                self.changed.notified().await;
            }
        }
        while self.is_there() && !self.may_finish() {
            self.changed.notified().await;
        }
        if self.is_there() {
            match self.socket.finish() {
                Ok(()) => self.story.borrow_mut().finished = true,
                Err(error) => {
                    self.story.borrow_mut().gave_up = self.is_there();
                    self.broke(&error);
                }
            }
        }
    }

    // An association goes on when the other side has opened it too.
    fn may_go_on(&self) -> bool {
        let story = self.story.borrow();
        let is_open = story.received >= self.streams[1].opening();
        is_open || story.ended || self.position.get() < self.streams[0].unasked()
    }

    fn may_finish(&self) -> bool {
        match self.script.end {
            End::Finish => true,
            End::AfterPeer => self.story.borrow().ended,
            End::Never => false,
        }
    }

    async fn send_chunk(&self) {
        let begin = self.position.get();
        let most = usize::try_from(self.script.amount - begin).expect("amounts fit in memory");
        let unasked = self.streams[0].unasked().checked_sub(begin);
        let unasked = unasked.filter(|unasked| *unasked > 0).unwrap_or(u64::MAX);
        let most = most.min(usize::try_from(unasked).unwrap_or(usize::MAX));
        let count = self.chunk().min(most);
        let mut chunk: Vec<_> = (begin..)
            .take(count)
            .map(|at| self.streams[0].octet(at))
            .collect();
        let mut part = 0..count;
        while self.is_there() && !part.is_empty() {
            let (outcome, back) = self.socket.write(chunk, part.clone()).await;
            chunk = back;
            match outcome {
                Ok(sent) => {
                    part.start += sent;
                    self.story.borrow_mut().sent += sent as u64;
                    self.position.set(self.position.get() + sent as u64);
                }
                Err(error) => {
                    self.story.borrow_mut().gave_up = self.is_there();
                    self.broke(&error);
                }
            }
            let behind = self.script.leaves_behind;
            if behind.is_some_and(|behind| self.position.get() >= behind) {
                self.leave();
            }
        }
    }

    async fn receive(&self) {
        let mut room = vec![0; self.script.chunk_max];
        while self.is_there() && !self.story.borrow().ended {
            let most = self.chunk();
            let (outcome, back) = self.socket.read(room, 0..most).await;
            room = back;
            match outcome {
                Ok(0) if !self.story.borrow().words.is_empty() => self.heard_words().await,
                Ok(0) => {
                    self.story.borrow_mut().ended = true;
                    self.changed.notify_one();
                }
                Ok(count) => {
                    self.took(&room[..count]);
                    self.changed.notify_one();
                }
                Err(error) => self.broke(&error),
            }
            self.think().await;
        }
    }

    fn took(&self, bytes: &[u8]) {
        let mut story = self.story.borrow_mut();
        for byte in bytes {
            let expected = self.streams[1].octet(story.received);
            let is_between = self.streams[1].is_between(story.received);
            let may_be_words = is_between && *byte != expected && matches!(byte, 3 | 7);
            if may_be_words || !story.words.is_empty() {
                story.words.push(*byte);
                continue;
            }
            if *byte != expected {
                let place = story.received;
                story.altered.get_or_insert(place);
            }
            story.received += 1;
        }
    }

    // Words that are not whole, or others than these, are no word but an altered stream.
    async fn heard_words(&self) {
        let is_good = matches!(
            self.story.borrow().words[..],
            [3, 0, 0, 0, 0, 4, 0, 1 | 2, 1..=3, _] | [7, 0, 0, 0, 0, 4, 0, 0, 2, _]
        );
        if !is_good {
            let mut story = self.story.borrow_mut();
            story.altered = Some(story.received);
            story.ended = true;
            return;
        }
        self.story.borrow_mut().told = Some(io::ErrorKind::ConnectionAborted);
        self.changed.notify_one();
        sleep(self.script.stays).await;
        self.end();
    }

    fn chunk(&self) -> usize {
        self.world.random.borrow_mut().length(self.script.chunk_max)
    }

    async fn think(&self) {
        let most = u64::try_from(self.script.think_max.as_millis()).expect("short");
        let think = self.world.random.borrow_mut().below(most + 1);
        if think > 0 {
            sleep(Duration::from_millis(think)).await;
        }
    }

    fn is_there(&self) -> bool {
        let story = self.story.borrow();
        !story.left && story.told.is_none()
    }

    fn leave(&self) {
        if self.is_there() {
            self.story.borrow_mut().left = true;
            self.end();
        }
    }

    // A failure on one direction ends the connection, as it does for any application.
    fn broke(&self, error: &io::Error) {
        if self.is_there() {
            self.story.borrow_mut().told = Some(error.kind());
            self.end();
        }
    }

    fn end(&self) {
        self.socket.abort();
        self.changed.notify_one();
    }
}
