//! A C-ECHO from its request to its release, and every other course of the exchange.

use super::super::{AssociateRq, made};
use super::pdus::*;
use super::*;

fn title(text: &str) -> AeTitle {
    text.parse().expect("a title")
}

fn begin() -> Echo {
    Echo::begin(title("WARDGATE"), title("ARCHIVE")).0
}

/// Passes the bytes in parts of this size, and returns the steps in between.
fn take_in_parts(echo: &mut Echo, bytes: &[u8], size: usize) -> Result<Vec<EchoStep>, EchoError> {
    let mut steps = Vec::new();
    for part in bytes.chunks(size) {
        let mut next = echo.take(part)?;
        while let EchoStep::Send(_) = next {
            steps.push(next);
            next = echo.take(&[])?;
        }
        steps.extend(Some(next).filter(|next| *next == EchoStep::Close));
    }
    Ok(steps)
}

fn take_all(echo: &mut Echo, pdus: &[Vec<u8>]) -> Result<Vec<EchoStep>, EchoError> {
    let bytes = pdus.concat();
    take_in_parts(echo, &bytes, bytes.len())
}

fn acceptance(result: u8) -> Vec<u8> {
    let syntax = made::item(0x40, IMPLICIT_LITTLE_ENDIAN);
    let context = made::item(0x21, &[&[1, 0, result, 0][..], &syntax].concat());
    let user = made::item(0x50, &made::item(0x51, &[0; 4]));
    let mut body = vec![0; FIXED];
    body.extend(made::item(0x10, DICOM));
    body.extend(context);
    body.extend(user);
    made::pdu(0x02, &body)
}

fn response(message: u16, status: u16) -> Vec<u8> {
    let mut set = Vec::new();
    element(&mut set, COMMAND_FIELD, &C_ECHO_RSP.to_le_bytes());
    element(&mut set, RESPONDED_TO, &message.to_le_bytes());
    element(&mut set, DATA_SET_TYPE, &NO_DATA_SET.to_le_bytes());
    element(&mut set, STATUS, &status.to_le_bytes());
    set
}

fn values(fragments: &[(u8, &[u8])]) -> Vec<u8> {
    let value = |(control, fragment): &(u8, &[u8])| {
        let length = u32::try_from(fragment.len() + 2).expect("short");
        [&length.to_be_bytes()[..], &[1, *control], fragment].concat()
    };
    made::pdu(0x04, &fragments.iter().flat_map(value).collect::<Vec<_>>())
}

fn answer(status: u16) -> Vec<u8> {
    values(&[(3, &response(1, status))])
}

#[test]
fn the_request_is_one_that_observers_of_associations_read() {
    let (_, bytes) = Echo::begin(title("WARDGATE"), title("ARCHIVE"));
    let (request, length) = AssociateRq::read(&bytes)
        .expect("a request")
        .expect("whole");
    assert_eq!(length, bytes.len());
    assert_eq!(request.calling, title("WARDGATE"));
    assert_eq!(request.called, title("ARCHIVE"));
    let [context] = request.contexts.as_slice() else {
        panic!("{request:?}")
    };
    let class = context.sop_class.as_ref().expect("a class");
    assert_eq!(class.uid().as_bytes(), VERIFICATION);
    assert_eq!(request.user.pdu_length_max, ECHO_PDU_BYTES_MAX);
}

#[test]
fn the_question_has_the_bytes_of_the_standard() {
    let expected = [
        &[4, 0, 0, 0, 0, 74, 0, 0, 0, 70, 1, 3][..],
        &[0, 0, 0, 0, 4, 0, 0, 0, 56, 0, 0, 0],
        &[0, 0, 2, 0, 18, 0, 0, 0],
        b"1.2.840.10008.1.1\0",
        &[0, 0, 0, 1, 2, 0, 0, 0, 0x30, 0],
        &[0, 0, 0x10, 1, 2, 0, 0, 0, 1, 0],
        &[0, 0, 0, 8, 2, 0, 0, 0, 1, 1],
    ];
    assert_eq!(question(), expected.concat());
}

#[test]
fn an_echo_goes_from_request_to_release_at_any_split() {
    let whole = [acceptance(0), answer(0), made::pdu(0x06, &[0; 4])].concat();
    let release = made::pdu(0x05, &[0; 4]);
    let expected = [
        EchoStep::Send(question()),
        EchoStep::Send(release),
        EchoStep::Close,
    ];
    for size in 1..=whole.len() {
        let mut echo = begin();
        let steps = take_in_parts(&mut echo, &whole, size).expect("all is well");
        assert_eq!(steps, expected, "{size}");
        assert!(echo.is_there());
        assert!(echo.closing_pdu().is_empty(), "it is released");
    }
    let mut echo = begin();
    take_all(&mut echo, &[acceptance(0)]).expect("accepted");
    assert!(!echo.is_there());
}

