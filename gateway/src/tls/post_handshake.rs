//! Messages after a TLS 1.3 handshake other than payload: key updates, alerts, tickets, close_notify.
//!
//! rustls has completed the handshake and keeps the key schedule. After that, the gateway handles the
//! records itself (`record`). The rules are in RFC 8446 sections 4.6, 5.1 and 6.

use std::sync::Arc;

use rustls::{AlertDescription, Error, ExtractedSecrets};

use super::cipher::Cipher;
use super::outcomes::{Opened, RecordError};
use super::record::{Content, Opener, Record, Sealer};
use super::rustls_states::KeySchedule;
use crate::buffers::limits::{RECORD_HEADER, RECORD_TRAILER, RECORDS_LARGE};
use crate::buffers::{Batch, Buffer};
use crate::metrics::KeyUpdates;
use crate::tls::limits::{EMPTY_RECORDS_MAX, KEY_UPDATES_MAX, POST_HANDSHAKE_MESSAGE_MAX};

/// What is wrong with data from the peer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PostHandshakeError {
    /// The record is wrong.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A handshake message that is not allowed after the handshake, or not at this position.
    #[error("unexpected handshake message after the handshake: {0}")]
    Unexpected(&'static str),
    /// A message that does not parse.
    #[error("malformed message after the handshake: {0}")]
    Malformed(&'static str),
    /// A value that is not allowed.
    #[error("illegal value after the handshake: {0}")]
    Illegal(&'static str),
    /// More messages that cost the gateway work than a legitimate peer needs.
    #[error("the peer sends too many {0}")]
    TooMany(&'static str),
    /// The peer sent an alert.
    #[error("received fatal alert: {0:?}")]
    Alert(AlertDescription),
    /// The key schedule failed.
    #[error("key update failed: {0}")]
    Schedule(Error),
}

impl PostHandshakeError {
    // The alert for the peer. An alert is not answered (RFC 8446 section 6.2).
    fn alert(&self) -> Option<AlertDescription> {
        match self {
            Self::Record(error) => Some(error.alert()),
            Self::Unexpected(_) | Self::TooMany(_) => Some(AlertDescription::UnexpectedMessage),
            Self::Malformed(_) => Some(AlertDescription::DecodeError),
            Self::Illegal(_) => Some(AlertDescription::IllegalParameter),
            Self::Alert(_) => None,
            Self::Schedule(_) => Some(AlertDescription::InternalError),
        }
    }
}

impl From<PostHandshakeError> for Error {
    fn from(wrong: PostHandshakeError) -> Self {
        match wrong {
            PostHandshakeError::Alert(description) => Self::AlertReceived(description),
            PostHandshakeError::Record(RecordError::Mac) => Self::DecryptError,
            PostHandshakeError::Record(RecordError::Oversized) => Self::PeerSentOversizedRecord,
            PostHandshakeError::Schedule(error) => error,
            other => Self::General(other.to_string()),
        }
    }
}

/// A connection whose records are sealed and opened in place.
pub struct InPlace {
    cipher: Cipher,
    sealer: Sealer,
    opener: Opener,
    schedule: KeySchedule,
    // The number of records that a key seals before it is updated.
    key_records: u64,
    // Records that were sealed before the hand-over and are not sent yet.
    unsent: Vec<u8>,
    // The peer has requested a key update.
    owes_key_update: bool,
    // close_notify was sent, and nothing may follow it.
    closed: bool,
    key_updates: Arc<KeyUpdates>,
    messages: Messages,
    peer_closed: bool,
    // The error that ended the connection. Nothing is opened after it.
    wrong: Option<PostHandshakeError>,
    // The final alert was sent, and nothing may follow it.
    alert: Option<AlertDescription>,
}

impl InPlace {
    /// Takes over from the handshake, with `cipher` for the records; `None` if the suite does not use
    /// AES-GCM. A key seals `key_records` records before it is updated, or the records of one turn if these
    /// are more.
    pub(super) fn new(
        secrets: &ExtractedSecrets,
        schedule: KeySchedule,
        cipher: Cipher,
        key_records: u64,
    ) -> Option<Self> {
        Some(Self {
            cipher,
            sealer: Sealer::new(cipher, secrets.tx.0, &secrets.tx.1)?,
            opener: Opener::new(cipher, secrets.rx.0, &secrets.rx.1)?,
            schedule,
            key_records,
            unsent: Vec::new(),
            owes_key_update: false,
            closed: false,
            key_updates: Arc::default(),
            messages: Messages::default(),
            peer_closed: false,
            wrong: None,
            alert: None,
        })
    }

    /// Records that the peer's close_notify came together with its last handshake message.
    pub(super) fn peer_closed(&mut self) {
        self.peer_closed = true;
    }

    /// Takes over records that were sealed before the first record of this layer, and must be sent before
    /// it.
    pub(super) fn take_unsent(&mut self, records: Vec<u8>) {
        self.unsent = records;
    }

    /// From now on, counts key updates in `there`.
    pub(crate) fn count_key_updates(&mut self, there: &Arc<KeyUpdates>) {
        self.key_updates = Arc::clone(there);
    }

    /// Appends what must be sent before `records` more records are sealed: a key update that the peer
    /// requested (RFC 8446 section 4.6.3), or that the key's limit requires (section 5.5).
    ///
    /// # Errors
    /// Defects of the key schedule or of this program.
    pub fn before(&mut self, records: usize, outgoing: &mut Vec<u8>) -> Result<(), Error> {
        outgoing.append(&mut self.unsent);
        if self.closed {
            // A requested key update is due before the next payload, and no payload will follow.
            return Ok(());
        }
        if self.owes_key_update || self.is_worn(records) {
            // update_not_requested: the peer updates its own key when it needs to.
            self.control(Content::Handshake, &[KEY_UPDATE, 0, 0, 1, 0], outgoing)?;
            let (sequence, secrets) = self.schedule.next_to_seal()?;
            let sealer = Sealer::new(self.cipher, sequence, &secrets);
            self.sealer = sealer.ok_or_else(other_suite)?;
            self.owes_key_update = false;
            self.key_updates.sealed.add(1);
        }
        Ok(())
    }

    // A fresh key is used for a turn of any length: otherwise a limit below one turn could never be met.
    fn is_worn(&self, records: usize) -> bool {
        let sealed = self.sealer.records();
        sealed > 0 && sealed.saturating_add(records as u64) > self.key_records
    }

    /// Seals a batch in place.
    ///
    /// # Errors
    /// Defects of this program only.
    pub fn seal(&mut self, mut batch: Batch) -> Result<Buffer, RecordError> {
        let mut length = 0_usize;
        for (room, payload) in batch.rooms() {
            length = length.saturating_add(self.sealer.seal(Content::Data, room, payload)?);
        }
        Ok(batch.into_records(length))
    }

    /// Appends close_notify.
    ///
    /// # Errors
    /// Defects of this program only.
    pub fn close_notify(&mut self, outgoing: &mut Vec<u8>) -> Result<(), Error> {
        let close = [WARNING, AlertDescription::CloseNotify.into()];
        self.control(Content::Alert, &close, outgoing)?;
        self.closed = true;
        Ok(())
    }

    /// After an error: the alert for the peer, if there is one.
    #[must_use]
    pub fn final_alert(&mut self) -> Vec<u8> {
        let mut outgoing = Vec::new();
        if let Some(description) = self.alert.take() {
            let alert = [FATAL, description.into()];
            // Without an alert the peer sees a reset, which has the same meaning.
            let _ = self.control(Content::Alert, &alert, &mut outgoing);
        }
        outgoing
    }

    /// Opens the whole records of `incoming` in place, and registers their payload as the parts of
    /// `incoming` to be sent.
    ///
    /// # Errors
    /// What is wrong with the records; `final_alert` then returns the alert for the peer. Payload that was
    /// opened before the error is among the parts. Nothing is opened after an error.
    pub fn open(&mut self, incoming: &mut Buffer) -> Result<Opened, PostHandshakeError> {
        if let Some(wrong) = &self.wrong {
            return Err(wrong.clone());
        }
        let opened = self.open_all(incoming);
        if let Err(wrong) = &opened {
            self.alert = wrong.alert();
            self.wrong = Some(wrong.clone());
        }
        opened
    }

    fn open_all(&mut self, incoming: &mut Buffer) -> Result<Opened, PostHandshakeError> {
        while !self.peer_closed {
            if incoming.parts() >= RECORDS_LARGE {
                return Ok(Opened::Full);
            }
            let start = incoming.start();
            let Some(record) = self.opener.open(incoming.filled_mut())? else {
                return Ok(Opened::NeedBytes);
            };
            self.take(&record, incoming, start)?;
            incoming.consume(record.length);
        }
        // All bytes after close_notify are ignored (RFC 8446 section 6.1).
        incoming.consume(usize::MAX);
        Ok(Opened::Closed)
    }

    // `start` is where the record begins in `incoming`.
    fn take(
        &mut self,
        record: &Record,
        incoming: &mut Buffer,
        start: usize,
    ) -> Result<(), PostHandshakeError> {
        self.messages.admit(record)?;
        match record.content {
            Content::Data => {
                let at = |offset: usize| start.saturating_add(offset);
                incoming.send(at(record.range.start)..at(record.range.end));
                Ok(())
            }
            Content::Alert => {
                let range = record.range.clone();
                self.process_alert(incoming.filled().get(range).unwrap_or_default())
            }
            Content::Handshake => {
                let range = record.range.clone();
                let message = incoming.filled().get(range).unwrap_or_default();
                match self.messages.read(message, &self.schedule)? {
                    Some(request) => self.update_opener(request),
                    None => Ok(()),
                }
            }
        }
    }

    fn update_opener(&mut self, request: UpdateRequest) -> Result<(), PostHandshakeError> {
        let (sequence, secrets) = self
            .schedule
            .next_to_open()
            .map_err(PostHandshakeError::Schedule)?;
        let opener = Opener::new(self.cipher, sequence, &secrets);
        self.opener = opener.ok_or_else(|| PostHandshakeError::Schedule(other_suite()))?;
        self.key_updates.opened.add(1);
        // One key update answers all requests that came before it (RFC 8446 section 4.6.3).
        self.owes_key_update |= request == UpdateRequest::Requested;
        Ok(())
    }

    // RFC 8446 section 6: the level of an alert has no meaning; all alerts but two are fatal.
    fn process_alert(&mut self, alert: &[u8]) -> Result<(), PostHandshakeError> {
        let [level, description] = *alert else {
            return Err(PostHandshakeError::Malformed("alert"));
        };
        if !matches!(level, WARNING | FATAL) {
            return Err(PostHandshakeError::Illegal("alert level"));
        }
        let description = AlertDescription::from(description);
        match description {
            AlertDescription::CloseNotify => self.peer_closed = true,
            // It announces a close_notify, but some programs send it without one.
            AlertDescription::UserCanceled if level == WARNING => self.messages.warning()?,
            _ => return Err(PostHandshakeError::Alert(description)),
        }
        Ok(())
    }

    fn control(
        &mut self,
        content: Content,
        message: &[u8],
        outgoing: &mut Vec<u8>,
    ) -> Result<(), Error> {
        outgoing.append(&mut self.unsent);
        let mut room = [0; RECORD_HEADER + CONTROL_MESSAGE_MAX + RECORD_TRAILER];
        let into = room.get_mut(RECORD_HEADER..RECORD_HEADER.saturating_add(message.len()));
        into.ok_or_else(|| Error::General("control message too long".into()))?
            .copy_from_slice(message);
        let length = self
            .sealer
            .seal(content, &mut room, message.len())
            .map_err(|error| Error::General(error.to_string()))?;
        outgoing.extend_from_slice(room.get(..length).unwrap_or_default());
        Ok(())
    }
}

// A key update: type, length, one byte.
const CONTROL_MESSAGE_MAX: usize = 5;

// Handshake types (RFC 8446 section 4).
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

// Levels of an alert (RFC 8446 section 6).
const WARNING: u8 = 1;
const FATAL: u8 = 2;

fn other_suite() -> Error {
    Error::General("the key schedule gave keys of another suite".into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UpdateRequest {
    NotRequested,
    Requested,
}

/// Handshake messages as they arrive: split over records, or several in one record (RFC 8446 section 5.1).
/// Only the position within a message is stored: this program does not use tickets.
#[derive(Debug, Default)]
struct Messages {
    // Bytes of the message's header received so far, and their values.
    header: [u8; 4],
    header_bytes: usize,
    // Bytes of its body still to be received.
    rest: usize,
    // The value of a key update.
    request: Option<u8>,
    empty_records: u32,
    key_updates: u32,
    warnings: u32,
}

impl Messages {
    // Checks that apply before a record's content is examined.
    fn admit(&mut self, record: &Record) -> Result<(), PostHandshakeError> {
        let is_empty = record.range.is_empty();
        if record.content != Content::Handshake && self.is_within() {
            // RFC 8446 section 5.1: no other record may come between the parts of a message.
            return Err(PostHandshakeError::Unexpected(
                "a record between the parts of a message",
            ));
        }
        if is_empty && record.content != Content::Data {
            // RFC 8446 section 5.4.
            return Err(PostHandshakeError::Unexpected("an empty message"));
        }
        self.empty_records = match is_empty {
            true => self.empty_records.saturating_add(1),
            false => 0,
        };
        if self.empty_records > EMPTY_RECORDS_MAX {
            return Err(PostHandshakeError::TooMany("records without payload"));
        }
        if record.content == Content::Data && !is_empty {
            self.key_updates = 0;
        }
        Ok(())
    }

    fn is_within(&self) -> bool {
        self.header_bytes > 0
    }

    fn warning(&mut self) -> Result<(), PostHandshakeError> {
        const WARNINGS_MAX: u32 = 4;
        self.warnings = self.warnings.saturating_add(1);
        if self.warnings > WARNINGS_MAX {
            return Err(PostHandshakeError::TooMany("warnings"));
        }
        Ok(())
    }

    // Reads the messages of one record. A key update must be the last message in its record, because the
    // next record uses another key (RFC 8446 section 5.1).
    fn read(
        &mut self,
        mut bytes: &[u8],
        schedule: &KeySchedule,
    ) -> Result<Option<UpdateRequest>, PostHandshakeError> {
        while let Some((byte, rest)) = bytes.split_first() {
            if let Some(slot) = self.header.get_mut(self.header_bytes) {
                *slot = *byte;
                self.header_bytes = self.header_bytes.saturating_add(1);
                bytes = rest;
                if self.header_bytes == self.header.len() {
                    self.begin(schedule)?;
                }
            } else {
                if self.header.first() == Some(&KEY_UPDATE) {
                    self.request = Some(*byte);
                }
                let (body, behind) = bytes.split_at_checked(self.rest).unwrap_or((bytes, &[]));
                self.rest = self.rest.saturating_sub(body.len());
                bytes = behind;
            }
            if self.header_bytes == self.header.len() && self.rest == 0 {
                if self.request.is_some() && !bytes.is_empty() {
                    return Err(PostHandshakeError::Unexpected(
                        "something behind a key update",
                    ));
                }
                if let Some(update) = self.end()? {
                    return Ok(Some(update));
                }
            }
        }
        Ok(None)
    }

    fn begin(&mut self, schedule: &KeySchedule) -> Result<(), PostHandshakeError> {
        let [kind, high, middle, low] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.rest = usize::try_from(length).unwrap_or(usize::MAX);
        match kind {
            KEY_UPDATE if self.rest != 1 => Err(PostHandshakeError::Malformed("key update")),
            KEY_UPDATE => Ok(()),
            // Only servers send tickets (RFC 8446 section 4.6.1).
            NEW_SESSION_TICKET if schedule.is_client() => {
                match self.rest <= POST_HANDSHAKE_MESSAGE_MAX {
                    true => Ok(()),
                    false => Err(PostHandshakeError::Malformed("session ticket")),
                }
            }
            // Post-handshake authentication was not offered, and TLS 1.3 has no renegotiation.
            _ => Err(PostHandshakeError::Unexpected("type")),
        }
    }

    fn end(&mut self) -> Result<Option<UpdateRequest>, PostHandshakeError> {
        self.header_bytes = 0;
        let Some(request) = self.request.take() else {
            return Ok(None);
        };
        self.key_updates = self.key_updates.saturating_add(1);
        if self.key_updates > KEY_UPDATES_MAX {
            return Err(PostHandshakeError::TooMany("key updates"));
        }
        match request {
            0 => Ok(Some(UpdateRequest::NotRequested)),
            1 => Ok(Some(UpdateRequest::Requested)),
            _ => Err(PostHandshakeError::Illegal("key update request")),
        }
    }
}

#[cfg(test)]
mod tests;
