//! Streams of every kind over thousands of seeds.

use crate::chain::Scenario;
use crate::seeds::{PASSTHROUGH, TLS, explore};

#[test]
fn streams_through_tls_arrive_completely_or_fail_visibly() {
    let tally = explore(3000, |seed| Scenario::random(seed, &TLS));
    tally.expect_both();
    tally.expect_closing_pdus();
}

#[test]
fn streams_in_passthrough_arrive_completely_or_fail_visibly() {
    explore(5000, |seed| Scenario::random(seed, &PASSTHROUGH)).expect_both();
}
