//! What the packages hold, before the differences between the formats.

use std::fs;

use anyhow::Context as _;

use crate::steps::must;

use super::crates::Crates;
use super::programs::Programs;
use super::tree::Tree;
use super::{Build, licences, sbom};

/// The trees of the packages.
pub(crate) struct Parts {
    /// The gateway, its service and its manual.
    pub(crate) gateway: Tree,
    /// Debug symbols of the gateway.
    pub(crate) gateway_symbols: Tree,
    /// The bench and the demonstration.
    pub(crate) tools: Tree,
    /// Debug symbols of these.
    pub(crate) tools_symbols: Tree,
}

/// Files of the folder `packaging` that are installed unchanged by both formats.
const FILES: [(&str, &str); 31] = [
    (
        "systemd/wardgate.service",
        "/usr/lib/systemd/system/wardgate.service",
    ),
    (
        "systemd/wardgate-crl-fetch.service",
        "/usr/lib/systemd/system/wardgate-crl-fetch.service",
    ),
    (
        "systemd/wardgate-crl-fetch.timer",
        "/usr/lib/systemd/system/wardgate-crl-fetch.timer",
    ),
    (
        "systemd/wardgate-crl-renew.service",
        "/usr/lib/systemd/system/wardgate-crl-renew.service",
    ),
    (
        "systemd/wardgate-crl-renew.timer",
        "/usr/lib/systemd/system/wardgate-crl-renew.timer",
    ),
    (
        "systemd/wardgate-pair-renew.service",
        "/usr/lib/systemd/system/wardgate-pair-renew.service",
    ),
    (
        "systemd/wardgate-pair-renew.timer",
        "/usr/lib/systemd/system/wardgate-pair-renew.timer",
    ),
    ("systemd/sysusers.conf", "/usr/lib/sysusers.d/wardgate.conf"),
    ("systemd/tmpfiles.conf", "/usr/lib/tmpfiles.d/wardgate.conf"),
    (
        "firewall/firewalld.xml",
        "/usr/lib/firewalld/services/wardgate.xml",
    ),
    ("etc/starter.toml", "/etc/wardgate/wardgate.toml"),
    (
        "etc/wardgate.toml",
        "/usr/share/doc/wardgate/examples/wardgate.toml",
    ),
    (
        "prometheus/prometheus.yml",
        "/usr/share/doc/wardgate/examples/prometheus/prometheus.yml",
    ),
    (
        "prometheus/wardgate.rules.yml",
        "/usr/share/doc/wardgate/examples/prometheus/wardgate.rules.yml",
    ),
    (
        "grafana/wardgate.json",
        "/usr/share/doc/wardgate/examples/grafana/wardgate.json",
    ),
    (
        "nagios/wardgate.cfg",
        "/usr/share/doc/wardgate/examples/nagios/wardgate.cfg",
    ),
    (
        "snmp/wardgate.conf",
        "/usr/share/doc/wardgate/examples/snmp/wardgate.conf",
    ),
    (
        "zabbix/wardgate.conf",
        "/usr/share/doc/wardgate/examples/zabbix/wardgate.conf",
    ),
    (
        "zabbix/wardgate.yaml",
        "/usr/share/doc/wardgate/examples/zabbix/wardgate.yaml",
    ),
    (
        "keepalived/keepalived.conf",
        "/usr/share/doc/wardgate/examples/keepalived/keepalived.conf",
    ),
    (
        "keepalived/after-wardgate.conf",
        "/usr/share/doc/wardgate/examples/keepalived/after-wardgate.conf",
    ),
    (
        "keepalived/nftables.conf",
        "/usr/share/doc/wardgate/examples/keepalived/nftables.conf",
    ),
    (
        "keepalived/90-wardgate-pair.conf",
        "/usr/share/doc/wardgate/examples/keepalived/90-wardgate-pair.conf",
    ),
    (
        "bird/bird.conf",
        "/usr/share/doc/wardgate/examples/bird/bird.conf",
    ),
    (
        "bird/router.conf",
        "/usr/share/doc/wardgate/examples/bird/router.conf",
    ),
    (
        "bird/wardgate-bird.service",
        "/usr/share/doc/wardgate/examples/bird/wardgate-bird.service",
    ),
    (
        "ha/director.conf",
        "/usr/share/doc/wardgate/examples/ha/director.conf",
    ),
    (
        "ha/90-wardgate-real-server.conf",
        "/usr/share/doc/wardgate/examples/ha/90-wardgate-real-server.conf",
    ),
    (
        "ha/csync2.cfg",
        "/usr/share/doc/wardgate/examples/ha/csync2.cfg",
    ),
    (
        "ha/ansible/inventory.ini",
        "/usr/share/doc/wardgate/examples/ha/ansible/inventory.ini",
    ),
    (
        "ha/ansible/playbook.yml",
        "/usr/share/doc/wardgate/examples/ha/ansible/playbook.yml",
    ),
];

