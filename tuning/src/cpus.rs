//! Lists of CPUs, as the kernel and operators write them: `0-3,8`; and the kernel's masks: `00000000,0000000f`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::limits::CPU_MAX;

/// A set of CPU numbers; not empty when it was read from a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuList(BTreeSet<usize>);

/// Why a text is not a list of CPUs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a list of CPUs; write for example \"0-3\" or \"2,4,6\"")]
pub struct CpuListError(String);

impl CpuList {
    /// The CPUs, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }

    /// How many CPUs are in the list.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The CPUs that are in both lists.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// The `index`-th CPU, counted in a circle.
    #[must_use]
    pub fn nth(&self, index: usize) -> Option<usize> {
        let index = index.checked_rem(self.0.len())?;
        self.0.iter().nth(index).copied()
    }

    /// The kernel's mask: groups of 32 bits in hexadecimal, the highest CPUs first.
    #[must_use]
    pub fn mask(&self) -> String {
        let highest = self.0.last().copied().unwrap_or(0);
        let mut groups = vec![0u32; highest / 32 + 1];
        for cpu in &self.0 {
            if let Some(group) = groups.get_mut(cpu / 32) {
                *group |= 1 << (cpu % 32);
            }
        }
        let groups = groups.iter().rev().enumerate();
        let texts = groups.map(|(position, group)| match position {
            0 => format!("{group:x}"),
            _ => format!("{group:08x}"),
        });
        texts.collect::<Vec<_>>().join(",")
    }
}

impl FromIterator<usize> for CpuList {
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

impl FromStr for CpuList {
    type Err = CpuListError;

    fn from_str(text: &str) -> Result<Self, CpuListError> {
        let wrong = || CpuListError(text.to_owned());
        let mut cpus = BTreeSet::new();
        for part in text.trim().split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.parse::<usize>().ok().filter(|n| *n <= CPU_MAX);
            let (Some(first), Some(last)) = (number(first), number(last)) else {
                return Err(wrong());
            };
            if first > last {
                return Err(wrong());
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut between = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|next| *next == last + 1) {
                last = next;
            }
            match last - first {
                0 => write!(f, "{between}{first}")?,
                _ => write!(f, "{between}{first}-{last}")?,
            }
            between = ",";
        }
        Ok(())
    }
}

/// A mask without what does not matter: separators and leading zeros.
pub(crate) fn bare_mask(text: &str) -> String {
    let digits = text.trim().replace(',', "").to_ascii_lowercase();
    digits.trim_start_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_as_the_kernel_does() {
        for (text, shown, count) in [
            ("0", "0", 1),
            ("0-3,8\n", "0-3,8", 5),
            ("5,4,3", "3-5", 3),
            ("1,3", "1,3", 2),
        ] {
            let list: CpuList = text.parse().expect(text);
            assert_eq!((list.to_string().as_str(), list.len()), (shown, count));
        }
        for text in ["", "x", "3-1", "0-99999999", "1,,2", "-1"] {
            assert!(text.parse::<CpuList>().is_err(), "{text}");
        }
    }

    #[test]
    fn masks_have_groups_of_32_bits_and_leading_zeros_do_not_matter() {
        let list: CpuList = "0,1,33".parse().expect("a list");
        assert_eq!(list.mask(), "2,00000003");
        assert_eq!(bare_mask("00000002,00000003\n"), bare_mask("2,00000003"));
        assert_eq!(bare_mask("00000000,00000000"), "");
    }

    #[test]
    fn cpus_are_counted_in_a_circle() {
        let list: CpuList = "2,4".parse().expect("a list");
        assert_eq!([0, 1, 2].map(|i| list.nth(i)), [Some(2), Some(4), Some(2)]);
        assert_eq!(CpuList::default().nth(0), None);
    }
}
