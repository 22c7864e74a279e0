//! Limits the resources of unauthenticated clients on one core.
//!
//! Each stage has its own number of places, so a flood at one stage does not affect the others. The steps of
//! handshakes take turns with each other and with all other work of the core. A client returns its place when
//! it has proved itself: by its handshake, by a legal start of the route's protocol on the plain side, or by
//! the target's answer on passthrough routes.

mod pacer;
mod places;
mod rate;
mod steps;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::audit::CloseReason;
use crate::client_source::Source;
use crate::handshake::Pace;
use crate::metrics::{self, ClientStage, Counter, RouteCounters};
use crate::relay::limits::{
    CONNECTION_BYTES, PLACE_BYTES, SOURCE_PLACES_MIN, SOURCE_SHARE, UNAUTHENTICATED_BYTES,
};
use crate::route::{RouteId, passthrough_max, source_max};
use crate::uring::sleep;
use pacer::{PacedStep, Pacer};
use places::{Bounds, Exhausted, Places, Ticket};
pub use rate::HandshakeRate;

/// Limits the unauthenticated clients of one core, for each stage and for each address.
#[derive(Debug)]
pub struct HandshakeLimiter {
    stages: [RefCell<Places<Rc<Handle>>>; ClientStage::COUNT],
    counters: Arc<metrics::CoreCounters>,
    pacer: Pacer,
    rate: Option<Arc<HandshakeRate>>,
}

/// A connection's place; returned when dropped.
#[derive(Debug)]
pub(super) struct LimiterPlace<'l> {
    limiter: &'l HandshakeLimiter,
    stage: ClientStage,
    source: Source,
    ticket: Ticket,
    handle: Rc<Handle>,
}

/// How a connection learns that its place was taken and that it must end.
#[derive(Debug, Default)]
struct Handle {
    // The counters of its route on this core.
    counters: Arc<RouteCounters>,
    ended: Cell<Option<Exhausted>>,
    news: Notify,
    is_cancelled: Cell<bool>,
    cancelled: Notify,
}

impl HandshakeLimiter {
    /// With this number of places in each stage, at most what `UNAUTHENTICATED_BYTES` allows.
    #[must_use]
    pub fn new(places: [usize; ClientStage::COUNT], counters: Arc<metrics::CoreCounters>) -> Self {
        Self {
            stages: places.map(|places| RefCell::new(Places::new(bounds(places)))),
            pacer: Pacer::new(Arc::clone(&counters)),
            counters,
            rate: None,
        }
    }

    /// Also limits how many handshakes each source may begin in a second. Cores that share `rate` count
    /// together.
    #[must_use]
    pub fn with_rate(self, rate: Arc<HandshakeRate>) -> Self {
        Self {
            rate: Some(rate),
            ..self
        }
    }

    /// Schedules the steps of handshakes until `end`; before `run`, steps are not scheduled. `pass` must give
    /// every other task of the core a turn.
    pub async fn run<P: Future>(&self, pass: impl Fn() -> P) {
        self.pacer.run(pass).await;
    }

    /// Makes `run` return.
    pub fn end(&self) {
        self.pacer.end();
    }

