//! The sysctls of TCP and of the network stack.

use super::sysctl;
use crate::goal::Goal;
use crate::host::Host;
use crate::setting::Importance::{Matters, Minor};
use crate::setting::{Setting, Source};
use crate::units::bandwidth_delay;
use crate::want::Want;

const MIB: u64 = 1 << 20;

/// The settings of TCP and of the network stack.
pub(super) fn all(host: &Host, goal: &Goal) -> Vec<Setting> {
    let mut settings = buffers(goal);
    settings.extend(congestion(host));
    settings.extend(queues(goal));
    settings.extend(keepalive());
    settings
}

fn buffers(goal: &Goal) -> Vec<Setting> {
    let want = || Want::AtLeast(goal.buffer());
    let on_the_way = bandwidth_delay(goal.wan, goal.round_trip).div_ceil(MIB);
    let (wan, time) = (goal.wan, goal.round_trip);
    let grows = format!(
        "the kernel grows a TCP buffer by itself up to the last number; {wan} over {time} has {on_the_way} MiB on the way, \
         and the kernel counts about as much overhead"
    );
    let asked = "the largest buffer that a program can request; wardgate requests none and lets the kernel grow \
                 its buffers, but other programs on the WAN do";
    let sockets = "memory: only connections that need a large buffer get one";
    vec![
        sysctl("net.ipv4.tcp_rmem", want(), Matters, grows.clone(), sockets),
        sysctl("net.ipv4.tcp_wmem", want(), Matters, grows, sockets),
        sysctl(
            "net.core.rmem_max",
            want(),
            Minor,
            asked,
            "sockets of all programs",
        ),
        sysctl(
            "net.core.wmem_max",
            want(),
            Minor,
            asked,
            "sockets of all programs",
        ),
    ]
}

fn congestion(host: &Host) -> Vec<Setting> {
    const CONTROL: &str = "net.ipv4.tcp_congestion_control";
    let available = host.read("proc/sys/net/ipv4/tcp_available_congestion_control");
    let available = available.unwrap_or_default();
    let good: Vec<&'static str> = ["bbr", "cubic"]
        .into_iter()
        .filter(|name| available.split_whitespace().any(|word| word == *name))
        .collect();
    let mut control = sysctl(
        CONTROL,
        Want::OneOf(good.clone()),
        Matters,
        "other algorithms recover slowly from a lost packet on a long line",
        "new connections of all programs",
    );
    if good.is_empty() {
        let reason = "this kernel offers neither bbr nor cubic at present";
        control.source = Source::Absent(reason.to_owned());
    }
    vec![
        control,
        sysctl(
            "net.core.default_qdisc",
            Want::OneOf(vec!["fq", "fq_codel"]),
            Minor,
            "a fair queue keeps short messages from waiting behind bulk data, and fq paces what bbr sends",
            "interfaces that are brought up from now on",
        ),
        sysctl(
            "net.ipv4.tcp_slow_start_after_idle",
            Want::Exactly("0".to_owned()),
            Matters,
            "an association that pauses between studies keeps its window; with 1 it starts slowly again after each \
             pause",
            "connections of all programs that pause",
        ),
        sysctl(
            "net.ipv4.tcp_mtu_probing",
            Want::OneOf(vec!["1", "2"]),
            Matters,
            "finds a smaller packet size when a VPN or firewall on the WAN drops large packets silently; otherwise \
             the connection stalls",
            "only connections whose large packets get lost",
        ),
    ]
}

fn queues(goal: &Goal) -> Vec<Setting> {
    vec![
        sysctl(
            "net.core.somaxconn",
            Want::AtLeast(4096),
            Matters,
            "bounds the queue of connections that wait to be accepted; wardgate requests 4096",
            "listeners that are opened from now on",
        ),
        sysctl(
            "net.ipv4.tcp_max_syn_backlog",
            Want::AtLeast(4096),
            Minor,
            "half-open connections that the kernel holds for a listener before it uses SYN cookies",
            "listeners of all programs, when many clients connect at once",
        ),
        sysctl(
            "net.core.netdev_max_backlog",
            Want::AtLeast(goal.values().backlog),
            Minor,
            "packets that wait for a core when receive packet steering hands them on",
            "memory: a few hundred bytes for each waiting packet",
        ),
    ]
}

fn keepalive() -> Vec<Setting> {
    let why = "finds dead peers of other programs on this host, such as SSH and databases, before a firewall forgets them; \
               wardgate sets `keepalive` on each of its connections itself";
    let affects = "connections of other programs that use keepalive";
    vec![
        sysctl(
            "net.ipv4.tcp_keepalive_time",
            Want::AtMost(600),
            Minor,
            why,
            affects,
        ),
        sysctl(
            "net.ipv4.tcp_keepalive_intvl",
            Want::AtMost(75),
            Minor,
            why,
            affects,
        ),
        sysctl(
            "net.ipv4.tcp_keepalive_probes",
            Want::AtMost(9),
            Minor,
            why,
            affects,
        ),
    ]
}
