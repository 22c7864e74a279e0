//! Handshakes that end because the client's chain is refused: what they cost the side that terminates.
//!
//! `refused-unlisted` is the measure: a good certificate of a trusted CA whose name is not listed. The others
//! present chains that were made to cost as much as possible. `cargo xtask gate` counts the instructions of
//! `answer` alone, so the client's work and the making of the chain do not count.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use gateway::buffers::Buffer;
use gateway::config::{Mode, Peer, PeerName, Policy, RecordLayer, RouteTls};
use gateway::limits::{HANDSHAKE_BYTES_MAX, KEY_RECORDS_MAX};
use gateway::pki::Identity;
use gateway::pki::authority::{Authority, KeyType};
use gateway::tls::Acceptor;
use gateway::tls::session::{Session, Step};
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
        case("refused-extensions", || {
            Refused::begin(Odd::Names("X", Filling::Extensions(150)))
        }),
        case("refused-usages", || {
            Refused::begin(Odd::Names("X", Filling::Usages(430)))
        }),
        case("refused-oversized", || {
            Refused::begin(Odd::Names("X", Filling::Extensions(850)))
        }),
        case("refused-all", || {
            Refused::begin(Odd::Names(ANCHOR, Filling::Usages(430)))
        }),
        case("refused-names", || Refused::begin(Odd::Alternatives(420))),
        case("refused-many-names", || {
            Refused::begin(Odd::Alternatives(5000))
        }),
    ]
}

/// The subject of the CA that the server trusts, as `handshake::authority` makes it.
const ANCHOR: &str = "bench";
const SERVER: &str = "server.example";
/// What the server lists; nobody here has it.
const LISTED: &str = "listed.example";
const INTERMEDIATES: u8 = 7;

/// What the client presents.
#[derive(Debug, Clone, Copy)]
enum Odd {
    /// A certificate of the trusted CA whose name is not listed.
    Unlisted,
    /// A certificate that bears the trusted CA's name as its issuer, and is signed by another key.
    Forged,
    /// As many intermediates as there may be, each of this subject and issuer, with a key of its own.
    Names(&'static str, Filling),
    /// A forged certificate with so many names.
    Alternatives(usize),
}

/// What the intermediates hold beside.
#[derive(Debug, Clone, Copy)]
enum Filling {
    Nothing,
    Extensions(usize),
    /// Extended key usages ahead of the one that is needed.
    Usages(usize),
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
            require_pq: false,
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

/// What the server does with a flight of the client. A function of its own, because `cargo xtask gate` counts
/// what is done in it.
#[inline(never)]
fn answer(
    acceptor: &Acceptor,
    server: &mut Option<(Session, Arc<gateway::tls::Judgement>)>,
    incoming: &mut Buffer,
    outgoing: &mut Buffer,
) -> anyhow::Result<()> {
    if server.is_none() {
        let (connection, judgement) = acceptor.start()?;
        *server = Some((Session::from(connection), judgement));
    }
    let Some((session, judgement)) = server else {
        return Ok(());
    };
    let outcome = advance(session, incoming, outgoing);
    if outcome.is_err() {
        // The sentence belongs to what a refusal costs.
        let refusal = judgement.refusal().expect("the chain is at fault");
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
            Step::Progress => {}
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
    let (issuer, filling, count) = match odd {
        Odd::Unlisted => {
            let client = own(folder, authority, "client.example", Mode::Originate)?;
            let identity = client.identity;
            return Ok((identity.chain.clone(), identity.key.clone_key()));
        }
        Odd::Forged => (ANCHOR, Filling::Nothing, 0),
        Odd::Names(name, filling) => (name, filling, INTERMEDIATES),
        Odd::Alternatives(count) => {
            let names =
                (0..count).map(|number| format!("{number:x}").try_into().map(SanType::DnsName));
            leaf.subject_alt_names = names.collect::<Result<_, _>>()?;
            (ANCHOR, Filling::Nothing, 0)
        }
    };
    let mut chain = Vec::new();
    let mut last = authority_of(issuer, filling)?;
    chain.push(leaf.signed_by(&key, &last.0)?.der().clone());
    for _ in 0..count {
        chain.push(last.1);
        last = authority_of(issuer, filling)?;
    }
    Ok((chain, private))
}

type SelfMade = (Issuer<'static, KeyPair>, CertificateDer<'static>);

/// A CA that made itself, with a P-384 key, as `wardgate pki init` makes one.
fn authority_of(name: &str, filling: Filling) -> anyhow::Result<SelfMade> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    match filling {
        Filling::Nothing => {}
        Filling::Extensions(count) => {
            let extension = CustomExtension::from_oid_content(&[1, 2], Vec::new());
            params.custom_extensions = vec![extension; count];
        }
        Filling::Usages(count) => {
            let usage = ExtendedKeyUsagePurpose::Other(vec![1, 2]);
            params.extended_key_usages = vec![usage; count];
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ClientAuth);
        }
    }
    let certificate = params.self_signed(&key)?.der().clone();
    Ok((Issuer::new(params, key), certificate))
}
