//! Names of targets that cannot be resolved: reported once an hour, even if a cached address is still in use.
//!
//! Pure: no socket, no clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::upstream::limits::{ADDRESS_REPORT_EVERY, NAMES_MAX};

/// The names whose last lookup failed.
#[derive(Debug, Default)]
pub(super) struct UnresolvedNames {
    known: HashMap<String, Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    why: String,
    reported: Option<Instant>,
    // When it was resolved again, if that is still to be reported.
    resolved: Option<Instant>,
}

/// A report about a name that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The name cannot be resolved, and why.
    Unresolved(String),
    /// The name was reported, and can be resolved again after this time.
    Resolved(Duration),
}

impl UnresolvedNames {
    /// Records a failed lookup.
    pub(super) fn on_failure(&mut self, name: &str, why: String, now: Instant) {
        if let Some(failing) = self.known.get_mut(name) {
            (failing.why, failing.resolved) = (why, None);
        } else if self.known.len() < NAMES_MAX {
            // LIMIT: NAMES_MAX. Names beyond the limit appear only in the connections' own log lines.
            let failing = Failing {
                since: now,
                why,
                reported: None,
                resolved: None,
            };
            self.known.insert(name.to_owned(), failing);
        }
    }

    /// Records a successful lookup.
    pub(super) fn on_success(&mut self, name: &str, now: Instant) {
        let is_reported = |failing: &Failing| failing.reported.is_some();
        if self.known.get(name).is_some_and(is_reported) {
            if let Some(failing) = self.known.get_mut(name) {
                failing.resolved.get_or_insert(now);
            }
        } else {
            self.known.remove(name);
        }
    }

    /// The report that is due for a name; records it as reported.
    pub(super) fn due(&mut self, name: &str, now: Instant) -> Option<Due> {
        let failing = self.known.get_mut(name)?;
        if let Some(resolved) = failing.resolved {
            let after = resolved.saturating_duration_since(failing.since);
            self.known.remove(name);
            return Some(Due::Resolved(after));
        }
        let since = |reported| now.saturating_duration_since(reported);
        let is_due = failing
            .reported
            .is_none_or(|reported| since(reported) >= ADDRESS_REPORT_EVERY);
        is_due.then(|| {
            failing.reported = Some(now);
            Due::Unresolved(failing.why.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fails_is_reported_once_an_hour_and_its_recovery_once() {
        let (start, mut dns) = (Instant::now(), UnresolvedNames::default());
        let minute = Duration::from_secs(60);
        let mut reports = 0;
        for turn in 0..125 {
            let now = start + turn * minute;
            dns.on_failure("pacs", "no such name".to_owned(), now);
            match dns.due("pacs", now) {
                Some(Due::Unresolved(why)) => {
                    assert_eq!(why, "no such name");
                    reports += 1;
                }
                other => assert_eq!(other, None),
            }
        }
        assert_eq!(reports, 3);
        let end = start + 200 * minute;
        dns.on_success("pacs", end);
        assert_eq!(dns.due("pacs", end), Some(Due::Resolved(200 * minute)));
        assert_eq!(dns.due("pacs", end), None);
    }

    #[test]
    fn a_recovery_without_a_reported_failure_is_not_reported() {
        let (now, mut dns) = (Instant::now(), UnresolvedNames::default());
        assert_eq!(dns.due("pacs", now), None);
        dns.on_failure("pacs", String::new(), now);
        dns.on_success("pacs", now);
        assert_eq!(dns.due("pacs", now), None);
    }

    #[test]
    fn remembered_names_are_bounded() {
        let (now, mut dns) = (Instant::now(), UnresolvedNames::default());
        for number in 0..2 * NAMES_MAX {
            dns.on_failure(&number.to_string(), String::new(), now);
        }
        assert_eq!(dns.known.len(), NAMES_MAX);
    }
}
