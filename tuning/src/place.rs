//! The places that hold values: each knows how to read and to write its value.
//!
//! The variants are all that this program ever writes to, besides its own files in `/etc`. A record names places by
//! these variants, so even a changed record cannot lead to another file.

use std::thread;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::cpus::{CpuList, bare_mask};
use crate::host::{Host, NoValue};
use crate::limits::ROUTE_POLL;
use crate::turn::{BootStage, Turn};
use crate::{interrupts, qdisc};

/// All sysctls that this program reads to change them.
pub(crate) const SYSCTLS: [&str; 17] = [
    "kernel.io_uring_group",
    "kernel.io_uring_disabled",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.ipv4.tcp_congestion_control",
    "net.core.default_qdisc",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_mtu_probing",
    "net.core.somaxconn",
    "net.ipv4.tcp_max_syn_backlog",
    "net.core.netdev_max_backlog",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "fs.pipe-user-pages-soft",
];

/// A place that holds one value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Place {
    /// A sysctl by its dotted name.
    Sysctl { name: String },
    /// A choice of transparent huge pages.
    HugePages { choice: HugePages },
    /// The frequency governor of a CPU.
    Governor { cpu: usize },
    /// Whether an idle state of a CPU is disabled: 0 or 1.
    IdleState { cpu: usize, state: usize },
    /// The CPUs that may process an interrupt of a network card. It is named, because numbers change.
    Interrupt {
        card: String,
        device: String,
        name: String,
    },
    /// The CPUs to which a receive queue hands packets (RPS).
    ReceiveCpus { card: String, queue: usize },
    /// The CPUs that send through a transmit queue (XPS).
    TransmitCpus { card: String, queue: usize },
    /// The length of the receive or transmit rings of a network card.
    Ring { card: String, direction: Direction },
    /// Adaptive interrupt coalescing of received packets: on or off.
    Adaptive { card: String },
    /// An offload of a network card: on or off.
    Offload { card: String, feature: Feature },
    /// The queueing discipline that the kernel has given to a network card.
    Qdisc { card: String },
    /// What a route says about windows and acknowledgements, in the words of `ip route`.
    Route { family: Family, route: String },
}

/// The two files of transparent huge pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HugePages {
    Enabled,
    Defrag,
}

/// Receive or transmit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Direction {
    Rx,
    Tx,
}

/// An offload, each after those that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Feature {
    ReceiveChecksum,
    TransmitChecksum,
    ScatterGather,
    Tso,
    Gso,
    Gro,
}

/// The version of IP of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Family {
    #[serde(rename = "4")]
    V4,
    #[serde(rename = "6")]
    V6,
}

/// What `ip route` shows of a route and this program sets; the rest names the route.
pub(crate) const ROUTE_METRICS: [&str; 3] = ["initcwnd", "initrwnd", "quickack"];

impl Place {
    /// The value, as it must be written to restore it.
    pub(crate) fn read(&self, host: &Host) -> Result<String, NoValue> {
        if let Some(path) = self.file(host)? {
            return host.read(&path).map(|text| chosen(&text).to_owned());
        }
        match self {
            Self::Ring { card, direction } => {
                let text = ethtool(host, &["-g", card])?;
                let (_, current) = text
                    .split_once("Current hardware settings:")
                    .unwrap_or_default();
                known(value_of(current, direction.heading()))
            }
            Self::Adaptive { card } => {
                let text = ethtool(host, &["-c", card])?;
                let line = text
                    .lines()
                    .find_map(|line| line.strip_prefix("Adaptive RX:"));
                known(line.and_then(|rest| rest.split_whitespace().next()))
            }
            Self::Offload { card, feature } => {
                let text = ethtool(host, &["-k", card])?;
                let value = value_of(&text, feature.heading());
                match value.and_then(|value| value.split_once(' ')) {
                    Some(("off", state)) => {
                        Err(NoValue(format!("the card cannot change it: {state}")))
                    }
                    Some((value, _)) => Ok(value.to_owned()),
                    None => known(value),
                }
            }
            Self::Qdisc { card } => qdisc::read(host, card),
            Self::Route { family, route } => {
                let shown = family.routes(host)?;
                let mut routes = shown.lines().map(Route::parse);
                let found = routes.find(|found| found.identity == *route);
                found.map_or_else(
                    || Err(NoValue("there is no such route".to_owned())),
                    |found| Ok(found.metrics),
                )
            }
            _ => Err(NoValue("this place is unknown".to_owned())),
        }
    }

