//! The places and the memory of each source, and the connection to end when either runs out.
//!
//! Pure: age is the order of admission, and sockets are elsewhere. The oldest connection is ended, because a
//! legitimate client finishes within a few round trips, and an attacker leaves connections half open. The
//! connection is the oldest of the source with the most, so a source ends its own connections before those of
//! others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::client_source::Source;
use crate::relay::limits::PLACE_BYTES;
use crate::route::RouteId;

/// The limits of all sources together, and of one source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Connections of all sources.
    pub(super) places: usize,
    /// Connections of one source.
    pub(super) source_places: usize,
    /// Memory of all sources, in units of `PLACE_BYTES`.
    pub(super) units: usize,
    /// Memory of one source, in units of `PLACE_BYTES`.
    pub(super) source_units: usize,
}

/// The resource that ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exhausted {
    SourcePlaces,
    SourceMemory,
    Places,
    Memory,
    /// The connections of the route.
    Route,
    /// The connections of all passthrough routes together.
    Passthrough,
    /// The connections of the process.
    All,
}

/// A connection's entry in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    source: Source,
    age: u64,
}

/// The table. `H` is the handle by which the caller reaches a connection.
#[derive(Debug)]
pub(super) struct Places<H> {
    bounds: Bounds,
    admitted: u64,
    // INVARIANT: each source holds at least one connection, so there are never more sources than places.
    sources: HashMap<Source, Holder<H>>,
    // INVARIANT: one entry for each source. The last entry holds the most; among equal sources, the one with
    // the oldest connection.
    by_places: BTreeSet<HolderRank>,
    by_units: BTreeSet<HolderRank>,
    // INVARIANT: one entry for each connection that counts on a route: its route, its age, its source.
    by_route: BTreeSet<(RouteId, u64, Source)>,
    places: usize,
    units: usize,
}

type HolderRank = (usize, Reverse<u64>, Source);

#[derive(Debug)]
struct Holder<H> {
    // By age.
    held: BTreeMap<u64, HeldPlace<H>>,
    units: usize,
}

#[derive(Debug)]
struct HeldPlace<H> {
    handle: H,
    route: Option<RouteId>,
    units: usize,
}

