//! Whole associations, at any split.

use crate::strictness::Strictness;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::made;
use super::{
    AeTitle, Association, AssociationEndReason, AssociationEndpoint, AssociationRole,
    AssociationRules, AssociationSummary, AssociationVerdict, ClassCount, ClosingPdu, CommandCount,
    ContextResult, DimseCommand, Ending, Phase, RequestedCommand, Status, Violation,
};
use crate::dicom::limits::{DESTINATIONS_MAX, FAILURES_MAX, OUTSTANDING_MAX, SOP_CLASSES_MAX};
use AssociationRole::{Acceptor, Requestor};

mod bounds;
mod evasion;
mod live;
mod refusals;
mod splits;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const MR: &str = "1.2.840.10008.5.1.4.1.1.4";
const FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";

const STORE: u16 = 0x0001;
const GET: u16 = 0x0010;
const MOVE: u16 = 0x0021;
const ECHO: u16 = 0x0030;

/// The bytes that pass, and the side that sends them.
type Script = Vec<(AssociationRole, Vec<u8>)>;

/// An association under test and its clock.
struct Watched {
    association: Association,
    now: Instant,
}

impl Watched {
    fn new(strictness: Strictness, rules: AssociationRules) -> Self {
        let now = Instant::now();
        Self {
            association: Association::new(strictness, Arc::new(rules), now),
            now,
        }
    }

    /// An association that was accepted.
    fn open(strictness: Strictness, rules: AssociationRules) -> Self {
        let mut watched = Self::new(strictness, rules);
        for (by, bytes) in opening() {
            assert_eq!(watched.observe(by, &bytes), AssociationVerdict::Pass);
        }
        watched
    }

    fn observe(&mut self, by: AssociationRole, bytes: &[u8]) -> AssociationVerdict {
        self.association.observe(by, bytes, self.now)
    }

    fn pass(&mut self, by: AssociationRole, bytes: &[u8]) {
        assert_eq!(self.observe(by, bytes), AssociationVerdict::Pass);
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    /// Its summary after a lost connection.
    fn lost(self) -> AssociationSummary {
        self.association.finish(Ending::Lost { by: None }, self.now)
    }
}

/// A request for three contexts, two of which are accepted.
fn opening() -> Script {
    let contexts = [(1, CT), (3, MR), (5, FIND)];
    vec![
        (Requestor, made::request("CT_1", "PACS", &contexts)),
        (Acceptor, made::accept(&[(1, 0), (3, 3), (5, 0)])),
    ]
}

fn release() -> Script {
    vec![
        (Requestor, made::pdu(5, &[0; 4])),
        (Acceptor, made::pdu(6, &[0; 4])),
    ]
}

fn response(field: u16, message: u16, status: u16) -> Vec<u8> {
    made::message(1, &made::response(field | 0x8000, message, status), None)
}

fn store(message: u16, class: &str, bytes: usize) -> Vec<u8> {
    let command = made::store(message, class, true);
    made::message(1, &command, Some(&vec![0xa5; bytes]))
}

fn count(record: &AssociationSummary, command: DimseCommand, by: AssociationRole) -> CommandCount {
    let mut counts = record.commands.iter();
    let found = counts.find(|count| count.command == command && count.by == by);
    *found.expect("a count")
}

fn class<'a>(record: &'a AssociationSummary, name: &str) -> &'a ClassCount {
    let mut classes = record.classes.iter();
    let is_it = |count: &&ClassCount| count.class.as_ref().is_some_and(|c| c.to_string() == name);
    classes.find(is_it).expect("a class")
}

fn title(text: &str) -> AeTitle {
    text.parse().expect("a title")
}

#[test]
fn a_store_is_reported_by_class_size_and_time() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    for (message, bytes, status) in [(1, 1000, 0), (2, 500, 0xb007), (3, 70, 0xa700)] {
        watched.pass(Requestor, &store(message, CT, bytes));
        watched.wait(20);
        watched.pass(Acceptor, &response(STORE, message, status));
        watched.wait(500);
    }
    for (by, bytes) in release() {
        watched.pass(by, &bytes);
    }
    assert!(watched.association.is_over());
    let record = watched.lost();
    assert_eq!(record.ending, Ending::Released { by: Requestor });
    assert_eq!(record.calling, Some(title("CT_1")));
    assert_eq!(record.called, Some(title("PACS")));
    assert_eq!((record.accepted(), record.rejected()), (2, 1));
    assert_eq!(record.contexts.len(), 3);
    assert_eq!(record.contexts[1].result, ContextResult::AbstractSyntax);
    assert_eq!(
        record.acceptor.map(|user| user.pdu_length_max),
        Some(16_384)
    );
    let stores = count(&record, DimseCommand::CStore, Requestor);
    assert_eq!((stores.requests, stores.success), (3, 1));
    assert_eq!((stores.warning, stores.failure), (1, 1));
    let failure = record.failures[0];
    assert_eq!(failure.status, Status(0xa700));
    assert_eq!((failure.command, failure.count), (DimseCommand::CStore, 1));
    let ct = class(&record, "CT Image Storage");
    assert_eq!((ct.requests, ct.objects, ct.bytes), (3, 2, 1500));
    assert_eq!((record.objects(), record.object_bytes()), (2, 1500));
    assert_eq!(record.storing, Duration::from_millis(60));
    assert_eq!(record.rate(), Some(25_000.0));
    let latencies = &record.latencies;
    assert_eq!(latencies.count(), 3);
    let p50 = latencies.p50().expect("three answers");
    let off = p50.abs_diff(Duration::from_millis(20));
    assert!(off < Duration::from_millis(1), "{latencies:?}");
    assert_eq!(record.duration, Duration::from_millis(1560));
}

