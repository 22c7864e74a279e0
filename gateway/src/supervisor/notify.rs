//! Notifies the service manager of the service's state (sd_notify(3)). Without a service manager it has no
//! effect.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service has started.
pub(super) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The service reads its configuration again; `ready` ends this state.
pub(super) fn reloading() {
    // systemd needs the time to tell this message from earlier ones.
    if let Ok(time) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, time]);
    }
}

/// Another process of the service is its main process from now on.
pub(super) fn main_process(pid: u32) {
    notify(&[NotifyState::MainPid(pid)]);
}

/// The service is stopping.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub(super) fn status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

/// The start or the stop takes until `time` from now, at least.
pub(super) fn extend(time: Duration) {
    let microseconds = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    notify(&[NotifyState::ExtendTimeoutUsec(microseconds)]);
}

/// All workers run.
pub(super) fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// How long the service manager waits for `alive` before it ends the process; `None` without a watchdog.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn notify(states: &[NotifyState]) {
    // The gateway also works if the service manager does not listen.
    let _ = sd_notify::notify(states);
}
