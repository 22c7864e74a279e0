//! The package on a machine with systemd: two sites as services, from installation to purge.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;
use wardgate_tests::tier::Need;
use wardgate_tests::{Background, dicom, until};

use crate::built::{deb, deb_of};
use crate::machine::Machine;
use crate::ready;
use crate::tree::{Suite, Tree};

const NEEDS: [Need; 4] = [
    Need::Program("nsenter"),
    Need::Program("storescu"),
    Need::Program("storescp"),
    Need::Program("echoscu"),
];

/// Ports of the machine's own network, in which nothing else runs.
const ENTRY: &str = "104";
const ARCHIVE: &str = "11113";

const SECONDS: Duration = Duration::from_secs(30);

#[test]
fn two_sites_run_as_services_from_installation_to_purge() {
    if !ready(&NEEDS) {
        return;
    }
    let tree = Tree::of(Suite::Bookworm);
    let (_folder, newer) = deb_of("9.9.9-1", |_| ());
    tree.take(&deb(), "/var/wardgate.deb");
    tree.take(&newer, "/var/newer.deb");
    let machine = Machine::boot(tree);
    let text = machine
        .run("dpkg -i /var/wardgate.deb")
        .expect_success()
        .text();
    assert!(text.contains("systemctl enable --now wardgate"), "{text}");
    nothing_starts_without_a_configuration(&machine);
    configure(&machine);
    machine
        .run("systemctl start wardgate wardgate-b")
        .expect_success();
    let folder = TempDir::new().expect("there is room");
    let _archive = Background::listening(
        &machine
            .program("storescp")
            .args(["--output-directory"])
            .arg(folder.path())
            .arg(ARCHIVE),
        ARCHIVE.parse().expect("it is a port"),
    );
    store(&machine, &folder);

    killed_is_restarted(&machine);
    stuck_is_restarted(&machine);
    store(&machine, &folder);
    stop_lets_an_association_end(&machine);
    upgrade_restarts_only_with_a_good_configuration(&machine);
    store(&machine, &folder);

    machine.run("dpkg --remove wardgate").expect_success();
    assert_eq!(machine.property("wardgate", "ActiveState"), "inactive");
    machine
        .run("systemctl stop wardgate-b; dpkg --purge wardgate")
        .expect_success();
    machine
        .run(
            "for left in /etc/wardgate /var/lib/wardgate /etc/systemd/system/wardgate.service.d; do
                if test -e $left; then echo $left is left; exit 1; fi
            done
            ! getent passwd wardgate",
        )
        .expect_success();
}

/// The state of a service that cannot start, and the sentence that an operator reads.
fn nothing_starts_without_a_configuration(machine: &Machine) {
    assert_eq!(machine.property("wardgate", "ActiveState"), "inactive");
    assert_eq!(machine.property("wardgate", "UnitFileState"), "disabled");
    machine.run("systemctl start wardgate").expect_failure();
    assert_eq!(machine.property("wardgate", "ExecMainStatus"), "78");
    // The service is tried again: what it lacks may come, such as an address after a power failure.
    assert_eq!(machine.property("wardgate", "ActiveState"), "activating");
    let status = machine.run("systemctl status --no-pager wardgate").text();
    assert!(status.contains("no [[route]]; write one"), "{status}");
    machine.run("systemctl stop wardgate").expect_success();
}

