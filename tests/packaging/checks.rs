//! What other programs say about the packages and their files.

use std::fs;

use wardgate_tests::tier::{Need, workspace};
use wardgate_tests::{Program, wardgate};

use crate::built::{package_into, packages};
use crate::ready;

/// The services, and the highest exposure that `systemd-analyze security` may find: 0 is none, 10 is all.
const EXPOSURE_MAX: [(&str, f32); 4] = [
    ("wardgate", 1.6),
    ("wardgate-crl-fetch", 1.1),
    ("wardgate-crl-renew", 0.7),
    ("wardgate-pair-renew", 1.7),
];

#[test]
fn lintian_and_rpmlint_report_nothing_without_a_reason() {
    if !ready(&[Need::Program("lintian"), Need::Program("rpmlint")]) {
        return;
    }
    let debs = files(".deb");
    let lintian = Program::new("lintian")
        .args(["--pedantic", "--display-info", "--allow-root", "--fail-on"])
        .arg("error,warning,info,pedantic")
        // The link of a package of debug symbols leads to its program's documents: a package of debug symbols may
        // hold no override that says so.
        .arg("--suppress-tags=cannot-check-whether-usr-share-doc-symlink-points-to-foreign-package")
        .args(&debs);
    let text = lintian.run().expect_success().text();
    assert_eq!(text.trim(), "");
    let rpmlint = Program::new("rpmlint")
        .arg("--config")
        .arg(workspace().join("packaging/rpm/rpmlint.toml"))
        .args(files(".rpm"));
    let text = rpmlint.run().expect_success().text();
    assert!(text.contains("0 errors, 0 warnings"), "{text}");
    assert_eq!(debs.len(), 4);
}

/// The second build packs the same programs later, and its user lets nobody else read new files.
#[test]
fn two_builds_of_one_commit_give_the_same_bytes() {
    if !ready(&[]) {
        return;
    }
    // One build at a time: both write the guide into the same folder.
    let all = [files(".deb"), files(".rpm")].concat();
    let again = package_into("package-again", "077");
    assert_eq!(all.len(), 8);
    for name in all {
        let file = std::path::Path::new(&name)
            .file_name()
            .expect("it is a file");
        let first = fs::read(&name).expect("it is there");
        let second = fs::read(again.join(file)).expect("the second build has the same files");
        assert!(first == second, "{name} differs");
    }
}

#[test]
fn the_services_are_valid_and_their_exposure_is_low() {
    if !ready(&[Need::Program("systemd-analyze")]) {
        return;
    }
    for (name, max) in EXPOSURE_MAX {
        let unit = format!("packaging/systemd/{name}.service");
        let text = Program::new("systemd-analyze")
            .args(["security", "--offline=yes", "--no-pager"])
            .arg(workspace().join(unit))
            .run()
            .expect_success()
            .text();
        let (_, rest) = text
            .split_once(&format!("Overall exposure level for {name}.service: "))
            .expect(&text);
        let level: f32 = rest
            .split(' ')
            .next()
            .and_then(|level| level.parse().ok())
            .expect(rest);
        assert!(level <= max, "{text}");
    }
}

#[test]
fn the_commands_of_the_services_are_ones_that_the_program_knows() {
    let mut found = 0;
    for (name, _) in EXPOSURE_MAX {
        let unit = workspace().join(format!("packaging/systemd/{name}.service"));
        let text = fs::read_to_string(unit).expect("it is there");
        for line in text.lines() {
            let Some(command) = line.strip_prefix("ExecStart=/usr/bin/wardgate ") else {
                continue;
            };
            // With --help, nothing is done and the options before it must exist.
            let outcome = Program::new(wardgate())
                .args(command.split(' '))
                .arg("--help")
                .run();
            outcome.expect_success();
            found += 1;
        }
    }
    assert_eq!(found, EXPOSURE_MAX.len());
}

#[test]
fn the_apparmor_profile_compiles() {
    if !ready(&[Need::Program("apparmor_parser")]) {
        return;
    }
    let profile = workspace().join("packaging/apparmor/wardgate");
    Program::new("apparmor_parser")
        .args(["--skip-kernel-load", "--skip-cache"])
        .arg(profile)
        .run()
        .expect_success();
}

/// The configuration of a new installation, as it is and with its example written out.
#[test]
fn the_first_configuration_explains_itself_and_its_example_is_valid() {
    let starter = workspace().join("packaging/etc/starter.toml");
    let text = Program::new(wardgate())
        .arg("check")
        .arg(&starter)
        .run()
        .expect_failure()
        .text();
    assert!(text.contains("no [[route]]; write one"), "{text}");

    let folder = tempfile::TempDir::new().expect("there is room");
    let file = folder.path().join("wardgate.toml");
    let text = fs::read_to_string(starter).expect("it is there");
    // A comment has a space after its mark, a line of the example has none.
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest,
        _ => line,
    });
    fs::write(&file, lines.collect::<Vec<_>>().join("\n")).expect("there is room");
    let text = Program::new(wardgate())
        .arg("check")
        .arg(&file)
        .run()
        .expect_failure()
        .text();
    // Only the files and the address are missing on this machine.
    for line in text.lines().filter(|line| line.contains("wardgate.toml:")) {
        assert!(line.contains("/etc/wardgate/pki/"), "{text}");
    }
    assert!(!text.contains("no [[route]]"), "{text}");
}

/// The packages whose names end so, sorted.
fn files(end: &str) -> Vec<String> {
    let entries = fs::read_dir(packages()).expect("the packages were made");
    let paths = entries.map(|entry| {
        entry
            .expect("the folder can be read")
            .path()
            .display()
            .to_string()
    });
    let mut files: Vec<_> = paths.filter(|path| path.ends_with(end)).collect();
    files.sort();
    files
}
