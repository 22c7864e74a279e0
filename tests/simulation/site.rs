//! The gateways of a run: their certificates, made once, and their routes.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use gateway::audit::{ConnectionIds, Events, Journal};
use gateway::buffers::Pool;
use gateway::config::limits::KEY_RECORDS_MAX;
use gateway::config::{
    Balance, Connect, Dicom, Host, IdentityFiles, KeyExchange, Located, Mode, Observe, Peer,
    PeerName, Policy, Protocol, RecordLayer, RouteConfig, RouteTls, SourceAddress, Target,
    Timeouts, TrustFiles, WhenDown,
};
use gateway::metrics;
use gateway::pairing::desk::RenewalDesk;
use gateway::pki::{Identity, Trust};
use gateway::relay::{Core, HandshakeLimiter};
use gateway::route::{Route, RouteDraft, RouteTable, Transport};
use gateway::tls::{Acceptor, Cipher, Connector};
use gateway::upstream::DnsCache;
use gateway::uring::Pipes;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use time::{Duration, OffsetDateTime};

use crate::socket::{GATEWAY_PORT, SimNetwork};

/// The DNS name of both gateways.
const NAME: &str = "gateway.example";

/// A gateway: its route and its core.
pub(crate) struct Site {
    /// The route with its TLS state.
    pub(crate) route: Arc<Route>,
    /// Its core.
    pub(crate) core: Core<SimNetwork>,
    /// Large buffers of its core.
    pub(crate) buffers: usize,
    /// Pipes of its core.
    pub(crate) pipes: usize,
    /// The numbers of its connections.
    pub(crate) ids: ConnectionIds,
    /// Its reports while connections are open.
    pub(crate) events: Events,
}

/// The settings of a gateway's route.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Its mode.
    pub(crate) mode: Mode,
    /// Its protocol.
    pub(crate) protocol: Protocol,
    /// How it observes.
    pub(crate) observe: Observe,
    /// The targets, tried in this order.
    pub(crate) targets: Vec<Target>,
    /// Its deadlines.
    pub(crate) timeouts: Timeouts,
    /// Large buffers of its core.
    pub(crate) buffers: usize,
    /// Pipes of its core.
    pub(crate) pipes: usize,
    /// The record layer.
    pub(crate) layer: RecordLayer,
    /// Records after which a key is updated.
    pub(crate) key_records: u64,
}

impl Site {
    /// A gateway that waits for its first connection.
    pub(crate) fn new(plan: Plan, network: SimNetwork) -> Rc<Self> {
        let tls = (plan.mode != Mode::Passthrough).then(|| RouteTls {
            record_layer: plan.layer,
            key_records: plan.key_records,
            ..tls()
        });
        let transport = transport(plan.mode);
        let is_seen = plan.protocol == Protocol::Dicom && plan.mode != Mode::Passthrough;
        let config = Arc::new(RouteConfig {
            connect: Connect::default(),
            name: format!("{:?}", plan.mode).to_lowercase(),
            line: 1,
            mode: plan.mode,
            protocol: plan.protocol,
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), GATEWAY_PORT),
            interface: None,
            targets: plan.targets,
            tls,
            timeouts: plan.timeouts,
            observe: plan.observe,
            dicom: is_seen.then(no_rules),
            health: None,
            balance: Balance::default(),
            when_down: WhenDown::default(),
            from: None,
            connections: None,
            connections_per_source: None,
            connections_per_peer: None,
            bandwidth: None,
            dscp: None,
            source: SourceAddress::default(),
        });
        let counters = Arc::new(metrics::CoreCounters::new(0));
        let (journal, events) = Journal::unwritten();
        let draft = RouteDraft {
            config: Arc::clone(&config),
            transport,
            material: [0; 32],
        };
        let table = RouteTable::first(1, [draft], &[config]);
        Rc::new(Self {
            route: Arc::clone(&table.routes[0]),
            core: Core {
                table: RefCell::default(),
                network,
                cipher: Cipher::fastest(),
                pool: Pool::new(plan.buffers),
                pipes: Pipes::new(plan.pipes),
                dns: DnsCache::default(),
                connections_max: 1000,
                limiter: HandshakeLimiter::new([16; 4], Arc::clone(&counters)),
                counters,
                journal,
                renewals: RenewalDesk::default(),
                place: 0,
            },
            ids: ConnectionIds::new(0, SystemTime::UNIX_EPOCH),
            events,
            buffers: plan.buffers,
            pipes: plan.pipes,
        })
    }
}

