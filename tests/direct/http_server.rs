//! The metrics server against clients that are slow, stuck or hostile, and what it answers about routes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use wardgate_tests::http;
use wardgate_tests::stream::{connect, expect_noise, send_noise};
use wardgate_tests::{DEADLINE, one_good_round, until};

use crate::pair::{Through, local};

const HOST: &str = "Host: wardgate\r\n";
/// Routes of a gateway whose answers are large; the web page shows 64.
const ROUTES: usize = 80;

/// Sends bytes and reads until the server closes; returns the status lines of all answers.
fn statuses(to: SocketAddr, bytes: &[u8]) -> Vec<u16> {
    let mut stream = connect(to);
    // The server may have answered and closed before all bytes are sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let lines = text.lines().filter_map(|line| line.strip_prefix("HTTP/1."));
    lines
        .map(|line| line[2..5].parse().expect("a status has three digits"))
        .collect()
}

/// Requests that a proxy in front could read in another way than this server, and requests that are too large. Each
/// gets one answer, and the bytes that follow are no request.
#[test]
fn smuggled_and_oversized_requests_are_refused_counted_and_logged_once() {
    let through = Through::start();
    let metrics = through.gateway.metrics_address();
    let second = format!("GET /readyz HTTP/1.1\r\n{HOST}\r\n");
    let with = |fields: &str, rest: &str| {
        format!("GET /healthz HTTP/1.1\r\n{HOST}{fields}\r\n{rest}{second}").into_bytes()
    };
    let long = "a".repeat(10_000_000);
    let many: String = (0..200).map(|at| format!("X-{at}: a\r\n")).collect();
    let cases = [
        (
            400,
            with(
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
        ),
        (400, with("Transfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        (400, with("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
        (400, with("Transfer-Encoding : chunked\r\n", "0\r\n\r\n")),
        (
            400,
            with("Content-Length: 0\r\nContent-Length: 5\r\n", "abcde"),
        ),
        (400, with("Content-Length: 5\r\n", "abcde")),
        (400, with("Content-Length: +5\r\n", "abcde")),
        (400, with(HOST, "")),
        (400, with("X: a\r\n folded\r\n", "")),
        (
            400,
            with("X: a\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        (400, with("X: a\rb\r\n", "")),
        (400, with("X: a\0b\r\n", "")),
        (400, b"GET /healthz HTTP/1.1\nHost: wardgate\n\n".to_vec()),
        (400, b"GET /healthz HTTP/1.1\r\n\r\n".to_vec()),
        (400, b"GET  /healthz HTTP/1.1\r\n\r\n".to_vec()),
        (
            405,
            format!("POST /metrics HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nabcde{second}")
                .into_bytes(),
        ),
        (431, with(&format!("X: {long}\r\n"), "")),
        (431, with(&many, "")),
    ];
    for (status, request) in &cases {
        let shown = String::from_utf8_lossy(&request[..request.len().min(120)]).into_owned();
        let start = Instant::now();
        let found = statuses(metrics, request);
        // A reset may overtake the answer to a client that sends megabytes more.
        let is_reset = *status == 431 && found.is_empty();
        assert!(found == [*status] || is_reset, "{found:?}: {shown:?}");
        assert!(start.elapsed() < Duration::from_secs(3), "{shown:?}");
    }
    let refused = through.gateway.metric("wardgate_http_refused_total") as usize;
    // The method is answered, not refused.
    assert_eq!(refused, cases.len() - 1);
    for kind in ["with a body", "not HTTP/1.1", "a header of more than"] {
        let count = || {
            let output = through.gateway.output();
            let lines = output
                .lines()
                .filter(|line| line.contains("metrics server"));
            lines.filter(|line| line.contains(kind)).count()
        };
        until(kind, DEADLINE, || (count() > 0).then_some(()));
        assert_eq!(count(), 1, "{kind}");
    }
}

/// A browser or Prometheus asks several times over one connection.
#[test]
fn connection_stays_open_for_further_requests_and_closes_when_idle() {
    let through = Through::start();
    let mut stream = connect(through.gateway.metrics_address());
    let mut start = Instant::now();
    for path in ["/healthz", "/metrics", "/readyz"] {
        start = Instant::now();
        let request =
            format!("GET {path} HTTP/1.1\r\n{HOST}Accept: application/openmetrics-text\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it is open");
        let head = head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.expect("it has a length").parse().expect("a number");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).expect("the body is whole");
        if path == "/metrics" {
            assert!(
                head.contains("application/openmetrics-text; version=1.0.0; charset=utf-8"),
                "{head}"
            );
        }
    }
    assert_eq!(stream.read(&mut [0]).expect("it closes"), 0);
    // It is idle since the last answer, for 5 s. The end comes before the time limit of the read.
    let idle = start.elapsed();
    assert!(idle >= Duration::from_secs(4), "{idle:?}");
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("the header is whole");
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Three clients stop at the same time: in the header of a request, in the answer, and in the events of the web page.
#[test]
fn stuck_clients_are_disconnected_in_time_counted_and_logged_once() {
    // With so many routes, neither the metrics nor the first event fit into the buffers of both sockets.
    let through = Through::with(|site| {
        let target = local();
        let site = (0..ROUTES).fold(site, |site, _| site.passthrough(local(), target));
        site.gateway("web", "true")
    });
    let metrics = through.gateway.metrics_address();
    let start = Instant::now();
    let mut half = connect(metrics);
    half.write_all(b"GET /metrics HTTP/1.1\r\nHost: ward")
        .expect("it is open");
    let stuck = ["/metrics", "/events"].map(|path| {
        let mut stream = connect(metrics);
        let is_set = SockRef::from(&stream).set_recv_buffer_size(4096);
        is_set.expect("it is a socket");
        let host = "Host: localhost\r\n";
        let request = format!("GET {path} HTTP/1.1\r\n{host}\r\n");
        stream.write_all(request.as_bytes()).expect("it is open");
        stream
    });
    assert_eq!(half.read(&mut [0]).expect("it closes"), 0);
    // After 500 ms, and before the other deadline has passed.
    let took = start.elapsed();
    assert!((400..4_500).contains(&took.as_millis()), "{took:?}");
    let refused = |reason: &str, count: u32| {
        let row = format!("wardgate_http_refused_total{{reason=\"{reason}\"}} {count}\n");
        through.gateway.metrics().contains(&row)
    };
    assert!(refused("header_deadline", 1) && refused("deadline", 0));
    // The limit, and the interval of the look at an endless answer.
    thread::sleep(Duration::from_secs(5).saturating_sub(start.elapsed()));
    until("both are disconnected", DEADLINE, || {
        thread::sleep(Duration::from_millis(200));
        refused("deadline", 2).then_some(())
    });
    drop(stuck);
    let output = through.gateway.output();
    for kind in [
        "did not send a request within 500 ms and was disconnected",
        "did not read its answer within 5 s and was disconnected",
    ] {
        assert_eq!(output.matches(kind).count(), 1, "{kind}: {output}");
    }
}

/// 1,000 clients hang, others flood, send megabytes of header, or do not read their answers, and bulk goes on.
#[test]
fn route_moves_bytes_and_health_answers_while_the_metrics_port_is_attacked() {
    // The two times are seconds apart, and other programs may run meanwhile; a gateway that the attack slows down is
    // slow in every round.
    one_good_round(4, attack_the_metrics_port);
}

fn attack_the_metrics_port() -> Result<(), String> {
    let through = Through::start();
    let metrics = through.gateway.metrics_address();
    let (mut client, mut server) = through.join();
    let mut bulk = |seed| {
        const BYTES: usize = 32 << 20;
        let start = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| send_noise(&mut client, seed, BYTES));
            expect_noise(&mut server, seed, BYTES);
        });
        start.elapsed()
    };
    bulk(1);
    let before = (2..5).map(&mut bulk).min().expect("there are three");
    let over = AtomicBool::new(false);
    let attacked = thread::scope(|scope| {
        scope.spawn(|| {
            let mut hanging = Vec::new();
            while !over.load(Ordering::Relaxed) {
                hanging.extend((0..1000).filter_map(|_| TcpStream::connect(metrics).ok()));
                thread::sleep(Duration::from_millis(300));
                hanging.clear();
            }
        });
        scope.spawn(|| {
            let header = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(1 << 20));
            while !over.load(Ordering::Relaxed) {
                let _ = connect(metrics).write_all(header.as_bytes());
                // A client that asks for much and reads nothing.
                let mut stalled = connect(metrics);
                let request = format!("GET /metrics HTTP/1.1\r\n{HOST}\r\n").repeat(50);
                let _ = stalled.write_all(request.as_bytes());
                thread::sleep(Duration::from_millis(100));
            }
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            thread::sleep(Duration::from_millis(300));
            let attacked = (5..8).map(&mut bulk).min().expect("there are three");
            let start = Instant::now();
            assert_eq!(http::get(metrics, "/readyz").status, 200);
            assert!(start.elapsed() < Duration::from_secs(3));
            attacked
        }));
        over.store(true, Ordering::Relaxed);
        outcome
    });
    let attacked = attacked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    drop(client);
    drop(server);
    through.gateway.wait_for_connections(1);
    let text = through.gateway.metrics();
    let ended = "wardgate_http_refused_total{reason=\"connections\"} ";
    let ended = text.lines().find_map(|line| line.strip_prefix(ended));
    assert!(
        ended
            .expect("it is shown")
            .parse::<u64>()
            .expect("a number")
            > 100,
        "{text}"
    );
    let output = through.gateway.output();
    let lines = output
        .lines()
        .filter(|line| line.contains("had the most connections"));
    assert_eq!(lines.count(), 1, "{output}");
    // On two busy cores the test's own threads take part of the time.
    let is_good = attacked < before * 3;
    is_good
        .then_some(())
        .ok_or(format!("{attacked:?} instead of {before:?}"))
}
