//! Why a connection has no address of this machine to begin from.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Linux says EADDRNOTAVAIL where all source ports are in use, and also where this machine has no address
/// of the family. UDP has ports of its own, so it tells the two apart; it sends nothing to connect.
pub(super) fn no_source(to: SocketAddr, error: io::Error) -> io::Error {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let has_source = UdpSocket::bind((any, 0)).and_then(|udp| udp.connect(to));
    match has_source {
        Err(other) if other.kind() == io::ErrorKind::AddrNotAvailable => {
            let why = "this machine has no address from which it could be reached";
            io::Error::new(io::ErrorKind::NetworkUnreachable, why)
        }
        _ => error,
    }
}
