//! The peer after the handshake: it can make any record, and reads the answers.
//!
//! The peer uses its own AES-GCM (from ring) and the key schedule of rustls, and no code of the tested record
//! layer.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const DATA: u8 = 23;

/// Bytes of a tag.
pub(crate) const TAG: usize = 16;

/// The key schedule of the peer.
pub(crate) enum Schedule {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

/// One direction's key.
struct Key {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Key {
    fn new((sequence, secrets): &(u64, ConnectionTrafficSecrets)) -> Self {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            _ => panic!("AES-GCM was negotiated"),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).expect("a key of the right length");
        Self {
            key: LessSafeKey::new(key),
            iv: iv.as_ref().try_into().expect("an IV of 12 bytes"),
            sequence: *sequence,
        }
    }

    // RFC 8446 section 5.3.
    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        for (octet, part) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *octet ^= part;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// The messages that the peer received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenedRecord {
    pub(crate) content_type: u8,
    pub(crate) content: Vec<u8>,
}

/// The other end of the tested receiver.
pub(crate) struct Peer {
    seals: Key,
    opens: Key,
    schedule: Schedule,
}

impl Peer {
    pub(crate) fn new(secrets: &ExtractedSecrets, schedule: Schedule) -> Self {
        Self {
            seals: Key::new(&secrets.tx),
            opens: Key::new(&secrets.rx),
            schedule,
        }
    }

    /// A valid record with this number of padding bytes.
    pub(crate) fn record(&mut self, content_type: u8, content: &[u8], padding: usize) -> Vec<u8> {
        let mut inner = content.to_vec();
        inner.push(content_type);
        inner.resize(inner.len() + padding, 0);
        self.protect(inner)
    }

    /// A record around any inner plaintext, content type and padding included.
    pub(crate) fn protect(&mut self, inner: Vec<u8>) -> Vec<u8> {
        self.protect_under([DATA, 3, 3], inner)
    }

    /// A record with any type and version, which are authenticated.
    pub(crate) fn protect_under(&mut self, outer: [u8; 3], mut inner: Vec<u8>) -> Vec<u8> {
        let length = u16::try_from(inner.len() + TAG).expect("a length of 16 bits");
        let [high, low] = length.to_be_bytes();
        let header = [outer[0], outer[1], outer[2], high, low];
        let nonce = self.seals.nonce();
        self.seals
            .key
            .seal_in_place_append_tag(nonce, Aad::from(header), &mut inner)
            .expect("a record of legal length");
        [&header[..], &inner].concat()
    }

    /// Skips a sequence number, as if a record had been lost.
    pub(crate) fn skip(&mut self) {
        self.seals.sequence += 1;
    }

    /// Switches to the next key, as for a key update.
    pub(crate) fn update(&mut self) {
        let next = match &mut self.schedule {
            Schedule::Client(schedule) => schedule.update_tx_secret(),
            Schedule::Server(schedule) => schedule.update_tx_secret(),
        };
        self.seals = Key::new(&next.expect("TLS 1.3 has key updates"));
    }

    /// Opens complete records of the receiver in order, and follows its key updates.
    pub(crate) fn read(&mut self, mut records: &[u8]) -> Vec<OpenedRecord> {
        let mut records_read = Vec::new();
        while let Some((header, rest)) = records.split_first_chunk::<5>() {
            assert_eq!(header[..3], [DATA, 3, 3], "RFC 8446 section 5.2");
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            let (protected, rest) = rest.split_at(length);
            records = rest;
            records_read.push(self.open(*header, protected.to_vec()));
        }
        assert!(records.is_empty(), "half a record");
        records_read
    }

    fn open(&mut self, header: [u8; 5], mut protected: Vec<u8>) -> OpenedRecord {
        let nonce = self.opens.nonce();
        let inner = self
            .opens
            .key
            .open_in_place(nonce, Aad::from(header), &mut protected)
            .expect("the receiver seals with the key that is due");
        let end = inner.iter().rposition(|byte| *byte != 0);
        let end = end.expect("a content type");
        let opened = OpenedRecord {
            content_type: inner[end],
            content: inner[..end].to_vec(),
        };
        if opened.content_type == HANDSHAKE {
            self.follow(&opened.content);
        }
        opened
    }

    // A receiver sends key updates, and no other handshake messages.
    fn follow(&mut self, message: &[u8]) {
        assert_eq!(message, [24, 0, 0, 1, 0], "update_not_requested");
        let next = match &mut self.schedule {
            Schedule::Client(schedule) => schedule.update_rx_secret(),
            Schedule::Server(schedule) => schedule.update_rx_secret(),
        };
        self.opens = Key::new(&next.expect("TLS 1.3 has key updates"));
    }
}
