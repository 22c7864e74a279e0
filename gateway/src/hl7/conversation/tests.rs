//! Conversations between two sides, and their summaries.

use std::time::Duration;

use super::*;
use crate::hl7::MessageType;
use crate::hl7::limits::{MLLP_OVERSIZE_BYTES, MLLP_PENDING_MAX};

mod live;

const STEP: Duration = Duration::from_millis(20);

fn framed(text: &str) -> Vec<u8> {
    [b"\x0b", text.as_bytes(), b"\x1c\r"].concat()
}

fn message(kind: &str) -> Vec<u8> {
    framed(&format!(
        "MSH|^~\\&|RIS|A|PACS|B|20260101||{kind}|17|P|2.5.1\rPID|1||SECRET^NUMBER||SECRET^NAME\r"
    ))
}

fn answer(code: &str) -> Vec<u8> {
    framed(&format!(
        "MSH|^~\\&|PACS|B|RIS|A|20260101||ACK^A01^ACK|18|P|2.5.1\rMSA|{code}|17|SECRET text\r"
    ))
}

/// A conversation with a clock.
struct TimedConversation {
    conversation: Conversation,
    now: Instant,
}

impl TimedConversation {
    fn new(strictness: Strictness) -> Self {
        let conversation = Conversation::new(strictness);
        let now = Instant::now();
        Self { conversation, now }
    }

    fn observe(&mut self, by: MllpRole, bytes: &[u8]) -> MllpVerdict {
        self.conversation.observe(by, bytes, self.now)
    }

    fn sends(&mut self, bytes: &[u8]) -> &mut Self {
        assert_eq!(self.observe(MllpRole::Sender, bytes), MllpVerdict::Pass);
        self
    }

    fn answers(&mut self, bytes: &[u8]) -> &mut Self {
        assert_eq!(self.observe(MllpRole::Receiver, bytes), MllpVerdict::Pass);
        self
    }

    fn later(&mut self) -> &mut Self {
        self.now += STEP;
        self
    }

    fn finish(self) -> ConversationSummary {
        self.conversation.finish(self.now)
    }
}

fn lenient() -> TimedConversation {
    TimedConversation::new(Strictness::Lenient)
}

fn types(record: &ConversationSummary) -> Vec<(String, u64)> {
    let each = record.messages.each();
    each.map(|(kind, count)| (kind.to_string(), count))
        .collect()
}

fn is_about(found: Option<Duration>, exact: Duration) -> bool {
    found.is_some_and(|found| found.abs_diff(exact) <= exact / 100)
}

#[test]
fn a_message_and_its_acknowledgement_are_counted_and_timed() {
    let mut timed = lenient();
    let (order, ack) = (message("ORM^O01"), answer("AA"));
    timed.sends(&order).later().answers(&ack);
    let record = timed.finish();
    assert_eq!(types(&record), [("ORM^O01".to_owned(), 1)]);
    assert_eq!(record.acknowledgements.of(Code::ApplicationAccept), 1);
    assert_eq!(record.acknowledgements.total(), 1);
    assert_eq!(record.message_bytes, order.len() as u64 - 3);
    assert_eq!(record.acknowledgement_bytes, ack.len() as u64 - 3);
    assert!(is_about(record.latencies.p50(), STEP), "{record:?}");
    assert_eq!(record.unanswered, Unanswered::default());
    assert_eq!(
        (record.unasked, record.untimed, record.junk_bytes),
        (0, 0, 0)
    );
}

#[test]
fn a_conversation_is_at_rest_between_an_acknowledgement_and_the_next_message() {
    let mut timed = lenient();
    let (order, ack) = (message("ORM^O01"), answer("AA"));
    assert!(timed.conversation.is_at_rest());
    for _ in 0..2 {
        timed.sends(&order[..5]);
        assert!(!timed.conversation.is_at_rest(), "inside a message");
        timed.sends(&order[5..]);
        assert!(!timed.conversation.is_at_rest(), "not acknowledged");
        timed.answers(&ack[..5]);
        assert!(
            !timed.conversation.is_at_rest(),
            "the acknowledgement is incomplete"
        );
        timed.answers(&ack[5..]);
        assert!(timed.conversation.is_at_rest());
    }
    timed.sends(&[order.clone(), order].concat()).answers(&ack);
    assert!(
        !timed.conversation.is_at_rest(),
        "one of two is not acknowledged"
    );
}

