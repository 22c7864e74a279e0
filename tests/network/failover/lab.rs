//! The namespaces of two machines with keepalived, their LAN and their WAN.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use wardgate_tests::tier::workspace;
use wardgate_tests::{Background, DEADLINE, Gateway, Pki, Program, Site, until};

use super::echo::{ANSWER, Association};
use super::fault::Fault;
use super::load::Entry;
use super::measure::Cluster;
use crate::namespaces::{self, inside};

/// The name in the certificates of both machines.
const OWN: &str = "gw.a.example";
/// The name in the other site's certificate.
const OTHER: &str = "gw.b.example";
/// Where the clients of the LAN connect: the address that moves.
const LAN_SERVICE: &str = "10.20.0.5:11112";
const LAN_SERVICE_IP: &str = "10.20.0.5";
/// Where the other site connects: the address that moves.
const WAN_SERVICE: &str = "198.51.100.7:2762";
/// Where the other site accepts TLS.
const OTHER_WAN: &str = "198.51.100.10:2762";
/// Where the clients of the other site connect.
const OTHER_LAN: &str = "10.30.0.5:11112";
/// The archive of this site, and of the other site.
pub(super) const ARCHIVES: [(Place, &str); 2] = [
    (Place::Lan, "10.20.0.9:104"),
    (Place::Other, "10.30.0.9:104"),
];

/// A namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The LAN with its clients and its archive; a bridge joins the machines.
    Lan,
    /// The first and the second machine.
    Machine(usize),
    /// The WAN, which is a bridge, and the other site.
    Other,
}

/// A machine of the pair.
struct Machine {
    /// `None` while its gateway does not run.
    gateway: Option<Gateway>,
    keepalived: Option<Background>,
}

/// All namespaces and programs. They go with the value.
pub(super) struct Lab {
    prefix: String,
    folder: TempDir,
    pki: Pki,
    machines: [Machine; 2],
    pub(super) other: Option<Gateway>,
}

impl Place {
    pub(super) const ALL: [Self; 4] = [Self::Lan, Self::Machine(0), Self::Machine(1), Self::Other];

    fn suffix(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Machine(0) => "gw1",
            Self::Machine(_) => "gw2",
            Self::Other => "other",
        }
    }
}

impl Lab {
    /// Makes the network and starts everything; returns when the first machine or the second one has the addresses.
    pub(super) fn start() -> Self {
        let stopped = || Machine {
            gateway: None,
            keepalived: None,
        };
        let mut lab = Self {
            prefix: namespaces::prefix(),
            folder: TempDir::new().expect("there is room"),
            pki: Pki::new(),
            machines: [stopped(), stopped()],
            other: None,
        };
        lab.connect();
        lab.other = Some(lab.other_site().start());
        for number in 0..2 {
            lab.start_machine(number);
        }
        lab
    }

    fn connect(&self) {
        for place in Place::ALL {
            ip(&["netns", "add", &self.namespace(place)]);
            self.ip(place, "link set lo up");
        }
        for (place, bridge, address) in [
            (Place::Lan, "lan", "10.20.0.9/24"),
            (Place::Other, "wan", "198.51.100.10/24"),
        ] {
            self.ip(place, &format!("link add {bridge} type bridge"));
            self.ip(place, &format!("addr add {address} dev {bridge}"));
            self.ip(place, &format!("link set {bridge} up"));
            for number in 0..2 {
                let own = self.namespace(Place::Machine(number));
                let there = self.namespace(place);
                let make = format!(
                    "link add {bridge}0 netns {own} type veth peer name port{number} netns {there}"
                );
                ip(&words(&make));
                self.ip(place, &format!("link set port{number} master {bridge} up"));
                let network = address.rsplit_once('.').expect("an address").0;
                let address = format!("{network}.{}/24", number + 3);
                let machine = Place::Machine(number);
                self.ip(machine, &format!("addr add {address} dev {bridge}0"));
                self.ip(machine, &format!("link set {bridge}0 up"));
            }
        }
        for address in ["10.30.0.5/32", "10.30.0.9/32"] {
            self.ip(Place::Other, &format!("addr add {address} dev lo"));
        }
        let settings = workspace().join("packaging/keepalived/90-wardgate-pair.conf");
        for number in 0..2 {
            let program = self.program(Place::Machine(number), "sysctl");
            program.arg("-p").arg(&settings).run().expect_success();
        }
    }

