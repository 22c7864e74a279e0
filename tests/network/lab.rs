//! Four namespaces in a row, joined by three veth pairs.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use wardgate_tests::{Gateway, Pki, Program, Site};

use crate::namespaces;

/// The name in site A's certificate.
pub(crate) const A: &str = "gw.a.example";
/// The name in site B's certificate.
pub(crate) const B: &str = "gw.b.example";
/// The address on which site A accepts plaintext.
pub(crate) const ENTRY: u16 = 11112;
/// The port on which site B accepts TLS (the registered port of DICOM over TLS).
pub(crate) const WAN: u16 = 2762;
/// The port of the application behind site B.
pub(crate) const TARGET: u16 = 104;

/// IPv4 or IPv6 on all three links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// A position in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Near,
    GatewayA,
    GatewayB,
    Far,
}

/// The namespaces. Dropping the value removes them with all their contents.
pub(crate) struct Lab {
    prefix: String,
}

/// A link: the positions at its ends, with interfaces and addresses.
struct Link {
    name: &'static str,
    ends: [(Place, &'static str, &'static str); 2],
}

const LINKS: [Link; 3] = [
    Link {
        name: "lan-a",
        ends: [
            (Place::Near, "10.71.1.2/24", "fd71:1::2/64"),
            (Place::GatewayA, "10.71.1.1/24", "fd71:1::1/64"),
        ],
    },
    Link {
        name: "wan",
        ends: [
            (Place::GatewayA, "192.0.2.1/24", "2001:db8::1/64"),
            (Place::GatewayB, "192.0.2.2/24", "2001:db8::2/64"),
        ],
    },
    Link {
        name: "lan-b",
        ends: [
            (Place::GatewayB, "10.71.2.1/24", "fd71:2::1/64"),
            (Place::Far, "10.71.2.2/24", "fd71:2::2/64"),
        ],
    },
];

impl Place {
    const ALL: [Self; 4] = [Self::Near, Self::GatewayA, Self::GatewayB, Self::Far];

    fn suffix(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::GatewayA => "gw-a",
            Self::GatewayB => "gw-b",
            Self::Far => "far",
        }
    }
}

impl Lab {
    /// Makes the namespaces and the links; panics if this fails, after removing what it made.
    pub(crate) fn new() -> Self {
        let lab = Self {
            prefix: namespaces::prefix(),
        };
        for place in Place::ALL {
            ip(&["netns", "add", &lab.namespace(place)]);
            lab.ip(place, &["link", "set", "lo", "up"]);
        }
        for link in &LINKS {
            lab.join(link);
        }
        lab
    }

    /// The name of a namespace.
    pub(crate) fn namespace(&self, place: Place) -> String {
        format!("{}-{}", self.prefix, place.suffix())
    }

    /// A program to run at a position.
    pub(crate) fn program(&self, place: Place, name: &str) -> Program {
        Program::new(name).netns(self.namespace(place))
    }

    /// Runs `work` on a thread in the namespace of a position: sockets that it makes stay there.
    pub(crate) fn inside<T: Send>(&self, place: Place, work: impl FnOnce() -> T + Send) -> T {
        namespaces::inside(&self.namespace(place), work)
    }

    /// Sends a datagram from a position to the other end of a link, where no program receives it.
    pub(crate) fn send_datagram(&self, place: Place, link: &str, bytes: &[u8]) {
        const DISCARD: u16 = 9;
        let to = (Family::V4.opposite(place, link), DISCARD);
        let socket = self.inside(place, || UdpSocket::bind("0.0.0.0:0"));
        let socket = socket.expect("the place has ports");
        socket.send_to(bytes, to).expect("the link is up");
    }

    /// Takes the WAN down or up at site A's end; the other end loses its carrier.
    pub(crate) fn set_wan(&self, state: &str) {
        self.ip(Place::GatewayA, &["link", "set", "wan", state]);
    }

    /// Lets nothing leave the gateways for the WAN: each packet is answered with an ICMP message that its destination
    /// cannot be reached.
    pub(crate) fn reject_wan(&self) {
        for place in [Place::GatewayA, Place::GatewayB] {
            let rules = "add table inet t; add chain inet t o { type filter hook output priority 0; }; \
                add rule inet t o oifname wan reject with icmpx host-unreachable";
            let nft = self.program(place, "nft").arg(rules);
            nft.run().expect_success();
        }
    }

    /// The host names for programs at a position, as in /etc/hosts.
    pub(crate) fn set_hosts(&self, place: Place, text: &str) {
        // `ip netns exec` puts the files of this folder over those of /etc.
        let folder = self.files(place);
        std::fs::create_dir_all(&folder).expect("who may make namespaces may write there");
        std::fs::write(folder.join("hosts"), text).expect("the folder was made");
    }

