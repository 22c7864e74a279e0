//! The extension with the names for which a new CA may issue certificates (RFC 5280 section 4.2.1.10).
//!
//! rcgen cannot write constraints on URIs, so the DER is written here.

use rustls::pki_types::DnsName;

use super::authority_error::AuthorityError;
use super::constraints::{NO_HOST, host_of_uri};
use super::der::element;

/// The object identifier of the extension.
pub(crate) const OID: [u64; 4] = [2, 5, 29, 30];

/// Tags of GeneralName (RFC 5280 section 4.2.1.6).
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const IP: u8 = 0x87;

/// The names for which a new CA may issue certificates. If empty, there is no restriction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permitted {
    /// DNS names, each including all names below it.
    pub dns: Vec<String>,
    /// Hosts of URIs: `gw.example`, or `.example` for all hosts below it, or URIs with such a host.
    pub uri: Vec<String>,
}

impl Permitted {
    /// The content of the extension as DER; `None` if there is no restriction.
    ///
    /// If a CA may issue certificates for some names only, all other names by which TLS identifies a peer
    /// are forbidden. A kind of name without a permitted name is excluded, because RFC 5280 does not
    /// restrict kinds that no constraint mentions. Addresses are always excluded.
    pub(crate) fn extension(&self) -> Result<Option<Vec<u8>>, AuthorityError> {
        if self.dns.is_empty() && self.uri.is_empty() {
            return Ok(None);
        }
        let mut permitted = Vec::new();
        let mut excluded = Vec::new();
        for name in &self.dns {
            permitted.extend(subtree(DNS, dns_base(name)?.as_bytes()));
        }
        for host in &self.uri {
            permitted.extend(subtree(URI, uri_base(host)?.as_bytes()));
        }
        if self.dns.is_empty() {
            excluded.extend(subtree(DNS, b""));
        }
        if self.uri.is_empty() {
            permitted.extend(subtree(URI, NO_HOST.as_bytes()));
        }
        // All IPv4 and IPv6 addresses: address and mask are zero.
        excluded.extend(subtree(IP, &[0; 8]));
        excluded.extend(subtree(IP, &[0; 32]));
        let subtrees = [element(0xa0, &permitted), element(0xa1, &excluded)].concat();
        Ok(Some(element(0x30, &subtrees)))
    }
}

/// The base of a constraint on DNS names.
fn dns_base(name: &str) -> Result<String, AuthorityError> {
    let problem = if name.contains('*') {
        "has a wildcard; names below a permitted name are permitted without one"
    } else if name.parse::<std::net::IpAddr>().is_ok() {
        "is an address; permit DNS names or hosts of URIs"
    } else if DnsName::try_from(name).is_err() {
        "is not a DNS name; labels of letters, digits and hyphens with dots between are"
    } else {
        return Ok(name.to_ascii_lowercase());
    };
    let name = name.to_owned();
    Err(AuthorityError::Name { name, problem })
}

/// The base of a constraint on URIs: a host, or all hosts below it if it begins with a dot.
fn uri_base(text: &str) -> Result<String, AuthorityError> {
    let host = if text.contains("://") {
        host_of_uri(text)
    } else {
        (!text.contains(':')).then_some(text)
    };
    let is_name = |host: &&str| {
        let host = host.strip_prefix('.').unwrap_or(host);
        DnsName::try_from(host).is_ok()
    };
    let Some(host) = host.filter(is_name) else {
        return Err(AuthorityError::Name {
            name: text.to_owned(),
            problem: "has no host that is a DNS name, and URIs are permitted by host alone (RFC 5280 \
                      section 4.2.1.10), so a urn: cannot be; give a host, or one with a dot before it \
                      for all hosts below",
        });
    };
    Ok(host.to_ascii_lowercase())
}

fn subtree(tag: u8, base: &[u8]) -> Vec<u8> {
    element(0x30, &element(tag, base))
}