    fn other_site(&self) -> Site {
        Site::new(&self.pki, OTHER)
            .originate(OTHER_LAN, WAN_SERVICE, &[format!("dns:{OWN}")])
            .name("out")
            .terminate(OTHER_WAN, ARCHIVES[1].1, &[format!("dns:{OWN}")])
            .name("in")
            .timeout(
                "keepalive",
                "{ idle = \"1s\", interval = \"1s\", probes = 2 }",
            )
            .timeout("user", "\"3s\"")
            .timeout("connect", "\"1s\"")
            .netns(self.namespace(Place::Other))
    }

    /// Both machines have the same names and routes, and a key each.
    fn site(&self) -> Site {
        Site::new(&self.pki, OWN)
            .originate(LAN_SERVICE, OTHER_WAN, &[format!("dns:{OTHER}")])
            .name("out")
            .set(
                "health",
                "{ probe = \"tls\", interval = \"1s\", timeout = \"1s\", fall = 2 }",
            )
            .terminate(WAN_SERVICE, ARCHIVES[0].1, &[format!("dns:{OTHER}")])
            .name("in")
            .timeout(
                "keepalive",
                "{ idle = \"1s\", interval = \"1s\", probes = 2 }",
            )
            .timeout("user", "\"3s\"")
            .timeout("connect", "\"1s\"")
            .timeout("drain_delay", "\"3s\"")
            .gateway("metrics", "\"127.0.0.1:9464\"")
            .gateway("admin", "\"admin.sock\"")
    }

    /// Starts what does not run of a machine.
    fn start_machine(&mut self, number: usize) {
        self.start_gateway(number);
        if self.machines[number].keepalived.is_none() {
            self.machines[number].keepalived = Some(self.keepalived(number));
        }
    }

    /// Starts the gateway of a machine, if it does not run.
    fn start_gateway(&mut self, number: usize) {
        if self.machines[number].gateway.is_none() {
            let site = self.site();
            let namespace = self.namespace(Place::Machine(number));
            // The kernel closes what a killed process had in a ring a moment after its end. A service manager would start it
            // once more.
            until("no listener is left", DEADLINE, || {
                let listeners = Program::new("ss").args(["-H", "-ltn"]);
                let left = listeners.netns(namespace.clone()).run().text();
                left.trim().is_empty().then_some(())
            });
            self.machines[number].gateway = Some(Gateway::with_config(&site.toml(), &namespace));
        }
    }

    /// Ends keepalived and the gateway of a machine.
    fn stop_machine(&mut self, number: usize) {
        let machine = &mut self.machines[number];
        // As the packaged drop-in orders them.
        if let Some(keepalived) = machine.keepalived.take() {
            keepalived.process().signal(Signal::TERM);
            let _ = keepalived.wait(DEADLINE);
        }
        if let Some(gateway) = machine.gateway.take() {
            gateway.process().signal(Signal::KILL);
            let _ = gateway.wait(DEADLINE);
        }
    }

    /// The packaged configuration, with other paths and shorter times.
    fn keepalived(&self, number: usize) -> Background {
        let packaged = workspace().join("packaging/keepalived");
        let text = fs::read_to_string(packaged.join("keepalived.conf")).expect("it is there");
        let text = replaced(
            &text,
            "/usr/libexec/wardgate",
            &packaged.display().to_string(),
        );
        // The workspace may be in a folder that only its user can read.
        let text = replaced(&text, "enable_script_security", "");
        let text = replaced(&text, "script_user nobody", "script_user root");
        // Twelve seconds are for health probes every ten seconds.
        let text = replaced(&text, "preempt_delay 12", "preempt_delay 3");
        let name = Place::Machine(number).suffix();
        let file = self.path(&format!("{name}.conf"));
        fs::write(&file, text).expect("there is room");
        let program = self.program(Place::Machine(number), "keepalived");
        let program = program
            .args(["-n", "-l", "-P", "-i", name, "-f"])
            .arg(&file);
        let program = ["-p", "-r"].iter().fold(program, |program, option| {
            program
                .arg(option)
                .arg(self.path(&format!("{name}{option}.pid")))
        });
        Background::start(&program)
    }

