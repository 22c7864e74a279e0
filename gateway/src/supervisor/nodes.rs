//! Reports the NUMA node of each worker's CPU on machines with more than one node.
//!
//! A worker pins itself to its CPU before it creates its ring and buffers, so the kernel allocates them on
//! the worker's own node. This module only reports the nodes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::thread::CpuSet;

use crate::audit::{LogMessage, messages};
use crate::config::Gateway;

/// Where Linux lists its NUMA nodes.
pub(super) const FOLDER: &str = "/sys/devices/system/node";

/// The CPUs of each NUMA node that has any.
#[derive(Debug, PartialEq)]
pub(super) struct Nodes(BTreeMap<usize, Vec<usize>>);

impl Nodes {
    /// Reads `folder`. Returns no nodes if it cannot be read.
    pub(super) fn read(folder: &Path) -> Self {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let nodes = entries.filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix("node")?.parse().ok()?;
            let cpus = cpus(&fs::read_to_string(entry.path().join("cpulist")).ok()?)?;
            Some((number, cpus)).filter(|(_, cpus)| !cpus.is_empty())
        });
        Self(nodes.collect())
    }

    /// Remarks for the operator about the nodes of these cores; none on a machine with one node.
    pub(super) fn remarks(&self, gateway: &Gateway) -> Vec<(&'static LogMessage, String)> {
        if self.0.len() < 2 {
            return Vec::new();
        }
        let used = self.used(&gateway.cores);
        let mut remarks = vec![(&messages::NUMA_NODES, nodes_remark(&used))];
        if used.len() > 1 && !gateway.cores_listed {
            remarks.push((&messages::NUMA_SEVERAL, several_nodes_warning(used.len())));
        }
        remarks
    }

    // The CPUs of `cores` on each node that has any of them.
    fn used(&self, cores: &[usize]) -> Vec<(usize, Vec<usize>)> {
        let nodes = self.0.iter().map(|(node, cpus)| {
            let used = cores.iter().copied().filter(|cpu| cpus.contains(cpu));
            (*node, used.collect::<Vec<_>>())
        });
        nodes.filter(|(_, cpus)| !cpus.is_empty()).collect()
    }
}

fn nodes_remark(used: &[(usize, Vec<usize>)]) -> String {
    let nodes = used.iter().map(|(node, cpus)| {
        let cpus: Vec<_> = cpus.iter().map(usize::to_string).collect();
        format!("workers {} on node {node}", cpus.join(","))
    });
    let nodes: Vec<_> = nodes.collect();
    format!(
        "NUMA nodes: {}; each worker's ring and buffers are on its node",
        nodes.join(", ")
    )
}

fn several_nodes_warning(nodes: usize) -> String {
    format!(
        "[gateway]: cores is not set, so workers run on {nodes} NUMA nodes: traffic of workers that are not \
         on the network card's node crosses between nodes, which is slower; set cores to the CPUs of that \
         node (/sys/class/net/INTERFACE/device/numa_node has its number), or list all CPUs to silence this warning"
    )
}

/// Parses a list such as `0-3,8` from /sys; `None` if the text is not a list.
fn cpus(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for range in text.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse().ok()?, last.parse::<usize>().ok()?);
        // The size of the kernel's own CPU sets.
        if last >= CpuSet::MAX_CPU {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CipherSetting, LogFormat, RunAs, SandboxSetting};

    fn tree(nodes: &[(&str, Option<&str>)]) -> tempfile::TempDir {
        let folder = tempfile::TempDir::new().expect("a folder");
        for (name, cpulist) in nodes {
            let node = folder.path().join(name);
            fs::create_dir(&node).expect("it is new");
            if let Some(text) = cpulist {
                fs::write(node.join("cpulist"), text).expect("it can be written");
            }
        }
        folder
    }

    fn read(nodes: &[(&str, Option<&str>)]) -> Nodes {
        Nodes::read(tree(nodes).path())
    }

    fn gateway(cores: &[usize], cores_listed: bool) -> Gateway {
        Gateway {
            state: "/".into(),
            connections: None,
            handshakes_per_second: 1,
            sandbox: SandboxSetting::Off,
            run_as: RunAs::Default,
            reload_ports: Vec::new(),
            cores: cores.to_owned(),
            cores_listed,
            busy_poll: None,
            cipher: CipherSetting::Auto,
            admin: None,
            metrics: None,
            metrics_line: 0,
            web: None,
            log: LogFormat::Text,
        }
    }

    const TWO: [(&str, Option<&str>); 5] = [
        ("node0", Some("0-3,8-9\n")),
        ("node1", Some("4-7,10\n")),
        // Memory without CPUs, for example on an expansion card.
        ("node2", Some("\n")),
        ("power", None),
        ("node", None),
    ];

    #[test]
    fn nodes_are_read_with_their_cpus() {
        let expected = [(0, vec![0, 1, 2, 3, 8, 9]), (1, vec![4, 5, 6, 7, 10])];
        assert_eq!(read(&TWO), Nodes(expected.into()));
    }

    #[test]
    fn a_node_without_a_valid_cpu_list_is_ignored() {
        for text in ["0-", "-3", "a", "0-99999999999999999999", "0-4000000000"] {
            assert_eq!(read(&[("node0", Some(text))]), Nodes(BTreeMap::new()));
        }
        assert_eq!(read(&[("node0", None)]), Nodes(BTreeMap::new()));
        let nowhere = Nodes::read(Path::new("/nowhere"));
        assert_eq!(nowhere, Nodes(BTreeMap::new()));
    }

    #[test]
    fn one_node_causes_no_remark() {
        let nodes = read(&[("node0", Some("0-63\n")), ("node1", Some("\n"))]);
        assert!(nodes.remarks(&gateway(&[0, 1, 2], false)).is_empty());
    }

    #[test]
    fn workers_on_one_of_two_nodes_are_logged_without_a_warning() {
        let [(message, text)] = &read(&TWO).remarks(&gateway(&[4, 5], false))[..] else {
            panic!("one remark");
        };
        assert_eq!(**message, messages::NUMA_NODES);
        assert!(text.contains("workers 4,5 on node 1; each"), "{text}");
    }

    #[test]
    fn workers_on_two_nodes_cause_a_warning_unless_cores_are_listed() {
        let nodes = read(&TWO);
        let remarks = nodes.remarks(&gateway(&[0, 8, 4], false));
        let [(_, placement), (message, warning)] = &remarks[..] else {
            panic!("two remarks: {remarks:?}");
        };
        assert!(
            placement.contains("workers 0,8 on node 0, workers 4 on node 1"),
            "{placement}"
        );
        assert_eq!(**message, messages::NUMA_SEVERAL);
        assert!(warning.contains("on 2 NUMA nodes"), "{warning}");
        let listed = nodes.remarks(&gateway(&[0, 8, 4], true));
        assert_eq!(listed.len(), 1, "listed cores cause no warning: {listed:?}");
    }
}
