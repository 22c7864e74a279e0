//! What passes in all associations of a route, counted as it passes.
//!
//! An association may last for hours, so nothing here waits for its end but how it ended. It costs some
//! additions for each command, none for a PDU or a byte. What is counted has names of this program alone:
//! no title, no UID.

use std::time::Duration;

use super::{Class, Command, Ending};
use crate::measure::{Counter, Times};

/// The counts of a route.
#[derive(Debug, Default)]
pub struct Counts {
    // In the order of `Command::ALL`.
    commands: [OfCommand; Command::ALL.len()],
    // In the order of `Ending::WORDS`.
    endings: [Counter; Ending::WORDS.len()],
    /// Objects that were stored, in either direction.
    pub objects: Counter,
    /// Octets of their data sets.
    pub object_bytes: Counter,
    /// How long the answers to C-STORE requests took, from the last octet of the data set.
    pub stores: Times,
    /// Associations whose bytes could not be followed any more, and went on.
    pub not_followed: Counter,
}

/// How often a command was asked for, by either side, and what came of it.
#[derive(Debug, Default)]
pub struct OfCommand {
    /// Requests.
    pub requests: Counter,
    // In the order of `Class::ALL`.
    responses: [Counter; Class::ALL.len()],
}

impl Counts {
    /// Every command with its counts.
    pub fn commands(&self) -> impl Iterator<Item = (Command, &OfCommand)> {
        Command::ALL.into_iter().zip(&self.commands)
    }

    /// Every way to end, by its word, with how many associations did.
    pub fn endings(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        Ending::WORDS.into_iter().zip(&self.endings)
    }

    pub(super) fn request(&self, command: Command) {
        let mut commands = self.commands();
        if let Some((_, counts)) = commands.find(|(this, _)| *this == command) {
            counts.requests.add(1);
        }
    }

    pub(super) fn response(&self, command: Command, class: Class) {
        let of_command = self.commands().find(|(this, _)| *this == command);
        let mut responses = of_command.into_iter().flat_map(|(_, of)| of.responses());
        if let Some((_, count)) = responses.find(|(this, _)| *this == class) {
            count.add(1);
        }
    }

    pub(super) fn stored(&self, octets: u64) {
        self.objects.add(1);
        self.object_bytes.add(octets);
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
    /// Every kind of response with how often it came.
    pub fn responses(&self) -> impl Iterator<Item = (Class, &Counter)> {
        Class::ALL.into_iter().zip(&self.responses)
    }
}
