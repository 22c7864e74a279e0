//! Metrics and health over HTTP.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wardgate_tests::DEADLINE;
use wardgate_tests::http;
use wardgate_tests::stream::{Ending, connect, ending, expect_noise, send_noise};
use wardgate_tests::tier::workspace;

use crate::pair::{Pair, Through};

/// A unit test compares the golden list with the code. This one compares it with the program.
#[test]
fn names_of_metrics_are_those_of_the_golden_list() {
    let through = Through::start();
    let heads = |text: &str| -> Vec<String> {
        let heads = text.lines().filter(|line| line.starts_with("# "));
        heads
            .map(str::to_owned)
            .filter(|line| line != "# EOF")
            .collect()
    };
    let path = workspace().join("tests/data/metrics.expected");
    let expected = fs::read_to_string(&path).expect("the list is there");
    assert_eq!(heads(&through.gateway.metrics()), heads(&expected));
}

/// OpenMetrics 1.0: HELP, TYPE and UNIT once for each family, then its samples; `# EOF` at the end.
#[test]
fn metrics_are_well_formed() {
    assert_well_formed(&Through::start().gateway.metrics());
    for protocol in ["dicom", "mllp"] {
        assert_well_formed(&Pair::start(protocol).a.metrics());
    }
}

#[track_caller]
fn assert_well_formed(text: &str) {
    let mut known = BTreeSet::new();
    let (mut current, mut suffixes): (_, &[&str]) = ("", &[]);
    let text = text.strip_suffix("# EOF\n").expect("the end is marked");
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["#", "HELP", name, help, ..] => {
                assert!(known.insert(*name), "{name} comes twice");
                assert!(!help.is_empty());
                current = name;
            }
            ["#", "TYPE", name, kind] => {
                assert_eq!(*name, current, "{line}");
                suffixes = match *kind {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "info" => &["_info"],
                    _ => panic!("{line}"),
                };
            }
            ["#", "UNIT", name, unit] => {
                assert_eq!(*name, current, "{line}");
                assert!(name.ends_with(&format!("_{unit}")), "{line}");
            }
            [sample, value] => {
                let name = sample.split('{').next().expect("split gives one");
                let rest = name.strip_prefix(current);
                assert!(rest.is_some_and(|rest| suffixes.contains(&rest)), "{line}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
            _ => panic!("no line of OpenMetrics: {line:?}"),
        }
    }
    assert!(known.iter().all(|name| name.starts_with("wardgate_")));
}

