//! Waits for the clock of a machine that has just booted.
//!
//! A machine without a clock that runs while it is off begins at an earlier date, until a time server has
//! answered. This site's certificates are not valid yet at that date, so a gateway that starts at once would
//! open no route.

use std::path::Path as FilePath;
use std::time::{Duration, Instant, SystemTime};

use super::{notify, prepare};
use crate::supervisor::limits::{CLOCK_LOOK, CLOCK_WAIT};

/// systemd creates this file when a time server has set the clock (systemd-timesyncd.service(8),
/// systemd-time-wait-sync.service(8)).
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// Waits until the certificates of this site are valid, or the clock is known to be set. Waits only in a
/// service: an operator at a terminal needs the reason at once. Returns a message if it waited.
pub(super) fn wait(file: &FilePath) -> Option<String> {
    std::env::var_os("NOTIFY_SOCKET")?;
    let begins_later = || prepare::begins_later(file, SystemTime::now());
    let is_set = || FilePath::new(SYNCHRONISED).exists();
    let announce = || {
        let now = SystemTime::now();
        let text = format!(
            "this machine's clock says {}, when a certificate of this site is not valid yet: waiting up to {} s for \
             a time server to set the clock",
            crate::pki::expiry::moment(crate::pki::expiry::unix(now)),
            CLOCK_WAIT.as_secs()
        );
        notify::extend(CLOCK_WAIT + STARTED_WITHIN);
        notify::status(&text);
        eprintln!("{text}");
    };
    let text = wait_while(begins_later, is_set, announce, CLOCK_WAIT, CLOCK_LOOK)?;
    // The log does not exist yet, and perhaps no route can be opened.
    eprintln!("{text}");
    Some(text)
}

/// How long the start may take after the wait.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

fn wait_while(
    begins_later: impl Fn() -> bool,
    is_set: impl Fn() -> bool,
    announce: impl FnOnce(),
    limit: Duration,
    pause: Duration,
) -> Option<String> {
    if is_set() || !begins_later() {
        return None;
    }
    announce();
    let since = Instant::now();
    while since.elapsed() < limit {
        std::thread::sleep(pause);
        let waited = since.elapsed().as_secs();
        if !begins_later() {
            return Some(format!(
                "waited {waited} s until this machine's clock was set"
            ));
        }
        if is_set() {
            return Some(format!(
                "waited {waited} s until this machine's clock was set; a certificate of this site is not valid yet"
            ));
        }
    }
    Some(format!(
        "a certificate of this site is still not valid after {} s: either this machine's clock is wrong (`timedatectl`), \
         or the certificate begins later",
        limit.as_secs()
    ))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const PAUSE: Duration = Duration::from_millis(1);

    /// Waits while the certificate begins later, for this many looks, and returns the message and whether the
    /// wait was announced.
    fn waits(looks: u32, is_set: bool, limit: Duration) -> (Option<String>, bool) {
        let (left, announced) = (Cell::new(looks), Cell::new(false));
        let begins_later = || left.replace(left.get().saturating_sub(1)) > 0;
        let announce = || announced.set(true);
        let text = wait_while(begins_later, || is_set, announce, limit, PAUSE);
        (text, announced.get())
    }

    #[test]
    fn valid_certificates_and_a_clock_that_is_set_do_not_wait() {
        assert_eq!(waits(0, false, PAUSE), (None, false));
        assert_eq!(waits(1, true, PAUSE), (None, false));
    }

    #[test]
    fn the_wait_ends_when_the_certificates_are_valid() {
        let (text, announced) = waits(3, false, Duration::from_secs(60));
        assert_eq!(
            text.as_deref(),
            Some("waited 0 s until this machine's clock was set")
        );
        assert!(announced);
    }

    #[test]
    fn the_wait_has_a_limit() {
        let (text, _) = waits(u32::MAX, false, 5 * PAUSE);
        let text = text.expect("it waited");
        assert!(
            text.starts_with("a certificate of this site is still not valid after"),
            "{text}"
        );
    }
}
