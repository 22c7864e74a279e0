//! How long certificates and revocation lists are still valid, and when to warn.
//!
//! Pure: the time is an argument. `store` refuses expired files; this module covers those that expire soon,
//! or while the gateway runs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use time::macros::format_description;

use super::facts::Facts;
use super::{Identity, Trust};
use crate::config::{IdentityFiles, TrustFiles};

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// Seconds of an hour.
const HOUR: i64 = 60 * 60;

/// Seconds before the expiry of a certificate at which a warning is logged: 30, 14, 7, 3 and 1 days. A month
/// is the duration of a hospital's change process, a week that of an urgent one.
const CERTIFICATE_WARNINGS: [i64; 5] = [30 * DAY, 14 * DAY, 7 * DAY, 3 * DAY, DAY];

/// Seconds before the expiry of a revocation list at which a warning is logged: a week, a day and an hour. A
/// CA issues a list every few days, so earlier warnings would be about a list that is about to be replaced
/// anyway.
const CRL_WARNINGS: [i64; 3] = [7 * DAY, DAY, HOUR];

/// What expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExpiryKind {
    /// A certificate of this site's own chain.
    Certificate,
    /// A CA that issues peers' certificates.
    Trust,
    /// A revocation list.
    Crl,
}

impl ExpiryKind {
    /// The key that names its file.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Trust => "trust",
            Self::Crl => "crl",
        }
    }
}

/// A certificate or a revocation list, and when it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// What it is.
    pub kind: ExpiryKind,
    /// The object at the beginning of a sentence: `certificate "site.pem"` or `peer "region": crl
    /// "ca.crl"`.
    pub object: String,
    /// The file, or the files of the revocation lists.
    pub file: String,
    /// The subject of a certificate, or the issuer of a list.
    pub name: String,
    /// When it becomes valid.
    pub begins: SystemTime,
    /// When it expires.
    pub ends: SystemTime,
}

/// How near the expiry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpiryStage {
    /// Too far away for a warning.
    Far,
    /// This many of the warnings of its kind are due.
    Near(usize),
    /// It has expired.
    Expired,
}

impl Expiry {
    /// How near the expiry is at `now`.
    #[must_use]
    pub fn stage(&self, now: SystemTime) -> ExpiryStage {
        if self.ends <= now {
            return ExpiryStage::Expired;
        }
        match self.warnings().filter(|at| *at <= unix(now)).count() {
            0 => ExpiryStage::Far,
            reached => ExpiryStage::Near(reached),
        }
    }

    /// When the stage changes next; `None` after the expiry.
    #[must_use]
    pub(crate) fn next_change(&self, now: SystemTime) -> Option<SystemTime> {
        let mut changes = self.warnings().chain([unix(self.ends)]);
        changes.find(|at| *at > unix(now)).map(system_time)
    }

    // The times of the warnings, in seconds since 1970, ascending. A warning before half of the lifetime is
    // over is left out: otherwise a list that is issued weekly would always cause a warning.
    fn warnings(&self) -> impl Iterator<Item = i64> {
        let (begins, ends) = (unix(self.begins), unix(self.ends));
        let lifetime = ends.saturating_sub(begins);
        let due: &'static [i64] = match self.kind {
            ExpiryKind::Certificate | ExpiryKind::Trust => &CERTIFICATE_WARNINGS,
            ExpiryKind::Crl => &CRL_WARNINGS,
        };
        due.iter()
            .filter(move |before| **before <= lifetime / 2)
            .map(move |before| ends.saturating_sub(*before))
    }

    /// A sentence: `certificate "site.pem": "CN=x" expires on 2027-03-01, in 12 days; ...`.
    #[must_use]
    pub fn sentence(&self, now: SystemTime) -> String {
        let (object, name) = (&self.object, &self.name);
        let list = match self.kind {
            ExpiryKind::Crl => "the list of ",
            ExpiryKind::Certificate | ExpiryKind::Trust => "",
        };
        if self.ends <= now {
            let effect = match self.kind {
                ExpiryKind::Certificate => "peers refuse this site; issue a new one",
                ExpiryKind::Trust => "peers of this CA are refused; get the new CA certificate",
                ExpiryKind::Crl => "every peer of that CA is refused; get a current list",
            };
            return format!(
                "{object}: {list}{name:?} expired on {}; {effect}",
                date(unix(self.ends))
            );
        }
        let remedy = match self.kind {
            ExpiryKind::Certificate => "issue a new one",
            ExpiryKind::Trust => "get the new CA certificate",
            ExpiryKind::Crl => "get a current list",
        };
        format!("{object}: {list}{name:?} {}; {remedy}", self.time_left(now))
    }

    /// The end of a sentence: `expires on 2027-03-01, in 12 days`. On the last day the time is named too.
    pub(crate) fn time_left(&self, now: SystemTime) -> String {
        let ends = unix(self.ends);
        let seconds = ends.saturating_sub(unix(now));
        if seconds <= 0 {
            return format!("expired on {}", date(ends));
        }
        if seconds <= HOUR {
            return format!("expires at {}, within an hour", moment(ends));
        }
        match days_between(unix(now), ends) {
            0 => format!(
                "expires at {}, in {}",
                moment(ends),
                plural(seconds / HOUR, "hour")
            ),
            days => format!("expires on {}, in {}", date(ends), plural(days, "day")),
        }
    }
}