    /// The machine that has the address of the LAN; `None` if none or both have it.
    pub(super) fn master(&self) -> Option<usize> {
        let has = |number: &usize| {
            let program = self.program(Place::Machine(*number), "ip");
            let shown = program
                .args(["-o", "-4", "addr", "show", "dev", "lan0"])
                .run()
                .text();
            shown.contains(&format!("{LAN_SERVICE_IP}/"))
        };
        let masters: Vec<_> = (0..2).filter(has).collect();
        match masters[..] {
            [one] => Some(one),
            _ => None,
        }
    }

    /// Waits until this machine has the addresses, or any.
    pub(super) fn wait_for_master(&self, wanted: Option<usize>) -> usize {
        until("a machine has the addresses", DEADLINE, || {
            self.master()
                .filter(|one| wanted.is_none_or(|wanted| wanted == *one))
        })
    }

    /// Waits until both instances of a machine have this priority, as keepalived logs it.
    pub(super) fn wait_for_priority(&self, number: usize, priority: u8) {
        let text = format!("to {priority}");
        until("keepalived changes the priority", DEADLINE, || {
            let output = self.keepalived_output(number);
            let mut changes = output
                .lines()
                .filter(|line| line.contains("effective priority from"));
            changes
                .next_back()
                .filter(|line| line.ends_with(&text))
                .map(drop)
        });
    }

    /// Waits until keepalived counts a machine as good: no fault, and its whole priority.
    fn wait_until_machine_is_good(&self, number: usize) {
        let what = "the machine is good for keepalived";
        until(what, 2 * DEADLINE, || {
            let output = self.keepalived_output(number);
            let last = |text: &str| output.rfind(text);
            let state = [
                "Entering FAULT STATE",
                "Entering BACKUP STATE",
                "Entering MASTER STATE",
            ];
            let [fault, backup, master] = state.map(|state| last(&format!("(lan) {state}")));
            let reduced = last("effective priority from 250 to 230");
            let whole = last("effective priority from 230 to 250");
            let is_good = fault < backup.max(master) && (reduced.is_none() || reduced < whole);
            is_good.then_some(())
        });
    }

    /// What keepalived of a machine has written.
    pub(super) fn keepalived_output(&self, number: usize) -> String {
        let keepalived = self.machines[number].keepalived.as_ref();
        keepalived.map(Background::output).unwrap_or_default()
    }

    /// Takes the interface of a machine down or up: `lan0` or `wan0`.
    fn set_link(&self, number: usize, interface: &str, state: &str) {
        self.ip(
            Place::Machine(number),
            &format!("link set {interface} {state}"),
        );
    }

    /// Lets the other site drop what it would send to the own address of a machine, or send it again.
    fn lose_peer(&self, number: usize, is_lost: bool) {
        let act = if is_lost { "add" } else { "del" };
        let address = format!("198.51.100.{}", number + 3);
        self.ip(Place::Other, &format!("route {act} blackhole {address}"));
    }

    /// A program to run at a place.
    pub(super) fn program(&self, place: Place, name: &str) -> Program {
        Program::new(name).netns(self.namespace(place))
    }

    /// Runs `work` on a thread in a namespace: sockets that it makes stay there.
    pub(super) fn inside<T: Send>(&self, place: Place, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.namespace(place), work)
    }

    /// The name of a namespace.
    pub(super) fn namespace(&self, place: Place) -> String {
        format!("{}-{}", self.prefix, place.suffix())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ip(&self, place: Place, arguments: &str) {
        let namespace = self.namespace(place);
        ip(&[&["-n", namespace.as_str()], words(arguments).as_slice()].concat());
    }
}

