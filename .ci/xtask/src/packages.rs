//! Installs the Debian packages of `.ci/packages.txt` as root, or names them otherwise.

use std::fs;

use anyhow::Context as _;
use wardgate_packages as debian;

use crate::Workspace;

/// Installs the missing packages of `.ci/packages.txt`. Without root, or with `--no-install`, prints the
/// missing packages instead.
pub(crate) fn prepare(workspace: &Workspace, may_install: bool) -> anyhow::Result<()> {
    let list = fs::read_to_string(workspace.source(".ci/packages.txt"))
        .context("cannot read .ci/packages.txt")?;
    let wanted = read(&list)?;
    let Some(missing) = debian::missing(&wanted)? else {
        println!("this is not Debian or Ubuntu: tests that need a missing program are skipped");
        println!("the tests need: {}", wanted.join(" "));
        return Ok(());
    };
    if missing.is_empty() {
        println!("all {} packages are installed", wanted.len());
        return Ok(());
    }
    let Some(why_not) = why_not(may_install, debian::is_root()?) else {
        println!(
            "the tests need Debian packages that are not installed; they stay installed afterwards"
        );
        println!("(`cargo xtask test --no-install` installs nothing)");
        return debian::install(&missing);
    };
    println!(
        "{why_not}: tests that need a missing program are skipped; to run all tests, first run"
    );
    println!("  {}", debian::command(&missing));
    Ok(())
}

/// Why packages are not installed; `None` if they may be installed.
fn why_not(may_install: bool, is_root: bool) -> Option<&'static str> {
    match (may_install, is_root) {
        (true, true) => None,
        (true, false) => Some("not root"),
        (false, _) => Some("--no-install"),
    }
}

/// The names in the list, in order: one per line; `#` begins a comment.
fn read(list: &str) -> anyhow::Result<Vec<&str>> {
    let mut names = Vec::new();
    for line in list.lines() {
        let (name, reason) = line.split_once('#').unwrap_or((line, ""));
        let name = name.trim();
        if name.is_empty() {
            continue;
        }
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
        anyhow::ensure!(
            name.chars().all(legal),
            "packages.txt: {name:?} is not a package name"
        );
        anyhow::ensure!(
            !reason.trim().is_empty(),
            "packages.txt: {name:?} has no reason"
        );
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_installed_only_as_root_and_never_with_no_install() {
        assert_eq!(why_not(true, true), None);
        for (may_install, is_root) in [(true, false), (false, true), (false, false)] {
            assert!(why_not(may_install, is_root).is_some());
        }
    }

    #[test]
    fn the_list_is_read_in_order_without_comments() {
        let list = "# why\n\ndcmtk  # tools\nlibstdc++6 # runtime\n";
        assert_eq!(
            read(list).expect("the list is good"),
            ["dcmtk", "libstdc++6"]
        );
    }

    #[test]
    fn names_that_look_like_options_or_have_no_reason_are_rejected() {
        for list in [
            "two words # x",
            "name=1 # x",
            "Upper # x",
            "dcmtk",
            "dcmtk #  ",
        ] {
            assert!(read(list).is_err(), "{list:?}");
        }
    }

    #[test]
    fn the_list_of_the_project_is_valid() {
        let names = read(include_str!("../../packages.txt")).expect("packages.txt is good");
        assert!(names.contains(&"dcmtk"));
    }
}
