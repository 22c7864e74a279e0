//! The same stream through both record layers, split at the same positions.

use gateway::buffers::limits::{PLAINTEXT_ROOM, RECORD_ROOM};
use gateway::buffers::{Batch, Buffer};
use gateway::config::limits::KEY_RECORDS_MAX;
use gateway::tls::Cipher;
use gateway::tls::post_handshake::{InPlace, PostHandshakeError};
use gateway::tls::session::{HandedOver, Opened, Session};
use gateway::upstream::limits::CONTROL_ROOM;
use rustls::Error;

use crate::pair::{Kind, receiver, run, script};
use crate::peer::{ALERT, DATA, HANDSHAKE, OpenedRecord};

/// A stream and its splits.
pub(crate) struct Course<'s> {
    pub(crate) kind: Kind,
    /// The records after the handshake.
    pub(crate) stream: &'s [u8],
    /// The bytes of the stream that come with the last bytes of the handshake.
    pub(crate) early: usize,
    /// The sizes of the following pieces, in turn.
    pub(crate) pieces: &'s [usize],
}

/// The record layer of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    InPlace(Cipher),
    Rustls,
}

/// How opening ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// It waits for more.
    Open,
    /// The peer has sent close_notify.
    Closed,
    /// The gateway's layer refuses, with the type of the refused record.
    Ours(PostHandshakeError, Option<u8>),
    /// rustls refuses, in the handshake or after it.
    Rustls(Error),
}

/// The result of a course.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) plain: Vec<u8>,
    pub(crate) end: End,
    /// The alert that the peer received after an error, level and description.
    pub(crate) alert: Option<Vec<u8>>,
    /// Whether the gateway's layer took over: if half a handshake message came with the handshake, rustls
    /// keeps the connection.
    pub(crate) is_in_place: bool,
    /// Whether a part of the stream came with the handshake.
    pub(crate) had_early: bool,
}

/// Sends the course through the gateway's layer with each cipher; the results must be equal.
pub(crate) fn go_in_place(course: &Course<'_>) -> Outcome {
    let [one, other] = Cipher::ALL.map(|cipher| go(course, Layer::InPlace(cipher)));
    assert_eq!(one, other, "the ciphers differ");
    one
}

/// Sends the course through one of the layers, and payload back if it has not failed.
pub(crate) fn go(course: &Course<'_>, layer: Layer) -> Outcome {
    let script = script(course.kind);
    let mut peer = script.peer;
    let mut taker = Taker::new(course, &script.flights, layer);
    let mut rest = &course.stream[course.early..];
    let mut pieces = course.pieces.iter().cycle();
    while !rest.is_empty() && taker.end == End::Open {
        let piece = pieces.next().map_or(rest.len(), |piece| (*piece).max(1));
        let (piece, behind) = rest.split_at(piece.min(rest.len()));
        taker.take(piece);
        rest = behind;
    }
    let alert = taker.close(|records| peer.read(records));
    Outcome {
        plain: taker.plain,
        end: taker.end,
        alert,
        is_in_place: matches!(taker.engine, Engine::InPlace(_)),
        had_early: course.early > 0,
    }
}

/// The record layer after the handshake.
pub(crate) enum Engine {
    InPlace(Box<InPlace>),
    Rustls(Box<Session>),
}

/// Seals `plain` like the relay: required records come first.
pub(crate) fn seal(engine: &mut Engine, plain: &[u8]) -> Vec<u8> {
    match engine {
        Engine::InPlace(in_place) => {
            let mut records = Vec::new();
            let batch = batch(plain);
            in_place
                .before(batch.records(), &mut records)
                .expect("keys");
            records.extend(sent(in_place.seal(batch).expect("room")));
            records
        }
        Engine::Rustls(session) => {
            let rooms = plain.len().div_ceil(PLAINTEXT_ROOM).max(1);
            let mut records = Buffer::with_room(rooms * (RECORD_ROOM + CONTROL_ROOM));
            for part in plain.chunks(PLAINTEXT_ROOM) {
                session.seal(part, &mut records).expect("room");
            }
            records.filled().to_vec()
        }
    }
}

/// The bytes of `buffer` to send, in order; they count as sent.
pub(crate) fn sent(mut buffer: Buffer) -> Vec<u8> {
    let mut all = Vec::new();
    gather(&mut buffer, &mut all);
    all
}

// Receives the payload where the relay receives it: into the rooms of the records.
fn batch(plain: &[u8]) -> Batch {
    let rooms = plain.len().div_ceil(PLAINTEXT_ROOM).max(1);
    let mut batch = Batch::new(Buffer::with_room(rooms * RECORD_ROOM));
    let (mut bytes, parts) = batch.lend();
    for (part, plain) in parts.iter().zip(plain.chunks(PLAINTEXT_ROOM)) {
        bytes[part.clone()][..plain.len()].copy_from_slice(plain);
    }
    batch.restore((bytes, parts));
    batch.fill(plain.len());
    batch
}

/// Moves the bytes of `buffer` to the end of `into`.
pub(crate) fn gather(buffer: &mut Buffer, into: &mut Vec<u8>) {
    let (bytes, mut parts) = buffer.lend_parts();
    for part in parts.drain(..) {
        into.extend_from_slice(&bytes[part]);
    }
    buffer.restore_parts((bytes, parts));
}

