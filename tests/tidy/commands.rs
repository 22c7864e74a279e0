//! The rule on commands: every wardgate command in a text exists.

use crate::source::{Finding, Source};

/// The commands of the program, from the enums of its command line.
pub(crate) struct Commands {
    all: Vec<String>,
    pki: Vec<String>,
}

impl Commands {
    /// Reads the commands from `cli/mod.rs` and those of `pki` from `cli/pki.rs`.
    pub(crate) fn of(cli: &Source, pki: &Source) -> Self {
        let commands = Self {
            all: variants(cli),
            pki: variants(pki),
        };
        let read = !commands.all.is_empty() && !commands.pki.is_empty();
        assert!(
            read,
            "no enum of commands found: the rule would find nothing"
        );
        commands
    }

    /// Whether `wardgate` followed by these words is a command, with any options.
    fn know<'a>(&self, mut words: impl Iterator<Item = &'a str>) -> bool {
        let has = |commands: &[String], word: &str| commands.iter().any(|known| known == word);
        match words.next() {
            Some("pki") => words
                .next()
                .is_none_or(|word| word.starts_with('-') || has(&self.pki, word)),
            Some(word) => ["help", "--help", "--version"].contains(&word) || has(&self.all, word),
            None => true,
        }
    }
}

/// The variants of the enum of commands, as clap spells them.
fn variants(source: &Source) -> Vec<String> {
    let body = source.code.split("Command {").nth(1);
    let body = body.and_then(|rest| rest.split("\n}").next());
    let names = body.unwrap_or_default().lines().map(str::trim);
    names
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .filter_map(|line| line.split(['(', ',', ' ']).next())
        .map(kebab_case)
        .collect()
}

/// `SupportBundle` as `support-bundle`.
fn kebab_case(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

/// The beginnings of a command line of `wardgate`, installed or not.
const STARTS: [&str; 6] = [
    "wardgate ",
    "runuser -u wardgate -- wardgate ",
    "wardgate-demo wardgate ",
    "cargo demo wardgate ",
    "cargo run --release -- ",
    "cargo run -- ",
];

/// Finds commands in backquotes, and in documents on their own lines, that do not exist.
pub(crate) fn unknown(source: &Source, commands: &Commands) -> Vec<Finding> {
    spans(&source.text)
        .chain(lines(source))
        .filter_map(|(at, text)| {
            let rest = STARTS.iter().find_map(|start| text.strip_prefix(start))?;
            // A string or comment may continue on the next line.
            let words = rest
                .split_whitespace()
                .filter(|word| !["\\", "//", "///", "//!", "#"].contains(word));
            let what = || format!("there is no command `{}`", text.trim());
            (!commands.know(words)).then(|| source.finding(at, what()))
        })
        .collect()
}

/// The text between a backquote and the next, with its position.
fn spans(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices('`')
        .filter_map(|(at, _)| Some((at, text[at + 1..].split_once('`')?.0)))
}

/// Lines of a document's fenced blocks, without a prompt, with their position.
fn lines(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let text = if source.is("md") { &source.text } else { "" };
    let (mut fenced, mut at) = (false, 0);
    text.split_inclusive('\n').filter_map(move |line| {
        let here = at;
        at += line.len();
        fenced ^= line.trim_start().starts_with("```");
        fenced.then(|| (here, line.trim().trim_start_matches("$ ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> Commands {
        let cli = "#[derive(Parser)]\nenum CliCommand {\n    /// Runs.\n    Run(Args),\n    \
                   #[command(subcommand)]\n    Pki(pki::Command),\n}\nenum Other {\n    No,\n}\n";
        let pki = "enum PkiCommand {\n    /// Shows, not Hides.\n    Show(Show),\n}\n";
        Commands::of(&Source::new("mod.rs", cli), &Source::new("pki.rs", pki))
    }

    /// The findings in a text with `@` for the program and `%` for cargo's command that runs it: in this form
    /// they are not commands of this file.
    fn found(path: &str, text: &str) -> Vec<String> {
        let text = text.replace('@', "wardgate");
        let text = text.replace('%', "cargo run --release --");
        let source = Source::new(path, &text);
        let findings = unknown(&source, &commands());
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_variants_of_the_command_line_are_its_commands() {
        assert_eq!(commands().all, ["run", "pki"]);
        assert_eq!(commands().pki, ["show"]);
    }

    #[test]
    fn a_command_that_does_not_exist_is_found_everywhere() {
        for text in [
            "// `@ reload`",
            "\"then `@ status --all`\"",
            "`@ pki hide x.pem`",
            "`@ no`",
            "`@ hides`",
            "`% stop`",
            "`@-demo @ stop`",
            "`cargo demo @ stop`",
            "f(\"`@ \\\n  reload`\")",
            "/// `@ pki\n/// hide`",
        ] {
            assert_eq!(found("a.rs", text).len(), 1, "{text}");
        }
        let line = "a.md:2: there is no command `@ pki hide`".replace('@', "wardgate");
        assert_eq!(found("a.md", "```\n$ @ pki hide\n```\n"), [line]);
        let in_a_step = "1. Do:\n   ```\n   runuser -u @ -- @ stop\n   ```\n";
        assert_eq!(found("a.md", in_a_step).len(), 1);
    }

    #[test]
    fn commands_that_exist_and_words_about_the_program_are_not_found() {
        let good = "`@ run --config x` `@-demo @ run` `@-demo --keep` `@ pki` `@ pki --help` `@ pki show a.pem` `@ --version`\n\
                    `@` `@.toml` `cargo run -- run` `cargo run`\n@ carries\n```\n@ run\n```\n\
                    @ reloads nothing\n```\ninstall @ /usr/bin\n```\n";
        assert_eq!(found("a.md", good), [""; 0]);
        assert_eq!(found("a.rs", "`@ pki show \\\n    --x`"), [""; 0]);
        assert_eq!(found("a.toml", "# `@ run`,\n@ reload\n"), [""; 0]);
    }
}
