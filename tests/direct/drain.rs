//! How the gateway starts, and how signals end it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use wardgate_tests::stream::{Ending, accept, connect, ending, expect_noise, send_noise};
use wardgate_tests::tls::TLS13;
use wardgate_tests::{DEADLINE, Gateway, Pki, Program, http, until};

use crate::pair::{Pair, Terminate, Through, local, originate};

#[test]
fn one_line_reports_ready_with_routes_cores_and_version() {
    let pki = Pki::new();
    let gateway = originate(&pki, local(), local())
        .originate(local(), local(), &["dns:gw.c.example"])
        .gateway("cores", "[0]")
        .start();
    let lines = gateway.lines();
    let ready: Vec<_> = lines.iter().filter(|l| l.message() == "ready").collect();
    assert_eq!(ready.len(), 1, "{lines:#?}");
    assert_eq!(ready[0].number("routes"), 2);
    assert_eq!(ready[0].text("cores"), "0");
    assert_eq!(ready[0].text("service.version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(ready[0].text("level"), "INFO");
    gateway.stop();
}

#[test]
fn sigterm_lets_open_connections_end_and_refuses_new_ones() {
    let pair = Pair::start("tcp");
    let (mut client, mut server) = pair.join();
    for gateway in [&pair.a, &pair.b] {
        gateway.process().signal(Signal::TERM);
        wait_for_draining(gateway);
    }
    wait_until_refused(pair.entry);
    send_noise(&mut client, 1, 1 << 20);
    client.shutdown(Shutdown::Write).expect("it is connected");
    expect_noise(&mut server, 1, 1 << 20);
    assert_eq!(ending(&mut server), (0, Ending::Orderly));
    send_noise(&mut server, 2, 1000);
    drop(server);
    expect_noise(&mut client, 2, 1000);
    assert_eq!(ending(&mut client), (0, Ending::Orderly));
    for gateway in [pair.a, pair.b] {
        let line = &gateway.wait_for_connections(1)[0];
        assert_eq!(line.text("reason"), "complete", "{line:?}");
        let (status, output) = gateway.wait(DEADLINE);
        assert_eq!(status.code(), Some(0), "{output}");
    }
}

#[test]
fn drain_deadline_resets_open_connections_and_logs_it() {
    let through = Through::with(|site| site.timeout("drain", "\"300ms\""));
    let (mut client, mut server) = through.join();
    send_noise(&mut client, 1, 100);
    expect_noise(&mut server, 1, 100);
    through.gateway.process().signal(Signal::TERM);
    assert_eq!(ending(&mut client), (0, Ending::Reset));
    assert_eq!(ending(&mut server), (0, Ending::Reset));
    let line = &through.gateway.wait_for_connections(1)[0];
    assert_eq!(line.text("reason"), "drain deadline passed");
    assert_eq!(line.text("ended_by"), "gateway");
    assert_eq!(line.number("sealed_bytes"), 100);
    let (status, output) = through.gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("1 connections did not end in time"));
}

#[test]
fn second_sigterm_ends_at_once() {
    let through = Through::start();
    let (mut client, _server) = through.join();
    end_twice(through.gateway, Duration::from_secs(4));
    assert_eq!(ending(&mut client), (0, Ending::Reset));
}

/// A connection that waits for its first message has nothing outstanding.
#[test]
fn sigterm_cleanly_ends_a_connection_that_has_not_begun() {
    let pki = Pki::new();
    let entry = local();
    let gateway = originate(&pki, entry, local())
        .route_timeout("first_byte", "\"5min\"")
        .start();
    let mut client = connect(entry);
    wait_for_open(&gateway, 1.0);
    gateway.process().signal(Signal::TERM);
    assert_eq!(ending(&mut client), (0, Ending::Orderly));
    let (status, output) = gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{output}");
}

#[test]
fn sigterm_cleanly_ends_a_tls_peer_that_has_not_begun() {
    let terminate = Terminate::with(|site| site.route_timeout("first_byte", "\"5min\""));
    let mut peer = terminate.greeted(TLS13);
    terminate.gateway.process().signal(Signal::TERM);
    assert_eq!(ending(&mut peer), (0, Ending::Orderly));
    let (status, output) = terminate.gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{output}");
}

pub(crate) const MESSAGE: &[u8] =
    b"\x0bMSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\rEVN|A01\r\x1c\r";
pub(crate) const ANSWER: &[u8] = b"\x0bMSH|^~\\&|C|D|A|B|20260101||ACK|1|P|2.5\rMSA|AA|1\r\x1c\r";
const AT_REST: &str = "closed with nothing outstanding, because the route is draining";

pub(crate) fn pass(from: &mut TcpStream, to: &mut TcpStream, frame: &[u8]) {
    from.write_all(frame).expect("it is connected");
    let mut heard = vec![0; frame.len()];
    to.read_exact(&mut heard).expect("all arrives");
    assert_eq!(heard, frame);
}

#[test]
fn sigterm_ends_an_mllp_connection_between_messages_at_once_and_cleanly() {
    for end_the_first in [true, false] {
        let pair = Pair::start("mllp");
        let mut client = connect(pair.entry);
        client.write_all(MESSAGE).expect("it is connected");
        let mut server = accept(&pair.exit);
        let mut heard = vec![0; MESSAGE.len()];
        server.read_exact(&mut heard).expect("all arrives");
        pass(&mut server, &mut client, ANSWER);
        let gateway = if end_the_first { pair.a } else { pair.b };
        let start = Instant::now();
        gateway.process().signal(Signal::TERM);
        assert_eq!(ending(&mut client), (0, Ending::Orderly));
        assert_eq!(ending(&mut server), (0, Ending::Orderly));
        let line = &gateway.wait_for_connections(1)[0];
        assert_eq!(line.text("reason"), AT_REST, "{line:?}");
        let (status, output) = gateway.wait(DEADLINE);
        assert_eq!(status.code(), Some(0), "{output}");
        let took = start.elapsed();
        assert!(took < Duration::from_secs(4), "{took:?}\n{output}");
    }
}

#[test]
fn sigterm_waits_for_the_acknowledgement_of_an_mllp_message() {
    let pair = Pair::start("mllp");
    let mut client = connect(pair.entry);
    client.write_all(MESSAGE).expect("it is connected");
    let mut server = accept(&pair.exit);
    let mut heard = vec![0; MESSAGE.len()];
    server.read_exact(&mut heard).expect("all arrives");
    pair.a.process().signal(Signal::TERM);
    wait_for_draining(&pair.a);
    std::thread::sleep(Duration::from_millis(300));
    pass(&mut server, &mut client, ANSWER);
    assert_eq!(ending(&mut client), (0, Ending::Orderly));
    assert_eq!(ending(&mut server), (0, Ending::Orderly));
    let (status, output) = pair.a.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains(AT_REST), "{output}");
}

