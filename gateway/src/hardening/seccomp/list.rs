//! The text of a list of system calls.
//!
//! ```text
//! # A comment.
//! futex                                  # the reason
//! mmap    arg2 & PROT_EXEC = 0           # a condition; several are joined by "and"
//! clone3  -> ENOSYS                      # the call fails with this error
//! ```
//!
//! A call with several lines is allowed if one of them fits.

#[cfg(test)]
use std::collections::BTreeSet;

use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use crate::sys;

/// A line of a list.
pub(super) struct Entry {
    pub(super) call: i64,
    /// `None` if every use of the call is allowed.
    pub(super) rule: Option<SeccompRule>,
    /// The call fails with this error.
    pub(super) error: Option<u32>,
}

/// The lines of a list. `own` is the number of the process, `SELF` in the text.
pub(super) fn parse(text: &str, own: u32) -> impl Iterator<Item = Result<Entry, String>> {
    lines(text).map(move |(call, condition, reason)| {
        let why = |what: &str| format!("{call} {condition}: {what}");
        if reason.is_empty() {
            return Err(why("has no reason"));
        }
        let number = sys::call_number(call).ok_or_else(|| why("is no system call"))?;
        let error = match condition.strip_prefix("-> ") {
            Some("EACCES") => Some(EACCES),
            Some("ENOSYS") => Some(ENOSYS),
            Some(_) => return Err(why("has an error that is not known")),
            None => None,
        };
        let rule = match condition.is_empty() || error.is_some() {
            true => None,
            false => Some(
                rule(condition, own).ok_or_else(|| why("has a condition that is not readable"))?,
            ),
        };
        Ok(Entry {
            call: number,
            rule,
            error,
        })
    })
}

/// The calls of a list.
#[cfg(test)]
pub(super) fn names(text: &str) -> BTreeSet<&str> {
    lines(text)
        .filter(|(_, condition, _)| !condition.starts_with("->"))
        .map(|(call, _, _)| call)
        .collect()
}

// Call, condition and reason.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    text.lines().filter_map(|line| {
        let (line, reason) = line.split_once('#').unwrap_or((line, ""));
        let line = line.trim();
        let (call, condition) = line.split_once(' ').unwrap_or((line, ""));
        (!call.is_empty()).then(|| (call, condition.trim(), reason.trim()))
    })
}

fn rule(text: &str, own: u32) -> Option<SeccompRule> {
    let conditions: Option<Vec<_>> = text.split(" and ").map(|one| condition(one, own)).collect();
    SeccompRule::new(conditions?).ok()
}

// `arg2 = 1`, `arg2 & PROT_EXEC = 0`.
fn condition(text: &str, own: u32) -> Option<SeccompCondition> {
    let (argument, wanted) = text.split_once(" = ")?;
    let (argument, mask) = match argument.split_once(" & ") {
        Some((argument, mask)) => (argument, Some(value(mask, own)?)),
        None => (argument, None),
    };
    let argument = argument.trim().strip_prefix("arg")?.parse().ok()?;
    let compared = mask.map_or(SeccompCmpOp::Eq, SeccompCmpOp::MaskedEq);
    // All of them are numbers of 32 bits; the kernel ignores the upper half.
    SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        compared,
        value(wanted, own)?,
    )
    .ok()
}

fn value(text: &str, own: u32) -> Option<u64> {
    let text = text.trim();
    if text == "SELF" {
        return Some(own.into());
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    let known = VALUES.iter().find(|(name, _)| *name == text);
    known.map(|(_, value)| *value).or_else(|| text.parse().ok())
}

const EACCES: u32 = 13;
const ENOSYS: u32 = 38;

/// Names that the lists use for arguments (the headers of Linux on x86-64).
const VALUES: [(&str, u64); 28] = [
    ("AF_UNIX", 1),
    ("AF_INET", 2),
    ("AF_INET6", 10),
    ("AF_NETLINK", 16),
    // Without SOCK_NONBLOCK and SOCK_CLOEXEC.
    ("SOCK_TYPE", 0xf),
    ("SOCK_STREAM", 1),
    ("SOCK_DGRAM", 2),
    ("IPPROTO_TCP", 6),
    ("MSG_FASTOPEN", 0x2000_0000),
    ("PROT_EXEC", 4),
    ("PROT_WRITE_EXEC", 6),
    // O_ACCMODE, O_CREAT, O_TRUNC and the bit of O_TMPFILE.
    ("O_CHANGE", 0x0040_0243),
    ("F_DUPFD_CLOEXEC", 1030),
    ("F_GETFD", 1),
    ("F_SETFD", 2),
    ("F_GETFL", 3),
    ("F_SETFL", 4),
    ("F_SETPIPE_SZ", 1031),
    ("F_GETPIPE_SZ", 1032),
    ("F_ADD_SEALS", 1033),
    ("FIONBIO", 0x5421),
    ("FIONREAD", 0x541b),
    ("SIOCGIFINDEX", 0x8933),
    ("SIOCGIFNAME", 0x8910),
    ("PR_SET_NAME", 15),
    ("PR_GET_NAME", 16),
    ("PR_SET_VMA", 0x5356_4d41),
    // The flags with which the C library starts a thread: no new namespace, no new process.
    ("THREAD", 0x003d_0f00),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_wrong_are_refused() {
        let problem = |text: &str| parse(text, 7).next().expect("a line").err();
        assert!(problem("read # why").is_none());
        assert!(problem("mmap arg2 & PROT_EXEC = 0 and arg0 = 0x10 # why").is_none());
        assert!(problem("clone3 -> ENOSYS # why").is_none());
        for wrong in [
            "read",
            "reed # why",
            "mmap arg2 & PROT_EXEK = 0 # why",
            "mmap arg2 > 0 # why",
            "clone3 -> EIO # why",
        ] {
            assert!(problem(wrong).is_some(), "{wrong}");
        }
    }
}
