//! A man page that shows the help of a program and of its commands.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::roff;

/// The page of a program that is not in a library: its help, and that of each of its commands.
pub(crate) fn page(program: &Path, name: &str, about: &str) -> anyhow::Result<String> {
    let whole = help(program, &[])?;
    let mut page = roff::head(name, 1, about);
    page += ".SH DESCRIPTION\n";
    page += &roff::example(&whole);
    for command in commands(&whole) {
        page += &format!(".SH \"{}\"\n", roff::escaped(&command.to_uppercase()));
        page += &roff::example(&help(program, &[command])?);
    }
    Ok(page)
}

fn help(program: &Path, command: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(command)
        .arg("--help")
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    anyhow::ensure!(
        output.status.success(),
        "{} --help ended with {}",
        program.display(),
        output.status
    );
    String::from_utf8(output.stdout).context("the help is not UTF-8")
}

/// The names of the commands that a help lists, without `help`.
fn commands(help: &str) -> Vec<&str> {
    let lines = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    // The text of a command may go on in the next line, which is indented further.
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_a_help_are_found() {
        let help = "About.\n\nCommands:\n  bulk  Transfer\n        much\n  help  Print\n\nOptions:\n  -h\n";
        assert_eq!(commands(help), ["bulk"]);
        assert_eq!(commands("Usage: x\n\nOptions:\n  -h\n"), [""; 0]);
    }
}