    /// Whether the time spent on payload must be recorded.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.pacer.is_watching()
    }

    /// Records that the core moved payload for `time`.
    pub fn note_relayed(&self, time: Duration) {
        self.pacer.note_relayed(time);
    }

    /// Ends the oldest unauthenticated client of a route at its limit; returns whether there was one.
    pub(super) fn free_place_on(&self, route: RouteId) -> bool {
        ClientStage::ALL.into_iter().any(|stage| {
            let ended = self.places(stage, |places| places.end_oldest_of(route));
            self.end_one(stage, ended, Exhausted::Route)
        })
    }

    /// Ends a passthrough client that the target has not answered, when all passthrough routes are at their
    /// limit; returns whether there was one.
    pub(super) fn free_passthrough_place(&self) -> bool {
        let ended = self.places(ClientStage::Passthrough, Places::end_one);
        self.end_one(ClientStage::Passthrough, ended, Exhausted::Passthrough)
    }

    /// Ends an unauthenticated client when the process is at its limit, in the stage that has the most;
    /// returns whether there was one.
    pub(super) fn free_place(&self) -> bool {
        // An accepted peer makes way only if there is no other client.
        let rank = |stage: &ClientStage| match self.places(*stage, |places| places.held()) {
            0 => (false, 0),
            held => (*stage != ClientStage::SilentPeer, held),
        };
        let Some(stage) = ClientStage::ALL.into_iter().max_by_key(rank) else {
            return false;
        };
        let ended = self.places(stage, Places::end_one);
        self.end_one(stage, ended, Exhausted::All)
    }

    // Counts for its route as long as it has its place.
    fn count(handle: &Handle, count: impl FnOnce(&Counter)) {
        if handle.ended.get().is_none() {
            count(&handle.counters.not_authenticated);
        }
    }

    fn end_one(&self, stage: ClientStage, ended: Option<Rc<Handle>>, why: Exhausted) -> bool {
        let is_one = ended.is_some();
        self.end_all(stage, ended.map(|handle| (handle, why)));
        is_one
    }

    /// Takes a place for a connection of `route` from `source`; another connection may lose its place.
    /// `counters` are those of the route on this core.
    pub(super) fn admit(
        &self,
        stage: ClientStage,
        source: IpAddr,
        route: RouteId,
        counters: &Arc<RouteCounters>,
    ) -> LimiterPlace<'_> {
        let handle = Handle {
            counters: Arc::clone(counters),
            ..Handle::default()
        };
        self.admit_as(stage, source, Some(route), handle)
    }

    /// The same for a connection beyond a limit, which waits for its request to be rejected: its end makes no
    /// room on its route.
    pub(super) fn admit_excess(&self, stage: ClientStage, source: IpAddr) -> LimiterPlace<'_> {
        self.admit_as(stage, source, None, Handle::default())
    }

    fn admit_as(
        &self,
        stage: ClientStage,
        source: IpAddr,
        route: Option<RouteId>,
        handle: Handle,
    ) -> LimiterPlace<'_> {
        let (source, handle) = (Source::from(source), Rc::new(handle));
        Self::count(&handle, |counter| counter.add(1));
        let (ticket, ended) = self.places(stage, |places| {
            places.admit(source, route, Rc::clone(&handle))
        });
        self.end_all(stage, ended);
        LimiterPlace {
            limiter: self,
            stage,
            source,
            ticket,
            handle,
        }
    }

    fn places<R>(&self, stage: ClientStage, with: impl FnOnce(&mut Places<Rc<Handle>>) -> R) -> R {
        let mut places = self.stages[stage as usize].borrow_mut();
        let outcome = with(&mut places);
        let held = places.held() as u64;
        self.counters.unauthenticated(stage).open.set(held);
        outcome
    }

    fn end_all(
        &self,
        stage: ClientStage,
        ended: impl IntoIterator<Item = (Rc<Handle>, Exhausted)>,
    ) {
        let counters = self.counters.unauthenticated(stage);
        for (handle, why) in ended {
            let counter = match why {
                Exhausted::SourcePlaces => &counters.ended_source_places,
                Exhausted::SourceMemory => &counters.ended_source_memory,
                Exhausted::Places => &counters.ended_places,
                Exhausted::Memory => &counters.ended_memory,
                Exhausted::Route => &counters.ended_route,
                Exhausted::Passthrough => &counters.ended_passthrough,
                Exhausted::All => &counters.ended_all,
            };
            counter.add(1);
            Self::count(&handle, |counter| counter.sub(1));
            handle.ended.set(Some(why));
            handle.news.notify_one();
        }
    }
}

