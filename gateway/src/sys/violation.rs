//! The end of a process that made a system call which its seccomp filter does not allow.

use std::ffi::{c_int, c_void};
use std::io;

use super::calls;

/// Makes the process write a line to standard error that names the thread and the system call before it ends by
/// SIGSYS.
///
/// # Errors
/// The kernel's error.
pub(crate) fn report_violations() -> io::Result<()> {
    // JUSTIFICATION: std has no handlers of signals, and those of tokio and signal-hook run later, in another task.
    // SAFETY: all fields of a `sigaction` may be zero; the mask is then empty. The handler does only what is safe in a
    // signal (signal-safety(7)), see `on_violation`. The kernel passes it the three arguments that SA_SIGINFO asks for.
    let outcome = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_violation as *const () as usize;
        // The default action afterwards, and at once: the handler ends the process by the same signal.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESETHAND | libc::SA_NODEFER;
        libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut())
    };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Longest line: the constant text, a name of 15 bytes, and a system call.
const LINE_BYTES_MAX: usize = 256;

extern "C" fn on_violation(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    let mut line = ViolationLine {
        bytes: [0; LINE_BYTES_MAX],
        length: 0,
    };
    let mut thread = [0_u8; 16];
    // SAFETY: the kernel passes a valid `siginfo_t`, whose layout for SIGSYS is `SysInfo`. The name of a thread has at
    // most 16 bytes with its zero. `poll` and `write` get memory of this frame. None of the calls allocates or locks.
    unsafe {
        let call = (*info.cast::<SysInfo>()).call;
        libc::prctl(libc::PR_GET_NAME, thread.as_mut_ptr());
        line.add(b"wardgate: seccomp: thread \"");
        line.add(thread.split(|byte| *byte == 0).next().unwrap_or_default());
        line.add(b"\" made the system call ");
        line.add_number(call.unsigned_abs());
        line.add(b" (");
        line.add(calls::name(call.into()).as_bytes());
        line.add(b"), which its list does not allow; the process ends (SIGSYS)\n");
        // Standard error may be a full pipe that is not read, where a write blocks for ever.
        let mut writable = libc::pollfd {
            fd: 2,
            events: libc::POLLOUT,
            revents: 0,
        };
        if libc::poll(&mut writable, 1, WRITABLE_WITHIN_MS) == 1 {
            libc::write(2, line.bytes.as_ptr().cast(), line.length);
        }
        libc::syscall(
            libc::SYS_tgkill,
            libc::getpid(),
            libc::gettid(),
            libc::SIGSYS,
        );
        libc::_exit(128 + libc::SIGSYS);
    }
}

const WRITABLE_WITHIN_MS: c_int = 100;

/// The part of `siginfo_t` for SIGSYS (sigaction(2)), which libc does not have.
#[repr(C)]
struct SysInfo {
    signal: c_int,
    error: c_int,
    code: c_int,
    address: *const c_void,
    call: c_int,
    architecture: u32,
}

/// Text of bounded length, made without an allocation. What does not fit is left out.
struct ViolationLine {
    bytes: [u8; LINE_BYTES_MAX],
    length: usize,
}

impl ViolationLine {
    fn add(&mut self, text: &[u8]) {
        for (room, byte) in self.bytes.iter_mut().skip(self.length).zip(text) {
            *room = *byte;
            self.length += 1;
        }
    }

    fn add_number(&mut self, number: u32) {
        if number >= 10 {
            self.add_number(number / 10);
        }
        // The remainder is a digit.
        self.add(&[b'0' + u8::try_from(number % 10).unwrap_or_default()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_numbers_and_is_cut_at_its_bound() {
        let mut line = ViolationLine {
            bytes: [0; LINE_BYTES_MAX],
            length: 0,
        };
        line.add(b"call ");
        line.add_number(435);
        assert_eq!(&line.bytes[..line.length], b"call 435");
        line.add(&[b'x'; 300]);
        assert_eq!(line.length, LINE_BYTES_MAX);
    }
}
