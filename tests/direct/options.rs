//! The socket options of both legs, read from the gateway's own sockets (pidfd_getfd(2)).

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::Socket;
use wardgate_tests::tls::TLS13;
use wardgate_tests::{DEADLINE, Process, until};

use crate::pair::{Terminate, Through};

/// The socket options that the design promises.
#[derive(Debug, PartialEq)]
struct Options {
    nodelay: bool,
    keepalive: bool,
    keepalive_idle: Duration,
    keepalive_interval: Duration,
    keepalive_probes: u32,
    user_timeout: Option<Duration>,
}

const DEFAULTS: Options = Options {
    nodelay: true,
    keepalive: true,
    keepalive_idle: Duration::from_secs(60),
    keepalive_interval: Duration::from_secs(10),
    keepalive_probes: 6,
    user_timeout: Some(Duration::from_secs(120)),
};

/// Waits until the process's connection to `peer` has these options: the gateway sets them while the
/// connection is made, and the other end may see the connection earlier.
fn expect_options(process: Process, peer: SocketAddr, expected: &Options) {
    let what = format!("the connection to {peer} has {expected:?}");
    until(&what, DEADLINE, || {
        (options(process, peer) == *expected).then_some(())
    });
}

fn options(process: Process, peer: SocketAddr) -> Options {
    let socket = sockets(process)
        .into_iter()
        .find(|socket| remote(socket) == Some(peer))
        .unwrap_or_else(|| panic!("the process has no connection to {peer}"));
    read(&socket).expect("it is a TCP socket")
}

fn read(socket: &Socket) -> std::io::Result<Options> {
    Ok(Options {
        nodelay: socket.tcp_nodelay()?,
        keepalive: socket.keepalive()?,
        keepalive_idle: socket.tcp_keepalive_time()?,
        keepalive_interval: socket.tcp_keepalive_interval()?,
        keepalive_probes: socket.tcp_keepalive_retries()?,
        user_timeout: socket.tcp_user_timeout()?,
    })
}

fn remote(socket: &Socket) -> Option<SocketAddr> {
    socket.peer_addr().ok()?.as_socket()
}

// Duplicates of the process's sockets, closed after the test.
fn sockets(process: Process) -> Vec<Socket> {
    let id = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    let handle = pidfd_open(id.expect("it runs"), PidfdFlags::empty()).expect("it runs");
    let folder = format!("/proc/{}/fd", process.id());
    let entries = fs::read_dir(folder).expect("the process lives and is ours");
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let kind = fs::read_link(entry.path()).ok()?;
            kind.to_str()?.starts_with("socket:").then_some(())?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            let copy: OwnedFd = pidfd_getfd(&handle, number, PidfdGetfdFlags::empty())
                .expect("a parent may look at its child");
            Some(Socket::from(copy))
        })
        .collect()
}

#[test]
fn both_legs_have_the_defaults() {
    let terminate = Terminate::start();
    let (peer, server) = terminate.join(TLS13);
    let process = terminate.gateway.process();
    for socket in [&peer.socket, &server] {
        let far = socket.local_addr().expect("it is connected");
        expect_options(process, far, &DEFAULTS);
    }
}

#[test]
fn both_legs_have_the_options_of_the_route() {
    let through = Through::with(|site| {
        site.route_timeout("user", "\"7s\"").route_timeout(
            "keepalive",
            "{ idle = \"11s\", interval = \"3s\", probes = 4 }",
        )
    });
    let (client, server) = through.join();
    let expected = Options {
        keepalive_idle: Duration::from_secs(11),
        keepalive_interval: Duration::from_secs(3),
        keepalive_probes: 4,
        user_timeout: Some(Duration::from_secs(7)),
        ..DEFAULTS
    };
    for socket in [&client, &server] {
        let far = socket.local_addr().expect("it is connected");
        expect_options(through.gateway.process(), far, &expected);
    }
}
