//! Full mutual handshakes in memory: the cost of the terminating side.
//!
//! The client is rustls with aws-lc-rs, whatever the gateway was built with; its time does not count.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use gateway::buffers::Buffer;
use gateway::config::limits::KEY_RECORDS_MAX;
use gateway::config::{
    IdentityFiles, KeyExchange, Located, Mode, Peer, PeerName, Policy, RecordLayer, RouteTls,
    TrustFiles,
};
use gateway::handshake::limits::HANDSHAKE_BYTES_MAX;
use gateway::pki::authority::{
    Authority, KeyType, NewAuthority, NewCertificate, OutputFiles, Permitted,
};
use gateway::pki::{Identity, Trust, store};
use gateway::tls::Acceptor;
use gateway::tls::session::{HandshakeStep, Session};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls::crypto::{SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use time::OffsetDateTime;

use super::{Case, Turn};

pub(super) fn cases() -> Vec<Case> {
    let case = |name, begin| Case {
        name,
        operations: 1,
        bytes: 0,
        begin,
    };
    vec![
        case("shake-x25519", || Shake::begin(X25519, 0)),
        case("shake-mlkem768", || Shake::begin(X25519MLKEM768, 0)),
        case("shake-x25519-list", || Shake::begin(X25519, REVOKED)),
    ]
}

/// Entries of the revocation list of `shake-x25519-list`, which has about 1 MB.
const REVOKED: usize = 40_000;

const CLIENT: &str = "client.example";
const SERVER: &str = "server.example";

struct Shake {
    acceptor: Acceptor,
    client: Arc<ClientConfig>,
}

impl Shake {
    fn begin(
        group: &'static dyn SupportedKxGroup,
        revoked: usize,
    ) -> anyhow::Result<Box<dyn Turn>> {
        let folder = tempfile::tempdir()?;
        let mut authority = authority(folder.path(), KeyType::P256)?;
        let client = own(folder.path(), &mut authority, CLIENT, Mode::Originate)?;
        let server = own(folder.path(), &mut authority, SERVER, Mode::Terminate)?;
        let files = server.files;
        let peer = Peer {
            name: None,
            identities: vec![PeerName::Dns(CLIENT.into())],
            trust: files.trust.clone().context("it has trust")?,
        };
        let rules = RouteTls {
            identity: files,
            peers: vec![Arc::new(peer)],
            service: None,
            carries_source: false,
            policy: Policy::Hscn,
            key_exchange: KeyExchange::default(),
            record_layer: RecordLayer::InPlace,
            key_records: KEY_RECORDS_MAX,
        };
        let trust = match revoked {
            0 => server.trust,
            count => with_list(folder.path(), &server.trust, count)?,
        };
        Ok(Box::new(Self {
            acceptor: Acceptor::new(&server.identity, &rules, &[trust])?,
            client: Arc::new(client_config(&client, group)?),
        }))
    }
}

impl Turn for Shake {
    fn turn(&mut self) -> Duration {
        let name = ServerName::try_from(SERVER).expect("it is a name");
        let client = UnbufferedClientConnection::new(Arc::clone(&self.client), name);
        let mut client = Session::from(client.expect("the settings are whole"));
        let (mut server, mut spent) = (None, Duration::ZERO);
        let [mut to_client, mut to_server] =
            [(); 2].map(|()| Buffer::with_room(HANDSHAKE_BYTES_MAX));
        loop {
            flight(&mut client, &mut to_client, &mut to_server);
            let start = Instant::now();
            let is_done = answer(&self.acceptor, &mut server, &mut to_server, &mut to_client);
            spent += start.elapsed();
            if is_done {
                return spent;
            }
        }
    }
}

/// Processes a flight of the client on the server; returns whether its handshake is over. A separate
/// function, because `cargo xtask gate` counts its instructions.
#[inline(never)]
fn answer(
    acceptor: &Acceptor,
    server: &mut Option<Session>,
    incoming: &mut Buffer,
    outgoing: &mut Buffer,
) -> bool {
    let begin = || Session::from(acceptor.start().expect("a handshake begins").0);
    flight(server.get_or_insert_with(begin), incoming, outgoing)
}

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

pub(super) fn authority(folder: &Path, key: KeyType) -> anyhow::Result<Authority> {
    let wanted = NewAuthority {
        name: "bench".into(),
        key,
        days: 30,
        crl_days: 30,
        permitted: Permitted::default(),
    };
    let made = Authority::init(&folder.join("ca"), &wanted, SystemTime::now());
    made.context("cannot make an authority")
}

/// The trust in the authority in `folder`, with a list of this number of revoked certificates.
fn with_list(folder: &Path, trust: &Trust, count: usize) -> anyhow::Result<Arc<Trust>> {
    let key = KeyPair::from_pem(&std::fs::read_to_string(folder.join("ca/ca.key"))?)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "bench");
    let now = OffsetDateTime::now_utc();
    let entry = |number: usize| RevokedCertParams {
        serial_number: SerialNumber::from(number as u64 * 7919 + 0x1000_0000),
        revocation_time: now,
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: now,
        next_update: now + time::Duration::days(1),
        crl_number: SerialNumber::from(2_u64),
        issuing_distribution_point: None,
        revoked_certs: (0..count).map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&Issuer::new(params, key))?;
    let trust = Trust::new(trust.anchors.clone()).with_crls(vec![list.into()], &[]);
    trust.map(Arc::new).map_err(anyhow::Error::msg)
}

/// An end of the handshake: its files, and their loaded contents.
pub(super) struct Own {
    pub(super) files: Arc<IdentityFiles>,
    pub(super) identity: Arc<Identity>,
    /// The key as its file has it.
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) trust: Arc<Trust>,
}

pub(super) fn own(
    folder: &Path,
    authority: &mut Authority,
    name: &str,
    mode: Mode,
) -> anyhow::Result<Own> {
    let wanted = NewCertificate {
        dns: vec![name.to_owned()],
        uri: Vec::new(),
        key: KeyType::P256,
        days: 30,
    };
    let output = OutputFiles {
        certificate: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    };
    authority.issue(&wanted, &output, SystemTime::now())?;
    let located = |value| Located { value, line: 1 };
    let files = Arc::new(IdentityFiles {
        certificate: located(output.certificate),
        key: located(output.key),
        trust: Some(Arc::new(TrustFiles {
            trust: located(folder.join("ca/ca.pem")),
            crl: Vec::new(),
        })),
    });
    let loaded = store::load(&files, mode, SystemTime::now());
    let (identity, trust) = loaded.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let key = PrivateKeyDer::from_pem_file(&files.key.value)?;
    Ok(Own {
        files,
        identity,
        key,
        trust: trust.context("it has trust")?,
    })
}

pub(super) fn client_config(
    own: &Own,
    group: &'static dyn SupportedKxGroup,
) -> anyhow::Result<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![group];
    let mut roots = RootCertStore::empty();
    for anchor in &own.trust.anchors {
        roots.add(anchor.clone())?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(own.identity.chain.clone(), own.key.clone_key())?;
    Ok(config)
}
