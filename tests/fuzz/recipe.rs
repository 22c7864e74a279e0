//! From choices to a stream of records, most of them valid and some with every kind of fault.
//!
//! The list follows BoringSSL's and tlsfuzzer's tests of the record layer and of messages after the
//! handshake.

use crate::choices::Choices;
use crate::peer::{ALERT, DATA, HANDSHAKE, Peer, TAG};
use crate::random;

const KEY_UPDATE: u8 = 24;
const TICKET: u8 = 4;
const PLAIN_MAX: usize = 16_384;

// A stream must fit into a buffer, for every choice.
const RECIPES_MAX: usize = 48;
const STREAM_MAX: usize = 400_000;

/// A stream of records, and the parts that only the gateway's layer accepts.
#[derive(Debug, Default)]
pub(crate) struct Dish {
    pub(crate) stream: Vec<u8>,
    /// A record that is authenticated with a version of its own.
    pub(crate) has_odd_version: bool,
    /// A ticket that does not parse.
    pub(crate) has_odd_ticket: bool,
    /// Many key updates, empty records or warnings in a row.
    pub(crate) has_flood: bool,
}

/// Makes a stream of `peer`'s records.
pub(crate) fn cook(choices: &mut Choices<'_>, peer: &mut Peer) -> Dish {
    let mut kitchen = Kitchen {
        peer,
        dish: Dish::default(),
        last: 0,
        payload: 0,
    };
    for _ in 0..RECIPES_MAX {
        if choices.are_made() || kitchen.dish.stream.len() > STREAM_MAX {
            break;
        }
        kitchen.follow(choices);
    }
    kitchen.dish
}

struct Kitchen<'p> {
    peer: &'p mut Peer,
    dish: Dish,
    // The beginning of the last record.
    last: usize,
    // The number of payload bytes so far; the value of each follows from its position.
    payload: u64,
}

