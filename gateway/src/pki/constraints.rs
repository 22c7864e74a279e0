//! Name constraints: the names for which a CA may issue certificates (RFC 5280 section 4.2.1.10).
//!
//! Constraints are read from a certificate, and names are checked before a certificate is issued. In peers'
//! certificates, the verifier (webpki, OpenSSL) enforces constraints. `permitted` writes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls::pki_types::DnsName;
use x509_parser::extensions::{GeneralName, NameConstraints};

/// A host that no URI has (RFC 2606 section 2). Permitting only URIs of this host forbids every URI in
/// every verifier: OpenSSL knows no excluded subtree that contains every URI.
pub(super) const NO_HOST: &str = "invalid";

/// The constraints that a certificate carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Constraints {
    /// A verifier that does not support constraints must then refuse the certificate.
    pub(crate) critical: bool,
    pub(crate) permitted: Vec<Subtree>,
    pub(crate) excluded: Vec<Subtree>,
}

/// Names of one kind, in the form of RFC 5280 section 4.2.1.10.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subtree {
    /// A DNS name and all names below it; all names if empty.
    Dns(String),
    /// A host of URIs; if it begins with a dot, all hosts below it.
    Uri(String),
    /// Addresses, as text.
    Ip(String),
    /// A mail address, a host of mail addresses, or all hosts below one.
    Mail(String),
    /// Subjects that begin with this name.
    Directory(String),
    /// A kind that this program does not process.
    Other,
}

impl Constraints {
    pub(crate) fn of(constraints: &NameConstraints<'_>, critical: bool) -> Self {
        // RFC 5280 section 4.2.1.10 forbids both; the parser stops at unknown kinds.
        if constraints.permitted_subtrees.is_none() && constraints.excluded_subtrees.is_none() {
            return Self::unreadable(critical);
        }
        let subtrees = |list: &Option<Vec<x509_parser::extensions::GeneralSubtree<'_>>>| {
            let list = list.iter().flatten();
            list.map(|subtree| Subtree::of(&subtree.base)).collect()
        };
        Self {
            critical,
            permitted: subtrees(&constraints.permitted_subtrees),
            excluded: subtrees(&constraints.excluded_subtrees),
        }
    }

    /// Constraints that cannot be read: verifiers refuse everything below such a certificate.
    pub(crate) fn unreadable(critical: bool) -> Self {
        Self {
            critical,
            permitted: Vec::new(),
            excluded: vec![Subtree::Other],
        }
    }

    /// The permitted names, for a message.
    pub(crate) fn permitted_text(&self) -> String {
        let permitted: Vec<_> = self.permitted.iter().map(Subtree::to_string).collect();
        if permitted.is_empty() {
            "some names are excluded".to_owned()
        } else {
            permitted.join(", ")
        }
    }

    /// Whether a CA with these constraints may issue certificates for a name in the form of `peers`,
    /// `dns:...` or `uri:...`. Names of other kinds are not checked: no certificate is issued for them.
    pub(crate) fn permit(&self, name: &str) -> bool {
        let kind = |subtree: &&Subtree| match subtree {
            Subtree::Dns(_) => name.starts_with("dns:"),
            Subtree::Uri(_) => name.starts_with("uri:"),
            _ => false,
        };
        let mut permitted = self.permitted.iter().filter(kind).peekable();
        let mut excluded = self.excluded.iter().filter(kind).peekable();
        if permitted.peek().is_none() && excluded.peek().is_none() {
            return true;
        }
        // A URI without a host must be refused if URIs are constrained.
        let uri = name.strip_prefix("uri:");
        let Some(base) = uri.map_or(name.strip_prefix("dns:"), host_of_uri) else {
            return false;
        };
        // The same applies to a URI whose host is no fully qualified name (RFC 5280 section 4.2.1.10).
        if uri.is_some() && !is_host_name(base) {
            return false;
        }
        let is_free = permitted.peek().is_none();
        (is_free || permitted.any(|subtree| subtree.contains(base)))
            && !excluded.any(|subtree| subtree.contains(base))
    }
}

