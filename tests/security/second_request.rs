//! A second A-ASSOCIATE-RQ in one connection, whose titles would not be checked: it must not arrive.
//!
//! client -> A (originate) -> B (terminate) -> target, with rules about titles at one of the gateways. The
//! unit tests of the observer (`dicom/tests/evasion.rs`) hold the long list of attempts.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use wardgate_tests::{DEADLINE, Gateway, Pki, Site, free_port};

use crate::plain::{accept, assert_sound, connect, listener, loopback, receive_all};

const A: &str = "gw.a.example";
const B: &str = "gw.b.example";
/// The called title of the second request, which no rule allows.
const FORBIDDEN: &[u8; 16] = b"FORBIDDEN_TITLE ";

/// The part between the acceptance and the second request.
struct Attempt {
    name: &'static str,
    /// Whether the association is released first.
    is_released: bool,
    /// The bytes that the client sends after this.
    octets: fn() -> Vec<u8>,
}

const ATTEMPTS: [Attempt; 3] = [
    Attempt {
        name: "a message id that stands twice",
        is_released: false,
        octets: doubled_message_id,
    },
    Attempt {
        name: "a PDU of unknown type",
        is_released: false,
        octets: unknown_pdu,
    },
    Attempt {
        name: "a PDU of unknown type behind the release",
        is_released: true,
        octets: unknown_pdu,
    },
];

#[test]
fn second_request_does_not_arrive_where_titles_are_judged_or_choose_targets() {
    let (target, port) = listener();
    // Another title has its own targets, so that titles select targets.
    let by_title = "[{ called = \"OTHER\", targets = [\"127.0.0.1:9\"] }]";
    for rule in [("called_ae", "[\"ARCHIVE\"]"), ("ae", by_title)] {
        for at_a in [true, false] {
            let pair = Pair::start(port, at_a, &[rule]);
            for attempt in ATTEMPTS {
                let arrived = pair.try_second_request(&target, &attempt);
                let case = format!("{}, at A: {at_a}, {}", rule.0, attempt.name);
                assert!(!holds(&arrived, FORBIDDEN), "{case}");
                assert!(holds(&arrived, b"ARCHIVE"), "{case}");
            }
            let judge = pair.judge();
            judge.wait_for_line("the last attempt", DEADLINE, |line| {
                line.message() == "association" && line.text("how").contains("unknown type 0x48")
            });
            assert_sound(judge);
        }
    }
}

#[test]
fn second_request_is_logged_where_rules_only_report() {
    let (target, port) = listener();
    let rules = [("called_ae", "[\"ARCHIVE\"]"), ("rules", "\"report\"")];
    let pair = Pair::start(port, false, &rules);
    for attempt in ATTEMPTS {
        let arrived = pair.try_second_request(&target, &attempt);
        assert!(
            holds(&arrived, FORBIDDEN),
            "{}: it is only reported",
            attempt.name
        );
    }
    let judge = pair.judge();
    let told = || {
        let lines = judge.lines();
        let is_told = |line: &&wardgate_tests::Line| {
            line.message() == "association"
                && line
                    .text("would_forbid")
                    .starts_with("unobservable traffic")
        };
        lines.iter().filter(is_told).count()
    };
    wardgate_tests::until("each is logged", DEADLINE, || {
        (told() == ATTEMPTS.len()).then_some(())
    });
}

struct Pair {
    a: Gateway,
    b: Gateway,
    entry: u16,
    at_a: bool,
}

impl Pair {
    fn start(target: u16, at_a: bool, rules: &[(&str, &str)]) -> Self {
        let pki = Pki::new();
        let (entry, wan) = (free_port(), free_port());
        let with = |site: Site, here: bool| {
            let rules = rules.iter().filter(|_| here);
            rules.fold(site, |site, (key, value)| site.set(key, *value))
        };
        let a = Site::new(&pki, A).originate(loopback(entry), loopback(wan), &[format!("dns:{B}")]);
        let b =
            Site::new(&pki, B).terminate(loopback(wan), loopback(target), &[format!("dns:{A}")]);
        Self {
            b: with(b.protocol("dicom"), !at_a).start(),
            a: with(a.protocol("dicom"), at_a).start(),
            entry,
            at_a,
        }
    }

    fn judge(&self) -> &Gateway {
        match self.at_a {
            true => &self.a,
            false => &self.b,
        }
    }

    /// All bytes that arrive at the target.
    fn try_second_request(&self, target: &TcpListener, attempt: &Attempt) -> Vec<u8> {
        let mut client = connect(self.entry);
        let first = request(b"ARCHIVE         ");
        client.write_all(&first).expect("it is connected");
        let mut target = accept(target);
        let mut arrived = vec![0; first.len()];
        target
            .read_exact(&mut arrived)
            .expect("the request arrives");
        target.write_all(&acceptance()).expect("it is connected");
        read_pdu(&mut client);
        if attempt.is_released {
            client.write_all(&pdu(5, &[0; 4])).expect("it is open");
            let mut release = [0; 10];
            target.read_exact(&mut release).expect("the release");
            target.write_all(&pdu(6, &[0; 4])).expect("it is open");
            read_pdu(&mut client);
        }
        // The gateway may end the connection after any of these bytes.
        for piece in [(attempt.octets)(), request(FORBIDDEN)] {
            let _ = client.write_all(&piece);
        }
        let _ = client.shutdown(std::net::Shutdown::Write);
        arrived.extend(receive_all(&target).bytes);
        arrived
    }
}

fn holds(octets: &[u8], part: &[u8]) -> bool {
    octets.windows(part.len()).any(|window| window == part)
}

fn read_pdu(stream: &mut TcpStream) {
    let mut header = [0; 6];
    stream.read_exact(&mut header).expect("a PDU comes");
    let [_, _, length @ ..] = header;
    let length = usize::try_from(u32::from_be_bytes(length)).expect("short");
    stream.read_exact(&mut vec![0; length]).expect("all of it");
}

fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short");
    [&[kind, 0][..], &length.to_be_bytes(), body].concat()
}

fn associate(kind: u8, called: &[u8; 16], context: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1, 0, 0];
    body.extend(called);
    body.extend(b"CT_1            ");
    body.resize(68, 0);
    body.extend(context);
    pdu(kind, &body)
}

fn request(called: &[u8; 16]) -> Vec<u8> {
    associate(1, called, &[])
}

fn acceptance() -> Vec<u8> {
    associate(2, b"ARCHIVE         ", &[])
}

fn unknown_pdu() -> Vec<u8> {
    pdu(0x48, &[0; 4])
}

/// A C-ECHO-RQ (PS3.7 section 9.3.5) with two Message ID elements (0000,0110).
fn doubled_message_id() -> Vec<u8> {
    let element = |number: u16, value: u16| {
        let tag = [&[0, 0][..], &number.to_le_bytes(), &2_u32.to_le_bytes()].concat();
        [&tag[..], &value.to_le_bytes()].concat()
    };
    let command = [
        element(0x0100, 0x0030),
        element(0x0110, 1),
        element(0x0110, 1),
        element(0x0800, 0x0101),
    ]
    .concat();
    let length = u32::try_from(command.len() + 2).expect("short");
    pdu(4, &[&length.to_be_bytes()[..], &[1, 3], &command].concat())
}
