//! A rustls connection in either role, without a socket: bytes in, bytes out.
//!
//! The handshake and the relay need four operations: advance, seal, open, close. This module implements
//! them with the states of rustls's connection (`rustls_states`). rustls handles the records here;
//! `hand_over` gives the keys to the gateway's own record layer.

use rustls::{AlertDescription, CommonState, Error, PeerMisbehaved, ProtocolVersion};

use super::cipher::Cipher;
pub use super::outcomes::{Opened, SealError};
use super::post_handshake::InPlace;
use super::rustls_states::{
    ClientConnection, PayloadWriter, ServerConnection, StateHandler, States,
};
use crate::buffers::Buffer;
use crate::buffers::limits::{PLAINTEXT_ROOM, RECORD_HEADER};

/// rustls's connection in either role, and data that arrived early.
pub struct Session {
    connection: States,
    // Payload that followed the end of the handshake in the same bytes.
    early: Vec<u8>,
    // rustls reports close_notify once, possibly before `open` is called.
    peer_closed: bool,
    // Whether change_cipher_spec was sent: after it TLS 1.2 is encrypted.
    has_changed_cipher: bool,
    // A copy of the bytes that were received and not consumed after all whole records had been examined.
    // They may contain a part of a handshake message (RFC 8446 section 5.1 allows one to span records).
    // rustls expects them at every step, also when it seals.
    tail: Vec<u8>,
}

impl From<ClientConnection> for Session {
    fn from(connection: ClientConnection) -> Self {
        Self::new(States::Client(Box::new(connection)))
    }
}

impl From<ServerConnection> for Session {
    fn from(connection: ServerConnection) -> Self {
        Self::new(States::Server(Box::new(connection)))
    }
}

/// The state of a handshake after one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeStep {
    /// Some progress was made; continue.
    Progress,
    /// Send what was written, then receive more.
    NeedBytes,
    /// The handshake is complete and payload may pass.
    Done,
}

impl Session {
    fn new(connection: States) -> Self {
        Self {
            connection,
            early: Vec::new(),
            peer_closed: false,
            has_changed_cipher: false,
            tail: Vec::new(),
        }
    }

    /// The result of the negotiation.
    #[must_use]
    pub fn state(&self) -> &CommonState {
        self.connection.common()
    }

    /// Advances the handshake by one step: reads from `incoming`, appends bytes to be sent to `outgoing`.
    ///
    /// # Errors
    /// The error of rustls; `alert` then returns the alert for the peer.
    pub fn advance(
        &mut self,
        incoming: &mut Buffer,
        outgoing: &mut Vec<u8>,
    ) -> Result<HandshakeStep, Error> {
        let mut handler = HandshakeHandler::new(outgoing);
        let discard = self
            .connection
            .process(incoming.filled_mut(), &mut handler)?;
        let (step, closed, payload) = (handler.step, handler.closed, handler.payload);
        self.has_changed_cipher |= handler.has_changed_cipher;
        incoming.consume(discard);
        self.early.extend_from_slice(&payload);
        self.peer_closed |= closed;
        if step == HandshakeStep::Done {
            self.keep_tail(incoming);
        }
        Ok(step)
    }

    /// Seals `plain` into records and appends them to `records`.
    ///
    /// # Errors
    /// `Exhausted` if the TLS 1.2 connection must end; other errors are defects of this program.
    pub fn seal(&mut self, plain: &[u8], records: &mut Buffer) -> Result<(), SealError> {
        self.write(Some(plain), records)
    }

    /// Appends close_notify to `records`, by which the peer knows that this direction is complete.
    ///
    /// # Errors
    /// The same as for `seal`.
    pub fn close_notify(&mut self, records: &mut Buffer) -> Result<(), SealError> {
        self.write(None, records)
    }

    /// Opens records of `incoming` into `payload` until either has no more room or data. If the peer must
    /// be sent an answer (a key update), the answer is appended to `answer`.
    ///
    /// # Errors
    /// What is wrong with the records; `final_alert` then returns the alert for the peer.
    pub fn open(
        &mut self,
        incoming: &mut Buffer,
        payload: &mut Buffer,
        answer: &mut Vec<u8>,
    ) -> Result<Opened, Error> {
        let mut opened_some = false;
        let taken = payload.append(&self.early);
        self.early.drain(..taken);
        let mut handler = OpenHandler {
            payload,
            answer,
            opened: None,
        };
        loop {
            if !self.early.is_empty() || handler.payload.spare() < PLAINTEXT_ROOM {
                if opened_some {
                    // The last record was payload, and no part of a handshake message may surround it:
                    // there is no tail.
                    self.tail.clear();
                }
                return Ok(Opened::Full);
            }
            if self.peer_closed {
                return Ok(Opened::Closed);
            }
            let discard = self
                .connection
                .process(incoming.filled_mut(), &mut handler)?;
            incoming.consume(discard);
            opened_some = true;
            if let Some(opened) = handler.opened {
                self.peer_closed = opened == Opened::Closed;
                self.keep_tail(incoming);
                return Ok(opened);
            }
        }
    }

