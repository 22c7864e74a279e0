//! A program in the foreground, on its cores, until its value is dropped.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal};

/// The program and its cores.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) cores: &'a [usize],
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: &'a [(&'a str, &'a str)],
    /// The file for the output of the program.
    pub(crate) log: PathBuf,
}

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// As on the command line: `0,1`.
pub(super) fn list(cores: &[usize]) -> String {
    let cores: Vec<_> = cores.iter().map(ToString::to_string).collect();
    cores.join(",")
}

/// How long a program may take until it listens.
const START_MAX: Duration = Duration::from_secs(15);

/// How long a program may take to end after SIGTERM; then it is killed.
const END_MAX: Duration = Duration::from_secs(3);

/// The time between two checks of a program.
const LOOK: Duration = Duration::from_millis(5);

impl Process {
    /// # Errors
    ///
    /// The program of the bench or the log cannot be opened; a missing program shows later.
    pub(crate) fn start(start: Start) -> anyhow::Result<Self> {
        let log = File::create(&start.log)
            .with_context(|| format!("cannot write {}", start.log.display()))?;
        let own = std::env::current_exe().context("cannot find our own program")?;
        let child = Command::new(own)
            .args(["pinned", "--cores", &list(start.cores), "--"])
            .arg(&start.program)
            .args(&start.arguments)
            .envs(start.environment.iter().copied())
            .current_dir(start.log.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start ourselves")?;
        Ok(Self {
            name: start.program.display().to_string(),
            child,
            log: start.log,
        })
    }

    /// Waits until the program listens there, according to the kernel: a connection would cost some programs
    /// a handshake, and count in the measurement.
    ///
    /// # Errors
    ///
    /// The program ends or takes too long, with the end of its output.
    pub(crate) fn wait_listening(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_MAX;
        while !listens(&fs::read_to_string("/proc/self/net/tcp")?, address) {
            let ended = self.child.try_wait()?;
            anyhow::ensure!(
                ended.is_none() && Instant::now() < deadline,
                "{} does not listen on {address}: {}",
                self.name,
                self.log_tail()
            );
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits until the program ends by itself.
    ///
    /// # Errors
    ///
    /// That takes longer.
    pub(crate) fn wait_end(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "{} has not ended within {limit:?}: {}",
                self.name,
                self.log_tail()
            );
            thread::sleep(LOOK);
        }
    }

    /// The process and its children: with nginx, the master and its worker.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.child.id()];
        let mut next = 0;
        while let Some(&pid) = pids.get(next) {
            pids.extend(children(pid));
            next += 1;
        }
        pids
    }

    /// The end of its output.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = log.len().saturating_sub(1000);
        String::from_utf8_lossy(&log[tail..]).trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let all = self.pids();
        signal(self.child.id(), Signal::TERM);
        if self.wait_end(END_MAX).is_err() {
            // A killed master leaves its workers, so these are killed as well, by their ids.
            for pid in all {
                signal(pid, Signal::KILL);
            }
            let _ = self.child.wait();
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // The process may have ended in the meantime.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Whether `/proc/net/tcp` has a listening socket that takes connections to this IPv4 address.
fn listens(table: &str, address: SocketAddr) -> bool {
    let SocketAddr::V4(address) = address else {
        return false;
    };
    // The kernel prints the address as a number of its own byte order.
    let ip = u32::from_le_bytes(address.ip().octets());
    let port = address.port();
    let takes = [
        format!("{ip:08X}:{port:04X}"),
        format!("00000000:{port:04X}"),
    ];
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().unwrap_or_default();
        takes.iter().any(|takes| takes == local) && fields.nth(1) == Some(LISTEN)
    })
}

/// TCP_LISTEN as `/proc/net/tcp` prints it.
const LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listening_socket_is_found_in_the_table_and_a_connected_one_is_not() {
        let table = "  sl  local_address rem_address   st tx_queue\n   \
            0: 0100007F:2711 00000000:0000 0A 00000000:00000000\n   \
            1: 0100007F:2712 0100007F:1F90 01 00000000:00000000\n   \
            2: 00000000:2714 00000000:0000 0A 00000000:00000000\n";
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert!(listens(table, address(10_001)));
        assert!(
            listens(table, address(10_004)),
            "every address is this one too"
        );
        assert!(!listens(table, address(10_002)));
        assert!(!listens(table, address(10_003)));
    }

    #[test]
    fn the_kernel_s_table_shows_our_own_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let table = fs::read_to_string("/proc/self/net/tcp").expect("the kernel has a table");
        assert!(listens(&table, listener.local_addr().expect("it is bound")));
    }
}
