//! Tests of the rows of observed routes.

use std::time::Duration;

use super::*;
use crate::measure::SCALE;

/// A DICOM, an MLLP and a TCP route on two cores.
fn routes() -> [RouteMetrics; 3] {
    let routes = ["ct", "ris", "tcp"].map(|name| RouteMetrics {
        name: name.to_owned(),
        peers: Vec::new(),
        cores: (0..2).map(|_| Arc::default()).collect(),
    });
    let [ct, ris, _] = &routes;
    ct.cores
        .iter()
        .for_each(|of| of.observed.count_associations());
    ris.cores
        .iter()
        .for_each(|of| of.observed.count_conversations());
    routes
}

fn shown(routes: &[RouteMetrics]) -> String {
    let snapshot = crate::metrics::Snapshot {
        routes: routes.to_vec(),
        ..crate::metrics::Snapshot::default()
    };
    let is_own = |line: &&str| {
        let of = [
            "associations",
            "dimse",
            "object",
            "store",
            "mllp",
            "not_followed",
        ];
        let name = line
            .split_whitespace()
            .find(|word| word.starts_with("wardgate_"));
        let rest = name.and_then(|name| name.strip_prefix("wardgate_"));
        rest.is_some_and(|rest| of.iter().any(|start| rest.starts_with(start)))
    };
    let text = snapshot.text();
    let own = text.lines().filter(is_own);
    own.flat_map(|line| [line, "\n"]).collect()
}

fn associations(routes: &[RouteMetrics], core: usize) -> Arc<dicom::AssociationCounters> {
    let seen = &routes[0].cores[core].observed;
    seen.associations().expect("a DICOM route")
}

fn conversations(routes: &[RouteMetrics], core: usize) -> Arc<hl7::ConversationCounters> {
    let seen = &routes[1].cores[core].observed;
    seen.conversations().expect("an MLLP route")
}

#[track_caller]
fn assert_shows(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|this| this == *line), "{line}\n{text}");
    }
}

#[test]
fn routes_have_the_rows_of_their_own_protocol_from_the_start() {
    let text = shown(&routes());
    assert_shows(
        &text,
        &[
            "wardgate_associations_total{route=\"ct\",ended=\"released\"} 0",
            "wardgate_dimse_requests_total{route=\"ct\",command=\"C-ECHO\"} 0",
            "wardgate_dimse_responses_total{route=\"ct\",command=\"C-FIND\",class=\"pending\"} 0",
            "wardgate_objects_total{route=\"ct\"} 0",
            "wardgate_not_followed_total{route=\"ct\"} 0",
            "wardgate_mllp_messages_total{route=\"ris\"} 0",
            "wardgate_mllp_acknowledgements_total{route=\"ris\",code=\"other\"} 0",
            "wardgate_not_followed_total{route=\"ris\"} 0",
        ],
    );
    assert!(!text.contains("route=\"tcp\""), "{text}");
    for row in text.lines().filter(|line| line.contains("route=\"ris\"")) {
        assert!(
            row.contains("mllp") || row.contains("not_followed"),
            "{row}"
        );
    }
}

#[test]
fn rows_of_nonstandard_responses_appear_with_the_first_one() {
    let rare = |class: &str| {
        format!(
            "wardgate_dimse_responses_total{{route=\"ct\",command=\"C-STORE\",class=\"{class}\"}}"
        )
    };
    let routes = routes();
    for class in ["pending", "cancelled"] {
        assert!(!shown(&routes).contains(&rare(class)));
    }
    let stores = associations(&routes, 1);
    let (_, store) = stores.commands().nth(1).expect("C-STORE is second");
    let (_, pending) = store.responses().nth(4).expect("pending is last");
    pending.add(1);
    assert_shows(&shown(&routes), &[&format!("{} 1", rare("pending"))]);
}

#[test]
fn the_counts_of_all_cores_are_summed_in_one_row() {
    let routes = routes();
    for (core, count) in [(0, 2), (1, 3)] {
        associations(&routes, core).objects.add(count);
        conversations(&routes, core).messages.add(10 * count);
        conversations(&routes, core).not_followed.add(count);
        let counts = associations(&routes, core);
        let (_, released) = counts.endings().next().expect("there are some");
        released.add(count);
    }
    assert_shows(
        &shown(&routes),
        &[
            "wardgate_objects_total{route=\"ct\"} 5",
            "wardgate_mllp_messages_total{route=\"ris\"} 50",
            "wardgate_not_followed_total{route=\"ris\"} 5",
            "wardgate_associations_total{route=\"ct\",ended=\"released\"} 5",
        ],
    );
}

/// As the text format requires: every bucket includes the lower ones, and the last one all.
#[test]
fn histograms_are_cumulative_and_agree_with_their_count() {
    let routes = routes();
    for (core, millis) in [(0, 1), (1, 1), (0, 40), (1, 700), (0, 40_000)] {
        let time = Duration::from_millis(millis);
        associations(&routes, core).stores.note(time);
    }
    let text = shown(&routes);
    assert_shows(
        &text,
        &[
            "# TYPE wardgate_store_seconds histogram",
            "wardgate_store_seconds_bucket{le=\"0.001\",route=\"ct\"} 2",
            "wardgate_store_seconds_bucket{le=\"0.025\",route=\"ct\"} 2",
            "wardgate_store_seconds_bucket{le=\"0.05\",route=\"ct\"} 3",
            "wardgate_store_seconds_bucket{le=\"1.0\",route=\"ct\"} 4",
            "wardgate_store_seconds_bucket{le=\"30.0\",route=\"ct\"} 4",
            "wardgate_store_seconds_bucket{le=\"+Inf\",route=\"ct\"} 5",
            "wardgate_store_seconds_sum{route=\"ct\"} 40.742",
            "wardgate_store_seconds_count{route=\"ct\"} 5",
        ],
    );
    let start = "wardgate_store_seconds_bucket{le=";
    let buckets = text.lines().filter(|line| line.starts_with(start));
    let numbers: Vec<u64> = buckets
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    assert_eq!(numbers.len(), SCALE.len() + 1);
    assert!(numbers.is_sorted(), "{numbers:?}");
}
