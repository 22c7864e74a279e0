//! Interrupts and packet steering of network cards, kept while something changes that makes a driver forget them.

use std::collections::BTreeSet;

use crate::host::Host;
use crate::interrupts;
use crate::place::Place;

/// The values of these cards as they were.
pub(crate) struct Steering(Vec<(Place, String)>);

impl Steering {
    /// Reads the values of the cards that these places belong to.
    pub(crate) fn of<'a>(host: &Host, changing: impl Iterator<Item = &'a Place>) -> Self {
        let cards: BTreeSet<&str> = changing.filter_map(Place::card).collect();
        let places = cards.into_iter().flat_map(|card| places(host, card));
        let values = places.filter_map(|place| {
            let value = place.read(host).ok()?;
            Some((place, value))
        });
        Self(values.collect())
    }

    /// Writes the values that are not what they were. What is gone, or cannot be written, is left.
    pub(crate) fn put_back(&self, host: &Host) {
        for (place, before) in &self.0 {
            if place.read(host).is_ok_and(|now| !place.same(&now, before)) {
                // The next `apply` or `undo` compares the value again, and reports it.
                let _ = place.write(host, before);
            }
        }
    }
}

fn places(host: &Host, card: &str) -> Vec<Place> {
    let name = || card.to_owned();
    let device = interrupts::device(host, card).unwrap_or_default();
    let named = interrupts::of_card(host, card).into_iter();
    let mut places: Vec<Place> = named
        .map(|(_, interrupt)| Place::Interrupt {
            card: name(),
            device: device.clone(),
            name: interrupt,
        })
        .collect();
    let folder = format!("sys/class/net/{card}/queues");
    let queues = host.numbered(&folder, "rx-").into_iter();
    places.extend(queues.map(|queue| Place::ReceiveCpus {
        card: name(),
        queue,
    }));
    let queues = host.numbered(&folder, "tx-").into_iter();
    places.extend(queues.map(|queue| Place::TransmitCpus {
        card: name(),
        queue,
    }));
    places
}
