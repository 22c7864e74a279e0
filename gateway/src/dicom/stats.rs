//! Counts the requests, responses and stored objects of an association.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command_set::{Class, CommandSet, Status};
use super::role::Both;
use super::summary::{AssociationSummary, ClassCount, CommandCount, CommandFailures};
use super::{
    AeTitle, AssociationCounters, AssociationRole, DimseCommand, RequestedCommand, SopClass,
};
use crate::dicom::limits::{DESTINATIONS_MAX, FAILURES_MAX, OUTSTANDING_MAX, SOP_CLASSES_MAX};
use crate::measure::Latencies;
use crate::measure::ReachedBound;

/// The counts of one association. Either side may send requests to the other.
#[derive(Debug, Default)]
pub(super) struct AssociationStats {
    commands: Vec<CommandCount>,
    unknown_commands: u64,
    cancels: u64,
    unmatched: u64,
    failures: Vec<CommandFailures>,
    other_failures: u64,
    classes: Vec<ClassCount>,
    destinations: Vec<AeTitle>,
    // Requests without a final response, by the requesting side, the oldest first.
    outstanding: Both<Vec<Outstanding>>,
    // A request may be outstanding that is not among these: it is unknown, or there were too many.
    has_untracked: bool,
    // The C-STORE request whose data set is in transit, by sending side.
    sending: Both<Option<u16>>,
    // The number of C-STORE requests among the outstanding requests.
    stores: usize,
    storing_since: Option<Instant>,
    storing: Duration,
    latencies: Latencies,
    // The counts of the route; each event is added at once.
    counts: Option<Arc<AssociationCounters>>,
}

/// Which side sent a message, and when it was observed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    pub(super) by: AssociationRole,
    pub(super) now: Instant,
}

#[derive(Debug)]
struct Outstanding {
    message: u16,
    command: DimseCommand,
    // The index of its SOP class, if it stores an object.
    class: Option<usize>,
    bytes: u64,
    // When the request was complete, with its data set.
    sent: Option<Instant>,
}

impl AssociationStats {
    /// Empty counts; `counts` are those of the route.
    pub(super) fn new(counts: Option<Arc<AssociationCounters>>) -> Self {
        Self {
            counts,
            ..Self::default()
        }
    }

    /// Counts a request.
    pub(super) fn request(
        &mut self,
        seen: Observation,
        asked: RequestedCommand,
        message: u16,
        set: &CommandSet<'_>,
    ) {
        *self.sending.of_mut(seen.by) = None;
        let RequestedCommand::For(command) = asked else {
            self.unknown_commands += 1;
            self.has_untracked = true;
            return;
        };
        self.count(command, seen.by, |count| count.requests += 1);
        self.with_counters(|counts| counts.request(command));
        let class = (command == DimseCommand::CStore).then(|| self.class(set.sop_class()));
        self.remember(seen.by, Outstanding::new(message, command, class));
        match command {
            DimseCommand::CStore => self.store_begins(seen, message, set.has_data_set()),
            DimseCommand::CMove => self.note_destination(set.destination()),
            _ => {}
        }
    }

    fn store_begins(&mut self, seen: Observation, message: u16, has_data: bool) {
        if self.stores > 0 {
            self.storing_since.get_or_insert(seen.now);
        }
        if has_data {
            *self.sending.of_mut(seen.by) = Some(message);
        } else {
            self.sent(seen, message, 0);
        }
    }

    /// Adds a data set that has passed completely.
    pub(super) fn data_set(&mut self, seen: Observation, bytes: u64) {
        if let Some(message) = self.sending.of_mut(seen.by).take() {
            self.sent(seen, message, bytes);
        }
    }

    fn sent(&mut self, seen: Observation, message: u16, bytes: u64) {
        let mut outstanding = self.outstanding.of_mut(seen.by).iter_mut().rev();
        let is_it = |one: &&mut Outstanding| one.class.is_some() && one.message == message;
        if let Some(store) = outstanding.find(is_it) {
            (store.bytes, store.sent) = (bytes, Some(seen.now));
        }
    }

    /// Counts a response to a request of the other side.
    pub(super) fn response(
        &mut self,
        seen: Observation,
        asked: RequestedCommand,
        message: u16,
        status: Status,
    ) {
        let RequestedCommand::For(command) = asked else {
            self.unmatched += 1;
            return;
        };
        let (asked_by, class) = (seen.by.other(), status.class());
        self.count(command, asked_by, |count| *count.of_mut(class) += 1);
        self.with_counters(|counts| counts.response(command, class));
        if class == Class::Failure {
            self.note_failure(command, status);
        }
        let outstanding = self.outstanding.of_mut(asked_by);
        let is_it = |one: &Outstanding| one.message == message && one.command == command;
        let Some(at) = outstanding.iter().position(is_it) else {
            self.unmatched += 1;
            return;
        };
        if class != Class::Pending {
            let request = outstanding.remove(at);
            self.answered(&request, class, seen.now);
        }
    }

