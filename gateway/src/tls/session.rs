//! A TLS connection of rustls in either role, without a socket: bytes in, bytes out.
//!
//! rustls's unbuffered API asks its caller to handle one state at a time; this turns it into what
//! the handshake and the relay need: advance, seal, open, close. rustls owns the records here; the
//! keys can later be taken over by a record layer of our own.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{AlertDescription, CommonState, Error, PeerMisbehaved, ProtocolVersion};

use super::cipher::Cipher;
use super::post_handshake::{InPlace, Schedule};
use crate::buffers::Buffer;
use crate::limits::{PLAINTEXT_ROOM, RECORD_HEADER};

/// rustls's connection in either role, and what came early.
pub struct Session {
    connection: Connection,
    // Payload that stood behind the end of the handshake in the same bytes.
    early: Vec<u8>,
    // rustls says so once; it may say so before anybody opens.
    peer_closed: bool,
    // Whether our change_cipher_spec was put out: behind it TLS 1.2 is encrypted.
    has_changed_cipher: bool,
    // A copy of what was received and not consumed when all whole records had been looked at.
    // rustls may keep a part of a handshake message there (RFC 8446 section 5.1 lets one span
    // records) and looks for it at every step, when we seal as well.
    tail: Vec<u8>,
}

enum Connection {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

impl From<UnbufferedClientConnection> for Session {
    fn from(connection: UnbufferedClientConnection) -> Self {
        Self::new(Connection::Client(Box::new(connection)))
    }
}

impl From<UnbufferedServerConnection> for Session {
    fn from(connection: UnbufferedServerConnection) -> Self {
        Self::new(Connection::Server(Box::new(connection)))
    }
}

/// Where a handshake stands after one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something was done; go on.
    Progress,
    /// What was put out must be sent, and then more be received.
    NeedBytes,
    /// The handshake is over and payload may pass.
    Done,
}

/// What opening has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// All whole records were opened; more must be received.
    NeedBytes,
    /// There is as much payload as one turn takes; send it and open again.
    Full,
    /// The peer has said close_notify: no payload will follow.
    Closed,
}

/// Why sealing failed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// rustls refuses.
    #[error(transparent)]
    Tls(#[from] Error),
    /// TLS 1.2 has no key update: 2^24 records end the connection (RFC 8446 section 5.5).
    #[error(
        "the record limit of a TLS 1.2 key is reached; use TLS 1.3 to move this much at a time"
    )]
    Exhausted,
    /// The caller gave too little room, or payload before the handshake.
    #[error("no room or no right to seal")]
    Misused,
}

impl From<EncryptError> for SealError {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(_) => Self::Misused,
            EncryptError::EncryptExhausted => Self::Exhausted,
        }
    }
}

impl Session {
    fn new(connection: Connection) -> Self {
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
        match &self.connection {
            Connection::Client(connection) => connection,
            Connection::Server(connection) => connection,
        }
    }

    /// Takes the handshake one step further: reads from `incoming`, appends what is to be sent to
    /// `outgoing`.
    ///
    /// # Errors
    /// What rustls found wrong; `alert` then has what the peer should be told.
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

    /// Appends close_notify to `records`: it tells the peer that our direction is whole.
    ///
    /// # Errors
    /// As `seal`.
    pub fn close_notify(&mut self, records: &mut Buffer) -> Result<(), SealError> {
        self.write(None, records)
    }

    /// Opens records of `incoming` into `payload` until one of them has no more to give. What the
    /// peer must be told in answer (a key update) is appended to `answer`.
    ///
    /// # Errors
    /// What is wrong with the records; `last_words` then has the alert for the peer.
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

    /// After an error: the alert that tells the peer, where there is one to tell.
    #[must_use]
    pub fn last_words(&mut self) -> Vec<u8> {
        let mut outgoing = Vec::new();
        // Only what is queued is fetched. rustls may still hold messages that stood behind the one it
        // refused; asked for more, it would look for them in the empty slice, and panic.
        for _ in 0..LAST_WORDS_STEPS {
            let mut handler = Handshake::new(&mut outgoing);
            if !self.state().wants_write()
                || self.connection.process(&mut [], &mut handler).is_err()
            {
                break;
            }
        }
        outgoing
    }

