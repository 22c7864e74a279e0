//! Complete or visibly broken: the rules that hold for every run.
//!
//! Each direction either arrived completely (the receiver read exactly the sent bytes, and then a clean end,
//! after the sender had ended it), or both applications that were still running saw a failure. A stream is
//! never short with a clean end, never altered, never longer. A rejection or an abort between two DICOM PDUs
//! is a failure like a reset. An application is no longer running when it reset the connection itself, or
//! when it had ended its own direction and read the other's clean end: it has then closed, and TCP cannot
//! reach it.
//!
//! In every run, bytes that were authenticated, or read from an application, before the cut are delivered: an
//! application has received the bytes that its gateway counts as forwarded, and that gateway has dropped
//! none, unless the application was gone or did not read them.

use gateway::audit::{CloseReason, ClosedBy};
use gateway::config::Mode;
use gateway::relay::limits::DELIVERY_MAX;

use crate::app::ApplicationReport;
use crate::chain::{Report, Scenario};
use crate::socket::HALF_SLOW_NAME;

/// The violations of a run; empty for a correct run.
pub(crate) fn judge(scenario: &Scenario, report: &Report) -> Vec<String> {
    let mut wrong = report.violations.clone();
    let served = served(report);
    let unused = report.b.iter().enumerate();
    let unused = unused.filter(|(which, _)| Some(*which) != served);
    match served.and_then(|which| report.b.get(which)) {
        Some(b) => {
            wrong.extend(direction("A to B", &report.a, b));
            wrong.extend(direction("B to A", b, &report.a));
        }
        // Nobody was there to receive anything or to end cleanly.
        None => wrong.extend(without_receiver(report)),
    }
    for (_, unused_attempt) in unused {
        if unused_attempt.received > 0 || (unused_attempt.ended && !unused_attempt.left) {
            wrong.push(format!(
                "an attempt that was given up looked real: {unused_attempt:?}"
            ));
        }
    }
    wrong.extend(accounts(scenario, report));
    wrong.extend(undelivered(scenario, report));
    wrong
}

// The used connection of B: the last, except for attempts that another address overtook. One of those may
// have reached B only later, and B may have sent on it, but it has received nothing.
fn served(report: &Report) -> Option<usize> {
    let is_used = |b: &ApplicationReport| b.received > 0 || (b.failure.is_none() && !b.left);
    let most = || {
        let each = report.b.iter().enumerate();
        each.max_by_key(|(_, b)| b.sent).map(|(which, _)| which)
    };
    report.b.iter().rposition(is_used).or_else(most)
}

/// Whether both directions arrived completely.
pub(crate) fn is_whole(report: &Report) -> bool {
    let whole = |b: &ApplicationReport| arrived(&report.a, b) && arrived(b, &report.a);
    served(report).is_some_and(|which| whole(&report.b[which]))
}

fn arrived(sender: &ApplicationReport, receiver: &ApplicationReport) -> bool {
    sender.finished && receiver.ended && sender.sent == receiver.received
}

fn direction(name: &str, sender: &ApplicationReport, receiver: &ApplicationReport) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut note = |what: &str| wrong.push(format!("{name}: {what}: {sender:?} -> {receiver:?}"));
    if receiver.altered.is_some() {
        note("altered");
    }
    if receiver.received > sender.sent {
        note("more was received than sent");
    }
    if arrived(sender, receiver) {
        return wrong;
    }
    if receiver.ended {
        note("short and orderly");
    }
    let knows =
        |story: &ApplicationReport| story.failure.is_some() || story.left || story.is_over();
    if !knows(sender) {
        note("the sender did not see a failure");
    }
    if !knows(receiver) {
        note("the receiver did not see a failure");
    }
    wrong
}

fn without_receiver(report: &Report) -> Vec<String> {
    let a = &report.a;
    let mut wrong = Vec::new();
    // A gateway that stops ends connections that have not begun. Bytes that cross this end are answered by a
    // reset, which a closed application does not see.
    let mut closes = report.accounts.iter().map(|(_, account)| &account.close);
    let has_crossed = a.is_over() && closes.any(|close| close.reason == CloseReason::AtRest);
    if a.received > 0 {
        wrong.push(format!("A received what nobody sent: {a:?}"));
    }
    if a.sent > 0 && a.failure.is_none() && !a.left && !has_crossed {
        wrong.push(format!(
            "nobody took A's bytes, and A did not see a failure: {a:?}"
        ));
    }
    wrong
}

