//! Two sites, and a further partner of one of them, are paired by the commands of the guide's chapter "Pair two sites".
//!
//! The region was set up by `wardgate setup`, and the hospital's configuration is written by hand.

use wardgate_tests::tier::Need;
use wardgate_tests::{Background, Program, until};

use crate::guide::{self, Site};
use crate::machine::{CONFIGURATION, Machine, SECONDS};
use crate::ready;
use crate::site::{ENTRY, connect, pair_by_telephone, site, typed};

const NEEDS: [Need; 4] = [
    Need::Program("nsenter"),
    Need::Program("ip"),
    Need::Program("storescp"),
    Need::Program("echoscu"),
];

const PAGE: &str = "pair.md";
const TIMER: &str = "wardgate-pair-renew.timer";

#[test]
fn the_commands_of_the_guide_pair_two_sites_and_a_further_partner() {
    if !ready(&NEEDS) {
        return;
    }
    let commands = guide::commands(PAGE);
    let [
        at_region,
        at_hospital,
        further_at_region,
        further,
        stopped,
        renewal,
    ] = &commands[..]
    else {
        panic!("other commands than this test knows: {commands:?}");
    };
    let (hospital, region) = (site(), site());
    connect(&hospital, &region);
    let _archive = archive(&region);
    set_up(&region, &Site::Region.commands()[1]);
    typed(&hospital, &Site::Hospital.commands()[0]);
    hospital.tree.write(
        CONFIGURATION,
        &without_certificates(&Site::Hospital.configuration()),
    );

    let paired = pair_by_telephone((&region, &at_region[0]), (&hospital, &at_hospital[0]));
    assert_is_shown(&paired.listening, 0);
    assert_is_shown(&paired.connecting, 1);
    assert_key_is_that_of_the_certificate(&hospital, &paired.connecting);
    // As the table says: the region's service is enabled, the hospital's is not.
    assert_eq!(region.property("wardgate", "ActiveState"), "active");
    assert_eq!(hospital.property("wardgate", "ActiveState"), "inactive");
    for command in row_of_a_service_that_is_not_enabled() {
        typed(&hospital, &command);
    }
    echo(&hospital);
    for machine in [&hospital, &region] {
        assert_eq!(machine.property(TIMER, "UnitFileState"), "enabled");
    }

    let other = site();
    connect_further(&other, &region);
    set_up(
        &other,
        &Site::Hospital.commands()[1].replace("hospital-a", "hospital-b"),
    );
    let process = region.property("wardgate", "MainPID");
    let paired = pair_by_telephone((&region, &further_at_region[0]), (&other, &further[0]));
    let text = paired.listening;
    assert!(
        text.contains("the running gateway uses the new configuration"),
        "{text}"
    );
    echo(&other);
    echo(&hospital);
    assert_eq!(region.property("wardgate", "MainPID"), process);

    let [stop, again] = &stopped[..] else {
        panic!("stop and pair: {stopped:?}");
    };
    typed(&region, stop);
    pair_by_telephone((&region, again), (&other, "wardgate pair"));
    echo(&other);
    echo(&hospital);

    certificates_are_renewed_by_the_commands(renewal, &hospital, &region);
    echo(&hospital);
}

/// The package, and the command of the chapter "Install" that writes the configuration.
fn set_up(machine: &Machine, command: &str) {
    typed(machine, &Site::Region.commands()[0]);
    let text = typed(machine, command);
    assert!(text.contains("starts when the sites are paired"), "{text}");
}

/// A configuration written by hand "needs a route, but no `[identity]` and no `[[peer]]` yet".
fn without_certificates(configuration: &str) -> String {
    let tables = configuration.split_inclusive("\n\n");
    let is_kept = |table: &&str| !table.starts_with("[identity]") && !table.starts_with("[[peer]]");
    tables.filter(is_kept).collect()
}

/// What the chapter shows of a command, with the words and keys of this run in place of the chapter's.
fn assert_is_shown(printed: &str, position: usize) {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let printed = words(printed);
    for line in guide::example(PAGE, "text", position).lines() {
        let differs = ["code:", "key sha256:", "in words:"];
        let differs = differs.into_iter().find(|start| line.starts_with(start));
        let line = words(differs.unwrap_or(line));
        assert!(printed.contains(&line), "{line:?} is not in {printed}");
    }
}

/// "`wardgate pki show /etc/wardgate/pki/site.pem` prints the same key."
fn assert_key_is_that_of_the_certificate(machine: &Machine, printed: &str) {
    let (_, this_site) = printed.rsplit_once("this site: ").expect(printed);
    let key = this_site
        .lines()
        .find_map(|line| line.trim().strip_prefix("key "));
    let key = key.expect(printed).trim();
    let shown = typed(machine, "wardgate pki show /etc/wardgate/pki/site.pem");
    assert!(shown.contains(key), "{key} is not in {shown}");
}

/// What is left to do at such a machine, as the chapter's table has it.
fn row_of_a_service_that_is_not_enabled() -> Vec<String> {
    guide::commands_in_row(PAGE, "the service is not enabled")
}

/// The region's archive.
fn archive(region: &Machine) -> Background {
    Background::start(&region.program("storescp").arg("104"))
}

/// Gives hospital B the addresses of the example in its own LAN, and a link to the region.
fn connect_further(other: &Machine, region: &Machine) {
    let [a, b] = [other, region].map(|machine| machine.init.to_string());
    let ip = Program::new("ip");
    ip.args(["link", "add", "wan", "netns", &a, "type", "veth"])
        .args(["peer", "name", "wan-b", "netns", &b])
        .run()
        .expect_success();
    for (machine, arguments) in [
        (other, "address add 192.0.2.8/24 dev wan"),
        (other, "link set up dev wan"),
        (region, "link set up dev wan-b"),
        (region, "route add 192.0.2.8 dev wan-b"),
        (other, "address add 10.20.0.5 dev lo"),
    ] {
        let ip = machine.program("ip").args(arguments.split(' '));
        ip.run().expect_success();
    }
}

/// A C-ECHO from this hospital to the archive.
fn echo(hospital: &Machine) {
    let echo = hospital.program("echoscu").args(["-to", "10", "-ta", "10"]);
    echo.args(ENTRY).run().expect_success();
}

/// Each command is typed where its comment says. It fails until the gateways have noticed what the one before has
/// written, and can be repeated, as the chapter says.
fn certificates_are_renewed_by_the_commands(
    commands: &[String],
    here: &Machine,
    partner: &Machine,
) {
    let [make, trust, learn, change] = commands else {
        panic!("four commands: {commands:?}");
    };
    for (machine, command, expected) in [
        (here, make, "made the next CA"),
        (partner, trust, "has new CA certificates"),
        (here, learn, ""),
        (here, change, "has taken the place"),
    ] {
        let text = until("the command succeeds", SECONDS, || {
            let outcome = machine.run(command);
            outcome.succeeded().then(|| outcome.text())
        });
        assert!(text.contains(expected), "{command}: {text}");
    }
}
