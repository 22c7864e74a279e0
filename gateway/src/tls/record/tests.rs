//! Single records, valid ones and those that RFC 8446 section 5 requires to refuse, with each pair of
//! ciphers.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::AlertDescription as Alert;
use rustls::crypto::cipher::{AeadKey, Iv};

use super::*;

const KEY: [u8; 32] = [7; 32];
const IV: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

fn secrets() -> ConnectionTrafficSecrets {
    ConnectionTrafficSecrets::Aes256Gcm {
        key: AeadKey::from(KEY),
        iv: Iv::from(IV),
    }
}

/// The cipher that seals and the cipher that opens. Every test runs with each pair.
#[derive(Debug, Clone, Copy)]
struct Ends {
    seals: Cipher,
    opens: Cipher,
}

impl Ends {
    fn all() -> impl Iterator<Item = Self> {
        let pairs = Cipher::ALL.map(|seals| Cipher::ALL.map(|opens| Self { seals, opens }));
        pairs.into_iter().flatten()
    }

    fn opener(self, sequence: u64) -> Opener {
        Opener::new(self.opens, sequence, &secrets()).expect("AES-GCM")
    }

    fn sealer(self, sequence: u64) -> Sealer {
        Sealer::new(self.seals, sequence, &secrets()).expect("AES-GCM")
    }

    fn refused(self, record: &[u8]) -> Alert {
        opened(&mut self.opener(0), record)
            .expect_err("a wrong record")
            .alert()
    }
}

fn sealed(sealer: &mut Sealer, content: Content, plain: &[u8]) -> Vec<u8> {
    let mut room = vec![0xee; RECORD_HEADER + plain.len() + RECORD_TRAILER];
    room[RECORD_HEADER..RECORD_HEADER + plain.len()].copy_from_slice(plain);
    let length = sealer.seal(content, &mut room, plain.len()).expect("room");
    assert_eq!(length, room.len());
    room
}

/// A record around any inner plaintext, created by ring with its own nonce and header.
fn forged(sequence: u64, inner: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(inner.len() + TAG)
        .expect("short")
        .to_be_bytes();
    forged_under([23, 3, 3, high, low], sequence, inner)
}

fn forged_under(header: [u8; 5], sequence: u64, inner: &[u8]) -> Vec<u8> {
    let key = UnboundKey::new(&AES_256_GCM, &KEY).expect("32 bytes");
    let mut nonce = IV;
    for (byte, part) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
        *byte ^= part;
    }
    let mut protected = inner.to_vec();
    LessSafeKey::new(key)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(header),
            &mut protected,
        )
        .expect("a short record");
    [&header[..], &protected].concat()
}

fn opened(opener: &mut Opener, record: &[u8]) -> Result<(Content, Vec<u8>), RecordError> {
    let mut bytes = record.to_vec();
    let opened = opener.open(&mut bytes)?.expect("a whole record");
    assert_eq!(opened.length, record.len());
    Ok((opened.content, bytes[opened.range].to_vec()))
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    let bytes = digits.chunks(2).map(byte);
    bytes.collect::<Result<_, _>>().expect("hexadecimal")
}

#[test]
fn records_of_rfc_8448_section_3_are_sealed_and_opened() {
    let client = |cipher| {
        let key = hex("17422dda596ed5d9acd890e3c63f5051");
        let iv = hex("5b78923dee08579033e523d9");
        Keys::of_128(
            cipher,
            key.try_into().expect("16"),
            iv.try_into().expect("12"),
            0,
        )
    };
    let payload: Vec<u8> = (0..50).collect();
    let data = hex(
        "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc
         ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd
         1e 3d ea e6 3a ee bb 21 69 49 15 e4",
    );
    let alert = hex("1703030013c9872760655666b74d7ff1153efd6db6d0b0e3");
    for Ends { seals, opens } in Ends::all() {
        let mut sealer = Sealer(client(seals));
        assert_eq!(sealed(&mut sealer, Content::Data, &payload), data);
        assert_eq!(sealed(&mut sealer, Content::Alert, &[1, 0]), alert);
        let mut opener = Opener(client(opens));
        assert_eq!(
            opened(&mut opener, &data),
            Ok((Content::Data, payload.clone()))
        );
        assert_eq!(
            opened(&mut opener, &alert),
            Ok((Content::Alert, vec![1, 0]))
        );
    }
}

#[test]
fn records_of_every_legal_size_can_be_opened_again() {
    for ends in Ends::all() {
        let (mut sealer, mut opener) = (ends.sealer(0), ends.opener(0));
        for length in [0, 1, 2, 15, 16, 17, 255, 256, 16_383, 16_384] {
            let plain: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let record = sealed(&mut sealer, Content::Data, &plain);
            assert_eq!(opened(&mut opener, &record), Ok((Content::Data, plain)));
        }
        assert_eq!(sealer.records(), 10);
    }
}

