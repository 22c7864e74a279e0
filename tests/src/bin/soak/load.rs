//! The clients and servers of the load.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::gateway::Links;
use crate::net::{Net, Place, loopback};
use crate::shared::Shared;
use crate::stream::Size;
use crate::{dicom, mllp, stream};

/// After a transfer, a client waits at least so long: a port that refuses gives no endless list.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The streams' share of the load: how many idle connections stand.
const IDLE: usize = 40;

/// Starts all servers and clients; the gate is closed at first.
pub(crate) fn start(net: &Net, links: &Links, shared: &Arc<Shared>) {
    serve(net, shared, Place::B, links.store.target, dicom::serve);
    serve(net, shared, Place::A, links.back.target, dicom::serve);
    serve(net, shared, Place::B, links.messages.target, mllp::serve);
    for (link, kind) in [
        (&links.bulk, "bulk"),
        (&links.short, "short"),
        (&links.idle, "idle"),
        (&links.relayed, "relayed"),
    ] {
        serve(
            net,
            shared,
            Place::B,
            link.target,
            move |shared, listener| {
                stream::serve(shared, kind, listener);
            },
        );
    }
    let client = |place, pause: u64, work: Work| client(net, shared, place, pause, work);
    let store = loopback(links.store.entry);
    client(
        Place::A,
        200,
        Box::new(move |shared, _| dicom::associate(shared, store, 4, 256 << 10)),
    );
    client(
        Place::A,
        500,
        Box::new(move |shared, _| dicom::associate(shared, store, 40, 20 << 10)),
    );
    let back = loopback(links.back.entry);
    client(
        Place::B,
        500,
        Box::new(move |shared, _| dicom::associate(shared, back, 5, 100 << 10)),
    );
    let messages = loopback(links.messages.entry);
    client(
        Place::A,
        100,
        Box::new(move |shared, _| mllp::converse(shared, messages, 20, 4000)),
    );
    client(
        Place::A,
        700,
        Box::new(move |shared, _| mllp::converse(shared, messages, 3, 200_000)),
    );
    for (link, kind, count, pause, size) in [
        (
            &links.bulk,
            "bulk",
            1,
            100,
            Size {
                up: 8 << 20,
                down: 0,
            },
        ),
        (
            &links.bulk,
            "bulk",
            1,
            100,
            Size {
                up: 0,
                down: 8 << 20,
            },
        ),
        (
            &links.bulk,
            "bulk",
            1,
            100,
            Size {
                up: 3 << 20,
                down: 3 << 20,
            },
        ),
        (&links.short, "short", 3, 100, Size { up: 700, down: 300 }),
        (
            &links.relayed,
            "relayed",
            2,
            300,
            Size {
                up: 400_000,
                down: 400_000,
            },
        ),
    ] {
        let entry = loopback(link.entry);
        for _ in 0..count {
            client(
                Place::A,
                pause,
                Box::new(move |shared, turn| {
                    // Other lengths each time, so that records and segments end at other places.
                    let more = turn * 7919 % 4093;
                    let size = Size {
                        up: size.up + more,
                        down: size.down + more,
                    };
                    stream::transfer(shared, kind, entry, size);
                }),
            );
        }
    }
    let idle = loopback(links.idle.entry);
    for _ in 0..IDLE {
        client(
            Place::A,
            1000,
            Box::new(move |shared, _| stream::idle(shared, "idle", idle)),
        );
    }
}

type Work = Box<dyn FnMut(&Shared, u64) + Send>;

fn client(net: &Net, shared: &Arc<Shared>, place: Place, pause_ms: u64, mut work: Work) {
    let shared = Arc::clone(shared);
    let pause = Duration::from_millis(pause_ms).max(PAUSE_MIN);
    net.spawn(place, move || {
        for turn in 0.. {
            while !shared.gate.enter() {
                thread::sleep(PAUSE_MIN);
            }
            work(&shared, turn);
            shared.gate.leave();
            thread::sleep(pause);
        }
    });
}

fn serve(
    net: &Net,
    shared: &Arc<Shared>,
    place: Place,
    port: u16,
    work: impl FnOnce(&Arc<Shared>, TcpListener) + Send + 'static,
) {
    let shared = Arc::clone(shared);
    let address: SocketAddr = loopback(port);
    let bound = net.spawn(place, move || TcpListener::bind(address));
    let listener = bound.join().expect("no panic").expect("the port is free");
    thread::spawn(move || work(&shared, listener));
}
