//! The WAN tier: delay, loss, reordering, duplication, a narrow link, a black hole for large packets, and a link
//! that goes down, by netem in a user-mode Linux kernel, because few build machines have netem. One kernel runs all
//! scenarios (`tests/src/bin/wan`) and ends; nothing of this machine is changed.
//!
//! `cargo xtask wan --full` runs them with more bytes.

mod kernel;
mod nat;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use wardgate_tests::tier::{self, Need};

const NEEDS: [Need; 5] = [
    Need::Root,
    Need::Program("linux.uml"),
    Need::Program("modprobe"),
    Need::Program("ethtool"),
    Need::Program("storescp"),
];

/// The scenarios that the kernel reported, each as `ok` or `failed` with a text.
fn results() -> &'static BTreeMap<String, String> {
    static RESULTS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    RESULTS.get_or_init(|| {
        let which = std::env::var("WARDGATE_WAN").unwrap_or_else(|_| "short".to_owned());
        let output = kernel::run("wan", &which);
        let lines = output
            .lines()
            .filter_map(|line| line.trim().strip_prefix("RESULT "));
        let pairs = lines.filter_map(|line| line.split_once(' '));
        let results: BTreeMap<_, _> = pairs
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect();
        assert!(
            !results.is_empty(),
            "the kernel reported nothing:\n{output}"
        );
        results
    })
}

fn succeeds(names: &[&str]) {
    if !tier::ready("wan", &NEEDS) {
        return;
    }
    for name in names {
        let text = results().get(*name).map_or("not reported", String::as_str);
        println!("{name} {text}");
        assert!(text.starts_with("ok: "), "{name} {text}");
    }
}

#[test]
fn transfers_complete_under_delay_loss_reordering_duplication_and_a_short_queue() {
    succeeds(&["completes"]);
}

#[test]
fn a_black_hole_for_large_packets_is_passed_with_mtu_probing_and_else_told() {
    succeeds(&["mtu_probed", "mtu_not_probed"]);
}

#[test]
fn a_transfer_continues_after_ten_seconds_without_a_link() {
    succeeds(&["down_10_s"]);
}

#[test]
fn a_lost_link_is_told_in_silence_and_in_mid_transfer_in_the_time_that_the_guide_states() {
    succeeds(&["loss"]);
}

#[test]
fn c_store_is_as_fast_through_the_gateways_as_without_them() {
    // A rate needs a machine that does nothing else: `cargo xtask wan --full`.
    if std::env::var("WARDGATE_WAN").is_ok_and(|which| which == "full") {
        succeeds(&["store_rate"]);
    }
}
