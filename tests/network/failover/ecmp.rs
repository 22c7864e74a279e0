//! The namespaces of two machines behind a router that shares connections out (ECMP), with bird and its packaged
//! configurations.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use wardgate_tests::tier::workspace;
use wardgate_tests::{Background, DEADLINE, Gateway, Pki, Program, Site, http, until};

use super::echo::{self, ANSWER, Association};
use super::fault::Fault;
use super::lab::{ip, replaced, words};
use super::load::Entry;
use super::measure::Cluster;
use crate::namespaces::{self, inside};

/// The address that the router shares out.
const SERVICE: &str = "198.51.100.7";
/// Where clients of this site connect.
const ENTRY: &str = "198.51.100.7:11112";
/// Where the other site connects.
const WAN: &str = "198.51.100.7:2762";
/// The archive of each machine, on the machine itself.
const ARCHIVE: &str = "127.0.0.1:104";
/// The other site: where it accepts TLS, where its clients connect, and its archive.
const OTHER_WAN: &str = "203.0.113.2:2762";
const OTHER_ENTRY: &str = "10.30.0.5:11112";
const OTHER_ARCHIVE: &str = "10.30.0.9:104";
/// How long a client waits when it connects, and then for each answer.
const CLIENT_WITHIN: Duration = Duration::from_secs(2);
/// `metrics` of a machine's gateway.
const METRICS: &str = "127.0.0.1:9464";
const OWN: &str = "gw.a.example";
const OTHER: &str = "gw.b.example";
/// The machines and the last number of their own addresses.
const MACHINES: [(&str, u8); 2] = [("gw1", 3), ("gw2", 4)];
const PLACES: [&str; 4] = ["client", "router", "gw1", "gw2"];

/// What runs on a machine. `None` is stopped.
#[derive(Default)]
struct Machine {
    gateway: Option<Gateway>,
    bird: Option<Background>,
    watch: Option<Background>,
}

/// All namespaces and programs. They go with the value.
pub(super) struct Ecmp {
    prefix: String,
    folder: TempDir,
    pki: Pki,
    machines: [Machine; 2],
    router: Option<Background>,
    other: Option<Gateway>,
}

impl Ecmp {
    /// Makes the network and starts everything; returns when the router uses both machines.
    pub(super) fn start() -> Self {
        let mut ecmp = Self {
            prefix: namespaces::prefix(),
            folder: TempDir::new().expect("there is room"),
            pki: Pki::new(),
            machines: [Machine::default(), Machine::default()],
            router: None,
            other: None,
        };
        ecmp.connect();
        ecmp.copy_scripts();
        for (place, address) in [
            ("client", OTHER_ARCHIVE),
            ("gw1", ARCHIVE),
            ("gw2", ARCHIVE),
        ] {
            let listener = inside(&ecmp.namespace(place), || TcpListener::bind(address));
            echo::serve(listener.expect("nothing else listens there"));
        }
        ecmp.other = Some(ecmp.other_site().start());
        let router = fs::read_to_string(packaged("bird/router.conf")).expect("it is there");
        ecmp.router = Some(ecmp.bird("router", &router));
        for number in 0..2 {
            ecmp.start_machine(number);
        }
        ecmp.wait_until_good();
        ecmp
    }

    fn connect(&self) {
        for name in PLACES {
            ip(&["netns", "add", &self.namespace(name)]);
            self.ip(name, "link set lo up");
        }
        self.ip("router", "link add wan0 type bridge");
        for (name, last) in MACHINES {
            self.join(name, "wan0", name);
            self.ip("router", &format!("link set {name} master wan0"));
            self.ip(name, &format!("addr add 198.51.100.{last}/24 dev wan0"));
            self.ip(name, "route add default via 198.51.100.1");
            self.ip(name, &format!("addr add {SERVICE}/32 dev lo"));
            let settings = self.program(name, "sysctl").arg("-qp");
            let settings = settings.arg(packaged("ha/90-wardgate-real-server.conf"));
            settings.run().expect_success();
        }
        self.ip("router", "addr add 198.51.100.1/24 dev wan0");
        self.ip("router", "link set wan0 up");
        self.join("client", "up0", "up0");
        self.ip("router", "addr add 203.0.113.1/24 dev up0");
        self.ip("client", "addr add 203.0.113.2/24 dev up0");
        self.ip("client", "route add default via 203.0.113.1");
        for address in [OTHER_ENTRY, OTHER_ARCHIVE] {
            let address: SocketAddr = address.parse().expect("an address");
            self.ip("client", &format!("addr add {}/32 dev lo", address.ip()));
        }
        let settings = [
            "net.ipv4.ip_forward=1",
            "net.ipv4.fib_multipath_hash_policy=1",
        ];
        self.program("router", "sysctl")
            .arg("-qw")
            .args(settings)
            .run()
            .expect_success();
    }

    fn join(&self, name: &str, own: &str, at_router: &str) {
        let (here, router) = (self.namespace(name), self.namespace("router"));
        let make =
            format!("link add {own} netns {here} type veth peer name {at_router} netns {router}");
        ip(&words(&make));
        self.ip(name, &format!("link set {own} up"));
        self.ip("router", &format!("link set {at_router} up"));
    }

