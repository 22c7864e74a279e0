//! Opening: from TLS to the plain side.

use std::cell::{Cell, RefCell};
use std::io;

use super::engine::Engine;
use super::link::{Link, reset};
use super::seal::{Outlet, room_later, write};
use crate::audit::{Party, Reason};
use crate::buffers::{Appetite, Buffer, Pool, Size, Talker};
use crate::metrics::Counter;
use crate::tls::session::Opened;
use crate::uring::{Patience, Socket};

/// Records received and payload opened that has not moved on yet.
pub(super) struct Held {
    // What was received. Payload that was opened in place is among its parts.
    incoming: Option<Buffer>,
    // Payload that lies elsewhere.
    payload: Option<Buffer>,
    appetite: Appetite,
}

/// What opening has come to, and why it stopped.
#[derive(Debug)]
pub(super) enum Cut {
    /// The socket failed.
    Socket(io::Error),
    /// The stream ended without close_notify.
    Truncated,
    /// A record was wrong, or an alert came.
    Records(rustls::Error),
}

impl Held {
    /// Begins with what was received behind the handshake, and payload of it that is opened already.
    pub(super) fn new(incoming: Buffer, early: Vec<u8>, talker: Talker) -> Self {
        Self {
            incoming: Some(incoming).filter(|buffer| !buffer.is_empty()),
            payload: Some(Buffer::of(early)).filter(|buffer| buffer.parts() > 0),
            appetite: Appetite::new(talker),
        }
    }

    /// Receives and opens until there is payload (true) or the peer's orderly end (false).
    pub(super) async fn first<F: Socket>(
        &mut self,
        far: &F,
        engine: &RefCell<Engine>,
        pool: &Pool,
    ) -> Result<bool, Cut> {
        loop {
            if self.payload().is_some() {
                return Ok(true);
            }
            let mut answer = Vec::new();
            let opened = self.open(engine, pool, &mut answer);
            // Before the alert too, if there is one to come: it was sealed before.
            let all = 0..answer.len();
            let sent = far.write_all(answer, all).await.0;
            let opened = opened?;
            sent.map_err(Cut::Socket)?;
            match opened {
                _ if self.payload().is_some() => {}
                Opened::Closed => return Ok(false),
                Opened::Full => {}
                Opened::NeedBytes => self.receive(far, None::<&F>, pool).await?,
            }
        }
    }

    /// Moves payload that was opened behind `there`.
    pub(super) fn move_payload(&mut self, there: &mut Vec<u8>) {
        while let Some(payload) = self.payload() {
            payload.move_outgoing(there);
        }
    }

    /// Gives payload back that was moved out, to be delivered before all that is to come.
    pub(super) fn hold(&mut self, payload: Vec<u8>) {
        if payload.is_empty() {
            return;
        }
        debug_assert!(self.payload().is_none(), "payload in front of payload");
        self.payload = Some(Buffer::of(payload));
    }

    // The payload that is to be delivered next.
    fn payload(&mut self) -> Option<&mut Buffer> {
        let held = [&mut self.payload, &mut self.incoming];
        held.into_iter().flatten().find(|buffer| buffer.parts() > 0)
    }

    fn open(
        &mut self,
        engine: &RefCell<Engine>,
        pool: &Pool,
        answer: &mut Vec<u8>,
    ) -> Result<Opened, Cut> {
        let mut none = Buffer::with_room(0);
        let incoming = self.incoming.as_mut().unwrap_or(&mut none);
        let mut engine = engine.borrow_mut();
        let opened = engine.open(incoming, &mut self.payload, pool, answer);
        opened.map_err(Cut::Records)
    }

    // Nothing is held while idle.
    fn let_go(&mut self) {
        self.payload = None;
        self.incoming = self.incoming.take().filter(|incoming| !incoming.is_empty());
    }

    // The beginning of a record moves to a small buffer, where the rest of it may be long in coming.
    fn shrink(&mut self, pool: &Pool) {
        if let Some(incoming) = &mut self.incoming
            && incoming.memory() > Size::Small.room()
            && incoming.filled().len() < Size::Small.room()
        {
            let mut small = pool.take(Size::Small);
            small.append(incoming.filled());
            *incoming = small;
        }
    }