#[test]
fn a_conversation_that_is_acknowledged_twice_or_not_followed_is_never_at_rest() {
    let mut timed = lenient();
    timed.sends(&message("ORM^O01")).answers(&answer("CA"));
    assert!(
        !timed.conversation.is_at_rest(),
        "a second acknowledgement may come"
    );
    let mut timed = lenient();
    timed.sends(b"GET / HTTP/1.1\r\n\r\n");
    assert!(!timed.conversation.is_at_rest(), "nobody knows");
}

#[test]
fn time_runs_from_the_end_of_the_message_to_the_end_of_the_answer() {
    let mut timed = lenient();
    let (order, ack) = (message("ORM^O01"), answer("AA"));
    timed.sends(&order[..9]).later().later().sends(&order[9..]);
    timed.later().answers(&ack[..5]).later().answers(&ack[5..]);
    assert!(is_about(timed.finish().latencies.max(), 2 * STEP));
}

#[test]
fn pipelined_messages_are_answered_in_their_order() {
    let mut timed = lenient();
    let three = ["ADT^A01", "ADT^A08", "ADT^A08"].map(message).concat();
    timed.sends(&three).later().answers(&answer("AA"));
    let two = [answer("AE"), answer("AR")].concat();
    timed.later().answers(&two);
    let record = timed.finish();
    let counted = [("ADT^A01".to_owned(), 1), ("ADT^A08".to_owned(), 2)];
    assert_eq!(types(&record), counted);
    let said = |code| record.acknowledgements.of(code);
    assert_eq!(
        said(Code::ApplicationError) + said(Code::ApplicationReject),
        2
    );
    assert_eq!(record.latencies.count(), 3);
    assert!(is_about(record.latencies.max(), 2 * STEP));
    assert_eq!(record.unanswered.messages, 0);
}

#[test]
fn the_record_is_the_same_at_any_split() {
    let sent = [
        &b"\r\n"[..],
        &message("ADT^A01"),
        b"\n\0",
        &message("ORU^R01"),
        b"\x0bMSH|",
    ];
    let (sent, answered) = (sent.concat(), [answer("AA"), framed("\x06")].concat());
    let now = Instant::now();
    let play = |first: usize, second: usize| {
        let mut timed = Conversation::new(Strictness::Strict);
        for piece in [&sent[..first], &sent[first..second], &sent[second..]] {
            assert_eq!(
                timed.observe(MllpRole::Sender, piece, now),
                MllpVerdict::Pass
            );
        }
        let middle = first.min(answered.len());
        for piece in [&answered[..middle], &answered[middle..]] {
            assert_eq!(
                timed.observe(MllpRole::Receiver, piece, now),
                MllpVerdict::Pass
            );
        }
        timed.finish(now)
    };
    let whole = play(0, 0);
    assert_eq!((whole.messages.total(), whole.latencies.count()), (2, 2));
    assert_eq!((whole.junk_bytes, whole.unanswered.is_cut), (4, true));
    for first in 0..=sent.len() {
        for second in first..=sent.len() {
            assert_eq!(play(first, second), whole, "{first} {second}");
        }
    }
}

#[test]
fn messages_without_acknowledgement_are_reported() {
    let mut timed = lenient();
    let order = message("ORM^O01");
    timed.sends(&order).answers(&answer("AA"));
    timed.sends(&order).later().sends(&order);
    let fields = timed.conversation.unanswered(timed.now);
    assert_eq!((fields.messages, fields.waited), (2, Some(STEP)));
    assert!(!fields.is_cut);
    timed.sends(&order[..order.len() - 1]).later();
    let record = timed.finish();
    assert_eq!(record.unanswered.messages, 2);
    assert_eq!(record.unanswered.waited, Some(2 * STEP));
    assert!(record.unanswered.is_cut, "a byte is missing");
    assert_eq!(record.messages.total(), 3);
}

#[test]
fn an_answer_without_a_code_is_an_answer() {
    let mut timed = lenient();
    for text in [
        "MSH|^~\\&|||||||ACK\rERR|x\rMSA|AA",
        "garbage",
        "",
        "MSH|^~\\&|||||||ACK\rMSA|XX",
    ] {
        timed.sends(&message("ADT^A01")).answers(&framed(text));
    }
    let record = timed.finish();
    assert_eq!(record.acknowledgements.other(), 4);
    assert_eq!((record.unanswered.messages, record.unasked), (0, 0));
}

#[test]
fn answers_without_a_message_are_counted() {
    let mut timed = lenient();
    timed.answers(&answer("AA"));
    timed
        .sends(&message("ADT^A01"))
        .answers(&answer("AA"))
        .answers(&answer("AA"));
    let record = timed.finish();
    assert_eq!((record.unasked, record.latencies.count()), (2, 1));
    assert_eq!(record.acknowledgements.total(), 3);
}

