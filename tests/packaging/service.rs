//! The package on machines with systemd: the two sites of the guide as services, from installation to purge.

use std::fs;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wardgate_tests::tier::Need;
use wardgate_tests::{Background, Pki, dicom, until};

use crate::built::deb_of;
use crate::changes;
use crate::guide::Site;
use crate::machine::{CONFIGURATION, Machine, SECONDS, assert_restarted, upgrade};
use crate::ready;
use crate::site::{ENTRY, connect, pair_by_telephone, site, typed};

const NEEDS: [Need; 5] = [
    Need::Program("nsenter"),
    Need::Program("ip"),
    Need::Program("storescu"),
    Need::Program("storescp"),
    Need::Program("echoscu"),
];

/// The most commands that a site may need from its package to its first object.
const COMMANDS_MAX: usize = 4;

/// The most time that the commands of both sites may take together, without the people who type and telephone.
const COMMANDS_TIME: Duration = Duration::from_secs(60);

/// The rows of the table in the chapter "Hardening".
const PARTS_OF_THE_SANDBOX: usize = 10;

#[test]
fn two_sites_run_as_services_from_installation_to_purge() {
    if !ready(&NEEDS) {
        return;
    }
    let (hospital, region) = (site(), site());
    connect(&hospital, &region);
    let (_folder, newer) = deb_of("9.9.9-1", |_| ());
    hospital.tree.take(&newer, "/var/newer.deb");
    let archive = TempDir::new().expect("there is room");
    let listener = region.program("storescp").arg("--output-directory");
    let mut listener = Background::start(&listener.arg(archive.path()).args(["-v", "104"]));

    commands_of_the_guide_lead_from_the_package_to_the_first_object(&hospital, &region);
    assert_stored(&archive);
    assert!(!listener.has_ended(), "{}", listener.output());
    changes::the_other_direction_is_set_up_while_the_services_run(&hospital, &region);
    changes::certificates_renew_under_the_unit_of_the_package(&hospital, &region);
    store(&hospital, &archive);

    every_part_of_the_sandbox_is_in_force(&hospital);
    the_fetcher_of_lists_cannot_reach_the_gateway(&hospital);

    key_that_only_root_can_read_comes_from_systemd(&hospital);
    store(&hospital, &archive);
    killed_is_restarted(&hospital);
    changes::a_reload_by_systemctl_takes_what_is_good_and_reports_what_is_not(&hospital);
    changes::an_upgrade_of_the_package_refuses_no_client(&hospital);
    changes::a_restart_lets_clients_wait(&hospital);
    store(&hospital, &archive);
    stuck_is_restarted(&hospital);
    log_goes_to_journald_with_fields(&region);
    store(&hospital, &archive);
    fields_of_the_association_are_in_the_journal(&region);
    stop_lets_an_association_end(&hospital);
    upgrade_leaves_the_service_when_the_new_version_would_not_start(&hospital);
    upgrade_restarts_although_a_list_has_expired(&hospital);
    store(&hospital, &archive);
    upgrade_starts_a_service_that_had_failed(&hospital);
    store(&hospital, &archive);

    hospital.run("dpkg --remove wardgate").expect_success();
    assert_eq!(hospital.property("wardgate", "ActiveState"), "inactive");
    hospital.run("dpkg --purge wardgate").expect_success();
    hospital
        .run(
            "for left in /etc/wardgate /var/lib/wardgate /etc/systemd/system/wardgate.service.d \
                /etc/systemd/system/*.wants/wardgate*; do
                if test -e $left || test -L $left; then echo $left is left; exit 1; fi
            done
            ! getent passwd wardgate",
        )
        .expect_success();
}

