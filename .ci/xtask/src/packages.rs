//! The Debian packages of `.ci/packages.txt`: as root they are installed, otherwise they are named.

use std::fs;

use anyhow::Context as _;
use wardgate_packages as debian;

use crate::Workspace;

/// Installs what is missing of `.ci/packages.txt`. Without root, or where nothing may be installed, prints
/// what is missing instead.
pub(crate) fn prepare(workspace: &Workspace, may_install: bool) -> anyhow::Result<()> {
    let list = fs::read_to_string(workspace.source(".ci/packages.txt"))
        .context("cannot read .ci/packages.txt")?;
    let wanted = read(&list)?;
    let Some(missing) = debian::missing(&wanted)? else {
        println!("this is not Debian or Ubuntu: tests skip where a program is missing");
        println!("they need: {}", wanted.join(" "));
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
    println!("{why_not}: tests skip where a program is missing; to run them all, first run");
    println!("  {}", debian::command(&missing));
    Ok(())
}

/// Why packages are not installed; `None` where they may be.
fn why_not(may_install: bool, is_root: bool) -> Option<&'static str> {
    match (may_install, is_root) {
        (true, true) => None,
        (true, false) => Some("not root"),
        (false, _) => Some("--no-install"),
    }
}

/// Names in the list, in its order: one a line, `#` begins a comment.
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
            "packages.txt: {name:?} is no package name"
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
    fn packages_are_installed_as_root_alone_and_never_with_no_install() {
        assert_eq!(why_not(true, true), None);
        for (may_install, is_root) in [(true, false), (false, true), (false, false)] {
            assert!(why_not(may_install, is_root).is_some());
        }
    }

    #[test]
    fn the_list_gives_names_in_order_without_comments() {
        let list = "# why\n\ndcmtk  # tools\nlibstdc++6 # runtime\n";
        assert_eq!(
            read(list).expect("the list is good"),
            ["dcmtk", "libstdc++6"]
        );
    }

    #[test]
    fn a_name_that_apt_would_take_for_an_option_or_without_reason_is_refused() {
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
    fn the_list_of_the_project_is_good() {
        let names = read(include_str!("../../packages.txt")).expect("packages.txt is good");
        assert!(names.contains(&"dcmtk"));
    }
}
