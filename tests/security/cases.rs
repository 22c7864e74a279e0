//! Peers that must be refused, in both modes: their certificates, the alert that they must receive, and the
//! reason that the log must give.

use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription as Alert, SignatureScheme, SupportedProtocolVersion};
use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::{Line, Pki, Program, tier};

use crate::tls::{Peer, VERSIONS, chain};

/// Which side of TLS the bad peer is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It connects to a terminate route.
    Client,
    /// An originate route connects to it.
    Server,
}

/// A bad peer and the expected result.
pub(crate) struct Case {
    /// The name of the route for this peer.
    pub(crate) name: String,
    pub(crate) peer: Peer,
    /// The CAs of the route, and its revocation list.
    pub(crate) trust: PathBuf,
    pub(crate) crl: Option<PathBuf>,
    /// The alert that the peer gets.
    pub(crate) alert: Alert,
    /// The text about rule and remedy in the reason of the log line.
    pub(crate) words: Vec<String>,
    /// The SHA-256 of the peer's certificate, if it presents one.
    pub(crate) fingerprint: Option<String>,
}

impl Case {
    /// Every bad peer of this role that claims to be `name`, in each version of TLS.
    pub(crate) fn all(pki: &Pki, role: Role, name: &str) -> Vec<Self> {
        let bench = Bench {
            pki,
            name,
            sha1: sha1_trust(pki),
        };
        let versions = VERSIONS.into_iter();
        versions
            .flat_map(|version| bench.cases(role, version))
            .collect()
    }

