//! Two machines behind a router that shares connections out (ECMP), with real bird and its packaged configurations.
//!
//! ```text
//! +--------+          +--------+  .1      .3 +-----+
//! | client |----------| router |-------------| gw1 |  198.51.100.7 on `lo` of both
//! +--------+          +--------+          .4 +-----+
//!  203.0.113.2    203.0.113.1   +------------| gw2 |
//!                                            +-----+
//! ```

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use wardgate_tests::tier::{self, Need, workspace};
use wardgate_tests::{Background, Gateway, Pki, Program, Site, until};

use super::echo::{self, Association};
use super::lab::{ip, replaced, words};
use crate::namespaces;
use crate::namespaces::inside;

const SERVICE: &str = "198.51.100.7";
const PORT: u16 = 2762;
const ARCHIVE: &str = "127.0.0.1:104";
/// BGP connects within a few seconds; the rest is for a busy machine.
const ROUTES_WITHIN: Duration = Duration::from_secs(30);
const MACHINES: [&str; 2] = ["gw1", "gw2"];

struct Ecmp {
    prefix: String,
    folder: TempDir,
    programs: Vec<Background>,
}

impl Ecmp {
    fn new() -> Self {
        let mut ecmp = Self {
            prefix: namespaces::prefix(),
            folder: TempDir::new().expect("there is room"),
            programs: Vec::new(),
        };
        ecmp.connect();
        let router = fs::read_to_string(packaged("router.conf")).expect("it is there");
        ecmp.start_bird("router", &router);
        let machine = fs::read_to_string(packaged("bird.conf")).expect("it is there");
        for (name, address) in MACHINES.into_iter().zip(["198.51.100.3", "198.51.100.4"]) {
            ecmp.start_bird(name, &replaced(&machine, "198.51.100.3", address));
        }
        ecmp
    }

    fn connect(&self) {
        for name in ["client", "router", "gw1", "gw2"] {
            ip(&["netns", "add", &self.namespace(name)]);
            self.ip(name, "link set lo up");
        }
        self.ip("router", "link add wan0 type bridge");
        for (name, last) in MACHINES.into_iter().zip([3, 4]) {
            self.join(name, "wan0", name);
            self.ip("router", &format!("link set {name} master wan0"));
            self.ip(name, &format!("addr add 198.51.100.{last}/24 dev wan0"));
            self.ip(name, "route add default via 198.51.100.1");
            self.ip(name, &format!("addr add {SERVICE}/32 dev lo"));
        }
        self.ip("router", "addr add 198.51.100.1/24 dev wan0");
        self.ip("router", "link set wan0 up");
        self.join("client", "up0", "up0");
        self.ip("router", "addr add 203.0.113.1/24 dev up0");
        self.ip("client", "addr add 203.0.113.2/24 dev up0");
        self.ip("client", "route add default via 203.0.113.1");
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

    fn start_bird(&mut self, name: &str, text: &str) {
        let file = self.path(&format!("{name}.conf"));
        fs::write(&file, replaced(text, "log syslog all", "log stderr all"))
            .expect("there is room");
        let bird = self.program(name, "bird").arg("-f").arg("-c").arg(file);
        let bird = bird.arg("-s").arg(self.path(name));
        self.programs.push(Background::start(&bird));
    }

    /// A gateway that forwards to an archive of its machine, and the script that watches it.
    fn start_gateway(&mut self, name: &str, pki: &Pki) -> Gateway {
        let site = Site::new(pki, "gw.a.example")
            .passthrough(format!("{SERVICE}:{PORT}"), ARCHIVE)
            .timeout("drain_delay", "\"5s\"")
            .gateway("metrics", "\"127.0.0.1:9464\"")
            .gateway("admin", "\"admin.sock\"");
        Gateway::with_config(&site.toml(), &self.namespace(name))
    }

    fn watch(&mut self, name: &str) {
        // The package has both scripts in one folder.
        let folder = self.path("scripts");
        fs::create_dir_all(&folder).expect("there is room");
        for script in ["keepalived/track", "bird/bird-watch"] {
            let from = workspace().join("packaging").join(script);
            let to = folder.join(from.file_name().expect("a name"));
            fs::copy(from, to).expect("there is room");
        }
        let watch = self.program(name, &folder.join("bird-watch").display().to_string());
        let watch = watch
            .args(["127.0.0.1:9464", "wardgate_service"])
            .arg(self.path(name));
        self.programs.push(Background::start(&watch));
    }

    /// The machines to which the router sends connections now.
    fn next_hops(&self) -> Vec<&'static str> {
        let shown = self
            .program("router", "ip")
            .args(["route", "show", SERVICE])
            .run()
            .text();
        let gateways = [("gw1", "via 198.51.100.3 "), ("gw2", "via 198.51.100.4 ")];
        let used = gateways.into_iter().filter(|(_, via)| shown.contains(via));
        used.map(|(name, _)| name).collect()
    }

