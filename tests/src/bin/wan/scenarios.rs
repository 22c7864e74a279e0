//! What the WAN does in each scenario, and what the applications must see.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use tempfile::TempDir;
use wardgate_tests::dicom;
use wardgate_tests::stream::{Ending, Noise, accept, ending};
use wardgate_tests::{Background, Gateway, Pki, Program, Site};

use crate::path::{Place, WanPath};

/// How much is transferred.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfers {
    bytes: usize,
    objects: u32,
}

impl Transfers {
    /// For every run of the tests.
    pub(crate) const SHORT: Self = Self {
        bytes: 600_000,
        objects: 8,
    };
    pub(crate) fn is_full(self) -> bool {
        self.objects == Self::FULL.objects
    }

    /// For a longer look.
    pub(crate) const FULL: Self = Self {
        bytes: 10_000_000,
        objects: 40,
    };
}

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// What every transfer must survive ([`DISTURBANCES`]).
    Completes,
    /// MTU 1280 with ICMP lost, and whether the hosts probe for the MTU.
    BlackHole(bool),
    /// The link is down for 10 s while bytes are on their way.
    DownAndUp,
    /// The link is down for good, while nothing is sent, so that only keepalive can find it, and in mid-transfer.
    Loss,
    /// C-STORE through the gateways is not slower than without them.
    StoreRate,
}

use Scenario::{BlackHole, Completes, DownAndUp, Loss, StoreRate};

/// All scenarios.
pub(crate) const ALL: [Scenario; 6] = [
    Loss,
    BlackHole(false),
    BlackHole(true),
    DownAndUp,
    Completes,
    StoreRate,
];

/// Properties of netem in each direction under which every transfer must complete.
const DISTURBANCES: [(&str, &str); 6] = [
    ("20 ms", "delay 10ms"),
    ("80 ms", "delay 40ms"),
    ("loss of 1 %", "delay 10ms loss 1%"),
    ("reordering", "delay 10ms reorder 75% 50%"),
    ("duplication", "delay 10ms duplicate 5%"),
    (
        "20 Mbit/s, queue of 20 packets",
        "delay 10ms rate 20mbit limit 20",
    ),
];

const A: &str = "gw.a.example";
const B: &str = "gw.b.example";
const ENTRY: u16 = 11112;
const WAN: u16 = 2762;
const TARGET: u16 = 11104;
/// A server that listens on the WAN, for connections without gateways.
const DIRECT: u16 = 11105;
/// Timeouts of the scenarios that end a connection, and the most time after which both applications are told.
const USER_TIMEOUT: Duration = Duration::from_secs(4);
/// 3 s of silence, then 3 probes: one each second.
const KEEPALIVE: &str = "{ idle = \"3s\", interval = \"1s\", probes = 3 }";
const KEEPALIVE_FINDS: Duration = Duration::from_secs(3 + 3);
/// The kernel checks a timeout when a retransmission or a probe is due; the emulated machine is slow.
const MARGIN: Duration = Duration::from_secs(8);
/// The longest time that a scenario waits for a byte.
const PATIENCE: Duration = Duration::from_secs(60);

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Completes => "completes",
            BlackHole(true) => "mtu_probed",
            BlackHole(false) => "mtu_not_probed",
            DownAndUp => "down_10_s",
            Loss => "loss",
            StoreRate => "store_rate",
        }
    }

    /// Runs it; panics if an application sees what it must not see.
    pub(crate) fn run(self, number: usize, transfers: Transfers) -> String {
        let path = WanPath::new(number);
        match self {
            Completes => completes(&path, transfers),
            BlackHole(probes) => black_hole(&path, probes, transfers),
            DownAndUp => down_and_up(&path),
            Loss => loss(&path),
            StoreRate => store_rates(&path, transfers),
        }
    }
}

fn completes(path: &WanPath, transfers: Transfers) -> String {
    let sites = Sites::start(path, "tcp", &[]);
    let lines = DISTURBANCES.map(|(name, properties)| {
        path.netem(properties);
        let took = exchange(sites.connection(), transfers.bytes);
        format!("{name}: {took:.1?}")
    });
    format!("{} bytes each way; {}", transfers.bytes, lines.join(", "))
}

/// Both gateways on a path.
struct Sites<'a> {
    path: &'a WanPath,
    listener: TcpListener,
    _gateways: [Gateway; 2],
}