impl Cluster for Lab {
    const FAULTS: &'static [Fault] = &[
        Fault::Kill,
        Fault::Drain,
        Fault::LanDown,
        Fault::WanDown,
        Fault::PeerLost,
        Fault::BothRestarted,
    ];
    const IS_SHARED: bool = false;

    fn entries(&self) -> [Entry; 2] {
        let entry = |place, to: &str, cut_off_by| Entry {
            namespace: self.namespace(place),
            to: to.parse().expect("an address"),
            cut_off_by,
        };
        [
            entry(Place::Lan, LAN_SERVICE, Some(Fault::LanDown)),
            entry(Place::Other, OTHER_LAN, None),
        ]
    }

    fn wait_until_good(&self) {
        for number in 0..2 {
            self.wait_until_machine_is_good(number);
        }
    }

    fn victim(&self) -> usize {
        self.wait_for_master(None)
    }

    fn open(&self, entry: &Entry) -> (Association, usize) {
        let open = || Association::open(entry.to, ANSWER);
        let association = inside(&entry.namespace, open).expect("all is good before the fault");
        (association, self.wait_for_master(None))
    }

    fn begin(&mut self, fault: Fault, victim: usize) {
        let gateway = |lab: &Self| lab.machines[victim].gateway.as_ref().map(Gateway::process);
        match fault {
            Fault::Kill => {
                gateway(self).expect("it runs").signal(Signal::KILL);
            }
            Fault::Drain => {
                let gateway = self.machines[victim].gateway.as_ref().expect("it runs");
                gateway.command(&["drain"]).run().expect_success();
            }
            Fault::LanDown => self.set_link(victim, "lan0", "down"),
            Fault::WanDown => self.set_link(victim, "wan0", "down"),
            Fault::PeerLost => self.lose_peer(victim, true),
            Fault::BothRestarted => {
                for number in [1 - victim, victim] {
                    self.stop_machine(number);
                }
                for number in 0..2 {
                    self.start_machine(number);
                }
            }
        }
    }

    fn wait_until_moved(&self, fault: Fault, victim: usize) {
        // Of two that start, either may get them.
        let is_of_one = fault != Fault::BothRestarted;
        self.wait_for_master(is_of_one.then_some(1 - victim));
    }

    /// The addresses must stay where they are.
    fn repair(&mut self, fault: Fault, victim: usize) {
        let before = self.wait_for_master(None);
        match fault {
            Fault::Kill => {
                self.machines[victim].gateway = None;
                self.start_gateway(victim);
            }
            Fault::Drain => {
                let gateway = self.machines[victim].gateway.as_ref().expect("it runs");
                gateway.command(&["drain", "--undo"]).run().expect_success();
            }
            Fault::LanDown => self.set_link(victim, "lan0", "up"),
            Fault::WanDown => self.set_link(victim, "wan0", "up"),
            Fault::PeerLost => self.lose_peer(victim, false),
            Fault::BothRestarted => {}
        }
        self.wait_until_good();
        assert_eq!(
            self.wait_for_master(None),
            before,
            "{fault:?}: the addresses moved back"
        );
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for number in 0..2 {
            if std::thread::panicking() {
                eprintln!("--- keepalived\n{}", self.keepalived_output(number));
            }
            // keepalived ends its children on SIGTERM only.
            if let Some(keepalived) = self.machines[number].keepalived.take() {
                keepalived.process().signal(Signal::TERM);
                let ended = || keepalived.process().has_ended();
                let _ = (0..500).find(|_| {
                    std::thread::sleep(Duration::from_millis(10));
                    ended()
                });
            }
        }
        for place in Place::ALL {
            namespaces::remove(&self.namespace(place));
        }
    }
}

pub(super) fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from:?} in the packaged file");
    text.replace(from, to)
}

pub(super) fn ip(arguments: &[&str]) {
    Program::new("ip").args(arguments).run().expect_success();
}

pub(super) fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}
