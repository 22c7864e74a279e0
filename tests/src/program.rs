//! A program that runs to its end: arguments in, output and exit status out, within a deadline.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a program may take unless its caller knows better.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(60);

/// A program with its arguments, not yet running.
#[derive(Debug, Clone)]
pub struct Program {
    name: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    namespace: Option<String>,
    input: Vec<u8>,
    deadline: Duration,
}

/// How a program ended.
#[derive(Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    /// Its exit status; `None` when it was killed at its deadline.
    pub status: Option<ExitStatus>,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Program {
    /// A program by its path, or by its name on `PATH` or in the folders for administrators.
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            arguments: Vec::new(),
            variables: Vec::new(),
            folder: None,
            namespace: None,
            input: Vec::new(),
            deadline: PROGRAM_DEADLINE,
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        let arguments = arguments.into_iter().map(|item| item.as_ref().to_owned());
        self.arguments.extend(arguments);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((key.into(), value.as_ref().to_owned()));
        self
    }

    /// Runs it in this working directory.
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Runs it in this network namespace.
    pub fn netns(mut self, namespace: impl Into<Option<String>>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Passes these bytes on standard input; without them, standard input is at its end.
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Kills it after this time.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end, or kills it at its deadline.
    pub fn run(self) -> Outcome {
        let mut child = self.spawn(Stdio::piped());
        let stdout = reader(child.stdout.take().expect("stdout is piped"));
        let stderr = reader(child.stderr.take().expect("stderr is piped"));
        let writer = writer(&mut child, self.input.clone());
        let status = wait(&mut child, self.deadline);
        let outcome = Outcome {
            command: self.line(),
            status,
            stdout: stdout.join().expect("the reader does not panic"),
            stderr: stderr.join().expect("the reader does not panic"),
        };
        writer.join().expect("the writer does not panic");
        outcome
    }

    /// Starts it with its output on pipes.
    pub(crate) fn spawn(&self, stdin: Stdio) -> Child {
        let mut command = match &self.namespace {
            // `ip netns exec` replaces itself by the program, so the process id is the program's.
            Some(namespace) => {
                let mut command = Command::new("/usr/sbin/ip");
                command.args(["netns", "exec", namespace]).arg(&self.name);
                command
            }
            None => Command::new(&self.name),
        };
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
            .args(&self.arguments)
            .env("PATH", search_path())
            .envs(self.variables.iter().map(|(key, value)| (key, value)))
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.line()))
    }

    /// The command line, for messages.
    pub(crate) fn line(&self) -> String {
        let words = std::iter::once(&self.name).chain(&self.arguments);
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }
}

impl Outcome {
    /// Standard output and standard error, one after the other.
    pub fn text(&self) -> String {
        let all = [self.stdout.as_slice(), self.stderr.as_slice()].concat();
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Whether it exited 0.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Panics with the whole output unless it exited 0.
    pub fn expect_success(self) -> Self {
        assert!(self.succeeded(), "{self}");
        self
    }

    /// Panics with the whole output unless it ended by itself with another exit code than 0.
    pub fn expect_failure(self) -> Self {
        let failed = self.status.is_some_and(|status| !status.success());
        assert!(failed, "expected a failure: {self}");
        self
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            Some(status) => write!(f, "{}\n{status}\n", self.command)?,
            None => write!(f, "{}\nkilled at its deadline\n", self.command)?,
        }
        f.write_str(&self.text())
    }
}

/// Finds a program on `PATH` or in the folders for administrators, which are not on every user's `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = search_path();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

fn reader(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // Output before an error is worth showing; the exit status reports the rest.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

fn writer(child: &mut Child, input: Vec<u8>) -> JoinHandle<()> {
    let mut pipe = child.stdin.take().expect("stdin is piped");
    std::thread::spawn(move || {
        // A program need not read all its input.
        let _ = pipe.write_all(&input);
    })
}

fn wait(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < deadline {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_are_caught() {
        let outcome = Program::new("sh")
            .args(["-c", "cat; echo told >&2; exit 3"])
            .stdin("heard ")
            .run()
            .expect_failure();
        assert_eq!(outcome.text(), "heard told\n");
    }

    #[test]
    fn program_that_does_not_end_is_killed() {
        let outcome = Program::new("sleep")
            .arg("600")
            .deadline(Duration::from_millis(50))
            .run();
        assert!(outcome.status.is_none());
    }
}
