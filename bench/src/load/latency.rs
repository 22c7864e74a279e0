//! Distributions of times, in microseconds.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::report::Report;
use crate::report::plot::{Lines, Plot};

/// Longer times count as this time; it is longer than any stall limit.
pub(crate) const MAX_US: u64 = 3_600_000_000;

/// The significant digits that are kept.
const DIGITS: u8 = 3;

pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_US, DIGITS).expect("the bounds are constants")
}

/// Whole microseconds, at least 1.
pub(crate) fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// Adds mean, quantiles and maximum as `name_p50_us` and so on.
pub(crate) fn rows(report: &mut Report, name: &str, times: &Histogram<u64>) {
    report.real(&format!("{name}_mean_us"), times.mean());
    for (which, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
        let row = format!("{name}_{which}_us");
        report.whole(&row, times.value_at_quantile(quantile));
    }
    report.whole(&format!("{name}_max_us"), times.max());
}

/// The times as curves: how long the slowest one in N took, or longer.
pub(crate) fn curves(title: &str, series: &[(&str, &Histogram<u64>)]) -> Plot {
    let curve = |times: &Histogram<u64>| {
        let rarities = (0..).map(|n| 2_f64 * 10_f64.powf(f64::from(n) / 4.0));
        let rarities = rarities.take_while(|&rarity| rarity <= times.len() as f64);
        let point = |rarity: f64| (rarity, times.value_at_quantile(1.0 - 1.0 / rarity) as f64);
        rarities.map(point).collect()
    };
    let series = series
        .iter()
        .map(|(name, times)| ((*name).to_owned(), curve(times)));
    Plot::Lines(Lines {
        across: "one in so many takes longer".to_owned(),
        up: format!("{title}, microseconds"),
        logarithmic: true,
        series: series.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_rises_to_the_slowest() {
        let mut times = histogram();
        for time in 1..=1000 {
            times.saturating_record(time);
        }
        let Plot::Lines(lines) = curves("round trip", &[("one", &times)]) else {
            panic!("curves are lines");
        };
        let points = &lines.series[0].1;
        assert_eq!(points[0], (2.0, 500.0));
        assert!(points.is_sorted_by(|a, b| a.1 <= b.1));
        assert!(points.len() >= 10, "{points:?}");
    }
}
