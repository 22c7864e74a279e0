//! Listeners that the service manager keeps for the next process of the service (FDSTORE of sd_notify(3)), and
//! passes to it (sd_listen_fds(3)).

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Signal;
use tempfile::TempDir;
use wardgate_tests::stream::{accept, connect, ping};
use wardgate_tests::{DEADLINE, Pki, Process, Program, Site, until, wardgate};

use crate::pair::{A, Through, address, listen, local};
use crate::service::Manager;

impl Manager {
    /// The next message about a listener, without its end, and the listener if one comes with it.
    fn next_of_store(&self) -> (String, Option<TcpListener>) {
        let limit = Some(DEADLINE);
        self.socket.set_read_timeout(limit).expect("a limit");
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut bytes = [0; 4096];
            let parts = &mut [IoSliceMut::new(&mut bytes)];
            let received = recvmsg(&self.socket, parts, &mut control, RecvFlags::CMSG_CLOEXEC);
            let count = received.expect("a message").bytes;
            let descriptors = control.drain().flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
                _ => Vec::new(),
            });
            let listener = descriptors.last().map(TcpListener::from);
            let text = String::from_utf8_lossy(&bytes[..count]);
            if text.starts_with("FDSTORE") {
                return (text.trim_end().to_owned(), listener);
            }
        }
    }

    /// The listener on this address, which comes next.
    fn assert_kept(&self, at: SocketAddr) -> TcpListener {
        let (text, listener) = self.next_of_store();
        assert_eq!(text, format!("FDSTORE=1\nFDNAME={}", name(at)));
        let listener = listener.expect("a descriptor");
        assert_eq!(address(&listener), at);
        listener
    }

    fn assert_forgotten(&self, at: SocketAddr) {
        let (text, _) = self.next_of_store();
        assert_eq!(text, format!("FDSTOREREMOVE=1\nFDNAME={}", name(at)));
    }

    fn watch(&self, site: Site) -> Site {
        site.env("NOTIFY_SOCKET", self.folder.path().join("notify"))
    }
}

fn name(at: SocketAddr) -> String {
    at.to_string().replace(':', "_")
}

/// A gateway to which a service manager passed a listener. Dropping it kills the process.
struct Restarted(Child);

impl Restarted {
    fn start(manager: &Manager, config: &Path, listener: TcpListener) -> Self {
        let script = "exec 3<&0 0</dev/null
            LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=any exec \"$0\" run --config \"$1\"";
        let child = Command::new("sh")
            .args(["-c", script])
            .args([&wardgate(), config])
            .env("NOTIFY_SOCKET", manager.folder.path().join("notify"))
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("there is a shell"))
    }
}

impl Drop for Restarted {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_service_manager_keeps_the_listeners_that_are_open_and_no_others() {
    let manager = Manager::new();
    let (pki, exit) = (Pki::new(), listen());
    let [one, two, moved] = [(); 3].map(|()| local());
    let target = address(&exit);
    let site = |first: SocketAddr| {
        let site = Site::new(&pki, A).timeout("drain", "\"300ms\"");
        manager.watch(site.passthrough(first, target).name("first"))
    };
    let site_of_two = site(one).passthrough(two, target).name("second");
    // A route that refuses clients while its target is down does so without a gateway as well.
    let health = "{ probe = \"connect\", interval = \"1s\", timeout = \"1s\" }";
    let refusing = site_of_two.passthrough(local(), local()).name("refusing");
    let refusing = refusing
        .set("when_down", "\"refuse\"")
        .set("health", health);
    let gateway = refusing.reload_ports(&[moved]).start();
    let mut both = [one, two];
    both.sort_by_key(ToString::to_string);
    let kept = both.map(|at| manager.assert_kept(at));
    drop(kept);

    let command = |words: &[&str]| gateway.command(words).run().expect_success();
    command(&["drain", "second"]);
    manager.assert_forgotten(two);
    command(&["drain", "--undo", "second"]);
    drop(manager.assert_kept(two));

    // The first route moves, and the second one is removed.
    gateway.write_config(&site(moved));
    command(&["reload"]);
    let mut gone = [one, two];
    gone.sort_by_key(ToString::to_string);
    gone.iter().for_each(|at| manager.assert_forgotten(*at));
    drop(manager.assert_kept(moved));

    // Clients are refused at once, although a connection still drains.
    let open = (connect(moved), accept(&exit));
    gateway.process().signal(Signal::TERM);
    manager.assert_forgotten(moved);
    until("clients are not refused", DEADLINE, || {
        TcpStream::connect(moved).is_err().then_some(())
    });
    drop(open);
    gateway.wait(DEADLINE);
}

#[test]
fn clients_that_come_during_a_restart_wait_for_the_next_process() {
    let manager = Manager::new();
    let through = Through::with(|site| manager.watch(site));
    let kept = manager.assert_kept(through.entry);
    let folder = TempDir::new().expect("a folder");
    let config = folder.path().join("wardgate.toml");
    fs::copy(through.gateway.config(), &config).expect("our folder");
    // systemd sends this signal when the service restarts (RestartKillSignal=).
    through.gateway.process().signal(Signal::INT);
    let (status, output) = through.gateway.wait(DEADLINE);
    assert!(status.success(), "{output}");
    let mut client = connect(through.entry);
    let mut next = Restarted::start(&manager, &config, kept);
    let mut server = accept(&through.exit);
    ping(&mut client, &mut server);
    ping(&mut server, &mut client);
    drop((client, server));
    // Nothing was forgotten meanwhile, and the next process is kept as well.
    manager.assert_kept(through.entry);
    Process::new(next.0.id()).signal(Signal::TERM);
    manager.assert_forgotten(through.entry);
    let status = until("it does not end", DEADLINE, || next.0.try_wait().ok()?);
    assert!(status.success(), "{status}");
}

#[test]
fn a_passed_listener_that_belongs_to_no_route_is_closed_and_forgotten() {
    let manager = Manager::new();
    let (entry, target) = (local(), local());
    let folder = TempDir::new().expect("a folder");
    let config = folder.path().join("wardgate.toml");
    let site = Site::new(&Pki::new(), A).passthrough(entry, target);
    site.write(&config);
    let passed = listen();
    let at = address(&passed);
    let _next = Restarted::start(&manager, &config, passed);
    manager.assert_forgotten(at);
    manager.assert_kept(entry);
    until("the listener is not closed", DEADLINE, || {
        TcpStream::connect(at).is_err().then_some(())
    });
}

#[test]
fn a_gateway_that_cannot_start_lets_clients_be_refused() {
    let manager = Manager::new();
    let config = manager.folder.path().join("wardgate.toml");
    fs::write(&config, "[gateway]\ncorse = [0]\n").expect("our folder");
    let script =
        "LISTEN_PID=$$ LISTEN_FDS=0 LISTEN_FDNAMES=one:two exec \"$0\" run --config \"$1\"";
    Program::new("sh")
        .args(["-c", script])
        .arg(wardgate())
        .arg(&config)
        .env("NOTIFY_SOCKET", manager.folder.path().join("notify"))
        .deadline(Duration::from_secs(20))
        .run()
        .expect_failure();
    for name in ["one", "two"] {
        let expected = format!("FDSTOREREMOVE=1\nFDNAME={name}");
        assert_eq!(manager.next_of_store().0, expected);
    }
}
