//! Streams of every kind over thousands of seeds.

use crate::chain::Scenario;
use crate::seeds::{PASSTHROUGH, TLS, explore};

#[test]
fn streams_through_tls_arrive_whole_or_both_ends_are_told() {
    let tally = explore(3000, |seed| Scenario::random(seed, &TLS));
    tally.expect_both();
    tally.expect_words();
}

#[test]
fn streams_passed_through_arrive_whole_or_both_ends_are_told() {
    explore(5000, |seed| Scenario::random(seed, &PASSTHROUGH)).expect_both();
}
