//! A NAT between the sites that forgets silent connections, in namespaces of this machine: its kernel has nftables.
//!
//! ```text
//! A -- NAT -- B        masquerades A, and forgets a connection after FORGETS of silence
//! ```

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use wardgate_tests::stream::{Ending, accept, ending};
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Pki, Program, Site};

const A: &str = "gw.a.example";
const B: &str = "gw.b.example";
/// The silence after which the NAT drops the packets of a connection (60 s in many routers).
const FORGETS: Duration = Duration::from_secs(6);

/// TCP_USER_TIMEOUT decides at a probe whether the silence was too long.
const USER: &str = "\"4s\"";

#[test]
fn keepalive_keeps_a_nat_from_forgetting_or_tells_both_applications_that_it_forgot() {
    let needs = [Need::Root, Need::Namespaces, Need::Program("nft")];
    if !tier::ready("wan", &needs) {
        return;
    }
    let nat = Nat::new();
    let pki = Pki::new();
    // The kept connection sends probes before the NAT forgets; the other one sends them later.
    let kept = nat.connection(&pki, 1, "{ idle = \"2s\", interval = \"2s\", probes = 3 }");
    let lost = nat.connection(&pki, 2, "{ idle = \"9s\", interval = \"1s\", probes = 2 }");
    let start = Instant::now();
    thread::scope(|scope| {
        for mut socket in lost.sockets {
            scope.spawn(move || {
                let (_, end) = ending(&mut socket);
                assert_eq!(end, Ending::Reset);
                let most = Duration::from_secs(9 + 1) + Duration::from_secs(4);
                let told = start.elapsed();
                assert!(FORGETS < told && told < most, "told after {told:?}");
            });
        }
    });
    let [mut near, mut far] = kept.sockets;
    thread::sleep((start + 2 * FORGETS).saturating_duration_since(Instant::now()));
    near.write_all(b"after").expect("the connection stands");
    let mut bytes = [0; 5];
    far.read_exact(&mut bytes).expect("the NAT still knows it");
    assert_eq!(&bytes, b"after");
}

struct Nat {
    prefix: String,
}

/// The sockets of both applications, and the gateways between them.
struct Connection {
    sockets: [TcpStream; 2],
    _gateways: [wardgate_tests::Gateway; 2],
}

const SCRIPT: &str = "set -e\n\
    for n in a r b; do ip netns add P-$n; ip -n P-$n link set lo up; done\n\
    ip link add wan netns P-a type veth peer name to-a netns P-r\n\
    ip link add wan netns P-b type veth peer name to-b netns P-r\n\
    ip -n P-a addr add 192.0.2.1/24 dev wan; ip -n P-r addr add 192.0.2.254/24 dev to-a\n\
    ip -n P-b addr add 198.51.100.1/24 dev wan; ip -n P-r addr add 198.51.100.254/24 dev to-b\n\
    for n in a b; do ip -n P-$n link set wan up; ip -n P-r link set to-$n up; done\n\
    ip -n P-a route add default via 192.0.2.254\n\
    ip netns exec P-r nft -f - <<E\n\
    table ip nat {\n\
      chain post { type nat hook postrouting priority 100; oifname to-b masquerade; }\n\
      chain forward { type filter hook forward priority 0; ct state invalid drop; iifname to-b ct state new drop; }\n\
      chain input { type filter hook input priority 0; meta l4proto tcp drop; }\n\
    }\n\
    E\n\
    ip netns exec P-r sysctl -qw net.ipv4.ip_forward=1 net.netfilter.nf_conntrack_tcp_loose=0 \
      net.netfilter.nf_conntrack_tcp_timeout_established=SECONDS\n";

impl Nat {
    fn new() -> Self {
        let nat = Self {
            prefix: format!("wgnat{}", std::process::id()),
        };
        let seconds = FORGETS.as_secs().to_string();
        let script = SCRIPT
            .replace("P-", &format!("{}-", nat.prefix))
            .replace("SECONDS", &seconds);
        Program::new("sh")
            .args(["-c", &script])
            .run()
            .expect_success();
        nat
    }

    fn connection(&self, pki: &Pki, number: u16, keepalive: &str) -> Connection {
        let [entry, target] =
            [11_110, 10_400].map(|port| SocketAddr::from(([127, 0, 0, 1], port + number)));
        let wan = SocketAddr::from(([198, 51, 100, 1], 2760 + number));
        let [a, b] = ["a", "b"].map(|name| format!("{}-{name}", self.prefix));
        let listener = inside(&b, move || TcpListener::bind(target)).expect("a free port");
        let far_site = Site::new(pki, B).terminate(wan, target, &[format!("dns:{A}")]);
        let near_site = Site::new(pki, A).originate(entry, wan, &[format!("dns:{B}")]);
        let gateways = [(far_site, &b), (near_site, &a)].map(|(site, namespace)| {
            let site = site.protocol("tcp").netns(namespace.clone());
            site.timeout("keepalive", keepalive)
                .timeout("user", USER)
                .start()
        });
        let mut near = inside(&a, move || TcpStream::connect(entry)).expect("A listens");
        let mut far = accept(&listener);
        near.write_all(b"hello").expect("A reads");
        far.read_exact(&mut [0; 5]).expect("B writes");
        Connection {
            sockets: [near, far],
            _gateways: gateways,
        }
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        for name in ["a", "r", "b"] {
            let name = format!("{}-{name}", self.prefix);
            let _ = Program::new("ip").args(["netns", "del", &name]).run();
        }
    }
}

// Runs `work` on a thread in a namespace: sockets that it makes stay there.
fn inside<T: Send + 'static>(namespace: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::os::fd::AsFd as _;
    let file = std::fs::File::open(format!("/run/netns/{namespace}")).expect("it was made");
    let thread = thread::spawn(move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("root may enter it");
        work()
    });
    thread.join().expect("no panic")
}
