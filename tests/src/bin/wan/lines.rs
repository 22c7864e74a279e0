//! Lines over which a transfer must complete, or be visibly broken at both ends.

use std::ops::Sub;
use std::thread;
use std::time::{Duration, Instant};

use gateway::config::Timeouts;
use wardgate_tests::stream::{Ending, Noise, ending};

use crate::Scale;
use crate::lateness::Lateness;
use crate::path::{Counters, Network, Place, WanLine};
use crate::silence::{send_for_ever, timeouts};
use crate::sites::{Route, Sites, exchange, payloads, receive, round_trip, send};

/// How a line disturbs, and how a scenario sees that it did.
struct Disturbance {
    name: &'static str,
    /// Properties of netem in each direction.
    netem: &'static str,
    /// The shortest time of a byte and its answer.
    round_trip: Duration,
    /// Which count of the kernels at both sites must have grown.
    seen: fn(Counters) -> u64,
}

const NOTHING: fn(Counters) -> u64 = |_| 1;

const DISTURBANCES: [Disturbance; 6] = [
    Disturbance {
        name: "20 ms",
        netem: "delay 10ms",
        round_trip: Duration::from_millis(20),
        seen: NOTHING,
    },
    Disturbance {
        name: "80 ms",
        netem: "delay 40ms",
        round_trip: Duration::from_millis(80),
        seen: NOTHING,
    },
    Disturbance {
        name: "20 ms, loss of 1 %",
        netem: "delay 10ms loss 1%",
        round_trip: Duration::from_millis(20),
        seen: |counters| counters.retransmitted,
    },
    Disturbance {
        name: "20 ms, reordering",
        netem: "delay 10ms reorder 75% 50%",
        round_trip: Duration::ZERO,
        seen: |counters| counters.out_of_order,
    },
    Disturbance {
        name: "20 ms, duplication of 5 %",
        netem: "delay 10ms duplicate 5%",
        round_trip: Duration::from_millis(20),
        seen: |counters| counters.duplicates,
    },
    Disturbance {
        name: "20 ms, 20 Mbit/s, queue of 20 packets",
        netem: "delay 10ms rate 20mbit limit 20",
        round_trip: Duration::from_millis(20),
        seen: |counters| counters.retransmitted,
    },
];

impl Sub for Counters {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            retransmitted: self.retransmitted - before.retransmitted,
            out_of_order: self.out_of_order - before.out_of_order,
            duplicates: self.duplicates - before.duplicates,
        }
    }
}

/// The `user` of the route over which large packets do not pass for ever; the other routes have the default.
const USER: Duration = Duration::from_secs(30);
/// An application may be notified so much later than stated, and by the lateness of the machine more: segments are sent,
/// and sent again, before `user` counts.
const LATE_MAX: Duration = Duration::from_secs(2);

/// What these scenarios need: one line and route for each. They take turns, because they read or set what all lines
/// share.
pub(crate) fn routes(network: &Network, scale: Scale) -> Vec<Route<'_>> {
    let [disturbed, not_probed, probed] = [0, 1, 2].map(|line| network.line(line));
    vec![
        Route::new(disturbed, Vec::new()),
        Route::new(not_probed, timeouts(scale, Some(USER))),
        Route::new(probed, Vec::new()),
    ]
}

/// Every disturbance, one after the other.
pub(crate) fn completes(network: &Network, sites: &Sites<'_>, scale: Scale) -> String {
    let bytes = match scale {
        Scale::Short => 400_000,
        Scale::Full => 10_000_000,
    };
    let payloads = payloads(bytes);
    let lines = DISTURBANCES.map(|disturbance| {
        network.line(0).netem(disturbance.netem);
        let transfer = || {
            let before = network.counters();
            let connection = sites.connection(0);
            let there_and_back = round_trip(&connection);
            assert!(
                there_and_back >= disturbance.round_trip,
                "{}: not delayed, {there_and_back:?}",
                disturbance.name
            );
            let took = exchange(&connection, &payloads);
            (took, network.counters() - before)
        };
        // Netem disturbs by chance: in one of some hundred transfers, it loses none of the packets.
        let mut transfers = (0..5).map(|_| transfer());
        let disturbed = transfers.find(|(_, counters)| (disturbance.seen)(*counters) > 0);
        let (took, counters) =
            disturbed.unwrap_or_else(|| panic!("{}: never disturbed", disturbance.name));
        format!(
            "| {} | {took:.2?} | {} | {} | {} |",
            disturbance.name, counters.retransmitted, counters.out_of_order, counters.duplicates
        )
    });
    println!(
        "| {bytes} bytes each way, complete | time | segments sent again | out of order | received twice |\n\
         |---|---|---|---|---|\n{}",
        lines.join("\n")
    );
    format!("{} lines", lines.len())
}

