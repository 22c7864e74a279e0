//! Counts all associations of a route while they run.
//!
//! An association may last for hours, so every event is counted at once; only the way it ended is counted at
//! its end. The cost is a few additions for each command and none for a PDU or a byte. The names of counters
//! come only from this program; titles and UIDs are not among them.

use std::time::Duration;

use super::{Class, DimseCommand, Ending};
use crate::measure::{Counter, Times};

/// The counters of a route.
#[derive(Debug, Default)]
pub struct AssociationCounters {
    // In the order of `DimseCommand::ALL`.
    commands: [OfCommand; DimseCommand::ALL.len()],
    // In the order of `Ending::WORDS`.
    endings: [Counter; Ending::WORDS.len()],
    /// Stored objects, in either direction.
    pub objects: Counter,
    /// Bytes of their data sets.
    pub object_bytes: Counter,
    /// Times from the last byte of the data set of a C-STORE request to its response.
    pub stores: Times,
    /// Associations that were no longer followed because of bytes outside of DICOM, and continued.
    pub not_followed: Counter,
}

/// Counters of one command: requests of either side and their responses.
#[derive(Debug, Default)]
pub struct OfCommand {
    /// Requests.
    pub requests: Counter,
    // In the order of `Class::ALL`.
    responses: [Counter; Class::ALL.len()],
}

impl AssociationCounters {
    /// Every command with its counters.
    pub fn commands(&self) -> impl Iterator<Item = (DimseCommand, &OfCommand)> {
        DimseCommand::ALL.into_iter().zip(&self.commands)
    }

    /// Every way to end, by its keyword, with the number of associations.
    pub fn endings(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        Ending::WORDS.into_iter().zip(&self.endings)
    }

    pub(super) fn request(&self, command: DimseCommand) {
        let mut commands = self.commands();
        if let Some((_, counts)) = commands.find(|(this, _)| *this == command) {
            counts.requests.add(1);
        }
    }

    pub(super) fn response(&self, command: DimseCommand, class: Class) {
        let of_command = self.commands().find(|(this, _)| *this == command);
        let mut responses = of_command.into_iter().flat_map(|(_, of)| of.responses());
        if let Some((_, count)) = responses.find(|(this, _)| *this == class) {
            count.add(1);
        }
    }

    pub(super) fn stored(&self, bytes: u64) {
        self.objects.add(1);
        self.object_bytes.add(bytes);
    }

    pub(super) fn store_answered(&self, after: Duration) {
        self.stores.note(after);
    }

    pub(super) fn ended(&self, ending: &Ending) {
        let mut endings = self.endings();
        if let Some((_, count)) = endings.find(|(word, _)| *word == ending.word()) {
            count.add(1);
        }
    }
}

impl OfCommand {
    /// Every class of responses with its counter.
    pub fn responses(&self) -> impl Iterator<Item = (Class, &Counter)> {
        Class::ALL.into_iter().zip(&self.responses)
    }
}
