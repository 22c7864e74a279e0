//! Changes of a service while clients come all the time: reload, upgrade, restart and crash.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;
use wardgate_tests::{Background, until};

use crate::guide::Site;
use crate::machine::{CONFIGURATION, Machine, SECONDS, assert_restarted, upgrade};

/// Asks for one association after the other until the file of its first argument is there. A client that is refused
/// ends it.
const CLIENTS: &str = r#"served=0 broken=0
until test -e "$0"; do
    if text=$(echoscu -ta 60 10.20.0.5 11112 2>&1); then
        served=$((served + 1))
        echo "served $served"
    else
        case $text in
        *"refused"*) echo "refused: $text"; exit 1 ;;
        *) broken=$((broken + 1)); echo "broken: $text" ;;
        esac
    fi
done
echo "at the end: broken $broken""#;

/// Clients of the hospital's route.
struct Clients {
    folder: TempDir,
    program: Background,
}

impl Clients {
    fn start(machine: &Machine) -> Self {
        let folder = TempDir::new().expect("there is room");
        let end = folder.path().join("end");
        let program = machine.program("sh").args(["-c", CLIENTS]).arg(end);
        let mut program = Background::start(&program);
        program.wait_for_output("served 2\n");
        Self { folder, program }
    }

    /// Waits until more were served than before, and ends them. Returns how many associations were cut.
    fn stop(mut self) -> u32 {
        let count = self.program.output().matches("served ").count();
        let more = format!("served {}\n", count + 3);
        until("no client is served", SECONDS * 2, || {
            let output = self.program.output();
            assert!(!output.contains("refused: "), "{output}");
            output.contains(&more).then_some(())
        });
        fs::write(self.folder.path().join("end"), "").expect("there is room");
        until("the clients do not end", SECONDS * 2, || {
            self.program.has_ended().then_some(())
        });
        let output = self.program.output();
        let (_, broken) = output.split_once("at the end: broken ").expect(&output);
        broken.trim().parse().expect(&output)
    }
}

/// The service goes on, whatever the new configuration is.
pub(crate) fn a_reload_by_systemctl_takes_what_is_good_and_reports_what_is_not(machine: &Machine) {
    let clients = Clients::start(machine);
    let before = machine.property("wardgate", "MainPID");
    let good = machine.tree.read(CONFIGURATION);
    machine.run("systemctl reload wardgate").expect_success();
    let bad = format!("{good}\n[gatway]\n");
    machine.tree.write(CONFIGURATION, &bad);
    machine.run("systemctl reload wardgate").expect_failure();
    let text = machine
        .run("journalctl --no-pager -u wardgate -n 20")
        .text();
    assert!(text.contains("gatway"), "{text}");
    assert!(text.contains("nothing was changed"), "{text}");
    machine.tree.write(CONFIGURATION, &good);
    machine.run("systemctl reload wardgate").expect_success();
    assert_eq!(machine.property("wardgate", "SubState"), "running");
    assert_eq!(machine.property("wardgate", "MainPID"), before);
    assert_eq!(clients.stop(), 0);
}

/// The package starts the new program in place of the running one, which systemd follows.
pub(crate) fn an_upgrade_of_the_package_refuses_no_client(machine: &Machine) {
    for _ in 0..2 {
        let clients = Clients::start(machine);
        let before = machine.property("wardgate", "MainPID");
        let text = upgrade(machine);
        assert!(text.contains("wardgate: the new version runs"), "{text}");
        let now = machine.property("wardgate", "MainPID");
        assert_ne!(now, before, "{text}");
        assert!(text.contains(&format!("process {now} serves")), "{text}");
        assert_eq!(clients.stop(), 0);
        until("the earlier process does not end", SECONDS, || {
            let is_there = machine.run(&format!("test -e /proc/{before}"));
            (!is_there.succeeded()).then_some(())
        });
        assert_eq!(machine.property("wardgate", "SubState"), "running");
    }
    assert_eq!(machine.property("wardgate", "NRestarts"), "1");
    assert_kept(machine);
    let pinged = || machine.property("wardgate", "WatchdogTimestampMonotonic");
    let first = pinged();
    until("the new process does not ping", SECONDS, || {
        (pinged() != first).then_some(())
    });
    // It is the service: systemd notices its end.
    let clients = Clients::start(machine);
    let before = machine.property("wardgate", "MainPID");
    machine.run(&format!("kill -9 {before}")).expect_success();
    assert_restarted(machine, &before);
    assert_eq!(machine.property("wardgate", "NRestarts"), "2");
    // One association may have been open.
    assert!(clients.stop() <= 1);
}

