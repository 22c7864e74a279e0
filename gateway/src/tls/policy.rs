//! What may be negotiated: protocol versions, cipher suites and key exchanges.
//!
//! The provider is put together here, field by field, and never taken from the process: a default
//! that some dependency installs must not widen what a route accepts.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self as engine, cipher_suite as suites, kx_group as groups};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, CommonState, Error, NamedGroup, ProtocolVersion, SupportedCipherSuite,
    SupportedProtocolVersion,
};

use crate::config::Policy;

/// What a handshake negotiated, in the names of the IANA registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// `TLS_AES_256_GCM_SHA384` and the like.
    pub suite: &'static str,
    /// `X25519MLKEM768` and the like.
    pub group: &'static str,
}

/// The cryptography of a route, most preferred first.
///
/// `require_pq` leaves X25519MLKEM768 as the only key exchange, and with it TLS 1.3 alone: TLS 1.2
/// has no hybrid key exchange.
pub fn provider(policy: Policy, require_pq: bool) -> Arc<CryptoProvider> {
    let base = engine::default_provider();
    Arc::new(CryptoProvider {
        cipher_suites: cipher_suites(policy, require_pq),
        kx_groups: kx_groups(require_pq),
        signature_verification_algorithms: base.signature_verification_algorithms,
        secure_random: base.secure_random,
        key_provider: base.key_provider,
    })
}

/// The private key as the provider signs with it. The provider's own form of it is not wiped.
pub(super) fn signing_key(key: &PrivateKeyDer<'_>) -> Result<Arc<dyn SigningKey>, Error> {
    engine::sign::any_supported_type(key)
}

/// The protocol versions of a route.
pub fn versions(policy: Policy, require_pq: bool) -> &'static [&'static SupportedProtocolVersion] {
    if allows_tls12(policy, require_pq) {
        &TLS13_AND_TLS12
    } else {
        &TLS13_ALONE
    }
}

static TLS13_AND_TLS12: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
static TLS13_ALONE: [&SupportedProtocolVersion; 1] = [&TLS13];

/// What a completed handshake negotiated; `None` before that.
pub fn describe(common: &CommonState) -> Option<TlsInfo> {
    let version = match common.protocol_version()? {
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => return None,
    };
    Some(TlsInfo {
        version,
        suite: suite_name(common.negotiated_cipher_suite()?.suite()),
        group: group_name(common.negotiated_key_exchange_group()?.name()),
    })
}

/// What a peer must be able to do, in words, for the sentences about failed handshakes.
pub(super) fn demands(policy: Policy, require_pq: bool) -> &'static str {
    match (policy, require_pq) {
        (Policy::Hscn, false) => {
            "TLS 1.3 with AES-256-GCM-SHA384, or TLS 1.2 with ECDHE, AES-256-GCM-SHA384 and extended \
             master secret; key exchange by X25519MLKEM768, X25519, P-256 or P-384"
        }
        (Policy::HscnTls13, false) => {
            "TLS 1.3 with AES-256-GCM-SHA384; key exchange by X25519MLKEM768, X25519, P-256 or P-384"
        }
        (Policy::DicomB12, false) => {
            "TLS 1.3 with AES-GCM, or TLS 1.2 with ECDHE, AES-GCM and extended master secret; key \
             exchange by X25519MLKEM768, X25519, P-256 or P-384"
        }
        (Policy::Hscn | Policy::HscnTls13, true) => {
            "TLS 1.3 with AES-256-GCM-SHA384 and key exchange by X25519MLKEM768 (require_pq)"
        }
        (Policy::DicomB12, true) => {
            "TLS 1.3 with AES-GCM and key exchange by X25519MLKEM768 (require_pq)"
        }
    }
}

fn allows_tls12(policy: Policy, require_pq: bool) -> bool {
    match policy {
        Policy::Hscn | Policy::DicomB12 => !require_pq,
        Policy::HscnTls13 => false,
    }
}

fn cipher_suites(policy: Policy, require_pq: bool) -> Vec<SupportedCipherSuite> {
    let aes_128 = policy == Policy::DicomB12;
    let mut chosen = vec![suites::TLS13_AES_256_GCM_SHA384];
    if aes_128 {
        chosen.push(suites::TLS13_AES_128_GCM_SHA256);
    }
    if allows_tls12(policy, require_pq) {
        chosen.push(suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
        chosen.push(suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384);
        if aes_128 {
            chosen.push(suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
            chosen.push(suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
        }
    }
    chosen
}

// rustls sends the X25519 half of the first as a share of its own, so a peer without ML-KEM costs no
// second round trip.
fn kx_groups(require_pq: bool) -> Vec<&'static dyn SupportedKxGroup> {
    if require_pq {
        return vec![groups::X25519MLKEM768];
    }
    vec![
        groups::X25519MLKEM768,
        groups::X25519,
        groups::SECP256R1,
        groups::SECP384R1,
    ]
}

fn suite_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => {
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => {
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => {
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => {
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
        }
        // `cipher_suites` offers no other, and a test holds the two lists together.
        _ => "unlisted",
    }
}

fn group_name(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        NamedGroup::X25519 => "x25519",
        NamedGroup::secp256r1 => "secp256r1",
        NamedGroup::secp384r1 => "secp384r1",
        // As above, for `kx_groups`.
        _ => "unlisted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(Policy, bool); 6] = [
        (Policy::Hscn, false),
        (Policy::Hscn, true),
        (Policy::HscnTls13, false),
        (Policy::HscnTls13, true),
        (Policy::DicomB12, false),
        (Policy::DicomB12, true),
    ];

    #[test]
    fn every_suite_and_group_has_its_registered_name() {
        for (policy, require_pq) in ALL {
            let provider = provider(policy, require_pq);
            for suite in &provider.cipher_suites {
                let name = suite_name(suite.suite());
                assert!(
                    name.starts_with("TLS_") && name.contains("GCM"),
                    "{suite:?}"
                );
            }
            for group in &provider.kx_groups {
                assert_ne!(group_name(group.name()), "unlisted", "{group:?}");
            }
        }
    }

    #[test]
    fn only_dicom_b12_knows_aes_128_and_nobody_chacha20() {
        for (policy, require_pq) in ALL {
            let provider = provider(policy, require_pq);
            let names: Vec<_> = provider
                .cipher_suites
                .iter()
                .map(|suite| suite_name(suite.suite()))
                .collect();
            let aes_128 = names.iter().any(|name| name.contains("AES_128"));
            assert_eq!(aes_128, policy == Policy::DicomB12, "{names:?}");
            assert!(
                !names.iter().any(|name| name.contains("CHACHA20")),
                "{names:?}"
            );
            assert!(
                names.first().is_some_and(|name| name.contains("AES_256")),
                "{names:?}"
            );
        }
    }

    #[test]
    fn require_pq_leaves_one_group_and_one_version() {
        for policy in [Policy::Hscn, Policy::HscnTls13, Policy::DicomB12] {
            let provider = provider(policy, true);
            let groups: Vec<_> = provider
                .kx_groups
                .iter()
                .map(|group| group.name())
                .collect();
            assert_eq!(groups, [NamedGroup::X25519MLKEM768]);
            assert_eq!(versions(policy, true), [&TLS13]);
            assert!(
                provider
                    .cipher_suites
                    .iter()
                    .all(|suite| suite.tls13().is_some())
            );
        }
        assert_eq!(versions(Policy::HscnTls13, false), [&TLS13]);
        assert_eq!(versions(Policy::Hscn, false).len(), 2);
    }
}
