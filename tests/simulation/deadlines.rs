//! Deadlines and the drain, on the virtual clock: exact to the second, and visible at both ends.

use std::time::Duration;

use gateway::audit::{CloseReason, ConnectionSummary, Deadline, Event};
use gateway::config::{Mode, Protocol};
use gateway::relay::limits::{HALF_CLOSED_SILENCE, PROGRESS_EVERY};

use crate::app::{End, Script};
use crate::chain::{Report, Scenario};
use crate::oracle::judge;
use crate::site::{by_address, by_name};
use crate::socket::{HALF_SILENT_NAME, HALF_SLOW_NAME, REFUSING_PORT, SILENT_PORT, UNKNOWN_NAME};

const THROUGH_TLS: &[Mode] = &[Mode::Originate, Mode::Terminate];

#[test]
fn silence_for_the_idle_time_ends_a_tcp_connection() {
    for modes in [THROUGH_TLS, &[Mode::Passthrough]] {
        let mut scenario = waiting(modes, Protocol::Tcp);
        scenario.timeouts.idle = Some(Duration::from_secs(600));
        let report = judged(&scenario);
        // The gateway whose clock began first ends it.
        let account = ended_by(&report, |reason| {
            *reason == CloseReason::Deadline(Deadline::Idle)
        });
        assert!(within(account, 600, 605), "{account:?}");
    }
}

#[test]
fn a_stream_that_moves_now_and_then_is_not_idle() {
    let mut scenario = Scenario::calm(3, THROUGH_TLS, Protocol::Tcp);
    scenario.timeouts.idle = Some(Duration::from_secs(10));
    for script in &mut scenario.scripts {
        script.amount = 40;
        script.chunk_max = 1;
    }
    scenario.scripts[0].think_max = Duration::from_secs(9);
    let report = judged(&scenario);
    assert!(all_complete(&report), "{report:#?}");
}

#[test]
fn a_slow_reader_is_not_idle_while_it_takes_bytes() {
    // Only one gateway: before a second one, the first has nothing left to move and is idle.
    let mut scenario = Scenario::calm(3, &[Mode::Passthrough], Protocol::Tcp);
    scenario.timeouts.idle = Some(Duration::from_secs(10));
    scenario.scripts[0].amount = 200_000;
    scenario.scripts[0].chunk_max = 100_000;
    // About 500 bytes per second, of a batch that the gateway holds completely.
    scenario.natures[1].capacity = 4096;
    scenario.scripts[1].chunk_max = 1000;
    scenario.scripts[1].think_max = Duration::from_secs(2);
    let report = judged(&scenario);
    assert!(all_complete(&report), "{report:#?}");
}

#[test]
fn a_silent_application_is_rejected_after_the_first_byte_deadline() {
    for modes in [THROUGH_TLS, &[Mode::Passthrough]] {
        let report = judged(&waiting(modes, Protocol::Mllp));
        let account = ended_by(&report, |reason| {
            *reason == CloseReason::Deadline(Deadline::FirstByte)
        });
        assert!(within(account, 5, 5), "{account:?}");
        assert!(
            report.a.failure.is_some() && report.b.is_empty(),
            "{report:?}"
        );
    }
}

#[test]
fn a_connection_that_only_one_side_ever_finishes_is_ended_at_last() {
    for modes in [THROUGH_TLS, &[Mode::Passthrough]] {
        let mut scenario = Scenario::calm(4, modes, Protocol::Tcp);
        scenario.scripts[1].end = End::Never;
        // Application B is practically gone: it has read the end and no longer reads its socket, so it cannot
        // be notified; everything between must end.
        let report = scenario.run();
        let forsaken = CloseReason::Deadline(Deadline::HalfClosed);
        let account = ended_by(&report, |reason| *reason == forsaken);
        let silence = HALF_CLOSED_SILENCE.as_secs();
        assert!(within(account, silence, silence * 9 / 8 + 5), "{account:?}");
        assert_eq!(report.accounts.len(), modes.len(), "{report:#?}");
        assert!(report.a.failure.is_some(), "{report:?}");
    }
}

#[test]
fn the_end_of_the_drain_is_seen_at_both_ends() {
    for modes in [THROUGH_TLS, &[Mode::Passthrough]] {
        let mut scenario = waiting(modes, Protocol::Tcp);
        scenario.stop_at = Some(Duration::from_secs(90));
        let report = judged(&scenario);
        let account = ended_by(&report, |reason| *reason == CloseReason::Drained);
        assert!(within(account, 90, 90), "{account:?}");
        assert!(
            report.a.failure.is_some() && report.b.iter().all(|b| b.failure.is_some()),
            "{report:?}"
        );
    }
}

