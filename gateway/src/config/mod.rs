//! The resolved configuration: addresses are parsed, defaults are filled in, and every optional value has a
//! meaning.
//!
//! `file` reads the TOML as written and keeps the line of each value. `resolve` converts it into the types of
//! this module and collects all problems. Files that the configuration names (certificates, keys) are opened
//! by `pki`, not here. `access` decides which users can change a file.

pub(crate) mod access;
mod address;
mod balance;
mod bandwidth;
mod bind;
mod by_title;
mod clash;
mod connect;
mod crl_url;
mod dicom;
mod draft;
mod dscp;
mod file;
mod gateway;
mod health;
mod identity;
pub mod limits;
mod list;
mod load;
mod name;
mod network;
mod observe;
mod peer;
mod peers;
mod problem;
mod remark;
mod resolve;
mod returns;
mod sandbox;
mod schema;
mod show;
mod source;
mod suggest;
mod syntax;
mod table;
mod targets;
#[cfg(test)]
mod tests;
mod timeouts;
mod value;
mod written;

use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use balance::{Balance, WhenDown};
pub use bandwidth::Bandwidth;
pub use by_title::ByTitle;
pub use connect::Connect;
pub use dicom::Dicom;
pub use dscp::Dscp;
pub use health::{HealthCheck, Probe};
pub use load::load;
pub(crate) use load::load_elsewhere;
pub(crate) use name::check_site_name;
pub use network::IpNetwork;
pub use observe::Observe;
pub(crate) use peer::identity_of;
pub use peer::is_peer_name;
pub use problem::{FILL_IN, Problem};
pub use sandbox::{RunAs, SandboxSetting};
pub use source::SourceAddress;
pub use timeouts::{Keepalive, Timeouts};

use draft::FileContext;
use problem::Problems;

/// Reads a configuration from its text. Relative paths in it begin at the folder of `file`, the path of the
/// configuration.
///
/// # Errors
///
/// All problems, in the order of the file.
pub fn parse(text: &str, file: &Path) -> Result<Config, Vec<Problem>> {
    find(text, file).config
}

/// As [`parse`], with what is readable of a wrong configuration.
pub(crate) fn find(text: &str, file: &Path) -> Found {
    match gateway::allowed_cpus() {
        Ok(cpus) => {
            let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
            let place = FileContext {
                file,
                cpus: &cpus,
                credentials: credentials.as_deref(),
            };
            parse_at(text, &place)
        }
        Err(error) => {
            let text =
                format!("cannot read from the kernel which CPUs this process may run on: {error}");
            vec![Problem { line: None, text }].into()
        }
    }
}

fn find_elsewhere(text: &str, file: &Path) -> Found {
    let cpus: Vec<_> = (0..limits::CORES_MAX).collect();
    let place = FileContext {
        file,
        cpus: &cpus,
        credentials: None,
    };
    parse_at(text, &place)
}

/// The result of reading a configuration, with the usable parts of a wrong one.
#[derive(Debug)]
pub struct Found {
    /// The configuration, or all problems of its text in the order of the file (never empty).
    pub config: Result<Config, Vec<Problem>>,
    /// The routes without problems, so that the files they name are checked in any case.
    pub routes: Vec<Arc<RouteConfig>>,
    /// The user of the service, which may own files that are checked.
    pub run_as: RunAs,
}

impl From<Vec<Problem>> for Found {
    fn from(problems: Vec<Problem>) -> Self {
        Self {
            config: Err(problems),
            routes: Vec::new(),
            run_as: RunAs::default(),
        }
    }
}

fn parse_at(text: &str, place: &FileContext<'_>) -> Found {
    let lines = syntax::Lines::of(text);
    if let Some(problem) = syntax::pem(text, &lines) {
        return vec![problem].into();
    }
    let mut problems = Problems::default();
    let text = syntax::without_bare_keys(text, &lines, &mut problems);
    let table = syntax::parse(&text, &lines, &mut problems);
    let mut reader = table::TableReader {
        lines: &lines,
        problems: &mut problems,
    };
    let written = file::read(table, &mut reader);
    let resolved = resolve::resolve(&written, place, &mut problems);
    Found {
        // INVARIANT: there is either a configuration or at least one problem.
        config: resolved.config.ok_or_else(|| problems.into_sorted()),
        routes: resolved.routes,
        run_as: resolved.run_as,
    }
}

