//! Places are shared as the comments of `places` promise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

const BOUNDS: Bounds = Bounds {
    places: 8,
    source_places: 3,
    units: 16,
    source_units: 12,
};

fn v4(last: u8) -> Source {
    Source::V4(Ipv4Addr::new(192, 0, 2, last))
}

/// Admits a connection and says which were ended.
fn admit(places: &mut Places<u32>, source: Source, name: u32) -> (Ticket, Vec<(u32, Exhausted)>) {
    places.admit(source, Some(RouteId::LEAST), name)
}

/// Admits connections that nobody has to go for.
fn fill(places: &mut Places<u32>, source: Source, names: std::ops::Range<u32>) -> Vec<Ticket> {
    let tickets = names.map(|name| {
        let (ticket, ended) = admit(places, source, name);
        assert_eq!(ended, [], "{name}");
        ticket
    });
    tickets.collect()
}

#[test]
fn a_source_over_its_bound_ends_its_own_oldest_connection() {
    let mut places = Places::new(BOUNDS);
    fill(&mut places, v4(9), 90..91);
    fill(&mut places, v4(1), 0..3);
    for name in 3..20 {
        let (_, ended) = admit(&mut places, v4(1), name);
        assert_eq!(ended, [(name - 3, Exhausted::SourcePlaces)]);
    }
    assert_eq!(places.held(), 4);
}

#[test]
fn when_places_run_out_the_source_with_the_most_gives_its_oldest() {
    let mut places = Places::new(BOUNDS);
    fill(&mut places, v4(1), 10..12);
    fill(&mut places, v4(2), 20..23);
    fill(&mut places, v4(3), 30..33);
    // Both have three; the second source has the older connection.
    let (_, ended) = admit(&mut places, v4(4), 40);
    assert_eq!(ended, [(20, Exhausted::Places)]);
    let (_, ended) = admit(&mut places, v4(5), 50);
    assert_eq!(ended, [(30, Exhausted::Places)]);
}

#[test]
fn among_many_sources_with_one_connection_each_the_oldest_goes() {
    let mut places = Places::new(BOUNDS);
    for source in 0..8 {
        fill(
            &mut places,
            v4(source),
            u32::from(source)..u32::from(source) + 1,
        );
    }
    for source in 8..200 {
        let (_, ended) = admit(&mut places, v4(source), source.into());
        assert_eq!(ended, [(u32::from(source) - 8, Exhausted::Places)]);
    }
}

#[test]
fn a_source_with_one_connection_keeps_it_while_another_floods() {
    let mut places = Places::new(Bounds {
        source_places: 100,
        ..BOUNDS
    });
    let good = fill(&mut places, v4(7), 700..701);
    for name in 0..500 {
        let (_, ended) = admit(&mut places, v4(1), name);
        assert!(ended.iter().all(|(name, _)| *name != 700), "{ended:?}");
    }
    assert!(places.find(good[0]).is_some());
}

#[test]
fn memory_ends_the_oldest_of_the_source_that_uses_the_most() {
    let mut places = Places::new(BOUNDS);
    let small = fill(&mut places, v4(1), 10..13);
    let large = fill(&mut places, v4(2), 20..22);
    assert_eq!(places.resize(large[1], 9 * PLACE_BYTES), []);
    assert_eq!(places.resize(small[0], 3 * PLACE_BYTES), []);
    // 5 units of the first source and 10 of the second: the next ones are too many.
    let (next, ended) = admit(&mut places, v4(3), 30);
    assert_eq!(ended, []);
    assert_eq!(
        places.resize(next, PLACE_BYTES + 1),
        [(20, Exhausted::Memory)]
    );
    assert_eq!(
        places.resize(next, 2 * PLACE_BYTES + 1),
        [(21, Exhausted::Memory)]
    );
}

#[test]
fn a_source_over_its_share_of_memory_ends_its_own_oldest() {
    let mut places = Places::new(BOUNDS);
    fill(&mut places, v4(9), 90..91);
    let own = fill(&mut places, v4(1), 10..12);
    assert_eq!(
        places.resize(own[1], 12 * PLACE_BYTES),
        [(10, Exhausted::SourceMemory)]
    );
    assert_eq!(
        places.resize(own[1], 12 * PLACE_BYTES + 1),
        [(11, Exhausted::SourceMemory)]
    );
    assert_eq!(places.held(), 1);
}

#[test]
fn a_place_that_was_given_back_or_taken_away_counts_no_more() {
    let mut places = Places::new(BOUNDS);
    let tickets = fill(&mut places, v4(1), 0..3);
    places.release(tickets[0]);
    places.release(tickets[0]);
    assert_eq!(places.held(), 2);
    fill(&mut places, v4(1), 3..4);
    let (_, ended) = admit(&mut places, v4(1), 4);
    assert_eq!(ended, [(1, Exhausted::SourcePlaces)]);
    assert_eq!(places.resize(tickets[1], 100 * PLACE_BYTES), []);
    places.release(tickets[1]);
    assert_eq!((places.held(), places.units), (3, 3));
}

#[test]
fn a_table_without_places_ends_the_admitted_connection() {
    let mut places = Places::new(Bounds {
        places: 0,
        ..BOUNDS
    });
    let (_, ended) = admit(&mut places, v4(1), 1);
    assert_eq!(ended, [(1, Exhausted::Places)]);
    assert_eq!(places.held(), 0);
}

#[test]
fn an_emptied_table_holds_nothing() {
    let mut places = Places::new(BOUNDS);
    let tickets: Vec<_> = (0..8)
        .map(|source| admit(&mut places, v4(source % 3), u32::from(source)).0)
        .collect();
    for ticket in tickets {
        places.resize(ticket, 2 * PLACE_BYTES);
        places.release(ticket);
    }
    assert_eq!((places.places, places.units), (0, 0));
    assert!(places.sources.is_empty() && places.by_places.is_empty());
    assert!(places.by_units.is_empty() && places.by_route.is_empty());
}

#[test]
fn a_source_is_an_ipv4_address_or_a_64_of_ipv6() {
    let of = |text: &str| Source::from(text.parse::<IpAddr>().expect("an address"));
    assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
    assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_eq!(
        Source::from(IpAddr::from(Ipv6Addr::LOCALHOST)),
        Source::V6([0; 4])
    );
}

#[test]
fn the_oldest_connection_of_a_route_can_be_ended() {
    let mut places = Places::new(BOUNDS);
    let zero = RouteId::LEAST;
    let (one, two) = (zero.following(), zero.following().following());
    for (route, name) in [(one, 10), (zero, 0), (one, 11), (two, 20)] {
        let (_, ended) = places.admit(v4(name as u8), Some(route), name);
        assert_eq!(ended, []);
    }
    let mut ended = |route| places.end_oldest_of(route);
    let of_one = [ended(one), ended(one), ended(one)];
    assert_eq!(of_one, [Some(10), Some(11), None]);
    let of_others = [two.following(), two, zero, zero].map(ended);
    assert_eq!(of_others, [None, Some(20), Some(0), None]);
    assert!(places.sources.is_empty() && places.by_route.is_empty());
}

#[test]
fn the_connection_to_end_is_the_oldest_of_the_source_with_the_most() {
    let mut places = Places::new(BOUNDS);
    fill(&mut places, v4(1), 10..11);
    fill(&mut places, v4(2), 20..22);
    let order: Vec<_> = std::iter::from_fn(|| places.end_one()).collect();
    assert_eq!(order, [20, 10, 21]);
}
