//! A TLS connection of rustls in either role, without a socket: bytes in, bytes out.
//!
//! The handshake and the relay need four acts: advance, seal, open, close. This module makes them of the states of
//! rustls's connection (`rustls_states`). rustls owns the records here; `hand_over` gives the keys to a record layer of
//! our own.

use rustls::{AlertDescription, CommonState, Error, PeerMisbehaved, ProtocolVersion};

use super::cipher::Cipher;
pub use super::outcomes::{Opened, SealError};
use super::post_handshake::InPlace;
use super::rustls_states::{ClientConnection, ServerConnection, StateHandler, States, Writer};
use crate::buffers::Buffer;
use crate::buffers::limits::{PLAINTEXT_ROOM, RECORD_HEADER};

/// rustls's connection in either role, and what came early.
pub struct Session {
    connection: States,
    // Payload that stood behind the end of the handshake in the same bytes.
    early: Vec<u8>,
    // rustls reports it once, maybe before `open` is called.
    peer_closed: bool,
    // Whether our change_cipher_spec was written: behind it TLS 1.2 is encrypted.
    has_changed_cipher: bool,
    // A copy of what was received and not consumed when all whole records had been looked at.
    // rustls may keep a part of a handshake message there (RFC 8446 section 5.1 lets one span
    // records) and looks for it at every step, when we seal as well.
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

/// Where a handshake stands after one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something was done; go on.
    Progress,
    /// What was written must be sent, and then more be received.
    NeedBytes,
    /// The handshake is over and payload may pass.
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

    /// What was negotiated.
    #[must_use]
    pub fn state(&self) -> &CommonState {
        self.connection.common()
    }

    /// Takes the handshake one step further: reads from `incoming`, appends what is to be sent to
    /// `outgoing`.
    ///
    /// # Errors
    /// What rustls found wrong; `alert` then returns the alert for the peer.
    pub fn advance(
        &mut self,
        incoming: &mut Buffer,
        outgoing: &mut Vec<u8>,
    ) -> Result<Step, Error> {
        let mut handler = Handshake::new(outgoing);
        let discard = self
            .connection
            .process(incoming.filled_mut(), &mut handler)?;
        let (step, closed, payload) = (handler.step, handler.closed, handler.payload);
        self.has_changed_cipher |= handler.has_changed_cipher;
        incoming.consume(discard);
        self.early.extend_from_slice(&payload);
        self.peer_closed |= closed;
        if step == Step::Done {
            self.keep_tail(incoming);
        }
        Ok(step)
    }

    /// Seals `plain` into records behind what `records` holds.
    ///
    /// # Errors
    /// `Exhausted` where TLS 1.2 must end; others are defects of ours.
    pub fn seal(&mut self, plain: &[u8], records: &mut Buffer) -> Result<(), SealError> {
        self.write(Some(plain), records)
    }

    /// Appends close_notify to `records`: the peer then knows that our direction is complete.
    ///
    /// # Errors
    /// As `seal`.
    pub fn close_notify(&mut self, records: &mut Buffer) -> Result<(), SealError> {
        self.write(None, records)
    }