    /// After an error: the alert for the peer, if there is one.
    #[must_use]
    pub fn final_alert(&mut self) -> Vec<u8> {
        let mut outgoing = Vec::new();
        // Fetches only what is queued. rustls may still hold messages after the one that it refused; asked
        // for more, it would look for them in the empty slice, and panic.
        for _ in 0..FINAL_ALERT_STEPS {
            let mut handler = HandshakeHandler::new(&mut outgoing);
            if !self.state().wants_write()
                || self.connection.process(&mut [], &mut handler).is_err()
            {
                break;
            }
        }
        outgoing
    }

    /// After `advance` has failed: the alert for the peer. If rustls has none and nothing is encrypted yet,
    /// the alert is made here (RFC 8446 section 6). Later only rustls could encrypt it.
    #[must_use]
    pub fn alert(&mut self, error: &Error) -> Vec<u8> {
        let alert = self.final_alert();
        if !alert.is_empty() || !self.is_plain() {
            return alert;
        }
        description(error).map_or(alert, plain_alert)
    }

    fn is_plain(&self) -> bool {
        match self.state().protocol_version() {
            None => true,
            Some(ProtocolVersion::TLSv1_2) => !self.has_changed_cipher,
            // A server is encrypted after ServerHello, which rustls may have created already.
            Some(_) => false,
        }
    }

    /// Hands over the records to the gateway's own record layer with `cipher`, after the handshake. `tail`
    /// holds the bytes received after it. The second part of the result is payload that rustls has already
    /// opened.
    ///
    /// TLS 1.2 stays with rustls. So does a connection whose `tail` contains a part of a handshake message
    /// that rustls has already opened, because it cannot be opened again.
    ///
    /// # Errors
    ///
    /// rustls refuses the hand-over; the connection is then lost.
    pub fn hand_over(
        mut self,
        tail: &[u8],
        cipher: Cipher,
        key_records: u64,
    ) -> Result<HandedOver, Error> {
        let is_tls13 = self.state().protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if !is_tls13 || holds_whole_record(tail) {
            return Ok(HandedOver::Kept(self));
        }
        let unsent = self.fetch_unsent()?;
        let (secrets, schedule) = self.connection.into_secrets()?;
        let in_place = InPlace::new(&secrets, schedule, cipher, key_records);
        let mut in_place =
            in_place.ok_or_else(|| Error::General("suite without AES-GCM".into()))?;
        in_place.take_unsent(unsent);
        if self.peer_closed {
            in_place.peer_closed();
        }
        Ok(HandedOver::InPlace(Box::new(in_place), self.early))
    }

    // A peer may request a key update in the same bytes that end its handshake. rustls then switches to its
    // next key at once, but keeps the message that announces the switch until it writes payload. A
    // hand-over would lose that message, and the peer could open nothing that the gateway sends.
    fn fetch_unsent(&mut self) -> Result<Vec<u8>, Error> {
        let mut handler = FetchHandler::default();
        for _ in 0..SEAL_STEPS {
            self.connection.process(&mut self.tail, &mut handler)?;
            if handler.is_ready {
                break;
            }
        }
        Ok(handler.unsent)
    }

    fn keep_tail(&mut self, incoming: &Buffer) {
        self.tail.clear();
        self.tail.extend_from_slice(incoming.filled());
    }

    // `None` writes close_notify. Messages of rustls itself (a key update) go first, because the order on
    // the wire must be the order of sealing.
    fn write(&mut self, plain: Option<&[u8]>, records: &mut Buffer) -> Result<(), SealError> {
        let mut handler = SealHandler {
            plain,
            records,
            outcome: None,
        };
        for _ in 0..SEAL_STEPS {
            self.connection.process(&mut self.tail, &mut handler)?;
            if let Some(outcome) = handler.outcome.take() {
                return outcome;
            }
        }
        Err(SealError::Misused)
    }
}

/// The record layer that has the connection after the handshake.
pub enum HandedOver {
    /// The gateway's own layer, and the payload that came with the last bytes of the handshake.
    InPlace(Box<InPlace>, Vec<u8>),
    /// rustls.
    Kept(Session),
}

// rustls examines every whole record before it reports the end of the handshake. A whole record that is
// still there is part of a message of which rustls has not received the rest.
fn holds_whole_record(tail: &[u8]) -> bool {
    let length = tail.get(3..5).and_then(|length| length.first_chunk());
    length.is_some_and(|length| {
        let length = usize::from(u16::from_be_bytes(*length));
        tail.len() >= RECORD_HEADER.saturating_add(length)
    })
}

/// A fatal alert in the form that it has on the wire before encryption starts.
fn plain_alert(description: AlertDescription) -> Vec<u8> {
    // The version in the header has no meaning (RFC 8446 section 5.1).
    vec![ALERT, 3, 3, 0, 2, FATAL, description.into()]
}

