//! Attempts to send a second A-ASSOCIATE-RQ without a check: none works if a rule is enforced.

use super::*;
use crate::dicom::limits::COMMAND_BYTES_MAX;
use crate::dicom::{Binding, PduType};
use crate::strictness::Strictness;

/// Rules that need a check of the request, one rule each.
fn rules_about_titles() -> [AssociationRules; 4] {
    let titles = || Some(vec![title("CT_1"), title("PACS")]);
    let bound = vec![Binding {
        title: title("MR_9"),
        identities: vec!["dns:gw.b.example".to_owned()],
    }];
    [
        AssociationRules {
            called: titles(),
            ..AssociationRules::default()
        },
        AssociationRules {
            calling: titles(),
            ..AssociationRules::default()
        },
        AssociationRules {
            bound,
            ..AssociationRules::default()
        },
        AssociationRules {
            by_title: true,
            ..AssociationRules::default()
        },
    ]
}

fn second() -> Vec<u8> {
    made::request("MR_9", "OTHER", &[(1, CT)])
}

fn accept() -> Vec<u8> {
    made::accept(&[(1, 0), (3, 3), (5, 0)])
}

fn abort() -> Vec<u8> {
    ClosingPdu::aborted().to_bytes().to_vec()
}

fn reject() -> Vec<u8> {
    ClosingPdu::temporary_congestion().to_bytes().to_vec()
}

/// The bytes of both sides after the first request, up to and including a second request.
fn evasions() -> Vec<(&'static str, Script)> {
    let open = |more: Script| {
        let accepted = [(Acceptor, accept())];
        accepted.into_iter().chain(more).collect::<Script>()
    };
    let released = |more: Script| open(release().into_iter().chain(more).collect());
    let mut doubled = made::element(0x0110, &7_u16.to_le_bytes());
    doubled.extend(made::command(ECHO, 7, false, &[]));
    let unknown = || made::pdu(0x48, &[0; 4]);
    let long = COMMAND_BYTES_MAX + 1;
    let part = |control, bytes: &[u8]| made::pdu(4, &made::pdv(1, control, bytes));
    vec![
        // The three cases of the audit.
        (
            "a message id that stands twice",
            open(vec![
                (Requestor, made::message(1, &doubled, None)),
                (Requestor, second()),
            ]),
        ),
        (
            "a PDU of unknown type",
            open(vec![(Requestor, unknown()), (Requestor, second())]),
        ),
        (
            "a PDU of unknown type behind the release",
            released(vec![(Requestor, unknown()), (Requestor, second())]),
        ),
        // At once, and after each way to end.
        ("nothing before it", vec![(Requestor, second())]),
        ("the acceptance", open(vec![(Requestor, second())])),
        ("the release", released(vec![(Requestor, second())])),
        (
            "a rejection",
            vec![(Acceptor, reject()), (Requestor, second())],
        ),
        (
            "a rejection and an acceptance",
            vec![
                (Acceptor, reject()),
                (Acceptor, accept()),
                (Requestor, second()),
            ],
        ),
        (
            "an abort by the requestor",
            open(vec![(Requestor, abort()), (Requestor, second())]),
        ),
        (
            "an abort by the acceptor",
            open(vec![(Acceptor, abort()), (Requestor, second())]),
        ),
        (
            "an unknown PDU of the acceptor",
            open(vec![(Acceptor, unknown()), (Requestor, second())]),
        ),
        (
            "an unknown PDU behind an abort",
            open(vec![
                (Acceptor, abort()),
                (Requestor, unknown()),
                (Requestor, second()),
            ]),
        ),
        (
            "an unknown PDU of the acceptor behind a rejection",
            vec![
                (Acceptor, reject()),
                (Acceptor, unknown()),
                (Requestor, second()),
            ],
        ),
        // From the other side.
        (
            "a request of the acceptor",
            open(vec![(Acceptor, second())]),
        ),
        (
            "a request in place of the answer",
            vec![(Acceptor, second())],
        ),
        (
            "a request of the acceptor behind the release",
            released(vec![(Acceptor, second())]),
        ),
        // PDUs out of turn.
        (
            "data before the acceptance",
            vec![(Requestor, store(1, CT, 9)), (Requestor, second())],
        ),
        (
            "a second acceptance",
            open(vec![(Acceptor, accept()), (Requestor, second())]),
        ),
        (
            "data behind the own release",
            open(vec![
                (Requestor, made::pdu(5, &[0; 4])),
                (Requestor, store(1, CT, 9)),
                (Requestor, second()),
            ]),
        ),
        (
            "a release that nobody asked for",
            open(vec![
                (Acceptor, made::pdu(6, &[0; 4])),
                (Requestor, second()),
            ]),
        ),
        // Lengths that contradict each other.
        (
            "an acceptance that cannot be read",
            vec![(Acceptor, made::pdu(2, &[0xff; 80])), (Requestor, second())],
        ),
        (
            "an acceptance beyond the bound",
            vec![
                (Acceptor, vec![2, 0, 0xff, 0xff, 0xff, 0xff]),
                (Requestor, second()),
            ],
        ),
        (
            "a release of another length",
            open(vec![
                (Requestor, made::pdu(5, &second())),
                (Requestor, second()),
            ]),
        ),
        (
            "an abort of another length",
            open(vec![
                (Requestor, made::pdu(7, &second())),
                (Requestor, second()),
            ]),
        ),
        (
            "data without a value",
            open(vec![(Requestor, made::pdu(4, &[])), (Requestor, second())]),
        ),
        (
            "a value longer than its PDU",
            open(vec![
                (Requestor, made::pdu(4, &[0, 0, 0, 99, 1, 2, 0])),
                (Requestor, second()),
            ]),
        ),
        (
            "bytes after the last value",
            open(vec![
                (
                    Requestor,
                    made::pdu(4, &[made::pdv(1, 2, &[0; 4]), second()].concat()),
                ),
                (Requestor, second()),
            ]),
        ),
        // Malformed commands.
        (
            "a command that cannot be read",
            open(vec![
                (Requestor, part(3, &[1, 2, 3])),
                (Requestor, second()),
            ]),
        ),
        (
            "a command beyond the bound",
            open(vec![
                (Requestor, part(1, &vec![0; long])),
                (Requestor, second()),
            ]),
        ),
        (
            "a command with data between its parts",
            open(vec![
                (Requestor, part(1, &[0; 4])),
                (Requestor, part(2, &[0; 4])),
                (Requestor, second()),
            ]),
        ),
        // Odd messages that can still be followed.
        (
            "reserved bits of the message control header",
            open(vec![
                (Requestor, part(0xfc, &[0; 4])),
                (Requestor, part(0xfe, &[0; 4])),
                (Requestor, second()),
            ]),
        ),
        (
            "more requests than are remembered",
            open(
                (0..OUTSTANDING_MAX + 9)
                    .map(|_| (Requestor, store(1, CT, 9)))
                    .chain([(Requestor, second())])
                    .collect(),
            ),
        ),
        (
            "a data set that does not end",
            open(vec![(Requestor, part(0, &second())), (Requestor, second())]),
        ),
    ]
}

