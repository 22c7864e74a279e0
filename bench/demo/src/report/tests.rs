//! The report of a good run, and the checks that fail in each kind of bad run.

use super::*;

fn line(peer: &str, sealed_bytes: u64, opened_bytes: u64) -> ConnectionLine {
    ConnectionLine {
        peer: peer.into(),
        key_sha256: "0123456789abcdef".repeat(4),
        tls: VERSION.into(),
        suite: SUITE.into(),
        group: "X25519MLKEM768".into(),
        sealed_bytes,
        opened_bytes,
        reason: "complete".into(),
    }
}

/// The results of a run in which everything except `sent` and `received` is as expected.
pub(in super::super) fn measured(sent: Vec<Sent>, received: Received) -> Measurements {
    let hits = |label: &str, length, count| Hits {
        label: label.into(),
        length,
        count,
    };
    let direction = |bytes, records| Direction {
        bytes,
        records,
        hits: vec![0, 0],
        faults: Vec::new(),
    };
    let result = |name, peer, sealed, opened, cpu| GatewayResult {
        name,
        peer,
        connections: vec![line(peer, sealed, opened), line(peer, sealed, opened)],
        cpu: Duration::from_millis(cpu),
    };
    Measurements {
        title: "2 CT slices".into(),
        notes: vec!["1 file was left out".into()],
        objects: sent.len(),
        associations: 2,
        sent,
        received,
        duration: Duration::from_millis(2500),
        a: result("site A", "dns:gw.region.example", 500, 40, 250),
        b: result("site B", "dns:gw.hospital.example", 40, 500, 280),
        traffic: WireTraffic {
            connections: 2,
            a_to_b: direction(1_002_000_000, [2, 0, 2, 61_000]),
            b_to_a: direction(9_000, [2, 0, 2, 40]),
            hits: vec![hits("DICM", 4, 1), hits("AE title A_TITLE_OF_DEMO", 15, 0)],
        },
        found: vec![hits("DICM", 4, 5), hits("AE title A_TITLE_OF_DEMO", 15, 1)],
        debug_build: false,
    }
}

fn good() -> Measurements {
    let sent = |number: u8| Sent {
        receipt: Receipt {
            sop_instance: format!("2.25.{number}"),
            sha256: [number; 32],
            bytes: 500_000_000,
        },
        status: SUCCESS,
    };
    let sent = vec![sent(1), sent(2)];
    let received = Received {
        receipts: sent.iter().rev().map(|sent| sent.receipt.clone()).collect(),
        released: 2,
        faults: Vec::new(),
    };
    measured(sent, received)
}

fn failing(measured: &Measurements) -> Vec<String> {
    let report = Report::new(measured);
    assert!(!report.holds());
    let text = report.to_string();
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("  FAIL  "));
    lines
        .map(|line| line.split("  ").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn the_report_of_a_good_run_has_the_expected_text() {
    let report = Report::new(&good());
    assert!(report.holds());
    assert_eq!(
        report.to_string(),
        include_str!("../../../../tests/data/demo_report.txt")
    );
}

#[test]
fn a_short_run_reports_no_cost_per_gb() {
    let mut measured = good();
    measured
        .sent
        .iter_mut()
        .for_each(|sent| sent.receipt.bytes = 1_000_000);
    let text = Report::new(&measured).to_string();
    assert!(
        text.contains("0.25 s of CPU time; too little was sent"),
        "{text}"
    );
    assert!(!text.contains("s/GB"), "{text}");
}

#[test]
fn a_debug_build_is_reported() {
    let measured = Measurements {
        debug_build: true,
        ..good()
    };
    assert!(Report::new(&measured).to_string().contains("debug build"));
}

#[test]
fn lost_and_duplicate_objects_fail() {
    let mut measured = good();
    measured.received.receipts.pop();
    assert_eq!(failing(&measured), ["received", "unaltered"]);
    let again = measured.received.receipts[0].clone();
    measured.received.receipts.push(again);
    assert_eq!(failing(&measured), ["unaltered"]);
}

#[test]
fn a_refused_object_fails() {
    let mut measured = good();
    measured.sent[0].status = 0xa700;
    assert_eq!(failing(&measured), ["answered"]);
}

#[test]
fn checks_of_unlogged_values_fail() {
    let mut measured = good();
    measured.a.connections.clear();
    measured.b.connections.clear();
    let failed = [
        "TLS version",
        "suite",
        "key exchange",
        "site A",
        "site B",
        "bytes",
    ];
    assert_eq!(failing(&measured), failed);
    let mut measured = good();
    measured.b.connections.pop();
    assert_eq!(failing(&measured), ["site B", "bytes"]);
}

#[test]
fn weaker_tls_and_other_peers_fail() {
    let mut measured = good();
    measured.b.connections[1].suite = "TLS_AES_128_GCM_SHA256".into();
    measured.b.connections[0].tls = "1.2".into();
    assert_eq!(failing(&measured), ["TLS version", "suite"]);
    let mut measured = good();
    measured.a.connections[1].peer = "-".into();
    measured.b.connections[1].reason = "connection reset".into();
    assert_eq!(failing(&measured), ["site A", "site B"]);
}

#[test]
fn needles_and_faults_on_the_wire_fail() {
    let mut measured = good();
    measured.traffic.hits[1].count = 1;
    assert_eq!(failing(&measured), ["AE title A_TITLE_OF_DEMO"]);
    measured.traffic.hits[0].count = 1000;
    measured
        .traffic
        .b_to_a
        .faults
        .push("a record of type 1, which TLS does not have".into());
    assert_eq!(
        failing(&measured),
        ["B to A", "DICM", "AE title A_TITLE_OF_DEMO"]
    );
}

#[test]
fn a_search_that_found_nothing_in_plaintext_fails() {
    let mut measured = good();
    measured.found[0].count = 0;
    assert_eq!(failing(&measured), ["search"]);
    measured.found.clear();
    assert_eq!(failing(&measured), ["search"]);
}
