//! The result of a monitoring plugin (monitoring-plugins.org, "Plugin Output for Nagios"): one line of text, and numbers
//! after a bar. Icinga and PRTG read the same.
//!
//! Pure: the state in, a line and an exit code out.

use crate::control::{CertificateStatus, GatewayStatus, HealthLevel, RouteStatus};

/// What is asked for.
pub(super) struct CheckLimits<'l> {
    /// Only this route.
    pub(super) route: Option<&'l str>,
    /// WARNING below this number of days.
    pub(super) warning_days: i64,
    /// CRITICAL below this number of days.
    pub(super) critical_days: i64,
}

/// The line and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CheckResult {
    pub(super) text: String,
    pub(super) code: u8,
}

const OK: u8 = 0;
const WARNING: u8 = 1;
const CRITICAL: u8 = 2;
const UNKNOWN: u8 = 3;

/// The result for a state, or for the reason why there is none.
pub(super) fn result(
    status: Result<GatewayStatus, String>,
    limits: &CheckLimits<'_>,
) -> CheckResult {
    let status = match status {
        Ok(status) => status,
        // A gateway that does not answer carries no traffic.
        Err(why) => return finish(CRITICAL, &why, ""),
    };
    let is_shown = |route: &&RouteStatus| limits.route.is_none_or(|name| route.name == name);
    let routes: Vec<_> = status.routes.iter().filter(is_shown).collect();
    if let (Some(name), true) = (limits.route, routes.is_empty()) {
        let names: Vec<_> = status
            .routes
            .iter()
            .map(|route| route.name.as_str())
            .collect();
        let why = format!(
            "there is no route \"{name}\"; the routes are {}",
            names.join(", ")
        );
        return finish(UNKNOWN, &why, "");
    }
    let health = match (limits.route, routes.first()) {
        (Some(_), Some(route)) => &route.health,
        _ => &status.health,
    };
    let mut code = match health.level {
        HealthLevel::Good => OK,
        HealthLevel::Warning => WARNING,
        HealthLevel::Failed => CRITICAL,
    };
    let mut reasons = health.reasons.clone();
    let certificates = status.certificates.iter();
    let of_routes = certificates.filter(|one| {
        let mut used = one.routes.iter();
        limits
            .route
            .is_none_or(|name| used.any(|route| route == name))
    });
    // Lists are replaced every few days: their dates are part of the health.
    let of_routes: Vec<_> = of_routes.filter(|one| one.kind != "crl").collect();
    for one in &of_routes {
        let days = one.days_left;
        let level = match () {
            () if days < limits.critical_days => CRITICAL,
            () if days < limits.warning_days => WARNING,
            () => continue,
        };
        code = code.max(level);
        let is_known = reasons.iter().any(|reason| mentions(reason, one));
        if !is_known {
            reasons.push(format!("{} expires in {days} days", one.name));
        }
    }
    let days = of_routes.iter().map(|one| one.days_left).min();
    let open: u64 = routes
        .iter()
        .map(|route| u64::from(route.connections))
        .sum();
    let text = match reasons.first() {
        None => format!("routes: {}, open connections: {open}", routes.len()),
        Some(first) if reasons.len() == 1 => first.clone(),
        Some(first) => format!("{first} (and {} more)", reasons.len() - 1),
    };
    finish(code, &text, &numbers(&routes, open, days, limits))
}

fn mentions(reason: &str, certificate: &CertificateStatus) -> bool {
    let file = certificate.name.split(" (").next().unwrap_or_default();
    reason.contains(file)
}

fn numbers(
    routes: &[&RouteStatus],
    open: u64,
    days: Option<i64>,
    limits: &CheckLimits<'_>,
) -> String {
    let failed = |route: &&&RouteStatus| route.health.level == HealthLevel::Failed;
    let failed = routes.iter().filter(failed).count();
    let sum = |of: fn(&RouteStatus) -> u64| -> u64 {
        routes
            .iter()
            .map(|route| of(route))
            .fold(0, u64::saturating_add)
    };
    let mut all = vec![
        format!("connections={open};;;0"),
        format!("routes_failed={failed};;;0;{}", routes.len()),
        format!("sealed_bytes={}c", sum(|route| route.sealed_bytes)),
        format!("opened_bytes={}c", sum(|route| route.opened_bytes)),
    ];
    if let Some(days) = days {
        // A range with a colon: an alarm below its start.
        let (warning, critical) = (limits.warning_days, limits.critical_days);
        all.push(format!("certificate_days={days};{warning}:;{critical}:"));
    }
    all.join(" ")
}

