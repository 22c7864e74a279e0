//! Tries a route's targets in order, before the first byte, within the connect timeout.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::addresses::AddressReport;
use super::list::Choice;
use super::race::{FailedAttempt, Finish, race};
use super::stop::stopped;
use super::unresolved::Due;
use super::{DnsCache, RouteTarget, TargetList, TargetSlot};
use crate::config::{Dscp, Host, RouteConfig, Target};
use crate::tls::limits::SENTENCE_CHARS_MAX;
use crate::upstream::limits::{ATTEMPT_DELAY, LOOK_UP_HASTE};
use crate::uring::{Network, SocketOptions, sleep};

/// The socket options of a route, for both of its sides.
#[must_use]
pub fn socket_options(route: &RouteConfig) -> SocketOptions {
    let timeouts = &route.timeouts;
    SocketOptions {
        keepalive_idle: timeouts.keepalive.idle,
        keepalive_interval: timeouts.keepalive.interval,
        keepalive_probes: timeouts.keepalive.probes,
        user_timeout: timeouts.user,
        dscp: route.dscp.map(Dscp::number),
        source: None,
    }
}

/// A connected target.
#[derive(Debug)]
pub struct Connected<S> {
    /// The connected socket.
    pub socket: S,
    /// Its address.
    pub address: SocketAddr,
    /// The target as configured.
    pub target: Target,
    /// Counts the connection, which it must outlive; `None` for a probe.
    pub slot: Option<TargetSlot>,
}

/// The connection attempts to the targets of one connection's route.
///
/// All attempts together take no longer than the route's `connect` timeout. Each attempt gets an equal share
/// of the remaining time, so an unreachable first target leaves time for the second, and the application
/// receives a rejection while it still waits. The addresses of a target's name share its time: they are tried
/// in parallel, and the first one that answers is used.
///
/// Targets that are down are tried last, and so are targets and addresses that recently failed. They are never
/// skipped, because a probe may be wrong and must not prevent a connection that would work. A target in
/// maintenance, or with its maximum of connections, is not tried.
#[derive(Debug)]
pub struct Attempts<'r> {
    route: &'r RouteConfig,
    targets: Remaining<'r>,
    // The current target, and its remaining addresses.
    target: Option<&'r Target>,
    addresses: VecDeque<SocketAddr>,
    // The state of the current target, and its slot until it is connected; none for a probe.
    known: Option<&'r RouteTarget>,
    slot: Option<TargetSlot>,
    // Whether the current target failed in a way that counts for its back-off.
    is_failed: bool,
    is_tried: bool,
    options: SocketOptions,
    until: Instant,
    // The configuration key that sets `until`.
    key: &'static str,
    // Becomes true when no time is left; ignored for connections of clients.
    stop: Option<watch::Receiver<bool>>,
    failures: Vec<String>,
    // Addresses that did not answer. They are reported if another address does.
    silent: Vec<Silent<'r>>,
    lacks_ports: bool,
}

/// The targets that are still to be tried.
#[derive(Debug)]
enum Remaining<'r> {
    /// The target of a probe, whatever its state.
    Probed(Option<&'r Target>),
    /// Those of a connection.
    Chosen(Choice<'r>),
}

#[derive(Debug)]
struct Silent<'r> {
    target: &'r Target,
    address: SocketAddr,
    why: String,
}

impl<'r> Attempts<'r> {
    /// Attempts at the targets of a list within the timeouts of `route`, from now on.
    #[must_use]
    pub fn new(route: &'r RouteConfig, targets: &'r TargetList) -> Self {
        Self::at(route, Remaining::Chosen(targets.choice()))
    }

