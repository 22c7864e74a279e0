//! Where the wardgate to measure is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The named wardgate, the installed one, or the release build in the target folder of this program.
///
/// # Errors
///
/// There is no such file.
pub(crate) fn wardgate(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match named.map(Path::to_owned).or_else(installed) {
        Some(path) => path,
        None => target_folder()?.join("release/wardgate"),
    };
    fs::canonicalize(&path).with_context(|| {
        format!(
            "there is no {}; name the program by --wardgate",
            path.display()
        )
    })
}

/// The wardgate in the folder of this program, unless that is a folder of Cargo.
pub(crate) fn installed() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let path = own.parent()?.join("wardgate");
    let is_built = target_folder().is_ok_and(|target| target.join("CACHEDIR.TAG").exists());
    (!is_built && path.exists()).then_some(path)
}

/// The folder above that of this program: Cargo's target folder, unless it is installed.
///
/// # Errors
///
/// This program is in the root folder, or its path is unknown.
pub(crate) fn target_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find our own program")?;
    let target = own.parent().and_then(|folder| folder.parent());
    let target = target.context("our own program is in no target folder")?;
    Ok(target.to_owned())
}
