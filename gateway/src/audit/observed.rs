//! The log lines about observed traffic: one per association or conversation.
//!
//! The summaries that these lines print cannot hold patient data. Text chosen by an application is written in
//! quotes, so that it cannot look like a field of the line.

use std::fmt;

use super::event::ConnectionSummary;
use super::fields::{NONE, address_and_port, shown};
use super::headline::{self, Headlines};
use super::messages;
use super::times::{milliseconds, seconds};
use super::warning::ENDS_WITHOUT_CR;
use crate::dicom;
use crate::hl7;
use crate::observe::Observed;

/// Writes the line about observed traffic, if the connection was observed.
pub(super) fn write(account: &ConnectionSummary, headlines: Headlines) {
    if is_void(account) {
        return;
    }
    match &account.observed {
        Some(Observed::Association(record)) => association(account, record, headlines),
        Some(Observed::Conversation(record)) => conversation(account, record, headlines),
        None => {}
    }
}

fn association(
    account: &ConnectionSummary,
    record: &dicom::AssociationSummary,
    headlines: Headlines,
) {
    let latencies = &record.latencies;
    let (client, client_port) = address_and_port(account.client.or(Some(account.source)));
    let (hop, hop_port) = address_and_port(Some(account.source));
    let (server, server_port) = address_and_port(account.target);
    let reported = account.reported.as_deref();
    let about = headlines.about(&account.route.name, account.source);
    let headline = headlines.of("association", || {
        let titles = format!("{} to {}", shown(record.calling), shown(record.called));
        let counts = format!(
            "{} objects, {} bytes",
            record.objects(),
            record.object_bytes()
        );
        headline::of_observed(
            account,
            format_args!("{titles}, {counts}, {}", record.ending),
        )
    });
    tracing::info!(
        event.name = headlines.event("association"),
        id = %account.id,
        tunnel = %shown(account.tunnel),
        route = %account.route.name,
        client.address = %client,
        client.port = client_port,
        network.peer.address = %hop,
        network.peer.port = hop_port,
        server.address = %server,
        server.port = server_port,
        peer = %shown(account.peer.as_ref().map(|peer| &peer.identity)),
        calling = shown(record.calling),
        called = shown(record.called),
        implementation = shown(record.requestor.implementation),
        contexts_accepted = record.accepted(),
        contexts_rejected = record.rejected(),
        commands = %CommaSeparated(&record.commands, command),
        failures = %CommaSeparated(&record.failures, failure),
        objects = record.objects(),
        object_bytes = record.object_bytes(),
        classes = %CommaSeparated(&record.classes, class),
        bytes_per_second = record.rate().unwrap_or_default().round(),
        store_p50_ms = milliseconds(latencies.p50()),
        store_p99_ms = milliseconds(latencies.p99()),
        store_max_ms = milliseconds(latencies.max()),
        destinations = CommaSeparated(&record.destinations, each).to_string(),
        seconds = seconds(record.duration),
        ended = record.ending.word(),
        how = record.ending.to_string(),
        would_refuse = shown(reported),
        would_forbid = would_forbid(record),
        "{headline}"
    );
    if let Some(reason) = account.would_refuse() {
        tracing::warn!(
            code = messages::WOULD_REFUSE.code(),
            id = %account.id,
            route = %account.route.name,
            client.address = %client,
            client.port = client_port,
            peer = %shown(account.peer.as_ref().map(|peer| &peer.identity)),
            calling = shown(record.calling),
            called = shown(record.called),
            reason,
            "{about}would refuse this association: {reason}; remove rules = \"report\" from the route to enforce its rules"
        );
    }
    if let Some((by, what)) = &record.not_followed {
        let route = &account.route.name;
        tracing::warn!(
            code = messages::ASSOCIATION_NOT_OBSERVED.code(),
            %route,
            client.address = %client,
            client.port = client_port,
            why = %format!("{by} sent {what}"),
            "{about}association no longer observed"
        );
    }
    warn_of_destinations(account, record, &about);
}

// The peer opens the return associations itself, and needs a route for them (PS3.4 section C.4.2).
fn warn_of_destinations(
    account: &ConnectionSummary,
    record: &dicom::AssociationSummary,
    about: &str,
) {
    let dicom = account.route.dicom.as_ref();
    let has_return = dicom.is_some_and(|dicom| dicom.returns.is_some());
    if !record.destinations.is_empty() && !has_return {
        tracing::warn!(
            code = messages::NO_RETURN_ROUTE.code(),
            route = %account.route.name,
            destinations = CommaSeparated(&record.destinations, each).to_string(),
            "{about}C-MOVE to destinations without a return route: set return to the route of the returning associations"
        );
    }
}

