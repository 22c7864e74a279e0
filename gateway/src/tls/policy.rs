//! Protocol versions, cipher suites and key exchanges that a handshake may negotiate.
//!
//! The provider is assembled here, field by field, and never taken from the process: a default that a
//! dependency installs must not widen what a route accepts.

use std::fmt;
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

use crate::config::{KeyExchange, Policy};
use crate::pki::algorithms;

/// The result of a handshake's negotiation, with the names of the IANA registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// The protocol version.
    pub version: TlsVersion,
    /// For example `TLS_AES_256_GCM_SHA384`.
    pub suite: &'static str,
    /// For example `X25519MLKEM768`.
    pub group: &'static str,
}

/// A version of TLS that a route may negotiate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl TlsVersion {
    /// The number in logs and metrics: `1.3`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The cryptography of a route, most preferred first.
///
/// If the hybrid key exchange is required, X25519MLKEM768 is the only one, and TLS 1.3 the only version:
/// TLS 1.2 has no hybrid key exchange.
pub fn provider(policy: Policy, key_exchange: KeyExchange) -> Arc<CryptoProvider> {
    let base = engine::default_provider();
    Arc::new(CryptoProvider {
        cipher_suites: cipher_suites(policy, key_exchange),
        kx_groups: kx_groups(key_exchange),
        signature_verification_algorithms: algorithms::verification(),
        secure_random: base.secure_random,
        key_provider: base.key_provider,
    })
}

/// The private key in the form in which the provider signs with it. The provider does not wipe that form.
pub(super) fn signing_key(key: &PrivateKeyDer<'_>) -> Result<Arc<dyn SigningKey>, Error> {
    engine::sign::any_supported_type(key)
}

/// The protocol versions of a route.
pub fn versions(
    policy: Policy,
    key_exchange: KeyExchange,
) -> &'static [&'static SupportedProtocolVersion] {
    if allows_tls12(policy, key_exchange) {
        &TLS13_AND_TLS12
    } else {
        &TLS13_ALONE
    }
}

static TLS13_AND_TLS12: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
static TLS13_ALONE: [&SupportedProtocolVersion; 1] = [&TLS13];

/// The result of a completed handshake; `None` before.
pub fn describe(common: &CommonState) -> Option<TlsInfo> {
    let version = match common.protocol_version()? {
        ProtocolVersion::TLSv1_3 => TlsVersion::Tls13,
        ProtocolVersion::TLSv1_2 => TlsVersion::Tls12,
        _ => return None,
    };
    Some(TlsInfo {
        version,
        suite: suite_name(common.negotiated_cipher_suite()?.suite()),
        group: group_name(common.negotiated_key_exchange_group()?.name()),
    })
}

/// What a peer must support, for messages about failed handshakes.
pub(super) fn demands(policy: Policy, key_exchange: KeyExchange) -> &'static str {
    use KeyExchange::{Classical, HybridPreferred, HybridRequired};
    match (policy, key_exchange) {
        (Policy::Hscn, HybridPreferred) => {
            "TLS 1.3 with AES-256-GCM-SHA384, or TLS 1.2 with ECDHE, AES-256-GCM-SHA384 and extended \
             master secret; key exchange by X25519MLKEM768, X25519, P-256 or P-384"
        }
        (Policy::HscnTls13, HybridPreferred) => {
            "TLS 1.3 with AES-256-GCM-SHA384; key exchange by X25519MLKEM768, X25519, P-256 or P-384"
        }
        (Policy::DicomB12, HybridPreferred) => {
            "TLS 1.3 with AES-GCM, or TLS 1.2 with ECDHE, AES-GCM and extended master secret; key \
             exchange by X25519MLKEM768, X25519, P-256 or P-384"
        }
        (Policy::Hscn, Classical) => {
            "TLS 1.3 with AES-256-GCM-SHA384, or TLS 1.2 with ECDHE, AES-256-GCM-SHA384 and extended \
             master secret; key exchange by X25519, P-256 or P-384 (hybrid = false)"
        }
        (Policy::HscnTls13, Classical) => {
            "TLS 1.3 with AES-256-GCM-SHA384; key exchange by X25519, P-256 or P-384 (hybrid = false)"
        }
        (Policy::DicomB12, Classical) => {
            "TLS 1.3 with AES-GCM, or TLS 1.2 with ECDHE, AES-GCM and extended master secret; key \
             exchange by X25519, P-256 or P-384 (hybrid = false)"
        }
        (Policy::Hscn | Policy::HscnTls13, HybridRequired) => {
            "TLS 1.3 with AES-256-GCM-SHA384 and key exchange by X25519MLKEM768 (require_pq)"
        }
        (Policy::DicomB12, HybridRequired) => {
            "TLS 1.3 with AES-GCM and key exchange by X25519MLKEM768 (require_pq)"
        }
    }
}

