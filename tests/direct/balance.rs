//! The choice among several targets: shares, limits, targets that are killed and come back, and a listener that is
//! closed while all targets are down.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wardgate_tests::stream::{
    Ending, accept, accept_now, bounded, connect, ending, ending_of, expect_noise, reset,
    send_noise, stop_listening,
};
use wardgate_tests::tls::TLS13;
use wardgate_tests::{DEADLINE, Gateway, until};

use crate::archive::{associate, rest};
use crate::health::of_target;
use crate::pair::{Pair, Terminate, Through, address, listen, local};

/// `targets` of these listeners, each with at most `most` connections.
fn limited(listeners: &[TcpListener], most: u32) -> String {
    let each = listeners.iter().map(|listener| {
        let address = address(listener);
        format!("{{ address = \"{address}\", connections = {most} }}")
    });
    format!("[{}]", each.collect::<Vec<_>>().join(", "))
}

fn three(balance: &str) -> (Through, [TcpListener; 3]) {
    let servers = [(); 3].map(|()| listen());
    let through = Through::with(|site| {
        let site = site.targets(&servers.each_ref().map(address));
        site.set("balance", format!("\"{balance}\""))
    });
    (through, servers)
}

/// Opens a connection; returns the client's end, the server's end and the index of the server.
fn open(through: &Through, servers: &[TcpListener]) -> (TcpStream, TcpStream, usize) {
    let client = connect(through.entry);
    let (server, index) = until("no server is connected", DEADLINE, || {
        let mut servers = servers.iter().enumerate();
        servers.find_map(|(index, server)| Some((accept_now(server)?, index)))
    });
    (client, bounded(server), index)
}

#[test]
fn round_robin_gives_each_target_the_same_number_over_all_cores() {
    let (through, servers) = three("round-robin");
    let mut counts = [0; 3];
    let mut held = Vec::new();
    for round in 1..=12 {
        let (client, server, index) = open(&through, &servers);
        counts[index] += 1;
        held.push((client, server));
        let (most, least) = (counts.iter().max(), counts.iter().min());
        assert!(
            most <= least.map(|n| n + 1).as_ref(),
            "{counts:?} of {round}"
        );
    }
    let gauge = "wardgate_target_connections_open";
    for server in &servers {
        let open = of_target(&through.gateway, gauge, address(server), "");
        assert_eq!(open, Some(4));
    }
    drop(held);
    until("no connection is open", DEADLINE, || {
        let mut open = servers
            .iter()
            .map(|server| of_target(&through.gateway, gauge, address(server), ""));
        open.all(|open| open == Some(0)).then_some(())
    });
}

#[test]
fn least_connections_chooses_the_target_whose_connections_have_ended() {
    let (through, servers) = three("least-connections");
    let mut held: Vec<_> = (0..9).map(|_| open(&through, &servers)).collect();
    for index in 0..3 {
        assert_eq!(held.iter().filter(|(_, _, its)| *its == index).count(), 3);
    }
    held.retain(|(_, _, index)| *index != 1);
    let gauge = "wardgate_target_connections_open";
    until("they have ended", DEADLINE, || {
        (of_target(&through.gateway, gauge, address(&servers[1]), "") == Some(0)).then_some(())
    });
    for _ in 0..3 {
        let (client, server, index) = open(&through, &servers);
        assert_eq!(index, 1);
        held.push((client, server, index));
    }
}

#[test]
fn a_target_that_refuses_is_skipped_for_a_while_and_used_again_when_it_is_back() {
    let (first, second) = (local(), listen());
    let through = Through::with(|site| site.targets(&[first, address(&second)]));
    let failures = || {
        let name = "wardgate_target_failures_total";
        of_target(&through.gateway, name, first, "")
    };
    let begun = Instant::now();
    for _ in 0..5 {
        let mut client = connect(through.entry);
        let mut server = accept(&second);
        send_noise(&mut client, 1, 100);
        expect_noise(&mut server, 1, 100);
    }
    // It is skipped for a second, then for longer.
    let tried = failures().expect("it was tried");
    let most = 1 + begun.elapsed().as_secs();
    assert!((1..=most).contains(&tried), "{tried} of five tried it");
    let first = TcpListener::bind(first).expect("the port is free");
    until("it is used again", DEADLINE, || {
        let client = connect(through.entry);
        thread::sleep(Duration::from_millis(100));
        drop(client);
        accept_now(&first).map(drop)
    });
    let back_off = of_target(
        &through.gateway,
        "wardgate_target_back_off",
        address(&first),
        "",
    );
    assert_eq!(back_off, Some(0));
}

