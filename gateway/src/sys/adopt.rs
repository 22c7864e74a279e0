//! File descriptors that another process passed at the start of this one.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Takes over the descriptors that the service manager passed (sd_listen_fds(3)). Only the first call of the
/// process gets them.
pub(crate) fn adopt(descriptors: impl Iterator<Item = RawFd>) -> Vec<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let own = |descriptor| {
        // SAFETY: the service manager opened these descriptors for this process (LISTEN_PID is its number),
        // nothing else in the process refers to them, and `TAKEN` lets them be taken only once.
        unsafe { OwnedFd::from_raw_fd(descriptor) }
    };
    descriptors.map(own).collect()
}