/// Plays what follows the first request, and returns for each part whether it passed.
fn play(rules: &AssociationRules, script: &Script) -> (Watched, Vec<bool>) {
    let mut watched = Watched::new(Strictness::Lenient, rules.clone());
    let contexts: Vec<_> = (0..200).map(|number| (number, CT)).collect();
    watched.pass(Requestor, &made::request("CT_1", "PACS", &contexts));
    let see = |(by, bytes): &(AssociationRole, Vec<u8>)| {
        watched.observe(*by, bytes) == AssociationVerdict::Pass
    };
    let passed = script.iter().map(see).collect();
    (watched, passed)
}

#[test]
fn no_second_request_passes_if_titles_are_checked_or_select_targets() {
    for rules in rules_about_titles() {
        for (name, script) in evasions() {
            let (watched, passed) = play(&rules, &script);
            assert_eq!(passed.last(), Some(&false), "{name}: {rules:?}");
            let record = watched.lost();
            assert!(matches!(record.ending, Ending::Policy(_)), "{name}");
            assert_eq!((record.not_followed, record.would_end), (None, false));
        }
    }
}

#[test]
fn in_report_mode_a_second_request_passes_and_is_always_logged() {
    for rules in rules_about_titles() {
        let rules = AssociationRules {
            enforce: false,
            ..rules
        };
        for (name, script) in evasions() {
            let (watched, passed) = play(&rules, &script);
            assert!(passed.into_iter().all(|passed| passed), "{name}");
            let record = watched.lost();
            assert!(record.not_followed.is_some(), "{name}: {rules:?}");
            assert!(record.would_end, "{name}");
        }
    }
}

#[test]
fn without_rules_nothing_is_ended_by_a_second_request() {
    for (name, script) in evasions() {
        let (watched, _) = play(&AssociationRules::default(), &script);
        let record = watched.lost();
        assert!(!matches!(record.ending, Ending::Policy(_)), "{name}");
        assert!(!record.would_end, "{name}");
    }
}

/// A command after the sender's own A-ABORT would not be checked, because the association is over.
#[test]
fn a_side_that_aborted_sends_no_more_commands() {
    let rules = AssociationRules {
        commands: Some(vec![DimseCommand::CEcho]),
        ..AssociationRules::default()
    };
    let mut watched = Watched::open(Strictness::Lenient, rules);
    watched.pass(Requestor, &abort());
    // Bytes in transit from the other side, which may abort as well.
    watched.pass(Acceptor, &store(1, CT, 9));
    watched.pass(Acceptor, &abort());
    watched.pass(Requestor, &abort());
    let verdict = watched.observe(Requestor, &store(2, CT, 9));
    let what = Violation::UnexpectedPdu(PduType::Data);
    let by = Requestor;
    assert_eq!(
        verdict,
        AssociationVerdict::End(AssociationEndReason::Violation { by, what })
    );
}
