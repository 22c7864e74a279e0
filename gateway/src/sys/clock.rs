//! The kernel's view of time synchronisation (`adjtimex(2)`).

use std::io;

/// The state of the system clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockState {
    /// Whether a program (chrony, systemd-timesyncd, ntpd, ptp4l) keeps the clock synchronised.
    pub is_synchronised: bool,
    /// The largest error that this program expects, in microseconds.
    pub error_max_micros: u64,
}

/// Reads the state of the system clock. Changes nothing and needs no privilege.
///
/// # Errors
/// The kernel's error, for example EPERM under a seccomp profile.
pub(crate) fn clock_state() -> io::Result<ClockState> {
    // JUSTIFICATION: neither std nor rustix offers adjtimex.
    // SAFETY: `timex` is a plain C struct of numbers, for which all zeros is a valid value; `modes` 0 asks for
    // a read. The kernel writes to the struct, which outlives the call.
    let (outcome, state) = unsafe {
        let mut state: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut state), state)
    };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(ClockState {
        is_synchronised: outcome != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0,
        error_max_micros: u64::try_from(state.maxerror).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_the_clock_can_be_read_without_a_change() {
        let before = clock_state().expect("the kernel answers");
        let after = clock_state().expect("the kernel answers");
        assert_eq!(before.is_synchronised, after.is_synchronised);
    }
}
