//! The metrics of associations, during them and after them.

use wardgate_tests::tier;
use wardgate_tests::{DEADLINE, Gateway, Pki, until};

use crate::associations::{CALLED, CALLING, Open, PYNETDICOM, Provider, ask_to};
use crate::pair::Pair;

/// The rows of a metric that are not zero: their labels besides the route, and their values.
fn rows(gateway: &Gateway, name: &str) -> Vec<String> {
    let text = gateway.metrics();
    let rows = text.lines().filter_map(|line| {
        let labels = line.strip_prefix(name)?.strip_prefix("{route=\"")?;
        let (_, rest) = labels.split_once('"')?;
        Some(rest.trim_start_matches(',').replace('}', ""))
    });
    rows.filter(|row| !row.ends_with(" 0")).collect()
}

fn wait_for(gateway: &Gateway, name: &str, expected: &[&str]) {
    until(&format!("{name} is not {expected:?}"), DEADLINE, || {
        (rows(gateway, name) == expected).then_some(())
    });
}

#[test]
fn an_association_is_counted_while_it_lasts() {
    if !tier::ready("interop", &PYNETDICOM) {
        return;
    }
    let provider = Provider::start();
    let pair = Pair::start(&Pki::new(), "dicom", provider.port);
    let actions = ["echo*2", "store*3", "find"];
    let open = Open::start(pair.entry, CALLING, CALLED, &actions);
    for gateway in [&pair.a, &pair.b] {
        wait_for(
            gateway,
            "wardgate_dimse_requests_total",
            &[
                "command=\"C-ECHO\" 2",
                "command=\"C-STORE\" 3",
                "command=\"C-FIND\" 1",
            ],
        );
        wait_for(gateway, "wardgate_objects_total", &[" 3"]);
        wait_for(gateway, "wardgate_store_seconds_count", &[" 3"]);
        assert!(gateway.metric("wardgate_object_bytes_total") > 120_000.0);
        assert!(gateway.metric("wardgate_store_seconds_sum") > 0.0);
        let responses = rows(gateway, "wardgate_dimse_responses_total");
        let stored = "command=\"C-STORE\",class=\"success\" 3";
        assert!(responses.iter().any(|row| row == stored), "{responses:?}");
        assert_eq!(rows(gateway, "wardgate_associations_total"), [""; 0]);
        let text = gateway.metrics();
        for word in [CALLING, CALLED, "1.2.840"] {
            assert!(!text.contains(word), "{word} is from the network");
        }
    }
    assert_eq!(open.release().ended(), "released");
    for gateway in [&pair.a, &pair.b] {
        wait_for(
            gateway,
            "wardgate_associations_total",
            &["ended=\"released\" 1"],
        );
        assert_eq!(rows(gateway, "wardgate_not_followed_total"), [""; 0]);
    }
    pair.stop();
}

#[test]
fn an_association_that_is_refused_is_counted_as_rejected() {
    if !tier::ready("interop", &PYNETDICOM) {
        return;
    }
    // No program listens there.
    let pair = Pair::start(&Pki::new(), "dicom", wardgate_tests::free_port());
    ask_to(pair.entry, &["echo"]);
    for gateway in [&pair.a, &pair.b] {
        wait_for(
            gateway,
            "wardgate_associations_total",
            &["ended=\"rejected\" 1"],
        );
        assert_eq!(rows(gateway, "wardgate_dimse_requests_total"), [""; 0]);
    }
}