/// Every command is executed as the chapter "Install" shows it: four at each site, one of which is the first object.
fn commands_of_the_guide_lead_from_the_package_to_the_first_object(
    hospital: &Machine,
    region: &Machine,
) {
    let (of_hospital, of_region) = (Site::Hospital.commands(), Site::Region.commands());
    let is_four = |commands: &[String]| commands.len() <= COMMANDS_MAX;
    assert!(
        is_four(&of_hospital) && is_four(&of_region),
        "{of_hospital:?} {of_region:?}"
    );
    let [install, setup, pair, send] = &of_hospital[..] else {
        panic!("package, setup, pair and an object: {of_hospital:?}");
    };
    let [install_region, setup_region, pair_region, status] = &of_region[..] else {
        panic!("package, setup, pair and status: {of_region:?}");
    };
    let mut time = Duration::ZERO;
    let mut timed = |act: &mut dyn FnMut()| {
        let start = Instant::now();
        act();
        time += start.elapsed();
    };
    for (machine, install) in [(hospital, install), (region, install_region)] {
        timed(&mut || {
            let text = typed(machine, install);
            assert!(
                text.contains("wardgate setup") && text.contains("wardgate pair"),
                "{text}"
            );
        });
    }
    nothing_starts_without_a_configuration(hospital);
    for (machine, setup) in [(hospital, setup), (region, setup_region)] {
        timed(&mut || {
            let text = typed(machine, setup);
            assert!(text.contains("starts when the sites are paired"), "{text}");
        });
        assert_eq!(machine.property("wardgate", "UnitFileState"), "enabled");
        let key = machine.run("stat -c '%a %U:%G' /etc/wardgate/pki/site.key");
        assert_eq!(key.expect_success().text(), "640 root:wardgate\n");
    }
    timed(&mut || {
        let paired = pair_by_telephone((region, pair_region), (hospital, pair));
        for text in [paired.listening, paired.connecting] {
            assert!(text.contains("the service has started"), "{text}");
        }
    });
    for machine in [hospital, region] {
        // Certificates renew without a further command.
        let timer = "wardgate-pair-renew.timer";
        assert_eq!(machine.property(timer, "UnitFileState"), "enabled");
        assert_eq!(machine.property(timer, "ActiveState"), "active");
    }
    // A modality has DCMTK; the gateway's machine need not.
    let folder = TempDir::new().expect("there is room");
    let objects = dicom::series(folder.path(), "GUIDE", 1, 256);
    let image = objects.first().expect("a series of one");
    fs::rename(image, folder.path().join("image.dcm")).expect("the folder is ours");
    timed(&mut || {
        let program = hospital.program("env").arg("--chdir").arg(folder.path());
        program.args(send.split(' ')).run().expect_success();
    });
    timed(&mut || {
        let text = typed(region, status);
        assert!(text.contains("from-hospital-a"), "{text}");
    });
    println!(
        "from the package to the first object: {:.1} s for the commands of both sites",
        time.as_secs_f64()
    );
    assert!(time < COMMANDS_TIME, "{time:?}");
    configurations_by_hand_are_good(hospital, region);
}

/// The unit of the package has a filter of its own, which must allow what the sandbox needs.
fn every_part_of_the_sandbox_is_in_force(machine: &Machine) {
    let text = machine
        .run("wardgate status --json")
        .expect_success()
        .text();
    let reply: serde_json::Value = serde_json::from_str(&text).expect(&text);
    let parts = reply["status"]["sandbox"].as_array().expect(&text);
    assert!(parts.len() >= PARTS_OF_THE_SANDBOX, "{parts:?}");
    for part in parts {
        assert_eq!(part["state"], "on", "{part}");
    }
}