/// The expiry dates of an identity: that of its own certificate, and those of the CAs of its chain that have
/// not expired yet. Expired ones above are reported, or refused, when they are loaded.
#[must_use]
pub(crate) fn of_identity(
    files: &IdentityFiles,
    identity: &Identity,
    now: SystemTime,
) -> Vec<Expiry> {
    let file = files.certificate.value.display().to_string();
    let object = format!("certificate {file:?}");
    let certificates = of_certificates(ExpiryKind::Certificate, (&object, &file), &identity.chain);
    let each = certificates.enumerate();
    let relevant = each.filter(|(place, expiry)| *place == 0 || expiry.ends > now);
    relevant.map(|(_, expiry)| expiry).collect()
}

/// The expiry dates of the trust in a peer. `scope` is put in front of the object (`peer "region": `).
#[must_use]
pub(crate) fn of_trust(scope: &str, files: &TrustFiles, trust: &Trust) -> Vec<Expiry> {
    let file = files.trust.value.display().to_string();
    let object = format!("{scope}trust {file:?}");
    let mut all: Vec<_> =
        of_certificates(ExpiryKind::Trust, (&object, &file), &trust.anchors).collect();
    let lists: Vec<_> = files
        .crl
        .iter()
        .map(|file| format!("{:?}", file.value.display().to_string()))
        .collect();
    let object = format!("{scope}crl {}", lists.join(", "));
    let file = lists.join(", ").replace('"', "");
    all.extend(trust.crls.iter().filter_map(|crl| {
        let head = crl.head();
        Some(Expiry {
            kind: ExpiryKind::Crl,
            object: object.clone(),
            file: file.clone(),
            name: head.issuer.clone(),
            begins: system_time(head.this_update),
            ends: system_time(head.next_update?),
        })
    }));
    all
}

