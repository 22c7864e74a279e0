//! Losses that no packet announces, and the times after which the applications are notified.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gateway::config::Timeouts;
use wardgate_tests::Line;
use wardgate_tests::stream::{Ending, ending};

use crate::Scale;
use crate::lateness::Lateness;
use crate::path::{Network, Place, WanLine};
use crate::sites::{Route, RouteTimeouts, Sites, round_trip};

/// An application may be notified so much later than stated, and by the lateness of the machine more.
const LATE_MAX: Duration = Duration::from_secs(2);
/// The kernel rounds a timer up by at most this part of its time (kernel/time/timer.c, "granularity"), which is more than
/// `LATE_MAX` for the default timeouts.
const ROUNDED_UP_BY: u32 = 8;
/// What the log states for a silent loss.
const SILENCE: &str = "the other end stopped answering";
/// The `user` of the second route; the first has the default.
const USER: Duration = Duration::from_secs(30);

/// The default keepalive with the default `user`, or with `user`, at this scale.
pub(crate) fn timeouts(scale: Scale, user: Option<Duration>) -> RouteTimeouts {
    let defaults = Timeouts::default();
    if scale == Scale::Full {
        let user = user.map(|user| ("user", seconds(user)));
        return user.into_iter().collect();
    }
    let keepalive = format!(
        "{{ idle = {}, interval = {} }}",
        seconds(scale.of(defaults.keepalive.idle)),
        seconds(scale.of(defaults.keepalive.interval)),
    );
    let user = scale.of(user.unwrap_or(defaults.user));
    vec![("user", seconds(user)), ("keepalive", keepalive)]
}

fn seconds(time: Duration) -> String {
    format!("\"{}s\"", time.as_secs())
}

/// When keepalive finds a silence, as the guide states it: at the first probe that is due after `user`, if a probe
/// before it is unanswered.
fn found(scale: Scale, user: Option<Duration>) -> Duration {
    let defaults = Timeouts::default();
    let [idle, interval] =
        [defaults.keepalive.idle, defaults.keepalive.interval].map(|time| scale.of(time));
    let user = scale.of(user.unwrap_or(defaults.user));
    let mut probe = idle + interval;
    while probe < user {
        probe += interval;
    }
    probe
}

/// A loss that was measured.
struct Loss {
    what: &'static str,
    stated: Duration,
    /// From before the last packets.
    at_most: Duration,
    /// From after the loss.
    at_least: Duration,
}

impl Loss {
    fn new(what: &'static str, stated: Duration, silence: &Silence, notified: Instant) -> Self {
        Self {
            what,
            stated,
            at_most: notified.duration_since(silence.last_packets),
            at_least: notified.duration_since(silence.start),
        }
    }

    fn latest(&self) -> Duration {
        self.stated + LATE_MAX.max(self.stated / ROUNDED_UP_BY)
    }
}

/// The time of a loss.
struct Silence {
    last_packets: Instant,
    start: Instant,
    lateness: Lateness,
}

fn report(silence: &Silence, losses: &[Loss]) -> String {
    let late = silence.lateness.total();
    let lines = losses.iter().map(|loss| {
        let (what, stated, least, most) = (loss.what, loss.stated, loss.at_least, loss.at_most);
        format!("| {what} | {stated:.0?} | {least:.1?} to {most:.1?} |\n")
    });
    print!(
        "| silent loss (machine late by {late:.1?}) | stated | the application was notified after |\n|---|---|---|\n{}",
        lines.collect::<String>()
    );
    for loss in losses {
        assert!(
            loss.at_most >= loss.stated && loss.at_least <= loss.latest() + late,
            "{}: notified after {:.1?} to {:.1?}, but the guide states {:?}; the machine was late by {late:.1?}",
            loss.what,
            loss.at_least,
            loss.at_most,
            loss.stated
        );
    }
    format!("{} losses", losses.len())
}

/// The routes of these scenarios: over a line that will be lost, with the default `user` and a shorter one, and over
/// one that stays, for clients and servers on machines of their own.
pub(crate) fn routes<'a>(lost: WanLine<'a>, kept: WanLine<'a>, scale: Scale) -> [Route<'a>; 4] {
    let [client, server] = [0, 1].map(|_| Route::new(kept, timeouts(scale, None)));
    [
        Route::new(lost, timeouts(scale, None)),
        Route::new(lost, timeouts(scale, Some(USER))),
        Route {
            client: Place::Client,
            ..client
        },
        Route {
            server: Place::Archive,
            ..server
        },
    ]
}