    /// After `advance` has failed: the alert that tells the peer. Where rustls has none and nothing is
    /// encrypted yet, it is made here (RFC 8446 section 6); later, nobody but rustls could encrypt it.
    #[must_use]
    pub fn alert(&mut self, error: &Error) -> Vec<u8> {
        let words = self.last_words();
        if !words.is_empty() || !self.is_plain() {
            return words;
        }
        description(error).map_or(words, plain_alert)
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
    /// What rustls says to the hand-over; the connection is lost then.
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
        let (secrets, schedule) = match self.connection {
            Connection::Client(connection) => {
                let (secrets, schedule) = connection.dangerous_into_kernel_connection()?;
                (secrets, Schedule::Client(Box::new(schedule)))
            }
            Connection::Server(connection) => {
                let (secrets, schedule) = connection.dangerous_into_kernel_connection()?;
                (secrets, Schedule::Server(Box::new(schedule)))
            }
        };
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

/// Who has the records after the handshake.
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
#[must_use]
pub fn plain_alert(description: AlertDescription) -> Vec<u8> {
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

impl Connection {
    fn process(
        &mut self,
        incoming: &mut [u8],
        handler: &mut impl StateHandler,
    ) -> Result<usize, Error> {
        match self {
            Self::Client(connection) => drive(connection.process_tls_records(incoming), handler),
            Self::Server(connection) => drive(connection.process_tls_records(incoming), handler),
        }
    }
}

// An alert and at most a flight before it; a bound, so that no defect can spin here.
const LAST_WORDS_STEPS: usize = 32;

// A key update in answer and one of our own are encoded and sent in two steps each.
const SEAL_STEPS: usize = 16;

// What the caller does with the states of rustls's connection. A state that it does not name is
// passed over: it comes again.
trait StateHandler {
    fn control(&mut self, words: &[u8]);
    fn blocked(&mut self) {}
    fn payload(&mut self, _bytes: &[u8]) {}
    fn closed(&mut self) {}
    fn ready<D>(&mut self, _traffic: WriteTraffic<'_, D>) {}
}

fn drive<D>(
    status: UnbufferedStatus<'_, '_, D>,
    handler: &mut impl StateHandler,
) -> Result<usize, Error> {
    match status.state? {
        ConnectionState::EncodeTlsData(mut data) => handler.control(&encode(&mut data)),
        // The bytes are on their way to the peer before anything that is sealed later.
        ConnectionState::TransmitTlsData(data) => data.done(),
        ConnectionState::BlockedHandshake => handler.blocked(),
        ConnectionState::WriteTraffic(traffic) => handler.ready(traffic),
        ConnectionState::PeerClosed | ConnectionState::Closed => handler.closed(),
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                handler.payload(record?.payload);
            }
        }
        // Early data is switched off in every configuration; further states are unknown to us.
        _ => {
            return Err(Error::General(
                "unexpected state of the TLS connection".into(),
            ));
        }
    }
    Ok(status.discard)
}

fn encode<D>(data: &mut EncodeTlsData<'_, D>) -> Vec<u8> {
    let mut words = Vec::new();
    // The first call only asks how much room it takes.
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut words) {
        words.resize(size.required_size, 0);
        let written = data.encode(&mut words).unwrap_or(0);
        words.truncate(written);
    }
    words
}

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
    fn control(&mut self, words: &[u8]) {
        self.has_changed_cipher |= words.first() == Some(&CHANGE_CIPHER_SPEC);
        self.outgoing.extend_from_slice(words);
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

    fn ready<D>(&mut self, _traffic: WriteTraffic<'_, D>) {
        self.step = Step::Done;
    }
}

struct Sealing<'a> {
    plain: Option<&'a [u8]>,
    records: &'a mut Buffer,
    outcome: Option<Result<(), SealError>>,
}

impl StateHandler for Sealing<'_> {
    fn control(&mut self, words: &[u8]) {
        if self.records.append(words) < words.len() {
            self.outcome = Some(Err(SealError::Misused));
        }
    }

    fn blocked(&mut self) {
        self.outcome = Some(Err(SealError::Misused));
    }

    fn ready<D>(&mut self, mut traffic: WriteTraffic<'_, D>) {
        let room = self.records.spare_mut();
        let written = match self.plain {
            Some(plain) => traffic.encrypt(plain, room),
            None => traffic.queue_close_notify(room),
        };
        self.outcome = Some(
            written
                .map_err(SealError::from)
                .map(|count| self.records.fill(count)),
        );
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
    fn control(&mut self, words: &[u8]) {
        self.unsent.extend_from_slice(words);
    }

    fn ready<D>(&mut self, mut traffic: WriteTraffic<'_, D>) {
        self.is_ready = self.has_asked;
        self.has_asked = true;
        // An octet without room for it is refused before it is sealed, but after what stands in line
        // before it was put where it is to be fetched.
        let refused = traffic.encrypt(&[0], &mut []);
        debug_assert!(refused.is_err(), "an octet was sealed into no room");
    }
}

struct Opening<'a> {
    payload: &'a mut Buffer,
    answer: &'a mut Vec<u8>,
    opened: Option<Opened>,
}

impl StateHandler for Opening<'_> {
    fn control(&mut self, words: &[u8]) {
        self.answer.extend_from_slice(words);
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

    fn ready<D>(&mut self, _traffic: WriteTraffic<'_, D>) {
        self.opened = Some(Opened::NeedBytes);
    }
}
