//! The handshakes of a connection, and the log entry of one that fails.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::full::limited;
use super::limiter::LimiterPlace;
use super::task::ConnectionTask;
use crate::audit::{Close, CloseReason, ClosedBy, Deadline};
use crate::handshake::{Cause, FailedHandshake, Pace, Secured, handshake};
use crate::metrics::{ConnectionLimit, HandshakeResult};
use crate::stream_kind::StreamKind;
use crate::tls::session::Session;
use crate::tls::{
    self, Acceptor, PeerVerification, RefusalClass, TlsVersion, describe, explain, explain_end,
    explain_silence,
};
use crate::uring::{Network, Socket, SocketExt, race, until};

impl<V: Network> ConnectionTask<'_, V> {
    // A silent client costs only a socket and its place: all other memory is allocated when bytes have come.
    pub(super) async fn accept(
        &mut self,
        tls: &V::Socket,
        acceptor: &Acceptor,
        place: &LimiterPlace<'_>,
    ) -> Result<(Secured, Arc<PeerVerification>), Close> {
        let limit = self.route.config.timeouts.handshake;
        let work = async {
            let waited = Instant::now();
            let (ready, late) = race(tls.readable(), limit, || tls.abort()).await;
            if late {
                return Err(Close {
                    by: ClosedBy::Gateway,
                    reason: CloseReason::Deadline(Deadline::Handshake),
                });
            }
            ready.map_err(|_| Close {
                by: ClosedBy::TlsPeer,
                reason: CloseReason::Empty,
            })?;
            let patience = limit.saturating_sub(waited.elapsed());
            let begins = place.begin(self.source.ip(), patience).await;
            if let Err(limit) = begins {
                tls.abort();
                self.counters.limited_by(ConnectionLimit::Handshakes).add(1);
                return Err(limited(limit));
            }
            let begun = acceptor.start().map(|(c, j)| (Session::from(c), j));
            let limit = Limit::of_handshake(limit.saturating_sub(waited.elapsed()));
            Box::pin(self.shake(tls, begun, limit, place)).await
        };
        let end = || {
            tls.abort();
            place.cancel();
        };
        match until(work, place.ended(), end).await {
            (outcome, None) => outcome,
            (_, Some(reason)) => Err(Close {
                by: ClosedBy::Gateway,
                reason,
            }),
        }
    }

    /// Takes a TLS side through its handshake, and counts it.
    pub(super) async fn shake(
        &mut self,
        socket: &V::Socket,
        begun: Result<(Session, Arc<PeerVerification>), rustls::Error>,
        limit: Limit,
        pace: &impl Pace,
    ) -> Result<(Secured, Arc<PeerVerification>), Close> {
        let started = Instant::now();
        let outcome = self.secure(socket, begun, limit, pace).await;
        let counters = &self.counters.handshakes;
        counters.seconds.note(started.elapsed());
        let result = match &outcome {
            Ok(_) => HandshakeResult::Accepted,
            Err(close) => result(close),
        };
        counters.note(result, self.handle.id.number());
        if let (Ok(_), Some(tls)) = (&outcome, &self.stats.tls) {
            counters.note_negotiated(tls.version.name(), tls.suite, tls.group);
        }
        outcome
    }

    async fn secure(
        &mut self,
        socket: &V::Socket,
        begun: Result<(Session, Arc<PeerVerification>), rustls::Error>,
        limit: Limit,
        pace: &impl Pace,
    ) -> Result<(Secured, Arc<PeerVerification>), Close> {
        let (session, verification) = begun.map_err(|error| {
            socket.abort();
            Close {
                by: ClosedBy::Gateway,
                reason: CloseReason::Internal(error.to_string()),
            }
        })?;
        let secured = match handshake(socket, session, limit.time, pace).await {
            Ok(secured) => secured,
            Err(failed) => {
                let refused = verification.refusal();
                self.stats.refused = refused.and_then(|refusal| refusal.certificate);
                return Err(refusal(&failed, &verification, limit));
            }
        };
        self.stats.tls = describe(secured.session.state());
        self.stats.tunnel = verification.tunnel();
        self.handle.tunnel.set(self.stats.tunnel);
        if let Err(error) = verification.check_confirmed(secured.session.state()) {
            socket.abort();
            return Err(Close {
                by: ClosedBy::Gateway,
                reason: CloseReason::Handshake(
                    class(&verification),
                    explain(&error, &verification, &[]),
                ),
            });
        }
        self.stats.peer = verification.peer();
        if self.stats.peer.is_none() {
            // The verifier runs in every full handshake, and there are no other handshakes. Should this ever
            // change, no peer is accepted.
            socket.abort();
            let reason = CloseReason::Internal("a peer without an accepted identity".to_owned());
            return Err(Close {
                by: ClosedBy::Gateway,
                reason,
            });
        }
        Ok((secured, verification))
    }

    // A server may refuse the gateway's certificate after the gateway's side of a TLS 1.3 handshake is done
    // (RFC 8446 section 4.4.2.4). Until its first payload, an alert is its answer to the handshake.
    pub(super) fn wrong_record(
        &self,
        error: &rustls::Error,
        verification: &PeerVerification,
    ) -> CloseReason {
        match error {
            rustls::Error::AlertReceived(_)
                if self.handle.opened.get() == 0
                    && verification.side() == tls::TlsRole::Client
                    && self
                        .stats
                        .tls
                        .as_ref()
                        .is_some_and(|tls| tls.version == TlsVersion::Tls13) =>
            {
                CloseReason::Handshake(class(verification), explain(error, verification, &[]))
            }
            _ => CloseReason::Protocol(error.to_string()),
        }
    }
}

