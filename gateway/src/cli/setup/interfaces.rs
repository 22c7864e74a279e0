//! The addresses of this machine, for the defaults of `wardgate setup`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// The names and addresses of this machine.
#[derive(Debug, Default, Clone)]
pub(super) struct Machine {
    /// Its host name, with or without a domain.
    pub(super) host: String,
    /// The address of each interface, in the order of the kernel's routes.
    pub(super) local: Vec<(String, IpAddr)>,
    /// The address from which packets to other networks leave, by the default route.
    pub(super) outward: Option<IpAddr>,
}

/// A route of the kernel's table to a network, or the default route.
#[derive(Debug, PartialEq, Eq)]
struct KernelRoute {
    interface: String,
    network: Ipv4Addr,
    is_default: bool,
}

impl Machine {
    /// Reads what the kernel reports. Nothing is sent.
    pub(super) fn read() -> Self {
        let uname = rustix::system::uname();
        let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        let mut machine = Self {
            host: uname.nodename().to_string_lossy().into_owned(),
            ..Self::default()
        };
        for route in parse(&routes) {
            if route.is_default {
                // A network of the documentation (RFC 5737), so that only the default route leads there.
                machine.outward = machine
                    .outward
                    .or_else(|| source(Ipv4Addr::new(192, 0, 2, 1).into()));
                continue;
            }
            // The first host of the network. Its own address is a source as well.
            let first = Ipv4Addr::from_bits(route.network.to_bits() | 1);
            if let Some(address) = source(first.into()) {
                let known = machine.local.iter().any(|(_, known)| *known == address);
                if !known && !address.is_loopback() {
                    machine.local.push((route.interface, address));
                }
            }
        }
        machine
    }

    /// The address by which the other site is reached: that of the default route if its address is unknown.
    pub(super) fn wan(&self, other: Option<IpAddr>) -> Option<IpAddr> {
        let toward = other
            .and_then(source)
            .filter(|address| !address.is_loopback());
        toward
            .or(self.outward)
            .or_else(|| self.local.last().map(|(_, address)| *address))
    }

    /// The address on the other side of this machine, where the modalities are; that of the WAN if there is one only.
    pub(super) fn lan(&self, other: Option<IpAddr>) -> Option<IpAddr> {
        let wan = self.wan(other);
        let inside = || {
            self.local
                .iter()
                .map(|(_, address)| *address)
                .filter(|address| Some(*address) != wan)
        };
        inside()
            .find(is_private)
            .or_else(|| inside().next())
            .or(wan)
    }

    /// A DNS name for this gateway: the full name of the machine, else one in the domain for private use.
    pub(super) fn dns_name(&self) -> String {
        match self.host.contains('.') {
            true => self.host.to_lowercase(),
            false => format!("{}.internal", self.short_name().to_lowercase()),
        }
    }

    /// The name of the machine without its domain.
    pub(super) fn short_name(&self) -> &str {
        self.host
            .split('.')
            .next()
            .filter(|name| !name.is_empty())
            .unwrap_or("site")
    }
}

fn is_private(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_private())
}

/// The address from which this machine reaches another one. To connect a UDP socket sends nothing.
fn source(other: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr = match other {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    // The port is that of the discard protocol.
    socket.connect((other, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Reads `/proc/net/route`: networks that interfaces are in, and default routes.
fn parse(text: &str) -> Vec<KernelRoute> {
    let address = |hex: &str| {
        u32::from_str_radix(hex, 16)
            .ok()
            .map(|bits| Ipv4Addr::from(bits.to_le_bytes()))
    };
    let route = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let network = address(fields.get(1)?)?;
        let gateway = address(fields.get(2)?)?;
        let mask = address(fields.get(7)?)?;
        let is_default = network.is_unspecified() && mask.is_unspecified();
        (is_default || gateway.is_unspecified()).then(|| KernelRoute {
            interface: fields
                .first()
                .map(|name| (*name).to_owned())
                .unwrap_or_default(),
            network,
            is_default,
        })
    };
    text.lines().skip(1).filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
wan	00000000	010200C0	0003	0	0	0	00000000	0	0	0
lan	0000140A	00000000	0001	0	0	0	0000FFFF	0	0	0
wan	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
lan	0000160A	0100140A	0003	0	0	0	0000FFFF	0	0	0
";

    #[test]
    fn networks_of_interfaces_and_the_default_route_are_read() {
        let routes = parse(TABLE);
        let found: Vec<_> = routes
            .iter()
            .map(|route| {
                (
                    route.interface.as_str(),
                    route.network.to_string(),
                    route.is_default,
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("wan", "0.0.0.0".to_owned(), true),
                ("lan", "10.20.0.0".to_owned(), false),
                ("wan", "192.0.2.0".to_owned(), false),
            ]
        );
        assert_eq!(parse("not\na table\n"), []);
    }

    #[test]
    fn the_lan_is_the_private_address_that_is_not_that_of_the_default_route() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let machine = Machine {
            host: "gw".to_owned(),
            local: vec![
                ("wan".to_owned(), address("198.51.100.7")),
                ("mgmt".to_owned(), address("203.0.113.7")),
                ("lan".to_owned(), address("10.20.0.5")),
            ],
            outward: Some(address("198.51.100.7")),
        };
        assert_eq!(machine.lan(None), Some(address("10.20.0.5")));
        assert_eq!(machine.wan(None), Some(address("198.51.100.7")));
        let one_armed = Machine {
            local: vec![("wan".to_owned(), address("10.1.1.1"))],
            outward: Some(address("10.1.1.1")),
            ..machine
        };
        assert_eq!(one_armed.lan(None), Some(address("10.1.1.1")));
        assert_eq!(Machine::default().lan(None), None);
    }

    #[test]
    fn a_machine_without_a_domain_has_a_name_for_private_use() {
        let named = |host: &str| Machine {
            host: host.to_owned(),
            ..Machine::default()
        };
        assert_eq!(named("GW1").dns_name(), "gw1.internal");
        assert_eq!(
            named("gw.hospital-a.example").dns_name(),
            "gw.hospital-a.example"
        );
        assert_eq!(named("").dns_name(), "site.internal");
    }
}
