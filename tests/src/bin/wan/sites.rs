//! The two gateways of a path, and connections through them.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use wardgate_tests::stream::{Noise, accept};
use wardgate_tests::{Gateway, Pki, Site};

use crate::path::{Network, Place, WanLine, take_turn};

const A: &str = "gw.a.example";
const B: &str = "gw.b.example";
/// The first port of the clients, of the WAN, and of the servers.
const ENTRY: u16 = 11112;
const WAN: u16 = 2762;
const TARGET: u16 = 11104;
/// The longest time that an application waits for a byte.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// Timeouts of a route, as in the configuration.
pub(crate) type RouteTimeouts = Vec<(&'static str, String)>;

/// A route of both gateways.
#[derive(Debug, Clone)]
pub(crate) struct Route<'a> {
    pub(crate) line: WanLine<'a>,
    pub(crate) timeouts: RouteTimeouts,
    /// The machine of the client: that of gateway A, or the one beside it.
    pub(crate) client: Place,
    /// The machine of the server: that of gateway B, or the one beside it.
    pub(crate) server: Place,
}

impl<'a> Route<'a> {
    /// A route between applications on the machines of the gateways.
    pub(crate) fn new(line: WanLine<'a>, timeouts: RouteTimeouts) -> Self {
        Self {
            line,
            timeouts,
            client: Place::A,
            server: Place::B,
        }
    }

    /// Where clients connect.
    pub(crate) fn entry(&self, number: u16) -> SocketAddr {
        let address = match self.client {
            Place::Client => Network::lan(Place::A),
            _ => IpAddr::from(Ipv4Addr::LOCALHOST),
        };
        SocketAddr::from((address, ENTRY + number))
    }

    /// Where the server listens.
    pub(crate) fn target(&self, number: u16) -> SocketAddr {
        let address = match self.server {
            Place::Archive => Network::lan(Place::Archive),
            _ => IpAddr::from(Ipv4Addr::LOCALHOST),
        };
        SocketAddr::from((address, TARGET + number))
    }
}

/// Both gateways of a network.
pub(crate) struct Sites<'a> {
    network: &'a Network,
    routes: Vec<Route<'a>>,
    // Terminate, originate. Scenarios of several threads read their logs.
    gateways: Mutex<[Gateway; 2]>,
}

impl<'a> Sites<'a> {
    /// Starts both gateways with these routes, which have the names `0`, `1`, ...
    pub(crate) fn start(network: &'a Network, protocol: &str, routes: Vec<Route<'a>>) -> Self {
        let pki = Pki::new();
        let [mut b, mut a] = [(B, Place::B), (A, Place::A)]
            .map(|(name, place)| Site::new(&pki, name).netns(network.name(place)))
            // The kernel here has half of it, and its filters take an emulated machine a second.
            .map(|site| site.gateway("sandbox", "\"off\""));
        for (number, route) in (0_u16..).zip(&routes) {
            let wan = SocketAddr::from((route.line.address(Place::B), WAN + number));
            b = b.terminate(wan, route.target(number), &[format!("dns:{A}")]);
            a = a.originate(route.entry(number), wan, &[format!("dns:{B}")]);
            [b, a] = [b, a].map(|site| {
                let site = site.name(&number.to_string()).protocol(protocol);
                let timeouts = route.timeouts.iter();
                timeouts.fold(site, |site, (key, value)| {
                    site.route_timeout(key, value.as_str())
                })
            });
        }
        let _turn = take_turn();
        Self {
            network,
            routes,
            gateways: Mutex::new([b, a].map(|site| site.start())),
        }
    }

    /// Both gateways: that of site B, then that of site A.
    pub(crate) fn gateways(&self) -> MutexGuard<'_, [Gateway; 2]> {
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection of a route: the client's socket and the server's.
    pub(crate) fn connection(&self, number: u16) -> [TcpStream; 2] {
        let route = &self.routes[usize::from(number)];
        let (entry, target) = (route.entry(number), route.target(number));
        let listen = || TcpListener::bind(target).expect("a free port");
        let listener = self.network.inside(route.server, listen);
        let connect = || TcpStream::connect(entry).expect("A listens");
        let client = self.network.inside(route.client, connect);
        let server = accept(&listener);
        for socket in [&client, &server] {
            socket.set_read_timeout(Some(WAIT_MAX)).expect("not zero");
            socket.set_write_timeout(Some(WAIT_MAX)).expect("not zero");
        }
        [client, server]
    }
}

/// Sends a byte to the server and one back; returns how long that took.
pub(crate) fn round_trip([client, server]: &[TcpStream; 2]) -> Duration {
    let (mut client, mut server) = (client, server);
    let (start, mut byte) = (Instant::now(), [0; 1]);
    client.write_all(b"?").expect("it is connected");
    server.read_exact(&mut byte).expect("it arrives");
    server.write_all(b"!").expect("it is connected");
    client.read_exact(&mut byte).expect("it arrives");
    start.elapsed()
}

/// Different bytes for both directions.
pub(crate) fn payloads(bytes: usize) -> [Vec<u8>; 2] {
    [1, 2].map(|seed| Noise::new(seed).take(bytes))
}

/// Sends one payload in each direction at once, and compares the hashes and both ends.
pub(crate) fn exchange([client, server]: &[TcpStream; 2], payloads: &[Vec<u8>; 2]) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| {
        for ((from, to), payload) in [(client, server), (server, client)]
            .into_iter()
            .zip(payloads)
        {
            scope.spawn(move || send(from, payload));
            scope.spawn(move || receive(to, payload));
        }
    });
    start.elapsed()
}

/// Sends all bytes, and the end.
pub(crate) fn send(mut to: &TcpStream, bytes: &[u8]) {
    to.write_all(bytes).expect("all is taken");
    to.shutdown(Shutdown::Write).expect("it is connected");
}

/// Receives until a clean end, and compares the hash.
pub(crate) fn receive(mut from: &TcpStream, expected: &[u8]) {
    let mut received = Vec::new();
    from.read_to_end(&mut received).expect("a clean end");
    let hash = |bytes| digest(&SHA256, bytes);
    assert_eq!(received.len(), expected.len(), "the number of bytes");
    assert_eq!(
        hash(&received).as_ref(),
        hash(expected).as_ref(),
        "the hash"
    );
}
