//! Which record layer a connection has, chosen once.

use std::sync::Arc;

use rustls::Error;

use crate::buffers::{Batch, Buffer, Pool, Size};
use crate::config::RecordLayer;
use crate::limits::{CONTROL_ROOM, PLAINTEXT_ROOM, RECORD_OVERHEAD_MAX};
use crate::metrics::KeyUpdates;
use crate::tls::Cipher;
use crate::tls::handshake::Secured;
use crate::tls::post_handshake::InPlace;
use crate::tls::session::{HandedOver, Opened, SealError, Session};

/// The record layer of a connection.
pub(super) enum Engine {
    /// Records are sealed and opened where they lie; TLS 1.3.
    InPlace(Box<InPlace>),
    /// rustls's own records: payload is copied on its way through. TLS 1.2, and the reference.
    Buffered(Box<Session>),
}

/// A batch on its way through the engine, or none.
#[derive(Default)]
pub(super) struct PendingBatch {
    batch: Option<Batch>,
    // The record that is next, where the batch is sealed in several turns.
    next: usize,
}

impl PendingBatch {
    /// Takes in the next batch, and says whether there is one.
    pub(super) fn hold(&mut self, batch: Option<Batch>) -> bool {
        self.batch = batch;
        self.next = 0;
        self.batch.is_some()
    }

    /// Octets of payload.
    pub(super) fn len(&self) -> usize {
        self.batch.as_ref().map_or(0, Batch::len)
    }

    /// The payload, record by record.
    pub(super) fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let batches = self.batch.iter();
        batches.flat_map(|batch| (0..batch.records()).map(|index| batch.payload(index)))
    }

    /// Whether the socket had no more to give than this.
    pub(super) fn is_short(&self) -> bool {
        let room = self.batch.as_ref().map_or(0, Batch::room);
        self.len() < room
    }

    /// Records that are still to be sealed.
    pub(super) fn records(&self) -> usize {
        let records = self.batch.as_ref().map_or(0, Batch::records);
        records.saturating_sub(self.next)
    }
}

impl Engine {
    /// Goes on where the handshake has ended. Returns what was received behind it with the engine: records, and
    /// payload that is opened already. `cipher` is for records that are sealed and opened in place; rustls has its
    /// own.
    ///
    /// # Errors
    /// What rustls says to the hand-over.
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

    /// Counts key updates there from now on; rustls does not tell of those that it makes.
    pub(super) fn count_key_updates(&mut self, there: &Arc<KeyUpdates>) {
        if let Self::InPlace(in_place) = self {
            in_place.count_key_updates(there);
        }
    }

    /// Appends what must go out before `records` more are sealed.
    pub(super) fn before(
        &mut self,
        records: usize,
        outgoing: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        match self {
            Self::InPlace(in_place) => Ok(in_place.before(records, outgoing)?),
            // rustls puts its key updates in front of what it seals.
            Self::Buffered(_) => Ok(()),
        }
    }

    /// Seals as much as one send takes; `None` when nothing is left.
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

    /// Seals `words` and close_notify behind them, to be sent as they are: the last that the peer hears.
    pub(super) fn linger(&mut self, words: &[u8], pool: &Pool) -> Result<Vec<u8>, SealError> {
        let mut outgoing = Vec::new();
        self.before(1, &mut outgoing)?;
        let mut batch = pool.batch(Size::Small);
        batch.copy_from(words);
        let mut plain = PendingBatch::default();
        plain.hold(Some(batch));
        while let Some(mut records) = self.seal(&mut plain, pool)? {
            records.move_outgoing(&mut outgoing);
        }
        self.close_notify(&mut outgoing)?;
        Ok(outgoing)
    }

    /// Opens whole records of `incoming`. The payload becomes parts to be sent, of `incoming` where
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
    pub(super) fn last_words(&mut self) -> Vec<u8> {
        match self {
            Self::InPlace(in_place) => in_place.last_words(),
            Self::Buffered(session) => session.last_words(),
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
    // What rustls puts in front of a record has room as well.
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
