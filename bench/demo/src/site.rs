//! One site: its configuration on disk and its gateway, a real `wardgate run` process.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::{GATEWAY, limits};

/// Clock ticks of `/proc/PID/stat` per second: part of the kernel's interface on x86-64 (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// Fields of `/proc/PID/stat` after the command's name: utime is the 12th, stime the 13th.
const UTIME: usize = 11;

/// The values of a site's configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Name of the route.
    pub(super) route: &'static str,
    /// `originate` or `terminate`.
    pub(super) mode: &'static str,
    /// The address on which it listens.
    pub(super) listen: SocketAddr,
    /// The address of the target.
    pub(super) target: SocketAddr,
    /// The comment beside the target in the file.
    pub(super) note: &'static str,
    /// The name of the peer, which is also the prefix of its CA's files.
    pub(super) peer: &'static str,
    /// The identity that the peer must have.
    pub(super) identity: &'static str,
}

/// A running gateway. Its process ends when the value is dropped.
pub(super) struct Site {
    name: &'static str,
    child: Child,
    log: Arc<Log>,
}

/// The fields of a gateway's log line about a connection that the report needs.
#[derive(Debug, Clone, Deserialize, PartialEq)]
pub(super) struct ConnectionLine {
    pub(super) peer: String,
    pub(super) key_sha256: String,
    #[serde(rename = "tls.protocol.version")]
    pub(super) tls: String,
    #[serde(rename = "tls.cipher")]
    pub(super) suite: String,
    #[serde(rename = "tls.curve")]
    pub(super) group: String,
    pub(super) sealed_bytes: u64,
    pub(super) opened_bytes: u64,
    pub(super) reason: String,
}

/// Writes the configuration of a site beside its certificates, and returns its path.
pub(super) fn write_config(dir: &Path, plan: &Plan) -> anyhow::Result<PathBuf> {
    let path = dir.join("wardgate.toml");
    fs::write(&path, plan.to_toml()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

impl Plan {
    fn to_toml(self) -> String {
        let Self {
            route,
            mode,
            listen,
            target,
            note,
            peer,
            identity,
        } = self;
        format!(
            r#"[gateway]
cores = "all"
log = "json"

[identity]
certificate = "site.pem"
key = "site.key"

[[peer]]
name = "{peer}"
identity = "{identity}"
trust = "{peer}-ca.pem"
crl = ["{peer}-ca.crl"]

[[route]]
name = "{route}"
mode = "{mode}"
protocol = "dicom"
listen = "{listen}"
targets = ["{target}"]             # {note}
peers = ["{peer}"]
"#
        )
    }
}

impl Site {
    /// Starts `wardgate run` with this configuration, and waits until it is ready.
    pub(super) fn start(name: &'static str, config: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program on disk")?;
        let mut command = Command::new(program);
        command.args([GATEWAY, "run", "--config"]).arg(config);
        Self::spawn(name, command)
    }

    fn spawn(name: &'static str, mut command: Command) -> anyhow::Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name}: cannot start its gateway"))?;
        // From here on, dropping the value ends the process.
        let mut site = Self {
            name,
            child,
            log: Arc::default(),
        };
        let stderr = site
            .child
            .stderr
            .take()
            .context("standard error was asked for")?;
        let log = Arc::clone(&site.log);
        let read = move || log.read(BufReader::new(stderr));
        thread::Builder::new().name("log".into()).spawn(read)?;
        site.wait_ready()?;
        Ok(site)
    }

    fn wait_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + limits::READY;
        while !self.log.wait(deadline, |lines| lines.ready) {
            if self.log.lines().closed {
                bail!(self.ended());
            }
            if Instant::now() >= deadline {
                let after = limits::READY;
                bail!(
                    "{}: not ready after {after:?}; its last log lines:\n{}",
                    self.name,
                    self.last_lines()
                );
            }
        }
        Ok(())
    }

    /// Fails if the gateway has ended, with its last log lines.
    pub(super) fn alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => bail!(self.ended()),
        }
    }

    /// CPU time of all its threads so far, user and system, in steps of 10 ms.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        cpu_of(&stat).with_context(|| format!("{path}: cannot find utime and stime"))
    }

    /// Waits a short time until the gateway has logged `count` connections; returns all logged ones.
    pub(super) fn connections(&self, count: usize) -> Vec<ConnectionLine> {
        let deadline = Instant::now() + limits::STOP;
        self.log
            .wait(deadline, |lines| lines.connections.len() >= count);
        self.log.lines().connections.clone()
    }

    /// The gateway's last log lines.
    pub(super) fn last_lines(&self) -> String {
        let lines = self.log.lines();
        let lines: Vec<_> = lines.last.iter().map(|line| format!("  {line}")).collect();
        lines.join("\n")
    }

    fn ended(&mut self) -> String {
        let how = match wait(&mut self.child, limits::STOP) {
            Some(status) => status.to_string(),
            None => "closed its log".into(),
        };
        // Its last lines may still be in the pipe.
        let deadline = Instant::now() + limits::STOP;
        self.log.wait(deadline, |lines| lines.closed);
        format!(
            "{}: its gateway ended ({how}); its last log lines:\n{}",
            self.name,
            self.last_lines()
        )
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // The child is not reaped yet, so its process ID is not reused.
            if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
            }
            if wait(&mut self.child, limits::STOP).is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
    }
}