/// Enhanced mode: CA when the message is stored, AA or AE when the application has processed it. The sender
/// continues between the two.
#[test]
fn a_message_is_answered_by_the_first_of_two_acknowledgements() {
    let mut timed = lenient();
    timed
        .sends(&message("ORM^O01"))
        .later()
        .answers(&answer("CA"));
    timed.sends(&message("ORM^O01")).later();
    timed.answers(&answer("AE")).sends(&answer("CA")).later();
    timed.answers(&answer("CA")).later().answers(&answer("AA"));
    let record = timed.finish();
    assert_eq!(
        record.messages.total(),
        2,
        "the sender's CA is not a message"
    );
    assert_eq!(record.acknowledgements.total(), 4);
    assert_eq!(record.latencies.count(), 2);
    assert!(is_about(record.latencies.max(), 2 * STEP));
    assert_eq!((record.unanswered.messages, record.unasked), (0, 0));
}

/// A sender may request commit acknowledgements only in case of errors (MSH-15 is ER).
#[test]
fn a_commit_error_does_not_make_acceptances_second_answers() {
    let mut timed = lenient();
    for code in ["CE", "AA", "CR", "AA"] {
        timed.sends(&message("ORM^O01")).answers(&answer(code));
    }
    let record = timed.finish();
    assert_eq!(
        (record.unanswered.messages, record.latencies.count()),
        (0, 4)
    );
}

#[test]
fn acknowledgements_of_release_2_are_known() {
    let mut timed = lenient();
    timed.sends(&message("ADT^A01")).later();
    timed
        .answers(b"\x0b\x06\x1c\r")
        .later()
        .answers(&answer("AA"));
    timed.sends(b"\x0b\x06\x1c\r");
    timed.sends(&message("ADT^A08")).answers(b"\x0b\x15\x1c\r");
    let record = timed.finish();
    assert_eq!(record.messages.total(), 2);
    let said = [Code::Ack, Code::Nak, Code::ApplicationAccept];
    assert_eq!(said.map(|code| record.acknowledgements.of(code)), [1, 1, 1]);
    assert!(is_about(record.latencies.max(), STEP));
    assert_eq!((record.unanswered.messages, record.unasked), (0, 0));
}

/// An application's answer may come as a message on a separate connection, and is acknowledged there.
#[test]
fn a_deferred_answer_is_a_message_of_its_sender() {
    let mut timed = lenient();
    timed.sends(&answer("AA")).answers(&answer("CA"));
    let record = timed.finish();
    assert_eq!(types(&record), [("ACK^A01".to_owned(), 1)]);
    assert_eq!((record.unanswered.messages, record.unasked), (0, 0));
}

#[test]
fn junk_between_frames_is_counted_and_passes() {
    let mut timed = TimedConversation::new(Strictness::Strict);
    timed
        .sends(b"\r\n")
        .sends(&message("ADT^A01"))
        .answers(b"\0");
    timed.answers(&answer("AA")).answers(b"\n").sends(b"\n\n");
    let record = timed.finish();
    assert_eq!((record.junk_bytes, record.not_followed), (6, None));
    assert_eq!(record.latencies.count(), 1);
}

#[test]
fn strict_ends_what_is_not_mllp() {
    let mut timed = TimedConversation::new(Strictness::Strict);
    timed.sends(&message("ADT^A01"));
    timed.answers(&answer("AA"));
    let why = NotMllp::OutsideOfFrames(MllpRole::Receiver);
    assert_eq!(
        timed.observe(MllpRole::Receiver, b"HTTP/1.1 400"),
        MllpVerdict::End(why)
    );
    assert_eq!(
        timed.observe(MllpRole::Sender, &answer("AA")),
        MllpVerdict::End(why)
    );
    assert_eq!(
        why.to_string(),
        "bytes of the receiver are outside of any frame"
    );
    let record = timed.finish();
    assert_eq!(record.not_followed, Some(why));
    assert_eq!(record.unanswered.messages, 0);
}

#[test]
fn another_protocol_at_the_beginning_is_named() {
    for (first, name) in [
        (&b"HTTP/1.1 400"[..], "HTTP"),
        (b"\x15\x03\x03\0\x02\x02\x28", "TLS"),
        (b"\r\nMSH|^~\\&|", "HL7 without MLLP frames"),
        (b"\x02MSH|^~\\&|", "HL7 between STX and ETX"),
        (b"\x03\0\0\0\0\x04\0\x01\x01\x07", "DICOM"),
    ] {
        let mut timed = TimedConversation::new(Strictness::Strict);
        timed.sends(&message("ADT^A01"));
        let MllpVerdict::End(why) = timed.observe(MllpRole::Receiver, first) else {
            panic!("{name} passed");
        };
        let begin = format!("the receiver sent {name}, not HL7 in MLLP frames; ");
        assert!(why.to_string().starts_with(&begin), "{why}");
    }
}