impl<'a> Sites<'a> {
    fn start(path: &'a WanPath, protocol: &str, timeouts: &[(&str, String)]) -> Self {
        let pki = Pki::new();
        let wan = WanPath::address(Place::B, WAN);
        let target = SocketAddr::from(([127, 0, 0, 1], TARGET));
        let entry = SocketAddr::from(([127, 0, 0, 1], ENTRY));
        let listener = path
            .inside(Place::B, || TcpListener::bind(target))
            .expect("a free port");
        let b = Site::new(&pki, B).terminate(wan, target, &[format!("dns:{A}")]);
        let a = Site::new(&pki, A).originate(entry, wan, &[format!("dns:{B}")]);
        let gateways = [(b, Place::B), (a, Place::A)].map(|(site, place)| {
            let site = site.protocol(protocol).netns(path.name(place));
            let timeouts = timeouts.iter();
            timeouts
                .fold(site, |site, (key, value)| site.timeout(key, value.as_str()))
                .start()
        });
        Self {
            path,
            listener,
            _gateways: gateways,
        }
    }

    /// A connection: the client's socket and the server's.
    fn connection(&self) -> [TcpStream; 2] {
        let entry = SocketAddr::from(([127, 0, 0, 1], ENTRY));
        let near = self
            .path
            .inside(Place::A, || TcpStream::connect(entry))
            .expect("A listens");
        let far = accept(&self.listener);
        for socket in [&near, &far] {
            socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
            socket.set_write_timeout(Some(PATIENCE)).expect("not zero");
        }
        [near, far]
    }
}

/// Moves bytes in both directions at once, and compares their hashes and both ends.
fn exchange([near, far]: [TcpStream; 2], bytes: usize) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| {
        let halves = [(&near, &far, 1), (&far, &near, 2)];
        for (from, to, seed) in halves {
            scope.spawn(move || send(from, &Noise::new(seed).take(bytes)));
            scope.spawn(move || receive(to, &Noise::new(seed).take(bytes)));
        }
    });
    start.elapsed()
}

fn send(mut to: &TcpStream, bytes: &[u8]) {
    to.write_all(bytes).expect("all is taken");
    to.shutdown(Shutdown::Write).expect("it is connected");
}

fn receive(mut from: &TcpStream, expected: &[u8]) {
    let mut received = Vec::new();
    from.read_to_end(&mut received).expect("a clean end");
    let hash = |bytes| digest(&SHA256, bytes);
    assert_eq!(received.len(), expected.len(), "complete");
    assert_eq!(
        hash(&received).as_ref(),
        hash(expected).as_ref(),
        "the hash"
    );
}

fn short_timeouts() -> [(&'static str, String); 2] {
    [
        ("user", format!("\"{}s\"", USER_TIMEOUT.as_secs())),
        ("keepalive", KEEPALIVE.to_owned()),
    ]
}

// The connection stands already: its packets are as large as the first network allowed.
fn black_hole(path: &WanPath, probes: bool, transfers: Transfers) -> String {
    for place in [Place::A, Place::B] {
        path.set(place, "tcp_mtu_probing", if probes { "1" } else { "0" });
    }
    path.netem("delay 5ms");
    if probes {
        let sites = Sites::start(path, "tcp", &[]);
        let both = sites.connection();
        path.black_hole("1280");
        let took = exchange(both, transfers.bytes);
        return format!("{} bytes each way in {took:.1?}", transfers.bytes);
    }
    let sites = Sites::start(path, "tcp", &short_timeouts());
    let [mut near, mut far] = sites.connection();
    path.black_hole("1280");
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| near.write_all(&Noise::new(1).take(2_000_000)));
        let (_, end) = ending(&mut far);
        assert_ne!(end, Ending::Orderly, "the server is told");
    });
    let (_, end) = ending(&mut near);
    assert_ne!(end, Ending::Orderly, "the client is told");
    assert!(
        start.elapsed() < USER_TIMEOUT + KEEPALIVE_FINDS + MARGIN,
        "{:?}",
        start.elapsed()
    );
    format!("both applications were told after {:.1?}", start.elapsed())
}

fn down_and_up(path: &WanPath) -> String {
    path.netem("delay 5ms");
    let sites = Sites::start(path, "tcp", &[]);
    let [near, far] = sites.connection();
    let bytes = Noise::new(3).take(3_000_000);
    let (first, rest) = bytes.split_at(100_000);
    (&near).write_all(first).expect("all is taken");
    path.set_link("down");
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| send(&near, rest));
        scope.spawn(|| receive(&far, &bytes));
        thread::sleep(Duration::from_secs(10));
        path.set_link("up");
    });
    format!("complete {:.1?} after the link went down", start.elapsed())
}

