//! Opening: from TLS to the plain side.

use std::cell::{Cell, RefCell};
use std::io;

use super::engine::Engine;
use super::link::{Link, reset};
use super::seal::{Outlet, write};
use crate::audit::{Party, Reason};
use crate::buffers::{Buffer, Pool, Purpose};
use crate::metrics::Counter;
use crate::tls::session::Opened;
use crate::uring::{Patience, Socket};

/// Records received and payload opened that has not moved on yet.
#[derive(Default)]
pub(super) struct Held {
    incoming: Option<Buffer>,
    payload: Option<Buffer>,
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
    /// Begins with what was received behind the handshake.
    pub(super) fn new(incoming: Buffer) -> Self {
        Self {
            incoming: Some(incoming).filter(|buffer| !buffer.is_empty()),
            payload: None,
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
            let mut answer = Vec::new();
            let opened = self.open(engine, pool, &mut answer)?;
            let all = 0..answer.len();
            far.write_all(answer, all).await.0.map_err(Cut::Socket)?;
            if self.payload.is_some() {
                return Ok(true);
            }
            if opened == Opened::Closed {
                return Ok(false);
            }
            self.receive(far, pool).await?;
        }
    }

    fn open(
        &mut self,
        engine: &RefCell<Engine>,
        pool: &Pool,
        answer: &mut Vec<u8>,
    ) -> Result<Opened, Cut> {
        let mut none = Buffer::with_room(0);
        let incoming = self.incoming.as_mut().unwrap_or(&mut none);
        let mut payload = self
            .payload
            .take()
            .unwrap_or_else(|| pool.take(Purpose::Batch));
        let opened = engine.borrow_mut().open(incoming, &mut payload, answer);
        self.payload = Some(payload).filter(|payload| !payload.is_empty());
        // Nothing is held while idle.
        self.incoming = self.incoming.take().filter(|incoming| !incoming.is_empty());
        opened.map_err(Cut::Records)
    }

    async fn receive<F: Socket>(&mut self, far: &F, pool: &Pool) -> Result<(), Cut> {
        far.readable().await.map_err(Cut::Socket)?;
        let mut incoming = match self.incoming.take() {
            Some(incoming) => with_room(incoming, pool),
            None => pool.take(Purpose::Records),
        };
        let (bytes, room) = incoming.lend_spare();
        if room.is_empty() {
            return Err(Cut::Records(rustls::Error::General(
                "record without an end".into(),
            )));
        }
        let (outcome, bytes) = far.read_some(bytes, room).await;
        incoming.restore(bytes);
        match outcome.map_err(Cut::Socket)? {
            0 => Err(Cut::Truncated),
            count => {
                incoming.fill(count);
                self.incoming = Some(incoming);
                Ok(())
            }
        }
    }
}

// What the handshake left may stand in a buffer too small for a record.
fn with_room(mut incoming: Buffer, pool: &Pool) -> Buffer {
    incoming.compact();
    if incoming.spare() + incoming.filled().len() >= Purpose::Records.room(1) {
        return incoming;
    }
    let mut larger = pool.take(Purpose::Records);
    larger.append(incoming.filled());
    larger
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
    pub(super) async fn run<N: Socket, F: Socket>(&self, link: &Link<N, F>, mut held: Held) {
        let outcome = self.pump(link, &mut held).await;
        self.outlet.opening_ended();
        match outcome {
            Ok(()) => {}
            Err(Cut::Socket(error)) => link.fail(Party::TlsPeer, reset(&error)),
            Err(Cut::Truncated) => link.fail(Party::TlsPeer, Reason::Truncated),
            Err(Cut::Records(error)) => {
                link.note(Party::TlsPeer, (self.explain)(&error));
                // The plain side learns of it at once, the peer by an alert.
                link.near.abort();
                let alert = self.engine.borrow_mut().last_words();
                self.outlet.last_words(link, alert).await;
            }
        }
    }

    async fn pump<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        held: &mut Held,
    ) -> Result<(), Cut> {
        let mut answer = Vec::new();
        while !link.failed() {
            let opened = held.open(self.engine, self.pool, &mut answer)?;
            self.outlet.post(link, &mut answer).await;
            if let Some(payload) = held.payload.take() {
                self.deliver(link, payload).await;
            }
            match opened {
                Opened::Full => {}
                Opened::NeedBytes => held.receive(&link.far, self.pool).await?,
                Opened::Closed => {
                    // close_notify becomes FIN; the other direction may go on.
                    match link.near.finish() {
                        Ok(()) => link.finish(Party::TlsPeer),
                        Err(error) => link.fail(Party::PlainSide, reset(&error)),
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn deliver<N: Socket, F: Socket>(&self, link: &Link<N, F>, mut payload: Buffer) {
        let count = payload.filled().len() as u64;
        match write(link, &link.near, &mut payload).await {
            Ok(()) => {
                self.bytes.set(self.bytes.get().saturating_add(count));
                self.counter.add(count);
            }
            Err(error) => link.fail(Party::PlainSide, reset(&error)),
        }
    }
}
