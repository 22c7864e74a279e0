//! The sites of the guide's example, as machines and as files.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use wardgate_tests::{Background, Program, until, wardgate};

use crate::built::{VERSION, deb};
use crate::machine::{Machine, SECONDS};
use crate::tree::{Suite, Tree};

/// The folder in which the guide's commands are typed.
pub(crate) const WORK: &str = "/var/work";

/// The listener of the guide's hospital.
pub(crate) const ENTRY: [&str; 2] = ["10.20.0.5", "11112"];

/// A machine of the guide's example, with the package in the administrator's folder. Its `apt` knows no mirror.
pub(crate) fn site() -> Machine {
    let tree = Tree::of(Suite::Bookworm);
    fs::create_dir(tree.path(WORK)).expect("the tree can be written");
    tree.take(&deb(), &format!("{WORK}/wardgate_{VERSION}_amd64.deb"));
    let apt = tree.path("/usr/bin/apt");
    let _ = fs::remove_file(&apt);
    fs::write(&apt, "#!/bin/sh\ndpkg -i \"$2\"\n").expect("the tree can be written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&apt, mode).expect("the tree can be written");
    let hosts = "127.0.0.1 localhost\n192.0.2.10 gw.region.example\n";
    tree.write("/etc/hosts", hosts);
    Machine::boot(tree)
}

/// Gives both machines the addresses of the example, and the network between them.
pub(crate) fn connect(hospital: &Machine, region: &Machine) {
    let [a, b] = [hospital, region].map(|machine| machine.init.to_string());
    let ip = Program::new("ip");
    ip.args(["link", "add", "wan", "netns", &a, "type", "veth"])
        .args(["peer", "name", "wan", "netns", &b])
        .run()
        .expect_success();
    for (machine, lan, wan) in [
        (hospital, ENTRY[0], "192.0.2.7/24"),
        (region, "10.30.0.9", "192.0.2.10/24"),
    ] {
        for arguments in [
            ["address", "add", lan, "dev", "lo"],
            ["address", "add", wan, "dev", "wan"],
            ["link", "set", "up", "dev", "wan"],
        ] {
            machine.program("ip").args(arguments).run().expect_success();
        }
    }
}

/// Types a command in the administrator's folder, and returns what it prints.
pub(crate) fn typed(machine: &Machine, command: &str) -> String {
    let outcome = machine.run(&format!("cd {WORK}\n{command}"));
    outcome.expect_success().text()
}

/// What both commands of a pairing have printed.
pub(crate) struct Paired {
    pub(crate) listening: String,
    pub(crate) connecting: String,
}

/// One site shows a code, and the administrator of the other site types it at a terminal.
pub(crate) fn pair_by_telephone(
    listening: (&Machine, &str),
    connecting: (&Machine, &str),
) -> Paired {
    let mut shows = Background::start(&listening.0.shell(listening.1));
    shows.wait_for_output("read the code out");
    let text = shows.output();
    let code = text.lines().find_map(|line| line.strip_prefix("code: "));
    let code = code.expect("it is shown");
    // `script` makes the terminal.
    let command = connecting.1;
    let types = format!("echo '{code}' | script --quiet --return --command '{command}' /dev/null");
    let typed = connecting.0.run(&types).expect_success().text();
    until("the listening site has paired", SECONDS, || {
        shows.has_ended().then_some(())
    });
    let shown = shows.output();
    let status = shows.wait(SECONDS);
    assert!(status.success(), "{status} {shown}");
    Paired {
        listening: shown,
        connecting: typed,
    }
}

/// The CA, the certificate and the key of a site, made on this machine. They are removed with the value.
pub(crate) struct SiteFiles(TempDir);

impl SiteFiles {
    /// `ca/ca.pem`, `site.pem` and `site.key`.
    pub(crate) fn make(organisation: &str, dns: &str) -> Self {
        let files = Self(TempDir::new().expect("there is room"));
        let pki = |arguments: &[&str]| {
            let program = Program::new(wardgate()).arg("pki").args(arguments);
            let program = program.current_dir(files.0.path());
            program.run().expect_success();
        };
        pki(&["init", "--dir", "ca", "--name", organisation]);
        let issue = ["issue", "--dir", "ca", "--dns", dns];
        pki(&[&issue[..], &["--out", "site.pem", "--key-out", "site.key"]].concat());
        files
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }
}
