//! The fuzz targets of the record layer: the opener with recipes and with bytes, and the hand-over.

use gateway::buffers::Buffer;
use gateway::config::limits::KEY_RECORDS_MAX;
use gateway::tls::Cipher;
use gateway::tls::post_handshake::InPlace;
use gateway::tls::session::{self, HandedOver};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

use crate::choices::Choices;
use crate::differences::between;
use crate::differential;
use crate::engines::{self, Course, End, Layer, Outcome};
use crate::pair::{self, Kind, Role};
use crate::peer::{DATA, Peer};
use crate::recipe::Dish;

/// The maximum allocation for opening a stream of any length: the list of parts, which the pool's buffers
/// contain, and the text of an error.
const OPENING_MAX: usize = 8 << 10;

/// The maximum allocation of a connection besides its records: rustls's handshake, twice.
const CONNECTION_MAX: usize = 4 << 20;

/// Good and bad records, judged by rustls.
pub(crate) fn open_recipes(input: &[u8]) -> String {
    match differential::play(input) {
        Ok(compared) => format!("{} {:?}", word(&compared.ours), compared.difference),
        Err(unknown) => panic!("the layers differ\n{unknown}"),
    }
}

/// Records around any inner plaintext, or other bytes, in a few pieces.
pub(crate) fn open_octets(input: &[u8]) -> String {
    let mut choices = Choices::new(input);
    let kind = differential::kind(&mut choices);
    let piece = 1 + choices.below(3000);
    let (stream, payload) = octets(&mut choices, &mut pair::script(kind).peer);
    let mut in_place = in_place(kind);
    let mut incoming = Buffer::with_room(stream.len() + 1);
    let mut opened = Opened::default();
    for piece in stream.chunks(piece) {
        incoming.compact();
        incoming.append(piece);
        opened.open(&mut in_place, &mut incoming);
    }
    assert!(
        opened.allocated <= OPENING_MAX,
        "{} bytes",
        opened.allocated
    );
    assert!(
        payload.starts_with(&opened.plain),
        "payload that nobody sent"
    );
    format!("{} {:?}", opened.plain.len().min(3), opened.end)
}

/// The same after the last flight of a handshake, split anywhere.
pub(crate) fn take_over(input: &[u8]) -> String {
    let mut choices = Choices::new(input);
    let kind = differential::kind(&mut choices);
    let early = choices.below(4096);
    let (stream, _) = octets(&mut choices, &mut pair::script(kind).peer);
    let course = Course {
        kind,
        stream: &stream,
        early: early.min(stream.len()),
        pieces: &[1 + choices.below(500)],
    };
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    let ours = engines::go(&course, Layer::InPlace(Cipher::AwsLc));
    let allocated = region.change().bytes_allocated;
    let bound = CONNECTION_MAX + 16 * stream.len();
    assert!(
        allocated <= bound || !ours.is_in_place,
        "{allocated} bytes of {bound}"
    );
    let by_ring = engines::go(&course, Layer::InPlace(Cipher::Ring));
    assert_eq!(ours, by_ring, "the ciphers differ");
    let theirs = engines::go(&course, Layer::Rustls);
    // The content of these bytes is unknown.
    let dish = Dish {
        stream: Vec::new(),
        has_odd_version: true,
        has_odd_ticket: true,
        has_flood: true,
    };
    let difference = between(&dish, &ours, &theirs);
    let difference = difference.unwrap_or_else(|unknown| panic!("the layers differ\n{unknown}"));
    format!("{} {difference:?}", word(&ours))
}

// A stream, and the payload that was sealed in it.
fn octets(choices: &mut Choices<'_>, peer: &mut Peer) -> (Vec<u8>, Vec<u8>) {
    let (mut stream, mut payload) = (Vec::new(), Vec::new());
    while !choices.are_made() {
        let length = choices.below(40);
        if choices.octet() >= 250 {
            stream.extend_from_slice(choices.take(length));
            continue;
        }
        let content_type = choices.pick(&[DATA, 22, 21, 22, 22, 21, 0]);
        let mut inner = choices.take(length).to_vec();
        inner.extend((content_type != 0).then_some(content_type));
        if choices.chance(20) {
            inner.resize(inner.len() + choices.below(20_000), 0);
        }
        // The last byte that is not zero is the type, wherever it came from.
        if let Some(end) = inner.iter().rposition(|octet| *octet != 0)
            && inner[end] == DATA
        {
            payload.extend_from_slice(&inner[..end]);
        }
        stream.extend(peer.protect(inner));
    }
    (stream, payload)
}

fn in_place(kind: Kind) -> Box<InPlace> {
    let (session, _) = pair::both(kind);
    let cipher = match kind.role {
        Role::Client => Cipher::AwsLc,
        Role::Server => Cipher::Ring,
    };
    match session.hand_over(&[], cipher, KEY_RECORDS_MAX) {
        Ok(HandedOver::InPlace(in_place, _)) => in_place,
        _ => panic!("nothing keeps our layer from taking over"),
    }
}

struct Opened {
    plain: Vec<u8>,
    end: End,
    allocated: usize,
}

impl Default for Opened {
    fn default() -> Self {
        Self {
            plain: Vec::new(),
            end: End::Open,
            allocated: 0,
        }
    }
}

impl Opened {
    fn open(&mut self, in_place: &mut InPlace, incoming: &mut Buffer) {
        if self.end != End::Open {
            return;
        }
        loop {
            let region = Region::new(&INSTRUMENTED_SYSTEM);
            let progress = in_place.open(incoming);
            self.allocated += region.change().bytes_allocated;
            engines::gather(incoming, &mut self.plain);
            self.end = match progress {
                Ok(session::Opened::Full) => continue,
                Ok(session::Opened::NeedBytes) => End::Open,
                Ok(session::Opened::Closed) => End::Closed,
                Err(wrong) => End::Ours(wrong, None),
            };
            return;
        }
    }
}

fn word(outcome: &Outcome) -> String {
    let plain = outcome.plain.len().min(3);
    let in_place = outcome.is_in_place;
    format!("{in_place} {plain} {:?} {:?}", outcome.end, outcome.alert)
}
