//! The list of bad peers, each with a route of its own: certificates, trust, and what the log must say.

use std::fs;
use std::path::PathBuf;

use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription as Alert, SupportedProtocolVersion};
use test_peers::der::pem;
use test_peers::{BadPeer, TlsSide, bad_peers};
use wardgate_tests::pki::Leaf;
use wardgate_tests::{Line, Pki};

use crate::tls::{Peer, VERSIONS};

/// A bad peer and the expected result.
pub(crate) struct Case {
    /// The name of the route for this peer.
    pub(crate) name: String,
    pub(crate) peer: Peer,
    /// A peer that the same route must accept, where its trust permits any.
    pub(crate) good: Option<Peer>,
    /// The alert that the peer gets.
    pub(crate) alert: Alert,
    /// The text about rule and remedy in the reason of the log line.
    words: Vec<String>,
    /// The CAs of the route, and its revocation lists.
    trust: PathBuf,
    crls: Vec<PathBuf>,
    /// The SHA-256 of the peer's certificate, if it presents one.
    fingerprint: Option<String>,
}

impl Case {
    /// Every bad peer of this side that claims to be `name`, in each version of TLS. The trust that a gateway
    /// does not load is left out: its routes are closed.
    pub(crate) fn all(pki: &Pki, side: TlsSide, name: &str) -> Vec<Self> {
        let all = bad_peers::all(side).filter(|bad| bad.is_trust_loaded);
        let cases =
            all.flat_map(|bad| VERSIONS.map(|version| Self::new(pki, bad, (side, name), version)));
        cases.collect()
    }

    fn new(
        pki: &Pki,
        bad: &BadPeer,
        (side, name): (TlsSide, &str),
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let number = match version == &rustls::version::TLS13 {
            true => "tls13",
            false => "tls12",
        };
        let route = format!("{}-{number}", bad.name);
        let made = bad.make(name, side);
        let write = |file: String, text: String| {
            let file = pki.path(&file);
            fs::write(&file, text).expect("the folder is ours");
            file
        };
        let trust: String = made
            .anchors
            .iter()
            .map(|der| pem("CERTIFICATE", der))
            .collect();
        let trust = write(format!("{route}-trust.pem"), trust);
        let crls = made
            .crls
            .iter()
            .enumerate()
            .map(|(index, list)| write(format!("{route}-{index}.crl"), pem("X509 CRL", list)));
        let own = made.own.as_ref();
        Self {
            alert: bad.alert,
            words: bad.words(name, side),
            trust,
            crls: crls.collect(),
            good: made
                .good
                .as_ref()
                .map(|good| Peer::with_own(good).speaking(version)),
            fingerprint: own.map(|own| fingerprint(&own.leaf())),
            peer: Peer::bad(made).speaking(version),
            name: route,
        }
    }

    /// The identity of the route for the peer, as an inline table of TOML.
    pub(crate) fn identity(&self, own: &Leaf) -> String {
        let crls: Vec<_> = self.crls.iter().map(|crl| format!("{crl:?}")).collect();
        let crl = match crls.is_empty() {
            true => String::new(),
            false => format!(", crl = [{}]", crls.join(", ")),
        };
        format!(
            "{{ certificate = {:?}, key = {:?}, trust = {:?}{crl} }}",
            own.certificate, own.key, self.trust
        )
    }

    /// Checks the only log line about the refused peer.
    pub(crate) fn assert_told(&self, line: &Line) {
        let (name, reason) = (&self.name, line.text("reason"));
        for word in &self.words {
            assert!(
                reason.contains(word),
                "{name}: the log does not say {word:?}: {reason}"
            );
        }
        let shown = self.fingerprint.as_deref().unwrap_or("-");
        assert_eq!(line.text("certificate_sha256"), shown, "{name}: {line:?}");
        assert!(!reason.contains(shown) || shown == "-", "{name}: {reason}");
        assert_eq!(line.text("ended_by"), "gateway", "{name}: {line:?}");
        assert_eq!(line.text("peer"), "-", "{name}: {line:?}");
        for bytes in ["sealed_bytes", "opened_bytes"] {
            assert_eq!(line.number(bytes), 0, "{name}: {line:?}");
        }
    }
}

/// SHA-256 of a certificate, lower-case hexadecimal.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let hash = digest(&SHA256, certificate);
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