/// A DICOM route that allows everything.
fn no_rules() -> Dicom {
    Dicom {
        called: None,
        calling: None,
        bound: Vec::new(),
        commands: None,
        enforce: true,
        associations_max: None,
        associations_per_peer: None,
        by_title: Vec::new(),
        returns: None,
    }
}

/// A target by its address.
pub(crate) fn by_address(port: u16) -> Target {
    let host = Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Target {
        host,
        port,
        expected: None,
        connections: None,
    }
}

/// A target by a name.
pub(crate) fn by_name(name: &str, port: u16) -> Target {
    let host = Host::Name(name.to_owned());
    Target {
        host,
        port,
        expected: None,
        connections: None,
    }
}

/// A route's TLS state for a gateway of the same authority.
pub(crate) fn transport(mode: Mode) -> Transport {
    let made = "an identity that was made for it";
    match mode {
        Mode::Originate => {
            let connector = Connector::new(identity(), &tls(), &[trust()]);
            Transport::Originate(Box::new(connector.expect(made)))
        }
        Mode::Terminate => {
            let acceptor = Acceptor::new(identity(), &tls(), &[trust()]);
            Transport::Terminate(Box::new(acceptor.expect(made)))
        }
        Mode::Passthrough => Transport::Passthrough,
    }
}

fn tls() -> RouteTls {
    let none = || Located {
        value: PathBuf::new(),
        line: 1,
    };
    RouteTls {
        identity: Arc::new(IdentityFiles {
            certificate: none(),
            key: none(),
            trust: None,
        }),
        peers: vec![Arc::new(Peer {
            name: None,
            identities: vec![PeerName::Dns(NAME.to_owned())],
            trust: Arc::new(TrustFiles {
                trust: none(),
                crl: Vec::new(),
            }),
        })],
        service: None,
        carries_source: false,
        policy: Policy::Hscn,
        key_exchange: KeyExchange::default(),
        record_layer: RecordLayer::InPlace,
        key_records: KEY_RECORDS_MAX,
    }
}

// Ed25519, because its keys and signatures always have the same length: the lengths of all flights, and with
// them the course of a seed, are then the same in every run.
fn made() -> &'static (Arc<Identity>, Arc<Trust>) {
    static MADE: OnceLock<(Arc<Identity>, Arc<Trust>)> = OnceLock::new();
    MADE.get_or_init(|| {
        let root_key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let mut root = params(Vec::new(), 1);
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let anchor = root.self_signed(&root_key).expect("a whole certificate");
        let issuer = Issuer::new(root, root_key);

        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let mut leaf = params(vec![NAME.to_owned()], 2);
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = leaf.signed_by(&key, &issuer).expect("a whole certificate");
        let identity = Identity {
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        };
        let trust = Trust::new(vec![anchor.der().clone()]);
        (Arc::new(identity), Arc::new(trust))
    })
}

fn identity() -> &'static Arc<Identity> {
    &made().0
}

fn trust() -> Arc<Trust> {
    Arc::clone(&made().1)
}

fn params(dns: Vec<String>, serial: u8) -> CertificateParams {
    let mut params = CertificateParams::new(dns).expect("a DNS name");
    params.serial_number = Some(SerialNumber::from_slice(&[serial]));
    params.not_before = OffsetDateTime::now_utc() - Duration::days(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(1);
    params
}
