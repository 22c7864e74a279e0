//! Three namespaces in a row: site A, a router that is the WAN, and site B.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wardgate_tests::Program;

/// A place in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    A,
    Router,
    B,
}

/// The namespaces of one scenario. They end with the kernel.
#[derive(Debug)]
pub(crate) struct WanPath {
    prefix: String,
}

impl WanPath {
    pub(crate) fn new(number: usize) -> Self {
        let path = Self {
            prefix: format!("wan{number}"),
        };
        let [a, router, b] = [Place::A, Place::Router, Place::B].map(|place| path.name(place));
        // Few processes: each takes long to start in an emulated machine.
        let _turn = SETUP.lock().expect("no holder of this lock panics");
        let pair = |name: &str, device: &str| {
            format!("link add wan netns {name} type veth peer name {device} netns {router}\n")
        };
        let all = [&a, &router, &b]
            .map(|name| format!("netns add {name}\n"))
            .concat();
        batch(
            Program::new("ip"),
            &[all, pair(&a, "to-a"), pair(&b, "to-b")].concat(),
        );
        let up = |device: &str, address: &str| {
            format!("addr add {address}/24 dev {device}\nlink set {device} up\n")
        };
        let lo = "link set lo up\n";
        for (name, own, gateway) in [
            (&a, "192.0.2.1", "192.0.2.254"),
            (&b, "198.51.100.1", "198.51.100.254"),
        ] {
            let route = format!("route add default via {gateway}\n");
            let ip = Program::new("ip").args(["-n", name]);
            batch(ip, &[lo, &up("wan", own), &route].concat());
            // As real network cards: packets of one segment, so that loss and queues count segments.
            let offloads = ["-K", "wan", "tso", "off", "gso", "off", "gro", "off"];
            let ethtool = Program::new("ethtool").args(offloads);
            ethtool.netns(name.clone()).run().expect_success();
        }
        let ends = [up("to-a", "192.0.2.254"), up("to-b", "198.51.100.254")];
        let ip = Program::new("ip").args(["-n", &router]);
        batch(ip, &[lo, &ends.concat()].concat());
        path.set(Place::Router, "ip_forward", "1");
        path
    }

    pub(crate) fn name(&self, place: Place) -> String {
        format!("{}-{place:?}", self.prefix).to_lowercase()
    }

    /// The address of a site on the WAN.
    pub(crate) fn address(place: Place, port: u16) -> SocketAddr {
        match place {
            Place::A => SocketAddr::from(([192, 0, 2, 1], port)),
            _ => SocketAddr::from(([198, 51, 100, 1], port)),
        }
    }

    /// Gives what the router sends, in both directions, these properties of netem.
    pub(crate) fn netem(&self, properties: &str) {
        let lines = ["to-a", "to-b"]
            .map(|device| format!("qdisc replace dev {device} root netem {properties}\n"));
        let tc = Program::new("tc").args(["-n", &self.name(Place::Router)]);
        batch(tc, &lines.concat());
    }

    /// Packets of more bytes do not pass, and the router's ICMP messages are lost.
    pub(crate) fn black_hole(&self, mtu: &str) {
        self.router(&format!(
            "link set to-a mtu {mtu}\nlink set to-b mtu {mtu}\n\
             rule add pref 1 iif lo ipproto icmp blackhole\n"
        ));
    }

    /// Takes the link of site B down, or up again. Site A has its carrier all the time.
    pub(crate) fn set_link(&self, state: &str) {
        self.router(&format!("link set to-b {state}\n"));
    }

    /// Sets a value of `net.ipv4` at a place.
    pub(crate) fn set(&self, place: Place, name: &str, value: &str) {
        let file = format!("/proc/sys/net/ipv4/{name}");
        let written = self.inside(place, || std::fs::write(file, value));
        written.expect("root may write it");
    }

    fn router(&self, lines: &str) {
        batch(
            Program::new("ip").args(["-n", &self.name(Place::Router)]),
            lines,
        );
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

/// One path is made at a time.
static SETUP: Mutex<()> = Mutex::new(());

fn batch(program: Program, lines: &str) {
    program
        .args(["-batch", "-"])
        .stdin(lines)
        .run()
        .expect_success();
}
