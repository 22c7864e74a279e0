//! What `wardgate check` finds on the machine for a valid configuration, and the help of its commands.

use std::net::SocketAddr;

use tempfile::TempDir;
use wardgate_tests::{Outcome, Pki, Program, Site, wardgate};

use crate::pair::{A, B, local, originate};

fn check(site: &Site) -> Outcome {
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let file = folder.path().join("wardgate.toml");
    site.write(&file);
    // The file is given by its position on the command line, as with most programs that check a file.
    Program::new(wardgate()).arg("check").arg(&file).run()
}

#[test]
fn address_that_the_machine_does_not_have_gives_a_warning() {
    // TEST-NET-3 (RFC 5737) belongs to no machine.
    let elsewhere = SocketAddr::from(([203, 0, 113, 7], 11112));
    let text = check(&originate(&Pki::new(), elsewhere, local()))
        .expect_success()
        .text();
    let words =
        "route \"originate-1\": listen \"203.0.113.7:11112\": this machine has no such address now";
    assert!(text.contains(words), "{text}");
    assert!(!text.contains("good"), "{text}");
    let last = text.lines().last().unwrap_or_default();
    let begins = "`wardgate run` would not start on this machine (exit code 78): ";
    assert!(last.contains(&format!("{begins}{words}")), "{text}");
    let text = check(&originate(&Pki::new(), local(), local()))
        .expect_success()
        .text();
    assert!(!text.contains("no such address"), "{text}");
}

#[test]
fn name_that_does_not_resolve_gives_a_warning() {
    let pki = Pki::new();
    let site = |target: &str| {
        let peers = [format!("dns:{B}")];
        Site::new(&pki, A).originate(local(), target, &peers)
    };
    let text = check(&site("gw.region.invalid:2762"))
        .expect_success()
        .text();
    let words = "target \"gw.region.invalid\": the name does not resolve on this machine now";
    assert!(text.contains(words), "{text}");
    let text = check(&site("localhost:2762")).expect_success().text();
    assert!(!text.contains("resolve"), "{text}");
}

#[test]
fn help_of_run_lists_signals_and_exit_codes() {
    let text = Program::new(wardgate())
        .args(["run", "--help"])
        .run()
        .text();
    for part in ["SIGTERM", "SIGHUP", "SIGUSR1", "Exit codes:", "78"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

/// An expired list closes its route; the other route is open, and so a script may restart the service.
#[test]
fn start_check_accepts_what_run_starts_with_although_a_list_has_expired() {
    let pki = Pki::new();
    let stale = ["dns:gw.c.example"];
    let site = originate(&pki, local(), local())
        .peer_with_crls("c", &stale, &pki.trust(), &[&pki.expired_crl()])
        .originate(local(), local(), &["c"])
        .name("stale");
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let file = folder.path().join("wardgate.toml");
    site.write(&file);
    let [(all, text), (start, report)] = [&["check"][..], &["check", "--start"]].map(|arguments| {
        let outcome = Program::new(wardgate()).args(arguments).arg(&file).run();
        let code = outcome.status.and_then(|status| status.code());
        (code, outcome.text())
    });
    assert_eq!(all, Some(78), "{text}");
    assert_eq!(start, Some(0), "{report}");
    assert!(
        report.contains("`wardgate run` would start; 1 open route\n"),
        "{report}"
    );
    assert!(
        report.contains("remark: route \"stale\" is closed"),
        "{report}"
    );
}
