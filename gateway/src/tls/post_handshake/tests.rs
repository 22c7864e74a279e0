//! Messages after a handshake from a hostile peer, to a client and to a server.

use rustls::AlertDescription as Alert;

use super::*;
use crate::buffers::limits::PLAINTEXT_ROOM;
use crate::config::limits::KEY_RECORDS_MAX;
use crate::tls::tests::sessions::{Almost, hand_over, run};

/// The tested end, and a peer whose every byte the test controls; each uses another cipher.
struct Pair {
    ours: InPlace,
    peer: InPlace,
}

impl Pair {
    fn client() -> Self {
        let (ours, peer) = Almost::begin().end();
        Self::of(ours, peer)
    }

    fn server() -> Self {
        let (peer, ours) = Almost::begin().end();
        Self {
            ours: hand_over(ours, &[], Cipher::Ring, KEY_RECORDS_MAX).0,
            peer: hand_over(peer, &[], Cipher::AwsLc, KEY_RECORDS_MAX).0,
        }
    }

    fn of(ours: crate::tls::session::Session, peer: crate::tls::session::Session) -> Self {
        Self {
            ours: hand_over(ours, &[], Cipher::AwsLc, KEY_RECORDS_MAX).0,
            peer: hand_over(peer, &[], Cipher::Ring, KEY_RECORDS_MAX).0,
        }
    }

    fn both() -> [Self; 2] {
        [Self::client(), Self::server()]
    }

    fn record(&mut self, content: Content, bytes: &[u8]) -> Vec<u8> {
        record(&mut self.peer, content, bytes)
    }

    /// Lets the peer send one record, and returns the payload that arrived and the state of opening.
    fn take(
        &mut self,
        content: Content,
        bytes: &[u8],
    ) -> (Vec<u8>, Result<Opened, PostHandshakeError>) {
        let record = self.record(content, bytes);
        receive(&mut self.ours, &record)
    }

    fn accept(&mut self, content: Content, bytes: &[u8]) {
        let (plain, progress) = self.take(content, bytes);
        assert_eq!(progress, Ok(Opened::NeedBytes));
        assert_eq!(plain, if content == Content::Data { bytes } else { b"" });
    }

    /// Lets the peer send one record that must be refused with this alert.
    fn refuse(&mut self, content: Content, bytes: &[u8], alert: Alert) {
        let (plain, progress) = self.take(content, bytes);
        assert!(plain.is_empty());
        assert!(progress.is_err(), "{content:?} {bytes:?} was taken");
        assert_eq!(self.alert(), Some(alert), "{content:?} {bytes:?}");
    }

    /// The alert for the peer after an error.
    fn alert(&mut self) -> Option<Alert> {
        let words = self.ours.final_alert();
        assert!(self.ours.final_alert().is_empty(), "an alert is sent once");
        let last = read(&mut self.peer, &words).pop()?;
        let (Content::Alert, [2, description]) = (last.0, &last.1[..]) else {
            panic!("no fatal alert: {last:?}")
        };
        Some(Alert::from(*description))
    }

    // The peer switches to its next key.
    fn update_peer(&mut self) {
        let (sequence, secrets) = self.peer.schedule.next_to_seal().expect("keys");
        let sealer = Sealer::new(self.peer.cipher, sequence, &secrets);
        self.peer.sealer = sealer.expect("AES-GCM");
    }
}

fn record(from: &mut InPlace, content: Content, bytes: &[u8]) -> Vec<u8> {
    let mut room = vec![0; RECORD_HEADER + bytes.len() + RECORD_TRAILER];
    room[RECORD_HEADER..RECORD_HEADER + bytes.len()].copy_from_slice(bytes);
    let sealed = from.sealer.seal(content, &mut room, bytes.len());
    sealed.expect("a record of legal length");
    room
}

fn receive(ours: &mut InPlace, records: &[u8]) -> (Vec<u8>, Result<Opened, PostHandshakeError>) {
    let mut incoming = Buffer::with_room(records.len() + 1);
    incoming.append(records);
    let progress = ours.open(&mut incoming);
    (sent(&mut incoming), progress)
}

fn sent(buffer: &mut Buffer) -> Vec<u8> {
    let (bytes, mut parts) = buffer.lend_parts();
    let all = parts
        .drain(..)
        .flat_map(|part| bytes[part].to_vec())
        .collect();
    buffer.restore_parts((bytes, parts));
    all
}

