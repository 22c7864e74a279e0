//! The licences of all crates in a program, with their texts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::crates::{Crate, Crates};

/// How the files begin that hold licences, copyright notices and attributions.
const FILES: [&str; 6] = [
    "LICENSE",
    "LICENCE",
    "COPYING",
    "COPYRIGHT",
    "NOTICE",
    "UNLICENSE",
];

/// A text with each licence once, and the crates that it applies to.
///
/// # Errors
/// If a crate names no licence. A crate without a file is listed with its authors and the name of its licence.
pub(crate) fn text(crates: &Crates) -> anyhow::Result<String> {
    let foreign = || crates.all.iter().filter(|one| one.source.is_some());
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for one in foreign() {
        let name = format!("{} {}", one.name, one.version);
        let found = files(one)?;
        if found.is_empty() {
            without.push(format!(
                "{name}: {}; {}",
                spdx(one)?,
                one.authors.join(", ")
            ));
        }
        for file in found {
            let text =
                fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let text = String::from_utf8_lossy(&text).replace("\r\n", "\n");
            let users = texts.entry(text.trim().to_owned()).or_default();
            if users.last() != Some(&name) {
                users.push(name.clone());
            }
        }
    }
    let mut out = String::from(HEAD);
    for one in foreign() {
        let _ = writeln!(out, "  {} {}: {}", one.name, one.version, spdx(one)?);
    }
    if !without.is_empty() {
        let _ = write!(out, "\nThese packages hold no file with their licence:\n\n");
        without.iter().for_each(|line| {
            let _ = writeln!(out, "  {line}");
        });
    }
    let mut texts: Vec<_> = texts.into_iter().collect();
    texts.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
    for (text, users) in texts {
        let _ = write!(
            out,
            "\n{}\n{}:\n\n{text}\n",
            "=".repeat(80),
            users.join(", ")
        );
    }
    Ok(out)
}

const HEAD: &str =
    "Licences of the packages whose code is in the programs, beside the project's own.

The standard library of Rust, copyright The Rust Project contributors: MIT OR Apache-2.0.

";

fn spdx(one: &Crate) -> anyhow::Result<&str> {
    let license = one.license.as_deref();
    license.with_context(|| format!("{} {} names no licence", one.name, one.version))
}

/// The files of a crate with licences: in its folder, and one folder below, where C libraries keep theirs.
fn files(one: &Crate) -> anyhow::Result<Vec<PathBuf>> {
    let folder = one
        .manifest_path
        .parent()
        .context("a manifest has a folder")?;
    let mut found = licences_in(folder)?;
    if one.name.ends_with("-sys") {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.extend(licences_in(&entry.path())?);
            }
        }
    }
    let named = one.license_file.iter().map(|file| folder.join(file));
    found.extend(named.filter(|file| file.is_file()));
    found.sort();
    found.dedup();
    Ok(found)
}

fn licences_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        // Not a file of source code that is called so.
        let is_text = !name.ends_with(".RS") && !name.ends_with(".HTML");
        let is_licence = FILES.iter().any(|start| name.starts_with(start));
        if is_licence && is_text && entry.path().is_file() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate with a licence in a folder of its own.
    fn a_crate(folder: &Path, name: &str, licence: &str) -> Crate {
        let folder = folder.join(name);
        fs::create_dir(&folder).expect("there is room");
        fs::write(folder.join("LICENSE-MIT"), licence).expect("there is room");
        fs::write(folder.join("license.rs"), "code").expect("there is room");
        Crate {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: Some("MIT".to_owned()),
            license_file: None,
            repository: None,
            authors: vec!["A".to_owned()],
            source: Some("registry".to_owned()),
            manifest_path: folder.join("Cargo.toml"),
        }
    }

    #[test]
    fn equal_licences_are_one_text_and_a_crate_without_one_is_an_error() {
        let folder = std::env::temp_dir().join(format!("licences-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("there is room");
        let mut crates = Crates {
            all: ["a", "b"]
                .map(|name| a_crate(&folder, name, "Free.\n"))
                .into(),
            uses: BTreeMap::new(),
            checksums: BTreeMap::new(),
        };
        let text = text(&crates).expect("both have a licence");
        assert!(text.ends_with("\na 1.0.0, b 1.0.0:\n\nFree.\n"), "{text}");
        fs::remove_file(folder.join("b/LICENSE-MIT")).expect("it is there");
        let text = super::text(&crates).expect("it is named still");
        assert!(text.contains("  b 1.0.0: MIT; A\n"), "{text}");
        crates.all[1].license = None;
        assert!(super::text(&crates).is_err());
        fs::remove_dir_all(&folder).expect("it is there");
    }
}
