//! Opens all listeners before the workers start, so that a port in use prevents the start.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{Config, InterfaceName, RouteConfig};
use crate::route::{Route, RouteId};
use crate::worker::limits::LISTEN_BACKLOG;

/// Opens one listener for each of these routes of `config`, in their order.
///
/// # Errors
/// One message for each listener that cannot be opened.
pub(super) fn routes(
    config: &Config,
    routes: &[Arc<Route>],
) -> Result<Vec<(RouteId, TcpListener)>, Vec<String>> {
    let mut listeners = Vec::new();
    let mut problems = Vec::new();
    for route in routes {
        let of_route = &route.config;
        match listen(of_route.listen, of_route.interface.as_ref()) {
            Ok(listener) => listeners.push((route.id(), listener)),
            Err(error) => problems.push(refusal(config, of_route, &error)),
        }
    }
    if problems.is_empty() {
        Ok(listeners)
    } else {
        Err(problems)
    }
}

/// Opens the metrics listener, if one is configured.
///
/// # Errors
/// Why it cannot be opened.
pub(super) fn metrics(config: &Config) -> Result<Option<TcpListener>, String> {
    let Some(address) = config.gateway.metrics else {
        return Ok(None);
    };
    listen(address, None).map(Some).map_err(|error| {
        format!(
            "{}:{}: metrics \"{address}\": {}",
            config.file.display(),
            config.gateway.metrics_line,
            why(address, &error)
        )
    })
}

/// Whether this machine has an interface of this name; true if the lookup fails.
pub(super) fn is_there(interface: &InterfaceName) -> bool {
    let Ok(socket) = Socket::new(Domain::IPV4, Type::DGRAM, None) else {
        return true;
    };
    !matches!(
        name_to_index(&socket, interface.as_str()),
        Err(Errno::NODEV)
    )
}

/// Whether this machine has this address to listen on; true if the lookup fails.
pub(super) fn has_address(address: SocketAddr) -> bool {
    let mut any_port = address;
    any_port.set_port(0);
    let bound = UdpSocket::bind(any_port);
    !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

fn listen(address: SocketAddr, interface: Option<&InterfaceName>) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    // Before bind: another socket may use the same address on another interface.
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_str().as_bytes()))?;
    }
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

fn refusal(config: &Config, route: &RouteConfig, error: &io::Error) -> String {
    let (file, line) = (config.file.display(), route.line);
    let (name, listen) = (&route.name, route.listen);
    if let (Some(interface), Some(NO_DEVICE)) = (&route.interface, error.raw_os_error()) {
        return format!("{file}:{line}: route \"{name}\": {}", missing(interface));
    }
    format!(
        "{file}:{line}: route \"{name}\": listen \"{listen}\": {}",
        why(listen, error)
    )
}

const NO_DEVICE: i32 = Errno::NODEV.raw_os_error();

/// The message about a missing interface.
pub(super) fn missing(interface: &InterfaceName) -> String {
    format!(
        "interface \"{}\": this machine has no such interface; `ip link` lists its interfaces",
        interface.as_str()
    )
}

fn why(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the port is in use by another program; `ss -ltnp 'sport = :{}'` names it",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; `ip address` lists its addresses".to_owned()
        }
        io::ErrorKind::PermissionDenied => format!(
            "port {} needs a privilege; run as a service with CAP_NET_BIND_SERVICE, or use a port \
             of 1024 or above",
            address.port()
        ),
        _ => error.to_string(),
    }
}
