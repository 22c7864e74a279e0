//! Whether a route would accept a peer's certificate, found out without a handshake.

use std::sync::Arc;

use rustls::Error;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::identity::PeerInfo;
use super::policy::provider;
use super::refusal::Refusal;
use super::role::TlsRole;
use super::rules::{Chain, PeerRules};
use crate::config::{RouteTls, Target};
use crate::pki::Trust;

/// Judges the chain of a peer as a handshake of this route would, revocation lists included, but without the proof of
/// the key. `trust` holds the trust of each of the route's peers, `role` is the role of the route, and `target` the
/// target at which the peer would be met on an originate route.
///
/// # Errors
/// The outer error if an anchor cannot be read, the inner one if the peer would be refused.
pub(crate) fn would_accept(
    tls: &RouteTls,
    trust: &[Arc<Trust>],
    role: TlsRole,
    chain: &[CertificateDer<'static>],
    target: Option<&Target>,
    now: UnixTime,
) -> Result<Result<Arc<PeerInfo>, Refusal>, Error> {
    let provider = provider(tls.policy, tls.key_exchange);
    let rules = PeerRules::new(&tls.peers, trust, &provider)?;
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(Error::NoCertificatesPresented);
    };
    let judged = rules.judge(Chain {
        side: role,
        leaf,
        intermediates,
        expected: target.filter(|target| target.expected.is_some()),
        now,
    });
    Ok(judged.and_then(|peer| {
        peer.check_revocation(role, leaf)?;
        Ok(peer.info)
    }))
}