impl LimiterPlace<'_> {
    /// Records that the connection uses `bytes` of memory besides the memory of every connection.
    pub(super) fn hold_bytes(&self, bytes: usize) {
        let bytes = bytes.saturating_add(CONNECTION_BYTES);
        let resize = |places: &mut Places<_>| places.resize(self.ticket, bytes);
        let ended = self.limiter.places(self.stage, resize);
        self.limiter.end_all(self.stage, ended);
    }

    /// Waits until the source may begin another handshake, or until `cancel`.
    ///
    /// # Errors
    /// The limit, if that would take longer than `patience`.
    // LIMIT: `handshakes_per_second`, RATE_SOURCES_MAX.
    pub(super) async fn begin(&self, source: IpAddr, patience: Duration) -> Result<(), String> {
        let Some(rate) = &self.limiter.rate else {
            return Ok(());
        };
        let now = Instant::now().into_std();
        let Some(wait) = rate.take(source, patience, now) else {
            return Err(rate_limit(rate.per_second()));
        };
        if !wait.is_zero() {
            self.limiter.counters.handshakes_delayed.add(1);
            tokio::select! {
                biased;
                () = self.cancelled() => {}
                () = sleep(wait) => {}
            }
        }
        Ok(())
    }

    async fn cancelled(&self) {
        while !self.handle.is_cancelled.get() {
            self.handle.cancelled.notified().await;
        }
    }

    /// Returns when another connection needs the place more. The connection must then be ended.
    pub(super) async fn ended(&self) -> CloseReason {
        loop {
            if let Some(why) = self.handle.ended.get() {
                let bounds = self.limiter.places(self.stage, |places| places.bounds());
                return CloseReason::Limit(ended_by(self.stage, why, bounds).into());
            }
            self.handle.news.notified().await;
        }
    }
}

impl<'l> Pace for LimiterPlace<'l> {
    type Step = PacedStep<'l>;

    async fn step(&self) -> Option<PacedStep<'l>> {
        tokio::select! {
            biased;
            () = self.cancelled() => None,
            step = self.limiter.pacer.turn(self.source) => Some(step),
        }
    }

    fn hold(&self, bytes: usize) {
        self.hold_bytes(bytes);
    }

    fn cancel(&self) {
        self.handle.is_cancelled.set(true);
        self.handle.cancelled.notify_one();
    }
}

impl Drop for LimiterPlace<'_> {
    fn drop(&mut self) {
        let release = |places: &mut Places<_>| places.release(self.ticket);
        self.limiter.places(self.stage, release);
        HandshakeLimiter::count(&self.handle, |counter| counter.sub(1));
    }
}

// LIMIT: UNAUTHENTICATED_BYTES, SOURCE_SHARE, counted in wardgate_unauthenticated_ended_total.
fn bounds(places: usize) -> Bounds {
    let units = UNAUTHENTICATED_BYTES / PLACE_BYTES;
    // With handshakes of usual size, places run out before memory. If memory runs out first, connections that
    // use much of it are ended.
    let places = places.min(units / 2);
    Bounds {
        places,
        source_places: (places / SOURCE_SHARE).max(SOURCE_PLACES_MIN).min(places),
        units,
        source_units: units / SOURCE_SHARE,
    }
}

/// The limit for connections of all routes.
pub(super) const ALL_LIMIT: &str = "open connections";

/// The limit of a route with at most `most` connections.
pub(super) fn route_limit(most: u32) -> String {
    format!(
        "connections of this route: {most}, as `connections` sets; check which clients have them, or allow more"
    )
}

/// The limit of all passthrough routes, if the process may have `all` connections.
pub(super) fn passthrough_limit(all: usize) -> String {
    format!(
        "connections of all passthrough routes together: {}, half of all {all}; {MORE_PLACES}, and \
         `connections` keeps one route from using the connections of another",
        passthrough_max(all)
    )
}