/// MTU 1280 with ICMP lost, after the connection was opened, and kernels that do not probe for the size: nothing
/// large arrives.
pub(crate) fn mtu_not_probed(network: &Network, sites: &Sites<'_>, scale: Scale) -> String {
    set_probing(network, "0");
    network.line(1).netem("delay 5ms");
    let [mut client, mut server] = sites.connection(1);
    network.line(1).black_hole("1280");
    let lateness = Lateness::measure();
    let start = Instant::now();
    let sender = thread::spawn(move || send_for_ever(&mut client));
    let receiver = thread::spawn(move || {
        let (_, end) = ending(&mut server);
        assert_eq!(end, Ending::Reset, "the receiving application is notified");
        Instant::now()
    });
    let [sender, receiver] = [sender, receiver].map(|thread| {
        let notified = thread.join().expect("it is notified");
        notified.duration_since(start)
    });
    // Small packets pass: the receiving gateway's probe finds that the sending one has given up.
    let (user, late) = (scale.of(USER), LATE_MAX + lateness.total());
    let next_probe = user + scale.of(Timeouts::default().keepalive.idle);
    assert!(
        sender >= user && sender <= user + late && receiver <= next_probe + late,
        "sender {sender:?}, receiver {receiver:?}, late {late:?}"
    );
    format!(
        "with `user` = {user:.0?} the sender was notified after {sender:.1?}, the receiver after {receiver:.1?} (stated: \
         {next_probe:.0?} at most)"
    )
}

/// The same with kernels that probe.
pub(crate) fn mtu_probed(network: &Network, sites: &Sites<'_>, scale: Scale) -> String {
    set_probing(network, "1");
    network.line(2).netem("delay 5ms");
    let bytes = match scale {
        Scale::Short => 200_000,
        Scale::Full => 10_000_000,
    };
    let connection = sites.connection(2);
    round_trip(&connection);
    network.line(2).black_hole("1280");
    let took = exchange(&connection, &payloads(bytes));
    format!("{bytes} bytes each way, complete after {took:.1?}")
}

fn set_probing(network: &Network, value: &str) {
    for place in [Place::A, Place::B] {
        network.set(place, "tcp_mtu_probing", value);
    }
}

/// The link of a route is down for 10 s while bytes are on their way.
pub(crate) fn down_and_up(
    line: WanLine<'_>,
    sites: &Sites<'_>,
    route: u16,
    scale: Scale,
) -> String {
    const DOWN: Duration = Duration::from_secs(10);
    // Slow enough that the link goes down in mid-transfer.
    line.netem("delay 5ms rate 2mbit");
    let rounds = match scale {
        Scale::Short => 1,
        Scale::Full => 5,
    };
    let times = (0..rounds).map(|round| {
        let connection = sites.connection(route);
        round_trip(&connection);
        let [client, server] = connection;
        let bytes = Noise::new(round).take(600_000);
        let start = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| send(&client, &bytes));
            let receiver = scope.spawn(|| receive(&server, &bytes));
            thread::sleep(Duration::from_millis(300));
            line.set_link("down");
            thread::sleep(DOWN);
            assert!(!receiver.is_finished(), "the link was not down");
            line.set_link("up");
        });
        format!("{:.1?}", start.elapsed())
    });
    let times: Vec<_> = times.collect();
    format!("600000 bytes, complete after {}", times.join(", "))
}