/// Opens any records at the peer, which follows key updates.
fn read(peer: &mut InPlace, mut records: &[u8]) -> Vec<(Content, Vec<u8>)> {
    let mut messages = Vec::new();
    while !records.is_empty() {
        let mut bytes = records.to_vec();
        let opened = peer.opener.open(&mut bytes).expect("ours").expect("whole");
        let content = bytes[opened.range].to_vec();
        if opened.content == Content::Handshake {
            assert_eq!(content, [KEY_UPDATE, 0, 0, 1, 0], "update_not_requested");
            peer.update_opener(UpdateRequest::NotRequested)
                .expect("keys");
        }
        messages.push((opened.content, content));
        records = &records[opened.length..];
    }
    messages
}

const UPDATE: [u8; 5] = [KEY_UPDATE, 0, 0, 1, 0];
const REQUEST: [u8; 5] = [KEY_UPDATE, 0, 0, 1, 1];

fn message(kind: u8, length: usize) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(length).expect("24 bits").to_be_bytes();
    let mut message = vec![kind, high, middle, low];
    message.resize(4 + length, 0x55);
    message
}

#[test]
fn a_key_update_changes_the_key_of_its_direction_alone() {
    for mut pair in Pair::both() {
        pair.accept(Content::Handshake, &UPDATE);
        pair.update_peer();
        pair.accept(Content::Data, b"under the next key");
        let mut outgoing = Vec::new();
        pair.ours.before(1, &mut outgoing).expect("keys");
        assert!(outgoing.is_empty(), "nothing was asked for");
        let ours = record(&mut pair.ours, Content::Data, b"under the first");
        assert_eq!(read(&mut pair.peer, &ours)[0].1, b"under the first");
    }
}

#[test]
fn payload_under_the_key_before_an_update_is_bad_record_mac() {
    for mut pair in Pair::both() {
        pair.accept(Content::Handshake, &UPDATE);
        pair.refuse(Content::Data, b"still the first key", Alert::BadRecordMac);
    }
}

#[test]
fn several_requests_are_answered_by_one_key_update_before_the_next_payload() {
    for mut pair in Pair::both() {
        for _ in 0..3 {
            pair.accept(Content::Handshake, &REQUEST);
            pair.update_peer();
        }
        let mut outgoing = Vec::new();
        pair.ours.before(1, &mut outgoing).expect("keys");
        outgoing.extend(record(&mut pair.ours, Content::Data, b"payload"));
        pair.ours.before(1, &mut outgoing).expect("keys");
        let messages = read(&mut pair.peer, &outgoing);
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert_eq!(messages[1], (Content::Data, b"payload".to_vec()));
    }
}

#[test]
fn nothing_follows_our_close_notify() {
    for mut pair in Pair::both() {
        let mut outgoing = Vec::new();
        pair.ours.close_notify(&mut outgoing).expect("room");
        assert_eq!(
            read(&mut pair.peer, &outgoing),
            [(Content::Alert, vec![1, 0])]
        );
        outgoing.clear();
        pair.accept(Content::Handshake, &REQUEST);
        pair.update_peer();
        pair.ours.before(0, &mut outgoing).expect("keys");
        assert!(outgoing.is_empty(), "RFC 8446 section 6.1");
        pair.accept(Content::Data, b"their direction goes on");
    }
}

#[test]
fn a_key_update_of_another_value_is_illegal() {
    for value in [2, 3, 24, 255] {
        for mut pair in Pair::both() {
            let update = [KEY_UPDATE, 0, 0, 1, value];
            pair.refuse(Content::Handshake, &update, Alert::IllegalParameter);
        }
    }
}

#[test]
fn a_key_update_of_another_length_does_not_parse() {
    for length in [0, 2, 3, 255, 256, 0x00ff_ffff] {
        let mut update = message(KEY_UPDATE, length.min(300));
        update[1..4].copy_from_slice(&u32::try_from(length).expect("24 bits").to_be_bytes()[1..]);
        for mut pair in Pair::both() {
            pair.refuse(Content::Handshake, &update, Alert::DecodeError);
        }
    }
}

#[test]
fn a_key_update_is_the_last_of_its_record() {
    let behind: [&[u8]; 4] = [&[0], &UPDATE, &[NEW_SESSION_TICKET, 0, 0, 0], &[KEY_UPDATE]];
    for behind in behind {
        for mut pair in Pair::both() {
            let both = [&REQUEST, behind].concat();
            pair.refuse(Content::Handshake, &both, Alert::UnexpectedMessage);
        }
    }
}

