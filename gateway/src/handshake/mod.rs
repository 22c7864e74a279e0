//! Drives a TLS handshake over a socket, within one deadline, and sends the alert that says why a peer is refused.
//!
//! `tls` decides; this module moves its bytes. Connections (`relay`) and probes (`upstream`) share it.

pub mod limits;

use std::future::Future;
use std::io;
use std::time::Duration;

use rustls::{Error, InvalidMessage};

use crate::buffers::Buffer;
use crate::handshake::limits::{ALERT_LINGER, HANDSHAKE_BYTES_MAX};
use crate::tls::session::{HandshakeStep, Session};
use crate::uring::{Socket, SocketExt, linger_close, race};

/// A connection that both ends have proved themselves on.
pub struct Secured {
    /// Seals and opens from here on.
    pub session: Session,
    /// Records that were received behind the handshake and not opened yet.
    pub incoming: Buffer,
}

/// Why a handshake failed. The peer was sent the alert that TLS has for the cause, and no payload passed.
#[derive(Debug)]
pub struct FailedHandshake {
    /// The cause.
    pub cause: Cause,
    /// The first bytes that the peer sent, for the explanation: it may not speak TLS at all.
    pub first: Vec<u8>,
    /// Bytes that were sent before the peer had sent any; where we connected, those of the ClientHello.
    pub hello_bytes: usize,
}

/// The cause of a failed handshake.
#[derive(Debug)]
pub enum Cause {
    /// rustls or the verifier refused, or the peer's alert refused us.
    Tls(Error),
    /// The socket failed.
    Socket(io::Error),
    /// The peer closed before it was done.
    Closed,
    /// The deadline passed.
    Deadline,
    /// A flight longer than `limits::HANDSHAKE_BYTES_MAX`.
    TooLong,
}

/// What a handshake may use of its core, and when.
pub trait Pace {
    /// A step under way; over when dropped.
    type Step;

    /// Waits for the turn of the next step, which is a burst of computing. `None` after `cancel`.
    fn step(&self) -> impl Future<Output = Option<Self::Step>>;

    /// Notes how many bytes the handshake holds now.
    fn hold(&self, bytes: usize);

    /// The handshake is being ended and takes no further step.
    fn cancel(&self);
}

/// The pace of a handshake that we began ourselves: it never waits.
#[derive(Debug, Clone, Copy)]
pub struct Unpaced;

impl Pace for Unpaced {
    type Step = ();

    async fn step(&self) -> Option<()> {
        Some(())
    }

    fn hold(&self, _: usize) {}

    fn cancel(&self) {}
}

/// Takes `session` through its handshake within `limit`, a dripping peer included.
///
/// # Errors
/// The cause; `socket` was then ended, with an alert where TLS has one, and is not to be used.
pub async fn handshake<S: Socket>(
    socket: &S,
    session: Session,
    limit: Duration,
    pace: &impl Pace,
) -> Result<Secured, FailedHandshake> {
    let mut driver = HandshakeDriver {
        socket,
        pace,
        received: 0,
        outgoing: Vec::new(),
        session,
        incoming: Buffer::with_room(0),
        first: Vec::new(),
        hello_bytes: 0,
    };
    let end = || {
        socket.abort();
        pace.cancel();
    };
    let (outcome, late) = race(driver.run(), limit, end).await;
    let cause = match outcome {
        Ok(()) => {
            return Ok(Secured {
                session: driver.session,
                incoming: driver.incoming,
            });
        }
        Err(_) if late => Cause::Deadline,
        Err(cause) => cause,
    };
    if let Some(alert) = driver.final_alert(&cause) {
        send_alert(socket, alert).await;
    }
    Err(FailedHandshake {
        cause,
        first: driver.first,
        hello_bytes: driver.hello_bytes,
    })
}

// A hybrid key exchange and a chain of three certificates fit.
const FIRST_ROOM: usize = 4 << 10;

// As many bytes as an explanation looks at.
const FIRST_BYTES: usize = 64;

struct HandshakeDriver<'s, S, P> {
    socket: &'s S,
    pace: &'s P,
    session: Session,
    incoming: Buffer,
    // Bytes received in all.
    received: usize,
    // What is to be sent next.
    outgoing: Vec<u8>,
    first: Vec<u8>,
    // Sent before anything came.
    hello_bytes: usize,
}