    fn other_site(&self) -> Site {
        let names = [format!("dns:{OWN}")];
        let site = Site::new(&self.pki, OTHER)
            .originate(OTHER_ENTRY, WAN, &names)
            .name("out")
            .terminate(OTHER_WAN, OTHER_ARCHIVE, &names)
            .name("in");
        quick(site).netns(self.namespace("client"))
    }

    /// Both machines have the same names and routes, and a key each.
    fn site(&self) -> Site {
        let names = [format!("dns:{OTHER}")];
        let site = Site::new(&self.pki, OWN)
            .originate(ENTRY, OTHER_WAN, &names)
            .name("out")
            .terminate(WAN, ARCHIVE, &names)
            .name("in");
        quick(site)
            .timeout("drain_delay", "\"10s\"")
            .gateway("metrics", format!("\"{METRICS}\""))
            .gateway("admin", "\"admin.sock\"")
    }

    /// Starts what does not run of a machine.
    fn start_machine(&mut self, number: usize) {
        self.start_gateway(number);
        let (name, last) = MACHINES[number];
        if self.machines[number].bird.is_none() {
            let text = fs::read_to_string(packaged("bird/bird.conf")).expect("it is there");
            let text = replaced(&text, "198.51.100.3", &format!("198.51.100.{last}"));
            self.machines[number].bird = Some(self.bird(name, &text));
        }
        if self.machines[number].watch.is_none() {
            let script = self.path("bird-watch").display().to_string();
            let watch = self.program(name, &script);
            let watch = watch
                .args([METRICS, "wardgate_service"])
                .arg(self.path(name));
            self.machines[number].watch = Some(Background::start(&watch));
        }
    }

    fn start_gateway(&mut self, number: usize) {
        if self.machines[number].gateway.is_some() {
            return;
        }
        let namespace = self.namespace(MACHINES[number].0);
        // The kernel closes what a killed process had in a ring a moment after its end.
        until("no listener of a gateway is left", DEADLINE, || {
            let listeners = Program::new("ss").args(["-H", "-ltn"]);
            let text = listeners.netns(namespace.clone()).run().text();
            let is_left = [ENTRY, WAN, METRICS]
                .iter()
                .any(|address| text.contains(address));
            (!is_left).then_some(())
        });
        let toml = self.site().toml();
        self.machines[number].gateway = Some(Gateway::with_config(&toml, &namespace));
    }

    /// Ends the programs of a machine, in the order of the packaged units.
    fn stop_machine(&mut self, number: usize) {
        let machine = &mut self.machines[number];
        for program in [machine.watch.take(), machine.bird.take()]
            .into_iter()
            .flatten()
        {
            program.process().signal(Signal::TERM);
            let _ = program.wait(DEADLINE);
        }
        if let Some(gateway) = machine.gateway.take() {
            gateway.process().signal(Signal::KILL);
            let _ = gateway.wait(DEADLINE);
        }
    }

    fn bird(&self, name: &str, text: &str) -> Background {
        let file = self.path(&format!("{name}.conf"));
        fs::write(&file, replaced(text, "log syslog all", "log stderr all"))
            .expect("there is room");
        let bird = self.program(name, "bird").arg("-f").arg("-c").arg(file);
        Background::start(&bird.arg("-s").arg(self.path(name)))
    }

    /// The package has both scripts in one folder.
    fn copy_scripts(&self) {
        for script in ["keepalived/track", "bird/bird-watch"] {
            let from = packaged(script);
            let to = self.path(&from.file_name().expect("a name").to_string_lossy());
            fs::copy(from, to).expect("there is room");
        }
    }

    /// The number of connections that the gateway of a machine has accepted.
    pub(super) fn accepted(&self, number: usize) -> u64 {
        let address = METRICS.parse().expect("an address");
        let get = || http::get(address, "/metrics").text();
        let text = inside(&self.namespace(MACHINES[number].0), get);
        let counters = text
            .lines()
            .filter(|line| line.starts_with("wardgate_connections_accepted_total{"));
        let values = counters.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }

    /// The gateway of a machine, which runs.
    pub(super) fn gateway(&self, number: usize) -> &Gateway {
        let gateway = self.machines[number].gateway.as_ref();
        gateway.expect("it runs")
    }

    /// The machines to which the router sends connections now.
    pub(super) fn next_hops(&self) -> Vec<usize> {
        let shown = self
            .program("router", "ip")
            .args(["route", "show", SERVICE])
            .run()
            .text();
        let is_used = |number: &usize| {
            let (_, last) = MACHINES[*number];
            shown.contains(&format!("via 198.51.100.{last} "))
        };
        (0..2).filter(is_used).collect()
    }

    /// Waits until the router sends connections to exactly these machines.
    pub(super) fn wait_for(&self, machines: &[usize]) {
        until(
            &format!("the router uses {machines:?}"),
            2 * DEADLINE,
            || (self.next_hops() == machines).then_some(()),
        );
    }

