//! The renewal connection to a partner: mutual TLS to the port of its terminate route, and one message each way.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;

use super::super::doctor::tls::{ChannelEnd, TargetTls, shake};
use super::super::doctor::wire::Wire;
use crate::cli::limits::{DOCTOR_STEP, RENEWAL_ADDRESSES_MAX};
use crate::config::{Config, Host, Mode, Peer, RouteConfig, RouteTls, RunAs, Target};
use crate::pairing::limits::RENEWAL_EVERY;
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
            let has = |tls: &RouteTls| tls.peers.iter().any(|one| Arc::ptr_eq(one, peer));
            route.mode == Mode::Originate && route.tls.as_ref().is_some_and(has)
        });
        let mut last = None;
        for route in routes {
            for target in &route.targets {
                match Self::to((route, target), peer, &config.gateway.run_as, now) {
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
        (route, target): (&RouteConfig, &Target),
        peer: &Arc<Peer>,
        run_as: &RunAs,
        now: SystemTime,
    ) -> anyhow::Result<Self> {
        let tls = route.tls.as_ref().context("it has no TLS")?;
        let mut store = Store::new(now).of_service(run_as);
        let identity = store.identity("", &tls.identity, route.mode);
        let (mut peers, mut trusts) = (Vec::new(), Vec::new());
        for one in &tls.peers {
            // As in the gateway, the files of one peer do not stop the others.
            if let Some(trust) = store.trust("", &one.trust) {
                peers.push(Arc::clone(one));
                trusts.push(trust);
            }
        }
        let is_usable = peers.iter().any(|one| Arc::ptr_eq(one, peer));
        let Some(identity) = identity.filter(|_| is_usable) else {
            let mut problems = store.identity_problems(&tls.identity, route.mode);
            problems.extend_from_slice(store.trust_problems(&peer.trust));
            let texts: Vec<_> = problems.into_iter().map(|problem| problem.text).collect();
            anyhow::bail!("{}", texts.join("; "));
        };
        let usable = RouteTls {
            peers,
            ..tls.clone()
        };
        let connector = Connector::new(&identity, &usable, &trusts)?.for_renewal();
        let host = match &target.host {
            Host::Ip(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        };
        let addresses = (host.as_str(), target.port).to_socket_addrs()?;
        first_that_answers(addresses, |address| {
            Self::at(address, &connector, target, peer)
        })
    }

    fn at(
        address: SocketAddr,
        connector: &Connector,
        target: &Target,
        peer: &Peer,
    ) -> anyhow::Result<Self> {
        let wire = Wire::connect(address, DOCTOR_STEP, None)?;
        let shaken = shake(wire, connector, target)?;
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
            let received = tls.receive().map_err(|end| {
                anyhow::anyhow!(
                    "it does not take part in renewals ({}); look for renew = true in the [[peer]] table for this site \
                     there, and in the log of its gateway",
                    sentence(&end)
                )
            });
            bytes.extend(received?);
        };
        Ok(Self { tls, message })
    }

    /// Sends this site's message. Returns whether the partner has taken it.
    ///
    /// # Errors
    /// The connection ended.
    pub(super) fn send(mut self, own: &RenewalMessage) -> anyhow::Result<bool> {
        let sent = self.tls.send(&own.bytes());
        sent.map_err(|end| anyhow::anyhow!("{}", sentence(&end)))?;
        let answer = self.tls.receive().map_err(|end| {
            anyhow::anyhow!(
                "it did not take the update of this site ({}); if both sites renewed a moment ago, wait for {} s and run \
                 this command again, else look in the log of its gateway",
                sentence(&end),
                RENEWAL_EVERY.as_secs()
            )
        })?;
        let _ = self.tls.close_notify();
        Ok(answer == [1])
    }
}

/// Tries the addresses of a name one after another. The error is that of the last one.
fn first_that_answers<T>(
    addresses: impl Iterator<Item = SocketAddr>,
    mut attempt: impl FnMut(SocketAddr) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut last = None;
    // LIMIT: RENEWAL_ADDRESSES_MAX.
    for address in addresses.take(RENEWAL_ADDRESSES_MAX) {
        match attempt(address) {
            Ok(answer) => return Ok(answer),
            Err(error) => last = Some(error.context(format!("address {address}"))),
        }
    }
    Err(last.context("it has no address")?)
}

/// How a connection ended, for a person.
fn sentence(end: &ChannelEnd) -> String {
    match end {
        ChannelEnd::Closed | ChannelEnd::Truncated => "it closed the connection".to_owned(),
        // Without the number of the error.
        ChannelEnd::Socket(error) => format!("the connection ended: {}", error.kind()),
        ChannelEnd::Tls(error) => format!("the connection ended: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_connection_is_a_sentence_without_debug_text() {
        let reset = ChannelEnd::Socket(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(sentence(&reset), "the connection ended: connection reset");
        assert_eq!(sentence(&ChannelEnd::Truncated), "it closed the connection");
    }

    #[test]
    fn every_address_of_a_name_is_tried_until_one_answers_up_to_the_bound() {
        let addresses =
            |count: u16| (1..=count).map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let only = |answering: u16| {
            move |address: SocketAddr| {
                anyhow::ensure!(address.port() == answering, "it is silent");
                Ok(answering)
            }
        };
        let max = u16::try_from(RENEWAL_ADDRESSES_MAX).expect("it is small");
        for answering in 1..=max {
            let found = first_that_answers(addresses(max), only(answering));
            assert_eq!(found.expect("one answers"), answering);
        }
        let beyond = first_that_answers(addresses(max + 1), only(max + 1));
        let why = format!("{:#}", beyond.expect_err("it is not tried"));
        assert_eq!(why, format!("address 192.0.2.1:{max}: it is silent"));
        let none = first_that_answers(addresses(0), only(1));
        assert_eq!(
            none.expect_err("there is none").to_string(),
            "it has no address"
        );
    }
}
