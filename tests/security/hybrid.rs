//! The post-quantum key exchange: always preferred, and required if configured.

use rustls::AlertDescription as Alert;
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, DEADLINE, Gateway, Line, Pki, Program, Site, free_port, until};

use crate::plain::{self, MARKER, Witness, listener, loopback, offer_marker};
use crate::tls::{Peer, Tls, TlsEnd, VERSIONS, knock};

const A: &str = "gw.a.example";
const B: &str = "gw.b.example";
const HYBRID: &str = "X25519MLKEM768";

fn terminate(pki: &Pki, port: u16, target: u16) -> Site {
    Site::new(pki, B)
        .terminate(loopback(port), loopback(target), &[format!("dns:{A}")])
        .protocol("tcp")
}

fn originate(pki: &Pki, entry: u16, target: u16) -> Site {
    Site::new(pki, A)
        .originate(loopback(entry), loopback(target), &[format!("dns:{B}")])
        .protocol("tcp")
}

#[test]
fn two_gateways_agree_on_the_hybrid_key_exchange_required_or_not() {
    let pki = Pki::new();
    for required in ["false", "true"] {
        let target = Witness::start();
        let (entry, wan) = (free_port(), free_port());
        let b = terminate(&pki, wan, target.port).set("require_pq", required);
        let a = originate(&pki, entry, wan).set("require_pq", required);
        let (b, a) = (b.start(), a.start());
        let received = {
            let stream = plain::connect(entry);
            let mut writer = &stream;
            std::io::Write::write_all(&mut writer, MARKER).expect("the gateway reads");
            stream
                .shutdown(std::net::Shutdown::Write)
                .expect("it is open");
            plain::receive_all(&stream)
        };
        assert_eq!(received.end, plain::End::Orderly);
        assert_eq!(target.heard(), MARKER);
        for gateway in [&a, &b] {
            let line = gateway.wait_for_connections(1).remove(0);
            assert_eq!(line.text("tls.curve"), HYBRID, "{line:?}");
            assert_eq!(line.text("reason"), "complete", "{line:?}");
        }
        a.stop();
        b.stop();
    }
}

#[test]
fn a_required_hybrid_key_exchange_refuses_classical_clients() {
    let pki = Pki::new();
    let target = Witness::start();
    let wan = free_port();
    let gateway = terminate(&pki, wan, target.port)
        .set("require_pq", "true")
        .start();
    let classical = Peer::of(&pki.leaf(A)).classical();
    let [tls13, tls12] = VERSIONS.map(|version| classical.clone().speaking(version));
    let refused = knock(wan, &tls13, MARKER);
    assert_eq!(refused, (vec![], TlsEnd::Alert(Alert::HandshakeFailure)));
    let refused = knock(wan, &tls12, MARKER);
    assert_eq!(refused, (vec![], TlsEnd::Alert(Alert::ProtocolVersion)));
    target.assert_alone("classical");
    for words in ["offers no key exchange", "offers no version of TLS"] {
        let line = refusal(&gateway, words);
        assert!(
            line.contains("key exchange by X25519MLKEM768 (require_pq)"),
            "{line}"
        );
    }
    let hybrid = Peer::of(&pki.leaf(A));
    let mut tls = Tls::connect(wan, hybrid.client()).expect_shake();
    tls.send(MARKER);
    until("a hybrid client is taken", DEADLINE, || {
        (target.heard() == MARKER).then_some(())
    });
    drop(tls);
    gateway.stop();
}

#[test]
fn a_required_hybrid_key_exchange_refuses_classical_servers() {
    let pki = Pki::new();
    let (listener, port) = listener();
    let entry = free_port();
    let gateway = originate(&pki, entry, port)
        .set("require_pq", "true")
        .start();
    let classical = Peer::of(&pki.leaf(B)).classical();
    for version in VERSIONS {
        std::thread::scope(|scope| {
            let application = scope.spawn(|| offer_marker(entry));
            let server = classical.clone().speaking(version).server();
            let mut tls = Tls::accept(plain::accept(&listener), server);
            assert!(tls.shake().is_err(), "{version:?}");
            let mut buffer = [0; 8];
            let read = std::io::Read::read(&mut tls.connection.reader(), &mut buffer);
            assert!(!read.is_ok_and(|count| count > 0), "{version:?}");
            drop(tls);
            let received = application.join().expect("the application ends");
            assert_eq!(received.bytes, b"");
            assert!(received.end.is_failure(), "{received:?}");
        });
    }
    let line = refusal(&gateway, "the server found nothing in common with us");
    assert!(
        line.contains("key exchange by X25519MLKEM768 (require_pq)"),
        "{line}"
    );
    gateway.stop();
}

/// Debian's openssl 3.0 has no ML-KEM: without `require_pq`, X25519 is negotiated.
#[test]
fn peers_without_ml_kem_are_met_with_x25519() {
    if !tier::ready("security", &[Need::Program("openssl")]) {
        return;
    }
    let pki = Pki::new();
    let target = Witness::start();
    let (entry, wan, port) = (free_port(), free_port(), free_port());
    let b = terminate(&pki, wan, target.port).start();
    let a = originate(&pki, entry, port).start();
    let own = pki.leaf(A);
    let client = Program::new("openssl")
        .args([
            "s_client",
            "-groups",
            "X25519:P-256",
            "-connect",
            &loopback(wan),
        ])
        .arg("-cert")
        .arg(&own.certificate)
        .arg("-key")
        .arg(&own.key);
    let mut client = Background::start(&client);
    client.try_write(b"ping\n");
    until("s_client is heard", DEADLINE, || {
        (target.heard() == b"ping\n").then_some(())
    });
    drop(client);
    let leaf = pki.leaf(B);
    let server = Program::new("openssl")
        .args([
            "s_server",
            "-rev",
            "-groups",
            "X25519:P-256",
            "-accept",
            &loopback(port),
        ])
        .args(["-Verify", "2", "-verify_return_error", "-CAfile"])
        .arg(&leaf.trust)
        .arg("-cert")
        .arg(&leaf.certificate)
        .arg("-key")
        .arg(&leaf.key);
    let server = Background::listening(&server, port);
    let mut stream = plain::connect(entry);
    std::io::Write::write_all(&mut stream, b"ping\n").expect("the gateway reads");
    let mut answer = [0; 5];
    stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
    std::io::Read::read_exact(&mut stream, &mut answer).expect("s_server answers");
    assert_eq!(&answer, b"gnip\n");
    drop((stream, server));
    for gateway in [&a, &b] {
        let line = gateway.wait_for_connections(1).remove(0);
        assert_eq!(line.text("tls.curve"), "x25519", "{line:?}");
    }
    a.stop();
    b.stop();
}

fn refusal(gateway: &Gateway, words: &str) -> String {
    let is_it = |line: &Line| line.text("reason").contains(words);
    let line = gateway.wait_for_connection_line(words, DEADLINE, is_it);
    line.text("reason").to_owned()
}
