//! A connection's life: accepted, judged, connected, relayed, accounted for.

use std::cell::RefCell;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::account::{Account, Open, count, ending};
use super::admission::Admission;
use super::engine::Engine;
use super::first::Beginning;
use super::limiter::{ALL_LIMIT, HandshakeLimiter, Place, ROUTE_LIMIT};
use super::link::Link;
use super::open::{Held, Opening};
use super::passthrough::{Answered, Passing};
use super::seal::{Outlet, Sealing};
use crate::audit::{self, Close, Party, Reason};
use crate::buffers::{Pool, Talker};
use crate::config::Route;
use crate::limits::{FIRST_MOVE_LOOK, PASSTHROUGH_SHARE};
use crate::metrics::{self, RouteCounters, Stage};
use crate::observe::{Direction, Observer};
use crate::tls::handshake::{Secured, Unpaced};
use crate::tls::session::Session;
use crate::tls::{Acceptor, Cipher, Connector, Judgement, RefusalClass};
use crate::upstream::{Attempts, Names};
use crate::uring::{Pipes, Socket, Verbs, sleep, until};

/// What the connections of one core share.
pub struct Core<V: Verbs> {
    /// How it reaches the network.
    pub verbs: V,
    /// What seals and opens records in place.
    pub cipher: Cipher,
    /// Its buffers.
    pub pool: Pool,
    /// Its pipes, for passthrough.
    pub pipes: Pipes<<V::Socket as Socket>::Pipe>,
    /// Its memory of names.
    pub names: Names,
    /// Its counters.
    pub counters: Arc<metrics::Core>,
    /// What its unauthenticated clients hold.
    pub limiter: HandshakeLimiter,
    /// Connections that all cores may have together.
    pub connections_max: usize,
    /// Becomes true when open connections must end.
    pub stop: watch::Receiver<bool>,
}

/// A route with what it takes to serve it.
pub struct Path {
    /// The route.
    pub route: Arc<Route>,
    /// Its place in the configuration, and in `metrics::Core::routes`.
    pub index: usize,
    /// Its mode with that mode's means.
    pub side: Side,
    // What its associations are held to, where it looks into DICOM.
    pub(super) admission: Option<Admission>,
    // Its connections on all cores.
    open: AtomicU32,
}

impl Path {
    /// A route at place `index` of the configuration.
    #[must_use]
    pub fn new(route: Arc<Route>, index: usize, side: Side) -> Self {
        let admission = Admission::new(&route);
        Self {
            route,
            index,
            side,
            admission,
            open: AtomicU32::new(0),
        }
    }

    /// Whether it has as many connections as it may, where all routes together may have `all`.
    #[must_use]
    pub fn is_full(&self, all: usize) -> bool {
        self.open.load(Ordering::Relaxed) >= self.connections_max(all)
    }

    // How many connections it may have, where all routes together may have `all`.
    fn connections_max(&self, all: usize) -> u32 {
        let default = match self.side {
            Side::Passthrough => u32::try_from(all / PASSTHROUGH_SHARE).unwrap_or(u32::MAX),
            Side::Originate(_) | Side::Terminate(_) => u32::MAX,
        };
        self.route.connections.unwrap_or(default)
    }
}

// A connection among those of its route.
struct OfRoute<'p>(&'p Path);

impl<'p> OfRoute<'p> {
    // The connection, and how many there were before.
    fn count(path: &'p Path) -> (Self, u32) {
        let before = path.open.fetch_add(1, Ordering::Relaxed);
        (Self(path), before)
    }
}

impl Drop for OfRoute<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A route's mode, with what it shakes hands with.
pub enum Side {
    /// Plaintext in, TLS out.
    Originate(Box<Connector>),
    /// TLS in, plaintext out.
    Terminate(Box<Acceptor>),
    /// TCP in, TCP out.
    Passthrough,
}

/// A connection that came in.
pub struct Accepted<S> {
    /// Its socket.
    pub socket: S,
    /// Who connected.
    pub source: SocketAddr,
    /// Whether there were as many connections as there may be: it is served where an unauthenticated
    /// client can be ended for it.
    pub is_beyond: bool,
}