fn accounts(scenario: &Scenario, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let whole = is_whole(report);
    let sent_by_b = served(report).map_or(0, |which| report.b[which].sent);
    for (place, account) in &report.accounts {
        let mut note = |what: &str| wrong.push(format!("gateway {place}: {what}: {account:?}"));
        let complete = account.close.reason == CloseReason::Complete;
        // A failure after the last byte may still be recorded by the side that met it.
        // An attempt that another address overtook carries nothing.
        let is_overtaken = scenario.by_name == Some(HALF_SLOW_NAME)
            && (account.sealed_bytes, account.opened_bytes) == (0, 0);
        // All of an empty stream arrived, and a silent target is reported as such.
        let is_unanswered =
            matches!(account.close.reason, CloseReason::Unanswered(_)) && sent_by_b == 0;
        if whole && !complete && !is_unanswered && !is_overtaken && scenario.is_calm() {
            note("all arrived, and the account says otherwise");
        }
        if let CloseReason::Internal(_) = account.close.reason {
            note("a defect");
        }
        if complete && account.close.by == ClosedBy::Gateway {
            note("nobody ended it");
        }
        let (to_target, to_client) = match scenario.modes[*place] {
            Mode::Terminate => (account.opened_bytes, account.sealed_bytes),
            Mode::Originate | Mode::Passthrough => (account.sealed_bytes, account.opened_bytes),
        };
        let carries_tls = scenario.modes[*place] == Mode::Passthrough
            && scenario.modes.contains(&Mode::Originate);
        // A PDU of B's gateway to A is payload for A's gateway.
        let closing_bytes = report.a.closing_pdu.len() as u64;
        let to_b = served(report).map_or(0, |which| report.b[which].closing_pdu.len() as u64);
        let is_all = to_client == sent_by_b || to_client == sent_by_b + closing_bytes;
        if !carries_tls
            && (to_target > report.a.sent + to_b || to_client > sent_by_b + closing_bytes)
        {
            note("more was moved than sent");
        }
        // An application that receives a PDU with the reason does not receive all bytes of the other side.
        let is_reported = closing_bytes + to_b > 0;
        if !carries_tls && complete && !is_reported && (to_target != report.a.sent || !is_all) {
            note("complete, and the counts are not what was sent");
        }
    }
    wrong
}

fn undelivered(scenario: &Scenario, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let last = scenario.modes.len() - 1;
    let b = served(report).map(|which| &report.b[which]);
    for (place, account) in &report.accounts {
        let mode = scenario.modes[*place];
        let (passed, lost) = (
            [account.sealed_bytes, account.opened_bytes],
            account.undelivered_bytes,
        );
        // To A, and to B.
        let [to_a, to_b] = match mode {
            Mode::Terminate => [0, 1],
            Mode::Originate | Mode::Passthrough => [1, 0],
        };
        let mut check = |receiver: &ApplicationReport, which: usize, side: usize, wire: usize| {
            let (passed, lost) = (passed[which], lost[which]);
            let received = receiver.received + receiver.closing_pdu.len() as u64;
            let is_gone = receiver.left || receiver.gave_up;
            let keeps = scenario.natures[wire].keeps_data_behind_reset;
            // Deadlines of the gateway's own reset at once.
            // A receiver that reads a byte now and then has DELIVERY_MAX.
            let is_by_time = matches!(account.close.reason, CloseReason::Deadline(_))
                || account.duration >= DELIVERY_MAX;
            // After a clean end the system delivers the remaining bytes, as long as the network works.
            let is_lost =
                scenario.is_disturbed(wire) && account.close.reason == CloseReason::Complete;
            let what = if received < passed && keeps && !is_gone && !is_lost {
                "counted as passed and not received"
            } else if lost > 0 && !is_gone && !is_by_time && scenario.must_take(side, wire) {
                "authenticated and dropped"
            } else {
                return;
            };
            wrong.push(format!(
                "gateway {place}: {what}: {account:?} -> {receiver:?}"
            ));
        };
        let is_plain = mode != Mode::Passthrough || !scenario.modes.contains(&Mode::Originate);
        if *place == 0 && is_plain {
            check(&report.a, to_a, 0, 0);
        }
        if *place == last
            && is_plain
            && let Some(b) = b
            && account.target.is_some()
        {
            check(b, to_b, 1, last + 1);
        }
    }
    wrong
}
