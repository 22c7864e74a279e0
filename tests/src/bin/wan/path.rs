//! Two sites in namespaces, a client's and an archive's machine, and a router with the lines between the sites.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wardgate_tests::Program;

/// A namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A machine beside gateway A.
    Client,
    A,
    Router,
    B,
    /// A machine beside gateway B.
    Archive,
}

/// The namespaces of some scenarios. They end with the kernel.
#[derive(Debug)]
pub(crate) struct Network {
    prefix: String,
    lines: u8,
}

/// A line between the sites.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WanLine<'a> {
    network: &'a Network,
    number: u8,
}

const PLACES: [Place; 5] = [
    Place::Client,
    Place::A,
    Place::Router,
    Place::B,
    Place::Archive,
];

impl Network {
    /// Makes the namespaces, with this many lines between the sites.
    pub(crate) fn new(prefix: &str, lines: u8) -> Self {
        let network = Self {
            prefix: prefix.to_owned(),
            lines,
        };
        let _turn = take_turn();
        // Few processes: each takes long to start in an emulated machine.
        let mut script = PLACES
            .map(|place| format!("netns add {}\n", network.name(place)))
            .concat();
        let [client, a, router, b, archive] = PLACES.map(|place| network.name(place));
        let mut pair = |one: [&str; 2], other: [&str; 2]| {
            script += &format!(
                "link add {} netns {} type veth peer name {} netns {}\n",
                one[1], one[0], other[1], other[0]
            );
        };
        for line in 0..lines {
            let [wan, to_a, to_b] = ["wan", "to-a", "to-b"].map(|name| format!("{name}{line}"));
            pair([&a, &wan], [&router, &to_a]);
            pair([&b, &wan], [&router, &to_b]);
        }
        pair([&client, "lan"], [&a, "lan"]);
        pair([&archive, "lan"], [&b, "lan"]);
        batch(Program::new("ip"), &script);
        for place in PLACES {
            let ip = Program::new("ip").args(["-n", &network.name(place)]);
            batch(ip, &network.addresses(place));
        }
        network.as_cards();
        network.set(Place::Router, "ip_forward", "1");
        network
    }

    fn addresses(&self, place: Place) -> String {
        let up = |device: &str, address: &str| {
            format!("addr add {address}/24 dev {device}\nlink set {device} up\n")
        };
        let mut script = "link set lo up\n".to_owned();
        for line in 0..self.lines {
            let wan = format!("wan{line}");
            script += &match place {
                Place::A => {
                    let route = format!("route add 10.{line}.2.0/24 via 10.{line}.1.254\n");
                    up(&wan, &format!("10.{line}.1.1")) + &route
                }
                Place::B => {
                    let route = format!("route add 10.{line}.1.0/24 via 10.{line}.2.254\n");
                    up(&wan, &format!("10.{line}.2.1")) + &route
                }
                Place::Router => {
                    let to_a = up(&format!("to-a{line}"), &format!("10.{line}.1.254"));
                    to_a + &up(&format!("to-b{line}"), &format!("10.{line}.2.254"))
                }
                Place::Client | Place::Archive => String::new(),
            };
        }
        script
            + &match place {
                Place::Router => String::new(),
                _ => up("lan", &Self::lan(place).to_string()),
            }
    }

    // As real network cards: packets of one segment, so that loss and queues count segments.
    fn as_cards(&self) {
        for place in [Place::A, Place::B] {
            let one = |line| format!("ethtool -K wan{line} tso off gso off gro off");
            let script: Vec<_> = (0..self.lines).map(one).collect();
            let script = Program::new("sh").args(["-ec", &script.join("; ")]);
            script.netns(self.name(place)).run().expect_success();
        }
    }