/// A complete and valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The path of the file, as given on the command line.
    pub file: PathBuf,
    /// The settings of the process.
    pub gateway: Gateway,
    /// The `[[peer]]` tables in the order of the file, whether or not a route lists them. Names are unique,
    /// and no identity is in two tables.
    pub peers: Vec<Arc<Peer>>,
    /// The revocation lists that `wardgate pki crl fetch` fetches. A running gateway does not use them.
    pub crl_fetches: Vec<CrlFetch>,
    /// The peers with `renew = true`: `wardgate pair renew` renews their trust over the link.
    pub renewed: Vec<Arc<Peer>>,
    /// The routes in the order of the file; never empty, names are unique.
    pub routes: Vec<Arc<RouteConfig>>,
}

/// The settings of the process.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// CPUs with one worker each, ascending, without duplicates, never empty.
    pub cores: Vec<usize>,
    /// Whether the operator listed the CPUs; if false, they are all CPUs that the process may run on.
    pub cores_listed: bool,
    /// How long an idle worker polls after its last activity, at full load; `None` disables polling.
    pub busy_poll: Option<Duration>,
    /// The implementation that encrypts and decrypts the records of TLS 1.3.
    pub cipher: CipherSetting,
    /// The path of the admin socket.
    pub admin: Option<PathBuf>,
    /// The address that serves metrics and health over HTTP.
    pub metrics: Option<SocketAddr>,
    /// The line of `metrics` in the configuration; 0 without that key.
    pub metrics_line: usize,
    /// The web page at the address of `metrics`, if there is one.
    pub web: Option<WebSetting>,
    /// The folder in which the gateway keeps what paired peers send for a renewal.
    pub state: PathBuf,
    /// The format of log lines.
    pub log: LogFormat,
    /// The maximum number of open connections of the process; `limits::GATEWAY_CONNECTIONS_MIN` to
    /// `limits::ROUTE_CONNECTIONS_MAX`. With `None`, the limit of open files decides.
    pub connections: Option<u32>,
    /// How many handshakes one source may begin in a second; 1 to `limits::HANDSHAKES_PER_SECOND_MAX`.
    pub handshakes_per_second: u32,
    /// Whether the process gives up what it does not need, and what happens if a part of that fails.
    pub sandbox: SandboxSetting,
    /// The user that the process becomes if root starts it.
    pub run_as: RunAs,
    /// Ports that no route uses yet and a reload may use, each range from its first to its last port.
    pub reload_ports: Vec<RangeInclusive<u16>>,
}

/// The web page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSetting {
    /// The file with the token that a reader must know; always present if the address is not a loopback address.
    pub token: Option<Located<PathBuf>>,
}

/// The implementation of AES-GCM for the records of TLS 1.3.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum CipherSetting {
    /// The faster one on this CPU.
    #[default]
    Auto,
    /// aws-lc-rs.
    AwsLc,
    /// ring.
    Ring,
}

/// The format of log lines on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value`, for people.
    Text,
    /// One JSON object for each line.
    Json,
    /// To journald, with fields.
    Journald,
}