    /// An association with a C-ECHO in it, of a client of this site.
    pub(super) fn serve_client(&self) -> Result<(), echo::Failure> {
        inside(&self.namespace("client"), || {
            let to = ENTRY.parse().expect("an address");
            let mut one = Association::open(to, CLIENT_WITHIN)?;
            one.echo()?;
            one.release()
        })
    }

    /// The open connections of a machine's service address, with the addresses of both ends.
    fn connections(&self, number: usize) -> BTreeSet<(usize, String)> {
        let open = self.program(MACHINES[number].0, "ss");
        let open = open.args(["-Htn", "state", "established", "src", SERVICE]);
        let text = open.run().expect_success().text();
        // The lengths of two queues stand before them.
        let ends = text.lines().map(|line| words(line)[2..4].join(" "));
        ends.map(|ends| (number, ends)).collect()
    }

    fn program(&self, name: &str, program: &str) -> Program {
        Program::new(program).netns(self.namespace(name))
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ip(&self, name: &str, arguments: &str) {
        let namespace = self.namespace(name);
        ip(&[&["-n", namespace.as_str()], words(arguments).as_slice()].concat());
    }
}

impl Cluster for Ecmp {
    // The others end no announcement: bird-watch asks `/readyz`.
    const FAULTS: &'static [Fault] = &[
        Fault::Kill,
        Fault::Drain,
        Fault::WanDown,
        Fault::BothRestarted,
    ];
    const IS_SHARED: bool = true;

    fn entries(&self) -> [Entry; 2] {
        [(ENTRY, Some(Fault::WanDown)), (OTHER_ENTRY, None)].map(|(to, cut_off_by)| Entry {
            namespace: self.namespace("client"),
            to: to.parse().expect("an address"),
            cut_off_by,
        })
    }

    fn wait_until_good(&self) {
        self.wait_for(&[0, 1]);
        until("BFD watches both machines", 2 * DEADLINE, || {
            let show = self.program("router", "birdc").arg("-s");
            let show = show.arg(self.path("router")).arg("show bfd sessions");
            (show.run().text().matches(" Up ").count() == 2).then_some(())
        });
    }

    fn victim(&self) -> usize {
        0
    }

    fn open(&self, entry: &Entry) -> (Association, usize) {
        let all = || &self.connections(0) | &self.connections(1);
        let before = all();
        let open = || Association::open(entry.to, ANSWER);
        let association = inside(&entry.namespace, open).expect("all is good before the fault");
        let opened: Vec<_> = all()
            .difference(&before)
            .map(|(number, _)| *number)
            .collect();
        let [number] = opened[..] else {
            panic!("other clients are active: {opened:?}");
        };
        (association, number)
    }

    fn begin(&mut self, fault: Fault, victim: usize) {
        match fault {
            Fault::Kill => {
                self.gateway(victim).process().signal(Signal::KILL);
            }
            Fault::Drain => {
                let drain = self.gateway(victim).command(&["drain"]);
                drain.run().expect_success();
            }
            // Nothing on the machine can withdraw the route: BFD of the router finds the dead link.
            Fault::WanDown => self.ip("router", &format!("link set {} down", MACHINES[victim].0)),
            Fault::BothRestarted => {
                for number in 0..2 {
                    self.stop_machine(number);
                }
                for number in 0..2 {
                    self.start_machine(number);
                }
            }
            Fault::LanDown | Fault::PeerLost => unreachable!("not in FAULTS"),
        }
    }

    fn wait_until_moved(&self, fault: Fault, victim: usize) {
        match fault {
            Fault::BothRestarted => self.wait_for(&[0, 1]),
            _ => self.wait_for(&[1 - victim]),
        }
    }

    fn repair(&mut self, fault: Fault, victim: usize) {
        match fault {
            Fault::Kill => {
                self.machines[victim].gateway = None;
                self.start_gateway(victim);
            }
            Fault::Drain => {
                let undo = self.gateway(victim).command(&["drain", "--undo"]);
                undo.run().expect_success();
            }
            Fault::WanDown => self.ip("router", &format!("link set {} up", MACHINES[victim].0)),
            _ => {}
        }
        self.wait_until_good();
    }
}

impl Drop for Ecmp {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let birds = self.machines.iter().filter_map(|one| one.bird.as_ref());
            for bird in birds.chain(&self.router) {
                eprintln!("--- bird\n{}", bird.output());
            }
        }
        self.machines = [Machine::default(), Machine::default()];
        self.router = None;
        self.other = None;
        for name in PLACES {
            namespaces::remove(&self.namespace(name));
        }
    }
}

/// With short deadlines.
fn quick(site: Site) -> Site {
    let keepalive = "{ idle = \"1s\", interval = \"1s\", probes = 2 }";
    site.timeout("keepalive", keepalive)
        .timeout("user", "\"3s\"")
        .timeout("connect", "\"1s\"")
}

fn packaged(name: &str) -> PathBuf {
    Path::new(workspace()).join("packaging").join(name)
}
