//! Keys change while payload moves in both directions, and no byte is lost.
//!
//! The gateways update keys at their own limit, lowered by `key_records`; the rustls peer updates keys and
//! requests updates. The interop tier does the same with OpenSSL.

use std::io::{Read, Write};
use std::net::TcpStream;

use wardgate_tests::stream::{Noise, expect_noise, send_noise};
use wardgate_tests::tls::{TLS12, TLS13, TlsPeer};
use wardgate_tests::{Gateway, Site};

use crate::pair::{Originate, Pair, Terminate};

/// A lowered limit. A batch holds up to 64 records, so there is a key update every one or two batches.
const KEY_RECORDS: u64 = 100;
/// The maximum bytes of payload in a record.
const RECORD: u64 = 16_384;

const MIB: usize = 1 << 20;

/// Sends noise in both directions at once, compares all of it, and ends both directions cleanly.
fn exchange(client: &TcpStream, server: &TcpStream, count: usize) {
    std::thread::scope(|scope| {
        for (mut from, mut to, seed) in [(client, server, 1), (server, client, 2)] {
            scope.spawn(move || send_noise(&mut from, seed, count));
            scope.spawn(move || expect_noise(&mut to, seed, count));
        }
    });
}

/// The updates of a direction that carries `count` bytes in full records. Smaller records need more updates; after the
/// last record, no update is due.
fn least_updates(count: usize) -> u64 {
    (count as u64 / RECORD - 1) / KEY_RECORDS
}

fn lowered(site: Site) -> Site {
    site.protocol("tcp")
        .set("key_records", KEY_RECORDS.to_string())
}

#[test]
fn keys_are_updated_at_their_limit_in_both_directions_under_load() {
    const COUNT: usize = 200 * MIB;
    let pair = Pair::with("tcp", lowered);
    let (client, server) = pair.join();
    exchange(&client, &server, COUNT);
    let least = least_updates(COUNT);
    let (a, b) = (pair.a.key_updates(), pair.b.key_updates());
    for updates in [a.0, a.1, b.0, b.1] {
        assert!(updates >= least, "{updates} updates, not {least}");
    }
    assert_eq!(a, (b.1, b.0), "one end missed an update of the other's");
}

#[test]
fn a_limit_below_one_batch_still_carries_all() {
    let pair = Pair::with("tcp", |site| lowered(site).set("key_records", "1"));
    let (client, server) = pair.join();
    exchange(&client, &server, 20 * MIB);
    let ((sealed, _), (_, opened)) = (pair.a.key_updates(), pair.b.key_updates());
    assert!(sealed > 0 && sealed == opened, "{sealed} {opened}");
}

/// The reference engine and the in-place engine, in every combination, with frequent key updates.
#[test]
fn both_record_layers_interoperate_in_every_combination() {
    const COUNT: usize = 50 * MIB;
    for layers in [
        ["in-place", "in-place"],
        ["in-place", "rustls"],
        ["rustls", "in-place"],
        ["rustls", "rustls"],
    ] {
        let [at_a, at_b] = layers;
        let pair = Pair::with("tcp", |site| {
            let is_a = site.toml().contains("mode = \"originate\"");
            let layer = if is_a { at_a } else { at_b };
            lowered(site).set("record_layer", format!("\"{layer}\""))
        });
        let (client, server) = pair.join();
        exchange(&client, &server, COUNT);
        let least = least_updates(COUNT);
        for (gateway, own, other) in [(&pair.a, at_a, at_b), (&pair.b, at_b, at_a)] {
            let (sealed, opened) = gateway.key_updates();
            // rustls keeps its own limit, and does not report the records that it opened.
            let (seals, opens) = (own == "in-place", own == other && own == "in-place");
            assert_eq!(sealed >= least, seals, "{layers:?}: {sealed} sealed");
            assert_eq!(opened >= least, opens, "{layers:?}: {opened} opened");
        }
    }
}