#[test]
fn a_message_that_ends_with_fs_alone_is_reported_with_its_side() {
    let lacking = |bytes: &[u8]| {
        let mut timed = lenient();
        timed.sends(bytes);
        timed.finish().ended_without_cr
    };
    let whole = message("ADT^A01");
    let (lacks_cr, _) = whole.split_at(whole.len() - 1);
    assert_eq!(lacking(&whole), None);
    assert_eq!(
        lacking(lacks_cr),
        Some(MllpRole::Sender),
        "nothing has come since"
    );
    let two = [lacks_cr, &whole].concat();
    assert_eq!(
        lacking(&two),
        Some(MllpRole::Sender),
        "another message began"
    );
    for size in 1..two.len() {
        let mut timed = lenient();
        for part in two.chunks(size) {
            timed.sends(part);
        }
        assert_eq!(
            timed.finish().ended_without_cr,
            Some(MllpRole::Sender),
            "{size}"
        );
    }
}

#[test]
fn a_missing_cr_is_reported_once_and_a_late_cr_is_not() {
    let now = Instant::now();
    let whole = message("ADT^A01");
    let (lacks_cr, cr) = whole.split_at(whole.len() - 1);
    let mut timed = Conversation::new(Strictness::Lenient);
    let _ = timed.observe(MllpRole::Sender, lacks_cr, now);
    assert!(timed.lacks_cr(), "it may be under way");
    let _ = timed.observe(MllpRole::Sender, cr, now);
    assert!(!timed.lacks_cr());
    assert_eq!(timed.take_lack_of_cr(), None);
    let _ = timed.observe(MllpRole::Receiver, lacks_cr, now);
    assert_eq!(timed.take_lack_of_cr(), Some(MllpRole::Receiver));
    assert!(!timed.lacks_cr());
    assert_eq!(
        timed.finish(now).ended_without_cr,
        None,
        "it was reported already"
    );
}

#[test]
fn the_first_message_waits_until_it_is_acknowledged() {
    let (sent, now) = (Instant::now(), Instant::now() + Duration::from_secs(30));
    let whole = message("ADT^A01");
    let mut timed = Conversation::new(Strictness::Lenient);
    let _ = timed.observe(MllpRole::Sender, &whole[..20], sent);
    assert_eq!(timed.first_waits(now), None, "it is not whole");
    let _ = timed.observe(MllpRole::Sender, &whole[20..], sent);
    assert!(timed.first_waits(now) >= Some(Duration::from_secs(29)));
    let _ = timed.observe(MllpRole::Receiver, &answer("AA"), now);
    let _ = timed.observe(MllpRole::Sender, &whole, now);
    assert_eq!(timed.first_waits(now), None, "a later one is none");
}

#[test]
fn if_either_side_may_begin_the_first_to_send_a_message_is_the_sender() {
    for swapped in [false, true] {
        let [sender, receiver] = match swapped {
            false => [MllpRole::Sender, MllpRole::Receiver],
            true => [MllpRole::Receiver, MllpRole::Sender],
        };
        let mut timed = TimedConversation::new(Strictness::Strict);
        timed.conversation = Conversation::new(Strictness::Strict).begun_by_either();
        for (by, bytes) in [
            (receiver, b"\r\n".to_vec()),
            (sender, message("ORU^R01")),
            (receiver, answer("AA")),
            (sender, message("ORU^R01")),
        ] {
            assert_eq!(
                timed.observe(by, &bytes),
                MllpVerdict::Pass,
                "swapped: {swapped}"
            );
        }
        let record = timed.finish();
        assert_eq!(record.messages.total(), 2, "swapped: {swapped}");
        assert_eq!(record.acknowledgements.total(), 1);
        assert_eq!(record.unanswered.messages, 1);
    }
}

