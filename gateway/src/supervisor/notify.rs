//! Notifies systemd of the service's state (sd_notify(3)); without systemd it has no effect.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service has started.
pub(super) fn ready() {
    notify("READY=1");
}

/// The service is stopping.
pub(super) fn stopping() {
    notify("STOPPING=1");
}

// Best effort: a service manager that does not listen must not block the gateway.
fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let address = match path.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&path),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let _ = socket.send_to_addr(state.as_bytes(), &address);
    }
}
