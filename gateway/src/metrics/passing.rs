//! Metrics of the associations and conversations on observed routes.
//!
//! Labels are names of routes and words of this program, never text from a network. The log has one line per
//! association, which lists the stored objects by SOP class and the AE titles.
//!
//! Every row exists from the start, so that the first event shows as an increase. Exception: rows for
//! responses that the standard does not define appear with the first such response.

use std::fmt::Write as _;
use std::sync::Arc;

use super::text::head;
use super::{Counter, ObservedCounts, RouteMetrics};
use crate::dicom::{self, Class, DimseCommand, OfCommand};
use crate::hl7;
use crate::measure::{SCALE, Times};

/// The routes' names with their counts, one block per core. No route has counts of both protocols.
type Blocks<'r, T> = Vec<(&'r str, Vec<Arc<T>>)>;
/// A metric: its name, its help, and its rows in one block.
type MetricFamily<T> = (&'static str, &'static str, fn(&T) -> Vec<Row>);
/// A histogram: its name, its help, and its times in one block.
type Histogram<T> = (&'static str, &'static str, fn(&T) -> &Times);

struct Row {
    // Appended to the route's label.
    labels: String,
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
pub(super) fn write(text: &mut String, routes: &[RouteMetrics]) {
    let associations = blocks(routes, ObservedCounts::associations);
    let conversations = blocks(routes, ObservedCounts::conversations);
    families(text, &ASSOCIATIONS, &associations);
    histogram(text, STORES, &associations);
    families(text, &CONVERSATIONS, &conversations);
    histogram(text, ANSWERS, &conversations);
    let name = "wardgate_not_followed_total";
    let help = "Connections that continued unobserved after bytes that are not the protocol of their route.";
    head(text, name, "counter", help);
    rows(text, name, &associations, |c| {
        vec![Row::of(c.not_followed.get())]
    });
    rows(text, name, &conversations, |c| {
        vec![Row::of(c.not_followed.get())]
    });
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

fn families<T>(text: &mut String, families: &[MetricFamily<T>], blocks: &Blocks<'_, T>) {
    for (name, help, of) in families {
        head(text, name, "counter", help);
        rows(text, name, blocks, of);
    }
}

fn rows<T>(text: &mut String, name: &str, blocks: &Blocks<'_, T>, of: impl Fn(&T) -> Vec<Row>) {
    for (route, blocks) in blocks {
        let summed = summed(blocks, &of).into_iter();
        for row in summed.filter(|row| row.number > 0 || !row.is_rare) {
            let Row { labels, number, .. } = row;
            let _ = writeln!(text, "{name}{{route=\"{route}\"{labels}}} {number}");
        }
    }
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

// The count is the sum of the buckets, so that the two agree while other threads write.
fn histogram<T>(text: &mut String, (name, help, of): Histogram<T>, blocks: &Blocks<'_, T>) {
    head(text, name, "histogram", help);
    let bounds = SCALE.iter().map(|(_, name)| *name).chain(["+Inf"]);
    for (route, blocks) in blocks {
        let route = format!("route=\"{route}\"");
        let mut count = 0_u64;
        for (step, bound) in bounds.clone().enumerate() {
            let of_step = blocks.iter().filter_map(|block| of(block).each().nth(step));
            count = of_step.fold(count, u64::wrapping_add);
            let _ = writeln!(text, "{name}_bucket{{{route},le=\"{bound}\"}} {count}");
        }
        let micros = blocks.iter().map(|block| of(block).micros());
        let micros = micros.fold(0, u64::wrapping_add);
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        let _ = writeln!(text, "{name}_sum{{{route}}} {seconds}.{rest:06}");
        let _ = writeln!(text, "{name}_count{{{route}}} {count}");
    }
}

fn endings(counts: &dicom::AssociationCounters) -> Vec<Row> {
    let endings = counts.endings();
    let row = |(word, count): (&str, &Counter)| Row::labelled(format!(",ended=\"{word}\""), count);
    endings.map(row).collect()
}

fn requests(counts: &dicom::AssociationCounters) -> Vec<Row> {
    let row = |(command, of): (DimseCommand, &OfCommand)| {
        Row::labelled(format!(",command=\"{command}\""), &of.requests)
    };
    counts.commands().map(row).collect()
}

fn responses(counts: &dicom::AssociationCounters) -> Vec<Row> {
    let mut rows = Vec::new();
    for (command, of) in counts.commands() {
        for (class, count) in of.responses() {
            let labels = format!(",command=\"{command}\",class=\"{}\"", class.word());
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
    let row = |(code, count): (&str, &Counter)| Row::labelled(format!(",code=\"{code}\""), count);
    counts.acknowledgements().map(row).collect()
}

impl Row {
    fn of(number: u64) -> Self {
        Self {
            labels: String::new(),
            number,
            is_rare: false,
        }
    }

    fn labelled(labels: String, count: &Counter) -> Self {
        Self {
            labels,
            ..Self::of(count.get())
        }
    }
}

#[cfg(test)]
mod tests;
