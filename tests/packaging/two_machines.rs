//! Two machines of one site with keepalived, set up by the commands of the guide's chapter "Two machines".
//!
//! The LAN and the WAN are bridges in a network namespace, in which the other site and the archives run too.

use std::fs;
use std::time::Duration;

use wardgate_tests::tier::Need;
use wardgate_tests::{Background, Gateway, Outcome, Program, until};

use crate::built::deb;
use crate::guide::TwoMachines;
use crate::machine::{CONFIGURATION, Machine, SECONDS};
use crate::namespace::Namespace;
use crate::ready;
use crate::site::{SiteFiles, WORK};
use crate::tree::{Suite, Tree};

const NEEDS: [Need; 6] = [
    Need::Namespaces,
    Need::Program("nsenter"),
    Need::Program("ip"),
    Need::Program("rsync"),
    Need::Program("storescp"),
    Need::Program("echoscu"),
];

/// Host names and the last number of the addresses, as in the chapter's drawing.
const MACHINES: [(&str, u8); 2] = [("gw1", 3), ("gw2", 4)];
/// The networks with the address of this test's namespace: the archive, and the other site's gateway.
const NETWORKS: [(&str, &str); 2] = [("lan", "10.20.0.9"), ("wan", "198.51.100.10")];
/// The addresses that move.
const SERVICE: [&str; 2] = ["10.20.0.5", "198.51.100.7"];

#[test]
fn the_commands_of_the_guide_make_two_machines_that_take_over_from_each_other() {
    if !ready(&NEEDS) {
        return;
    }
    let TwoMachines {
        commands,
        configuration,
    } = TwoMachines::read();
    let [
        packages,
        settings,
        issue,
        install,
        check,
        keepalived,
        start,
        compare,
        attempt,
        maintenance,
    ] = &commands[..]
    else {
        panic!("other commands than this test knows: {commands:?}");
    };
    let network = Network::new();
    let _archive = Background::listening(&network.0.program("storescp").arg("104"), 104);
    let machines = MACHINES.map(|(name, number)| machine(name, number, &network));
    let [gw1, gw2] = &machines;

    let packages: Vec<_> = packages[0].split(' ').skip(2).collect();
    gw1.run(&format!("dpkg --status {}", packages.join(" ")))
        .expect_success();
    both(&machines, settings);
    lines(gw1, issue);
    for file in ["gw2.pem", "gw2.key"] {
        let file = format!("{WORK}/{file}");
        fs::rename(gw1.tree.path(&file), gw2.tree.path(&file)).expect("gw1 has it");
    }
    lines(gw2, install);
    let _region = region(&machines, &network);
    for machine in &machines {
        machine.tree.write(CONFIGURATION, &configuration);
        lines(machine, check);
        lines(machine, keepalived);
        lines(machine, start);
        // The first machine that starts gets the addresses.
        network.wait_for_addresses(gw1);
    }
    let [make, copy, check] = &compare[..] else {
        panic!("a folder, a copy and a comparison: {compare:?}");
    };
    line(gw1, make).expect_success();
    copy_between(copy, gw2, gw1);
    let equal = line(gw1, check).expect_success();
    assert!(
        equal.text().contains("both machines have the same"),
        "{}",
        equal.text()
    );

    network.echo();
    // `systemctl stop`, and it starts again.
    let [stop, start] = &attempt[..] else {
        panic!("stop and start: {attempt:?}");
    };
    line(gw1, stop).expect_success();
    network.wait_for_addresses(gw2);
    network.echo();
    line(gw1, start).expect_success();
    until("gw1 is good again", SECONDS, || {
        let log = gw1.run("journalctl --no-pager -u keepalived").text();
        let after = |text| log.rfind(text);
        (after("Entering BACKUP STATE") > after("Entering FAULT STATE")).then_some(())
    });
    for command in maintenance {
        line(gw2, command).expect_success();
        network.wait_for_addresses(gw1);
        network.echo();
    }
    keepalived_that_is_killed_starts_again(gw2);
}

/// Without it, nobody would take over the next time.
fn keepalived_that_is_killed_starts_again(machine: &Machine) {
    let before = machine.property("keepalived", "MainPID");
    machine
        .run(&format!("kill -KILL {before}"))
        .expect_success();
    until("keepalived runs again", SECONDS, || {
        let state = machine.property("keepalived", "ActiveState");
        let process = machine.property("keepalived", "MainPID");
        (state == "active" && process != before).then_some(())
    });
}

