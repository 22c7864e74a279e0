//! Whole or told: what must hold of every run, whatever happened in it.
//!
//! Each direction either arrived whole (the receiver read exactly what was sent, and then an orderly
//! end, after the sender had ended it), or both applications that were still there saw a failure.
//! Never short and orderly, never altered, never more. A rejection or an abort between two PDUs of
//! DICOM is a failure like a reset. An application is not there any more when it
//! reset the connection itself, or when it had ended its own direction and read the other's orderly
//! end: it has closed then, and TCP knows no way to reach it.
//!
//! And whatever happened, what was authenticated, or read from an application, before the cut was delivered:
//! an application has received what the gateway next to it counts as passed, and that gateway has dropped
//! nothing, unless the application was gone or did not take it.

use gateway::audit::{ClosedBy, Reason};
use gateway::config::Mode;
use gateway::limits::DELIVERY_MAX;

use crate::app::Story;
use crate::chain::{Report, Scenario};
use crate::socket::HALF_SLOW_NAME;

/// What is wrong with a run; empty is good.
pub(crate) fn judge(scenario: &Scenario, report: &Report) -> Vec<String> {
    let mut wrong = report.violations.clone();
    let served = served(report);
    let strays = report.b.iter().enumerate();
    let strays = strays.filter(|(which, _)| Some(*which) != served);
    match served.and_then(|which| report.b.get(which)) {
        Some(b) => {
            wrong.extend(direction("A to B", &report.a, b));
            wrong.extend(direction("B to A", b, &report.a));
        }
        // There was nobody to receive anything, and nobody who could have ended in order.
        None => wrong.extend(towards_nobody(report)),
    }
    for (_, stray) in strays {
        if stray.received > 0 || (stray.ended && !stray.left) {
            wrong.push(format!(
                "an attempt that was given up looked real: {stray:?}"
            ));
        }
    }
    wrong.extend(accounts(scenario, report));
    wrong.extend(undelivered(scenario, report));
    wrong
}

// Which of B's connections was used: the last, but for attempts that another address overtook. One of
// those may have reached B only later, and B may have spoken on it, but it has received nothing.
fn served(report: &Report) -> Option<usize> {
    let is_used = |b: &Story| b.received > 0 || (b.told.is_none() && !b.left);
    let most = || {
        let each = report.b.iter().enumerate();
        each.max_by_key(|(_, b)| b.sent).map(|(which, _)| which)
    };
    report.b.iter().rposition(is_used).or_else(most)
}

/// Whether both directions arrived whole.
pub(crate) fn is_whole(report: &Report) -> bool {
    let whole = |b: &Story| arrived(&report.a, b) && arrived(b, &report.a);
    served(report).is_some_and(|which| whole(&report.b[which]))
}

fn arrived(sender: &Story, receiver: &Story) -> bool {
    sender.finished && receiver.ended && sender.sent == receiver.received
}

fn direction(name: &str, sender: &Story, receiver: &Story) -> Vec<String> {
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
    let knows = |story: &Story| story.told.is_some() || story.left || story.is_over();
    if !knows(sender) {
        note("the sender was not told");
    }
    if !knows(receiver) {
        note("the receiver was not told");
    }
    wrong
}

fn towards_nobody(report: &Report) -> Vec<String> {
    let a = &report.a;
    let mut wrong = Vec::new();
    // A gateway that stops ends what has not begun. What crosses that end is answered by a reset, which an
    // application that has closed does not see.
    let mut closes = report.accounts.iter().map(|(_, account)| &account.close);
    let has_crossed = a.is_over() && closes.any(|close| close.reason == Reason::AtRest);
    if a.received > 0 {
        wrong.push(format!("A received what nobody sent: {a:?}"));
    }
    if a.sent > 0 && a.told.is_none() && !a.left && !has_crossed {
        wrong.push(format!("nobody took A's bytes, and A was not told: {a:?}"));
    }
    wrong
}

fn accounts(scenario: &Scenario, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let whole = is_whole(report);
    let sent_by_b = served(report).map_or(0, |which| report.b[which].sent);
    for (place, account) in &report.accounts {
        let mut note = |what: &str| wrong.push(format!("gateway {place}: {what}: {account:?}"));
        let complete = account.close.reason == Reason::Complete;
        // A failure behind the last octet may still be noted by whoever met it.
        // An attempt that another address overtook carries nothing.
        let is_overtaken = scenario.by_name == Some(HALF_SLOW_NAME)
            && (account.sealed_bytes, account.opened_bytes) == (0, 0);
        // All of nothing arrived, and a target that answers nothing is named as that.
        let is_unanswered = matches!(account.close.reason, Reason::Unanswered(_)) && sent_by_b == 0;
        if whole && !complete && !is_unanswered && !is_overtaken && scenario.is_calm() {
            note("all arrived, and the account says otherwise");
        }
        if let Reason::Internal(_) = account.close.reason {
            note("a defect");
        }
        if complete && account.close.by == ClosedBy::Gateway {
            note("nobody ended it");
        }
        let (onward, homeward) = match scenario.modes[*place] {
            Mode::Terminate => (account.opened_bytes, account.sealed_bytes),
            Mode::Originate | Mode::Passthrough => (account.sealed_bytes, account.opened_bytes),
        };
        let carries_tls = scenario.modes[*place] == Mode::Passthrough
            && scenario.modes.contains(&Mode::Originate);
        // What the far gateway says to A in its own words is payload to the near one.
        let words = report.a.words.len() as u64;
        let to_b = served(report).map_or(0, |which| report.b[which].words.len() as u64);
        let is_all = homeward == sent_by_b || homeward == sent_by_b + words;
        if !carries_tls && (onward > report.a.sent + to_b || homeward > sent_by_b + words) {
            note("more was moved than sent");
        }
        // Who is told in words is not told all that the other side had sent.
        let is_told = words + to_b > 0;
        if !carries_tls && complete && !is_told && (onward != report.a.sent || !is_all) {
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
        let mut check = |receiver: &Story, which: usize, side: usize, wire: usize| {
            let (passed, lost) = (passed[which], lost[which]);
            let received = receiver.received + receiver.words.len() as u64;
            let is_gone = receiver.left || receiver.gave_up;
            let keeps = scenario.natures[wire].keeps_data_behind_reset;
            // Deadlines of the gateway's own reset at once.
            // Who takes a byte now and then has DELIVERY_MAX.
            let is_by_time = matches!(account.close.reason, Reason::Deadline(_))
                || account.duration >= DELIVERY_MAX;
            // Behind an orderly end the system delivers what is left, as long as the network does.
            let is_lost = scenario.is_disturbed(wire) && account.close.reason == Reason::Complete;
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