    // Receives what `near` will get, where it is there already.
    async fn receive<F: Socket, N: Socket>(
        &mut self,
        far: &F,
        near: Option<&N>,
        pool: &Pool,
    ) -> Result<(), Cut> {
        self.let_go();
        if pool.is_in_demand() {
            self.shrink(pool);
        }
        far.readable().await.map_err(Cut::Socket)?;
        let most = match near.filter(|_| self.appetite.is_bulk()) {
            Some(near) => match near.send_room() {
                0 => {
                    self.shrink(pool);
                    room_later(near).await
                }
                room => room,
            },
            None => 0,
        };
        let size = self.appetite.size(pool);
        let mut incoming = match self.incoming.take() {
            Some(incoming) => with_room(incoming, pool, size, most),
            None => pool.take_within(size, most),
        };
        let (bytes, room) = incoming.lend_spare();
        let spare = room.len();
        if spare == 0 {
            return Err(Cut::Records(rustls::Error::General(
                "record without an end".into(),
            )));
        }
        let (outcome, bytes) = far.read_some(bytes, room).await;
        incoming.restore(bytes);
        match outcome.map_err(Cut::Socket)? {
            0 => Err(Cut::Truncated),
            count => {
                self.appetite.ate(count, spare, pool);
                incoming.fill(count);
                self.incoming = Some(incoming);
                Ok(())
            }
        }
    }
}

// The beginning of a record moves to the front, so that the rest of it has room behind it. It moves to
// another buffer where that is larger: what the handshake left may stand in one too small for a
// record, and bulk begins in a small one.
fn with_room(mut incoming: Buffer, pool: &Pool, size: Size, most: usize) -> Buffer {
    incoming.compact();
    let room = size.room().min(most.max(Size::Small.room()));
    if incoming.memory() < room {
        let mut other = pool.take_within(size, most);
        if other.memory() > incoming.memory() {
            other.append(incoming.filled());
            return other;
        }
    }
    incoming.limit(room);
    incoming
}

/// What the opening direction needs beside the link.
pub(super) struct Opening<'c> {
    pub(super) engine: &'c RefCell<Engine>,
    pub(super) outlet: &'c Outlet,
    pub(super) pool: &'c Pool,
    pub(super) bytes: &'c Cell<u64>,
    pub(super) counter: &'c Counter,
    pub(super) explain: &'c dyn Fn(&rustls::Error) -> Reason,
}

impl Opening<'_> {
    /// Moves payload until the peer says close_notify or something fails; the link knows which.
    pub(super) async fn run<N: Socket, F: Socket>(&self, link: &Link<N, F>, held: &mut Held) {
        let outcome = self.pump(link, held).await;
        self.outlet.opening_ended();
        match outcome {
            Ok(()) => {}
            Err(Cut::Socket(error)) => link.fail(Party::TlsPeer, reset(&error)),
            // Many peers close without a word after the release of an association.
            Err(Cut::Truncated) if link.is_over() => self.finish(link),
            Err(Cut::Truncated) => link.fail(Party::TlsPeer, Reason::Truncated),
            Err(Cut::Records(error)) => {
                link.note(Party::TlsPeer, (self.explain)(&error));
                // The plain side learns of it at once, the peer by an alert.
                link.end_near(None);
                Box::pin(self.outlet.last_words(link, self.engine)).await;
            }
        }
        if link.is_parting() {
            // The sealing direction receives, and nothing may ever come.
            Box::pin(self.outlet.parted(link)).await;
        }
    }

    async fn pump<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        held: &mut Held,
    ) -> Result<(), Cut> {
        let mut answer = Vec::new();
        // What was opened before this direction ran comes first.
        self.deliver(link, held).await;
        while !link.failed() {
            let opened = held.open(self.engine, self.pool, &mut answer);
            if opened.is_err() {
                self.outlet.owe(&mut answer);
            }
            let opened = opened?;
            self.outlet.post(link, self.engine, &mut answer).await;
            self.deliver(link, held).await;
            match opened {
                _ if link.failed() => return Ok(()),
                Opened::Full => {}
                Opened::NeedBytes => held.receive(&link.far, Some(&link.near), self.pool).await?,
                Opened::Closed => {
                    self.finish(link);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    // close_notify becomes FIN; the other direction may go on.
    fn finish<N: Socket, F: Socket>(&self, link: &Link<N, F>) {
        match link.near.finish() {
            Ok(()) => link.finish(Party::TlsPeer),
            Err(error) => link.fail(Party::PlainSide, reset(&error)),
        }
    }

    async fn deliver<N: Socket, F: Socket>(&self, link: &Link<N, F>, held: &mut Held) {
        while let Some(payload) = held.payload()
            && !link.failed()
        {
            if !link.see_for_near(payload.outgoing_parts()) {
                return;
            }
            let count = payload.outgoing() as u64;
            match write(link, &link.near, payload).await {
                Ok(()) => {
                    link.answer();
                    self.bytes.set(self.bytes.get().saturating_add(count));
                    self.counter.add(count);
                }
                Err(error) => link.fail(Party::PlainSide, reset(&error)),
            }
        }
    }
}
