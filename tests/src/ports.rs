//! TCP ports that no other test uses, in this process or in any other on this machine.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::Process;

/// Below the ports of outgoing connections on Linux (32768 and up), so that none of those can take a port
/// before the program binds it.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

// Abstract sockets are names that the kernel frees when the process ends, however it ends.
static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port that was free on all addresses just now, and that no other caller gets while this process lives.
pub fn free_port() -> u16 {
    let own = Process::new(std::process::id());
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        // Processes start at different places, so that they rarely ask for the same port.
        let port = FIRST + (start().wrapping_add(step)) % COUNT;
        // The kernel's list is read, and no socket bound to find out: a program that another thread starts in
        // that moment holds copies of all sockets until its process has become the program, and the caller
        // could not bind the port.
        if reserve(port) && !own.sees_listener(port) {
            return port;
        }
    }
    panic!(
        "no free port from {FIRST} to {}: too many test processes at once",
        FIRST + COUNT
    );
}

fn start() -> u16 {
    u16::try_from(std::process::id().wrapping_mul(97) % u32::from(COUNT))
        .expect("the remainder is below COUNT")
}

fn reserve(port: u16) -> bool {
    let name = format!("wardgate-test-port-{port}");
    let address = SocketAddr::from_abstract_name(name).expect("the name is short");
    let Ok(listener) = UnixListener::bind_addr(&address) else {
        return false;
    };
    RESERVED
        .lock()
        .expect("no holder of this lock panics")
        .push(listener);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_once() {
        let first = free_port();
        let second = free_port();
        assert_ne!(first, second);
        assert!(!reserve(first), "port {first} was reserved twice");
    }
}