#[test]
fn latency_counts_from_the_last_byte_of_the_data_set() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    let bytes = store(1, CT, 1000);
    let (last, first) = bytes.split_last().expect("bytes");
    watched.pass(Requestor, first);
    watched.wait(1000);
    watched.pass(Requestor, &[*last]);
    watched.wait(10);
    watched.pass(Acceptor, &response(STORE, 1, 0));
    let record = watched.lost();
    let max = record.latencies.max();
    assert!(
        max.is_some_and(|max| max < Duration::from_millis(11)),
        "{max:?}"
    );
    assert_eq!(record.storing, Duration::from_millis(1010));
}

#[test]
fn roles_flip_in_a_retrieval() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    let get = made::command(GET, 1, true, &made::element(2, FIND.as_bytes()));
    watched.pass(Requestor, &made::message(5, &get, Some(&[0; 40])));
    for message in 1..=2 {
        // The same number as the C-GET, in the other direction.
        watched.pass(Acceptor, &store(message, MR, 300));
        watched.pass(Requestor, &response(STORE, message, 0));
        watched.pass(Acceptor, &response(GET, 1, 0xff00));
    }
    watched.pass(Acceptor, &response(GET, 1, 0));
    let record = watched.lost();
    let get = count(&record, DimseCommand::CGet, Requestor);
    assert_eq!((get.requests, get.pending, get.success), (1, 2, 1));
    let stores = count(&record, DimseCommand::CStore, Acceptor);
    assert_eq!((stores.requests, stores.success), (2, 2));
    assert_eq!(class(&record, "MR Image Storage").bytes, 600);
    assert_eq!(record.unmatched, 0);
}

#[test]
fn many_may_be_outstanding_and_are_answered_in_any_order() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    for message in 1..=10 {
        watched.pass(Requestor, &store(message, CT, usize::from(message)));
        watched.wait(1);
    }
    for message in (1..=10).rev() {
        let status = if message % 2 == 0 { 0 } else { 0xc001 };
        watched.pass(Acceptor, &response(STORE, message, status));
    }
    let record = watched.lost();
    let ct = class(&record, "CT Image Storage");
    assert_eq!((ct.requests, ct.objects), (10, 5));
    assert_eq!(ct.bytes, 2 + 4 + 6 + 8 + 10);
    assert_eq!(record.latencies.count(), 10);
    assert_eq!(record.storing, Duration::from_millis(10));
}

#[test]
fn a_request_without_an_answer_is_not_an_object() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    watched.pass(Requestor, &store(1, CT, 1000));
    watched.wait(5000);
    let record = watched.lost();
    assert_eq!(record.ending, Ending::Lost { by: None });
    let ct = class(&record, "CT Image Storage");
    assert_eq!((ct.requests, ct.objects, ct.bytes), (1, 0, 0));
    assert_eq!((record.rate(), record.latencies.max()), (None, None));
}

#[test]
fn responses_without_a_request_are_counted_as_such() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    watched.pass(
        Requestor,
        &made::message(1, &made::command(ECHO, 1, false, &[]), None),
    );
    watched.pass(Acceptor, &response(ECHO, 2, 0));
    watched.pass(Acceptor, &response(STORE, 1, 0));
    watched.pass(Acceptor, &response(0x7777, 1, 0));
    let record = watched.lost();
    assert_eq!(record.unmatched, 3);
    assert_eq!(count(&record, DimseCommand::CEcho, Requestor).success, 1);
    assert_eq!(record.objects(), 0);
}

