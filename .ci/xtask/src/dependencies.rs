//! What dependencies may bring in, as `deny.toml` says: their licences, where they come from, and crates that are banned.

use std::process::Stdio;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::Workspace;

/// The parts of `deny.toml` that are held here. cargo-deny reads the rest as well.
#[derive(Debug, Deserialize)]
struct Policy {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Debug, Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// Checks every package that the workspace depends on.
///
/// # Errors
/// Each package that `deny.toml` does not allow, and why.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    let policy = std::fs::read_to_string(workspace.source("deny.toml"))?;
    let policy: Policy = toml::from_str(&policy).context("deny.toml")?;
    let mut cargo = workspace.cargo(&["metadata", "--format-version", "1", "--locked"]);
    let output = cargo.stderr(Stdio::inherit()).output()?;
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("the output of cargo metadata")?;
    let faults: Vec<_> = metadata
        .packages
        .iter()
        .filter_map(|package| fault(package, &policy))
        .collect();
    if !faults.is_empty() {
        bail!("deny.toml does not allow:\n{}", faults.join("\n"));
    }
    println!("{} packages are allowed", metadata.packages.len());
    Ok(())
}

fn fault(package: &Package, policy: &Policy) -> Option<String> {
    // The project's own packages have no source.
    let source = package.source.as_deref()?;
    let name = format!("{} {}", package.name, package.version);
    let mut banned = policy.bans.deny.iter();
    if let Some(banned) = banned.find(|banned| banned.name == package.name) {
        return Some(format!("{name}: banned: {}", banned.reason));
    }
    if !source.starts_with("registry+") {
        return Some(format!("{name}: it comes from {source}"));
    }
    let license = package.license.as_deref().unwrap_or("none");
    (!is_allowed(license, &policy.licenses.allow)).then(|| format!("{name}: licence {license}"))
}

/// Whether an SPDX expression can be satisfied with these licences alone. `/` counts as OR, as old packages write it.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    any(&mut rest, allowed) && rest.is_empty()
}

fn any(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut is_good = all(words, allowed);
    while let Some((&"OR", rest)) = words.split_first() {
        *words = rest;
        // Both sides are read, whichever is allowed.
        is_good |= all(words, allowed);
    }
    is_good
}

fn all(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut is_good = one(words, allowed);
    while let Some((&"AND", rest)) = words.split_first() {
        *words = rest;
        is_good &= one(words, allowed);
    }
    is_good
}

fn one(words: &mut &[&str], allowed: &[String]) -> bool {
    let Some((first, rest)) = words.split_first() else {
        return false;
    };
    *words = rest;
    if *first == "(" {
        let is_good = any(words, allowed);
        let Some((&")", rest)) = words.split_first() else {
            return false;
        };
        *words = rest;
        return is_good;
    }
    let mut license = (*first).to_owned();
    if let &[with @ "WITH", exception, ref rest @ ..] = *words {
        license = format!("{first} {with} {exception}");
        *words = rest;
    }
    allowed.contains(&license)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_writes_them() {
        let allowed: Vec<_> = ["MIT", "ISC", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
            .map(str::to_owned)
            .into();
        for good in [
            "MIT",
            "MIT/GPL-3.0",
            "GPL-3.0 OR MIT",
            "ISC AND (GPL-3.0 OR MIT)",
            "(MIT OR GPL-3.0) AND ISC",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        ] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in [
            "GPL-3.0",
            "none",
            "",
            "MIT AND GPL-3.0",
            "ISC AND (GPL-3.0 OR LGPL-2.1)",
            "(MIT",
            "MIT GPL-3.0",
            "GPL-3.0 WITH LLVM-exception",
        ] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn a_package_that_is_banned_or_of_another_registry_is_named() {
        let policy: Policy = toml::from_str(include_str!("../../../deny.toml")).expect("a policy");
        let package = |name: &str, source: Option<&str>| Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: Some("MIT".to_owned()),
            source: source.map(str::to_owned),
        };
        let registry = Some("registry+https://registry.example/index");
        let faulty = |package| fault(&package, &policy);
        assert_eq!(faulty(package("good", registry)), None);
        assert_eq!(faulty(package("ours", None)), None);
        let banned = faulty(package("openssl", registry)).expect("it is banned");
        assert!(banned.contains("second attack surface"), "{banned}");
        let other = faulty(package("good", Some("git+https://example.org/good")));
        assert!(other.expect("not a registry").contains("example.org"));
    }
}