/// Serves one connection to its end and gives the account of it. Must not be dropped before.
pub async fn serve<V: Verbs>(
    core: &Core<V>,
    path: &Path,
    accepted: Accepted<V::Socket>,
) -> audit::Connection {
    let started = Instant::now();
    let Some(counters) = core.counters.routes.get(path.index) else {
        unreachable!("the counters were made for this configuration")
    };
    let mut work = Work {
        core,
        path,
        source: accepted.source,
        counters,
        talker: core.pool.turns().join(),
        account: Account::default(),
    };
    let (of_route, before) = OfRoute::count(path);
    let close = match work.admit_connection(before, accepted.is_beyond) {
        Ok(()) => {
            let _open = Open::count(counters);
            work.run(accepted.socket).await
        }
        Err(close) => {
            accepted.socket.abort();
            close
        }
    };
    drop(of_route);
    count(counters, &close.reason);
    core.counters.pool_exhausted.set(core.pool.exhausted());
    work.account.told(path, accepted.source, started, close)
}

/// A connection at work.
pub(super) struct Work<'c, V: Verbs> {
    pub(super) core: &'c Core<V>,
    pub(super) path: &'c Path,
    source: SocketAddr,
    counters: &'c RouteCounters,
    pub(super) talker: Talker,
    pub(super) account: Account,
}

// A failed step has already ended the sockets that it knew.
pub(super) type Outcome<T> = Result<T, Close>;

impl<'c, V: Verbs> Work<'c, V> {
    // Whether the connection may be served: its route has `open` others, and the process may have as
    // many as it may.
    fn admit_connection(&self, open: u32, is_beyond: bool) -> Outcome<()> {
        let limiter = &self.core.limiter;
        let most = self.path.connections_max(self.core.connections_max);
        // LIMIT: PASSTHROUGH_SHARE, `connections`, OVERFLOW_MAX; counted in
        // wardgate_connections_limited_total and wardgate_unauthenticated_ended_total.
        let limit = if open >= most && !limiter.make_way_on(self.path.index) {
            ROUTE_LIMIT
        } else if is_beyond && !limiter.make_way() {
            ALL_LIMIT
        } else {
            return Ok(());
        };
        Err(Close {
            by: Party::Gateway,
            reason: Reason::Limit(limit),
        })
    }

    async fn run(&mut self, socket: V::Socket) -> Close {
        let outcome = match &self.path.side {
            // Boxed: each would keep the room that the largest needs.
            Side::Originate(connector) => Box::pin(self.originate(socket, connector)).await,
            Side::Terminate(acceptor) => Box::pin(self.terminate(socket, acceptor)).await,
            Side::Passthrough => Box::pin(self.pass(socket)).await,
        };
        outcome.unwrap_or_else(|close| close)
    }

    async fn originate(&mut self, near: V::Socket, connector: &Connector) -> Outcome<Close> {
        // What comes before the relay is boxed: a connection that rests keeps no room for it.
        let place = self.place(Stage::FirstMessage);
        let mut first = Box::pin(self.first_bytes(&near, &place)).await?;
        // Where either side may begin, a client may be silent for ever.
        let may_be_silent = Beginning::of(&self.path.route) == Beginning::Either;
        let mut place = may_be_silent.then(|| Box::new(place));
        let admitted = match self.admit(&mut first) {
            Ok(admitted) => admitted,
            Err(refused) => return Err(Box::pin(self.refuse(&near, &first, refused)).await),
        };
        let mut attempts = Attempts::new(&self.path.route, admitted.targets);
        let mut refusal = None;
        while let Some(reached) = Box::pin(attempts.next(&self.core.verbs, &self.core.names)).await
        {
            let begun = connector
                .start(&reached.target)
                .map(|(c, j)| (Session::from(c), j));
            let limit = self.handshake_limit(&attempts);
            match Box::pin(self.shake(&reached.socket, begun, limit, &Unpaced)).await {
                Ok((secured, judgement)) => {
                    self.account.target = Some(reached.address);
                    let observer = self.observer();
                    let link = Link::new(near, reached.socket, observer, Direction::Homeward);
                    let (engine, mut held) = match self.engine(secured) {
                        Ok(begun) => begun,
                        Err(reason) => {
                            link.fail(Party::Gateway, reason);
                            return Ok(link.close());
                        }
                    };
                    let first = &mut first.bytes;
                    let (payload, place) = ((first, &mut held), place.take());
                    let close = self.relay(&link, &engine, &judgement, payload, place).await;
                    self.note_observed(&link, &close);
                    return Ok(close);
                }
                Err(close) => {
                    attempts.reject(format!("target {}: {}", reached.address, close.reason));
                    let class = match close.reason {
                        Reason::Handshake(class, _) => class,
                        _ => RefusalClass::default(),
                    };
                    refusal = Some((close.by, class));
                }
            }
        }
        // The application sees what it would see without us: a refusal.
        Box::pin(self.say_unreachable(&near, &first)).await;
        let sentence = attempts.sentence();
        Ok(match refusal {
            Some((by, class)) => Close {
                by,
                reason: Reason::Handshake(class, sentence),
            },
            None => Close {
                by: unreachable_by(&attempts),
                reason: Reason::Unreachable(sentence),
            },
        })
    }

