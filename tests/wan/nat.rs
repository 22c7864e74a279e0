//! A NAT between the sites that forgets silent connections, in namespaces of this machine: its kernel has nftables.
//!
//! ```text
//! A -- NAT -- B        masquerades A, and forgets a connection after 60 s of silence
//! ```
//!
//! Every time here, that of the NAT included, is divided by ten, but not in `cargo xtask wan --full`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use gateway::config::Timeouts;
use wardgate_tests::stream::{Ending, accept, ending};
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Gateway, Pki, Program, Site};

const A: &str = "gw.a.example";
const B: &str = "gw.b.example";
/// The silence, in seconds, after which the NAT drops the packets of a connection. Many routers have it.
const FORGETS: u64 = 60;
/// A busy machine reports so much later, or earlier by the time between the last packet and the start of the wait.
const TOLERANCE: Duration = Duration::from_secs(3);
/// The longest time that an application waits for a byte.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// `keepalive.idle` and `user` of a route; `None` is the default.
type Own = (Option<u64>, Option<u64>);

/// It sends probes before the NAT forgets, as the guide advises.
const KEPT: Own = (Some(30), None);
/// Its first probe and the NAT have the same time, so either can be first.
const DEFAULT: Own = (None, None);
/// Its first probe is too late: the 4th is the first after `user` = 120 s.
const LATE: Own = (Some(90), None);
/// The same, but the client writes after the NAT has forgotten.
const WRITES: Own = (Some(90), Some(30));

#[test]
fn keepalive_keeps_a_nat_from_forgetting_or_both_applications_are_notified_that_it_forgot() {
    let needs = [Need::Root, Need::Namespaces, Need::Program("nft")];
    if !tier::ready("wan", &needs) {
        return;
    }
    let nat = Nat::new();
    let sites = Sites::start(&nat, &[KEPT, DEFAULT, LATE, WRITES]);
    let [kept, default, late, writes] = [0, 1, 2, 3].map(|route| sites.connection(route));
    let start = Instant::now();
    let notified = |mut socket: TcpStream, stated: u64| {
        let (_, end) = ending(&mut socket);
        assert_eq!(end, Ending::Reset);
        let (waited, stated) = (start.elapsed(), seconds(stated));
        println!("notified after {waited:.1?}, stated: {stated:?}");
        assert!(
            waited + TOLERANCE >= stated && waited <= stated + TOLERANCE,
            "notified after {waited:?} instead of {stated:?}"
        );
    };
    thread::scope(|scope| {
        for socket in late {
            scope.spawn(move || notified(socket, 120));
        }
        scope.spawn(move || {
            let [mut client, server] = writes;
            scope.spawn(move || notified(server, 100));
            sleep(seconds(FORGETS + 10));
            client.write_all(b"lost").expect("A still takes it");
            notified(client, FORGETS + 10 + 30);
        });
        // Long after the NAT would have forgotten, and after keepalive would have found that.
        sleep(seconds(120) + TOLERANCE);
        assert!(passes(kept), "the NAT still knows it");
        let is_kept = passes(default);
        println!("the default against a NAT of 60 s: kept: {is_kept}");
    });
}

/// Whether a connection still passes bytes. If not, both applications must have been notified already.
fn passes([mut client, mut server]: [TcpStream; 2]) -> bool {
    let is_reset = |socket: &TcpStream| socket.take_error().expect("it is a socket").is_some();
    match [is_reset(&client), is_reset(&server)] {
        [true, true] => false,
        [false, false] => {
            client.write_all(b"after").expect("it is not reset");
            let mut bytes = [0; 5];
            server.read_exact(&mut bytes).expect("the bytes arrive");
            assert_eq!(&bytes, b"after");
            true
        }
        ends => panic!("one application of two was notified: {ends:?}"),
    }
}

/// A time of the guide at the scale of this run.
fn seconds(count: u64) -> Duration {
    Duration::from_secs(if crate::is_full() { count } else { count / 10 })
}

struct Nat {
    prefix: String,
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
    fn namespace(&self, place: &str) -> String {
        format!("{}-{place}", self.prefix)
    }

    fn new() -> Self {
        let nat = Self {
            prefix: format!("wgnat{}", std::process::id()),
        };
        let seconds = seconds(FORGETS).as_secs().to_string();
        let script = SCRIPT
            .replace("P-", &format!("{}-", nat.prefix))
            .replace("SECONDS", &seconds);
        Program::new("sh")
            .args(["-c", &script])
            .run()
            .expect_success();
        nat
    }
}

/// Both gateways, with a route for each item.
struct Sites<'a> {
    nat: &'a Nat,
    _gateways: [Gateway; 2],
}

impl<'a> Sites<'a> {
    fn start(nat: &'a Nat, routes: &[Own]) -> Self {
        let pki = Pki::new();
        let [mut b, mut a] = [(B, "b"), (A, "a")]
            .map(|(name, place)| Site::new(&pki, name).netns(nat.namespace(place)));
        for (number, own) in (0_u16..).zip(routes) {
            b = b.terminate(wan(number), target(number), &[format!("dns:{A}")]);
            a = a.originate(entry(number), wan(number), &[format!("dns:{B}")]);
            [b, a] = [b, a]
                .map(|site| timeouts(site.name(&format!("route-{number}")).protocol("tcp"), *own));
        }
        Self {
            nat,
            _gateways: [b, a].map(|site| site.start()),
        }
    }

    /// The sockets of both applications: the client's and the server's.
    fn connection(&self, route: u16) -> [TcpStream; 2] {
        let [a, b] = ["a", "b"].map(|place| self.nat.namespace(place));
        let listener = inside(&b, move || TcpListener::bind(target(route))).expect("a free port");
        let mut client = inside(&a, move || TcpStream::connect(entry(route))).expect("A listens");
        let mut server = accept(&listener);
        client.write_all(b"hello").expect("A reads");
        server.read_exact(&mut [0; 5]).expect("B writes");
        for socket in [&client, &server] {
            socket.set_read_timeout(Some(WAIT_MAX)).expect("not zero");
        }
        [client, server]
    }
}

fn entry(route: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 11_110 + route))
}

fn wan(route: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 2760 + route))
}

fn target(route: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10_400 + route))
}

/// Sets the timeouts of the last route, at the scale of this run.
fn timeouts(site: Site, (idle, user): Own) -> Site {
    let defaults = Timeouts::default();
    let idle = idle.unwrap_or(defaults.keepalive.idle.as_secs());
    let user = user.unwrap_or(defaults.user.as_secs());
    let text = |count| format!("\"{}s\"", seconds(count).as_secs());
    let interval = text(defaults.keepalive.interval.as_secs());
    let keepalive = format!("{{ idle = {}, interval = {interval} }}", text(idle));
    site.route_timeout("keepalive", keepalive)
        .route_timeout("user", text(user))
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
