//! Runs a program with a time limit and takes its output.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cli::limits::{BUNDLE_OUTPUT_BYTES_MAX, BUNDLE_PROGRAM_WAIT};

const POLL: Duration = Duration::from_millis(10);

/// Where programs are looked for: root runs this command, perhaps with the `PATH` of a user.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program has done.
#[derive(Debug)]
pub(super) struct ProgramOutput {
    /// What it wrote to standard output and standard error.
    pub(super) text: String,
    /// How it ended, in words.
    pub(super) ended: String,
    /// Its exit code; `None` if a signal ended it.
    pub(super) code: Option<i32>,
}

/// Runs a program.
///
/// # Errors
/// Why there is no output: the program is not installed, or it did not end in time.
pub(super) fn output(program: &str, arguments: &[String]) -> Result<ProgramOutput, String> {
    let io = |error: std::io::Error| error.to_string();
    // A file takes all that the program writes, so that no full pipe can stop it.
    let mut file = tempfile::tempfile().map_err(io)?;
    let outputs: [File; 2] = [file.try_clone().map_err(io)?, file.try_clone().map_err(io)?];
    let [out, error] = outputs.map(Stdio::from);
    let mut child = Command::new(program)
        .args(arguments)
        .env("PATH", PATH)
        .env("LC_ALL", "C.UTF-8")
        .env("SYSTEMD_PAGER", "")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(error)
        .spawn()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(io)? {
            break status;
        }
        // LIMIT: BUNDLE_PROGRAM_WAIT.
        if start.elapsed() > BUNDLE_PROGRAM_WAIT {
            let _ = child.kill();
            let _ = child.wait();
            let seconds = BUNDLE_PROGRAM_WAIT.as_secs();
            return Err(format!("{program} did not end within {seconds} s"));
        }
        std::thread::sleep(POLL);
    };
    file.rewind().map_err(io)?;
    let mut bytes = Vec::new();
    // LIMIT: BUNDLE_OUTPUT_BYTES_MAX.
    file.take(BUNDLE_OUTPUT_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    Ok(ProgramOutput {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        ended: status.to_string(),
        code: status.code(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_exit_status_are_taken_together() {
        let arguments = ["-c", "echo out; echo error >&2; exit 3"].map(str::to_owned);
        let found = output("sh", &arguments).expect("sh is there");
        assert_eq!(found.text, "out\nerror\n");
        assert!(found.ended.contains('3'), "{}", found.ended);
        assert_eq!(found.code, Some(3));
        assert!(output("no-such-program", &[]).is_err());
    }
}
