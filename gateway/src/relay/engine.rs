//! The record layer of a connection, which is selected once.

use std::sync::Arc;

use rustls::Error;

use crate::buffers::limits::PLAINTEXT_ROOM;
use crate::buffers::{Batch, Buffer, Pool, Size};
use crate::config::RecordLayer;
use crate::handshake::Secured;
use crate::metrics::KeyUpdates;
use crate::relay::limits::RECORD_OVERHEAD_MAX;
use crate::tls::Cipher;
use crate::tls::post_handshake::InPlace;
use crate::tls::session::{HandedOver, Opened, SealError, Session};
use crate::upstream::limits::CONTROL_ROOM;

/// The record layer of a connection.
pub(super) enum Engine {
    /// Records are sealed and opened in place; TLS 1.3.
    InPlace(Box<InPlace>),
    /// The records of rustls, which copies the payload: TLS 1.2, and the reference.
    Buffered(Box<Session>),
}

/// A batch on its way through the engine, or no batch.
#[derive(Default)]
pub(super) struct PendingBatch {
    batch: Option<Batch>,
    // The next record, if the batch is sealed in several turns.
    next: usize,
}

impl PendingBatch {
    /// Takes the next batch and returns whether there is one.
    pub(super) fn hold(&mut self, batch: Option<Batch>) -> bool {
        self.batch = batch;
        self.next = 0;
        self.batch.is_some()
    }

    /// The number of payload bytes.
    pub(super) fn len(&self) -> usize {
        self.batch.as_ref().map_or(0, Batch::len)
    }

    /// The payload, record by record.
    pub(super) fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let batches = self.batch.iter();
        batches.flat_map(|batch| (0..batch.records()).map(|index| batch.payload(index)))
    }

    /// Whether the socket had no more bytes than this batch.
    pub(super) fn is_short(&self) -> bool {
        let room = self.batch.as_ref().map_or(0, Batch::room);
        self.len() < room
    }

    /// The number of records that are not sealed yet.
    pub(super) fn records(&self) -> usize {
        let records = self.batch.as_ref().map_or(0, Batch::records);
        records.saturating_sub(self.next)
    }
}

impl Engine {
    /// Continues after the handshake, with the bytes that were received after it. `cipher` is for records
    /// that are sealed and opened in place; rustls has its own.
    ///
    /// # Errors
    ///
    /// The error of rustls at the hand-over.
    pub(super) fn new(
        secured: Secured,
        layer: RecordLayer,
        cipher: Cipher,
        key_records: u64,
    ) -> Result<(Self, Buffer, Vec<u8>), Error> {
        let Secured { session, incoming } = secured;
        let handed_over = match layer {
            RecordLayer::InPlace => session.hand_over(incoming.filled(), cipher, key_records)?,
            RecordLayer::Rustls => HandedOver::Kept(session),
        };
        Ok(match handed_over {
            HandedOver::InPlace(in_place, early) => (Self::InPlace(in_place), incoming, early),
            HandedOver::Kept(session) => (Self::Buffered(Box::new(session)), incoming, Vec::new()),
        })
    }

    /// Counts key updates in `there` from now on; rustls does not report its own.
    pub(super) fn count_key_updates(&mut self, there: &Arc<KeyUpdates>) {
        if let Self::InPlace(in_place) = self {
            in_place.count_key_updates(there);
        }
    }

    /// Appends the bytes that must be sent before `records` more records are sealed.
    pub(super) fn before(
        &mut self,
        records: usize,
        outgoing: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        match self {
            Self::InPlace(in_place) => Ok(in_place.before(records, outgoing)?),
            // rustls sends its key updates itself, before the records that it seals.
            Self::Buffered(_) => Ok(()),
        }
    }

