//! The configuration as it is meant: addresses parsed, defaults filled in, nothing optional
//! without a meaning.
//!
//! `file` reads the TOML as written and keeps where each value stands, `resolve` turns it into
//! these types and gathers every problem on the way. Files that the configuration names
//! (certificates, keys) are not opened here: that is `pki`'s work. `access` says who can change a file.

pub(crate) mod access;
mod address;
mod bind;
mod by_title;
mod clash;
mod dicom;
mod draft;
mod file;
mod gateway;
mod health;
mod identity;
mod list;
mod load;
mod name;
mod observe;
mod onward;
mod peer;
mod peers;
mod problem;
mod remark;
mod resolve;
mod returns;
mod schema;
mod show;
mod suggest;
mod syntax;
mod table;
mod targets;
#[cfg(test)]
mod tests;
mod timeouts;
mod value;
mod written;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use by_title::ByTitle;
pub use dicom::Dicom;
pub use health::{Health, Probe};
pub use load::load;
pub use observe::Observe;
pub use onward::Connect;
pub use peer::is_peer_name;
pub use problem::Problem;

use draft::Place;
use problem::Problems;

/// Reads a configuration from its text. `file` is where it comes from: relative paths begin at its
/// folder.
///
/// # Errors
///
/// Every problem found, in the order of the file.
pub fn parse(text: &str, file: &Path) -> Result<Config, Vec<Problem>> {
    find(text, file).config
}

fn find(text: &str, file: &Path) -> Found {
    match gateway::allowed_cpus() {
        Ok(cpus) => parse_at(text, &Place { file, cpus: &cpus }),
        Err(error) => {
            let text =
                format!("the kernel does not tell which CPUs this process may run on: {error}");
            vec![Problem { line: None, text }].into()
        }
    }
}

/// A configuration and, where it is none, what can still be looked at.
#[derive(Debug)]
pub struct Found {
    /// The configuration, or every problem of its text in the order of the file; never empty.
    pub config: Result<Config, Vec<Problem>>,
    /// The routes that could be read whole, so that the files they name can be judged in any case.
    pub routes: Vec<Arc<RouteConfig>>,
}

impl From<Vec<Problem>> for Found {
    fn from(problems: Vec<Problem>) -> Self {
        let config = Err(problems);
        let routes = Vec::new();
        Self { config, routes }
    }
}

fn parse_at(text: &str, place: &Place<'_>) -> Found {
    let lines = syntax::Lines::of(text);
    if let Some(problem) = syntax::pem(text, &lines) {
        return vec![problem].into();
    }
    let mut problems = Problems::default();
    let text = syntax::without_bare_keys(text, &lines, &mut problems);
    let table = syntax::parse(&text, &lines, &mut problems);
    let mut reader = table::Reader {
        lines: &lines,
        problems: &mut problems,
    };
    let written = file::read(table, &mut reader);
    let (config, routes) = resolve::resolve(&written, place, &mut problems);
    // INVARIANT: without a configuration there is a problem, and the other way round.
    let config = config.ok_or_else(|| problems.into_sorted());
    Found { config, routes }
}

/// A whole configuration that was found good.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from, as given on the command line.
    pub file: PathBuf,
    /// What concerns the process and no route.
    pub gateway: Gateway,
    /// The `[[peer]]` tables in the order of the file, whether or not a route lists them; names are
    /// unique, and no identity is in two of them.
    pub peers: Vec<Arc<Peer>>,
    /// The routes in the order of the file; never empty, names are unique.
    pub routes: Vec<Arc<RouteConfig>>,
}

/// What concerns the process and no route.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// CPUs with one worker each, ascending, without duplicates, never empty.
    pub cores: Vec<usize>,
    /// Whether the operator listed them; else they are all that the process may run on.
    pub cores_listed: bool,
    /// How long a worker stays awake after its last activity, using its core; `None` is not at all.
    pub busy_poll: Option<Duration>,
    /// What seals and opens the records of TLS 1.3.
    pub cipher: CipherSetting,
    /// Where the admin socket is to stand.
    pub admin: Option<PathBuf>,
    /// Where metrics and health are served over HTTP.
    pub metrics: Option<SocketAddr>,
    /// How log lines are written.
    pub log: LogFormat,
}

/// Which implementation of AES-GCM seals and opens the records of TLS 1.3.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum CipherSetting {
    /// The fastest on this CPU.
    #[default]
    Auto,
    /// aws-lc-rs.
    AwsLc,
    /// ring.
    Ring,
}

