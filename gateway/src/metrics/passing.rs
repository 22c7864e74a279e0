//! Metrics of the associations and conversations on observed routes.
//!
//! Labels are names of routes and words of this program, never text from a network. The log has one line per
//! association, which lists the stored objects by SOP class and the AE titles.
//!
//! Every row exists from the start, so that the first event shows as an increase. Exception: rows for
//! responses that the standard does not define appear with the first such response.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::openmetrics::{Durations, Labels, Writer, labels};
use super::{Counter, ObservedCounts, RouteMetrics};
use crate::dicom::{self, Class, DimseCommand, OfCommand};
use crate::hl7;
use crate::measure::Times;

/// The routes' names with their counts, one block per core. No route has counts of both protocols.
type Blocks<'r, T> = Vec<(&'r str, Vec<Arc<T>>)>;
/// A metric: its name, its help, and its rows in one block.
type MetricFamily<T> = (&'static str, &'static str, fn(&T) -> Vec<Row>);
/// A histogram: its name, its help, and its times in one block.
type Histogram<T> = (&'static str, &'static str, fn(&T) -> &Times);

struct Row {
    // Beside the route.
    labels: Vec<(&'static str, &'static str)>,
    number: u64,
    // Left out while zero.
    is_rare: bool,
}

const ASSOCIATIONS: [MetricFamily<dicom::AssociationCounters>; 5] = [
    (
        "wardgate_associations_total",
        "Requested associations that have ended, by how they ended.",
        endings,
    ),
    (
        "wardgate_dimse_requests_total",
        "DIMSE requests, sent by either side.",
        requests,
    ),
    (
        "wardgate_dimse_responses_total",
        "DIMSE responses, sent by either side.",
        responses,
    ),
    (
        "wardgate_objects_total",
        "Objects stored by C-STORE.",
        |c| vec![Row::of(c.objects.get())],
    ),
    (
        "wardgate_object_bytes_total",
        "Bytes of the data sets of stored objects.",
        |c| vec![Row::of(c.object_bytes.get())],
    ),
];

const CONVERSATIONS: [MetricFamily<hl7::ConversationCounters>; 5] = [
    (
        "wardgate_mllp_messages_total",
        "Complete HL7 messages.",
        |c| vec![Row::of(c.messages.get())],
    ),
    (
        "wardgate_mllp_message_bytes_total",
        "Bytes of HL7 messages.",
        |c| vec![Row::of(c.message_bytes.get())],
    ),
    (
        "wardgate_mllp_acknowledgements_total",
        "Acknowledgements of HL7 messages, by code.",
        acknowledgements,
    ),
    (
        "wardgate_mllp_unanswered_total",
        "HL7 messages without an acknowledgement when their connection ended.",
        |c| vec![Row::of(c.unanswered.get())],
    ),
    (
        "wardgate_mllp_oversize_total",
        "MLLP frames of more than 64 MiB, which were forwarded.",
        |c| vec![Row::of(c.oversize.get())],
    ),
];

const STORES: Histogram<dicom::AssociationCounters> = (
    "wardgate_store_seconds",
    "Seconds from the last byte of a C-STORE request to its response.",
    |c| &c.stores,
);

const ANSWERS: Histogram<hl7::ConversationCounters> = (
    "wardgate_mllp_seconds",
    "Seconds from the end of an HL7 message to the end of its first acknowledgement.",
    |c| &c.answers,
);

/// Writes the metrics.
pub(super) fn write(writer: &mut Writer<'_, '_>, routes: &[RouteMetrics]) -> fmt::Result {
    let associations = blocks(routes, ObservedCounts::associations);
    let conversations = blocks(routes, ObservedCounts::conversations);
    families(writer, &ASSOCIATIONS, &associations)?;
    histogram(writer, STORES, &associations)?;
    families(writer, &CONVERSATIONS, &conversations)?;
    histogram(writer, ANSWERS, &conversations)?;
    let named = (
        "wardgate_not_followed_total",
        "Connections that continued unobserved after bytes that are not the protocol of their route.",
    );
    let of_associations = rows(&associations, |c| vec![Row::of(c.not_followed.get())]);
    let of_conversations = rows(&conversations, |c| vec![Row::of(c.not_followed.get())]);
    writer.counters(named, of_associations.chain(of_conversations))
}