    async fn terminate(&mut self, far: V::Socket, acceptor: &Acceptor) -> Outcome<Close> {
        let place = self.place(Stage::Handshake);
        let (secured, judgement) = Box::pin(self.accept(&far, acceptor, &place)).await?;
        drop(place);
        let (engine, mut held) = self.engine(secured).map_err(|reason| {
            far.abort();
            let by = Party::Gateway;
            Close { by, reason }
        })?;
        let first = self.first_payload(&far, &engine, &mut held, &judgement);
        let mut first = Box::pin(first).await?;
        let admitted = match self.admit(&mut first) {
            Ok(admitted) => admitted,
            Err(refused) => {
                let words = Some(refused.answer);
                self.note_refused(&first, &refused);
                Box::pin(self.say_sealed(&far, &engine, words)).await;
                return Err(refused.into_close());
            }
        };
        let attempts = Attempts::new(&self.path.route, admitted.targets);
        let near = match Box::pin(self.reach(attempts)).await {
            Ok(near) => near,
            Err(close) => {
                let words = self.unreachable_words();
                self.note_answered(&first, words);
                Box::pin(self.say_sealed(&far, &engine, words)).await;
                return Err(close);
            }
        };
        held.hold(first.bytes);
        let link = Link::new(near, far, self.observer(), Direction::Onward);
        let mut nothing = Vec::new();
        let payload = (&mut nothing, &mut held);
        let close = self.relay(&link, &engine, &judgement, payload, None).await;
        self.note_observed(&link, &close);
        Ok(close)
    }

    async fn pass(&mut self, source: V::Socket) -> Outcome<Close> {
        let place = self.place(Stage::Passthrough);
        let first = Box::pin(self.first_bytes(&source, &place)).await?;
        let target = Box::pin(self.reach_for(&source, &place)).await?;
        let answered = Answered::default();
        let link = Link::new(source, target, Observer::Blind, Direction::Homeward);
        let direction = |bytes, counter, from, to| Passing {
            core: self.core,
            talker: self.talker,
            bytes,
            counter,
            from,
            to,
            answered: Some(&answered).filter(|_| from == Party::Target),
        };
        let (there, back) = (Party::Source, Party::Target);
        let counters = self.counters;
        let onward = direction(&self.account.sealed, &counters.sealed_bytes, there, back);
        let homeward = direction(&self.account.opened, &counters.opened_bytes, back, there);
        let both = async {
            tokio::join!(
                onward.run(&link, (&link.near, &link.far), first.bytes),
                homeward.run(&link, (&link.far, &link.near), Vec::new()),
            )
        };
        let mut both = pin!(both);
        let timeouts = &self.path.route.timeouts;
        let (parties, stop) = ([there, back], &self.core.stop);
        let until_answered = self.until_answered(place, &answered);
        let watch = link.watch(
            both.as_mut(),
            timeouts,
            parties,
            stop.clone(),
            until_answered,
        );
        if Box::pin(watch).await {
            link.watch(both, timeouts, parties, stop.clone(), pending())
                .await;
        }
        Ok(link.close())
    }