#[test]
fn an_answer_may_come_in_fragments_and_several_pdus() {
    let set = response(1, 0);
    let (one, rest) = set.split_at(7);
    let (two, three) = rest.split_at(9);
    let mut echo = begin();
    echo.take(&acceptance(0)).expect("accepted");
    let first = values(&[(1, one), (1, two)]);
    assert_eq!(echo.take(&first), Ok(EchoStep::Receive));
    assert!(matches!(
        echo.take(&values(&[(3, three)])),
        Ok(EchoStep::Send(_))
    ));
    assert!(echo.is_there());
}

#[test]
fn refusals_are_reported_in_the_terms_of_the_standard() {
    let cases: [(&[Vec<u8>], &str); 5] = [
        (
            &[ClosingPdu::called_ae_not_recognized().to_bytes().to_vec()],
            "the association was rejected (A-ASSOCIATE-RJ): rejected-permanent, service-user, \
             called-AE-title-not-recognized",
        ),
        (
            &[
                acceptance(0),
                ClosingPdu::unexpected_pdu().to_bytes().to_vec(),
            ],
            "the association was aborted (A-ABORT): service-provider, unexpected-PDU",
        ),
        (
            &[acceptance(3)],
            "Verification was not accepted: abstract-syntax-not-supported (provider rejection)",
        ),
        (
            &[acceptance(0), answer(0x0122)],
            "the C-ECHO was answered with status 0122H (SOP class not supported)",
        ),
        (
            &[made::pdu(0x05, &[0; 4])],
            "received a PDU of type 05H in place of an A-ASSOCIATE-AC",
        ),
    ];
    for (pdus, words) in cases {
        let mut echo = begin();
        let outcome = take_all(&mut echo, pdus);
        assert_eq!(outcome.expect_err(words).to_string(), words);
        assert!(!echo.is_there());
    }
}

#[test]
fn a_peer_that_did_not_refuse_gets_an_abort() {
    let abort = [7, 0, 0, 0, 0, 4, 0, 0, 0, 0];
    let mut echo = begin();
    take_all(&mut echo, &[acceptance(0), answer(0x0110)]).expect_err("a failure");
    assert_eq!(echo.closing_pdu(), abort);
    assert!(echo.closing_pdu().is_empty(), "once");
    let mut echo = begin();
    let rejection = ClosingPdu::temporary_congestion().to_bytes();
    echo.take(&rejection).expect_err("a rejection");
    assert!(echo.closing_pdu().is_empty(), "there is no association");
}

#[test]
fn a_full_archive_counts_as_up() {
    let mut echo = begin();
    let rejection = ClosingPdu::local_limit_exceeded().to_bytes();
    echo.take(&rejection).expect_err("a rejection");
    assert!(echo.is_there());
    for other in [
        // A gateway whose archive does not answer sends this.
        ClosingPdu::temporary_congestion(),
        ClosingPdu::calling_ae_not_recognized(),
    ] {
        let mut echo = begin();
        echo.take(&other.to_bytes()).expect_err("a rejection");
        assert!(!echo.is_there(), "{other:?}");
    }
}

#[test]
fn a_good_answer_stays_good() {
    let mut echo = begin();
    take_all(&mut echo, &[acceptance(0), answer(0)]).expect("an answer");
    echo.take(&ClosingPdu::aborted().to_bytes())
        .expect_err("an abort");
    assert!(echo.is_there());
}

#[test]
fn answers_to_other_requests_and_impossible_lengths_are_errors() {
    let wrong: [Vec<u8>; 9] = [
        made::pdu(0x04, &[]),
        values(&[(1, &[])]),
        values(&[(3, &response(2, 0))]),
        values(&[(2, &response(1, 0))]),
        values(&[(3, &response(1, 0)[..9])]),
        made::pdu(0x04, &[0, 0, 0, 1, 1]),
        made::pdu(0x04, &[0xff, 0xff, 0xff, 0xff, 1, 3]),
        made::pdu(0x04, &[0, 0]),
        vec![4, 0, 0xff, 0xff, 0xff, 0xff],
    ];
    for bytes in wrong {
        let mut echo = begin();
        echo.take(&acceptance(0)).expect("accepted");
        assert!(echo.take(&bytes).is_err(), "{bytes:?}");
        assert!(!echo.is_there());
    }
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        &[2, 0, 0, 0, 0, 3, 1, 2, 3],
    ] {
        assert!(begin().take(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_command_without_an_end_is_not_collected_forever() {
    let mut echo = begin();
    echo.take(&acceptance(0)).expect("accepted");
    let part = values(&[(1, &[0; 4096])]);
    let outcomes = (0..8).map(|_| echo.take(&part));
    assert!(outcomes.into_iter().any(|outcome| outcome.is_err()));
}