/// One configured route: its listener, mode, targets and rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// The unique name from the configuration: 1 to 64 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The line of the `[[route]]` header in the file, for messages.
    pub line: usize,
    /// Which side is TLS.
    pub mode: Mode,
    /// The protocol of the stream.
    pub protocol: Protocol,
    /// The listen address. `[::]` accepts IPv4 as well, as on Linux.
    pub listen: SocketAddr,
    /// The interface by which connections must arrive; `None` allows every interface, because Linux answers
    /// for each of its addresses on all interfaces.
    pub interface: Option<InterfaceName>,
    /// The networks from which clients may connect; `None` allows all. Never empty, at most
    /// `limits::NETWORKS_MAX`.
    pub from: Option<Vec<IpNetwork>>,
    /// The targets, tried in order before the first byte; at most `limits::TARGETS_MAX`, and at least one
    /// unless `dicom` has targets by title.
    pub targets: Vec<Target>,
    /// The TLS settings; `None` only for passthrough.
    pub tls: Option<RouteTls>,
    /// The deadlines.
    pub timeouts: Timeouts,
    /// Whether the route reads the traffic; `Off` for protocol `Tcp` and mode `Passthrough`.
    pub observe: Observe,
    /// The rules for DICOM and the targets by title; `Some` exactly if the protocol is DICOM and the mode is
    /// `Originate` or `Terminate`.
    pub dicom: Option<Dicom>,
    /// When the route connects to its target; `Early` only if `protocol` is `Mllp`, `observe` is not `Off`
    /// and `mode` is not `Passthrough`.
    pub connect: Connect,
    /// How the route probes its targets; `None` means no probes.
    pub health: Option<HealthCheck>,
    /// How the route chooses among its targets, and among those of each title.
    pub balance: Balance,
    /// What its listener does while all targets are down; `Refuse` only with `health`.
    pub when_down: WhenDown,
    /// The maximum number of open connections; 1 to `limits::ROUTE_CONNECTIONS_MAX`. With `None`, only the
    /// limits for all passthrough routes, for a peer and for the process apply.
    pub connections: Option<u32>,
    /// The maximum number of these from one source: one IPv4 address, or one /64 of IPv6.
    pub connections_per_source: Option<u32>,
    /// The maximum number of these of one peer, by all its identities; only with mode `Terminate`.
    pub connections_per_peer: Option<u32>,
    /// The payload that all connections together may move in each direction; `None` means no limit.
    pub bandwidth: Option<Bandwidth>,
    /// The DSCP of packets to both sides; `None` leaves packets unmarked.
    pub dscp: Option<Dscp>,
    /// Where the address of a client comes from, and where it goes.
    pub source: SourceAddress,
}

impl RouteConfig {
    /// Whether the originate end of this route sends the client's address to the terminate end.
    #[must_use]
    pub fn carries_source(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.carries_source)
    }

    /// Whether `other` has the same settings, whatever the position of both in their files.
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

/// The name of a network interface: 1 to `limits::INTERFACE_BYTES_MAX` bytes without spaces, `/` and `:`. The
/// interface need not exist on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name as `ip link` shows it.
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

/// The protocol of a route's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// DICOM upper layer (PS3.8): the connecting side sends first.
    Dicom,
    /// HL7 in MLLP frames: the connecting side sends first.
    Mllp,
    /// Any protocol over TCP; either side may send first.
    Tcp,
}

/// One address that a route connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// IP address or DNS name.
    pub host: Host,
    /// TCP port, never 0.
    pub port: u16,
    /// The identities of which a TLS server at this target must prove one. `None` if every identity of the
    /// route's peers is accepted, and on routes that do not connect with TLS. A subset of the identities of
    /// the route's peers.
    pub expected: Option<Arc<[PeerName]>>,
    /// The maximum number of open connections to the target; 1 to `limits::ROUTE_CONNECTIONS_MAX`. The same in
    /// each list of a route.
    pub connections: Option<u32>,
}

impl Target {
    /// Whether `other` has the same host and port.
    #[must_use]
    pub fn has_address_of(&self, other: &Self) -> bool {
        self.port == other.port && self.host == other.host
    }
}

/// The host part of a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A DNS name in lower case, resolved again on each connect.
    Name(String),
}

/// The TLS settings of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTls {
    /// The identity of this site on this route. Routes that name the same files share one value.
    pub identity: Arc<IdentityFiles>,
    /// The peers that may be at the other end, each with the CAs that may issue certificates for it; never empty. No
    /// identity belongs to two peers.
    pub peers: Vec<Arc<Peer>>,
    /// The service label for both ends of this route; `None` if the route has no label.
    pub service: Option<ServiceLabel>,
    /// Whether the originate end of this route sends the client's address to the terminate end, inside TLS.
    pub carries_source: bool,
    /// The protocol versions and cipher suites that may be negotiated.
    pub policy: Policy,
    /// The key exchanges that may be negotiated.
    pub key_exchange: KeyExchange,
    /// The code that encrypts and decrypts the records of TLS 1.3.
    pub record_layer: RecordLayer,
    /// The number of records after which a TLS 1.3 key is updated; 1 to `limits::KEY_RECORDS_MAX`.
    pub key_records: u64,
}

