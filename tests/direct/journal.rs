//! The log: it never delays a connection, and it names every accepted peer.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tempfile::TempDir;
use test_peers::openings;
use wardgate_tests::stream::{accept, connect, ending};
use wardgate_tests::tls::{TLS13, TlsPeer};
use wardgate_tests::{
    DEADLINE, Line, Pki, Process, Site, http, logfmt, until, violation, wardgate,
};

use crate::pair::{A, B, Pair, Terminate, address, listen, local};

/// A gateway whose standard error nobody reads: a pipe, or a file. Dropping it ends it, and fails the test if a seccomp
/// filter has killed it.
pub(crate) struct Unread {
    child: Child,
    pub(crate) metrics: SocketAddr,
    _folder: TempDir,
}

impl Unread {
    fn start(site: Site) -> Self {
        Self::with(site, Command::new(wardgate()), Stdio::piped())
    }

    // `command` starts the program, which gets its arguments here.
    pub(crate) fn with(site: Site, mut command: Command, stderr: Stdio) -> Self {
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        let (file, metrics) = (folder.path().join("wardgate.toml"), local());
        site.gateway("metrics", format!("\"{metrics}\""))
            .write(&file);
        let child = command
            .args(["run", "--config"])
            .arg(&file)
            .stderr(stderr)
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

    pub(crate) fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    pub(crate) fn dropped(&self) -> u64 {
        let text = http::get(self.metrics, "/metrics").text();
        let start = "wardgate_log_events_dropped_total ";
        let value = text.lines().find_map(|line| line.strip_prefix(start));
        value.and_then(|value| value.parse().ok()).expect(start)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // That of a gateway that had ended before is what it was.
        let status = self.child.wait().ok();
        let denied = violation::found(status, "");
        if let Some(why) = denied.filter(|_| !std::thread::panicking()) {
            panic!("wardgate: {why}");
        }
    }
}

#[test]
fn a_gateway_with_an_unread_log_that_a_filter_has_killed_fails_its_test() {
    let site = Site::new(&Pki::new(), A).passthrough(local(), local());
    let gateway = Unread::start(site);
    let process = gateway.process();
    process.signal(Signal::SYS);
    until("it ends", DEADLINE, || process.has_ended().then_some(()));
    catch_unwind(AssertUnwindSafe(|| drop(gateway))).expect_err("the test fails");
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
    // Not each connection: this machine may be busy for a while. A log that delays connections would delay
    // all of them when it is full.
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
    gateway.process().signal(Signal::TERM);
    let start = Instant::now();
    let status = until("it ends", DEADLINE, || {
        gateway.child.try_wait().expect("the child is ours")
    });
    assert_eq!(status.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(6));
}

/// The bytes of [`bulk`].
pub(crate) const BYTES: usize = 64 << 20;

/// The time that this many bytes take through the gateway.
pub(crate) fn bulk(entry: SocketAddr, exit: &TcpListener) -> Duration {
    let mut client = connect(entry);
    let mut server = accept(exit);
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let piece = vec![7; 1 << 20];
            let sent = (0..BYTES >> 20).try_for_each(|_| client.write_all(&piece));
            sent.expect("it is connected");
            client.shutdown(Shutdown::Write).expect("it is connected");
        });
        let (count, _) = ending(&mut server);
        assert_eq!(count, BYTES as u64);
    });
    start.elapsed()
}

/// A file size limit stands in for the disk: writing fails, and later there is room again.
#[test]
fn log_on_a_full_disk_counts_its_lines_and_goes_on_when_there_is_room() {
    let (entry, exit) = (local(), listen());
    let site = Site::new(&Pki::new(), A).passthrough(entry, address(&exit));
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let log = folder.path().join("log");
    let file = File::create(&log).expect("the folder is ours");
    let mut command = Command::new("env");
    command
        .args(["--ignore-signal=XFSZ", "prlimit", "--fsize=8192:unlimited"])
        .arg(wardgate());
    let gateway = Unread::with(site, command, file.into());
    until("lines are lost", DEADLINE, || {
        drop((connect(entry), accept(&exit)));
        (gateway.dropped() > 20).then_some(())
    });
    let lost = gateway.dropped();
    let pid = Pid::from_raw(i32::try_from(gateway.child.id()).expect("a process"));
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, unlimited).expect("the child is ours");
    drop((connect(entry), accept(&exit)));
    let lines = until("it is logged again", DEADLINE, || {
        let text = fs::read_to_string(&log).expect("it is there");
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let last = Line::parse(lines.last()?).filter(Line::is_connection);
        (text.len() > 8192 && last.is_some()).then_some(lines)
    });
    let cut = lines.iter().filter(|line| Line::parse(line).is_none());
    assert!(cut.count() <= 1, "{lines:?}");
    // Lines that were on their way when there was room again may have been lost before.
    assert!(gateway.dropped() <= lost + 3);
}

