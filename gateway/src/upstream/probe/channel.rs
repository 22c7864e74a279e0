//! The connection of a probe: plaintext on terminate and passthrough routes, TLS on originate routes.
//!
//! Here rustls handles the records: a probe moves a few hundred bytes, and only its handshake matters, which
//! is the same as that of every connection.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use rustls::{Error, ProtocolVersion};

use crate::buffers::Buffer;
use crate::buffers::limits::{PLAINTEXT_ROOM, RECORD_ROOM};
use crate::config::Target;
use crate::config::limits::HEALTH_TIMEOUT_MAX;
use crate::handshake::{Cause, FailedHandshake, Secured, Unpaced, handshake, send_alert};
use crate::proxy;
use crate::tls::session::{Opened, Session};
use crate::tls::{Connector, PeerVerification, explain, explain_end};
use crate::upstream::limits::{CONTROL_ROOM, PROBE_BYTES_MAX};
use crate::uring::{Socket, SocketExt};

/// A probe's connection.
pub(super) enum Channel<'s, S> {
    /// Plaintext.
    Plain(ProbeReceiver<'s, S>),
    /// TLS after the handshake.
    Tls(Box<Tls<'s, S>>),
}

/// Why nothing more can be received.
#[derive(Debug)]
pub(super) enum ChannelError {
    /// The target closed cleanly.
    Closed,
    /// The target's TLS stream ended without close_notify.
    Truncated,
    /// The target sent more than `PROBE_BYTES_MAX` bytes.
    TooMuch,
    /// The socket failed.
    Socket(io::Error),
    /// TLS failed, with this message.
    Tls(String),
}

/// What TLS received next. Not `Debug`, because payload must not reach the log.
pub(super) enum Received {
    /// Payload.
    Payload(Vec<u8>),
    /// A TLS message that is not an alert: a session ticket or a key update.
    Message,
    /// close_notify.
    Closed,
}

impl<'s, S: Socket> Channel<'s, S> {
    /// Performs the TLS handshake if the route has one. `greets` is whether the target expects a PROXY header;
    /// the one of a probe names no client.
    pub(super) async fn open(
        socket: &'s S,
        connector: Option<&Connector>,
        target: &Target,
        greets: bool,
    ) -> Result<Self, ChannelError> {
        let carries = connector.is_some_and(Connector::carries_source);
        let mut channel = match connector {
            Some(connector) => Tls::open(socket, connector, target).await?,
            None => Self::Plain(ProbeReceiver::new(socket)),
        };
        if greets || carries {
            channel.send(proxy::local()).await?;
        }
        Ok(channel)
    }

    /// Sends all of `bytes`.
    pub(super) async fn send(&mut self, bytes: Vec<u8>) -> Result<(), ChannelError> {
        match self {
            Self::Plain(source) => {
                let all = 0..bytes.len();
                let sent = source.socket.write_all(bytes, all).await.0;
                sent.map_err(ChannelError::Socket)
            }
            Self::Tls(tls) => {
                let records = tls.seal(&bytes)?;
                tls.send(records).await
            }
        }
    }

    /// Receives the next bytes; never empty.
    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, ChannelError> {
        let tls = match self {
            Self::Plain(source) => return source.receive().await,
            Self::Tls(tls) => tls,
        };
        loop {
            match tls.receive_message().await? {
                Received::Payload(payload) => return Ok(payload),
                Received::Message => {}
                Received::Closed => return Err(ChannelError::Closed),
            }
        }
    }

    /// Closes the connection cleanly if that is still possible, and gives the target a moment to close too.
    /// After an immediate reset, the target would log a broken connection.
    pub(super) async fn linger_close(self) {
        match self {
            Self::Plain(source) => send_alert(source.socket, Vec::new()).await,
            Self::Tls(mut tls) => {
                let records = tls.close_notify();
                send_alert(tls.source.socket, records).await;
            }
        }
    }
}

/// The receiving side of a probe's connection.
pub(super) struct ProbeReceiver<'s, S> {
    socket: &'s S,
    // The number of bytes that the target may still send.
    rest: usize,
}

impl<'s, S: Socket> ProbeReceiver<'s, S> {
    fn new(socket: &'s S) -> Self {
        Self {
            socket,
            rest: PROBE_BYTES_MAX,
        }
    }

    /// Reads like a socket; returns 0 if the target has ended its direction.
    ///
    /// Each read waits on the ring first, even if bytes are already available. Otherwise a target that sends
    /// without end would be read without a pause, and the other connections of this core would stall.
    async fn read(
        &mut self,
        bytes: Vec<u8>,
        room: Range<usize>,
    ) -> (Result<usize, ChannelError>, Vec<u8>) {
        if let Err(error) = self.socket.readable().await {
            return (Err(ChannelError::Socket(error)), bytes);
        }
        let (outcome, bytes) = self.socket.read_some(bytes, room).await;
        let outcome = outcome.map_err(ChannelError::Socket).and_then(|count| {
            // LIMIT: PROBE_BYTES_MAX, reported as the failure of this probe.
            self.rest = self.rest.checked_sub(count).ok_or(ChannelError::TooMuch)?;
            Ok(count)
        });
        (outcome, bytes)
    }

    async fn receive(&mut self) -> Result<Vec<u8>, ChannelError> {
        let room = vec![0; PLAINTEXT_ROOM];
        let all = 0..room.len();
        let (outcome, mut bytes) = self.read(room, all).await;
        match outcome? {
            0 => Err(ChannelError::Closed),
            count => {
                bytes.truncate(count);
                Ok(bytes)
            }
        }
    }
}

