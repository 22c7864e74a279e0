//! Counts and limits, over all cores, the connections of the clients of passthrough routes and of each peer
//! of terminate routes.
//!
//! Without these limits one client could use the places of all routes. A passthrough client stays
//! unauthenticated after its target has answered, because a TLS server answers every client. An authenticated
//! peer may still have a device that malfunctions.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::client_source::Source;
use crate::config::{Mode, RouteConfig, RouteTls};
use crate::route::limits::{PASSTHROUGH_SHARE, PASSTHROUGH_SOURCE_SHARE, PEER_SHARE};

/// The counts that all routes and cores share.
#[derive(Debug, Default)]
pub struct Shares {
    // All connections of passthrough routes.
    passthrough: AtomicU32,
    // Those of them that the target has answered, by source address.
    // INVARIANT: each entry has at least one connection, so there are never more entries than connections.
    answered: Mutex<HashMap<Source, u32>>,
    // By the identities of peers that connect to this gateway; as many as are configured. The identities of
    // one `[[peer]]` share one count.
    by_peer: Mutex<HashMap<String, Arc<AtomicU32>>>,
}

/// A passthrough connection; uncounted on drop.
#[derive(Debug)]
pub(crate) struct PassthroughPlace<'s>(&'s Shares);

/// A passthrough connection that the target has answered; uncounted on drop.
#[derive(Debug)]
pub(crate) struct AnsweredPlace<'s> {
    shares: &'s Shares,
    source: Source,
}

/// A peer's connection; uncounted on drop.
#[derive(Debug)]
pub(crate) struct PeerPlace(Arc<AtomicU32>);

