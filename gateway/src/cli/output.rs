//! Ends a command whose output cannot be written, as `wardgate status | head` does, without a panic.
//!
//! std panics if `println!` fails. A command prints in one thread and holds nothing that an exit would lose; the
//! gateway itself (`wardgate run`) is not treated so.

use std::io::Write as _;
use std::panic;
use std::process;

use super::{EXIT_FAILED, EXIT_GOOD};

/// What a command does besides printing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandKind {
    /// It only reports, or prints after its work: a reader that has read enough is no failure.
    Reports,
    /// It prints between steps of its work, so that the rest would be missing.
    Works,
}

/// Ends the process when standard output or standard error cannot be written.
pub(super) fn end_when_not_writable(kind: CommandKind) {
    let others = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        match info.payload_as_str().and_then(|text| ending(text, kind)) {
            Some((code, line)) => {
                if let Some(line) = line {
                    // There is no other place for the sentence.
                    let _ = writeln!(std::io::stderr(), "wardgate: {line}");
                }
                process::exit(code.into());
            }
            None => others(info),
        }
    }));
}

/// The exit code and the sentence for the panic of a failed `print`; `None` for any other panic.
fn ending(panic: &str, kind: CommandKind) -> Option<(u8, Option<String>)> {
    if panic.starts_with("failed printing to stderr: ") {
        return Some((EXIT_FAILED, None));
    }
    let why = panic.strip_prefix("failed printing to stdout: ")?;
    let is_closed = why.starts_with("Broken pipe");
    Some(match kind {
        CommandKind::Reports if is_closed => (EXIT_GOOD, None),
        CommandKind::Reports => (
            EXIT_FAILED,
            Some(format!("standard output cannot be written: {why}")),
        ),
        CommandKind::Works => (
            EXIT_FAILED,
            Some(format!(
                "standard output cannot be written: {why}; the command stopped there, and its other steps were not done"
            )),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_read_enough_is_no_failure_of_a_report() {
        let closed = "failed printing to stdout: Broken pipe (os error 32)";
        assert_eq!(ending(closed, CommandKind::Reports), Some((0, None)));
        let (code, line) = ending(closed, CommandKind::Works).expect("it is a failed print");
        assert_eq!(code, 1);
        assert!(line.is_some_and(|line| line.contains("other steps were not done")));
        let full = "failed printing to stdout: No space left on device (os error 28)";
        let (code, line) = ending(full, CommandKind::Reports).expect("it is a failed print");
        let expected = "standard output cannot be written: No space left on device (os error 28)";
        assert_eq!((code, line.as_deref()), (1, Some(expected)));
        assert_eq!(ending("index out of bounds", CommandKind::Reports), None);
    }
}
