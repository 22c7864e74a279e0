//! The crates that a program is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Deserialize;

use super::{Build, output};

/// A crate, as `cargo metadata` describes it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Crate {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) license_file: Option<PathBuf>,
    pub(crate) repository: Option<String>,
    pub(crate) authors: Vec<String>,
    pub(crate) source: Option<String>,
    pub(crate) manifest_path: PathBuf,
}

/// The crates whose code is in a program, with their dependencies.
#[derive(Debug)]
pub(crate) struct Crates {
    /// Sorted by name and version.
    pub(crate) all: Vec<Crate>,
    /// For each crate, by its ID, the IDs of the crates that it uses.
    pub(crate) uses: BTreeMap<String, Vec<String>>,
    /// SHA-256 of the crates of the registry, by name and version.
    pub(crate) checksums: BTreeMap<(String, String), String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

impl Crates {
    /// The crates of these packages of the workspace, without what only builds or tests them.
    pub(crate) fn of(build: &Build<'_>, packages: &[&str]) -> anyhow::Result<Self> {
        let linked = linked(build, packages)?;
        let mut cargo = build
            .workspace
            .cargo(&["metadata", "--format-version=1", "--locked"]);
        cargo.args(["--filter-platform", TARGET]);
        let metadata: Metadata =
            serde_json::from_str(&output(&mut cargo)?).context("the output of cargo metadata")?;
        let lock = std::fs::read_to_string(build.workspace.source("Cargo.lock"))?;
        let lock: Lock = toml::from_str(&lock).context("Cargo.lock")?;
        Ok(Self::select(metadata, lock, &linked))
    }

    fn select(metadata: Metadata, lock: Lock, linked: &BTreeSet<(String, String)>) -> Self {
        let mut all = metadata.packages;
        all.retain(|one| linked.contains(&(one.name.clone(), one.version.clone())));
        all.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        let known: BTreeSet<String> = all.iter().map(|one| one.id.clone()).collect();
        let nodes = metadata.resolve.nodes.into_iter();
        let uses = nodes
            .filter(|node| known.contains(&node.id))
            .map(|mut node| {
                node.dependencies.retain(|id| known.contains(id));
                node.dependencies.sort();
                (node.id, node.dependencies)
            });
        let checksums = lock.package.into_iter().filter_map(|one| {
            let checksum = one.checksum?;
            Some(((one.name, one.version), checksum))
        });
        Self {
            uses: uses.collect(),
            checksums: checksums.collect(),
            all,
        }
    }
}

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Names and versions of the crates that are linked, with the features that these packages ask for.
fn linked(build: &Build<'_>, packages: &[&str]) -> anyhow::Result<BTreeSet<(String, String)>> {
    let mut cargo = build
        .workspace
        .cargo(&["tree", "--locked", "--target", TARGET]);
    cargo.args([
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    for package in packages {
        cargo.args(["-p", package]);
    }
    let lines = output(&mut cargo)?;
    // `name v1.2.3 (path)`; what is listed once more ends in ` (*)`.
    let pairs = lines.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        Some((name, words.next()?.strip_prefix('v')?.to_owned()))
    });
    Ok(pairs.collect())
}
