//! Targets tried in their order, before the first byte, within the time an application waits.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::addresses::AddressReport;
use super::race::{Failed, Finish, race};
use super::stop::stopped;
use super::unresolved::Due;
use super::{DnsCache, ProbedTarget};
use crate::config::{Host, RouteConfig, Target, Timeouts};
use crate::limits::{ATTEMPT_DELAY, LOOK_UP_HASTE, SENTENCE_CHARS_MAX};
use crate::uring::{Network, SocketOptions, sleep};

/// The socket options that a route's deadlines ask for, for both of its sides.
#[must_use]
pub fn socket_options(timeouts: &Timeouts) -> SocketOptions {
    SocketOptions {
        keepalive_idle: timeouts.keepalive.idle,
        keepalive_interval: timeouts.keepalive.interval,
        keepalive_probes: timeouts.keepalive.probes,
        user_timeout: timeouts.user,
    }
}

/// A target that answered.
#[derive(Debug)]
pub struct Connected<S> {
    /// The connected socket.
    pub socket: S,
    /// Where it leads.
    pub address: SocketAddr,
    /// The target as configured.
    pub target: Target,
}

/// The attempts of one connection at its route's targets.
///
/// All of them together take no longer than the route's `connect`: each gets its even share of the
/// time that is left, so that an unreachable first target leaves time for the second, and the
/// application hears of a refusal while it still listens. The addresses of a target's name share its
/// part of the time: they are tried one beside the other, and the first that answers is used.
///
/// Targets that are known to be down come last, and so do addresses that did not answer a short while
/// ago. They come all the same: a probe may be wrong, and must not stop what would work.
#[derive(Debug)]
pub struct Attempts<'r> {
    route: &'r RouteConfig,
    targets: VecDeque<&'r Target>,
    // Those of the route that are probed.
    probed: &'r [Arc<ProbedTarget>],
    // Whether those that are down stand last already.
    is_sorted: bool,
    // The target at hand, and its addresses that may still be tried.
    target: Option<&'r Target>,
    addresses: VecDeque<SocketAddr>,
    options: SocketOptions,
    until: Instant,
    // The key that sets `until`.
    key: &'static str,
    // Becomes true when there is no more time; not heeded where connections are served.
    stop: Option<watch::Receiver<bool>>,
    failures: Vec<String>,
    // Addresses that did not answer, which are reported if another one does.
    silent: Vec<Silent<'r>>,
    lacks_ports: bool,
}

#[derive(Debug)]
struct Silent<'r> {
    target: &'r Target,
    address: SocketAddr,
    why: String,
}

impl<'r> Attempts<'r> {
    /// Attempts at `targets` within the deadlines of `route`, from now. `probed` is what is known of targets.
    #[must_use]
    pub fn new(
        route: &'r RouteConfig,
        targets: &'r [Target],
        probed: &'r [Arc<ProbedTarget>],
    ) -> Self {
        Self {
            route,
            targets: targets.iter().collect(),
            probed,
            is_sorted: false,
            target: None,
            addresses: VecDeque::new(),
            options: socket_options(&route.timeouts),
            until: Instant::now() + route.timeouts.connect,
            key: "timeouts.connect",
            stop: None,
            failures: Vec::new(),
            silent: Vec::new(),
            lacks_ports: false,
        }
    }

    /// The same within `limit`, and no longer than until `stop` becomes true.
    #[must_use]
    pub(super) fn within(self, limit: Duration, stop: watch::Receiver<bool>) -> Self {
        Self {
            until: Instant::now() + limit,
            key: "timeout in [route.health]",
            stop: Some(stop),
            ..self
        }
    }

    /// The same, no longer than until `stop` becomes true.
    #[must_use]
    pub fn ended_by(self, stop: watch::Receiver<bool>) -> Self {
        let stop = Some(stop);
        Self { stop, ..self }
    }

    /// The next target that can be reached; `None` when no more are left.
    pub async fn next<V: Network>(
        &mut self,
        network: &V,
        dns: &DnsCache,
    ) -> Option<Connected<V::Socket>> {
        self.sort(dns);
        loop {
            if let Some(target) = self.target
                && !self.addresses.is_empty()
                && let Some(reached) = self.connect(network, dns, target).await
            {
                return Some(reached);
            }
            let target = self.targets.pop_front()?;
            self.target = Some(target);
            self.find(network, dns, target).await;
        }
    }

    /// What is left of the time for all attempts.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Notes why a target that was reached is not good enough; the next one may be.
    pub fn reject(&mut self, why: String) {
        self.failures.push(why);
    }

