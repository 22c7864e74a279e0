//! Finds and installs the missing Debian packages that tests and measurements need.
//!
//! `cargo xtask test` and `wardgate-bench peers` decide which packages they need. Only this code installs
//! anything on the machine, and it reports the packages before it begins.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

/// Installs these packages without starting their daemons. The caller must be root.
///
/// The packages and the output of apt-get go to standard error, so standard output stays unused.
///
/// # Errors
///
/// If apt-get does not exist or fails.
pub fn install(packages: &[impl AsRef<str>]) -> anyhow::Result<()> {
    let packages: Vec<&str> = packages.iter().map(AsRef::as_ref).collect();
    eprintln!("installing Debian packages: {}", packages.join(" "));
    let _quiet = NoDaemons::begin(Path::new("/usr/sbin/policy-rc.d"))?;
    run(apt_get().arg("update"))?;
    let install = ["install", "--yes", "--no-install-recommends"];
    run(apt_get().args(install).args(packages))
}

/// The command with which a user installs these packages.
#[must_use]
pub fn command(packages: &[impl AsRef<str>]) -> String {
    let packages: Vec<&str> = packages.iter().map(AsRef::as_ref).collect();
    let packages = packages.join(" ");
    format!("sudo apt-get install --no-install-recommends {packages}")
}

/// The packages of `wanted` that are not installed; `None` if there is no dpkg.
///
/// # Errors
///
/// If dpkg-query exists but cannot be run.
pub fn missing(wanted: &[&str]) -> anyhow::Result<Option<Vec<String>>> {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"])
        .args(wanted)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    // dpkg-query fails if it does not know one of the names; its output is valid even then.
    let listed = match query {
        Ok(output) => output.stdout,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("cannot run dpkg-query"),
    };
    Ok(Some(without(wanted, &String::from_utf8_lossy(&listed))))
}

/// The names of `wanted` that a listing of `status name` lines does not show as installed.
fn without(wanted: &[&str], listing: &str) -> Vec<String> {
    let installed: Vec<&str> = listing
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .collect();
    wanted
        .iter()
        .filter(|name| !installed.contains(*name))
        .map(|&name| name.to_owned())
        .collect()
}

/// Whether this process is root and can therefore install packages and create network namespaces.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub fn is_root() -> anyhow::Result<bool> {
    let status =
        fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    Ok(effective_user(&status) == Some(0))
}

/// The second number of `Uid: real effective saved filesystem`.
fn effective_user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        // The same as policy-rc.d for invoke-rc.d, for older maintainer scripts.
        .env("RUNLEVEL", "1")
        // A machine that has just booted may run its own update.
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .stdin(Stdio::null())
        .stdout(io::stderr());
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = match command.status() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            anyhow::bail!("this is not Debian or Ubuntu: install the programs manually")
        }
        other => other.context("cannot run apt-get")?,
    };
    anyhow::ensure!(status.success(), "apt-get ended with {status}");
    Ok(())
}

/// Prevents the daemons of installed packages from starting while this value lives. Tests and measurements
/// start their own, on their own ports.
struct NoDaemons<'a> {
    /// The file to remove afterwards; `None` if it existed before.
    placed: Option<&'a Path>,
}

impl<'a> NoDaemons<'a> {
    fn begin(policy: &'a Path) -> anyhow::Result<Self> {
        // Containers often have a policy that already forbids daemons; that file is not removed.
        if policy.exists() {
            return Ok(Self { placed: None });
        }
        fs::write(policy, "#!/bin/sh\nexit 101\n").context("cannot write policy-rc.d")?;
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
    fn packages_that_dpkg_does_not_list_as_installed_are_missing() {
        let listing = "installed dcmtk\nconfig-files haproxy\nnot-installed orthanc\n";
        let missing = without(&["dcmtk", "haproxy", "orthanc", "tcpdump"], listing);
        assert_eq!(missing, ["haproxy", "orthanc", "tcpdump"]);
    }

    #[test]
    fn the_policy_exists_only_during_the_installation() {
        let file = std::env::temp_dir().join(format!("packages-policy-{}", std::process::id()));
        let guard = NoDaemons::begin(&file).expect("the policy can be placed");
        let status = Command::new(&file).status().expect("the policy can be run");
        assert_eq!(status.code(), Some(101), "forbidden by policy");
        drop(NoDaemons::begin(&file).expect("there is one already"));
        assert!(file.exists(), "a policy that was there before stays");
        drop(guard);
        assert!(!file.exists());
    }

    #[test]
    fn the_effective_user_is_the_second_number() {
        assert_eq!(effective_user("Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some(0));
        assert_eq!(effective_user("Uid:\t0\t1000\t0\t0\n"), Some(1000));
        assert_eq!(effective_user("Gid:\t0\t0\t0\t0\n"), None);
    }
}
