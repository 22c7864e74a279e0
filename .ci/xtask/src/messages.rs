//! The page of messages: their codes, causes and remedies from the comments in `gateway/src/audit/messages.rs`, and
//! examples from the table of wrong set-ups.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Where the messages are, below the root of the project.
const CODES: &str = "gateway/src/audit/messages.rs";

/// Where the examples are.
const EXAMPLES: &str = "tests/data/wrong_setups.md";

/// What the page names as its sources.
pub(crate) const SOURCE: &str = "gateway/src/audit/messages.rs and tests/data/wrong_setups.md";

const OPENING: &str = "# Messages

Every line of the log that is not about normal traffic belongs to one of the kinds below. Its code is in the field `code`; the line
`connection` has it in `error.type`, which is `-` if nothing failed. A code stays the same in later versions, so filters and alerts
should use codes and not texts. [Logs and metrics](../guide/logs-and-metrics.md) explains the lines `ready`, `accepted`, `open`,
`association`, `conversation` and `connection`, and the levels.

## Exit codes

`wardgate run` and the other commands end with one of these codes. The reason is on standard error, one line for each problem, and under
systemd in `systemctl status wardgate`.

| code | what it means | what to do |
|---|---|---|
| 0 | Success; for `wardgate run`, a stop by a signal. | nothing |
| 1 | A failure while the command or the gateway ran. | The last line names what failed. systemd starts the service again. |
| 2 | A wrong command line. | `wardgate help` and the manual page list commands and options. |
| 78 | The configuration, a file or this machine does not allow a start. | Each line names the file, the line and the key, and what to write. `wardgate check` prints the same lines. [The tables below](#examples-wrong-set-ups) have examples. |

`status --check` has the codes of [Monitoring](../guide/monitoring.md), and `doctor` those of [its report](doctor.md#exit-codes).

A command to the admin socket (`wardgate reload`, `drain`, `end`, `upgrade` ...) prints its answer. If it was refused, each line is one
problem, nothing was changed, and the exit code is 1. The log has the same lines with the code `command_refused` or `command_done`.
";

const BEFORE_EXAMPLES: &str = "
## Examples: wrong set-ups

The tables below have wrong set-ups and the message that an operator reads: a line of the log with its level, or a line of `wardgate
check`. Tests bring the gateway into each of these situations and compare the message. Words in capitals (PORT, DATE, PKI, SITE and so on)
stand for what differs between sites.
";

/// What begins the last paragraph of a constant's comment.
const REMEDY: &str = "What to do: ";

/// The page, from the files below the root of the project.
pub(crate) fn page(root: &Path) -> anyhow::Result<String> {
    let read = |file: &str| {
        fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))
    };
    let codes = codes(&read(CODES)?).context(CODES)?;
    let examples = read(EXAMPLES)?;
    let from = examples.find("\n## ").unwrap_or(0);
    let examples = examples.get(from..).unwrap_or_default();
    let examples = examples.replace("\n## ", "\n### ");
    Ok(format!("{OPENING}{codes}{BEFORE_EXAMPLES}{examples}"))
}

/// A section for each comment `// Section:`, and a row for each constant.
fn codes(source: &str) -> anyhow::Result<String> {
    let mut page = String::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in source.lines() {
        if let Some(title) = line.strip_prefix("// Section: ") {
            let _ = write!(
                page,
                "\n## {title}\n\n| code | level | what it means | what to do |\n|---|---|---|---|\n"
            );
        } else if let Some(rest) = line.strip_prefix("///") {
            comment.push(rest.trim());
        } else if let Some((_, rest)) = line.split_once(" static ") {
            let name = rest.split(':').next().unwrap_or_default();
            page += &row(name, source, &comment).with_context(|| name.to_owned())?;
            comment.clear();
        } else {
            comment.clear();
        }
    }
    Ok(page)
}

fn row(name: &str, source: &str, comment: &[&str]) -> anyhow::Result<String> {
    let code = name.to_lowercase();
    let level = ["info", "warn", "error"].into_iter().find(|level| {
        // rustfmt may write the value on a line of its own.
        let value = format!("LogMessage::{level}(\"{code}\");");
        let declaration = source.split_once(&format!(" static {name}:"));
        let until = declaration.and_then(|(_, rest)| rest.split_once(';'));
        until.is_some_and(|(text, _)| format!("{text};").ends_with(&value))
    });
    let level = level.context("its code is not its name in lower case")?;
    let text = comment.join("\n");
    let (cause, remedy) = text
        .split_once(&format!("\n\n{REMEDY}"))
        .context("no last paragraph \"What to do: \"")?;
    anyhow::ensure!(!cause.is_empty() && !remedy.is_empty(), "an empty text");
    let cell = |text: &str| {
        let text = text.replace('\n', " ").replace('|', "\\|");
        let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
        first.to_uppercase() + rest
    };
    Ok(format!(
        "| `{code}` | {} | {} | {} |\n",
        level.to_uppercase(),
        cell(cause),
        cell(remedy)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "// Section: Start\n\n/// A cause\n/// in two lines.\n///\n/// What to do: act | wait.\n\
                        pub(crate) static A_B: LogMessage = LogMessage::warn(\"a_b\");\n";

    #[test]
    fn a_message_becomes_a_row_with_its_code_level_cause_and_remedy() {
        let page = codes(GOOD).expect("it is complete");
        let row = "| `a_b` | WARN | A cause in two lines. | Act \\| wait. |\n";
        assert!(
            page.starts_with("\n## Start\n") && page.ends_with(row),
            "{page}"
        );
        let wrapped = GOOD.replace("= LogMessage::", "=\n    LogMessage::");
        assert_eq!(codes(&wrapped).expect("it is complete"), page);
    }

    #[test]
    fn a_message_without_a_remedy_or_with_another_code_is_refused() {
        for (from, to) in [
            ("/// What to do: act | wait.\n", ""),
            ("What to do: act | wait.", "What to do:"),
            ("\"a_b\"", "\"a_c\""),
            ("/// A cause\n/// in two lines.\n", ""),
        ] {
            let bad = GOOD.replace(from, to);
            assert_ne!(bad, GOOD);
            codes(&bad).expect_err(&bad);
        }
    }
}
