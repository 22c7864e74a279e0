//! Commands for a running gateway: drain, end, status, and what the admin socket refuses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use wardgate_tests::http;
use wardgate_tests::stream::{Ending, accept, connect, ending, ending_of};
use wardgate_tests::{DEADLINE, Gateway, until};

use crate::drain::{ANSWER, MESSAGE, pass};
use crate::pair::{Pair, Through};

fn is_refused(at: SocketAddr) -> bool {
    TcpStream::connect(at).is_err()
}

fn output_of(gateway: &Gateway, arguments: &[&str]) -> String {
    gateway.command(arguments).run().expect_success().text()
}

fn refused(gateway: &Gateway, arguments: &[&str]) -> String {
    gateway.command(arguments).run().expect_failure().text()
}

fn message(entry: SocketAddr, exit: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = connect(entry);
    client.write_all(MESSAGE).expect("it is connected");
    let mut server = accept(exit);
    server
        .read_exact(&mut vec![0; MESSAGE.len()])
        .expect("all arrives");
    (client, server)
}

#[test]
fn a_drained_route_refuses_and_lets_exchanges_end_and_accepts_again_when_undone() {
    let pair = Pair::start("mllp");
    let (mut waiting, mut server) = message(pair.entry, &pair.exit);
    let (mut resting, mut of_resting) = message(pair.entry, &pair.exit);
    pass(&mut of_resting, &mut resting, ANSWER);
    let text = output_of(&pair.a, &["drain", "originate-1"]);
    assert!(
        text.contains("route \"originate-1\" accepts no new connections; 2 connections are open"),
        "{text}"
    );
    until("clients are refused", DEADLINE, || {
        is_refused(pair.entry).then_some(())
    });
    assert_eq!(ending(&mut resting), (0, Ending::Orderly));
    assert!(output_of(&pair.a, &["drain", "originate-1"]).contains("is draining already"));
    let status = output_of(&pair.a, &["status"]);
    assert!(status.contains("draining"), "{status}");
    // The acknowledgement comes through, then the connection ends cleanly.
    pass(&mut server, &mut waiting, ANSWER);
    assert_eq!(ending(&mut waiting), (0, Ending::Orderly));
    pair.a
        .wait_for_line("the end of the drain", DEADLINE, |line| {
            line.message() == "route \"originate-1\": drained, no connection is open"
        });
    assert!(output_of(&pair.a, &["status"]).contains("drained"));
    // A reload does not open a route that an operator has drained.
    output_of(&pair.a, &["reload"]);
    assert!(is_refused(pair.entry));
    let text = output_of(&pair.a, &["drain", "--undo", "originate-1"]);
    assert!(text.contains("accepts on"), "{text}");
    let (mut client, mut server) = message(pair.entry, &pair.exit);
    pass(&mut server, &mut client, ANSWER);
    assert!(output_of(&pair.a, &["drain", "--undo"]).contains("no route is draining"));
    assert!(
        refused(&pair.a, &["drain", "r2"])
            .contains("there is no open route \"r2\"; the open routes are originate-1")
    );
    drop((client, server));
    pair.a.stop();
    pair.b.stop();
}

#[test]
fn a_drain_that_is_undone_keeps_the_connections_that_are_left() {
    let through = Through::with(|site| site.timeout("drain", "\"5s\""));
    let (mut client, mut server) = through.join();
    output_of(&through.gateway, &["drain"]);
    until("clients are refused", DEADLINE, || {
        is_refused(through.entry).then_some(())
    });
    output_of(&through.gateway, &["drain", "--undo"]);
    std::thread::sleep(Duration::from_millis(5500));
    pass(&mut client, &mut server, b"still there");
    // A second drain counts its time anew, and resets what is left.
    let start = Instant::now();
    output_of(&through.gateway, &["drain"]);
    assert_eq!(ending(&mut client), (0, Ending::Reset));
    assert!(
        start.elapsed() > Duration::from_millis(4900),
        "{:?}",
        start.elapsed()
    );
    through
        .gateway
        .wait_for_line("the reset", DEADLINE, |line| {
            line.message()
                .ends_with("1 connections did not end in time and are reset")
        });
    through.gateway.stop();
}

