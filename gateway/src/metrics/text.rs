//! The text format of Prometheus.

use std::fmt::Write as _;

/// Writes what stands before the rows of a metric.
pub(super) fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A value of a label, escaped: a URI may contain quotation marks.
pub(super) fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\");
    value.replace('"', "\\\"").replace('\n', "\\n")
}