    /// Writes a value.
    pub(crate) fn write(&self, host: &Host, value: &str) -> Result<(), NoValue> {
        if let Some(path) = self.file(host)? {
            return host.write(&path, value);
        }
        let done = match self {
            Self::Ring { card, direction } => {
                ethtool(host, &["-G", card, direction.keyword(), value])
            }
            Self::Adaptive { card } => ethtool(host, &["-C", card, "adaptive-rx", value]),
            Self::Offload { card, feature } => {
                ethtool(host, &["-K", card, feature.keyword(), value])
            }
            Self::Qdisc { card } => return qdisc::write(host, card, value),
            Self::Route { family, route } => {
                let mut arguments = vec![family.option(), "route", "change"];
                arguments.extend(route.split_whitespace().chain(value.split_whitespace()));
                host.run("ip", &arguments)
            }
            _ => Err(NoValue("this place is unknown".to_owned())),
        };
        done.map(drop)
    }

    /// When a unit writes the value at each start of the host; nothing if sysctl.d holds it.
    pub(crate) fn stage(&self, host: &Host) -> Option<BootStage> {
        let is_device = |card: &str| host.exists(&format!("sys/class/net/{card}/device"));
        match self.turn() {
            Turn::Sysctls => None,
            // Bonds and VLANs are made when the network is configured.
            Turn::Link if self.card().is_some_and(is_device) => Some(BootStage::BeforeNetwork),
            _ => Some(BootStage::AfterNetwork),
        }
    }

    /// Waits until a route is there again, which may take a moment after the link was down; false if it is not. Other
    /// places are not waited for.
    pub(crate) fn await_route(&self, host: &Host, until: Instant) -> bool {
        if !matches!(self, Self::Route { .. }) {
            return true;
        }
        while self.read(host).is_err() {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(ROUTE_POLL);
        }
        true
    }

    /// Whether two values of this place mean the same.
    pub(crate) fn same(&self, one: &str, other: &str) -> bool {
        match self {
            Self::ReceiveCpus { .. } | Self::TransmitCpus { .. } => {
                bare_mask(one) == bare_mask(other)
            }
            Self::Interrupt { .. } => match (one.parse::<CpuList>(), other.parse::<CpuList>()) {
                (Ok(one), Ok(other)) => one == other,
                _ => one == other,
            },
            _ => one.split_whitespace().eq(other.split_whitespace()),
        }
    }

    /// Whether the kernel shows the value and lets no user change it.
    pub(crate) fn is_read_only(&self, host: &Host) -> bool {
        let file = self.file(host).ok().flatten();
        file.is_some_and(|path| host.is_read_only(&path))
    }

    /// The network card that the place belongs to; nothing for a route.
    pub(crate) fn card(&self) -> Option<&str> {
        match self {
            Self::ReceiveCpus { card, .. }
            | Self::TransmitCpus { card, .. }
            | Self::Ring { card, .. }
            | Self::Adaptive { card }
            | Self::Qdisc { card }
            | Self::Interrupt { card, .. }
            | Self::Offload { card, .. } => Some(card),
            _ => None,
        }
    }

    /// When the value is written.
    pub(crate) fn turn(&self) -> Turn {
        match self {
            Self::Sysctl { .. } => Turn::Sysctls,
            Self::Ring { .. } | Self::Adaptive { .. } | Self::Offload { .. } => Turn::Link,
            Self::Route { .. } => Turn::Routes,
            _ => Turn::Rest,
        }
    }

    /// Whether a record may name this place: the sysctl is one of ours, and the card's name is the name of a card.
    pub(crate) fn is_ours(&self) -> bool {
        match self {
            Self::Sysctl { name } => SYSCTLS.contains(&name.as_str()),
            Self::Route { route, .. } => Route::parse(route).is_plain(),
            _ => self.card().is_none_or(is_card_name),
        }
    }

