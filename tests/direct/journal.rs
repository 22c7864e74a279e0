//! The log: it never holds up a connection, and it names every accepted peer.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use wardgate_tests::stream::{accept, connect};
use wardgate_tests::tls::TLS13;
use wardgate_tests::{DEADLINE, Pki, Process, Site, http, until, wardgate};

use crate::pair::{A, Terminate, address, listen, local};

/// A gateway whose standard error is a pipe that nobody reads.
struct Unread {
    child: Child,
    metrics: SocketAddr,
    _folder: TempDir,
}

impl Unread {
    fn start(site: Site) -> Self {
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        let (file, metrics) = (folder.path().join("wardgate.toml"), local());
        site.gateway("metrics", format!("\"{metrics}\""))
            .write(&file);
        let child = Command::new(wardgate())
            .args(["run", "--config"])
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built");
        let gateway = Self {
            child,
            metrics,
            _folder: folder,
        };
        until("it is ready", DEADLINE, || {
            std::net::TcpStream::connect(metrics).ok()
        });
        until("it is ready", DEADLINE, || {
            (http::get(metrics, "/readyz").status == 200).then_some(())
        });
        gateway
    }

    fn dropped(&self) -> u64 {
        let text = http::get(self.metrics, "/metrics").text();
        let start = "wardgate_log_events_dropped_total ";
        let value = text.lines().find_map(|line| line.strip_prefix(start));
        value.and_then(|value| value.parse().ok()).expect(start)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn unread_log_does_not_stop_the_stream() {
    let (entry, exit) = (local(), listen());
    let site = Site::new(&Pki::new(), A).passthrough(entry, address(&exit));
    let mut gateway = Unread::start(site);
    let mut times = Vec::new();
    for number in 0..5000_u32 {
        let start = Instant::now();
        let mut client = connect(entry);
        client
            .write_all(&number.to_le_bytes())
            .expect("it is connected");
        let mut server = accept(&exit);
        let mut heard = [0; 4];
        server.read_exact(&mut heard).expect("all arrives");
        assert_eq!(heard, number.to_le_bytes());
        times.push(start.elapsed());
    }
    // Not each one: this machine may look away for a while. A log that held up connections would
    // hold up all that come when it is full.
    times.sort();
    let slow = times[times.len() * 99 / 100];
    assert!(
        slow < Duration::from_millis(500),
        "one in a hundred took {slow:?}"
    );
    // 64 KiB in the pipe and 4,096 events in the queue; the rest is lost, and counted.
    until("events are lost", DEADLINE, || {
        (gateway.dropped() > 100).then_some(())
    });
    Process::new(gateway.child.id()).signal(Signal::TERM);
    let start = Instant::now();
    let status = until("it ends", DEADLINE, || {
        gateway.child.try_wait().expect("the child is ours")
    });
    assert_eq!(status.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(6));
}

/// Far more of them at once than the burst that refusals are allowed.
#[test]
fn every_accepted_peer_is_logged() {
    let terminate = Terminate::start();
    for number in 0..50 {
        let (mut peer, mut server) = terminate.join(TLS13);
        match number % 5 {
            // However a connection ends, the peer was here.
            0 => wardgate_tests::stream::reset(peer.socket),
            1 => drop(peer),
            2 => wardgate_tests::stream::reset(server),
            _ => {
                peer.finish().expect("it is connected");
                assert_eq!(server.read(&mut [0]).expect("it ends in order"), 0);
            }
        }
    }
    let lines = terminate.gateway.wait_for_connections(50);
    assert_eq!(lines.len(), 50);
    for line in &lines {
        assert_eq!(line.text("peer"), format!("dns:{A}"), "{line:?}");
        assert_eq!(line.text("key_sha256").len(), 64, "{line:?}");
        assert_eq!(line.text("tls"), "TLSv1.3", "{line:?}");
        assert_ne!(line.text("serial"), "-", "{line:?}");
    }
}

/// An accepted peer that says nothing at all is no probe.
#[test]
fn accepted_peer_without_a_byte_is_logged() {
    let terminate = Terminate::with(|site| site);
    let mut peer = terminate.greeted(TLS13);
    // No FIN behind it: the gateway may have ended the connection before there is one.
    let goodbye = peer.close_notify();
    peer.socket.write_all(&goodbye).expect("it is connected");
    let line = &terminate.gateway.wait_for_connections(1)[0];
    assert_eq!(line.text("peer"), format!("dns:{A}"));
    assert_eq!(line.text("reason"), "closed without a byte");
}

#[test]
fn every_account_has_the_same_keys() {
    let pki = Pki::new();
    let (entry, tls, exit) = (local(), local(), listen());
    let gateway = Site::new(&pki, A)
        .passthrough(entry, address(&exit))
        .terminate(tls, address(&exit), &["dns:gw.b.example"])
        .start();
    drop((connect(entry), accept(&exit)));
    let _ = connect(tls).write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    for line in gateway.wait_for_connections(2) {
        let expected = [
            "certificate",
            "certificate_serial",
            "certificate_sha256",
            "ended_by",
            "group",
            "key_sha256",
            "level",
            "message",
            "mode",
            "opened_bytes",
            "peer",
            "protocol",
            "reason",
            "route",
            "sealed_bytes",
            "seconds",
            "serial",
            "source",
            "suite",
            "suppressed",
            "target",
            "timestamp",
            "tls",
        ];
        assert_eq!(line.keys(), expected);
    }
}

#[test]
fn log_in_text_has_one_line_for_each_connection() {
    let (entry, exit) = (local(), listen());
    let gateway = Unread::start(
        Site::new(&Pki::new(), A)
            .gateway("log", "\"text\"")
            .passthrough(entry, address(&exit)),
    );
    drop((connect(entry), accept(&exit)));
    let text = stop_and_read(gateway);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.contains(" connection "))
        .collect();
    assert_eq!(lines.len(), 1, "{text}");
    for part in [
        "INFO",
        "route=passthrough-1",
        "peer=-",
        "reason=",
        "ended_by=",
    ] {
        assert!(lines[0].contains(part), "{part} is missing in {}", lines[0]);
    }
    assert_eq!(text.matches(" ready ").count(), 1, "{text}");
}

fn stop_and_read(mut gateway: Unread) -> String {
    Process::new(gateway.child.id()).signal(Signal::TERM);
    let mut text = String::new();
    let mut pipe = gateway.child.stderr.take().expect("it is piped");
    pipe.read_to_string(&mut text).expect("the log is text");
    text
}
