//! Clients with other loopback addresses, as if they came from other machines.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Protocol, Socket, Type};
use wardgate_tests::DEADLINE;

/// The name of the gateway for these clients.
pub(crate) const OWN: &str = "gw.b.example";

/// A client's address on loopback.
pub(crate) type Address = [u8; 4];

/// Connects to a port of loopback from this address.
///
/// # Errors
/// The error of the system: a connection may be reset before its client sees it.
pub(crate) fn connect_from(from: Address, port: u16) -> io::Result<TcpStream> {
    let socket = socket_from(from);
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// The same for a good client, which waits as long as tests do.
pub(crate) fn connect_patiently(from: Address, port: u16) -> io::Result<TcpStream> {
    let stream = connect_from(from, port)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(stream)
}

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn connect_tls(
    from: Address,
    port: u16,
    config: &Arc<ClientConfig>,
) -> io::Result<TlsStream> {
    let name = OWN.try_into().expect("it is a name");
    let client = ClientConnection::new(Arc::clone(config), name).expect("sound settings");
    Ok(StreamOwned::new(client, connect_patiently(from, port)?))
}

/// A byte in each direction.
pub(crate) fn ask(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(b"!")?;
    stream.read_exact(&mut [0])
}

pub(crate) fn socket_from(from: Address) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    // An attacker does not wait until old connections are forgotten.
    socket
        .set_linger(Some(Duration::ZERO))
        .expect("TCP has the option");
    socket
        .bind(&SocketAddr::from((from, 0)).into())
        .expect("all of 127.0.0.0/8 is loopback");
    socket
}

/// Tests that measure time run one at a time: each loads the machine as much as it can.
pub(crate) fn measuring() -> MutexGuard<'static, ()> {
    static MEASURING: Mutex<()> = Mutex::new(());
    MEASURING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The test holds its end of every connection.
pub(crate) fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("up to its maximum anybody may");
}
