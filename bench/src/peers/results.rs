//! The results of a run: samples by placement, chain and figure; their medians and spreads.

use std::collections::BTreeMap;
use std::fmt;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::report::plot::Spread;

/// Where the parts of a chain run.
///
/// `one` shows the cost of a byte when no parallel work can hide it. In `split`, the source is on B's core
/// and the sink on A's: every hop crosses the cores, as on a real link, and each core carries one end and one
/// gateway. If the source were next to A, only A would find its bytes in its own cache and never wake another
/// core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Placement {
    /// A, B, source and sink on one core
    One,
    /// A and the sink on one core, B and the source on another
    Split,
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "one core",
            Self::Split => "split",
        })
    }
}

/// All samples of a run.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// One sample for each round.
    samples: BTreeMap<(Placement, &'static str, String), Vec<f64>>,
}

impl Results {
    pub(crate) fn push(&mut self, at: Placement, chain: &'static str, figure: &str, value: f64) {
        let key = (at, chain, figure.to_owned());
        self.samples.entry(key).or_default().push(value);
    }

    /// Median and spread; none if it was not measured.
    pub(crate) fn spread(&self, at: Placement, chain: &str, figure: &str) -> Option<Spread> {
        // A linear search of the few thousand entries is fast enough without an index.
        let mut all = self.samples.iter();
        let wanted = |(placement, name, what): &(Placement, &str, String)| {
            *placement == at && *name == chain && what == figure
        };
        let (_, samples) = all.find(|(key, _)| wanted(key))?;
        Spread::of(samples)
    }

    pub(crate) fn median(&self, at: Placement, chain: &str, figure: &str) -> Option<f64> {
        Some(self.spread(at, chain, figure)?.median)
    }

    /// One chain's median over another's.
    pub(crate) fn ratio(&self, at: Placement, chain: &str, to: &str, figure: &str) -> Option<f64> {
        Some(self.median(at, chain, figure)? / self.median(at, to, figure)?)
    }

    /// The lowest median of these chains.
    pub(crate) fn best(
        &self,
        at: Placement,
        chains: &[&'static str],
        figure: &str,
    ) -> Option<(&'static str, f64)> {
        chains
            .iter()
            .filter_map(|&chain| Some((chain, self.median(at, chain, figure)?)))
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    /// Every figure with its median, spread and samples.
    pub(crate) fn json(&self) -> Value {
        let rows = self.samples.iter().map(|((at, chain, figure), samples)| {
            let spread = Spread::of(samples);
            json!({
                "placement": at.to_string(),
                "chain": chain,
                "figure": figure,
                "median": spread.map(|spread| spread.median),
                "min": spread.map(|spread| spread.min),
                "max": spread.map(|spread| spread.max),
                "samples": samples,
            })
        });
        Value::Array(rows.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_and_the_best_are_of_medians_at_one_placement() {
        let mut results = Results::default();
        for (chain, values) in [("ours", [1.0, 9.0, 2.0]), ("x", [8.0, 8.0, 4.0])] {
            for value in values {
                results.push(Placement::One, chain, "cost", value);
            }
        }
        results.push(Placement::Split, "y", "cost", 0.1);
        let one = Placement::One;
        assert_eq!(results.ratio(one, "ours", "x", "cost"), Some(0.25));
        let best = results.best(one, &["x", "ours", "y"], "cost");
        assert_eq!(best, Some(("ours", 2.0)));
        assert_eq!(results.ratio(one, "ours", "y", "cost"), None);
        assert_eq!(results.json().as_array().map(Vec::len), Some(3));
    }
}