fn loss(path: &WanPath) -> String {
    path.netem("delay 5ms");
    let sites = Sites::start(path, "tcp", &short_timeouts());
    let (silent, moving) = (sites.connection(), sites.connection());
    for [near, far] in [&silent, &moving] {
        let (mut near, mut far) = (near, far);
        near.write_all(b"hello").expect("all is taken");
        far.read_exact(&mut [0; 5]).expect("they arrive");
    }
    path.set_link("down");
    let start = Instant::now();
    let [mut near, mut far] = moving;
    thread::scope(|scope| {
        let ends = silent.map(|mut socket| {
            scope.spawn(move || {
                let (_, end) = ending(&mut socket);
                assert_eq!(end, Ending::Reset, "an application is told");
                start.elapsed()
            })
        });
        let sender = scope.spawn(move || {
            let sent = near.write_all(&vec![7; 20_000_000]);
            sent.expect_err("the sender is told");
            start.elapsed()
        });
        let receiver = scope.spawn(move || {
            let (_, end) = ending(&mut far);
            assert_eq!(end, Ending::Reset, "the receiver is told");
            start.elapsed()
        });
        let silent = ends.map(|end| end.join().expect("a reset"));
        let moving = [sender, receiver].map(|end| end.join().expect("a reset"));
        for time in silent {
            let most = KEEPALIVE_FINDS + Duration::from_secs(3);
            assert!(
                time < most,
                "in silence, an application was told after {time:?}"
            );
        }
        for time in moving {
            let most = USER_TIMEOUT + KEEPALIVE_FINDS + MARGIN;
            assert!(
                time < most,
                "in mid-transfer, an application was told after {time:?}"
            );
        }
        format!(
            "in silence, keepalive (3 s + 3 x 1 s) told both after {:.1?} and {:.1?}; in mid-transfer both were told \
             after {:.1?} and {:.1?} (user = 4 s)",
            silent[0], silent[1], moving[0], moving[1]
        )
    })
}

/// Objects with one outstanding operation each, through the gateways and without them, on the same path. The time
/// of an association with one object is subtracted: with it the handshake, which happens once.
fn store_rates(path: &WanPath, transfers: Transfers) -> String {
    let sites = Sites::start(path, "dicom", &[]);
    let received = TempDir::new().expect("there is room");
    let server = |port: u16| {
        let program = Program::new("storescp").args(["--fork", "-dhl", "-od"]);
        let program = program.arg(received.path()).arg(port.to_string());
        Background::start(&program.netns(path.name(Place::B)))
    };
    drop(sites.listener);
    let mut servers = [server(TARGET), server(DIRECT)];
    for (server, port) in servers.iter_mut().zip([TARGET, DIRECT]) {
        server.wait_for_port(port);
    }
    let folder = TempDir::new().expect("there is room");
    let files = dicom::series(folder.path(), "WARDGATE", transfers.objects + 1, 160);
    let store = |to: SocketAddr, count: usize| {
        let program = Program::new("storescu").arg(to.ip().to_string());
        let program = program
            .arg(to.port().to_string())
            .args(files.iter().take(count));
        let start = Instant::now();
        program.netns(path.name(Place::A)).run().expect_success();
        start.elapsed()
    };
    let per_object = |to: SocketAddr| {
        let least = |count| [store(to, count), store(to, count)].into_iter().min();
        let (one, all) = (least(1).expect("two"), least(files.len()).expect("two"));
        all.saturating_sub(one) / transfers.objects
    };
    let lines = [("20 ms", "delay 10ms"), ("80 ms", "delay 40ms")].map(|(name, properties)| {
        path.netem(properties);
        let direct = per_object(WanPath::address(Place::B, DIRECT));
        let through = per_object(SocketAddr::from(([127, 0, 0, 1], ENTRY)));
        let ratio = direct.as_secs_f64() / through.as_secs_f64();
        // The clock of the emulated machine is coarse.
        assert!(
            ratio > 0.95,
            "{name}: {direct:?} direct, {through:?} through the gateways"
        );
        format!("{name}: {ratio:.2} ({through:.1?} through the gateways, {direct:.1?} without)")
    });
    format!(
        "C-STORE rate relative to that without gateways, {}",
        lines.join("; ")
    )
}
