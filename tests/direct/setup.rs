//! `wardgate setup` and `wardgate sheet`: the program, in folders of its own. The unit tests beside the command hold the
//! questions and the text; here is what stays and what changes on the disk.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;
use wardgate_tests::stream::{accept, connect};
use wardgate_tests::tier::{Need, ready};
use wardgate_tests::{Background, DEADLINE, Outcome, Program, wardgate};

use crate::pair::{address, listen, local};

/// A machine, as far as setup changes it.
struct SetUpSite(TempDir);

impl SetUpSite {
    fn new() -> Self {
        Self(TempDir::new().expect("the machine has a folder for temporary files"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn config(&self) -> String {
        fs::read_to_string(self.file("wardgate.toml")).unwrap_or_default()
    }

    fn command(&self, words: &[&str]) -> Program {
        let program = Program::new(wardgate()).args(words);
        program.arg("--config").arg(self.file("wardgate.toml"))
    }

    fn setup(&self, options: &[&str]) -> Outcome {
        self.command(&[&["setup"], options].concat()).run()
    }

    /// Every file with its content, to see that nothing has changed.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("the folder is ours") {
                let path = entry.expect("the folder is ours").path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => found.push((path.clone(), fs::read(path).expect("the file is ours"))),
                }
            }
        }
        found.sort();
        found
    }
}

const MODALITIES: [&str; 9] = [
    "--yes",
    "--site",
    "modalities",
    "--protocol",
    "dicom",
    "--other-site",
    "gw.region.example",
    "--listen",
    "127.0.0.1",
];

fn code(outcome: &Outcome) -> Option<i32> {
    outcome.status.and_then(|status| status.code())
}

#[test]
fn without_a_terminal_setup_names_the_options_that_are_missing() {
    let site = SetUpSite::new();
    for (options, says) in [
        (
            &["--site", "archive"][..],
            "--site, --protocol and --archive",
        ),
        (
            &["--yes"],
            "--site, --protocol, and --other-site (modalities) or --archive (archive)",
        ),
        (
            &["--yes", "--site", "modalities", "--protocol", "dicom"],
            "missing: --other-site",
        ),
        (
            &["--yes", "--listen", "11112:"],
            "--listen: listen \"11112:\"",
        ),
        (
            &["--yes", "--other-name", "192.0.2.1:5"],
            "\"192.0.2.1:5\" is not a short name",
        ),
    ] {
        let outcome = site.setup(options);
        assert_eq!(code(&outcome), Some(2), "{}", outcome.text());
        assert!(outcome.text().contains(says), "{says}: {}", outcome.text());
    }
    assert_eq!(site.files(), []);
}

#[test]
fn setup_makes_the_certificate_and_the_file_once_and_shows_what_a_second_run_changes() {
    let site = SetUpSite::new();
    let dry = site
        .setup(&[&MODALITIES[..], &["--dry-run"]].concat())
        .expect_success();
    assert!(
        dry.text().contains("\nlisten = \"127.0.0.1:11112\""),
        "{}",
        dry.text()
    );
    assert_eq!(site.files(), []);
    let other = listen();
    for (place, says) in [
        ("203.0.113.9:11112", "is not an address of this machine"),
        (&*address(&other).to_string(), "another program listens on"),
    ] {
        let options = [&MODALITIES[..MODALITIES.len() - 1], &[place, "--dry-run"]].concat();
        let text = site.setup(&options).expect_success().text();
        assert!(text.contains(says), "{text}");
    }

    let first = site.setup(&MODALITIES).expect_success().text();
    assert!(
        first.contains("--connect gw.region.example:2762"),
        "{first}"
    );
    let mode = |name: &str| {
        fs::metadata(site.file(name))
            .expect("it was made")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("pki/site.key"), mode("ca/ca.key")), (0o600, 0o600));
    // Only the other site is missing.
    let check = site.command(&["check"]).run().expect_failure().text();
    assert_eq!(check.lines().count(), 1, "{check}");
    assert!(
        check.contains("\"region\" is not the name of a [[peer]]"),
        "{check}"
    );

    let before = site.files();
    let same = site.setup(&["--yes"]).expect_success().text();
    assert!(same.contains("does not change"), "{same}");
    assert_eq!(site.files(), before);

    fs::write(
        site.file("wardgate.toml"),
        site.config() + "connections = 20 # ours\n",
    )
    .expect("the file is ours");
    let config = site.file("wardgate.toml");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o640)).expect("the file is ours");
    let changed = site
        .setup(&["--yes", "--listen", "127.0.0.2"])
        .expect_success()
        .text();
    assert!(
        changed.contains("\n-listen = \"127.0.0.1:11112\"")
            && changed.contains("\n+listen = \"127.0.0.2:11112\""),
        "{changed}"
    );
    assert_eq!(mode("wardgate.toml"), 0o640, "the operator's mode stays");
    assert!(
        site.config().ends_with("connections = 20 # ours\n"),
        "{}",
        site.config()
    );
}

