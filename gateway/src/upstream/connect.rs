//! Targets tried in their order, before the first byte, within the time an application waits.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Names, Upstreams};
use crate::config::{Host, Route, Target, Timeouts};
use crate::limits::{LOOK_UP_HASTE, SENTENCE_CHARS_MAX};
use crate::uring::{Socket, SocketOptions, Verbs, until};

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
pub struct Reached<S> {
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
/// application hears of a refusal while it still listens.
///
/// Targets that are known to be down come last. They come all the same: a probe may be wrong, and must
/// not stop what would work.
#[derive(Debug)]
pub struct Attempts<'r> {
    route: &'r Route,
    targets: VecDeque<&'r Target>,
    // Whether those that are down stand last already.
    is_sorted: bool,
    // Addresses of the target at hand that were not tried yet.
    addresses: VecDeque<(SocketAddr, &'r Target)>,
    options: SocketOptions,
    until: Instant,
    // Becomes true when there is no more time; not heeded where connections are served.
    stop: Option<watch::Receiver<bool>>,
    failures: Vec<String>,
}

impl<'r> Attempts<'r> {
    /// Attempts at `targets` within the deadlines of `route`, from now.
    #[must_use]
    pub fn new(route: &'r Route, targets: &'r [Target]) -> Self {
        Self {
            route,
            targets: targets.iter().collect(),
            is_sorted: false,
            addresses: VecDeque::new(),
            options: socket_options(&route.timeouts),
            until: Instant::now() + route.timeouts.connect,
            stop: None,
            failures: Vec::new(),
        }
    }

    /// The same within `limit`, and no longer than until `stop` becomes true.
    #[must_use]
    pub(super) fn within(self, limit: Duration, stop: watch::Receiver<bool>) -> Self {
        Self {
            until: Instant::now() + limit,
            stop: Some(stop),
            ..self
        }
    }

    /// The next target that can be reached; `None` when no more are left.
    pub async fn next<V: Verbs>(&mut self, verbs: &V, names: &Names) -> Option<Reached<V::Socket>> {
        self.sort(names.upstreams());
        loop {
            while let Some((address, target)) = self.addresses.pop_front() {
                match self.connect(verbs, address).await {
                    Ok(socket) => {
                        return Some(Reached {
                            socket,
                            address,
                            target: target.clone(),
                        });
                    }
                    Err(error) => self.note(&address.to_string(), &error),
                }
            }
            let target = self.targets.pop_front()?;
            self.find(verbs, names, target).await;
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

    // What is known now decides, so it is asked when the first is due.
    fn sort(&mut self, upstreams: &Upstreams) {
        if std::mem::replace(&mut self.is_sorted, true) {
            return;
        }
        let is_up = |target: &&Target| !upstreams.is_down(self.route, target);
        let (up, down): (Vec<_>, Vec<_>) = self.targets.drain(..).partition(is_up);
        self.targets.extend(up.into_iter().chain(down));
    }

    async fn find<V: Verbs>(&mut self, verbs: &V, names: &Names, target: &'r Target) {
        let found = match &target.host {
            Host::Ip(address) => Ok(vec![*address]),
            Host::Name(name) => self.look_up(verbs, names, name).await,
        };
        match found {
            Ok(found) => {
                let each = found
                    .into_iter()
                    .map(|ip| (SocketAddr::new(ip, target.port), target));
                self.addresses.extend(each);
            }
            Err(error) => {
                let Host::Name(name) = &target.host else {
                    return;
                };
                self.note(&format!("{name}:{}", target.port), &error);
            }
        }
    }

    async fn connect<V: Verbs>(&self, verbs: &V, to: SocketAddr) -> io::Result<V::Socket> {
        let socket = verbs.connect(to, &self.options)?;
        let over = over(self.share(), self.stop.clone());
        match until(socket.wait_connected(), over, || socket.abort()).await {
            (outcome, None) => outcome.map(|()| socket),
            (_, Some(why)) => Err(io::Error::new(io::ErrorKind::TimedOut, why)),
        }
    }

    async fn look_up<V: Verbs>(
        &self,
        verbs: &V,
        names: &Names,
        name: &str,
    ) -> io::Result<Vec<IpAddr>> {
        // Where an address is known, a resolver that hangs must not use up the time to connect to it.
        let (known, half) = (names.last_known(name), self.share() / 2);
        let patience = match known {
            Some(_) => LOOK_UP_HASTE.min(half),
            None => half,
        };
        tokio::select! {
            biased;
            // A look-up holds no ring operation, so it may be left behind.
            found = names.look_up(verbs, name) => found,
            _ = over(patience, self.stop.clone()) => known.ok_or_else(|| {
                io::Error::new(io::ErrorKind::TimedOut, "the name was not resolved in time")
            }),
        }
    }

    // An even part of the time left for each attempt that may still come, this one included (it is
    // out of its queue already).
    pub(super) fn share(&self) -> Duration {
        let parts = self.targets.len() + self.addresses.len() + 1;
        self.left() / u32::try_from(parts).unwrap_or(u32::MAX)
    }

    fn note(&mut self, what: &str, error: &io::Error) {
        self.failures.push(format!(
            "target {what} cannot be reached: {}",
            in_words(error)
        ));
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
        () = sleep(limit) => "no answer in time",
        () = stopped => "the gateway is about to stop",
    }
}

/// Waits until `stop` becomes true, or nobody is left who could make it so.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "connection refused; is the service running and listening there?".to_owned()
        }
        _ => error.to_string(),
    }
}
