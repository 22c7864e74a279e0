//! The steps from this gateway to one target, in the order in which a connection takes them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::mtu;
use super::probe::{self, ProbeChannel};
use super::report::{DoctorStep, Side, StepFinding, StepName};
use super::tls::{FailedTls, TargetTls, shake};
use super::wire::Wire;
use crate::cli::DAYS_WARNED;
use crate::cli::limits::{DOCTOR_ADDRESSES_MAX, DOCTOR_STEP};
use crate::config::{Host, Mode, RouteConfig, Target};
use crate::pki::expiry::{date, days_left};
use crate::tls::Connector;

/// One target of a route.
pub(super) struct TargetExamination<'a> {
    pub(super) route: &'a RouteConfig,
    pub(super) target: &'a Target,
    /// The TLS setup of an originate route; `None` if its files cannot be used.
    pub(super) connector: Option<&'a Connector>,
    /// When the whole run ends.
    pub(super) until: Instant,
    /// Whether the probe of the application goes directly to the target.
    pub(super) probes: bool,
}

/// A TCP segment that passes wherever IP passes: 576 bytes with the headers of IP and TCP (RFC 9293 section 3.7.1).
const SMALL_SEGMENT: u32 = 536;

impl TargetExamination<'_> {
    /// The sides of the target's host, of the path to it, and of the application.
    fn sides(&self) -> Sides {
        Sides::of(self.route.mode)
    }

    /// Takes all steps.
    pub(super) fn steps(&self) -> Vec<DoctorStep> {
        let name = self.target.to_string();
        let mut steps = Vec::new();
        let begun = Instant::now();
        let mut push = |name_of, finding: StepFinding, begun| {
            steps.push(finding.step(name_of, Some(&name), begun));
        };
        if Instant::now() >= self.until {
            // LIMIT: DOCTOR_ALL.
            let text = "the time of the whole run is over; name this route on the command line";
            push(StepName::Name, StepFinding::skipped(text), begun);
            return steps;
        }
        let found = match self.resolve() {
            Ok(found) => found,
            Err(finding) => {
                push(StepName::Name, finding, begun);
                return steps;
            }
        };
        push(StepName::Name, found.finding(&self.target.host), begun);
        let begun = Instant::now();
        let (usable, finding) = source(&found.addresses);
        push(StepName::Source, finding, begun);
        if usable.is_empty() {
            return steps;
        }
        let begun = Instant::now();
        let (wire, address) = match self.connect(&usable) {
            Ok(connected) => connected,
            Err(finding) => {
                push(StepName::Connect, finding, begun);
                return steps;
            }
        };
        let accepted = match &self.target.host {
            // The line begins with the address.
            Host::Ip(_) => "accepts connections".to_owned(),
            Host::Name(_) => format!("{address} accepts connections"),
        };
        push(StepName::Connect, StepFinding::ok(accepted), begun);
        steps.extend(self.behind_connect(wire, address, &name));
        steps
    }

    fn resolve(&self) -> Result<ResolvedTarget, StepFinding> {
        let port = self.target.port;
        let name = match &self.target.host {
            Host::Ip(ip) => {
                let addresses = vec![SocketAddr::new(*ip, port)];
                return Ok(ResolvedTarget { addresses });
            }
            Host::Name(name) => name.clone(),
        };
        let (done, outcome) = mpsc::channel();
        let asked = name.clone();
        // A thread whose lookup hangs ends with the process.
        let _ = thread::Builder::new().spawn(move || {
            let found = (asked.as_str(), port).to_socket_addrs();
            done.send(found.map(Iterator::collect::<Vec<_>>))
        });
        let remedy = "correct the name in `targets`, or add it to DNS or /etc/hosts; `getent hosts NAME` tries it";
        let failed = |why: String| {
            let text = format!("the name \"{name}\" does not resolve on this machine: {why}");
            StepFinding::failed(Side::ThisGateway, text, remedy)
        };
        match outcome.recv_timeout(DOCTOR_STEP) {
            Ok(Ok(mut addresses)) if !addresses.is_empty() => {
                // LIMIT: DOCTOR_ADDRESSES_MAX.
                addresses.dedup();
                addresses.truncate(DOCTOR_ADDRESSES_MAX);
                Ok(ResolvedTarget { addresses })
            }
            Ok(Ok(_)) => Err(failed("it has no address".to_owned())),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!(
                "no answer within {} s",
                DOCTOR_STEP.as_secs()
            ))),
        }
    }

    /// Connects to the first address that accepts. The failure is that of the first address.
    fn connect(&self, addresses: &[SocketAddr]) -> Result<(Wire, SocketAddr), StepFinding> {
        let within = DOCTOR_STEP.min(self.route.timeouts.connect);
        let mut first = None;
        for address in addresses {
            match Wire::connect(*address, within, None) {
                Ok(wire) => return Ok((wire, *address)),
                Err(error) => {
                    first.get_or_insert_with(|| self.of_connect(*address, &error, within));
                }
            }
        }
        Err(first.unwrap_or_else(|| StepFinding::skipped("the target has no address")))
    }

    fn of_connect(&self, address: SocketAddr, error: &io::Error, within: Duration) -> StepFinding {
        let sides = self.sides();
        let is_far = sides.host != Side::OurLan;
        match error.kind() {
            io::ErrorKind::ConnectionRefused => StepFinding::failed(
                sides.host,
                format!(
                    "{address} refuses the connection: no program listens there, or a firewall rejects it"
                ),
                match is_far {
                    true => {
                        "start the gateway of the other site, and compare the port of the target with the `listen` of its \
                         route"
                    }
                    false => {
                        "start the application, and compare the port of the target with that of the application"
                    }
                },
            ),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => StepFinding::failed(
                sides.path,
                format!(
                    "no answer from {address} within {} s: a firewall drops the packets, or the host is down",
                    within.as_secs()
                ),
                match is_far {
                    true => {
                        "ask both sites' network staff to allow TCP from the source address above to this address and \
                         port, and to look whether the SYN arrives (`tcpdump` at the other gateway)"
                    }
                    false => {
                        "check whether the host is on, and whether a firewall drops the packets"
                    }
                },
            ),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                StepFinding::failed(
                    sides.path,
                    format!(
                        "{address} is reported as unreachable ({error}): a router or firewall on the path rejects the packets \
                     (ICMP), or no host has the address"
                    ),
                    "`traceroute -n` shows the device; let its staff allow or route the address",
                )
            }
            io::ErrorKind::PermissionDenied => StepFinding::failed(
                Side::ThisGateway,
                format!("this machine forbids the connection to {address} ({error})"),
                "look at its packet filter (`nft list ruleset`) and its routes (`ip route get`)",
            ),
            io::ErrorKind::AddrNotAvailable => StepFinding::failed(
                Side::ThisGateway,
                "this machine has no free source ports (net.ipv4.ip_local_port_range)",
                "widen net.ipv4.ip_local_port_range, or end connections",
            ),
            _ => StepFinding::failed(
                sides.path,
                format!("{address} cannot be reached: {error}"),
                "`ip route get` and `traceroute -n` show the path",
            ),
        }
    }

    fn behind_connect(&self, wire: Wire, address: SocketAddr, name: &str) -> Vec<DoctorStep> {
        let begun = Instant::now();
        match (self.route.mode, self.connector) {
            (Mode::Originate, Some(connector)) => self.tls_steps(wire, connector, address, name),
            (Mode::Originate, None) => {
                let skipped = StepFinding::skipped("the files of this route cannot be used");
                vec![skipped.step(StepName::Tls, Some(name), begun)]
            }
            (Mode::Terminate | Mode::Passthrough, _) => {
                let found = mtu::examine(address).finding(self.sides().path, None, false);
                let mut steps = vec![found.step(StepName::Mtu, Some(name), begun)];
                if self.route.mode == Mode::Terminate {
                    let begun = Instant::now();
                    let finding = self.probe(|| Ok(ProbeChannel::Plain(wire.within(DOCTOR_STEP))));
                    steps.push(finding.step(StepName::Probe, Some(name), begun));
                }
                steps
            }
        }
    }

    fn tls_steps(
        &self,
        wire: Wire,
        connector: &Connector,
        address: SocketAddr,
        name: &str,
    ) -> Vec<DoctorStep> {
        let begun_tls = Instant::now();
        let mut shaken = shake(wire, connector, self.target);
        let is_silence = |shaken: &Shaken| matches!(shaken, Ok(Err(failed)) if failed.is_silence());
        let mut passed_small = false;
        let was_silent = is_silence(&shaken);
        if was_silent {
            // The proof of a black hole: the same handshake passes in small segments.
            let again = Wire::connect(address, DOCTOR_STEP, Some(SMALL_SEGMENT));
            if let Ok(wire) = again {
                let small = shake(wire, connector, self.target);
                if !is_silence(&small) {
                    (shaken, passed_small) = (small, true);
                }
            }
        }
        let tls_took = begun_tls.elapsed();
        let begun = Instant::now();
        let path = mtu::examine(address);
        let passed = Some(!was_silent);
        let mtu = path.finding(self.sides().path, passed, passed_small);
        let mtu_failed = mtu.has_failed();
        let mut steps = vec![mtu.step(StepName::Mtu, Some(name), begun)];
        // The handshake came before the step about packets, and is reported after it.
        let begun_tls = Instant::now().checked_sub(tls_took).unwrap_or(begun_tls);
        match shaken {
            Ok(Ok(tls)) => {
                self.behind_tls(tls, connector, address, name, begun_tls, &mut steps);
            }
            Ok(Err(_)) if mtu_failed && !passed_small => {
                let skipped = StepFinding::skipped("large packets are lost, see `mtu`");
                steps.push(skipped.step(StepName::Tls, Some(name), begun_tls));
            }
            Ok(Err(failed)) => failed_steps(&failed, name, begun_tls, &mut steps),
            Err(error) => {
                let text = format!("the handshake cannot begin: {error}");
                let failed = StepFinding::failed(Side::ThisGateway, text, "correct the target");
                steps.push(failed.step(StepName::Tls, Some(name), begun_tls));
            }
        }
        steps
    }

    fn behind_tls(
        &self,
        tls: TargetTls,
        connector: &Connector,
        address: SocketAddr,
        name: &str,
        begun: Instant,
        steps: &mut Vec<DoctorStep>,
    ) {
        let now = SystemTime::now();
        let text = tls.description();
        let expiry = tls.peer_expires().map(|at| {
            let ends = SystemTime::UNIX_EPOCH + Duration::from_secs(at.try_into().unwrap_or(0));
            (at, days_left(ends, now))
        });
        let finding = match expiry {
            Some((at, days)) if days < DAYS_WARNED => StepFinding::warning(
                Side::OtherGateway,
                format!("{text}; it expires on {}, in {days} days", date(at)),
                "ask the other site to renew its certificate",
            ),
            Some((at, days)) => StepFinding::ok(format!(
                "{text}; it expires on {}, in {days} days",
                date(at)
            )),
            None => StepFinding::ok(text),
        };
        steps.push(finding.step(StepName::Tls, Some(name), begun));
        let identity = tls.identity().unwrap_or_default();
        let listed = StepFinding::ok(format!("\"{identity}\" is listed"));
        steps.push(listed.step(StepName::Identity, Some(name), Instant::now()));
        let begun = Instant::now();
        let acceptance = tls.acceptance(self.route.carries_source());
        let is_accepted = !acceptance.has_failed();
        steps.push(acceptance.step(StepName::Acceptance, Some(name), begun));
        if !self.probes {
            return;
        }
        let begun = Instant::now();
        let finding = match is_accepted {
            true => self.probe(|| self.channel(connector, address)),
            false => StepFinding::skipped("the other gateway does not accept this site"),
        };
        steps.push(finding.step(StepName::Probe, Some(name), begun));
    }

    /// Opens a new connection for the probe: the one of the handshake is used up.
    fn channel(
        &self,
        connector: &Connector,
        address: SocketAddr,
    ) -> Result<ProbeChannel, StepFinding> {
        let wire = Wire::connect(address, DOCTOR_STEP, None)
            .map_err(|error| self.of_connect(address, &error, DOCTOR_STEP))?;
        match shake(wire, connector, self.target) {
            Ok(Ok(tls)) => Ok(ProbeChannel::Tls(Box::new(tls))),
            Ok(Err(failed)) => Err(failed.finding().1),
            Err(error) => Err(StepFinding::failed(
                Side::ThisGateway,
                error.to_string(),
                "correct the target",
            )),
        }
    }

    fn probe(&self, open: impl FnOnce() -> Result<ProbeChannel, StepFinding>) -> StepFinding {
        let Some(health) = &self.route.health else {
            return probe::skipped();
        };
        if !probe::is_of_application(health) {
            return probe::skipped();
        }
        match open() {
            Ok(mut channel) => {
                let called = self.route.echo_title(self.target);
                // A terminate route reads the header of its peer, and sends one to its target only with `send_proxy`.
                let greets = match self.route.mode {
                    Mode::Originate => self.route.carries_source(),
                    Mode::Terminate | Mode::Passthrough => self.route.source.sends_proxy,
                };
                probe::ask(
                    &mut channel,
                    health,
                    called,
                    self.sides().application,
                    greets,
                )
            }
            Err(finding) => finding,
        }
    }
}

