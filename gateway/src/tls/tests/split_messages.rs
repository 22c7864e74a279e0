//! A handshake message after the handshake may span records; sealing goes on in the middle of it.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::version::TLS13;
use rustls::{Connection, ConnectionTrafficSecrets};

use super::Gateway;
use super::authority::Authority;
use super::ends::{End, Foreign, everything, foreign_client};
use crate::buffers::Buffer;
use crate::tls::session::{HandshakeStep, Opened, Session};

const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
// KeyUpdate (RFC 8446 section 4.6.3): type 24, length 1, update_not_requested.
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// Seals records by hand, in any split, with the keys of a foreign client.
struct Scribe {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Scribe {
    fn of(connection: rustls::ClientConnection) -> Self {
        let secrets = connection
            .dangerous_extract_secrets()
            .expect("extraction is on");
        let (sequence, ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = secrets.tx else {
            panic!("AES-256-GCM was negotiated")
        };
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("a key of 32 octets");
        let iv = iv.as_ref().try_into().expect("an IV of 12 octets");
        Self {
            key: LessSafeKey::new(key),
            iv,
            sequence,
        }
    }

    fn record(&mut self, content_type: u8, content: &[u8]) -> Vec<u8> {
        let mut nonce = self.iv;
        for (octet, part) in nonce.iter_mut().skip(4).zip(self.sequence.to_be_bytes()) {
            *octet ^= part;
        }
        self.sequence += 1;
        let mut inner = content.to_vec();
        inner.push(content_type);
        let length = u16::try_from(inner.len() + 16)
            .expect("a short record")
            .to_be_bytes();
        let header = [APPLICATION_DATA, 3, 3, length[0], length[1]];
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(header), &mut inner)
            .expect("a record of legal length");
        [&header[..], &inner].concat()
    }
}

fn accepted() -> (Session, Scribe) {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let peer = authority.issue(&[super::PEER]);
    let mut config = foreign_client(Some(&peer), everything(), &[&TLS13]);
    config.enable_secret_extraction = true;
    let mut foreign = Foreign::client(config);
    let (connection, _) = gateway.acceptor().start().expect("a handshake begins");
    let mut session = Session::from(connection);
    let mut incoming = Buffer::with_room(64 << 10);
    let mut answer = Vec::new();
    loop {
        incoming.append(&foreign.advance(&answer));
        answer.clear();
        loop {
            match session
                .advance(&mut incoming, &mut answer)
                .expect("a good peer")
            {
                HandshakeStep::Progress => {}
                HandshakeStep::NeedBytes => break,
                HandshakeStep::Done => {
                    foreign.advance(&answer);
                    let Connection::Client(client) = foreign.connection else {
                        panic!("it was made as a client")
                    };
                    return (session, Scribe::of(client));
                }
            }
        }
    }
}

#[test]
fn sealing_goes_on_between_the_parts_of_a_key_update() {
    let (mut session, mut scribe) = accepted();
    let mut incoming = Buffer::with_room(64 << 10);
    let mut payload = Buffer::with_room(64 << 10);
    let mut answer = Vec::new();
    for part in [&KEY_UPDATE[..2], &KEY_UPDATE[2..4]] {
        incoming.append(&scribe.record(HANDSHAKE, part));
        let opened = session
            .open(&mut incoming, &mut payload, &mut answer)
            .expect("a part");
        assert_eq!(opened, Opened::NeedBytes);
        let mut records = Buffer::with_room(64 << 10);
        session
            .seal(b"meanwhile", &mut records)
            .expect("our direction is not concerned");
        assert!(!records.is_empty());
    }
    incoming.append(&scribe.record(HANDSHAKE, &KEY_UPDATE[4..]));
    let opened = session
        .open(&mut incoming, &mut payload, &mut answer)
        .expect("the last part");
    assert_eq!(opened, Opened::NeedBytes);
    assert!(incoming.is_empty(), "the message was consumed");
}

#[test]
fn payload_in_the_middle_of_a_message_is_refused() {
    let (mut session, mut scribe) = accepted();
    let mut incoming = Buffer::with_room(64 << 10);
    let mut payload = Buffer::with_room(64 << 10);
    incoming.append(&scribe.record(HANDSHAKE, &KEY_UPDATE[..2]));
    incoming.append(&scribe.record(APPLICATION_DATA, b"in between"));
    let refused = session.open(&mut incoming, &mut payload, &mut Vec::new());
    assert!(refused.is_err(), "RFC 8446 section 5.1: {refused:?}");
}

#[test]
fn sealing_goes_on_while_payload_and_a_part_came_with_the_handshake() {
    let (mut session, mut scribe) = accepted();
    let mut incoming = Buffer::with_room(64 << 10);
    incoming.append(&scribe.record(APPLICATION_DATA, &[7; 10_000]));
    incoming.append(&scribe.record(HANDSHAKE, &KEY_UPDATE[..2]));
    while session
        .advance(&mut incoming, &mut Vec::new())
        .expect("a good peer")
        != HandshakeStep::Done
    {}
    // What the pool lends when it is exhausted: after the early payload no whole record fits.
    let mut payload = Buffer::with_room(crate::buffers::limits::PLAINTEXT_ROOM);
    let opened = session
        .open(&mut incoming, &mut payload, &mut Vec::new())
        .expect("payload");
    assert_eq!((opened, payload.filled().len()), (Opened::Full, 10_000));
    let mut records = Buffer::with_room(64 << 10);
    session
        .seal(b"meanwhile", &mut records)
        .expect("our direction is not concerned");
}
