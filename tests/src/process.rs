//! What the kernel knows about a process: memory, descriptors, threads, listening ports.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A running process, observed through `/proc`.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    id: u32,
}

impl Process {
    /// The process with this id, which must be a child of ours that was not yet waited for.
    pub fn new(id: u32) -> Self {
        Self { id }
    }

    /// Whether it runs: it has not ended, and is this program.
    pub fn is_running(self) -> bool {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.id));
        name.is_ok_and(|name| name.trim() == "wardgate")
    }

    /// Whether it has ended; a process that its parent has not waited for has ended too.
    pub fn has_ended(self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id));
        // proc(5): the state follows the name in parentheses.
        stat.map_or(true, |stat| {
            stat.rsplit(')')
                .next()
                .is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
        })
    }

    /// Its process id.
    pub fn id(self) -> u32 {
        self.id
    }

    /// Memory that it has in RAM now (`VmRSS`), in bytes.
    pub fn resident_bytes(self) -> u64 {
        self.status("VmRSS:") * 1024
    }

    /// The most memory that it ever had in RAM (`VmHWM`), in bytes.
    pub fn resident_bytes_max(self) -> u64 {
        self.status("VmHWM:") * 1024
    }

    /// Time that processors have worked for it, all threads together, in steps of 10 ms.
    pub fn cpu_time(self) -> Duration {
        let path = format!("/proc/{}/stat", self.id);
        let stat = fs::read_to_string(path).expect("the process lives and is ours");
        // proc(5): the fields `utime` and `stime`, behind the name in parentheses, in ticks of 10 ms.
        let fields = stat
            .rsplit(')')
            .next()
            .expect("the name is there")
            .split_whitespace();
        let ticks = fields
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("a number"));
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// Its threads.
    pub fn threads(self) -> u64 {
        self.status("Threads:")
    }

    /// Its threads whose names begin with `prefix`, in the order of their ids.
    pub fn threads_named(self, prefix: &str) -> Vec<Thread> {
        let folder = format!("/proc/{}/task", self.id);
        let entries = fs::read_dir(folder).expect("the process lives and is ours");
        let mut threads: Vec<_> = entries
            .filter_map(|entry| Thread::read(&entry.ok()?.path()))
            .filter(|thread| thread.name.starts_with(prefix))
            .collect();
        threads.sort_by_key(|thread| thread.id);
        threads
    }

    /// Its open file descriptors.
    pub fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id))
            .expect("the process lives and is ours")
            .count()
    }

    /// Its pipes, each counted once whichever of its ends are open.
    pub fn pipes(self) -> usize {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.id));
        let pipes: BTreeSet<_> = entries
            .expect("the process lives and is ours")
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("pipe:"))
            .collect();
        pipes.len()
    }

    /// Whether something listens on this TCP port in the network namespace of the process.
    pub fn sees_listener(self, port: u16) -> bool {
        ["tcp", "tcp6"].iter().any(|table| {
            fs::File::open(format!("/proc/{}/net/{table}", self.id))
                .is_ok_and(|table| has_listener(BufReader::new(table), port))
        })
    }

    /// Sends a signal.
    pub fn signal(self, signal: Signal) {
        let id = i32::try_from(self.id).expect("process ids fit i32");
        let id = Pid::from_raw(id).expect("process ids are positive");
        // The process may have ended by itself; the waiting code sees how.
        let _ = kill_process(id, signal);
    }

    fn status(self, key: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.id))
            .expect("the process lives and is ours");
        text.lines()
            .find_map(|line| line.strip_prefix(key))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("/proc/{}/status has no {key}", self.id))
    }
}

/// A thread of a process, as it was when it was looked at.
#[derive(Debug, Clone)]
pub struct Thread {
    /// Its thread id.
    pub id: u32,
    /// Its name (`comm`).
    pub name: String,
    /// The CPUs that it may run on, as the kernel writes them: `0-1,4`.
    pub cpus_allowed: String,
    /// Time that it spent on a CPU.
    pub cpu_time: Duration,
}

impl Thread {
    // `None` where the thread has just ended.
    fn read(folder: &Path) -> Option<Self> {
        let status = fs::read_to_string(folder.join("status")).ok()?;
        let times = fs::read_to_string(folder.join("schedstat")).ok()?;
        let field = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim().to_owned())
        };
        let nanoseconds = times.split_whitespace().next()?.parse().ok()?;
        Some(Self {
            id: field("Pid:")?.parse().ok()?,
            name: field("Name:")?,
            cpus_allowed: field("Cpus_allowed_list:")?,
            cpu_time: Duration::from_nanos(nanoseconds),
        })
    }
}

/// Whether a table like `/proc/net/tcp` has a socket in LISTEN on `port`.
///
/// Such a table begins with all sockets in LISTEN. It is read up to the first other one: tens of thousands in
/// TIME_WAIT may follow, and the kernel makes their lines only when they are asked for.
fn has_listener(table: impl BufRead, port: u16) -> bool {
    let port = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .map_while(Result::ok)
        .map_while(|line| listening_address(&line).map(str::to_owned))
        .any(|address| address.ends_with(&port))
}

/// The local address in a line of `/proc/net/tcp`, if the socket is in LISTEN (state 0A).
fn listening_address(line: &str) -> Option<&str> {
    let mut fields = line.split_whitespace().skip(1);
    let local = fields.next()?;
    (fields.nth(1)? == "0A").then_some(local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_is_seen() {
        let process = Process::new(std::process::id());
        assert!(process.resident_bytes() > 100_000);
        assert!(process.resident_bytes_max() >= process.resident_bytes() / 2);
        assert!(!process.has_ended());
        assert!(process.threads() >= 1);
        assert!(process.descriptors() >= 3);
        let threads = process.threads_named("");
        assert!(threads.iter().any(|thread| thread.id == process.id()));
        assert!(threads.iter().all(|thread| !thread.cpus_allowed.is_empty()));
    }

    #[test]
    fn listener_is_seen_while_it_stands() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let port = listener.local_addr().expect("it is bound").port();
        let process = Process::new(std::process::id());
        assert!(process.sees_listener(port));
        crate::stream::stop_listening(listener);
        assert!(!process.sees_listener(port));
    }

    #[test]
    fn other_sockets_on_a_port_are_no_listeners_and_end_the_reading() {
        let table = "  sl  local_address rem_address   st\n\
                     0: 0100007F:0050 00000000:0000 0A 0\n\
                     1: 0100007F:0051 00000000:0000 0A 0\n\
                     2: 0100007F:0052 0100007F:A000 06 0\n";
        let listens = |port| has_listener(table.as_bytes(), port);
        assert!(listens(0x50) && listens(0x51));
        assert!(!listens(0x52) && !listens(0x53));
    }
}