type Shaken = Result<Result<TargetTls, Box<FailedTls>>, rustls::Error>;

/// The steps of a handshake that failed in one of them.
fn failed_steps(failed: &FailedTls, name: &str, begun: Instant, steps: &mut Vec<DoctorStep>) {
    let (at, finding) = failed.finding();
    let now = Instant::now();
    let mut push = |step, finding: StepFinding, begun| {
        steps.push(finding.step(step, Some(name), begun));
    };
    if at != StepName::Tls {
        let text = "the other gateway speaks TLS and proved its certificate";
        push(StepName::Tls, StepFinding::ok(text), begun);
    }
    if at == StepName::Acceptance {
        push(
            StepName::Identity,
            StepFinding::ok("the other gateway is listed"),
            now,
        );
    }
    push(at, finding, if at == StepName::Tls { begun } else { now });
}

/// The sides of a target.
struct Sides {
    host: Side,
    path: Side,
    application: Side,
}

impl Sides {
    fn of(mode: Mode) -> Self {
        match mode {
            Mode::Originate | Mode::Passthrough => Self {
                host: Side::OtherGateway,
                path: Side::Wan,
                application: Side::OtherLan,
            },
            Mode::Terminate => Self {
                host: Side::OurLan,
                path: Side::OurLan,
                application: Side::OurLan,
            },
        }
    }
}