/// The part before `base` of a name that ends with it, ignoring case.
fn below<'n>(name: &'n str, base: &str) -> Option<&'n str> {
    let (below, end) = name.split_at_checked(name.len().checked_sub(base.len())?)?;
    end.eq_ignore_ascii_case(base).then_some(below)
}

/// Whether a URI's host is a DNS name, and no address.
pub(crate) fn is_host_name(host: &str) -> bool {
    let is_address = host.parse::<IpAddr>().is_ok();
    !is_address && !host.ends_with('.') && DnsName::try_from(host).is_ok()
}

impl Subtree {
    fn of(base: &GeneralName<'_>) -> Self {
        match base {
            GeneralName::DNSName(name) => Self::Dns((*name).to_owned()),
            GeneralName::URI(host) => Self::Uri((*host).to_owned()),
            GeneralName::IPAddress(bytes) => Self::Ip(subnet(bytes)),
            GeneralName::RFC822Name(name) => Self::Mail((*name).to_owned()),
            GeneralName::DirectoryName(name) => Self::Directory(name.to_string()),
            _ => Self::Other,
        }
    }

    /// Whether it contains a DNS name or a host.
    fn contains(&self, name: &str) -> bool {
        match self {
            Self::Dns(base) => {
                let below = below(name, base);
                base.is_empty()
                    || below.is_some_and(|below| {
                        below.is_empty() || below.ends_with('.') || base.starts_with('.')
                    })
            }
            Self::Uri(base) => match below(name, base) {
                Some(below) if base.starts_with('.') => !below.is_empty(),
                Some(below) => below.is_empty(),
                None => false,
            },
            _ => false,
        }
    }
}

impl fmt::Display for Subtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(base) if base.is_empty() => f.write_str("every DNS name"),
            Self::Dns(base) => write!(f, "dns:{} and names below it", base.escape_debug()),
            Self::Uri(host) if host == NO_HOST => f.write_str("no URIs"),
            Self::Uri(host) if host.starts_with('.') => {
                write!(f, "URIs of hosts that end in {host:?}")
            }
            Self::Uri(host) => write!(f, "URIs of host {host:?}"),
            Self::Ip(addresses) => f.write_str(addresses),
            Self::Mail(base) => write!(f, "mail addresses of {base:?}"),
            Self::Directory(name) => write!(f, "subjects that begin with {name:?}"),
            Self::Other => f.write_str("names of a kind that is not known here"),
        }
    }
}

/// The host of a URI (RFC 3986 section 3.2.2), if it has one.
pub(super) fn host_of_uri(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    // An IPv6 address in brackets is not a host name, and nothing matches it.
    let host = host.split(':').next()?;
    (!host.is_empty()).then_some(host)
}

/// Address and mask: `10.0.0.0/8`, or both in full if the mask is not a prefix.
fn subnet(bytes: &[u8]) -> String {
    let half = bytes.len() / 2;
    let (address, mask) = bytes.split_at(half);
    let ones: u32 = mask.iter().map(|byte| byte.leading_ones()).sum();
    let is_prefix = mask.iter().map(|byte| byte.count_ones()).sum::<u32>() == ones
        && mask.is_sorted_by(|one, next| one >= next);
    match (bytes.len(), ones) {
        (8, 0) if is_prefix => "every IPv4 address".to_owned(),
        (32, 0) if is_prefix => "every IPv6 address".to_owned(),
        (8 | 32, _) if is_prefix => format!("ip:{}/{ones}", ip_text(address)),
        _ => format!("ip:{} with mask {}", ip_text(address), ip_text(mask)),
    }
}