/// The receiving end.
struct Taker {
    engine: Engine,
    incoming: Buffer,
    plain: Vec<u8>,
    end: End,
}

impl Taker {
    // Completes the handshake, with the early part of the stream after its last flight.
    fn new(course: &Course<'_>, flights: &[Vec<u8>], layer: Layer) -> Self {
        let handshake: usize = flights.iter().map(Vec::len).sum();
        let mut incoming = Buffer::with_room(handshake + course.stream.len() + 1);
        let mut session = receiver(course.kind);
        let mut outgoing = Vec::new();
        let mut end = End::Open;
        run(&mut session, &mut incoming, &mut outgoing).expect("a beginning");
        for (index, flight) in flights.iter().enumerate() {
            incoming.append(flight);
            if index + 1 == flights.len() {
                incoming.append(&course.stream[..course.early]);
            }
            if let Err(error) = run(&mut session, &mut incoming, &mut outgoing) {
                end = End::Rustls(error);
            }
        }
        let mut plain = Vec::new();
        let engine = match layer {
            Layer::InPlace(cipher) if end == End::Open => {
                let handed = session.hand_over(incoming.filled(), cipher, KEY_RECORDS_MAX);
                match handed.expect("the handshake is done") {
                    HandedOver::InPlace(in_place, early) => {
                        plain = early;
                        Engine::InPlace(in_place)
                    }
                    HandedOver::Kept(session) => Engine::Rustls(Box::new(session)),
                }
            }
            _ => Engine::Rustls(Box::new(session)),
        };
        let mut taker = Self {
            engine,
            incoming,
            plain,
            end,
        };
        if taker.end == End::Open {
            taker.open();
        }
        taker
    }

    fn take(&mut self, piece: &[u8]) {
        self.incoming.compact();
        assert_eq!(self.incoming.append(piece), piece.len(), "room was made");
        self.open();
    }

    fn open(&mut self) {
        self.end = match &mut self.engine {
            Engine::InPlace(in_place) => open_ours(in_place, &mut self.incoming, &mut self.plain),
            Engine::Rustls(session) => open_theirs(session, &mut self.incoming, &mut self.plain),
        };
    }

    // After an error, sends the alert if there is one; else payload must reach the peer, whatever key updates
    // it has requested, and close_notify.
    fn close(&mut self, mut read: impl FnMut(&[u8]) -> Vec<OpenedRecord>) -> Option<Vec<u8>> {
        if matches!(self.end, End::Open | End::Closed) {
            let answer = read(&seal(&mut self.engine, b"in answer"));
            let content: Vec<_> = answer.iter().filter(|t| t.content_type == DATA).collect();
            assert_eq!(
                (content.len(), &content[0].content[..]),
                (1, &b"in answer"[..])
            );
            assert!(
                answer
                    .iter()
                    .all(|t| [DATA, HANDSHAKE].contains(&t.content_type))
            );
            let answer = read(&self.close_notify());
            assert_eq!(answer.last().map(|t| &t.content[..]), Some(&[1, 0][..]));
            return None;
        }
        let words = match &mut self.engine {
            Engine::InPlace(in_place) => in_place.final_alert(),
            Engine::Rustls(session) => session.final_alert(),
        };
        let mut answer = read(&words);
        answer.retain(|answer| answer.content_type != HANDSHAKE);
        assert!(answer.len() <= 1, "one alert at most: {answer:?}");
        answer.pop().map(|answer| {
            assert_eq!(answer.content_type, ALERT);
            answer.content
        })
    }

    fn close_notify(&mut self) -> Vec<u8> {
        let mut records = Buffer::with_room(CONTROL_ROOM);
        match &mut self.engine {
            Engine::InPlace(in_place) => {
                let mut words = Vec::new();
                in_place.close_notify(&mut words).expect("room");
                records.append(&words);
            }
            Engine::Rustls(session) => session.close_notify(&mut records).expect("room"),
        }
        records.filled().to_vec()
    }
}

/// Opens the available bytes with the gateway's layer, and appends the payload to `plain`.
pub(crate) fn open_ours(in_place: &mut InPlace, incoming: &mut Buffer, plain: &mut Vec<u8>) -> End {
    loop {
        let opened = in_place.open(incoming);
        gather(incoming, plain);
        match opened {
            Ok(Opened::Full) => {}
            Ok(Opened::NeedBytes) => return End::Open,
            Ok(Opened::Closed) => return End::Closed,
            Err(wrong) => {
                assert_eq!(
                    in_place.open(incoming),
                    Err(wrong.clone()),
                    "it stays wrong"
                );
                return End::Ours(wrong, incoming.filled().first().copied());
            }
        }
    }
}

/// Opens the available bytes with rustls, and appends the payload to `plain`.
pub(crate) fn open_theirs(
    session: &mut Session,
    incoming: &mut Buffer,
    plain: &mut Vec<u8>,
) -> End {
    let mut payload = Buffer::with_room(4 * PLAINTEXT_ROOM);
    loop {
        let opened = session.open(incoming, &mut payload, &mut Vec::new());
        plain.extend_from_slice(payload.filled());
        payload.consume(usize::MAX);
        match opened {
            Ok(Opened::Full) => {}
            Ok(Opened::NeedBytes) => return End::Open,
            Ok(Opened::Closed) => return End::Closed,
            Err(error) => return End::Rustls(error),
        }
    }
}
