//! Attempts at targets whose name cannot be looked up in time.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Attempts, Names, Upstreams};
use crate::config::{self, Route};
use crate::uring::{Lent, Pipe, Socket, SocketOptions, Verbs};

const ROUTE: &str = r#"
[identity]
certificate = "site.pem"
key = "site.key"
trust = "trust.pem"

[[route]]
name = "pacs-to-region"
mode = "originate"
protocol = "dicom"
listen = "127.0.0.1:11112"
targets = ["gw.region.example:2762"]
peers = ["dns:gw.region.example"]
"#;

/// A socket that only connects, over a WAN of 20 ms.
struct Far;

struct NoPipe;

impl Pipe for NoPipe {
    fn held(&self) -> usize {
        0
    }
}

impl Socket for Far {
    type Pipe = NoPipe;

    async fn read(&self, bytes: Vec<u8>, _room: Range<usize>) -> (io::Result<usize>, Vec<u8>) {
        (Ok(0), bytes)
    }

    async fn write(&self, bytes: Vec<u8>, part: Range<usize>) -> (io::Result<usize>, Vec<u8>) {
        (Ok(part.len()), bytes)
    }

    async fn readv(&self, lent: Lent) -> (io::Result<usize>, Lent) {
        (Ok(0), lent)
    }

    async fn writev(&self, lent: Lent) -> (io::Result<usize>, Lent) {
        (Ok(lent.1.iter().map(ExactSizeIterator::len).sum()), lent)
    }

    fn splice_in(&self, _pipe: &NoPipe) -> io::Result<usize> {
        Ok(0)
    }

    async fn splice_out(&self, _pipe: &NoPipe) -> io::Result<usize> {
        Err(io::ErrorKind::InvalidInput.into())
    }

    fn acknowledge(&self) {}

    fn send_now(&self, _: &[u8]) -> io::Result<()> {
        unreachable!("nothing is sent")
    }

    async fn wait_readable(&self) -> io::Result<()> {
        Ok(())
    }

    fn send_room(&self) -> usize {
        usize::MAX
    }

    async fn wait_writable(&self) -> io::Result<()> {
        Ok(())
    }

    async fn wait_connected(&self) -> io::Result<()> {
        sleep(Duration::from_millis(20)).await;
        Ok(())
    }

    fn finish(&self) -> io::Result<()> {
        Ok(())
    }

    fn abort(&self) {}
}

/// A resolver that answers after a while, or does not.
struct Net {
    hangs: Cell<bool>,
    asked: Cell<u32>,
}

impl Verbs for Net {
    type Socket = Far;

    fn connect(&self, _to: SocketAddr, _options: &SocketOptions) -> io::Result<Far> {
        Ok(Far)
    }

    fn pipe(&self) -> io::Result<NoPipe> {
        Ok(NoPipe)
    }

    async fn resolve(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.set(self.asked.get() + 1);
        sleep(Duration::from_millis(if self.hangs.get() {
            30_000
        } else {
            50
        }))
        .await;
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }
}

fn route() -> Arc<Route> {
    let config = config::parse(ROUTE, Path::new("wardgate.toml")).expect("a good route");
    config.routes.into_iter().next().expect("one route")
}

fn net() -> Net {
    Net {
        hangs: Cell::new(false),
        asked: Cell::new(0),
    }
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_does_not_stop_a_known_target() {
    let (route, net, names) = (route(), net(), Names::default());
    assert!(
        Attempts::new(&route, &route.targets)
            .next(&net, &names)
            .await
            .is_some()
    );
    sleep(2 * crate::limits::NAME_FRESH).await;
    net.hangs.set(true);
    let start = Instant::now();
    let reached = Attempts::new(&route, &route.targets)
        .next(&net, &names)
        .await;
    assert!(reached.is_some(), "by the address that is remembered");
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_is_told_within_the_time_to_connect() {
    let (route, net, names) = (route(), net(), Names::default());
    net.hangs.set(true);
    let start = Instant::now();
    let mut attempts = Attempts::new(&route, &route.targets);
    assert!(attempts.next(&net, &names).await.is_none());
    assert!(
        start.elapsed() <= route.timeouts.connect,
        "{:?}",
        start.elapsed()
    );
    assert!(
        attempts.sentence().contains("gw.region.example:2762"),
        "{}",
        attempts.sentence()
    );
}

/// A route of three targets with health, one of them a title's own, and what is known of them.
fn probed() -> (Arc<Route>, Names, Arc<Upstreams>) {
    let text = ROUTE.replace(
        "targets = [\"gw.region.example:2762\"]",
        "targets = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\nhealth = \"c-echo\"",
    );
    let text = text
        + "[[route.ae]]\ncalled = [\"CT_B\", \"CT_C\"]\ntargets = [\"127.0.0.1:3\", \"127.0.0.1:1\"]\n";
    let config = config::parse(&text, Path::new("wardgate.toml")).expect("a good route");
    let route = config.routes.into_iter().next().expect("one route");
    let upstreams = Upstreams::new([&*route]);
    (route, Names::new(Arc::clone(&upstreams)), upstreams)
}

async fn ports(route: &Route, names: &Names) -> Vec<u16> {
    let (net, mut attempts) = (net(), Attempts::new(route, &route.targets));
    let mut ports = Vec::new();
    while let Some(reached) = attempts.next(&net, names).await {
        ports.push(reached.address.port());
    }
    ports
}

#[tokio::test(start_paused = true)]
async fn targets_that_are_down_are_tried_last_and_never_not_at_all() {
    let (route, names, upstreams) = probed();
    assert_eq!(ports(&route, &names).await, [1, 2], "unknown is up");
    let counters = upstreams.counters();
    counters[0].up.set(0);
    assert_eq!(ports(&route, &names).await, [2, 1]);
    counters[1].up.set(0);
    assert_eq!(ports(&route, &names).await, [1, 2], "in their order");
    counters[0].up.set(1);
    assert_eq!(ports(&route, &names).await, [1, 2]);
}

#[test]
fn each_target_of_a_route_is_probed_once_by_the_title_that_it_has() {
    let (route, _, upstreams) = probed();
    let watched = upstreams.of(&route);
    let told: Vec<_> = watched
        .iter()
        .map(|watched| format!("{} {}", watched.target, watched.called))
        .collect();
    let expected = [
        "127.0.0.1:1 ANY-SCP",
        "127.0.0.1:2 ANY-SCP",
        "127.0.0.1:3 CT_B",
    ];
    assert_eq!(told, expected);
    assert!(Upstreams::new([&*self::route()]).counters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn many_connections_at_once_ask_for_a_name_once() {
    let (route, net, names) = (route(), net(), Names::default());
    let one = || async {
        Attempts::new(&route, &route.targets)
            .next(&net, &names)
            .await
            .is_some()
    };
    assert_eq!(tokio::join!(one(), one(), one()), (true, true, true));
    assert_eq!(net.asked.get(), 1);
}
