//! The life of a connection: accept, admit, connect, relay, and its statistics at the end.

use std::cell::{OnceCell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use tokio::sync::watch;
use tokio::time::Instant;

use super::bandwidth::PacedFlow;
use super::ending::Milestone;
use super::engine::Engine;
use super::first::Beginning;
use super::handle::ConnectionHandle;
use super::idle::end_idle_association;
use super::limiter::{LimiterPlace, source_limit};
use super::link::Link;
use super::open::{OpenDirection, ReceiveState};
use super::passthrough::{FirstTargetBytes, Passing};
use super::reception::close_of;
use super::reports::Reports;
use super::seal::{SealDirection, TlsWriter};
use super::shake::Limit;
use super::stats::{
    ConnectionStats, OpenConnection, count, ending, rejected, unanswered, without_target,
};
use super::task::{ConnectionTask, Core};
use crate::audit::{self, Close, CloseReason, ClosedBy, Deadline};
use crate::config::{Connect, Mode};
use crate::handshake::{Secured, Unpaced};
use crate::metrics::{ClientStage, ConnectionLimit};
use crate::observe::{Direction, Observer};
use crate::relay::limits::{FIRST_BYTES_GRACE, FIRST_MOVE_LOOK};
use crate::route::{AnsweredPlace, OfRoute, RouteBandwidth, Transport};
use crate::tls::session::Session;
use crate::tls::{Acceptor, Connector, PeerVerification, RefusalClass};
use crate::upstream::{Attempts, TargetSlot};
use crate::uring::{Network, Socket, sleep, sleep_until, until};

/// An accepted connection.
pub struct AcceptedConnection<S> {
    /// The handle by which the connection is known and ended.
    pub handle: Rc<ConnectionHandle>,
    /// The socket of the client.
    pub socket: S,
    /// The address that the client connected to; needed only if the route passes it on.
    pub local: Option<SocketAddr>,
    /// Whether the number of connections is at the limit: the connection is served only if an unauthenticated
    /// client can be ended for it.
    pub is_beyond: bool,
}

/// Serves one connection to its end and returns its summary. The future must not be dropped before.
pub async fn serve<V: Network>(
    core: &Core<V>,
    accepted: AcceptedConnection<V::Socket>,
) -> audit::ConnectionSummary {
    let started = Instant::now();
    let handle = &*accepted.handle;
    let route = &*handle.route;
    let counters = route.counters(core.place);
    let mut work = ConnectionTask {
        handle,
        started,
        core,
        route,
        source: handle.source,
        local: accepted.local,
        counters,
        fairness_id: core.pool.fairness().join(),
        stats: ConnectionStats::default(),
        excess: None,
    };
    let (of_route, full) = OfRoute::count(route, handle.source.ip(), core.connections_max);
    let mut of_route = Some(of_route);
    let admitted = work.admit_connection(full, accepted.is_beyond);
    let admitted = admitted.or_else(|exceeded| {
        of_route = None;
        work.exceed(exceeded)
    });
    let close = match admitted {
        Ok(()) => {
            let _open = OpenConnection::count(counters);
            work.run(accepted.socket).await
        }
        Err(close) => {
            accepted.socket.abort();
            close
        }
    };
    drop(of_route);
    count(counters, &close.reason);
    let undelivered = work.stats.undelivered();
    counters.undelivered_bytes.add(undelivered.iter().sum());
    core.counters.pool_exhausted.set(core.pool.exhausted());
    let stats = work.stats;
    let stats = stats.summary(handle, started, close);
    if stats.would_refuse().is_some() {
        counters.would_refuse.add(1);
    }
    stats
}

impl<'c, V: Network> ConnectionTask<'c, V> {
    async fn run(&mut self, socket: V::Socket) -> Close {
        if self.route.config.source.accept_proxy.is_some()
            && let Err(close) = Box::pin(self.read_proxy_header(&socket)).await
        {
            return close;
        }
        let outcome = match &self.route.transport {
            // Boxed: otherwise each connection would hold memory for the largest future.
            Transport::Originate(connector) => Box::pin(self.originate(socket, connector)).await,
            Transport::Terminate(acceptor) => Box::pin(self.terminate(socket, acceptor)).await,
            Transport::Passthrough => Box::pin(self.pass(socket)).await,
        };
        outcome.unwrap_or_else(|close| close)
    }

    async fn originate(&mut self, plain: V::Socket, connector: &Connector) -> Result<Close, Close> {
        // The futures before the relay are boxed: a resting connection holds no memory for them.
        let place = self.place(ClientStage::FirstMessage);
        let mut first = Box::pin(self.first_bytes(&plain, &place)).await?;
        // If either side may begin, a client may be silent forever.
        let may_be_silent = Beginning::of(&self.route.config) == Beginning::Either;
        let mut place = may_be_silent.then(|| Box::new(place));
        let admitted = match self.admit(&mut first) {
            Ok(admitted) => admitted,
            Err(refused) => return Err(Box::pin(self.refuse(&plain, &first, refused)).await),
        };
        let mut attempts = self.attempts(admitted.table);
        let mut refusal = None;
        while let Some(reached) = Box::pin(self.connect(&mut attempts)).await {
            let begun = connector
                .start(&reached.target)
                .map(|(c, j)| (Session::from(c), j));
            let limit = self.handshake_limit(&attempts);
            let in_time = limit.time;
            match Box::pin(self.shake(&reached.socket, begun, limit, &Unpaced)).await {
                Ok((secured, verification)) => {
                    attempts.accept(&self.core.dns);
                    self.note_target(reached.address);
                    self.report_accepted();
                    let observer = self.observer();
                    let link = Link::new(plain, reached.socket, observer, Direction::ToClient);
                    let (engine, mut received) = match self.engine(secured) {
                        Ok(begun) => begun,
                        Err(reason) => {
                            link.fail(ClosedBy::Gateway, reason);
                            return Ok(link.close());
                        }
                    };
                    if let Err(reason) = self.send_carried_source(&link.tls, &engine) {
                        link.fail(ClosedBy::TlsPeer, reason);
                        return Ok(link.close());
                    }
                    let first = &mut first.bytes;
                    let (payload, place) = ((first, &mut received), place.take());
                    let relay = self.relay(&link, &engine, &verification, payload, place);
                    // In a separate box: a connection that is not accepted yet does without this memory.
                    let close = Box::pin(relay).await;
                    self.note_observed(&link, &close);
                    return Ok(close);
                }
                Err(close) => {
                    let why = format!("target {}: {}", reached.address, close.reason);
                    attempts.reject(&self.core.dns, why, in_time);
                    let class = match close.reason {
                        CloseReason::Handshake(class, _) => class,
                        _ => RefusalClass::default(),
                    };
                    refusal = Some((close.by, class));
                }
            }
        }
        let close = match refusal {
            Some((by, class)) => Close {
                by,
                reason: CloseReason::Handshake(class, attempts.sentence()),
            },
            None => without_target(&attempts),
        };
        // The application sees the same as without the gateway: a refused connection.
        Box::pin(self.reply_unreachable(&plain, &first, &close)).await;
        Ok(close)
    }

    async fn terminate(&mut self, tls: V::Socket, acceptor: &Acceptor) -> Result<Close, Close> {
        let place = self.place(ClientStage::Handshake);
        let (secured, verification) = Box::pin(self.accept(&tls, acceptor, &place)).await?;
        drop(place);
        self.report_accepted();
        let of_peer = self.of_peer().or_else(|exceeded| {
            let waits = self.exceed(exceeded).inspect_err(|_| tls.abort());
            waits.map(|()| (None, None))
        });
        let _of_peer = of_peer?;
        // An accepted peer may be silent forever; this bounds the number of such peers.
        let place = self.place(ClientStage::SilentPeer);
        let (engine, mut received) = self.engine(secured).map_err(|reason| {
            tls.abort();
            let by = ClosedBy::Gateway;
            Close { by, reason }
        })?;
        if verification.is_renewal() {
            return Ok(Box::pin(self.renew(&tls, &engine, &mut received)).await);
        }
        let mut begun = Vec::new();
        if self.route.config.carries_source() {
            let carried =
                self.read_carried_source(&tls, &engine, &mut received, &verification, &place);
            begun = Box::pin(carried).await?;
        }
        let first =
            self.first_payload(&tls, &engine, (begun, &mut received), &verification, &place);
        let mut first = Box::pin(first).await?;
        let is_early = self.route.config.connect == Connect::Early;
        let place = is_early.then(|| Box::new(place));
        let admitted = match self.admit(&mut first) {
            Ok(admitted) => admitted,
            Err(refused) => {
                let reply = Some(refused.answer);
                self.note_refused(&first, &refused);
                Box::pin(self.reply_sealed(&tls, &engine, reply)).await;
                return Err(close_of(refused));
            }
        };
        let attempts = self.attempts(admitted.table);
        let (plain, _slot) = match Box::pin(self.reach(attempts)).await {
            Ok(reached) => reached,
            Err(close) => {
                let reply = self.unreachable_reply(&close);
                self.note_answered(&first, reply);
                Box::pin(self.reply_sealed(&tls, &engine, reply)).await;
                return Err(close);
            }
        };
        self.send_proxy_header(&plain)
            .inspect_err(|_| tls.abort())?;
        received.hold(first.bytes);
        let link = Link::new(plain, tls, self.observer(), Direction::ToTarget);
        let mut nothing = Vec::new();
        let payload = (&mut nothing, &mut received);
        let relay = self.relay(&link, &engine, &verification, payload, place);
        // In a separate box: a connection that is not accepted yet does without this memory.
        let close = Box::pin(relay).await;
        self.note_observed(&link, &close);
        Ok(unanswered(close, self.handle))
    }

    async fn pass(&mut self, source: V::Socket) -> Result<Close, Close> {
        let place = self.place(ClientStage::Passthrough);
        let first = Box::pin(self.first_bytes(&source, &place)).await?;
        let (target, _slot) = Box::pin(self.reach_for(&source, &place)).await?;
        self.send_proxy_header(&target)
            .inspect_err(|_| source.abort())?;
        let answered = FirstTargetBytes::default();
        let link = Link::new(source, target, Rc::default(), Direction::ToClient);
        let overs = [Milestone::default(), Milestone::default()];
        let flows = self.paced_flows();
        let flow = |which: usize| flows.as_deref().and_then(|flows| flows.get(which));
        let direction = |bytes, counter, from, to| Passing {
            core: self.core,
            fairness_id: self.fairness_id,
            bytes,
            counter,
            from,
            to,
            flow: flow(usize::from(from == ClosedBy::Target)),
            answered: Some(&answered).filter(|_| from == ClosedBy::Target),
        };
        let (there, back) = (ClosedBy::Source, ClosedBy::Target);
        let counters = self.counters;
        let to_target = direction(&self.handle.sealed, &counters.sealed_bytes, there, back);
        let to_client = direction(&self.handle.opened, &counters.opened_bytes, back, there);
        let both = async {
            tokio::join!(
                to_target.run(
                    &link,
                    (&link.plain, &link.tls),
                    first.bytes,
                    (&overs[0], &overs[1])
                ),
                to_client.run(
                    &link,
                    (&link.tls, &link.plain),
                    Vec::new(),
                    (&overs[1], &overs[0])
                ),
            )
        };
        let mut both = pin!(both);
        let timeouts = &self.route.config.timeouts;
        let (parties, handle) = ([there, back], self.handle);
        let share = OnceCell::new();
        let until_answered = self.until_answered(place, &answered, &share);
        let watch = link.watch(both.as_mut(), timeouts, parties, handle, until_answered);
        if Box::pin(watch).await {
            link.watch(both, timeouts, parties, handle, pending()).await;
        }
        let [to_source, to_target] = link.left();
        self.stats.note_left(self.handle, to_source, to_target);
        Ok(link.close())
    }

    // Connects for a client that may have to give up its place in the meantime.
    async fn reach_for(
        &mut self,
        source: &V::Socket,
        place: &LimiterPlace<'_>,
    ) -> Result<(V::Socket, Option<TargetSlot>), Close> {
        let (stopping, stopped) = watch::channel(false);
        let attempts = self.attempts(None);
        let attempts = attempts.ended_by(stopped);
        let end = || {
            source.abort();
            let _ = stopping.send(true);
        };
        match until(self.reach(attempts), place.ended(), end).await {
            (Ok(target), None) => Ok(target),
            (Err(close), None) => {
                source.abort();
                Err(close)
            }
            (_, Some(reason)) => Err(Close {
                by: ClosedBy::Gateway,
                reason,
            }),
        }
    }

    // Returns when the target has sent something, with the connection's place in `share`; or returns the
    // reason that ends the client, which has proved nothing until then.
    async fn until_answered(
        &self,
        place: LimiterPlace<'_>,
        answered: &FirstTargetBytes,
        share: &OnceCell<AnsweredPlace<'c>>,
    ) -> Option<CloseReason> {
        let all = self.core.connections_max;
        let counted = async {
            answered.wait().await;
            match self.route.shares.take_answered(self.source.ip(), all) {
                Some(place) => {
                    let _ = share.set(place);
                    None
                }
                None => {
                    let limit = ConnectionLimit::PassthroughSource;
                    self.counters.limited_by(limit).add(1);
                    Some(CloseReason::Limit(source_limit(all).into()))
                }
            }
        };
        let late = async {
            match (
                Beginning::of(&self.route.config),
                self.route.config.timeouts.first_byte,
            ) {
                // Both sides may be silent for the time of `idle`.
                (Beginning::Either, _) | (_, None) => pending().await,
                (Beginning::Opener | Beginning::Request | Beginning::Frame, Some(limit)) => {
                    sleep(limit).await;
                }
            }
        };
        tokio::select! {
            biased;
            reason = counted => reason,
            reason = place.ended() => Some(reason),
            () = late => Some(CloseReason::Deadline(Deadline::FirstByte)),
        }
    }

    // Returns when either side has sent something, or the reason that ends the client before.
    async fn until_moved(&self, place: Box<LimiterPlace<'_>>) -> Option<CloseReason> {
        let moved = async {
            while self.handle.sealed.get() == 0 && self.handle.opened.get() == 0 {
                sleep(FIRST_MOVE_LOOK).await;
            }
        };
        tokio::select! {
            biased;
            () = moved => None,
            reason = place.ended() => Some(reason),
        }
    }

    async fn relay(
        &self,
        link: &Link<V::Socket, V::Socket>,
        engine: &RefCell<Engine>,
        verification: &PeerVerification,
        (first, received): (&mut Vec<u8>, &mut ReceiveState),
        place: Option<Box<LimiterPlace<'_>>>,
    ) -> Close {
        let (writer, reports) = (TlsWriter::default(), Reports::new());
        let flows = self.paced_flows();
        // Sealing leads to the target on an originate route, and to the client on a terminate route.
        let to_tls = usize::from(self.route.config.mode == Mode::Terminate);
        let flow = |which: usize| flows.as_deref().and_then(|flows| flows.get(which));
        let (pool, counters, stats) = (&self.core.pool, self.counters, &self.stats);
        let sealing = SealDirection {
            engine,
            writer: &writer,
            pool,
            fairness_id: self.fairness_id,
            bytes: &self.handle.sealed,
            counter: &counters.sealed_bytes,
            undelivered: &stats.unsealed,
            flow: flow(to_tls),
        };
        let explain = |error: &rustls::Error| self.wrong_record(error, verification);
        let opening = OpenDirection {
            engine,
            writer: &writer,
            pool,
            bytes: &self.handle.opened,
            counter: &counters.opened_bytes,
            undelivered: &stats.unopened,
            flow: flow(1 - to_tls),
            explain: &explain,
        };
        let both = async { tokio::join!(sealing.run(link, first), opening.run(link, received)) };
        let mut both = pin!(both);
        let timeouts = &self.route.config.timeouts;
        let (parties, handle) = ([ClosedBy::PlainSide, ClosedBy::TlsPeer], self.handle);
        let goes_on = match place {
            Some(place) => {
                let until_moved = self.until_moved(place);
                let watch = link.watch(both.as_mut(), timeouts, parties, handle, until_moved);
                Box::pin(watch).await
            }
            None => true,
        };
        if goes_on {
            // Pinned here and passed by reference: a future that is passed by value is stored twice.
            let at_rest = pin!(async {
                // Only this task changes the value, so checking it at each poll is enough.
                let rests = || {
                    poll_fn(|_| match link.is_at_rest() && writer.is_free() {
                        true => Poll::Ready(()),
                        false => Poll::Pending,
                    })
                };
                loop {
                    handle.draining().await;
                    // A client that has just connected has a moment for its first message.
                    sleep_until(self.started + FIRST_BYTES_GRACE).await;
                    tokio::select! {
                        biased;
                        () = handle.resumed() => {}
                        () = rests() => break,
                    }
                }
                Some(match writer.closing_records(engine) {
                    Ok(records) => {
                        link.end_cleanly(CloseReason::AtRest, &records, &[]);
                        CloseReason::AtRest
                    }
                    Err(error) => CloseReason::Internal(error.to_string()),
                })
            });
            // Boxed, because most routes have no such limit.
            let idle = timeouts
                .association_idle
                .map(|limit| Box::pin(end_idle_association(limit, link, &writer, engine, pool)));
            let until = pin!(async {
                tokio::select! {
                    biased;
                    reason = at_rest => reason,
                    reason = ended_when(idle) => Some(reason),
                    never = self.report(link, &reports) => never,
                }
            });
            link.watch(both, timeouts, parties, handle, until).await;
        }
        let close = link.close();
        self.report_end(link, &reports, &close);
        let [to_plain, to_tls] = link.left();
        stats.note_left(self.handle, to_plain, to_tls);
        close
    }

    fn note_observed(&mut self, link: &Link<V::Socket, V::Socket>, close: &Close) {
        let ending = rejected(ending(close, &self.route.transport), link.reply());
        let now = Instant::now().into_std();
        self.stats.observed = link.observer().finish(ending, now);
    }

    fn engine(&self, secured: Secured) -> Result<(RefCell<Engine>, ReceiveState), CloseReason> {
        let Some(tls) = &self.route.config.tls else {
            unreachable!("who shook hands has a TLS route")
        };
        let layer = tls.record_layer;
        let begun = Engine::new(secured, layer, self.core.cipher, tls.key_records);
        let (mut engine, incoming, early) =
            begun.map_err(|error| CloseReason::Internal(error.to_string()))?;
        engine.count_key_updates(&self.counters.key_updates);
        let received = ReceiveState::new(incoming, early, self.fairness_id);
        Ok((RefCell::new(engine), received))
    }

    /// The observer of this connection.
    pub(super) fn observer(&self) -> Rc<RefCell<Observer>> {
        let observer = self.route.observer(&self.counters.observed);
        self.handle.observe(observer)
    }

    fn note_target(&mut self, target: SocketAddr) {
        self.stats.target = Some(target);
        self.handle.target.set(Some(target));
    }

    // The shares of the route's bandwidth to the target and to the client, if it is limited.
    fn paced_flows(&self) -> Option<Box<[PacedFlow<'c>; 2]>> {
        let delayed = &self.counters.bandwidth_delayed;
        let route = self.route;
        let flow = |bandwidth: &'c RouteBandwidth| PacedFlow {
            flow: bandwidth.flow(),
            delayed,
        };
        let is_limited = route.config.bandwidth.is_some();
        is_limited.then(|| Box::new(route.state.bandwidth.each_ref().map(flow)))
    }

    // A client that waits for the reply to its request waits about as long as `connect` allows. All steps to
    // the target together have that time.
    fn handshake_limit(&self, attempts: &Attempts<'_>) -> Limit {
        let (limit, left) = (self.route.config.timeouts.handshake, attempts.left());
        match Beginning::of(&self.route.config) {
            Beginning::Request if left < limit => Limit {
                time: left,
                key: "timeouts.connect",
            },
            _ => Limit::of_handshake(limit),
        }
    }

    // Attempts at the targets of a table of titles, or of the route itself.
    fn attempts(&self, table: Option<usize>) -> Attempts<'c> {
        let route = self.route;
        let attempts = Attempts::new(&route.config, route.targets.list(table));
        attempts.from_source(self.transparent_source())
    }

    // Connects to the first target that answers. The slot counts the connection.
    async fn reach(
        &mut self,
        mut attempts: Attempts<'_>,
    ) -> Result<(V::Socket, Option<TargetSlot>), Close> {
        if let Some(reached) = self.connect(&mut attempts).await {
            attempts.accept(&self.core.dns);
            self.note_target(reached.address);
            return Ok((reached.socket, reached.slot));
        }
        Err(without_target(&attempts))
    }

    pub(super) fn place(&self, stage: ClientStage) -> LimiterPlace<'c> {
        let (limiter, route) = (&self.core.limiter, self.route.id());
        match self.excess {
            None => limiter.admit(stage, self.source.ip(), route, self.counters),
            Some(_) => limiter.admit_excess(stage, self.source.ip()),
        }
    }
}

// Waits for `reason`, or forever without one.
async fn ended_when(reason: Option<impl Future<Output = CloseReason>>) -> CloseReason {
    match reason {
        Some(reason) => reason.await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uring::Ring;

    fn output_of<A, B, C, D, E, G, F>(_: impl FnOnce(A, B, C, D, E, G) -> F) -> usize {
        size_of::<F>()
    }

    /// Each resting connection holds this future in its own memory: 40 MB for 10,000 connections.
    #[test]
    fn the_relay_of_a_connection_fits_into_four_kilobytes() {
        let size = output_of(ConnectionTask::<'static, Ring>::relay);
        assert!(size <= 4096, "{size} bytes");
    }
}
