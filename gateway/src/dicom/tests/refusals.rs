//! Bytes that must not pass, and bytes that pass without being read.

use test_peers::openings;

use super::*;
use crate::dicom::PduType;
use crate::strictness::Strictness;

fn only(commands: &[DimseCommand], enforce: bool) -> AssociationRules {
    AssociationRules {
        commands: Some(commands.to_vec()),
        enforce,
        ..AssociationRules::default()
    }
}

fn echo() -> Vec<u8> {
    made::message(1, &made::command(ECHO, 1, false, &[]), None)
}

fn refused(verdict: AssociationVerdict) -> AssociationEndReason {
    match verdict {
        AssociationVerdict::End(reason) => reason,
        AssociationVerdict::Pass => panic!("it passed"),
    }
}

#[test]
fn a_command_that_is_not_listed_ends_the_association() {
    let mut watched = Watched::open(Strictness::Lenient, only(&[DimseCommand::CEcho], true));
    watched.pass(Requestor, &echo());
    watched.pass(Acceptor, &response(ECHO, 1, 0));
    let reason = refused(watched.observe(Requestor, &store(2, CT, 9)));
    let command = RequestedCommand::For(DimseCommand::CStore);
    assert_eq!(
        reason,
        AssociationEndReason::NotAllowed {
            by: Requestor,
            command
        }
    );
    assert_eq!(reason.answer(), ClosingPdu::aborted());
    // The verdict is final.
    assert_eq!(
        watched.observe(Acceptor, &[]),
        AssociationVerdict::End(reason)
    );
    assert_eq!(
        watched.observe(Requestor, &echo()),
        AssociationVerdict::End(reason)
    );
    let record = watched.lost();
    assert_eq!(record.ending, Ending::Policy(reason));
    assert_eq!(record.not_allowed, [DimseCommand::CStore]);
    assert_eq!(count(&record, DimseCommand::CStore, Requestor).requests, 1);
}

#[test]
fn the_list_of_commands_applies_to_the_acceptor_as_well() {
    let mut watched = Watched::open(Strictness::Lenient, only(&[DimseCommand::CGet], true));
    let get = made::command(GET, 1, true, &[]);
    watched.pass(Requestor, &made::message(5, &get, Some(&[0; 4])));
    let reason = refused(watched.observe(Acceptor, &store(1, CT, 9)));
    let command = RequestedCommand::For(DimseCommand::CStore);
    assert_eq!(
        reason,
        AssociationEndReason::NotAllowed {
            by: Acceptor,
            command
        }
    );
}

#[test]
fn an_unknown_command_is_on_no_list() {
    let odd = made::message(1, &made::command(0x7777, 1, false, &[]), None);
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    watched.pass(Requestor, &odd);
    assert_eq!(watched.lost().unknown_commands, 1);
    let mut watched = Watched::open(Strictness::Strict, only(&DimseCommand::ALL, true));
    let reason = refused(watched.observe(Requestor, &odd));
    let command = RequestedCommand::Unknown(0x7777);
    assert_eq!(
        reason,
        AssociationEndReason::NotAllowed {
            by: Requestor,
            command
        }
    );
}

#[test]
fn unknown_commands_that_a_list_would_stop_are_reported() {
    let odd = made::message(1, &made::command(0x7777, 1, false, &[]), None);
    for (rules, expected) in [
        (only(&[DimseCommand::CEcho], false), 1),
        (AssociationRules::default(), 0),
    ] {
        let mut watched = Watched::open(Strictness::Strict, rules);
        watched.pass(Requestor, &odd);
        assert_eq!(watched.lost().unknown_not_allowed, expected);
    }
}

#[test]
fn an_abort_within_a_command_is_reported_as_it_was_sent() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    let part = [4, 0, 0, 0, 0, 10, 0, 0, 0, 6, 1, 1, 0, 0, 0, 0];
    watched.pass(Requestor, &part);
    watched.pass(Requestor, &[7, 0, 0, 0, 0, 4, 0, 0, 2, 1]);
    let abort = crate::dicom::Abort {
        source: 2,
        reason: 1,
    };
    let by = Requestor.into();
    assert_eq!(watched.lost().ending, Ending::Aborted { by, abort });
}

#[test]
fn in_report_mode_unlisted_commands_pass_and_are_reported() {
    let mut watched = Watched::open(Strictness::Lenient, only(&[DimseCommand::CEcho], false));
    watched.pass(Requestor, &store(2, CT, 9));
    watched.pass(Acceptor, &response(STORE, 2, 0));
    let record = watched.lost();
    assert_eq!(record.not_allowed, [DimseCommand::CStore]);
    assert_eq!(record.objects(), 1);
}

#[test]
fn pdus_that_were_complete_before_the_refusal_stay_so() {
    let mut watched = Watched::open(Strictness::Lenient, only(&[DimseCommand::CEcho], true));
    let bytes = store(2, CT, 9);
    let mut whole = Watched::open(Strictness::Lenient, only(&[DimseCommand::CEcho], true));
    refused(whole.observe(Requestor, &bytes));
    assert!(whole.association.is_between_pdus(Requestor));
    assert!(whole.association.is_between_pdus(Acceptor));
    // A part of the command has passed already.
    watched.pass(Requestor, &bytes[..20]);
    refused(watched.observe(Requestor, &bytes[20..]));
    assert!(!watched.association.is_between_pdus(Requestor));
    assert!(watched.association.is_between_pdus(Acceptor));
}

