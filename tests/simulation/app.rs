//! The applications at both ends: what they send, how they read and end, and what they saw.

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

/// The behaviour of an application.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// The number of bytes to send.
    pub(crate) amount: u64,
    /// The maximum number of bytes that it sends or reads at once.
    pub(crate) chunk_max: usize,
    /// The maximum pause between chunks.
    pub(crate) think_max: Duration,
    /// The direction that it handles first.
    pub(crate) order: Order,
    /// When it ends its own direction.
    pub(crate) end: End,
    /// When it resets the connection, whatever its state.
    pub(crate) leaves_at: Option<Duration>,
    /// The number of bytes after which it resets the connection.
    pub(crate) leaves_behind: Option<u64>,
    /// How long it keeps its socket open after a PDU that ends the association.
    pub(crate) stays: Duration,
}

/// The direction that an application handles first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Both at once.
    Both,
    /// It sends everything before it reads.
    SendThenReceive,
    /// It reads to the end before it sends.
    ReceiveThenSend,
}

/// When an application ends its own direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// When it has sent everything.
    Finish,
    /// When the other side has ended its direction, and everything is sent.
    AfterPeer,
    /// Never: it waits for the end of the connection.
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

/// The actions and observations of an application.
#[derive(Debug, Clone, Default)]
pub(crate) struct ApplicationReport {
    /// The bytes that its socket accepted.
    pub(crate) sent: u64,
    /// It ended its direction cleanly.
    pub(crate) finished: bool,
    /// It reset the connection by itself.
    pub(crate) left: bool,
    /// The bytes that it read.
    pub(crate) received: u64,
    /// The position of the first byte that differs from what the other end sent.
    pub(crate) altered: Option<u64>,
    /// The bytes of an A-ASSOCIATE-RJ or A-ABORT that it read between two PDUs, or instead of the first.
    pub(crate) closing_pdu: Vec<u8>,
    /// It read a clean end of the other side.
    pub(crate) ended: bool,
    /// The failure came from a send, so it did not read the bytes that may have been received.
    pub(crate) gave_up: bool,
    /// The failure that it saw: a reset of the connection, or a PDU of the gateway.
    pub(crate) failure: Option<io::ErrorKind>,
}

impl ApplicationReport {
    /// Both directions ended cleanly as far as it saw, so it closed.
    pub(crate) fn is_over(&self) -> bool {
        self.finished && self.ended
    }
}

/// Runs an application to its end. `streams` are the bytes that it sends and those that it expects.
pub(crate) async fn run(
    world: Rc<World>,
    socket: SimSocket,
    script: Script,
    streams: [Payload; 2],
) -> ApplicationReport {
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
    story: RefCell<ApplicationReport>,
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

    // An association continues after the other side has opened it as well.
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
            .map(|at| self.streams[0].byte(at))
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
                Ok(0) if !self.story.borrow().closing_pdu.is_empty() => {
                    self.received_closing_pdu().await;
                }
                Ok(0) => {
                    self.story.borrow_mut().ended = true;
                    self.changed.notify_one();
                }
                Ok(count) => {
                    self.check_received(&room[..count]);
                    self.changed.notify_one();
                }
                Err(error) => self.broke(&error),
            }
            self.think().await;
        }
    }

    fn check_received(&self, bytes: &[u8]) {
        let mut story = self.story.borrow_mut();
        for byte in bytes {
            let expected = self.streams[1].byte(story.received);
            let is_between = self.streams[1].is_between(story.received);
            let may_be_closing_pdu = is_between && *byte != expected && matches!(byte, 3 | 7);
            if may_be_closing_pdu || !story.closing_pdu.is_empty() {
                story.closing_pdu.push(*byte);
                continue;
            }
            if *byte != expected {
                let place = story.received;
                story.altered.get_or_insert(place);
            }
            story.received += 1;
        }
    }

    // Incomplete PDUs, or others than these, are an altered stream.
    async fn received_closing_pdu(&self) {
        let is_good = matches!(
            self.story.borrow().closing_pdu[..],
            [3, 0, 0, 0, 0, 4, 0, 1 | 2, 1..=3, _] | [7, 0, 0, 0, 0, 4, 0, 0, 2, _]
        );
        if !is_good {
            let mut story = self.story.borrow_mut();
            story.altered = Some(story.received);
            story.ended = true;
            return;
        }
        self.story.borrow_mut().failure = Some(io::ErrorKind::ConnectionAborted);
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
        !story.left && story.failure.is_none()
    }

    fn leave(&self) {
        if self.is_there() {
            self.story.borrow_mut().left = true;
            self.end();
        }
    }

    // A failure in one direction ends the connection, as for any application.
    fn broke(&self, error: &io::Error) {
        if self.is_there() {
            self.story.borrow_mut().failure = Some(error.kind());
            self.end();
        }
    }

    fn end(&self) {
        self.socket.abort();
        self.changed.notify_one();
    }
}