/// After an upgrade, the earlier process has such connections: their clients connected a moment before.
#[test]
fn a_client_that_connected_just_before_the_drain_is_still_served() {
    let pair = Pair::start("mllp");
    let mut client = connect(pair.entry);
    wait_for_open(&pair.a, 1.0);
    pair.a.process().signal(Signal::TERM);
    wait_for_draining(&pair.a);
    client.write_all(MESSAGE).expect("it is connected");
    let mut server = accept(&pair.exit);
    let mut heard = vec![0; MESSAGE.len()];
    server.read_exact(&mut heard).expect("all arrives");
    pass(&mut server, &mut client, ANSWER);
    assert_eq!(ending(&mut client), (0, Ending::Orderly));
}

#[test]
fn a_tls_peer_whose_handshake_ended_just_before_the_drain_is_still_served() {
    let terminate = Terminate::with(|site| site.protocol("mllp"));
    let mut peer = terminate.greeted(TLS13);
    terminate
        .gateway
        .wait_for_line("the peer is accepted", DEADLINE, |line| {
            line.message() == "accepted"
        });
    terminate.gateway.process().signal(Signal::TERM);
    wait_for_draining(&terminate.gateway);
    peer.write_all(MESSAGE).expect("it is connected");
    let mut server = accept(&terminate.exit);
    let mut heard = vec![0; MESSAGE.len()];
    server.read_exact(&mut heard).expect("all arrives");
}