#[test]
fn strict_ends_what_is_not_dicom_as_the_standard_asks() {
    let by = Acceptor;
    let cases = [
        (b"HTTP/1.1 400".to_vec(), Violation::UnknownPdu(b'H')),
        (
            made::request("A", "B", &[]),
            Violation::UnexpectedPdu(PduType::AssociateRq),
        ),
        (
            made::pdu(6, &[0; 4]),
            Violation::UnexpectedPdu(PduType::ReleaseRp),
        ),
        (made::pdu(4, &[0; 3]), Violation::PduLength(PduType::Data)),
        (made::pdu(4, &made::pdv(1, 3, &[1, 2])), Violation::Command),
    ];
    for (bytes, what) in cases {
        let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
        let reason = refused(watched.observe(by, &bytes));
        assert_eq!(reason, AssociationEndReason::Violation { by, what });
        assert!(watched.association.is_between_pdus(by));
        let record = watched.lost();
        assert_eq!(record.ending, Ending::Policy(reason));
        assert_eq!(record.not_followed, None);
    }
}

#[test]
fn an_answer_in_another_protocol_is_named() {
    for (first, name) in [
        (openings::TLS_ALERT, "TLS"),
        (openings::HTTP_ANSWER, "HTTP"),
        (openings::SSH, "SSH"),
        (openings::HL7, "HL7 in MLLP frames"),
    ] {
        let mut watched = Watched::new(Strictness::Strict, AssociationRules::default());
        watched.pass(Requestor, &made::request("A", "B", &[(1, CT)]));
        let reason = refused(watched.observe(Acceptor, first));
        let begin = format!("acceptor sent {name}, not DICOM; ");
        assert!(reason.to_string().starts_with(&begin), "{reason}");
        assert_eq!(reason.answer(), ClosingPdu::unrecognized_pdu());
    }
}

#[test]
fn lenient_forwards_other_bytes_and_stops_reading() {
    let mut watched = Watched::open(Strictness::Lenient, AssociationRules::default());
    watched.pass(Requestor, &store(1, CT, 9));
    watched.pass(Acceptor, &response(STORE, 1, 0));
    assert_eq!(watched.association.not_followed(), None);
    watched.pass(Acceptor, b"HTTP/1.1 400");
    let expected = Some((Acceptor, Violation::UnknownPdu(b'H')));
    assert_eq!(watched.association.not_followed(), expected);
    assert!(!watched.association.is_followed());
    for by in [Requestor, Acceptor] {
        watched.pass(by, &store(2, CT, 9));
        assert!(!watched.association.is_between_pdus(by));
    }
    assert!(!watched.association.is_over());
    let record = watched.lost();
    assert_eq!(record.not_followed, expected);
    assert_eq!(record.ending, Ending::Lost { by: None });
    assert_eq!(record.objects(), 1);
}

#[test]
fn a_side_with_a_list_of_commands_cannot_make_the_observer_stop_reading() {
    let mut watched = Watched::open(Strictness::Lenient, only(&[DimseCommand::CEcho], true));
    let reason = refused(watched.observe(Requestor, &[0x20; 6]));
    let what = Violation::UnknownPdu(0x20);
    assert_eq!(
        reason,
        AssociationEndReason::Violation {
            by: Requestor,
            what
        }
    );
    // A list that only reports stops nobody.
    let mut watched = Watched::open(Strictness::Lenient, only(&[DimseCommand::CEcho], false));
    watched.pass(Requestor, &[0x20; 6]);
}

#[test]
fn after_the_end_nothing_is_reported_but_a_new_request_is_refused() {
    let open = |strictness| {
        let mut watched = Watched::open(strictness, AssociationRules::default());
        for (by, bytes) in release() {
            watched.pass(by, &bytes);
        }
        watched
    };
    let mut watched = open(Strictness::Lenient);
    watched.pass(Requestor, &[0; 9]);
    assert_eq!(watched.association.not_followed(), None);
    let ending = Ending::Released { by: Requestor };
    assert_eq!(watched.lost().ending, ending);
    let mut watched = open(Strictness::Strict);
    watched.pass(Acceptor, &ClosingPdu::aborted().to_bytes());
    refused(watched.observe(Requestor, &made::request("CT_1", "PACS", &[])));
}

#[test]
fn nothing_is_legal_before_its_time() {
    let cases = [
        (Requestor, 2),
        (Requestor, 4),
        (Requestor, 5),
        (Requestor, 7),
        (Acceptor, 1),
        (Acceptor, 2),
        (Acceptor, 3),
        (Acceptor, 4),
        (Acceptor, 6),
    ];
    for (by, kind) in cases {
        let mut watched = Watched::new(Strictness::Strict, AssociationRules::default());
        let what = Violation::UnexpectedPdu(PduType::of(kind).expect("a type"));
        let reason = refused(watched.observe(by, &[kind, 0, 0, 0, 0, 4]));
        assert_eq!(reason, AssociationEndReason::Violation { by, what });
    }
    // Between request and reply, the requestor may only abort.
    for kind in [1, 4, 5, 6] {
        let mut watched = Watched::new(Strictness::Strict, AssociationRules::default());
        watched.pass(Requestor, &made::request("CT_1", "PACS", &[]));
        refused(watched.observe(Requestor, &[kind, 0, 0, 0, 0, 100]));
    }
    // The side that requested the release sends nothing more.
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    watched.pass(Requestor, &made::pdu(5, &[0; 4]));
    refused(watched.observe(Requestor, &echo()));
}