impl<H> Places<H> {
    /// An empty table.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            admitted: 0,
            sources: HashMap::new(),
            by_places: BTreeSet::new(),
            by_units: BTreeSet::new(),
            by_route: BTreeSet::new(),
            places: 0,
            units: 0,
        }
    }

    /// The limits of the table.
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The number of connections that hold a place.
    pub(super) fn held(&self) -> usize {
        self.places
    }

    /// Admits a connection that counts on this route. The caller must end all returned handles, which hold nothing any
    /// more; the new connection may be among them.
    pub(super) fn admit(
        &mut self,
        source: Source,
        route: Option<RouteId>,
        handle: H,
    ) -> (Ticket, Vec<(H, Exhausted)>) {
        let age = self.admitted;
        self.admitted = age.wrapping_add(1);
        let held = HeldPlace {
            handle,
            route,
            units: 1,
        };
        if let Some(route) = route {
            self.by_route.insert((route, age, source));
        }
        self.change(source, |holder| holder.insert(age, held));
        (Ticket { source, age }, self.end_excess(source))
    }

    /// Records that a connection now uses `bytes` of memory. The caller must end the returned handles, as for
    /// `admit`. An ended entry stays ended.
    pub(super) fn resize(&mut self, ticket: Ticket, bytes: usize) -> Vec<(H, Exhausted)> {
        let units = bytes.div_ceil(PLACE_BYTES).max(1);
        let Ticket { source, age } = ticket;
        if self.find(ticket).is_none_or(|held| held.units == units) {
            return Vec::new();
        }
        self.change(source, |holder| {
            if let Some(held) = holder.remove(age) {
                holder.insert(age, HeldPlace { units, ..held });
            }
        });
        self.end_excess(source)
    }

    /// Returns a place, if the connection still holds one.
    pub(super) fn release(&mut self, ticket: Ticket) {
        self.take(ticket);
    }

    /// Removes the oldest connection of a route, which the caller must end.
    pub(super) fn end_oldest_of(&mut self, route: RouteId) -> Option<H> {
        let of_route = self.by_route.range((route, 0, Source::LEAST)..).next()?;
        let (found, age, source) = *of_route;
        if found != route {
            return None;
        }
        self.take(Ticket { source, age })
    }

    /// Removes the oldest connection of the source with the most, which the caller must end.
    pub(super) fn end_one(&mut self) -> Option<H> {
        let (_, Reverse(age), source) = *self.by_places.last()?;
        self.take(Ticket { source, age })
    }

    fn take(&mut self, ticket: Ticket) -> Option<H> {
        let Ticket { source, age } = ticket;
        self.find(ticket)?;
        let held = self.change(source, |holder| holder.remove(age))?;
        if let Some(route) = held.route {
            self.by_route.remove(&(route, age, source));
        }
        Some(held.handle)
    }

    fn find(&self, ticket: Ticket) -> Option<&HeldPlace<H>> {
        self.sources.get(&ticket.source)?.held.get(&ticket.age)
    }

    // `source` has just grown. Its own limits are checked first, so a source over its limit takes no place
    // from others.
    fn end_excess(&mut self, source: Source) -> Vec<(H, Exhausted)> {
        let mut ended = Vec::new();
        while let Some((victim, why)) = self.excess(source) {
            let oldest = self.oldest_of(victim).and_then(|ticket| self.take(ticket));
            ended.extend(oldest.map(|handle| (handle, why)));
        }
        ended
    }

    fn oldest_of(&self, source: Source) -> Option<Ticket> {
        let Reverse(age) = self.sources.get(&source)?.oldest()?;
        Some(Ticket { source, age })
    }

    // The source that must give up its oldest connection, and why.
    fn excess(&self, source: Source) -> Option<(Source, Exhausted)> {
        let (own_places, own_units) = self
            .sources
            .get(&source)
            .map_or((0, 0), |holder| (holder.held.len(), holder.units));
        let most = |ranks: &BTreeSet<HolderRank>| ranks.last().map(|(_, _, source)| *source);
        if own_places > self.bounds.source_places {
            Some((source, Exhausted::SourcePlaces))
        } else if own_units > self.bounds.source_units {
            Some((source, Exhausted::SourceMemory))
        } else if self.places > self.bounds.places {
            Some((most(&self.by_places)?, Exhausted::Places))
        } else if self.units > self.bounds.units {
            Some((most(&self.by_units)?, Exhausted::Memory))
        } else {
            None
        }
    }

    // Every change of a source goes through this function, so that ranks and sums stay correct.
    fn change<R>(&mut self, source: Source, change: impl FnOnce(&mut Holder<H>) -> R) -> R {
        let holder = self.sources.entry(source).or_insert_with(|| Holder {
            held: BTreeMap::new(),
            units: 0,
        });
        if let Some(oldest) = holder.oldest() {
            self.by_places.remove(&(holder.held.len(), oldest, source));
            self.by_units.remove(&(holder.units, oldest, source));
        }
        self.places = self.places.saturating_sub(holder.held.len());
        self.units = self.units.saturating_sub(holder.units);
        let outcome = change(holder);
        self.places = self.places.saturating_add(holder.held.len());
        self.units = self.units.saturating_add(holder.units);
        match holder.oldest() {
            Some(oldest) => {
                self.by_places.insert((holder.held.len(), oldest, source));
                self.by_units.insert((holder.units, oldest, source));
            }
            None => {
                self.sources.remove(&source);
            }
        }
        outcome
    }
}

impl<H> Holder<H> {
    fn insert(&mut self, age: u64, held: HeldPlace<H>) {
        self.units = self.units.saturating_add(held.units);
        self.held.insert(age, held);
    }

    fn remove(&mut self, age: u64) -> Option<HeldPlace<H>> {
        let held = self.held.remove(&age)?;
        self.units = self.units.saturating_sub(held.units);
        Some(held)
    }

    fn oldest(&self) -> Option<Reverse<u64>> {
        self.held.first_key_value().map(|(age, _)| Reverse(*age))
    }
}

#[cfg(test)]
mod tests;