#[test]
fn a_key_update_may_stand_behind_a_ticket_in_its_record() {
    let mut pair = Pair::client();
    let both = [&message(NEW_SESSION_TICKET, 40)[..], &UPDATE].concat();
    pair.accept(Content::Handshake, &both);
    pair.update_peer();
    pair.accept(Content::Data, b"under the next key");
}

#[test]
fn a_message_may_be_split_anywhere_over_records() {
    let mut pair = Pair::client();
    let both = [&message(NEW_SESSION_TICKET, 9)[..], &UPDATE].concat();
    for split in 1..both.len() {
        pair.accept(Content::Handshake, &both[..split]);
        pair.accept(Content::Handshake, &both[split..]);
        pair.update_peer();
        pair.accept(Content::Data, b"x");
    }
    for byte in &both {
        pair.accept(Content::Handshake, &[*byte]);
    }
    pair.update_peer();
    pair.accept(Content::Data, b"x");
}

#[test]
fn nothing_comes_between_the_parts_of_a_message() {
    let between = [
        (Content::Data, &b"payload"[..]),
        (Content::Data, b""),
        (Content::Alert, &[1, 0]),
        (Content::Alert, &[1, 90]),
    ];
    for split in 1..UPDATE.len() {
        for (content, bytes) in between {
            let mut pair = Pair::server();
            pair.accept(Content::Handshake, &UPDATE[..split]);
            pair.refuse(content, bytes, Alert::UnexpectedMessage);
        }
    }
}

#[test]
fn a_client_ignores_tickets() {
    let mut pair = Pair::client();
    for length in [0, 1, 200, 16_380, 40_000, 65_535] {
        for part in message(NEW_SESSION_TICKET, length).chunks(PLAINTEXT_ROOM) {
            pair.accept(Content::Handshake, part);
        }
        pair.accept(Content::Data, b"payload");
    }
    let long = message(NEW_SESSION_TICKET, 65_536);
    pair.refuse(Content::Handshake, &long[..4], Alert::DecodeError);
}

#[test]
fn a_server_refuses_tickets() {
    let ticket = message(NEW_SESSION_TICKET, 40);
    Pair::server().refuse(Content::Handshake, &ticket, Alert::UnexpectedMessage);
}

#[test]
fn any_other_message_is_refused_at_its_header() {
    // HelloRequest, ClientHello, CertificateRequest and Finished are among them.
    for kind in (0..=255).filter(|kind| ![NEW_SESSION_TICKET, KEY_UPDATE].contains(kind)) {
        let mut pair = if kind % 2 == 0 {
            Pair::client()
        } else {
            Pair::server()
        };
        let message = [kind, 0, 0, kind % 3];
        pair.refuse(Content::Handshake, &message, Alert::UnexpectedMessage);
    }
    for mut pair in Pair::both() {
        pair.refuse(Content::Handshake, &[13, 0, 0, 0], Alert::UnexpectedMessage);
    }
}

#[test]
fn messages_of_no_length_are_unexpected() {
    for content in [Content::Handshake, Content::Alert] {
        Pair::server().refuse(content, b"", Alert::UnexpectedMessage);
    }
}

#[test]
fn close_notify_of_either_level_ends_the_direction_and_later_bytes_are_ignored() {
    for level in [1, 2] {
        for mut pair in Pair::both() {
            let mut records = pair.record(Content::Data, b"before");
            records.extend(pair.record(Content::Alert, &[level, 0]));
            records.extend(pair.record(Content::Data, b"behind"));
            records.extend(b"and no record at all");
            let (plain, progress) = receive(&mut pair.ours, &records);
            assert_eq!((&plain[..], progress), (&b"before"[..], Ok(Opened::Closed)));
            let (plain, progress) = pair.take(Content::Data, b"later");
            assert_eq!((&plain[..], progress), (&b""[..], Ok(Opened::Closed)));
            assert_eq!(pair.alert(), None);
            let ours = record(&mut pair.ours, Content::Data, b"our direction goes on");
            assert_eq!(read(&mut pair.peer, &ours).len(), 1);
        }
    }
}

#[test]
fn user_canceled_is_ignored_a_few_times() {
    let mut pair = Pair::server();
    for _ in 0..4 {
        pair.accept(Content::Alert, &[1, 90]);
        pair.accept(Content::Data, b"and on");
    }
    pair.refuse(Content::Alert, &[1, 90], Alert::UnexpectedMessage);
}

