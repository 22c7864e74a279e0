//! The networks from which clients may connect to a route: `from`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::file;
use super::list::{List, values};
use super::problem::Problems;
use crate::config::limits::NETWORKS_MAX;

/// A network of IP addresses: those that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpNetwork {
    // INVARIANT: the bits behind the prefix are 0. Not an IPv4 address in the form of IPv6.
    address: IpAddr,
    // At most 32 for IPv4, at most 128 for IPv6.
    prefix: u8,
}

impl IpNetwork {
    /// The network of `address` with this prefix length; the bits behind the prefix do not count. `None` if the prefix
    /// is longer than the address.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let (address, longest): (IpAddr, u8) = match address {
            IpAddr::V4(address) => (masked_v4(address, prefix).into(), 32),
            IpAddr::V6(address) => (masked_v6(address, prefix).into(), 128),
        };
        let is_network = prefix <= longest && address == address.to_canonical();
        is_network.then_some(Self { address, prefix })
    }

    /// Whether every address of `other` is in this network. If not, and the reverse is not true either, they have no
    /// address in common.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// Whether `address` is in the network. An IPv4 address in the form of IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => masked_v4(other, self.prefix) == own,
            (IpAddr::V6(own), IpAddr::V6(other)) => masked_v6(other, self.prefix) == own,
            _ => false,
        }
    }

    /// Whether every address of its family is in the network.
    #[must_use]
    pub fn is_everyone(&self) -> bool {
        self.prefix == 0
    }

    /// Whether a client of this network can reach a listener at `listen`, whatever the routing.
    #[must_use]
    pub fn reaches(&self, listen: SocketAddr) -> bool {
        match (self.address, listen.ip()) {
            (_, IpAddr::V6(listen)) if listen.is_unspecified() => true,
            (own, listen) => own.is_ipv4() == listen.is_ipv4(),
        }
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn masked_v4(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32)));
    Ipv4Addr::from_bits(address.to_bits() & mask.unwrap_or(0))
}

fn masked_v6(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128)));
    Ipv6Addr::from_bits(address.to_bits() & mask.unwrap_or(0))
}

/// The networks of a route; `None` if clients may connect from everywhere.
pub(super) fn resolve(route: &file::Route, problems: &mut Problems) -> Option<Vec<IpNetwork>> {
    // LIMIT: `NETWORKS_MAX`.
    let list = List {
        scope: &route.scope,
        key: "from",
        noun: "from",
        max: NETWORKS_MAX,
        empty: "is empty, so nobody could connect; list the networks of the clients, or remove it",
        long: "write larger networks, or use a packet filter",
    };
    let written = route.from.value()?;
    Some(values(list.read(written, network, problems)))
}

/// Reads `10.20.0.0/16` or `2001:db8::/32`. An error is the end of a sentence.
pub(super) fn network(text: &str) -> Result<IpNetwork, String> {
    let Some((address, prefix)) = text.split_once('/') else {
        return Err(match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => {
                format!("has no prefix length; write \"{text}/32\" for this one address")
            }
            Ok(IpAddr::V6(_)) => {
                format!("has no prefix length; write \"{text}/128\" for this one address")
            }
            Err(_) => FORM.to_owned(),
        });
    };
    let address: IpAddr = address.parse().map_err(|_| FORM.to_owned())?;
    if address != address.to_canonical() {
        return Err(
            "is an IPv4 network in the form of IPv6; write it as IPv4, such as \"10.20.0.0/16\""
                .to_owned(),
        );
    }
    let longest: u8 = if address.is_ipv4() { 32 } else { 128 };
    let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = prefix.parse().ok().filter(|prefix| *prefix <= longest);
    let Some(prefix) = prefix.filter(|_| is_number) else {
        return Err(format!(
            "has no prefix length after the slash; write a number from 0 to {longest}"
        ));
    };
    let network = IpNetwork::new(address, prefix).ok_or_else(|| FORM.to_owned())?;
    if network.address != address {
        return Err(format!(
            "is an address within a network; write the network \"{network}\", or \"{address}/{longest}\" for \
             this one address"
        ));
    }
    Ok(network)
}

const FORM: &str = "is not a network; write an address and its prefix length, such as \"10.20.0.0/16\" or \
    \"2001:db8::/32\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> IpNetwork {
        network(text).expect("it is a network")
    }

    fn contains(text: &str, address: &str) -> bool {
        read(text).contains(address.parse().expect("it is an address"))
    }

    #[test]
    fn a_network_contains_the_addresses_that_begin_with_its_bits() {
        for (network, inside, outside) in [
            ("10.20.0.0/16", "10.20.255.255", "10.21.0.0"),
            ("10.20.0.0/16", "::ffff:10.20.1.2", "::ffff:10.21.1.2"),
            ("10.20.4.0/23", "10.20.5.1", "10.20.6.0"),
            ("10.20.0.5/32", "10.20.0.5", "10.20.0.4"),
            ("0.0.0.0/0", "255.255.255.255", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("2001:db8::4/127", "2001:db8::5", "2001:db8::6"),
            ("::/0", "ffff::", "10.20.0.1"),
        ] {
            assert!(contains(network, inside), "{network} {inside}");
            assert!(!contains(network, outside), "{network} {outside}");
            assert_eq!(read(network).to_string(), network);
        }
    }

    #[test]
    fn a_wrong_network_is_refused_with_the_right_one() {
        for (text, remedy) in [
            ("10.20.0.5/16", "\"10.20.0.0/16\""),
            ("2001:db8::5/32", "\"2001:db8::/32\""),
            ("10.20.0.5", "\"10.20.0.5/32\""),
            ("2001:db8::5", "\"2001:db8::5/128\""),
            ("10.20.0.0/33", "from 0 to 32"),
            ("2001:db8::/129", "from 0 to 128"),
            ("10.20.0.0/", "from 0 to 32"),
            ("10.20.0.0/+8", "from 0 to 32"),
            ("10.20.0.0/255.255.0.0", "from 0 to 32"),
            ("::ffff:10.20.0.0/112", "write it as IPv4"),
            ("lan", "such as \"10.20.0.0/16\""),
            ("10.20/16", "such as \"10.20.0.0/16\""),
            ("", "such as \"10.20.0.0/16\""),
        ] {
            let reason = network(text).expect_err(text);
            assert!(reason.contains(remedy), "{text}: {reason}");
        }
    }
}