    /// An address on the WAN without a host, although packets for it are sent.
    pub(crate) fn silence(&self, address: &str) {
        let nobody = ["lladdr", "02:00:00:00:00:99", "dev", "wan"];
        self.ip(
            Place::GatewayA,
            &[&["neigh", "add", address][..], &nobody].concat(),
        );
    }

    /// Leaves a place this range of source ports.
    pub(crate) fn set_source_ports(&self, place: Place, range: &str) {
        let setting = format!("net.ipv4.ip_local_port_range={range}");
        let set = self.program(place, "sysctl").args(["-w", &setting]);
        set.run().expect_success();
    }

    fn files(&self, place: Place) -> PathBuf {
        Path::new("/etc/netns").join(self.namespace(place))
    }

    /// Lets site B send what is for site A's LAN over the WAN, to site A's gateway.
    pub(crate) fn lead_lan_of_a_over_the_wan(&self) {
        let gateway = Family::V4.host(Place::GatewayA, "wan");
        let route = ["route", "add", "10.71.1.0/24", "via", gateway];
        self.ip(Place::GatewayB, &route);
    }

    /// Sets the MTU of the WAN at both ends.
    pub(crate) fn set_wan_mtu(&self, bytes: u16) {
        for place in [Place::GatewayA, Place::GatewayB] {
            self.ip(place, &["link", "set", "wan", "mtu", &bytes.to_string()]);
        }
    }

    /// Both sites of a route of this protocol, not yet running. `families` are those of the LANs and
    /// of the WAN.
    pub(crate) fn sites(&self, pki: &Pki, protocol: &str, families: [Family; 2]) -> [Site; 2] {
        let [lan, wan] = families;
        let across = wan.address(Place::GatewayB, "wan", WAN);
        let a = Site::new(pki, A)
            .originate(
                lan.address(Place::GatewayA, "lan-a", ENTRY),
                &across,
                &[format!("dns:{B}")],
            )
            .protocol(protocol)
            .netns(self.namespace(Place::GatewayA));
        let b = Site::new(pki, B)
            .terminate(
                &across,
                lan.address(Place::Far, "lan-b", TARGET),
                &[format!("dns:{A}")],
            )
            .protocol(protocol)
            .netns(self.namespace(Place::GatewayB));
        [a, b]
    }

    /// Both sites, running.
    pub(crate) fn gateways(
        &self,
        pki: &Pki,
        protocol: &str,
        families: [Family; 2],
    ) -> [Gateway; 2] {
        let [a, b] = self.sites(pki, protocol, families);
        let b = b.start();
        [a.start(), b]
    }

    fn join(&self, link: &Link) {
        let [left, right] = &link.ends;
        let (left_ns, right_ns) = (self.namespace(left.0), self.namespace(right.0));
        ip(&[
            "link", "add", link.name, "netns", &left_ns, "type", "veth", //
            "peer", "name", link.name, "netns", &right_ns,
        ]);
        for (place, v4, v6) in &link.ends {
            self.ip(*place, &["addr", "add", v4, "dev", link.name]);
            // Without duplicate address detection the address can be used at once.
            self.ip(*place, &["addr", "add", v6, "dev", link.name, "nodad"]);
            self.ip(*place, &["link", "set", link.name, "up"]);
        }
    }

    fn ip(&self, place: Place, arguments: &[&str]) {
        let namespace = self.namespace(place);
        ip(&[&["-n", &namespace], arguments].concat());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for place in Place::ALL {
            namespaces::remove(&self.namespace(place));
        }
    }
}

impl Family {
    /// The address of a place on a link with a port, as a configuration names it.
    pub(crate) fn address(self, place: Place, link: &str, port: u16) -> String {
        match self {
            Self::V4 => format!("{}:{port}", self.host(place, link)),
            Self::V6 => format!("[{}]:{port}", self.host(place, link)),
        }
    }

    /// The address of a place on a link.
    pub(crate) fn host(self, place: Place, link: &str) -> &'static str {
        self.end(link, |end| end == place)
    }

    /// The address of the other place on a link.
    fn opposite(self, place: Place, link: &str) -> &'static str {
        self.end(link, |end| end != place)
    }

    fn end(self, link: &str, wanted: impl Fn(Place) -> bool) -> &'static str {
        let ends = LINKS.iter().filter(|item| item.name == link);
        let mut ends = ends.flat_map(|item| &item.ends);
        let (_, v4, v6) = ends
            .find(|(end, ..)| wanted(*end))
            .expect("the place is on the link");
        let address = match self {
            Self::V4 => v4,
            Self::V6 => v6,
        };
        address.split('/').next().expect("a split has a first part")
    }
}

fn ip(arguments: &[&str]) {
    Program::new("ip").args(arguments).run().expect_success();
}
