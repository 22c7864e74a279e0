//! `wardgate tune` on a folder in place of the host.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Outcome, Program, copy_wardgate, wardgate};

/// A host with four sysctls, of which two matter and differ.
struct Host(tempfile::TempDir);

const SYSCTLS: [(&str, &str); 4] = [
    ("net/core/rmem_max", "212992\n"),
    ("net/core/somaxconn", "128\n"),
    ("net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
    ("net/ipv4/tcp_mtu_probing", "1\n"),
];

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().expect("a folder can be made"));
        for (name, text) in SYSCTLS {
            let file = host.0.path().join("proc/sys").join(name);
            let folder = file.parent().expect("a file lies in a folder");
            fs::create_dir_all(folder).expect("the folder can be made");
            fs::write(file, text).expect("the file can be written");
        }
        fs::create_dir(host.0.path().join("etc")).expect("the folder can be made");
        host
    }

    fn tune(&self, arguments: &[&str]) -> Outcome {
        let root = self.0.path();
        let program = Program::new(wardgate()).arg("tune").args(arguments);
        program.arg("--root").arg(root).run()
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(self.0.path(), &mut files);
        files
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder)
        .expect("the folder can be read")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            files.insert(path.clone(), Vec::new());
            collect(&path, files);
        } else {
            let content = fs::read(&path).expect("the file can be read");
            files.insert(path, content);
        }
    }
}

fn code(outcome: &Outcome) -> Option<i32> {
    outcome.status.and_then(|status| status.code())
}

#[test]
fn tune_check_fails_until_apply_and_again_after_undo() {
    let host = Host::new();
    let files = host.files();
    let check = ["check", "--profile", "10g"];
    let before = host.tune(&check);
    assert_eq!(code(&before), Some(1), "{}", before.text());
    assert!(
        before.text().contains("2 differ and matter"),
        "{}",
        before.text()
    );

    let applied = host.tune(&["apply", "--yes", "--profile=10g", "--wan=1g", "--rtt=200ms"]);
    assert_eq!(code(&applied), Some(0), "{}", applied.text());
    let line = "\nchanged: net.ipv4.tcp_rmem: 4096 131072 6291456 -> 4096 131072 50331648\n";
    assert!(applied.text().contains(line), "{}", applied.text());
    assert_eq!(code(&host.tune(&check)), Some(0));

    let undone = host.tune(&["undo"]);
    assert_eq!(code(&undone), Some(0), "{}", undone.text());
    assert!(
        undone.text().contains("restored: net.core.somaxconn\n"),
        "{}",
        undone.text()
    );
    assert_eq!(host.files(), files);
    assert_eq!(code(&host.tune(&check)), Some(1));
    let nothing = host.tune(&["undo"]);
    assert_eq!(code(&nothing), Some(0));
    assert!(
        nothing.text().starts_with("nothing to undo"),
        "{}",
        nothing.text()
    );
}

#[test]
fn tune_apply_without_a_terminal_shows_the_changes_and_refuses() {
    let host = Host::new();
    let files = host.files();
    let refused = host.tune(&["apply", "--profile", "vm"]);
    assert_eq!(code(&refused), Some(1));
    let text = refused.text();
    assert!(
        text.contains("would be changed: net.core.somaxconn: 128 -> 4096\n"),
        "{text}"
    );
    assert!(text.contains("run it with --yes"), "{text}");
    assert_eq!(host.files(), files);
}

#[test]
fn tune_check_as_json_has_the_fields_of_the_guide() {
    let host = Host::new();
    let outcome = host.tune(&["check", "--json", "--profile", "25g", "--rtt", "2ms"]);
    let report: serde_json::Value = serde_json::from_slice(&outcome.stdout).expect("JSON");
    assert_eq!(report["version"], 1);
    assert_eq!(report["profile"], "25g");
    assert_eq!(report["profile_because"], "given");
    assert_eq!(report["wan_bits_per_second"], 25_000_000_000_u64);
    assert_eq!(report["rtt_microseconds"], 2000);
    assert_eq!(report["buffer_bytes"], 16 << 20);
    assert_eq!(report["differs"], true);
    let settings = report["settings"].as_array().expect("a list");
    let row = settings
        .iter()
        .find(|row| row["setting"] == "net.core.somaxconn");
    let row = row.expect("the setting is listed");
    assert_eq!(
        (&row["verdict"], &row["now"]),
        (&"differs".into(), &"128".into())
    );
    assert_eq!(row["wanted"], "at least 4096");
    let guide = tier::workspace().join("docs/src/guide/tuning.md");
    let guide = fs::read_to_string(guide).expect("the guide is there");
    let fields = [&report, row].map(|value| value.as_object().expect("an object").keys());
    for field in fields.into_iter().flatten() {
        assert!(
            guide.contains(&format!("| `{field}` |")),
            "the guide lacks {field}"
        );
    }
}

