//! Compares a summary with the result of pynetdicom's decoders for the same bytes, in one form.

use std::fmt::Write as _;

use gateway::dicom::{
    AssociationRole, AssociationSummary, CommandCount, ContextResult, Ending, SopClass,
    UserInformation,
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::script;
use crate::tap::Recording;

/// Checks that each summary agrees with the oracle for its recording.
pub(super) fn assert_agrees(recordings: &[Recording], records: &[AssociationSummary]) {
    let folder = TempDir::new().expect("there is room");
    let files = recordings.iter().enumerate().map(|(number, recording)| {
        let file = folder.path().join(number.to_string());
        std::fs::write(&file, lines(recording)).expect("there is room");
        file
    });
    let outcome = script("oracle.py").args(files).run().expect_success();
    let text = String::from_utf8(outcome.stdout).expect("JSON is UTF-8");
    let oracles: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(oracles.len(), records.len());
    for (number, (oracle, record)) in oracles.iter().zip(records).enumerate() {
        let observed = observed(record);
        for (key, value) in oracle.as_object().expect("an object") {
            let own = observed.get(key);
            assert_eq!(own, Some(value), "{key} of recording {number}: {oracle:#}");
        }
        assert_eq!(observed, *oracle, "recording {number}");
    }
}

/// The input of `oracle.py`.
fn lines(recording: &Recording) -> String {
    let mut text = String::new();
    for (by, bytes) in &recording.parts {
        let by = match by {
            AssociationRole::Requestor => "R ",
            AssociationRole::Acceptor => "A ",
        };
        text.push_str(by);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    text
}

/// The summary in the terms of the oracle.
fn observed(record: &AssociationSummary) -> Value {
    let shown = |title: &gateway::dicom::AeTitle| title.to_string();
    let contexts: Map<_, _> = record
        .contexts
        .iter()
        .map(|context| {
            let class = context.sop_class.as_ref().map(SopClass::uid);
            let value = json!([class, number(context.result)]);
            (context.id.to_string(), value)
        })
        .collect();
    let failures: Map<_, _> = record
        .failures
        .iter()
        .map(|one| (format!("{} {}", one.command, one.status), one.count.into()))
        .collect();
    let classes: Map<_, _> = record
        .classes
        .iter()
        .map(|one| {
            let class = one.class.as_ref().expect("each is counted apart");
            let value = json!({
                "requests": one.requests, "objects": one.objects, "octets": one.bytes
            });
            (class.uid().to_owned(), value)
        })
        .collect();
    json!({
        "calling": record.calling.as_ref().map(shown),
        "called": record.called.as_ref().map(shown),
        "requestor": record.calling.as_ref().map(|_| user(&record.requestor)),
        "acceptor": record.acceptor.as_ref().map(user),
        "contexts": contexts,
        "commands": record.commands.iter().map(command).collect::<Map<_, _>>(),
        "failures": failures,
        "classes": classes,
        "destinations": record.destinations.iter().map(shown).collect::<Vec<_>>(),
        "cancels": record.cancels,
        "ended": ended(&record.ending),
        "unmatched": record.unmatched,
        "left out": record.unknown_commands + record.other_failures,
    })
}

fn user(user: &UserInformation) -> Value {
    json!({
        "pdu_length_max": user.pdu_length_max,
        "implementation": user.implementation.map(|name| name.to_string()),
        "window": user.window.map(|window| [window.invoked, window.performed]),
    })
}

fn command(count: &CommandCount) -> (String, Value) {
    let counts = [
        ("requests", count.requests),
        ("pending", count.pending),
        ("success", count.success),
        ("warning", count.warning),
        ("failure", count.failure),
        ("cancel", count.cancel),
    ];
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    let counts: Map<_, _> = counts
        .map(|(what, n)| (what.to_owned(), n.into()))
        .collect();
    (format!("{} by {}", count.command, count.by), counts.into())
}

fn number(result: ContextResult) -> Option<u8> {
    match result {
        ContextResult::Accepted => Some(0),
        ContextResult::UserRejection => Some(1),
        ContextResult::NoReason => Some(2),
        ContextResult::AbstractSyntax => Some(3),
        ContextResult::TransferSyntaxes => Some(4),
        ContextResult::Other(other) => Some(other),
        ContextResult::Unanswered => None,
    }
}

fn ended(ending: &Ending) -> Value {
    match ending {
        Ending::Released { by } => json!(["released", by.to_string(), []]),
        Ending::Aborted { by, abort } => {
            json!(["aborted", by.to_string(), [abort.source, abort.reason]])
        }
        Ending::Rejected { by, rejection } => {
            let codes = [rejection.result, rejection.source, rejection.reason];
            json!(["rejected", by.to_string(), codes])
        }
        Ending::Closed { .. } => Value::Null,
        other => panic!("a recording ends by itself: {other}"),
    }
}
