//! A network namespace for the run: its own loopback, ports and congestion control.
//!
//! BBR, the default on many machines, paces on loopback and distorts every comparison.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;

use crate::chain::packages;

/// The argument with which the program starts itself inside the namespace.
pub(crate) const INSIDE: &str = "--inside";

/// Available in every kernel, and without pacing.
const CONGESTION_CONTROL: &str = "reno";

/// Starts this program again with the same arguments in a new network namespace.
///
/// # Errors
///
/// No namespace is permitted; otherwise the function does not return.
pub(crate) fn enter(may_install: bool) -> anyhow::Result<()> {
    packages::prepare(packages::NETWORK, may_install)?;
    let own = std::env::current_exe().context("cannot find our own program")?;
    let mut unshare = Command::new("/usr/bin/unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let error = unshare
        .args(["--net", "--"])
        .arg(own)
        .args(arguments)
        .arg(INSIDE)
        .exec();
    Err(error).context("cannot run unshare")
}

/// Brings loopback up and sets the congestion control of this namespace.
///
/// # Errors
///
/// The kernel refuses, or the namespace is the machine's own, whose settings must not change.
pub(crate) fn prepare() -> anyhow::Result<()> {
    let links = fs::read_to_string("/proc/self/net/dev").context("cannot read the links")?;
    anyhow::ensure!(
        only_loopback(&links),
        "{INSIDE} is for a network namespace of our own; leave it away"
    );
    let status = Command::new("/usr/sbin/ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .context("cannot run ip")?;
    anyhow::ensure!(status.success(), "cannot bring loopback up: run as root");
    let path = "/proc/sys/net/ipv4/tcp_congestion_control";
    fs::write(path, CONGESTION_CONTROL).with_context(|| format!("cannot write {path}"))?;
    let set = fs::read_to_string(path).unwrap_or_default();
    anyhow::ensure!(
        set.trim() == CONGESTION_CONTROL,
        "{path} holds {:?} and not {CONGESTION_CONTROL:?}",
        set.trim()
    );
    Ok(())
}

/// Whether no link of `/proc/net/dev` leads anywhere: a new namespace has loopback and, with some kernels,
/// tunnel devices that are down and have carried nothing.
fn only_loopback(links: &str) -> bool {
    links
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.trim() != "lo")
        .all(|(_, counters)| counters.split_whitespace().all(|counter| counter == "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_with_a_link_that_carried_bytes_is_not_our_own() {
        let header = "Inter-|   Receive\n face |bytes    packets\n";
        let loopback = "    lo: 5 1 0\n";
        let tunnel = "  sit0: 0 0 0\n";
        let ethernet = "  eth0: 5 1 0\n";
        assert!(only_loopback(&format!("{header}{loopback}{tunnel}")));
        assert!(!only_loopback(&format!("{header}{loopback}{ethernet}")));
    }
}
