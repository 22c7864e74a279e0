//! The packages under test, made once in each run of the tier.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;
use wardgate_tests::tier::workspace;
use wardgate_tests::{Program, built};

/// The version of the packages.
pub(crate) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-1");

/// The folder with the packages of the programs in the target folder.
pub(crate) fn packages() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| package_into("package-test", "022"))
}

/// Makes all packages in this folder of the target folder, by a user with this umask.
pub(crate) fn package_into(name: &str, umask: &str) -> PathBuf {
    let xtask = workspace().join(".ci/xtask");
    Program::new("sh")
        .args(["-c", "umask \"$0\"; exec \"$@\"", umask])
        .arg(built("xtask"))
        .args(["package", "--profile", "dev", "--folder", name])
        .env("CARGO_MANIFEST_DIR", xtask)
        .current_dir(workspace())
        .deadline(Duration::from_secs(300))
        .run()
        .expect_success();
    target().join(name)
}

/// The target folder.
pub(crate) fn target() -> PathBuf {
    let program = built("wardgate");
    let target = program.ancestors().nth(2);
    target
        .expect("programs are in a profile's folder")
        .to_owned()
}

/// The .deb of the gateway.
pub(crate) fn deb() -> PathBuf {
    packages().join(format!("wardgate_{VERSION}_amd64.deb"))
}

/// The .rpm of the gateway.
pub(crate) fn rpm() -> PathBuf {
    packages().join(format!("wardgate-{VERSION}.x86_64.rpm"))
}

/// A .deb like [`deb`] of another version, whose files `change` may alter.
pub(crate) fn deb_of(version: &str, change: impl FnOnce(&Path)) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("there is room");
    let tree = folder.path().join("tree");
    Program::new("dpkg-deb")
        .arg("-R")
        .args([&deb(), &tree])
        .run()
        .expect_success();
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).expect("a package has a control file");
    let ours = format!("Version: {VERSION}\n");
    assert!(text.contains(&ours), "{text}");
    let text = text.replace(&ours, &format!("Version: {version}\n"));
    fs::write(&control, text).expect("the tree can be written");
    change(&tree);
    let file = folder.path().join("wardgate.deb");
    Program::new("dpkg-deb")
        .args(["--root-owner-group", "-Znone", "--build"])
        .args([&tree, &file])
        .run()
        .expect_success();
    (folder, file)
}