fn finish(code: u8, text: &str, numbers: &str) -> CheckResult {
    let word = match code {
        OK => "OK",
        WARNING => "WARNING",
        CRITICAL => "CRITICAL",
        _ => "UNKNOWN",
    };
    // The bar separates the numbers, and the plugin has one line.
    let text: String = text
        .chars()
        .map(|one| match one {
            '|' => '/',
            _ if one.is_control() => ' ',
            _ => one,
        })
        .collect();
    let bar = if numbers.is_empty() { "" } else { " | " };
    CheckResult {
        text: format!("WARDGATE {word} - {text}{bar}{numbers}"),
        code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::HealthStatus;

    const LIMITS: CheckLimits<'_> = CheckLimits {
        route: None,
        warning_days: 14,
        critical_days: 3,
    };

    fn status(level: HealthLevel, reason: &str, days_left: i64) -> GatewayStatus {
        let health = HealthStatus {
            level,
            reasons: Some(reason.to_owned())
                .filter(|reason| !reason.is_empty())
                .into_iter()
                .collect(),
        };
        GatewayStatus {
            health: health.clone(),
            routes: vec![RouteStatus {
                name: "ct".to_owned(),
                connections: 2,
                sealed_bytes: 5,
                health,
                ..RouteStatus::default()
            }],
            certificates: vec![CertificateStatus {
                kind: "own".to_owned(),
                name: "site.pem (CN=x)".to_owned(),
                routes: vec!["ct".to_owned()],
                expires: 0,
                days_left,
            }],
            ..GatewayStatus::default()
        }
    }

    #[test]
    fn the_line_and_the_code_follow_the_guidelines_for_plugins() {
        let good = result(Ok(status(HealthLevel::Good, "", 90)), &LIMITS);
        assert_eq!(
            good.text,
            "WARDGATE OK - routes: 1, open connections: 2 | connections=2;;;0 routes_failed=0;;;0;1 sealed_bytes=5c \
             opened_bytes=0c certificate_days=90;14:;3:"
        );
        assert_eq!(good.code, 0);
        let failed = result(Ok(status(HealthLevel::Failed, "a | b\n", 90)), &LIMITS);
        assert!(
            failed.text.starts_with("WARDGATE CRITICAL - a / b  | "),
            "{failed:?}"
        );
        assert_eq!(failed.code, 2);
        let warned = result(Ok(status(HealthLevel::Warning, "slow", 90)), &LIMITS);
        assert_eq!(warned.code, 1);
        let gone = result(Err("no gateway runs there".to_owned()), &LIMITS);
        assert_eq!(gone.text, "WARDGATE CRITICAL - no gateway runs there");
    }

    #[test]
    fn days_of_certificates_have_limits_of_their_own() {
        let code = |days| result(Ok(status(HealthLevel::Good, "", days)), &LIMITS).code;
        assert_eq!([14, 13, 3, 2, -1].map(code), [0, 1, 1, 2, 2]);
        let text = result(Ok(status(HealthLevel::Good, "", 5)), &LIMITS).text;
        assert!(text.contains("site.pem (CN=x) expires in 5 days"), "{text}");
    }

    #[test]
    fn one_route_is_checked_alone() {
        let limits = |route| CheckLimits {
            route: Some(route),
            ..LIMITS
        };
        assert_eq!(
            result(Ok(status(HealthLevel::Good, "", 90)), &limits("ct")).code,
            0
        );
        let unknown = result(Ok(status(HealthLevel::Good, "", 90)), &limits("mr"));
        assert_eq!(
            (unknown.text.as_str(), unknown.code),
            (
                "WARDGATE UNKNOWN - there is no route \"mr\"; the routes are ct",
                3
            )
        );
    }
}
