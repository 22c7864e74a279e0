//! A third site of the same authority puts itself between two others.

use rustls::AlertDescription as Alert;
use wardgate_tests::{DEADLINE, Pki, Site, free_port};

use crate::plain::{Witness, loopback, offer_marker};
use crate::tls::{Peer, TlsEnd, knock};

const A: &str = "gw.a.example";
const B: &str = "gw.b.example";
const MIDDLE: &str = "gw.c.example";

/// Goal: a valid certificate of the right authority is not enough to stand between two sites (ATT&CK:
/// adversary in the middle). Method: a complete third gateway that accepts A's stream and connects to B with
/// its own certificate. Neither end accepts it.
#[test]
fn a_site_of_the_same_authority_cannot_stand_between_two_others() {
    let pki = Pki::new();
    let target = Witness::start();
    let (entry, middle_port, inner, wan) = (free_port(), free_port(), free_port(), free_port());
    let b = Site::new(&pki, B)
        .terminate(loopback(wan), loopback(target.port), &[format!("dns:{A}")])
        .start();
    let middle = Site::new(&pki, MIDDLE)
        .terminate(
            loopback(middle_port),
            loopback(inner),
            &[format!("dns:{A}")],
        )
        .originate(loopback(inner), loopback(wan), &[format!("dns:{B}")])
        .start();
    let a = Site::new(&pki, A)
        .originate(
            loopback(entry),
            loopback(middle_port),
            &[format!("dns:{B}")],
        )
        .start();
    // A refuses the third gateway ...
    let received = offer_marker(entry);
    assert_eq!(received.bytes, b"");
    assert!(received.end.is_failure(), "{received:?}");
    let line = refused(&a);
    assert!(line.contains(&format!("dns:{MIDDLE}")), "{line}");
    assert!(line.contains("is none of this route's peers"), "{line}");
    // ... which learns why, and has not connected to B.
    let line = refused(&middle);
    assert!(line.contains("access_denied"), "{line}");
    assert_eq!(middle.connections().len(), 1);
    // B refuses it as well, if it connects by itself.
    let received = offer_marker(inner);
    assert_eq!(received.bytes, b"");
    assert!(received.end.is_failure(), "{received:?}");
    let line = refused(&b);
    assert!(line.contains(&format!("dns:{MIDDLE}")), "{line}");
    target.assert_alone("in the middle");
    for gateway in [a, middle, b] {
        gateway.stop();
    }
}

/// B sends its certificate to anyone; certificates are public. The third gateway presents A's without A's
/// key.
#[test]
fn a_copied_certificate_without_its_key_opens_nothing() {
    let pki = Pki::new();
    let target = Witness::start();
    let wan = free_port();
    let b = Site::new(&pki, B)
        .terminate(loopback(wan), loopback(target.port), &[format!("dns:{A}")])
        .protocol("tcp")
        .start();
    let copied = pki.leaf(A);
    for scheme in [
        rustls::SignatureScheme::ECDSA_NISTP256_SHA256,
        rustls::SignatureScheme::RSA_PSS_SHA256,
        rustls::SignatureScheme::ED25519,
    ] {
        let thief = Peer::without_key(&copied, scheme);
        let (bytes, end) = knock(wan, &thief, b"let me in");
        assert_eq!(bytes, b"");
        let alerts = [Alert::DecryptError, Alert::IllegalParameter].map(TlsEnd::Alert);
        assert!(alerts.contains(&end), "{scheme:?}: {end:?}");
    }
    target.assert_alone("a thief");
    b.stop();
}

fn refused(gateway: &wardgate_tests::Gateway) -> String {
    let is_it = |line: &wardgate_tests::Line| line.text("peer") == "-";
    let line = gateway.wait_for_connection_line("a refusal", DEADLINE, is_it);
    line.text("reason").to_owned()
}
