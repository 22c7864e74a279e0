//! The real program, running with a site's configuration.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::logs::Collector;
use crate::{DEADLINE, Line, Process, Program, Site, free_port, http, until, wardgate};

/// A running `wardgate run`. Dropping it kills the process.
pub struct Gateway {
    child: Child,
    log: Collector,
    folder: TempDir,
    metrics: Option<SocketAddr>,
}

impl Site {
    /// Writes the configuration, starts the real program and waits until it reports that it is ready.
    pub fn start(&self) -> Gateway {
        Gateway::start(self)
    }
}

impl Gateway {
    fn start(site: &Site) -> Self {
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let site = site.clone().gateway("metrics", format!("\"{metrics}\""));
        let file = folder.path().join("wardgate.toml");
        site.write(&file);
        Self::spawn(&site.program(&file), folder, Some(metrics))
    }

    /// Starts the program in a network namespace with a configuration as an operator has written it, and
    /// waits until it says that it is ready. It must log in JSON.
    pub fn with_config(text: &str, namespace: &str) -> Self {
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        let file = folder.path().join("wardgate.toml");
        fs::write(&file, text).expect("the folder is ours");
        let program = Program::new(wardgate())
            .args(["run", "--config"])
            .arg(&file);
        Self::spawn(&program.netns(namespace.to_owned()), folder, None)
    }

    fn spawn(program: &Program, folder: TempDir, metrics: Option<SocketAddr>) -> Self {
        let mut child = program.spawn(Stdio::null());
        let mut log = Collector::default();
        log.collect(child.stdout.take().expect("stdout is piped"));
        log.collect(child.stderr.take().expect("stderr is piped"));
        let mut gateway = Self {
            child,
            log,
            folder,
            metrics,
        };
        gateway.wait_until_ready();
        gateway
    }

    /// The process.
    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// Its configuration file, which a test may change before a reload.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("wardgate.toml")
    }

    /// The folder that the process was given for its configuration; gone when this is dropped.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All that it has written, as it stands.
    pub fn output(&self) -> String {
        self.log.text()
    }

    /// All lines of its log until now.
    pub fn lines(&self) -> Vec<Line> {
        let lines = self.log.lines();
        lines.iter().filter_map(|line| Line::parse(line)).collect()
    }

    /// The accounts of connections until now.
    pub fn connections(&self) -> Vec<Line> {
        let mut lines = self.lines();
        lines.retain(Line::is_connection);
        lines
    }

    /// Waits for a line of the log, those of the past included.
    pub fn wait_for_line(
        &self,
        what: &str,
        deadline: Duration,
        accept: impl Fn(&Line) -> bool,
    ) -> Line {
        let found = self.log.wait_for(deadline, |text| {
            Line::parse(text).filter(|line| accept(line))
        });
        found.unwrap_or_else(|| panic!("no log line in {deadline:?}: {what}"))
    }

    /// Waits for the account of a connection, those of the past included.
    pub fn wait_for_connection_line(
        &self,
        what: &str,
        deadline: Duration,
        accept: impl Fn(&Line) -> bool,
    ) -> Line {
        self.wait_for_line(what, deadline, |line| line.is_connection() && accept(line))
    }

    /// Waits until it has told of this many connections, and returns their accounts.
    pub fn wait_for_connections(&self, count: usize) -> Vec<Line> {
        until(&format!("{count} connection lines"), DEADLINE, || {
            Some(self.connections()).filter(|lines| lines.len() >= count)
        })
    }

    /// Where it serves metrics and health.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics.expect("the site was started with metrics")
    }

    /// Its metrics in Prometheus' text form. Not for gateways in a network namespace: metrics are
    /// served on the loopback of that namespace.
    pub fn metrics(&self) -> String {
        let response = http::get(self.metrics_address(), "/metrics");
        assert_eq!(response.status, 200, "{}", response.text());
        response.text()
    }

    /// The value of one metric, summed over its labels; panics where there is none of that name.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics();
        let values: Vec<f64> = text
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse().ok())
            .collect();
        assert!(!values.is_empty(), "no metric {name} in\n{text}");
        values.iter().sum()
    }

    /// Key updates of all routes until now: of keys that seal, and of keys that open.
    pub fn key_updates(&self) -> (u64, u64) {
        let text = self.metrics();
        let sum = |direction: &str| -> u64 {
            let label = format!("direction=\"{direction}\"");
            text.lines()
                .filter(|line| line.starts_with("wardgate_key_updates_total{"))
                .filter(|line| line.contains(&label))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .sum()
        };
        (sum("sealed"), sum("opened"))
    }

    /// Sends SIGTERM, waits for the end, and expects exit code 0.
    pub fn stop(self) {
        self.process().signal(Signal::TERM);
        let (status, output) = self.wait(DEADLINE);
        assert!(status.success(), "ended with {status} on SIGTERM\n{output}");
    }

    /// Waits until it has ended by itself, and returns its status and all that it wrote.
    pub fn wait(mut self, deadline: Duration) -> (ExitStatus, String) {
        let status = until("the gateway does not end", deadline, || {
            self.child.try_wait().expect("the child is ours")
        });
        self.log.finish();
        (status, self.output())
    }

    fn wait_until_ready(&mut self) {
        until("the gateway does not say `ready`", DEADLINE, || {
            let ready = self.lines().iter().any(|line| line.message() == "ready");
            if !ready {
                self.assert_running();
            }
            ready.then_some(())
        });
    }

    fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("the child is ours") {
            self.log.finish();
            panic!("wardgate ended: {status}");
        }
    }
}

/// Lines of a gateway's log that a failed test shows.
const LINES_SHOWN: usize = 100;

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let config = fs::read_to_string(self.config()).unwrap_or_default();
            let output = self.output();
            let first_shown = output.lines().count().saturating_sub(LINES_SHOWN);
            let tail: Vec<_> = output.lines().skip(first_shown).collect();
            eprintln!("--- wardgate run\n{config}\n---\n{}", tail.join("\n"));
        }
    }
}
