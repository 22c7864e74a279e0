//! Named steps: each is announced and timed. If a step fails, the following steps still run.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::Workspace;

/// The completed steps, in order.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
}

/// A completed step.
#[derive(Debug)]
pub(crate) struct Step {
    /// Its name.
    pub(crate) name: String,
    /// Its duration.
    pub(crate) took: Duration,
    /// Why it failed, if it did.
    pub(crate) failure: Option<String>,
}

impl Steps {
    /// Runs one step and returns whether it succeeded.
    pub(crate) fn run(&mut self, name: &str, act: impl FnOnce() -> anyhow::Result<()>) -> bool {
        println!("==> {name}");
        let start = Instant::now();
        let failure = act().err().map(|error| format!("{error:#}"));
        let took = start.elapsed();
        match &failure {
            None => println!("==> {name}: good, {}\n", seconds(took)),
            Some(why) => println!("==> {name}: FAILED after {}: {why}\n", seconds(took)),
        }
        let good = failure.is_none();
        self.done.push(Step {
            name: name.to_owned(),
            took,
            failure,
        });
        good
    }

    /// Runs cargo as one step and returns whether it succeeded.
    pub(crate) fn cargo(&mut self, workspace: &Workspace, name: &str, arguments: &[&str]) -> bool {
        self.run(name, || must(&mut workspace.cargo(arguments)))
    }

    /// The last `count` steps, or all if there are fewer.
    pub(crate) fn tail(&self, count: usize) -> &[Step] {
        &self.done[self.done.len().saturating_sub(count)..]
    }

    /// The steps in the order in which they ran.
    pub(crate) fn all(&self) -> &[Step] {
        &self.done
    }
}

/// A command that runs beside the steps, only with processor time that they leave.
#[derive(Debug)]
pub(crate) struct Beside {
    child: Child,
    output: PathBuf,
}

impl Beside {
    /// Starts `command`, whose output goes to the file `output`.
    pub(crate) fn start(command: &Command, output: PathBuf) -> anyhow::Result<Self> {
        let file =
            File::create(&output).with_context(|| format!("cannot create {}", output.display()))?;
        // chrt is in util-linux, which Debian cannot be without.
        let child = Command::new("chrt")
            .args(["--idle", "0"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot run chrt")?;
        Ok(Self { child, output })
    }

    /// Waits for its end and prints its output.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        let status = self.child.wait()?;
        let output = fs::read(&self.output)
            .with_context(|| format!("cannot read {}", self.output.display()))?;
        println!("{}", String::from_utf8_lossy(&output).trim_end());
        anyhow::ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It has ended already, unless a step panicked.
        let _ = self.child.kill();
    }
}

/// Runs a command with inherited output; an exit code other than 0 is an error.
pub(crate) fn must(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run `{}`", words(command)))?;
    anyhow::ensure!(status.success(), "`{}` ended with {status}", words(command));
    Ok(())
}

/// A command as a user would type it: the program without its folder, the arguments without quotes.
fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name();
    program
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Formats a duration: `0.4 s`, `83.0 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_remembered_and_the_next_one_runs() {
        let mut steps = Steps::default();
        assert!(!steps.run("first", || anyhow::bail!("no")));
        assert!(steps.run("second", || Ok(())));
        let failures: Vec<_> = steps.all().iter().map(|s| s.failure.as_deref()).collect();
        assert_eq!(failures, [Some("no"), None]);
    }

    #[test]
    fn a_command_that_fails_is_an_error_that_names_it() {
        let error = must(Command::new("/bin/false").arg("x")).expect_err("false fails");
        assert_eq!(error.to_string(), "`false x` ended with exit status: 1");
        assert!(must(&mut Command::new("true")).is_ok());
    }
}