#[test]
fn both_ciphers_seal_to_the_same_bytes() {
    for ends in Ends::all() {
        for sequence in [0, 1, 255, 256, 1 << 24, 1 << 32, u64::MAX - 1] {
            let record = sealed(
                &mut ends.sealer(sequence),
                Content::Handshake,
                b"\x18\0\0\x01\0",
            );
            assert_eq!(record, forged(sequence, b"\x18\0\0\x01\0\x16"));
        }
    }
}

#[test]
fn a_record_without_enough_room_or_too_long_is_refused() {
    for ends in Ends::all() {
        let mut sealer = ends.sealer(0);
        let mut room = vec![0; 20_000];
        for (room, length) in [
            (20_000, 16_385),
            (121, 100),
            (21, 0),
            (0, 0),
            (20_000, usize::MAX),
        ] {
            let rooms = room;
            let room = &mut vec![0; room][..];
            let refused = sealer.seal(Content::Data, room, length);
            assert_eq!(refused, Err(RecordError::NoRoom), "{length} in {rooms}");
        }
        assert_eq!(sealer.records(), 0, "nothing was used up");
        assert_eq!(sealer.seal(Content::Data, &mut room, 16_384), Ok(16_406));
    }
}

#[test]
fn a_sequence_number_is_never_reused() {
    for ends in Ends::all() {
        let (mut sealer, mut opener) = (ends.sealer(u64::MAX - 1), ends.opener(u64::MAX - 1));
        let last = sealed(&mut sealer, Content::Data, b"last");
        assert!(opened(&mut opener, &last).is_ok());
        for _ in 0..3 {
            let mut room = [0; 64];
            let end = sealer.seal(Content::Data, &mut room, 1);
            assert_eq!(end, Err(RecordError::SequenceEnd));
            let after = forged(u64::MAX, b"x\x17");
            assert_eq!(opened(&mut opener, &after), Err(RecordError::SequenceEnd));
        }
        assert_eq!(RecordError::SequenceEnd.alert(), Alert::InternalError);
    }
}

#[test]
fn a_record_is_opened_once_all_of_it_has_arrived() {
    for ends in Ends::all() {
        let record = sealed(&mut ends.sealer(0), Content::Data, b"payload");
        let mut opener = ends.opener(0);
        for end in 0..record.len() {
            let mut part = record[..end].to_vec();
            assert_eq!(opener.open(&mut part), Ok(None), "{end}");
            assert_eq!(part, record[..end], "half a record is left as it is");
        }
        let mut more = [&record[..], b"\x17\x03"].concat();
        let opened = opener.open(&mut more).expect("good").expect("whole");
        assert_eq!(opened.length, record.len());
    }
}

#[test]
fn an_outer_type_other_than_application_data_is_unexpected_at_its_first_byte() {
    for ends in Ends::all() {
        for kind in (0..=255).filter(|kind| *kind != 23) {
            let first = ends.opener(0).open(&mut [kind]);
            assert_eq!(first, Err(RecordError::Type(kind)));
            let whole = forged_under([kind, 3, 3, 0, 18], 0, b"x\x17");
            assert_eq!(ends.refused(&whole), Alert::UnexpectedMessage);
        }
    }
}

#[test]
fn another_version_than_was_authenticated_is_bad_record_mac() {
    for ends in Ends::all() {
        for version in [[3, 1], [3, 4], [0, 0], [2, 3], [255, 255]] {
            let mut record = forged(0, b"x\x17");
            record[1..3].copy_from_slice(&version);
            assert_eq!(ends.refused(&record), Alert::BadRecordMac);
            // Apart from that the version is ignored (RFC 8446 section 5.1).
            let own = forged_under([23, version[0], version[1], 0, 18], 0, b"x\x17");
            assert!(opened(&mut ends.opener(0), &own).is_ok());
        }
    }
}

