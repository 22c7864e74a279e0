//! Where log lines go: standard error, or journald.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tracing::subscriber;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{FmtSubscriber, Registry};

use super::logfmt::Logfmt;
use crate::config::LogFormat;

/// The socket on which journald receives lines.
pub const JOURNALD: &str = "/run/systemd/journal/socket";

/// Why journald cannot receive lines, as a problem of the configuration; `None` if it can.
#[must_use]
pub fn journald_problem() -> Option<String> {
    reach_journald().err().map(|error| {
        format!(
            "[gateway]: log = \"journald\": journald does not answer at {JOURNALD}: {error}; start \
             systemd-journald, or write log = \"text\""
        )
    })
}

fn reach_journald() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(JOURNALD)?;
    Ok(socket)
}

/// Runs `work`, whose log events are written in this format. Lines that cannot be written count in `lost`.
pub(super) fn with(format: LogFormat, lost: &Arc<AtomicU64>, work: impl FnOnce()) {
    let output = LineWriter::new(io::stderr(), Arc::clone(lost));
    let builder = FmtSubscriber::builder()
        .with_writer(move || output.clone())
        .with_target(false);
    match format {
        LogFormat::Text => {
            let text = builder.with_ansi(false).event_format(Logfmt);
            subscriber::with_default(text.finish(), work);
        }
        LogFormat::Json => {
            let flat = builder.json().flatten_event(true).with_current_span(false);
            subscriber::with_default(flat.with_span_list(false).finish(), work);
        }
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(layer) => {
                let layer = layer
                    .with_field_prefix(Some("WARDGATE".to_owned()))
                    .with_syslog_identifier("wardgate".to_owned())
                    .with_priority_mappings(PriorityMappings {
                        info: Priority::Informational,
                        ..PriorityMappings::new()
                    });
                subscriber::with_default(Registry::default().with(layer), work);
            }
            // It answered when the journal started.
            Err(_) => {
                lost.fetch_add(1, Ordering::Relaxed);
                let text = builder.with_ansi(false).event_format(Logfmt);
                subscriber::with_default(text.finish(), work);
            }
        },
    }
}

/// Whether the lines of the next event can be written; counts the event if not.
///
/// `tracing-journald` ignores errors. Lines on standard error are counted where they are written.
pub(super) fn check(format: LogFormat, lost: &AtomicU64) {
    if format == LogFormat::Journald && reach_journald().is_err() {
        lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes whole lines, and counts lines that cannot be written: the file of standard error may be on a full
/// disk. A line that was cut is ended before the next one.
#[derive(Debug)]
struct LineWriter<W> {
    output: W,
    is_cut: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
}

impl<W> LineWriter<W> {
    fn new(output: W, lost: Arc<AtomicU64>) -> Self {
        Self {
            output,
            is_cut: Arc::default(),
            lost,
        }
    }
}

impl Clone for LineWriter<io::Stderr> {
    fn clone(&self) -> Self {
        Self {
            output: io::stderr(),
            is_cut: Arc::clone(&self.is_cut),
            lost: Arc::clone(&self.lost),
        }
    }
}

impl<W: Write> LineWriter<W> {
    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_cut.load(Ordering::Relaxed) {
            self.output.write_all(b"\n")?;
            self.is_cut.store(false, Ordering::Relaxed);
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.output.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.is_cut.store(!rest.is_empty(), Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

// Never fails: `tracing-subscriber` would report the error on standard error, and panic if that fails.
impl<W: Write> Write for LineWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.write_line(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file on a disk with room for this many further bytes.
    #[derive(Default)]
    struct Disk {
        room: usize,
        file: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.file.extend(&bytes[..fits]);
            self.room -= fits;
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_of_a_full_disk_are_counted_and_later_lines_are_written() {
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = LineWriter::new(Disk::default(), Arc::clone(&lost));
        let log = |writer: &mut LineWriter<Disk>, line: &[u8]| {
            writer.write_all(line).expect("it never fails");
        };
        writer.output.room = 10;
        log(&mut writer, b"one\n");
        log(&mut writer, b"cut in the middle\n");
        log(&mut writer, b"two\n");
        assert_eq!(lost.load(Ordering::Relaxed), 2);
        writer.output.room = 100;
        log(&mut writer, b"three\n");
        log(&mut writer, b"four\n");
        assert_eq!(lost.load(Ordering::Relaxed), 2);
        assert_eq!(writer.output.file, b"one\ncut in\nthree\nfour\n");
    }
}