    fn answered(&mut self, request: &Outstanding, class: Class, now: Instant) {
        let Some(stored) = request.class else {
            return;
        };
        if let Some(count) = self.classes.get_mut(stored)
            && matches!(class, Class::Success | Class::Warning)
        {
            count.objects += 1;
            count.bytes = count.bytes.saturating_add(request.bytes);
            self.with_counters(|counts| counts.stored(request.bytes));
        }
        if let Some(sent) = request.sent {
            let time = now.saturating_duration_since(sent);
            self.latencies.note(time);
            self.with_counters(|counts| counts.store_answered(time));
        }
        self.stores = self.stores.saturating_sub(1);
        if self.stores == 0 {
            let since = self.storing_since.take().unwrap_or(now);
            self.storing += now.saturating_duration_since(since);
        }
    }

    /// Counts a C-CANCEL.
    pub(super) fn cancel(&mut self, by: AssociationRole) {
        *self.sending.of_mut(by) = None;
        self.cancels += 1;
    }

    fn count(
        &mut self,
        command: DimseCommand,
        by: AssociationRole,
        how: impl FnOnce(&mut CommandCount),
    ) {
        let is_it = |count: &&mut CommandCount| count.command == command && count.by == by;
        if let Some(count) = self.commands.iter_mut().find(is_it) {
            return how(count);
        }
        // There are at most two entries for each command.
        let mut count = CommandCount::new(command, by);
        how(&mut count);
        self.commands.push(count);
    }

    fn with_counters(&self, what: impl FnOnce(&AssociationCounters)) {
        if let Some(counts) = &self.counts {
            what(counts);
        }
    }

    fn remember(&mut self, by: AssociationRole, request: Outstanding) {
        let outstanding = self.outstanding.of_mut(by);
        if outstanding.len() < OUTSTANDING_MAX {
            self.stores += usize::from(request.class.is_some());
            outstanding.push(request);
        } else {
            // LIMIT: OUTSTANDING_MAX.
            ReachedBound::DicomOutstanding.note();
            self.has_untracked = true;
        }
    }

    // Counts a C-STORE request under its class, and returns the index of the class.
    fn class(&mut self, class: Option<SopClass>) -> usize {
        let at = self.classes.iter().position(|count| count.class == class);
        let at = at.unwrap_or_else(|| self.new_class(class));
        if let Some(count) = self.classes.get_mut(at) {
            count.requests += 1;
        }
        at
    }

    fn new_class(&mut self, class: Option<SopClass>) -> usize {
        let is_apart = |count: &&ClassCount| count.class.is_some();
        let is_full = self.classes.iter().filter(is_apart).count() >= SOP_CLASSES_MAX;
        if class.is_some() && is_full {
            let others = self.classes.iter().position(|count| count.class.is_none());
            return others.unwrap_or_else(|| self.new_class(None));
        }
        self.classes.push(ClassCount {
            class,
            requests: 0,
            objects: 0,
            bytes: 0,
        });
        self.classes.len() - 1
    }

    fn note_failure(&mut self, command: DimseCommand, status: Status) {
        let is_it = |one: &&mut CommandFailures| one.command == command && one.status == status;
        if let Some(failure) = self.failures.iter_mut().find(is_it) {
            failure.count += 1;
        } else if self.failures.len() < FAILURES_MAX {
            self.failures.push(CommandFailures {
                command,
                status,
                count: 1,
            });
        } else {
            self.other_failures += 1;
        }
    }

    fn note_destination(&mut self, title: Option<AeTitle>) {
        let is_new = |title: &AeTitle| !self.destinations.contains(title);
        if self.destinations.len() < DESTINATIONS_MAX
            && let Some(title) = title.filter(is_new)
        {
            self.destinations.push(title);
        }
    }

    /// Whether every request has its final response, as far as this is known.
    pub(super) fn is_all_answered(&self) -> bool {
        let Both {
            requestor,
            acceptor,
        } = &self.outstanding;
        !self.has_untracked && requestor.is_empty() && acceptor.is_empty()
    }

    /// The last time from the end of a C-STORE request to its response.
    pub(super) fn last_latency(&self) -> Option<Duration> {
        self.latencies.last()
    }

    /// The number of objects that were stored so far, and the bytes of their data sets.
    pub(super) fn stored(&self) -> (u64, u64) {
        let classes = self.classes.iter();
        classes.fold((0, 0), |(objects, bytes): (u64, u64), class| {
            let objects = objects.saturating_add(class.objects);
            (objects, bytes.saturating_add(class.bytes))
        })
    }

    /// Writes the counts into a summary.
    pub(super) fn finish(self, record: &mut AssociationSummary) {
        record.commands = self.commands;
        record.unknown_commands = self.unknown_commands;
        record.cancels = self.cancels;
        record.unmatched = self.unmatched;
        record.failures = self.failures;
        record.other_failures = self.other_failures;
        record.classes = self.classes;
        record.storing = self.storing;
        record.latencies = self.latencies;
        record.destinations = self.destinations;
    }
}

impl Outstanding {
    fn new(message: u16, command: DimseCommand, class: Option<usize>) -> Self {
        Self {
            message,
            command,
            class,
            bytes: 0,
            sent: None,
        }
    }
}

impl CommandCount {
    fn new(command: DimseCommand, by: AssociationRole) -> Self {
        Self {
            command,
            by,
            requests: 0,
            pending: 0,
            success: 0,
            warning: 0,
            failure: 0,
            cancel: 0,
        }
    }

    fn of_mut(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Pending => &mut self.pending,
            Class::Success => &mut self.success,
            Class::Warning => &mut self.warning,
            Class::Failure => &mut self.failure,
            Class::Cancel => &mut self.cancel,
        }
    }
}