#[test]
fn one_connection_is_ended_by_its_number_and_no_other() {
    let pair = Pair::start("tcp");
    let (mut client, _server) = pair.join();
    let line = pair
        .a
        .wait_for_line("the peer is accepted", DEADLINE, |line| {
            line.message() == "accepted"
        });
    let (mut other, mut of_other) = pair.join();
    let id = line.text("id").to_owned();
    assert!(output_of(&pair.a, &["end", &id]).contains(&format!("connection {id} is reset")));
    assert_eq!(ending(&mut client), (0, Ending::Reset));
    pass(&mut other, &mut of_other, b"still there");
    let line = &pair.a.wait_for_connections(1)[0];
    assert_eq!(line.text("reason"), "ended by an operator's command");
    until("it is gone", DEADLINE, || {
        let text = pair.a.command(&["end", &id]).run().text();
        text.contains(&format!("no connection {id} is open"))
            .then_some(())
    });
    assert!(refused(&pair.a, &["end", "x"]).contains("is not the id of a connection"));
    let audit = pair
        .a
        .lines()
        .into_iter()
        .find(|line| line.message().starts_with("admin socket: end (uid "));
    assert!(audit.is_some(), "{:#?}", pair.a.lines());
}

// The status of `/routez` and of its only route, and whether that is ready.
fn routez(gateway: &Gateway) -> (u16, bool) {
    let all = http::get(gateway.metrics_address(), "/routez");
    let one = http::get(gateway.metrics_address(), "/routez/passthrough-1");
    assert_eq!(all.status, one.status, "{} {}", all.text(), one.text());
    let value: serde_json::Value = serde_json::from_slice(&one.body).expect("it is JSON");
    let why = value["why"].as_str().expect("there is a sentence");
    assert!(why.split(' ').count() >= 4, "{why}");
    (
        one.status,
        value["ready"].as_bool().expect("it says whether"),
    )
}

#[test]
fn a_target_in_maintenance_gets_no_new_connection_until_it_is_used_again() {
    let through = Through::start();
    let (mut client, mut server) = through.join();
    let target = through.exit.local_addr().expect("it is bound").to_string();
    let route = "passthrough-1";
    let text = output_of(&through.gateway, &["maintenance", route, &target]);
    assert!(text.contains("gets no new connections"), "{text}");
    assert_eq!(ending_of(through.entry), (0, Ending::Reset));
    assert_eq!(routez(&through.gateway), (503, false));
    pass(&mut client, &mut server, b"still there");
    let status = output_of(&through.gateway, &["status"]);
    assert!(
        status.contains(&format!("target {target}: maintenance, 1 connections")),
        "{status}"
    );
    // A reload keeps it, and an upgrade would lose it.
    output_of(&through.gateway, &["reload"]);
    assert_eq!(ending_of(through.entry), (0, Ending::Reset));
    let why = refused(&through.gateway, &["upgrade"]);
    assert!(why.contains("is in maintenance"), "{why}");
    output_of(&through.gateway, &["maintenance", route, &target, "--off"]);
    assert_eq!(routez(&through.gateway), (200, true));
    let (mut client, mut server) = through.join();
    pass(&mut client, &mut server, b"again");
    let unknown = refused(&through.gateway, &["maintenance", route, "192.0.2.1:1"]);
    assert!(
        unknown.contains("has no target \"192.0.2.1:1\""),
        "{unknown}"
    );
    drop((client, server));
}

fn raw(gateway: &Gateway, bytes: &[u8]) -> String {
    let mut socket = UnixStream::connect(gateway.folder().join("admin.sock")).expect("it listens");
    socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let mut text = String::new();
    let _ = socket.read_to_string(&mut text);
    text
}

