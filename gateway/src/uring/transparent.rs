//! Connections from an address that is not one of this machine (`IP_TRANSPARENT`, ip(7)).

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Binds `socket`, which will connect to `to`, to any port of `source`.
pub(super) fn bind(socket: &Socket, source: IpAddr, to: SocketAddr) -> io::Result<()> {
    if source.is_ipv4() != to.is_ipv4() {
        return Err(io::Error::other(format!(
            "the client's address {source} and the target's are of different families, so source = \
             \"transparent\" cannot connect them"
        )));
    }
    set(socket, to.is_ipv4()).map_err(|error| explained(&error))?;
    socket.bind(&SocketAddr::new(source, 0).into())
}

/// Tests whether this process may bind addresses that are not of this machine.
///
/// # Errors
/// Why not, and what to do.
pub fn may_bind_any() -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    set(&socket, true).map_err(|error| explained(&error))
}

fn set(socket: &Socket, is_v4: bool) -> io::Result<()> {
    let socket = SockRef::from(socket);
    match is_v4 {
        true => socket.set_ip_transparent_v4(true),
        false => socket.set_ip_transparent_v6(true),
    }
}

fn explained(error: &io::Error) -> io::Error {
    io::Error::other(format!(
        "source = \"transparent\" needs the capability CAP_NET_RAW or CAP_NET_ADMIN ({error}); add it to \
         AmbientCapabilities= and CapabilityBoundingSet= of the service in a drop-in, as the guide's chapter \
         \"The address of the client\" shows"
    ))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// An address that no machine has (RFC 5737).
    const FOREIGN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));

    #[test]
    fn a_socket_is_bound_to_a_foreign_address_and_not_to_another_family() {
        let socket =
            || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        let to: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        let bound = socket();
        match may_bind_any() {
            Ok(()) => {
                bind(&bound, FOREIGN, to).expect("the capability is there");
                let own = bound.local_addr().expect("it is bound").as_socket();
                assert_eq!(own.map(|own| own.ip()), Some(FOREIGN));
            }
            Err(why) => {
                assert!(why.to_string().contains("CAP_NET_RAW"), "{why}");
                assert!(bind(&bound, FOREIGN, to).is_err());
            }
        }
        let to = "[::1]:1".parse().expect("an address");
        let why = bind(&socket(), FOREIGN, to).expect_err("two families");
        assert!(why.to_string().contains("different families"), "{why}");
    }
}
