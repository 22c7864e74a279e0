//! The two gateways, their routes, and the configurations that reloads use.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use wardgate_tests::pki::Leaf;
use wardgate_tests::{DEADLINE, Gateway, Pki, Process, Site, free_port, until};

use crate::pair::{A, B};
use crate::peers::loopback;

/// A client, both gateways and a server: from `entry` over `wan` to `target`.
pub(super) struct Link {
    name: &'static str,
    protocol: &'static str,
    /// Whether the client is at site B.
    is_return: bool,
    pub(super) entry: u16,
    pub(super) wan: u16,
    pub(super) target: u16,
}

impl Link {
    fn new(name: &'static str, protocol: &'static str) -> Self {
        let [entry, wan, target] = [(); 3].map(|()| free_port());
        Self {
            name,
            protocol,
            is_return: false,
            entry,
            wan,
            target,
        }
    }

    fn back(name: &'static str, protocol: &'static str) -> Self {
        Self {
            is_return: true,
            ..Self::new(name, protocol)
        }
    }

    fn to(self, target: u16) -> Self {
        Self { target, ..self }
    }

    fn add(&self, site: Site, role: Role, peers: &[String]) -> Site {
        let site = if (role == Role::A) != self.is_return {
            site.originate(loopback(self.entry), loopback(self.wan), peers)
        } else {
            site.terminate(loopback(self.wan), loopback(self.target), peers)
        };
        site.name(self.name).protocol(self.protocol)
    }
}

/// All links. Each gateway has a route of each.
pub(super) struct Links {
    pub(super) stores: [Link; 2],
    pub(super) query: Link,
    pub(super) moved: Link,
    pub(super) messages: Link,
    pub(super) streams: Link,
    /// Carries one connection, which is open during the whole run; this route of A is drained.
    pub(super) spare: Link,
    /// Through this one and `spare`, the test looks which certificate a gateway presents.
    check_of_a: Link,
    /// For a route that some configurations have.
    extra: u16,
}

impl Links {
    pub(super) fn new() -> Self {
        let streams = Link::new("streams", "tcp");
        let target = streams.target;
        Self {
            stores: ["store-1", "store-2"].map(|name| Link::new(name, "dicom")),
            query: Link::new("query", "dicom"),
            moved: Link::back("moved", "dicom"),
            messages: Link::new("messages", "mllp"),
            streams,
            spare: Link::new("spare", "tcp").to(target),
            check_of_a: Link::back("check-of-a", "tcp").to(target),
            extra: free_port(),
        }
    }

    fn all(&self) -> [&Link; 8] {
        let [one, two] = &self.stores;
        let Self {
            query,
            moved,
            messages,
            streams,
            spare,
            check_of_a,
            ..
        } = self;
        [one, two, query, moved, messages, streams, spare, check_of_a]
    }
}

/// Which of the two gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    A,
    B,
}

impl Role {
    /// The name in the certificate of the gateway.
    pub(super) fn host(self) -> &'static str {
        match self {
            Self::A => A,
            Self::B => B,
        }
    }

    fn peer(self) -> &'static str {
        match self {
            Self::A => B,
            Self::B => A,
        }
    }
}

/// A gateway with the files that a rotation replaces.
pub(super) struct Member {
    pub(super) role: Role,
    pub(super) gateway: Gateway,
    /// Every process that has served, the current one last.
    pub(super) processes: Vec<Process>,
    pub(super) identity: Leaf,
    pub(super) crl: PathBuf,
    /// A TLS port of this gateway.
    pub(super) wan: u16,
}

impl Member {
    pub(super) fn start(role: Role, pki: &Pki, links: &Links) -> Self {
        // A folder of its own: the gateway waits until the folder of its files is quiet.
        let folder = pki.path(role.host());
        fs::create_dir(&folder).expect("our folder");
        let file = |name: &str| folder.join(name);
        let made = pki.leaf(role.host());
        let identity = Leaf {
            certificate: file("site.pem"),
            key: file("site.key"),
            trust: file("ca.pem"),
            ..made.clone()
        };
        let crl = file("ca.crl");
        for (from, to) in [
            (&made.certificate, &identity.certificate),
            (&made.key, &identity.key),
            (&made.trust, &identity.trust),
            (&pki.crl(), &crl),
        ] {
            replace(from, to);
        }
        let gateway = site(role, &identity, &crl, links, 0).start();
        let wan = match role {
            Role::A => links.check_of_a.wan,
            Role::B => links.spare.wan,
        };
        Self {
            processes: vec![gateway.process()],
            role,
            gateway,
            identity,
            crl,
            wan,
        }
    }

    /// Configuration number `variant`, which is good. 0 is that of the start.
    pub(super) fn site(&self, links: &Links, variant: u32) -> Site {
        site(self.role, &self.identity, &self.crl, links, variant)
    }

    /// Writes a configuration that must not be taken.
    pub(super) fn write_wrong_config(&self, links: &Links, taken: &TcpListener, variant: u32) {
        let good = self.site(links, 0);
        let taken = taken.local_addr().expect("it listens");
        let file = self.gateway.config();
        match variant % 5 {
            0 => self.gateway.write_config(&good.set("target", "1")),
            1 => {
                let site = good.passthrough(taken, loopback(links.streams.target));
                self.gateway.write_config(&site);
            }
            2 => self
                .gateway
                .write_config(&good.crl(Path::new("missing.crl"))),
            3 => fs::write(file, "[gateway\n").expect("our file"),
            _ => fs::remove_file(file).expect("our file"),
        }
    }

    /// Kills the process and starts another one: what an upgrade must not look like.
    pub(super) fn restart(&mut self, links: &Links) {
        self.gateway.process().signal(Signal::KILL);
        until("the process ends", DEADLINE, || {
            self.gateway.process().has_ended().then_some(())
        });
        let own = |link: &&Link| (self.role == Role::A) != link.is_return;
        for link in links.all() {
            let port = if own(&link) { link.entry } else { link.wan };
            until("the port becomes free", DEADLINE, || {
                TcpListener::bind(loopback(port)).ok()
            });
        }
        self.gateway = self.site(links, 0).start();
        self.processes.push(self.gateway.process());
    }
}

/// Puts a copy of a file in the place of another, as `mv` does.
pub(super) fn replace(new: &Path, old: &Path) {
    let beside = old.with_added_extension("new");
    fs::copy(new, &beside).expect("our folder");
    fs::rename(&beside, old).expect("our folder");
}

fn site(role: Role, identity: &Leaf, crl: &Path, links: &Links, variant: u32) -> Site {
    let mut peers = vec![format!("dns:{}", role.peer())];
    if variant % 3 == 1 {
        peers.push("dns:gw.c.example".to_owned());
    }
    // A stream that is open during the whole run must not be reset by an upgrade.
    let site = Site::with_identity(identity)
        .crl(crl)
        .timeout("drain", "\"2h\"")
        .timeout("handshake", "\"30s\"")
        .timeout("connect", "\"30s\"")
        .reload_ports(&[SocketAddr::from(([127, 0, 0, 1], links.extra))]);
    let site = links
        .all()
        .into_iter()
        .fold(site, |site, link| link.add(site, role, &peers));
    match variant % 3 {
        0 => site,
        1 => site.passthrough(loopback(links.extra), loopback(links.streams.target)),
        // Changes every route.
        _ => site.timeout("connect", "\"20s\""),
    }
}