/// A TLS connection after its handshake.
pub(super) struct Tls<'s, S> {
    source: ProbeReceiver<'s, S>,
    session: Session,
    verification: Arc<PeerVerification>,
    // Received records that are not opened yet.
    incoming: Buffer,
    has_received_payload: bool,
    has_sent_close_notify: bool,
}

impl<'s, S: Socket> Tls<'s, S> {
    async fn open(
        socket: &'s S,
        connector: &Connector,
        target: &Target,
    ) -> Result<Channel<'s, S>, ChannelError> {
        let (connection, verification) = connector.start(target).map_err(defect)?;
        // The probe's own timeout ends before this one.
        let shaken = handshake(
            socket,
            Session::from(connection),
            HEALTH_TIMEOUT_MAX,
            &Unpaced,
        )
        .await;
        let Secured { session, incoming } =
            shaken.map_err(|failed| ChannelError::Tls(refusal(&failed, &verification)))?;
        verification
            .check_confirmed(session.state())
            .map_err(|error| ChannelError::Tls(explain(&error, &verification, &[])))?;
        if verification.peer().is_none() {
            // As for connections: the verifier runs in every handshake. If it ever did not, the target counts
            // as down.
            return Err(ChannelError::Tls(
                "a peer without an accepted identity".to_owned(),
            ));
        }
        let mut room = Buffer::with_room(incoming.filled().len().saturating_add(2 * RECORD_ROOM));
        room.append(incoming.filled());
        Ok(Channel::Tls(Box::new(Self {
            source: ProbeReceiver::new(socket),
            session,
            verification,
            incoming: room,
            has_received_payload: false,
            has_sent_close_notify: false,
        })))
    }

    /// Whether TLS 1.3 was negotiated.
    pub(super) fn is_tls13(&self) -> bool {
        self.session.state().protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Sends close_notify. This ends only our direction.
    pub(super) async fn send_close_notify(&mut self) -> Result<(), ChannelError> {
        let records = self.close_notify();
        self.send(records).await
    }

    /// Receives the next TLS event.
    pub(super) async fn receive_message(&mut self) -> Result<Received, ChannelError> {
        loop {
            let before = self.incoming.filled().len();
            let mut payload = Buffer::with_room(PLAINTEXT_ROOM);
            let mut answer = Vec::new();
            let opened = self
                .session
                .open(&mut self.incoming, &mut payload, &mut answer);
            let opened = opened.map_err(|error| self.wrong(&error))?;
            let all = 0..answer.len();
            let sent = self.source.socket.write_all(answer, all).await.0;
            sent.map_err(ChannelError::Socket)?;
            if !payload.is_empty() {
                self.has_received_payload = true;
                return Ok(Received::Payload(payload.filled().to_vec()));
            }
            match opened {
                Opened::Closed => return Ok(Received::Closed),
                _ if self.incoming.filled().len() < before => return Ok(Received::Message),
                Opened::Full => {}
                Opened::NeedBytes => self.receive().await?,
            }
        }
    }

    fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, ChannelError> {
        let mut records = Buffer::with_room(plain.len().saturating_add(CONTROL_ROOM));
        let sealed = self.session.seal(plain, &mut records);
        sealed.map_err(|error| ChannelError::Tls(error.to_string()))?;
        Ok(records.filled().to_vec())
    }

    // If close_notify cannot be sealed, the socket ends without it.
    fn close_notify(&mut self) -> Vec<u8> {
        let mut records = Buffer::with_room(CONTROL_ROOM);
        if !std::mem::replace(&mut self.has_sent_close_notify, true) {
            let _ = self.session.close_notify(&mut records);
        }
        records.filled().to_vec()
    }

    async fn send(&mut self, records: Vec<u8>) -> Result<(), ChannelError> {
        let all = 0..records.len();
        let Err(error) = self.source.socket.write_all(records, all).await.0 else {
            return Ok(());
        };
        // An alert with the reason may have arrived before the reset.
        match self.receive_message().await {
            Err(cut @ ChannelError::Tls(_)) => Err(cut),
            _ => Err(ChannelError::Socket(error)),
        }
    }

    async fn receive(&mut self) -> Result<(), ChannelError> {
        self.incoming.compact();
        let (bytes, room) = self.incoming.lend_spare();
        let has_room = !room.is_empty();
        let (outcome, bytes) = self.source.read(bytes, room).await;
        self.incoming.restore(bytes);
        match outcome? {
            0 if has_room => Err(ChannelError::Truncated),
            0 => Err(ChannelError::Tls(
                "the stream ended within a record".to_owned(),
            )),
            count => {
                self.incoming.fill(count);
                Ok(())
            }
        }
    }

    // In TLS 1.3, an alert before the first payload is the server's answer to the handshake (RFC 8446 section
    // 4.4.2.4).
    fn wrong(&self, error: &Error) -> ChannelError {
        let is_answer = self.is_tls13() && !self.has_received_payload;
        ChannelError::Tls(match error {
            Error::AlertReceived(_) if is_answer => explain(error, &self.verification, &[]),
            _ => format!("TLS record layer: {error}"),
        })
    }
}

fn refusal(failed: &FailedHandshake, verification: &PeerVerification) -> String {
    match &failed.cause {
        Cause::Tls(error) => explain(error, verification, &failed.first),
        Cause::Closed | Cause::Socket(_) => {
            explain_end(verification, &failed.first, failed.hello_bytes)
        }
        Cause::Deadline => "the handshake timed out".to_owned(),
        Cause::TooLong => "too many bytes in a handshake flight".to_owned(),
    }
}

fn defect(error: Error) -> ChannelError {
    ChannelError::Tls(error.to_string())
}