impl RouteTls {
    /// The files of certificates, CAs and revocation lists that the route names: all but the key.
    pub(crate) fn public_files(&self) -> impl Iterator<Item = &PathBuf> {
        let of_peers = self.peers.iter().flat_map(|peer| {
            let lists = peer.trust.crl.iter().map(|list| &list.value);
            iter::once(&peer.trust.trust.value).chain(lists)
        });
        iter::once(&self.identity.certificate.value).chain(of_peers)
    }

    /// The sites that may be at the other end, each with its identities: a `[[peer]]` with all its
    /// identities, and each identity that the route lists itself as a site of its own.
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

/// A peer: the identities by which it is accepted, and the CAs that may issue certificates for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The name of its `[[peer]]` table; `None` for identities that a route lists itself. For these, the
    /// trust of the route's identity counts.
    pub name: Option<String>,
    /// The identities of which its certificate must prove one; 1 to `limits::PEERS_MAX`.
    pub identities: Vec<PeerName>,
    /// The CAs that may issue certificates for these identities. Peers that name the same files share one value.
    pub trust: Arc<TrustFiles>,
}

/// The files of the CAs that may issue certificates for a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustFiles {
    /// Trust anchors, PEM.
    pub trust: Located<PathBuf>,
    /// Revocation lists, PEM or DER; empty if none is configured.
    pub crl: Vec<Located<PathBuf>>,
}

/// A revocation list that is fetched from an address into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlFetch {
    /// The peer whose trust must accept the list.
    pub peer: Arc<Peer>,
    /// The file that a fetched list replaces: one of the peer's `crl`.
    pub file: Located<PathBuf>,
    /// Where the list is published.
    pub url: Located<CrlUrl>,
}

/// The address of a published revocation list: `http://` with a host, at most `limits::CRL_URL_BYTES_MAX` ASCII
/// characters without spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlUrl(String);

/// A label by which the two ends of a route recognize that they belong together: 1 to
/// `limits::SERVICE_LABEL_BYTES_MAX` letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceLabel(pub(crate) String);

/// The key exchanges that a route may negotiate. The hybrid key exchange is X25519MLKEM768, which exists only
/// in TLS 1.3.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum KeyExchange {
    /// The hybrid key exchange if the peer supports it, else a classical one.
    #[default]
    HybridPreferred,
    /// Only the hybrid key exchange (`require_pq = true`).
    HybridRequired,
    /// Only classical key exchanges (`hybrid = false`), whose ClientHello fits into one TCP segment.
    Classical,
}

/// The code that encrypts and decrypts the records of TLS 1.3. For TLS 1.2, it is always rustls.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum RecordLayer {
    /// The gateway's own code, without a copy.
    #[default]
    InPlace,
    /// The code of rustls, which copies the payload: the reference.
    Rustls,
}

/// The files for the identity of this site, and the CAs for identities that a route lists itself.
///
/// Paths are absolute, or relative to the working directory: `resolve` has joined relative paths with the
/// folder of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate chain of this site, PEM, leaf first.
    pub certificate: Located<PathBuf>,
    /// The private key of the leaf, PEM.
    pub key: Located<PathBuf>,
    /// The CAs that may issue certificates for identities that a route lists itself; `None` if every route names its peers
    /// by `[[peer]]` tables.
    pub trust: Option<Arc<TrustFiles>>,
}

/// A value with its line in the configuration file. Two of them are equal if their values are equal: a line
/// that moved changes nothing.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// The line in the configuration file, from 1.
    pub line: usize,
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Located<T> {}

/// An identity by which a peer is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerName {
    /// `dns:` a DNS SAN in lowercase, without wildcard.
    Dns(String),
    /// `uri:` a URI SAN, compared byte by byte.
    Uri(String),
    /// `sha256:` of the DER SubjectPublicKeyInfo.
    Sha256([u8; 32]),
}

/// Which protocol versions and suites may be negotiated (docs/src/guide/routes.md, "TLS policies").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// TLS 1.3 and 1.2, only with AES-256-GCM. The default.
    #[default]
    Hscn,
    /// TLS 1.3, only with AES-256-GCM.
    HscnTls13,
    /// `Hscn` and the AES-128-GCM suites of PS3.15 B.12.
    DicomB12,
}
