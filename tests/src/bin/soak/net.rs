//! Two network namespaces, one per site, joined by a link that can fail.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wardgate_tests::Program;

/// Which of the two sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    A,
    B,
}

impl Place {
    pub(crate) const ALL: [Self; 2] = [Self::A, Self::B];

    /// The address on the WAN.
    pub(crate) fn wan(self, port: u16) -> SocketAddr {
        let host = match self {
            Self::A => 1,
            Self::B => 2,
        };
        SocketAddr::from(([192, 0, 2, host], port))
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// An address on the loopback of a site.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The namespaces. The run removes them at its end; threads of the load share this value, and are not waited for.
#[derive(Debug)]
pub(crate) struct Net {
    prefix: String,
}

impl Net {
    pub(crate) fn new() -> Self {
        let net = Self {
            prefix: format!("wgsoak{}", std::process::id()),
        };
        for place in Place::ALL {
            run("ip", &["netns", "add", &net.name(place)]);
        }
        let [a, b] = Place::ALL.map(|place| net.name(place));
        run(
            "ip",
            &[
                "link", "add", "wan", "netns", &a, "type", "veth", "peer", "name", "wan", "netns",
                &b,
            ],
        );
        for place in Place::ALL {
            let address = format!("{}/24", place.wan(0).ip());
            net.ip(place, &["link", "set", "lo", "up"]);
            net.ip(place, &["addr", "add", &address, "dev", "wan"]);
            net.ip(place, &["link", "set", "wan", "up"]);
            net.nft(place, &["add", "table", "inet", "soak"]);
            let chain = "{ type filter hook input priority 0 ; }";
            net.nft(place, &["add", "chain", "inet", "soak", "input", chain]);
        }
        net
    }

    pub(crate) fn remove(&self) {
        for place in Place::ALL {
            let _ = Program::new("ip")
                .args(["netns", "del", &self.name(place)])
                .run();
        }
    }

    pub(crate) fn name(&self, place: Place) -> String {
        format!("{}-{place:?}", self.prefix).to_lowercase()
    }

    /// A thread in the namespace of a site: sockets that it makes stay there.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let file = format!("/run/netns/{}", self.name(place));
        let namespace = File::open(file).expect("the namespace was made");
        // Hundreds of clients: their stacks need not be large.
        let thread = thread::Builder::new().stack_size(256 << 10);
        let work = move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter it");
            work()
        };
        thread.spawn(work).expect("a thread")
    }

    /// Takes the link down, or up again.
    pub(crate) fn set_link(&self, state: &str) {
        self.ip(Place::A, &["link", "set", "wan", state]);
    }

    /// A rule for what arrives at a site over the WAN: `["drop"]`.
    pub(crate) fn filter(&self, place: Place, rule: &[&str]) {
        let head = ["add", "rule", "inet", "soak", "input", "iifname", "wan"];
        self.nft(place, &[&head[..], rule].concat());
    }

    /// Removes all rules.
    pub(crate) fn clear(&self) {
        for place in Place::ALL {
            self.nft(place, &["flush", "chain", "inet", "soak", "input"]);
        }
    }

    /// Limits what site A sends to this rate, with a short queue; `None` removes the limit.
    pub(crate) fn set_rate(&self, rate: Option<&str>) {
        let name = self.name(Place::A);
        let head = ["-n", &name, "qdisc"];
        let tail: &[&str] = match rate {
            Some(rate) => &[
                "replace", "dev", "wan", "root", "tbf", "rate", rate, "burst", "16k", "limit",
                "60k",
            ],
            None => &["del", "dev", "wan", "root"],
        };
        run("tc", &[&head[..], tail].concat());
    }

    fn ip(&self, place: Place, arguments: &[&str]) {
        let name = self.name(place);
        run("ip", &[&["-n", &name], arguments].concat());
    }

    fn nft(&self, place: Place, arguments: &[&str]) {
        let name = self.name(place);
        run(
            "ip",
            &[&["netns", "exec", &name, "nft"], arguments].concat(),
        );
    }
}

fn run(program: &str, arguments: &[&str]) {
    Program::new(program).args(arguments).run().expect_success();
}
