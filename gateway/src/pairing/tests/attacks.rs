//! A client or a machine in the middle that does not have the code.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::pairing::frame::{FrameKind, PairingFrame};
use crate::pairing::limits::{CODE_TRIES, FRAME_BYTES_MAX, UNAUTHENTICATED_FRAME_BYTES_MAX};

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
fn a_frame_beyond_the_bound_of_its_type_is_refused_before_its_body_is_read() {
    for kind in [
        FrameKind::Hello,
        FrameKind::Proof,
        FrameKind::Offer,
        FrameKind::Ready,
        FrameKind::Done,
        FrameKind::Reject,
    ] {
        let bound = match kind {
            FrameKind::Hello | FrameKind::Proof => UNAUTHENTICATED_FRAME_BYTES_MAX,
            FrameKind::Reject => 1024,
            _ => FRAME_BYTES_MAX,
        };
        let frame = |length: usize| PairingFrame {
            kind,
            body: vec![7; length],
        };
        let longest = frame(bound);
        let read =
            PairingFrame::receive(&mut &longest.bytes()[..]).expect("it is within the bound");
        assert_eq!(read, longest);
        let bytes = frame(bound + 1).bytes();
        let mut rest = &bytes[..];
        let error = PairingFrame::receive(&mut rest).expect_err("it is too long");
        assert!(matches!(error, PairingError::Protocol(_)), "{error}");
        assert_eq!(rest.len(), bound + 1, "the body was not read");
    }
}

#[test]
fn a_client_of_another_version_gets_a_reject_with_this_reason() {
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

/// The frames of each side: HELLO, PROOF, OFFER, READY, DONE.
const FRAMES: usize = 5;
const DONE: usize = 4;

/// Pairs with one bit changed in this byte of this frame. Returns `false` if the frame is shorter.
fn change(number: usize, from_connecting: bool, place: usize, offers: &[Offer; 2]) -> bool {
    let is_changed = AtomicBool::new(false);
    let [hospital, region] = between(offers, |one, two| {
        relay(one, two, |this, is_connecting, mut frame| {
            if this == number
                && is_connecting == from_connecting
                && let Some(byte) = frame.get_mut(place)
            {
                *byte ^= 1 << (place % 8);
                is_changed.store(true, Ordering::Relaxed);
            }
            Some(frame)
        });
    });
    let what = format!("frame {number} from connecting {from_connecting} byte {place}");
    let failed = [&hospital, &region].map(|side| side.result.is_err());
    let committed = [&hospital, &region].map(|side| side.done.committed);
    let is_changed = is_changed.into_inner();
    let expected = match (number, from_connecting) {
        _ if !is_changed => ([false; 2], [true; 2]),
        (DONE, true) => ([true; 2], [true, false]),
        (DONE, false) => ([true, false], [true; 2]),
        _ => ([true; 2], [false; 2]),
    };
    assert_eq!((failed, committed), expected, "{what}");
    is_changed
}

#[test]
fn a_frame_that_is_changed_in_any_byte_is_noticed() {
    let offers = ["hospital", "region"].map(offer_of);
    thread::scope(|scope| {
        for number in 0..FRAMES {
            for from_connecting in [true, false] {
                let offers = &offers;
                scope.spawn(move || {
                    let bytes =
                        (0..).take_while(|place| change(number, from_connecting, *place, offers));
                    // Three of the header; the tag alone has 16.
                    assert!(bytes.count() >= 19);
                });
            }
        }
    });
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