/// The limit of one address, if the process may have `all` connections.
pub(super) fn source_limit(all: usize) -> String {
    format!(
        "answered passthrough connections of one address: {}, a quarter of all {all}; it may be a flood, or \
         many devices behind one NAT address: block the address, or {MORE_PLACES}",
        source_max(all)
    )
}

/// The limit of one address on a route, which may have `most` connections there.
pub(super) fn route_source_limit(most: u32) -> String {
    format!(
        "connections of one address on this route: {most}, as `connections_per_source` sets; check what opens \
         them, or allow more"
    )
}

/// The limit of one peer on a route, which may have `most` connections there.
pub(super) fn route_peer_limit(most: u32) -> String {
    format!(
        "connections of one peer on this route: {most}, as `connections_per_peer` sets; ask the peer why it \
         opens so many, or allow more"
    )
}

fn rate_limit(per_second: u32) -> String {
    format!(
        "handshakes of one address: {per_second} per second, as `handshakes_per_second` in [gateway] sets; it may \
         be a flood, or many devices behind one NAT address: block the address, or allow more"
    )
}

/// The limit of one peer, which may have `most` of `all` connections.
pub(super) fn peer_limit(most: u32, all: usize) -> String {
    format!(
        "connections of one peer: {most}, half of all {all}; ask the peer why it opens so many: \
         `connections` sets a lower bound on a route, and {MORE_PLACES}"
    )
}

const MORE_PLACES: &str =
    "a higher limit of open files gives more places (LimitNOFILE in the unit)";
const LOOK_AT: &str =
    "see the other lines about this source and wardgate_unauthenticated_ended_total";

