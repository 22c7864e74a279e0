//! The real program, running with a site's configuration.

use std::cell::RefCell;
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
    // Those that its sandbox allows for a reload.
    reload_ports: Option<String>,
    // Processes that took its place. They have its pipes.
    successors: RefCell<Vec<u32>>,
    // Its certificates are there as long as it runs.
    _site: Option<Site>,
}

impl Site {
    /// Writes the configuration, starts the real program and waits until it reports that it is ready.
    pub fn start(&self) -> Gateway {
        Gateway::start(self)
    }
}

fn with_sockets(site: &Site, metrics: SocketAddr) -> Site {
    site.clone()
        .gateway("metrics", format!("\"{metrics}\""))
        .gateway("admin", "\"admin.sock\"")
}

impl Gateway {
    fn start(site: &Site) -> Self {
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let file = folder.path().join("wardgate.toml");
        let site = with_sockets(site, metrics);
        site.write(&file);
        let reload_ports = site.later_ports().map(ToOwned::to_owned);
        let program = site.program(&file);
        let mut gateway = Self::spawn(&program, folder, Some(metrics), Some(site));
        gateway.reload_ports = reload_ports;
        gateway
    }

    /// Starts the program in a network namespace with an operator's configuration, and waits until it reports
    /// that it is ready. The configuration must log in JSON.
    pub fn with_config(text: &str, namespace: &str) -> Self {
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        let file = folder.path().join("wardgate.toml");
        fs::write(&file, text).expect("the folder is ours");
        let program = Program::new(wardgate())
            .args(["run", "--config"])
            .arg(&file);
        Self::spawn(&program.netns(namespace.to_owned()), folder, None, None)
    }

    fn spawn(
        program: &Program,
        folder: TempDir,
        metrics: Option<SocketAddr>,
        site: Option<Site>,
    ) -> Self {
        let mut child = program.spawn(Stdio::null());
        let mut log = Collector::default();
        log.collect(child.stdout.take().expect("stdout is piped"));
        log.collect(child.stderr.take().expect("stderr is piped"));
        let mut gateway = Self {
            child,
            log,
            folder,
            metrics,
            reload_ports: None,
            successors: RefCell::default(),
            _site: site,
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

    /// The process that serves now: the first one, or the last one that took its place.
    pub fn serving(&self) -> Process {
        let text = self.command(&["status", "--json"]).run().expect_success();
        let reply: serde_json::Value = serde_json::from_str(&text.text()).expect("JSON");
        let id = reply["status"]["pid"].as_u64().expect("a number");
        let id = u32::try_from(id).expect("a process");
        let mut successors = self.successors.borrow_mut();
        if id != self.child.id() && !successors.contains(&id) {
            successors.push(id);
        }
        Process::new(id)
    }

    /// Writes another configuration, for a reload. Metrics and admin socket stay where they are.
    pub fn write_config(&self, site: &Site) {
        let site = with_sockets(site, self.metrics_address());
        let site = match &self.reload_ports {
            Some(ports) => site.gateway("reload_ports", ports),
            None => site,
        };
        site.write(&self.config());
    }

    /// A command for the running program: `["drain", "out"]`.
    pub fn command(&self, arguments: &[&str]) -> Program {
        Program::new(wardgate())
            .args(arguments)
            .args(["--socket"])
            .arg(self.folder().join("admin.sock"))
    }

    /// The folder of the program's configuration; removed when this value is dropped.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The whole output, unchanged.
    pub fn output(&self) -> String {
        self.log.text()
    }

    /// All lines of its log until now.
    pub fn lines(&self) -> Vec<Line> {
        let lines = self.log.lines();
        lines.iter().filter_map(|line| Line::parse(line)).collect()
    }

    /// The log lines of ended connections until now.
    pub fn connections(&self) -> Vec<Line> {
        let mut lines = self.lines();
        lines.retain(Line::is_connection);
        lines
    }

    /// Waits for a line of the log; earlier lines count.
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

    /// Waits for the log line of an ended connection; earlier lines count.
    pub fn wait_for_connection_line(
        &self,
        what: &str,
        deadline: Duration,
        accept: impl Fn(&Line) -> bool,
    ) -> Line {
        self.wait_for_line(what, deadline, |line| line.is_connection() && accept(line))
    }

    /// Waits until this many connections are logged, and returns their log lines.
    pub fn wait_for_connections(&self, count: usize) -> Vec<Line> {
        until(&format!("{count} connection lines"), DEADLINE, || {
            Some(self.connections()).filter(|lines| lines.len() >= count)
        })
    }

    /// The address of metrics and health.
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

    /// Ends it with SIGTERM, and calls `then` while its folder is still there.
    pub fn stop_and_keep_folder(mut self, then: impl FnOnce()) {
        self.process().signal(Signal::TERM);
        until("the gateway does not end", DEADLINE, || {
            self.child.try_wait().expect("the child is ours")
        });
        then();
    }

    /// Waits until it has ended by itself, and returns its status and all that it wrote.
    pub fn wait(mut self, deadline: Duration) -> (ExitStatus, String) {
        let status = until("the gateway does not end", deadline, || {
            self.child.try_wait().expect("the child is ours")
        });
        if self.successors.borrow().is_empty() {
            self.log.finish();
        }
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
        for successor in self.successors.borrow().iter() {
            if Process::new(*successor).is_running() {
                Process::new(*successor).signal(Signal::KILL);
            }
        }
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
