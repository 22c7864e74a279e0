//! Metrics of changes of the running gateway.

use std::cell::Cell;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::openmetrics::{Writer, labels};

/// The reloads of a gateway, and the times that its files were replaced.
#[derive(Debug, Default)]
pub struct Reloads {
    succeeded: Cell<u64>,
    failed: Cell<u64>,
    rotated: Cell<u64>,
    rotations_failed: Cell<u64>,
    last: Cell<u64>,
}

impl Reloads {
    /// A reload was carried out.
    pub fn succeeded(&self) {
        add(&self.succeeded);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.last.set(now.unwrap_or_default().as_secs());
    }

    /// A reload changed nothing, because the configuration or a file is wrong.
    pub fn failed(&self) {
        add(&self.failed);
    }

    /// New contents of files are in use.
    pub fn rotated(&self) {
        add(&self.rotated);
    }

    /// New contents of files are not used, because they are wrong.
    pub fn rotation_failed(&self) {
        add(&self.rotations_failed);
    }

    /// The counts of this moment.
    #[must_use]
    pub fn counts(&self) -> ReloadCounts {
        ReloadCounts {
            reloads: [self.succeeded.get(), self.failed.get()],
            rotations: [self.rotated.get(), self.rotations_failed.get()],
            last: self.last.get(),
        }
    }
}

/// The counts of a moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReloadCounts {
    // The good ones, and the refused ones.
    reloads: [u64; 2],
    rotations: [u64; 2],
    // Seconds since 1970.
    last: u64,
}

impl ReloadCounts {
    /// Writes the metrics. `generation` is that of the table of routes.
    pub(super) fn write(&self, writer: &mut Writer<'_, '_>, generation: u64) -> fmt::Result {
        let by_result = |[good, refused]: [u64; 2]| {
            let each = [("good", good), ("refused", refused)];
            each.map(|(result, count)| (labels([("result", result)]), count))
        };
        let named = ("wardgate_reloads_total", "Reloads by their result.");
        writer.counters(named, by_result(self.reloads))?;
        let named = (
            "wardgate_file_rotations_total",
            "Times that new certificates, keys, CAs or revocation lists were noticed, by result.",
        );
        writer.counters(named, by_result(self.rotations))?;
        let gauge = |number: u64| [(Vec::new(), i64::try_from(number).unwrap_or(i64::MAX))];
        let named = (
            "wardgate_last_reload_timestamp_seconds",
            "Time of the last good reload, in seconds since 1970; 0 if there was none.",
        );
        writer.gauges(named, gauge(self.last))?;
        let named = (
            "wardgate_configuration_generation",
            "Number of changes of the routes or their files since the start.",
        );
        writer.gauges(named, gauge(generation))
    }
}

fn add(count: &Cell<u64>) {
    count.set(count.get().saturating_add(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reloads_and_rotations_are_counted_by_result() {
        let reloads = Reloads::default();
        let text = |of: &Reloads| {
            let snapshot = crate::metrics::Snapshot {
                reloads: of.counts(),
                generation: 7,
                ..crate::metrics::Snapshot::default()
            };
            snapshot.text()
        };
        assert!(text(&reloads).contains("wardgate_last_reload_timestamp_seconds 0\n"));
        reloads.succeeded();
        reloads.failed();
        reloads.failed();
        reloads.rotated();
        reloads.rotation_failed();
        let text = text(&reloads);
        for line in [
            "wardgate_reloads_total{result=\"good\"} 1\n",
            "wardgate_reloads_total{result=\"refused\"} 2\n",
            "wardgate_file_rotations_total{result=\"good\"} 1\n",
            "wardgate_file_rotations_total{result=\"refused\"} 1\n",
            "wardgate_configuration_generation 7\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(!text.contains("reload_timestamp_seconds 0\n"), "{text}");
    }
}
