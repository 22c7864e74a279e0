//! The programs `ip`, `tc` and `ethtool`, behind a trait: tests put a model of a network card and of a table of routes in
//! their place.
//!
//! A process of its own for each question costs a few milliseconds, and gives what no safe crate does: the netlink
//! crate for ethtool only reads, and a setting that cannot be written cannot be undone.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::limits::{PROGRAM_BYTES_MAX, PROGRAM_WAIT};

/// Runs a program and returns its standard output.
pub trait Programs {
    /// Runs `program` with these arguments.
    ///
    /// # Errors
    /// The program is not installed, failed, or did not end in time.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, ProgramError>;
}

/// Why a program gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// The program is in none of the usual folders.
    #[error("the program {0:?} is not installed")]
    NotInstalled(String),
    /// The program could not be started.
    #[error("cannot run {0:?}: {1}")]
    Start(String, String),
    /// The program ended with a failure; the text is its standard error, in one line.
    #[error("{0}: {1}")]
    Failed(String, String),
    /// The program was ended because it took too long.
    #[error("{0:?} did not end within {wait} s", wait = PROGRAM_WAIT.as_secs())]
    TooLong(String),
}

/// The programs of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Installed;

/// No programs: what needs one is not applicable. For a host that is only a folder.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPrograms;

/// Where administrators' programs are. The environment's `PATH` is not used: the caller may be root.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

impl Programs for NoPrograms {
    fn run(&self, _: &str, _: &[&str]) -> Result<String, ProgramError> {
        Err(ProgramError::Failed(
            "not read".to_owned(),
            "this host is a folder of files".to_owned(),
        ))
    }
}

impl Programs for Installed {
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, ProgramError> {
        let path = find(program).ok_or_else(|| ProgramError::NotInstalled(program.to_owned()))?;
        let start =
            |error: std::io::Error| ProgramError::Start(program.to_owned(), error.to_string());
        let mut child = Command::new(path)
            .args(arguments)
            .env_clear()
            .env("PATH", FOLDERS.join(":"))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start)?;
        let output = reader(child.stdout.take());
        let errors = reader(child.stderr.take());
        let status = wait(&mut child).map_err(start)?;
        let text = |thread: thread::JoinHandle<String>| thread.join().unwrap_or_default();
        let (output, errors) = (text(output), text(errors));
        match status {
            None => Err(ProgramError::TooLong(program.to_owned())),
            Some(status) if status.success() => Ok(output),
            Some(status) => {
                let errors = errors.split_whitespace().collect::<Vec<_>>().join(" ");
                let errors = match errors.as_str() {
                    "" => status.to_string(),
                    _ => errors,
                };
                Err(ProgramError::Failed(program.to_owned(), errors))
            }
        }
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let paths = FOLDERS.iter().map(|folder| Path::new(folder).join(program));
    paths.into_iter().find(|path| path.is_file())
}

/// Reads a pipe on a thread, so that a program that writes much to both pipes does not wait for us.
fn reader<R: std::io::Read + Send + 'static>(pipe: Option<R>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is used.
            let _ = pipe
                .by_ref()
                .take(PROGRAM_BYTES_MAX)
                .read_to_end(&mut bytes);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The exit status, or nothing if the program had to be ended.
fn wait(child: &mut Child) -> std::io::Result<Option<std::process::ExitStatus>> {
    let end = Instant::now() + PROGRAM_WAIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gives_its_output_or_the_reason_that_there_is_none() {
        assert_eq!(Installed.run("echo", &["a", "b"]), Ok("a b\n".to_owned()));
        let error = Installed
            .run("ls", &["/no such folder"])
            .expect_err("there is none");
        assert!(error.to_string().starts_with("ls: "), "{error}");
        let missing = Installed.run("no-such-program", &[]);
        assert_eq!(
            missing,
            Err(ProgramError::NotInstalled("no-such-program".to_owned()))
        );
        assert!(NoPrograms.run("echo", &[]).is_err());
    }
}
