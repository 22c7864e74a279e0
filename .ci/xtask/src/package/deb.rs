//! The .deb files, by `dpkg-deb`.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::steps::must;

use super::contents::{self, Parts};
use super::programs::Programs;
use super::tree::Tree;
use super::{Build, REVISION, VERSION, output};

const MAINTAINER: &str = "The wardgate project <wardgate@wardgate.example>";

/// A package with its control data.
struct Deb<'a> {
    name: &'a str,
    tree: Tree,
    section: &'a str,
    depends: String,
    /// Further fields, each with its line end.
    fields: &'a str,
    /// The line for people, then the text.
    description: &'a str,
}

/// Builds all packages of this format, and returns their files.
pub(crate) fn build(
    build: &Build<'_>,
    programs: &Programs,
    parts: &Parts,
) -> anyhow::Result<Vec<PathBuf>> {
    let (major, minor) = programs.glibc;
    let libraries = format!("libc6 (>= {major}.{minor}), libgcc-s1 (>= 4.2)");
    let same = format!("(= {VERSION}-{REVISION})");
    let of = |tree: &Tree, name: &str| tree.duplicate(build, &format!("deb/{name}"));
    let packages = [
        Deb {
            name: "wardgate",
            tree: gateway(build, parts)?,
            section: "net",
            depends: format!("{libraries}, systemd (>= 249)"),
            fields: "Suggests: wardgate-tools, keepalived, bird2, curl\n",
            description: GATEWAY,
        },
        Deb {
            name: "wardgate-tools",
            tree: of(&parts.tools, "wardgate-tools")?,
            section: "net",
            depends: libraries,
            fields: "",
            description: TOOLS,
        },
        Deb {
            name: "wardgate-dbgsym",
            tree: of(&parts.gateway_symbols, "wardgate-dbgsym")?,
            section: "debug",
            depends: format!("wardgate {same}"),
            fields: SYMBOL_FIELDS,
            description: "debug symbols for wardgate\n",
        },
        Deb {
            name: "wardgate-tools-dbgsym",
            tree: of(&parts.tools_symbols, "wardgate-tools-dbgsym")?,
            section: "debug",
            depends: format!("wardgate-tools {same}"),
            fields: SYMBOL_FIELDS,
            description: "debug symbols for wardgate-tools\n",
        },
    ];
    packages.iter().map(|deb| deb.build(build)).collect()
}

const SYMBOL_FIELDS: &str = "Auto-Built-Package: debug-symbols\n";

const GATEWAY: &str = "mutual-TLS gateway for DICOM and HL7 between hospitals
 wardgate stands at the edge of a site and carries DICOM and HL7, which
 scanners, archives and integration engines speak in plaintext, to other
 sites in TLS with AES-256-GCM. Each gateway proves by certificate which site
 it is, and neither application needs changes.
 .
 It needs Linux 6.1 or later with io_uring. The service starts when it has
 been configured and enabled, and not before.
";

const TOOLS: &str = "measurements and a demonstration of wardgate
 wardgate-bench measures throughput, latency and memory of wardgate and of
 comparable programs. wardgate-demo starts two sites on one machine, sends a
 study through them, and reports whether it arrived unaltered and unread.
";

/// The tree of `wardgate`, with what only Debian has.
fn gateway(build: &Build<'_>, parts: &Parts) -> anyhow::Result<Tree> {
    let tree = parts.gateway.duplicate(build, "deb/wardgate")?;
    let packaging = build.workspace.source("packaging");
    contents::zsh(build, &tree, "/usr/share/zsh/vendor-completions")?;
    tree.copy(
        &packaging.join("firewall/ufw"),
        "/etc/ufw/applications.d/wardgate",
        0o644,
    )?;
    tree.copy(
        &packaging.join("apparmor/wardgate"),
        "/etc/apparmor.d/wardgate",
        0o644,
    )?;
    let doc_base = packaging.join("deb/wardgate.doc-base");
    tree.copy(&doc_base, "/usr/share/doc-base/wardgate", 0o644)?;
    let conffiles = tree.files()?;
    let conffiles = conffiles.iter().filter(|file| file.starts_with("/etc/"));
    let lines: String = conffiles.map(|file| format!("{file}\n")).collect();
    tree.write("/DEBIAN/conffiles", lines, 0o644)?;
    for script in ["postinst", "prerm", "postrm"] {
        let text = contents::script(build, &format!("deb/{script}"))?;
        let text = format!("#!/bin/sh\nset -e\n\n{text}");
        tree.write(&format!("/DEBIAN/{script}"), text, 0o755)?;
    }
    Ok(tree)
}