/// Site A is the service of the package, with a CA of its own and a key that only root can read. Site B is a copy
/// of it, with a key that its user can read.
fn configure(machine: &Machine) {
    let commands = "
        cd /etc/wardgate
        mkdir b
        wardgate pki init --dir ca --name A
        wardgate pki init --dir b/ca --name B
        wardgate pki issue --dir ca --dns a.example --out pki/site.pem --key-out pki/site.key
        wardgate pki issue --dir b/ca --dns b.example --out b/site.pem --key-out b/site.key
        cp ca/ca.pem b/a-ca.pem
        cp b/ca/ca.pem pki/b-ca.pem
        chgrp -R wardgate pki b
        chown root:root pki/site.key
        chmod 0600 pki/site.key
        chmod 0640 b/site.key
        mkdir /etc/systemd/system/wardgate.service.d
        printf '[Service]\\nLoadCredential=site.key:/etc/wardgate/pki/site.key\\n' \
            >/etc/systemd/system/wardgate.service.d/key.conf
        chmod 0644 pki/*.pem b/*.pem
        sed 's,/etc/wardgate/wardgate.toml,/etc/wardgate/b.toml,; s,^\\(Runtime\\|State\\)Directory=.*,&-b,' \
            /usr/lib/systemd/system/wardgate.service >/etc/systemd/system/wardgate-b.service
        systemctl daemon-reload";
    let site = |folder: &str, key: &str, other: &str, route: &str| {
        format!(
            "[identity]\ncertificate = \"{folder}/site.pem\"\nkey = \"{key}\"\n\n\
             [[peer]]\nname = \"{other}\"\nidentity = \"dns:{other}.example\"\ntrust = \"{folder}/{other}-ca.pem\"\n\n\
             [[route]]\nname = \"study\"\nprotocol = \"dicom\"\npeers = [\"{other}\"]\n{route}"
        )
    };
    let a = format!(
        "mode = \"originate\"\nlisten = \"127.0.0.1:{ENTRY}\"\ntargets = [\"127.0.0.1:2762\"]\n"
    );
    let b = format!(
        "mode = \"terminate\"\nlisten = \"127.0.0.1:2762\"\ntargets = [\"127.0.0.1:{ARCHIVE}\"]\n"
    );
    machine.run(commands).expect_success();
    machine.tree.write(
        "/etc/wardgate/wardgate.toml",
        &site("pki", "credential:site.key", "b", &a),
    );
    machine
        .tree
        .write("/etc/wardgate/b.toml", &site("b", "b/site.key", "a", &b));
}

/// Sends an object through both sites into the archive, which had none.
fn store(machine: &Machine, archive: &TempDir) {
    let folder = TempDir::new().expect("there is room");
    let objects = dicom::series(folder.path(), "SERVICE", 1, 256);
    let store = machine
        .program("storescu")
        .args(["127.0.0.1", ENTRY])
        .args(objects);
    store.run().expect_success();
    let stored = fs::read_dir(archive.path()).expect("it is there");
    let stored: Vec<_> = stored
        .map(|entry| entry.expect("it is there").path())
        .collect();
    assert_eq!(stored.len(), 1);
    stored
        .iter()
        .for_each(|file| fs::remove_file(file).expect("it is there"));
}

fn killed_is_restarted(machine: &Machine) {
    let before = machine.property("wardgate", "MainPID");
    machine.run(&format!("kill -9 {before}")).expect_success();
    assert_restarted(machine, &before);
    assert_eq!(machine.property("wardgate", "NRestarts"), "1");
}

/// A stop signal stops all threads, so no worker answers. The watchdog waits for a shorter time here.
fn stuck_is_restarted(machine: &Machine) {
    assert_eq!(machine.property("wardgate", "WatchdogUSec"), "10s");
    machine
        .run(
            "printf '[Service]\nWatchdogSec=2s\n' >/etc/systemd/system/wardgate.service.d/test.conf
            systemctl daemon-reload
            systemctl restart wardgate",
        )
        .expect_success();
    let before = machine.property("wardgate", "MainPID");
    machine
        .run(&format!("kill -STOP {before}"))
        .expect_success();
    assert_restarted(machine, &before);
    // A busy machine may need longer than two seconds in what follows.
    machine
        .run(
            "echo >/etc/systemd/system/wardgate.service.d/test.conf
            systemctl daemon-reload
            systemctl restart wardgate",
        )
        .expect_success();
}

fn assert_restarted(machine: &Machine, before: &str) {
    until("systemd does not restart the gateway", SECONDS, || {
        // Both in one look: between two, a process may end.
        let show = "systemctl show -p ActiveState -p MainPID wardgate";
        let state = machine.run(show).expect_success().text();
        let active = state.contains("ActiveState=active\n");
        let again = !state.contains(&format!("MainPID={before}\n"));
        (active && again).then_some(())
    });
}

/// One association with many requests is open when the service is stopped.
fn stop_lets_an_association_end(machine: &Machine) {
    let echo = machine
        .program("echoscu")
        .args(["-v", "--repeat", "3000", "127.0.0.1", ENTRY]);
    let mut echo = Background::start(&echo);
    echo.wait_for_output("Received Echo Response");
    assert!(
        !echo.has_ended(),
        "too fast for this test: {}",
        echo.output()
    );
    machine.run("systemctl stop wardgate").expect_success();
    let status = echo.wait(SECONDS);
    assert!(status.success(), "the association was cut: {status}");
    assert_eq!(machine.property("wardgate", "Result"), "success");
    assert_eq!(machine.property("wardgate", "ExecMainStatus"), "0");
    machine.run("systemctl start wardgate").expect_success();
}

fn upgrade_restarts_only_with_a_good_configuration(machine: &Machine) {
    let file = "/etc/wardgate/wardgate.toml";
    let good = machine.tree.read(file);
    let before = machine.property("wardgate", "MainPID");
    machine.tree.write(file, "[gateway]\nno_such_key = 1\n");
    let text = machine
        .run("dpkg -i /var/newer.deb")
        .expect_success()
        .text();
    assert!(
        text.contains("no_such_key") && text.contains("was not restarted"),
        "{text}"
    );
    assert_eq!(machine.property("wardgate", "MainPID"), before);

    machine.tree.write(file, &good);
    machine.run("dpkg -i /var/newer.deb").expect_success();
    assert_ne!(machine.property("wardgate", "MainPID"), before);
    assert_eq!(machine.property("wardgate", "ActiveState"), "active");
}