    /// Attempts of a probe at one target: within `limit`, and at the latest until `stop` becomes true.
    #[must_use]
    pub(super) fn of_probe(
        route: &'r RouteConfig,
        target: &'r Target,
        limit: Duration,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            until: Instant::now() + limit,
            key: "timeout in [route.health]",
            stop: Some(stop),
            ..Self::at(route, Remaining::Probed(Some(target)))
        }
    }

    fn at(route: &'r RouteConfig, targets: Remaining<'r>) -> Self {
        Self {
            route,
            targets,
            target: None,
            addresses: VecDeque::new(),
            known: None,
            slot: None,
            is_failed: false,
            is_tried: false,
            options: socket_options(route),
            until: Instant::now() + route.timeouts.connect,
            key: "timeouts.connect",
            stop: None,
            failures: Vec::new(),
            silent: Vec::new(),
            lacks_ports: false,
        }
    }

    /// Connects from this address, which need not be one of this machine; `None` leaves the choice to the system.
    #[must_use]
    pub fn from_source(mut self, source: Option<IpAddr>) -> Self {
        self.options.source = source;
        self
    }

    /// Limits the attempts: they end when `stop` becomes true.
    #[must_use]
    pub fn ended_by(self, stop: watch::Receiver<bool>) -> Self {
        let stop = Some(stop);
        Self { stop, ..self }
    }

    /// Connects to the next reachable target; `None` when no target is left.
    pub async fn next<V: Network>(
        &mut self,
        network: &V,
        dns: &DnsCache,
    ) -> Option<Connected<V::Socket>> {
        loop {
            if let Some(target) = self.target
                && !self.addresses.is_empty()
                && let Some(reached) = self.connect(network, dns, target).await
            {
                return Some(reached);
            }
            self.leave(dns);
            let target = self.choose(dns)?;
            self.target = Some(target);
            self.is_tried = true;
            self.find(network, dns, target).await;
        }
    }

    // Chooses the next target by the current states.
    fn choose(&mut self, dns: &DnsCache) -> Option<&'r Target> {
        match &mut self.targets {
            Remaining::Probed(target) => target.take(),
            Remaining::Chosen(choice) => {
                let now = Instant::now().into_std();
                let chosen = choice.next(now, |target| is_silent(dns, target))?;
                self.known = Some(chosen.target);
                self.slot = Some(chosen.slot);
                Some(&chosen.target.target)
            }
        }
    }

    // None of the current target's addresses could be used.
    fn leave(&mut self, dns: &DnsCache) {
        let failed = std::mem::take(&mut self.is_failed);
        if let Some(known) = self.known.take().filter(|_| failed) {
            self.note_failure(dns, known);
        }
        self.slot = None;
    }

    fn note_failure(&self, dns: &DnsCache, target: &RouteTarget) {
        // The hasher is seeded at random, so it serves as the source of the jitter.
        let jitter = RandomState::new().build_hasher().finish();
        let now = Instant::now().into_std();
        let is_due = target.state.note_failure(now, jitter);
        if let Some(why) = self.failures.last() {
            target.state.note_trouble(why);
        }
        let has_others = matches!(&self.targets, Remaining::Chosen(choice) if choice.has_others());
        if let Some(why) = self.failures.last().filter(|_| is_due && has_others) {
            let why = why.clone();
            dns.report(self.route, &AddressReport::Fails { why });
        }
    }

    /// The remaining time for all attempts.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Records why a connected target was rejected; the next target may be fine. `in_time` is the time that it
    /// had to prove itself.
    pub fn reject(&mut self, dns: &DnsCache, why: String, in_time: Duration) {
        self.failures.push(why);
        // A target that had hardly any time left is not to blame.
        if let Some(known) = self.known.filter(|_| in_time >= ATTEMPT_DELAY) {
            self.note_failure(dns, known);
        }
    }

    /// Records that the connected target is used.
    pub fn accept(&self, dns: &DnsCache) {
        let now = Instant::now().into_std();
        let after = self.known.and_then(|known| known.state.note_success(now));
        if let (Some(after), Some(target)) = (after, self.target) {
            let target = target.to_string();
            dns.report(self.route, &AddressReport::Works { target, after });
        }
    }

    /// Whether a target was passed over because it had its maximum of connections.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(&self.targets, Remaining::Chosen(choice) if choice.is_full())
    }

    /// Whether no target was tried.
    #[must_use]
    pub fn is_untried(&self) -> bool {
        !self.is_tried
    }

    /// Why no target was usable, in one message.
    #[must_use]
    pub fn sentence(&self) -> String {
        let passed_over = match &self.targets {
            Remaining::Probed(_) => None,
            Remaining::Chosen(choice) => Some(choice.reasons()),
        };
        let mut failures = self.failures.clone();
        failures.extend(passed_over.into_iter().flatten());
        let whole = failures.join("; ");
        // LIMIT: SENTENCE_CHARS_MAX.
        whole.chars().take(SENTENCE_CHARS_MAX).collect()
    }

    /// Whether an attempt failed because this machine has no free source ports.
    #[must_use]
    pub fn lacks_ports(&self) -> bool {
        self.lacks_ports
    }

    async fn find<V: Network>(&mut self, network: &V, dns: &DnsCache, target: &'r Target) {
        let found = match &target.host {
            Host::Ip(address) => Ok(vec![*address]),
            Host::Name(name) => {
                let found = self.look_up(network, dns, name).await;
                self.report_name(dns, target, name, found.is_ok());
                found
            }
        };
        match found {
            Ok(found) => {
                let dead = dns.failures().dead_addresses();
                let now = Instant::now().into_std();
                let each = interleaved(found)
                    .into_iter()
                    .map(|ip| SocketAddr::new(ip, target.port));
                let (last, first): (Vec<_>, Vec<_>) =
                    each.partition(|address| dead.is_dead(*address, now));
                self.addresses.extend(first.into_iter().chain(last));
            }
            Err(error) => {
                let Host::Name(name) = &target.host else {
                    return;
                };
                self.is_failed = !self.is_stopping();
                self.note(
                    &format!("{name}:{}", target.port),
                    &error,
                    "check that the name server answers",
                );
            }
        }
    }

    // Connects to the first address of the target that answers, within the target's share of the time.
    async fn connect<V: Network>(
        &mut self,
        network: &V,
        dns: &DnsCache,
        target: &'r Target,
    ) -> Option<Connected<V::Socket>> {
        // After a rejected connection, another address of the target may be tried.
        let slot = match (self.slot.take(), self.known) {
            (None, Some(known)) => match known.state.take_slot(known.target.connections) {
                None => {
                    self.addresses.clear();
                    return None;
                }
                slot => slot,
            },
            (slot, _) => slot,
        };
        let part = self.left() / count(self.targets.left() + 1);
        let delay = ATTEMPT_DELAY.min(part / count(self.addresses.len()));
        let over = over(part, self.stop.clone());
        let addresses = &mut self.addresses;
        let Finish {
            won,
            failed,
            overtaken,
        } = race(network, &self.options, addresses, delay, over).await;
        // These addresses are tried again if the connected one is rejected later.
        self.addresses
            .extend(overtaken.iter().map(|(address, _)| *address));
        for failed in failed {
            self.fail(dns, target, &failed);
        }
        for (address, waited) in overtaken {
            let why = format!("no answer within {} ms", waited.as_millis());
            self.silence(dns, target, address, waited, why);
        }
        let (socket, address) = won?;
        self.is_failed = false;
        self.report(dns, target, address);
        Some(Connected {
            socket,
            address,
            target: target.clone(),
            slot,
        })
    }

    fn fail(&mut self, dns: &DnsCache, target: &'r Target, failed: &FailedAttempt) {
        let FailedAttempt {
            address,
            error,
            waited,
        } = failed;
        if error.kind() == io::ErrorKind::AddrNotAvailable {
            self.lacks_ports = true;
            let failure = format!("target {address} was not tried: {NO_PORTS}");
            return self.failures.push(failure);
        }
        let remedy = "check that the machine runs and that no firewall drops connections to it";
        self.note(&address.to_string(), error, remedy);
        let had_no_time = error.kind() == io::ErrorKind::TimedOut && *waited < ATTEMPT_DELAY;
        let is_refused = error.kind() == io::ErrorKind::ConnectionRefused;
        self.is_failed |= match self.options.source {
            None => !self.is_stopping() && !had_no_time,
            // A refusal is an answer, so the way back is there.
            Some(_) => is_refused,
        };
        match error.kind() {
            _ if !self.is_of_target() => {}
            io::ErrorKind::TimedOut => {
                self.silence(dns, target, *address, *waited, in_words(error));
            }
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                self.silence(dns, target, *address, ATTEMPT_DELAY, in_words(error));
            }
            _ => {}
        }
    }

    // Remembers an address that did not answer, if it had enough time to answer.
    fn silence(
        &mut self,
        dns: &DnsCache,
        target: &'r Target,
        address: SocketAddr,
        waited: Duration,
        why: String,
    ) {
        if waited < ATTEMPT_DELAY || !self.is_of_target() {
            return;
        }
        let now = Instant::now().into_std();
        dns.failures().dead_addresses().on_silence(address, now);
        self.silent.push(Silent {
            target,
            address,
            why,
        });
    }

    // If no address answers at all, the connection's own log line names each one.
    fn report(&mut self, dns: &DnsCache, target: &Target, used: SocketAddr) {
        let now = Instant::now().into_std();
        let after = dns.failures().dead_addresses().on_answer(used, now);
        if let Some(after) = after {
            let report = AddressReport::Answers {
                target: target.to_string(),
                address: used,
                after,
            };
            dns.report(self.route, &report);
        }
        for Silent {
            target,
            address,
            why,
        } in self.silent.drain(..)
        {
            let mut dead = dns.failures().dead_addresses();
            let is_due = dead.should_report(address, now);
            drop(dead);
            if is_due {
                let target = target.to_string();
                let report = AddressReport::Silent {
                    target,
                    address,
                    why,
                    used,
                };
                dns.report(self.route, &report);
            }
        }
    }

    async fn look_up<V: Network>(
        &self,
        network: &V,
        dns: &DnsCache,
        name: &str,
    ) -> io::Result<Vec<IpAddr>> {
        // If an address is cached, a resolver that hangs must not use up the time for connecting to it.
        let (known, half) = (dns.last_known(name), self.share() / 2);
        let socket_ext = match known {
            Some(_) => LOOK_UP_HASTE.min(half),
            None => half,
        };
        tokio::select! {
            biased;
            // A lookup holds no ring operation, so its future may be dropped.
            found = dns.look_up(network, name) => found,
            _ = over(socket_ext, self.stop.clone()) => known.ok_or_else(|| {
                let why = "the name was not resolved in time";
                let mut unresolved = dns.failures().unresolved();
                unresolved.on_failure(name, why.to_owned(), Instant::now().into_std());
                io::Error::new(io::ErrorKind::TimedOut, why)
            }),
        }
    }

    fn report_name(&self, dns: &DnsCache, target: &Target, name: &str, is_remembered: bool) {
        let now = Instant::now().into_std();
        let due = dns.failures().unresolved().due(name, now);
        let target = target.to_string();
        let report = match due {
            Some(Due::Unresolved(why)) => AddressReport::Unresolved {
                target,
                why,
                is_remembered,
            },
            Some(Due::Resolved(after)) => AddressReport::Resolved { target, after },
            None => return,
        };
        dns.report(self.route, &report);
    }

    // An equal share of the remaining time for each possible attempt, including this one (which is no longer
    // queued).
    pub(super) fn share(&self) -> Duration {
        self.left() / count(self.targets.left() + self.addresses.len() + 1)
    }

    fn is_stopping(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| *stop.borrow())
    }

    // Whether a failure is one of the target. If the client's address is used, its way back may be missing: a
    // client must not be able to send those of others to another target.
    fn is_of_target(&self) -> bool {
        !self.is_stopping() && self.options.source.is_none()
    }

    // `remedy` is the advice for a target that does not answer in time.
    fn note(&mut self, what: &str, error: &io::Error, remedy: &str) {
        let mut failure = format!("target {what} cannot be reached: {}", in_words(error));
        if error.kind() == io::ErrorKind::TimedOut && !self.is_stopping() {
            failure = format!("{failure} ({}); {remedy}", self.key);
        }
        self.failures.push(failure);
    }
}

