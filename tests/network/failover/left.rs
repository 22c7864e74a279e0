//! The packaged script `vrrp-left`, which resets the connections of an address that leaves a machine.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use wardgate_tests::tier;
use wardgate_tests::{Background, DEADLINE, Program, until};

use super::NEEDS;
use super::lab::{ip, words};
use crate::namespaces::{self, inside};

fn vrrp_left(state: &str) -> Program {
    let script = tier::workspace().join("packaging/keepalived/vrrp-left");
    Program::new(script).args(["10.20.0.5", "INSTANCE", "lan", state, "250"])
}

/// systemd and keepalived send SIGTERM to the scripts that still run when keepalived stops. An address that stayed on `lo`
/// would keep this machine's own programs from the machine that has the address.
#[test]
fn vrrp_left_is_complete_although_it_is_asked_to_end() {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let folder = TempDir::new().expect("there is room");
    let log = folder.path().join("log");
    let log = log.display();
    for (name, pause) in [("ip", ""), ("ss", "sleep 0.5")] {
        let script = format!("#!/bin/sh\necho {name} $2 >>{log}\n{pause}\n");
        let file = folder.path().join(name);
        fs::write(&file, script).expect("our folder");
        fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("our file");
    }
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let running = Background::start(&vrrp_left("STOP").env("PATH", path));
    let lines = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    until("it resets connections", DEADLINE, || {
        lines().contains("ss ").then_some(())
    });
    running.process().signal(Signal::TERM);
    assert!(running.wait(DEADLINE).success());
    assert_eq!(lines(), "ip add\nss --tcp\nip del\n");
}

/// keepalived removes the address first and runs its scripts then. The kernel may close the sockets of a killed gateway
/// between the two.
#[test]
fn a_connection_that_is_closed_after_its_address_has_left_is_still_reset() {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let prefix = namespaces::prefix();
    let (machine, client) = (format!("{prefix}-gw1"), format!("{prefix}-lan"));
    let on = |namespace: &str, arguments: &str| {
        ip(&[&["-n", namespace], words(arguments).as_slice()].concat());
    };
    for namespace in [&machine, &client] {
        ip(&["netns", "add", namespace]);
        on(namespace, "link set lo up");
    }
    on(
        &machine,
        &format!("link add lan0 type veth peer name lan0 netns {client}"),
    );
    on(&client, "address add 10.20.0.9/24 dev lan0");
    on(&client, "link set lan0 up");
    for address in ["10.20.0.3/24", "10.20.0.5/24"] {
        on(&machine, &format!("address add {address} dev lan0"));
    }
    on(&machine, "link set lan0 up");
    let run = |state| {
        let program = vrrp_left(state).netns(machine.clone());
        program.run().expect_success();
    };
    let listener = inside(&machine, || TcpListener::bind("10.20.0.5:11112"));
    let listener = listener.expect("the machine has the address");
    let stream = inside(&client, || TcpStream::connect("10.20.0.5:11112"));
    let mut stream = stream.expect("the machine listens");
    stream.write_all(b"request").expect("it is open");
    let (accepted, _) = listener.accept().expect("a client has connected");

    run("MASTER");
    on(&machine, "address del 10.20.0.5/24 dev lan0");
    // With a byte that nobody has read, as the kernel does for a killed process.
    drop(accepted);
    let limit = Some(Duration::from_secs(5));
    stream.set_read_timeout(limit).expect("more than nothing");
    let end = stream.read(&mut [0]).map_err(|error| error.kind());
    run("BACKUP");
    let left = Program::new("ip").args(["-n", &machine, "address", "show", "dev", "lo"]);
    let left = left.run().text();
    for namespace in [&machine, &client] {
        namespaces::remove(namespace);
    }
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    assert!(!left.contains("10.20.0.5"), "{left}");
}