#[test]
fn connections_above_the_limits_of_all_targets_are_reset_and_logged() {
    let servers = [(); 2].map(|()| listen());
    let through = Through::with(|site| site.set("targets", limited(&servers, 1)));
    let first = open(&through, &servers);
    let second = open(&through, &servers);
    assert_eq!((first.2, second.2), (0, 1));
    assert_eq!(ending_of(through.entry), (0, Ending::Reset));
    let line = &through.gateway.wait_for_connections(1)[0];
    let reason = line.text("reason");
    let expected = format!(
        "limit reached: target {} has its maximum of 1 open connections",
        address(&servers[0])
    );
    assert!(reason.contains(&expected), "{reason}");
    let gateway = &through.gateway;
    assert_eq!(
        gateway.metric("wardgate_connections_limited_total") as u64,
        1
    );
    assert_eq!(
        gateway.metric("wardgate_targets_unreachable_total") as u64,
        0
    );
    let limited = "wardgate_target_limited_total";
    assert_eq!(
        of_target(gateway, limited, address(&servers[1]), ""),
        Some(1)
    );
    drop(first);
    through.gateway.wait_for_connections(2);
    assert_eq!(open(&through, &servers).2, 0);
}

#[test]
fn an_association_above_the_limits_of_all_targets_is_rejected_with_local_limit_exceeded() {
    let servers = [listen()];
    let terminate = Terminate::with(|site| {
        let site = site.protocol("dicom");
        site.set("targets", limited(&servers, 1))
    });
    let mut first = terminate.greeted(TLS13);
    first.write_all(&associate(1, 0)).expect("connected");
    let _archive = accept(&servers[0]);
    let mut second = terminate.greeted(TLS13);
    second.write_all(&associate(1, 0)).expect("connected");
    assert_eq!(rest(&mut second), [3, 0, 0, 0, 0, 4, 0, 2, 3, 2]);
    let line = &terminate.gateway.wait_for_connections(1)[0];
    assert!(
        line.text("reason").starts_with("limit reached: target"),
        "{line:?}"
    );
}

#[test]
fn after_a_byte_was_forwarded_no_other_target_is_tried() {
    for round in 0..6 {
        let servers = [(); 2].map(|()| listen());
        let terminate = Terminate::with(|site| {
            let targets = servers.each_ref().map(address);
            site.targets(&targets).set("balance", "\"round-robin\"")
        });
        let mut peer = terminate.greeted(TLS13);
        peer.write_all(&message(1, 100_000)).expect("connected");
        let mut server = accept(&servers[0]);
        let mut heard = vec![0; [1, 1000, 50_000][round % 3]];
        server.read_exact(&mut heard).expect("the message comes");
        match round < 3 {
            true => reset(server),
            false => drop(server),
        }
        let (count, end) = ending(&mut peer);
        assert_eq!(count, 0);
        assert_ne!(end, Ending::Orderly, "it looks complete");
        assert!(accept_now(&servers[1]).is_none(), "the second got it too");
    }
}

/// A message with this number, whose text depends on the number.
fn message(number: u32, bytes: usize) -> Vec<u8> {
    let text = format!("MSH|^~\\&|A|B|C|D|20260101||ORU^R01|{number}|P|2.5\rNTE|1||");
    let mut message = format!("\x0b{text}").into_bytes();
    let letters =
        (0..bytes).map(|at| b'a' + ((at as u32).wrapping_mul(number | 1) >> 3) as u8 % 26);
    message.extend(letters);
    message.extend(b"\r\x1c\r");
    message
}

/// The number of a whole message.
fn number(message: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(message);
    let field = text.split('|').nth(9).and_then(|field| field.parse().ok());
    field.unwrap_or_else(|| panic!("no number in {:?}", text.get(..80)))
}

/// The numbers of the messages that arrived whole, each as often as it arrived.
type Arrived = Arc<Mutex<Vec<u32>>>;

/// A receiver that acknowledges messages, and can be killed.
struct Receiver {
    is_killed: Arc<AtomicBool>,
    listening: JoinHandle<()>,
}

