//! Tests of the catalogue of metrics.

use std::fs;
use std::path::Path;

use super::*;
use crate::metrics::{FileExpiry, Files, HandshakeResult, LogCounts, Snapshot};

fn text(snapshot: Snapshot) -> String {
    snapshot.text()
}

#[test]
fn a_core_shows_its_connections_and_bytes() {
    let core = CoreCounters::new(3);
    core.given.add(5);
    core.open.add(2);
    core.moved_bytes.add(17);
    let text = text(Snapshot {
        cores: vec![Arc::new(core)],
        ..Snapshot::default()
    });
    for line in [
        "wardgate_core_connections_total{cpu=\"3\"} 5\n",
        "wardgate_core_connections_open{cpu=\"3\"} 2\n",
        "wardgate_core_bytes_total{cpu=\"3\"} 17\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

#[test]
fn a_target_shows_its_state_and_its_probes() {
    let target = TargetCounters::new("ct".to_owned(), "[::1]:104".to_owned());
    target.good.add(3);
    target.bad.add(2);
    target.up.set(0);
    target.open.add(7);
    let probed = TargetMetrics {
        counters: Arc::new(target),
        is_probed: true,
    };
    let other = TargetCounters::new("mr".to_owned(), "10.0.0.1:104".to_owned());
    let other = TargetMetrics {
        counters: Arc::new(other),
        is_probed: false,
    };
    let text = text(Snapshot {
        targets: vec![probed, other],
        ..Snapshot::default()
    });
    assert!(!text.contains("target_up{route=\"mr\""), "{text}");
    let labels = "route=\"ct\",target=\"[::1]:104\"";
    for line in [
        format!("wardgate_target_up{{{labels}}} 0\n"),
        format!("wardgate_target_connections_open{{{labels}}} 7\n"),
        "wardgate_target_maintenance{route=\"mr\",target=\"10.0.0.1:104\"} 0\n".to_owned(),
        format!("wardgate_health_probes_total{{{labels},outcome=\"good\"}} 3\n"),
        format!("wardgate_health_probes_total{{{labels},outcome=\"bad\"}} 2\n"),
    ] {
        assert!(text.contains(&line), "{line}{text}");
    }
}

#[test]
fn the_expiry_of_a_peer_s_certificate_is_shown_with_its_identity_escaped() {
    let route = RouteMetrics {
        name: "ct".to_owned(),
        cores: Vec::new(),
        peers: vec![(r#"uri:urn:a"b\c"#.to_owned(), 1_800_000_000)],
    };
    let text = text(Snapshot {
        routes: vec![route],
        ..Snapshot::default()
    });
    let name = "wardgate_peer_certificate_expiry_timestamp_seconds";
    let line = format!(r#"{name}{{route="ct",peer="uri:urn:a\"b\\c"}} 1800000000"#);
    assert!(text.lines().any(|row| row == line), "{line}\n{text}");
}

#[test]
fn the_cores_of_a_route_are_summed() {
    let [a, b] = ["a", "b"].map(|name| RouteMetrics {
        name: name.to_owned(),
        cores: (0..2).map(|_| Arc::default()).collect(),
        peers: Vec::new(),
    });
    b.cores[0].accepted.add(2);
    b.cores[1].accepted.add(3);
    a.cores[0].key_updates.sealed.add(4);
    a.cores[1].key_updates.sealed.add(1);
    let text = text(Snapshot {
        routes: vec![a, b],
        log: LogCounts {
            dropped: 7,
            queued: 3,
        },
        ..Snapshot::default()
    });
    assert!(
        text.contains("wardgate_connections_accepted_total{route=\"a\"} 0\n"),
        "{text}"
    );
    assert!(
        text.contains("wardgate_connections_accepted_total{route=\"b\"} 5\n"),
        "{text}"
    );
    let directions = [("sealed", 5), ("opened", 0)];
    for (direction, sum) in directions {
        let labels = format!("{{route=\"a\",direction=\"{direction}\"}}");
        let line = format!("wardgate_key_updates_total{labels} {sum}\n");
        assert!(text.contains(&line), "{text}");
    }
    assert!(
        text.contains("wardgate_log_events_dropped_total 7\n"),
        "{text}"
    );
}

/// What a scrape may take: the rows of a route do not depend on what clients send.
#[test]
fn the_rows_of_a_route_are_bounded_whatever_its_clients_do() {
    let route = |name: &str| RouteMetrics {
        name: name.to_owned(),
        cores: (0..2).map(|_| Arc::default()).collect(),
        peers: Vec::new(),
    };
    let busy = route("busy");
    let block = &busy.cores[1];
    block.observed.count_associations();
    for number in 1..=1000 {
        for result in HandshakeResult::ALL {
            block.handshakes.note(result, number);
        }
        let name = format!("a suite that a client made up {number}");
        block.handshakes.note_negotiated(&name, &name, &name);
        for (version, suite, group) in [
            ("1.2", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "secp256r1"),
            ("1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768"),
        ] {
            block.handshakes.note_negotiated(version, suite, group);
        }
    }
    let shown = text(Snapshot {
        routes: vec![busy],
        ..Snapshot::default()
    });
    let rows = shown.lines().filter(|line| line.contains("route=\"busy\""));
    let rows = rows.count();
    assert!(rows <= ROUTE_ROWS_MAX, "{rows} rows");
    assert!(!shown.contains("made up"), "{shown}");
}

/// Rows of one DICOM route without targets and peers, with all that it can have seen. A MLLP route has fewer.
const ROUTE_ROWS_MAX: usize = 220;

#[test]
fn the_text_ends_as_openmetrics_requires_and_names_the_units() {
    let shown = text(Snapshot::default());
    assert!(shown.ends_with("# EOF\n"), "{shown}");
    for line in [
        "# TYPE wardgate_sealed_bytes counter",
        "# UNIT wardgate_sealed_bytes bytes",
        "# UNIT wardgate_handshake_seconds seconds",
        "# TYPE wardgate_build info",
        concat!(
            "wardgate_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
    ] {
        assert!(shown.lines().any(|row| row == line), "{line}\n{shown}");
    }
}

/// Dashboards and alerts depend on names, types, units, help and labels: users see every change. The list has each
/// row that can exist, without its value, so it bounds the labels too. Set `WARDGATE_BLESS=1` to write the
/// current one; `cargo xtask docs` makes the page of metrics from it.
#[test]
fn names_units_help_and_labels_are_those_of_the_golden_list() {
    let shown = text(everything());
    let found: String = shown.lines().filter_map(without_value).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/metrics.expected");
    if std::env::var_os("WARDGATE_BLESS").is_some() {
        fs::write(&path, &found).expect("the folder can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    for (line, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

// A histogram is represented by its count; the version changes with each release.
fn without_value(line: &str) -> Option<String> {
    if line.starts_with('#') {
        return (line != "# EOF").then(|| format!("{line}\n"));
    }
    let (row, _) = line.split_once(" # ").unwrap_or((line, ""));
    let (row, _) = row.rsplit_once(' ')?;
    let is_shown = !row.contains("_bucket{") && !row.contains("_seconds_sum{");
    let row = row.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    is_shown.then(|| format!("{row}\n"))
}

/// Each row that can exist, of one route of each protocol with one target, one peer and one core.
fn everything() -> Snapshot {
    let route = |name: &str, protocol: fn(&RouteCounters)| {
        let block = RouteCounters::default();
        protocol(&block);
        block.handshakes.note_everything();
        RouteMetrics {
            name: name.to_owned(),
            cores: vec![Arc::new(block)],
            peers: vec![("dns:peer.example".to_owned(), 0)],
        }
    };
    let ct = route("dicom-route", |block| block.observed.count_associations());
    let ris = route("mllp-route", |block| block.observed.count_conversations());
    let associations = ct.cores[0]
        .observed
        .associations()
        .expect("they are counted");
    for (_, command) in associations.commands() {
        command.responses().for_each(|(_, count)| count.add(1));
    }
    let core = CoreCounters::new(0);
    core.thread.set(
        rustix::thread::gettid()
            .as_raw_nonzero()
            .get()
            .unsigned_abs()
            .into(),
    );
    let target = TargetCounters::new("dicom-route".to_owned(), "10.0.0.1:104".to_owned());
    let expiry = |label, name: &str, file, is_list| FileExpiry {
        owner: (label, name.to_owned()),
        file,
        is_list,
        ends: 0,
    };
    Snapshot {
        routes: vec![ct, ris],
        cores: vec![Arc::new(core)],
        targets: vec![TargetMetrics {
            counters: Arc::new(target),
            is_probed: true,
        }],
        files: Files {
            routes: vec![("dicom-route".to_owned(), false)],
            refused: vec![("dicom-route".to_owned(), "region".to_owned())],
            expiries: vec![
                expiry("route", "dicom-route", "certificate", false),
                expiry("peer", "region", "trust", false),
                expiry("route", "dicom-route", "crl", true),
                expiry("peer", "region", "crl", true),
            ],
        },
        sandbox: PARTS.map(|part| (part, true)).into(),
        ..Snapshot::default()
    }
}

/// The parts of the sandbox; the tests of the sandbox compare them with those of a process.
const PARTS: [&str; 10] = [
    "privileges",
    "no_new_privs",
    "not_dumpable",
    "no_core",
    "key_memory",
    "no_new_code",
    "files",
    "ports",
    "system_calls",
    "ring",
];
