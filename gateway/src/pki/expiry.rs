//! How long certificates and revocation lists still last, and how loudly to say so.
//!
//! Pure: the time comes in as an argument. `store` refuses what has ended already; this is for what
//! will end soon.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use time::macros::format_description;

use super::crl::CrlHead;
use super::facts::Facts;
use super::{Identity, Trust};

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// Days before the end of a certificate at which it is spoken of: `Soon` from the first on, `Urgent`
/// from the second. A month is what a hospital's change process takes, a week is what an urgent one
/// takes.
pub const CERTIFICATE_DAYS: (i64, i64) = (30, 7);

/// The same for a revocation list. Lists are reissued by machines every few days or weeks, so a month
/// would be said of every healthy list.
pub const CRL_DAYS: (i64, i64) = (7, 2);

/// How urgent an end is, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Far away.
    Good,
    /// An operator should plan the replacement.
    Soon,
    /// An operator should act now.
    Urgent,
    /// It has ended.
    Expired,
}

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// What ends: `certificate "CN=gw.hospital.example"`.
    pub what: String,
    /// When it ends.
    pub ends: SystemTime,
    /// Days before the end for `Soon` and `Urgent`.
    pub days: (i64, i64),
}

impl Expiry {
    /// Judges how urgent the end is at `now`.
    #[must_use]
    pub fn severity(&self, now: SystemTime) -> Severity {
        let left = days_left(self.ends, now);
        let (soon, urgent) = self.days;
        if self.ends <= now {
            Severity::Expired
        } else if left < urgent {
            Severity::Urgent
        } else if left < soon {
            Severity::Soon
        } else {
            Severity::Good
        }
    }

    /// Says it in words: `certificate "CN=x" ends 2027-03-01, in 12 days`.
    #[must_use]
    pub fn sentence(&self, now: SystemTime) -> String {
        let (what, date) = (&self.what, date(unix(self.ends)));
        let left = days_left(self.ends, now);
        if self.ends <= now {
            format!("{what} expired {date}")
        } else {
            format!("{what} ends {date}, in {}", plural(left, "day"))
        }
    }
}

/// Everything of an identity and of the trust in its peers that ends: own chain, trust anchors, revocation lists.
#[must_use]
pub fn of(identity: &Identity, trust: &Trust) -> Vec<Expiry> {
    let certificates = |role: &'static str, list: &[CertificateDer<'_>]| -> Vec<Expiry> {
        let facts = list.iter().filter_map(|der| Facts::of(der).ok());
        facts.map(|facts| of_certificate(role, &facts)).collect()
    };
    let mut all = certificates("certificate", &identity.chain);
    all.extend(certificates("trusted CA", &trust.anchors));
    all.extend(trust.crls.iter().filter_map(|crl| of_crl(crl.head())));
    all
}

fn of_certificate(role: &str, facts: &Facts) -> Expiry {
    Expiry {
        what: format!("{role} {:?}", facts.subject),
        ends: system_time(facts.not_after),
        days: CERTIFICATE_DAYS,
    }
}

fn of_crl(head: &CrlHead) -> Option<Expiry> {
    Some(Expiry {
        what: format!("revocation list of {:?}", head.issuer),
        ends: system_time(head.next_update?),
        days: CRL_DAYS,
    })
}

/// Whole days from `now` to `ends`, rounded down; negative once it has ended.
#[must_use]
pub fn days_left(ends: SystemTime, now: SystemTime) -> i64 {
    days_between(unix(now), unix(ends))
}

/// Whole days from one instant to another, both in seconds since 1970.
pub(crate) fn days_between(from: i64, to: i64) -> i64 {
    to.saturating_sub(from).div_euclid(DAY)
}

/// Seconds since 1970, as certificates count; a clock before 1970 counts as 1970.
pub(crate) fn unix(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The inverse of `unix`; instants before 1970 become 1970.
fn system_time(unix: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix.max(0).unsigned_abs())
}

/// A calendar date in UTC, as messages have it: `2027-03-01`.
pub(crate) fn date(unix: i64) -> String {
    let format = format_description!("[year]-[month]-[day]");
    OffsetDateTime::from_unix_timestamp(unix)
        .ok()
        .and_then(|at| at.format(format).ok())
        .unwrap_or_else(|| "a date beyond the calendar".to_owned())
}

/// `1 day`, `2 days`.
pub(crate) fn plural(count: i64, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(days * 86_400)
    }

    fn ending(days: u64) -> Expiry {
        Expiry {
            what: "certificate \"CN=x\"".to_owned(),
            ends: at(days),
            days: CERTIFICATE_DAYS,
        }
    }

    #[test]
    fn severity_rises_at_30_and_7_days() {
        let expiry = ending(1000);
        assert_eq!(expiry.severity(at(970)), Severity::Good);
        let second = Duration::from_secs(1);
        assert_eq!(expiry.severity(at(970) + second), Severity::Soon);
        assert_eq!(expiry.severity(at(993)), Severity::Soon);
        assert_eq!(expiry.severity(at(993) + second), Severity::Urgent);
        assert_eq!(expiry.severity(at(1000) - second), Severity::Urgent);
        assert_eq!(expiry.severity(at(1000)), Severity::Expired);
    }

    #[test]
    fn sentence_names_the_date_and_the_days() {
        let expiry = ending(20_000);
        assert_eq!(
            expiry.sentence(at(19_988)),
            "certificate \"CN=x\" ends 2024-10-04, in 12 days"
        );
        assert_eq!(
            expiry.sentence(at(19_999)),
            "certificate \"CN=x\" ends 2024-10-04, in 1 day"
        );
        assert_eq!(
            expiry.sentence(at(20_001)),
            "certificate \"CN=x\" expired 2024-10-04"
        );
    }

    #[test]
    fn days_are_rounded_down_on_both_sides_of_the_end() {
        let second = Duration::from_secs(1);
        assert_eq!(days_left(at(10), at(9)), 1);
        assert_eq!(days_left(at(10), at(9) + second), 0);
        assert_eq!(days_left(at(10), at(10) + second), -1);
    }

    #[test]
    fn a_clock_before_1970_is_not_fatal() {
        assert_eq!(unix(UNIX_EPOCH - Duration::from_secs(5)), 0);
        assert_eq!(date(i64::MAX), "a date beyond the calendar");
    }
}