/// How often the peer updates its keys.
const REFRESHES: usize = 40;
/// The same as `send_noise` sends.
const PIECE: usize = 64 << 10;
/// The bytes in each direction between two key updates of the peer.
const PIECES_BETWEEN: usize = 16;

/// Sends noise in both directions of the TLS peer at once. With `refreshes`, the peer repeatedly updates its
/// key and requests an update of the gateway's key.
fn converse(peer: &mut TlsPeer, plain: &TcpStream, refreshes: bool) {
    let pieces = PIECES_BETWEEN * REFRESHES;
    std::thread::scope(|scope| {
        let (mut from, mut to) = (plain, plain);
        // The plain side does not wait for the peer, so batches of the gateway are in transit when the peer's
        // key updates come.
        scope.spawn(move || send_noise(&mut from, 3, pieces * PIECE));
        scope.spawn(move || expect_noise(&mut to, 4, pieces * PIECE));
        let (mut sent, mut expected) = (Noise::new(4), Noise::new(3));
        let mut bytes = vec![0; PIECE];
        for piece in 1..=pieces {
            peer.write_all(&sent.take(PIECE)).expect("it is connected");
            peer.read_exact(&mut bytes).expect("all comes");
            assert!(bytes == expected.take(PIECE), "piece {piece} differs");
            if refreshes && piece % PIECES_BETWEEN == 0 {
                peer.refresh_keys().expect("TLS 1.3 has key updates");
            }
        }
    });
    round_trip(peer, plain);
}

/// When the answer is present, all earlier bytes and their answers have been opened.
fn round_trip(peer: &mut TlsPeer, mut plain: &TcpStream) {
    send_noise(peer, 5, 100);
    expect_noise(&mut plain, 5, 100);
    send_noise(&mut plain, 6, 100);
    expect_noise(peer, 6, 100);
}

fn assert_followed(gateway: &Gateway) {
    let (sealed, opened) = gateway.key_updates();
    assert_eq!(opened, REFRESHES as u64);
    // Requests that come while a batch is in transit are answered by one update.
    assert!((1..=opened).contains(&sealed), "{sealed} answers");
}

#[test]
fn terminate_follows_the_key_updates_of_a_rustls_client() {
    let terminate = Terminate::with(|site| site.protocol("tcp"));
    let (mut peer, plain) = terminate.join(TLS13);
    converse(&mut peer, &plain, true);
    assert_followed(&terminate.gateway);
}

#[test]
fn originate_follows_the_key_updates_of_a_rustls_server() {
    let originate = Originate::start();
    let (plain, mut peer) = originate.join(TLS13);
    converse(&mut peer, &plain, true);
    assert_followed(&originate.gateway);
}

/// Both ends update at the same time, each at its own pace.
#[test]
fn updates_of_both_ends_may_cross() {
    for layer in ["in-place", "rustls"] {
        let layer = format!("\"{layer}\"");
        let adapt = |site| lowered(site).set("record_layer", layer.as_str());
        let terminate = Terminate::with(adapt);
        let (mut peer, plain) = terminate.join(TLS13);
        converse(&mut peer, &plain, true);
        let originate = Originate::with(adapt);
        let (plain, mut peer) = originate.join(TLS13);
        converse(&mut peer, &plain, true);
    }
}

/// TLS 1.2 has no key updates, and always uses the records of rustls.
#[test]
fn tls12_carries_the_same_traffic_in_both_modes() {
    let terminate = Terminate::with(lowered);
    let (mut peer, plain) = terminate.join(TLS12);
    converse(&mut peer, &plain, false);
    let originate = Originate::with(lowered);
    let (plain, mut peer) = originate.join(TLS12);
    converse(&mut peer, &plain, false);
    for gateway in [&terminate.gateway, &originate.gateway] {
        assert_eq!(gateway.key_updates(), (0, 0));
    }
}