fn of_certificates(
    kind: ExpiryKind,
    (object, file): (&str, &str),
    certificates: &[CertificateDer<'_>],
) -> impl Iterator<Item = Expiry> {
    let facts = certificates.iter().filter_map(|der| Facts::of(der).ok());
    facts.map(move |facts| Expiry {
        kind,
        object: object.to_owned(),
        file: file.to_owned(),
        begins: system_time(facts.not_before),
        ends: system_time(facts.not_after),
        name: facts.subject,
    })
}

/// Whole days from `now` to `ends`, rounded down; negative after `ends`.
pub(crate) fn days_left(ends: SystemTime, now: SystemTime) -> i64 {
    days_between(unix(now), unix(ends))
}

/// Whole days from one instant to another, both in seconds since 1970.
pub(super) fn days_between(from: i64, to: i64) -> i64 {
    to.saturating_sub(from).div_euclid(DAY)
}

/// Seconds since 1970, as in certificates; a clock before 1970 counts as 1970.
pub(crate) fn unix(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The inverse of `unix`; instants before 1970 become 1970.
pub(super) fn system_time(unix: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix.max(0).unsigned_abs())
}

/// A calendar date in UTC, in the form of messages: `2027-03-01`.
pub(crate) fn date(unix: i64) -> String {
    let format = format_description!("[year]-[month]-[day]");
    OffsetDateTime::from_unix_timestamp(unix)
        .ok()
        .and_then(|at| at.format(format).ok())
        .unwrap_or_else(|| "a date beyond the calendar".to_owned())
}

/// A time in UTC, in the form of messages about the clock: `2027-03-01 14:05 UTC`.
pub(crate) fn moment(unix: i64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    OffsetDateTime::from_unix_timestamp(unix)
        .ok()
        .and_then(|at| at.format(format).ok())
        .unwrap_or_else(|| "a date beyond the calendar".to_owned())
}

/// `1 day`, `2 days`.
pub(super) fn plural(count: i64, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(days * 86_400)
    }

    fn ending(begins: u64, ends: u64) -> Expiry {
        Expiry {
            kind: ExpiryKind::Certificate,
            object: "certificate \"site.pem\"".to_owned(),
            file: "site.pem".to_owned(),
            name: "CN=x".to_owned(),
            begins: at(begins),
            ends: at(ends),
        }
    }

    #[test]
    fn warnings_come_at_30_14_7_3_and_1_days_and_at_the_end() {
        let expiry = ending(0, 1000);
        let mut now = at(900);
        let mut changes = Vec::new();
        assert_eq!(expiry.stage(now), ExpiryStage::Far);
        while let Some(next) = expiry.next_change(now) {
            let before = expiry.stage(
                next.checked_sub(Duration::from_secs(1))
                    .expect("after 1970"),
            );
            assert!(expiry.stage(next) > before, "{next:?}");
            now = next;
            changes.push(days_left(at(1000), now));
        }
        assert_eq!(changes, [30, 14, 7, 3, 1, 0]);
        assert_eq!(expiry.stage(now), ExpiryStage::Expired);
    }

    #[test]
    fn a_list_is_warned_of_a_week_a_day_and_an_hour_before_its_end() {
        let list = Expiry {
            kind: ExpiryKind::Crl,
            ..ending(0, 30)
        };
        let mut now = at(1);
        let mut left = Vec::new();
        while let Some(next) = list.next_change(now) {
            left.push((unix(list.ends) - unix(next)) / HOUR);
            now = next;
        }
        assert_eq!(left, [7 * 24, 24, 1, 0]);
        assert_eq!(list.stage(now), ExpiryStage::Expired);
    }

    #[test]
    fn a_weekly_list_causes_no_warning_in_the_first_half_of_its_lifetime() {
        let [weekly, of_a_day, of_an_hour] = [7 * 24, 24, 1].map(|hours: u64| Expiry {
            kind: ExpiryKind::Crl,
            ends: at(0) + Duration::from_secs(hours * 3600),
            ..ending(0, 0)
        });
        assert_eq!(weekly.stage(at(0)), ExpiryStage::Far);
        assert_eq!(weekly.next_change(at(0)), Some(at(6)));
        assert_eq!(weekly.stage(at(6)), ExpiryStage::Near(1));
        let hour = Duration::from_secs(3600);
        assert_eq!(of_a_day.next_change(at(0)), Some(at(0) + 23 * hour));
        assert_eq!(of_an_hour.next_change(at(0)), Some(at(0) + hour));
    }

    #[test]
    fn sentence_names_the_date_the_days_and_what_to_do() {
        let mut expiry = ending(10_000, 20_000);
        assert_eq!(
            expiry.sentence(at(19_988)),
            "certificate \"site.pem\": \"CN=x\" expires on 2024-10-04, in 12 days; issue a new one"
        );
        assert_eq!(
            expiry.sentence(at(20_001)),
            "certificate \"site.pem\": \"CN=x\" expired on 2024-10-04; peers refuse this site; issue a new one"
        );
        expiry.kind = ExpiryKind::Crl;
        expiry.object = "peer \"region\": crl \"ca.crl\"".to_owned();
        assert_eq!(
            expiry.sentence(at(19_999)),
            "peer \"region\": crl \"ca.crl\": the list of \"CN=x\" expires on 2024-10-04, in 1 day; get a \
             current list"
        );
        let before = |seconds| {
            let now = at(20_000).checked_sub(Duration::from_secs(seconds));
            expiry.sentence(now.expect("after 1970"))
        };
        let at_its_end = "expires at 2024-10-04 00:00 UTC, ";
        assert!(before(3600).contains(&format!("{at_its_end}within an hour; ")));
        assert!(before(86_399).contains(&format!("{at_its_end}in 23 hours; ")));
        assert_eq!(
            expiry.sentence(at(20_000)),
            "peer \"region\": crl \"ca.crl\": the list of \"CN=x\" expired on 2024-10-04; every peer of that CA is refused; \
             get a current list"
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