impl Receiver {
    fn start(at: SocketAddr, arrived: &Arrived) -> Self {
        let listener = until("the port is free again", DEADLINE, || {
            TcpListener::bind(at).ok()
        });
        listener.set_nonblocking(true).expect("it is a socket");
        let is_killed = Arc::new(AtomicBool::new(false));
        let (arrived, killed) = (Arc::clone(arrived), Arc::clone(&is_killed));
        let listening = thread::spawn(move || {
            let mut open = Vec::new();
            while !killed.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let (arrived, killed) = (Arc::clone(&arrived), Arc::clone(&killed));
                        open.push(thread::spawn(move || receive(stream, &arrived, &killed)));
                    }
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            }
            stop_listening(listener);
            for one in open {
                one.join().expect("whole messages");
            }
        });
        Self {
            is_killed,
            listening,
        }
    }

    fn kill(self) {
        self.is_killed.store(true, Ordering::Relaxed);
        self.listening.join().expect("whole messages");
    }
}

/// Reads messages until the client ends or the receiver is killed, and acknowledges each.
fn receive(mut stream: TcpStream, arrived: &Arrived, killed: &AtomicBool) {
    stream.set_nonblocking(false).expect("it is a socket");
    let tick = Some(Duration::from_millis(2));
    stream.set_read_timeout(tick).expect("it is a socket");
    let (mut bytes, mut room) = (Vec::new(), vec![0; 1 << 14]);
    while !killed.load(Ordering::Relaxed) {
        match stream.read(&mut room) {
            Ok(0) => return,
            Ok(count) => bytes.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return,
        }
        assert_eq!(bytes[0], 0x0b, "it begins within a message");
        if !bytes.ends_with(b"\x1c\r") {
            continue;
        }
        let number = number(&bytes);
        let length = bytes.len() - message(number, 0).len();
        assert!(bytes == message(number, length), "message {number} differs");
        arrived.lock().expect("no panic").push(number);
        let answer =
            format!("\x0bMSH|^~\\&|B|A|||20260101||ACK|{number}|P|2.5\rMSA|AA|{number}\r\x1c\r");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
        bytes.clear();
    }
    reset(stream);
}

/// Sends messages, each on a connection of its own, until `is_over`. Returns the numbers of those that were
/// acknowledged, and how many were refused.
fn send(entry: SocketAddr, first: u32, is_over: &AtomicBool) -> (Vec<u32>, u32) {
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    let mut next = first;
    while !is_over.load(Ordering::Relaxed) {
        let mut client = connect(entry);
        let sent = client.write_all(&message(next, 60_000));
        let mut answer = Vec::new();
        let mut room = [0; 256];
        let end = loop {
            match client.read(&mut room) {
                Ok(0) => break Ending::Orderly,
                Ok(count) => answer.extend_from_slice(&room[..count]),
                Err(_) => break Ending::Reset,
            }
            if answer.ends_with(b"\x1c\r") {
                break Ending::Orderly;
            }
        };
        let is_whole = answer.ends_with(b"\x1c\r");
        match is_whole {
            true => {
                assert!(sent.is_ok() && number(&answer) == next, "{next}");
                acknowledged.push(next);
            }
            false => {
                assert_eq!(end, Ending::Reset, "message {next} seems to be sent");
                assert!(answer.is_empty(), "a part of an answer to {next}");
                refused += 1;
            }
        }
        next += 1;
    }
    (acknowledged, refused)
}