#[test]
fn every_other_alert_is_fatal_whatever_its_level_and_is_not_answered() {
    let fatal = (1..=255).map(|description| [2, description]);
    let warnings = [10, 20, 40, 47, 80, 100, 109, 255].map(|description| [1, description]);
    for alert in fatal.chain(warnings) {
        let mut ours = Pair::server();
        let (_, progress) = ours.take(Content::Alert, &alert);
        assert_eq!(
            progress,
            Err(PostHandshakeError::Alert(Alert::from(alert[1])))
        );
        assert_eq!(ours.alert(), None, "RFC 8446 section 6.2");
    }
}

#[test]
fn an_alert_of_another_level_is_illegal_close_notify_too() {
    for level in [0, 3, 255] {
        for description in [0, 90, 40] {
            let alert = [level, description];
            Pair::client().refuse(Content::Alert, &alert, Alert::IllegalParameter);
        }
    }
}

#[test]
fn an_alert_of_another_length_does_not_parse() {
    for alert in [&[1][..], &[1, 0, 0], &[2, 40, 2, 40], &[1; 100]] {
        Pair::client().refuse(Content::Alert, alert, Alert::DecodeError);
    }
}

#[test]
fn key_updates_without_payload_between_them_are_bounded() {
    for between in [None, Some(&b""[..])] {
        let mut pair = Pair::server();
        for _ in 0..32 {
            pair.accept(Content::Handshake, &REQUEST);
            pair.update_peer();
            if let Some(between) = between {
                pair.accept(Content::Data, between);
            }
        }
        pair.refuse(Content::Handshake, &REQUEST, Alert::UnexpectedMessage);
    }
    let mut pair = Pair::server();
    for _ in 0..100 {
        pair.accept(Content::Handshake, &REQUEST);
        pair.update_peer();
        pair.accept(Content::Data, b"payload");
    }
}

#[test]
fn empty_records_are_bounded() {
    let mut pair = Pair::client();
    for _ in 0..3 {
        for _ in 0..32 {
            pair.accept(Content::Data, b"");
        }
        pair.accept(Content::Data, b"payload");
    }
    for _ in 0..32 {
        pair.accept(Content::Data, b"");
    }
    pair.refuse(Content::Data, b"", Alert::UnexpectedMessage);
}

#[test]
fn nothing_is_opened_after_an_invalid_record() {
    for mut pair in Pair::both() {
        let good = pair.record(Content::Data, b"good");
        let mut forged = good.clone();
        *forged.last_mut().expect("a tag") ^= 1;
        let wrong = Err(PostHandshakeError::Record(RecordError::Mac));
        assert_eq!(
            receive(&mut pair.ours, &forged),
            (Vec::new(), wrong.clone())
        );
        let next = pair.record(Content::Data, b"the number that is next");
        assert_eq!(receive(&mut pair.ours, &next), (Vec::new(), wrong));
        assert_eq!(pair.alert(), Some(Alert::BadRecordMac));
    }
}

#[test]
fn records_before_an_invalid_record_are_delivered() {
    let mut pair = Pair::client();
    let mut records = pair.record(Content::Data, b"good");
    records.extend([23, 3, 3, 0, 16].iter().chain(&[0; 16]));
    let (plain, progress) = receive(&mut pair.ours, &records);
    assert_eq!(plain, b"good");
    assert!(progress.is_err());
}

#[test]
fn records_may_arrive_in_any_pieces() {
    let contents = [
        (Content::Data, &b"one"[..]),
        (Content::Data, b""),
        (Content::Data, b"two"),
    ];
    let length = 3 * (RECORD_HEADER + RECORD_TRAILER) + 6;
    for piece in 1..=length {
        let mut pair = Pair::client();
        let records: Vec<u8> = contents
            .iter()
            .flat_map(|(content, bytes)| pair.record(*content, bytes))
            .collect();
        assert_eq!(records.len(), length);
        let mut incoming = Buffer::with_room(length);
        let mut plain = Vec::new();
        for piece in records.chunks(piece) {
            incoming.compact();
            incoming.append(piece);
            assert_eq!(pair.ours.open(&mut incoming), Ok(Opened::NeedBytes));
            plain.extend(sent(&mut incoming));
        }
        assert_eq!(plain, b"onetwo");
    }
}