#[test]
fn a_record_with_any_bit_changed_does_not_open() {
    for ends in Ends::all() {
        let record = sealed(&mut ends.sealer(0), Content::Data, b"of one patient");
        for bit in 0..record.len() * 8 {
            let mut altered = record.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            // A larger length makes the opener wait for more bytes; once they arrive, the record does not
            // authenticate either.
            altered.resize(70_000, 0);
            assert!(ends.opener(0).open(&mut altered).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn a_record_shorter_than_a_tag_is_bad_record_mac() {
    for ends in Ends::all() {
        for length in 0..TAG {
            let mut record = vec![23, 3, 3, 0, length as u8];
            record.resize(RECORD_HEADER + length, 0);
            assert_eq!(ends.refused(&record), Alert::BadRecordMac);
        }
    }
}

#[test]
fn a_replayed_lost_or_reordered_record_is_bad_record_mac() {
    for ends in Ends::all() {
        let mut sealer = ends.sealer(0);
        let [first, second, third] =
            [b"1", b"2", b"3"].map(|plain| sealed(&mut sealer, Content::Data, plain));
        for order in [[&first, &first], [&first, &third], [&second, &first]] {
            let mut opener = ends.opener(0);
            let outcomes = order.map(|record| opened(&mut opener, record));
            assert!(outcomes.contains(&Err(RecordError::Mac)));
        }
        assert_eq!(RecordError::Mac.alert(), Alert::BadRecordMac);
    }
}

#[test]
fn a_record_under_another_key_or_another_cipher_is_bad_record_mac() {
    for ends in Ends::all() {
        let record = sealed(&mut ends.sealer(0), Content::Data, b"payload");
        let mut other = Opener(Keys::of_128(ends.opens, [7; 16], IV, 0));
        assert_eq!(opened(&mut other, &record), Err(RecordError::Mac));
    }
}

#[test]
fn padding_of_any_length_is_removed() {
    for ends in Ends::all() {
        for (content, padding) in [
            (0, 0),
            (0, 1),
            (0, 16_384),
            (1, 1),
            (5, 255),
            (16_384, 0),
            (1, 16_383),
        ] {
            let mut inner = vec![0xab; content];
            inner.push(23);
            inner.resize(inner.len() + padding, 0);
            let record = forged(0, &inner);
            let plain = vec![0xab; content];
            assert_eq!(
                opened(&mut ends.opener(0), &record),
                Ok((Content::Data, plain))
            );
        }
    }
}

#[test]
fn payload_that_ends_in_zeros_keeps_them() {
    for ends in Ends::all() {
        let record = forged(0, b"\0\0a\0\0\x17\0\0\0");
        let plain = b"\0\0a\0\0".to_vec();
        assert_eq!(
            opened(&mut ends.opener(0), &record),
            Ok((Content::Data, plain))
        );
    }
}

#[test]
fn zeros_alone_are_unexpected() {
    for ends in Ends::all() {
        for zeros in [0, 1, 2, 16_385] {
            assert_eq!(
                ends.refused(&forged(0, &vec![0; zeros])),
                Alert::UnexpectedMessage
            );
        }
    }
}

#[test]
fn an_inner_plaintext_too_long_by_one_is_record_overflow() {
    for ends in Ends::all() {
        for (content, padding) in [(16_385, 0), (16_384, 1), (0, 16_385), (16_623, 0)] {
            let mut inner = vec![1; content];
            inner.push(23);
            inner.resize(inner.len() + padding, 0);
            assert_eq!(ends.refused(&forged(0, &inner)), Alert::RecordOverflow);
            assert_eq!(
                ends.refused(&forged(0, &vec![0; 16_386])),
                Alert::RecordOverflow
            );
        }
    }
}

#[test]
fn a_ciphertext_too_long_by_one_is_record_overflow_by_its_header() {
    for ends in Ends::all() {
        for length in [16_641_u16, 16_642, 18_432, u16::MAX] {
            let [high, low] = length.to_be_bytes();
            let refused = ends.opener(0).open(&mut [23, 3, 3, high, low]);
            assert_eq!(refused, Err(RecordError::Oversized));
        }
        // A record of the largest legal length is opened, and does not authenticate.
        let mut longest = vec![0; RECORD_HEADER + 16_640];
        longest[..5].copy_from_slice(&[23, 3, 3, 65, 0]);
        assert_eq!(ends.refused(&longest), Alert::BadRecordMac);
    }
}

#[test]
fn three_content_types_are_allowed() {
    for ends in Ends::all() {
        for kind in 1..=255 {
            let outcome = opened(&mut ends.opener(0), &forged(0, &[b'x', kind]));
            let expected = match kind {
                21 => Ok((Content::Alert, vec![b'x'])),
                22 => Ok((Content::Handshake, vec![b'x'])),
                23 => Ok((Content::Data, vec![b'x'])),
                _ => Err(RecordError::Type(kind)),
            };
            assert_eq!(outcome, expected);
        }
        // A protected change_cipher_spec is refused too (RFC 8446 section 5).
        assert_eq!(ends.refused(&forged(0, &[1, 20])), Alert::UnexpectedMessage);
    }
}

#[test]
fn secrets_for_another_cipher_are_refused() {
    let secrets = ConnectionTrafficSecrets::Chacha20Poly1305 {
        key: AeadKey::from(KEY),
        iv: Iv::from(IV),
    };
    for cipher in Cipher::ALL {
        assert!(Sealer::new(cipher, 0, &secrets).is_none());
        assert!(Opener::new(cipher, 0, &secrets).is_none());
    }
}
