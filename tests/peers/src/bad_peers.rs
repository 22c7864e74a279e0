//! The list of peers that must be refused.
//!
//! The unit tests meet each of them in memory, the security tier meets each of them with the real program; both
//! do so as client and as server, in TLS 1.3 and 1.2.

use rustls::{AlertDescription, SignatureScheme};

use crate::accept_all::AcceptAll;
use crate::authority::Authority;
use crate::bad_peer::{BadPeer, Made, SITE, TlsSide};
use crate::{bad_certificates, bad_lists};

/// Every bad peer of this side.
pub fn all(side: TlsSide) -> impl Iterator<Item = &'static BadPeer> {
    let lists = [bad_certificates::LIST, bad_lists::LIST, WITHOUT_CERTIFICATE];
    let all = lists.into_iter().flatten();
    all.filter(move |peer| peer.only.is_none_or(|only| only == side))
}

/// The bad peer of this name.
///
/// # Panics
///
/// The list holds no such name.
pub fn named(name: &str) -> &'static BadPeer {
    let mut all = all(TlsSide::Client).chain(all(TlsSide::Server));
    let found = all.find(|peer| peer.name == name);
    found.unwrap_or_else(|| panic!("no bad peer is called {name}"))
}

/// Faults of the handshake: the peer's certificate is good, or there is none.
const WITHOUT_CERTIFICATE: &[BadPeer] = &[
    BadPeer {
        name: "stolen",
        alert: AlertDescription::DecryptError,
        is_trust_loaded: true,
        only: None,
        words: &[
            "did not prove that it has the key of its certificate",
            "key and certificate of the peer",
        ],
        make: |name, _| {
            let site = Authority::new(SITE);
            Made::under(&site, name, site.issue(&[name]).stolen())
        },
    },
    BadPeer {
        name: "no-certificate",
        alert: AlertDescription::CertificateRequired,
        is_trust_loaded: true,
        only: Some(TlsSide::Client),
        words: &["offered no certificate", "give the client a certificate"],
        make: |name, _| {
            let site = Authority::new(SITE);
            Made {
                own: None,
                ..Made::under(&site, name, site.issue(&[name]))
            }
        },
    },
    BadPeer {
        name: "not-mutual",
        alert: AlertDescription::HandshakeFailure,
        is_trust_loaded: true,
        only: Some(TlsSide::Server),
        words: &[
            "dns:{peer}",
            "asked for no client certificate",
            "turn on client certificates",
        ],
        make: |name, _| {
            let site = Authority::new(SITE);
            Made {
                verifier: AcceptAll::without_request(),
                ..Made::under(&site, name, site.issue(&[name]))
            }
        },
    },
    // Without the gateway's refusal rustls would send an empty certificate, and this server would go on.
    BadPeer {
        name: "requests-other-signatures",
        alert: AlertDescription::HandshakeFailure,
        is_trust_loaded: true,
        only: Some(TlsSide::Server),
        words: &["of a kind that our key is not"],
        make: |name, _| {
            let site = Authority::new(SITE);
            Made {
                verifier: AcceptAll::requesting_only(SignatureScheme::RSA_PSS_SHA256),
                ..Made::under(&site, name, site.issue(&[name]))
            }
        },
    },
];
