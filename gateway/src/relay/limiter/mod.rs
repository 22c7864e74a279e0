//! What clients that have not proved who they are may hold on one core.
//!
//! Each stage has places of its own, so that a flood at one leaves the others as they were, and the
//! steps of handshakes take turns with each other and with all else that the core does. A client gives its place back when it has proved itself: by its handshake, by a legal start of the route's
//! protocol on a plain side, by the target's answer where bytes pass as they are.

mod pacer;
mod places;
mod steps;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::audit::Reason;
use crate::limits::{
    CONNECTION_BYTES, PLACE_BYTES, SOURCE_PLACES_MIN, SOURCE_SHARE, UNAUTHENTICATED_BYTES,
};
use crate::metrics::{self, Stage};
use crate::tls::handshake::Pace;
use pacer::{Pacer, Step};
use places::{Bounds, Exhausted, Places, Source, Ticket};

/// Limits what unauthenticated clients of one core hold, in each stage and by each address.
#[derive(Debug)]
pub struct HandshakeLimiter {
    stages: [RefCell<Places<Rc<Handle>>>; Stage::COUNT],
    counters: Arc<metrics::Core>,
    pacer: Pacer,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place<'l> {
    limiter: &'l HandshakeLimiter,
    stage: Stage,
    source: Source,
    ticket: Ticket,
    handle: Rc<Handle>,
}

/// How a connection learns that its place was taken away, and that its time is up.
#[derive(Debug, Default)]
struct Handle {
    ended: Cell<Option<Exhausted>>,
    news: Notify,
    is_cancelled: Cell<bool>,
    cancelled: Notify,
}

impl HandshakeLimiter {
    /// With so many places in each stage, as far as `UNAUTHENTICATED_BYTES` carries them.
    #[must_use]
    pub fn new(places: [usize; Stage::COUNT], counters: Arc<metrics::Core>) -> Self {
        Self {
            stages: places.map(|places| RefCell::new(Places::new(bounds(places)))),
            pacer: Pacer::new(Arc::clone(&counters)),
            counters,
        }
    }

    /// Gives the steps of handshakes their turns until `end`; before, they take them as they come.
    /// `pass` must give every other task of the core a turn.
    pub async fn run<P: Future>(&self, pass: impl Fn() -> P) {
        self.pacer.run(pass).await;
    }

    /// Lets `run` return.
    pub fn end(&self) {
        self.pacer.end();
    }

    /// Whether the time in which payload moves is to be noted.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.pacer.is_watching()
    }

    /// Notes that the core moved payload for so long.
    pub fn note_relayed(&self, time: Duration) {
        self.pacer.note_relayed(time);
    }

    /// Takes a place for a connection from `source`; another connection may lose its own by that.
    pub(super) fn admit(&self, stage: Stage, source: IpAddr) -> Place<'_> {
        let source = Source::from(source);
        let handle = Rc::new(Handle::default());
        let (ticket, ended) = self.places(stage, |places| places.admit(source, Rc::clone(&handle)));
        self.end_all(stage, ended);
        Place {
            limiter: self,
            stage,
            source,
            ticket,
            handle,
        }
    }

    fn places<R>(&self, stage: Stage, with: impl FnOnce(&mut Places<Rc<Handle>>) -> R) -> R {
        let mut places = self.stages[stage as usize].borrow_mut();
        let outcome = with(&mut places);
        let held = places.held() as u64;
        self.counters.unauthenticated(stage).open.set(held);
        outcome
    }

    fn end_all(&self, stage: Stage, ended: Vec<(Rc<Handle>, Exhausted)>) {
        let counters = self.counters.unauthenticated(stage);
        for (handle, why) in ended {
            let counter = match why {
                Exhausted::SourcePlaces => &counters.ended_source_places,
                Exhausted::SourceMemory => &counters.ended_source_memory,
                Exhausted::Places => &counters.ended_places,
                Exhausted::Memory => &counters.ended_memory,
            };
            counter.add(1);
            handle.ended.set(Some(why));
            handle.news.notify_one();
        }
    }
}

