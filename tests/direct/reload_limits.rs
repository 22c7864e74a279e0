//! What the sandbox of the real program does not allow to a reload, and which parts of it the program reports.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::Signal;
use wardgate_tests::stream::{accept, connect, ping};
use wardgate_tests::{DEADLINE, Gateway, Pki, Site, until};

use crate::pair::{A, address, listen, local};

fn site(pki: &Pki, listen: SocketAddr, exit: &TcpListener) -> Site {
    Site::new(pki, A)
        .passthrough(listen, address(exit))
        .timeout("drain", "\"300ms\"")
}

fn exchange(at: SocketAddr, exit: &TcpListener) {
    let (mut client, mut server) = (connect(at), accept(exit));
    ping(&mut client, &mut server);
}

/// The process that serves at the end is killed by SIGSYS, which fails a test: the harness finds it, although the process
/// is none of its children.
#[test]
fn a_reload_that_needs_a_new_port_and_a_first_name_is_refused_and_an_upgrade_serves_it() {
    let pki = Pki::new();
    let (exit, other_exit) = (listen(), listen());
    let (at, other) = (local(), local());
    let gateway = site(&pki, at, &exit).start();
    let target = format!("localhost:{}", address(&other_exit).port());
    gateway.write_config(
        &site(&pki, at, &exit)
            .passthrough(other, &target)
            .name("new"),
    );
    let refused = gateway.command(&["reload"]).run().expect_failure().text();
    for part in [
        format!(
            "needs a restart: route \"new\": the sandbox of the running process does not allow to listen on port {}",
            other.port()
        ),
        format!(
            "needs a restart: route \"new\": the sandbox of the running process does not allow to connect to port {}",
            address(&other_exit).port()
        ),
        "needs a restart: no target was a name when this process started".to_owned(),
        "`wardgate upgrade` uses the new configuration".to_owned(),
    ] {
        assert!(refused.contains(&part), "{part}\n{refused}");
    }
    // The earlier configuration is still in force.
    exchange(at, &exit);
    gateway.command(&["upgrade"]).run().expect_success();
    exchange(other, &other_exit);
    exchange(at, &exit);
    let serving = gateway.serving();
    assert_ne!(serving.id(), gateway.process().id());
    serving.signal(Signal::SYS);
    until("the last process has ended", DEADLINE, || {
        (!serving.is_running()).then_some(())
    });
    catch_unwind(AssertUnwindSafe(|| drop(gateway))).expect_err("the test would fail");
}

/// The states that `wardgate status` reports.
fn states(gateway: &Gateway) -> BTreeMap<String, String> {
    let text = gateway
        .command(&["status", "--json"])
        .run()
        .expect_success()
        .text();
    let reply: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let parts = reply["status"]["sandbox"].as_array().expect("a list");
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let states = parts
        .iter()
        .map(|one| (text(&one["part"]), text(&one["state"])));
    states.collect()
}

// Whether this kernel is of this version or later.
fn kernel_is(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux");
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|one| one.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

#[test]
fn the_parts_of_the_sandbox_are_on_unless_the_kernel_or_the_configuration_lacks_them() {
    let (pki, exit) = (Pki::new(), listen());
    let start = |setting: Option<&str>| {
        let at = local();
        let site = site(&pki, at, &exit).gateway("run_as", "\"root\"");
        let site = match setting {
            Some(setting) => site.gateway("sandbox", format!("\"{setting}\"")),
            None => site,
        };
        let gateway = site.start();
        // The states after the first connection: each worker has entered its part.
        exchange(at, &exit);
        states(&gateway)
    };
    for setting in [None, Some("require")] {
        let found = start(setting);
        for (part, state) in &found {
            let expected = match part.as_str() {
                "privileges" => "off",
                "ports" if !kernel_is(6, 7) => "missing",
                "no_new_code" if !kernel_is(6, 3) => "missing",
                // A machine with swap may not let the process lock all memory.
                "key_memory" if setting.is_none() => continue,
                _ => "on",
            };
            assert_eq!(state, expected, "{part} with {setting:?}: {found:?}");
        }
        assert_eq!(found.len(), 10, "{found:?}");
    }
    let found = start(Some("off"));
    for (part, state) in &found {
        let expected = match part.as_str() {
            "not_dumpable" | "no_core" | "ring" => "on",
            _ => "off",
        };
        assert_eq!(state, expected, "{part}: {found:?}");
    }
}
