//! The programs of the packages: their build, their debug symbols, and what they need of the C library.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::steps::must;

use super::tree::Tree;
use super::{Build, output};

/// The newest glibc that the programs may need. Ubuntu 22.04 has 2.35, Debian 12 has 2.36, RHEL 10 has 2.39.
const GLIBC_MAX: Version = (2, 35);

type Version = (u32, u32);

/// The programs of one build.
pub(crate) struct Programs {
    folder: PathBuf,
    /// The newest symbol version of glibc that one of them needs.
    pub(crate) glibc: Version,
}

impl Programs {
    /// Builds the programs with the profile of the build.
    pub(crate) fn build(build: &Build<'_>) -> anyhow::Result<Self> {
        let folder = if build.release {
            release(build)?
        } else {
            // The same build as `cargo xtask test`, which finds everything done.
            must(&mut build.workspace.cargo(&crate::BUILD))?;
            build.workspace.product("debug")
        };
        let mut glibc = (2, 0);
        for name in ["wardgate", "wardgate-bench", "wardgate-demo"] {
            let program = folder.join(name);
            glibc = glibc.max(needed_glibc(build, &program)?);
            if build.release {
                let bytes = fs::read(&program)
                    .with_context(|| format!("cannot read {}", program.display()))?;
                names_no_folder(name, &bytes, &folders(build)?)?;
            }
        }
        anyhow::ensure!(
            glibc <= GLIBC_MAX,
            "the programs need glibc {}.{}, and Ubuntu 22.04 has {}.{}: build on an older distribution",
            glibc.0,
            glibc.1,
            GLIBC_MAX.0,
            GLIBC_MAX.1
        );
        Ok(Self { folder, glibc })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Installs a program without its symbols, and the symbols where debuggers look for them.
    pub(crate) fn install(
        &self,
        build: &Build<'_>,
        name: &str,
        tree: &Tree,
        symbols: &Tree,
    ) -> anyhow::Result<()> {
        let program = self.path(name);
        let id = build_id(build, &program)?;
        let (head, tail) = id
            .split_at_checked(2)
            .context("the build ID is too short")?;
        let debug = format!("/usr/lib/debug/.build-id/{head}/{tail}.debug");
        symbols.write(&debug, "", 0o644)?;
        let mut only = build.tool("objcopy");
        only.arg("--only-keep-debug");
        if build.release {
            only.arg("--compress-debug-sections");
        }
        must(only.arg(&program).arg(symbols.path(&debug)))?;
        symbols.set_mode(&debug, 0o644)?;
        let installed = format!("/usr/bin/{name}");
        tree.write(&installed, "", 0o755)?;
        let mut strip = build.tool("objcopy");
        strip
            .args(["--strip-all", "--remove-section=.comment"])
            .arg(&program)
            .arg(tree.path(&installed));
        must(&mut strip)?;
        tree.set_mode(&installed, 0o755)
    }
}

/// Builds with the profile `release`, in a folder of its own, because the flags differ from those of other builds.
fn release(build: &Build<'_>) -> anyhow::Result<PathBuf> {
    let target = build.workspace.product("release-build");
    // The gateway alone first: built together with the other programs, its dependencies would have more features.
    let parts: [&[&str]; 2] = [
        &["-p", "wardgate"],
        &[
            "-p",
            "wardgate-bench",
            "-p",
            "wardgate-demo",
            "-p",
            "wardgate-manual",
        ],
    ];
    for packages in parts {
        let mut cargo = build.workspace.cargo(&["build", "--release", "--locked"]);
        cargo.args(packages).arg("--target-dir").arg(&target);
        for (name, value) in flags(build)? {
            cargo.env(name, value);
        }
        must(&mut cargo)?;
    }
    Ok(target.join("release"))
}

/// Flags that keep the folders of this machine out of the programs, for the compilers of Rust and C.
fn flags(build: &Build<'_>) -> anyhow::Result<[(&'static str, OsString); 3]> {
    let names = ["/cargo", "/wardgate", "/target"];
    let (mut rust, mut c) = (
        OsString::from("-Clink-arg=-Wl,--build-id=sha1"),
        OsString::from("-g0"),
    );
    for (folder, name) in folders(build)?.iter().zip(names) {
        for (flags, option) in [
            (&mut rust, "--remap-path-prefix="),
            (&mut c, "-ffile-prefix-map="),
        ] {
            flags.push(" ");
            flags.push(option);
            flags.push(folder);
            flags.push("=");
            flags.push(name);
        }
    }
    let epoch = build.epoch.to_string().into();
    Ok([
        ("RUSTFLAGS", rust),
        ("CFLAGS", c),
        ("SOURCE_DATE_EPOCH", epoch),
    ])
}

