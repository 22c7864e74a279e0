//! Full mutual handshakes in memory: what they cost the side that terminates.
//!
//! The client is rustls's own with aws-lc-rs, whatever the gateway was built with; its time is left out.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use gateway::buffers::Buffer;
use gateway::config::{IdentityFiles, Located, Mode, PeerName, Policy, RecordLayer, RouteTls};
use gateway::limits::{HANDSHAKE_BYTES_MAX, KEY_RECORDS_MAX};
use gateway::pki::authority::{Authority, KeyType, NewAuthority, NewCertificate, Output};
use gateway::pki::{Identity, store};
use gateway::tls::Acceptor;
use gateway::tls::session::{Session, Step};
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls::crypto::{SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::{Case, Turn};

pub(super) fn cases() -> Vec<Case> {
    let case = |name, begin| Case {
        name,
        operations: 1,
        octets: 0,
        begin,
    };
    vec![
        case("shake-x25519", || Shake::begin(X25519)),
        case("shake-mlkem768", || Shake::begin(X25519MLKEM768)),
    ]
}

const CLIENT: &str = "client.example";
const SERVER: &str = "server.example";

struct Shake {
    acceptor: Acceptor,
    client: Arc<ClientConfig>,
}

impl Shake {
    fn begin(group: &'static dyn SupportedKxGroup) -> anyhow::Result<Box<dyn Turn>> {
        let folder = tempfile::tempdir()?;
        let mut authority = authority(folder.path(), KeyType::P256)?;
        let (_, client) = identity(folder.path(), &mut authority, CLIENT, Mode::Originate)?;
        let (files, server) = identity(folder.path(), &mut authority, SERVER, Mode::Terminate)?;
        let rules = RouteTls {
            identity: Arc::new(files),
            peers: vec![PeerName::Dns(CLIENT.into())],
            policy: Policy::Hscn,
            require_pq: false,
            record_layer: RecordLayer::InPlace,
            key_records: KEY_RECORDS_MAX,
        };
        Ok(Box::new(Self {
            acceptor: Acceptor::new(&Arc::new(server), &rules)?,
            client: Arc::new(client_config(client, group)?),
        }))
    }
}

impl Turn for Shake {
    fn turn(&mut self) -> Duration {
        let name = ServerName::try_from(SERVER).expect("it is a name");
        let client = UnbufferedClientConnection::new(Arc::clone(&self.client), name);
        let mut client = Session::from(client.expect("the settings are whole"));
        let start = Instant::now();
        let (server, _judgement) = self.acceptor.start().expect("a handshake begins");
        let mut server = Session::from(server);
        let mut spent = start.elapsed();
        let [mut to_client, mut to_server] =
            [(); 2].map(|()| Buffer::with_room(HANDSHAKE_BYTES_MAX));
        loop {
            flight(&mut client, &mut to_client, &mut to_server);
            let start = Instant::now();
            let is_done = flight(&mut server, &mut to_server, &mut to_client);
            spent += start.elapsed();
            if is_done {
                return spent;
            }
        }
    }
}

/// All that one end can do with what came; says whether its handshake is over.
fn flight(end: &mut Session, incoming: &mut Buffer, outgoing: &mut Buffer) -> bool {
    let mut words = Vec::new();
    let step = loop {
        match end.advance(incoming, &mut words).expect("a good handshake") {
            Step::Progress => {}
            step => break step,
        }
    };
    assert_eq!(outgoing.append(&words), words.len());
    step == Step::Done
}

pub(super) fn authority(folder: &Path, key: KeyType) -> anyhow::Result<Authority> {
    let wanted = NewAuthority {
        name: "bench".into(),
        key,
        days: 30,
        crl_days: 30,
    };
    let made = Authority::init(&folder.join("ca"), &wanted, SystemTime::now());
    made.context("cannot make an authority")
}

pub(super) fn identity(
    folder: &Path,
    authority: &mut Authority,
    name: &str,
    mode: Mode,
) -> anyhow::Result<(IdentityFiles, Identity)> {
    let wanted = NewCertificate {
        dns: vec![name.to_owned()],
        uri: Vec::new(),
        key: KeyType::P256,
        days: 30,
    };
    let output = Output {
        certificate: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    };
    authority.issue(&wanted, &output, SystemTime::now())?;
    let located = |value| Located { value, line: 1 };
    let files = IdentityFiles {
        certificate: located(output.certificate),
        key: located(output.key),
        trust: located(folder.join("ca/ca.pem")),
        crl: Vec::new(),
    };
    let loaded = store::load(&files, mode, SystemTime::now());
    let identity = loaded.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    Ok((files, identity))
}

pub(super) fn client_config(
    identity: Identity,
    group: &'static dyn SupportedKxGroup,
) -> anyhow::Result<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![group];
    let mut roots = RootCertStore::empty();
    for anchor in identity.trust.anchors {
        roots.add(anchor)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(identity.chain, identity.key)?;
    Ok(config)
}
