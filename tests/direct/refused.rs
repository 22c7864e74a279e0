//! Starts that must be refused: each with exit code 78, a sentence that states what to do, and without any
//! open listener.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use wardgate_tests::{Outcome, Pki, Program, Site, wardgate};

use crate::pair::{A, address, listen, local, originate};

/// Starts the program behind `deny`, which must not reach its listeners. `check --start` must report the same.
fn refused(site: &Site, denied: Option<&str>) -> String {
    let (text, start) = both(site, denied);
    assert_eq!(sentences(start), text);
    text
}

/// The same for a port in use, which `check --start` accepts: a gateway that is running may have the port.
fn port_refused(site: &Site) -> String {
    let (text, start) = both(site, None);
    start.expect_success();
    text
}

fn both(site: &Site, denied: Option<&str>) -> (String, Outcome) {
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let file = folder.path().join("wardgate.toml");
    site.write(&file);
    let program = || match denied {
        Some(what) => Program::new(env!("CARGO_BIN_EXE_deny"))
            .arg(what)
            .arg(wardgate()),
        None => Program::new(wardgate()),
    };
    let run = program().args(["run", "--config"]).arg(&file).run();
    let start = program().args(["check", "--start", "--config"]).arg(&file);
    (sentences(run), start.run())
}

fn sentences(outcome: Outcome) -> String {
    let code = outcome.status.and_then(|status| status.code());
    assert_eq!(code, Some(78), "{outcome}");
    let text = outcome.text();
    assert!(!text.contains("ready"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

// The configuration is valid and needs no files.
fn some_site() -> Site {
    Site::new(&Pki::new(), A).passthrough(local(), local())
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in {text:?}");
    }
}

#[test]
fn kernel_without_io_uring_refuses_start() {
    let text = refused(&some_site(), Some("io_uring_setup=ENOSYS"));
    assert_says(&text, &["has no io_uring", "6.1 or later", "seccomp"]);
}

/// A listener on every interface in place of the configured one must not start.
#[test]
fn interface_that_is_not_there_refuses_start() {
    let text = refused(&some_site().set("interface", "\"nosuch0\""), None);
    assert_says(
        &text,
        &[
            "wardgate.toml:",
            "\"nosuch0\"",
            "no such interface",
            "ip link",
        ],
    );
}

#[test]
fn own_name_among_the_peers_refuses_start() {
    let pki = Pki::new();
    let site = Site::new(&pki, A).terminate(local(), local(), &[format!("dns:{A}")]);
    let text = refused(&site, None);
    let own = format!("\"dns:{A}\"");
    assert_says(
        &text,
        &[
            &own,
            "own certificate",
            "write the identity of the other site",
        ],
    );
}

#[test]
fn forbidden_io_uring_refuses_start() {
    let text = refused(&some_site(), Some("io_uring_setup=EPERM"));
    assert_says(&text, &["io_uring", "allow"]);
    let text = refused(&some_site(), Some("io_uring_register=EPERM"));
    assert_says(&text, &["io_uring_register"]);
}

#[test]
fn too_little_lockable_memory_refuses_start() {
    let text = refused(&some_site(), Some("io_uring_setup=ENOMEM"));
    assert_says(&text, &["memlock limit is", "LimitMEMLOCK=infinity"]);
}

/// A profile that knows io_uring_setup alone is a common half measure in containers.
#[test]
fn forbidden_io_uring_enter_refuses_start() {
    let text = refused(&some_site(), Some("io_uring_enter=EPERM"));
    assert_says(&text, &["io_uring_enter"]);
}

#[test]
fn too_few_descriptors_refuse_start() {
    let text = refused(&some_site(), Some("files=300"));
    assert_says(&text, &["limit of open files is 300", "LimitNOFILE"]);
}

#[test]
fn every_port_in_use_is_named_with_its_route() {
    let pki = Pki::new();
    let (first, second) = (listen(), listen());
    let site = originate(&pki, address(&first), local())
        .originate(address(&second), local(), &["dns:gw.c.example"])
        .name("other");
    let text = port_refused(&site);
    assert_eq!(text.lines().count(), 2, "{text}");
    let port = address(&first).port();
    assert_says(
        &text,
        &[
            &format!("route \"originate-1\": listen \"{}\"", address(&first)),
            "the port is in use",
            &format!("`ss -ltnp 'sport = :{port}'`"),
            &format!("route \"other\": listen \"{}\"", address(&second)),
        ],
    );
}

#[test]
fn metrics_port_in_use_refuses_start() {
    let taken = listen();
    let site = some_site().gateway("metrics", format!("\"{}\"", address(&taken)));
    let text = port_refused(&site);
    let toml = site.toml();
    let line = toml.lines().position(|line| line.starts_with("metrics"));
    let line = line.expect("it is written") + 1;
    let problem = format!("wardgate.toml:{line}: metrics \"{}\"", address(&taken));
    assert_says(&text, &[&problem, "in use"]);
}

#[test]
fn address_of_another_machine_refuses_start() {
    // TEST-NET-3 (RFC 5737) belongs to no machine.
    let elsewhere = SocketAddr::from(([203, 0, 113, 7], local().port()));
    let text = refused(&originate(&Pki::new(), elsewhere, local()), None);
    assert_says(&text, &["203.0.113.7", "no such address", "`ip address`"]);
}

#[test]
fn missing_key_refuses_start() {
    let pki = Pki::new();
    let leaf = pki.leaf("gw.a.example");
    fs::remove_file(&leaf.key).expect("the folder is ours");
    let site = Site::with_identity(&leaf).originate(local(), local(), &["dns:gw.b.example"]);
    let text = refused(&site, None);
    let key = leaf.key.display().to_string();
    assert_says(&text, &["wardgate.toml:", "key", &key, "does not exist"]);
}

#[test]
fn run_refuses_a_key_that_others_can_read() {
    let pki = Pki::new();
    let leaf = pki.leaf("gw.a.example");
    fs::set_permissions(&leaf.key, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let site = Site::with_identity(&leaf).originate(local(), local(), &["dns:gw.b.example"]);
    let text = refused(&site, None);
    assert_says(&text, &["has mode 0644", "`chmod 0600"]);
}

#[test]
fn missing_configuration_refuses_start() {
    let program = Program::new(wardgate());
    let text = sentences(program.args(["run", "--config", "nowhere.toml"]).run());
    assert_says(&text, &["nowhere.toml"]);
}

#[test]
fn refused_start_leaves_the_other_ports_free() {
    let taken = listen();
    let free = local();
    let pki = Pki::new();
    let site =
        originate(&pki, free, local()).originate(address(&taken), local(), &["dns:gw.c.example"]);
    port_refused(&site);
    std::net::TcpListener::bind(free).expect("nothing was left listening");
}