    /// The file of a value that the kernel shows as a file, below the root.
    fn file(&self, host: &Host) -> Result<Option<String>, NoValue> {
        let cpus = "sys/devices/system/cpu";
        Ok(Some(match self {
            Self::Sysctl { name } => format!("proc/sys/{}", name.replace('.', "/")),
            Self::HugePages { choice } => {
                let name = match choice {
                    HugePages::Enabled => "enabled",
                    HugePages::Defrag => "defrag",
                };
                format!("sys/kernel/mm/transparent_hugepage/{name}")
            }
            Self::Governor { cpu } => format!("{cpus}/cpu{cpu}/cpufreq/scaling_governor"),
            Self::IdleState { cpu, state } => {
                format!("{cpus}/cpu{cpu}/cpuidle/state{state}/disable")
            }
            Self::Interrupt { card, device, name } => interrupts::file(host, card, device, name)?,
            Self::ReceiveCpus { card, queue } => {
                format!("sys/class/net/{card}/queues/rx-{queue}/rps_cpus")
            }
            Self::TransmitCpus { card, queue } => {
                format!("sys/class/net/{card}/queues/tx-{queue}/xps_cpus")
            }
            Self::Ring { .. }
            | Self::Adaptive { .. }
            | Self::Offload { .. }
            | Self::Qdisc { .. }
            | Self::Route { .. } => {
                return Ok(None);
            }
        }))
    }
}

/// The largest ring that the card has room for.
pub(crate) fn ring_max(host: &Host, card: &str, direction: Direction) -> Result<u64, NoValue> {
    let text = ethtool(host, &["-g", card])?;
    let before = text.split("Current hardware settings:").next();
    let value = known(value_of(before.unwrap_or_default(), direction.heading()))?;
    value
        .parse()
        .map_err(|_| NoValue("the card reports no maximum".to_owned()))
}

/// The present and the largest number of combined queues of a card.
pub(crate) fn queues(host: &Host, card: &str) -> Result<(String, u64), NoValue> {
    let text = ethtool(host, &["-l", card])?;
    let (most, current) = text
        .split_once("Current hardware settings:")
        .unwrap_or_default();
    let most = known(value_of(most, "Combined"))?;
    let most = most
        .parse()
        .map_err(|_| NoValue("the card reports no maximum".to_owned()))?;
    Ok((known(value_of(current, "Combined"))?, most))
}

/// Whether a text can be the name of a network interface: the kernel allows 15 bytes and neither "/" nor white space.
pub(crate) fn is_card_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_graphic() && c != '/';
    let special = name.starts_with(['-', '.']);
    (1..16).contains(&name.len()) && name.chars().all(good) && !special
}

fn ethtool(host: &Host, arguments: &[&str]) -> Result<String, NoValue> {
    host.run("ethtool", arguments)
}

/// The rest of the line that begins with `heading:`.
fn value_of<'a>(text: &'a str, heading: &str) -> Option<&'a str> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter_map(|line| line.split_once(':'));
    lines
        .find(|(name, _)| *name == heading)
        .map(|(_, value)| value.trim())
}

fn known(value: Option<&str>) -> Result<String, NoValue> {
    match value {
        None | Some("n/a" | "") => Err(NoValue("the card does not have it".to_owned())),
        Some(value) => Ok(value.to_owned()),
    }
}

/// The word in brackets, where the kernel shows all choices: `always [madvise] never`.
fn chosen(text: &str) -> &str {
    let inside = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or(text, |(word, _)| word)
}

/// A line of `ip route show`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The line without the metrics that this program sets.
    pub(crate) identity: String,
    /// These metrics, `quickack 1 initcwnd 32`.
    pub(crate) metrics: String,
}

impl Route {
    pub(crate) fn parse(line: &str) -> Self {
        let (mut identity, mut metrics) = (Vec::new(), Vec::new());
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            if ROUTE_METRICS.contains(&word) {
                metrics.push(word);
                metrics.extend(words.next());
            } else {
                identity.push(word);
            }
        }
        Self {
            identity: identity.join(" "),
            metrics: metrics.join(" "),
        }
    }

    /// Whether every word of the route can be given back to `ip route change`: a route with several next hops, a
    /// lifetime, or a flag that only the kernel sets, cannot be restored exactly.
    pub(crate) fn is_plain(&self) -> bool {
        const KEYS: [&str; 10] = [
            "via", "dev", "proto", "scope", "src", "metric", "mtu", "advmss", "pref", "congctl",
        ];
        let mut words = self.identity.split_whitespace();
        let destination = words.next().unwrap_or_default();
        let is_address = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_hexdigit() || b".:/".contains(&b))
        };
        if destination != "default" && !is_address(destination) || destination.is_empty() {
            return false;
        }
        while let Some(key) = words.next() {
            if key == "onlink" {
                continue;
            }
            if !KEYS.contains(&key) || words.next().is_none_or(|value| value.starts_with('-')) {
                return false;
            }
        }
        true
    }

    /// The value after a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let mut words = self.identity.split_whitespace();
        words.find(|word| *word == key)?;
        words.next()
    }
}

