//! Targets tried in their order, before the first byte, within the time an application waits.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Names;
use crate::config::{Host, Route, Target, Timeouts};
use crate::limits::{LOOK_UP_HASTE, SENTENCE_CHARS_MAX};
use crate::uring::{Socket, SocketOptions, Verbs, race};

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
    /// The target's host as configured.
    pub host: Host,
}

/// The attempts of one connection at its route's targets.
///
/// All of them together take no longer than the route's `connect`: each gets its even share of the
/// time that is left, so that an unreachable first target leaves time for the second, and the
/// application hears of a refusal while it still listens.
#[derive(Debug)]
pub struct Attempts<'r> {
    targets: VecDeque<&'r Target>,
    // Addresses of the target at hand that were not tried yet.
    addresses: VecDeque<(SocketAddr, &'r Target)>,
    options: SocketOptions,
    until: Instant,
    failures: Vec<String>,
}

impl<'r> Attempts<'r> {
    /// Attempts at `targets` within the deadlines of `route`, from now.
    #[must_use]
    pub fn new(route: &'r Route, targets: &'r [Target]) -> Self {
        Self {
            targets: targets.iter().collect(),
            addresses: VecDeque::new(),
            options: socket_options(&route.timeouts),
            until: Instant::now() + route.timeouts.connect,
            failures: Vec::new(),
        }
    }

    /// The next target that can be reached; `None` when no more are left.
    pub async fn next<V: Verbs>(&mut self, verbs: &V, names: &Names) -> Option<Reached<V::Socket>> {
        loop {
            while let Some((address, target)) = self.addresses.pop_front() {
                match self.connect(verbs, address).await {
                    Ok(socket) => {
                        return Some(Reached {
                            socket,
                            address,
                            host: target.host.clone(),
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

    async fn find<V: Verbs>(&mut self, verbs: &V, names: &Names, target: &'r Target) {
        let found = match &target.host {
            Host::Ip(address) => Ok(vec![*address]),
            Host::Name(name) => look_up(verbs, names, name, self.share()).await,
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
        let (outcome, late) = race(socket.wait_connected(), self.share(), || socket.abort()).await;
        if late {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
        }
        outcome.map(|()| socket)
    }

    // An even part of the time left for each attempt that may still come, this one included (it is
    // out of its queue already).
    fn share(&self) -> Duration {
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

async fn look_up<V: Verbs>(
    verbs: &V,
    names: &Names,
    name: &str,
    share: Duration,
) -> io::Result<Vec<IpAddr>> {
    // Where an address is known, a resolver that hangs must not use up the time to connect to it.
    let known = names.last_known(name);
    let patience = match known {
        Some(_) => LOOK_UP_HASTE.min(share / 2),
        None => share / 2,
    };
    // A look-up holds no ring operation, so it may be left behind.
    match timeout(patience, names.look_up(verbs, name)).await {
        Ok(found) => found,
        Err(_) => known.ok_or_else(|| {
            io::Error::new(io::ErrorKind::TimedOut, "the name was not resolved in time")
        }),
    }
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "connection refused; is the service running and listening there?".to_owned()
        }
        _ => error.to_string(),
    }
}
