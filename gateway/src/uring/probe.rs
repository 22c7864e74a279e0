//! Tests what this kernel's io_uring offers, or why it is not available.

use std::fmt;
use std::io;

use io_uring::register::Restriction;
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};
use rustix::io::Errno;

use crate::sys::RING_OPERATIONS;
use crate::uring::limits::{RETRY_PAUSE, RING_COMPLETIONS, RING_ENTRIES, RING_SETUP_ATTEMPTS};

/// The optional features of the kernel that wardgate uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Completions are processed when the single submitting thread waits for them (DEFER_TASKRUN with
    /// SINGLE_ISSUER). A busy core is not interrupted, and locking in the kernel is cheaper.
    pub deferred: bool,
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.deferred { "yes" } else { "no" };
        write!(f, "deferred task running: {word}")
    }
}

/// Why io_uring is not available, as a message with advice.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// ENOSYS.
    #[error(
        "this kernel ({kernel}) has no io_uring: it was built without it, or a container's seccomp \
         profile hides it; run on a kernel of 6.1 or later, and allow io_uring_setup, \
         io_uring_enter and io_uring_register in the profile"
    )]
    NoSystemCall {
        /// The kernel's release.
        kernel: String,
    },
    /// EPERM with the sysctl set.
    #[error(
        "io_uring is disabled on this system: kernel.io_uring_disabled is {value}; set it to 0, \
         or to 1 with this service's group in kernel.io_uring_group"
    )]
    SwitchedOff {
        /// The sysctl's value.
        value: String,
    },
    /// EPERM or EACCES without the sysctl.
    #[error(
        "io_uring is forbidden to this process, most likely by a seccomp profile or a security \
         module; allow io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Forbidden,
    /// ENOMEM.
    #[error(
        "not enough lockable memory for io_uring: the memlock limit is {limit}; raise it \
         (LimitMEMLOCK=infinity in the unit, or `ulimit -l`) or free memory"
    )]
    Memory {
        /// RLIMIT_MEMLOCK as text.
        limit: String,
    },
    /// The kernel has io_uring, but is too old.
    #[error("this kernel ({kernel}) is too old: io_uring lacks {lacks}; run on 6.1 or later")]
    TooOld {
        /// The kernel's release.
        kernel: String,
        /// The first missing feature.
        lacks: &'static str,
    },
    /// Any other error.
    #[error("io_uring cannot be set up: {0}")]
    Other(io::Error),
}

/// Tests the required features before any worker starts.
///
/// # Errors
/// Why io_uring is not available, or older than Linux 6.1.
pub fn probe() -> Result<Capabilities, Unavailable> {
    let ring = until_memory(|| IoUring::new(PROBE_ENTRIES)).map_err(unavailable)?;
    let mut known = Probe::new();
    ring.submitter()
        .register_probe(&mut known)
        .map_err(unavailable)?;
    // Distributions backport features, so version numbers are not reliable. Linux 6.1 is recognized by its
    // new features: zero-copy sendmsg among the operations, and deferred task running among the flags.
    for (code, name) in NEEDED {
        if !known.is_supported(code) {
            return Err(Unavailable::TooOld {
                kernel: release(),
                lacks: name,
            });
        }
    }
    let deferred = until_memory(|| {
        let mut ring = builder();
        ring.setup_single_issuer().setup_defer_taskrun();
        ring.build(PROBE_ENTRIES)
    });
    match deferred {
        Ok(_) => {}
        Err(error) if lacks_memory(&error) => return Err(unavailable(error)),
        Err(_) => {
            return Err(Unavailable::TooOld {
                kernel: release(),
                lacks: "deferred task running",
            });
        }
    }
    // A seccomp profile may allow io_uring_setup but forbid io_uring_enter.
    ring.submit().map_err(unavailable)?;
    // From most to fewest features, with the ring size of a worker.
    let rungs = [true, false].map(|deferred| Capabilities { deferred });
    let mut refusal = None;
    for rung in rungs {
        match rung.ring() {
            Ok(_) => return Ok(rung),
            Err(error) if lacks_memory(&error) => return Err(unavailable(error)),
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.map_or_else(
        || Unavailable::Other(io::ErrorKind::Unsupported.into()),
        unavailable,
    ))
}

impl Capabilities {
    /// Creates a worker's ring with these features. It accepts polls and their cancellation only: no other operation,
    /// no flag of an operation, and no registration.
    ///
    /// The kernel carries the operations of a ring out without asking a seccomp filter, so the ring itself is restricted.
    ///
    /// # Errors
    /// The kernel's error. A lack of memory was tried again for [`RING_SETUP_ATTEMPTS`].
    pub(super) fn ring(self) -> io::Result<IoUring> {
        let ring = until_memory(|| self.builder().setup_r_disabled().build(RING_ENTRIES))?;
        let mut allowed = RING_OPERATIONS.map(Restriction::sqe_op);
        ring.submitter().register_restrictions(&mut allowed)?;
        ring.submitter().register_enable_rings()?;
        Ok(ring)
    }

    fn builder(self) -> io_uring::Builder<squeue::Entry, cqueue::Entry> {
        let mut ring = builder();
        ring.setup_cqsize(RING_COMPLETIONS);
        if self.deferred {
            ring.setup_single_issuer()
                .setup_defer_taskrun()
                .setup_taskrun_flag();
        }
        ring
    }
}

/// Creates a ring, and tries again for a moment while the kernel has no memory for it.
///
/// Kernels since 6.13 take the pages of a ring in one request that gives up when no page is free at once: on
/// a machine whose memory is full of cached files, about one of 1,000 rings was refused on Linux 6.18, and each
/// was made at the next attempt.
fn until_memory<R>(mut create: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    for _ in 1..RING_SETUP_ATTEMPTS {
        match create() {
            Err(error) if lacks_memory(&error) => std::thread::sleep(RETRY_PAUSE),
            other => return other,
        }
    }
    create()
}

fn lacks_memory(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOMEM.raw_os_error())
}