    /// Seals the records for one send; `None` if nothing is left.
    pub(super) fn seal(
        &mut self,
        plain: &mut PendingBatch,
        pool: &Pool,
    ) -> Result<Option<Buffer>, SealError> {
        match self {
            Self::InPlace(in_place) => match plain.batch.take() {
                Some(batch) => Ok(Some(in_place.seal(batch).map_err(defect)?)),
                None => Ok(None),
            },
            Self::Buffered(session) => seal_copy(session, plain, pool),
        }
    }

    /// Appends close_notify.
    pub(super) fn close_notify(&mut self, outgoing: &mut Vec<u8>) -> Result<(), SealError> {
        match self {
            Self::InPlace(in_place) => Ok(in_place.close_notify(outgoing)?),
            Self::Buffered(session) => {
                let mut records = Buffer::with_room(CONTROL_ROOM);
                session.close_notify(&mut records)?;
                outgoing.extend_from_slice(records.filled());
                Ok(())
            }
        }
    }

    /// Seals `payload` and then close_notify: the last bytes that the peer receives.
    pub(super) fn linger(&mut self, payload: &[u8], pool: &Pool) -> Result<Vec<u8>, SealError> {
        let mut outgoing = self.seal_alone(payload, pool)?;
        self.close_notify(&mut outgoing)?;
        Ok(outgoing)
    }

    /// Seals `payload`, outside the relay.
    pub(super) fn seal_alone(&mut self, payload: &[u8], pool: &Pool) -> Result<Vec<u8>, SealError> {
        let mut outgoing = Vec::new();
        self.before(1, &mut outgoing)?;
        let mut batch = pool.batch(Size::Small);
        batch.copy_from(payload);
        let mut plain = PendingBatch::default();
        plain.hold(Some(batch));
        while let Some(mut records) = self.seal(&mut plain, pool)? {
            records.move_outgoing(&mut outgoing);
        }
        Ok(outgoing)
    }

    /// Opens the complete records of `incoming`. The payload becomes parts to be sent: parts of `incoming` if
    /// records are opened in place, else of `payload`, which is borrowed from `pool`.
    pub(super) fn open(
        &mut self,
        incoming: &mut Buffer,
        payload: &mut Option<Buffer>,
        pool: &Pool,
        answer: &mut Vec<u8>,
    ) -> Result<Opened, Error> {
        match self {
            Self::InPlace(in_place) => Ok(in_place.open(incoming)?),
            Self::Buffered(session) => {
                let size = match incoming.filled().len() > Size::Small.room() {
                    true => Size::Large,
                    false => Size::Small,
                };
                let mut copied = pool.take(size);
                let opened = session.open(incoming, &mut copied, answer);
                copied.send_filled();
                *payload = Some(copied).filter(|copied| copied.parts() > 0);
                opened
            }
        }
    }

    /// The alert for the peer after an error.
    pub(super) fn final_alert(&mut self) -> Vec<u8> {
        match self {
            Self::InPlace(in_place) => in_place.final_alert(),
            Self::Buffered(session) => session.final_alert(),
        }
    }
}

fn seal_copy(
    session: &mut Session,
    plain: &mut PendingBatch,
    pool: &Pool,
) -> Result<Option<Buffer>, SealError> {
    let left = plain.records();
    let Some(batch) = plain.batch.as_ref().filter(|_| left > 0) else {
        plain.batch = None;
        return Ok(None);
    };
    let size = match left < Size::Small.records() {
        true => Size::Small,
        false => Size::Large,
    };
    let mut records = pool.take(size);
    // There is also room for the bytes that rustls writes before a record.
    const ROOM: usize = PLAINTEXT_ROOM + RECORD_OVERHEAD_MAX + CONTROL_ROOM;
    while plain.next < batch.records() && records.spare() >= ROOM {
        session.seal(batch.payload(plain.next), &mut records)?;
        plain.next = plain.next.saturating_add(1);
    }
    records.send_filled();
    Ok(Some(records))
}

fn defect(error: crate::tls::record::RecordError) -> SealError {
    SealError::Tls(Error::General(error.to_string()))
}
