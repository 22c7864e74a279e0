//! The permitted owners of a gateway's files and of the folders that hold them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use tempfile::TempDir;
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Outcome, Pki, Program, copy_wardgate, wardgate};

use crate::check::{AS_ROOT, golden, originate};
use crate::pair::A;

/// A user that does not exist on any machine.
const STRANGER: u32 = 54321;
/// The user that a gateway runs as.
const SERVICE: u32 = 54320;

#[test]
fn files_and_folders_of_another_user_are_refused() {
    if !tier::ready("direct", &[Need::Root]) {
        return;
    }
    let pki = Pki::new();
    let leaf = pki.leaf(A);
    let site = originate(&leaf).crl(&pki.crl());
    for file in [&leaf.key, &pki.crl()] {
        chown(file, Some(STRANGER), None).expect("we are root");
    }
    golden("files-of-another-user", &pki, &site);
    for file in [&leaf.key, &pki.crl()] {
        chown(file, Some(0), None).expect("we are root");
    }
    chown(pki.path(""), Some(STRANGER), None).expect("we are root");
    golden("folder-of-another-user", &pki, &site);
}

#[test]
fn a_configuration_of_another_user_is_refused_by_check_and_run() {
    if !tier::ready("direct", &[Need::Root]) {
        return;
    }
    let pki = Pki::new();
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let file = folder.path().join("wardgate.toml");
    originate(&pki.leaf(A)).write(&file);
    chown(&file, Some(STRANGER), None).expect("we are root");
    for command in ["check", "run"] {
        let program = Program::new(wardgate()).args([command, "--config"]);
        let outcome = program.arg(&file).run();
        let code = outcome.status.and_then(|status| status.code());
        assert_eq!(code, Some(78), "{outcome}");
        let expected = format!("{}: the file belongs to uid {STRANGER}, ", file.display());
        assert!(outcome.text().contains(&expected), "{outcome}");
    }
}

/// Goal: a gateway with its own user starts from files of that user and of root, and from a folder below a
/// shared one such as /tmp. Only root gets the reminder about the user that the gateway runs as.
#[test]
fn a_user_of_its_own_may_own_the_files() {
    if !tier::ready("direct", &[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let pki = Pki::new();
    let leaf = pki.leaf(A);
    let site = originate(&leaf).crl(&pki.crl());
    let site = site.gateway("run_as", "\"root\"");
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let program = folder.path().join("wardgate");
    copy_wardgate(&program);
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), mode).expect("it is ours");
    let file = folder.path().join("wardgate.toml");
    site.write(&file);
    for owned in [&leaf.key, &file] {
        chown(owned, Some(SERVICE), Some(SERVICE)).expect("we are root");
    }
    let outcome = check_as(SERVICE, &program, &file).expect_success();
    assert!(!outcome.text().contains(AS_ROOT), "{outcome}");
    let outcome = check_as(0, &program, &file).expect_failure();
    assert!(
        outcome
            .text()
            .contains("run this command as that user (`sudo -u USER wardgate ...`)"),
        "{outcome}"
    );
    for owned in [&leaf.key, &file] {
        chown(owned, Some(0), Some(0)).expect("we are root");
    }
    let outcome = check_as(0, &program, &file).expect_success();
    let remark = format!(
        "{AS_ROOT} a security fault in it would expose the whole machine; name a user other than root in run_as"
    );
    assert!(outcome.text().contains(&remark), "{outcome}");
    // Root's gateway becomes another user.
    site.gateway("run_as", "\"nobody\"").write(&file);
    let outcome = check_as(0, &program, &file).expect_success();
    assert!(!outcome.text().contains(AS_ROOT), "{outcome}");
}

fn check_as(user: u32, program: &Path, file: &Path) -> Outcome {
    let ids = [format!("--reuid={user}"), format!("--regid={user}")];
    Program::new("setpriv")
        .args(ids)
        .arg("--clear-groups")
        .arg(program)
        .args(["check", "--config"])
        .arg(file)
        .run()
}
