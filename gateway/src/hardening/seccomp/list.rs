//! The text of a list of system calls.
//!
//! ```text
//! # A comment.
//! futex                                  # the reason
//! mmap    arg2 & PROT_EXEC = 0           # a condition; several are joined by "and"
//! rt_sigaction  arg0 != SIGSYS           # any other value
//! prlimit64     arg2 = NULL              # a pointer, of 64 bits; numbers have 32
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

/// The calls of a list with their conditions.
#[cfg(test)]
pub(super) fn conditions(text: &str) -> Vec<(&str, &str)> {
    lines(text)
        .map(|(call, condition, _)| (call, condition))
        .collect()
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

// `arg2 = 1`, `arg2 & PROT_EXEC = 0`, `arg0 != SIGSYS`, `arg2 = NULL`.
fn condition(text: &str, own: u32) -> Option<SeccompCondition> {
    let (argument, wanted, compared) = match text.split_once(" != ") {
        Some((argument, wanted)) => (argument, wanted, SeccompCmpOp::Ne),
        None => {
            let (left, wanted) = text.split_once(" = ")?;
            match left.split_once(" & ") {
                Some((argument, mask)) => {
                    (argument, wanted, SeccompCmpOp::MaskedEq(value(mask, own)?))
                }
                None => (left, wanted, SeccompCmpOp::Eq),
            }
        }
    };
    let argument = argument.trim().strip_prefix("arg")?.parse().ok()?;
    // The kernel ignores the upper half of a number, and not that of a pointer.
    let length = match wanted.trim() {
        "NULL" => SeccompCmpArgLen::Qword,
        _ => SeccompCmpArgLen::Dword,
    };
    SeccompCondition::new(argument, length, compared, value(wanted, own)?).ok()
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
const VALUES: [(&str, u64); 47] = [
    ("NULL", 0),
    ("SIGSYS", 31),
    ("AF_UNIX", 1),
    ("AF_INET", 2),
    ("AF_INET6", 10),
    ("AF_NETLINK", 16),
    ("NETLINK_ROUTE", 0),
    // Without SOCK_NONBLOCK and SOCK_CLOEXEC.
    ("SOCK_TYPE", 0xf),
    ("SOCK_STREAM", 1),
    ("SOCK_DGRAM", 2),
    ("IPPROTO_IP", 0),
    ("IPPROTO_TCP", 6),
    ("IPPROTO_IPV6", 41),
    ("SOL_SOCKET", 1),
    ("SO_KEEPALIVE", 9),
    ("SO_OOBINLINE", 10),
    ("SO_LINGER", 13),
    ("TCP_NODELAY", 1),
    ("TCP_KEEPIDLE", 4),
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 6),
    ("TCP_QUICKACK", 12),
    ("TCP_USER_TIMEOUT", 18),
    ("IP_TOS", 1),
    ("IP_TRANSPARENT", 19),
    ("IPV6_TCLASS", 67),
    ("IPV6_TRANSPARENT", 75),
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
    ("TCGETS", 0x5401),
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
        assert!(problem("rt_sigaction arg0 != SIGSYS # why").is_none());
        assert!(problem("prlimit64 arg2 = NULL # why").is_none());
        for wrong in [
            "read",
            "reed # why",
            "mmap arg2 & PROT_EXEK = 0 # why",
            "mmap arg2 > 0 # why",
            "clone3 -> EIO # why",
            "mmap arg2 & PROT_EXEC != 0 # why",
        ] {
            assert!(problem(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn a_pointer_is_compared_whole_and_a_number_by_its_lower_half() {
        let of = |text, length| {
            let expected = SeccompCondition::new(2, length, SeccompCmpOp::Eq, 0);
            assert_eq!(condition(text, 7), expected.ok(), "{text}");
        };
        of("arg2 = NULL", SeccompCmpArgLen::Qword);
        of("arg2 = 0", SeccompCmpArgLen::Dword);
    }
}