    /// A line by its number.
    pub(crate) fn line(&self, number: u8) -> WanLine<'_> {
        assert!(number < self.lines);
        WanLine {
            network: self,
            number,
        }
    }

    /// The name of a namespace.
    pub(crate) fn name(&self, place: Place) -> String {
        format!("{}-{place:?}", self.prefix).to_lowercase()
    }

    /// The address of a place in the LAN of its site.
    pub(crate) fn lan(place: Place) -> IpAddr {
        let [site, host] = match place {
            Place::Client => [1, 1],
            Place::A | Place::Router => [1, 254],
            Place::Archive => [2, 1],
            Place::B => [2, 254],
        };
        IpAddr::from(Ipv4Addr::new(10, 200, site, host))
    }

    /// Loses everything between a gateway and the machine beside it, in silence.
    pub(crate) fn lose_lan(&self, place: Place) {
        let gateway = match place {
            Place::Client | Place::A => Place::A,
            _ => Place::B,
        };
        for place in [place, gateway] {
            let tc = Program::new("tc").args(["-n", &self.name(place)]);
            batch(tc, "qdisc replace dev lan root netem loss 100%\n");
        }
    }

    /// Sets a value of `net.ipv4` at a place.
    pub(crate) fn set(&self, place: Place, name: &str, value: &str) {
        let file = format!("/proc/sys/net/ipv4/{name}");
        let written = self.inside(place, || std::fs::write(file, value));
        written.expect("root may write it");
    }

    /// The sums of both sites until now.
    pub(crate) fn counters(&self) -> Counters {
        let [a, b] = [Place::A, Place::B].map(|place| {
            self.inside(place, || {
                let read = |file| std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
                let [snmp, netstat] =
                    ["snmp", "netstat"].map(|file| read(file).expect("it is mounted"));
                Counters {
                    retransmitted: counter(&snmp, "Tcp:", "RetransSegs"),
                    out_of_order: counter(&netstat, "TcpExt:", "TCPOFOQueue"),
                    duplicates: counter(&netstat, "TcpExt:", "TCPDSACKOldSent"),
                }
            })
        });
        Counters {
            retransmitted: a.retransmitted + b.retransmitted,
            out_of_order: a.out_of_order + b.out_of_order,
            duplicates: a.duplicates + b.duplicates,
        }
    }

    /// Runs `work` on a thread at a place: sockets that it makes stay there.
    pub(crate) fn inside<T: Send>(&self, place: Place, work: impl FnOnce() -> T + Send) -> T {
        let file = format!("/run/netns/{}", self.name(place));
        let namespace = File::open(file).expect("the namespace was made");
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter it");
                work()
            });
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }
}

impl WanLine<'_> {
    /// The address of a site on this line.
    pub(crate) fn address(self, place: Place) -> IpAddr {
        let site = if place == Place::A { 1 } else { 2 };
        IpAddr::from(Ipv4Addr::new(10, self.number, site, 1))
    }

    /// Gives what the router sends on this line, in both directions, these properties of netem.
    pub(crate) fn netem(self, properties: &str) {
        let lines = ["to-a", "to-b"].map(|device| {
            let number = self.number;
            format!("qdisc replace dev {device}{number} root netem {properties}\n")
        });
        let tc = Program::new("tc").args(["-n", &self.network.name(Place::Router)]);
        batch(tc, &lines.concat());
    }

    /// Packets of more bytes do not pass, and the router's ICMP messages are lost.
    pub(crate) fn black_hole(self, mtu: &str) {
        let number = self.number;
        self.router(&format!(
            "link set to-a{number} mtu {mtu}\nlink set to-b{number} mtu {mtu}\n\
             rule add pref {number} iif lo ipproto icmp blackhole\n"
        ));
    }

    /// Takes the link of site B down, or up again. Site A has its carrier all the time.
    pub(crate) fn set_link(self, state: &str) {
        self.router(&format!("link set to-b{} {state}\n", self.number));
    }

    fn router(self, lines: &str) {
        let router = self.network.name(Place::Router);
        batch(Program::new("ip").args(["-n", &router]), lines);
    }
}

/// What the kernels at both sites saw of the line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counters {
    /// Segments sent again.
    pub(crate) retransmitted: u64,
    /// Segments that arrived after a later one.
    pub(crate) out_of_order: u64,
    /// Segments that arrived twice.
    pub(crate) duplicates: u64,
}

/// A value of `/proc/net/snmp` or `netstat`: a line of names, then one of values.
fn counter(text: &str, table: &str, name: &str) -> u64 {
    let mut rows = text.lines().filter(|line| line.starts_with(table));
    let [names, values] = [rows.next(), rows.next()].map(|row| row.expect("the table is there"));
    let mut pairs = names.split(' ').zip(values.split(' '));
    let pair = pairs.find(|(own, _)| *own == name);
    pair.and_then(|(_, value)| value.parse().ok())
        .expect("the kernel counts it")
}

/// One network or pair of gateways is made at a time: the emulated machine has one processor.
pub(crate) fn take_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn batch(program: Program, lines: &str) {
    program
        .args(["-batch", "-"])
        .stdin(lines)
        .run()
        .expect_success();
}