impl Remaining<'_> {
    fn left(&self) -> usize {
        match self {
            Self::Probed(target) => target.iter().count(),
            Self::Chosen(choice) => choice.left(),
        }
    }
}

/// Waits until `limit` has passed or `stop` becomes true, and returns the reason.
pub(super) async fn over(limit: Duration, stop: Option<watch::Receiver<bool>>) -> &'static str {
    let stopped = async {
        match stop {
            Some(mut stop) => stopped(&mut stop).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = sleep(limit) => NO_ANSWER,
        () = stopped => "the gateway is stopping",
    }
}

/// The reason for an end by timeout.
pub(super) const NO_ANSWER: &str = "no answer in time";

const NO_PORTS: &str = "this machine has no free source ports (net.ipv4.ip_local_port_range) for \
    connections to it; widen that range, or find the program that holds so many connections";

// Whether none of a target's known addresses answered recently.
fn is_silent(dns: &DnsCache, target: &Target) -> bool {
    let known = match &target.host {
        Host::Ip(address) => vec![*address],
        Host::Name(name) => dns.last_known(name).unwrap_or_default(),
    };
    let (now, dead) = (Instant::now().into_std(), dns.failures().dead_addresses());
    let is_dead = |ip: &IpAddr| dead.is_dead(SocketAddr::new(*ip, target.port), now);
    !known.is_empty() && known.iter().all(is_dead)
}

// Alternates the address families, so that an unreachable family costs one delay only (RFC 8305 section 4).
// Within each family the resolver's order stays.
fn interleaved(found: Vec<IpAddr>) -> Vec<IpAddr> {
    let begins_with_v4 = found.first().is_some_and(IpAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|ip| ip.is_ipv4() == begins_with_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

// The result is a divisor, so it is never 0.
fn count(parts: usize) -> u32 {
    u32::try_from(parts.max(1)).unwrap_or(u32::MAX)
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "connection refused; check that the service runs and listens on this port".to_owned()
        }
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => format!(
            "no route to it ({error}); check that the machine runs and that `ip route get ADDRESS` names the right interface"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "this machine does not permit it ({error}); check its routes (`ip route get ADDRESS`) and its packet filter"
        ),
        _ => error.to_string(),
    }
}
