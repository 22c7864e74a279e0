//! Interface engines that connect in advance, and receivers that connect to a sender.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use test_peers::openings;
use wardgate_tests::stream::{Ending, accept, accept_now, connect, ending, ending_of};
use wardgate_tests::tls::TLS13;
use wardgate_tests::{DEADLINE, Line, Pki, until};

use crate::pair::{Pair, Terminate, local, originate};

const MESSAGE: &[u8] = b"\x0bMSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5\rOBR|1\r\x1c\r";
const ANSWER: &[u8] = b"\x0bMSH|^~\\&|C|D|A|B|20260101||ACK|1|P|2.5\rMSA|AA|1\r\x1c\r";

/// Longer than the wait for a first byte with other protocols.
const SILENCE: Duration = Duration::from_millis(5500);

fn expect(stream: &mut impl Read, bytes: &[u8]) {
    let mut came = vec![0; bytes.len()];
    stream.read_exact(&mut came).expect("all arrives");
    assert_eq!(came, bytes);
}

#[test]
fn mllp_client_that_connects_in_advance_may_wait_on_either_side() {
    let pair = Pair::start("mllp");
    let terminate = Terminate::with(|site| site);
    let mut client = connect(pair.entry);
    let mut peer = terminate.greeted(TLS13);
    std::thread::sleep(SILENCE);
    assert!(accept_now(&pair.exit).is_none(), "it connects late");
    client.write_all(MESSAGE).expect("it is open");
    peer.write_all(MESSAGE).expect("it is open");
    for exit in [&pair.exit, &terminate.exit] {
        let mut server = accept(exit);
        expect(&mut server, MESSAGE);
        server.write_all(ANSWER).expect("it is open");
    }
    expect(&mut client, ANSWER);
    expect(&mut peer, ANSWER);
}

/// The number of accepted connections without a message is also bounded for each peer.
#[test]
fn silent_connections_of_accepted_peers_are_bounded() {
    let terminate = Terminate::with(|site| site.gateway("cores", "[0]").descriptors(600));
    let ended = || {
        let text = terminate.gateway.metrics();
        let is_it = |line: &&str| {
            line.starts_with("wardgate_unauthenticated_ended_total{stage=\"silent_peer\",limit=\"places_of_address\"}")
        };
        let line = text.lines().find(is_it).expect("the metric is there");
        line.rsplit(' ').next().is_some_and(|number| number != "0")
    };
    let mut peers = Vec::new();
    while !ended() {
        assert!(peers.len() < 100, "there is no bound");
        peers.extend((0..10).map(|_| terminate.greeted(TLS13)));
    }
    // The oldest is ended first, and the youngest is served.
    assert_ne!(ending(&mut peers[0]).1, Ending::Orderly);
    let line = &terminate.gateway.wait_for_connections(1)[0];
    let reason = line.text("reason");
    let limit = "limit reached: connections whose accepted peer has sent no first message of one address: 20 on each \
                 core";
    assert!(reason.starts_with(limit), "{reason}");
    let youngest = peers.last_mut().expect("there are some");
    youngest.write_all(MESSAGE).expect("it is open");
    expect(&mut accept(&terminate.exit), MESSAGE);
}

fn early() -> Pair {
    Pair::with("mllp", |site| site.set("connect", "\"early\""))
}

/// The receiver connects, and the listening side sends the messages.
#[test]
fn sender_may_be_the_side_that_listens_if_both_gateways_connect_early() {
    let pair = early();
    let mut receiver = connect(pair.entry);
    let mut sender = accept(&pair.exit);
    for _ in 0..2 {
        sender.write_all(MESSAGE).expect("it is open");
        expect(&mut receiver, MESSAGE);
        receiver.write_all(ANSWER).expect("it is open");
        expect(&mut sender, ANSWER);
    }
    drop(receiver);
    assert_eq!(ending(&mut sender), (0, Ending::Orderly));
    drop(sender);
    for gateway in [&pair.a, &pair.b] {
        let is_it = |line: &Line| line.message() == "conversation";
        let line = gateway.wait_for_line("conversation", DEADLINE, is_it);
        let counts = ["messages", "acknowledgements", "unanswered"].map(|key| line.number(key));
        assert_eq!(counts, [2, 2, 0], "{line:?}");
        assert_eq!(
            gateway.wait_for_connections(1)[0].text("reason"),
            "complete"
        );
    }
}

