//! Bytes that were authenticated before a stream was cut, or read from an application before it reset, are
//! delivered; then the receiver sees that the stream is cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use socket2::SockRef;
use wardgate_tests::stream::{
    Ending, Noise, accept, connect, ending, expect_noise, reset, send_noise,
};
use wardgate_tests::tls::{TLS12, TLS13};
use wardgate_tests::{DEADLINE, Gateway, until};

use crate::pair::{Originate, Pair, Terminate};

/// More than a receiver's small buffer holds, and less than the gateway's own sockets.
const MANY: usize = 300_000;

/// Long enough for a cut to pass the gateway.
const SETTLES: Duration = Duration::from_millis(400);

/// Waits until the gateway has read all that was sent: a reset discards what is still in one of the two sockets.
fn wait_until_read(stream: &TcpStream) {
    let port = |at: std::io::Result<SocketAddr>| format!(":{:04X}", at.expect("connected").port());
    let (own, other) = (port(stream.local_addr()), port(stream.peer_addr()));
    let is_read = || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel has TCP");
        // proc(5): both addresses, the state, and the bytes that wait to be acknowledged and to be read.
        let empty = |from: &str, to: &str| {
            table.lines().find_map(|line| {
                let fields: Vec<_> = line.split_whitespace().take(5).collect();
                let is_it = fields[1].ends_with(from) && fields[2].ends_with(to);
                let (sent, arrived) = fields[4].split_once(':')?;
                is_it.then(|| [sent, arrived].map(|bytes| bytes == "00000000"))
            })
        };
        let [is_sent, _] = empty(&own, &other).expect("our socket");
        let [_, is_taken] = empty(&other, &own).expect("the gateway's socket");
        is_sent && is_taken
    };
    until("the gateway reads all", DEADLINE, || {
        // Twice, because the two lines of the table are not of the same moment.
        (is_read() && is_read()).then_some(())
    });
}

fn small(receiver: &TcpStream) {
    let set = SockRef::from(receiver).set_recv_buffer_size(8192);
    set.expect("it is a socket");
}

/// Reads slowly, as a busy application does.
struct Slow<S>(S);

impl<S: Read> Read for Slow<S> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        sleep(Duration::from_millis(1));
        let most = into.len().min(4096);
        self.0.read(&mut into[..most])
    }
}

fn assert_counted(gateway: &Gateway, key: &str, count: usize) {
    let line = &gateway.wait_for_connections(1)[0];
    assert_eq!(line.number(key), count as u64, "{line:?}");
    assert_eq!(line.number("undelivered_bytes"), 0, "{line:?}");
}

#[test]
fn payload_before_a_cut_is_delivered_to_a_slow_receiver() {
    for version in [TLS13, TLS12] {
        for how in ["FIN", "close", "reset"] {
            let terminate = Terminate::start();
            let (mut peer, server) = terminate.join(version);
            small(&server);
            send_noise(&mut peer, 1, MANY);
            wait_until_read(&peer.socket);
            let _held = match how {
                "FIN" => {
                    peer.socket.shutdown(Shutdown::Write).expect("connected");
                    Some(peer)
                }
                "reset" => {
                    reset(peer.socket);
                    None
                }
                _ => {
                    drop(peer);
                    None
                }
            };
            sleep(SETTLES);
            let mut server = Slow(server);
            expect_noise(&mut server, 1, MANY);
            assert_eq!(ending(&mut server), (0, Ending::Reset), "{how}");
            assert_counted(&terminate.gateway, "opened_bytes", MANY);
        }
    }
}

#[test]
fn a_record_before_a_wrong_one_is_delivered() {
    for version in [TLS13, TLS12] {
        for wrong in ["altered", "too long"] {
            let terminate = Terminate::start();
            let (mut peer, mut server) = terminate.join(version);
            let mut records = peer.seal(&Noise::new(1).take(1000));
            let mut next = peer.seal(&[7; 1000]);
            match wrong {
                "altered" => next[600] ^= 1,
                _ => next[3] = 0xff,
            }
            records.extend(next);
            peer.socket.write_all(&records).expect("connected");
            expect_noise(&mut server, 1, 1000);
            assert_eq!(ending(&mut server), (0, Ending::Reset), "{wrong}");
            let (_, end) = ending(&mut peer);
            assert!(matches!(end, Ending::Refused(_)), "{wrong}: {end:?}");
            assert_counted(&terminate.gateway, "opened_bytes", 1000);
        }
    }
}

/// Also if there is no connection to the receiver yet.
#[test]
fn a_first_message_before_a_wrong_record_is_delivered() {
    for version in [TLS13, TLS12] {
        let terminate = Terminate::with(|site| site);
        let mut peer = terminate.greeted(version);
        // In the same read as the end of the handshake, it would make the handshake fail.
        let accepted = |line: &wardgate_tests::Line| line.message() == "accepted";
        terminate
            .gateway
            .wait_for_line("the peer is accepted", DEADLINE, accepted);
        let mut records = peer.seal(MESSAGE);
        let mut next = peer.seal(MESSAGE);
        next[20] ^= 1;
        records.extend(next);
        peer.socket.write_all(&records).expect("connected");
        let mut server = accept(&terminate.exit);
        expect(&mut server, MESSAGE);
        assert_eq!(ending(&mut server), (0, Ending::Reset));
        let (_, end) = ending(&mut peer);
        assert!(matches!(end, Ending::Refused(_)), "{end:?}");
        assert_counted(&terminate.gateway, "opened_bytes", MESSAGE.len());
    }
}

