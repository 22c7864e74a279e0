//! An archive that closes at any moment and in any way: the application is rejected if the archive had not
//! answered yet, and receives an abort afterwards.

use std::time::Duration;

use gateway::config::{Mode, Protocol};

use crate::app::{End, Script};
use crate::chain::{Report, Scenario};
use crate::oracle::judge;
use crate::payload::Payload;
use crate::seeds::TLS;
use crate::site::by_address;
use crate::socket::REFUSING_PORT;

/// Longer than the archive's answer and its first data.
const SOME_PDUS: u64 = 420;

#[test]
fn an_archive_that_cannot_be_reached_is_a_rejection() {
    for modes in TLS {
        let mut scenario = asking(1, modes);
        scenario.last_target = Some(by_address(REFUSING_PORT));
        expect_told(&scenario, "refuses");
    }
}

#[test]
fn an_archive_that_closes_cleanly_before_or_after_its_answer_is_a_rejection_or_an_abort() {
    for modes in TLS {
        for amount in 0..SOME_PDUS {
            let mut scenario = asking(amount + 1, modes);
            scenario.scripts[1].amount = amount;
            scenario.scripts[1].end = End::Finish;
            expect_told(&scenario, &format!("closes behind {amount}"));
        }
    }
}

#[test]
fn an_archive_that_resets_before_or_after_it_answered_is_a_rejection_or_an_abort() {
    for modes in TLS {
        for amount in 1..SOME_PDUS {
            let mut scenario = asking(amount + 1, modes);
            scenario.scripts[1].amount = amount;
            scenario.scripts[1].leaves_behind = Some(amount);
            expect_told(&scenario, &format!("resets behind {amount}"));
        }
    }
}

#[test]
fn an_archive_that_resets_before_its_answer_is_a_rejection() {
    for modes in TLS {
        for at in 0..200 {
            let mut scenario = asking(at + 1, modes);
            // The archive reads a few bytes at a time and never answers.
            scenario.natures.last_mut().expect("wires").transfer_max = 7;
            scenario.scripts[1].amount = 0;
            scenario.scripts[1].chunk_max = 5;
            scenario.scripts[1].think_max = Duration::from_millis(3);
            scenario.scripts[1].leaves_at = Some(Duration::from_millis(at));
            expect_told(&scenario, &format!("resets at {at} ms"));
        }
    }
}

#[test]
fn an_archive_that_closes_at_any_time_while_the_application_sends_is_a_rejection_or_an_abort() {
    for modes in TLS {
        for at in 0..150 {
            let mut scenario = asking(at + 1, modes);
            scenario.scripts[0].amount = 60_000;
            scenario.scripts[1].amount = 20_000;
            scenario.scripts[1].leaves_at = Some(Duration::from_millis(at));
            expect_told(&scenario, &format!("resets at {at} ms"));
        }
    }
}

// An application that requests an association and waits, and an archive that never ends it.
fn asking(seed: u64, modes: &[Mode]) -> Scenario {
    let mut scenario = Scenario::calm(seed, modes, Protocol::Dicom);
    scenario.scripts = [5000, 20_000].map(|amount| Script {
        amount,
        end: End::Never,
        ..Script::default()
    });
    scenario
}

fn expect_told(scenario: &Scenario, how: &str) {
    let report = scenario.run();
    assert_eq!(judge(scenario, &report), [""; 0], "{how}: {report:#?}");
    assert!(is_reported(scenario, &report), "{how}: {report:#?}");
}

// With a PDU between two PDUs, with a reset inside one. The application's bytes may meet the reset first.
fn is_reported(scenario: &Scenario, report: &Report) -> bool {
    let answers = Payload::new(scenario.seed, 1, true);
    let is_between = answers.is_between(report.a.received);
    match &report.a.closing_pdu[..] {
        [3, ..] => report.a.received == 0,
        [7, ..] => report.a.received > 0 && is_between,
        _ => report.a.failure.is_some() && !is_between,
    }
}