/// The folders of Cargo, of the sources and of what is built. The compilers use the last of several prefixes that
/// match, so the most specific is last.
fn folders(build: &Build<'_>) -> anyhow::Result<[PathBuf; 3]> {
    let cargo = match std::env::var_os("CARGO_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cargo"),
    };
    let root = std::path::absolute(build.workspace.source(""))?;
    let target = std::path::absolute(build.workspace.product(""))?;
    // Without the separator at the end, which `join("")` leaves.
    Ok([cargo, root, target].map(|folder| folder.components().as_path().to_owned()))
}

/// Fails if a program holds the path of a folder of this machine: it would differ on another one.
fn names_no_folder(name: &str, bytes: &[u8], folders: &[PathBuf]) -> anyhow::Result<()> {
    for folder in folders {
        let folder = folder.display().to_string();
        let mut places = bytes.windows(folder.len());
        anyhow::ensure!(
            !places.any(|place| place == folder.as_bytes()),
            "{name} holds the path {folder}, so its bytes depend on this machine"
        );
    }
    Ok(())
}

/// The newest version of glibc's symbols that a program uses.
fn needed_glibc(build: &Build<'_>, program: &Path) -> anyhow::Result<Version> {
    let symbols = output(build.tool("objdump").arg("-T").arg(program))?;
    newest(&symbols).with_context(|| format!("{} uses no symbol of glibc", program.display()))
}

/// The newest version in lines such as `... GLIBC_2.34 pthread_create`.
fn newest(symbols: &str) -> Option<Version> {
    let versions = symbols.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let mut numbers = rest[..end.unwrap_or(rest.len())].split('.');
        let major = numbers.next()?.parse().ok()?;
        Some((major, numbers.next()?.parse().ok()?))
    });
    versions.max()
}

/// The build ID in hexadecimal digits.
fn build_id(build: &Build<'_>, program: &Path) -> anyhow::Result<String> {
    let notes = output(build.tool("readelf").arg("-n").arg(program))?;
    let id = notes
        .lines()
        .find_map(|line| line.trim().strip_prefix("Build ID: "));
    let id = id.with_context(|| format!("{} has no build ID", program.display()))?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_folder_of_this_machine_is_refused() {
        let folders = [PathBuf::from("/srv/sources")];
        let refused = names_no_folder("x", b"a\0/srv/sources/a.rs\0", &folders);
        assert!(refused.is_err_and(|why| why.to_string().contains("/srv/sources")));
        assert!(names_no_folder("x", b"/wardgate/a.rs", &folders).is_ok());
    }

    #[test]
    fn the_newest_symbol_version_of_glibc_is_found() {
        let symbols = "0 DF *UND* (GLIBC_2.2.5) free\n0 DF *UND* (GLIBC_2.34) dlsym\n\
                       0 DF *UND* (GLIBC_2.9) x\n0 DF *UND* (GCC_3.0) y\n";
        assert_eq!(newest(symbols), Some((2, 34)));
        assert!((2, 36) > GLIBC_MAX);
        assert_eq!(newest("0 DF *UND* (GCC_3.0) y"), None);
    }
}