/// The gateway gives up a receiver that never reads; bytes it did not read do not count as forwarded.
#[test]
fn a_receiver_that_never_reads_is_reset_after_a_while() {
    let terminate = Terminate::start();
    let (mut peer, server) = terminate.join(TLS13);
    small(&server);
    send_noise(&mut peer, 1, MANY);
    wait_until_read(&peer.socket);
    drop(peer);
    let line = &terminate.gateway.wait_for_connections(1)[0];
    let (passed, lost) = (
        line.number("opened_bytes"),
        line.number("undelivered_bytes"),
    );
    assert!(lost > 0, "{line:?}");
    assert_eq!(passed + lost, MANY as u64, "{line:?}");
    let metric = terminate.gateway.metric("wardgate_undelivered_bytes_total");
    assert!((metric - lost as f64).abs() < 0.5, "{metric} {line:?}");
    let (received, end) = ending(&mut Slow(server));
    assert_eq!((received, end), (passed, Ending::Reset));
}

#[test]
fn bytes_of_a_plain_side_that_resets_are_delivered_to_a_slow_tls_peer() {
    for version in [TLS13, TLS12] {
        let originate = Originate::start();
        let (mut client, mut peer) = originate.join(version);
        small(&peer.socket);
        send_noise(&mut client, 1, MANY);
        wait_until_read(&client);
        reset(client);
        sleep(SETTLES);
        expect_noise(&mut peer, 1, MANY);
        let (more, end) = ending(&mut peer);
        assert_eq!(more, 0);
        assert_ne!(end, Ending::Orderly);
        assert_counted(&originate.gateway, "sealed_bytes", MANY);
    }
}

#[test]
fn bytes_before_a_reset_pass_two_gateways() {
    let pair = Pair::start("tcp");
    let (mut client, server) = pair.join();
    small(&server);
    send_noise(&mut client, 1, MANY);
    wait_until_read(&client);
    reset(client);
    sleep(SETTLES);
    let mut server = Slow(server);
    expect_noise(&mut server, 1, MANY);
    assert_eq!(ending(&mut server), (0, Ending::Reset));
    assert_counted(&pair.a, "sealed_bytes", MANY);
    assert_counted(&pair.b, "opened_bytes", MANY);
}

const MESSAGE: &[u8] = b"\x0bMSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\rEVN|A01\r\x1c\r";
const ANSWER: &[u8] = b"\x0bMSH|^~\\&|C|D|A|B|20260101||ACK|1|P|2.5\rMSA|AA|1\r\x1c\r";

fn expect(stream: &mut impl Read, frame: &[u8]) {
    let mut heard = vec![0; frame.len()];
    stream.read_exact(&mut heard).expect("all arrives");
    assert_eq!(heard, frame);
}

#[test]
fn a_sender_without_close_notify_ends_cleanly_when_all_is_acknowledged() {
    for closes in [false, true] {
        let terminate = Terminate::with(|site| site);
        let mut peer = terminate.greeted(TLS13);
        for _ in 0..2 {
            peer.write_all(MESSAGE).expect("connected");
        }
        let mut server = accept(&terminate.exit);
        expect(&mut server, &[MESSAGE, MESSAGE].concat());
        server
            .write_all(&[ANSWER, ANSWER].concat())
            .expect("connected");
        expect(&mut peer, &[ANSWER, ANSWER].concat());
        peer.socket.shutdown(Shutdown::Write).expect("connected");
        let held = Some(peer).filter(|_| !closes);
        assert_eq!(ending(&mut server), (0, Ending::Orderly));
        drop(server);
        if let Some(mut peer) = held {
            assert_eq!(ending(&mut peer), (0, Ending::Orderly));
        }
        let line = &terminate.gateway.wait_for_connections(1)[0];
        assert_eq!(line.text("reason"), "complete", "{line:?}");
        assert_eq!(line.text("ended_by"), "TLS peer", "{line:?}");
    }
}

#[test]
fn a_receiver_without_close_notify_ends_cleanly_when_it_has_acknowledged_all() {
    let originate = Originate::with(|site| site);
    let mut client = connect(originate.entry);
    client.write_all(MESSAGE).expect("connected");
    let mut peer = originate.accept(TLS13);
    expect(&mut peer, MESSAGE);
    peer.write_all(ANSWER).expect("connected");
    expect(&mut client, ANSWER);
    peer.socket.shutdown(Shutdown::Write).expect("connected");
    assert_eq!(ending(&mut client), (0, Ending::Orderly));
}

#[test]
fn a_sender_without_close_notify_is_cut_if_something_is_outstanding() {
    for outstanding in [&MESSAGE[..10], MESSAGE, &[MESSAGE, MESSAGE].concat()] {
        let terminate = Terminate::with(|site| site);
        let mut peer = terminate.greeted(TLS13);
        peer.write_all(outstanding).expect("connected");
        let mut server = accept(&terminate.exit);
        expect(&mut server, outstanding);
        if outstanding.len() > MESSAGE.len() {
            server.write_all(ANSWER).expect("connected");
            expect(&mut peer, ANSWER);
        }
        peer.socket.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(ending(&mut server), (0, Ending::Reset));
        let cut = |line: &wardgate_tests::logs::Line| line.text("reason").starts_with("cut off");
        terminate
            .gateway
            .wait_for_connection_line("it is cut", DEADLINE, cut);
    }
}
