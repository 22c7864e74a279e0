//! The counts of a route during an association and after it.

use super::*;
use crate::dicom::{AssociationCounters, Class};
use crate::strictness::Strictness;

fn counted(strictness: Strictness) -> (Watched, Arc<AssociationCounters>) {
    let counts = Arc::new(AssociationCounters::default());
    let mut watched = Watched::new(strictness, AssociationRules::default());
    let given = Some(Arc::clone(&counts));
    watched.association = watched.association.counted(given);
    (watched, counts)
}

fn opened(strictness: Strictness) -> (Watched, Arc<AssociationCounters>) {
    let (mut watched, counts) = counted(strictness);
    for (by, bytes) in opening() {
        watched.pass(by, &bytes);
    }
    (watched, counts)
}

fn requests(counts: &AssociationCounters, command: DimseCommand) -> u64 {
    let mut commands = counts.commands();
    let found = commands.find(|(this, _)| *this == command);
    found.map_or(0, |(_, of)| of.requests.get())
}

fn responses(counts: &AssociationCounters, command: DimseCommand, class: Class) -> u64 {
    let mut commands = counts.commands();
    let (_, of) = commands.find(|(this, _)| *this == command).expect("one");
    let mut responses = of.responses();
    let found = responses.find(|(this, _)| *this == class);
    found.map_or(0, |(_, count)| count.get())
}

fn ended(counts: &AssociationCounters) -> Vec<(&'static str, u64)> {
    let endings = counts.endings().map(|(word, count)| (word, count.get()));
    endings.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn every_command_is_counted_when_it_passes() {
    let (mut watched, counts) = opened(Strictness::Strict);
    watched.pass(Requestor, &store(1, CT, 1000));
    assert_eq!(requests(&counts, DimseCommand::CStore), 1);
    assert_eq!(counts.objects.get(), 0, "the request is not answered yet");
    watched.wait(40);
    watched.pass(Acceptor, &response(STORE, 1, 0));
    watched.pass(Requestor, &store(2, MR, 70));
    watched.pass(Acceptor, &response(STORE, 2, 0xa700));
    assert_eq!(responses(&counts, DimseCommand::CStore, Class::Success), 1);
    assert_eq!(responses(&counts, DimseCommand::CStore, Class::Failure), 1);
    assert_eq!((counts.objects.get(), counts.object_bytes.get()), (1, 1000));
    assert_eq!(counts.stores.each().sum::<u64>(), 2);
    assert_eq!(counts.stores.micros(), 40_000);
    assert_eq!(ended(&counts), []);
    watched.lost();
    assert_eq!(ended(&counts), [("lost", 1)]);
}

#[test]
fn requests_of_either_side_are_counted_together() {
    let (mut watched, counts) = opened(Strictness::Strict);
    watched.pass(Requestor, &store(1, CT, 10));
    watched.pass(Acceptor, &store(1, MR, 20));
    watched.pass(Requestor, &response(STORE, 1, 0));
    watched.pass(Acceptor, &response(STORE, 1, 0));
    assert_eq!(requests(&counts, DimseCommand::CStore), 2);
    assert_eq!((counts.objects.get(), counts.object_bytes.get()), (2, 30));
}

#[test]
fn associations_of_one_route_are_counted_together() {
    let (mut first, counts) = opened(Strictness::Strict);
    let (mut second, _) = counted(Strictness::Strict);
    second.association = second.association.counted(Some(Arc::clone(&counts)));
    for (by, bytes) in opening().into_iter().chain(release()) {
        second.pass(by, &bytes);
    }
    first.pass(Requestor, &store(1, CT, 10));
    second.lost();
    first.lost();
    assert_eq!(ended(&counts), [("released", 1), ("lost", 1)]);
}

/// As in the log, which has no line for such a connection: port scans are not associations.
#[test]
fn a_connection_without_a_request_is_not_counted() {
    let (watched, counts) = counted(Strictness::Strict);
    watched.lost();
    assert_eq!(ended(&counts), []);
}

#[test]
fn an_association_that_is_no_longer_followed_is_counted_once_and_at_once() {
    let (mut watched, counts) = opened(Strictness::Lenient);
    for _ in 0..3 {
        watched.pass(Requestor, b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(counts.not_followed.get(), 1);
    }
    let (mut watched, counts) = opened(Strictness::Strict);
    assert!(matches!(
        watched.observe(Requestor, b"GET / HTTP"),
        AssociationVerdict::End(_)
    ));
    assert_eq!(counts.not_followed.get(), 0, "the association is ended");
    watched.lost();
    assert_eq!(ended(&counts), [("policy", 1)]);
}
