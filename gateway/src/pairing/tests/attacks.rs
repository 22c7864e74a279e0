//! Somebody on the line, or at the port, who does not have the code.

use std::sync::Mutex;

use super::*;
use crate::pairing::frame::{FrameKind, PairingFrame};
use crate::pairing::limits::CODE_TRIES;

#[test]
fn bytes_that_are_no_key_exchange_use_up_no_try() {
    let hello = |body: &[u8]| {
        PairingFrame {
            kind: FrameKind::Hello,
            body: body.to_vec(),
        }
        .bytes()
    };
    let element = [&b"WGPAIR\x01C"[..], &[0xff; 32]].concat();
    for bytes in [
        &b""[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        // A frame that is longer than a HELLO may be, and one without its body.
        b"\x01\xff\xff",
        b"\x01\x00\x28WGPAIR",
        b"\x04\x00\x00",
        &hello(b"WGPAIR\x01"),
        &hello(b"WGPAIR\x01C"),
        &hello(&element),
    ] {
        let (outcome, _) = listening(bytes);
        assert_eq!(outcome.tries, CODE_TRIES, "{bytes:?}");
        assert!(
            !matches!(outcome.error(), PairingError::WrongCode),
            "{bytes:?}"
        );
    }
}

#[test]
fn a_client_of_another_version_is_told_which_is_spoken() {
    let body = [&b"WGPAIR\x02C"[..], &[1; 32]].concat();
    let (outcome, sent) = listening(
        &PairingFrame {
            kind: FrameKind::Hello,
            body,
        }
        .bytes(),
    );
    assert!(matches!(outcome.error(), PairingError::Version(2)));
    assert_eq!(sent, [6, 0, 1, RejectCode::Version.byte()]);
}

/// The frames of a good exchange, in the direction of the listening side and back.
fn recorded() -> [Vec<u8>; 2] {
    let records = [Mutex::new(Vec::new()), Mutex::new(Vec::new())];
    let [hospital, region] = both([CODE; 2], ROLES, |one, two| {
        relay(one, two, |_, is_connecting, frame| {
            let record = &records[usize::from(!is_connecting)];
            record.lock().expect("no panic").extend(&frame);
            Some(frame)
        });
    });
    assert!(hospital.done.committed && region.done.committed);
    records.map(|record| record.into_inner().expect("no panic"))
}

#[test]
fn a_recorded_exchange_has_no_certificate_and_cannot_be_replayed_even_with_the_same_code() {
    let [to_region, to_hospital] = recorded();
    for record in [&to_region, &to_hospital] {
        // Every certificate here has this in it.
        assert!(memchr::memmem::find(record, b".example").is_none());
    }
    let (region, _) = listening(&to_region);
    assert!(
        matches!(region.error(), PairingError::WrongCode),
        "{}",
        region.error()
    );
    let mut script = Script {
        incoming: &to_hospital,
        sent: Vec::new(),
    };
    let hospital = side_over(&mut script, PairRole::Connects, CODE, &offer_of("hospital"));
    assert!(
        matches!(hospital.error(), PairingError::WrongCode),
        "{}",
        hospital.error()
    );
    for outcome in [hospital, region] {
        assert!(!outcome.done.prepared);
    }
}

#[test]
fn a_middle_that_exchanges_keys_of_its_own_with_both_sides_is_found_out() {
    let [hospital, region] = both([CODE; 2], ROLES, |one, two| {
        thread::scope(|scope| {
            let guess = [7, 7, 7, 7];
            scope.spawn(move || side(one, PairRole::Listens, guess, &offer_of("middle")));
            scope.spawn(move || side(two, PairRole::Connects, guess, &offer_of("middle")));
        });
    });
    for outcome in [hospital, region] {
        let error = outcome.error();
        let wrong = RejectCode::WrongCode;
        let is_wrong = matches!(error, PairingError::WrongCode)
            || matches!(error, PairingError::Rejected { code, .. } if *code == wrong);
        assert!(is_wrong, "{error}");
        assert!(!outcome.done.prepared);
    }
}

#[test]
fn a_frame_that_is_sent_back_to_its_sender_is_refused() {
    let ((own, mut other), offer) = (sockets(), offer_of("hospital"));
    let outcome = thread::scope(|scope| {
        let hospital = scope.spawn(move || side(own, PairRole::Connects, CODE, &offer));
        while let Some(frame) = raw_frame(&mut other) {
            if other.write_all(&frame).is_err() {
                break;
            }
        }
        hospital.join().expect("no panic")
    });
    assert!(!outcome.done.prepared);
}

#[test]
fn a_frame_that_is_changed_in_any_byte_ends_the_exchange_at_both_sides() {
    // Frames in both directions: HELLO, PROOF, OFFER, READY, DONE.
    for frame_number in 0..5 {
        for from_connecting in [true, false] {
            for place in [0, 3, 9, 30] {
                let [hospital, region] = both([CODE; 2], ROLES, |one, two| {
                    relay(one, two, |number, is_connecting, mut frame| {
                        if number == frame_number && is_connecting == from_connecting {
                            let place = place.min(frame.len() - 1);
                            frame[place] ^= 1;
                        }
                        Some(frame)
                    });
                });
                let what =
                    format!("frame {frame_number} from connecting {from_connecting} byte {place}");
                let failed = [&hospital, &region].map(|side| side.result.is_err());
                assert!(failed[0] || failed[1], "{what}");
                // Before READY of both nothing is written; the listening side writes last.
                if frame_number < 3 {
                    assert!(!hospital.done.committed && !region.done.committed, "{what}");
                }
                assert!(hospital.done.committed || !region.done.committed, "{what}");
            }
        }
    }
}

#[test]
fn a_frame_that_is_left_out_or_sent_twice_is_noticed() {
    for frame_number in 2..4 {
        for copies in [0, 2] {
            let [hospital, region] = both([CODE; 2], ROLES, |one, two| {
                relay(one, two, |number, is_connecting, frame| {
                    if number == frame_number && is_connecting {
                        // Without the frame, the next is taken for it.
                        return Some(frame.repeat(copies));
                    }
                    // Both sides wait for each other; the end of one is that of the other.
                    (copies == 2 || number <= frame_number).then_some(frame)
                });
            });
            assert!(
                region.result.is_err(),
                "frame {frame_number} {copies} times"
            );
            assert!(!region.done.committed);
            assert!(hospital.result.is_err());
        }
    }
}

#[test]
fn a_code_that_was_used_opens_no_second_exchange() {
    let mut tries = Tries::new(Instant::now());
    assert_eq!(tries.attempt(Instant::now(), || true), Ok(true));
    let ((own, other), offer) = (sockets(), offer_of("hospital"));
    let outcome = thread::scope(|scope| {
        let hospital = scope.spawn(move || side(own, PairRole::Connects, CODE, &offer));
        let mut stream = other;
        let mut check =
            |is_right: &mut dyn FnMut() -> bool| tries.attempt(Instant::now(), is_right);
        let region = prove(
            &mut stream,
            PairRole::Listens,
            &PairingCode::of(CODE),
            &mut check,
        );
        assert!(region.is_err());
        hospital.join().expect("no panic")
    });
    let void = RejectCode::Void;
    assert!(matches!(outcome.error(), PairingError::Rejected { code, .. } if *code == void));
}
