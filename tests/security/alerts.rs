//! Alerts reach the peer in the order that TLS requires, as seen by the peer itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{AlertDescription, ClientConnection, Error};
use test_peers::openings;
use wardgate_tests::{DEADLINE, Gateway, Pki, Site, free_port};

use crate::plain::{Witness, connect, loopback};
use crate::tls::{Peer, VERSIONS};

const OWN: &str = "gw.b.example";
const PEER: &str = "gw.a.example";

/// A record of payload that is not encrypted.
const FORGED: &[u8] = &[
    0x17, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
];

/// Goal: a client can read why its handshake failed, even if the gateway's own flight is not sent yet.
/// Method: the invalid message follows the ClientHello in the same bytes.
#[test]
fn server_hello_goes_out_before_the_alert_that_follows_it() {
    let pki = Pki::new();
    let (gateway, port) = terminating(&pki, "in-place");
    let mut client = client(&Peer::of(&pki.leaf(PEER)));
    let mut bytes = records(&mut client);
    bytes.extend_from_slice(FORGED);
    let mut socket = connect(port);
    socket.write_all(&bytes).expect("it is connected");
    let error = read_to_error(&mut client, &mut socket);
    assert_eq!(error, Error::AlertReceived(AlertDescription::BadRecordMac));
    gateway.stop();
}

/// Goal: the answers that TLS requires are not lost when the connection ends with an alert: otherwise the
/// alert would be sealed by a key that the peer does not know yet. Method: a request for a key update and a
/// forged record in the same bytes, with either record layer, before the first payload and after it.
#[test]
fn an_answer_that_is_owed_goes_out_before_the_alert() {
    let pki = Pki::new();
    for layer in ["in-place", "rustls"] {
        for payload in [&b""[..], b"payload"] {
            let (gateway, port) = terminating(&pki, layer);
            let mut client = client(&Peer::of(&pki.leaf(PEER)));
            let mut socket = connect(port);
            while client.is_handshaking() || client.wants_write() {
                client
                    .complete_io(&mut socket)
                    .expect("a good peer is taken");
            }
            if !payload.is_empty() {
                client.writer().write_all(payload).expect("memory takes it");
                client.write_tls(&mut socket).expect("it is connected");
                // The payload is in transit to the target, and the relay is running.
                std::thread::sleep(Duration::from_millis(300));
            }
            client.refresh_traffic_keys().expect("TLS 1.3 has it");
            let mut bytes = records(&mut client);
            bytes.extend_from_slice(FORGED);
            socket.write_all(&bytes).expect("it is connected");
            let error = read_to_error(&mut client, &mut socket);
            let expected = Error::AlertReceived(AlertDescription::BadRecordMac);
            assert_eq!(error, expected, "{layer}, {payload:?}");
            gateway.stop();
        }
    }
}

/// Goal: an error before encryption is answered with an alert, whichever part of the gateway detects it.
#[test]
fn errors_that_the_tls_library_refuses_silently_are_answered_by_a_plain_alert() {
    let pki = Pki::new();
    let (gateway, port) = terminating(&pki, "in-place");
    // A part of a message, and a record of another kind before its rest (RFC 8446 section 5.1).
    let part = [0x16, 3, 1, 0, 6, 1, 0, 1, 0, 3, 3];
    let warning = [0x15, 3, 3, 0, 2, 1, 90];
    // Longer than any message may be, and a message that no record ends.
    let long = [0x16, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff];
    for (bytes, description) in [
        ([&part[..], &warning].concat(), 10),
        (long.to_vec(), 50),
        (openings::HTTP.to_vec(), 50),
    ] {
        let mut socket = connect(port);
        socket.write_all(&bytes).expect("it is connected");
        let _ = socket.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        // The gateway may reset after the alert.
        let _ = socket.read_to_end(&mut answer);
        assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, description], "{bytes:?}");
    }
    gateway.stop();
}

fn terminating(pki: &Pki, layer: &str) -> (Gateway, u16) {
    let (port, target) = (free_port(), Witness::start());
    let site = Site::new(pki, OWN)
        .terminate(
            loopback(port),
            loopback(target.port),
            &[format!("dns:{PEER}")],
        )
        .protocol("tcp")
        .set("record_layer", format!("\"{layer}\""));
    (site.start(), port)
}

fn client(peer: &Peer) -> ClientConnection {
    let config = Arc::new(peer.clone().speaking(VERSIONS[0]).client());
    let name = OWN.try_into().expect("it is a name");
    ClientConnection::new(config, name).expect("sound settings")
}

/// The bytes that it has to send.
fn records(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).expect("memory takes all");
    }
    bytes
}

/// Reads until the client detects an error, and returns the error.
fn read_to_error(client: &mut ClientConnection, socket: &mut TcpStream) -> Error {
    socket
        .set_read_timeout(Some(DEADLINE))
        .expect("it is not zero");
    loop {
        match client.read_tls(socket) {
            Ok(0) => panic!("the stream ends without an alert"),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("no alert: {error}"),
        }
        if let Err(error) = client.process_new_packets() {
            return error;
        }
    }
}