impl<S: Socket, P: Pace> HandshakeDriver<'_, S, P> {
    async fn run(&mut self) -> Result<(), Cause> {
        loop {
            let step = self.step().await;
            self.note_held(self.outgoing.capacity());
            let step = step?;
            self.send().await?;
            self.note_held(0);
            match step {
                HandshakeStep::Done => return Ok(()),
                HandshakeStep::Progress | HandshakeStep::NeedBytes => self.receive().await?,
            }
        }
    }

    // As far as it goes without more bytes.
    async fn step(&mut self) -> Result<HandshakeStep, Cause> {
        let Some(_step) = self.pace.step().await else {
            return Err(Cause::Deadline);
        };
        loop {
            let step = self.session.advance(&mut self.incoming, &mut self.outgoing);
            match step.map_err(Cause::Tls)? {
                HandshakeStep::Progress => {}
                step => return Ok(step),
            }
        }
    }

    // The alert for the peer when its handshake has failed, if the peer is still there. What was waiting to be sent
    // comes first, because the peer needs it to read the alert: before ServerHello it has no keys.
    fn final_alert(&mut self, cause: &Cause) -> Option<Vec<u8>> {
        let error = match cause {
            Cause::Tls(error) => error,
            Cause::TooLong => &Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge),
            Cause::Socket(_) | Cause::Closed | Cause::Deadline => return None,
        };
        let mut bytes = std::mem::take(&mut self.outgoing);
        bytes.extend(self.session.alert(error));
        Some(bytes)
    }

    async fn send(&mut self) -> Result<(), Cause> {
        let bytes = std::mem::take(&mut self.outgoing);
        if self.first.is_empty() {
            self.hello_bytes = self.hello_bytes.saturating_add(bytes.len());
        }
        let all = 0..bytes.len();
        self.socket
            .write_all(bytes, all)
            .await
            .0
            .map_err(Cause::Socket)
    }

    // Memory is allocated when bytes have come: a silent peer holds none.
    async fn receive(&mut self) -> Result<(), Cause> {
        if self.incoming.is_empty() {
            self.incoming = Buffer::with_room(0);
            self.socket.readable().await.map_err(Cause::Socket)?;
        }
        self.make_room()?;
        let (bytes, room) = self.incoming.lend_spare();
        let (outcome, bytes) = self.socket.read_some(bytes, room).await;
        self.incoming.restore(bytes);
        match outcome.map_err(Cause::Socket)? {
            0 => Err(Cause::Closed),
            count => {
                self.incoming.fill(count);
                self.note_first();
                self.received = self.received.saturating_add(count);
                self.note_held(0);
                Ok(())
            }
        }
    }

    // rustls keeps of what it has read no more than came. What is to be sent is held until the peer has
    // taken it, and a short hello may be answered by a long flight.
    fn note_held(&self, outgoing: usize) {
        let incoming = self.incoming.memory().saturating_add(self.received);
        self.pace.hold(incoming.saturating_add(outgoing));
    }

    // A message may be longer than the first room; it must stand whole before rustls takes it.
    fn make_room(&mut self) -> Result<(), Cause> {
        self.incoming.compact();
        if self.incoming.spare() == 0 {
            let length = self.incoming.filled().len();
            if length >= HANDSHAKE_BYTES_MAX {
                return Err(Cause::TooLong);
            }
            let room = length.saturating_mul(2).max(FIRST_ROOM);
            let mut larger = Buffer::with_room(room.min(HANDSHAKE_BYTES_MAX));
            larger.append(self.incoming.filled());
            self.incoming = larger;
        }
        Ok(())
    }

    fn note_first(&mut self) {
        if self.first.is_empty() {
            self.first
                .extend(self.incoming.filled().iter().take(FIRST_BYTES));
        }
    }
}

/// Sends a final alert and closes our direction, as `uring::linger_close` does.
pub async fn send_alert<S: Socket>(socket: &S, alert: Vec<u8>) {
    linger_close(socket, alert, ALERT_LINGER).await;
}
