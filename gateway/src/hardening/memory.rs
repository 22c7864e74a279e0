//! What keeps keys and payload in the memory of this process: no core file, no reader, no swap; and no new code.
//!
//! Buffers with a key in PEM or DER are wiped where they are used (`pki`). The keys themselves are in memory of ring and
//! aws-lc, among other data, so single pages cannot be locked: all memory is kept from swap instead.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use super::part::PartState;
use crate::sys;

/// Keeps other processes of the same user from reading the memory, and the kernel from writing core files.
pub(super) fn not_dumpable() -> PartState {
    state(set_dumpable_behavior(DumpableBehavior::NotDumpable))
}

/// Sets the limit of core files to 0.
pub(super) fn no_core() -> PartState {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    state(setrlimit(Resource::Core, none))
}

/// Refuses memory that was writable to become code.
pub(super) fn no_new_code() -> PartState {
    match sys::refuse_executable_memory() {
        Ok(()) => PartState::On(String::new()),
        // systemd's MemoryDenyWriteExecute=yes sets it as well, and may make the call fail.
        Err(_) if sys::refuses_executable_memory() => PartState::On(String::new()),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            PartState::NotInKernel("this kernel is older than Linux 6.3".to_owned())
        }
        Err(error) => PartState::Missing(error.to_string()),
    }
}

/// Keeps keys from swap: there is none, or the service manager forbids it, or all memory is locked.
pub(super) fn keep_from_swap() -> PartState {
    // Rings count as locked memory of all processes of a user without CAP_IPC_LOCK, which root is about to give up.
    let may_lock_all = raise_limit().is_ok() || getrlimit(Resource::Memlock).current.is_none();
    let swaps = fs::read_to_string("/proc/swaps");
    if swaps.is_ok_and(|text| has_no_swap(&text)) {
        return PartState::On("this machine has no swap".to_owned());
    }
    if own_group().is_some_and(|group| may_not_swap(Path::new(GROUPS), &group)) {
        return PartState::On("MemorySwapMax=0".to_owned());
    }
    // A later allocation beyond a limit would fail, and end the process.
    if !may_lock_all {
        return PartState::Missing(NO_LOCK.to_owned());
    }
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    match mlockall(all) {
        Ok(()) => PartState::On("all memory is locked".to_owned()),
        Err(error) => PartState::Missing(format!("memory cannot be locked: {error}; {NO_LOCK}")),
    }
}

const NO_LOCK: &str = "this machine has swap, and keys may be written to it; write MemorySwapMax=0 or \
                       LimitMEMLOCK=infinity in the unit, or turn swap off";

fn raise_limit() -> Result<(), Errno> {
    let none = Rlimit {
        current: None,
        maximum: None,
    };
    setrlimit(Resource::Memlock, none)
}

// The first line of /proc/swaps is a title.
fn has_no_swap(text: &str) -> bool {
    text.lines().skip(1).all(|line| line.trim().is_empty())
}

const GROUPS: &str = "/sys/fs/cgroup";

// The control group of this process, version 2: `0::/system.slice/wardgate.service`.
fn own_group() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(PathBuf::from(path))
}

// Whether the group or one above it may use no swap.
fn may_not_swap(root: &Path, group: &Path) -> bool {
    group.ancestors().any(|group| {
        let limit = fs::read_to_string(root.join(group).join("memory.swap.max"));
        limit.is_ok_and(|text| text.trim() == "0")
    })
}

fn state(outcome: Result<(), Errno>) -> PartState {
    match outcome {
        Ok(()) => PartState::On(String::new()),
        Err(error) => PartState::Missing(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_found_and_so_is_a_group_that_may_not_use_it() {
        let title = "Filename\tType\tSize\tUsed\tPriority\n";
        assert!(has_no_swap(title));
        assert!(!has_no_swap(&format!(
            "{title}/swapfile file 8388604 0 -2\n"
        )));
        let root = tempfile::tempdir().expect("there is room");
        let slice = root.path().join("system.slice");
        let service = slice.join("wardgate.service");
        fs::create_dir_all(&service).expect("our folder");
        let group = Path::new("system.slice/wardgate.service");
        fs::write(service.join("memory.swap.max"), "max\n").expect("our folder");
        assert!(!may_not_swap(root.path(), group));
        fs::write(slice.join("memory.swap.max"), "0\n").expect("our folder");
        assert!(may_not_swap(root.path(), group));
    }
}
