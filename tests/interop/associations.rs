//! pynetdicom applications that report what they send and what they receive.

use std::path::Path;
use std::time::Duration;

use wardgate_tests::tier::{Need, python, workspace};
use wardgate_tests::{Background, Program, free_port, until};

/// The requirements of these applications.
pub(crate) const PYNETDICOM: [Need; 1] = [Need::Python];

/// A rejection takes 4 s at most (`timeouts.connect`); a busy machine may let the application wait as long again.
const PATIENCE: Duration = Duration::from_secs(8);

/// The calling title of tests in which it does not matter.
pub(crate) const CALLING: &str = "CT_A";
/// The called title of tests in which it does not matter.
pub(crate) const CALLED: &str = "ARCHIVE";

/// Requests one association, runs `actions` in it, and returns the results line by line: see the top of
/// `requestor.py`.
pub(crate) fn ask(port: u16, calling: &str, called: &str, actions: &[&str]) -> ApplicationReport {
    let program = requestor(port, calling, called, actions);
    ApplicationReport(program.run().expect_success().text())
}

/// The same without a relevant title.
pub(crate) fn ask_to(port: u16, actions: &[&str]) -> ApplicationReport {
    ask(port, CALLING, CALLED, actions)
}

fn requestor(port: u16, calling: &str, called: &str, actions: &[&str]) -> Program {
    script("requestor.py")
        .args([&port.to_string(), calling, called])
        .args(actions)
}

fn script(name: &str) -> Program {
    let folder = workspace().join(Path::new("tests/interop/associations"));
    Program::new(python()).arg(folder.join(name))
}

/// The application's report about its association.
#[derive(Debug)]
pub(crate) struct ApplicationReport(String);

impl ApplicationReport {
    /// The lines without the last, which reports how and when the association ended.
    pub(crate) fn lines(&self) -> Vec<&str> {
        let lines = self.0.lines();
        lines.filter(|line| !line.starts_with("ended")).collect()
    }

    /// How the association ended: `rejected`, `aborted` or `released`.
    pub(crate) fn ended(&self) -> &str {
        self.ending().0
    }

    /// Checks that the application received exactly this, and soon enough.
    ///
    /// The PDU counts: pynetdicom treats a connection that is rejected before its own thread has checked it
    /// as never made, and then reports `ended aborted`.
    #[track_caller]
    pub(crate) fn assert_rejected(&self, code: &str) {
        assert_eq!(self.lines(), [format!("rejected {code}")], "{self:?}");
        assert_ne!(self.ended(), "released", "{self:?}");
        assert!(self.ending().1 < PATIENCE, "{self:?}");
    }

    fn ending(&self) -> (&str, Duration) {
        let line = self.0.lines().find_map(|line| line.strip_prefix("ended "));
        let (how, time) = line
            .and_then(|line| line.split_once(' '))
            .unwrap_or_else(|| panic!("it does not say how it ended: {self:?}"));
        let time = time.parse().expect("milliseconds are a number");
        (how, Duration::from_millis(time))
    }
}

/// An association that stays open until the test ends it, or it is ended.
pub(crate) struct Open(Background);

impl Open {
    /// Requests an association, runs `actions` in it, and keeps it open.
    pub(crate) fn start(port: u16, calling: &str, called: &str, actions: &[&str]) -> Self {
        let actions = [actions, &["hold"]].concat();
        let mut program = Background::start(&requestor(port, calling, called, &actions));
        program.wait_for_output("accepted");
        Self(program)
    }

    /// Waits until the application has done this.
    pub(crate) fn wait_for(&mut self, line: &str) {
        self.0.wait_for_output(line);
    }

    /// Releases the association, and returns the report.
    pub(crate) fn release(mut self) -> ApplicationReport {
        self.0.try_write(b"\n");
        self.report()
    }

    /// Waits until the association has ended, and returns the report.
    pub(crate) fn report(mut self) -> ApplicationReport {
        until(
            "the association does not end",
            wardgate_tests::DEADLINE,
            || self.0.has_ended().then_some(()),
        );
        ApplicationReport(self.0.output())
    }
}

/// An application that accepts every association and reports what it receives.
pub(crate) struct Provider {
    pub(crate) port: u16,
    program: Background,
}

impl Provider {
    pub(crate) fn start() -> Self {
        let port = free_port();
        let program = script("provider.py").arg(port.to_string());
        let program = Background::listening(&program, port);
        Self { port, program }
    }

    /// Waits for a line; earlier lines count.
    pub(crate) fn wait_for(&mut self, line: &str) {
        self.program.wait_for_output(line);
    }

    /// The output until now: see the top of `provider.py`.
    pub(crate) fn report(&self) -> Vec<String> {
        self.program.output().lines().map(str::to_owned).collect()
    }

    /// The same after the end of the connection.
    pub(crate) fn report_when_closed(&mut self) -> Vec<String> {
        self.wait_for("closed");
        self.report()
    }
}
