//! The system calls of each kind of thread (seccomp).
//!
//! The lists are files beside this one: a call for each line, with the reason. `common.list` is part of every list. A
//! call that is in no list ends the process with a line that names it.

mod list;

use std::collections::BTreeMap;
use std::{fmt, io};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::part::PartState;
use crate::sys;
use list::{Entry, parse};

/// A kind of thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The main thread, and those that it starts later: readers of files, the watcher of folders.
    Supervisor,
    /// A worker.
    Worker,
    /// The resolver, and its threads for single names.
    Resolver,
    /// The writer of the log, and the writer of the last report of a panic.
    Journal,
    /// The thread that writes the state folder: updates of CA certificates from paired peers.
    Renewals,
}

impl Role {
    pub(crate) const ALL: [Self; 5] = [
        Self::Supervisor,
        Self::Worker,
        Self::Resolver,
        Self::Journal,
        Self::Renewals,
    ];

    /// The name in messages, and of the list.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Worker => "worker",
            Self::Resolver => "resolver",
            Self::Journal => "journal",
            Self::Renewals => "renewals",
        }
    }

    fn list(self) -> &'static str {
        match self {
            Self::Supervisor => include_str!("supervisor.list"),
            Self::Worker => include_str!("worker.list"),
            Self::Resolver => include_str!("resolver.list"),
            Self::Journal => include_str!("journal.list"),
            Self::Renewals => include_str!("renewals.list"),
        }
    }
}

const COMMON: &str = include_str!("common.list");

/// The filters of all kinds of threads, for this process.
pub(super) struct Filters([Vec<BpfProgram>; Role::ALL.len()]);

impl Filters {
    /// Compiles the lists, and makes the process report violations.
    ///
    /// # Errors
    /// The state of the part, with the reason.
    pub(super) fn compile() -> Result<Self, PartState> {
        let missing = |why: String| PartState::Missing(format!("seccomp: {why}"));
        sys::report_violations().map_err(|error| missing(error.to_string()))?;
        let own = std::process::id();
        let mut filters = Role::ALL.map(|_| Vec::new());
        for (role, filter) in Role::ALL.into_iter().zip(&mut filters) {
            *filter = programs(role, own).map_err(missing)?;
        }
        Ok(Self(filters))
    }

