//! The same association, split at any position.

use super::*;
use crate::strictness::Strictness;

// A store, a retrieval with pending responses, and several requests at once.
fn script() -> Script {
    let get = made::command(GET, 1, true, &[]);
    let part = |bytes: &[u8], control| made::pdu(4, &made::pdv(1, control, bytes));
    let command = made::store(8, MR, true);
    let mut script = opening();
    script.extend([
        (Requestor, store(1, CT, 60)),
        (Acceptor, response(STORE, 1, 0)),
        (Requestor, made::message(5, &get, Some(&[0; 12]))),
        (Acceptor, store(1, MR, 33)),
        (Requestor, response(STORE, 1, 0xb000)),
        (Acceptor, response(GET, 1, 0xff00)),
        (Acceptor, response(GET, 1, 0)),
        (Requestor, store(6, CT, 1)),
        (Requestor, store(7, CT, 2)),
        (Requestor, part(&command[..11], 1)),
        (Requestor, part(&command[11..], 3)),
        (Requestor, part(&[0; 5], 0)),
        (Acceptor, response(STORE, 7, 0)),
        (Requestor, part(&[0; 6], 2)),
        (Acceptor, response(STORE, 8, 0)),
        (Acceptor, response(STORE, 6, 0xa700)),
    ]);
    script.extend(release());
    script
}

fn play(script: &Script, cut: impl Fn(usize, &[u8]) -> Vec<Vec<u8>>) -> AssociationSummary {
    let mut watched = Watched::new(Strictness::Strict, AssociationRules::default());
    let mut passed = 0;
    for (by, bytes) in script {
        for piece in cut(passed, bytes) {
            watched.pass(*by, &piece);
        }
        assert!(watched.association.is_between_pdus(*by));
        passed += bytes.len();
    }
    watched.lost()
}

#[test]
fn the_record_is_the_same_at_every_split() {
    let script = script();
    let whole = play(&script, |_, bytes| vec![bytes.to_vec()]);
    assert_eq!(whole.ending, Ending::Released { by: Requestor });
    assert_eq!(whole.objects(), 4);
    assert_eq!(whole.object_bytes(), 60 + 33 + 2 + 11);
    assert_eq!(count(&whole, DimseCommand::CGet, Requestor).pending, 1);
    let total: usize = script.iter().map(|(_, bytes)| bytes.len()).sum();
    for at in 0..total {
        let cut_at = |passed: usize, bytes: &[u8]| {
            let here = at.checked_sub(passed).filter(|here| *here < bytes.len());
            let (one, two) = bytes.split_at(here.unwrap_or(0));
            vec![one.to_vec(), two.to_vec()]
        };
        assert_eq!(play(&script, cut_at), whole, "cut at {at}");
    }
}

#[test]
fn the_record_is_the_same_in_pieces_of_any_length() {
    let script = script();
    let whole = play(&script, |_, bytes| vec![bytes.to_vec()]);
    for length in 1..80 {
        let pieces = |_, bytes: &[u8]| bytes.chunks(length).map(<[u8]>::to_vec).collect();
        assert_eq!(play(&script, pieces), whole, "pieces of {length}");
    }
}

#[test]
fn a_side_is_between_pdus_where_one_ended_and_none_began() {
    let mut watched = Watched::open(Strictness::Strict, AssociationRules::default());
    let bytes = store(1, CT, 20);
    let first = bytes.len() - 20 - 12;
    for (at, byte) in bytes.iter().enumerate() {
        let is_between = at == 0 || at == first;
        assert_eq!(
            watched.association.is_between_pdus(Requestor),
            is_between,
            "{at}"
        );
        assert!(watched.association.is_between_pdus(Acceptor));
        watched.pass(Requestor, &[*byte]);
    }
    assert!(watched.association.is_between_pdus(Requestor));
}
