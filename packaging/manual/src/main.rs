//! `wardgate-manual PROGRAMS CONFIGURATION FOLDER`: writes the man pages and shell completions of the packages.
//!
//! The pages of `wardgate` and its completions come from the command line in the library, `wardgate.toml(5)`
//! from the annotated configuration, and the pages of the other programs from their help. `cargo xtask
//! package` runs this program; no package contains it.

mod help_page;
mod roff;
mod toml_page;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::builder::Resettable;
use clap_complete::Shell;

/// Programs whose command line is not in a library, with one line about each.
const TOOLS: [(&str, &str); 2] = [
    (
        "wardgate-bench",
        "load generator and measurements for wardgate",
    ),
    (
        "wardgate-demo",
        "two wardgate sites on one machine, and a study between them",
    ),
];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [programs, configuration, folder] = &arguments[..] else {
        anyhow::bail!("usage: wardgate-manual PROGRAMS CONFIGURATION FOLDER");
    };
    let pages = folder.join("man");
    let completions = folder.join("completions");
    for folder in [&pages, &completions] {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    commands(&pages, &completions)?;
    let toml = fs::read_to_string(configuration)
        .with_context(|| format!("cannot read {}", configuration.display()))?;
    write(&pages.join("wardgate.toml.5"), &toml_page::page(&toml))?;
    for (name, about) in TOOLS {
        let page = help_page::page(&programs.join(name), name, about)?;
        write(&pages.join(format!("{name}.1")), &page)?;
    }
    Ok(())
}

/// The pages of `wardgate` and its commands, and the completions.
fn commands(pages: &Path, completions: &Path) -> anyhow::Result<()> {
    // The command `help` shows the same text as `--help`: it needs no pages of its own.
    let mut command = gateway::cli::command().disable_help_subcommand(true);
    command.build();
    command_pages(&command, pages)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut command = gateway::cli::command();
        clap_complete::generate_to(shell, &mut command, "wardgate", completions)
            .with_context(|| format!("cannot write the completions for {shell}"))?;
    }
    Ok(())
}

/// The page of a command, and those of its subcommands.
fn command_pages(command: &clap::Command, pages: &Path) -> anyhow::Result<()> {
    for subcommand in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        command_pages(subcommand, pages)?;
    }
    // clap_mangen fills the lines of this text, which has tables.
    let notes = command.get_after_help().map(ToString::to_string);
    let page = clap_mangen::Man::new(command.clone().after_help(Resettable::Reset))
        .source(concat!("wardgate ", env!("CARGO_PKG_VERSION")));
    let file = pages.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text).context("cannot render a page")?;
    let mut text = String::from_utf8(text).context("a page is UTF-8")?;
    if let Some(notes) = notes {
        text += ".SH NOTES\n";
        text += &roff::example(&notes);
    }
    write(&file, &text)
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_shell_its_completions() {
        let folder = std::env::temp_dir().join(format!("wardgate-manual-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder can be made");
        commands(&folder, &folder).expect("the pages can be written");
        for name in [
            "wardgate.1",
            "wardgate-run.1",
            "wardgate-pki-issue.1",
            "wardgate-pki-crl-fetch.1",
            "wardgate.bash",
            "_wardgate",
            "wardgate.fish",
        ] {
            let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
            assert!(text.contains("wardgate"), "{name}: {text:?}");
        }
        let run = fs::read_to_string(folder.join("wardgate-run.1")).expect("it was written");
        assert!(
            run.contains("\n  2   the command line is not valid\n"),
            "{run}"
        );
        fs::remove_dir_all(&folder).expect("the folder can be removed");
    }
}
