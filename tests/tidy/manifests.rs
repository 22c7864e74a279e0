//! Rules on the `Cargo.toml` files: a reason beside each dependency, one version for all crates.

use crate::source::{Finding, Source};

/// Finds dependencies of the workspace without a reason beside them.
pub(crate) fn without_reason(source: &Source) -> Vec<Finding> {
    if source.path != "Cargo.toml" {
        return Vec::new();
    }
    entries(source, |section| section == "workspace.dependencies")
        // The project's own crates need none.
        .filter(|(_, entry)| !entry.contains("path ="))
        .filter(|(_, entry)| comment(entry).is_none())
        .map(|(line, entry)| source.finding_on_line(line, format!("no reason: {entry}")))
        .collect()
}

/// Finds dependencies of a crate that do not come from the workspace.
pub(crate) fn own_version(source: &Source) -> Vec<Finding> {
    if source.path == "Cargo.toml" || !source.path.ends_with("/Cargo.toml") {
        return Vec::new();
    }
    entries(source, |section| section.ends_with("dependencies"))
        .filter(|(_, entry)| !is_from_workspace(entry))
        .map(|(line, entry)| source.finding_on_line(line, format!("own version: {entry}")))
        .collect()
}

/// Finds crates in the gateway that only the demonstration needs: DICOM data sets, and a progress bar.
pub(crate) fn demonstration_in_gateway(source: &Source) -> Vec<Finding> {
    if source.path != "gateway/Cargo.toml" {
        return Vec::new();
    }
    entries(source, |section| section.ends_with("dependencies"))
        .filter(|(_, entry)| entry.starts_with("dicom-") || entry.starts_with("indicatif"))
        .map(|(line, entry)| source.finding_on_line(line, format!("only for bench/demo: {entry}")))
        .collect()
}

fn is_from_workspace(entry: &str) -> bool {
    let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
    name.trim().ends_with(".workspace") || value.contains("workspace = true")
}

/// The lines `key = value` of the requested sections, with their numbers.
fn entries<'a>(
    source: &'a Source,
    wanted: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = (usize, &'a str)> {
    let mut within = false;
    source
        .text
        .lines()
        .enumerate()
        .filter_map(move |(i, line)| {
            let line = line.trim();
            if let Some(section) = line.strip_prefix('[') {
                within = wanted(section.split(']').next().unwrap_or_default());
                // `[dependencies.name]` would hide a dependency from these rules.
                let table = section.contains("dependencies.");
                return table.then_some((i + 1, line));
            }
            (within && !line.is_empty() && !line.starts_with('#')).then_some((i + 1, line))
        })
}

/// The text after `#` outside of quotes, if it is not empty.
fn comment(entry: &str) -> Option<&str> {
    let mut quoted = false;
    let hash = entry.find(|c| {
        quoted ^= c == '"';
        c == '#' && !quoted
    })?;
    let text = entry[hash + 1..].trim();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let text = "[workspace.dependencies]\n# A heading.\ngood = \"1\" # why\n\
                    bare = \"1\"\nempty = { version = \"1#2\" } #\nown = { path = \"own\" }\n\
                    [profile.dev]\nopt-level = 1\n";
        let found = without_reason(&Source::new("Cargo.toml", text));
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "Cargo.toml:4: no reason: bare = \"1\"",
                "Cargo.toml:5: no reason: empty = { version = \"1#2\" } #"
            ]
        );
    }

    #[test]
    fn a_crate_of_the_demonstration_is_found_in_the_gateway_only() {
        let text = "[dependencies]\nclap.workspace = true\ndicom-ul.workspace = true\n\
                    [dev-dependencies]\nindicatif.workspace = true\n";
        let found = |path| demonstration_in_gateway(&Source::new(path, text)).len();
        assert_eq!(found("gateway/Cargo.toml"), 2);
        assert_eq!(found("bench/demo/Cargo.toml"), 0);
    }

    #[test]
    fn a_crate_with_a_version_of_its_own_is_found() {
        let text = "[dependencies]\na.workspace = true\nb = { workspace = true, features = [] }\n\
                    c = \"1\"\n[dev-dependencies]\nd = { path = \"../d\" }\n\
                    [dependencies.e]\nversion = \"1\"\n[features]\nx = []\n";
        let found = own_version(&Source::new("gateway/Cargo.toml", text));
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