#[test]
fn of_two_targets_one_is_killed_twenty_times_and_no_message_is_half_delivered() {
    let places = [local(), local()];
    let pair = Pair::each(
        "mllp",
        |site| site,
        |site| {
            let site = site.targets(&places).set("balance", "\"round-robin\"");
            site.set(
                "health",
                "{ probe = \"connect\", interval = \"1s\", timeout = \"1s\" }",
            )
        },
    );
    let arrived = Arrived::default();
    let mut receivers = places.map(|at| Some(Receiver::start(at, &arrived)));
    let is_over = Arc::new(AtomicBool::new(false));
    let senders = [0, 1_000_000, 2_000_000].map(|first| {
        let (entry, is_over) = (pair.entry, Arc::clone(&is_over));
        thread::spawn(move || send(entry, first, &is_over))
    });
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut dice = |sides: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) % sides
    };
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(50 + dice(250)));
        let index = dice(2) as usize;
        receivers[index].take().expect("it runs").kill();
        thread::sleep(Duration::from_millis(20 + dice(150)));
        receivers[index] = Some(Receiver::start(places[index], &arrived));
    }
    thread::sleep(Duration::from_millis(100));
    is_over.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for sender in senders {
        let (of_one, refused_of_one) = sender.join().expect("each was whole or reset");
        acknowledged.extend(of_one);
        refused += refused_of_one;
    }
    receivers.into_iter().flatten().for_each(Receiver::kill);
    let mut times = HashMap::new();
    for number in arrived.lock().expect("no panic").iter() {
        *times.entry(*number).or_insert(0) += 1;
    }
    println!(
        "{} acknowledged, {refused} refused, {} arrived",
        acknowledged.len(),
        times.len()
    );
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    assert!(times.values().all(|times| *times == 1), "one arrived twice");
    let lost = acknowledged
        .iter()
        .filter(|number| !times.contains_key(number));
    assert_eq!(lost.count(), 0, "acknowledged, but it did not arrive");
    // A killed receiver breaks what it has, at most one connection of each of the three senders. Every other
    // connection finds the other target.
    assert!(refused <= 20 * 3, "{refused} were refused");
}

fn closed(gateway: &Gateway) -> u64 {
    gateway.metric("wardgate_listener_closed") as u64
}

#[test]
fn a_listener_is_closed_while_all_targets_are_down_and_opens_with_the_first() {
    let places = [local(), local()];
    let through = Through::with(|site| {
        let site = site.targets(&places).set("when_down", "\"refuse\"");
        site.set(
            "health",
            "{ probe = \"connect\", interval = \"1s\", timeout = \"1s\", fall = 1 }",
        )
    });
    let gateway = &through.gateway;
    until("the listener is closed", DEADLINE, || {
        (closed(gateway) == 1).then_some(())
    });
    let refused = TcpStream::connect(through.entry).expect_err("it is closed");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let warning = "all targets are down or in maintenance: ";
    let line = gateway.wait_for_line(warning, DEADLINE, |line| line.message().contains(warning));
    assert_eq!(line.text("level"), "WARN");
    let second = TcpListener::bind(places[1]).expect("the port is free");
    until("the listener is open", DEADLINE, || {
        (closed(gateway) == 0).then_some(())
    });
    let start = Instant::now();
    let mut client = connect(through.entry);
    let mut server = until("the client arrives", DEADLINE, || {
        // A probe sends nothing.
        let mut server = bounded(accept(&second));
        send_noise(&mut client, 1, 10);
        (server.read(&mut [0; 10]).ok()? == 10).then_some(server)
    });
    send_noise(&mut server, 2, 10);
    expect_noise(&mut client, 2, 10);
    assert!(start.elapsed() < DEADLINE);
    let info = "a target is up: ";
    gateway.wait_for_line(info, DEADLINE, |line| line.message().contains(info));
    let lines = gateway.lines();
    let about = lines.iter().filter(|line| {
        let text = line.message();
        text.contains(warning) || text.contains(info)
    });
    assert_eq!(about.count(), 2, "one line each way");
}

#[test]
fn a_port_that_another_program_took_while_the_listener_was_closed_is_used_again_later() {
    let place = local();
    let through = Through::with(|site| {
        let site = site.targets(&[place]).set("when_down", "\"refuse\"");
        site.set(
            "health",
            "{ probe = \"connect\", interval = \"1s\", timeout = \"1s\", fall = 1 }",
        )
    });
    let gateway = &through.gateway;
    until("the listener is closed", DEADLINE, || {
        (closed(gateway) == 1).then_some(())
    });
    // It sets SO_REUSEADDR, as the gateway does.
    let other = TcpListener::bind(through.entry).expect("nothing listens there");
    let _target = TcpListener::bind(place).expect("the port is free");
    let error = "cannot accept connections again";
    let line = gateway.wait_for_line(error, DEADLINE, |line| line.message().contains(error));
    assert_eq!(line.text("level"), "ERROR");
    assert_eq!(closed(gateway), 1);
    drop(other);
    until("the listener is open", DEADLINE, || {
        (closed(gateway) == 0).then_some(())
    });
    connect(through.entry);
}
