//! Metrics of changes of the running gateway.

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::text::head;

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

    /// The rows as Prometheus text. `generation` is that of the table of routes.
    #[must_use]
    pub fn exposition(&self, generation: u64) -> String {
        let mut text = String::new();
        let name = "wardgate_reloads_total";
        head(&mut text, name, "counter", "Reloads by their result.");
        for (result, count) in [("good", &self.succeeded), ("refused", &self.failed)] {
            let _ = writeln!(text, "{name}{{result=\"{result}\"}} {}", count.get());
        }
        let name = "wardgate_file_rotations_total";
        let help =
            "Times that new certificates, keys, CAs or revocation lists were noticed, by result.";
        head(&mut text, name, "counter", help);
        for (result, count) in [("good", &self.rotated), ("refused", &self.rotations_failed)] {
            let _ = writeln!(text, "{name}{{result=\"{result}\"}} {}", count.get());
        }
        let name = "wardgate_last_reload_timestamp_seconds";
        let help = "Time of the last good reload, in seconds since 1970; 0 if there was none.";
        head(&mut text, name, "gauge", help);
        let _ = writeln!(text, "{name} {}", self.last.get());
        let name = "wardgate_configuration_generation";
        let help = "Number of changes of the routes or their files since the start.";
        head(&mut text, name, "gauge", help);
        let _ = writeln!(text, "{name} {generation}");
        text
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
        assert!(
            reloads
                .exposition(0)
                .contains("wardgate_last_reload_timestamp_seconds 0\n")
        );
        reloads.succeeded();
        reloads.failed();
        reloads.failed();
        reloads.rotated();
        reloads.rotation_failed();
        let text = reloads.exposition(7);
        for line in [
            "wardgate_reloads_total{result=\"good\"} 1\n",
            "wardgate_reloads_total{result=\"refused\"} 2\n",
            "wardgate_file_rotations_total{result=\"good\"} 1\n",
            "wardgate_file_rotations_total{result=\"refused\"} 1\n",
            "wardgate_configuration_generation 7\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(!text.contains("timestamp_seconds 0\n"), "{text}");
    }
}
