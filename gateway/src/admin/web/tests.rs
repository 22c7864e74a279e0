//! The page as a whole.

use super::history::History;
use super::page::WebPage;
use crate::admin::limits::{ROUTES_SHOWN_MAX, ROWS_SHOWN_MAX};
use crate::control::{
    CertificateStatus, ConnectionStatus, CoreStatus, GatewayStatus, HealthLevel, HealthStatus,
    RefusalStatus, RouteStatus, TargetStatus,
};

fn target(address: &str, state: &str) -> TargetStatus {
    TargetStatus {
        address: address.to_owned(),
        state: state.to_owned(),
        connections: 1,
        failing_since: None,
        failure: None,
    }
}

fn route(name: &str, level: HealthLevel, reasons: &[&str]) -> RouteStatus {
    RouteStatus {
        name: name.to_owned(),
        mode: "originate".to_owned(),
        protocol: "dicom".to_owned(),
        peers: vec!["dns:gw.region.example".to_owned()],
        targets: vec![match level {
            HealthLevel::Failed => target("gw.region.example:2762", "down"),
            _ => target("gw.region.example:2762", "up"),
        }],
        health: HealthStatus {
            level,
            reasons: reasons.iter().map(ToString::to_string).collect(),
        },
        ..RouteStatus::default()
    }
}

fn status(routes: Vec<RouteStatus>) -> GatewayStatus {
    GatewayStatus {
        program: "1.2.3".to_owned(),
        host: "gw1".to_owned(),
        at: 1_800_000_000,
        routes,
        ..GatewayStatus::default()
    }
}

fn document(status: &GatewayStatus) -> String {
    WebPage::new(status, &History::default()).document()
}

/// A value that would be code, an end of an attribute, or an entity in HTML that is not escaped.
const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;";

#[test]
fn every_value_from_outside_is_escaped() {
    let hostile = || HOSTILE.to_owned();
    let some = || Some(hostile());
    let route = RouteStatus {
        name: hostile(),
        mode: hostile(),
        state: hostile(),
        protocol: hostile(),
        peers: vec![hostile()],
        targets: vec![TargetStatus {
            failure: some(),
            ..target(HOSTILE, HOSTILE)
        }],
        ..route("a", HealthLevel::Failed, &[HOSTILE])
    };
    let connection = |types| ConnectionStatus {
        id: hostile(),
        tunnel: some(),
        route: hostile(),
        source: hostile(),
        target: some(),
        peer: some(),
        calling: some(),
        called: some(),
        types,
        ..ConnectionStatus::default()
    };
    let conversation = ConnectionStatus {
        calling: None,
        called: None,
        ..connection(vec![hostile()])
    };
    let status = GatewayStatus {
        program: hostile(),
        host: hostile(),
        problems: vec![hostile() + "problem"],
        restart: vec![hostile()],
        health: HealthStatus {
            level: HealthLevel::Failed,
            reasons: vec![hostile() + "reason"],
        },
        open: vec![connection(Vec::new()), conversation],
        certificates: vec![CertificateStatus {
            kind: hostile(),
            name: hostile(),
            routes: vec![hostile()],
            expires: i64::MAX,
            days_left: i64::MIN,
        }],
        refusals: vec![RefusalStatus {
            at: u64::MAX,
            route: hostile(),
            source: hostile(),
            reason: hostile(),
            remedy: hostile(),
            count: u64::MAX,
        }],
        ..status(vec![route])
    };
    let html = document(&status);
    assert!(html.matches("alert(1)").count() > 25, "{html}");
    for code in [
        "<script>",
        "<img",
        "\"'>",
        "&lt;\"",
        "onerror=alert(2)>&lt;",
    ] {
        assert!(!html.contains(code), "{code}");
    }
    let page = WebPage::new(&status, &History::default());
    for (_, html) in page.changes(&WebPage::default()) {
        assert!(
            !html.contains("<script") && !html.contains("<img"),
            "{html}"
        );
    }
}

#[test]
fn the_first_section_names_the_worst_state_with_its_reason() {
    let works = || route("mr", HealthLevel::Good, &[]);
    let warns = || route("us", HealthLevel::Warning, &["the link is full"]);
    let fails = || route("ct", HealthLevel::Failed, &["all targets are down"]);
    for (routes, expected, reason) in [
        (vec![works()], "The route works.", ""),
        (vec![works(), works()], "All 2 routes work.", ""),
        (
            vec![works(), warns()],
            "1 of 2 routes needs attention.",
            "route &quot;us&quot;: the link is full",
        ),
        (
            vec![warns(), fails()],
            "1 of 2 routes carries no traffic.",
            "route &quot;ct&quot;: all targets are down",
        ),
        (
            vec![fails(), fails()],
            "2 of 2 routes carry no traffic.",
            "all targets are down",
        ),
        (Vec::new(), "No route is configured.", ""),
    ] {
        let html = document(&status(routes));
        assert!(
            html.contains(expected) && html.contains(reason),
            "{expected}: {html}"
        );
    }
}