impl Family {
    pub(crate) const ALL: [Self; 2] = [Self::V4, Self::V6];

    fn option(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }

    /// The main table of routes.
    pub(crate) fn routes(self, host: &Host) -> Result<String, NoValue> {
        host.run("ip", &[self.option(), "route", "show"])
    }
}

impl Direction {
    pub(crate) fn keyword(self) -> &'static str {
        match self {
            Self::Rx => "rx",
            Self::Tx => "tx",
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Rx => "RX",
            Self::Tx => "TX",
        }
    }
}

impl Feature {
    pub(crate) const ALL: [Self; 6] = [
        Self::ReceiveChecksum,
        Self::TransmitChecksum,
        Self::ScatterGather,
        Self::Tso,
        Self::Gso,
        Self::Gro,
    ];

    /// The word that sets the feature.
    pub(crate) fn keyword(self) -> &'static str {
        match self {
            Self::ReceiveChecksum => "rx",
            Self::TransmitChecksum => "tx",
            Self::ScatterGather => "sg",
            Self::Tso => "tso",
            Self::Gso => "gso",
            Self::Gro => "gro",
        }
    }

    /// The name under which `ethtool -k` shows the feature.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::ReceiveChecksum => "rx-checksumming",
            Self::TransmitChecksum => "tx-checksumming",
            Self::ScatterGather => "scatter-gather",
            Self::Tso => "tcp-segmentation-offload",
            Self::Gso => "generic-segmentation-offload",
            Self::Gro => "generic-receive-offload",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_split_into_its_identity_and_its_metrics() {
        let route = Route::parse(
            "default via 10.0.0.1 dev eth0 proto dhcp metric 100 initcwnd 20 quickack 1 ",
        );
        assert_eq!(
            route.identity,
            "default via 10.0.0.1 dev eth0 proto dhcp metric 100"
        );
        assert_eq!(route.metrics, "initcwnd 20 quickack 1");
        assert!(route.is_plain());
        assert_eq!(route.get("via"), Some("10.0.0.1"));
        assert_eq!(route.get("src"), None);
    }

    #[test]
    fn routes_that_cannot_be_given_back_are_recognised() {
        for line in [
            "",
            "default proto static nexthop via 10.0.0.1 dev a weight 1",
            "10.0.0.0/24 dev eth0 proto kernel linkdown",
            "default via fe80::1 dev eth0 proto ra expires 1700sec",
            "blackhole 10.0.0.0/8",
            "10.0.0.0/24 dev --help",
            "10.0.0.0/24 dev",
        ] {
            assert!(!Route::parse(line).is_plain(), "{line}");
        }
        for line in [
            "10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.5",
            "default via 10.0.0.1 dev eth0 onlink",
            "2001:db8::/64 dev eth0 proto kernel metric 256 pref medium",
        ] {
            assert!(Route::parse(line).is_plain(), "{line}");
        }
    }

    #[test]
    fn a_record_can_name_only_places_of_the_list() {
        let sysctl = |name: &str| Place::Sysctl {
            name: name.to_owned(),
        };
        assert!(sysctl("net.core.somaxconn").is_ours());
        assert!(!sysctl("kernel.core_pattern").is_ours());
        assert!(!sysctl("../../etc/passwd").is_ours());
        let ring = |card: &str| Place::Adaptive {
            card: card.to_owned(),
        };
        for card in ["..", "a/b", "-K", "", "a b", "a-long-card-name"] {
            assert!(!ring(card).is_ours(), "{card}");
        }
        assert!(ring("enp3s0f0np0").is_ours());
        let text = r#"{"kind":"file","path":"/etc/shadow"}"#;
        assert!(serde_json::from_str::<Place>(text).is_err());
    }

    #[test]
    fn values_that_the_kernel_writes_differently_are_the_same() {
        let mask = Place::ReceiveCpus {
            card: "eth0".to_owned(),
            queue: 0,
        };
        assert!(mask.same("3", "00000000,00000003"));
        assert!(!mask.same("3", "00000003,00000000"));
        let interrupt = Place::Interrupt {
            card: "eth0".to_owned(),
            device: "0000:03:00.0".to_owned(),
            name: "eth0-TxRx-0".to_owned(),
        };
        assert!(interrupt.same("0-1", "0,1"));
        let row = Place::Sysctl {
            name: "net.ipv4.tcp_rmem".to_owned(),
        };
        assert!(row.same("4096 131072\t1", "4096\t131072\t1"));
    }
}