/// The guide's configurations of both sites, with the CA certificates that the pairing has brought.
fn configurations_by_hand_are_good(hospital: &Machine, region: &Machine) {
    for (machine, site, other) in [
        (hospital, Site::Hospital, "region"),
        (region, Site::Region, "hospital-a"),
    ] {
        let file = "/etc/wardgate/by-hand.toml";
        machine.tree.write(file, &site.configuration());
        let pki = "/etc/wardgate/pki";
        let check = format!(
            "cp {pki}/peers/{other}.pem {pki}/{other}-ca.pem
            wardgate check {file}
            rm {file} {pki}/{other}-ca.pem"
        );
        machine.run(&check).expect_success();
    }
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

/// The service's user cannot read the key then, nor can the check of an upgrade, except as the credential. The listener
/// moves to a port that needs a privilege, as the check does as well.
fn key_that_only_root_can_read_comes_from_systemd(machine: &Machine) {
    let text = machine.tree.read(CONFIGURATION);
    let text = text.replace("\"/etc/wardgate/pki/site.key\"", "\"credential:site.key\"");
    assert!(text.contains("credential:"), "{text}");
    let also = "\n[[route]]\nname = \"low-port\"\nmode = \"originate\"\nprotocol = \"dicom\"\n\
                listen = \"10.20.0.5:104\"\ntargets = [\"gw.region.example:2762\"]\npeers = [\"region\"]\n";
    machine.tree.write(CONFIGURATION, &(text + also));
    machine
        .run(
            "chown root:root /etc/wardgate/pki/site.key
            chmod 0600 /etc/wardgate/pki/site.key
            mkdir /etc/systemd/system/wardgate.service.d
            printf '[Service]\\nLoadCredential=site.key:/etc/wardgate/pki/site.key\\n' \
                >/etc/systemd/system/wardgate.service.d/key.conf
            systemctl daemon-reload
            systemctl restart wardgate",
        )
        .expect_success();
}

/// Sends an object through both sites into the archive, which had none.
fn store(hospital: &Machine, archive: &TempDir) {
    let folder = TempDir::new().expect("there is room");
    let objects = dicom::series(folder.path(), "SERVICE", 1, 256);
    let store = hospital.program("storescu").args(ENTRY).args(objects);
    store.run().expect_success();
    assert_stored(archive);
}

/// Takes the one object out of the archive.
fn assert_stored(archive: &TempDir) {
    let stored = fs::read_dir(archive.path()).expect("it is there");
    let stored: Vec<_> = stored
        .map(|entry| entry.expect("it is there").path())
        .collect();
    assert_eq!(stored.len(), 1);
    stored
        .iter()
        .for_each(|file| fs::remove_file(file).expect("it is there"));
}

/// It reads bytes from outside, as the user of the gateway, whose listeners the admin socket hands over.
fn the_fetcher_of_lists_cannot_reach_the_gateway(machine: &Machine) {
    let before = machine.property("wardgate", "MainPID");
    let as_user = |command: &str| machine.run(&format!("runuser -u wardgate -- {command}"));
    as_user("/usr/bin/wardgate status").expect_success();
    as_user(&format!("sh -c 'kill -0 {before}'")).expect_success();
    let replaced = "/run/systemd/system/wardgate-crl-fetch.service.d";
    for command in [
        "/usr/bin/wardgate status".to_owned(),
        "/usr/bin/ls /run/wardgate /var/lib/wardgate/state".to_owned(),
        format!("/usr/bin/sh -c 'kill -0 {before}'"),
    ] {
        let unit = format!(
            "mkdir -p {replaced} && printf '[Service]\\nExecStart=\\nExecStart=%s\\n' \"{command}\" \
             >{replaced}/command.conf && systemctl daemon-reload"
        );
        machine.run(&unit).expect_success();
        machine
            .run("systemctl start wardgate-crl-fetch")
            .expect_failure();
        let journal = machine.run(
            "journalctl -o cat --no-pager \
             _SYSTEMD_INVOCATION_ID=$(systemctl show -p InvocationID --value wardgate-crl-fetch)",
        );
        let why = ["Permission denied", "Operation not permitted"];
        let text = journal.text();
        assert!(
            why.iter().any(|why| text.contains(why)),
            "{command}: {text}"
        );
        machine
            .run("systemctl reset-failed wardgate-crl-fetch")
            .expect_success();
    }
    machine
        .run(&format!("rm -r {replaced} && systemctl daemon-reload"))
        .expect_success();
    assert_eq!(machine.property("wardgate", "MainPID"), before);
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

fn log_goes_to_journald_with_fields(machine: &Machine) {
    let text = machine.tree.read(CONFIGURATION);
    let text = text.replacen("[gateway]\n", "[gateway]\nlog = \"journald\"\n", 1);
    machine.tree.write(CONFIGURATION, &text);
    machine.run("systemctl restart wardgate").expect_success();
}

/// Queries by a field, and the sentence that `journalctl` shows.
fn fields_of_the_association_are_in_the_journal(machine: &Machine) {
    let query = "journalctl --no-pager -u wardgate WARDGATE_EVENT_NAME=connection";
    let line = until("the line is not in the journal", SECONDS, || {
        let text = machine.run(&format!("{query} -o json")).text();
        text.lines().last().map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
    let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(field("WARDGATE_CLIENT_ADDRESS"), "192.0.2.7", "{line}");
    assert_eq!(field("WARDGATE_TLS_PROTOCOL_VERSION"), "1.3", "{line}");
    assert_eq!(field("WARDGATE_ERROR_TYPE"), "-", "{line}");
    assert_eq!(field("PRIORITY"), "6", "{line}");
    assert_eq!(field("SYSLOG_IDENTIFIER"), "wardgate", "{line}");
    let route = field("WARDGATE_ROUTE");
    let of_route = machine.run(&format!("{query} WARDGATE_ROUTE={route} -o cat"));
    let message = of_route.expect_success().text();
    let start = format!("connection: {route}, client 192.0.2.7:");
    assert!(message.starts_with(&start), "{message}");
}

/// One association with many requests is open when the service is stopped.
fn stop_lets_an_association_end(machine: &Machine) {
    let echo = machine
        .program("echoscu")
        .args(["-v", "--repeat", "3000"])
        .args(ENTRY);
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

/// The running service is as it was, and its status shows why.
fn upgrade_leaves_the_service_when_the_new_version_would_not_start(machine: &Machine) {
    let good = machine.tree.read(CONFIGURATION);
    let before = machine.property("wardgate", "MainPID");
    let no_address = good.replace("10.20.0.5:104", "203.0.113.7:104");
    for (bad, reason) in [
        ("[gateway]\nno_such_key = 1\n", "no_such_key"),
        (no_address.as_str(), "no such address"),
    ] {
        machine.tree.write(CONFIGURATION, bad);
        let text = upgrade(machine);
        assert!(
            text.contains(reason) && text.contains("was not restarted"),
            "{text}"
        );
        assert_eq!(machine.property("wardgate", "MainPID"), before);
        let status = machine.run("systemctl status --no-pager wardgate").text();
        assert!(status.contains("Active: active (running)"), "{status}");
        assert!(
            status.contains(reason) && status.contains("was not restarted"),
            "{status}"
        );
    }

    // The command line of a drop-in decides which file is checked.
    let drop_in = |command: &str| {
        let text = format!("[Service]\nExecStart=\nExecStart={command}\n");
        let file = "/etc/systemd/system/wardgate.service.d/command.conf";
        machine.tree.write(file, &text);
        machine.run("systemctl daemon-reload").expect_success();
        upgrade(machine)
    };
    let text = drop_in("/usr/bin/env /usr/bin/wardgate run");
    assert!(
        text.contains("only \"/usr/bin/wardgate run\" can be checked"),
        "{text}"
    );
    assert_eq!(machine.property("wardgate", "MainPID"), before);
    machine.tree.write("/etc/wardgate/other.toml", &good);
    let text = drop_in("/usr/bin/wardgate run /etc/wardgate/other.toml");
    assert!(
        text.contains("/etc/wardgate/other.toml: `wardgate run` would start"),
        "{text}"
    );
    assert_ne!(machine.property("wardgate", "MainPID"), before);
    machine
        .run(
            "rm /etc/systemd/system/wardgate.service.d/command.conf
            systemctl daemon-reload",
        )
        .expect_success();
    machine.tree.write(CONFIGURATION, &good);
}

/// `check` fails for the list, and the gateway starts without its route.
fn upgrade_restarts_although_a_list_has_expired(machine: &Machine) {
    let pki = Pki::new();
    for (from, to) in [(pki.trust(), "old-ca.pem"), (pki.expired_crl(), "old.crl")] {
        let text = fs::read_to_string(from).expect("it was made");
        machine
            .tree
            .write(&format!("/etc/wardgate/pki/{to}"), &text);
    }
    let good = machine.tree.read(CONFIGURATION);
    let stale = "\n[[peer]]\nname = \"old\"\nidentity = \"dns:gw.old.example\"\n\
                 trust = \"/etc/wardgate/pki/old-ca.pem\"\ncrl = [\"/etc/wardgate/pki/old.crl\"]\n\n\
                 [[route]]\nname = \"to-old\"\nmode = \"originate\"\nprotocol = \"dicom\"\n\
                 listen = \"10.20.0.5:11113\"\ntargets = [\"192.0.2.10:2763\"]\npeers = [\"old\"]\n";
    machine.tree.write(CONFIGURATION, &format!("{good}{stale}"));
    let check = "chmod 0644 /etc/wardgate/pki/old*
        CREDENTIALS_DIRECTORY=/run/credentials/wardgate.service runuser -u wardgate -- wardgate check";
    let text = machine.run(check).expect_failure().text();
    assert!(
        text.contains("old.crl") && text.contains("expired"),
        "{text}"
    );
    let before = machine.property("wardgate", "MainPID");
    let text = upgrade(machine);
    assert!(text.contains("route \"to-old\" is closed"), "{text}");
    assert_ne!(machine.property("wardgate", "MainPID"), before);
    assert_eq!(machine.property("wardgate", "ActiveState"), "active");
}

/// The unit of the package is tried again for ever; a machine's drop-in may end that.
fn upgrade_starts_a_service_that_had_failed(machine: &Machine) {
    let file = "/etc/systemd/system/wardgate.service.d/test.conf";
    machine.tree.write(file, "[Service]\nRestart=no\n");
    machine
        .run(
            "systemctl daemon-reload
            mv /etc/wardgate/pki/site.pem /etc/wardgate/pki/away.pem
            ! systemctl restart wardgate
            mv /etc/wardgate/pki/away.pem /etc/wardgate/pki/site.pem
            systemctl disable wardgate",
        )
        .expect_success();
    assert_eq!(machine.property("wardgate", "ActiveState"), "failed");
    let text = upgrade(machine);
    assert!(
        text.contains("To start the new version: systemctl start wardgate"),
        "{text}"
    );
    assert_eq!(machine.property("wardgate", "ActiveState"), "failed");
    machine.run("systemctl enable wardgate").expect_success();
    let text = upgrade(machine);
    assert!(text.contains("starting the new version"), "{text}");
    assert_eq!(machine.property("wardgate", "ActiveState"), "active");
}
