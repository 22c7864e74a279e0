//! The Debian packages of the peers: found by their files, and installed if the user is root.

use std::path::Path;

use wardgate_packages as debian;

use super::{Program, config};

/// A file that a package brings.
type Needed = (&'static str, &'static str);

/// The requirements of a program; the file is the one that is started or loaded.
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

/// The requirements of the DICOM scenario.
pub(crate) const DICOM: &[Needed] = &[("/usr/bin/storescu", "dcmtk")];

/// The requirements of the run's own network.
pub(crate) const NETWORK: &[Needed] = &[
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/sbin/ip", "iproute2"),
];

/// Installs missing packages, as root and if `may_install`.
///
/// # Errors
///
/// A package is missing and not installed; the message has the command that installs it.
pub(crate) fn prepare(needed: &[Needed], may_install: bool) -> anyhow::Result<()> {
    let missing = missing(needed);
    if missing.is_empty() {
        return Ok(());
    }
    anyhow::ensure!(
        may_install && debian::is_root()?,
        "missing: {}; install with: {}",
        missing.join(" "),
        debian::command(&missing)
    );
    debian::install(&missing)?;
    let still = self::missing(needed);
    anyhow::ensure!(
        still.is_empty(),
        "the packages {} are installed, and the files that are needed are still missing",
        still.join(" ")
    );
    Ok(())
}

/// The packages with missing files, each once.
fn missing(needed: &[Needed]) -> Vec<&'static str> {
    let mut packages: Vec<_> = needed
        .iter()
        .filter(|(file, _)| !Path::new(file).exists())
        .map(|&(_, package)| package)
        .collect();
    packages.dedup();
    packages
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
    fn nothing_is_installed_where_that_is_not_allowed() {
        let needed = [("/nowhere/a", "first")];
        let error = prepare(&needed, false).expect_err("it is missing");
        let remedy = "sudo apt-get install --no-install-recommends first";
        assert!(error.to_string().ends_with(remedy), "{error}");
    }
}
