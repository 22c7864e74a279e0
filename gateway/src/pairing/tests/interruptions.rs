//! The connection is cut after each frame, in each direction.

use super::*;

#[test]
fn wherever_the_exchange_is_cut_both_sides_say_truly_what_was_written_and_a_second_run_pairs() {
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
                match written {
                    WrittenState::Nothing => {
                        assert!(!own.done.committed && !other.done.committed, "{what}");
                    }
                    WrittenState::OtherMaybe => assert!(!own.done.committed, "{what}"),
                    WrittenState::OwnOnly => assert!(own.done.committed, "{what}"),
                }
            }
            if cut < 3 {
                assert!(!hospital.done.committed && !region.done.committed, "{what}");
            }
        }
    }
    let [hospital, region] = both([CODE; 2], ROLES, |one, two| {
        relay(one, two, |_, _, frame| Some(frame));
    });
    assert!(hospital.done.committed && region.done.committed);
}

#[test]
fn a_side_that_cannot_write_tells_the_other_which_then_writes_nothing() {
    struct Fails;
    impl Partner for Fails {
        fn prepare(&mut self, _: &Offer) -> Result<(), PairingError> {
            Err(PairingError::Aborted("the disk is full".to_owned()))
        }
        fn commit(&mut self) -> Result<(), PairingError> {
            Ok(())
        }
    }
    for role in ROLES {
        let (own, other) = sockets();
        let opposite = if role == PairRole::Connects {
            PairRole::Listens
        } else {
            PairRole::Connects
        };
        let outcome = thread::scope(|scope| {
            let good = scope.spawn(move || side(own, opposite, CODE, &offer_of("hospital")));
            let mut stream = other;
            let mut check = |is_right: &mut dyn FnMut() -> bool| Ok(is_right());
            let mut channel = prove(&mut stream, role, &PairingCode::of(CODE), &mut check)
                .expect("the code is right");
            let failed = exchange(&mut stream, &mut channel, &offer_of("region"), &mut Fails);
            let failed = failed.expect_err("it cannot write");
            assert_eq!(failed.written, WrittenState::Nothing);
            good.join().expect("no panic")
        });
        assert!(!outcome.done.committed);
        let error = outcome.error().to_string();
        assert!(error.contains("the disk is full"), "{error}");
    }
}