impl Place<'_> {
    /// Notes that the connection uses `bytes` of memory beside what every connection has.
    pub(super) fn hold_bytes(&self, bytes: usize) {
        let bytes = bytes.saturating_add(CONNECTION_BYTES);
        let resize = |places: &mut Places<_>| places.resize(self.ticket, bytes);
        let ended = self.limiter.places(self.stage, resize);
        self.limiter.end_all(self.stage, ended);
    }

    /// Returns when another connection needs the place more. The connection must then be ended.
    pub(super) async fn ended(&self) -> Reason {
        loop {
            if let Some(why) = self.handle.ended.get() {
                return Reason::Limit(limit(self.stage, why));
            }
            self.handle.news.notified().await;
        }
    }
}

impl<'l> Pace for Place<'l> {
    type Step = Step<'l>;

    async fn step(&self) -> Option<Step<'l>> {
        let cancelled = async {
            while !self.handle.is_cancelled.get() {
                self.handle.cancelled.notified().await;
            }
        };
        tokio::select! {
            biased;
            () = cancelled => None,
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

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let release = |places: &mut Places<_>| places.release(self.ticket);
        self.limiter.places(self.stage, release);
    }
}

// LIMIT: UNAUTHENTICATED_BYTES, SOURCE_SHARE, counted in wardgate_unauthenticated_ended_total.
fn bounds(places: usize) -> Bounds {
    let units = UNAUTHENTICATED_BYTES / PLACE_BYTES;
    // Places run out before memory as long as handshakes are of usual length: where memory is what runs
    // out, what uses much of it is ended.
    let places = places.min(units / 2);
    Bounds {
        places,
        source_places: (places / SOURCE_SHARE).max(SOURCE_PLACES_MIN).min(places),
        units,
        source_units: units / SOURCE_SHARE,
    }
}

fn limit(stage: Stage, exhausted: Exhausted) -> &'static str {
    match (stage, exhausted) {
        (Stage::Handshake, Exhausted::SourcePlaces) => "unfinished handshakes of one address",
        (Stage::Handshake, Exhausted::SourceMemory) => {
            "memory for unfinished handshakes of one address"
        }
        (Stage::Handshake, Exhausted::Places) => "unfinished handshakes",
        (Stage::Handshake, Exhausted::Memory) => "memory for unfinished handshakes",
        (Stage::FirstMessage, Exhausted::SourcePlaces) => {
            "connections of one address without a first message"
        }
        (Stage::FirstMessage, Exhausted::SourceMemory) => {
            "memory for first messages of one address"
        }
        (Stage::FirstMessage, Exhausted::Places) => "connections without a first message",
        (Stage::FirstMessage, Exhausted::Memory) => "memory for first messages",
        (Stage::Passthrough, Exhausted::SourcePlaces) => {
            "passthrough connections of one address that the target has not answered"
        }
        (Stage::Passthrough, Exhausted::SourceMemory) => {
            "memory for passthrough connections of one address that the target has not answered"
        }
        (Stage::Passthrough, Exhausted::Places) => {
            "passthrough connections that the target has not answered"
        }
        (Stage::Passthrough, Exhausted::Memory) => {
            "memory for passthrough connections that the target has not answered"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn limiter(places: usize) -> HandshakeLimiter {
        HandshakeLimiter::new([places; Stage::COUNT], Arc::new(metrics::Core::new(0, 0)))
    }

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_must_go_is_woken_with_the_limit_that_was_reached() {
        let limiter = limiter(2);
        let first = limiter.admit(Stage::Handshake, address(1));
        let _second = limiter.admit(Stage::Handshake, address(2));
        let (reason, _third) = tokio::join!(first.ended(), async {
            tokio::task::yield_now().await;
            limiter.admit(Stage::Handshake, address(3))
        });
        assert_eq!(reason, Reason::Limit("unfinished handshakes"));
        let counters = limiter.counters.unauthenticated(Stage::Handshake);
        assert_eq!((counters.open.get(), counters.ended_places.get()), (2, 1));
        drop(first);
        assert_eq!(counters.open.get(), 2);
    }

    #[test]
    fn the_stages_do_not_share_places() {
        let limiter = limiter(1);
        let places = Stage::ALL.map(|stage| limiter.admit(stage, address(1)));
        for (place, stage) in places.iter().zip(Stage::ALL) {
            assert_eq!(place.handle.ended.get(), None, "{stage:?}");
        }
    }

    #[test]
    fn memory_is_bounded_whatever_the_number_of_descriptors() {
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