/// How log lines are written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value` for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// One configured path: where it listens, its mode, its targets and its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// The operator's name for it, unique: 1 to 64 of letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Line of the `[[route]]` header in the file, for messages.
    pub line: usize,
    /// Which side is TLS.
    pub mode: Mode,
    /// What the stream carries.
    pub protocol: Protocol,
    /// Where it listens. `[::]` takes IPv4 as well, as Linux does.
    pub listen: SocketAddr,
    /// The interface that connections must come in by; `None` is every one, since Linux answers for each
    /// of its addresses on all of them.
    pub interface: Option<InterfaceName>,
    /// Tried in order before the first byte; at most `limits::TARGETS_MAX`, and at least one unless
    /// `dicom` has targets by title.
    pub targets: Vec<Target>,
    /// What it takes to speak TLS; `None` for passthrough only.
    pub tls: Option<RouteTls>,
    /// Its deadlines.
    pub timeouts: Timeouts,
    /// Whether it looks at what passes; `Off` for protocol `Tcp` and mode `Passthrough`.
    pub observe: Observe,
    /// What it allows and where that leads; `Some` exactly where it carries DICOM and its mode is
    /// `Originate` or `Terminate`.
    pub dicom: Option<Dicom>,
    /// When it connects to its target; `Early` only where `protocol` is `Mllp`, `observe` is not `Off` and `mode`
    /// is not `Passthrough`.
    pub connect: Connect,
    /// How it finds out whether its targets are there; `None` is not at all.
    pub health: Option<Health>,
    /// How many connections it may have open; 1 to `limits::ROUTE_CONNECTIONS_MAX`. `None` is as many as
    /// all passthrough routes or a peer may have, else as many as there are.
    pub connections: Option<u32>,
}

impl RouteConfig {
    /// Whether `other` means the same, wherever the two stand in their files.
    #[must_use]
    pub fn means_the_same(&self, other: &Self) -> bool {
        let line = other.line;
        *other
            == Self {
                line,
                ..self.clone()
            }
    }
}

/// The name of a network interface: 1 to `limits::INTERFACE_BYTES_MAX` bytes without blanks, `/` and `:`.
/// Whether the machine has it is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// As `ip link` shows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which side of a route is TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Plaintext in, TLS out.
    Originate,
    /// TLS in, plaintext out.
    Terminate,
    /// TCP in, TCP out, for streams that are TLS already.
    Passthrough,
}

/// What a route's stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// DICOM upper layer (PS3.8): the connecting side speaks first.
    Dicom,
    /// HL7 in MLLP frames: the connecting side speaks first.
    Mllp,
    /// Anything on TCP; either side may speak first.
    Tcp,
}

/// One address that a route connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Address or name.
    pub host: Host,
    /// TCP port, never 0.
    pub port: u16,
    /// The identities of which a TLS server at this target must prove one; `None` where any identity of the
    /// route's peers will do, and on routes that do not connect in TLS. A subset of those of the route's peers.
    pub expected: Option<Arc<[PeerName]>>,
}

/// The host part of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A DNS name in lower case, resolved again on each connect.
    Name(String),
}

/// What a route needs to speak TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTls {
    /// Who this site is on this route. Routes that name the same files share one value.
    pub identity: Arc<IdentityFiles>,
    /// The peers that may be opposite, each with the CAs that may vouch for it; never empty. No identity is
    /// in two of them.
    pub peers: Vec<Arc<Peer>>,
    /// The service label that both ends of this route agree on; `None` where it has none.
    pub service: Option<ServiceLabel>,
    /// Which protocol versions and suites may be negotiated.
    pub policy: Policy,
    /// Which key exchanges may be negotiated.
    pub key_exchange: KeyExchange,
    /// Who seals and opens the records of TLS 1.3.
    pub record_layer: RecordLayer,
    /// Records that a key of TLS 1.3 seals before it is updated; 1 to `limits::KEY_RECORDS_MAX`.
    pub key_records: u64,
}

impl RouteTls {
    /// The sites that may be opposite, each by its identities: a `[[peer]]` with all of them, and each identity
    /// that the route lists itself alone.
    pub fn sites(&self) -> impl Iterator<Item = &[PeerName]> {
        self.peers.iter().flat_map(|peer| {
            let together = match peer.name {
                Some(_) => peer.identities.len(),
                None => 1,
            };
            peer.identities.chunks(together.max(1))
        })
    }
}

