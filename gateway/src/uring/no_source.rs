//! Explains why a connection gets no local address and port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Linux returns EADDRNOTAVAIL if all source ports are in use, and also if this machine has no address of the
/// family. A UDP connect distinguishes the two cases: UDP has its own ports, and its connect sends nothing.
pub(super) fn no_source(to: SocketAddr, error: io::Error) -> io::Error {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let has_source = UdpSocket::bind((any, 0)).and_then(|udp| udp.connect(to));
    match has_source {
        Err(other) if other.kind() == io::ErrorKind::AddrNotAvailable => {
            let why = "this machine has no source address for it";
            io::Error::new(io::ErrorKind::NetworkUnreachable, why)
        }
        _ => error,
    }
}