    /// Why no target was good, in one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let whole = self.failures.join("; ");
        // LIMIT: SENTENCE_CHARS_MAX.
        whole.chars().take(SENTENCE_CHARS_MAX).collect()
    }

    /// Whether an attempt failed because this machine has no free source ports.
    #[must_use]
    pub fn lacks_ports(&self) -> bool {
        self.lacks_ports
    }

    // What is known now decides, so it is asked when the first is due.
    fn sort(&mut self, dns: &DnsCache) {
        if std::mem::replace(&mut self.is_sorted, true) {
            return;
        }
        let is_down = |target: &Target| {
            let mut probed = self.probed.iter();
            probed.any(|probed| probed.target == *target && probed.is_down())
        };
        let is_up = |target: &&Target| !is_down(target) && !is_silent(dns, target);
        let (up, down): (Vec<_>, Vec<_>) = self.targets.drain(..).partition(is_up);
        self.targets.extend(up.into_iter().chain(down));
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
                self.note(
                    &format!("{name}:{}", target.port),
                    &error,
                    "does the name server answer?",
                );
            }
        }
    }

    // Connects to the first of the target's addresses that answers, within the target's part of the time.
    async fn connect<V: Network>(
        &mut self,
        network: &V,
        dns: &DnsCache,
        target: &'r Target,
    ) -> Option<Connected<V::Socket>> {
        let part = self.left() / count(self.targets.len() + 1);
        let delay = ATTEMPT_DELAY.min(part / count(self.addresses.len()));
        let over = over(part, self.stop.clone());
        let addresses = &mut self.addresses;
        let Finish {
            won,
            failed,
            overtaken,
        } = race(network, &self.options, addresses, delay, over).await;
        // They are tried again if the one that answered turns out not to be good.
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
        self.report(dns, target, address);
        Some(Connected {
            socket,
            address,
            target: target.clone(),
        })
    }

    fn fail(&mut self, dns: &DnsCache, target: &'r Target, failed: &Failed) {
        let Failed {
            address,
            error,
            waited,
        } = failed;
        if error.kind() == io::ErrorKind::AddrNotAvailable {
            self.lacks_ports = true;
            let failure = format!("target {address} was not tried: {NO_PORTS}");
            return self.failures.push(failure);
        }
        let remedy = "does the machine run, and does a firewall drop connections to it?";
        self.note(&address.to_string(), error, remedy);
        let is_stopping = self.stop.as_ref().is_some_and(|stop| *stop.borrow());
        match error.kind() {
            _ if is_stopping => {}
            io::ErrorKind::TimedOut => {
                self.silence(dns, target, *address, *waited, in_words(error));
            }
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                self.silence(dns, target, *address, ATTEMPT_DELAY, in_words(error));
            }
            _ => {}
        }
    }

    // Remembers an address that did not answer, if it had the time to.
    fn silence(
        &mut self,
        dns: &DnsCache,
        target: &'r Target,
        address: SocketAddr,
        waited: Duration,
        why: String,
    ) {
        if waited < ATTEMPT_DELAY {
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

    // Where no address answers at all, the connection's own line names each.
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
        // Where an address is known, a resolver that hangs must not use up the time to connect to it.
        let (known, half) = (dns.last_known(name), self.share() / 2);
        let socket_ext = match known {
            Some(_) => LOOK_UP_HASTE.min(half),
            None => half,
        };
        tokio::select! {
            biased;
            // A look-up holds no ring operation, so it may be left behind.
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

    // An even part of the time left for each attempt that may still come, this one included (it is
    // out of its queue already).
    pub(super) fn share(&self) -> Duration {
        self.left() / count(self.targets.len() + self.addresses.len() + 1)
    }

    // `remedy` is for a target that does not answer in time.
    fn note(&mut self, what: &str, error: &io::Error, remedy: &str) {
        let is_stopping = self.stop.as_ref().is_some_and(|stop| *stop.borrow());
        let mut failure = format!("target {what} cannot be reached: {}", in_words(error));
        if error.kind() == io::ErrorKind::TimedOut && !is_stopping {
            failure = format!("{failure} ({}); {remedy}", self.key);
        }
        self.failures.push(failure);
    }
}

/// Waits until the time is over, and says why: `limit` has passed, or `stop` became true.
pub(super) async fn over(limit: Duration, stop: Option<watch::Receiver<bool>>) -> &'static str {
    let stopped = async {
        match stop {
            Some(mut stop) => stopped(&mut stop).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = sleep(limit) => NO_ANSWER,
        () = stopped => "the gateway is about to stop",
    }
}

/// Why something is over that took too long.
pub(super) const NO_ANSWER: &str = "no answer in time";

const NO_PORTS: &str = "this machine has no free source ports (net.ipv4.ip_local_port_range) for \
    connections to it; widen that range, or find what holds so many connections";

// Whether none of the addresses that are known for a target answered a short while ago.
fn is_silent(dns: &DnsCache, target: &Target) -> bool {
    let known = match &target.host {
        Host::Ip(address) => vec![*address],
        Host::Name(name) => dns.last_known(name).unwrap_or_default(),
    };
    let (now, dead) = (Instant::now().into_std(), dns.failures().dead_addresses());
    let is_dead = |ip: &IpAddr| dead.is_dead(SocketAddr::new(*ip, target.port), now);
    !known.is_empty() && known.iter().all(is_dead)
}

// The families by turns, so that one that is cut off costs one delay (RFC 8305 section 4); within each,
// the resolver's order stays.
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

// As a divisor: never 0.
fn count(parts: usize) -> u32 {
    u32::try_from(parts.max(1)).unwrap_or(u32::MAX)
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "connection refused; is the service running and listening there?".to_owned()
        }
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => format!(
            "no way there ({error}); does the machine run, and does `ip route get ADDRESS` name the right interface?"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "this machine forbids it ({error}); see its routes (`ip route get ADDRESS`) and its packet filter"
        ),
        _ => error.to_string(),
    }
}
