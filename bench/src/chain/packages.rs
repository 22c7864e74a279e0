//! The Debian packages of the peers: found, named, and as root installed.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::{Program, config};

/// A file that a package brings.
type Needed = (&'static str, &'static str);

/// What a program needs beyond ours; the file is what is started or loaded.
pub(crate) fn needed_by(program: Program) -> &'static [Needed] {
    match program {
        Program::Haproxy => &[("/usr/sbin/haproxy", "haproxy")],
        Program::Stunnel => &[("/usr/bin/stunnel4", "stunnel4")],
        Program::Nginx => &[
            ("/usr/sbin/nginx", "nginx"),
            (config::NGINX_STREAM, "libnginx-mod-stream"),
        ],
        Program::Wardgate | Program::Relay => &[],
    }
}

/// What the DICOM scenario needs.
pub(crate) const DICOM: &[Needed] = &[("/usr/bin/storescu", "dcmtk")];

/// What the run's own network needs.
pub(crate) const NETWORK: &[Needed] = &[
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/sbin/ip", "iproute2"),
];

/// Installs what is missing, where we are root.
///
/// # Errors
///
/// Where something is missing and we are not root, with what to install.
pub(crate) fn prepare(needed: &[Needed]) -> anyhow::Result<()> {
    let missing = missing(needed);
    if missing.is_empty() {
        return Ok(());
    }
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "missing: {0}; install with: sudo apt-get install --no-install-recommends {0}",
        missing.join(" ")
    );
    install(&missing)?;
    let still = self::missing(needed);
    anyhow::ensure!(
        still.is_empty(),
        "the packages {} did not bring what was looked for",
        still.join(" ")
    );
    Ok(())
}

/// Packages whose files are not there, each once.
fn missing(needed: &[Needed]) -> Vec<&'static str> {
    let mut packages: Vec<_> = needed
        .iter()
        .filter(|(file, _)| !Path::new(file).exists())
        .map(|&(_, package)| package)
        .collect();
    packages.dedup();
    packages
}

fn install(packages: &[&str]) -> anyhow::Result<()> {
    eprintln!("installing {}", packages.join(" "));
    let _quiet = NoDaemons::begin(Path::new("/usr/sbin/policy-rc.d"))?;
    run(apt_get().arg("update"))?;
    let install = ["install", "--yes", "--no-install-recommends"];
    run(apt_get().args(install).args(packages))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        // What policy-rc.d does for invoke-rc.d, this does for older maintainer scripts.
        .env("RUNLEVEL", "1")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    // Standard output is for the run's own table.
    let output = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            anyhow::bail!("this is not Debian or Ubuntu: install the programs by other means")
        }
        other => other.context("cannot run apt-get")?,
    };
    anyhow::ensure!(
        output.status.success(),
        "apt-get failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// While it lives, packages that are installed do not start their daemons: a run starts its own.
struct NoDaemons<'a> {
    /// The file to take away again; none where it was there before.
    placed: Option<&'a Path>,
}

impl<'a> NoDaemons<'a> {
    fn begin(policy: &'a Path) -> anyhow::Result<Self> {
        // Containers often have one that forbids already; it is not ours to remove.
        if policy.exists() {
            return Ok(Self { placed: None });
        }
        fs::write(policy, "#!/bin/sh\nexit 101\n").context("cannot place policy-rc.d")?;
        let guard = Self {
            placed: Some(policy),
        };
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))
            .context("cannot make policy-rc.d executable")?;
        Ok(guard)
    }
}

impl Drop for NoDaemons<'_> {
    fn drop(&mut self) {
        if let Some(policy) = self.placed
            && let Err(error) = fs::remove_file(policy)
        {
            let policy = policy.display();
            eprintln!("cannot remove {policy}: {error}; remove it, or no service will start");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_missing_once_where_its_files_are_not_there() {
        let needed = [
            ("/proc/self/stat", "kernel"),
            ("/nowhere/a", "first"),
            ("/nowhere/b", "first"),
        ];
        assert_eq!(missing(&needed), ["first"]);
    }

    #[test]
    fn the_policy_stands_only_while_packages_are_installed() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("policy");
        let guard = NoDaemons::begin(&file).expect("the policy can be placed");
        drop(NoDaemons::begin(&file).expect("there is one already"));
        assert!(file.exists(), "a policy that was there before stays");
        drop(guard);
        assert!(!file.exists());
    }
}
