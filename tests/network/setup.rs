//! The defaults that `wardgate setup` takes from the interfaces of a machine.

use tempfile::TempDir;
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Program, wardgate};

use crate::namespaces;

/// A gateway machine with a LAN and a WAN, as in the guide's example.
const INTERFACES: [(&str, &str); 2] = [("lan0", "10.20.0.5/24"), ("wan0", "198.51.100.7/24")];

fn ip(arguments: &[&str]) {
    Program::new("ip").args(arguments).run().expect_success();
}

#[test]
fn setup_proposes_the_lan_for_modalities_and_the_wan_for_the_other_gateway() {
    if !tier::ready("network", &[Need::Namespaces]) {
        return;
    }
    let machine = namespaces::prefix();
    ip(&["netns", "add", &machine]);
    for (interface, address) in INTERFACES {
        let add = ["-n", &machine, "link", "add", interface, "type", "bridge"];
        ip(&add);
        ip(&["-n", &machine, "address", "add", address, "dev", interface]);
        ip(&["-n", &machine, "link", "set", interface, "up"]);
    }
    let gateway = ["via", "198.51.100.1", "dev", "wan0"];
    let add = ["-n", &machine, "route", "add", "default"];
    ip(&[&add[..], &gateway[..]].concat());

    let folder = TempDir::new().expect("there is room");
    let proposed = |answers: &[&str]| {
        let setup = Program::new(wardgate())
            .args(["setup", "--yes", "--dry-run", "--protocol", "dicom"])
            .args(["--dns", "gw.here.example", "--config"])
            .arg(folder.path().join("wardgate.toml"))
            .args(answers);
        let outcome = setup.netns(machine.clone()).run();
        outcome.expect_success().text()
    };
    let modalities = proposed(&["--site", "modalities", "--other-site", "gw.region.example"]);
    let archive = proposed(&["--site", "archive", "--archive", "10.20.0.9"]);
    namespaces::remove(&machine);
    assert!(
        modalities.contains("listen = \"10.20.0.5:11112\""),
        "{modalities}"
    );
    assert!(
        archive.contains("listen = \"198.51.100.7:2762\""),
        "{archive}"
    );
}
