//! The renewal connection to a partner: mutual TLS to the port of its terminate route, and one message each way.

use std::net::ToSocketAddrs as _;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;

use super::super::doctor::tls::{TargetTls, shake};
use super::super::doctor::wire::Wire;
use crate::cli::limits::DOCTOR_STEP;
use crate::config::{Config, Host, Mode, Peer, RouteConfig, Target};
use crate::pairing::update::RenewalMessage;
use crate::pki::store::Store;
use crate::tls::Connector;

/// A connection to a partner that has sent its message.
pub(super) struct RenewalLink {
    tls: TargetTls,
    /// What the partner has sent.
    pub(super) message: RenewalMessage,
}

impl RenewalLink {
    /// Connects to a partner by the first originate route that reaches it. `None` if there is no such route.
    ///
    /// # Errors
    /// Why no target of any route answers.
    pub(super) fn open(
        config: &Config,
        peer: &Arc<Peer>,
        now: SystemTime,
    ) -> anyhow::Result<Option<Self>> {
        let routes = config.routes.iter().filter(|route| {
            let has =
                |tls: &crate::config::RouteTls| tls.peers.iter().any(|one| Arc::ptr_eq(one, peer));
            route.mode == Mode::Originate && route.tls.as_ref().is_some_and(has)
        });
        let mut last = None;
        for route in routes {
            for target in &route.targets {
                match Self::to(route, target, peer, now) {
                    Ok(link) => return Ok(Some(link)),
                    Err(error) => {
                        last = Some(
                            error.context(format!("route \"{}\", target {target}", route.name)),
                        );
                    }
                }
            }
        }
        last.map_or(Ok(None), Err)
    }

    fn to(
        route: &RouteConfig,
        target: &Target,
        peer: &Peer,
        now: SystemTime,
    ) -> anyhow::Result<Self> {
        let tls = route.tls.as_ref().context("it has no TLS")?;
        let mut store = Store::new(now);
        let identity = store.identity("", &tls.identity, route.mode);
        let trust = tls
            .peers
            .iter()
            .map(|one| store.trust("", &one.trust))
            .collect::<Option<Vec<_>>>();
        let (Some(identity), Some(trust)) = (identity, trust) else {
            let problems = store.problems().iter().map(|problem| problem.text.clone());
            anyhow::bail!("{}", problems.collect::<Vec<_>>().join("; "));
        };
        let connector = Connector::new(&identity, tls, &trust)?.for_renewal();
        let host = match &target.host {
            Host::Ip(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        };
        let mut addresses = (host.as_str(), target.port).to_socket_addrs()?;
        let address = addresses.next().context("it has no address")?;
        let wire = Wire::connect(address, DOCTOR_STEP, None)?;
        let shaken = shake(wire, &connector, target)?;
        let mut tls = shaken.map_err(|failed| anyhow::anyhow!("{}", failed.sentence()))?;
        let identity = tls.identity().unwrap_or_default();
        anyhow::ensure!(
            peer.identities
                .iter()
                .any(|one| one.to_string() == identity),
            "another partner answers there: {identity}"
        );
        let mut bytes = Vec::new();
        let message = loop {
            if let Some(message) = RenewalMessage::read(&bytes)? {
                break message;
            }
            bytes.extend(receive(&mut tls)?);
        };
        Ok(Self { tls, message })
    }

    /// Sends this site's message. Returns whether the partner has taken it.
    ///
    /// # Errors
    /// The connection ended.
    pub(super) fn send(mut self, own: &RenewalMessage) -> anyhow::Result<bool> {
        let sent = self.tls.send(&own.bytes());
        sent.map_err(|end| anyhow::anyhow!("the connection ended: {end:?}"))?;
        let answer = receive(&mut self.tls)?;
        let _ = self.tls.close_notify();
        Ok(answer == [1])
    }
}

fn receive(tls: &mut TargetTls) -> anyhow::Result<Vec<u8>> {
    tls.receive().map_err(|end| {
        anyhow::anyhow!(
            "it does not take part in renewals ({end:?}); look for renew = true in the [[peer]] table for this site there, \
             and in the log of its gateway"
        )
    })
}
