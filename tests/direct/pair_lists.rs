//! `wardgate pair renew` as root, with revocation lists that `wardgate pki crl fetch` has written as the user of the
//! service.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, DEADLINE, Program, wardgate};

use crate::pair::{address, listen, local};
use crate::pairing::{PairedSite, hospital, region, reload, renew, show, type_code};

/// The user and the group "daemon" of every Linux.
const DAEMON: u32 = 1;

/// The line with which a peer has this list.
fn with(list: &str) -> String {
    format!("renew = true\ncrl = [{list}]\n")
}

/// Changes the configuration of a site.
fn edit(site: &PairedSite, from: &str, to: &str) {
    let config = site.config();
    assert!(config.contains(from), "{from}: {config}");
    fs::write(site.file("wardgate.toml"), config.replace(from, to)).expect("the folder is ours");
}

/// Copies a list into the folder `crl` of a site, as the user of the service fetches it. Returns its name in quotes.
fn fetch(site: &PairedSite, list: &Path, name: &str) -> String {
    let folder = site.file("crl");
    fs::create_dir_all(&folder).expect("the folder is ours");
    let file = folder.join(name);
    fs::copy(list, &file).expect("the folder is ours");
    for path in [&folder, &file] {
        chown(path, Some(DAEMON), Some(DAEMON)).expect("we are root");
    }
    format!("{:?}", file.display().to_string())
}

#[test]
fn root_renews_over_a_link_whose_lists_the_user_of_the_service_has_fetched() {
    if !tier::ready("direct", &[Need::Root]) {
        return;
    }
    let (entry, wan) = (local(), local());
    let exit = listen();
    let (hospital, region) = (hospital(entry, wan), region(wan, address(&exit)));
    let (listening, code) = show(&region, &[]);
    type_code(&hospital, &code, &[]).expect_success();
    assert!(listening.wait(DEADLINE).success());
    for site in [&hospital, &region] {
        let user = "[gateway]\nrun_as = \"daemon\"\nsandbox = \"off\"\n";
        edit(site, "[gateway]\n", user);
    }
    let of_region = fetch(&hospital, &region.file("ca/ca.crl"), "region.crl");
    edit(&hospital, "renew = true\n", &with(&of_region));
    let of_hospital = fetch(&region, &hospital.file("ca/ca.crl"), "hospital.crl");
    edit(&region, "renew = true\n", &with(&of_hospital));
    // Another peer of the same route has no list yet.
    let other = Program::new(wardgate()).args(["pki", "init", "--name", "Other", "--dir"]);
    other.arg(hospital.file("other")).run().expect_success();
    edit(
        &hospital,
        "peers = [\"far\"]",
        "peers = [\"far\", \"other\"]",
    );
    let target = format!("{{ address = \"{wan}\", peer = \"far\" }}");
    edit(&hospital, &format!("\"{wan}\""), &target);
    let table = "\n[[peer]]\nname = \"other\"\nidentity = \"dns:gw.other.example\"\ntrust = \"other/ca.pem\"\n\
                 crl = [\"crl/none.crl\"]\n";
    let config = hospital.config() + table;
    fs::write(hospital.file("wardgate.toml"), config).expect("the folder is ours");

    let mut gateway = Background::listening(&region.run(), wan.port());
    renew(&hospital, &["--early"]).expect_success();
    gateway.wait_for_output("trust_update_received");
    let used = renew(&region, &[]).expect_failure().text();
    assert!(used.contains("signed by the old CA"), "{used}");
    assert!(used.contains("crl has no valid list of its CA"), "{used}");
    assert!(!region.file("state/hospital.used").exists());
    let next = fetch(&region, &hospital.file("ca/next/ca.crl"), "next.crl");
    edit(
        &region,
        &with(&of_hospital),
        &with(&format!("{of_hospital}, {next}")),
    );
    reload(&region);
    renew(&region, &[]).expect_success();
    assert!(region.file("state/hospital.used").exists());
}
