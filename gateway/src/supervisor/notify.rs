//! Tells systemd how the service is (sd_notify(3)); without systemd it does nothing.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service is up.
pub(super) fn ready() {
    tell("READY=1");
}

/// The service is on its way out.
pub(super) fn stopping() {
    tell("STOPPING=1");
}

// Best effort: a service manager that does not listen must not keep the gateway from its work.
fn tell(state: &str) {
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