impl Kitchen<'_> {
    fn follow(&mut self, choices: &mut Choices<'_>) {
        match choices.octet() % 40 {
            0..=9 => self.data(choices),
            10 => self.serve(DATA, &[], 0),
            11..=14 => self.key_update(choices),
            15 | 16 => self.ticket(choices),
            17 | 18 => self.split(choices),
            19 => self.several(choices),
            20 | 21 => self.odd_message(choices),
            22 | 23 => self.alert(choices),
            24 => self.odd_alert(choices),
            25 => self.user_canceled(choices),
            26 => self.serve(ALERT, &[1, 0], 0),
            27 => self.odd_content(choices),
            28 => self.without_content(choices),
            29 | 30 => self.oversized(choices),
            31 | 32 => self.damage(choices),
            33 => self.replay(),
            34 => self.peer.skip(),
            35 => self.swap(choices),
            36 => self.odd_header(choices),
            37 => self.dish.stream.extend(choices.clone().take(32)),
            38 => self.flood(choices),
            _ => self.cut(choices),
        }
    }

    fn serve(&mut self, content_type: u8, content: &[u8], padding: usize) {
        let record = self.peer.record(content_type, content, padding);
        self.put(&record);
    }

    fn put(&mut self, record: &[u8]) {
        self.last = self.dish.stream.len();
        self.dish.stream.extend_from_slice(record);
    }

    fn octets(&mut self, count: usize) -> Vec<u8> {
        let start = self.payload;
        self.payload += count as u64;
        (start..self.payload)
            .map(|at| random::byte(1, at))
            .collect()
    }

    fn data(&mut self, choices: &mut Choices<'_>) {
        let length = match choices.octet() % 8 {
            0 => PLAIN_MAX,
            1 => PLAIN_MAX - 1,
            2 => choices.below(PLAIN_MAX + 1),
            3 => 1,
            _ => choices.below(200),
        };
        let padding = match choices.octet() % 8 {
            0 => PLAIN_MAX - length,
            1 => choices.below(PLAIN_MAX - length + 1),
            2 => choices.below(20).min(PLAIN_MAX - length),
            _ => 0,
        };
        let content = self.octets(length);
        self.serve(DATA, &content, padding);
    }

    fn key_update(&mut self, choices: &mut Choices<'_>) {
        let request = choices.octet() % 2;
        self.serve(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, request], 0);
        self.peer.update();
    }

    fn ticket(&mut self, choices: &mut Choices<'_>) {
        let length = choices.pick(&[1, 32, 200, 10_000]);
        self.serve(HANDSHAKE, &ticket(length), 0);
    }

    // A message over several records, perhaps with something between them.
    fn split(&mut self, choices: &mut Choices<'_>) {
        let is_update = choices.chance(128);
        let message = match is_update {
            true => vec![KEY_UPDATE, 0, 0, 1, choices.octet() % 2],
            false => ticket(choices.pick(&[1, 300, 20_000, 65_000, 66_000])),
        };
        let mut rest = &message[..];
        while !rest.is_empty() {
            let most = rest.len().min(PLAIN_MAX);
            let part = match choices.octet() % 4 {
                0 => most,
                1 => 1,
                _ => choices.below(most) + 1,
            };
            let part = if choices.are_made() { most } else { part };
            self.serve(HANDSHAKE, &rest[..part], 0);
            rest = &rest[part..];
            if !rest.is_empty() && choices.chance(16) {
                self.dish.has_odd_ticket = true;
                self.follow(&mut Choices::new(&[choices.octet(), choices.octet()]));
            }
            if choices.chance(4) {
                // Other messages may become the rest of this one.
                self.dish.has_odd_ticket = true;
                return;
            }
        }
        if is_update {
            self.peer.update();
        }
    }

    fn several(&mut self, choices: &mut Choices<'_>) {
        let mut content = Vec::new();
        for _ in 0..=choices.below(3) {
            match choices.octet() % 4 {
                0 => content.extend([KEY_UPDATE, 0, 0, 1, choices.octet() % 4]),
                _ => content.extend(ticket(choices.pick(&[1, 40]))),
            }
        }
        let is_update = content.ends_with(&[KEY_UPDATE, 0, 0, 1, 0])
            || content.ends_with(&[KEY_UPDATE, 0, 0, 1, 1]);
        self.serve(HANDSHAKE, &content, 0);
        if is_update {
            self.peer.update();
        }
    }

    fn odd_message(&mut self, choices: &mut Choices<'_>) {
        let content: Vec<u8> = match choices.octet() % 9 {
            0 => vec![KEY_UPDATE, 0, 0, 1, choices.pick(&[2, 3, 255])],
            1 => vec![KEY_UPDATE, 0, 0, 0],
            2 => vec![KEY_UPDATE, 0, 0, 2, 0, 0],
            3 => vec![KEY_UPDATE, 0, 0, 1, 0, choices.octet()],
            4 => vec![TICKET, 1, 0, 0, 7, 7],
            5 => vec![TICKET, 0, 0, 3, 1, 2, 3],
            // CertificateRequest, ClientHello, HelloRequest, Finished, CertificateVerify and others.
            6 => vec![
                choices.pick(&[13, 1, 0, 20, 15, 2, 5, 8, 11, 99, 254]),
                0,
                0,
                0,
            ],
            7 => vec![
                choices.pick(&[13, 1, 0, 20, 15, 2, 5, 8, 11, 99, 254]),
                0,
                0,
                2,
                0,
                0,
            ],
            _ => choices.take(12).to_vec(),
        };
        self.dish.has_odd_ticket |= content.first() == Some(&TICKET);
        self.serve(HANDSHAKE, &content, 0);
    }

    fn alert(&mut self, choices: &mut Choices<'_>) {
        let level = choices.pick(&[1, 2, 2, 0, 3, 255]);
        let description = choices.pick(&[0, 0, 90, 10, 20, 40, 42, 49, 80, 100, 109, 120, 255]);
        self.serve(ALERT, &[level, description], 0);
    }

    fn odd_alert(&mut self, choices: &mut Choices<'_>) {
        let length = choices.pick(&[0, 1, 3, 4, 100]);
        self.serve(ALERT, &vec![1; length], 0);
    }

    fn user_canceled(&mut self, choices: &mut Choices<'_>) {
        self.dish.has_flood = true;
        for _ in 0..=choices.below(6) {
            self.serve(ALERT, &[1, 90], 0);
        }
    }

    fn odd_content(&mut self, choices: &mut Choices<'_>) {
        let content_type = choices.pick(&[20, 24, 25, 1, 19, 255]);
        let content = [1; 4];
        let length = choices.below(content.len() + 1);
        self.serve(content_type, &content[..length], 0);
    }

    fn without_content(&mut self, choices: &mut Choices<'_>) {
        let zeros = choices.pick(&[0, 1, 17, PLAIN_MAX + 1]);
        let record = self.peer.protect(vec![0; zeros]);
        self.put(&record);
    }

    fn oversized(&mut self, choices: &mut Choices<'_>) {
        let legal = PLAIN_MAX + 256 - TAG;
        let inner = choices.pick(&[PLAIN_MAX + 2, legal, legal + 1, legal + 2000, 0xffff - TAG]);
        let mut inner = vec![0; inner];
        let at = choices.pick(&[0, PLAIN_MAX, inner.len() - 1]);
        inner[at] = DATA;
        let record = self.peer.protect(inner);
        self.put(&record);
    }

    // One bit of the last record is flipped, including its header.
    fn damage(&mut self, choices: &mut Choices<'_>) {
        if choices.chance(128) {
            self.data(choices);
        }
        let record = &mut self.dish.stream[self.last..];
        let at = match choices.octet() % 3 {
            0 => choices.below(5),
            1 => record.len().saturating_sub(1 + choices.below(TAG)),
            _ => choices.below(record.len().max(1)),
        };
        if let Some(octet) = record.get_mut(at) {
            *octet ^= 1 << (choices.octet() % 8);
        }
    }

    fn replay(&mut self) {
        let record = self.dish.stream[self.last..].to_vec();
        self.put(&record);
    }

    fn swap(&mut self, choices: &mut Choices<'_>) {
        let (one, two) = (self.octets(choices.below(40)), self.octets(3));
        let records = [one, two].map(|content| self.peer.record(DATA, &content, 0));
        self.put(&records[1]);
        self.put(&records[0]);
    }

    // Another type or version: authenticated as sent, or as it should be.
    fn odd_header(&mut self, choices: &mut Choices<'_>) {
        let outer = match choices.octet() % 2 {
            0 => [choices.pick(&[20, 21, 22, 24, 0, 255]), 3, 3],
            _ => [
                DATA,
                choices.pick(&[3, 3, 2, 0]),
                choices.pick(&[1, 4, 0, 255]),
            ],
        };
        let mut inner = self.octets(choices.below(30));
        inner.push(DATA);
        let record = match choices.octet() % 2 {
            0 => {
                self.dish.has_odd_version |= outer[1..] != [3, 3];
                self.peer.protect_under(outer, inner)
            }
            _ => {
                let mut record = self.peer.protect(inner);
                record[..3].copy_from_slice(&outer);
                record
            }
        };
        self.put(&record);
    }

    fn flood(&mut self, choices: &mut Choices<'_>) {
        let count = 30 + choices.below(5);
        let which = choices.octet() % 3;
        self.dish.has_flood = true;
        for _ in 0..count {
            match which {
                0 => self.key_update(choices),
                1 => self.serve(DATA, &[], 0),
                _ => {
                    self.key_update(choices);
                    self.serve(DATA, &[], 0);
                }
            }
        }
    }

    // The stream continues with a gap.
    fn cut(&mut self, choices: &mut Choices<'_>) {
        let record = self.dish.stream.len() - self.last;
        let missing = choices.below(record.max(1));
        self.dish.stream.truncate(self.dish.stream.len() - missing);
    }
}

// A whole NewSessionTicket (RFC 8446 section 4.6.1) around a ticket of `length` bytes.
fn ticket(length: usize) -> Vec<u8> {
    let length = u16::try_from(length.min(0xffff)).expect("just bounded");
    let mut body = vec![0, 0, 14, 16, 1, 2, 3, 4, 2, 9, 9];
    body.extend(length.to_be_bytes());
    body.resize(body.len() + usize::from(length), 0x77);
    body.extend([0, 0]);
    let [_, high, middle, low] = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[TICKET, high, middle, low][..], &body].concat()
}