    /// Opens records of `incoming` into `payload` until one of them has no more to give. An answer that the peer must be
    /// sent (a key update) is appended to `answer`.
    ///
    /// # Errors
    /// What is wrong with the records; `final_alert` then has the alert for the peer.
    pub fn open(
        &mut self,
        incoming: &mut Buffer,
        payload: &mut Buffer,
        answer: &mut Vec<u8>,
    ) -> Result<Opened, Error> {
        let mut opened_some = false;
        let taken = payload.append(&self.early);
        self.early.drain(..taken);
        let mut handler = Opening {
            payload,
            answer,
            opened: None,
        };
        loop {
            if !self.early.is_empty() || handler.payload.spare() < PLAINTEXT_ROOM {
                if opened_some {
                    // Payload came last, and no handshake message may stand around it: no tail.
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

    /// After an error: the alert for the peer, where there is one.
    #[must_use]
    pub fn final_alert(&mut self) -> Vec<u8> {
        let mut outgoing = Vec::new();
        // Only what is queued is fetched. rustls may still hold messages that stood behind the one it
        // refused; asked for more, it would look for them in the empty slice, and panic.
        for _ in 0..FINAL_ALERT_STEPS {
            let mut handler = Handshake::new(&mut outgoing);
            if !self.state().wants_write()
                || self.connection.process(&mut [], &mut handler).is_err()
            {
                break;
            }
        }
        outgoing
    }

    /// After `advance` has failed: the alert for the peer. Where rustls has none and nothing is encrypted yet, it is
    /// made here (RFC 8446 section 6); later, only rustls could encrypt it.
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
            // As a server it is encrypted behind ServerHello, which rustls may have made already.
            Some(_) => false,
        }
    }

    /// Hands the records over to a layer of our own with `cipher`, the handshake being done; `tail` is
    /// what was received behind it. The second part of the outcome is payload that rustls has opened already.
    ///
    /// TLS 1.2 stays with rustls, and so does a connection of whose `tail` rustls has opened a part
    /// of a handshake message: that part cannot be opened again.
    ///
    /// # Errors
    /// rustls refuses the hand-over; the connection is lost then.
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

    // A peer may ask for a key update in the same bytes that end its handshake. rustls then goes on to
    // its next key at once, but keeps the message that says so until it writes payload, and a hand-over
    // would lose it: the peer could open nothing of ours.
    fn fetch_unsent(&mut self) -> Result<Vec<u8>, Error> {
        let mut handler = Fetching::default();
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

    // `None` writes close_notify. What rustls itself has to say (a key update) goes first, because
    // the order on the wire must be the order of sealing.
    fn write(&mut self, plain: Option<&[u8]>, records: &mut Buffer) -> Result<(), SealError> {
        let mut handler = Sealing {
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

/// Which record layer has the connection after the handshake.
pub enum HandedOver {
    /// Our own layer, and the payload that came with the handshake's last bytes.
    InPlace(Box<InPlace>, Vec<u8>),
    /// rustls.
    Kept(Session),
}

// rustls looks at every whole record before it says that the handshake is done; one that still stands
// there is a part of a message that it waits for the rest of.
fn holds_whole_record(tail: &[u8]) -> bool {
    let length = tail.get(3..5).and_then(|length| length.first_chunk());
    length.is_some_and(|length| {
        let length = usize::from(u16::from_be_bytes(*length));
        tail.len() >= RECORD_HEADER.saturating_add(length)
    })
}

/// A fatal alert as it stands on the wire before anything is encrypted.
fn plain_alert(description: AlertDescription) -> Vec<u8> {
    // The version in the header says nothing (RFC 8446 section 5.1).
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

// An alert and at most a flight before it; a bound, so that no defect can spin here.
const FINAL_ALERT_STEPS: usize = 32;

// A key update in answer and one of our own are encoded and sent in two steps each.
const SEAL_STEPS: usize = 16;

struct Handshake<'a> {
    outgoing: &'a mut Vec<u8>,
    payload: Vec<u8>,
    closed: bool,
    has_changed_cipher: bool,
    step: Step,
}

impl<'a> Handshake<'a> {
    fn new(outgoing: &'a mut Vec<u8>) -> Self {
        Self {
            outgoing,
            payload: Vec::new(),
            closed: false,
            has_changed_cipher: false,
            step: Step::Progress,
        }
    }
}

impl StateHandler for Handshake<'_> {
    // rustls gives record by record.
    fn control(&mut self, records: &[u8]) {
        self.has_changed_cipher |= records.first() == Some(&CHANGE_CIPHER_SPEC);
        self.outgoing.extend_from_slice(records);
    }

    fn blocked(&mut self) {
        self.step = Step::NeedBytes;
    }

    fn payload(&mut self, bytes: &[u8]) {
        self.payload.extend_from_slice(bytes);
    }

    fn closed(&mut self) {
        self.closed = true;
    }

    fn ready<D>(&mut self, _writer: Writer<'_, D>) {
        self.step = Step::Done;
    }
}

struct Sealing<'a> {
    plain: Option<&'a [u8]>,
    records: &'a mut Buffer,
    outcome: Option<Result<(), SealError>>,
}

impl StateHandler for Sealing<'_> {
    fn control(&mut self, records: &[u8]) {
        if self.records.append(records) < records.len() {
            self.outcome = Some(Err(SealError::Misused));
        }
    }

    fn blocked(&mut self) {
        self.outcome = Some(Err(SealError::Misused));
    }

    fn ready<D>(&mut self, mut writer: Writer<'_, D>) {
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
struct Fetching {
    unsent: Vec<u8>,
    has_asked: bool,
    is_ready: bool,
}

impl StateHandler for Fetching {
    fn control(&mut self, records: &[u8]) {
        self.unsent.extend_from_slice(records);
    }

    fn ready<D>(&mut self, mut writer: Writer<'_, D>) {
        self.is_ready = self.has_asked;
        self.has_asked = true;
        // A byte without room for it is refused before it is sealed, but after the messages that wait before it were
        // put where they can be fetched.
        let refused = writer.encrypt(&[0], &mut []);
        debug_assert!(refused.is_err(), "a byte was sealed into no room");
    }
}

struct Opening<'a> {
    payload: &'a mut Buffer,
    answer: &'a mut Vec<u8>,
    opened: Option<Opened>,
}

impl StateHandler for Opening<'_> {
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

    fn ready<D>(&mut self, _writer: Writer<'_, D>) {
        self.opened = Some(Opened::NeedBytes);
    }
}
