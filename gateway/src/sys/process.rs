//! Settings of the process for which the used crates offer no safe function.

use std::io;

/// Refuses memory that was writable to become executable, for the rest of the process (Linux 6.3).
///
/// # Errors
/// EINVAL if the kernel does not have it.
pub(crate) fn refuse_executable_memory() -> io::Result<()> {
    // SAFETY: PR_SET_MDWE reads no memory of this process.
    match unsafe { libc::prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether `refuse_executable_memory` is in force.
pub(crate) fn refuses_executable_memory() -> bool {
    // SAFETY: PR_GET_MDWE reads and writes no memory of this process.
    let flags = unsafe { libc::prctl(PR_GET_MDWE, 0, 0, 0, 0) };
    flags > 0 && flags & 1 == 1
}

/// Closes every file descriptor but the standard three.
pub(crate) fn close_descriptors() {
    // SAFETY: the only caller is a process that was just started, in which nothing owns one of these descriptors yet.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
}

/// Begins to trace another process, for tests of the sandbox.
#[cfg(test)]
pub(crate) fn trace(process: u32) -> io::Result<()> {
    // SAFETY: PTRACE_SEIZE reads and writes no memory of this process.
    match unsafe { libc::ptrace(libc::PTRACE_SEIZE, process, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a new page executable, for tests of the sandbox.
#[cfg(test)]
pub(crate) fn make_executable() -> io::Result<()> {
    let (anonymous, both) = (
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        libc::PROT_READ | libc::PROT_WRITE,
    );
    // SAFETY: the page is new, and no code jumps into it.
    let outcome = unsafe {
        let page = libc::mmap(std::ptr::null_mut(), 4096, both, anonymous, -1, 0);
        libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC)
    };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

// linux/prctl.h.
const PR_SET_MDWE: libc::c_int = 65;
const PR_GET_MDWE: libc::c_int = 66;
const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;

#[cfg(test)]
mod tests {
    use super::*;

    // The test harness and other tests of this process go on with it, which nothing needs.
    #[test]
    fn executable_memory_is_refused_where_the_kernel_can() {
        match refuse_executable_memory() {
            Ok(()) => assert!(refuses_executable_memory()),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidInput),
        }
    }
}