#[test]
fn a_reason_that_the_gateway_names_is_not_repeated_for_its_route() {
    let mut status = status(vec![route(
        "ct",
        HealthLevel::Failed,
        &["all targets are down"],
    )]);
    status.health.reasons = vec!["route \"ct\": all targets are down".to_owned()];
    let html = document(&status);
    let state = html.split("id=\"picture\"").next().unwrap_or_default();
    assert_eq!(state.matches("all targets are down").count(), 1, "{state}");
}

#[test]
fn each_state_is_a_word_and_a_shape_besides_its_colour() {
    for (level, word) in [
        (HealthLevel::Good, "works"),
        (HealthLevel::Warning, "needs attention"),
        (HealthLevel::Failed, "no traffic"),
    ] {
        let html = document(&status(vec![route("a", level, &[])]));
        let chips: Vec<_> = html.split("class=\"chip ").skip(1).collect();
        assert_eq!(chips.len(), 2);
        for chip in chips {
            let chip = chip.split("</span>").next().unwrap_or_default();
            assert!(chip.contains("<svg") && chip.ends_with(word), "{chip}");
        }
    }
}

#[test]
fn the_page_stays_small_with_any_number_of_routes_and_rows() {
    let routes: Vec<_> = (0..1_024)
        .map(|number| route(&format!("r{number}"), HealthLevel::Good, &["x"; 100]))
        .chain([route("broken", HealthLevel::Failed, &[])])
        .collect();
    let connection = ConnectionStatus {
        source: "y".repeat(100_000),
        ..ConnectionStatus::default()
    };
    let status = GatewayStatus {
        open_left_out: 999_500,
        open: vec![connection; 500],
        ..status(routes)
    };
    let html = document(&status);
    assert!(html.len() < 1_000_000, "{}", html.len());
    assert_eq!(html.matches("<article").count(), ROUTES_SHOWN_MAX);
    assert!(html.contains("id=\"route-63\"><h3>broken"));
    assert!(html.contains("961 more routes"));
    assert!(html.contains(&format!("{ROWS_SHOWN_MAX} of 1000000 connections")));
}

#[test]
fn only_parts_that_differ_are_sent() {
    let history = History::default();
    let before = status(vec![
        route("ct", HealthLevel::Good, &[]),
        route("mr", HealthLevel::Good, &[]),
    ]);
    let mut after = before.clone();
    after.routes[1].opened_per_second = 5_000;
    let (before, after) = (
        WebPage::new(&before, &history),
        WebPage::new(&after, &history),
    );
    assert_eq!(before.changes(&before), []);
    let changes = after.changes(&before);
    let ids: Vec<_> = changes.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, ["route-1"]);
    assert!(changes[0].1.contains("5.0 kB/s"));
    let fewer = WebPage::new(&status(vec![route("mr", HealthLevel::Good, &[])]), &history);
    assert!(fewer.changes(&before).iter().any(|(id, _)| *id == "routes"));
}

#[test]
fn tables_have_headers_and_parts_have_unique_ids() {
    let mut status = status(vec![
        route("ct", HealthLevel::Good, &[]),
        route("mr", HealthLevel::Good, &[]),
    ]);
    status.open.push(ConnectionStatus {
        calling: Some("CT_1".to_owned()),
        ..ConnectionStatus::default()
    });
    status.cores.push(CoreStatus {
        cpu: 0,
        is_silent: true,
        busy_percent: 255,
        connections: 1,
    });
    let html = document(&status);
    assert!(html.contains("<th scope=\"col\"") && html.contains("<th scope=\"row\""));
    assert!(html.contains("CT_1</span> &gt; ") && html.contains("100 %"));
    let mut ids: Vec<_> = html
        .split(" id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
    for part in [
        "about",
        "spoken",
        "state",
        "picture",
        "routes",
        "open",
        "certificates",
        "refusals",
        "machine",
        "live",
        "main",
    ] {
        assert!(ids.contains(&part), "{part}");
    }
}

#[test]
fn the_page_has_no_style_script_or_address_that_its_policy_would_block() {
    let html = document(&status(vec![route("ct", HealthLevel::Failed, &[])]));
    assert!(
        ![" style=", "<style", " onload=", " onclick=", "javascript:"]
            .iter()
            .any(|code| html.contains(code))
    );
    assert_eq!(html.matches("<script").count(), 1);
    let hrefs = html
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    let elsewhere: Vec<_> = hrefs
        .filter(|href| !href.starts_with(['/', '#']) && !href.starts_with("data:"))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

#[test]
fn a_file_has_expired_from_its_second_on_and_expires_soon_before() {
    let mut status = status(vec![route("ct", HealthLevel::Good, &[])]);
    for (kind, left, expected) in [
        ("crl", 0, "expired"),
        ("crl", 1, "0, expires soon"),
        ("crl", 8 * 86_400, "8</span>"),
        ("own", 8 * 86_400, "8, expires soon"),
        ("own", -86_400, "expired"),
    ] {
        status.certificates = vec![CertificateStatus {
            kind: kind.to_owned(),
            name: "site.pem".to_owned(),
            routes: Vec::new(),
            expires: 1_800_000_000 + left,
            days_left: left.div_euclid(86_400),
        }];
        let html = document(&status);
        let row = html.split("site.pem").nth(1).unwrap_or_default();
        assert!(row.contains(expected), "{kind} {left}: {row}");
    }
}
