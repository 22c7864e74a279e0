//! What the gateway reports to the service manager (sd_notify(3)): its state, the progress of a drain, and
//! that its workers run.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use wardgate_tests::pki::Kind;
use wardgate_tests::tier::python;
use wardgate_tests::{Background, DEADLINE, Gateway, Pki, Program, Site, wardgate};

use crate::pair::{Through, local, originate};

/// The socket of a service manager.
pub(crate) struct Manager {
    pub(crate) folder: TempDir,
    pub(crate) socket: UnixDatagram,
}

impl Manager {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        Self { folder, socket }
    }

    fn start(&self, site: Site) -> Gateway {
        site.env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .start()
    }

    /// Reads messages until one has this beginning, and returns the rest of its line.
    fn wait_for(&self, beginning: &str) -> String {
        let until = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        while let Some(text) = self.next(until.saturating_duration_since(Instant::now())) {
            let found = text.lines().find_map(|line| line.strip_prefix(beginning));
            if let Some(rest) = found {
                return rest.to_owned();
            }
            seen.push(text);
        }
        panic!("no {beginning:?} in {seen:?}");
    }

    /// The next message, if it comes within `limit`.
    fn next(&self, limit: Duration) -> Option<String> {
        let limit = limit.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(limit)).expect("a limit");
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }
}

#[test]
fn a_service_manager_reads_when_the_gateway_is_ready_and_when_it_stops() {
    let manager = Manager::new();
    let gateway = manager.start(originate(&Pki::new(), local(), local()));
    let message = manager.next(DEADLINE).expect("a message");
    assert_eq!(message, "READY=1\nSTATUS=1 routes are open\n");
    gateway.stop();
    manager.wait_for("STOPPING=1");
}

#[test]
fn a_service_manager_reads_why_the_gateway_does_not_start() {
    let manager = Manager::new();
    let file = manager.folder.path().join("wardgate.toml");
    std::fs::write(&file, "[gateway]\ncorse = [0]\n").expect("our folder");
    let outcome = Program::new(wardgate())
        .args(["run", "--config"])
        .arg(&file)
        .env("NOTIFY_SOCKET", manager.folder.path().join("notify"))
        .run()
        .expect_failure();
    let status = manager.wait_for("STATUS=");
    assert!(status.contains("unknown key \"corse\""), "{status}");
    assert!(outcome.text().contains(&status), "{status}\n{outcome}");
}

#[test]
fn a_drain_asks_for_more_time_and_reports_the_open_connections() {
    let manager = Manager::new();
    let socket = manager.folder.path().join("notify");
    let through = Through::with(|site| site.env("NOTIFY_SOCKET", socket));
    let (client, server) = through.join();
    through.gateway.process().signal(Signal::TERM);
    manager.wait_for("STOPPING=1");
    let microseconds: u64 = manager
        .wait_for("EXTEND_TIMEOUT_USEC=")
        .parse()
        .expect("a number");
    assert!(microseconds >= 10_000_000, "{microseconds}");
    assert_eq!(
        manager.wait_for("STATUS="),
        "draining: 1 connections are open"
    );
    // Again and again, for as long as the drain lasts.
    manager.wait_for("EXTEND_TIMEOUT_USEC=");
    drop((client, server));
}

/// Stops one thread of a process, as a fault in an endless loop or in the kernel would, for as long as its
/// standard input stays open.
const STOP_THREAD: &str = "import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
seize, interrupt = 0x4206, 0x4207
for request in seize, interrupt:
    if libc.ptrace(request, int(sys.argv[1]), None, None):
        sys.exit(str(ctypes.get_errno()))
print('stopped', flush=True)
sys.stdin.read()
";

#[test]
fn a_stuck_worker_ends_the_notifications_of_the_watchdog_and_is_logged() {
    let manager = Manager::new();
    let pki = Pki::new();
    let site = originate(&pki, local(), local()).gateway("cores", "[0]");
    let gateway = manager.start(site.env("WATCHDOG_USEC", "2000000"));
    for _ in 0..4 {
        manager.wait_for("WATCHDOG=1");
    }
    let worker = gateway.process().threads_named("worker-")[0].id.to_string();
    let program = Program::new(python()).args(["-c", STOP_THREAD, &worker]);
    let mut stopper = Background::start(&program);
    stopper.wait_for_output("stopped");
    gateway.wait_for_line("no line about the worker", DEADLINE, |line| {
        line.message().starts_with("worker-0 has not answered for ")
    });
    // Notifications that were sent before that line.
    while manager.next(Duration::ZERO).is_some() {}
    assert_eq!(manager.next(Duration::from_secs(2)), None, "a stuck worker");
    drop(stopper);
    manager.wait_for("WATCHDOG=1");
    gateway.stop();
}

#[test]
fn a_service_waits_for_the_clock_while_its_certificate_is_not_valid_yet() {
    let manager = Manager::new();
    let pki = Pki::new();
    let site = Site::with_identity(&pki.odd("gw.a.example", Kind::NotYetValid));
    let site = site.originate(local(), local(), &["dns:gw.b.example"]);
    let file = manager.folder.path().join("wardgate.toml");
    site.write(&file);
    let program = site.program(&file);
    let refused = program.clone().run().expect_failure().text();
    assert!(
        refused.contains("is valid only from"),
        "by hand it does not wait: {refused}"
    );
    let socket = manager.folder.path().join("notify");
    let mut gateway = Background::start(&program.env("NOTIFY_SOCKET", socket));
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        // The clock is known to be right, so the certificate is wrong.
        let status = manager.wait_for("STATUS=");
        assert!(status.contains("is valid only from"), "{status}");
        return;
    }
    let microseconds: u64 = manager
        .wait_for("EXTEND_TIMEOUT_USEC=")
        .parse()
        .expect("a number");
    assert_eq!(microseconds, 90_000_000);
    let status = manager.wait_for("STATUS=");
    assert!(status.starts_with("this machine's clock says "), "{status}");
    assert!(
        status.ends_with("waiting up to 60 s for a time server to set the clock"),
        "{status}"
    );
    gateway.wait_for_output(&status);
    assert!(!gateway.has_ended());
}
