//! Which process listens on a TCP port, from /proc. Other users' processes are found by root only.

use std::fs;
use std::path::Path;

use crate::cli::socket::clean;

/// The state of a listening socket in `/proc/net/tcp` (`TCP_LISTEN`).
const LISTEN: &str = "0A";

/// The process that listens on `port`: `process 812 (orthanc)`; `None` if it cannot be found.
pub(super) fn of_port(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let texts = tables.into_iter().flatten();
    let inodes: Vec<_> = texts.flat_map(|text| inodes(&text, port)).collect();
    let links: Vec<_> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    // `self` and `thread-self` are links to a process that has an entry of its own.
    let mut numbered = processes.filter_map(|entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((id, entry.path()))
    });
    let (id, process) = numbered.find(|(_, process)| has_one(process, &links))?;
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    // A process chooses its name.
    Some(format!("process {id} ({})", clean(name.trim())))
}

/// The inodes of the sockets that listen on `port`, from the text of `/proc/net/tcp`.
fn inodes(table: &str, port: u16) -> Vec<String> {
    let listening = table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (local, state) = (fields.nth(1)?, fields.nth(1)?);
        let (_, own) = local.rsplit_once(':')?;
        let own = u16::from_str_radix(own, 16).ok()?;
        let inode = fields.nth(5)?;
        (own == port && state == LISTEN).then(|| inode.to_owned())
    });
    listening.collect()
}

fn has_one(process: &Path, links: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    let targets = descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    targets
        .filter_map(|target| Some(target.to_str()?.to_owned()))
        .any(|target| links.contains(&target))
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener};

    use super::*;

    #[test]
    fn the_process_that_listens_on_a_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let found = of_port(port).expect("it is this process");
        let own = format!("process {} (", std::process::id());
        assert!(found.starts_with(&own), "{found}");
        // Only dropped, a process that another test is starting could hold a copy for another moment.
        let listener = socket2::Socket::from(listener);
        listener.shutdown(Shutdown::Both).expect("it listens");
        assert_eq!(of_port(port), None);
    }
}