#[test]
fn a_cancelled_query_is_reported() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    let find = made::command(0x0020, 9, true, &[]);
    watched.pass(Requestor, &made::message(5, &find, Some(b"DOE^JANE")));
    watched.pass(Acceptor, &response(0x0020, 9, 0xff00));
    watched.pass(
        Requestor,
        &made::message(5, &made::response(0x0fff, 9, 0), None),
    );
    watched.pass(Acceptor, &response(0x0020, 9, 0xfe00));
    let record = watched.lost();
    let find = count(&record, DimseCommand::CFind, Requestor);
    assert_eq!((find.requests, find.pending, find.cancel), (1, 1, 1));
    assert_eq!(record.cancels, 1);
}

#[test]
fn each_move_destination_is_reported_once() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    for destination in ["STORE_2 ", "WS_7", "STORE_2"] {
        let to = made::element(0x0600, destination.as_bytes());
        let command = made::command(MOVE, 1, true, &to);
        watched.pass(Requestor, &made::message(5, &command, Some(&[0; 10])));
        watched.pass(Acceptor, &response(MOVE, 1, 0xa801));
    }
    let expected = [title("STORE_2"), title("WS_7")];
    assert_eq!(watched.lost().destinations, expected);
}

#[test]
fn values_of_one_message_may_lie_in_any_pdus() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    let command = made::store(7, CT, true);
    let (one, two) = command.split_at(9);
    let bytes = [
        made::pdu(4, &made::pdv(1, 1, one)),
        // The rest of the command and the first part of the data in one PDU, more data in the next.
        made::pdu(
            4,
            &[made::pdv(1, 3, two), made::pdv(1, 0, &[0; 30])].concat(),
        ),
        made::pdu(
            4,
            &[made::pdv(1, 0, &[0; 20]), made::pdv(1, 2, &[])].concat(),
        ),
    ];
    watched.pass(Requestor, &bytes.concat());
    watched.pass(Acceptor, &response(STORE, 7, 0));
    assert_eq!(class(&watched.lost(), "CT Image Storage").bytes, 50);
}

#[test]
fn both_sides_may_ask_for_the_release_at_once() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    watched.pass(Acceptor, &made::pdu(5, &[0; 4]));
    watched.pass(Requestor, &made::pdu(5, &[0; 4]));
    watched.pass(Requestor, &made::pdu(6, &[0; 4]));
    assert_eq!(watched.association.phase(), Phase::Releasing);
    watched.pass(Acceptor, &made::pdu(6, &[0; 4]));
    assert_eq!(watched.association.phase(), Phase::Over);
    assert_eq!(watched.lost().ending, Ending::Released { by: Acceptor });
}

#[test]
fn the_side_that_received_a_release_request_may_still_send() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    watched.pass(Requestor, &store(1, CT, 10));
    watched.pass(Requestor, &made::pdu(5, &[0; 4]));
    watched.pass(Acceptor, &response(STORE, 1, 0));
    assert!(!watched.association.is_over());
    watched.pass(Acceptor, &made::pdu(6, &[0; 4]));
    assert_eq!(watched.lost().objects(), 1);
}

#[test]
fn an_abort_is_reported_with_its_sender_and_the_rest_is_not_read() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    watched.pass(Acceptor, &ClosingPdu::unexpected_pdu().to_bytes());
    watched.pass(Requestor, &store(1, CT, 10));
    let record = watched.lost();
    let ClosingPdu::Abort(abort) = ClosingPdu::unexpected_pdu() else {
        panic!("an abort");
    };
    let by = AssociationEndpoint::Acceptor;
    assert_eq!(record.ending, Ending::Aborted { by, abort });
    assert_eq!(record.commands, []);
}

#[test]
fn a_rejection_ends_it_before_it_begins() {
    let mut watched = Watched::new(Strictness::Strict, AssociationRules::default());
    watched.pass(Requestor, &made::request("CT_1", "PACS", &[(1, CT)]));
    assert_eq!(watched.association.phase(), Phase::Requested);
    watched.pass(Acceptor, &ClosingPdu::called_ae_not_recognized().to_bytes());
    assert!(watched.association.is_over());
    let record = watched.lost();
    let ClosingPdu::Reject(rejection) = ClosingPdu::called_ae_not_recognized() else {
        panic!("a rejection");
    };
    let by = AssociationEndpoint::Acceptor;
    assert_eq!(record.ending, Ending::Rejected { by, rejection });
    assert_eq!((record.accepted(), record.rejected()), (0, 0));
    assert_eq!(record.acceptor, None);
    assert_eq!(record.contexts[0].result, ContextResult::Unanswered);
}

#[test]
fn without_an_end_of_its_own_an_association_ends_as_its_connection() {
    let watched = Watched::open(Strictness::Strict, AssociationRules::default());
    let ending = Ending::Truncated { by: Acceptor };
    let record = watched.association.finish(ending.clone(), watched.now);
    assert_eq!(record.ending, ending);
}

