//! Every operation of a run without faults fails once, one after the other.

use std::time::Duration;

use gateway::config::{Mode, Protocol};
use rustix::io::Errno;

use crate::app::{End, Script};
use crate::chain::Scenario;
use crate::oracle::{is_whole, judge};
use crate::seeds::FATAL;
use crate::socket::HALF_SILENT_NAME;
use crate::world::{Fault, Faults, PASSING};

const THROUGH_TLS: &[Mode] = &[Mode::Originate, Mode::Terminate];
const PASSED_THROUGH: &[Mode] = &[Mode::Passthrough];

#[test]
fn each_operation_that_fails_in_a_tcp_tunnel_is_seen_at_both_ends() {
    fail_each(&scenario(THROUGH_TLS, Protocol::Tcp));
}

#[test]
fn each_operation_that_fails_in_an_mllp_tunnel_is_seen_at_both_ends() {
    fail_each(&scenario(THROUGH_TLS, Protocol::Mllp));
}

#[test]
fn each_operation_that_fails_in_a_dicom_tunnel_is_seen_at_both_ends() {
    fail_each(&scenario(THROUGH_TLS, Protocol::Dicom));
}

#[test]
fn each_operation_that_fails_in_passthrough_is_seen_at_both_ends() {
    fail_each(&scenario(PASSED_THROUGH, Protocol::Mllp));
}

#[test]
fn each_operation_that_fails_when_passthrough_copies_is_seen_at_both_ends() {
    fail_each(&without_pipes(PASSED_THROUGH, Protocol::Mllp));
}

#[test]
fn each_operation_that_fails_for_a_moment_costs_nothing() {
    for scenario in [
        scenario(THROUGH_TLS, Protocol::Mllp),
        scenario(PASSED_THROUGH, Protocol::Tcp),
        without_pipes(PASSED_THROUGH, Protocol::Tcp),
    ] {
        for cause in PASSING {
            fail_each_for_a_moment(&scenario, cause);
        }
    }
}

fn without_pipes(modes: &[Mode], protocol: Protocol) -> Scenario {
    Scenario {
        pipes: 0,
        ..scenario(modes, protocol)
    }
}

// B answers while A still sends, and A ends first, so that half-closed streams are among the states.
fn scenario(modes: &[Mode], protocol: Protocol) -> Scenario {
    let mut scenario = Scenario::calm(7, modes, protocol);
    scenario.by_name = Some(HALF_SILENT_NAME);
    scenario.scripts[0].amount = 30_000;
    scenario.scripts[0].chunk_max = 20_000;
    scenario.scripts[1] = Script {
        amount: 25_000,
        chunk_max: 20_000,
        think_max: Duration::from_millis(5),
        end: End::AfterPeer,
        ..Script::default()
    };
    scenario
}

fn fail_each(calm: &Scenario) {
    let operations = operations_of(calm);
    let mut failures = 0;
    for at in 1..=operations {
        for cause in FATAL {
            for lasts in [false, true] {
                // A temporary failure is not counted as a failure.
                if lasts || cause != Errno::NOBUFS {
                    failures += u64::from(!run(calm, at, Fault { cause, lasts }));
                }
            }
        }
    }
    // Only a failure after the last byte can leave both directions complete.
    assert!(
        failures > operations * 5,
        "{failures} of {operations} operations"
    );
}

fn fail_each_for_a_moment(calm: &Scenario, cause: Errno) {
    let mut failures = Vec::new();
    for at in 1..=operations_of(calm) {
        let fault = Fault {
            cause,
            lasts: false,
        };
        if !run(calm, at, fault) {
            failures.push(at);
        }
    }
    // Each of two gateways resolves the name and connects once (three operations), and calls shutdown(2) on
    // each of its two sockets.
    assert!(failures.len() <= 10, "{cause:?}: operations {failures:?}");
}

fn operations_of(calm: &Scenario) -> u64 {
    let report = calm.run();
    assert!(is_whole(&report), "{report:#?}");
    assert_eq!(judge(calm, &report), [""; 0]);
    report.operations
}

/// Whether both directions arrived completely.
fn run(calm: &Scenario, at: u64, fault: Fault) -> bool {
    let scenario = Scenario {
        faults: Faults {
            passing_per_mille: 0,
            at: Some((at, fault)),
        },
        ..calm.clone()
    };
    let report = scenario.run();
    let wrong = judge(&scenario, &report);
    assert!(
        wrong.is_empty(),
        "operation {at}, {fault:?}:\n{}\n{report:#?}",
        wrong.join("\n")
    );
    is_whole(&report)
}