#[test]
fn tune_refuses_values_that_it_cannot_read_with_an_example() {
    let host = Host::new();
    for (arguments, advice) in [
        (["check", "--wan", "fast"], "\"10g\""),
        (["check", "--rtt", "20"], "\"20ms\""),
        (["check", "--profile", "5g"], "10g, 25g"),
        (["apply", "--cores", "x"], "\"0-3\""),
    ] {
        let outcome = host.tune(&arguments);
        assert_eq!(code(&outcome), Some(2), "{arguments:?}");
        assert!(outcome.text().contains(advice), "{}", outcome.text());
    }
}

/// `wardgate tune apply` at a terminal, with this answer. `script` makes the terminal.
fn apply_at_a_terminal(host: &Host, answer: &str) -> Outcome {
    let (program, root) = (wardgate(), host.0.path());
    let command = format!(
        "{} tune apply --profile vm --root {}",
        program.display(),
        root.display()
    );
    let terminal = Program::new("script").args(["-qec", &command, "/dev/null"]);
    terminal.stdin(answer).run()
}

#[test]
fn tune_apply_asks_at_a_terminal_and_changes_nothing_without_a_yes() {
    if !tier::ready("direct", &[Need::Program("script")]) {
        return;
    }
    let host = Host::new();
    let files = host.files();
    for answer in ["n\n", "\n", "yet\n"] {
        let outcome = apply_at_a_terminal(&host, answer);
        assert_eq!(code(&outcome), Some(1), "{}", outcome.text());
        assert!(outcome.text().contains("[y/N]"), "{}", outcome.text());
        assert!(
            outcome.text().contains("nothing was changed"),
            "{}",
            outcome.text()
        );
        assert_eq!(host.files(), files, "{answer:?}");
    }
    let outcome = apply_at_a_terminal(&host, "y\n");
    assert_eq!(code(&outcome), Some(0), "{}", outcome.text());
    assert_ne!(host.files(), files);
}

#[test]
fn tune_apply_stops_if_the_host_changes_while_it_asks() {
    if !tier::ready("direct", &[Need::Program("script")]) {
        return;
    }
    let host = Host::new();
    let (program, root) = (wardgate(), host.0.path());
    // The answer comes only after a value has changed.
    let script = r#"
        (until grep -q 'y/N' "$1/shown" 2>/dev/null; do sleep 0.02; done
         echo 256 >"$1/proc/sys/net/core/somaxconn"; echo y) |
        script -qec "$0 tune apply --profile vm --root $1" /dev/null >"$1/shown"
        code=$?; cat "$1/shown"; exit $code"#;
    let outcome = Program::new("sh")
        .args(["-c", script])
        .arg(program)
        .arg(root)
        .run();
    assert_eq!(code(&outcome), Some(1), "{}", outcome.text());
    let expected =
        "net.core.somaxconn has changed meanwhile: it is \"256\" now; nothing was changed";
    assert!(outcome.text().contains(expected), "{}", outcome.text());
    let rmem_max = fs::read_to_string(root.join("proc/sys/net/core/rmem_max"));
    assert_eq!(rmem_max.expect("it is there"), SYSCTLS[0].1);
    assert!(!root.join("var/lib/wardgate-tune/tune.json").exists());
}

#[test]
fn tune_check_and_apply_name_a_later_file_of_sysctl_d() {
    let host = Host::new();
    let folder = host.0.path().join("etc/sysctl.d");
    fs::create_dir_all(&folder).expect("the folder can be made");
    let text = "net.core.somaxconn = 128\n";
    fs::write(folder.join("99-zz.conf"), text).expect("the file can be written");
    for arguments in [
        &["check", "--profile=vm"][..],
        &["apply", "--yes", "--profile=vm"],
    ] {
        let text = host.tune(arguments).text();
        let mut lines = text.lines().map(str::trim);
        let named = |line: &str| {
            line.starts_with("overridden: ")
                && line.contains(
                    "/etc/sysctl.d/99-zz.conf sets it to \"128\" at each start of the host",
                )
        };
        assert!(lines.any(named), "{text}");
    }
}

#[test]
fn tune_without_privilege_compares_and_refuses_to_change() {
    if !tier::ready("direct", &[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let host = Host::new();
    let root = host.0.path();
    let program = root.join("wardgate");
    copy_wardgate(&program);
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(root, mode).expect("it is ours");
    let files = host.files();
    let tune = |arguments: &[&str]| {
        let user = Program::new("setpriv").args(["--reuid=9999", "--regid=9999", "--clear-groups"]);
        let tune = user.arg(&program).arg("tune").args(arguments);
        tune.args(["--profile", "vm", "--root"]).arg(root).run()
    };
    let compared = tune(&["check"]);
    assert_eq!(code(&compared), Some(1), "{}", compared.text());
    assert!(
        compared.text().contains("2 differ and matter"),
        "{}",
        compared.text()
    );
    let refused = tune(&["apply", "--yes"]);
    assert_eq!(code(&refused), Some(1), "{}", refused.text());
    assert!(
        refused.text().contains("run this command as root"),
        "{}",
        refused.text()
    );
    assert_eq!(host.files(), files);
}