fn allows_tls12(policy: Policy, key_exchange: KeyExchange) -> bool {
    match policy {
        Policy::Hscn | Policy::DicomB12 => key_exchange != KeyExchange::HybridRequired,
        Policy::HscnTls13 => false,
    }
}

fn cipher_suites(policy: Policy, key_exchange: KeyExchange) -> Vec<SupportedCipherSuite> {
    let aes_128 = policy == Policy::DicomB12;
    let mut chosen = vec![suites::TLS13_AES_256_GCM_SHA384];
    if aes_128 {
        chosen.push(suites::TLS13_AES_128_GCM_SHA256);
    }
    if allows_tls12(policy, key_exchange) {
        chosen.push(suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
        chosen.push(suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384);
        if aes_128 {
            chosen.push(suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
            chosen.push(suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
        }
    }
    chosen
}

// rustls sends the X25519 half of the first group as a share of its own, so a peer without ML-KEM needs no
// second round trip.
fn kx_groups(key_exchange: KeyExchange) -> Vec<&'static dyn SupportedKxGroup> {
    let classical: [&'static dyn SupportedKxGroup; 3] =
        [groups::X25519, groups::SECP256R1, groups::SECP384R1];
    let mut chosen: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    if key_exchange != KeyExchange::Classical {
        chosen.push(groups::X25519MLKEM768);
    }
    if key_exchange != KeyExchange::HybridRequired {
        chosen.extend(classical);
    }
    chosen
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
        // `cipher_suites` offers no other, and a test compares the two lists.
        _ => "unlisted",
    }
}

fn group_name(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        NamedGroup::X25519 => "x25519",
        NamedGroup::secp256r1 => "secp256r1",
        NamedGroup::secp384r1 => "secp384r1",
        // The same for `kx_groups`.
        _ => "unlisted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICIES: [Policy; 3] = [Policy::Hscn, Policy::HscnTls13, Policy::DicomB12];
    const EXCHANGES: [KeyExchange; 3] = [
        KeyExchange::HybridPreferred,
        KeyExchange::HybridRequired,
        KeyExchange::Classical,
    ];

    fn all() -> impl Iterator<Item = (Policy, KeyExchange)> {
        let each = |policy| EXCHANGES.map(|key_exchange| (policy, key_exchange));
        POLICIES.into_iter().flat_map(each)
    }

    #[test]
    fn every_suite_and_group_has_its_registered_name() {
        for (policy, key_exchange) in all() {
            let provider = provider(policy, key_exchange);
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
    fn only_dicom_b12_has_aes_128_and_no_policy_has_chacha20() {
        for (policy, key_exchange) in all() {
            let provider = provider(policy, key_exchange);
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
            let provider = provider(policy, KeyExchange::HybridRequired);
            let groups: Vec<_> = provider
                .kx_groups
                .iter()
                .map(|group| group.name())
                .collect();
            assert_eq!(groups, [NamedGroup::X25519MLKEM768]);
            assert_eq!(versions(policy, KeyExchange::HybridRequired), [&TLS13]);
            assert!(
                provider
                    .cipher_suites
                    .iter()
                    .all(|suite| suite.tls13().is_some())
            );
        }
        assert_eq!(
            versions(Policy::HscnTls13, KeyExchange::default()),
            [&TLS13]
        );
        assert_eq!(versions(Policy::Hscn, KeyExchange::default()).len(), 2);
    }

    #[test]
    fn without_the_hybrid_key_exchange_the_classical_ones_stay_in_every_version() {
        for policy in POLICIES {
            let provider = provider(policy, KeyExchange::Classical);
            let groups: Vec<_> = provider
                .kx_groups
                .iter()
                .map(|group| group.name())
                .collect();
            let classical = [
                NamedGroup::X25519,
                NamedGroup::secp256r1,
                NamedGroup::secp384r1,
            ];
            assert_eq!(groups, classical);
            let preferred = versions(policy, KeyExchange::default());
            assert_eq!(versions(policy, KeyExchange::Classical), preferred);
        }
    }
}