/// A handshake ends at its own deadline, which is seconds; the process waits no longer than that.
#[test]
fn second_sigterm_waits_for_a_handshake_until_its_deadline() {
    let terminate = Terminate::with(|site| site.timeout("handshake", "\"2s\""));
    let mut client = connect(terminate.entry);
    wait_for_open(&terminate.gateway, 1.0);
    end_twice(terminate.gateway, DEADLINE / 2);
    assert_eq!(ending(&mut client), (0, Ending::Reset));
}

#[test]
fn sigint_drains_as_well() {
    let through = Through::start();
    through.gateway.process().signal(Signal::INT);
    let (status, output) = through.gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{output}");
}

#[test]
fn sighup_reloads_and_does_not_end_the_process() {
    let through = Through::start();
    through.gateway.process().signal(Signal::HUP);
    through.gateway.wait_for_line("SIGHUP", DEADLINE, |line| {
        line.message() == "SIGHUP: reload: the configuration is in use; no route changed"
    });
    let (mut client, mut server) = through.join();
    client.write_all(b"still there").expect("it is connected");
    let mut heard = [0; 11];
    server.read_exact(&mut heard).expect("all arrives");
    assert_eq!(&heard, b"still there");
    drop((client, server));
    through.gateway.stop();
}

#[test]
fn readiness_is_gone_while_draining_and_health_is_not() {
    let through = Through::start();
    let (client, server) = through.join();
    let metrics = through.gateway.metrics_address();
    assert_eq!(http::get(metrics, "/readyz").text(), "ready\n");
    through.gateway.process().signal(Signal::TERM);
    wait_for_draining(&through.gateway);
    let answer = http::get(metrics, "/readyz");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(http::get(metrics, "/healthz").status, 200);
    assert_eq!(http::get(metrics, "/metrics").status, 200);
    drop((client, server));
    let (status, output) = through.gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{output}");
}

#[test]
fn a_stop_with_a_delay_is_reported_while_new_clients_are_still_served() {
    let through = Through::with(|site| site.timeout("drain_delay", "\"5s\""));
    let metrics = through.gateway.metrics_address();
    through.gateway.process().signal(Signal::TERM);
    wait_until_not_ready(metrics);
    assert_eq!(http::get(metrics, "/routez").status, 503);
    let (mut client, mut server) = through.join();
    send_noise(&mut client, 1, 100);
    expect_noise(&mut server, 1, 100);
    let refused = through.gateway.command(&["reload"]).run().expect_failure();
    assert!(refused.text().contains("is stopping"), "{refused}");
    wait_for_draining(&through.gateway);
    wait_until_refused(through.entry);
    drop((client, server));
    let (status, output) = through.gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{output}");
}

#[test]
fn a_second_signal_ends_the_delay_and_open_connections() {
    let through = Through::with(|site| site.timeout("drain_delay", "\"5min\""));
    let (mut client, _server) = through.join();
    send_noise(&mut client, 1, 100);
    let metrics = through.gateway.metrics_address();
    through.gateway.process().signal(Signal::TERM);
    wait_until_not_ready(metrics);
    through.gateway.process().signal(Signal::TERM);
    let (status, output) = through.gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{output}");
    assert_eq!(ending(&mut client), (0, Ending::Reset));
}

#[test]
fn an_announced_drain_can_be_undone_and_otherwise_begins() {
    let through = Through::with(|site| site.timeout("drain_delay", "\"30s\""));
    let metrics = through.gateway.metrics_address();
    let run = |arguments: &[&str]| through.gateway.command(arguments).run().expect_success();
    let text = run(&["drain"]).text();
    assert!(text.contains("after 30 s (drain_delay)"), "{text}");
    assert_eq!(http::get(metrics, "/readyz").status, 503);
    assert!(run(&["status"]).text().contains("leaving"));
    drop(through.join());
    run(&["drain", "--undo"]);
    assert_eq!(http::get(metrics, "/readyz").status, 200);
    assert_eq!(http::get(metrics, "/routez").status, 200);
    let file = through.gateway.config();
    let text = std::fs::read_to_string(&file).expect("our folder");
    let soon = text.replace("drain_delay = \"30s\"", "drain_delay = \"1s\"");
    std::fs::write(&file, soon).expect("our folder");
    run(&["reload"]);
    let text = run(&["drain"]).text();
    assert!(text.contains("after 1 s (drain_delay)"), "{text}");
    until("the drain begins", DEADLINE, || {
        let text = http::get(metrics, "/routez").text();
        text.contains("accepts no new connections").then_some(())
    });
    wait_until_refused(through.entry);
    assert_eq!(http::get(metrics, "/readyz").status, 503);
    run(&["drain", "--undo"]);
    drop(through.join());
    through.gateway.stop();
}