/// A fresh machine with its host name and its own addresses, and the package installed.
fn machine(name: &str, number: u8, network: &Network) -> Machine {
    let tree = Tree::of(Suite::TwoMachines);
    fs::create_dir(tree.path(WORK)).expect("the tree can be written");
    tree.take(&deb(), &format!("{WORK}/wardgate.deb"));
    let region = NETWORKS[1].1;
    tree.write(
        "/etc/hosts",
        &format!("127.0.0.1 localhost\n{region} gw.region.example\n"),
    );
    let machine = Machine::boot(tree);
    let install = format!("hostname {name}; dpkg -i {WORK}/wardgate.deb");
    machine.run(&install).expect_success();
    for (bridge, address) in NETWORKS {
        let port = format!("{name}-{bridge}");
        network.0.link(&port, &machine, &format!("{bridge}0"));
        network.0.ip(&format!("link set {port} master {bridge} up"));
        let prefix = address.rsplit_once('.').expect("an address").0;
        let own = format!("ip address add {prefix}.{number}/24 dev {bridge}0");
        let script = format!("{own}; ip link set {bridge}0 up");
        machine.run(&script).expect_success();
    }
    machine
}

/// Types a line of the guide, as root.
fn line(machine: &Machine, line: &str) -> Outcome {
    // An editor waits for its user, who has nothing to change: names and addresses are those of the example.
    machine.run(&format!("editor() {{ :; }}; cd {WORK}; {line}"))
}

fn lines(machine: &Machine, lines: &[String]) {
    for text in lines {
        let outcome = line(machine, text);
        if text.starts_with("keepalived --config-test") {
            // keepalived 2.2 ends itself after it, as the chapter says.
            let printed = outcome.text();
            let mistakes = printed.trim().trim_end_matches("Terminated");
            assert_eq!(mistakes, "");
            continue;
        }
        outcome.expect_success();
    }
}

fn both(machines: &[Machine; 2], commands: &[String]) {
    for machine in machines {
        lines(machine, commands);
    }
}

/// Executes the chapter's `rsync` with the folders of both trees: these machines have no SSH.
fn copy_between(command: &str, from: &Machine, to: &Machine) {
    let there = from.tree.root();
    let command = command.replace("gw2:", &format!("{}", there.display()));
    Program::new("sh")
        .args(["-ec", &command])
        .current_dir(to.tree.path(WORK))
        .run()
        .expect_success();
    let copy = to.tree.path(&format!("{WORK}/gw2-copy"));
    assert!(copy.join("site.pem").exists() && !copy.join("site.key").exists());
}

/// The other site, which has exchanged its CA's certificate with both machines.
fn region(machines: &[Machine; 2], network: &Network) -> (SiteFiles, Gateway) {
    let region = SiteFiles::make("Region", "gw.region.example");
    for machine in machines {
        let trust = "/etc/wardgate/pki/region-ca.pem";
        machine.tree.take(&region.path("ca/ca.pem"), trust);
    }
    let hospital = machines[0].tree.path("/etc/wardgate/ca/ca.pem");
    let trust = region.path("hospital-a-ca.pem");
    fs::copy(hospital, &trust).expect("the CA was made");
    let [(_, archive), (_, wan)] = NETWORKS;
    let text = format!(
        r#"
        [gateway]
        log = "json"
        [identity]
        certificate = "{}"
        key = "{}"
        [[peer]]
        name = "hospital-a"
        identity = "dns:gw.hospital-a.example"
        trust = "{}"
        [[route]]
        name = "from-hospitals"
        mode = "terminate"
        protocol = "dicom"
        listen = "{wan}:2762"
        targets = ["{archive}:104"]
        peers = ["hospital-a"]
        [[route]]
        name = "to-hospital-a"
        mode = "originate"
        protocol = "dicom"
        listen = "127.0.0.1:11112"
        targets = ["{}:2762"]
        peers = ["hospital-a"]
        "#,
        region.path("site.pem").display(),
        region.path("site.key").display(),
        trust.display(),
        SERVICE[1],
    );
    let gateway = Gateway::with_config(&text, network.0.name());
    (region, gateway)
}

/// The namespace with both networks.
struct Network(Namespace);

impl Network {
    fn new() -> Self {
        let network = Self(Namespace::new("two-machines"));
        for (bridge, address) in NETWORKS {
            network.0.ip(&format!("link add {bridge} type bridge"));
            network
                .0
                .ip(&format!("address add {address}/24 dev {bridge}"));
            network.0.ip(&format!("link set {bridge} up"));
        }
        network
    }

    /// Waits until this machine has both addresses that move.
    fn wait_for_addresses(&self, machine: &Machine) {
        until("the machine has the addresses", SECONDS, || {
            let shown = machine.run("ip -brief address").expect_success().text();
            let has = |address: &str| shown.contains(&format!("{address}/24"));
            SERVICE.iter().all(|address| has(address)).then_some(())
        });
    }

    /// A C-ECHO in both directions, through the machine that has the addresses.
    fn echo(&self) {
        for address in [SERVICE[0], "127.0.0.1"] {
            let echo = self.0.program("echoscu").args(["-to", "10", "-ta", "10"]);
            // A connection that is made while the addresses move may fail.
            until("an echo succeeds", Duration::from_secs(20), || {
                let outcome = echo.clone().args([address, "11112"]).run();
                outcome.succeeded().then_some(())
            });
        }
    }
}