#[test]
fn a_connection_that_an_operator_ends_is_reset_at_both_ends_and_named_so() {
    for modes in [THROUGH_TLS, &[Mode::Passthrough]] {
        let mut scenario = waiting(modes, Protocol::Tcp);
        scenario.end_at = Some(Duration::from_secs(90));
        let report = judged(&scenario);
        let account = ended_by(&report, |reason| *reason == CloseReason::EndedByCommand);
        assert!(within(account, 90, 90), "{account:?}");
        assert!(
            report.a.failure.is_some() && report.b.iter().all(|b| b.failure.is_some()),
            "{report:?}"
        );
    }
}

#[test]
fn a_long_connection_is_reported_when_its_peer_is_accepted_and_every_hour() {
    for (amount, protocol) in [(100, Protocol::Tcp), (100, Protocol::Mllp)] {
        let mut scenario = waiting(THROUGH_TLS, protocol);
        scenario.scripts[0].amount = amount;
        scenario.stop_at = Some(3 * PROGRESS_EVERY + Duration::from_secs(60));
        let report = judged(&scenario);
        for (place, account) in &report.accounts {
            let of_it = report.events.iter().filter(|(of, _)| of == place);
            let of_it: Vec<_> = of_it.map(|(_, event)| event).collect();
            let [Event::Accepted(accepted), reports @ ..] = &of_it[..] else {
                panic!("{of_it:?}");
            };
            assert_eq!(accepted.id, account.id);
            assert_eq!(Some(&accepted.peer), account.peer.as_ref());
            assert_eq!(reports.len(), 3, "{reports:?}");
            for (number, event) in (1..).zip(reports) {
                let Event::Progress(progress) = event else {
                    panic!("{event:?}");
                };
                assert_eq!(progress.id, account.id);
                assert_eq!(progress.sealed_bytes, account.sealed_bytes);
                let late =
                    progress.duration.as_secs_f64() - PROGRESS_EVERY.as_secs_f64() * number as f64;
                assert!((0.0..5.0).contains(&late), "{progress:?}");
            }
        }
    }
}

#[test]
fn an_application_hears_within_four_seconds_that_no_target_can_be_reached() {
    let silent = by_address(SILENT_PORT);
    let refusing = by_address(REFUSING_PORT);
    let unknown = by_name(UNKNOWN_NAME, 104);
    for modes in [&[Mode::Originate], &[Mode::Passthrough]] {
        let mut scenario = waiting(modes, Protocol::Tcp);
        scenario.bad_targets = vec![
            silent.clone(),
            refusing.clone(),
            unknown.clone(),
            silent.clone(),
        ];
        // The right target is silent as well.
        scenario.by_name = None;
        scenario.last_target = Some(silent.clone());
        let report = judged(&scenario);
        let account = ended_by(&report, |reason| {
            matches!(reason, CloseReason::Unreachable(_))
        });
        assert!(within(account, 3, 4), "{account:?}");
        assert!(report.a.failure.is_some(), "{report:?}");
    }
}

#[test]
fn targets_that_do_not_answer_leave_time_for_the_one_that_does() {
    let mut scenario = Scenario::calm(5, THROUGH_TLS, Protocol::Mllp);
    scenario.bad_targets = vec![
        by_address(SILENT_PORT),
        by_address(REFUSING_PORT),
        by_name(UNKNOWN_NAME, 104),
    ];
    let report = judged(&scenario);
    assert!(all_complete(&report), "{report:#?}");
}

#[test]
fn an_address_that_is_silent_or_slow_holds_up_no_connection() {
    let through_one: &[&[Mode]] = &[&[Mode::Originate, Mode::Terminate], &[Mode::Passthrough]];
    for modes in through_one {
        for name in [HALF_SILENT_NAME, HALF_SLOW_NAME] {
            for seed in 1..=20 {
                let mut scenario = Scenario::calm(seed, modes, Protocol::Tcp);
                scenario.by_name = Some(name);
                let report = judged(&scenario);
                let served = report.accounts.iter().map(|(_, account)| account);
                let served: Vec<_> = served.filter(|account| account.target.is_some()).collect();
                assert_eq!(served.len(), modes.len(), "seed {seed}: {report:#?}");
                let complete =
                    |account: &&ConnectionSummary| account.close.reason == CloseReason::Complete;
                assert!(served.iter().all(complete), "seed {seed}: {report:#?}");
            }
        }
    }
}

