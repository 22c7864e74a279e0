//! A program that runs beside the test until its value is dropped.

use std::io::Write;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::logs::Collector;
use crate::{DEADLINE, Process, Program, until, violation};

/// A running program with its output collected line by line. Dropping it kills the program, and fails the test if a
/// seccomp filter has killed it.
pub struct Background {
    child: Child,
    command: String,
    lines: Collector,
}

impl Background {
    /// Starts a program. Its input is a pipe that stays open: some servers end with their input.
    pub fn start(program: &Program) -> Self {
        let mut child = program.spawn(Stdio::piped());
        let mut lines = Collector::default();
        lines.collect(child.stdout.take().expect("stdout is piped"));
        lines.collect(child.stderr.take().expect("stderr is piped"));
        Self {
            child,
            command: program.line(),
            lines,
        }
    }

    /// Starts a server and waits until it listens on a TCP port.
    pub fn listening(program: &Program, port: u16) -> Self {
        let mut server = Self::start(program);
        server.wait_for_port(port);
        server
    }

    /// Waits until it listens on a TCP port. No connection is made: that would be a client to it.
    pub fn wait_for_port(&mut self, port: u16) {
        let process = self.process();
        let what = format!("{} does not listen on port {port}", self.command);
        until(&what, DEADLINE, || {
            self.assert_running();
            process.sees_listener(port).then_some(())
        });
    }

    /// Waits until it listens on a TCP port, or has ended because it cannot: `false`.
    pub fn listens_or_ends(&mut self, port: u16) -> bool {
        let process = self.process();
        let what = format!("{} neither listens nor ends", self.command);
        until(&what, DEADLINE, || {
            if self.has_ended() {
                return Some(false);
            }
            process.sees_listener(port).then_some(true)
        })
    }

    /// Waits until its output holds a text.
    pub fn wait_for_output(&mut self, text: &str) {
        let what = format!("{} does not say {text:?}", self.command);
        until(&what, DEADLINE, || {
            // Whether the program runs is checked first: then all output before its end is complete.
            let ended = self.has_ended();
            let found = self.output().contains(text);
            assert!(found || !ended, "{} ended\n{}", self.command, self.output());
            found.then_some(())
        });
    }

    /// The output until now, standard output and standard error as they came.
    pub fn output(&self) -> String {
        self.lines.text()
    }

    /// The process.
    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// Writes to the standard input, which the program may have closed already.
    pub fn try_write(&mut self, bytes: &[u8]) {
        let pipe = self.child.stdin.as_mut().expect("stdin is piped");
        let _ = pipe.write_all(bytes);
    }

    /// Whether the program has ended by itself; all its output has then been collected.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.child.try_wait().expect("the child is ours").is_some();
        if ended {
            self.lines.finish();
        }
        ended
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} does not end", self.command);
        until(&what, deadline, || {
            self.child.try_wait().expect("the child is ours")
        })
    }

    /// Sends SIGTERM, waits for the end, and returns all output.
    pub fn stop(mut self) -> String {
        self.process().signal(Signal::TERM);
        let what = format!("{} does not end on SIGTERM", self.command);
        until(&what, DEADLINE, || {
            self.child.try_wait().expect("the child is ours")
        });
        self.lines.finish();
        self.output()
    }

    fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("the child is ours") {
            self.lines.finish();
            panic!("{} ended: {status}\n{}", self.command, self.output());
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // That of a program that had ended before is what it was.
        let status = self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.command, self.output());
        } else if let Some(why) = violation::found(status, &self.output()) {
            panic!("{}: {why}", self.command);
        }
    }
}