fn blocks<T>(routes: &[RouteMetrics], of: fn(&ObservedCounts) -> Option<Arc<T>>) -> Blocks<'_, T> {
    let routes = routes.iter().map(|route| {
        let blocks = route
            .cores
            .iter()
            .filter_map(|counters| of(&counters.observed));
        (route.name.as_str(), blocks.collect::<Vec<_>>())
    });
    routes.filter(|(_, blocks)| !blocks.is_empty()).collect()
}

fn families<T>(
    writer: &mut Writer<'_, '_>,
    families: &[MetricFamily<T>],
    blocks: &Blocks<'_, T>,
) -> fmt::Result {
    for (name, help, of) in families {
        writer.counters((name, help), rows(blocks, of))?;
    }
    Ok(())
}

fn rows<'b, T>(
    blocks: &'b Blocks<'_, T>,
    of: impl Fn(&T) -> Vec<Row> + 'b,
) -> impl Iterator<Item = (Labels<'b>, u64)> {
    blocks.iter().flat_map(move |(route, blocks)| {
        let summed = summed(blocks, &of).into_iter();
        let shown = summed.filter(|row| row.number > 0 || !row.is_rare);
        shown.map(|row| {
            let of_row = row.labels.into_iter();
            let of_row = of_row.map(|(name, value)| (name, Cow::Borrowed(value)));
            let labels = [("route", Cow::Borrowed(*route))].into_iter();
            (labels.chain(of_row).collect(), row.number)
        })
    })
}

// Every block has the same rows in the same order.
fn summed<T>(blocks: &[Arc<T>], of: impl Fn(&T) -> Vec<Row>) -> Vec<Row> {
    let mut blocks = blocks.iter().map(|block| of(block));
    let mut sums = blocks.next().unwrap_or_default();
    for rows in blocks {
        for (sum, row) in sums.iter_mut().zip(rows) {
            sum.number = sum.number.wrapping_add(row.number);
        }
    }
    sums
}

fn histogram<T>(
    writer: &mut Writer<'_, '_>,
    (name, help, of): Histogram<T>,
    blocks: &Blocks<'_, T>,
) -> fmt::Result {
    let rows = blocks.iter().map(|(route, blocks)| {
        let each = blocks.iter().map(|block| of(block));
        (labels([("route", route)]), Durations::sum(each))
    });
    writer.histograms((name, help), rows)
}

fn endings(counts: &dicom::AssociationCounters) -> Vec<Row> {
    let endings = counts.endings();
    let row = |(word, count): (&'static str, &Counter)| Row::labelled(vec![("ended", word)], count);
    endings.map(row).collect()
}

fn requests(counts: &dicom::AssociationCounters) -> Vec<Row> {
    let row = |(command, of): (DimseCommand, &OfCommand)| {
        Row::labelled(vec![("command", command.name())], &of.requests)
    };
    counts.commands().map(row).collect()
}

fn responses(counts: &dicom::AssociationCounters) -> Vec<Row> {
    let mut rows = Vec::new();
    for (command, of) in counts.commands() {
        for (class, count) in of.responses() {
            let labels = vec![("command", command.name()), ("class", class.word())];
            let is_rare = matches!(class, Class::Pending | Class::Cancel) && !command.has_course();
            rows.push(Row {
                is_rare,
                ..Row::labelled(labels, count)
            });
        }
    }
    rows
}

fn acknowledgements(counts: &hl7::ConversationCounters) -> Vec<Row> {
    let row = |(code, count): (&'static str, &Counter)| Row::labelled(vec![("code", code)], count);
    counts.acknowledgements().map(row).collect()
}

impl Row {
    fn of(number: u64) -> Self {
        Self {
            labels: Vec::new(),
            number,
            is_rare: false,
        }
    }

    fn labelled(labels: Vec<(&'static str, &'static str)>, count: &Counter) -> Self {
        Self {
            labels,
            ..Self::of(count.get())
        }
    }
}

#[cfg(test)]
mod tests;