#[test]
fn a_wrong_record_is_answered_by_an_alert() {
    for seed in 1..=20 {
        let mut scenario = Scenario::calm(seed, THROUGH_TLS, Protocol::Tcp);
        for script in &mut scenario.scripts {
            script.amount = 40_000;
            script.end = End::Never;
        }
        // Long after the handshake, in transit to the acceptor.
        scenario.natures[1].altered = Some((1, 20_000));
        let report = judged(&scenario);
        for (place, account) in &report.accounts {
            let reason = account.close.reason.to_string();
            let words: &[_] = match place {
                // Until the peer's first payload an alert counts as its answer to the handshake.
                0 => &["BadRecordMac", "bad_record_mac"],
                _ => &["decrypt"],
            };
            let is_reported = words.iter().any(|word| reason.contains(word));
            assert!(is_reported, "seed {seed}, gateway {place}: {reason}");
        }
    }
}

/// The alert is sealed with the next number of its key. If a record is sealed before the alert and sent after
/// it, or the other way round, the alert is unreadable: the peer would report a bad record of the gateway.
#[test]
fn an_alert_is_read_by_the_peer_though_its_own_stream_is_full_of_records() {
    for seed in 1..=300 {
        let mut scenario = Scenario::calm(seed, THROUGH_TLS, Protocol::Tcp);
        // A key update before each batch, and a wire with little room: the way out is often blocked.
        scenario.key_records = 1;
        scenario.natures[1].capacity = 1000 + 37 * seed as usize;
        scenario.natures[1].transfer_max = 700;
        scenario.scripts[0].amount = 40_000;
        scenario.scripts[1].amount = 400_000;
        for script in &mut scenario.scripts {
            script.end = End::Never;
        }
        scenario.natures[1].altered = Some((1, 10_000 + 50 * seed));
        let report = judged(&scenario);
        let connector = report.accounts.iter().find(|(place, _)| *place == 0);
        let (_, account) = connector.expect("the connector has an account");
        let reason = account.close.reason.to_string();
        let is_reported = ["BadRecordMac", "bad_record_mac", "reset"]
            .iter()
            .any(|word| reason.contains(word));
        assert!(is_reported, "seed {seed}: {reason}");
    }
}

#[test]
fn a_target_that_does_not_answer_a_passthrough_client_is_given_the_first_byte_deadline() {
    let mut scenario = waiting(&[Mode::Passthrough], Protocol::Mllp);
    scenario.scripts[0].amount = 100;
    let report = judged(&scenario);
    let account = ended_by(&report, |reason| {
        *reason == CloseReason::Deadline(Deadline::FirstByte)
    });
    assert!(within(account, 5, 6), "{account:?}");
    assert!(report.a.failure.is_some() && report.b.iter().all(|b| b.failure.is_some()));
}

#[test]
fn a_peer_that_drips_its_handshake_is_ended_at_the_deadline() {
    let mut scenario = waiting(THROUGH_TLS, Protocol::Tcp);
    let drip = Duration::from_millis(100);
    scenario.natures[1].transfer_max = 1;
    scenario.natures[1].pause = (drip, drip);
    let report = judged(&scenario);
    let account = ended_by(&report, |reason| {
        *reason == CloseReason::Deadline(Deadline::Handshake)
    });
    assert!(within(account, 5, 5), "{account:?}");
    assert!(
        report.a.failure.is_some() && report.b.is_empty(),
        "{report:?}"
    );
}

// Applications that send nothing and wait for the end.
fn waiting(modes: &[Mode], protocol: Protocol) -> Scenario {
    let mut scenario = Scenario::calm(1, modes, protocol);
    for script in &mut scenario.scripts {
        *script = Script {
            amount: 0,
            end: End::Never,
            ..Script::default()
        };
    }
    scenario
}

fn judged(scenario: &Scenario) -> Report {
    let report = scenario.run();
    assert_eq!(judge(scenario, &report), [""; 0], "{report:#?}");
    report
}

fn ended_by(report: &Report, is_it: impl Fn(&CloseReason) -> bool) -> &ConnectionSummary {
    let mut accounts = report.accounts.iter().map(|(_, account)| account);
    accounts
        .find(|account| is_it(&account.close.reason))
        .unwrap_or_else(|| panic!("no such account: {report:#?}"))
}

fn within(account: &ConnectionSummary, least: u64, most: u64) -> bool {
    let slack = Duration::from_millis(500);
    let (least, most) = (
        Duration::from_secs(least) - slack,
        Duration::from_secs(most) + slack,
    );
    (least..=most).contains(&account.duration)
}

fn all_complete(report: &Report) -> bool {
    let complete =
        |entry: &(usize, ConnectionSummary)| entry.1.close.reason == CloseReason::Complete;
    !report.accounts.is_empty() && report.accounts.iter().all(complete)
}