impl Deb<'_> {
    fn build(&self, build: &Build<'_>) -> anyhow::Result<PathBuf> {
        self.documents(build)?;
        let tree = &self.tree;
        let sums = self.md5sums(build)?;
        tree.write("/DEBIAN/md5sums", sums, 0o644)?;
        tree.write("/DEBIAN/control", self.control(build)?, 0o644)?;
        let file = build.path(&format!("{}_{VERSION}-{REVISION}_amd64.deb", self.name));
        let mut tool = build.tool("dpkg-deb");
        tool.args(["--root-owner-group", "--build"]);
        if !build.release {
            tool.args(["-Zgzip", "-z1"]);
        }
        must(tool.arg(tree.root()).arg(&file))?;
        Ok(file)
    }

    fn control(&self, build: &Build<'_>) -> anyhow::Result<String> {
        let mut size = build.tool("du");
        size.args(["-sk", "--apparent-size", "--exclude=DEBIAN"]);
        let size = output(size.arg(self.tree.root()))?;
        let size = size.split_whitespace().next().unwrap_or_default();
        let Self {
            name,
            section,
            depends,
            fields,
            description,
            ..
        } = self;
        Ok(format!(
            "Package: {name}\nVersion: {VERSION}-{REVISION}\nArchitecture: amd64\nMaintainer: {MAINTAINER}\n\
             Installed-Size: {size}\nDepends: {depends}\nSection: {section}\nPriority: optional\n{fields}\
             Description: {description}"
        ))
    }

    /// What Debian requires of every package: copyright and changelog, which debug symbols share with their
    /// package; and what lintian need not report.
    fn documents(&self, build: &Build<'_>) -> anyhow::Result<()> {
        let tree = &self.tree;
        if let Some(package) = self.name.strip_suffix("-dbgsym") {
            return tree.link(&format!("/usr/share/doc/{}", self.name), package);
        }
        let packaging = build.workspace.source("packaging/deb");
        let overrides = packaging.join(format!("{}.lintian-overrides", self.name));
        let to = format!("/usr/share/lintian/overrides/{}", self.name);
        tree.copy(&overrides, &to, 0o644)?;
        let folder = format!("/usr/share/doc/{}", self.name);
        tree.copy(
            &packaging.join("copyright"),
            &format!("{folder}/copyright"),
            0o644,
        )?;
        let changelog = format!("{folder}/changelog");
        tree.copy(&build.workspace.source("CHANGELOG.md"), &changelog, 0o644)?;
        tree.gzip(build, &changelog)?;
        let date = build.date("+%a, %d %b %Y %H:%M:%S +0000")?;
        let entry = format!(
            "wardgate ({VERSION}-{REVISION}) unstable; urgency=medium\n\n  * Version {VERSION}: changelog.gz \
             has the changes.\n\n -- {MAINTAINER}  {date}\n"
        );
        let changelog = format!("{folder}/changelog.Debian");
        tree.write(&changelog, entry, 0o644)?;
        tree.gzip(build, &changelog)?;
        Ok(())
    }

    fn md5sums(&self, build: &Build<'_>) -> anyhow::Result<String> {
        let mut sums = String::new();
        for file in self.tree.files()? {
            let path = self.tree.path(&file);
            if file.starts_with("/DEBIAN/") || path.is_symlink() {
                continue;
            }
            let sum = output(build.tool("md5sum").arg(&path))?;
            let sum = sum.split_whitespace().next().unwrap_or_default();
            let _ = writeln!(sums, "{sum}  {}", file.trim_start_matches('/'));
        }
        Ok(sums)
    }
}