#[test]
fn no_patient_data_is_reported() {
    let marks = ["DOE", "JANE", "19700101", "4.3.2.1", "horse"];
    let mut watched = Watched::new(Strictness::Lenient, AssociationRules::default());
    let request = made::request_with_identity("CT_1", "PACS", b"horse");
    // Shown at every step, with the bytes received so far.
    let mut shown = String::new();
    for byte in request {
        watched.pass(Requestor, &[byte]);
        shown.push_str(&format!("{:?}\n", watched.association));
    }
    watched.pass(Acceptor, &made::accept(&[(1, 0)]));
    let more = [
        made::element(0x0002, b"DOE^JANE"),
        made::element(0x0600, b"DOE^JANE 19700101"),
        made::element(0x1000, b"4.3.2.1"),
    ];
    for field in [STORE, MOVE, 0x0020, 0x0110, 0x0120] {
        let command = made::command(field, 1, true, &more.concat());
        let message = made::message(1, &command, Some(b"DOE^JANE 19700101"));
        for byte in message {
            watched.pass(Requestor, &[byte]);
            shown.push_str(&format!("{:?}\n", watched.association));
        }
        watched.pass(Acceptor, &response(field, 1, 0));
    }
    watched.pass(Acceptor, b"DOE^JANE");
    assert!(!watched.association.is_followed());
    shown.push_str(&format!("{:?}\n", watched.association));
    let record = watched.lost();
    assert_eq!(record.objects(), 1);
    shown.push_str(&format!("{record:?}"));
    for mark in marks {
        assert!(!shown.contains(mark), "{mark} is shown");
        let bytes = format!("{:?}", mark.as_bytes());
        assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{mark}");
    }
}

#[test]
fn an_association_is_idle_only_when_every_request_has_its_final_response() {
    let mut watched = Watched::new(Strictness::Lenient, AssociationRules::default());
    let [(_, request), (_, accept)] = &opening()[..] else {
        panic!("two PDUs");
    };
    assert!(!watched.association.is_idle());
    watched.pass(Requestor, request);
    assert!(!watched.association.is_idle(), "not accepted yet");
    watched.pass(Acceptor, accept);
    assert!(watched.association.is_idle());
    // A C-MOVE with pending responses, and beside it a C-STORE of the other role.
    let query = made::message(5, &made::command(MOVE, 1, true, &[]), Some(&[8; 100]));
    let (before, after) = query.split_at(60);
    watched.pass(Requestor, before);
    assert!(!watched.association.is_idle(), "within a PDU");
    watched.pass(Requestor, after);
    for status in [0xff00, 0xff00] {
        assert!(!watched.association.is_idle());
        watched.pass(Acceptor, &response(MOVE, 1, status));
    }
    watched.pass(Acceptor, &store(7, CT, 50));
    watched.pass(Acceptor, &response(MOVE, 1, 0));
    assert!(!watched.association.is_idle(), "the store is outstanding");
    watched.pass(Requestor, &response(STORE, 7, 0));
    assert!(watched.association.is_idle());
    // A fragment of a command set, in a complete PDU.
    let echo = made::command(ECHO, 2, false, &[]);
    let (first, last) = echo.split_at(10);
    watched.pass(Requestor, &made::pdu(4, &made::pdv(1, 1, first)));
    assert!(!watched.association.is_idle());
    watched.pass(Requestor, &made::pdu(4, &made::pdv(1, 3, last)));
    watched.pass(Acceptor, &response(ECHO, 2, 0));
    assert!(watched.association.is_idle());
    watched.pass(Requestor, &made::pdu(5, &[0; 4]));
    assert!(!watched.association.is_idle(), "a release is outstanding");
}

#[test]
fn an_association_with_requests_that_cannot_be_tracked_is_never_idle() {
    let mut watched = Watched::open(Strictness::Lenient, AssociationRules::default());
    let unknown = made::message(1, &made::command(0x7777, 1, false, &[]), None);
    watched.pass(Requestor, &unknown);
    watched.pass(Acceptor, &response(0x7777, 1, 0));
    assert!(!watched.association.is_idle());

    let mut watched = Watched::open(Strictness::Lenient, AssociationRules::default());
    for message in 0..=u16::try_from(OUTSTANDING_MAX).expect("few") {
        watched.pass(Requestor, &store(message, CT, 4));
    }
    for message in 0..=u16::try_from(OUTSTANDING_MAX).expect("few") {
        watched.pass(Acceptor, &response(STORE, message, 0));
    }
    assert!(!watched.association.is_idle());

    let mut watched = Watched::open(Strictness::Lenient, AssociationRules::default());
    watched.pass(Requestor, b"not DICOM any more");
    assert!(!watched.association.is_idle());
}