#[test]
fn a_malformed_request_gets_an_error_and_costs_nothing() {
    let through = Through::start();
    for wrong in [
        &b"reload\n"[..],
        b"{\"version\":1}\n",
        b"{\"version\":99,\"command\":\"reload\"}",
        b"\xff\xfe\n",
        &[b'['; 20_000],
    ] {
        let reply = raw(&through.gateway, wrong);
        assert!(
            reply.starts_with("{\"version\":1,\"ok\":false,\"lines\":["),
            "{reply}"
        );
    }
    assert_eq!(raw(&through.gateway, b""), "");
    let reply = raw(&through.gateway, b"{\"version\":1,\"command\":\"status\"}");
    assert!(reply.contains("\"ok\":true"), "{reply}");
    // Clients that hang keep no other from being answered.
    let path = through.gateway.folder().join("admin.sock");
    let hanging: Vec<_> = (0..15)
        .map(|_| UnixStream::connect(&path).expect("it listens"))
        .collect();
    assert!(output_of(&through.gateway, &["status"]).contains("connections are open"));
    drop(hanging);
    let mode = std::fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let (client, server) = through.join();
    drop((client, server));
    through.gateway.stop();
    assert!(!path.exists());
}

#[test]
fn the_admin_socket_replaces_no_file() {
    let through = Through::start();
    let good = std::fs::read_to_string(through.gateway.config()).expect("our file");
    let other = through.gateway.folder().join("other.toml");
    let text = good.replace("\"admin.sock\"", "\"other.toml\"");
    std::fs::write(&other, &text).expect("our folder");
    through.gateway.stop_and_keep_folder(|| {
        let outcome = wardgate_tests::Program::new(wardgate_tests::wardgate())
            .args(["run", "--config"])
            .arg(&other)
            .run()
            .expect_failure();
        assert!(outcome.text().contains("no socket"), "{outcome}");
        assert_eq!(std::fs::read_to_string(&other).expect("it is there"), text);
    });
}

#[test]
fn a_second_gateway_does_not_take_the_socket_of_a_running_one() {
    let through = Through::start();
    let outcome = wardgate_tests::Program::new(wardgate_tests::wardgate())
        .args(["run", "--config"])
        .arg(through.gateway.config())
        .run()
        .expect_failure();
    assert!(outcome.text().contains("in use"), "{outcome}");
    assert!(
        output_of(&through.gateway, &["status"]).contains("1 "),
        "it still answers"
    );
    through.gateway.stop();
}

/// The socket of the packaged service may be that of another gateway.
#[test]
fn a_named_configuration_that_leads_to_no_socket_is_refused() {
    let through = Through::start();
    let good = std::fs::read_to_string(through.gateway.config()).expect("our file");
    let other = through.gateway.folder().join("other.toml");
    let text_of = |arguments: &[&str]| {
        let program = wardgate_tests::Program::new(wardgate_tests::wardgate());
        let program = program.args(arguments).arg(&other);
        program.run().expect_failure().text()
    };
    let cases = [
        (None, "cannot be read: No such file"),
        (Some(format!("{good}\nnonsense = 1\n")), "unknown key"),
        (
            Some(good.replace("admin = \"admin.sock\"", "")),
            "names no admin socket",
        ),
    ];
    for (text, why) in cases {
        if let Some(text) = text {
            std::fs::write(&other, text).expect("our folder");
        }
        for command in [&["drain", "--config"][..], &["status", "--config"]] {
            let said = text_of(command);
            assert!(said.contains(why) && said.contains("--socket"), "{said}");
        }
    }
    std::fs::write(&other, &good).expect("our folder");
    let program = wardgate_tests::Program::new(wardgate_tests::wardgate());
    let status = program.args(["status", "--config"]).arg(&other).run();
    status.expect_success();
    through.gateway.stop();
}
