//! `wardgate pair`: two sites without a PKI, each in a folder of its own, and a route between them.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use wardgate_tests::stream::{accept, connect, expect_noise, send_noise};
use wardgate_tests::{Background, Outcome, Program, wardgate};

use crate::pair::{address, listen, local};

/// A site in its folder.
pub(crate) struct PairedSite {
    folder: TempDir,
    name: &'static str,
    /// A command that runs the commands of the site somewhere else, such as in a mount namespace; usually empty.
    pub(crate) within: Vec<String>,
}

impl PairedSite {
    fn new(name: &'static str, config: &str) -> Self {
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        fs::write(folder.path().join("wardgate.toml"), config).expect("the folder is ours");
        fs::create_dir(folder.path().join("pki")).expect("the folder is ours");
        Self {
            folder,
            name,
            within: Vec::new(),
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self) -> String {
        fs::read_to_string(self.file("wardgate.toml")).expect("it is a text")
    }

    pub(crate) fn pair(&self, arguments: &[&str]) -> Program {
        self.command(&["pair"])
            .args([
                "--site",
                self.name,
                "--dns",
                &format!("gw.{}.example", self.name),
            ])
            .args(arguments)
    }

    /// A command with the files of this site.
    pub(crate) fn command(&self, words: &[&str]) -> Program {
        let program = match self.within.split_first() {
            None => Program::new(wardgate()),
            Some((first, rest)) => Program::new(first).args(rest).arg(wardgate()),
        };
        program
            .args(words)
            .arg("--config")
            .arg(self.file("wardgate.toml"))
            .arg("--dir")
            .arg(self.file("ca"))
            .arg("--trust-dir")
            .arg(self.file("pki/peers"))
    }

    pub(crate) fn run(&self) -> Program {
        Program::new(wardgate())
            .args(["run", "--config"])
            .arg(self.file("wardgate.toml"))
    }
}

/// The side that shows the code, and the code.
pub(crate) fn show(site: &PairedSite, arguments: &[&str]) -> (Background, String) {
    let mut listening = Background::start(&site.pair(arguments));
    listening.wait_for_output("read the code out");
    let code = listening.output();
    let code = code.lines().find_map(|line| line.strip_prefix("code: "));
    let code = code.expect("it is shown").to_owned();
    (listening, code)
}

pub(crate) fn type_code(site: &PairedSite, code: &str, arguments: &[&str]) -> Outcome {
    // The other site is "region", and the route lists "far".
    site.pair(arguments)
        .args(["--peer", "far", "--code-file", "-"])
        .stdin(format!("{code}\n"))
        .run()
}

pub(crate) fn hospital(entry: SocketAddr, wan: SocketAddr) -> PairedSite {
    PairedSite::new(
        "hospital",
        &format!(
            "# The hospital.\n[gateway]\ncores = [0]\nadmin = \"admin.sock\"\nstate = \"state\"\n\n[[route]]\nname = \"out\"   # to the region\nmode = \"originate\"\n\
             protocol = \"tcp\"\nlisten = \"{entry}\"\ntargets = [\"{wan}\"]\npeers = [\"far\"]\n"
        ),
    )
}

pub(crate) fn region(wan: SocketAddr, exit: SocketAddr) -> PairedSite {
    PairedSite::new(
        "region",
        &format!(
            "[gateway]\ncores = [0]\nadmin = \"admin.sock\"\nstate = \"state\"\n\n[[route]]\nname = \"in\"\nmode = \"terminate\"\n\
             protocol = \"tcp\"\nlisten = \"{wan}\"\ntargets = [\"{exit}\"]\npeers = [\"hospital\"]\n"
        ),
    )
}

#[test]
fn two_sites_pair_by_a_code_and_their_route_carries_traffic() {
    let (entry, wan) = (local(), local());
    let exit = listen();
    let (hospital, region) = (hospital(entry, wan), region(wan, address(&exit)));
    let before = hospital.config();
    let (listening, code) = show(&region, &[]);
    // What is no key exchange uses up no try, and a silent client is in nobody's way.
    let _silent = TcpStream::connect(wan).expect("it listens");
    let mut other = TcpStream::connect(wan).expect("it listens");
    other
        .write_all(b"\x16\x03\x01\x00\x05hello")
        .expect("it listens");
    let wrong = if code.starts_with("adult") {
        "actor"
    } else {
        "adult"
    };
    for _ in 0..2 {
        let refused =
            type_code(&hospital, &format!("{wrong} {wrong} {wrong} {wrong}"), &[]).expect_failure();
        assert!(
            refused.text().contains("the code is wrong"),
            "{}",
            refused.text()
        );
        assert_eq!(hospital.config(), before);
    }
    // In the words' first four letters, as a person may type them.
    let short: Vec<_> = code
        .split(' ')
        .map(|word| word[..4].to_uppercase())
        .collect();
    let paired = type_code(&hospital, &short.join("-"), &[])
        .expect_success()
        .text();
    let shown = listening.output();
    assert!(
        listening.wait(wardgate_tests::DEADLINE).success(),
        "{shown}"
    );
    assert!(
        paired.contains("paired with: region, dns:gw.region.example"),
        "{paired}"
    );
    // The configuration keeps its text, and the peer has the name that the route lists.
    let config = hospital.config();
    assert!(config.starts_with(&before), "{config}");
    assert!(
        config.contains("[[peer]]\nname = \"far\"\nidentity = \"dns:gw.region.example\"\n"),
        "{config}"
    );
    assert!(hospital.file("pki/peers/far.pem").exists());
    assert!(region.file("pki/peers/hospital.pem").exists());

    let mut gateway = Background::listening(&region.run(), wan.port());
    let _other = Background::listening(&hospital.run(), entry.port());
    let (mut client, mut server) = (connect(entry), accept(&exit));
    through(&mut client, &mut server);

    // The port of the running gateway is taken; on another one, the pairing is repeated.
    let taken = region.pair(&[]).run().expect_failure().text();
    assert!(taken.contains("name another port"), "{taken}");
    let second = local();
    let (again, code) = show(&region, &["--listen", &second.to_string()]);
    let to = ["--connect", &second.to_string()];
    type_code(&hospital, &code, &to).expect_success();
    let shown = again.output();
    assert!(again.wait(wardgate_tests::DEADLINE).success(), "{shown}");
    assert_eq!(hospital.config(), config);
    gateway.wait_for_output("reload");
    through(&mut client, &mut server);
}

#[test]
fn a_code_is_void_after_three_wrong_tries_and_nothing_is_written() {
    let wan = local();
    let (hospital, region) = (hospital(local(), wan), region(wan, local()));
    let before = [hospital.config(), region.config()];
    let (listening, code) = show(&region, &[]);
    let wrong = if code.starts_with("adult") {
        "actor"
    } else {
        "adult"
    };
    for _ in 0..3 {
        type_code(&hospital, &format!("{wrong} {wrong} {wrong} {wrong}"), &[]).expect_failure();
    }
    let status = listening.wait(wardgate_tests::DEADLINE);
    assert_eq!(status.code(), Some(1));
    type_code(&hospital, &code, &[]).expect_failure();
    assert_eq!([hospital.config(), region.config()], before);
    assert!(!has_files(&hospital.file("pki/peers")) && !has_files(&region.file("pki/peers")));
}

#[test]
fn a_peer_that_is_there_already_is_replaced_only_on_demand() {
    let wan = local();
    let (hospital, region) = (hospital(local(), wan), region(wan, local()));
    let (listening, code) = show(&region, &[]);
    type_code(&hospital, &code, &[]).expect_success();
    assert!(listening.wait(wardgate_tests::DEADLINE).success());
    // The hospital has a new CA.
    for name in ["ca", "pki/site.pem", "pki/site.key"] {
        let path = hospital.file(name);
        let renamed = path.with_file_name(format!("{}.old", name.replace('/', "-")));
        fs::rename(path, renamed).expect("the folder is ours");
    }
    let before = region.config();
    let trust = fs::read(region.file("pki/peers/hospital.pem")).expect("it was written");
    let (listening, code) = show(&region, &[]);
    let refused = type_code(&hospital, &code, &[]).expect_failure().text();
    assert!(refused.contains("--yes"), "{refused}");
    assert!(!listening.wait(wardgate_tests::DEADLINE).success());
    assert_eq!(
        fs::read(region.file("pki/peers/hospital.pem")).expect("it is there"),
        trust
    );
    // The CA has another key: --yes counts only for the peer that is named.
    let (listening, code) = show(&region, &["--yes"]);
    let refused = type_code(&hospital, &code, &["--yes"])
        .expect_failure()
        .text();
    assert!(refused.contains("--yes --peer hospital"), "{refused}");
    assert!(!listening.wait(wardgate_tests::DEADLINE).success());
    let (listening, code) = show(&region, &["--yes", "--peer", "hospital"]);
    type_code(&hospital, &code, &["--yes"]).expect_success();
    assert!(listening.wait(wardgate_tests::DEADLINE).success());
    assert_ne!(
        fs::read(region.file("pki/peers/hospital.pem")).expect("it is there"),
        trust
    );
    assert_eq!(region.config(), before);
}

/// `wardgate pair renew`. A gateway takes one update of a peer in a second.
pub(crate) fn renew(site: &PairedSite, arguments: &[&str]) -> Outcome {
    thread::sleep(Duration::from_millis(1100));
    site.command(&["pair", "renew"]).args(arguments).run()
}

fn certificates(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("it is there");
    let parts = text.split_inclusive("-----END CERTIFICATE-----\n");
    parts.map(str::to_owned).collect()
}

#[test]
fn a_site_replaces_its_ca_over_the_link_while_traffic_runs() {
    let (entry, wan) = (local(), local());
    let exit = listen();
    let (hospital, region) = (hospital(entry, wan), region(wan, address(&exit)));
    let config = hospital.file("wardgate.toml");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o640)).expect("the file is ours");
    let (listening, code) = show(&region, &[]);
    type_code(&hospital, &code, &[]).expect_success();
    assert!(listening.wait(wardgate_tests::DEADLINE).success());
    let mode = fs::metadata(&config).expect("it is there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o640, "the operator's mode stays");
    let trust_of = |site: &PairedSite, peer: &str| site.file(&format!("pki/peers/{peer}.pem"));
    let first = certificates(&hospital.file("ca/ca.pem"));
    assert_eq!(certificates(&trust_of(&region, "hospital")), first);

    // The region is offline at first: the hospital says so, and goes on later.
    let offline = renew(&hospital, &["--early"]).expect_failure().text();
    assert!(offline.contains("made the next CA"), "{offline}");
    assert!(offline.contains("peer \"far\": route \"out\""), "{offline}");
    // The region checks a revocation list of the hospital.
    let list = |name: &str| region.file(name).display().to_string();
    fs::copy(hospital.file("ca/ca.crl"), list("first.crl")).expect("the folder is ours");
    let plain = region.config();
    let with_lists = |lists: &str| {
        let text = plain.replace(
            "renew = true\n",
            &format!("renew = true\ncrl = [{lists}]\n"),
        );
        fs::write(region.file("wardgate.toml"), text).expect("the folder is ours");
    };
    with_lists(&format!("{:?}", list("first.crl")));
    let mut gateway = Background::listening(&region.run(), wan.port());
    let _other = Background::listening(&hospital.run(), entry.port());
    let (mut client, mut server) = (connect(entry), accept(&exit));
    through(&mut client, &mut server);
    renew(&hospital, &[]).expect_success();
    gateway.wait_for_output("trust_update_received");
    // The gateway only stores it; the command checks and uses it.
    assert_eq!(certificates(&trust_of(&region, "hospital")), first);
    let replayed = fs::read(region.file("state/hospital.update")).expect("it was stored");
    let used = renew(&region, &[]).expect_failure().text();
    assert!(used.contains("signed by the old CA"), "{used}");
    assert!(used.contains("crl has no valid list of its CA"), "{used}");
    let next = certificates(&hospital.file("ca/next/ca.pem"));
    assert_eq!(
        certificates(&trust_of(&region, "hospital")),
        [&first[..], &next].concat()
    );
    // Not before the region has the list of the next CA: it would refuse every certificate of it.
    for _ in 0..2 {
        renew(&hospital, &["--early"]).expect_success();
        assert_eq!(certificates(&hospital.file("ca/ca.pem")), first);
    }
    let made = fs::read(hospital.file("ca/next/ca.crl")).expect("it was made");
    let lists = Program::new(wardgate()).args(["pki", "renew", "--crl", "--dir"]);
    lists.arg(hospital.file("ca")).run().expect_success();
    assert_ne!(
        fs::read(hospital.file("ca/next/ca.crl")).expect("it is there"),
        made
    );
    fs::copy(hospital.file("ca/next/ca.crl"), list("next.crl")).expect("the folder is ours");
    with_lists(&format!("{:?}, {:?}", list("first.crl"), list("next.crl")));
    reload(&region);
    renew(&region, &[]).expect_success();
    // Nor before the hospital knows that the region trusts its next CA.
    renew(&hospital, &["--early"]).expect_success();
    assert_eq!(certificates(&hospital.file("ca/ca.pem")), first);
    let switched = renew(&hospital, &["--early"]).expect_success().text();
    assert!(switched.contains("has taken the place"), "{switched}");
    assert_eq!(certificates(&hospital.file("ca/ca.pem")), next);
    through(&mut client, &mut server);
    let (mut client, mut server) = (connect(entry), accept(&exit));
    through(&mut client, &mut server);
    fs::write(region.file("wardgate.toml"), &plain).expect("the folder is ours");
    reload(&region);
    renew(&region, &[]).expect_success();

    // The other direction: the region accepts connections and makes none, so the hospital fetches its update.
    let old = certificates(&region.file("ca/ca.pem"));
    renew(&region, &["--early"]).expect_success();
    let fetched = renew(&hospital, &[]).expect_success().text();
    assert!(fetched.contains("peer \"far\""), "{fetched}");
    let switched = renew(&region, &["--early"]).expect_success().text();
    assert!(switched.contains("has taken the place"), "{switched}");
    assert_ne!(certificates(&region.file("ca/ca.pem")), old);

    // Only the new CAs are trusted: new connections pass, with the new certificates.
    fs::write(trust_of(&region, "hospital"), next.concat()).expect("the folder is ours");
    fs::copy(region.file("ca/ca.pem"), trust_of(&hospital, "far")).expect("the folder is ours");
    for site in [&hospital, &region] {
        reload(site);
    }
    let (mut client, mut server) = (connect(entry), accept(&exit));
    through(&mut client, &mut server);

    // An old update is refused, whoever has put it there.
    let before = certificates(&trust_of(&region, "hospital"));
    fs::write(region.file("state/hospital.update"), &replayed).expect("the folder is ours");
    let refused = renew(&region, &[]).expect_failure().text();
    assert!(
        refused.contains("is older than the one that is in use"),
        "{refused}"
    );
    assert_eq!(certificates(&trust_of(&region, "hospital")), before);

    // Switched off means off.
    let off = region.config().replace("renew = true\n", "");
    fs::write(region.file("wardgate.toml"), off).expect("the folder is ours");
    reload(&region);
    let refused = renew(&hospital, &[]).expect_failure().text();
    assert!(
        refused.contains("does not take part in renewals"),
        "{refused}"
    );
    gateway.wait_for_output("which is off for this peer");
    let nothing = renew(&region, &["--early"]).expect_success().text();
    assert!(nothing.contains("nothing to renew"), "{nothing}");
}

pub(crate) fn reload(site: &PairedSite) {
    let reload = Program::new(wardgate()).args(["reload", "--socket"]);
    reload.arg(site.file("admin.sock")).run().expect_success();
}

fn has_files(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// Bytes in both directions.
fn through(client: &mut TcpStream, server: &mut TcpStream) {
    send_noise(client, 1, 100_000);
    expect_noise(server, 1, 100_000);
    send_noise(server, 2, 1000);
    expect_noise(client, 2, 1000);
}