// RFC 8446 section 6.2. An alert is not answered.
fn description(error: &Error) -> Option<AlertDescription> {
    Some(match error {
        Error::AlertReceived(_) => return None,
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(
            PeerMisbehaved::IllegalMiddleboxChangeCipherSpec
            | PeerMisbehaved::KeyEpochWithPendingFragment
            | PeerMisbehaved::MessageInterleavedWithHandshakeMessage
            | PeerMisbehaved::TooManyEmptyFragments
            | PeerMisbehaved::TooManyRenegotiationRequests
            | PeerMisbehaved::TooManyWarningAlertsReceived,
        ) => AlertDescription::UnexpectedMessage,
        Error::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
        Error::PeerIncompatible(_) => AlertDescription::HandshakeFailure,
        Error::DecryptError => AlertDescription::BadRecordMac,
        _ => AlertDescription::InternalError,
    })
}

// Content types (RFC 8446 section 5.1) and a level (section 6).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const FATAL: u8 = 2;

// An alert and at most one flight before it. The bound ensures that no defect can loop here.
const FINAL_ALERT_STEPS: usize = 32;

// A key update in answer to the peer and one of this side are encoded and sent in two steps each.
const SEAL_STEPS: usize = 16;

struct HandshakeHandler<'a> {
    outgoing: &'a mut Vec<u8>,
    payload: Vec<u8>,
    closed: bool,
    has_changed_cipher: bool,
    step: HandshakeStep,
}

impl<'a> HandshakeHandler<'a> {
    fn new(outgoing: &'a mut Vec<u8>) -> Self {
        Self {
            outgoing,
            payload: Vec::new(),
            closed: false,
            has_changed_cipher: false,
            step: HandshakeStep::Progress,
        }
    }
}

impl StateHandler for HandshakeHandler<'_> {
    // rustls returns one record at a time.
    fn control(&mut self, records: &[u8]) {
        self.has_changed_cipher |= records.first() == Some(&CHANGE_CIPHER_SPEC);
        self.outgoing.extend_from_slice(records);
    }

    fn blocked(&mut self) {
        self.step = HandshakeStep::NeedBytes;
    }

    fn payload(&mut self, bytes: &[u8]) {
        self.payload.extend_from_slice(bytes);
    }

    fn closed(&mut self) {
        self.closed = true;
    }

    fn ready<D>(&mut self, _writer: PayloadWriter<'_, D>) {
        self.step = HandshakeStep::Done;
    }
}

struct SealHandler<'a> {
    plain: Option<&'a [u8]>,
    records: &'a mut Buffer,
    outcome: Option<Result<(), SealError>>,
}

impl StateHandler for SealHandler<'_> {
    fn control(&mut self, records: &[u8]) {
        if self.records.append(records) < records.len() {
            self.outcome = Some(Err(SealError::Misused));
        }
    }

    fn blocked(&mut self) {
        self.outcome = Some(Err(SealError::Misused));
    }

    fn ready<D>(&mut self, mut writer: PayloadWriter<'_, D>) {
        let room = self.records.spare_mut();
        let written = match self.plain {
            Some(plain) => writer.encrypt(plain, room),
            None => writer.close_notify(room),
        };
        self.outcome = Some(written.map(|count| self.records.fill(count)));
    }
}

// Makes rustls write what it holds back, and nothing else.
#[derive(Default)]
struct FetchHandler {
    unsent: Vec<u8>,
    has_asked: bool,
    is_ready: bool,
}

impl StateHandler for FetchHandler {
    fn control(&mut self, records: &[u8]) {
        self.unsent.extend_from_slice(records);
    }

    fn ready<D>(&mut self, mut writer: PayloadWriter<'_, D>) {
        self.is_ready = self.has_asked;
        self.has_asked = true;
        // A byte without room for it is refused before it is sealed, but after rustls has queued the
        // messages that must precede it.
        let refused = writer.encrypt(&[0], &mut []);
        debug_assert!(refused.is_err(), "a byte was sealed into no room");
    }
}

struct OpenHandler<'a> {
    payload: &'a mut Buffer,
    answer: &'a mut Vec<u8>,
    opened: Option<Opened>,
}

impl StateHandler for OpenHandler<'_> {
    fn control(&mut self, records: &[u8]) {
        self.answer.extend_from_slice(records);
    }

    fn blocked(&mut self) {
        self.opened = Some(Opened::NeedBytes);
    }

    fn payload(&mut self, bytes: &[u8]) {
        let taken = self.payload.append(bytes);
        debug_assert_eq!(taken, bytes.len(), "room for one record was there");
    }

    fn closed(&mut self) {
        self.opened = Some(Opened::Closed);
    }

    fn ready<D>(&mut self, _writer: PayloadWriter<'_, D>) {
        self.opened = Some(Opened::NeedBytes);
    }
}