/// The WAN of two routes, from `first` on, is gone: on each, one connection that is silent and one in
/// mid-transfer.
pub(crate) fn wan_lost(line: WanLine<'_>, sites: &Sites<'_>, first: u16, scale: Scale) -> String {
    // Slow enough that the line is lost in mid-transfer. The queue holds 0.1 s: the sender is notified after `user` and the
    // kernel's time for the first retransmission, which grows with the queue.
    line.netem("delay 5ms rate 5mbit limit 50");
    let [default, shorter] = [first, first + 1].map(|route| sites.connection(route));
    let last_packets = Instant::now();
    for connection in [&default, &shorter] {
        round_trip(connection);
    }
    // The acknowledgement of the last byte must not wait behind the transfers: a byte that is not acknowledged is given up
    // after `user`.
    thread::sleep(Duration::from_millis(100));
    let [moving, moving_shorter] = [first, first + 1].map(|route| in_transfer(sites, route));
    line.netem("loss 100%");
    let silence = Silence {
        last_packets,
        start: Instant::now(),
        lateness: Lateness::measure(),
    };
    let [client, server_of_silent] = default.map(reset_of);
    let [client_shorter, server_shorter] = shorter.map(reset_of);
    let [receiver, receiver_shorter] = [moving.1, moving_shorter.1].map(reset_of);
    let (found_default, found_shorter) = (found(scale, None), found(scale, Some(USER)));
    let user = scale.of(Timeouts::default().user);
    let losses = [
        ("the line, silent: the client", found_default, client),
        (
            "the line, silent: the server",
            found_default,
            server_of_silent,
        ),
        (
            "the line, silent, shorter `user`: the client",
            found_shorter,
            client_shorter,
        ),
        (
            "the line, silent, shorter `user`: the server",
            found_shorter,
            server_shorter,
        ),
        ("the line, in mid-transfer: the sender", user, moving.0),
        (
            "the line, in mid-transfer: the receiver",
            found_default,
            receiver,
        ),
        (
            "the line, in mid-transfer, shorter `user`: the sender",
            scale.of(USER),
            moving_shorter.0,
        ),
        (
            "the line, in mid-transfer, shorter `user`: the receiver",
            found_shorter,
            receiver_shorter,
        ),
    ]
    .map(|(what, stated, thread)| {
        let notified = thread.join().expect("a reset");
        Loss::new(what, stated, &silence, notified)
    });
    let report = report(&silence, &losses);
    for gateway in sites.gateways().iter() {
        let reasons = || {
            let lines = gateway.connections();
            let ours = lines.iter().filter(|line| is_of(line, first..first + 2));
            ours.map(|line| line.text("reason").to_owned())
                .collect::<Vec<_>>()
        };
        let what = "all four connections are logged";
        let wait = LATE_MAX + silence.lateness.total();
        let all = || Some(reasons()).filter(|all| all.len() == 4);
        for reason in wardgate_tests::until(what, wait, all) {
            assert!(reason.contains(SILENCE), "{reason}");
        }
    }
    report
}

/// A connection whose client sends and sends, and its server, which has stopped reading.
fn in_transfer(sites: &Sites<'_>, route: u16) -> (JoinHandle<Instant>, TcpStream) {
    let [mut client, mut server] = sites.connection(route);
    let sender = thread::spawn(move || send_for_ever(&mut client));
    server.read_exact(&mut [0; 50_000]).expect("they arrive");
    (sender, server)
}

fn is_of(line: &Line, routes: Range<u16>) -> bool {
    let route = line.text("route").parse();
    route.is_ok_and(|route| routes.contains(&route))
}

/// The machine of the client or of the archive of a route is gone: its gateway finds that, and the other gateway
/// notifies the application at the other site.
pub(crate) fn lan_lost(
    network: &Network,
    sites: &Sites<'_>,
    route: u16,
    place: Place,
    scale: Scale,
) -> String {
    let connection = sites.connection(route);
    let last_packets = Instant::now();
    round_trip(&connection);
    network.lose_lan(place);
    let silence = Silence {
        last_packets,
        start: Instant::now(),
        lateness: Lateness::measure(),
    };
    let [client, server] = connection;
    // The lost one stays open until the end.
    let (what, other, _lost) = match place {
        Place::Client => ("the client's machine, silent: the archive", server, client),
        _ => ("the archive's machine, silent: the client", client, server),
    };
    let notified = reset_of(other).join().expect("a reset");
    let loss = Loss::new(what, found(scale, None), &silence, notified);
    report(&silence, &[loss])
}

/// When the application at this socket sees a reset.
fn reset_of(mut socket: TcpStream) -> JoinHandle<Instant> {
    thread::spawn(move || {
        let (_, end) = ending(&mut socket);
        assert_eq!(end, Ending::Reset, "an application is notified");
        Instant::now()
    })
}

/// Sends until the application is notified that it is in vain; returns when that is.
pub(crate) fn send_for_ever(socket: &mut TcpStream) -> Instant {
    let bytes = vec![7; 50_000];
    while socket.write_all(&bytes).is_ok() {}
    Instant::now()
}
