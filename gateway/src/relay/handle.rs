//! The handle by which a core knows a connection and can end it.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::audit::{CloseReason, ConnectionId};
use crate::route::{Route, RoutePhase};
use crate::tls::PeerInfo;

/// An open connection. The core's registry holds one handle for each.
pub struct ConnectionHandle {
    /// The number of the connection.
    pub id: ConnectionId,
    /// The route with which the connection began, even if the configuration has changed since.
    pub route: Arc<Route>,
    /// The client.
    pub source: SocketAddr,
    peer: OnceCell<Arc<PeerInfo>>,
    phase: watch::Receiver<RoutePhase>,
    // Why it must end at once.
    end: OnceCell<CloseReason>,
    ended: Notify,
}

impl ConnectionHandle {
    /// A handle for a connection that was accepted on `route` and is not served yet.
    #[must_use]
    pub fn new(id: ConnectionId, route: Arc<Route>, source: SocketAddr) -> Rc<Self> {
        Rc::new(Self {
            id,
            phase: route.state.phase(),
            route,
            source,
            peer: OnceCell::new(),
            end: OnceCell::new(),
            ended: Notify::new(),
        })
    }

    /// The TLS peer and the certificates by which it was accepted; `None` until then, and on passthrough routes.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerInfo> {
        self.peer.get().map(|peer| &**peer)
    }

    /// Ends the connection at once, so that both ends notice that it was cut. The first reason counts.
    pub fn end(&self, reason: CloseReason) {
        let _ = self.end.set(reason);
        self.ended.notify_waiters();
    }

    /// Why it must end at once, if it must.
    #[cfg(test)]
    pub(crate) fn ending(&self) -> Option<CloseReason> {
        self.end.get().cloned()
    }

    /// Records the accepted peer.
    pub(super) fn accept(&self, peer: Arc<PeerInfo>) {
        // A connection has one handshake with an accepted peer.
        let _ = self.peer.set(peer);
    }

    /// Waits until the connection must end as soon as nothing is outstanding.
    pub(super) async fn draining(&self) {
        self.phase(RoutePhase::Draining).await;
    }

    /// Waits until the connection need not end any more, because the drain was undone.
    pub(super) async fn resumed(&self) {
        let _ = self
            .phase
            .clone()
            .wait_for(|now| *now == RoutePhase::Open)
            .await;
    }

    /// Waits until the connection must end at once, and returns why.
    pub(super) async fn stopped(&self) -> CloseReason {
        let ended = async {
            loop {
                match self.end.get() {
                    Some(reason) => return reason.clone(),
                    None => self.ended.notified().await,
                }
            }
        };
        tokio::select! {
            biased;
            reason = ended => reason,
            () = self.phase(RoutePhase::Stopped) => CloseReason::Drained,
        }
    }

    async fn phase(&self, least: RoutePhase) {
        // The handle holds the route, whose state holds the sender.
        let _ = self.phase.clone().wait_for(|now| *now >= least).await;
    }
}