#[test]
fn opening_stops_at_as_many_parts_as_one_send_takes() {
    let mut pair = Pair::client();
    let mut incoming = Buffer::with_room(1 << 20);
    for _ in 0..RECORDS_LARGE + 3 {
        incoming.append(&pair.record(Content::Data, b"x"));
    }
    assert_eq!(pair.ours.open(&mut incoming), Ok(Opened::Full));
    assert_eq!(sent(&mut incoming).len(), RECORDS_LARGE);
    assert_eq!(pair.ours.open(&mut incoming), Ok(Opened::NeedBytes));
    assert_eq!(sent(&mut incoming).len(), 3);
}

#[test]
fn a_key_limit_below_one_turn_updates_the_key_once_a_turn() {
    let (client, server) = Almost::begin().end();
    let mut pair = Pair::of(client, server);
    pair.ours.key_records = 1;
    for turn in 0..3 {
        let mut outgoing = Vec::new();
        pair.ours.before(4, &mut outgoing).expect("keys");
        let updates = outgoing.len();
        pair.ours.before(4, &mut outgoing).expect("keys");
        assert_eq!(outgoing.len(), updates, "one update and no more");
        for _ in 0..4 {
            outgoing.extend(record(&mut pair.ours, Content::Data, b"x"));
        }
        let messages = read(&mut pair.peer, &outgoing);
        assert_eq!(messages.len(), 4 + usize::from(turn > 0));
    }
}

#[test]
fn a_key_is_updated_when_it_has_sealed_its_records() {
    let mut pair = Pair::client();
    pair.ours.key_records = 10;
    for _ in 0..40 {
        let mut outgoing = Vec::new();
        pair.ours.before(3, &mut outgoing).expect("keys");
        for _ in 0..3 {
            outgoing.extend(record(&mut pair.ours, Content::Data, b"x"));
        }
        assert!(pair.ours.sealer.records() <= 10);
        read(&mut pair.peer, &outgoing);
    }
}

#[test]
fn a_key_update_asked_for_with_the_last_flight_is_answered_after_the_hand_over() {
    let mut almost = Almost::begin();
    let (mut peer, _) = hand_over(almost.client, &[], Cipher::Ring, KEY_RECORDS_MAX);
    let mut flight = almost.last_flight;
    flight.extend(record(&mut peer, Content::Data, b"early"));
    flight.extend(record(&mut peer, Content::Handshake, &REQUEST));
    let (_, tail) = run(&mut almost.server, &flight);
    let (mut ours, early) = hand_over(almost.server, &tail, Cipher::AwsLc, KEY_RECORDS_MAX);
    assert_eq!(early, b"early");
    let mut outgoing = Vec::new();
    ours.before(1, &mut outgoing).expect("keys");
    outgoing.extend(record(&mut ours, Content::Data, b"payload"));
    let messages = read(&mut peer, &outgoing);
    assert_eq!(messages[0].0, Content::Handshake);
    assert_eq!(messages[1], (Content::Data, b"payload".to_vec()));
}

#[test]
fn close_notify_with_the_last_flight_is_processed_after_the_hand_over() {
    let mut almost = Almost::begin();
    let (mut peer, _) = hand_over(almost.client, &[], Cipher::Ring, KEY_RECORDS_MAX);
    let mut flight = almost.last_flight;
    flight.extend(record(&mut peer, Content::Data, b"all of it"));
    flight.extend(record(&mut peer, Content::Alert, &[1, 0]));
    let (_, tail) = run(&mut almost.server, &flight);
    let (mut ours, early) = hand_over(almost.server, &tail, Cipher::AwsLc, KEY_RECORDS_MAX);
    assert_eq!(early, b"all of it");
    assert_eq!(receive(&mut ours, &tail), (Vec::new(), Ok(Opened::Closed)));
}

#[test]
fn a_partial_record_after_the_last_flight_is_not_lost() {
    let mut almost = Almost::begin();
    let (mut peer, _) = hand_over(almost.client, &[], Cipher::Ring, KEY_RECORDS_MAX);
    let behind = record(&mut peer, Content::Data, b"payload");
    let (now, later) = behind.split_at(11);
    let flight = [&almost.last_flight[..], now].concat();
    let (_, tail) = run(&mut almost.server, &flight);
    assert_eq!(tail, now);
    let (mut ours, early) = hand_over(almost.server, &tail, Cipher::AwsLc, KEY_RECORDS_MAX);
    assert!(early.is_empty());
    let whole = [&tail[..], later].concat();
    let (plain, progress) = receive(&mut ours, &whole);
    assert_eq!(
        (&plain[..], progress),
        (&b"payload"[..], Ok(Opened::NeedBytes))
    );
}