fn wait_until_not_ready(metrics: SocketAddr) {
    until("the gateway is not ready", DEADLINE, || {
        (http::get(metrics, "/readyz").status == 503).then_some(())
    });
}

/// Without the second signal, the drain would last 5 minutes.
fn end_twice(gateway: Gateway, limit: Duration) {
    gateway.process().signal(Signal::TERM);
    wait_for_draining(&gateway);
    let start = Instant::now();
    gateway.process().signal(Signal::TERM);
    let (status, output) = gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{output}");
    let took = start.elapsed();
    assert!(took < limit, "it took {took:?}\n{output}");
}

fn wait_for_draining(gateway: &Gateway) {
    gateway.wait_for_line("draining", DEADLINE, |line| {
        line.message().starts_with("draining: 1 connections")
    });
}

fn wait_for_open(gateway: &Gateway, count: f64) {
    until("the connection is counted", DEADLINE, || {
        (gateway.metric("wardgate_connections_open") >= count).then_some(())
    });
}

fn wait_until_refused(to: SocketAddr) {
    until("new connections are refused", DEADLINE, || {
        let error = TcpStream::connect_timeout(&to, DEADLINE).err()?;
        (error.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
}

/// Each of these ends a process that does not handle it.
const MEANINGLESS: [(Signal, &str); 7] = [
    (Signal::USR1, "SIGUSR1"),
    (Signal::USR2, "SIGUSR2"),
    (Signal::ALARM, "SIGALRM"),
    (Signal::VTALARM, "SIGVTALRM"),
    (Signal::PROF, "SIGPROF"),
    (Signal::IO, "SIGIO"),
    (Signal::POWER, "SIGPWR"),
];

#[test]
fn signals_in_quick_succession_end_nothing() {
    let through = Through::start();
    let (mut client, mut server) = through.join();
    // While one signal is handled in the main thread, the next ones arrive in others.
    for _ in 0..2_000 {
        for (signal, _) in MEANINGLESS {
            through.gateway.process().signal(signal);
        }
    }
    send_noise(&mut client, 1, 1000);
    expect_noise(&mut server, 1, 1000);
    drop((client, server));
    through.gateway.stop();
}

#[test]
fn signals_that_mean_nothing_are_ignored_with_one_line_each() {
    let through = Through::start();
    let (mut client, mut server) = through.join();
    let id = through.gateway.process().id();
    let real_time = format!("kill -34 {id}; kill -64 {id}");
    let kill = Program::new("sh").args(["-c", &real_time]);
    kill.run().expect_success();
    for number in [34, 64] {
        let line = format!("real-time signal {number} is ignored");
        through
            .gateway
            .wait_for_line(&line, DEADLINE, |found| found.message().contains(&line));
    }
    for _ in 0..3 {
        for (signal, name) in MEANINGLESS {
            through.gateway.process().signal(signal);
            until(&format!("{name} is logged"), DEADLINE, || {
                let output = through.gateway.output();
                output.contains(&format!("{name} is ignored")).then_some(())
            });
        }
    }
    send_noise(&mut client, 1, 1000);
    expect_noise(&mut server, 1, 1000);
    through.gateway.process().signal(Signal::TERM);
    drop((client, server));
    let (status, output) = through.gateway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{output}");
    for (_, name) in MEANINGLESS {
        let lines = output.matches(&format!("{name} is ignored")).count();
        assert_eq!(lines, 1, "{output}");
    }
}
