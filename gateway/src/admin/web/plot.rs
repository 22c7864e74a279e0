//! Small plots of the last hour, as SVG.
//!
//! The text beside a plot holds its last and its largest value, so nothing is shown by the curve alone.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::history::{RouteHistory, Sample};
use super::words;
use crate::admin::limits::HISTORY_SAMPLES;

// Samples that one point of a curve stands for, by their maximum: half a minute.
const SAMPLES_PER_POINT: usize = 3;
const POINTS: usize = HISTORY_SAMPLES / SAMPLES_PER_POINT;
// Units of the drawing between two points, and the height of the curve.
const STEP: usize = 3;
const HEIGHT: u64 = 60;
// Room for the width of the line above and below.
const MARGIN: u64 = 2;

/// Throughput in both directions.
pub(super) fn throughput(history: Option<&RouteHistory>, names: [&str; 2]) -> Markup {
    let first = points(history, |sample| Some(sample.sealed));
    let second = points(history, |sample| Some(sample.opened));
    let top = most(&first).max(most(&second)).unwrap_or_default();
    let text = match top {
        0 => "no traffic in the last hour".to_owned(),
        top => format!("highest {}", words::rate(top)),
    };
    let label = format!("Throughput of the last hour: {text}");
    figure(
        "Throughput",
        &text,
        &label,
        html! {
            path.curve.first d=(curve(&first, top)) {}
            path.curve.second d=(curve(&second, top)) {}
        },
        html! {
            span.key.first { (names[0]) }
            span.key.second { (names[1]) }
        },
    )
}

/// The latency of requests.
pub(super) fn latency(history: Option<&RouteHistory>) -> Markup {
    let points = points(history, |sample| sample.latency_us);
    let top = most(&points);
    let text = match top {
        None => "not measured in the last hour".to_owned(),
        Some(top) => format!("highest {}", words::latency(top)),
    };
    let label = format!("Latency of the last hour: {text}");
    figure(
        "Latency",
        &text,
        &label,
        html! {
            path.curve.third d=(curve(&points, top.unwrap_or_default())) {}
        },
        html! {
            span.key.third { "request to response" }
        },
    )
}

fn figure(name: &str, text: &str, label: &str, curves: Markup, keys: Markup) -> Markup {
    let (width, height) = (STEP * (POINTS - 1), HEIGHT + 2 * MARGIN);
    html! {
        figure.plot {
            figcaption { strong { (name) } " " span { (text) } }
            svg role="img" aria-label=(label) viewBox={ "0 0 " (width) " " (height) } preserveAspectRatio="none" {
                path.grid d={ "M0 " (HEIGHT + MARGIN) "H" (width) "M0 " (MARGIN + HEIGHT / 2) "H" (width) } {}
                (curves)
            }
            p.axis aria-hidden="true" { span { "60 min ago" } span { "now" } }
            p.keys { (keys) }
        }
    }
}

// One point for each half minute, the last at the end. Missing ones at the beginning are gaps.
fn points(history: Option<&RouteHistory>, of: impl Fn(Sample) -> Option<u64>) -> Vec<Option<u64>> {
    let samples: Vec<_> = history
        .into_iter()
        .flat_map(RouteHistory::samples)
        .map(|sample| sample.and_then(&of))
        .collect();
    let points = samples.rchunks(SAMPLES_PER_POINT).take(POINTS);
    let mut points: Vec<_> = points
        .map(|some| some.iter().flatten().max().copied())
        .collect();
    points.resize(POINTS, None);
    points.reverse();
    points
}

fn most(points: &[Option<u64>]) -> Option<u64> {
    points.iter().flatten().max().copied()
}

// The commands of a path: a line through each run of points, and a dot for a point that stands alone.
fn curve(points: &[Option<u64>], top: u64) -> String {
    let mut commands = String::new();
    let mut is_drawing = false;
    for (number, point) in points.iter().enumerate() {
        let Some(value) = point else {
            is_drawing = false;
            continue;
        };
        let share = u128::from(*value).saturating_mul(HEIGHT.into());
        let share = share.checked_div(top.into()).unwrap_or_default();
        let up = u64::try_from(share).unwrap_or(HEIGHT).min(HEIGHT);
        let (x, y) = (number * STEP, MARGIN + HEIGHT - up);
        let command = if is_drawing { 'L' } else { 'M' };
        let _ = write!(commands, "{command}{x} {y}");
        let is_last = points.get(number + 1).is_none_or(Option::is_none);
        if !is_drawing && is_last {
            commands.push_str("h.1");
        }
        is_drawing = true;
    }
    commands
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::history::History;
    use super::*;
    use crate::admin::limits::HISTORY_STEP;
    use crate::control::RouteStatus;

    #[test]
    fn a_curve_is_interrupted_where_nothing_was_measured() {
        let points = [Some(0), Some(50), None, Some(100), None];
        assert_eq!(curve(&points, 100), "M0 62L3 32M9 2h.1");
        assert_eq!(curve(&[Some(u64::MAX)], u64::MAX), "M0 2h.1");
        assert_eq!(curve(&[Some(0), Some(0)], 0), "M0 62L3 62");
    }

    #[test]
    fn the_last_point_of_a_short_history_is_at_the_end() {
        let (mut history, start) = (History::default(), Instant::now());
        for step in 0..4_u32 {
            let route = RouteStatus {
                name: "a".to_owned(),
                sealed_bytes: u64::from(step) * 10_000,
                ..RouteStatus::default()
            };
            history.record(start + step * HISTORY_STEP, &[route]);
        }
        let points = points(history.route("a"), |sample| Some(sample.sealed));
        assert_eq!(points.len(), POINTS);
        assert_eq!(points.last(), Some(&Some(1_000)));
        assert_eq!(points.iter().flatten().count(), 1);
    }

    #[test]
    fn an_hour_is_drawn_in_two_kilobytes() {
        let points = vec![Some(1_000_000_u64); POINTS];
        assert!(curve(&points, 1_000_000).len() < 2_000);
    }
}