    /// The identity of the route for the peer, as an inline table of TOML.
    pub(crate) fn identity(&self, own: &Leaf) -> String {
        let crl = self.crl.as_ref().map_or_else(String::new, |crl| {
            format!(", crl = [\"{}\"]", crl.display())
        });
        format!(
            "{{ certificate = \"{}\", key = \"{}\", trust = \"{}\"{crl} }}",
            own.certificate.display(),
            own.key.display(),
            self.trust.display()
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

struct Bench<'a> {
    pki: &'a Pki,
    name: &'a str,
    sha1: PathBuf,
}

impl Bench<'_> {
    fn cases(&self, role: Role, version: &'static SupportedProtocolVersion) -> Vec<Case> {
        let mut cases = self.by_kind(role);
        cases.push(self.sha1_signature());
        cases.push(self.stolen_certificate());
        cases.push(match role {
            Role::Client => self.no_certificate(),
            Role::Server => self.not_mutual(),
        });
        for case in &mut cases {
            let number = if version == &rustls::version::TLS13 {
                "tls13"
            } else {
                "tls12"
            };
            case.name = format!("{}-{number}", case.name);
            case.peer = case.peer.clone().speaking(version);
        }
        cases
    }

    fn by_kind(&self, role: Role) -> Vec<Case> {
        use Kind::{
            AuthorityAsLeaf, CommonNameOnly, Expired, Namesakes, NotYetValid, OtherAuthority,
            OtherName, Revoked, SelfSigned, ShortRsa, WrongUsage,
        };
        let (one_sided, usage) = match role {
            Role::Client => (Kind::ServerOnly, "extended key usage (clientAuth)"),
            Role::Server => (Kind::ClientOnly, "extended key usage (serverAuth)"),
        };
        let add = "fetch ca.pem from that site again";
        let of = |name, kind, alert, rule, remedy| self.of_kind(name, kind, alert, [rule, remedy]);
        let renew = "install a renewed certificate";
        let unlisted = "is none of this route's peers";
        let issue_own = "issue the peer a certificate of its own";
        let both = "reissued with serverAuth and clientAuth";
        let bits = "RSA 2048 to 8192 bits";
        vec![
            of(
                "other-ca",
                OtherAuthority,
                Alert::UnknownCA,
                "by no trusted CA",
                add,
            ),
            of(
                "namesakes",
                Namesakes,
                Alert::UnknownCA,
                "another key signed it",
                "fingerprint of its new certificate",
            ),
            of(
                "other-name",
                OtherName,
                Alert::AccessDenied,
                unlisted,
                "add \"dns:other.example\"",
            ),
            of(
                "common-name",
                CommonNameOnly,
                Alert::AccessDenied,
                unlisted,
                "add \"sha256:",
            ),
            of(
                "expired",
                Expired,
                Alert::CertificateExpired,
                "expired on",
                renew,
            ),
            of(
                "future",
                NotYetValid,
                Alert::CertificateExpired,
                "not valid before",
                "the clocks",
            ),
            of(
                "revoked",
                Revoked,
                Alert::CertificateRevoked,
                "is revoked",
                "a new certificate",
            ),
            of(
                "ca-as-leaf",
                AuthorityAsLeaf,
                Alert::UnsupportedCertificate,
                "a CA's",
                issue_own,
            ),
            of(
                "wrong-usage",
                WrongUsage,
                Alert::UnsupportedCertificate,
                usage,
                both,
            ),
            of(
                "one-sided",
                one_sided,
                Alert::UnsupportedCertificate,
                usage,
                both,
            ),
            of(
                "self-signed",
                SelfSigned,
                Alert::UnknownCA,
                "self-signed",
                "issue its certificate from a CA",
            ),
            of(
                "rsa-1024",
                ShortRsa,
                Alert::BadCertificate,
                "RSA key of 1024 bits",
                bits,
            ),
        ]
    }

    fn of_kind(&self, name: &str, kind: Kind, alert: Alert, words: [&str; 2]) -> Case {
        let leaf = self.pki.odd(self.name, kind);
        let peer = match kind {
            // No library signs with such a short key. The chain is checked before the signature.
            Kind::ShortRsa => Peer::without_key(&leaf, SignatureScheme::RSA_PSS_SHA256),
            _ => Peer::of(&leaf),
        };
        self.case(name, peer, &chain(&leaf), alert, words)
    }

    fn case(
        &self,
        name: &str,
        peer: Peer,
        chain: &[CertificateDer<'_>],
        alert: Alert,
        words: [&str; 2],
    ) -> Case {
        Case {
            name: name.to_owned(),
            peer,
            trust: self.pki.trust(),
            crl: Some(self.pki.crl()),
            alert,
            words: words.map(str::to_owned).into(),
            fingerprint: Some(fingerprint(&chain[0])),
        }
    }

    fn sha1_signature(&self) -> Case {
        let der = std::fs::read(fixture("sha1-leaf.der")).expect("it is in the repository");
        let chain = vec![CertificateDer::from(der)];
        let peer = Peer::of_stolen(chain.clone(), SignatureScheme::ECDSA_NISTP256_SHA256);
        let words = ["signed by ECDSA with SHA-1", "reissued with SHA-256"];
        Case {
            trust: self.sha1.clone(),
            crl: None,
            ..self.case("sha1", peer, &chain, Alert::BadCertificate, words)
        }
    }

    /// A good certificate, copied from the wire, without its key.
    fn stolen_certificate(&self) -> Case {
        let leaf = self.pki.leaf(self.name);
        let peer = Peer::without_key(&leaf, SignatureScheme::ECDSA_NISTP256_SHA256);
        let words = [
            "did not prove that it has the key",
            "key and certificate of the peer",
        ];
        self.case("stolen", peer, &chain(&leaf), Alert::DecryptError, words)
    }

    fn no_certificate(&self) -> Case {
        let words = ["offered no certificate", "give the client a certificate"];
        Case {
            name: "nobody".to_owned(),
            peer: Peer::nobody(),
            trust: self.pki.trust(),
            crl: None,
            alert: Alert::CertificateRequired,
            words: words.map(str::to_owned).into(),
            fingerprint: None,
        }
    }

    fn not_mutual(&self) -> Case {
        let leaf = self.pki.leaf(self.name);
        let words = [
            "asked for no client certificate",
            "turn on client certificates",
        ];
        let peer = Peer::of(&leaf).lax();
        self.case(
            "not-mutual",
            peer,
            &chain(&leaf),
            Alert::HandshakeFailure,
            words,
        )
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

fn fixture(name: &str) -> PathBuf {
    tier::workspace().join("tests/data/tls").join(name)
}

/// The anchor of the certificate that is signed with SHA-1, as the PEM that a route is configured with.
fn sha1_trust(pki: &Pki) -> PathBuf {
    let pem = pki.path("sha1-anchor.pem");
    to_pem(&fixture("sha1-anchor.der"), &pem);
    pem
}

fn to_pem(der: &Path, pem: &Path) {
    let program = Program::new("openssl").args(["x509", "-inform", "DER", "-in"]);
    program.arg(der).arg("-out").arg(pem).run().expect_success();
}
