//! Repeatable handshakes in memory, byte for byte.
//!
//! All random values of a handshake are fixed here: the randoms, the key exchange, the signature. Two
//! receivers with the same flights have the same keys, so the same records can be given to both. Nothing of
//! this is secret, and it is used only in the tests.

use std::sync::Arc;

use gateway::buffers::Buffer;
use gateway::tls::session::{HandshakeStep, Session};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup,
};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::version::TLS13;
use rustls::{CipherSuite, ClientConfig, Error, NamedGroup, ServerConfig, SignatureScheme};
use test_peers::AcceptAll;
use test_peers::accept_all::ForgedKey;

use crate::peer::{Peer, Schedule};

/// The role of the receiver, which is the tested end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// A kind of connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) role: Role,
    pub(crate) suite: CipherSuite,
}

/// The bytes that the peer sends until its handshake is done, and the peer from there on.
pub(crate) struct Script {
    pub(crate) flights: Vec<Vec<u8>>,
    pub(crate) peer: Peer,
}

/// A receiver that has not begun.
pub(crate) fn receiver(kind: Kind) -> Session {
    match kind.role {
        Role::Client => client(kind.suite).into(),
        Role::Server => server(kind.suite).into(),
    }
}

/// Makes the handshake once with a receiver that is dropped.
pub(crate) fn script(kind: Kind) -> Script {
    let mut receiver = receiver(kind);
    match kind.role {
        Role::Client => {
            let mut peer = server(kind.suite);
            let flights = talk(&mut receiver, |received, outgoing| {
                step(peer.process_tls_records(received), outgoing)
            });
            let peer = peer.dangerous_into_kernel_connection();
            let (secrets, schedule) = peer.expect("the handshake is done");
            let peer = Peer::new(&secrets, Schedule::Server(schedule));
            Script { flights, peer }
        }
        Role::Server => {
            let mut peer = client(kind.suite);
            let flights = talk(&mut receiver, |received, outgoing| {
                step(peer.process_tls_records(received), outgoing)
            });
            let peer = peer.dangerous_into_kernel_connection();
            let (secrets, schedule) = peer.expect("the handshake is done");
            let peer = Peer::new(&secrets, Schedule::Client(schedule));
            Script { flights, peer }
        }
    }
}

/// Two real ends, a receiver and its peer, with a completed handshake.
pub(crate) fn both(kind: Kind) -> (Session, Session) {
    let peers = match kind.role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    };
    let mut ends = [
        receiver(kind),
        receiver(Kind {
            role: peers,
            ..kind
        }),
    ];
    let mut rooms = [Buffer::with_room(16 << 10), Buffer::with_room(16 << 10)];
    for turn in 0..FLIGHTS_MAX {
        let (this, other) = (turn % 2, (turn + 1) % 2);
        let mut outgoing = Vec::new();
        run(&mut ends[this], &mut rooms[this], &mut outgoing).expect("both are good");
        assert_eq!(rooms[other].append(&outgoing), outgoing.len());
    }
    let [receiver, peer] = ends;
    assert!(rooms.iter().all(Buffer::is_empty), "somebody was not done");
    (receiver, peer)
}

/// Continues a handshake as far as `incoming` allows and returns whether it is done.
pub(crate) fn run(
    session: &mut Session,
    incoming: &mut Buffer,
    outgoing: &mut Vec<u8>,
) -> Result<bool, Error> {
    loop {
        match session.advance(incoming, outgoing)? {
            HandshakeStep::Progress => {}
            HandshakeStep::NeedBytes => return Ok(false),
            HandshakeStep::Done => return Ok(true),
        }
    }
}

// One more than the flights of a TLS 1.3 handshake, and one for each side to begin.
const FLIGHTS_MAX: usize = 6;

// The flights of a peer that advances its handshake by one step at each call of `step`.
fn talk(
    receiver: &mut Session,
    mut step: impl FnMut(&mut [u8], &mut Vec<u8>) -> Stepped,
) -> Vec<Vec<u8>> {
    let mut incoming = Buffer::with_room(64 << 10);
    let mut at_peer = Vec::new();
    let mut flights = Vec::new();
    for _ in 0..FLIGHTS_MAX {
        let mut flight = Vec::new();
        loop {
            let stepped = step(&mut at_peer, &mut flight);
            at_peer.drain(..stepped.used);
            if stepped.waits {
                break;
            }
        }
        incoming.append(&flight);
        if !flight.is_empty() {
            flights.push(flight);
        }
        run(receiver, &mut incoming, &mut at_peer).expect("a good peer");
    }
    flights
}

struct Stepped {
    used: usize,
    waits: bool,
}

fn step<D>(status: UnbufferedStatus<'_, '_, D>, outgoing: &mut Vec<u8>) -> Stepped {
    let waits = match status.state.expect("a good receiver") {
        ConnectionState::EncodeTlsData(mut data) => {
            let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else {
                panic!("a record needs room");
            };
            let start = outgoing.len();
            outgoing.resize(start + size.required_size, 0);
            data.encode(&mut outgoing[start..]).expect("room enough");
            false
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            false
        }
        _ => true,
    };
    Stepped {
        used: status.discard,
        waits,
    }
}

fn client(suite: CipherSuite) -> UnbufferedClientConnection {
    let mut config = ClientConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[&TLS13])
        .expect("a suite of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAll::without_signature_checks(
            SignatureScheme::ED25519,
        )))
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from("peer.example").expect("a name");
    UnbufferedClientConnection::new(Arc::new(config), name).expect("a client")
}

fn server(suite: CipherSuite) -> UnbufferedServerConnection {
    let chain = vec![CertificateDer::from(vec![0; 16])];
    let certified = CertifiedKey::new(chain, Arc::new(ForgedKey(SignatureScheme::ED25519)));
    let mut config = ServerConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[&TLS13])
        .expect("a suite of TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.enable_secret_extraction = true;
    config.send_tls13_tickets = 0;
    UnbufferedServerConnection::new(Arc::new(config)).expect("a server")
}

fn provider(suite: CipherSuite) -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider
        .cipher_suites
        .retain(|known| known.suite() == suite);
    provider.kx_groups = vec![&Fixed];
    provider.secure_random = &Fixed;
    Arc::new(provider)
}

/// A source of random values and a key exchange without randomness.
#[derive(Debug)]
struct Fixed;

impl SecureRandom for Fixed {
    fn fill(&self, room: &mut [u8]) -> Result<(), GetRandomFailed> {
        room.fill(0x5a);
        Ok(())
    }
}

impl SupportedKxGroup for Fixed {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Self))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for Fixed {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        Ok(SharedSecret::from(&[0xa5; 32][..]))
    }

    fn pub_key(&self) -> &[u8] {
        &[0x33; 32]
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
