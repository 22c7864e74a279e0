//! The counts of a route during a conversation and after it.

use super::*;
use crate::strictness::Strictness;

fn counted(strictness: Strictness) -> (TimedConversation, Arc<ConversationCounters>) {
    let counts = Arc::new(ConversationCounters::default());
    let mut timed = TimedConversation::new(strictness);
    timed.conversation = timed.conversation.counted(Some(Arc::clone(&counts)));
    (timed, counts)
}

fn said(counts: &ConversationCounters) -> Vec<(&'static str, u64)> {
    let said = counts.acknowledgements();
    let said = said.map(|(code, count)| (code, count.get()));
    said.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn messages_and_answers_are_counted_when_they_pass() {
    let (mut timed, counts) = counted(Strictness::Strict);
    let order = message("ORM^O01");
    timed.sends(&order).sends(&order).later();
    assert_eq!(counts.messages.get(), 2);
    assert_eq!(counts.message_bytes.get(), 2 * (order.len() as u64 - 3));
    assert_eq!(said(&counts), []);
    timed.answers(&answer("AA")).later().answers(&answer("ZZ"));
    assert_eq!(said(&counts), [("AA", 1), ("other", 1)]);
    assert_eq!(counts.answers.each().sum::<u64>(), 2);
    assert_eq!(counts.answers.micros(), 60_000);
    timed.sends(&order);
    assert_eq!(counts.unanswered.get(), 0, "an answer may still come");
    timed.finish();
    assert_eq!((counts.messages.get(), counts.unanswered.get()), (3, 1));
}

#[test]
fn an_answer_of_one_byte_is_counted_by_its_name() {
    let (mut timed, counts) = counted(Strictness::Strict);
    timed.sends(&message("ADT^A01")).answers(b"\x0b\x06\x1c\r");
    timed.sends(&message("ADT^A01")).answers(b"\x0b\x15\x1c\r");
    assert_eq!(said(&counts), [("ACK", 1), ("NAK", 1)]);
}

#[test]
fn a_long_frame_is_counted_before_its_end_and_once() {
    let (mut timed, counts) = counted(Strictness::Strict);
    let piece = vec![b'x'; 16 << 20];
    timed.sends(b"\x0b");
    for _ in 0..=MLLP_OVERSIZE_BYTES >> 24 {
        timed.sends(&piece);
    }
    assert_eq!(counts.oversize.get(), 1);
    timed.sends(b"\x1c\r");
    assert_eq!((counts.oversize.get(), counts.messages.get()), (1, 1));
}

#[test]
fn a_conversation_that_is_no_longer_followed_is_counted_once_and_at_once() {
    let (mut timed, counts) = counted(Strictness::Lenient);
    for _ in 0..3 {
        timed.sends(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(counts.not_followed.get(), 1);
    }
    let (mut timed, counts) = counted(Strictness::Strict);
    assert!(matches!(
        timed.observe(MllpRole::Sender, b"GET"),
        MllpVerdict::End(_)
    ));
    assert_eq!(counts.not_followed.get(), 0, "the conversation is ended");
}