struct ResolvedTarget {
    addresses: Vec<SocketAddr>,
}

impl ResolvedTarget {
    fn finding(&self, host: &Host) -> StepFinding {
        match host {
            Host::Ip(_) => StepFinding::ok("an address, no name to resolve"),
            Host::Name(_) => {
                let shown = self.addresses.iter().map(|at| at.ip().to_string());
                let shown: Vec<_> = shown.collect();
                StepFinding::ok(format!("resolves to {}", shown.join(", ")))
            }
        }
    }
}

/// The addresses that this machine has a route to, and the source address of the first.
fn source(addresses: &[SocketAddr]) -> (Vec<SocketAddr>, StepFinding) {
    let tried = addresses
        .iter()
        .map(|address| (*address, route_to(*address)));
    let tried: Vec<_> = tried.collect();
    let usable: Vec<_> = tried
        .iter()
        .filter(|(_, from)| from.is_ok())
        .map(|(address, _)| *address)
        .collect();
    let finding = match (tried.iter().find(|(_, from)| from.is_ok()), tried.first()) {
        (Some((address, Ok(from))), _) => {
            StepFinding::ok(format!("packets to {} leave from {from}", address.ip()))
        }
        (_, Some((address, Err(error)))) => StepFinding::failed(
            Side::ThisGateway,
            format!("this machine has no route to {}: {error}", address.ip()),
            format!(
                "`ip route get {}` shows it; add a route or a default gateway",
                address.ip()
            ),
        ),
        _ => StepFinding::skipped("the target has no address"),
    };
    (usable, finding)
}

/// The source address of packets to `address`. Nothing is sent.
fn route_to(address: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    Ok(socket.local_addr()?.ip())
}
