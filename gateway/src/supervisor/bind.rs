//! Opens all listeners before the workers start, so that a port in use prevents the start.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use socket2::{Domain, Protocol, Socket, Type};

use super::inherited::Inherited;
use crate::admin;
use crate::config::{Config, InterfaceName, RouteConfig};
use crate::hardening::becomes;
use crate::route::{Route, RouteId};
use crate::worker::limits::LISTEN_BACKLOG;

/// Opens one listener for each of these routes of `config`, in their order, or takes it from `inherited`.
///
/// # Errors
/// One message for each listener that cannot be opened.
pub(super) fn routes(
    config: &Config,
    routes: &[Arc<Route>],
    inherited: &mut Inherited,
) -> Result<Vec<(RouteId, Arc<TcpListener>)>, Vec<String>> {
    let mut listeners = Vec::new();
    let mut problems = Vec::new();
    for of_route in routes {
        let known = inherited.take(of_route.config.listen, of_route.config.interface.as_ref());
        let opened = match known {
            Some(listener) => Ok(Arc::new(listener)),
            None => route(config, &of_route.config),
        };
        match opened {
            Ok(listener) => listeners.push((of_route.id(), listener)),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(listeners)
    } else {
        Err(problems)
    }
}

/// Opens the listener of one route of `config`.
///
/// # Errors
/// Why it cannot be opened.
pub(super) fn route(config: &Config, route: &RouteConfig) -> Result<Arc<TcpListener>, String> {
    let opened = listen(route.listen, route.interface.as_ref());
    opened
        .map(Arc::new)
        .map_err(|error| refusal(config, route, &error))
}

/// Opens the metrics listener, if one is configured.
///
/// # Errors
/// Why it cannot be opened.
pub(super) fn metrics(
    config: &Config,
    inherited: &mut Inherited,
) -> Result<Option<TcpListener>, String> {
    let Some(address) = config.gateway.metrics else {
        return Ok(None);
    };
    if let Some(listener) = inherited.take(address, None) {
        return Ok(Some(listener));
    }
    listen(address, None)
        .map(Some)
        .map_err(|error| metrics_refusal(config, address, &error))
}

fn metrics_refusal(config: &Config, address: SocketAddr, error: &io::Error) -> String {
    format!(
        "{}:{}: metrics \"{address}\": {}",
        config.file.display(),
        config.gateway.metrics_line,
        why(address, error)
    )
}

/// Returns why listeners of these routes of `config`, or that of its metrics, cannot be opened on this machine.
///
/// A port that is in use is left out: the gateway that runs now may have it.
pub(super) fn obstacles(config: &Config, routes: &[Arc<Route>]) -> Vec<String> {
    let is_obstacle = |error: &io::Error| error.kind() != io::ErrorKind::AddrInUse;
    let of_routes = routes.iter().filter_map(|route| {
        let route = &route.config;
        let error = bound(route.listen, route.interface.as_ref()).err();
        let error = error.filter(is_obstacle)?;
        Some(refusal(config, route, &error))
    });
    let of_metrics = config.gateway.metrics.and_then(|address| {
        let error = bound(address, None).err().filter(is_obstacle)?;
        Some(metrics_refusal(config, address, &error))
    });
    of_routes.chain(of_metrics).collect()
}

/// Why the listener of a route cannot be opened on this machine now, with the kind of the error; `None` if it can.
pub(crate) fn listener_problem(
    config: &Config,
    route: &RouteConfig,
) -> Option<(io::ErrorKind, String)> {
    let error = bound(route.listen, route.interface.as_ref()).err()?;
    Some((error.kind(), refusal(config, route, &error)))
}

/// Opens the admin socket: at the configured path, or in the service's folder.
///
/// # Errors
/// Why it cannot be opened.
pub(super) fn admin(
    config: &Config,
    inherited: &mut Inherited,
) -> Result<Option<UnixListener>, String> {
    let Some(path) = admin_path(config) else {
        return Ok(None);
    };
    if let Some(listener) = inherited.take_admin(&path) {
        return Ok(Some(listener));
    }
    // Commands of this user and its group reach the gateway, as if the user had started it.
    let owner = becomes(&config.gateway);
    admin::open(&path, owner).map(Some).map_err(|why| {
        let (file, path) = (config.file.display(), path.display());
        format!("{file}: admin \"{path}\": {why}")
    })
}

/// The path of the admin socket. Without the key it is in the folder that systemd makes for the service
/// (`RuntimeDirectory=`); `None` if there is no such folder.
pub(super) fn admin_path(config: &Config) -> Option<PathBuf> {
    let of_service = || {
        let folders = std::env::var_os("RUNTIME_DIRECTORY")?;
        let first = std::env::split_paths(&folders).next()?;
        Some(first.join("admin.sock"))
    };
    config.gateway.admin.clone().or_else(of_service)
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
    let socket = bound(address, interface)?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// A socket that has the address and does not listen yet.
fn bound(address: SocketAddr, interface: Option<&InterfaceName>) -> io::Result<Socket> {
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
    Ok(socket)
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
