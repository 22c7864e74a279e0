//! A connection on which a peer renews its CA certificates: no byte of it goes to a target.
//!
//! The peer asks for it in its ClientHello, and is authenticated like every peer of the route. This gateway sends
//! first, so that a gateway that does not know such connections gets nothing from the peer. The supervisor stores what
//! comes (`supervisor/renewals.rs`), and `wardgate pair renew` checks and uses it.

use std::cell::RefCell;

use super::engine::Engine;
use super::open::ReceiveState;
use super::task::ConnectionTask;
use crate::audit::{Close, CloseReason, ClosedBy};
use crate::handshake::send_alert;
use crate::pairing::limits::RENEWAL_WITHIN;
use crate::pairing::update::RenewalMessage;
use crate::uring::{Network, Socket, sleep, until};

impl<V: Network> ConnectionTask<'_, V> {
    /// Exchanges one message each way and closes.
    pub(super) async fn renew(
        &self,
        tls: &V::Socket,
        engine: &RefCell<Engine>,
        received: &mut ReceiveState,
    ) -> Close {
        let time = async {
            tokio::select! {
                // LIMIT: RENEWAL_WITHIN.
                () = sleep(RENEWAL_WITHIN) => illegal("the renewal took too long"),
                reason = self.handle.stopped() => reason,
            }
        };
        let work = self.exchange(tls, engine, received);
        let (by, reason) = match until(work, time, || tls.abort()).await {
            (Ok(last), None) => {
                let sealed = engine.borrow_mut().linger(&last, &self.core.pool);
                match sealed {
                    Ok(sealed) => send_alert(tls, sealed).await,
                    Err(_) => tls.abort(),
                }
                (ClosedBy::Gateway, CloseReason::Complete)
            }
            (Err(reason), None) => {
                tls.abort();
                (ClosedBy::Gateway, reason)
            }
            (_, Some(reason)) => (ClosedBy::Gateway, reason),
        };
        Close { by, reason }
    }

    /// Sends the own message, receives that of the peer, and returns the last answer.
    async fn exchange(
        &self,
        tls: &V::Socket,
        engine: &RefCell<Engine>,
        received: &mut ReceiveState,
    ) -> Result<Vec<u8>, CloseReason> {
        let peer = self.stats.peer.as_ref();
        let identity = peer.map(|peer| peer.identity.clone()).unwrap_or_default();
        let desk = &self.core.renewals;
        let own = desk.ask(&identity, None).await.ok_or_else(|| {
            illegal("asked for a renewal, which is off for this peer; write renew = true in its [[peer]] table")
        })?;
        let sealed = engine.borrow_mut().seal_alone(&own, &self.core.pool);
        let sealed = sealed.map_err(|error| CloseReason::Internal(error.to_string()))?;
        // The socket is new, so its buffer has room for one record.
        tls.send_now(&sealed)
            .map_err(|error| CloseReason::Reset(error.to_string()))?;
        let mut bytes = Vec::new();
        loop {
            match RenewalMessage::read(&bytes) {
                Ok(Some(_)) => break,
                Ok(None) => {}
                Err(_) => return Err(illegal("sent no renewal message")),
            }
            match received.first(tls, engine, &self.core.pool).await {
                Ok(true) => received.move_payload(&mut bytes),
                Ok(false) | Err(_) => return Err(illegal("ended within a renewal")),
            }
        }
        let answer = desk.ask(&identity, Some(bytes)).await;
        answer.ok_or_else(|| illegal("renewed a moment ago; it will try again"))
    }
}

fn illegal(sentence: &str) -> CloseReason {
    CloseReason::Illegal(sentence.to_owned())
}