fn builder() -> io_uring::Builder<squeue::Entry, cqueue::Entry> {
    IoUring::builder()
}

const PROBE_ENTRIES: u32 = 8;

const NEEDED: [(u8, &str); 4] = [
    (opcode::PollAdd::CODE, "poll"),
    (opcode::Recv::CODE, "recv"),
    (opcode::Send::CODE, "send"),
    (opcode::SendMsgZc::CODE, "zero-copy sendmsg"),
];

fn unavailable(error: io::Error) -> Unavailable {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSYS) => Unavailable::NoSystemCall { kernel: release() },
        Some(Errno::PERM | Errno::ACCESS) => match sysctl() {
            Some(value) if value != "0" => Unavailable::SwitchedOff { value },
            _ => Unavailable::Forbidden,
        },
        Some(Errno::NOMEM) => Unavailable::Memory { limit: memlock() },
        _ => Unavailable::Other(error),
    }
}

fn sysctl() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    Some(text.trim().to_owned())
}

fn memlock() -> String {
    match rustix::process::getrlimit(rustix::process::Resource::Memlock).current {
        Some(bytes) => format!("{} KiB", bytes / 1024),
        None => "unlimited".to_owned(),
    }
}

fn release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::push_nop;

    #[test]
    fn this_machine_has_the_required_features() {
        let found = probe().expect("the tests need io_uring of Linux 6.1 or later");
        assert!(found.deferred, "6.1 and later have it: {found}");
    }

    #[test]
    fn ring_is_tried_again_while_the_kernel_has_no_memory_and_for_no_other_error() {
        let attempts = |error: Errno, failures: u32| {
            let mut made = 0;
            let outcome = until_memory(|| {
                made += 1;
                if made <= failures {
                    return Err(io::Error::from_raw_os_error(error.raw_os_error()));
                }
                Ok(())
            });
            (made, outcome.is_ok())
        };
        assert_eq!(attempts(Errno::NOMEM, 3), (4, true));
        let many = attempts(Errno::NOMEM, u32::MAX);
        assert_eq!(many, (RING_SETUP_ATTEMPTS, false));
        assert_eq!(attempts(Errno::PERM, 1), (1, false));
    }

    #[test]
    fn the_ring_of_a_worker_refuses_other_operations_and_registrations() {
        let capabilities = probe().expect("io_uring");
        let mut ring = capabilities.ring().expect("a ring");
        push_nop(&mut ring);
        ring.submit_and_wait(1).expect("it is ours");
        let results = ring.completion().map(|entry| entry.result());
        let refused = Errno::ACCESS.raw_os_error();
        assert_eq!(results.collect::<Vec<_>>(), [-refused]);
        let registered = ring.submitter().register_files(&[0]);
        let error = registered.expect_err("no registration is allowed");
        assert_eq!(error.raw_os_error(), Some(refused));
        let again = ring.submitter().register_restrictions(&mut []);
        again.expect_err("the restrictions are final");
    }

    #[test]
    fn each_error_gives_advice() {
        let missing = unavailable(io::Error::from_raw_os_error(Errno::NOSYS.raw_os_error()));
        assert!(
            missing.to_string().contains("kernel of 6.1 or later"),
            "{missing}"
        );
        let memory = unavailable(io::Error::from_raw_os_error(Errno::NOMEM.raw_os_error()));
        assert!(memory.to_string().contains("LimitMEMLOCK"), "{memory}");
    }
}
