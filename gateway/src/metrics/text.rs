//! The text format of Prometheus.

use std::fmt::Write as _;

/// Writes what stands before the rows of a metric.
pub(super) fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