    /// Restricts the calling thread, and all that it starts, to the list of `role`.
    ///
    /// # Errors
    /// The kernel's error.
    pub(super) fn apply(&self, role: Role) -> io::Result<()> {
        let failed = |error: &dyn fmt::Display| {
            io::Error::other(format!("the seccomp filter failed: {error}"))
        };
        let at = Role::ALL.iter().position(|one| *one == role);
        // The list is the last one. Calls that only fail are no violations, and the kernel does not log them.
        let of_role = at.and_then(|at| self.0.get(at)).map(Vec::as_slice);
        if let Some([failing @ .., list]) = of_role {
            for program in failing {
                apply_filter(program).map_err(|error| failed(&error))?;
            }
            sys::apply_logged_filter(list).map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

// The filter with errors first: the list itself forbids to add another one.
fn programs(role: Role, own: u32) -> Result<Vec<BpfProgram>, String> {
    let mut allowed = BTreeMap::<i64, Vec<SeccompRule>>::new();
    let mut failing = BTreeMap::<u32, BTreeMap<i64, Vec<SeccompRule>>>::new();
    for entry in [COMMON, role.list()]
        .into_iter()
        .flat_map(|text| parse(text, own))
    {
        let Entry { call, rule, error } = entry?;
        if let Some(error) = error {
            failing.entry(error).or_default().insert(call, Vec::new());
        }
        let rules = allowed.entry(call).or_default();
        rules.extend(rule);
    }
    let mut programs = Vec::new();
    for (error, calls) in failing {
        programs.push(program(
            calls,
            SeccompAction::Allow,
            SeccompAction::Errno(error),
        )?);
    }
    programs.push(program(allowed, SeccompAction::Trap, SeccompAction::Allow)?);
    Ok(programs)
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    others: SeccompAction,
    these: SeccompAction,
) -> Result<BpfProgram, String> {
    let filter = SeccompFilter::new(rules, others, these, TargetArch::x86_64);
    let program = filter.and_then(BpfProgram::try_from);
    program.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_list_compiles_and_each_call_has_its_reason_once() {
        for role in Role::ALL {
            programs(role, 1).unwrap_or_else(|problem| panic!("{}: {problem}", role.name()));
            let mut lines = all_lines(role);
            lines.sort_unstable();
            for pair in lines.windows(2) {
                let [(first, condition), (second, other)] = pair else {
                    unreachable!("a pair");
                };
                // A second line makes sense beside a condition only: each of them allows other arguments.
                let are_different = condition.starts_with("arg") && condition != other;
                assert!(
                    first != second || are_different,
                    "{}: {first} has two lines",
                    role.name()
                );
            }
        }
    }

    // The lines of a thread, those for all threads included.
    fn all_lines(role: Role) -> Vec<(&'static str, &'static str)> {
        let texts = [COMMON, role.list()];
        texts.into_iter().flat_map(list::conditions).collect()
    }

    /// What each line of a call must hold, in every list that has the call: without it, the call leads out of the sandbox.
    const CONDITIONS: [(&str, &[&str]); 16] = [
        ("clone", &["arg0 = THREAD"]),
        ("clone3", &["-> ENOSYS"]),
        ("fcntl", &["arg1 = "]),
        ("ioctl", &["arg1 = "]),
        (
            "mmap",
            &["arg2 & PROT_EXEC = 0", "arg2 & PROT_WRITE_EXEC = PROT_EXEC"],
        ),
        ("mprotect", &["arg2 & PROT_EXEC = 0"]),
        ("openat", &["arg2 & O_CHANGE = 0", "-> EACCES"]),
        ("prctl", &["arg0 = PR_"]),
        ("prlimit64", &["arg2 = NULL"]),
        ("rt_sigaction", &["arg0 != SIGSYS"]),
        ("sendmmsg", &["arg3 & MSG_FASTOPEN = 0"]),
        ("sendmsg", &["arg2 & MSG_FASTOPEN = 0"]),
        ("sendto", &["arg3 & MSG_FASTOPEN = 0"]),
        (
            "socket",
            &[
                "arg0 = AF_UNIX",
                "arg0 = AF_NETLINK",
                "SOCK_TYPE = SOCK_DGRAM",
                "SOCK_TYPE = SOCK_STREAM and arg2 = 0",
                "SOCK_TYPE = SOCK_STREAM and arg2 = IPPROTO_TCP",
            ],
        ),
        ("socketpair", &["arg0 = AF_UNIX"]),
        ("tgkill", &["arg0 = SELF"]),
    ];

    /// Lists in which a call needs no condition, with the reason.
    const WITHOUT: [(Role, &str); 6] = [
        // It writes files of the state folder; Landlock limits it to this folder, and its devices.
        (Role::Renewals, "openat"),
        (Role::Renewals, "ioctl"),
        // They change descriptors of this process only.
        (Role::Renewals, "fcntl"),
        (Role::Journal, "fcntl"),
        (Role::Resolver, "fcntl"),
        (Role::Supervisor, "fcntl"),
    ];

    #[test]
    fn a_call_that_needs_a_condition_has_it_in_every_list() {
        for role in Role::ALL {
            for (call, condition) in all_lines(role) {
                let needed = CONDITIONS.iter().find(|(name, _)| *name == call);
                let Some((_, any)) = needed.filter(|_| !WITHOUT.contains(&(role, call))) else {
                    continue;
                };
                assert!(
                    any.iter().any(|one| condition.contains(one)),
                    "{}: {call} {condition}: needs one of {any:?}",
                    role.name()
                );
            }
        }
    }

    #[test]
    fn a_signal_may_arrive_in_any_thread() {
        for role in Role::ALL {
            let lines = all_lines(role);
            let name = role.name();
            assert!(lines.iter().any(|(call, _)| *call == "sendto"), "{name}");
        }
    }

    /// Calls that let a process start a program, read another process, load code into the kernel, change its user or its
    /// view of the file system, or make a new ring.
    const NEVER: [&str; 34] = [
        "execve",
        "execveat",
        "fork",
        "vfork",
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "bpf",
        "perf_event_open",
        "io_uring_setup",
        "io_uring_register",
        "userfaultfd",
        "keyctl",
        "add_key",
        "mount",
        "umount2",
        "pivot_root",
        "chroot",
        "setns",
        "unshare",
        "init_module",
        "finit_module",
        "kexec_load",
        "setuid",
        "setgid",
        "setresuid",
        "capset",
        "seccomp",
        "pidfd_getfd",
        "open_by_handle_at",
        "personality",
        "creat",
        "chmod",
        "open",
    ];

    #[test]
    fn no_list_has_a_call_that_leads_out_of_the_sandbox() {
        for text in [COMMON].into_iter().chain(Role::ALL.map(Role::list)) {
            let names = list::names(text);
            let found: Vec<_> = NEVER.iter().filter(|call| names.contains(**call)).collect();
            assert!(found.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn a_worker_opens_no_file_and_starts_no_thread() {
        let names: BTreeSet<_> = [COMMON, Role::Worker.list()]
            .iter()
            .flat_map(|text| list::names(text))
            .collect();
        for call in [
            "openat",
            "openat2",
            "clone",
            "clone3",
            "unlink",
            "inotify_init1",
            "memfd_create",
        ] {
            assert!(!names.contains(call), "{call}");
        }
    }
}
