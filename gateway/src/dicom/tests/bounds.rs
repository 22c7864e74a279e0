//! The bounds of what one association may make the gateway keep.

use super::*;
use crate::strictness::Strictness;

#[test]
fn classes_beyond_the_bound_are_counted_together() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    let many = 10 + u16::try_from(SOP_CLASSES_MAX).expect("few");
    for number in 0..many {
        watched.pass(Requestor, &store(number, &format!("1.2.{number}"), 2));
        watched.pass(Acceptor, &response(STORE, number, 0));
    }
    // And a class that is not a UID.
    watched.pass(Requestor, &store(1, "DOE^JANE", 2));
    watched.pass(Acceptor, &response(STORE, 1, 0));
    let record = watched.lost();
    assert_eq!(record.classes.len(), SOP_CLASSES_MAX + 1);
    let others = record.classes.last().expect("the others");
    assert_eq!(
        (&others.class, others.requests, others.bytes),
        (&None, 11, 22)
    );
    assert_eq!(record.objects(), u64::from(many) + 1);
}

#[test]
fn failures_beyond_the_bound_are_counted_together() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    for status in 0xc000..0xc000 + 2 * u16::try_from(FAILURES_MAX).expect("few") {
        watched.pass(Acceptor, &response(STORE, 1, status));
        watched.pass(Acceptor, &response(STORE, 1, 0xc000));
    }
    let record = watched.lost();
    assert_eq!(record.failures.len(), FAILURES_MAX);
    assert_eq!(record.failures[0].count, 1 + 2 * FAILURES_MAX as u64);
    assert_eq!(record.other_failures, FAILURES_MAX as u64);
}

#[test]
fn requests_beyond_the_bound_are_counted_and_not_matched() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    let many = 5 + u16::try_from(OUTSTANDING_MAX).expect("few");
    for message in 0..many {
        watched.pass(Requestor, &store(message, CT, 2));
    }
    watched.wait(7);
    for message in 0..many {
        watched.pass(Acceptor, &response(STORE, message, 0));
    }
    let record = watched.lost();
    assert_eq!(record.unmatched, 5);
    assert_eq!(record.objects(), OUTSTANDING_MAX as u64);
    assert_eq!(record.storing, Duration::from_millis(7));
    let stores = count(&record, DimseCommand::CStore, Requestor);
    assert_eq!(
        (stores.requests, stores.success),
        (many.into(), many.into())
    );
}

#[test]
fn destinations_beyond_the_bound_are_left_out() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    for number in 0..2 * DESTINATIONS_MAX {
        let to = made::element(0x0600, format!("WS_{number}").as_bytes());
        let command = made::command(MOVE, 1, false, &to);
        watched.pass(Requestor, &made::message(1, &command, None));
    }
    assert_eq!(watched.lost().destinations.len(), DESTINATIONS_MAX);
}

#[test]
fn an_association_is_small() {
    assert!(
        size_of::<Association>() <= 384,
        "{}",
        size_of::<Association>()
    );
}
