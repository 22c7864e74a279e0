//! The handle by which a core knows a connection and can end it.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, watch};

use crate::audit::{CloseReason, ConnectionId};
use crate::config::RouteConfig;
use crate::observe::{LiveView, Observer};
use crate::route::{Route, RoutePhase};
use crate::tls::{PeerInfo, TunnelId};

/// An open connection as an operator may see it. Holds no payload and no patient data.
#[derive(Debug)]
pub struct ConnectionView {
    /// The number of the connection.
    pub id: ConnectionId,
    /// The route with which the connection began.
    pub route: Arc<RouteConfig>,
    /// The client.
    pub source: SocketAddr,
    /// The client that a proxy or the peer names in place of `source`.
    pub client: Option<SocketAddr>,
    /// The id of the TLS connection at both sites.
    pub tunnel: Option<TunnelId>,
    /// The target, once it is connected.
    pub target: Option<SocketAddr>,
    /// The TLS peer, once it is accepted.
    pub peer: Option<Arc<PeerInfo>>,
    /// Payload bytes from the plain side into TLS (passthrough: from the source to the target).
    pub sealed_bytes: u64,
    /// Payload bytes out of TLS to the plain side (passthrough: from the target to the source).
    pub opened_bytes: u64,
    /// When it was accepted.
    pub began: Instant,
    /// What the observer has seen, once the connection is relayed.
    pub live: Option<LiveView>,
}

/// An open connection. The core's registry holds one handle for each.
pub struct ConnectionHandle {
    /// The number of the connection.
    pub id: ConnectionId,
    /// The route with which the connection began, even if the configuration has changed since.
    pub route: Arc<Route>,
    /// The client.
    pub source: SocketAddr,
    /// Payload bytes from the plain side into TLS (passthrough: from the source to the target).
    pub(super) sealed: Cell<u64>,
    /// Payload bytes out of TLS to the plain side (passthrough: from the target to the source).
    pub(super) opened: Cell<u64>,
    /// The client that a proxy or the peer names in place of `source`.
    pub(super) client: Cell<Option<SocketAddr>>,
    /// The id of the TLS connection at both sites.
    pub(super) tunnel: Cell<Option<TunnelId>>,
    /// The target, once it is connected.
    pub(super) target: Cell<Option<SocketAddr>>,
    began: Instant,
    // Set when the connection is relayed; shared with the link, which observes.
    observer: OnceCell<Rc<RefCell<Observer>>>,
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
            sealed: Cell::new(0),
            opened: Cell::new(0),
            client: Cell::new(None),
            tunnel: Cell::new(None),
            target: Cell::new(None),
            began: Instant::now(),
            observer: OnceCell::new(),
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

    /// Shares the observer of the connection, for `view`.
    pub(super) fn observe(&self, observer: Observer) -> Rc<RefCell<Observer>> {
        let observer = Rc::new(RefCell::new(observer));
        // A connection is relayed once.
        let _ = self.observer.set(Rc::clone(&observer));
        observer
    }

    /// Payload bytes in both directions.
    #[must_use]
    pub fn moved_bytes(&self) -> u64 {
        self.sealed.get().saturating_add(self.opened.get())
    }

    /// What an operator may know of the connection now.
    #[must_use]
    pub fn view(&self) -> ConnectionView {
        let observer = self.observer.get();
        ConnectionView {
            id: self.id,
            route: Arc::clone(&self.route.config),
            source: self.source,
            client: self.client.get(),
            tunnel: self.tunnel.get(),
            target: self.target.get(),
            peer: self.peer.get().cloned(),
            sealed_bytes: self.sealed.get(),
            opened_bytes: self.opened.get(),
            began: self.began,
            live: observer.map(|observer| observer.borrow().live()),
        }
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
            .wait_for(|now| *now < RoutePhase::Draining)
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
