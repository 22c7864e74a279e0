//! What `wardgate pair` and `wardgate pair renew` report and record of their own acts, for an operator who was not there.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use wardgate_tests::stream::{accept, connect, expect_noise, send_noise};
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, DEADLINE, Program, until, wardgate};

use crate::journald::Journald;
use crate::pair::{address, listen, local};
use crate::pairing::{PairedSite, hospital, region, show, type_code};

/// A mount namespace without the socket of a journald that may run on this machine.
const WITHOUT_JOURNALD: [&str; 7] = [
    "unshare",
    "--mount",
    "--propagation=private",
    "sh",
    "-euc",
    "mount -t tmpfs tmpfs /run; exec \"$@\"",
    "sh",
];

/// Each event, its level, and what its line names beside it.
const RECORDS: [(&str, &str, &str); 5] = [
    (
        "paired",
        "INFO",
        "paired with \"region\", dns:gw.region.example, key sha256:",
    ),
    (
        "paired",
        "INFO",
        "paired with \"hospital\", dns:gw.hospital.example, key sha256:",
    ),
    (
        "own_renewed",
        "INFO",
        "signed an update of the CA certificates for partners",
    ),
    (
        "renewal_failed",
        "WARN",
        "peer \"far\": route \"out\", target",
    ),
    (
        "trust_update_used",
        "INFO",
        "has new CA certificates, signed by the old CA; sha256 of the update",
    ),
];

/// Two sites pair and renew once. Returns the output of all their commands.
fn pair_and_renew(within: &[String]) -> String {
    let wan = local();
    let (mut hospital, mut region) = (hospital(local(), wan), region(wan, local()));
    for site in [&mut hospital, &mut region] {
        within.clone_into(&mut site.within);
    }
    let (listening, code) = show(&region, &[]);
    let paired = type_code(&hospital, &code, &[]).expect_success().text();
    let mut output = paired + &wait(listening) + "\n";
    // The gateway of the region does not run, so the hospital signs an update and cannot deliver it.
    let renew =
        |site: &PairedSite, options: &[&str]| site.command(&["pair", "renew"]).args(options).run();
    output += &renew(&hospital, &["--early"]).expect_failure().text();
    fs::create_dir_all(region.file("state")).expect("the folder is ours");
    fs::copy(
        hospital.file("state/own,update"),
        region.file("state/hospital.update"),
    )
    .expect("the hospital has signed one");
    output + &renew(&region, &[]).expect_success().text()
}

/// The whole output of a site that waits for the other one.
fn wait(mut listening: Background) -> String {
    until("the site is paired", DEADLINE, || {
        listening.has_ended().then_some(())
    });
    listening.output()
}

#[test]
fn what_pair_does_is_in_the_journal_of_systemd() {
    if !tier::ready("direct", &[Need::Root, Need::Program("journalctl")]) {
        return;
    }
    let journald = Journald::start();
    let mut within = vec!["nsenter".to_owned()];
    within.extend(journald.inside());
    let output = pair_and_renew(&within);
    assert!(!output.contains("level="), "{output}");
    for (code, level, text) in RECORDS {
        let priority = if level == "WARN" { "4" } else { "6" };
        until("the line is in the journal", DEADLINE, || {
            let entries = journald.entries(&[&format!("WARDGATE_CODE={code}")]);
            let is_it = |entry: &serde_json::Value| {
                entry["PRIORITY"] == priority
                    && entry["MESSAGE"]
                        .as_str()
                        .is_some_and(|line| line.contains(text))
            };
            entries.iter().any(is_it).then_some(())
        });
    }
}

#[test]
fn what_pair_does_is_on_standard_error_of_a_machine_without_journald() {
    if !tier::ready("direct", &[Need::Root]) {
        return;
    }
    let output = pair_and_renew(&WITHOUT_JOURNALD.map(str::to_owned));
    for (code, level, text) in RECORDS {
        let (level, code) = (format!(" level={level} "), format!(" code={code}"));
        let text = text.replace('"', "\\\"");
        let is_it = |line: &str| {
            line.starts_with("time=")
                && line.contains(&level)
                && line.ends_with(&code)
                && line.contains(&text)
        };
        assert!(
            output.lines().any(is_it),
            "{code} {text} is missing in {output}"
        );
    }
}

fn gateway(site: &PairedSite, port: u16) -> Background {
    let run = Program::new(wardgate()).args(["run", "--config"]);
    Background::listening(&run.arg(site.file("wardgate.toml")), port)
}

