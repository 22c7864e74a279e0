//! The lines that a program writes, collected while it runs, and the fields of the gateway's log lines.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

/// Reads pipes on separate threads and keeps every line.
#[derive(Default)]
pub(crate) struct Collector {
    shared: Arc<Shared>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Collector {
    /// Reads a pipe to its end.
    pub(crate) fn collect(&mut self, pipe: impl Read + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        self.readers.push(std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut bytes = Vec::new();
            while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
                let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                shared.lock().push(line);
                shared.more.notify_all();
                bytes.clear();
            }
        }));
    }

    /// Waits until every pipe has ended; the program must have ended, and all that it started.
    pub(crate) fn finish(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().expect("the reader does not panic");
        }
    }

    /// Waits until every pipe has ended, but not longer than `deadline`.
    pub(crate) fn finish_within(&mut self, deadline: Duration) {
        let end = Instant::now() + deadline;
        let have_ended = |readers: &[JoinHandle<()>]| readers.iter().all(JoinHandle::is_finished);
        while !have_ended(&self.readers) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(4));
        }
    }

    /// All lines until now.
    pub(crate) fn text(&self) -> String {
        self.shared.lock().join("\n")
    }

    /// All lines until now.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.shared.lock().clone()
    }

    /// Waits for a line that `find` accepts, earlier lines included, and returns its result; `None` when
    /// `deadline` passes first.
    pub(crate) fn wait_for<T>(
        &self,
        deadline: Duration,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + deadline;
        let mut seen = 0;
        let mut lines = self.shared.lock();
        loop {
            if let Some(found) = lines.iter().skip(seen).find_map(|line| find(line)) {
                return Some(found);
            }
            seen = lines.len();
            let left = end.checked_duration_since(Instant::now())?;
            let waited = self.shared.more.wait_timeout(lines, left);
            lines = waited.expect("no holder of this lock panics").0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().expect("no holder of this lock panics")
    }
}

/// One line of the gateway's log in its JSON form.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    fields: Map<String, Value>,
}

impl Line {
    /// Reads a line; `None` where it is no JSON object.
    pub fn parse(text: &str) -> Option<Self> {
        let fields = serde_json::from_str(text).ok()?;
        Some(Self { fields })
    }

    /// The message: `ready`, `connection`, ...
    pub fn message(&self) -> &str {
        self.text("message")
    }

    /// Whether the line is about an ended connection.
    pub fn is_connection(&self) -> bool {
        self.message() == "connection"
    }

    /// A field as text; empty where it is missing or no text.
    pub fn text(&self, key: &str) -> &str {
        self.fields
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// A field as a number, which may have been written as text; panics where it is neither.
    pub fn number(&self, key: &str) -> u64 {
        let value = self.fields.get(key);
        value
            .and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()))
            .unwrap_or_else(|| panic!("no number {key:?} in {self:?}"))
    }

    /// A field in seconds; panics where it is missing or no number.
    pub fn seconds(&self, key: &str) -> f64 {
        let value = self.fields.get(key).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("no seconds {key:?} in {self:?}"))
    }

    /// The address and port of the `client` or the `server`; `None` where the line has none.
    pub fn address(&self, side: &str) -> Option<SocketAddr> {
        let address = self.text(&format!("{side}.address")).parse().ok()?;
        let port = u16::try_from(self.number(&format!("{side}.port"))).expect("a port");
        Some(SocketAddr::new(address, port))
    }

    /// Whether the client had this IP address.
    pub fn is_from(&self, client: &str) -> bool {
        self.text("client.address") == client
    }

    /// Its keys, in the order of the alphabet.
    pub fn keys(&self) -> Vec<&str> {
        self.fields.keys().map(String::as_str).collect()
    }
}
