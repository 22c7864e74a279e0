//! Installs the Python packages of the interop tier into a separate folder, `target/python`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::Workspace;
use crate::steps::must;

/// Installs `.ci/requirements.txt` if the packages are missing or the list has changed.
///
/// If the installation fails, prints a message and continues. Tests that need the packages are then skipped,
/// or fail if they are required.
pub(crate) fn prepare(workspace: &Workspace) -> anyhow::Result<()> {
    let requirements = workspace.source(".ci/requirements.txt");
    let wanted = fs::read_to_string(&requirements).context("cannot read .ci/requirements.txt")?;
    let folder = workspace.product("python");
    if is_current(&folder, &wanted) {
        println!("{} is up to date", folder.display());
        return Ok(());
    }
    if let Err(error) = install(&folder, &requirements) {
        println!("tests that need Python packages cannot run: {error:#}");
        println!("they need python3 with venv, and a package index that pip can reach");
        return Ok(());
    }
    // The stamp is written last, so an incomplete folder has none.
    fs::write(folder.join(STAMP), wanted).context("cannot write the stamp")
}

/// A copy of the list that the folder was made from.
const STAMP: &str = "wardgate-requirements.txt";

fn is_current(folder: &Path, wanted: &str) -> bool {
    let interpreter = folder.join("bin/python");
    let stamp = fs::read_to_string(folder.join(STAMP));
    interpreter.exists() && stamp.is_ok_and(|held| held == wanted)
}

fn install(folder: &Path, requirements: &Path) -> anyhow::Result<()> {
    // The package python3-venv belongs to Debian's own python3.
    let system = Path::new("/usr/bin/python3");
    let python = if system.exists() {
        system
    } else {
        Path::new("python3")
    };
    must(
        Command::new(python)
            .args(["-m", "venv", "--clear"])
            .arg(folder)
            .stdin(Stdio::null()),
    )?;
    must(
        Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--only-binary", ":all:"])
            .arg("--requirement")
            .arg(requirements)
            .stdin(Stdio::null()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_current_only_with_interpreter_and_the_same_list() {
        let folder = std::env::temp_dir().join(format!("xtask-python-{}", std::process::id()));
        fs::create_dir_all(folder.join("bin")).expect("temporary folder");
        fs::write(folder.join(STAMP), "pydicom==1").expect("stamp");
        assert!(!is_current(&folder, "pydicom==1"), "no interpreter");
        fs::write(folder.join("bin/python"), "").expect("interpreter");
        assert!(is_current(&folder, "pydicom==1"));
        assert!(!is_current(&folder, "pydicom==2"), "another list");
        fs::remove_dir_all(&folder).expect("temporary folder goes");
    }
}
