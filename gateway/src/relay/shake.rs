//! The handshakes of a connection, and what is logged of one that fails.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::limiter::Place;
use super::task::ConnectionTask;
use crate::audit::{Close, ClosedBy, Deadline, Reason};
use crate::stream_kind::StreamKind;
use crate::tls::handshake::{Cause, Failed, Pace, Secured, handshake};
use crate::tls::session::Session;
use crate::tls::{
    self, Acceptor, PeerVerification, RefusalClass, describe, explain, explain_end, explain_silence,
};
use crate::uring::{Network, Socket, SocketExt, race, until};

impl<V: Network> ConnectionTask<'_, V> {
    // A client that says nothing costs a socket and its place: all else is made when bytes have come.
    pub(super) async fn accept(
        &mut self,
        tls: &V::Socket,
        acceptor: &Acceptor,
        place: &Place<'_>,
    ) -> Result<(Secured, Arc<PeerVerification>), Close> {
        let limit = self.route.config.timeouts.handshake;
        let work = async {
            let waited = Instant::now();
            let (ready, late) = race(tls.readable(), limit, || tls.abort()).await;
            if late {
                return Err(Close {
                    by: ClosedBy::Gateway,
                    reason: Reason::Deadline(Deadline::Handshake),
                });
            }
            ready.map_err(|_| Close {
                by: ClosedBy::TlsPeer,
                reason: Reason::Empty,
            })?;
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

    pub(super) async fn shake(
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
                reason: Reason::Internal(error.to_string()),
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
        if let Err(error) = verification.check_confirmed(secured.session.state()) {
            socket.abort();
            return Err(Close {
                by: ClosedBy::Gateway,
                reason: Reason::Handshake(
                    class(&verification),
                    explain(&error, &verification, &[]),
                ),
            });
        }
        self.stats.peer = verification.peer();
        if self.stats.peer.is_none() {
            // The verifier runs in every full handshake, and there are no others; should that ever
            // not hold, nobody passes.
            socket.abort();
            let reason = Reason::Internal("a peer without an accepted identity".to_owned());
            return Err(Close {
                by: ClosedBy::Gateway,
                reason,
            });
        }
        Ok((secured, verification))
    }

    // A server may refuse our certificate after our side of a TLS 1.3 handshake is done (RFC 8446
    // section 4.4.2.4); until its first payload has come, an alert is its answer to the handshake.
    pub(super) fn wrong_record(
        &self,
        error: &rustls::Error,
        verification: &PeerVerification,
    ) -> Reason {
        match error {
            rustls::Error::AlertReceived(_)
                if self.stats.opened.get() == 0
                    && verification.side() == tls::TlsRole::Client
                    && self
                        .stats
                        .tls
                        .as_ref()
                        .is_some_and(|tls| tls.version == "TLSv1.3") =>
            {
                Reason::Handshake(class(verification), explain(error, verification, &[]))
            }
            _ => Reason::Protocol(error.to_string()),
        }
    }
}

fn class(verification: &PeerVerification) -> RefusalClass {
    let refusal = verification.refusal();
    refusal.map_or_else(RefusalClass::default, |refusal| refusal.class())
}

/// How long a handshake may take, and the key that sets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) time: Duration,
    pub(super) key: &'static str,
}

impl Limit {
    /// The route's `handshake`, or what is left of it.
    pub(super) fn of_handshake(time: Duration) -> Self {
        let key = "timeouts.handshake";
        Self { time, key }
    }
}

fn is_tls(first: &[u8]) -> bool {
    matches!(StreamKind::of(first), None | Some(StreamKind::Tls))
}

fn refusal(failed: &Failed, verification: &PeerVerification, limit: Limit) -> Close {
    let class = class(verification);
    let explained = |error| Reason::Handshake(class, explain(error, verification, &failed.first));
    match &failed.cause {
        Cause::Tls(error @ rustls::Error::AlertReceived(_)) => Close {
            by: ClosedBy::TlsPeer,
            reason: explained(error),
        },
        Cause::Tls(error) => Close {
            by: ClosedBy::Gateway,
            reason: explained(error),
        },
        // What is not TLS is worth naming also where nobody waits for the rest of it.
        Cause::Deadline if verification.side() == tls::TlsRole::Server && is_tls(&failed.first) => {
            Close {
                by: ClosedBy::Gateway,
                reason: Reason::Deadline(Deadline::Handshake),
            }
        }
        Cause::Deadline => {
            let limit = (limit.time, limit.key);
            let sentence = explain_silence(verification, &failed.first, failed.hello_bytes, limit);
            Close {
                by: ClosedBy::Gateway,
                reason: Reason::Handshake(class, sentence),
            }
        }
        Cause::TooLong => Close {
            by: ClosedBy::Gateway,
            reason: Reason::Limit("octets of a handshake flight".into()),
        },
        // Whoever connects to us and goes is a probe; a target that does so is worth a sentence.
        Cause::Closed | Cause::Socket(_)
            if failed.first.is_empty() && verification.side() == tls::TlsRole::Server =>
        {
            Close {
                by: ClosedBy::TlsPeer,
                reason: Reason::Empty,
            }
        }
        Cause::Closed | Cause::Socket(_) => Close {
            by: ClosedBy::TlsPeer,
            reason: Reason::Handshake(
                class,
                explain_end(verification, &failed.first, failed.hello_bytes),
            ),
        },
    }
}
