//! HL7 conversations between programs of the Python package `hl7`, recorded without gateways.

use gateway::hl7::ConversationSummary;
use wardgate_tests::free_port;
use wardgate_tests::tier::{self, Need};

use super::replay::assert_same_conversation_however_it_is_cut;
use crate::hl7::Peer;
use crate::tap::Tap;

#[test]
fn conversations_of_hl7_programs_give_one_summary_at_any_split() {
    if !tier::ready("interop", &[Need::Python]) {
        return;
    }
    let port = free_port();
    let _receiver = Peer::receiver(port);
    for commands in [
        // Each after the acknowledgement of the one before; all at once; one that is large.
        &["row ONE 20 200", "row TWO 3 5000"][..],
        &[
            "put A 300",
            "put B 40000",
            "put C 90",
            "take",
            "take",
            "take",
        ],
        &["send LARGE 1000000", "send SMALL 100"],
    ] {
        let tap = Tap::to(port);
        let mut sender = Peer::sender(tap.port);
        for command in commands {
            sender.does(command);
        }
        sender.does("close");
        let recordings = tap.recordings(1);
        let recording = recordings.first().expect("there is one");
        let record = assert_same_conversation_however_it_is_cut(recording);
        assert_agrees(&record, &sender);
    }
}

/// Checks that the summary agrees with the sender.
fn assert_agrees(record: &ConversationSummary, sender: &Peer) {
    let messages = sender.messages();
    let bytes = messages.iter().map(|message| -> u64 {
        let bytes = message.split(' ').nth(1).expect("its bytes");
        bytes.parse().expect("a number")
    });
    assert_eq!(record.message_bytes, bytes.sum::<u64>());
    let types = record.messages.each();
    let types: Vec<_> = types.map(|(kind, n)| (kind.to_string(), n)).collect();
    assert_eq!(types, [("ORU^R01".to_owned(), messages.len() as u64)]);
    let codes = record.acknowledgements.each().filter(|(_, n)| *n > 0);
    let codes: Vec<_> = codes.map(|(code, n)| (code.to_string(), n)).collect();
    assert_eq!(codes, [("AA".to_owned(), sender.accepted().len() as u64)]);
    assert_eq!((record.unasked, record.untimed), (0, 0));
    assert_eq!((record.junk_bytes, record.oversize), (0, 0));
    assert_eq!(record.unanswered.messages, 0);
}
