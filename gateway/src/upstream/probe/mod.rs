//! One probe: checks whether a target works, over the same path as a connection of its route.
//!
//! A probe ends within its timeout, or at once when the gateway stops. Its socket is then aborted, and
//! operations in flight are awaited, as everywhere.

mod channel;
mod echo;
mod mllp;
mod proof;

use std::cell::Cell;

use tokio::sync::watch;

use self::channel::{Channel, ChannelError};
pub(crate) use self::echo::Titles;
use super::connect::{NO_ANSWER, over};
use super::stop::stopped;
use super::{Attempts, Connected, DnsCache, RouteTarget};
use crate::config::{HealthCheck, Probe, RouteConfig};
use crate::tls::Connector;
use crate::upstream::limits::PROBE_BYTES_MAX;
use crate::uring::{Network, Socket, until};

/// Everything that the probes of a route need.
pub struct Prober<'p, V> {
    /// The core's access to the network.
    pub network: &'p V,
    /// The core's DNS cache.
    pub dns: &'p DnsCache,
    /// The route.
    pub route: &'p RouteConfig,
    /// The TLS client setup, if the route's targets are behind TLS.
    pub connector: Option<&'p Connector>,
    /// Becomes true when probes must stop.
    pub stop: watch::Receiver<bool>,
}

impl<V: Network> Prober<'_, V> {
    /// Runs one probe.
    ///
    /// # Errors
    /// Why the probe failed, as a message.
    pub async fn probe(&self, watched: &RouteTarget, health: &HealthCheck) -> Result<(), String> {
        let (target, stop) = (&watched.target, self.stop.clone());
        let mut attempts = Attempts::of_probe(self.route, target, health.timeout, stop);
        while let Some(reached) = attempts.next(self.network, self.dns).await {
            let share = attempts.share();
            let over = over(share, Some(self.stop.clone()));
            match self.visit(&reached, watched, health, over).await {
                Ok(()) => return Ok(()),
                Err(why) => {
                    let why = format!("target {}: {why}", reached.address);
                    attempts.reject(self.dns, why, share);
                }
            }
        }
        Err(attempts.sentence())
    }

    async fn visit(
        &self,
        reached: &Connected<V::Socket>,
        watched: &RouteTarget,
        health: &HealthCheck,
        over: impl Future<Output = &'static str>,
    ) -> Result<(), String> {
        let socket = &reached.socket;
        // For a `connect` probe, the accepted TCP connection is enough.
        let connector = self.connector.filter(|_| health.probe != Probe::Connect);
        let awaited = Cell::new("the handshake");
        let mut channel = None;
        let talk = async {
            let greets = self.route.source.sends_proxy;
            let opened = Channel::open(socket, connector, &reached.target, greets).await;
            let channel = channel.insert(opened.map_err(ProbeFailure::Cut)?);
            converse(channel, watched, health, &awaited).await
        };
        let (outcome, ended) = until(talk, over, || socket.abort()).await;
        let is_shaking = connector.is_some() && channel.is_none();
        if let (Some(channel), None) = (channel, ended) {
            let mut stop = self.stop.clone();
            until(channel.linger_close(), stopped(&mut stop), || {
                socket.abort();
            })
            .await;
        }
        match (outcome, ended) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(why)) if is_shaking => Err(format!(
                "{why}: no TLS answer to our ClientHello; check that the target expects TLS on this port. If so, \
                 look for a firewall that drops TLS, or for a smaller MTU on the path"
            )),
            (Err(_), Some(NO_ANSWER)) => Err(format!(
                "{NO_ANSWER}: the target accepted the connection, but {} did not arrive; check whether the application \
                 there hangs (restart it), whether its port expects TLS, and whether another program listens there",
                awaited.get()
            )),
            (Err(_), Some(why)) => Err(format!("{why}: {} did not arrive", awaited.get())),
            (Err(why), None) => Err(why.in_words(awaited.get(), asks(health, connector))),
        }
    }
}

async fn converse<S: Socket>(
    channel: &mut Channel<'_, S>,
    watched: &RouteTarget,
    health: &HealthCheck,
    awaited: &Cell<&'static str>,
) -> Result<(), ProbeFailure> {
    match health.probe {
        Probe::Connect => Ok(()),
        Probe::Tls => proof::wait(channel, awaited).await,
        Probe::CEcho => echo::ask(channel, health.calling, watched.called, awaited).await,
        Probe::Mllp => mllp::ask(channel, awaited).await,
    }
}

/// The plaintext protocol of a probe, which a port that expects TLS does not answer.
fn asks(health: &HealthCheck, connector: Option<&Connector>) -> Option<&'static str> {
    match (health.probe, connector) {
        (Probe::CEcho, None) => Some("DICOM"),
        (Probe::Mllp, None) => Some("HL7 in MLLP frames"),
        _ => None,
    }
}

/// Why a probe failed.
#[derive(Debug)]
enum ProbeFailure {
    /// The connection ended.
    Cut(ChannelError),
    /// The answer was not as expected.
    Answer(String),
}

impl From<ChannelError> for ProbeFailure {
    fn from(cut: ChannelError) -> Self {
        Self::Cut(cut)
    }
}

impl ProbeFailure {
    fn in_words(&self, awaited: &str, plain: Option<&str>) -> String {
        let hint = plain.map_or_else(String::new, |plain| {
            format!("; is this port plaintext {plain}?")
        });
        match self {
            Self::Answer(why) | Self::Cut(ChannelError::Tls(why)) => why.clone(),
            Self::Cut(ChannelError::Closed) => {
                format!("the target closed the connection before {awaited} arrived{hint}")
            }
            Self::Cut(ChannelError::Truncated) => {
                format!("the connection ended without close_notify before {awaited} arrived")
            }
            Self::Cut(ChannelError::TooMuch) => {
                format!(
                    "the target sent more than {PROBE_BYTES_MAX} bytes before {awaited} arrived"
                )
            }
            Self::Cut(ChannelError::Socket(error)) => {
                format!("the connection broke before {awaited} arrived: {error}{hint}")
            }
        }
    }
}
