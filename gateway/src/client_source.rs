//! A client as identified by its address.

use std::net::{IpAddr, Ipv4Addr};

/// The address of a client: an IPv4 address, or the /64 of an IPv6 address, because a single machine may use
/// every address of its /64 (RFC 4291 section 2.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl Source {
    /// The lowest source.
    pub(crate) const LEAST: Self = Self::V4(Ipv4Addr::UNSPECIFIED);
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}
