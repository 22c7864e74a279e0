//! The rows as they are shown.

use std::time::Duration;

use super::*;

fn cores() -> [Arc<Core>; 2] {
    [0, 1].map(|cpu| {
        let seen = [
            Seen::Associations(Arc::default()),
            Seen::Conversations(Arc::default()),
            Seen::Nothing,
        ];
        Arc::new(Core::looking(cpu, seen.into_iter()))
    })
}

fn shown(cores: &[Arc<Core>]) -> String {
    let mut text = String::new();
    write(&mut text, &["ct", "ris", "tcp"], cores);
    text
}

fn associations(core: &Core) -> Arc<dicom::Counts> {
    core.routes[0].seen.associations().expect("a DICOM route")
}

fn conversations(core: &Core) -> Arc<hl7::Counts> {
    core.routes[1].seen.conversations().expect("an MLLP route")
}

#[track_caller]
fn assert_shows(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|this| this == *line), "{line}\n{text}");
    }
}

#[test]
fn routes_have_the_rows_of_their_own_protocol_from_the_beginning() {
    let text = shown(&cores());
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
fn responses_that_the_standard_does_not_have_come_with_the_first() {
    let rare = |class: &str| {
        format!(
            "wardgate_dimse_responses_total{{route=\"ct\",command=\"C-STORE\",class=\"{class}\"}}"
        )
    };
    let cores = cores();
    for class in ["pending", "cancelled"] {
        assert!(!shown(&cores).contains(&rare(class)));
    }
    let stores = associations(&cores[1]);
    let (_, store) = stores.commands().nth(1).expect("C-STORE is second");
    let (_, pending) = store.responses().nth(4).expect("pending is last");
    pending.add(1);
    assert_shows(&shown(&cores), &[&format!("{} 1", rare("pending"))]);
}

#[test]
fn the_counts_of_all_cores_are_one_row() {
    let cores = cores();
    for (core, count) in cores.iter().zip([2, 3]) {
        associations(core).objects.add(count);
        conversations(core).messages.add(10 * count);
        conversations(core).not_followed.add(count);
        let counts = associations(core);
        let (_, released) = counts.endings().next().expect("there are some");
        released.add(count);
    }
    assert_shows(
        &shown(&cores),
        &[
            "wardgate_objects_total{route=\"ct\"} 5",
            "wardgate_mllp_messages_total{route=\"ris\"} 50",
            "wardgate_not_followed_total{route=\"ris\"} 5",
            "wardgate_associations_total{route=\"ct\",ended=\"released\"} 5",
        ],
    );
}

/// As the text format asks: every bucket holds those before it, the last one all.
#[test]
fn histograms_are_cumulative_and_agree_with_their_count() {
    let cores = cores();
    for (core, millis) in [(0, 1), (1, 1), (0, 40), (1, 700), (0, 40_000)] {
        let time = Duration::from_millis(millis);
        associations(&cores[core]).stores.note(time);
    }
    let text = shown(&cores);
    assert_shows(
        &text,
        &[
            "# TYPE wardgate_store_seconds histogram",
            "wardgate_store_seconds_bucket{route=\"ct\",le=\"0.001\"} 2",
            "wardgate_store_seconds_bucket{route=\"ct\",le=\"0.025\"} 2",
            "wardgate_store_seconds_bucket{route=\"ct\",le=\"0.05\"} 3",
            "wardgate_store_seconds_bucket{route=\"ct\",le=\"1\"} 4",
            "wardgate_store_seconds_bucket{route=\"ct\",le=\"30\"} 4",
            "wardgate_store_seconds_bucket{route=\"ct\",le=\"+Inf\"} 5",
            "wardgate_store_seconds_sum{route=\"ct\"} 40.742000",
            "wardgate_store_seconds_count{route=\"ct\"} 5",
        ],
    );
    let start = "wardgate_store_seconds_bucket{route=\"ct\"";
    let buckets = text.lines().filter(|line| line.starts_with(start));
    let numbers: Vec<u64> = buckets
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    assert_eq!(numbers.len(), SCALE.len() + 1);
    assert!(numbers.is_sorted(), "{numbers:?}");
}