impl Shares {
    /// Counts the peers of these routes from now on. A peer that was counted before keeps its count.
    pub(super) fn share_among(&self, routes: &[Arc<RouteConfig>]) {
        let mut now = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *now);
        let mut by_peer = HashMap::<String, Arc<AtomicU32>>::new();
        let (mut routes_count, mut sites_count) = (0_usize, 0_usize);
        for route in routes {
            routes_count += 1;
            let tls = route.tls.iter().filter(|_| route.mode == Mode::Terminate);
            for identities in tls.flat_map(RouteTls::sites) {
                sites_count += 1;
                let known = |identity: String| {
                    let known = by_peer.get(&identity).or_else(|| before.get(&identity));
                    known.cloned()
                };
                let count = identities.iter().map(ToString::to_string).find_map(known);
                let count = count.unwrap_or_default();
                for identity in identities {
                    let of_identity = by_peer.entry(identity.to_string());
                    of_identity.or_insert_with(|| Arc::clone(&count));
                }
            }
        }
        // The only peer of the only route cannot take places of others.
        if routes_count == 1 && sites_count <= 1 {
            by_peer.clear();
        }
        *now = by_peer;
    }

    /// Whether the passthrough connections are at their limit, if the process may have `all` connections.
    pub(crate) fn is_passthrough_full(&self, all: usize) -> bool {
        self.passthrough.load(Ordering::Relaxed) >= passthrough_max(all)
    }

    /// Counts a passthrough connection. Also returns whether the limit was reached before.
    pub(crate) fn count_passthrough(&self, all: usize) -> (PassthroughPlace<'_>, bool) {
        let before = self.passthrough.fetch_add(1, Ordering::Relaxed);
        (PassthroughPlace(self), before >= passthrough_max(all))
    }

    /// Whether `source` has reached its limit of answered passthrough connections.
    pub(crate) fn is_source_full(&self, source: IpAddr, all: usize) -> bool {
        let source = Source::from(source);
        let of_source = self.with_answered(|answered| answered.get(&source).copied());
        of_source.unwrap_or_default() >= source_max(all)
    }

    /// Counts a passthrough connection that the target has answered. `None` if `source` has reached its
    /// limit.
    // LIMIT: PASSTHROUGH_SOURCE_SHARE, counted in wardgate_connections_limited_total.
    pub(crate) fn take_answered(&self, source: IpAddr, all: usize) -> Option<AnsweredPlace<'_>> {
        let source = Source::from(source);
        let is_taken = self.with_answered(|answered| {
            let is_allowed = answered.get(&source).copied().unwrap_or_default() < source_max(all);
            if is_allowed {
                let count = answered.entry(source).or_default();
                *count = count.saturating_add(1);
            }
            is_allowed
        });
        is_taken.then(|| AnsweredPlace {
            shares: self,
            source,
        })
    }

    /// Counts a connection of the peer that was accepted by `identity`; `Ok(None)` if the peer has no limit.
    ///
    /// # Errors
    /// The limit, if the peer has reached it.
    // LIMIT: PEER_SHARE, counted in wardgate_connections_limited_total.
    pub(crate) fn take_of_peer(
        &self,
        identity: &str,
        all: usize,
    ) -> Result<Option<PeerPlace>, u32> {
        // Locked once for each accepted connection.
        let by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = by_peer.get(identity).cloned() else {
            return Ok(None);
        };
        drop(by_peer);
        let most = peer_max(all);
        let one_more = |open: u32| (open < most).then(|| open.saturating_add(1));
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .map(|_| Some(PeerPlace(Arc::clone(&count))))
            .map_err(|_| most)
    }

    fn with_answered<R>(&self, with: impl FnOnce(&mut HashMap<Source, u32>) -> R) -> R {
        // A panic cannot leave a count half changed.
        with(&mut self.answered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The limit of all passthrough routes together, if the process may have `all` connections.
pub(crate) fn passthrough_max(all: usize) -> u32 {
    share(all, PASSTHROUGH_SHARE)
}

/// The limit of one address among the answered ones.
pub(crate) fn source_max(all: usize) -> u32 {
    share(all, PASSTHROUGH_SHARE * PASSTHROUGH_SOURCE_SHARE)
}

fn peer_max(all: usize) -> u32 {
    share(all, PEER_SHARE)
}

fn share(all: usize, part: usize) -> u32 {
    u32::try_from(all / part).unwrap_or(u32::MAX).max(1)
}

impl Drop for PassthroughPlace<'_> {
    fn drop(&mut self) {
        self.0.passthrough.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for AnsweredPlace<'_> {
    fn drop(&mut self) {
        self.shares.with_answered(|answered| {
            if let Some(count) = answered.get_mut(&self.source) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    answered.remove(&self.source);
                }
            }
        });
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    fn source(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Shares of a gateway with these routes.
    fn shares(routes: &str) -> Shares {
        let text = format!(
            "[identity]\ncertificate = \"site.pem\"\nkey = \"site.key\"\ntrust = \"ca.pem\"\n\
             [[peer]]\nname = \"a\"\nidentity = [\"dns:1.a.example\", \"dns:2.a.example\"]\ntrust = \"a.pem\"\n\
             [[peer]]\nname = \"b\"\nidentity = \"dns:b.example\"\ntrust = \"b.pem\"\n{routes}"
        );
        let config = config::parse(&text, Path::new("wardgate.toml")).expect("good routes");
        let shares = Shares::default();
        shares.share_among(&config.routes);
        shares
    }

    fn terminate(port: u16, peers: &str) -> String {
        format!(
            "[[route]]\nname = \"r{port}\"\nmode = \"terminate\"\nprotocol = \"tcp\"\n\
             listen = \"127.0.0.1:{port}\"\ntargets = [\"192.0.2.1:104\"]\npeers = [{peers}]\n"
        )
    }

    #[test]
    fn one_address_gets_half_of_the_answered_passthrough_connections() {
        let shares = Shares::default();
        // 20 for all passthrough routes, 10 for one address.
        let taken = |from: &str| -> Vec<_> {
            std::iter::from_fn(|| shares.take_answered(source(from), 40)).collect()
        };
        let mut first = taken("2001:db8::1");
        assert_eq!(first.len(), 10);
        // The same /64.
        assert!(shares.is_source_full(source("2001:db8::ffff"), 40));
        assert_eq!(taken("2001:db8::2").len(), 0);
        assert_eq!(taken("192.0.2.1").len(), 10);
        first.pop();
        assert_eq!(taken("2001:db8::2").len(), 1);
        drop(first);
        assert!(shares.with_answered(|answered| answered.is_empty()));
    }

    #[test]
    fn all_passthrough_routes_together_have_half_of_all_connections() {
        let shares = Shares::default();
        let (mut open, full): (Vec<_>, Vec<_>) =
            (0..21).map(|_| shares.count_passthrough(40)).unzip();
        assert_eq!(full.iter().filter(|is_full| **is_full).count(), 1);
        assert!(shares.is_passthrough_full(40));
        open.truncate(19);
        assert!(!shares.is_passthrough_full(40));
    }

    #[test]
    fn a_peer_has_half_of_all_connections_over_all_its_identities_and_routes() {
        let shares = shares(&(terminate(1, "\"a\"") + &terminate(2, "\"a\", \"b\"")));
        let take = |identity: &str| shares.take_of_peer(identity, 20).map(Option::unwrap);
        let own: Vec<_> = (0..10)
            .map(|n| take(["dns:1.a.example", "dns:2.a.example"][n % 2]).expect("a place"))
            .collect();
        assert_eq!(take("dns:1.a.example").err(), Some(10));
        assert_eq!(take("dns:2.a.example").err(), Some(10));
        assert!(take("dns:b.example").is_ok());
        drop(own);
        assert!(take("dns:2.a.example").is_ok());
    }

    #[test]
    fn the_only_peer_of_the_only_route_is_not_bounded() {
        let unbounded = shares(&terminate(1, "\"a\""));
        assert!(matches!(
            unbounded.take_of_peer("dns:1.a.example", 1),
            Ok(None)
        ));
        let bounded = shares(&(terminate(1, "\"a\"") + &terminate(2, "\"a\"")));
        assert!(matches!(
            bounded.take_of_peer("dns:1.a.example", 4),
            Ok(Some(_))
        ));
    }
}