/// Scripts of the folder `packaging` that other programs call.
const SCRIPTS: [(&str, &str); 3] = [
    ("keepalived/track", "/usr/libexec/wardgate/track"),
    ("keepalived/vrrp-left", "/usr/libexec/wardgate/vrrp-left"),
    ("bird/bird-watch", "/usr/libexec/wardgate/bird-watch"),
];

/// Lays out the files of all packages.
pub(crate) fn stage(build: &Build<'_>, programs: &Programs) -> anyhow::Result<Parts> {
    let parts = Parts {
        gateway: Tree::new(build, "tree/gateway")?,
        gateway_symbols: Tree::new(build, "tree/gateway-symbols")?,
        tools: Tree::new(build, "tree/tools")?,
        tools_symbols: Tree::new(build, "tree/tools-symbols")?,
    };
    gateway(build, programs, &parts)?;
    tools(build, programs, &parts)?;
    manual(build, programs, &parts)?;
    Ok(parts)
}

fn gateway(build: &Build<'_>, programs: &Programs, parts: &Parts) -> anyhow::Result<()> {
    let tree = &parts.gateway;
    programs.install(build, "wardgate", tree, &parts.gateway_symbols)?;
    for (from, to) in FILES {
        let from = build.workspace.source("packaging").join(from);
        tree.copy(&from, to, 0o644)?;
    }
    for (from, to) in SCRIPTS {
        let from = build.workspace.source("packaging").join(from);
        tree.copy(&from, to, 0o755)?;
    }
    let book = build.workspace.product("book");
    tree.copy_all(build, &book, "/usr/share/doc/wardgate/html")?;
    // Means something to one code host only.
    let _ = fs::remove_file(tree.path("/usr/share/doc/wardgate/html/.nojekyll"));
    origin(build, tree, "wardgate", &["wardgate"])
}

fn tools(build: &Build<'_>, programs: &Programs, parts: &Parts) -> anyhow::Result<()> {
    let names = ["wardgate-bench", "wardgate-demo"];
    for name in names {
        programs.install(build, name, &parts.tools, &parts.tools_symbols)?;
    }
    origin(build, &parts.tools, "wardgate-tools", &names)
}

/// Licences and parts list of the crates that a package is made of.
fn origin(build: &Build<'_>, tree: &Tree, package: &str, programs: &[&str]) -> anyhow::Result<()> {
    let crates = Crates::of(build, programs)?;
    let folder = format!("/usr/share/doc/{package}");
    let licences_file = format!("{folder}/THIRD-PARTY-LICENSES");
    tree.write(&licences_file, licences::text(&crates)?, 0o644)?;
    tree.gzip(build, &licences_file)?;
    let time = build.date("+%Y-%m-%dT%H:%M:%SZ")?;
    let document = sbom::document(package, &crates, &time);
    let text = serde_json::to_string_pretty(&document)? + "\n";
    let sbom_file = format!("{folder}/sbom.cdx.json");
    tree.write(&sbom_file, text, 0o644)?;
    tree.gzip(build, &sbom_file)
}

/// Man pages and completions, which `wardgate-manual` writes.
fn manual(build: &Build<'_>, programs: &Programs, parts: &Parts) -> anyhow::Result<()> {
    let folder = build.path("manual");
    let mut writer = build.tool(&programs.path("wardgate-manual").display().to_string());
    writer
        .arg(programs.path(""))
        .arg(build.workspace.source("packaging/etc/wardgate.toml"))
        .arg(&folder);
    must(&mut writer)?;
    let pages = folder.join("man");
    for entry in fs::read_dir(&pages).with_context(|| format!("cannot read {}", pages.display()))? {
        let page = entry?.path();
        let name = page
            .file_name()
            .context("a page has a name")?
            .to_string_lossy();
        let section = name.rsplit('.').next().unwrap_or("1");
        let of_tools = name.starts_with("wardgate-bench") || name.starts_with("wardgate-demo");
        let tree = if of_tools {
            &parts.tools
        } else {
            &parts.gateway
        };
        let to = format!("/usr/share/man/man{section}/{name}");
        tree.copy(&page, &to, 0o644)?;
        tree.gzip(build, &to)?;
    }
    let completions = folder.join("completions");
    let bash = "/usr/share/bash-completion/completions/wardgate";
    let fish = "/usr/share/fish/vendor_completions.d/wardgate.fish";
    let tree = &parts.gateway;
    tree.copy(&completions.join("wardgate.bash"), bash, 0o644)?;
    tree.copy(&completions.join("wardgate.fish"), fish, 0o644)
}

/// Installs the completions of zsh, for which distributions have different folders.
pub(crate) fn zsh(build: &Build<'_>, tree: &Tree, folder: &str) -> anyhow::Result<()> {
    let from = build.path("manual/completions/_wardgate");
    tree.copy(&from, &format!("{folder}/_wardgate"), 0o644)
}

/// The scripts of a package: `common.sh` and what is special to one script.
pub(crate) fn script(build: &Build<'_>, own: &str) -> anyhow::Result<String> {
    let folder = build.workspace.source("packaging");
    let read = |file: &str| {
        let file = folder.join(file);
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    Ok(format!("{}\n{}", read("scripts/common.sh")?, read(own)?))
}
