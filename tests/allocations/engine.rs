//! The record layer with the pool: batches are sealed and opened in place.

use std::sync::Arc;

use gateway::buffers::limits::PLAINTEXT_ROOM;
use gateway::buffers::{Buffer, Pool, Size};
use gateway::config::limits::KEY_RECORDS_MAX;
use gateway::tls::Cipher;
use gateway::tls::post_handshake::InPlace;
use gateway::tls::session::{HandedOver, HandshakeStep, Opened, Session};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use wardgate_tests::Pki;
use wardgate_tests::tls::{TLS13, client_config, server_config};

use crate::allocations;

/// The number of batches from one end to the other.
const BATCHES: usize = 1000;

/// The contents of the batches: one message, a small buffer of records, a large one.
const FILLS: [(Size, usize); 3] = [
    (Size::Small, 200),
    (Size::Small, 4 * PLAINTEXT_ROOM),
    (Size::Large, 64 * PLAINTEXT_ROOM),
];

/// Many batches of each kind with each cipher, after one of each that fills the pool.
pub(crate) fn sealing_and_opening_allocate_nothing() {
    for cipher in Cipher::ALL {
        carry_batches(cipher);
    }
}

fn carry_batches(cipher: Cipher) {
    let mut ends = Ends::new(cipher);
    for (size, octets) in FILLS {
        ends.carry(size, octets);
    }
    for (size, octets) in FILLS {
        let count = allocations(|| {
            for _ in 0..BATCHES {
                ends.carry(size, octets);
            }
        });
        assert_eq!(count, 0, "{BATCHES} batches of {octets} bytes by {cipher}");
    }
}

/// Both ends of a connection, each with its own pool.
struct Ends {
    sealing: InPlace,
    opening: InPlace,
    here: Pool,
    there: Pool,
    answers: Vec<u8>,
}

impl Ends {
    fn new(cipher: Cipher) -> Self {
        let (sealing, opening) = shaken(cipher);
        Self {
            sealing,
            opening,
            here: Pool::default(),
            there: Pool::default(),
            answers: Vec::new(),
        }
    }

    /// One turn of each end: like `relay`, with a copy in place of the sockets.
    fn carry(&mut self, size: Size, octets: usize) {
        let mut batch = self.here.batch(size);
        let lent = batch.lend();
        batch.restore(lent);
        batch.fill(octets);
        let owed = self.sealing.before(batch.records(), &mut self.answers);
        owed.expect("the keys are fresh");
        let mut records = self.sealing.seal(batch).expect("the room is there");

        let all = records.outgoing();
        let (bytes, parts) = records.lend_parts();
        let mut incoming = self.there.take(size);
        let sent = parts.iter().flat_map(|part| bytes.get(part.clone()));
        assert_eq!(sent.map(|part| incoming.append(part)).sum::<usize>(), all);
        records.restore_parts((bytes, parts));
        records.sent(all);

        let progress = self.opening.open(&mut incoming).expect("they are whole");
        assert!(matches!(progress, Opened::NeedBytes | Opened::Full));
        assert_eq!(incoming.outgoing(), octets);
        let lent = incoming.lend_parts();
        incoming.restore_parts(lent);
        incoming.sent(octets);
    }
}

/// The layers of a client and a server after their handshake.
fn shaken(cipher: Cipher) -> (InPlace, InPlace) {
    let pki = Pki::new();
    let leaf = pki.leaf("gw.example");
    let (mut ours, mut theirs) = (client_config(&leaf, TLS13), server_config(&leaf, TLS13));
    ours.enable_secret_extraction = true;
    theirs.enable_secret_extraction = true;
    theirs.send_tls13_tickets = 0;
    let name = ServerName::try_from("gw.example").expect("it is a name");
    let client = UnbufferedClientConnection::new(Arc::new(ours), name).expect("it begins");
    let server = UnbufferedServerConnection::new(Arc::new(theirs)).expect("it begins");
    let (mut client, mut server) = (Session::from(client), Session::from(server));
    let (mut to_client, mut to_server) = (Buffer::with_room(ROOM), Buffer::with_room(ROOM));
    let mut done = (false, false);
    while done != (true, true) {
        done.0 = flight(&mut client, &mut to_client, &mut to_server);
        done.1 = flight(&mut server, &mut to_server, &mut to_client);
    }
    (in_place(client, cipher), in_place(server, cipher))
}

/// Bytes enough for any flight of these handshakes.
const ROOM: usize = 64 << 10;

/// Processes received bytes as far as possible; returns whether the handshake is over.
fn flight(end: &mut Session, incoming: &mut Buffer, outgoing: &mut Buffer) -> bool {
    let mut words = Vec::new();
    let step = loop {
        match end.advance(incoming, &mut words).expect("a good handshake") {
            HandshakeStep::Progress => {}
            step => break step,
        }
    };
    assert_eq!(outgoing.append(&words), words.len());
    step == HandshakeStep::Done
}

fn in_place(end: Session, cipher: Cipher) -> InPlace {
    match end
        .hand_over(&[], cipher, KEY_RECORDS_MAX)
        .expect("TLS 1.3")
    {
        HandedOver::InPlace(layer, _) => *layer,
        HandedOver::Kept(_) => panic!("nothing stands behind the handshake"),
    }
}