/// Waits for a child to end; `None` if it does not end in time.
fn wait(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + time;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn cpu_of(stat: &str) -> Option<Duration> {
    // The command's name is in parentheses and may contain spaces and parentheses itself.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(UTIME);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs_f64(
        (utime + stime) as f64 / TICKS_PER_SECOND,
    ))
}

/// The output of a gateway on standard error.
#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    news: Condvar,
}

#[derive(Default)]
struct Lines {
    ready: bool,
    connections: Vec<ConnectionLine>,
    /// The last lines in their original form, to show them after a failure.
    last: VecDeque<String>,
    /// Whether the gateway has closed its standard error, which means that it has ended.
    closed: bool,
}

/// Number of lines kept for the user.
const LAST_LINES: usize = 20;

impl Log {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `enough`, the deadline or the end of the log; `true` if `enough` holds.
    fn wait(&self, deadline: Instant, enough: impl Fn(&Lines) -> bool) -> bool {
        let mut lines = self.lines();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if enough(&lines) || lines.closed || left.is_zero() {
                return enough(&lines);
            }
            let waited = self.news.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn read(&self, from: impl BufRead) {
        for line in from.lines().map_while(Result::ok) {
            self.lines().take(line);
            self.news.notify_all();
        }
        self.lines().closed = true;
        self.news.notify_all();
    }
}

impl Lines {
    fn take(&mut self, line: String) {
        #[derive(Deserialize)]
        struct Any {
            message: String,
        }
        let message = serde_json::from_str(&line).map(|any: Any| any.message);
        match message.as_deref() {
            Ok("ready") => self.ready = true,
            Ok("connection") if self.connections.len() < limits::LOG_LINES_MAX => {
                // A line without one of the fields is not counted, and the report shows what is missing.
                self.connections
                    .extend(serde_json::from_str::<ConnectionLine>(&line));
            }
            _ => {}
        }
        self.last.push_back(line);
        if self.last.len() > LAST_LINES {
            self.last.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> anyhow::Result<Site> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Site::spawn("site A", command)
    }

    #[test]
    fn a_gateway_that_refuses_to_start_is_quoted() {
        let Err(error) = shell("echo 'wardgate.toml:3: no such key' >&2; exit 78") else {
            panic!("it did not become ready");
        };
        let error = error.to_string();
        assert!(error.contains("exit status: 78"), "{error}");
        assert!(error.contains("wardgate.toml:3: no such key"), "{error}");
    }

    #[test]
    fn a_gateway_that_dies_later_is_noticed() {
        let script = r#"echo '{"message":"ready"}' >&2; exec sleep 600"#;
        let mut site = shell(script).expect("ready");
        site.alive().expect("it runs");
        let _ = site.child.kill();
        let _ = site.child.wait();
        assert!(site.alive().is_err());
    }

    #[test]
    fn a_dropped_site_leaves_no_process_even_if_it_ignores_sigterm() {
        let ready = r#"echo '{"message":"ready"}' >&2"#;
        let site = shell(&format!(
            "trap '' TERM; {ready}; while :; do sleep 0.1; done"
        ));
        let site = site.expect("ready");
        let stat = format!("/proc/{}/stat", site.child.id());
        assert!(Path::new(&stat).exists());
        drop(site);
        assert!(!Path::new(&stat).exists());
    }

    #[test]
    fn connection_lines_are_read_and_others_are_not() {
        let mut lines = Lines::default();
        lines.take("not json".into());
        lines.take(r#"{"message":"connection","peer":"-"}"#.into());
        let whole = r#"{"timestamp":"t","level":"INFO","message":"connection","route":"r",
            "peer":"dns:gw.region.example","key_sha256":"ab","tls.protocol.version":"1.3",
            "tls.cipher":"TLS_AES_256_GCM_SHA384","tls.curve":"X25519MLKEM768","sealed_bytes":5,
            "opened_bytes":6,"seconds":0.1,"ended_by":"plain side","reason":"complete"}"#;
        lines.take(whole.replace('\n', ""));
        assert_eq!(lines.connections.len(), 1);
        assert_eq!(lines.connections[0].peer, "dns:gw.region.example");
        assert_eq!(lines.connections[0].opened_bytes, 6);
    }

    #[test]
    fn cpu_time_is_read_after_a_hostile_process_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 900 0 0 0 120 35 0 0 20 0 3 0 99 1 1";
        assert_eq!(cpu_of(stat), Some(Duration::from_millis(1550)));
        assert_eq!(cpu_of("7 (a) S 1"), None);
    }

    #[test]
    fn a_configuration_names_its_files_beside_it() {
        let plan = Plan {
            route: "ct-to-region",
            mode: "originate",
            listen: "127.0.0.1:11112".parse().expect("address"),
            target: "127.0.0.1:2762".parse().expect("address"),
            note: "the wire",
            peer: "region",
            identity: "dns:gw.region.example",
        };
        let toml = plan.to_toml();
        assert!(toml.contains("targets = [\"127.0.0.1:2762\"]             # the wire\n"));
        assert!(toml.contains("trust = \"region-ca.pem\"\n"));
        gateway::config::parse(&toml, Path::new("wardgate.toml")).expect("a good configuration");
    }
}
