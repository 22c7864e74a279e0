//! The metrics of traffic, while it passes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use wardgate_tests::stream::{Ending, accept, connect, ending};
use wardgate_tests::{DEADLINE, Gateway, until};

use crate::pair::Pair;

const MESSAGE: &[u8] =
    b"\x0bMSH|^~\\&|RIS|A|PACS|B|20260101||ADT^A08|17|P|2.5.1\rPID|1||4711\r\x1c\r";
const ANSWER: &[u8] = b"\x0bMSH|^~\\&|PACS|B|RIS|A|20260101||ACK^A08|18|P|2.5.1\rMSA|AA|17\r\x1c\r";
const REFUSAL: &[u8] =
    b"\x0bMSH|^~\\&|PACS|B|RIS|A|20260101||ACK^A08|19|P|2.5.1\rMSA|AR|17\r\x1c\r";

/// The value of a row; `name` has labels besides the route.
#[track_caller]
fn row(gateway: &Gateway, name: &str, labels: &str) -> u64 {
    let text = gateway.metrics();
    let is_it = |line: &&str| {
        let rest = line.strip_prefix(name).unwrap_or_default();
        rest.starts_with('{') && rest.contains(labels)
    };
    let line = text.lines().find(is_it);
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} with {labels} in\n{text}"))
}

#[track_caller]
fn assert_rows(gateway: &Gateway, rows: &[(&str, &str, u64)]) {
    for (name, labels, value) in rows {
        assert_eq!(row(gateway, name, labels), *value, "{name} {labels}");
    }
}

fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut came = vec![0; bytes.len()];
    stream.read_exact(&mut came).expect("it is connected");
    assert_eq!(came, bytes);
}

/// An MLLP connection stays open for months, so counting only at its end would show nothing.
#[test]
fn messages_are_counted_while_their_connection_is_open() {
    let pair = Pair::start("mllp");
    let mut client = connect(pair.entry);
    client.write_all(MESSAGE).expect("it is connected");
    let mut server = accept(&pair.exit);
    expect(&mut server, MESSAGE);
    for gateway in [&pair.a, &pair.b] {
        assert_rows(
            gateway,
            &[
                ("wardgate_mllp_messages_total", "", 1),
                (
                    "wardgate_mllp_message_bytes_total",
                    "",
                    MESSAGE.len() as u64 - 3,
                ),
                ("wardgate_mllp_acknowledgements_total", "code=\"AA\"", 0),
                ("wardgate_mllp_seconds_count", "", 0),
            ],
        );
    }
    server.write_all(ANSWER).expect("it is connected");
    expect(&mut client, ANSWER);
    client
        .write_all(&MESSAGE.repeat(2))
        .expect("it is connected");
    expect(&mut server, &MESSAGE.repeat(2));
    server.write_all(REFUSAL).expect("it is connected");
    expect(&mut client, REFUSAL);
    for gateway in [&pair.a, &pair.b] {
        assert_rows(
            gateway,
            &[
                ("wardgate_connections_open", "", 1),
                ("wardgate_mllp_messages_total", "", 3),
                ("wardgate_mllp_acknowledgements_total", "code=\"AA\"", 1),
                ("wardgate_mllp_acknowledgements_total", "code=\"AR\"", 1),
                ("wardgate_mllp_seconds_bucket", "le=\"+Inf\"", 2),
                ("wardgate_mllp_seconds_count", "", 2),
                ("wardgate_mllp_unanswered_total", "", 0),
            ],
        );
    }
    for word in ["ADT", "A08", "4711", "RIS"] {
        assert!(
            !pair.a.metrics().contains(word),
            "{word} is from the network"
        );
    }
    client.shutdown(Shutdown::Write).expect("it is connected");
    drop(server);
    assert_eq!(ending(&mut client), (0, Ending::Orderly));
    for gateway in [&pair.a, &pair.b] {
        gateway.wait_for_connections(1);
        assert_rows(gateway, &[("wardgate_mllp_unanswered_total", "", 1)]);
    }
}

#[test]
fn a_stream_that_is_no_longer_followed_is_counted_while_it_continues() {
    let pair = Pair::with("mllp", |site| site.set("observe", "\"lenient\""));
    let mut client = connect(pair.entry);
    client.write_all(MESSAGE).expect("it is connected");
    let mut server = accept(&pair.exit);
    expect(&mut server, MESSAGE);
    client.write_all(b"no frame").expect("it is connected");
    expect(&mut server, b"no frame");
    for gateway in [&pair.a, &pair.b] {
        until("it is not counted", DEADLINE, || {
            (row(gateway, "wardgate_not_followed_total", "") == 1).then_some(())
        });
        assert_rows(gateway, &[("wardgate_connections_open", "", 1)]);
    }
}

/// A route that does not read has no counts; a zero would be wrong.
#[test]
fn routes_that_do_not_read_have_no_rows() {
    let pair = Pair::with("mllp", |site| site.set("observe", "\"off\""));
    for gateway in [&pair.a, &pair.b] {
        let text = gateway.metrics();
        let is_row = |line: &&str| line.starts_with("wardgate_mllp_messages_total");
        assert_eq!(text.lines().find(is_row), None);
    }
}