#[test]
fn bytes_and_connections_are_counted_by_route() {
    let pair = Pair::start("tcp");
    let (mut client, mut server) = pair.join();
    for gateway in [&pair.a, &pair.b] {
        assert_eq!(gateway.metric("wardgate_connections_open") as u64, 1);
    }
    send_noise(&mut client, 1, 70_000);
    client.shutdown(Shutdown::Write).expect("it is connected");
    expect_noise(&mut server, 1, 70_000);
    send_noise(&mut server, 2, 30_000);
    drop(server);
    expect_noise(&mut client, 2, 30_000);
    assert_eq!(ending(&mut client), (0, Ending::Orderly));
    let counted = |gateway: &wardgate_tests::Gateway, route: &str| {
        gateway.wait_for_connections(1);
        let text = gateway.metrics();
        [
            "sealed_bytes_total",
            "opened_bytes_total",
            "connections_accepted_total",
            "connections_complete_total",
            "connections_open",
        ]
        .map(|name| {
            let start = format!("wardgate_{name}{{route=\"{route}\"}} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&start));
            let value = value.unwrap_or_else(|| panic!("no {start} in\n{text}"));
            value.parse::<u64>().expect("it is a number")
        })
    };
    assert_eq!(counted(&pair.a, "originate-1"), [70_000, 30_000, 1, 1, 0]);
    assert_eq!(counted(&pair.b, "terminate-1"), [30_000, 70_000, 1, 1, 0]);
}

#[test]
fn other_paths_and_methods_are_refused() {
    let through = Through::start();
    let metrics = through.gateway.metrics_address();
    assert_eq!(http::get(metrics, "/healthz").text(), "ok\n");
    assert_eq!(http::get(metrics, "/").status, 404);
    assert_eq!(http::get(metrics, "/metrics/../../etc").status, 404);
    assert_eq!(http::get(metrics, "/routez/nothing").status, 404);
    assert_eq!(http::post(metrics, "/metrics", b"").status, 405);
    assert_eq!(
        http::request(metrics, "DELETE", "/healthz", b"").status,
        405
    );
}

/// The requests of load balancers and monitoring programs. A client would read a body after HEAD as the next
/// response.
#[test]
fn head_is_answered_without_a_body_and_a_query_is_ignored() {
    let through = Through::start();
    let metrics = through.gateway.metrics_address();
    for path in ["/metrics", "/healthz", "/readyz"] {
        let head = http::request(metrics, "HEAD", path, b"");
        assert_eq!((head.status, head.body.len()), (200, 0), "HEAD {path}");
        for query in ["?", "?x=1", "?name[]=a&b=/c?d"] {
            let asked = http::get(metrics, &format!("{path}{query}"));
            assert_eq!(asked.status, 200, "GET {path}{query}");
            assert!(!asked.body.is_empty(), "GET {path}{query}");
        }
    }
    let missing = http::request(metrics, "HEAD", "/nothing?x=1", b"");
    assert_eq!((missing.status, missing.body.len()), (404, 0));
}

/// Many more slow clients than the server has places; each comes back when the gateway closes it.
#[test]
fn readiness_is_answered_while_hundreds_of_clients_drip() {
    let through = Through::start();
    let metrics = through.gateway.metrics_address();
    let over = AtomicBool::new(false);
    let drip = || {
        let mut clients: Vec<_> = (0..50).map(|_| connect(metrics)).collect();
        while !over.load(Ordering::Relaxed) {
            for client in &mut clients {
                if client.write_all(b"x").is_err() {
                    *client = connect(metrics);
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
    };
    thread::scope(|scope| {
        // Also when an assertion fails; otherwise the scope would wait forever.
        let _over = Defer(|| over.store(true, Ordering::Relaxed));
        for _ in 0..8 {
            scope.spawn(drip);
        }
        thread::sleep(Duration::from_millis(500));
        for path in ["/readyz", "/readyz", "/metrics", "/healthz", "/readyz"] {
            let start = Instant::now();
            assert_eq!(http::get(metrics, path).status, 200);
            let took = start.elapsed();
            assert!(took < DEADLINE / 2, "{path} took {took:?}");
            thread::sleep(Duration::from_millis(200));
        }
    });
}

struct Defer<F: Fn()>(F);

impl<F: Fn()> Drop for Defer<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Fewer slow clients than places: they must not delay the others.
#[test]
fn slow_scraper_does_not_hold_up_others() {
    let through = Through::start();
    let metrics = through.gateway.metrics_address();
    let mut slow: Vec<_> = (0..4).map(|_| connect(metrics)).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /metr").expect("it is connected");
    }
    let start = Instant::now();
    assert_eq!(http::get(metrics, "/metrics").status, 200);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "it took {took:?}");
}

/// More slow clients than places: the gateway closes them, and serves the next client.
#[test]
fn scrapers_that_hang_are_closed() {
    let through = Through::start();
    let metrics = through.gateway.metrics_address();
    let hanging: Vec<_> = (0..10).map(|_| connect(metrics)).collect();
    assert_eq!(http::get(metrics, "/healthz").status, 200);
    drop(hanging);
}

#[test]
fn endless_request_is_cut_off() {
    let through = Through::start();
    let mut stream = connect(through.gateway.metrics_address());
    // The gateway may have answered and closed before the request is completely sent.
    let _ = stream.write_all(&vec![b'x'; 1 << 20]);
    let (count, _) = ending(&mut stream);
    assert!(count < 1000, "{count} bytes of answer");
    assert_eq!(
        through.gateway.metric("wardgate_log_events_dropped_total") as u64,
        0
    );
}
