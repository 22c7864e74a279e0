//! Handshakes that end because the client's chain is refused: the cost of the terminating side.
//!
//! `refused-unlisted` is the reference: a good certificate of a trusted CA whose name is not listed. The
//! others present chains that are made to be as expensive as possible. `cargo xtask gate` counts only the
//! instructions of `answer`, so the client's work and the making of the chain do not count.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use gateway::buffers::Buffer;
use gateway::config::limits::KEY_RECORDS_MAX;
use gateway::config::{KeyExchange, Mode, Peer, PeerName, Policy, RecordLayer, RouteTls};
use gateway::handshake::limits::HANDSHAKE_BYTES_MAX;
use gateway::pki::Identity;
use gateway::pki::authority::{Authority, KeyType};
use gateway::tls::Acceptor;
use gateway::tls::session::{HandshakeStep, Session};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};

use super::handshake::{Own, authority, client_config, own};
use super::{Case, Turn};

pub(super) fn cases() -> Vec<Case> {
    let case = |name, begin| Case {
        name,
        operations: 1,
        octets: 0,
        begin,
    };
    vec![
        case("refused-unlisted", || Refused::begin(Odd::Unlisted)),
        case("refused-forged", || Refused::begin(Odd::Forged)),
        case("refused-anchor-names", || {
            Refused::begin(Odd::Names(ANCHOR, Filling::Nothing))
        }),
        case("refused-equal-names", || {
            Refused::begin(Odd::Names("X", Filling::Nothing))
        }),
        case("refused-web", || Refused::begin(Odd::Web(Filling::Nothing))),
        case("refused-filled", || Refused::begin(Odd::Web(Filling::Most))),
        case("refused-oversized", || {
            Refused::begin(Odd::Names("X", Filling::Beyond))
        }),
        case("refused-names", || Refused::begin(Odd::Alternatives(420))),
        case("refused-many-names", || {
            Refused::begin(Odd::Alternatives(5000))
        }),
        case("refused-certificates", || {
            Refused::begin(Odd::Certificates(12_000))
        }),
    ]
}

/// The subject of the CA that the server trusts, as `handshake::authority` makes it.
const ANCHOR: &str = "bench";
const SERVER: &str = "server.example";
/// The listed name, which no client here has.
const LISTED: &str = "listed.example";
const INTERMEDIATES: usize = 7;

/// The chain of the client.
#[derive(Debug, Clone, Copy)]
enum Odd {
    /// A certificate of the trusted CA whose name is not listed.
    Unlisted,
    /// A certificate that names the trusted CA as its issuer, and is signed by another key.
    Forged,
    /// The maximum number of intermediates, each with this subject and issuer and its own key.
    Names(&'static str, Filling),
    /// The same in pairs that issue the next pair, up to the trusted CA's name: the maximum number of steps
    /// of the gateway.
    Web(Filling),
    /// A forged certificate with this number of names.
    Alternatives(usize),
    /// A forged certificate, with this number of empty names.
    Certificates(usize),
}

/// The additional contents of the intermediates.
#[derive(Debug, Clone, Copy)]
enum Filling {
    Nothing,
    /// The maximum number of extensions, and extended key usages before the one that is needed.
    Most,
    /// Many more extensions.
    Beyond,
}

struct Refused {
    acceptor: Acceptor,
    client: Arc<ClientConfig>,
}

impl Refused {
    fn begin(odd: Odd) -> anyhow::Result<Box<dyn Turn>> {
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
            policy: Policy::Hscn,
            key_exchange: KeyExchange::default(),
            record_layer: RecordLayer::InPlace,
            key_records: KEY_RECORDS_MAX,
        };
        let (chain, key) = present(odd, folder.path(), &mut authority)?;
        let client = Own {
            files: server.files,
            identity: Arc::new(Identity { chain, key }),
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

fn present(
    odd: Odd,
    folder: &Path,
    authority: &mut Authority,
) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let key = KeyPair::generate()?;
    let private = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let mut leaf = CertificateParams::new(vec!["client.example".to_owned()])?;
    let (first, mut rest) = match odd {
        Odd::Unlisted => {
            let client = own(folder, authority, "client.example", Mode::Originate)?;
            let identity = client.identity;
            return Ok((identity.chain.clone(), identity.key.clone_key()));
        }
        Odd::Forged => (ANCHOR, Vec::new()),
        Odd::Names(name, filling) => {
            let made = (0..INTERMEDIATES).map(|_| self_made(name, name, filling));
            (name, made.collect::<Result<_, _>>()?)
        }
        Odd::Web(filling) => {
            let made = WEB.map(|(subject, issuer)| self_made(subject, issuer, filling));
            ("A", made.into_iter().collect::<Result<_, _>>()?)
        }
        Odd::Alternatives(count) => {
            let names = (0..count).map(|number| format!("{number:x}").try_into());
            let names: Result<Vec<_>, _> = names.map(|name| name.map(SanType::DnsName)).collect();
            leaf.subject_alt_names = names?;
            (ANCHOR, Vec::new())
        }
        Odd::Certificates(count) => (ANCHOR, vec![CertificateDer::from(Vec::new()); count]),
    };
    let issuer = Issuer::new(of_ca(first, Filling::Nothing), p384()?);
    rest.insert(0, leaf.signed_by(&key, &issuer)?.der().clone());
    Ok((rest, private))
}

/// Subject and issuer of each: 2 + 4 + 4 steps to the last pair's issuer, and 4 to the other one.
const WEB: [(&str, &str); INTERMEDIATES] = [
    ("A", "B"),
    ("A", "B"),
    ("B", "C"),
    ("B", "C"),
    ("C", ANCHOR),
    (ANCHOR, ANCHOR),
    ("D", "D"),
];

/// A certificate of a CA that names `issuer`, with a P-384 key, as `wardgate pki init` makes one.
fn self_made(
    subject: &str,
    issuer: &str,
    filling: Filling,
) -> anyhow::Result<CertificateDer<'static>> {
    let issuer = Issuer::new(of_ca(issuer, Filling::Nothing), p384()?);
    let certificate = of_ca(subject, filling).signed_by(&p384()?, &issuer)?;
    Ok(certificate.der().clone())
}

fn p384() -> anyhow::Result<KeyPair> {
    Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384)?)
}

fn of_ca(name: &str, filling: Filling) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (extensions, usages) = match filling {
        Filling::Nothing => return params,
        Filling::Most => (27, 350),
        Filling::Beyond => (850, 0),
    };
    let extension = CustomExtension::from_oid_content(&[1, 2], Vec::new());
    params.custom_extensions = vec![extension; extensions];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![1, 2]); usages];
    params
        .extended_key_usages
        .push(ExtendedKeyUsagePurpose::ClientAuth);
    params
}
