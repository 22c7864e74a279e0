//! What a value should be.

use crate::cpus::{CpuList, bare_mask};

/// The wanted value of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Want {
    /// The last number of the row is at least this. The numbers before it stay.
    AtLeast(u64),
    /// At least this number, or 0, which is no limit.
    AtLeastOrNone(u64),
    /// At most this number.
    AtMost(u64),
    /// One of these words; the first is written.
    OneOf(Vec<&'static str>),
    /// Exactly this value.
    Exactly(String),
    /// Exactly these CPUs, as a list.
    Cpus(CpuList),
    /// Exactly these CPUs, as a mask.
    Mask(CpuList),
    /// A route has these metrics, each at least with this number.
    Metrics(Vec<(&'static str, u64)>),
}

impl Want {
    /// Whether the value is as wanted; nothing if the value cannot be understood.
    pub(crate) fn is_met(&self, now: &str) -> Option<bool> {
        match self {
            Self::AtLeast(least) => last_number(now).map(|number| number >= *least),
            Self::AtLeastOrNone(least) => {
                last_number(now).map(|number| number >= *least || number == 0)
            }
            Self::AtMost(most) => last_number(now).map(|number| number <= *most),
            Self::OneOf(words) => Some(words.contains(&now)),
            Self::Exactly(value) => Some(now.split_whitespace().eq(value.split_whitespace())),
            Self::Cpus(cpus) => now.parse::<CpuList>().ok().map(|list| list == *cpus),
            Self::Mask(cpus) => Some(bare_mask(now) == bare_mask(&cpus.mask())),
            Self::Metrics(metrics) => {
                let met =
                    |(key, least): &(&str, u64)| metric(now, key).is_some_and(|n| n >= *least);
                Some(metrics.iter().all(met))
            }
        }
    }

    /// The value to write in place of this one.
    pub(crate) fn value(&self, now: &str) -> String {
        match self {
            Self::AtLeast(number) | Self::AtLeastOrNone(number) | Self::AtMost(number) => {
                let start = now
                    .trim_end()
                    .rfind(char::is_whitespace)
                    .map_or(0, |at| at + 1);
                format!("{}{number}", now.get(..start).unwrap_or_default())
            }
            Self::OneOf(words) => words.first().copied().unwrap_or_default().to_owned(),
            Self::Exactly(value) => value.clone(),
            Self::Cpus(cpus) => cpus.to_string(),
            Self::Mask(cpus) => cpus.mask(),
            Self::Metrics(metrics) => {
                let mut words: Vec<String> = Vec::new();
                for key in crate::place::ROUTE_METRICS {
                    let least = metrics.iter().find(|(name, _)| *name == key);
                    let number = metric(now, key).max(least.map(|(_, number)| *number));
                    words.extend(number.map(|number| format!("{key} {number}")));
                }
                words.join(" ")
            }
        }
    }

    /// The wanted value in words.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::AtLeast(number) => format!("at least {number}"),
            Self::AtLeastOrNone(number) => format!("at least {number}, or 0"),
            Self::AtMost(number) => format!("at most {number}"),
            Self::OneOf(words) => words.join(" or "),
            Self::Exactly(value) => value.clone(),
            Self::Cpus(cpus) => format!("CPU {cpus}"),
            Self::Mask(cpus) => cpus.mask(),
            Self::Metrics(metrics) => {
                let words = metrics
                    .iter()
                    .map(|(key, number)| format!("{key} {number}"));
                words.collect::<Vec<_>>().join(" ")
            }
        }
    }
}

fn last_number(text: &str) -> Option<u64> {
    text.split_whitespace().next_back()?.parse().ok()
}

/// The number after a key of a route.
fn metric(text: &str, key: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    words.find(|word| *word == key)?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_of_a_row_is_compared_and_replaced() {
        let want = Want::AtLeast(1000);
        assert_eq!(want.is_met("4096\t16384\t999"), Some(false));
        assert_eq!(want.is_met("1\t2\t1000"), Some(true));
        assert_eq!(want.is_met("much"), None);
        assert_eq!(want.value("4096\t16384\t999"), "4096\t16384\t1000");
        assert_eq!(want.value("5"), "1000");
    }

    #[test]
    fn zero_is_no_limit_where_the_kernel_says_so() {
        assert_eq!(Want::AtLeastOrNone(5).is_met("0"), Some(true));
        assert_eq!(Want::AtLeast(5).is_met("0"), Some(false));
        assert_eq!(Want::AtMost(5).is_met("6"), Some(false));
    }

    #[test]
    fn metrics_of_a_route_are_raised_and_never_lowered() {
        let want = Want::Metrics(vec![("initcwnd", 32), ("initrwnd", 32)]);
        assert_eq!(want.is_met("initcwnd 40"), Some(false));
        let raised = want.value("quickack 1 initcwnd 40");
        assert_eq!(raised, "initcwnd 40 initrwnd 32 quickack 1");
        assert_eq!(want.is_met(&raised), Some(true));
    }

    #[test]
    fn cpus_are_compared_whatever_their_spelling() {
        let cpus: CpuList = "0-2".parse().expect("a list");
        assert_eq!(Want::Cpus(cpus.clone()).is_met("0,1,2"), Some(true));
        assert_eq!(Want::Mask(cpus).is_met("00000000,00000007"), Some(true));
    }
}
