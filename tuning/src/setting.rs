//! A setting: one line of the table, with one place or several that hold its value.

use std::collections::BTreeMap;

use crate::finding::{Finding, Verdict};
use crate::host::{Host, NoValue};
use crate::later::Later;
use crate::place::Place;
use crate::want::Want;

/// A setting that reads, explains, compares and applies itself. The record undoes it.
#[derive(Debug, Clone)]
pub struct Setting {
    pub(crate) name: String,
    pub(crate) why: String,
    pub(crate) affects: &'static str,
    pub(crate) importance: Importance,
    pub(crate) source: Source,
}

/// How much a setting matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Importance {
    /// The gateway does not start, or is clearly slower.
    Matters,
    /// A small effect, or one under special conditions.
    Minor,
}

/// Where the value is.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// In places that are read and written.
    Places(Vec<(Place, Want)>),
    /// In the unit of the service: the key, the value with and without our own drop-in, and the wanted value.
    Unit {
        key: &'static str,
        now: Result<Option<u64>, NoValue>,
        before: Option<u64>,
        least: u64,
    },
    /// Reported, and never changed.
    Report { now: String, wanted: Option<String> },
    /// Not on this host, for this reason.
    Absent(String),
}

/// A value that `apply` would write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) setting: String,
    pub(crate) place: Place,
    pub(crate) before: String,
    pub(crate) after: String,
}

impl Setting {
    /// Compares the setting. `later` holds the sysctls that other files set after ours.
    pub(crate) fn check(&self, host: &Host, later: &BTreeMap<String, Later>) -> Finding {
        let mut finding = Finding {
            setting: self.name.clone(),
            verdict: Verdict::NotApplicable,
            now: None,
            wanted: None,
            why: self.why.clone(),
            affects: self.affects.to_owned(),
            reason: None,
            overridden: None,
        };
        match &self.source {
            Source::Absent(reason) => finding.reason = Some(reason.clone()),
            Source::Report { now, wanted } => {
                finding.verdict = Verdict::Report;
                finding.now = Some(now.clone());
                finding.wanted = wanted.clone();
            }
            Source::Unit {
                now: Err(reason), ..
            } => finding.reason = Some(reason.0.clone()),
            Source::Unit {
                now: Ok(now),
                least,
                ..
            } => {
                finding.now = Some(number_or_infinity(*now));
                finding.wanted = Some(format!("at least {least}"));
                finding.verdict = self.verdict(now.is_none_or(|now| now >= *least));
            }
            Source::Places(places) => self.compare(places, host, &mut finding),
        }
        finding.overridden = self.overridden(later);
        finding
    }

    /// A sentence about a file that sets the sysctl to a value that is not wanted.
    pub(crate) fn overridden(&self, later: &BTreeMap<String, Later>) -> Option<String> {
        let Source::Places(places) = &self.source else {
            return None;
        };
        let mut lost = places.iter().filter_map(|(place, want)| match place {
            Place::Sysctl { name } => later
                .get(name)
                .filter(|later| want.is_met(&later.value) != Some(true)),
            _ => None,
        });
        lost.next().map(Later::sentence)
    }

    fn compare(&self, places: &[(Place, Want)], host: &Host, finding: &mut Finding) {
        let read = places
            .iter()
            .map(|(place, want)| (place, want, place.read(host)));
        let (mut values, mut reasons, mut read_only) = (Vec::new(), Vec::new(), true);
        for (place, want, value) in read {
            match value {
                Ok(value) => {
                    read_only &= place.is_read_only(host);
                    values.push((value, want));
                }
                Err(reason) => reasons.push(reason.0),
            }
        }
        if values.is_empty() {
            finding.reason = reasons.into_iter().next();
            return;
        }
        finding.now = Some(summary(values.iter().map(|(value, _)| value.clone())));
        finding.wanted = Some(summary(values.iter().map(|(_, want)| want.in_words())));
        let met: Option<Vec<bool>> = values
            .iter()
            .map(|(value, want)| want.is_met(value))
            .collect();
        match met {
            None => finding.reason = Some("the present value is not understood".to_owned()),
            Some(met) if met.iter().all(|met| *met) => finding.verdict = Verdict::Good,
            Some(_) if read_only => {
                finding.reason = Some(
                    "the kernel shows the value here and does not let it be changed".to_owned(),
                );
            }
            Some(_) => finding.verdict = self.verdict(false),
        }
    }

    fn verdict(&self, is_met: bool) -> Verdict {
        match (is_met, self.importance) {
            (true, _) => Verdict::Good,
            (false, Importance::Matters) => Verdict::Differs,
            (false, Importance::Minor) => Verdict::Minor,
        }
    }

    /// The values that would have to be written, none if the setting is as wanted or not applicable.
    pub(crate) fn changes(&self, host: &Host) -> Vec<Change> {
        let Source::Places(places) = &self.source else {
            return Vec::new();
        };
        let changes = places.iter().filter_map(|(place, want)| {
            let before = place.read(host).ok()?;
            let differs = want.is_met(&before) == Some(false) && !place.is_read_only(host);
            differs.then(|| Change {
                setting: self.name.clone(),
                after: want.value(&before),
                place: place.clone(),
                before,
            })
        });
        changes.collect()
    }
}

fn number_or_infinity(number: Option<u64>) -> String {
    number.map_or_else(|| "infinity".to_owned(), |number| number.to_string())
}

/// Several values in a few words: `powersave (8)`, or `powersave (7), performance (1)`; white space is one space.
fn summary(values: impl Iterator<Item = String>) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    let mut total = 0;
    for value in values {
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        let value = if value.is_empty() {
            "not set".to_owned()
        } else {
            value
        };
        total += 1;
        match counts.iter_mut().find(|(known, _)| *known == value) {
            Some((_, count)) => *count += 1,
            None => counts.push((value, 1)),
        }
    }
    match counts.as_slice() {
        [(value, _)] if total == 1 => value.clone(),
        [(value, count)] => format!("{value} ({count})"),
        many => {
            const SHOWN: usize = 3;
            let shown = many.iter().take(SHOWN);
            let mut shown: Vec<_> = shown
                .map(|(value, count)| format!("{value} ({count})"))
                .collect();
            if many.len() > SHOWN {
                shown.push(format!("{} more", many.len() - SHOWN));
            }
            shown.join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_values_are_counted_and_many_are_cut() {
        let of = |values: &[&str]| summary(values.iter().map(|value| (*value).to_owned()));
        assert_eq!(of(&["4096\t16384\t5"]), "4096 16384 5");
        assert_eq!(of(&["a", "a"]), "a (2)");
        assert_eq!(of(&["a", "b", "a"]), "a (2), b (1)");
        assert_eq!(
            of(&["a", "b", "c", "d", "e"]),
            "a (1), b (1), c (1), 2 more"
        );
        assert_eq!(of(&[""]), "not set");
    }
}