    // The target for a client that may have to give up its place meanwhile.
    async fn reach_for(&mut self, source: &V::Socket, place: &Place<'_>) -> Outcome<V::Socket> {
        let (stopping, stopped) = watch::channel(false);
        let route = &self.path.route;
        let attempts = Attempts::new(route, &route.targets).ended_by(stopped);
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
                by: Party::Gateway,
                reason,
            }),
        }
    }

    // Returns when the target has sent something; or before, by what the client is ended, which has
    // proved nothing until then.
    async fn until_answered(&self, place: Place<'_>, answered: &Answered) -> Option<Reason> {
        let late = async {
            match Beginning::of(&self.path.route) {
                // Both sides may be silent for as long as `idle` allows.
                Beginning::Either => pending().await,
                Beginning::Opener | Beginning::Request | Beginning::Frame => {
                    sleep(self.path.route.timeouts.first_byte).await;
                }
            }
        };
        tokio::select! {
            biased;
            () = answered.wait() => None,
            reason = place.ended() => Some(reason),
            () = late => Some(Reason::Deadline("first byte")),
        }
    }

    // Returns when either side has sent something; or before, by what the client is ended.
    async fn until_moved(&self, place: Box<Place<'_>>) -> Option<Reason> {
        let moved = async {
            while self.account.sealed.get() == 0 && self.account.opened.get() == 0 {
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
        judgement: &Judgement,
        (first, held): (&mut Vec<u8>, &mut Held),
        place: Option<Box<Place<'_>>>,
    ) -> Close {
        let outlet = Outlet::default();
        let (pool, counters, account) = (&self.core.pool, self.counters, &self.account);
        let sealing = Sealing {
            engine,
            outlet: &outlet,
            pool,
            talker: self.talker,
            bytes: &account.sealed,
            counter: &counters.sealed_bytes,
        };
        let explain = |error: &rustls::Error| self.wrong_record(error, judgement);
        let opening = Opening {
            engine,
            outlet: &outlet,
            pool,
            bytes: &account.opened,
            counter: &counters.opened_bytes,
            explain: &explain,
        };
        let both = async { tokio::join!(sealing.run(link, first), opening.run(link, held)) };
        let mut both = pin!(both);
        let timeouts = &self.path.route.timeouts;
        let (parties, stop) = ([Party::PlainSide, Party::TlsPeer], &self.core.stop);
        if let Some(place) = place {
            let until_moved = self.until_moved(place);
            let watch = link.watch(both.as_mut(), timeouts, parties, stop.clone(), until_moved);
            if !Box::pin(watch).await {
                return link.close();
            }
        }
        link.watch(both, timeouts, parties, stop.clone(), pending())
            .await;
        link.close()
    }

    fn note_observed(&mut self, link: &Link<V::Socket, V::Socket>, close: &Close) {
        let ending = ending(close, &self.path.side);
        let now = Instant::now().into_std();
        self.account.observed = link.observer().finish(ending, now);
    }

    fn engine(&self, secured: Secured) -> Result<(RefCell<Engine>, Held), Reason> {
        let Some(tls) = &self.path.route.tls else {
            unreachable!("who shook hands has a TLS route")
        };
        let (mut engine, held) = Engine::new(
            secured,
            tls.record_layer,
            self.core.cipher,
            tls.key_records,
            self.talker,
        )
        .map_err(|error| Reason::Internal(error.to_string()))?;
        engine.count_key_updates(&self.counters.key_updates);
        Ok((RefCell::new(engine), held))
    }

    /// What looks at this connection.
    pub(super) fn observer(&self) -> Observer {
        self.path.observer(&self.counters.seen)
    }

    // Who waits for an answer to its request does so for about as long as `connect` allows; all that
    // leads to the far side has that time together.
    fn handshake_limit(&self, attempts: &Attempts<'_>) -> Duration {
        let limit = self.path.route.timeouts.handshake;
        match Beginning::of(&self.path.route) {
            Beginning::Request => limit.min(attempts.left()),
            Beginning::Either | Beginning::Opener | Beginning::Frame => limit,
        }
    }

    // Connects to the first target that answers.
    async fn reach(&mut self, mut attempts: Attempts<'_>) -> Outcome<V::Socket> {
        if let Some(reached) = attempts.next(&self.core.verbs, &self.core.names).await {
            self.account.target = Some(reached.address);
            return Ok(reached.socket);
        }
        let reason = Reason::Unreachable(attempts.sentence());
        Err(Close {
            by: unreachable_by(&attempts),
            reason,
        })
    }

    fn place(&self, stage: Stage) -> Place<'c> {
        let limiter = &self.core.limiter;
        limiter.admit(stage, self.source.ip(), self.path.index)
    }
}

// A machine that has no source ports left must not blame the target.
fn unreachable_by(attempts: &Attempts<'_>) -> Party {
    match attempts.lacks_ports() {
        true => Party::Gateway,
        false => Party::Target,
    }
}
