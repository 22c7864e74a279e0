//! The id of a TLS connection that both ends compute from its keys, so that a log line of one site is found
//! in the log of the other. No byte of it is on the wire.
//!
//! TLS 1.3: the exporter of RFC 8446 section 7.5 with `LABEL` and no context, so another program can compute it
//! as well (`openssl s_client -keymatexport`). rustls's unbuffered connections have no exporter, but they offer its secret to a `KeyLog`, which is all that this module takes from them.
//!
//! TLS 1.2: HMAC-SHA256 of `LABEL` with the master secret as its key. The exporter of RFC 5705 also needs the
//! server's random, which a `KeyLog` does not get. The extended master secret, which every route requires,
//! covers both randoms (RFC 7627).
//!
//! Both are pseudorandom functions of a secret of 32 bytes and more, with a label that TLS itself never uses:
//! 8 bytes of their output reveal nothing about the secret, nor about another output.

use std::fmt;
use std::sync::OnceLock;

use ring::{digest, hkdf, hmac};
use rustls::KeyLog;
use zeroize::Zeroizing;

/// RFC 5705 section 4 keeps labels that begin with EXPERIMENTAL for private use.
const LABEL: &str = "EXPERIMENTAL wardgate tunnel";

/// Enough that two connections of a site never have the same one by chance, and short enough to be read out.
const ID_BYTES: usize = 8;

/// The id of a TLS connection, the same at both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TunnelId([u8; ID_BYTES]);

/// 16 lower-case hexadecimal digits.
impl fmt::Display for TunnelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl TunnelId {
    // By the exporter secret of TLS 1.3.
    fn exported(secret: &[u8]) -> Option<Self> {
        let (algorithm, hash) = match secret.len() {
            32 => (hkdf::HKDF_SHA256, &digest::SHA256),
            48 => (hkdf::HKDF_SHA384, &digest::SHA384),
            // No policy has a suite with another hash.
            _ => return None,
        };
        let nothing = digest::digest(hash, &[]);
        let mut derived = Zeroizing::new([0; digest::MAX_OUTPUT_LEN]);
        let derived = derived.get_mut(..secret.len())?;
        expand(algorithm, secret, LABEL, nothing.as_ref(), derived)?;
        let mut id = [0; ID_BYTES];
        expand(algorithm, derived, "exporter", nothing.as_ref(), &mut id)?;
        Some(Self(id))
    }

    // By the master secret of TLS 1.2.
    fn of_master_secret(secret: &[u8]) -> Option<Self> {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), LABEL.as_bytes());
        Some(Self(*tag.as_ref().first_chunk()?))
    }
}

// HKDF-Expand-Label (RFC 8446 section 7.1).
fn expand(
    algorithm: hkdf::Algorithm,
    secret: &[u8],
    label: &str,
    context: &[u8],
    into: &mut [u8],
) -> Option<()> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let byte = |length: usize| u8::try_from(length).ok();
    let info = [
        &u16::try_from(into.len()).ok()?.to_be_bytes()[..],
        &[byte(PREFIX.len().saturating_add(label.len()))?],
        PREFIX.as_bytes(),
        label.as_bytes(),
        &[byte(context.len())?],
        context,
    ];
    let key = hkdf::Prk::new_less_safe(algorithm, secret);
    let expanded = key.expand(&info, Length(into.len())).ok()?;
    expanded.fill(into).ok()
}

const PREFIX: &str = "tls13 ";

/// Computes the id of one connection when rustls offers the secret, and keeps nothing else.
#[derive(Debug, Default)]
pub(super) struct TunnelIdSource(OnceLock<TunnelId>);

impl TunnelIdSource {
    /// The id; `None` before the handshake is complete.
    pub(super) fn id(&self) -> Option<TunnelId> {
        self.0.get().copied()
    }
}

// The labels of the NSS key log.
const TLS13_EXPORTER: &str = "EXPORTER_SECRET";
const TLS12_MASTER: &str = "CLIENT_RANDOM";

impl KeyLog for TunnelIdSource {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        let id = match label {
            TLS13_EXPORTER => TunnelId::exported(secret),
            TLS12_MASTER => TunnelId::of_master_secret(secret),
            _ => None,
        };
        if let Some(id) = id {
            // One handshake has one secret.
            let _ = self.0.set(id);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        matches!(label, TLS13_EXPORTER | TLS12_MASTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_secrets_give_different_ids_and_no_part_of_the_secret() {
        let ids: Vec<_> = [[1; 48], [2; 48]]
            .iter()
            .flat_map(|secret| {
                [
                    TunnelId::exported(secret),
                    TunnelId::exported(secret.get(..32).expect("it is longer")),
                    TunnelId::of_master_secret(secret),
                ]
            })
            .map(|id| id.expect("the length is known").to_string())
            .collect();
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(id.len(), 16, "{id}");
            assert!(!ids.iter().skip(at + 1).any(|other| other == id), "{ids:?}");
            assert!(!id.contains("0101") && !id.contains("0202"), "{id}");
        }
        assert_eq!(TunnelId::exported(&[1; 20]), None);
    }
}
