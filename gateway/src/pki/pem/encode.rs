//! Writes keys, certificates and revocation lists as PEM.

use zeroize::Zeroizing;

use super::base64;

/// The PEM text of a private key in PKCS#8. No other copy of the key stays in memory.
pub(in crate::pki) fn of_key(pkcs8: &[u8]) -> Zeroizing<String> {
    const HEAD: &str = "-----BEGIN PRIVATE KEY-----\n";
    const TAIL: &str = "-----END PRIVATE KEY-----\n";
    let body = base64::encode(pkcs8);
    let mut text = Zeroizing::new(String::with_capacity(HEAD.len() + body.len() + TAIL.len()));
    for part in [HEAD, &body, TAIL] {
        text.push_str(part);
    }
    text
}

/// The PEM text of a revocation list.
pub(in crate::pki) fn of_crl(der: &[u8]) -> String {
    format!(
        "-----BEGIN X509 CRL-----\n{}-----END X509 CRL-----\n",
        *base64::encode(der)
    )
}

/// The PEM text of a certificate.
pub(crate) fn of_certificate(der: &[u8]) -> String {
    format!(
        "-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n",
        *base64::encode(der)
    )
}
