//! `wardgate status`: connections, rates, certificates, refusals, and the health that names the side at fault.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use wardgate_tests::stream::{accept, connect, stop_listening};
use wardgate_tests::{DEADLINE, Gateway, until};

use crate::drain::{ANSWER, MESSAGE, pass};
use crate::pair::Pair;

fn status(gateway: &Gateway) -> Value {
    let text = gateway.command(&["status", "--json"]).run();
    let reply: Value = serde_json::from_str(&text.expect_success().text()).expect("JSON");
    reply["status"].clone()
}

fn reasons(status: &Value) -> String {
    let health = &status["health"];
    format!("{}: {}", health["level"], health["reasons"])
}

/// Waits until the health contains `text`. With a gateway and a machine at rest this takes at most 2 s.
#[track_caller]
fn expect_health(gateway: &Gateway, level: &str, text: &str) {
    let begun = Instant::now();
    loop {
        let last = reasons(&status(gateway));
        if last.starts_with(&format!("\"{level}\"")) && last.contains(text) {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "no {level} {text:?}: {last}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn exchange(pair: &Pair) -> (TcpStream, TcpStream) {
    let mut client = connect(pair.entry);
    client.write_all(MESSAGE).expect("it is connected");
    let mut server = accept(&pair.exit);
    let mut heard = vec![0; MESSAGE.len()];
    server.read_exact(&mut heard).expect("all arrives");
    pass(&mut server, &mut client, ANSWER);
    (client, server)
}

#[test]
fn the_status_shows_connections_and_names_the_side_at_fault() {
    let pair = Pair::start("mllp");
    let (client, server) = exchange(&pair);
    for (gateway, peer, bytes) in [
        (&pair.a, "dns:gw.b.example", [MESSAGE.len(), ANSWER.len()]),
        (&pair.b, "dns:gw.a.example", [ANSWER.len(), MESSAGE.len()]),
    ] {
        let shown = until("the exchange is shown", DEADLINE, || {
            let shown = status(gateway);
            shown["open"][0]["latency_us"].is_u64().then_some(shown)
        });
        let one = &shown["open"][0];
        assert_eq!(one["types"][0], "ADT^A01 1", "{shown:#}");
        assert_eq!(one["peer"], peer);
        assert_eq!(one["sealed_bytes"], bytes[0]);
        assert_eq!(one["opened_bytes"], bytes[1]);
        assert!(one["target"].is_string());
        let is_its = |id: &str| id.split('-').count() == 3;
        assert!(one["id"].as_str().is_some_and(is_its), "{one}");
        assert_eq!(
            (&shown["open_left_out"], &shown["connections"]),
            (&0.into(), &1.into())
        );
        assert_eq!(reasons(&shown), "\"good\": []");
        let kinds = shown["certificates"].as_array().expect("an array");
        for kind in ["own", "anchor", "peer"] {
            assert!(kinds.iter().any(|one| one["kind"] == kind), "{kinds:?}");
        }
        let cores = shown["cores"].as_array().expect("an array");
        assert!(!cores.is_empty() && cores.iter().all(|core| core["is_silent"].is_null()));
        let route = until("the counters are sampled", DEADLINE, || {
            let route = status(gateway)["routes"][0].clone();
            route["latency_us"].is_u64().then_some(route)
        });
        assert_eq!(route["sealed_bytes"], bytes[0]);
    }
    // A client that the gateway refuses.
    let wan = status(&pair.b)["routes"][0]["listen"].clone();
    let mut foreign = TcpStream::connect(wan.as_str().expect("an address")).expect("it listens");
    foreign
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .expect("it is connected");
    let refusal = until("the refusal is shown", DEADLINE, || {
        let refusal = status(&pair.b)["refusals"][0].clone();
        refusal["count"].is_u64().then_some(refusal)
    });
    let own = foreign.local_addr().expect("it is connected");
    assert_eq!(refusal["source"], own.to_string());
    assert!(!refusal["reason"].as_str().unwrap_or_default().is_empty());
    let text = pair.b.command(&["status"]).run().expect_success().text();
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(text.contains("ADT^A01 1"), "{text}");
    let checked = pair
        .b
        .command(&["status", "--check"])
        .run()
        .expect_success();
    assert!(checked.text().starts_with("WARDGATE OK - "), "{checked}");
    // The target is gone: the connection of the next client fails.
    drop((client, server));
    stop_listening(pair.exit);
    let mut next = connect(pair.entry);
    next.write_all(MESSAGE).expect("it is connected");
    expect_health(&pair.b, "failed", "does not work since");
    let text = reasons(&status(&pair.b));
    assert!(
        text.contains("route \\\"terminate-1\\\": target 127.0.0.1:"),
        "{text}"
    );
    assert!(
        text.contains("refused") && text.contains("check the application"),
        "{text}"
    );
    let checked = pair.b.command(&["status", "--check"]).run();
    assert!(
        checked
            .text()
            .starts_with("WARDGATE CRITICAL - route \"terminate-1\": target"),
        "{checked}"
    );
    // The other site is gone.
    let socket = pair.b.folder().join("admin.sock");
    pair.b.stop();
    let mut next = connect(pair.entry);
    next.write_all(MESSAGE).expect("it is connected");
    expect_health(&pair.a, "failed", "the other site's gateway 127.0.0.1:");
    let gone = wardgate_tests::Program::new(wardgate_tests::wardgate());
    let gone = gone
        .args(["status", "--check", "--socket"])
        .arg(socket)
        .run();
    assert!(
        gone.text()
            .starts_with("WARDGATE CRITICAL - the gateway cannot be reached"),
        "{gone}"
    );
    pair.a.stop();
}

#[test]
fn a_full_link_and_an_expired_list_are_named() {
    // The gateway has started, and the link was full.
    let life = Duration::from_secs(8);
    let pki = wardgate_tests::Pki::new();
    let (entry, exit) = (crate::pair::local(), crate::pair::listen());
    let target = crate::pair::address(&exit);
    let site = crate::pair::originate(&pki, crate::pair::local(), crate::pair::local())
        .passthrough(entry, target)
        .set("bandwidth", "\"16Mbit/s\"")
        .crl(&pki.brief_crl("brief.crl", life));
    let gateway = site.start();
    let expires = Instant::now() + life;
    let mut client = connect(entry);
    let mut server = accept(&exit);
    std::thread::spawn(move || while client.write_all(&[7; 1 << 16]).is_ok() {});
    std::thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(1..) = server.read(&mut bytes) {}
    });
    // A second of bulk.
    std::thread::sleep(Duration::from_secs(1));
    expect_health(&gateway, "warning", "the link is full: 1");
    std::thread::sleep(expires.saturating_duration_since(Instant::now()));
    expect_health(
        &gateway,
        "failed",
        "every peer of that CA is refused; get a current list",
    );
    // The bulk would go on for the time of a drain.
    drop(gateway);
}
