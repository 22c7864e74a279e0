//! `cargo xtask package`: the .deb and .rpm files of a commit.
//!
//! Each package is a folder tree with the files as they will be installed. `dpkg-deb` and `rpmbuild` make the
//! packages of these trees. cargo-deb and cargo-generate-rpm would do the same, but to compile both takes
//! three minutes of CPU time, mostly for signatures that are not made here.
//!
//! Two builds of one commit give the same bytes: files carry the time of the commit, owners are root, folders are open to
//! all, and the compiler does not write the folders of this machine into the programs (`programs.rs`).

mod contents;
mod crates;
mod deb;
mod licences;
mod programs;
mod rpm;
mod sbom;
mod tree;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::{Workspace, docs, python};
use programs::Programs;

/// The options of `cargo xtask package`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Package {
    /// The Cargo profile of the programs: "release" for installations, or "dev" for tests, which use the programs
    /// that are there already
    #[arg(long, default_value = "release", value_parser = ["release", "dev"])]
    profile: String,
    /// The folder in the target folder into which the packages go. What is in it is removed first
    #[arg(long, value_name = "NAME", default_value = "package", value_parser = folder_name)]
    folder: String,
}

impl Package {
    /// Builds all packages.
    pub(crate) fn run(&self, workspace: &Workspace) -> anyhow::Result<()> {
        // The modes of folders go into the packages, and must not depend on who builds.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        if docs::mdbook(workspace).is_none() {
            python::prepare(workspace)?;
        }
        docs::build(workspace)?;
        let release = self.profile == "release";
        let build = Build::new(workspace, workspace.product(&self.folder), release)?;
        let programs = Programs::build(&build)?;
        let parts = contents::stage(&build, &programs)?;
        let mut files = deb::build(&build, &programs, &parts)?;
        files.extend(rpm::build(&build, &parts)?);
        for file in files {
            println!("{}", file.display());
        }
        Ok(())
    }
}

/// Accepts names that cannot lead out of the target folder or to what Cargo keeps there.
fn folder_name(name: &str) -> Result<String, String> {
    let legal = name.starts_with("package") && !name.contains(['/', '.']);
    let why = || format!("{name:?} does not begin with \"package\", or is a path");
    legal.then(|| name.to_owned()).ok_or_else(why)
}

/// What every step of a build needs.
pub(crate) struct Build<'a> {
    workspace: &'a Workspace,
    /// Where the packages go.
    folder: PathBuf,
    /// For installations; the others are for tests and are compressed less.
    release: bool,
    /// Seconds since 1970: the time of the commit, or `SOURCE_DATE_EPOCH`.
    epoch: u64,
}

/// The version of the packages, which is the project's.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The number of the packaging of this version.
pub(crate) const REVISION: &str = "1";

impl<'a> Build<'a> {
    fn new(workspace: &'a Workspace, folder: PathBuf, release: bool) -> anyhow::Result<Self> {
        // Nothing of an earlier build may get into a package.
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            workspace,
            folder,
            release,
            epoch: epoch(workspace)?,
        })
    }

    /// A path in the folder of the packages.
    fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// A command that knows the time of the commit. The tools give it to files that are newer.
    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.workspace.source("."));
        command
    }

    /// The time of the commit in a format of `date`.
    fn date(&self, format: &str) -> anyhow::Result<String> {
        let mut date = self.tool("date");
        date.args(["-u", "-d", &format!("@{}", self.epoch), format]);
        Ok(output(&mut date)?.trim().to_owned())
    }
}

fn epoch(workspace: &Workspace) -> anyhow::Result<u64> {
    if let Some(given) = std::env::var_os("SOURCE_DATE_EPOCH") {
        let given = given.to_string_lossy();
        return given
            .parse()
            .with_context(|| format!("SOURCE_DATE_EPOCH is {given:?}, not a number of seconds"));
    }
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"])
        .current_dir(workspace.source("."));
    let time = output(&mut git).context("set SOURCE_DATE_EPOCH where there is no git")?;
    time.trim().parse().context("the time of the commit")
}

/// The output of a command that must succeed.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{name} failed: {}", errors.trim());
    String::from_utf8(output.stdout).with_context(|| format!("the output of {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_emptied_is_one_of_packages() {
        assert!(folder_name("package-again").is_ok());
        for name in ["debug", "package/../debug", "", "package.x", "/package"] {
            assert!(folder_name(name).is_err(), "{name}");
        }
    }
}
