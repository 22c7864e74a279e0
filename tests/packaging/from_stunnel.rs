//! A hospital's machine changes from stunnel to wardgate by the commands of the guide's chapter "From stunnel".
//!
//! The region keeps its stunnel: it is in a network namespace, with an archive and an application of its laboratory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use wardgate_tests::tier::Need;
use wardgate_tests::{Background, Program, until};

use crate::built::deb;
use crate::guide;
use crate::machine::{Machine, SECONDS};
use crate::namespace::Namespace;
use crate::ready;
use crate::site::{ENTRY, SiteFiles, WORK, typed};
use crate::tree::{Suite, Tree};

const NEEDS: [Need; 7] = [
    Need::Namespaces,
    Need::Program("nsenter"),
    Need::Program("ip"),
    Need::Program("stunnel4"),
    Need::Program("storescp"),
    Need::Program("echoscu"),
    Need::Program("python3"),
];

const PAGE: &str = "from-stunnel.md";
/// The file that the chapter imports.
const OLD: &str = "/etc/stunnel/stunnel.conf";
/// The listeners of this file.
const PORTS: [u16; 2] = [11112, 7001];
/// What the chapter adds to them for the trial.
const TRIAL: u16 = 10_000;

/// Interrupts the trial, as Ctrl-C in its terminal does.
const INTERRUPT: &str = "for process in /proc/[0-9]*; do
    if grep -qas '^wardgate.run.--config./etc/wardgate/try[.]toml' $process/cmdline; then kill -INT ${process#/proc/}; fi
done";

/// Acknowledges every message.
const LABORATORY: &str = r#"
import socketserver
class Laboratory(socketserver.BaseRequestHandler):
    def handle(self):
        received = b""
        while piece := self.request.recv(4096):
            received += piece
            if received.endswith(b"\x1c\r"):
                self.request.sendall(b"\x0bMSH|^~\\&|LAB|R|LIS|H|20260101||ACK|1|P|2.5\rMSA|AA|1\r\x1c\r")
                received = b""
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
Server(("10.30.0.9", 7001), Laboratory).serve_forever()
"#;

/// Sends a message to the address and the port, and waits for its acknowledgement.
const MESSAGE: &str = r#"
import socket, sys
link = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
link.sendall(b"\x0bMSH|^~\\&|LIS|H|LAB|R|20260101||ORU^R01|1|P|2.5\r\x1c\r")
received = b""
while not received.endswith(b"\x1c\r"):
    piece = link.recv(4096)
    assert piece, "closed without an acknowledgement"
    received += piece
assert b"MSA|AA|1" in received
"#;

#[test]
fn the_commands_of_the_guide_replace_stunnel_and_lead_back_to_it() {
    if !ready(&NEEDS) {
        return;
    }
    let commands = guide::commands(PAGE);
    let [
        import,
        read,
        import_again,
        add_table,
        copy,
        check,
        attempt,
        echo,
        remove,
        doctor,
        switch,
        verify,
        back,
        finish,
    ] = &commands[..]
    else {
        panic!("other commands than this test knows: {commands:?}");
    };
    let (region, network) = (
        SiteFiles::make("Region", "gw.region.example"),
        Namespace::new("stunnel"),
    );
    let hospital = hospital(&network, &region);
    let _region = start_region(&network, &region);
    hospital
        .run("systemctl enable --now stunnel@stunnel")
        .expect_success();
    exchange(&hospital, 0);

    lines(&hospital, import);
    assert_holds_the_example(&lines(&hospital, read));
    for block in [import_again, add_table, copy] {
        lines(&hospital, block);
    }
    let text = lines(&hospital, check);
    assert!(text.contains("good; 2 routes"), "{text}");

    let [copied, changed, run] = &attempt[..] else {
        panic!("a copy, other ports and the trial: {attempt:?}");
    };
    typed(&hospital, copied);
    typed(&hospital, changed);
    let mut trial = Background::start(&hospital.shell(run));
    trial.wait_for_output("msg=ready");
    let mut modality = echo[0].split(' ');
    let program = hospital.program(modality.next().expect("a program"));
    program.args(modality).run().expect_success();
    exchange(&hospital, TRIAL);
    hospital.run(INTERRUPT).expect_success();
    let status = trial.wait(SECONDS);
    assert!(status.success(), "{status}");
    lines(&hospital, remove);

    let text = lines(&hospital, doctor);
    assert!(text.contains("a program listens there"), "{text}");
    exchange(&hospital, 0);

    lines(&hospital, switch);
    assert_serves(&hospital, "wardgate", "stunnel@stunnel");
    let text = lines(&hospital, verify);
    assert!(text.contains("good"), "{text}");

    lines(&hospital, back);
    assert_serves(&hospital, "stunnel@stunnel", "wardgate");
    let again = switch.last().expect("it stops one and starts the other");
    typed(&hospital, again);
    assert_serves(&hospital, "wardgate", "stunnel@stunnel");
    lines(&hospital, finish);
    assert_eq!(hospital.property("wardgate", "UnitFileState"), "enabled");
    assert_eq!(
        hospital.property("stunnel@stunnel", "UnitFileState"),
        "disabled"
    );
}

/// A machine with the stunnel of the chapter, and the package of wardgate.
fn hospital(network: &Namespace, region: &SiteFiles) -> Machine {
    let tree = Tree::of(Suite::Stunnel);
    fs::create_dir(tree.path(WORK)).expect("the tree can be written");
    tree.take(&deb(), &format!("{WORK}/wardgate.deb"));
    tree.write(
        "/etc/hosts",
        "127.0.0.1 localhost\n192.0.2.10 gw.region.example\n",
    );
    tree.write(OLD, &guide::example(PAGE, "ini", 0));
    let own = SiteFiles::make("Hospital A", "gw.hospital-a.example");
    for file in ["site.pem", "site.key"] {
        tree.take(&own.path(file), &format!("/etc/stunnel/{file}"));
    }
    tree.take(&region.path("ca/ca.pem"), "/etc/stunnel/region-ca.pem");
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(tree.path("/etc/stunnel"), closed).expect("the tree can be written");
    fs::copy(own.path("ca/ca.pem"), region.path("hospital-a-ca.pem")).expect("there is room");
    let machine = Machine::boot(tree);
    network.link("hospital", &machine, "wan");
    network.ip("address add 192.0.2.10/24 dev hospital");
    network.ip("address add 10.30.0.9 dev lo");
    network.ip("link set hospital up");
    for arguments in [
        ["address", "add", ENTRY[0], "dev", "lo"],
        ["address", "add", "192.0.2.7/24", "dev", "wan"],
        ["link", "set", "up", "dev", "wan"],
    ] {
        machine.program("ip").args(arguments).run().expect_success();
    }
    machine
        .run(&format!("dpkg -i {WORK}/wardgate.deb"))
        .expect_success();
    machine
}

/// The region's stunnel and its applications.
fn start_region(network: &Namespace, files: &SiteFiles) -> [Background; 3] {
    let file = |name: &str| files.path(name).display().to_string();
    let text = format!(
        "foreground = yes\npid =\nsyslog = no\ncert = {}\nkey = {}\nCAfile = {}\nverify = 2\n\
         [from-hospital]\naccept = 192.0.2.10:2762\nconnect = 10.30.0.9:104\n\
         [laboratory]\naccept = 192.0.2.10:2763\nconnect = 10.30.0.9:7001\n",
        file("site.pem"),
        file("site.key"),
        file("hospital-a-ca.pem"),
    );
    fs::write(files.path("stunnel.conf"), text).expect("there is room");
    let laboratory = network.program("python3").args(["-c", LABORATORY]);
    let stunnel = network.program("stunnel4").arg(file("stunnel.conf"));
    [
        Background::listening(&network.program("storescp").arg("104"), 104),
        Background::listening(&laboratory, 7001),
        Background::listening(&stunnel, 2763),
    ]
}

/// Types the lines of a block, and returns what they print.
fn lines(machine: &Machine, block: &[String]) -> String {
    block.iter().map(|line| typed(machine, line)).collect()
}

/// The report of the import holds what the chapter shows of it, between its dots.
fn assert_holds_the_example(report: &str) {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (report, example) = (words(report), words(&guide::example(PAGE, "text", 0)));
    for part in example.split("...") {
        assert!(report.contains(part.trim()), "{part:?} is not in {report}");
    }
}

/// Only this service runs, and its listeners carry traffic.
fn assert_serves(machine: &Machine, service: &str, other: &str) {
    assert_eq!(machine.property(service, "ActiveState"), "active");
    assert_eq!(machine.property(other, "ActiveState"), "inactive");
    exchange(machine, 0);
}

/// A C-ECHO and a message through the hospital's listeners.
fn exchange(machine: &Machine, added: u16) {
    let [dicom, hl7] = PORTS.map(|port| (port + added).to_string());
    let echo = machine
        .program("echoscu")
        .args(["-to", "10", ENTRY[0], &dicom]);
    let message = machine
        .program("python3")
        .args(["-c", MESSAGE, ENTRY[0], &hl7]);
    // stunnel opens its listeners after systemd has started it.
    let succeeds = |program: &Program| program.clone().run().succeeded();
    until("an echo succeeds", SECONDS, || {
        succeeds(&echo).then_some(())
    });
    until("a message is acknowledged", SECONDS, || {
        succeeds(&message).then_some(())
    });
}