/// Many more peers at once than the rate limit of refusals allows.
#[test]
fn every_accepted_peer_is_logged() {
    let terminate = Terminate::start();
    for number in 0..50 {
        let (mut peer, mut server) = terminate.join(TLS13);
        match number % 5 {
            // The line is needed however the connection ends.
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
        assert_eq!(line.text("tls.protocol.version"), "1.3", "{line:?}");
        assert_ne!(line.text("serial"), "-", "{line:?}");
    }
}

/// The line at the end of the connection is lost in this case.
#[test]
fn an_accepted_peer_is_in_the_log_of_a_gateway_that_is_killed() {
    let pair = Pair::start("mllp");
    let mut client = connect(pair.entry);
    client
        .write_all(b"\x0bMSH|^~\\&|A|B|C|D|1||ADT^A01|1|P|2.5\r\x1c\r")
        .expect("it is connected");
    let server = accept(&pair.exit);
    for (gateway, route, peer) in [(&pair.a, "originate-1", B), (&pair.b, "terminate-1", A)] {
        let is_it = |line: &Line| line.message() == "accepted";
        let line = gateway.wait_for_line("the peer was accepted", DEADLINE, is_it);
        assert_eq!(line.text("route"), route);
        assert_eq!(line.text("peer"), format!("dns:{peer}"));
        assert_eq!(line.text("key_sha256").len(), 64, "{line:?}");
        assert!(line.is_from("127.0.0.1"), "{line:?}");
        assert!(!line.text("id").is_empty(), "{line:?}");
    }
    let Pair { b, .. } = pair;
    b.process().signal(Signal::KILL);
    let (_, output) = b.wait(DEADLINE);
    let lines: Vec<_> = output.lines().filter_map(Line::parse).collect();
    let count = |message| {
        lines
            .iter()
            .filter(|line| line.message() == message)
            .count()
    };
    assert_eq!((count("accepted"), count("connection")), (1, 0), "{output}");
    drop((client, server));
}

#[test]
fn the_lines_of_a_connection_have_one_id_that_no_other_has() {
    let terminate = Terminate::start();
    let ids: HashSet<String> = (0..20)
        .map(|number| {
            drop(terminate.join(TLS13));
            let ended = terminate.gateway.wait_for_connections(number + 1);
            let id = ended[number].text("id").to_owned();
            let lines = terminate.gateway.lines();
            let accepted = lines.iter().filter(|line| line.message() == "accepted");
            let of_it: Vec<_> = accepted.filter(|line| line.text("id") == id).collect();
            assert_eq!(of_it.len(), 1, "{id}: {lines:?}");
            assert_eq!(of_it[0].address("client"), ended[number].address("client"));
            id
        })
        .collect();
    assert_eq!(ids.len(), 20);
}

/// A silent peer that was accepted is not a port scan.
#[test]
fn accepted_peer_without_a_byte_is_logged() {
    let terminate = Terminate::with(|site| site);
    let mut peer = terminate.greeted(TLS13);
    // Without FIN: the gateway may have ended the connection before a FIN arrives.
    let close_notify = peer.close_notify();
    peer.socket
        .write_all(&close_notify)
        .expect("it is connected");
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
    let _ = connect(tls).write_all(openings::HTTP);
    for line in gateway.wait_for_connections(2) {
        let expected = [
            "certificate",
            "certificate_serial",
            "certificate_sha256",
            "client.address",
            "client.port",
            "ended_by",
            "error.type",
            "forwarded_for",
            "id",
            "key_sha256",
            "level",
            "message",
            "mode",
            "network.protocol.name",
            "opened_bytes",
            "peer",
            "reason",
            "route",
            "sealed_bytes",
            "seconds",
            "serial",
            "server.address",
            "server.port",
            "suppressed",
            "timestamp",
            "tls.cipher",
            "tls.curve",
            "tls.protocol.version",
            "tunnel",
            "undelivered_bytes",
        ];
        assert_eq!(line.keys(), expected);
        let class = match line.text("mode") {
            "passthrough" => "-",
            _ => "handshake_failed",
        };
        assert_eq!(line.text("error.type"), class, "{line:?}");
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
        .filter(|line| line.contains(" msg=connection "))
        .collect();
    assert_eq!(lines.len(), 1, "{text}");
    for part in [
        "level=INFO",
        "route=passthrough-1",
        "peer=-",
        "reason=",
        "ended_by=",
    ] {
        assert!(lines[0].contains(part), "{part} is missing in {}", lines[0]);
    }
    assert_eq!(text.matches(" msg=ready ").count(), 1, "{text}");
}

/// A run with difficult log lines: sentences, quotes, titles, and bytes that an attacker chooses.
#[test]
fn every_line_in_text_is_logfmt() {
    let pki = Pki::new();
    let (plain, tls, through, exit) = (local(), local(), local(), listen());
    let site = Site::new(&pki, B)
        .gateway("log", "\"text\"")
        .terminate(tls, address(&exit), &[format!("dns:{A}")])
        .originate(plain, local(), &[format!("dns:{A}")])
        .set("calling_ae", r#"["A = \"B\""]"#)
        .passthrough(through, address(&exit));
    let gateway = Unread::start(site);
    drop((connect(through), accept(&exit)));
    let _ = connect(tls).write_all(b"GET / HTTP/1.1\r\nHost: \"x\" y=z\r\n\r\n");
    let mut other_peer = TlsPeer::client(&pki.leaf(B), B, TLS13, connect(tls));
    let _ = other_peer.handshake();
    for calling in [b"A \"=\" \x1b[2J\\ \xff\n z", b"A = \"B\"         "] {
        let mut request = vec![1, 0, 0, 0, 0, 68, 0, 1, 0, 0];
        request.extend(b"CALLED          ");
        request.extend(calling);
        request.extend([0; 32]);
        let mut client = connect(plain);
        client.write_all(&request).expect("it is connected");
        let _ = client.read(&mut [0; 64]);
    }
    std::thread::sleep(Duration::from_millis(300));
    Process::new(gateway.child.id()).signal(Signal::USR1);
    std::thread::sleep(Duration::from_millis(100));
    let text = stop_and_read(gateway);
    let lines: Vec<_> = text
        .lines()
        .map(|line| logfmt::parse(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(lines.len() > 8, "{text}");
    assert!(text.contains(" code=signal_ignored"), "{text}");
    for line in &lines {
        let keys: Vec<_> = line.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(
            keys.get(..3),
            Some(&["time", "level", "msg"][..]),
            "{line:?}"
        );
    }
}

#[test]
fn the_line_of_a_start_lists_its_listeners() {
    let (first, second, exit) = (local(), local(), listen());
    let gateway = Site::new(&Pki::new(), A)
        .passthrough(first, address(&exit))
        .passthrough(second, address(&exit))
        .start();
    let line = gateway.wait_for_line("it is ready", DEADLINE, |line| line.message() == "ready");
    let expected = format!("passthrough-1 {first}, passthrough-2 {second}");
    assert_eq!(line.text("listeners"), expected);
    assert_eq!(line.number("routes"), 2);
    assert_eq!(line.text("metrics"), gateway.metrics_address().to_string());
}

fn stop_and_read(mut gateway: Unread) -> String {
    Process::new(gateway.child.id()).signal(Signal::TERM);
    let mut text = String::new();
    let mut pipe = gateway.child.stderr.take().expect("it is piped");
    pipe.read_to_string(&mut text).expect("the log is text");
    text
}