// How a handshake that failed is counted.
fn result(close: &Close) -> HandshakeResult {
    match (&close.reason, close.by) {
        (CloseReason::Handshake(RefusalClass::Revoked, _), _) => HandshakeResult::Revoked,
        (CloseReason::Handshake(RefusalClass::NotListed, _), _) => HandshakeResult::NotListed,
        (CloseReason::Handshake(RefusalClass::Unacceptable, _), _) => HandshakeResult::Unacceptable,
        (CloseReason::Handshake(..) | CloseReason::Empty, ClosedBy::TlsPeer) => {
            HandshakeResult::RefusedByPeer
        }
        (CloseReason::Handshake(..), _) => HandshakeResult::Refused,
        (CloseReason::Deadline(_), _) => HandshakeResult::Deadline,
        (CloseReason::Limit(_), _) => HandshakeResult::Limit,
        _ => HandshakeResult::Failed,
    }
}

fn class(verification: &PeerVerification) -> RefusalClass {
    let refusal = verification.refusal();
    refusal.map_or_else(RefusalClass::default, |refusal| refusal.class())
}

/// The time limit of a handshake, and the key that sets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) time: Duration,
    pub(super) key: &'static str,
}

impl Limit {
    /// The route's `handshake`, or the rest of it.
    pub(super) fn of_handshake(time: Duration) -> Self {
        let key = "timeouts.handshake";
        Self { time, key }
    }
}

fn is_tls(first: &[u8]) -> bool {
    matches!(StreamKind::of(first), None | Some(StreamKind::Tls))
}

fn refusal(failed: &FailedHandshake, verification: &PeerVerification, limit: Limit) -> Close {
    let class = class(verification);
    let explained =
        |error| CloseReason::Handshake(class, explain(error, verification, &failed.first));
    match &failed.cause {
        Cause::Tls(error @ rustls::Error::AlertReceived(_)) => Close {
            by: ClosedBy::TlsPeer,
            reason: explained(error),
        },
        Cause::Tls(error) => Close {
            by: ClosedBy::Gateway,
            reason: explained(error),
        },
        // Bytes that are not TLS are reported even if the handshake is no longer waited for.
        Cause::Deadline if verification.side() == tls::TlsRole::Server && is_tls(&failed.first) => {
            Close {
                by: ClosedBy::Gateway,
                reason: CloseReason::Deadline(Deadline::Handshake),
            }
        }
        Cause::Deadline => {
            let limit = (limit.time, limit.key);
            let sentence = explain_silence(verification, &failed.first, failed.hello_bytes, limit);
            Close {
                by: ClosedBy::Gateway,
                reason: CloseReason::Handshake(class, sentence),
            }
        }
        Cause::TooLong => Close {
            by: ClosedBy::Gateway,
            reason: CloseReason::Limit("bytes of a handshake flight".into()),
        },
        // A client that connects and goes is a probe; a target that does so is reported.
        Cause::Closed | Cause::Socket(_)
            if failed.first.is_empty() && verification.side() == tls::TlsRole::Server =>
        {
            Close {
                by: ClosedBy::TlsPeer,
                reason: CloseReason::Empty,
            }
        }
        Cause::Closed | Cause::Socket(_) => Close {
            by: ClosedBy::TlsPeer,
            reason: CloseReason::Handshake(
                class,
                explain_end(verification, &failed.first, failed.hello_bytes),
            ),
        },
    }
}
