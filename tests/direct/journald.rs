//! The log in journald: a journald of the test's own, in a mount namespace with its own `/run`.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use wardgate_tests::stream::{accept, connect, ending_of};
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, DEADLINE, Pki, Process, Program, Site, until, wardgate};

use crate::journal::Unread;
use crate::pair::{A, address, listen, local};

const JOURNALD: &str = "/lib/systemd/systemd-journald";

/// Nothing of the kernel or of this machine's journal is touched.
const SCRIPT: &str = "mount -t tmpfs tmpfs /run
    mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal
    printf '[Journal]\\nStorage=volatile\\nAudit=no\\nReadKMsg=no\\nRateLimitBurst=0\\n' \
        >/run/systemd/journald.conf.d/test.conf
    exec \"$0\"";

pub(crate) struct Journald {
    _processes: Background,
    id: u32,
}

impl Journald {
    pub(crate) fn start() -> Self {
        let unshare = Program::new("unshare")
            .args(["--mount", "--propagation", "private", "--fork"])
            .args(["--kill-child", "sh", "-euc", SCRIPT, JOURNALD]);
        let processes = Background::start(&unshare);
        let parent = processes.process().id();
        let id = until("journald runs", DEADLINE, || {
            let children = format!("/proc/{parent}/task/{parent}/children");
            let id: u32 = std::fs::read_to_string(children)
                .ok()?
                .trim()
                .parse()
                .ok()?;
            let root = Path::new("/proc").join(id.to_string()).join("root");
            let socket = root.join("run/systemd/journal/socket");
            let name = std::fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
            (name.starts_with("systemd-journal") && socket.exists()).then_some(id)
        });
        Self {
            _processes: processes,
            id,
        }
    }

    /// What begins a command in its namespace.
    pub(crate) fn inside(&self) -> [String; 3] {
        let target = self.id.to_string();
        ["--target".to_owned(), target, "--mount".to_owned()]
    }

    /// The entries that match, such as `WARDGATE_ROUTE=ct`.
    pub(crate) fn entries(&self, matches: &[&str]) -> Vec<Value> {
        let journalctl = [
            "journalctl",
            "--no-pager",
            "-o",
            "json",
            "-D",
            "/run/log/journal",
        ];
        let found = Program::new("nsenter")
            .args(self.inside())
            .args(journalctl)
            .args(matches)
            .run();
        let text = found.text();
        let entries = text.lines().map(serde_json::from_str);
        entries.map(|entry| entry.expect("it is JSON")).collect()
    }

    fn signal(&self, signal: Signal) {
        Process::new(self.id).signal(signal);
    }
}

fn ask(entry: SocketAddr, exit: &std::net::TcpListener) {
    let mut client = connect(entry);
    client.write_all(b"x").expect("it is connected");
    let mut server = accept(exit);
    server.read_exact(&mut [0]).expect("it arrives");
}

#[test]
fn log_in_journald_is_found_by_its_fields_and_a_stuck_journald_delays_no_connection() {
    if !tier::ready("direct", &[Need::Root, Need::Program("journalctl")]) {
        return;
    }
    let journald = Journald::start();
    let (entry, dead, exit) = (local(), local(), listen());
    let site = || {
        Site::new(&Pki::new(), A)
            .passthrough(entry, address(&exit))
            .passthrough(dead, local())
            .gateway("log", "\"journald\"")
    };
    let mut command = Command::new("nsenter");
    command.args(journald.inside()).arg(wardgate());
    let gateway = Unread::with(site(), command, Stdio::inherit());
    let query = [
        "WARDGATE_EVENT_NAME=connection",
        "WARDGATE_ROUTE=passthrough-1",
    ];
    let count = |number: usize| {
        until("the lines are in the journal", DEADLINE, || {
            let entries = journald.entries(&query);
            (entries.len() >= number).then_some(entries)
        })
    };

    ask(entry, &exit);
    let line = &count(1)[0];
    for (name, value) in [
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "wardgate"),
        ("WARDGATE_CLIENT_ADDRESS", "127.0.0.1"),
        ("WARDGATE_SEALED_BYTES", "1"),
        ("WARDGATE_ERROR_TYPE", "-"),
    ] {
        assert_eq!(line[name], value, "{name}: {line}");
    }
    let message = line["MESSAGE"].as_str().unwrap_or_default();
    assert!(
        message.starts_with("connection: passthrough-1, client 127.0.0.1:"),
        "{message}"
    );
    let _ = ending_of(dead);
    let unreachable = until("the warning is in the journal", DEADLINE, || {
        let found = journald.entries(&["WARDGATE_ERROR_TYPE=target_unreachable"]);
        found.into_iter().next()
    });
    assert_eq!(unreachable["PRIORITY"], "4", "{unreachable}");

    // More than the socket of journald holds: the thread of the log waits, the connections do not.
    journald.signal(Signal::STOP);
    (0..600).for_each(|_| ask(entry, &exit));
    journald.signal(Signal::CONT);
    assert_eq!(count(601).len(), 601, "no line is lost");
    assert_eq!(gateway.dropped(), 0);

    // Without journald, lines are lost and counted, and a gateway does not start.
    let processes = Process::new(journald.id);
    let keeper = Command::new("nsenter")
        .args(journald.inside())
        .args(["sleep", "1000"])
        .spawn();
    let mut keeper = keeper.expect("nsenter is installed");
    until("it is in the namespace", DEADLINE, || {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", keeper.id())).ok()?;
        (name.trim() == "sleep").then_some(())
    });
    journald.signal(Signal::KILL);
    until("journald has ended", DEADLINE, || {
        processes.has_ended().then_some(())
    });
    until("lost lines are counted", DEADLINE, || {
        ask(entry, &exit);
        (gateway.dropped() > 2).then_some(())
    });
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let file: PathBuf = folder.path().join("wardgate.toml");
    site().write(&file);
    let keeper_id = keeper.id().to_string();
    let check = |option: Option<&str>| {
        Program::new("nsenter")
            .args(["--target", &keeper_id, "--mount"])
            .arg(wardgate())
            .arg("check")
            .args(option)
            .arg("--config")
            .arg(&file)
            .run()
    };
    let (remark, refusal) = (check(None), check(Some("--start")));
    let _ = keeper.kill();
    let _ = keeper.wait();
    let fault = "log = \"journald\": journald does not answer at /run/systemd/journal/socket";
    for text in [
        remark.expect_success().text(),
        refusal.expect_failure().text(),
    ] {
        assert!(text.contains(fault), "{text}");
    }
}