pub(crate) fn a_restart_lets_clients_wait(machine: &Machine) {
    let clients = Clients::start(machine);
    for _ in 0..3 {
        let before = machine.property("wardgate", "MainPID");
        machine.run("systemctl restart wardgate").expect_success();
        assert_ne!(machine.property("wardgate", "MainPID"), before);
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_kept(machine);
    // A connection whose first byte has not arrived is closed by the process that stops.
    assert!(clients.stop() <= 3);
    machine.run("systemctl stop wardgate").expect_success();
    let kept = machine.property("wardgate", "NFileDescriptorStore");
    assert_eq!(kept, "0");
    let echo = machine.program("echoscu").args(["10.20.0.5", "11112"]);
    let text = echo.run().expect_failure().text();
    assert!(text.contains("refused"), "{text}");
    machine.run("systemctl start wardgate").expect_success();
}

/// systemd keeps the listeners of all routes.
fn assert_kept(machine: &Machine) {
    let routes = machine.tree.read(CONFIGURATION);
    let routes = routes.lines().filter(|line| line.trim() == "[[route]]");
    let routes = routes.count().to_string();
    let kept = || machine.property("wardgate", "NFileDescriptorStore");
    until("systemd does not keep the listeners", SECONDS, || {
        (kept() == routes).then_some(())
    });
}

/// The running services have sandboxes without the ports of the new routes: `setup` asks for an upgrade then.
pub(crate) fn the_other_direction_is_set_up_while_the_services_run(
    hospital: &Machine,
    region: &Machine,
) {
    for (machine, address) in [(hospital, "10.20.0.9"), (region, "10.30.0.5")] {
        let ip = machine.program("ip");
        let ip = ip.args(["address", "add", address, "dev", "lo"]);
        ip.run().expect_success();
    }
    region
        .run("echo 192.0.2.7 gw.hospital-a.example >> /etc/hosts")
        .expect_success();
    let mut archive = Background::start(&hospital.program("storescp").args(["-v", "104"]));
    for (machine, site) in [(hospital, Site::Hospital), (region, Site::Region)] {
        // Between the two machines of this test, the hospital's WAN has another address than in the guide.
        let command = site.commands_of_the_other_direction();
        let command = command.trim().replace("198.51.100.7", "192.0.2.7");
        let text = machine.run(&format!("{command} --yes")).expect_success();
        let text = text.text();
        assert!(text.contains("the service runs with this"), "{text}");
        assert_eq!(machine.property("wardgate", "ActiveState"), "active");
    }
    let echo = region.program("echoscu");
    let echo = echo.args(["-ta", "60", "10.30.0.5", "11112"]);
    echo.run().expect_success();
    assert!(!archive.has_ended(), "{}", archive.output());
}

/// The unit of renewals may write little; `--early` makes it write everything that it writes in years of service.
pub(crate) fn certificates_renew_under_the_unit_of_the_package(
    hospital: &Machine,
    region: &Machine,
) {
    let folder = "/etc/systemd/system/wardgate-pair-renew.service.d";
    let early = "[Service]\nExecStart=\n\
                 ExecStart=/usr/bin/wardgate pair renew --early --config /etc/wardgate/wardgate.toml\n";
    let renew = |machine: &Machine| {
        let outcome = machine.run("systemctl start wardgate-pair-renew.service");
        let log = machine.run("journalctl --no-pager -o cat -u wardgate-pair-renew.service");
        let log = log.text();
        assert!(outcome.succeeded(), "{outcome}{log}");
        log
    };
    hospital.run(&format!("mkdir {folder}")).expect_success();
    hospital.tree.write(&format!("{folder}/early.conf"), early);
    hospital.run("systemctl daemon-reload").expect_success();
    let log = renew(hospital);
    assert!(log.contains("made the next CA"), "{log}");
    assert!(log.contains("renewed /etc/wardgate/pki/site.pem"), "{log}");
    // The region's gateway has stored the update, and the region's unit uses it.
    let log = renew(region);
    assert!(log.contains("has new CA certificates"), "{log}");
    hospital
        .run(&format!("rm -r {folder} && systemctl daemon-reload"))
        .expect_success();
}
