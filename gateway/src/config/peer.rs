//! Identities by which a peer is accepted: `dns:`, `uri:` and `sha256:`.

use super::PeerName;
use super::name::{dns_name, ip_address};

/// Whether `text` has the form of an identity of a peer.
#[must_use]
pub fn is_peer_name(text: &str) -> bool {
    peer(text).is_ok()
}

/// The identity that `text` is, if it is one.
#[must_use]
pub(crate) fn identity_of(text: &str) -> Option<PeerName> {
    peer(text).ok()
}

/// Reads one element of `peers`. An error is the end of a sentence.
pub(super) fn peer(text: &str) -> Result<PeerName, String> {
    match text.split_once(':') {
        Some(("dns", name)) => dns(name),
        Some(("uri", uri)) => self::uri(uri),
        Some(("sha256", digest)) => sha256(digest),
        _ => Err(prefix_remedy(text)),
    }
}

fn dns(name: &str) -> Result<PeerName, String> {
    if name.contains('*') {
        return Err(
            "has a wildcard, but a peer is one host; name each host that may connect, or, if its \
             certificate has wildcards only, write \"sha256:\" and the SHA-256 of its public key \
             (`wardgate pki show` prints it)"
                .to_owned(),
        );
    }
    if ip_address(name).is_some() {
        return Err(
            "is an IP address, but peers are identified by name or key; write the DNS name in \
            the peer's \
                    certificate, or \"sha256:\" and the SHA-256 of its public key"
                .to_owned(),
        );
    }
    dns_name(name).map(PeerName::Dns)
}

fn uri(uri: &str) -> Result<PeerName, String> {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return Err(
            "has no scheme; write the URI as it stands in the certificate, such as \
                    \"uri:spiffe://region.example/gateway\""
                .to_owned(),
        );
    };
    // RFC 3986 section 3.1.
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(is_legal) {
        return Err(format!("has {scheme:?} in place of the scheme of a URI"));
    }
    if rest.trim_matches('/').is_empty() {
        return Err("has nothing after the scheme".to_owned());
    }
    // An IA5String of printable characters (RFC 5280 section 4.2.1.6).
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "has characters that are not allowed in a URI; write them percent-encoded".to_owned(),
        );
    }
    Ok(PeerName::Uri(uri.to_owned()))
}

/// The number of hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

fn sha256(digest: &str) -> Result<PeerName, String> {
    let digits: String = digest.chars().filter(|c| *c != ':').collect();
    if let Some(wrong) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(format!(
            "has {wrong:?}, which is not hexadecimal; write 64 digits, with or without colons"
        ));
    }
    let bytes = digest_bytes(&digits).filter(|_| is_colon_form(digest) || !digest.contains(':'));
    bytes
        .map(PeerName::Sha256)
        .ok_or_else(|| match digits.len() {
            SHA256_DIGITS => {
                "has colons in wrong places; write a colon after every two digits, or none"
                    .to_owned()
            }
            40 => "has 40 digits, which is a SHA-1; write the SHA-256 of the public key, 64 digits"
                .to_owned(),
            length => {
                format!("has {length} digits; the SHA-256 of a public key has {SHA256_DIGITS}")
            }
        })
}

fn digest_bytes(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != SHA256_DIGITS {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Whether the text has the form `AB:CD:...`, as openssl writes fingerprints.
fn is_colon_form(digest: &str) -> bool {
    digest.split(':').all(|pair| pair.len() == 2)
}

/// The advice if none of the prefixes is present.
fn prefix_remedy(text: &str) -> String {
    if let Ok(PeerName::Sha256(_)) = sha256(text) {
        return format!(
            "has no prefix; write \"sha256:{text}\" if it is the SHA-256 of the peer's public key"
        );
    }
    if text.contains("://") && uri(text).is_ok() {
        return format!("has no prefix; write \"uri:{text}\"");
    }
    if ip_address(text).is_some() {
        return "is an IP address, but peers are identified by name or key; write \"dns:\" and the DNS \
            name in the \
                peer's certificate"
            .to_owned();
    }
    if text.starts_with("cn=") || text.starts_with("CN=") {
        return "is a common name, but only subject alternative names count; write \
            \"dns:\" and a \
                DNS name in the peer's certificate"
            .to_owned();
    }
    match text.split_once(':') {
        None if dns_name(text).is_ok() => format!("has no prefix; write \"dns:{text}\""),
        Some((host, port)) if dns_name(host).is_ok() && port.parse::<u16>().is_ok() => {
            format!("is a host and port, and a peer is a name without port; write \"dns:{host}\"")
        }
        Some((prefix, rest)) => {
            let lower = prefix.trim().to_lowercase();
            match lower.as_str() {
                "dns" | "uri" | "sha256" => format!(
                    "has a prefix that is not in lowercase; write \
                 \"{lower}:{rest}\""
                ),
                _ => "has an unknown prefix; write \"dns:\", \"uri:\" or \"sha256:\" and what the \
                    peer's certificate has"
                    .to_owned(),
            }
        }
        None => "has no prefix; write \"dns:\", \"uri:\" or \"sha256:\" and what the peer's \
            certificate has"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_with_and_without_colons_in_either_case() {
        let plain = "sha256:00ff".to_owned() + &"ab".repeat(30);
        let pairs = vec!["AB"; 30].join(":");
        let colons = format!("sha256:00:FF:{pairs}");
        let mut expected = [0xab; 32];
        expected[0] = 0x00;
        expected[1] = 0xff;
        assert_eq!(peer(&plain), Ok(PeerName::Sha256(expected)));
        assert_eq!(peer(&colons), Ok(PeerName::Sha256(expected)));
        peer(&format!("sha256:0:0{}", "ab".repeat(31))).expect_err("its colons are misplaced");
    }

    #[test]
    fn dns_names_become_lowercase_and_uris_stay_unchanged() {
        assert_eq!(
            peer("dns:GW.Region.example"),
            Ok(PeerName::Dns("gw.region.example".to_owned()))
        );
        assert_eq!(
            peer("uri:urn:NHS:x"),
            Ok(PeerName::Uri("urn:NHS:x".to_owned()))
        );
    }
}
