//! Writes families of metrics as OpenMetrics.
//!
//! A metric is named here as it appears in the text: `wardgate_sealed_bytes_total`. OpenMetrics names the family
//! without `_total`, and requires that its unit ends the name, so both follow from the name.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric as _, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::CounterWithExemplar;
use prometheus_client::registry::Unit;

use crate::measure::{SCALE, Times};

/// The labels of one row.
pub(super) type Labels<'l> = Vec<(&'static str, Cow<'l, str>)>;

/// A name, and what it means.
pub(super) type MetricName = (&'static str, &'static str);

/// Durations of all cores, summed.
#[derive(Debug, Clone, Default)]
pub(super) struct Durations {
    each: [u64; SCALE.len() + 1],
    micros: u64,
}

impl Durations {
    /// The sum of the blocks of all cores.
    pub(super) fn sum<'t>(blocks: impl Iterator<Item = &'t Times>) -> Self {
        let mut sum = Self::default();
        for block in blocks {
            for (step, count) in sum.each.iter_mut().zip(block.each()) {
                *step = step.wrapping_add(count);
            }
            sum.micros = sum.micros.wrapping_add(block.micros());
        }
        sum
    }
}

/// The text of one answer, under construction.
pub(super) struct Writer<'w, 'e>(pub(super) &'w mut DescriptorEncoder<'e>);

impl Writer<'_, '_> {
    /// Counters; their names end in `_total`.
    pub(super) fn counters<'l>(
        &mut self,
        named: MetricName,
        rows: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        self.family(named, MetricType::Counter, rows, |mut row, number| {
            row.encode_counter::<NoLabelSet, _, u64>(&number, None)
        })
    }

    /// Counters, each with the connection that counted last.
    pub(super) fn counters_with_example<'l>(
        &mut self,
        named: MetricName,
        rows: impl IntoIterator<Item = (Labels<'l>, (u64, Option<String>))>,
    ) -> fmt::Result {
        self.family(named, MetricType::Counter, rows, |mut row, (number, id)| {
            let Some(id) = id else {
                return row.encode_counter::<NoLabelSet, _, u64>(&number, None);
            };
            let counter = CounterWithExemplar::<Vec<(&str, String)>>::default();
            counter.inc_by(number.saturating_sub(1), None, None);
            // The exemplar's value is what the connection added.
            counter.inc_by(1, Some(vec![("id", id)]), None);
            counter.encode(row)
        })
    }

    /// Counters of microseconds, shown in seconds.
    pub(super) fn counters_of_micros<'l>(
        &mut self,
        named: MetricName,
        rows: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        self.family(named, MetricType::Counter, rows, |mut row, micros| {
            row.encode_counter::<NoLabelSet, _, u64>(&seconds(micros), None)
        })
    }

    /// Gauges.
    pub(super) fn gauges<'l>(
        &mut self,
        named: MetricName,
        rows: impl IntoIterator<Item = (Labels<'l>, i64)>,
    ) -> fmt::Result {
        self.family(named, MetricType::Gauge, rows, |mut row, number| {
            row.encode_gauge(&number)
        })
    }

    /// Histograms.
    // The count is the sum of the buckets, so that the two agree while other threads write.
    pub(super) fn histograms<'l>(
        &mut self,
        named: MetricName,
        rows: impl IntoIterator<Item = (Labels<'l>, Durations)>,
    ) -> fmt::Result {
        self.family(named, MetricType::Histogram, rows, |mut row, durations| {
            let bounds = SCALE.iter().map(|(micros, _)| seconds(*micros));
            let bounds = bounds.chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(durations.each).collect();
            let count = durations
                .each
                .iter()
                .fold(0, |sum: u64, each| sum.wrapping_add(*each));
            row.encode_histogram::<NoLabelSet>(seconds(durations.micros), count, &buckets, None)
        })
    }

    /// One row of facts that do not change.
    pub(super) fn info(&mut self, named: MetricName, labels: &Labels<'_>) -> fmt::Result {
        let (name, help) = named;
        let name = name.strip_suffix("_info").unwrap_or(name);
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Info)?;
        family.encode_info(labels)
    }

    fn family<'l, N>(
        &mut self,
        (name, help): MetricName,
        kind: MetricType,
        rows: impl IntoIterator<Item = (Labels<'l>, N)>,
        write: impl Fn(MetricEncoder<'_>, N) -> fmt::Result,
    ) -> fmt::Result {
        let name = name.strip_suffix("_total").unwrap_or(name);
        let (name, unit) = match (name.strip_suffix("_bytes"), name.strip_suffix("_seconds")) {
            (Some(rest), _) => (rest, Some(Unit::Bytes)),
            (_, Some(rest)) => (rest, Some(Unit::Seconds)),
            _ => (name, None),
        };
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), kind)?;
        for (labels, number) in rows {
            if labels.is_empty() {
                // Without a family there are no braces.
                return write(family, number);
            }
            write(family.encode_family(&labels)?, number)?;
        }
        Ok(())
    }
}

// A sum of microseconds is exact up to 285 years.
fn seconds(micros: u64) -> f64 {
    let (whole, rest) = (micros / 1_000_000, micros % 1_000_000);
    (whole as f64) + (rest as f64) / 1e6
}

/// The labels of a row: `labels([("route", name)])`.
pub(super) fn labels<'l, const N: usize>(each: [(&'static str, &'l str); N]) -> Labels<'l> {
    each.map(|(name, value)| (name, Cow::Borrowed(value)))
        .into()
}