fn conversation(
    account: &ConnectionSummary,
    record: &hl7::ConversationSummary,
    headlines: Headlines,
) {
    let latencies = &record.latencies;
    let (client, client_port) = address_and_port(account.client.or(Some(account.source)));
    let (hop, hop_port) = address_and_port(Some(account.source));
    let (server, server_port) = address_and_port(account.target);
    let types: Vec<_> = record.messages.each().collect();
    let codes: Vec<_> = record.acknowledgements.each().collect();
    let about = headlines.about(&account.route.name, account.source);
    let headline = headlines.of("conversation", || {
        let (messages, answers) = (record.messages.total(), record.acknowledgements.total());
        headline::of_observed(
            account,
            format_args!("{messages} messages, {answers} acknowledgements"),
        )
    });
    tracing::info!(
        event.name = headlines.event("conversation"),
        id = %account.id,
        tunnel = %shown(account.tunnel),
        route = %account.route.name,
        client.address = %client,
        client.port = client_port,
        network.peer.address = %hop,
        network.peer.port = hop_port,
        server.address = %server,
        server.port = server_port,
        peer = %shown(account.peer.as_ref().map(|peer| &peer.identity)),
        messages = record.messages.total(),
        message_bytes = record.message_bytes,
        types = %CommaSeparated(&types, with_count),
        acknowledgements = record.acknowledgements.total(),
        codes = %CommaSeparated(&codes, with_count),
        ack_p50_ms = milliseconds(latencies.p50()),
        ack_p99_ms = milliseconds(latencies.p99()),
        ack_max_ms = milliseconds(latencies.max()),
        unanswered = record.unanswered.messages,
        cut = record.unanswered.is_cut,
        junk_bytes = record.junk_bytes,
        oversize = record.oversize,
        seconds = seconds(account.duration),
        "{headline}"
    );
    if let Some(why) = record.not_followed {
        let route = &account.route.name;
        tracing::warn!(
            code = messages::CONVERSATION_NOT_OBSERVED.code(),
            %route,
            client.address = %client,
            client.port = client_port,
            %why,
            "{about}conversation no longer observed"
        );
    }
    if let Some(by) = record.ended_without_cr {
        tracing::warn!(
            code = messages::MLLP_END_WITHOUT_CR.code(),
            route = %account.route.name,
            client.address = %client,
            client.port = client_port,
            %by,
            "{about}{ENDS_WITHOUT_CR}"
        );
    }
}

fn would_forbid(record: &dicom::AssociationSummary) -> String {
    let mut forbidden: Vec<_> = record.not_allowed.iter().map(ToString::to_string).collect();
    if record.unknown_not_allowed > 0 {
        forbidden.push(format!("unknown commands {}", record.unknown_not_allowed));
    }
    if let Some((by, what)) = record.not_followed.filter(|_| record.would_end) {
        forbidden.push(format!("unobservable traffic: {by} sent {what}"));
    }
    CommaSeparated(&forbidden, each).to_string()
}

fn command(count: &dicom::CommandCount, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{} {}", count.command, count.requests)?;
    if count.by == dicom::AssociationRole::Acceptor {
        f.write_str(" by the acceptor")?;
    }
    let outcomes = [
        ("success", count.success),
        ("warning", count.warning),
        ("failure", count.failure),
        ("cancelled", count.cancel),
    ];
    let mut said = outcomes.into_iter().filter(|(_, number)| *number > 0);
    let Some((word, number)) = said.next() else {
        return Ok(());
    };
    write!(f, " ({word} {number}")?;
    said.try_for_each(|(word, number)| write!(f, ", {word} {number}"))?;
    f.write_str(")")
}

fn failure(failure: &dicom::CommandFailures, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "{} {} {}",
        failure.command, failure.status, failure.count
    )
}

fn class(count: &dicom::ClassCount, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match &count.class {
        Some(class) => write!(f, "{class}")?,
        None => f.write_str("other")?,
    }
    write!(f, " {} ({} bytes)", count.objects, count.bytes)
}

fn each(value: &impl fmt::Display, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{value}")
}

fn with_count(
    (value, count): &(impl fmt::Display, u64),
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    write!(f, "{value} {count}")
}

/// Values separated by commas, or a dash if there are none.
struct CommaSeparated<'l, T, W>(&'l [T], W);

impl<T, W: Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display
    for CommaSeparated<'_, T, W>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else {
            return f.write_str(NONE);
        };
        (self.1)(first, f)?;
        rest.iter().try_for_each(|value| {
            f.write_str(", ")?;
            (self.1)(value, f)
        })
    }
}

/// Whether the value is empty.
fn is_void(account: &ConnectionSummary) -> bool {
    match &account.observed {
        Some(Observed::Association(record)) => record.is_void(),
        Some(Observed::Conversation(record)) => {
            record.messages.total() == 0
                && record.not_followed.is_none()
                && !record.unanswered.is_cut
        }
        None => true,
    }
}
