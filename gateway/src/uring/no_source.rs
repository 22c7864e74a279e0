//! Explains why a connection gets no local address and port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// Linux returns EADDRNOTAVAIL if all source ports are in use, and also if this machine has no address of the
/// family. Another socket distinguishes the two cases: it is bound to any free port first, which fails if all are in
/// use, and its connect then fails if the machine has no address. If it does not fail, a port has become free; the
/// connect is given up before it is answered. A UDP socket would send nothing, but a worker must not be able to have
/// one: Landlock does not limit where UDP goes.
pub(super) fn no_source(to: SocketAddr, error: io::Error) -> io::Error {
    match attempt(to) {
        Err(other) if other.kind() == io::ErrorKind::AddrNotAvailable => {
            let why = "this machine has no source address for it";
            io::Error::new(io::ErrorKind::NetworkUnreachable, why)
        }
        _ => error,
    }
}

fn attempt(to: SocketAddr) -> io::Result<()> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if socket.bind(&SocketAddr::new(any, 0).into()).is_err() {
        return Ok(());
    }
    socket.connect(&to.into())
}
