//! What was sent, what was received and how both ended; the first thing that must not be is kept.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How a transfer ended for one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All bytes came, and the end was clean.
    Complete,
    /// The application got an error: a reset, a refused connection or an A-ABORT.
    Broken(String),
    /// What must never be: a clean end too early, other bytes, or silence.
    Wrong(String),
}

impl Ending {
    /// How an application that has not finished sees an error of its socket.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionAborted
            // A reset after a clean end of the other direction, while writing.
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected => Self::Broken(error.kind().to_string()),
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                Self::Wrong("neither goes on nor ends".into())
            }
            ErrorKind::UnexpectedEof => Self::Wrong("a clean end in mid-transfer".into()),
            _ => Self::Wrong(error.to_string()),
        }
    }
}

/// SHA-256.
pub(crate) type Hash = [u8; 32];

/// The totals of one kind of transfer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    pub(crate) complete: u64,
    pub(crate) broken: u64,
    pub(crate) bytes: u64,
    pub(crate) slowest: Duration,
    /// Ways in which transfers were broken.
    pub(crate) ways: BTreeMap<String, u64>,
}

/// A transfer whose two ends have not been compared yet.
#[derive(Debug, Default)]
struct Entry {
    sent: Option<(Hash, bool)>,
    received: Vec<Hash>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<u64, Entry>,
    totals: BTreeMap<&'static str, Totals>,
    /// Since when faults are made; transfers that ended before, or began after them, must not be broken.
    faults: Option<Instant>,
    last_fault_end: Option<Instant>,
    wrong: Option<(Duration, String)>,
    next: u64,
}

/// The book of all transfers.
#[derive(Debug)]
pub(crate) struct Ledger {
    start: Instant,
    inner: Mutex<Inner>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            inner: Mutex::default(),
        }
    }

    /// Time since the start of the run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// A number that no other transfer has.
    pub(crate) fn number(&self) -> u64 {
        let mut inner = self.lock();
        inner.next += 1;
        inner.next
    }

    /// Faults begin; transfers may be broken, but visibly.
    pub(crate) fn begin_faults(&self) {
        self.lock().faults = Some(Instant::now());
    }

    /// Faults are over, and all transfers that they could touch have ended.
    pub(crate) fn end_faults(&self) {
        let mut inner = self.lock();
        inner.faults = None;
        inner.last_fault_end = Some(Instant::now());
    }

    /// The sender's view of a transfer.
    pub(crate) fn sent(
        &self,
        kind: &'static str,
        number: u64,
        begun: Instant,
        bytes: u64,
        hash: Hash,
        ending: &Ending,
    ) {
        let mut inner = self.lock();
        let is_complete = *ending == Ending::Complete;
        inner.entries.entry(number).or_default().sent = Some((hash, is_complete));
        let totals = inner.totals.entry(kind).or_default();
        totals.slowest = totals.slowest.max(begun.elapsed());
        match ending {
            Ending::Complete => {
                totals.complete += 1;
                totals.bytes += bytes;
            }
            Ending::Broken(way) => {
                totals.broken += 1;
                *totals.ways.entry(way.clone()).or_default() += 1;
            }
            Ending::Wrong(_) => {}
        }
        drop(inner);
        self.judge(&format!("{kind} {number}, sender"), begun, ending);
    }

    /// The receiver has the whole of a transfer.
    pub(crate) fn received(&self, number: u64, hash: Hash) {
        let mut inner = self.lock();
        let entry = inner.entries.entry(number).or_default();
        entry.received.push(hash);
    }

    /// Keeps what must not be: a wrong ending, or a broken one without a fault.
    pub(crate) fn judge(&self, name: &str, begun: Instant, ending: &Ending) {
        match ending {
            Ending::Complete => {}
            Ending::Wrong(why) => self.wrong(&format!("{name}: {why}")),
            Ending::Broken(why) => {
                let inner = self.lock();
                let is_excused =
                    inner.faults.is_some() || inner.last_fault_end.is_some_and(|end| begun <= end);
                drop(inner);
                if !is_excused {
                    self.wrong(&format!("{name}: broken without a fault: {why}"));
                }
            }
        }
    }

    /// Keeps the first thing that must not be, with its time.
    pub(crate) fn wrong(&self, what: &str) {
        let at = self.elapsed();
        let mut inner = self.lock();
        if inner.wrong.is_none() {
            eprintln!("{:.1} s: WRONG: {what}", at.as_secs_f64());
            inner.wrong = Some((at, what.to_owned()));
        }
    }

    /// The first thing that must not be.
    pub(crate) fn first_wrong(&self) -> Option<(Duration, String)> {
        self.lock().wrong.clone()
    }

    /// Compares both ends of all transfers; all must have ended.
    pub(crate) fn compare(&self) {
        let entries = std::mem::take(&mut self.lock().entries);
        for (number, entry) in entries {
            let text = match (entry.sent, entry.received.as_slice()) {
                (None, _) => "was received but never sent",
                (Some((_, true)), []) => "is complete for its sender only",
                (Some((hash, true)), [received]) if hash != *received => "has another hash",
                (Some(_), [_, _, ..]) => "was received more than once",
                _ => continue,
            };
            self.wrong(&format!("transfer {number} {text}"));
        }
    }

    /// The totals of all kinds.
    pub(crate) fn totals(&self) -> BTreeMap<&'static str, Totals> {
        self.lock().totals.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(ledger: &Ledger, number: u64, ending: &Ending) {
        ledger.sent("kind", number, Instant::now(), 1, [1; 32], ending);
    }

    #[test]
    fn a_transfer_that_is_complete_at_both_ends_is_right() {
        let ledger = Ledger::new();
        sent(&ledger, 1, &Ending::Complete);
        ledger.received(1, [1; 32]);
        ledger.compare();
        assert_eq!(ledger.first_wrong(), None);
        assert_eq!(ledger.totals()["kind"].complete, 1);
    }

    #[test]
    fn lost_doubled_changed_and_invented_transfers_are_wrong() {
        for received in [vec![], vec![[2; 32]], vec![[1; 32], [1; 32]]] {
            let ledger = Ledger::new();
            sent(&ledger, 1, &Ending::Complete);
            for hash in received {
                ledger.received(1, hash);
            }
            ledger.compare();
            assert!(ledger.first_wrong().is_some());
        }
        let ledger = Ledger::new();
        ledger.received(1, [1; 32]);
        ledger.compare();
        assert!(ledger.first_wrong().is_some());
    }

    #[test]
    fn a_broken_transfer_is_right_only_during_faults() {
        let broken = Ending::Broken("reset".into());
        let ledger = Ledger::new();
        ledger.begin_faults();
        sent(&ledger, 1, &broken);
        ledger.end_faults();
        ledger.compare();
        assert_eq!(ledger.first_wrong(), None);
        sent(&ledger, 2, &broken);
        let (_, text) = ledger.first_wrong().expect("no fault is made now");
        assert!(text.contains("broken without a fault"), "{text}");
    }

    #[test]
    fn a_clean_end_in_mid_transfer_is_wrong_even_during_faults() {
        let ledger = Ledger::new();
        ledger.begin_faults();
        let error = io::Error::from(ErrorKind::UnexpectedEof);
        sent(&ledger, 1, &Ending::of(&error));
        assert!(ledger.first_wrong().is_some());
    }
}