/// A peer: the identities that it may be accepted by, and the CAs that may vouch for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The name of its `[[peer]]` table; `None` for the identities that a route lists itself, for which the
    /// trust of the route's identity vouches.
    pub name: Option<String>,
    /// What its certificate must prove, any one of them; 1 to `limits::PEERS_MAX`.
    pub identities: Vec<PeerName>,
    /// The CAs that may vouch for these identities. Peers that name the same files share one value.
    pub trust: Arc<TrustFiles>,
}

/// The files of the CAs that may vouch for a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustFiles {
    /// Trust anchors, PEM.
    pub trust: Located<PathBuf>,
    /// Revocation lists, PEM or DER; empty where none is configured.
    pub crl: Vec<Located<PathBuf>>,
}

/// A label by which both ends of a route know that they are the two ends of the same route: 1 to
/// `limits::SERVICE_LABEL_BYTES_MAX` of letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceLabel(pub(crate) String);

/// Which key exchanges a route may negotiate. The hybrid one is X25519MLKEM768, and exists in TLS 1.3 only.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum KeyExchange {
    /// The hybrid one where the peer has it, else a classical one.
    #[default]
    HybridPreferred,
    /// The hybrid one alone (`require_pq = true`).
    HybridRequired,
    /// The classical ones alone (`hybrid = false`), whose ClientHello fits into one TCP segment.
    Classical,
}

/// Who seals and opens the records of TLS 1.3. Those of TLS 1.2 are rustls's in any case.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum RecordLayer {
    /// Our own, where the bytes lie.
    #[default]
    InPlace,
    /// rustls's, which copies payload: the reference.
    Rustls,
}

/// The files that say who this site is, and whom it trusts where a route lists identities itself.
///
/// Paths are absolute, or relative to the working directory: `resolve` has joined relative ones to
/// the folder of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// Own certificate chain, leaf first, PEM.
    pub certificate: Located<PathBuf>,
    /// Its private key, PEM.
    pub key: Located<PathBuf>,
    /// The CAs that may vouch for identities that a route lists itself; `None` where every route names its
    /// peers by `[[peer]]` tables.
    pub trust: Option<Arc<TrustFiles>>,
}

/// A value with the line of the configuration file that it stands on. Two are equal whose values are: a line that
/// moved changes nothing.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Line in the configuration file, from 1.
    pub line: usize,
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Located<T> {}

/// An identity that a peer may be accepted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerName {
    /// `dns:` a DNS SAN, in lower case, without wildcard.
    Dns(String),
    /// `uri:` a URI SAN, compared octet by octet.
    Uri(String),
    /// `sha256:` of the DER SubjectPublicKeyInfo.
    Sha256([u8; 32]),
}

/// Which protocol versions and suites may be negotiated (docs/src/guide/routes.md, "TLS policies").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// TLS 1.3 and 1.2 with AES-256-GCM only. The default.
    #[default]
    Hscn,
    /// TLS 1.3 with AES-256-GCM only.
    HscnTls13,
    /// `Hscn` and the AES-128-GCM suites of PS3.15 B.12.
    DicomB12,
}

/// The deadlines of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// The whole TLS handshake.
    pub handshake: Duration,
    /// The connection to one target, name look-up included.
    pub connect: Duration,
    /// `dicom` and `mllp`: until what the connecting side sends first is there, and on passthrough routes until the
    /// target has answered; `None` is never.
    pub first_byte: Option<Duration>,
    /// Silence in both directions that ends a connection of a `tcp` or passthrough route; `None` is never.
    pub idle: Option<Duration>,
    /// How long a drain waits for open connections.
    pub drain: Duration,
    /// TCP keepalive on both sockets.
    pub keepalive: Keepalive,
    /// How long a peer may leave what it was sent without an answer (`TCP_USER_TIMEOUT`).
    pub user: Duration,
    /// How long a receiver that answers may read nothing; `None` is never.
    pub stall: Option<Duration>,
}

/// TCP keepalive of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Between probes.
    pub interval: Duration,
    /// Unanswered probes after which the peer is dead.
    pub probes: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            connect: Duration::from_secs(4),
            first_byte: Some(Duration::from_secs(5)),
            idle: None,
            drain: Duration::from_secs(5 * 60),
            keepalive: Keepalive {
                idle: Duration::from_secs(60),
                interval: Duration::from_secs(10),
                probes: 6,
            },
            user: Duration::from_secs(120),
            stall: None,
        }
    }
}