#[test]
fn a_configuration_that_would_not_be_valid_is_not_written() {
    let site = SetUpSite::new();
    site.setup(&MODALITIES).expect_success();
    // A mistake of the operator's, far from what setup changes.
    fs::write(
        site.file("wardgate.toml"),
        site.config() + "idle = \"soon\"\n",
    )
    .expect("the file is ours");
    let before = site.files();
    let refused = site.setup(&["--yes", "--listen", "127.0.0.2"]);
    assert_eq!(code(&refused), Some(78), "{}", refused.text());
    assert!(
        refused.text().contains("unknown key \"idle\""),
        "{}",
        refused.text()
    );
    assert_eq!(site.files(), before);
}

#[test]
fn a_certificate_is_imported_with_its_key_and_not_with_another_one() {
    let (site, other) = (SetUpSite::new(), SetUpSite::new());
    for made in [&site, &other] {
        made.setup(&MODALITIES).expect_success();
    }
    let path = |site: &SetUpSite, name: &str| site.file(name).display().to_string();
    let (certificate, key) = (path(&other, "pki/site.pem"), path(&other, "pki/site.key"));
    let own_key = path(&site, "pki/site.key");
    let before = site.files();
    let refused = site.setup(&["--yes", "--certificate", &certificate, "--key", &own_key]);
    assert_eq!(code(&refused), Some(1), "{}", refused.text());
    assert!(
        refused.text().contains("were not imported"),
        "{}",
        refused.text()
    );
    assert_eq!(site.files(), before);

    site.setup(&["--yes", "--certificate", &certificate, "--key", &key])
        .expect_success();
    for name in ["pki/site.pem", "pki/site.key"] {
        assert_eq!(
            fs::read(site.file(name)).expect("it is there"),
            fs::read(other.file(name)).expect("it is there")
        );
    }
    let mode = fs::metadata(site.file("pki/site.key"))
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn at_a_terminal_three_answers_suffice_and_an_end_of_input_changes_nothing() {
    if !ready("direct", &[Need::Program("script")]) {
        return;
    }
    let at_a_terminal = |site: &SetUpSite, lines: &str| {
        // The address of the listener is given, because a machine of the tests may have none but its loopback.
        let command = "script -qec \"$0 setup --tune --config $1 --listen 127.0.0.1\" /dev/null";
        let program = Program::new("sh")
            .args(["-c", command])
            .arg(wardgate())
            .arg(site.file("wardgate.toml"));
        program.stdin(lines).run()
    };
    let site = SetUpSite::new();
    // `script` ends the input of the terminal after the last line, as Ctrl-D does; \x03 is Ctrl-C.
    for lines in [
        "1\n1\ngw.region.example\n",
        "1\n1\ngw.region.example\n\n",
        "1\n1\n\x03",
        "1\n1\ngw.region.example\n\nn\n",
    ] {
        let outcome = at_a_terminal(&site, lines);
        assert_ne!(code(&outcome), Some(0), "{}", outcome.text());
        assert_eq!(site.files(), [], "{}", outcome.text());
    }
    // Accept the answers, write, and leave the settings of the host: they are shown, if any differs.
    let outcome = at_a_terminal(&site, "1\n3\n1\ngw.region.example\n\ny\nn\n");
    assert_eq!(code(&outcome), Some(0), "{}", outcome.text());
    assert!(
        outcome
            .text()
            .contains("\"3\" is neither 1 (DICOM) nor 2 (HL7)"),
        "{}",
        outcome.text()
    );
    assert!(
        site.config()
            .contains("targets = [\"gw.region.example:2762\"]"),
        "{}",
        site.config()
    );
    assert!(
        site.config().contains("listen = \"127.0.0.1:11112\""),
        "{}",
        site.config()
    );
    let left = ["nothing was changed", "nothing differs that can be changed"];
    let text = outcome.text();
    assert!(left.iter().any(|left| text.contains(left)), "{text}");
    assert!(text.contains("next: wardgate pair"), "{text}");
}

#[test]
fn what_setup_leaves_is_what_pair_finds_and_a_message_passes_without_an_editor() {
    let exit = listen();
    let (entry, wan) = (local(), local());
    let (hospital, region) = (SetUpSite::new(), SetUpSite::new());
    let [entry_text, wan_text, exit_text] = [entry, wan, address(&exit)].map(|one| one.to_string());
    let set_up = |site: &SetUpSite, options: &[&str]| {
        let common = ["--yes", "--protocol", "hl7"];
        site.setup(&[&common[..], options].concat())
            .expect_success();
    };
    set_up(
        &region,
        &[
            "--site",
            "archive",
            "--archive",
            &exit_text,
            "--listen",
            &wan_text,
            "--dns",
            "gw.region.example",
            "--other-name",
            "hospital-a",
        ],
    );
    set_up(
        &hospital,
        &[
            "--site",
            "modalities",
            "--other-site",
            &wan_text,
            "--listen",
            &entry_text,
            "--dns",
            "gw.hospital-a.example",
        ],
    );
    let sheet = region
        .command(&["sheet", "--html"])
        .run()
        .expect_success()
        .text();
    assert!(sheet.contains("not paired yet"), "{sheet}");

    let pair = |site: &SetUpSite| {
        let dirs = site.command(&["pair"]).arg("--dir").arg(site.file("ca"));
        dirs.arg("--trust-dir").arg(site.file("pki/peers"))
    };
    // Neither address is given: pair takes them from the only route.
    let mut shows = Background::start(&pair(&region).args(["--site", "region"]));
    shows.wait_for_output("read the code out");
    let shown = shows.output();
    let code = shown.lines().find_map(|line| line.strip_prefix("code: "));
    let code = code.expect("it is shown");
    // The other site calls itself "region", and setup's name for it is "other-site": without a terminal, a person says so.
    let types = pair(&hospital).args([
        "--site",
        "hospital-a",
        "--peer",
        "other-site",
        "--code-file",
        "-",
    ]);
    types.stdin(format!("{code}\n")).run().expect_success();
    assert!(shows.wait(DEADLINE).success());

    for site in [&hospital, &region] {
        site.command(&["check"]).run().expect_success();
        // Both would serve metrics on the same port of this machine.
        let text = site
            .config()
            .replace("metrics = ", "cores = [0]\n#metrics = ")
            // Root starts the gateways, and this machine has no user `wardgate`.
            .replace("sandbox = \"require\"", "sandbox = \"try\"");
        fs::write(site.file("wardgate.toml"), text).expect("the file is ours");
    }
    let run = |site: &SetUpSite, port| Background::listening(&site.command(&["run"]), port);
    let _gateways = (run(&region, wan.port()), run(&hospital, entry.port()));
    let message = b"\x0bMSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\r\x1c\r";
    let mut client = connect(entry);
    client.write_all(message).expect("the gateway reads");
    let mut server = accept(&exit);
    let mut arrived = vec![0; message.len()];
    server
        .read_exact(&mut arrived)
        .expect("the message arrives");
    assert_eq!(arrived, message);
}

#[test]
fn a_certificate_comes_from_another_ca_and_a_partner_without_wardgate_is_written_as_well() {
    let (site, partner) = (SetUpSite::new(), SetUpSite::new());
    partner.setup(&MODALITIES).expect_success();
    let ca = partner.file("ca/ca.pem").display().to_string();
    let other = [
        "--other-ca",
        &ca,
        "--other-identity",
        "dns:gw.region.example",
    ];
    let requested = ["--certificate", "csr", "--dns", "gw.hospital-a.example"];
    let text = site
        .setup(&[&MODALITIES[..], &other, &requested].concat())
        .expect_success()
        .text();
    assert!(
        text.contains("send ") && text.contains("site.csr to your CA"),
        "{text}"
    );
    let request = fs::read_to_string(site.file("pki/site.csr")).expect("it was made");
    assert!(
        request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"),
        "{request}"
    );
    assert!(!site.file("ca").exists());
    // Only the certificate is missing: the partner is complete.
    let check = site.command(&["check"]).run().expect_failure().text();
    assert!(
        check.contains("site.pem") && !check.contains("[[peer]]"),
        "{check}"
    );
    assert!(site.file("pki/region-ca.pem").exists());
}
