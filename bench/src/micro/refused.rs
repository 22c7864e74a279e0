//! Handshakes that end because the client's chain is refused: the cost of the terminating side.
//!
//! `refused-unlisted` is the reference: a good certificate of a trusted CA whose name is not listed. The
//! others present chains that are made to be as expensive as possible. `cargo xtask gate` counts only the
//! instructions of `answer`, so the client's work and the making of the chain do not count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use gateway::buffers::Buffer;
use gateway::config::limits::KEY_RECORDS_MAX;
use gateway::config::{KeyExchange, Mode, Peer, PeerName, Policy, RecordLayer, RouteTls};
use gateway::handshake::limits::HANDSHAKE_BYTES_MAX;
use gateway::pki::Identity;
use gateway::pki::authority::KeyType;
use gateway::tls::Acceptor;
use gateway::tls::session::{HandshakeStep, Session};
use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768;
use rustls::pki_types::ServerName;
use test_peers::expensive::ExpensiveChain;

use super::handshake::{Own, authority, client_config, own};
use super::{Case, Turn};

pub(super) fn cases() -> Vec<Case> {
    let case = |name, begin| Case {
        name,
        operations: 1,
        bytes: 0,
        begin,
    };
    vec![
        case("refused-unlisted", || Refused::begin(None)),
        case("refused-forged", || Refused::begin(Some("forged"))),
        case("refused-anchor-names", || {
            Refused::begin(Some("anchor-names"))
        }),
        case("refused-equal-names", || {
            Refused::begin(Some("equal-names"))
        }),
        case("refused-web", || Refused::begin(Some("web"))),
        case("refused-filled", || Refused::begin(Some("filled"))),
        case("refused-oversized", || Refused::begin(Some("oversized"))),
        case("refused-names", || Refused::begin(Some("names"))),
        case("refused-many-names", || Refused::begin(Some("many-names"))),
        case("refused-certificates", || {
            Refused::begin(Some("certificates"))
        }),
    ]
}

/// The subject of the CA that the server trusts, as `handshake::authority` makes it.
const ANCHOR: &str = "bench";
const SERVER: &str = "server.example";
/// The listed name, which no client here has.
const LISTED: &str = "listed.example";

struct Refused {
    acceptor: Acceptor,
    client: Arc<ClientConfig>,
}

impl Refused {
    /// A client with a good certificate whose name is not listed, or with one of the expensive chains.
    fn begin(expensive: Option<&str>) -> anyhow::Result<Box<dyn Turn>> {
        let folder = tempfile::tempdir()?;
        let mut authority = authority(folder.path(), KeyType::P384)?;
        let server = own(folder.path(), &mut authority, SERVER, Mode::Terminate)?;
        let peer = Peer {
            name: None,
            identities: vec![PeerName::Dns(LISTED.into())],
            trust: server.files.trust.clone().context("it has trust")?,
        };
        let rules = RouteTls {
            identity: Arc::clone(&server.files),
            peers: vec![Arc::new(peer)],
            service: None,
            carries_source: false,
            policy: Policy::Hscn,
            key_exchange: KeyExchange::default(),
            record_layer: RecordLayer::InPlace,
            key_records: KEY_RECORDS_MAX,
        };
        let (chain, key) = match expensive {
            Some(name) => ExpensiveChain::named(name).make(ANCHOR),
            None => {
                let client = own(
                    folder.path(),
                    &mut authority,
                    "client.example",
                    Mode::Originate,
                )?;
                (client.identity.chain.clone(), client.key.clone_key())
            }
        };
        let client = Own {
            files: server.files,
            identity: Arc::new(Identity {
                chain,
                key: key.clone_key().into(),
            }),
            key,
            trust: Arc::clone(&server.trust),
        };
        Ok(Box::new(Self {
            acceptor: Acceptor::new(&server.identity, &rules, &[server.trust])?,
            client: Arc::new(client_config(&client, X25519MLKEM768)?),
        }))
    }
}

impl Turn for Refused {
    fn turn(&mut self) -> Duration {
        let name = ServerName::try_from(SERVER).expect("it is a name");
        let client = UnbufferedClientConnection::new(Arc::clone(&self.client), name);
        let mut client = Session::from(client.expect("the settings are whole"));
        let [mut to_client, mut to_server] =
            [(); 2].map(|()| Buffer::with_room(HANDSHAKE_BYTES_MAX));
        let mut server = None;
        let mut spent = Duration::ZERO;
        loop {
            advance(&mut client, &mut to_client, &mut to_server).expect("the server is good");
            let start = Instant::now();
            let answered = answer(&self.acceptor, &mut server, &mut to_server, &mut to_client);
            spent += start.elapsed();
            if answered.is_err() {
                return spent;
            }
        }
    }
}

/// Processes a flight of the client on the server. A separate function, because `cargo xtask gate` counts its
/// instructions.
#[inline(never)]
fn answer(
    acceptor: &Acceptor,
    server: &mut Option<(Session, Arc<gateway::tls::PeerVerification>)>,
    incoming: &mut Buffer,
    outgoing: &mut Buffer,
) -> anyhow::Result<()> {
    if server.is_none() {
        let (connection, verification) = acceptor.start()?;
        *server = Some((Session::from(connection), verification));
    }
    let Some((session, verification)) = server else {
        return Ok(());
    };
    let outcome = advance(session, incoming, outgoing);
    if outcome.is_err() {
        // The text of the reason is part of the cost of a refusal.
        let refusal = verification.refusal().expect("the chain is at fault");
        std::hint::black_box(refusal.to_string());
    }
    outcome
}

fn advance(end: &mut Session, incoming: &mut Buffer, outgoing: &mut Buffer) -> anyhow::Result<()> {
    let mut words = Vec::new();
    loop {
        let step = end.advance(incoming, &mut words);
        assert_eq!(outgoing.append(&words), words.len());
        words.clear();
        match step? {
            HandshakeStep::Progress => {}
            _ => return Ok(()),
        }
    }
}
