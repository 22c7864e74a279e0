//! Two gateways on loopback: plaintext -> A (originate) -> TLS -> B (terminate) -> plaintext.

use wardgate_tests::{Gateway, Line, Pki, Site, free_port};

use crate::peers::loopback;

/// The name in site A's certificate.
pub(crate) const A: &str = "gw.a.example";
/// The name in site B's certificate.
pub(crate) const B: &str = "gw.b.example";
/// The only TLS 1.3 suite of the default policy.
pub(crate) const SUITE: &str = "TLS_AES_256_GCM_SHA384";

/// All suites of the default policy, in the names of the IANA registry.
pub(crate) const ALLOWED: [&str; 3] = [
    SUITE,
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
];

/// Both gateways, and the port for plaintext.
pub(crate) struct Pair {
    pub(crate) a: Gateway,
    pub(crate) b: Gateway,
    pub(crate) entry: u16,
}

impl Pair {
    /// Starts both for a stream of this protocol that ends at `target` on loopback.
    pub(crate) fn start(pki: &Pki, protocol: &str, target: u16) -> Self {
        let entry = free_port();
        let wan = free_port();
        let b = terminate(pki, protocol, wan, target).start();
        let a = originate(pki, protocol, entry, wan).start();
        Self { a, b, entry }
    }

    /// Checks, when `count` connections have ended, that both sites log each of them: complete, with the
    /// right suite and the other site's name.
    pub(crate) fn assert_complete(&self, count: usize) {
        for (gateway, peer) in [(&self.a, B), (&self.b, A)] {
            let lines = gateway.wait_for_connections(count);
            assert_eq!(lines.len(), count, "connections: {lines:#?}");
            for line in &lines {
                assert_accepted(line, peer);
                assert_eq!(line.text("reason"), "complete", "{line:?}");
            }
        }
    }

    /// Ends both; each must exit 0.
    pub(crate) fn stop(self) {
        self.a.stop();
        self.b.stop();
    }
}

/// Site A with one route from `entry` to the TLS port `wan` of site B.
pub(crate) fn originate(pki: &Pki, protocol: &str, entry: u16, wan: u16) -> Site {
    Site::new(pki, A)
        .originate(loopback(entry), loopback(wan), &[format!("dns:{B}")])
        .protocol(protocol)
}

/// Site B with one route from the TLS port `wan` to the application at `target`.
pub(crate) fn terminate(pki: &Pki, protocol: &str, wan: u16, target: u16) -> Site {
    Site::new(pki, B)
        .terminate(loopback(wan), loopback(target), &[format!("dns:{A}")])
        .protocol(protocol)
}

/// Checks that a connection used a suite of the policy and had this peer.
pub(crate) fn assert_accepted(line: &Line, peer: &str) {
    assert_eq!(line.text("tls.protocol.version"), "1.3", "{line:?}");
    assert_eq!(line.text("tls.cipher"), SUITE, "{line:?}");
    assert_eq!(line.text("peer"), format!("dns:{peer}"), "{line:?}");
}

/// Site A with only `target` at the other end.
pub(crate) fn alone(pki: &Pki, target: u16) -> (Gateway, u16) {
    let entry = free_port();
    (originate(pki, "dicom", entry, target).start(), entry)
}