#[test]
fn a_state_folder_that_root_makes_is_for_the_user_that_the_gateway_becomes() {
    if !tier::ready("direct", &[Need::Root]) {
        return;
    }
    let wan = local();
    let (hospital, region) = (hospital(local(), wan), region(wan, local()));
    for site in [&hospital, &region] {
        let config = site.config();
        let config = config.replace("[gateway]\n", "[gateway]\nrun_as = \"nobody\"\n");
        fs::write(site.file("wardgate.toml"), config).expect("the folder is ours");
        fs::set_permissions(site.file("."), fs::Permissions::from_mode(0o755))
            .expect("the folder is ours");
    }
    let (listening, code) = show(&region, &[]);
    type_code(&hospital, &code, &[]).expect_success();
    wait(listening);
    // The gateway makes one folder, and the command the other.
    let mut running = gateway(&region, wan.port());
    let renew = hospital.command(&["pair", "renew", "--early"]);
    renew.run().expect_success();
    running.wait_for_output("trust_update_received");
    for site in [&hospital, &region] {
        let state = fs::metadata(site.file("state")).expect("it was made");
        let nobody = 65_534;
        assert_eq!((state.uid(), state.mode() & 0o7777), (nobody, 0o770));
    }
}

/// A mount namespace in which a file, `$0`, cannot be replaced, as a container has it.
const WITH_A_MOUNTED_FILE: [&str; 6] = [
    "unshare",
    "--mount",
    "--propagation=private",
    "sh",
    "-euc",
    "mount --bind \"$0\" \"$0\"; exec \"$@\"",
];

#[test]
fn a_site_that_can_write_only_a_part_reports_so_and_a_second_run_pairs() {
    if !tier::ready("direct", &[Need::Root]) {
        return;
    }
    for is_connecting in [true, false] {
        let (entry, wan, exit) = (local(), local(), listen());
        let (mut hospital, mut region) = (hospital(entry, wan), region(wan, address(&exit)));
        let failing = if is_connecting {
            &mut hospital
        } else {
            &mut region
        };
        failing.within = WITH_A_MOUNTED_FILE.map(str::to_owned).to_vec();
        let file = failing.file("wardgate.toml");
        failing.within.push(file.display().to_string());
        let before = [hospital.config(), region.config()];
        let (listening, code) = show(&region, &[]);
        let connecting = type_code(&hospital, &code, &[]).expect_failure().text();
        let listening = wait(listening);
        let after = [hospital.config(), region.config()];
        // The CA certificate of the other site is renamed before the configuration.
        assert!(hospital.file("pki/peers/far.pem").exists());
        let (expected_here, expected_there) = if is_connecting {
            assert_eq!(after, before);
            assert!(!region.file("pki/peers/hospital.pem").exists());
            (
                "a part of the files may have been written at this site, and nothing was written at the other site",
                "nothing was written at this site, and it is not known whether the other site has written its part",
            )
        } else {
            assert_ne!(after[0], before[0]);
            assert_eq!(after[1], before[1]);
            assert!(region.file("pki/peers/hospital.pem").exists());
            (
                "this site has written its part, and it is not known whether the other site has written its part",
                "a part of the files may have been written at this site, and the other site has written its part",
            )
        };
        assert!(connecting.contains(expected_here), "{connecting}");
        assert!(listening.contains(expected_there), "{listening}");
        for site in [&mut hospital, &mut region] {
            site.within.clear();
        }
        // Neither the file of the first run nor a table that one site has written already is in the way.
        let (listening, code) = show(&region, &[]);
        type_code(&hospital, &code, &[]).expect_success();
        let shown = listening.output();
        assert!(listening.wait(DEADLINE).success(), "{shown}");
        let tables = [
            (&hospital, "far", "region"),
            (&region, "hospital", "hospital"),
        ];
        for (site, name, other) in tables {
            let table =
                format!("[[peer]]\nname = \"{name}\"\nidentity = \"dns:gw.{other}.example\"\n");
            let config = site.config();
            assert_eq!(config.matches("[[peer]]").count(), 1, "{config}");
            assert!(config.contains(&table), "{config}");
        }
        let _gateways = [
            gateway(&region, wan.port()),
            gateway(&hospital, entry.port()),
        ];
        let (mut client, mut server) = (connect(entry), accept(&exit));
        send_noise(&mut client, 1, 100_000);
        expect_noise(&mut server, 1, 100_000);
        send_noise(&mut server, 2, 1000);
        expect_noise(&mut client, 2, 1000);
    }
}
