//! The connection is cut after each frame, in each direction.

use super::*;

#[test]
fn wherever_the_exchange_is_cut_both_sides_report_truly_what_was_written() {
    // HELLO, PROOF, OFFER, READY, DONE in each direction.
    for cut in 0..5 {
        for from_connecting in [true, false] {
            let [hospital, region] = both([CODE; 2], ROLES, |one, two| {
                relay(one, two, |number, is_connecting, frame| {
                    let is_cut = number == cut && is_connecting == from_connecting;
                    (!is_cut).then_some(frame)
                });
            });
            let what = format!("frame {cut} from connecting {from_connecting}");
            // The listening side never has written alone.
            assert!(hospital.done.committed || !region.done.committed, "{what}");
            for (own, other) in [(&hospital, &region), (&region, &hospital)] {
                let Err((written, _)) = &own.result else {
                    assert!(own.done.committed, "{what}");
                    continue;
                };
                assert_ne!(written.own, WrittenPart::Maybe, "{what}");
                let is_all = written.own == WrittenPart::All;
                assert_eq!(is_all, own.done.committed, "{what}");
                match written.other {
                    WrittenPart::Nothing => assert!(!other.done.committed, "{what}"),
                    WrittenPart::Maybe => {}
                    WrittenPart::All => assert!(other.done.committed, "{what}"),
                }
            }
            if cut < 3 {
                assert!(!hospital.done.committed && !region.done.committed, "{what}");
            }
        }
    }
}

/// A side that fails where it prepares, or where it writes.
struct Fails {
    in_commit: bool,
}

impl OfferHandler for Fails {
    fn prepare(&mut self, _: &Offer) -> Result<(), PairingError> {
        match self.in_commit {
            true => Ok(()),
            false => Err(PairingError::Aborted("the disk is full".to_owned())),
        }
    }

    fn commit(&mut self) -> Result<(), PairingError> {
        Err(PairingError::Aborted("the disk is full".to_owned()))
    }
}

/// What a failing side with this role reports as written, and how the good side opposite ended.
fn beside_a_failing_side(role: PairRole, mut fails: Fails) -> (WrittenState, Outcome) {
    let (own, other) = sockets();
    let opposite = match role {
        PairRole::Connects => PairRole::Listens,
        PairRole::Listens => PairRole::Connects,
    };
    thread::scope(|scope| {
        let good = scope.spawn(move || side(own, opposite, CODE, &offer_of("hospital")));
        let mut stream = other;
        let mut check = |is_right: &mut dyn FnMut() -> bool| Ok(is_right());
        let mut channel = prove(&mut stream, role, &PairingCode::of(CODE), &mut check)
            .expect("the code is right");
        let failed = exchange(&mut stream, &mut channel, &offer_of("region"), &mut fails);
        let failed = failed.expect_err("it cannot write");
        (failed.written, good.join().expect("no panic"))
    })
}

#[test]
fn a_side_that_cannot_prepare_sends_a_reject_and_the_other_side_writes_nothing() {
    for role in ROLES {
        let (written, good) = beside_a_failing_side(role, Fails { in_commit: false });
        assert_eq!(written, WrittenState::NOTHING);
        assert!(!good.done.committed);
        let error = good.error().to_string();
        assert!(error.contains("the disk is full"), "{error}");
    }
}

#[test]
fn a_side_whose_writing_fails_reports_that_a_part_may_be_written() {
    use WrittenPart::{All, Maybe, Nothing};
    for (role, own, other) in [
        (PairRole::Connects, Maybe, Nothing),
        (PairRole::Listens, Maybe, All),
    ] {
        let (written, good) = beside_a_failing_side(role, Fails { in_commit: true });
        assert_eq!(written, WrittenState { own, other });
        assert_eq!(good.done.committed, other == All);
        let Err((of_good, error)) = good.result else {
            panic!("the good side reports success");
        };
        let (own, other) = (other, Maybe);
        assert_eq!(of_good, WrittenState { own, other });
        assert!(error.to_string().contains("the disk is full"), "{error}");
    }
}