/// No other code has checked the first byte there; on a route that connects late, it has been checked.
#[test]
fn if_either_side_may_begin_each_must_begin_with_a_frame() {
    for by in [MllpRole::Sender, MllpRole::Receiver] {
        let mut timed = lenient();
        timed.conversation = Conversation::new(Strictness::Lenient).begun_by_either();
        assert_eq!(timed.observe(by, b"\r"), MllpVerdict::Pass);
        assert!(matches!(
            timed.observe(by, b"GET / HTTP/1.1"),
            MllpVerdict::End(_)
        ));
        assert!(matches!(
            timed.observe(by, &message("ADT^A01")),
            MllpVerdict::End(_)
        ));
        let mut timed = lenient();
        timed.conversation = Conversation::new(Strictness::Lenient).begun_by_either();
        assert_eq!(timed.observe(by, &message("ADT^A01")), MllpVerdict::Pass);
        assert_eq!(
            timed.observe(by, b"no frame at all."),
            MllpVerdict::Pass,
            "lenient forwards it"
        );
        assert!(matches!(
            timed.observe(by.other(), b"an answer without"),
            MllpVerdict::Pass
        ));
    }
}

#[test]
fn strict_ends_junk_without_end() {
    let mut timed = TimedConversation::new(Strictness::Strict);
    timed.sends(&vec![0; 60_000]);
    let why = NotMllp::NoFrame(MllpRole::Sender);
    assert_eq!(
        timed.observe(MllpRole::Sender, &vec![0; 60_000]),
        MllpVerdict::End(why)
    );
}

#[test]
fn lenient_stops_reading_and_reports_nothing_that_it_did_not_read() {
    let mut timed = lenient();
    timed.sends(&message("ADT^A01")).sends(&message("ADT^A01"));
    timed.sends(&message("ADT^A01")[..9]).answers(&answer("AA"));
    assert_eq!(timed.conversation.so_far().not_followed, None);
    timed.answers(b"?").sends(b"?\x1c\r").answers(&answer("AA"));
    let why = Some(NotMllp::OutsideOfFrames(MllpRole::Receiver));
    assert_eq!(timed.conversation.so_far().not_followed, why);
    let record = timed.finish();
    assert_eq!(record.messages.total(), 2);
    assert_eq!(record.acknowledgements.total(), 1);
    assert_eq!(record.unanswered, Unanswered::default());
}

#[test]
fn messages_in_transit_are_bounded_and_the_rest_is_counted() {
    let mut timed = lenient();
    for _ in 0..MLLP_PENDING_MAX + 10 {
        timed.sends(&message("ADT^A01"));
    }
    for _ in 0..MLLP_PENDING_MAX + 9 {
        timed.answers(&answer("AA"));
    }
    let record = timed.finish();
    assert_eq!(record.untimed, 10);
    assert_eq!(record.latencies.count(), MLLP_PENDING_MAX as u64);
    assert_eq!((record.unanswered.messages, record.unasked), (1, 0));
    assert_eq!(record.unanswered.waited, None);
}

#[test]
fn a_frame_that_is_too_long_is_counted_once() {
    let mut timed = lenient();
    let piece = vec![b'x'; 16 << 20];
    timed.sends(b"\x0b");
    for _ in 0..=MLLP_OVERSIZE_BYTES >> 24 {
        timed.sends(&piece);
    }
    assert_eq!(
        timed.conversation.so_far().oversize,
        1,
        "the frame has not ended"
    );
    timed.sends(b"\x1c\r");
    let record = timed.finish();
    assert_eq!((record.oversize, record.messages.other()), (1, 1));
}

#[test]
fn text_in_utf_16_is_a_message_of_another_type() {
    let text: String = "MSH|^~\\&|||||||ADT^A01|\rPID|\u{1c}\r\u{b}\u{1c1c}|".to_owned();
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let frame = [b"\x0b", &bytes[..], b"\x1c\r"].concat();
    let mut timed = TimedConversation::new(Strictness::Strict);
    timed.sends(&frame).answers(&frame);
    let record = timed.finish();
    assert_eq!((record.messages.other(), record.latencies.count()), (1, 1));
}

#[test]
fn nothing_of_a_text_can_be_shown() {
    let mut timed = lenient();
    let mut whole = [message("ADT^A01"), message("SECRET"), answer("SECRET")].concat();
    whole.extend(b"\x0bSECRET");
    // At every byte, a reader may hold part of a message.
    for byte in whole {
        timed.sends(&[byte]);
        let shown = format!("{:?}", timed.conversation);
        assert!(
            !shown.contains("SEC") && !shown.contains("83, 69, 67"),
            "{shown}"
        );
    }
    timed.answers(&answer("SECRET"));
    let shown = format!("{:?}", timed.finish());
    assert!(shown.contains("[65, 68, 84]"), "the type is shown: {shown}");
    assert!(
        !shown.contains("SEC") && !shown.contains("83, 69, 67"),
        "{shown}"
    );
}

#[test]
fn a_conversation_is_small() {
    assert!(
        size_of::<Conversation>() <= 512,
        "{}",
        size_of::<Conversation>()
    );
    assert_eq!(size_of::<MessageType>(), 7);
}