/// The client of an early route reaches the other site without a byte, so its later bytes are checked.
#[test]
fn early_connection_carries_nothing_that_does_not_begin_as_mllp() {
    let pair = early();
    let mut client = connect(pair.entry);
    let mut server = accept(&pair.exit);
    client.write_all(openings::HTTP).expect("it is open");
    assert_ne!(ending(&mut client).1, Ending::Orderly);
    assert_eq!(
        ending(&mut server),
        (0, Ending::Reset),
        "not a byte arrives"
    );
    let line = &pair.a.wait_for_connections(1)[0];
    let reason = line.text("reason");
    assert!(
        reason.contains("sent HTTP, not HL7 in MLLP frames"),
        "{reason}"
    );
}

#[test]
fn early_connection_ends_if_the_target_cannot_be_reached() {
    let (pki, entry) = (Pki::new(), local());
    let site = originate(&pki, entry, local());
    let gateway = site.set("connect", "\"early\"").start();
    assert_eq!(ending_of(entry), (0, Ending::Reset));
    let reason = until("the line", DEADLINE, || {
        let lines = gateway.connections();
        lines.first().map(|line| line.text("reason").to_owned())
    });
    assert!(reason.contains("connection refused"), "{reason}");
}

/// The beginning of the log line about a target that sends no byte of answer.
fn no_answer(exit: &std::net::TcpListener, request: &str) -> String {
    let target = crate::pair::address(exit);
    format!("target {target} accepted the connection but did not answer the {request} for ")
}

/// A client that gives up soon causes no warning.
#[test]
fn target_that_accepts_and_does_not_answer_is_one_warning_when_the_client_gives_up() {
    let terminate = Terminate::with(|site| site);
    let begins = no_answer(&terminate.exit, "first HL7 message");
    let mut held = Vec::new();
    let mut times = Vec::new();
    for (wait, answer) in [
        (Duration::ZERO, None),
        (Duration::from_millis(2500), Some(ANSWER)),
        (Duration::from_millis(2500), None),
    ] {
        let mut peer = terminate.greeted(TLS13);
        let begun = Instant::now();
        peer.write_all(MESSAGE).expect("it is open");
        let mut server = accept(&terminate.exit);
        expect(&mut server, MESSAGE);
        std::thread::sleep(wait);
        if let Some(answer) = answer {
            server.write_all(answer).expect("it is open");
            expect(&mut peer, answer);
        }
        wardgate_tests::stream::reset(peer.socket);
        times.push(begun.elapsed());
        held.push(server);
    }
    terminate.gateway.wait_for_connections(3);
    let lines = terminate.gateway.lines();
    let about = |line: &&Line| line.message().starts_with(&begins);
    let lines: Vec<_> = lines.iter().filter(about).collect();
    // The first client gave up soon, if the machine let this test run.
    let most = 1 + usize::from(times[0] >= Duration::from_secs(1));
    assert!((1..=most).contains(&lines.len()), "{times:?} {lines:?}");
    let last = lines[lines.len() - 1];
    let rest = last.message().strip_prefix(&begins);
    let (seconds, words) = rest
        .and_then(|rest| rest.split_once(" s, "))
        .expect("a time");
    let seconds: u64 = seconds.parse().expect("whole seconds");
    assert!((2..20).contains(&seconds), "{last:?}");
    assert!(
        words.starts_with("then the client closed; check whether the receiver hangs"),
        "{last:?}"
    );
    assert_eq!(last.text("level"), "WARN");
    assert_eq!(last.text("route"), "terminate-1");
}
