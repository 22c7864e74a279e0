//! Debian packages that the tests need: found, named, and as root installed.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::Workspace;
use crate::steps::must;

/// Installs what is missing of `.ci/packages.txt`; without root it says what to install.
pub(crate) fn prepare(workspace: &Workspace) -> anyhow::Result<()> {
    let list = fs::read_to_string(workspace.source(".ci/packages.txt"))
        .context("cannot read .ci/packages.txt")?;
    let wanted = read(&list)?;
    let Some(missing) = missing(&wanted)? else {
        println!("this is not Debian or Ubuntu: tests skip where a program is missing");
        println!("they need: {}", wanted.join(" "));
        return Ok(());
    };
    if missing.is_empty() {
        println!("all {} are installed", wanted.len());
        return Ok(());
    }
    if !is_root()? {
        println!("not root, so tests skip where a program is missing; to run them all:");
        println!(
            "  sudo apt-get install --no-install-recommends {}",
            missing.join(" ")
        );
        return Ok(());
    }
    install(&missing)
}

/// Names in the list, in its order: one a line, `#` begins a comment.
fn read(list: &str) -> anyhow::Result<Vec<&str>> {
    let mut names = Vec::new();
    for line in list.lines() {
        let (name, reason) = line.split_once('#').unwrap_or((line, ""));
        let name = name.trim();
        if name.is_empty() {
            continue;
        }
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
        anyhow::ensure!(
            name.chars().all(legal),
            "packages.txt: {name:?} is no package name"
        );
        anyhow::ensure!(
            !reason.trim().is_empty(),
            "packages.txt: {name:?} has no reason"
        );
        names.push(name);
    }
    Ok(names)
}

/// Those that dpkg does not hold as installed; `None` where there is no dpkg.
fn missing(wanted: &[&str]) -> anyhow::Result<Option<Vec<String>>> {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"])
        .args(wanted)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    // dpkg-query fails as soon as one name is unknown to it; what it printed counts all the same.
    let listed = match query {
        Ok(output) => output.stdout,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("cannot run dpkg-query"),
    };
    Ok(Some(without(wanted, &String::from_utf8_lossy(&listed))))
}

/// The wanted names that a listing of `status name` lines does not give as installed.
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

/// Whether packages can be installed and namespaces made.
pub(crate) fn is_root() -> anyhow::Result<bool> {
    let status = fs::read_to_string("/proc/self/status").context("cannot read our own status")?;
    Ok(effective_user(&status) == Some(0))
}

/// The second number of `Uid: real effective saved filesystem`.
fn effective_user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn install(missing: &[String]) -> anyhow::Result<()> {
    println!("installing {}", missing.join(" "));
    let _quiet = NoDaemons::begin(Path::new("/usr/sbin/policy-rc.d"))?;
    must(apt_get().arg("update"))?;
    must(
        apt_get()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(missing),
    )
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        // What policy-rc.d does for invoke-rc.d, this does for older maintainer scripts.
        .env("RUNLEVEL", "1")
        // A machine that has just booted may be updating itself.
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .stdin(Stdio::null());
    command
}

/// While it lives, packages that are installed do not start their daemons: the tests start their own,
/// on ports of their own.
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
    fn the_list_gives_names_in_order_without_comments() {
        let list = "# why\n\ndcmtk  # tools\nlibstdc++6 # runtime\n";
        assert_eq!(
            read(list).expect("the list is good"),
            ["dcmtk", "libstdc++6"]
        );
    }

    #[test]
    fn a_name_that_apt_would_take_for_an_option_or_without_reason_is_refused() {
        for list in [
            "two words # x",
            "name=1 # x",
            "Upper # x",
            "dcmtk",
            "dcmtk #  ",
        ] {
            assert!(read(list).is_err(), "{list:?}");
        }
    }

    #[test]
    fn the_list_of_the_project_is_good() {
        let names = read(include_str!("../../packages.txt")).expect("packages.txt is good");
        assert!(names.contains(&"dcmtk"));
    }

    #[test]
    fn what_dpkg_does_not_hold_as_installed_is_missing() {
        let listing = "installed dcmtk\nconfig-files haproxy\nnot-installed orthanc\n";
        let missing = without(&["dcmtk", "haproxy", "orthanc", "tcpdump"], listing);
        assert_eq!(missing, ["haproxy", "orthanc", "tcpdump"]);
    }

    #[test]
    fn the_policy_stands_only_while_packages_are_installed() {
        let file = std::env::temp_dir().join(format!("xtask-policy-{}", std::process::id()));
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
