//! The WAN tier: delay, loss, reordering, duplication, a narrow link, a black hole for large packets, and a link
//! that goes down, by netem in user-mode Linux kernels, because few build machines have netem. One kernel runs all
//! scenarios that wait (`tests/src/bin/wan`), another one measures; nothing of this machine is changed.
//!
//! By default the timeouts of the gateways and of the NAT are a tenth of the defaults. `cargo xtask wan --full`
//! takes the defaults themselves.

mod kernel;
mod nat;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use wardgate_tests::tier::{self, Need};

const NEEDS: [Need; 7] = [
    Need::Root,
    Need::Program("cc"),
    Need::Program("taskset"),
    Need::Program("linux.uml"),
    Need::Program("modprobe"),
    Need::Program("ethtool"),
    Need::Program("storescp"),
];

/// Whether this run has the default timeouts, more bytes and repetitions.
pub(crate) fn is_full() -> bool {
    std::env::var("WARDGATE_WAN").is_ok_and(|scale| scale == "full")
}

/// What a kernel reported: each scenario as `ok` or `failed` with a text.
type Results = BTreeMap<String, String>;

fn results(which: &str, turn: usize) -> Results {
    let scale = if is_full() { "full" } else { "short" };
    let output = kernel::run("wan", &format!("{which} {scale}"), turn);
    let lines = || output.lines().map(str::trim);
    for line in lines().filter(|line| line.starts_with('|')) {
        println!("{line}");
    }
    let results = lines().filter_map(|line| line.strip_prefix("RESULT "));
    let pairs = results.filter_map(|line| line.split_once(' '));
    let results: Results = pairs
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect();
    assert!(
        !results.is_empty(),
        "the kernel reported nothing:\n{output}"
    );
    results
}

/// The scenarios of one kernel, which the first test that asks starts.
struct Kernel {
    which: &'static str,
    turn: usize,
    results: OnceLock<Results>,
}

static LINES: Kernel = Kernel::new("lines", 0);
static RATES: Kernel = Kernel::new("rates", 1);

impl Kernel {
    const fn new(which: &'static str, turn: usize) -> Self {
        Self {
            which,
            turn,
            results: OnceLock::new(),
        }
    }

    /// Fails unless each of these scenarios took place and succeeded.
    fn succeeds(&self, names: &[&str]) {
        if !tier::ready("wan", &NEEDS) {
            return;
        }
        let results = self.results.get_or_init(|| results(self.which, self.turn));
        for name in names {
            let text = results.get(*name).map_or("not reported", String::as_str);
            println!("{name} {text}");
            assert!(text.starts_with("ok: "), "{name} {text}");
        }
    }
}

#[test]
fn transfers_complete_under_delay_loss_reordering_duplication_and_a_short_queue() {
    LINES.succeeds(&["completes"]);
}

#[test]
fn a_black_hole_for_large_packets_is_passed_with_mtu_probing() {
    LINES.succeeds(&["mtu_probed"]);
}

#[test]
fn a_black_hole_for_large_packets_is_reported_to_both_applications_without_mtu_probing() {
    LINES.succeeds(&["mtu_not_probed"]);
}

#[test]
fn a_transfer_continues_after_ten_seconds_without_a_link() {
    LINES.succeeds(&["down_10_s"]);
}

#[test]
fn a_lost_wan_is_reported_to_both_applications_at_the_time_that_the_guide_states() {
    LINES.succeeds(&["wan_lost"]);
}

#[test]
fn a_lost_client_or_archive_is_reported_to_the_other_site_at_the_time_that_the_guide_states() {
    LINES.succeeds(&["client_lost", "archive_lost"]);
}

#[test]
fn c_store_is_as_fast_through_the_gateways_as_without_them() {
    RATES.succeeds(&["store_rate"]);
}