// The limit that ended an unauthenticated client, and what to check.
fn ended_by(stage: ClientStage, why: Exhausted, bounds: Bounds) -> String {
    let whose = match stage {
        ClientStage::Handshake => "unfinished handshakes",
        ClientStage::FirstMessage => "connections without a first message",
        ClientStage::SilentPeer => "connections whose accepted peer has sent no first message",
        ClientStage::Passthrough => "passthrough connections that the target has not answered",
    };
    let mebibytes = |units: usize| units.saturating_mul(PLACE_BYTES) >> 20;
    let of_address = "it may be a flood, or many devices behind one NAT address";
    let of_all =
        "it may be a flood from many addresses, or all devices connecting at once after an outage";
    let (limit, cause) = match why {
        Exhausted::SourcePlaces => (
            format!(
                "{whose} of one address: {} on each core",
                bounds.source_places
            ),
            of_address,
        ),
        Exhausted::SourceMemory => (
            format!(
                "memory for {whose} of one address: {} MiB on each core",
                mebibytes(bounds.source_units)
            ),
            of_address,
        ),
        Exhausted::Places => (format!("{whose}: {} on each core", bounds.places), of_all),
        Exhausted::Memory => (
            format!(
                "memory for {whose}: {} MiB on each core",
                mebibytes(bounds.units)
            ),
            of_all,
        ),
        Exhausted::Route => (
            "connections of this route, which `connections` sets".to_owned(),
            of_address,
        ),
        Exhausted::Passthrough => (
            "connections of all passthrough routes together".to_owned(),
            of_address,
        ),
        Exhausted::All => (ALL_LIMIT.to_owned(), of_all),
    };
    format!(
        "{limit}; this connection was the oldest and was ended for a newer one; {cause}: {LOOK_AT}"
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn limiter(places: usize) -> HandshakeLimiter {
        HandshakeLimiter::new(
            [places; ClientStage::COUNT],
            Arc::new(metrics::CoreCounters::new(0)),
        )
    }

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    /// Takes a place for a connection of some route.
    fn admit(limiter: &HandshakeLimiter, stage: ClientStage, source: IpAddr) -> LimiterPlace<'_> {
        limiter.admit(stage, source, RouteId::LEAST, &Arc::default())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_must_go_is_woken_with_the_limit_that_was_reached() {
        let limiter = limiter(2);
        let first = admit(&limiter, ClientStage::Handshake, address(1));
        let _second = admit(&limiter, ClientStage::Handshake, address(2));
        let (reason, _third) = tokio::join!(first.ended(), async {
            tokio::task::yield_now().await;
            admit(&limiter, ClientStage::Handshake, address(3))
        });
        let sentence = reason.to_string();
        for part in [
            "limit reached: unfinished handshakes: 2 on each core",
            "ended for a newer one",
            "wardgate_unauthenticated_ended_total",
        ] {
            assert!(sentence.contains(part), "{sentence}");
        }
        let counters = limiter.counters.unauthenticated(ClientStage::Handshake);
        assert_eq!((counters.open.get(), counters.ended_places.get()), (2, 1));
        drop(first);
        assert_eq!(counters.open.get(), 2);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_address_over_its_share_is_logged_with_the_number_and_the_possible_cause() {
        let limiter = limiter(40);
        let first = admit(&limiter, ClientStage::Handshake, address(1));
        let _others: Vec<_> = (0..20)
            .map(|_| admit(&limiter, ClientStage::Handshake, address(1)))
            .collect();
        let sentence = first.ended().await.to_string();
        for part in [
            "unfinished handshakes of one address: 20 on each core",
            "this connection was the oldest and was ended for a newer one",
            "a flood, or many devices behind one NAT address",
        ] {
            assert!(sentence.contains(part), "{sentence}");
        }
    }

    #[test]
    fn the_stages_do_not_share_places() {
        let limiter = limiter(1);
        let places = ClientStage::ALL.map(|stage| admit(&limiter, stage, address(1)));
        for (place, stage) in places.iter().zip(ClientStage::ALL) {
            assert_eq!(place.handle.ended.get(), None, "{stage:?}");
        }
    }

    #[test]
    fn an_end_comes_in_the_stage_that_has_the_most_or_on_the_route_that_is_full() {
        let limiter = limiter(4);
        let (one, other) = (RouteId::LEAST, RouteId::LEAST.following());
        let counters = [(); 2].map(|()| Arc::<RouteCounters>::default());
        let [of_one, of_other] = &counters;
        let opener = limiter.admit(ClientStage::FirstMessage, address(1), one, of_one);
        let first = limiter.admit(ClientStage::Passthrough, address(1), other, of_other);
        let second = limiter.admit(ClientStage::Passthrough, address(1), other, of_other);
        let ended = |place: &LimiterPlace<'_>| place.handle.ended.get();
        let not_authenticated = || {
            counters
                .each_ref()
                .map(|counters| counters.not_authenticated.get())
        };
        assert_eq!(not_authenticated(), [1, 2]);
        assert!(limiter.free_place());
        assert_eq!(
            [ended(&first), ended(&second)],
            [Some(Exhausted::All), None]
        );
        assert!(limiter.free_place_on(one) && !limiter.free_place_on(one));
        assert_eq!(ended(&opener), Some(Exhausted::Route));
        assert!(limiter.free_passthrough_place() && !limiter.free_place());
        assert_eq!(ended(&second), Some(Exhausted::Passthrough));
        drop([opener, first, second]);
        assert_eq!(not_authenticated(), [0, 0]);
    }

    #[test]
    fn memory_is_bounded_for_any_number_of_descriptors() {
        let bounds = bounds(usize::MAX);
        assert!(bounds.places * PLACE_BYTES <= UNAUTHENTICATED_BYTES);
        assert!(bounds.units * PLACE_BYTES <= UNAUTHENTICATED_BYTES);
        assert!(bounds.source_places < bounds.places);
        assert!(bounds.source_units < bounds.units);
    }

    #[test]
    fn a_small_machine_lets_a_site_behind_one_address_connect() {
        assert_eq!(bounds(20).source_places, SOURCE_PLACES_MIN);
        assert_eq!(bounds(4).source_places, 4);
    }
}
