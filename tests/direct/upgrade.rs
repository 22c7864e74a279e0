//! Another process takes the place of a running one, and no client is refused.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use wardgate_tests::stream::{Ending, accept, connect, ending, ping};
use wardgate_tests::{DEADLINE, Process, http, until};

use crate::pair::Through;

/// Clients that connect all the time, and a server that accepts them: how many were served, or the first
/// that was refused.
struct Clients {
    stop: Arc<AtomicBool>,
    clients: thread::JoinHandle<Result<u32, String>>,
}

impl Clients {
    fn start(entry: SocketAddr, exit: &TcpListener) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (stopped, exit) = (Arc::clone(&stop), exit.try_clone().expect("a socket"));
        let clients = thread::spawn(move || {
            let mut served = 0;
            while !stopped.load(Ordering::Relaxed) {
                let mut client = TcpStream::connect(entry).map_err(|error| error.to_string())?;
                let mut server = accept(&exit);
                ping(&mut client, &mut server);
                ping(&mut server, &mut client);
                served += 1;
            }
            Ok(served)
        });
        Self { stop, clients }
    }

    fn stop(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        let served = self.clients.join().expect("no panic");
        served.expect("no client is refused")
    }
}

#[test]
fn an_upgrade_refuses_no_client_and_ends_no_connection() {
    let through = Through::start();
    let (mut client, mut server) = through.join();
    let clients = Clients::start(through.entry, &through.exit);
    let mut last = through.gateway.process().id();
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(300));
        let reply = through
            .gateway
            .command(&["upgrade"])
            .run()
            .expect_success()
            .text();
        let now = through.gateway.serving().id();
        assert_ne!(now, last, "{reply}");
        assert!(
            reply.contains(&format!("process {now} serves now")),
            "{reply}"
        );
        last = now;
    }
    thread::sleep(Duration::from_millis(300));
    assert!(clients.stop() > 10);
    // The connection of the first process goes on, and that process ends after it.
    ping(&mut client, &mut server);
    assert_eq!(
        http::get(through.gateway.metrics_address(), "/readyz").text(),
        "ready\n"
    );
    drop(client);
    assert_eq!(ending(&mut server), (0, Ending::Orderly));
    drop(server);
    let (status, output) = through.gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(!output.contains("reset"), "{output}");
    Process::new(last).signal(Signal::TERM);
    until("the last process has ended", DEADLINE, || {
        TcpStream::connect(through.entry).is_err().then_some(())
    });
}

/// The service manager notices the end of the new process after that of the earlier one, whose child it is.
#[test]
fn an_earlier_process_ends_at_once_when_the_new_one_has_failed() {
    let through = Through::with(|site| site.timeout("drain", "\"10min\""));
    let (mut client, server) = through.join();
    through.gateway.command(&["upgrade"]).run().expect_success();
    through.gateway.serving().signal(Signal::KILL);
    let (status, output) = through.gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(
        output.contains("has ended (signal: 9 (SIGKILL))"),
        "{output}"
    );
    assert_eq!(ending(&mut client).1, Ending::Reset);
    drop(server);
}

#[test]
fn a_new_process_that_does_not_start_leaves_the_running_one_as_it_was() {
    let through = Through::start();
    let (mut client, mut server) = through.join();
    let good = fs::read_to_string(through.gateway.config()).expect("our file");
    fs::write(
        through.gateway.config(),
        good.replace("[gateway]", "[gatway]"),
    )
    .expect("our file");
    let reply = through
        .gateway
        .command(&["upgrade"])
        .run()
        .expect_failure()
        .text();
    assert!(
        reply.contains("did not take over: it ended (exit status: 78)"),
        "{reply}"
    );
    assert!(reply.contains("the running process continues"), "{reply}");
    ping(&mut client, &mut server);
    let (mut client, mut server) = through.join();
    ping(&mut client, &mut server);
    assert_eq!(
        through.gateway.serving().id(),
        through.gateway.process().id()
    );
    assert_eq!(
        http::get(through.gateway.metrics_address(), "/readyz").text(),
        "ready\n"
    );
    // The next try may succeed.
    fs::write(through.gateway.config(), good).expect("our file");
    through.gateway.command(&["upgrade"]).run().expect_success();
    let next = through.gateway.serving();
    assert_ne!(next.id(), through.gateway.process().id());
    drop((client, server));
    next.signal(Signal::TERM);
}

#[test]
fn a_process_that_asks_for_the_listeners_and_dies_takes_nothing_away() {
    let through = Through::start();
    for _ in 0..3 {
        let socket = through.gateway.folder().join("admin.sock");
        let mut socket = std::os::unix::net::UnixStream::connect(socket).expect("it listens");
        let request = b"{\"version\":1,\"command\":\"hand-over\"}\n";
        socket.write_all(request).expect("it is connected");
        let mut some = [0; 64];
        let count = socket.read(&mut some).expect("a reply");
        assert!(some[..count].starts_with(b"{\"version\":1,\"ok\":true"));
        drop(socket);
        let mut joined = through.join();
        ping(&mut joined.0, &mut joined.1);
    }
    // Who has not asked on this connection takes nothing over.
    let socket = through.gateway.folder().join("admin.sock");
    let mut socket = std::os::unix::net::UnixStream::connect(socket).expect("it listens");
    let request = b"{\"version\":1,\"command\":\"taken-over\"}\n";
    socket.write_all(request).expect("it is connected");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("a reply");
    let mut joined = (connect(through.entry), accept(&through.exit));
    ping(&mut joined.0, &mut joined.1);
    drop(joined);
    through.gateway.stop();
}
