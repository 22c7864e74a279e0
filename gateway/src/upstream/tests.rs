//! Tests of targets whose name lookup is slow, or whose addresses do not all answer.

mod choice;
mod states;
mod titles;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::{AddressReport, Attempts, DnsCache, RouteTarget, RouteTargets};
use crate::config::{self, RouteConfig};
use crate::thread_sandbox::ThreadSandbox;
use crate::upstream::limits::{ADDRESS_SILENT, ATTEMPT_DELAY};
use crate::uring::{Lent, LookUp, Network, Pipe, Resolver, Ring, SendQueue, Socket, SocketOptions};

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

/// A socket that only connects, over a simulated WAN of 20 ms, or fails.
struct Far {
    fate: Fate,
    aborted: Rc<Notify>,
    open: Rc<Cell<u32>>,
}

/// The result of an attempt at an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answers,
    IsSilent,
    Refuses,
    Unreachable,
    NoPorts,
}

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

    fn send_queue(&self) -> io::Result<SendQueue> {
        Ok(SendQueue::default())
    }

    fn set_user_timeout(&self, _: Option<Duration>) {}

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
        let answer = Duration::from_millis(match self.fate {
            Fate::IsSilent => u64::MAX >> 10,
            _ => 20,
        });
        tokio::select! {
            () = sleep(answer) => match self.fate {
                Fate::Refuses => Err(Errno::CONNREFUSED.into()),
                Fate::Unreachable => Err(Errno::HOSTUNREACH.into()),
                _ => Ok(()),
            },
            () = self.aborted.notified() => Err(Errno::CONNRESET.into()),
        }
    }

    fn finish(&self) -> io::Result<()> {
        Ok(())
    }

    fn stop_reading(&self) {}

    fn abort(&self) {
        self.aborted.notify_one();
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

/// How long the resolver hangs before it answers.
const HANGS_MS: u64 = 30_000;

/// A resolver that answers after a delay, or hangs, and addresses with their fates.
struct Net {
    hangs: Cell<bool>,
    asked: Cell<u32>,
    addresses: RefCell<Vec<(IpAddr, Fate)>>,
    // The start time and address of each attempt.
    begun: RefCell<Vec<(Instant, IpAddr)>>,
    open: Rc<Cell<u32>>,
}

impl Network for Net {
    type Socket = Far;

    fn connect(&self, to: SocketAddr, _options: &SocketOptions) -> io::Result<Far> {
        self.begun.borrow_mut().push((Instant::now(), to.ip()));
        let addresses = self.addresses.borrow();
        let known = addresses.iter().find(|(ip, _)| *ip == to.ip());
        let fate = known.map_or(Fate::Answers, |(_, fate)| *fate);
        if fate == Fate::NoPorts {
            return Err(Errno::ADDRNOTAVAIL.into());
        }
        self.open.set(self.open.get() + 1);
        Ok(Far {
            fate,
            aborted: Rc::default(),
            open: Rc::clone(&self.open),
        })
    }

    fn pipe(&self) -> io::Result<NoPipe> {
        Ok(NoPipe)
    }

    fn resolve(&self, _name: &str) -> LookUp {
        self.asked.set(self.asked.get() + 1);
        let time = Duration::from_millis(if self.hangs.get() { HANGS_MS } else { 50 });
        let addresses = self.addresses.borrow().iter().map(|(ip, _)| *ip).collect();
        Box::pin(async move {
            sleep(time).await;
            Ok(addresses)
        })
    }
}

fn route() -> Arc<RouteConfig> {
    let config = config::parse(ROUTE, Path::new("wardgate.toml")).expect("a good route");
    config.routes.into_iter().next().expect("one route")
}

fn net() -> Net {
    with_addresses(&[("127.0.0.1", Fate::Answers)])
}

fn with_addresses(addresses: &[(&str, Fate)]) -> Net {
    let each = addresses.iter().map(|(text, fate)| (ip(text), *fate));
    Net {
        hangs: Cell::new(false),
        asked: Cell::new(0),
        addresses: RefCell::new(each.collect()),
        begun: RefCell::default(),
        open: Rc::default(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_does_not_stop_a_known_target() {
    let (route, net, dns) = (route(), net(), DnsCache::default());
    let targets = RouteTargets::new(&route, &[]);
    assert!(
        Attempts::new(&route, &targets.own)
            .next(&net, &dns)
            .await
            .is_some()
    );
    sleep(2 * crate::upstream::limits::NAME_FRESH).await;
    net.hangs.set(true);
    let start = Instant::now();
    let reached = Attempts::new(&route, &targets.own).next(&net, &dns).await;
    assert!(reached.is_some(), "by the address that is remembered");
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_is_reported_within_the_connect_timeout() {
    let (route, net, dns) = (route(), net(), DnsCache::default());
    net.hangs.set(true);
    let start = Instant::now();
    let targets = RouteTargets::new(&route, &[]);
    let mut attempts = Attempts::new(&route, &targets.own);
    assert!(attempts.next(&net, &dns).await.is_none());
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

/// A route with three health-checked targets, one of which belongs to a title, and their states.
fn probed() -> (Arc<RouteConfig>, RouteTargets) {
    let text = ROUTE.replace(
        "targets = [\"gw.region.example:2762\"]",
        "targets = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\nhealth = \"c-echo\"",
    );
    let text = text
        + "[[route.ae]]\ncalled = [\"CT_B\", \"CT_C\"]\ntargets = [\"127.0.0.1:3\", \"127.0.0.1:1\"]\n";
    let config = config::parse(&text, Path::new("wardgate.toml")).expect("a good route");
    let route = config.routes.into_iter().next().expect("one route");
    let probed = RouteTargets::new(&route, &[]);
    (route, probed)
}

async fn ports(route: &RouteConfig, targets: &RouteTargets) -> Vec<u16> {
    let dns = &DnsCache::default();
    let (net, mut attempts) = (net(), Attempts::new(route, &targets.own));
    let mut ports = Vec::new();
    while let Some(reached) = attempts.next(&net, dns).await {
        ports.push(reached.address.port());
    }
    ports
}

#[tokio::test(start_paused = true)]
async fn targets_that_are_down_are_tried_last_but_never_skipped() {
    let (route, probed) = probed();
    assert_eq!(
        ports(&route, &probed).await,
        [1, 2],
        "without results a target is up"
    );
    let counters = |index: usize| &probed.all[index].state.counters;
    counters(0).up.set(0);
    assert_eq!(ports(&route, &probed).await, [2, 1]);
    counters(1).up.set(0);
    assert_eq!(ports(&route, &probed).await, [1, 2], "in their order");
    counters(0).up.set(1);
    assert_eq!(ports(&route, &probed).await, [1, 2]);
}

#[test]
fn each_target_of_a_route_is_probed_once_with_its_own_title() {
    let (_, probed) = probed();
    let each = probed.all.iter();
    let each = each.map(|one: &Arc<RouteTarget>| format!("{} {}", one.target, one.called));
    let texts: Vec<_> = each.collect();
    let expected = [
        "127.0.0.1:1 CT_B",
        "127.0.0.1:2 ANY-SCP",
        "127.0.0.1:3 CT_B",
    ];
    assert_eq!(texts, expected);
}

#[tokio::test(start_paused = true)]
async fn many_simultaneous_connections_share_one_lookup() {
    let (route, net, dns) = (route(), net(), DnsCache::default());
    let targets = RouteTargets::new(&route, &[]);
    let one = || async {
        Attempts::new(&route, &targets.own)
            .next(&net, &dns)
            .await
            .is_some()
    };
    assert_eq!(tokio::join!(one(), one(), one()), (true, true, true));
    assert_eq!(net.asked.get(), 1);
}

/// One connection to the route's targets: its target, its duration, and why others failed.
async fn connect_once(
    net: &Net,
    dns: &DnsCache,
    route: &RouteConfig,
) -> (Option<IpAddr>, Duration, String) {
    let start = Instant::now();
    let targets = RouteTargets::new(route, &[]);
    let mut attempts = Attempts::new(route, &targets.own);
    let reached = attempts.next(net, dns).await;
    let took = start.elapsed();
    assert_eq!(net.open.get(), reached.iter().count() as u32, "left open");
    let address = reached.map(|reached| reached.address.ip());
    (address, took, attempts.sentence())
}

/// A DNS cache, and its reports.
fn reported() -> (DnsCache, Rc<RefCell<Vec<AddressReport>>>) {
    let reports: Rc<RefCell<Vec<AddressReport>>> = Rc::default();
    let sink = Rc::clone(&reports);
    let report =
        move |_: &RouteConfig, report: &AddressReport| sink.borrow_mut().push(report.clone());
    (DnsCache::default().reporting(report), reports)
}

const LOOK_UP: Duration = Duration::from_millis(50);
const ROUND_TRIP: Duration = Duration::from_millis(20);
const A_BIT: Duration = Duration::from_millis(5);

#[tokio::test(start_paused = true)]
async fn a_silent_address_delays_one_connection_once_and_is_reported() {
    let (route, (dns, reports)) = (route(), reported());
    let (dead, good) = (ip("2001:db8::1"), ip("192.0.2.1"));
    let net = with_addresses(&[
        ("2001:db8::1", Fate::IsSilent),
        ("192.0.2.1", Fate::Answers),
    ]);
    let (reached, took, _) = connect_once(&net, &dns, &route).await;
    assert_eq!(reached, Some(good));
    assert!(
        took <= LOOK_UP + ATTEMPT_DELAY + ROUND_TRIP + A_BIT,
        "{took:?}"
    );
    let text = reports.borrow()[0].to_string();
    let (address, used) = ("[2001:db8::1]:2762", "192.0.2.1:2762 answered");
    for part in [
        "target gw.region.example:2762",
        address,
        "no answer within",
        used,
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text:?}");
    }
    for _ in 0..5 {
        let (reached, took, _) = connect_once(&net, &dns, &route).await;
        assert_eq!(reached, Some(good));
        assert!(took <= ROUND_TRIP + A_BIT, "{took:?}");
    }
    sleep(ADDRESS_SILENT).await;
    net.begun.borrow_mut().clear();
    let (reached, ..) = connect_once(&net, &dns, &route).await;
    assert_eq!(reached, Some(good));
    assert_eq!(
        net.begun.borrow()[0].1,
        dead,
        "it is tried again after a while"
    );
    assert_eq!(reports.borrow().len(), 1, "reported once");
    net.addresses.borrow_mut()[0].1 = Fate::Answers;
    sleep(ADDRESS_SILENT).await;
    let (reached, ..) = connect_once(&net, &dns, &route).await;
    assert_eq!(reached, Some(dead));
    let back = reports.borrow()[1].clone();
    assert!(matches!(back, AddressReport::Answers { address, .. } if address.ip() == dead));
}

#[tokio::test(start_paused = true)]
async fn addresses_are_tried_in_parallel_with_alternating_families() {
    let (route, (dns, reports)) = (route(), reported());
    let all = ["2001:db8::1", "2001:db8::2", "192.0.2.1", "2001:db8::3"];
    let net = with_addresses(&all.map(|address| (address, Fate::IsSilent)));
    let (reached, took, sentence) = connect_once(&net, &dns, &route).await;
    assert_eq!(reached, None);
    assert!(took <= route.timeouts.connect + A_BIT, "{took:?}");
    let begun = net.begun.borrow();
    let order = [all[0], all[2], all[1], all[3]].map(ip);
    assert!(begun.iter().map(|(_, ip)| *ip).eq(order), "{begun:?}");
    for pair in begun.windows(2) {
        let delay = pair[1].0 - pair[0].0;
        assert!(
            delay >= ATTEMPT_DELAY && delay <= ATTEMPT_DELAY + A_BIT,
            "{delay:?}"
        );
    }
    for address in all {
        assert!(sentence.contains(address), "{sentence}");
    }
    assert!(
        reports.borrow().is_empty(),
        "the connection's own log line names them"
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_the_next_address_is_tried_at_once_and_nothing_is_remembered() {
    let (route, (dns, reports)) = (route(), reported());
    let net = with_addresses(&[("192.0.2.1", Fate::Refuses), ("192.0.2.2", Fate::Answers)]);
    for look_up in [LOOK_UP, Duration::ZERO] {
        let (reached, took, _) = connect_once(&net, &dns, &route).await;
        assert_eq!(reached, Some(ip("192.0.2.2")));
        assert!(took <= look_up + 2 * ROUND_TRIP + A_BIT, "{took:?}");
    }
    assert!(reports.borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_address_is_remembered_and_reported() {
    let (route, (dns, reports)) = (route(), reported());
    let net = with_addresses(&[
        ("192.0.2.1", Fate::Unreachable),
        ("192.0.2.2", Fate::Answers),
    ]);
    connect_once(&net, &dns, &route).await;
    let (reached, took, _) = connect_once(&net, &dns, &route).await;
    assert_eq!(reached, Some(ip("192.0.2.2")));
    assert!(took <= ROUND_TRIP + A_BIT, "{took:?}");
    assert_eq!(reports.borrow().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn slower_addresses_are_tried_again_when_the_connected_one_is_rejected() {
    let (route, dns) = (route(), DnsCache::default());
    let net = with_addresses(&[
        ("2001:db8::1", Fate::IsSilent),
        ("192.0.2.1", Fate::Answers),
    ]);
    let targets = RouteTargets::new(&route, &[]);
    let mut attempts = Attempts::new(&route, &targets.own);
    let reached = attempts.next(&net, &dns).await.expect("one answers");
    assert_eq!(reached.address.ip(), ip("192.0.2.1"));
    attempts.reject(&dns, "its certificate is not good".to_owned(), LOOK_UP);
    net.addresses.borrow_mut()[0].1 = Fate::Answers;
    let reached = attempts.next(&net, &dns).await.expect("now the other");
    assert_eq!(reached.address.ip(), ip("2001:db8::1"));
    assert!(
        attempts.next(&net, &dns).await.is_none(),
        "each is used once"
    );
}

#[tokio::test(start_paused = true)]
async fn silent_targets_are_tried_after_the_others_for_a_while() {
    let text = ROUTE.replace(
        "\"gw.region.example:2762\"",
        "\"192.0.2.1:1\", \"192.0.2.2:1\"",
    );
    let config = config::parse(&text, Path::new("wardgate.toml")).expect("a good route");
    let (route, (dns, reports)) = (config.routes[0].clone(), reported());
    let net = with_addresses(&[("192.0.2.1", Fate::IsSilent)]);
    let (reached, took, _) = connect_once(&net, &dns, &route).await;
    assert_eq!(reached, Some(ip("192.0.2.2")));
    assert!(took > Duration::from_secs(1), "{took:?}");
    assert_eq!(reports.borrow().len(), 1);
    let (reached, took, _) = connect_once(&net, &dns, &route).await;
    assert_eq!(reached, Some(ip("192.0.2.2")));
    assert!(took <= ROUND_TRIP + A_BIT, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_source_ports_does_not_blame_the_target() {
    let (route, (dns, reports)) = (route(), reported());
    let net = with_addresses(&[("192.0.2.1", Fate::NoPorts)]);
    let targets = RouteTargets::new(&route, &[]);
    let mut attempts = Attempts::new(&route, &targets.own);
    assert!(attempts.next(&net, &dns).await.is_none());
    assert!(attempts.lacks_ports());
    let sentence = attempts.sentence();
    let words = "this machine has no free source ports (net.ipv4.ip_local_port_range)";
    assert!(sentence.contains(words), "{sentence}");
    net.addresses
        .borrow_mut()
        .push((ip("192.0.2.2"), Fate::Answers));
    sleep(crate::upstream::limits::NAME_FRESH).await;
    connect_once(&net, &dns, &route).await;
    assert_eq!(
        net.begun.borrow().last().expect("an attempt").1,
        ip("192.0.2.2")
    );
    assert!(reports.borrow().is_empty(), "the address is not silent");
}

#[tokio::test(start_paused = true)]
async fn a_name_whose_lookup_hangs_has_one_lookup_only() {
    let (route, net, dns) = (route(), net(), DnsCache::default());
    net.hangs.set(true);
    let start = Instant::now();
    let targets = RouteTargets::new(&route, &[]);
    let next = || async {
        let mut attempts = Attempts::new(&route, &targets.own);
        attempts.next(&net, &dns).await.is_some()
    };
    let mut failed = 0;
    while !next().await {
        failed += 1;
        assert_eq!(net.asked.get(), 1, "{failed} connections had no more time");
    }
    // A connection that came before the resolver answered got its answer, and no other lookup was started.
    assert!(failed >= 10, "{failed}");
    let time = start.elapsed();
    assert!(time < Duration::from_millis(HANGS_MS + 100), "{time:?}");
    assert_eq!(net.asked.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_no_connection_awaited_is_as_old_as_its_lookup() {
    let (net, dns) = (net(), DnsCache::default());
    let look_up = || dns.look_up(&net, "gw.region.example");
    let waited = tokio::time::timeout(Duration::from_millis(10), look_up()).await;
    assert!(waited.is_err());
    sleep(crate::upstream::limits::NAME_STALE).await;
    look_up().await.expect("the resolver answers");
    assert_eq!(net.asked.get(), 2, "the first answer is too old");
}

/// Blocks for the names of one zone, as the system resolver does while that zone's servers hang.
fn zone_hangs(name: &str) -> io::Result<Vec<IpAddr>> {
    if name.ends_with(".hangs.example") {
        std::thread::sleep(Duration::from_secs(3));
    }
    Ok(vec![Ipv4Addr::LOCALHOST.into()])
}

#[test]
fn names_of_a_zone_that_hangs_hold_their_own_places_and_no_other_name_waits() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let resolver = Resolver::with(zone_hangs, &ThreadSandbox::none()).expect("a thread");
    let (ring, dns) = (Ring::new(resolver), DnsCache::default());
    runtime.block_on(async {
        let hung: Vec<_> = (0..12).map(|n| format!("gw{n}.hangs.example")).collect();
        // More connections than there ever were lookup slots, none of which waits for long.
        for _ in 0..3 {
            for name in &hung {
                let wait = dns.look_up(&ring, name);
                let waited = tokio::time::timeout(Duration::from_millis(5), wait).await;
                assert!(waited.is_err(), "{name} hangs");
            }
        }
        let start = std::time::Instant::now();
        let good = dns.look_up(&ring, "gw.region.example").await;
        good.expect("its server answers");
        let time = start.elapsed();
        assert!(time < Duration::from_secs(1), "{time:?}");
    });
    runtime.shutdown_background();
}