    /// Waits until the router sends connections to exactly these machines, and returns how long that took.
    fn wait_for(&self, machines: &[&str]) -> Duration {
        let begun = Instant::now();
        until(
            &format!("the router uses {machines:?}"),
            ROUTES_WITHIN,
            || (self.next_hops() == machines).then_some(()),
        );
        begun.elapsed()
    }

    /// One client after another; every one must be served.
    fn serve_clients(&self, count: usize) {
        for number in 0..count {
            let served = self.serve_client();
            served.unwrap_or_else(|error| panic!("client {number}: {error}"));
        }
    }

    fn serve_client(&self) -> io::Result<()> {
        let to: SocketAddr = format!("{SERVICE}:{PORT}").parse().expect("an address");
        inside(&self.namespace("client"), || {
            let mut one = Association::open(to, echo::ANSWER)?;
            one.echo()?;
            one.release()
        })
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

impl Drop for Ecmp {
    fn drop(&mut self) {
        self.programs.clear();
        for name in ["client", "router", "gw1", "gw2"] {
            namespaces::remove(&self.namespace(name));
        }
    }
}

fn packaged(name: &str) -> PathBuf {
    Path::new(workspace()).join("packaging/bird").join(name)
}

#[test]
fn a_router_sends_new_connections_only_to_machines_that_are_ready() {
    let needs = [
        Need::Namespaces,
        Need::Program("bird"),
        Need::Program("curl"),
    ];
    if !tier::ready("network", &needs) {
        return;
    }
    let mut ecmp = Ecmp::new();
    let pki = Pki::new();
    let [gw1, gw2] = MACHINES.map(|name| {
        let listener = inside(&ecmp.namespace(name), || TcpListener::bind(ARCHIVE));
        echo::serve(listener.expect("nothing else listens there"));
        let gateway = ecmp.start_gateway(name, &pki);
        ecmp.watch(name);
        gateway
    });
    ecmp.wait_for(&MACHINES);
    ecmp.serve_clients(32);
    for gateway in [&gw1, &gw2] {
        assert!(
            !gateway.connections().is_empty(),
            "both machines serve clients"
        );
    }

    // A planned drain: the route is withdrawn while the gateway still accepts, and no client is refused. Only a
    // client that is open while the router changes the route can be reset: its packets then go to the other machine.
    gw1.command(&["drain"]).run().expect_success();
    while ecmp.next_hops() != ["gw2"] {
        if let Err(error) = ecmp.serve_client() {
            assert_eq!(ecmp.next_hops(), ["gw2"], "{error}");
        }
    }
    ecmp.serve_clients(8);
    gw1.command(&["drain", "--undo"]).run().expect_success();
    ecmp.wait_for(&MACHINES);

    gw2.process().signal(Signal::KILL);
    println!("killed: withdrawn after {:?}", ecmp.wait_for(&["gw1"]));
    ecmp.serve_clients(8);
    drop(gw2);
    let _gw2 = ecmp.start_gateway("gw2", &pki);
    ecmp.wait_for(&MACHINES);

    // Nothing on the machine can withdraw the route now: BFD of the router finds the dead link.
    ecmp.ip("router", "link set gw1 down");
    println!("link down: withdrawn after {:?}", ecmp.wait_for(&["gw2"]));
    ecmp.serve_clients(8);
}
