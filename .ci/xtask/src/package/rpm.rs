//! The .rpm files, by `rpmbuild` from one spec.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::steps::must;

use super::contents::{self, Parts};
use super::tree::Tree;
use super::{Build, REVISION, VERSION};

/// Builds all packages of this format, and returns their files.
pub(crate) fn build(build: &Build<'_>, parts: &Parts) -> anyhow::Result<Vec<PathBuf>> {
    let trees = [
        ("wardgate", gateway(build, parts)?),
        ("wardgate-tools", tools(build, parts)?),
        ("wardgate-debuginfo", parts.gateway_symbols.clone()),
        ("wardgate-tools-debuginfo", parts.tools_symbols.clone()),
    ];
    let whole = Tree::new(build, "rpm/tree")?;
    let mut spec = head(build)?;
    for (name, tree) in &trees {
        let mut cp = build.tool("cp");
        must(cp.arg("-a").arg(tree.root().join(".")).arg(whole.root()))?;
        let _ = write!(
            spec,
            "\n%files -n {name}\n%defattr(-,root,root)\n{}",
            files(name, tree)?
        );
    }
    let file = build.path("rpm/wardgate.spec");
    fs::write(&file, spec).with_context(|| format!("cannot write {}", file.display()))?;
    run(build, &file, whole.root())?;
    let built = build.path("rpm/RPMS/x86_64");
    let move_here = |name: &str| {
        let file = format!("{name}-{VERSION}-{REVISION}.x86_64.rpm");
        let to = build.path(&file);
        fs::rename(built.join(&file), &to).with_context(|| format!("rpmbuild made no {file}"))?;
        Ok(to)
    };
    trees.iter().map(|(name, _)| move_here(name)).collect()
}

/// The tree of `wardgate`, with what only this format has.
fn gateway(build: &Build<'_>, parts: &Parts) -> anyhow::Result<Tree> {
    let tree = parts.gateway.duplicate(build, "rpm/wardgate")?;
    contents::zsh(build, &tree, "/usr/share/zsh/site-functions")?;
    licences(build, &tree, "wardgate")?;
    Ok(tree)
}

fn tools(build: &Build<'_>, parts: &Parts) -> anyhow::Result<Tree> {
    let tree = parts.tools.duplicate(build, "rpm/wardgate-tools")?;
    licences(build, &tree, "wardgate-tools")?;
    Ok(tree)
}

fn licences(build: &Build<'_>, tree: &Tree, package: &str) -> anyhow::Result<()> {
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        let to = format!("/usr/share/licenses/{package}/{name}");
        tree.copy(&build.workspace.source(name), &to, 0o644)?;
    }
    let changes = format!("/usr/share/doc/{package}/CHANGELOG.md");
    tree.copy(&build.workspace.source("CHANGELOG.md"), &changes, 0o644)
}

/// The spec of the project with its scripts and its version, without the lists of files.
fn head(build: &Build<'_>) -> anyhow::Result<String> {
    let template = build.workspace.source("packaging/rpm/wardgate.spec");
    let mut spec = fs::read_to_string(&template)
        .with_context(|| format!("cannot read {}", template.display()))?;
    for script in ["post", "preun", "postun"] {
        let text = contents::script(build, &format!("rpm/{script}"))?;
        // rpm expands macros in scripts.
        spec = spec.replace(&format!("@{script}@"), &text.replace('%', "%%"));
    }
    let values = [
        ("@version@", VERSION.to_owned()),
        ("@revision@", REVISION.to_owned()),
        ("@date@", build.date("+%a %b %d %Y")?),
    ];
    for (name, value) in values {
        spec = spec.replace(name, &value);
    }
    Ok(spec)
}

/// Folders that every system has. A package removes all others with itself: those of firewalld, fish and zsh
/// may be missing where these are not installed.
const OF_SYSTEM: [&str; 18] = [
    "/etc",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib/debug",
    "/usr/lib/systemd",
    "/usr/lib/systemd/system",
    "/usr/lib/sysusers.d",
    "/usr/lib/tmpfiles.d",
    "/usr/libexec",
    "/usr/share",
    "/usr/share/bash-completion",
    "/usr/share/bash-completion/completions",
    "/usr/share/doc",
    "/usr/share/licenses",
    "/usr/share/man",
    "/usr/share/man/man1",
    "/usr/share/man/man5",
];

/// The files of a package with what rpm must know about each.
fn files(name: &str, tree: &Tree) -> anyhow::Result<String> {
    let mut lines = String::new();
    for file in tree.files()? {
        let kind = match &*file {
            "/etc/wardgate/wardgate.toml" => "%config(noreplace) ",
            file if file.starts_with("/usr/share/licenses/") => "%license ",
            file if file.starts_with("/usr/share/doc/") => "%doc ",
            _ => "",
        };
        let _ = writeln!(lines, "{kind}{file}");
    }
    if name == "wardgate" {
        lines += "%dir %attr(0750,root,wardgate) /etc/wardgate\n\
                  %dir %attr(0750,root,wardgate) /etc/wardgate/pki\n";
    }
    for folder in tree.folders()? {
        if folder != "/etc/wardgate" && !OF_SYSTEM.contains(&&*folder) {
            let _ = writeln!(lines, "%dir {folder}");
        }
    }
    Ok(lines)
}

fn run(build: &Build<'_>, spec: &Path, tree: &Path) -> anyhow::Result<()> {
    let compression = if build.release {
        "w19.zstdio"
    } else {
        "w1.zstdio"
    };
    let defines = [
        format!(
            "_topdir {}",
            std::path::absolute(build.path("rpm"))?.display()
        ),
        format!("wardgate_tree {}", std::path::absolute(tree)?.display()),
        format!("_binary_payload {compression}"),
    ];
    let mut tool = build.tool("rpmbuild");
    tool.args(["-bb", "--quiet", "--target", "x86_64-linux"]);
    for define in &defines {
        tool.args(["--define", define]);
    }
    must(tool.arg(spec))
}