/// An address as text, or its bytes if it is not an address.
pub(super) fn ip_text(bytes: &[u8]) -> String {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        Ipv4Addr::from(bytes).to_string()
    } else if let Ok(bytes) = <[u8; 16]>::try_from(bytes) {
        Ipv6Addr::from(bytes).to_string()
    } else {
        format!("{bytes:02x?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constraints(permitted: &[Subtree], excluded: &[Subtree]) -> Constraints {
        Constraints {
            critical: true,
            permitted: permitted.to_vec(),
            excluded: excluded.to_vec(),
        }
    }

    fn dns(base: &str) -> Subtree {
        Subtree::Dns(base.to_owned())
    }

    fn uri(base: &str) -> Subtree {
        Subtree::Uri(base.to_owned())
    }

    #[test]
    fn a_permitted_dns_name_includes_names_below_it_in_any_case() {
        let permitted = constraints(&[dns("GW.a.example"), dns(".b.example")], &[]);
        for name in ["gw.A.example", "x.y.gw.a.example", "gw.b.example"] {
            assert!(permitted.permit(&format!("dns:{name}")), "{name}");
        }
        for name in [
            "a.example",
            "xgw.a.example",
            "b.example",
            "",
            "gw.a.example.c",
        ] {
            assert!(!permitted.permit(&format!("dns:{name}")), "{name}");
        }
        // Names of other kinds are unrestricted, as RFC 5280 requires.
        assert!(permitted.permit("uri:urn:x:y"));
    }

    #[test]
    fn an_excluded_name_is_refused_even_if_it_is_permitted() {
        let both = constraints(&[dns("a.example")], &[dns("x.a.example"), uri(".example")]);
        assert!(both.permit("dns:gw.a.example"));
        assert!(!both.permit("dns:gw.x.a.example"));
        assert!(!both.permit("uri:https://gw.example/"));
        assert!(both.permit("uri:https://gw.test/"));
        assert!(!both.permit("uri:urn:x:y"), "a URI without a host");
        assert!(!constraints(&[], &[dns("")]).permit("dns:any.example"));
    }

    #[test]
    fn only_the_host_of_a_uri_is_compared() {
        let permitted = constraints(&[uri("gw.example"), uri(".a.example")], &[]);
        for name in [
            "https://gw.example",
            "https://GW.example:8443/a",
            "spiffe://user@gw.example?q",
            "https://x.a.example#f",
        ] {
            assert!(permitted.permit(&format!("uri:{name}")), "{name}");
        }
        for name in [
            "https://x.gw.example/",
            "https://a.example/",
            "https://evil.test/@gw.example",
            "https://gw.example@evil.test/",
            "https://evil.test?://gw.example",
            "https://[2001:db8::1]/",
            "https:///gw.example",
            "urn:gw.example",
        ] {
            assert!(!permitted.permit(&format!("uri:{name}")), "{name}");
        }
    }

    #[test]
    fn subtrees_of_every_kind_can_be_displayed() {
        let ip = |bytes: &[u8]| Subtree::of(&GeneralName::IPAddress(bytes)).to_string();
        assert_eq!(ip(&[10, 0, 0, 0, 255, 0, 0, 0]), "ip:10.0.0.0/8");
        assert_eq!(
            ip(&[10, 0, 0, 0, 255, 0, 255, 0]),
            "ip:10.0.0.0 with mask 255.0.255.0"
        );
        assert_eq!(ip(&[0; 8]), "every IPv4 address");
        assert_eq!(ip(&[1, 2, 3]), "ip:[01] with mask [02, 03]");
        let mut net = [0; 32];
        net[..2].copy_from_slice(&[0x20, 1]);
        net[16..20].copy_from_slice(&[0xff, 0xff, 0xff, 0xfe]);
        assert_eq!(ip(&net), "ip:2001::/31");
        assert_eq!(dns("").to_string(), "every DNS name");
        assert_eq!(dns("a\n").to_string(), "dns:a\\n and names below it");
        assert_eq!(uri("a").to_string(), "URIs of host \"a\"");
        assert_eq!(uri(".a").to_string(), "URIs of hosts that end in \".a\"");
        let mail = Subtree::of(&GeneralName::RFC822Name("a.example"));
        assert_eq!(mail.to_string(), "mail addresses of \"a.example\"");
    }
}
