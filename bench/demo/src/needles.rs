//! Finds byte strings that must not be visible on the wire, in a stream that arrives in pieces.

use std::sync::Arc;

use memchr::memmem::Finder;

use crate::limits;

/// Random bytes may contain a short needle. If chance explains the hits in all but one of this many runs,
/// more hits are not chance.
const CHANCE_ONE_IN: f64 = 1e6;

/// From this length every hit counts, however many bytes have passed: a given sequence of six bytes occurs
/// once in 281 TB of random bytes.
const EXACT_BYTES: usize = 6;

/// The byte strings to search for, shared by every direction of every connection.
///
/// It has no `Debug`, because a user's own patient names may be among them.
#[derive(Default)]
pub(super) struct Needles {
    labels: Vec<String>,
    finders: Vec<Finder<'static>>,
}

/// Searches for the needles in one stream.
pub(super) struct Search {
    needles: Arc<Needles>,
    hits: Vec<u64>,
    /// The last bytes of the stream so far, one fewer than the length of the longest needle.
    carry: Vec<u8>,
}

/// How often one needle was found, and how many hits chance explains.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hits {
    /// The label of the needle, for the report.
    pub(super) label: String,
    /// Its length in bytes.
    pub(super) length: usize,
    /// How often it was found.
    pub(super) count: u64,
}

impl Needles {
    /// Adds a needle; `false` if it was added before or `limits::NEEDLES_MAX` is reached.
    ///
    /// The label is shown in the report, so it must not contain private data.
    pub(super) fn add(&mut self, label: impl Into<String>, bytes: &[u8]) -> bool {
        let known = self.finders.iter().any(|finder| finder.needle() == bytes);
        if known || bytes.is_empty() || self.finders.len() >= limits::NEEDLES_MAX {
            return false;
        }
        self.labels.push(label.into());
        self.finders.push(Finder::new(bytes).into_owned());
        true
    }

    /// The needles with their counts, in the order in which they were added.
    pub(super) fn describe(&self, counts: &[u64]) -> Vec<Hits> {
        let rows = self.labels.iter().zip(&self.finders).zip(counts);
        rows.map(|((label, finder), count)| Hits {
            label: label.clone(),
            length: finder.needle().len(),
            count: *count,
        })
        .collect()
    }

    /// The number of needles.
    pub(super) fn len(&self) -> usize {
        self.finders.len()
    }

    fn longest(&self) -> usize {
        let lengths = self.finders.iter().map(|finder| finder.needle().len());
        lengths.max().unwrap_or(0)
    }
}

impl Search {
    /// A search that begins at the start of a stream.
    pub(super) fn new(needles: Arc<Needles>) -> Self {
        Self {
            hits: vec![0; needles.len()],
            carry: Vec::with_capacity(2 * needles.longest()),
            needles,
        }
    }

    /// Searches the next bytes of the stream.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let reach = self.needles.longest().saturating_sub(1);
        let border = self.carry.len();
        self.carry.extend(bytes.iter().take(reach));
        for (finder, hits) in self.needles.finders.iter().zip(&mut self.hits) {
            *hits += across(finder, &self.carry, border);
            *hits += finder.find_iter(bytes).count() as u64;
        }
        self.keep(bytes, border, reach);
    }

    /// How often each needle was found, in the order of the needles.
    pub(super) fn hits(&self) -> &[u64] {
        &self.hits
    }

    /// Keeps the last `reach` bytes of the stream. The carry already contains the first ones of `bytes`.
    fn keep(&mut self, bytes: &[u8], border: usize, reach: usize) {
        if bytes.len() >= reach {
            self.carry.clear();
            self.carry.extend(&bytes[bytes.len() - reach..]);
        } else {
            let all = border + bytes.len();
            self.carry.drain(..all.saturating_sub(reach));
        }
    }
}

/// Counts the matches in `joint` that begin before `border` and end after it.
fn across(finder: &Finder<'_>, joint: &[u8], border: usize) -> u64 {
    let length = finder.needle().len();
    let first = border.saturating_sub(length - 1);
    let matches = (first..border).filter(|&start| {
        start + length > border && joint.get(start..start + length) == Some(finder.needle())
    });
    matches.count() as u64
}

impl Hits {
    /// The expected number of hits in `bytes` random bytes.
    pub(super) fn expected(&self, bytes: u64) -> f64 {
        bytes as f64 / 256f64.powi(i32::try_from(self.length).unwrap_or(i32::MAX))
    }

    /// The largest number of hits that chance explains in `bytes` random bytes.
    ///
    /// A given sequence of four bytes occurs once in 4.3 GB of random bytes, so ciphertext sometimes
    /// contains `DICM`: if no hit were allowed, one run in five would fail. Plaintext would contain it once
    /// for each object.
    pub(super) fn allowed(&self, bytes: u64) -> u64 {
        if self.length >= EXACT_BYTES {
            return 0;
        }
        // The tail of a Poisson distribution: the first k with P(hits > k) below the threshold.
        let expected = self.expected(bytes);
        let mut term = (-expected).exp();
        let mut tail = 1.0 - term;
        let mut most = 0;
        while tail > 1.0 / CHANCE_ONE_IN && most < 1_000_000 {
            most += 1;
            term *= expected / most as f64;
            tail -= term;
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(needles: &[&[u8]]) -> Search {
        let mut all = Needles::default();
        for (at, bytes) in needles.iter().enumerate() {
            assert!(all.add(format!("needle {at}"), bytes));
        }
        Search::new(Arc::new(all))
    }

    #[test]
    fn search_finds_needles_at_every_split_point() {
        let stream = b"..DICM.....WARDGATE-MARKER...DICM.DDICM";
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let mut search = search(&[b"DICM", b"WARDGATE-MARKER", b"absent"]);
                search.feed(&stream[..first]);
                search.feed(&stream[first..second]);
                search.feed(&stream[second..]);
                assert_eq!(search.hits(), [3, 1, 0], "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn search_finds_needles_that_come_byte_by_byte() {
        let mut search = search(&[b"DICM", b"REGION_ARCHIVE"]);
        for byte in b"xDICMREGION_ARCHIVEDICMDIC" {
            search.feed(std::slice::from_ref(byte));
        }
        assert_eq!(search.hits(), [2, 1]);
    }

    #[test]
    fn duplicate_needles_and_needles_beyond_the_bound_are_refused() {
        let mut needles = Needles::default();
        assert!(needles.add("a", b"DICM"));
        assert!(!needles.add("b", b"DICM"));
        for number in 0..limits::NEEDLES_MAX {
            needles.add("n", format!("needle {number}").as_bytes());
        }
        assert_eq!(needles.len(), limits::NEEDLES_MAX);
    }

    #[test]
    fn chance_explains_a_few_hits_of_short_needles_and_none_of_long_ones() {
        let hits = |length| Hits {
            label: String::new(),
            length,
            count: 0,
        };
        assert_eq!(hits(4).allowed(0), 0);
        assert_eq!(hits(4).allowed(1 << 20), 1);
        assert_eq!(hits(4).allowed(64 << 20), 2);
        assert_eq!(hits(4).allowed(1 << 30), 5);
        assert_eq!(hits(14).allowed(u64::MAX), 0);
    }
}
