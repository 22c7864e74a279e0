//! The steady load: clients that transfer one after the other until they are stopped, and what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wardgate_tests::{Background, DEADLINE, until};

use super::sites::{Link, Links};
use super::transfers::{Move, Store, Stream, Transfer, serve_streams, stream};
use crate::hl7;

/// Failures whose texts are kept; all are counted.
const SHOWN_MAX: usize = 10;
/// After a failure a client waits, so that a port that refuses gives no endless list.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// What became of the transfers of one client.
pub(super) struct Tally {
    pub(super) name: &'static str,
    pub(super) transfers: usize,
    pub(super) bytes: usize,
    pub(super) slowest: Duration,
    /// Messages that were sent once more because the connection ended while their acknowledgement was due.
    pub(super) repeated: usize,
    pub(super) failed: usize,
    /// The first failures: when the transfer began and when it failed, and how.
    pub(super) failures: Vec<(Instant, Instant, String)>,
}

impl Tally {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            transfers: 0,
            bytes: 0,
            slowest: Duration::ZERO,
            repeated: 0,
            failed: 0,
            failures: Vec::new(),
        }
    }

    fn add(&mut self, begun: Instant, transfer: Transfer) {
        self.slowest = self.slowest.max(begun.elapsed());
        match transfer {
            Ok(bytes) => {
                self.transfers += 1;
                self.bytes += bytes;
            }
            Err(why) => {
                self.failed += 1;
                if self.failures.len() < SHOWN_MAX {
                    self.failures.push((begun, Instant::now(), why));
                }
            }
        }
    }

    /// Every message (its name, length and digest) was received exactly once, and no other.
    fn compare(&mut self, sent: &[&str], received: Vec<String>) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for line in received {
            *counts.entry(line).or_default() += 1;
        }
        for line in sent {
            let transfer = match counts.remove(*line) {
                Some(1) => Ok(length(line)),
                Some(times) => Err(format!("received {times} times: {line}")),
                None => Err(format!("not received as it was sent: {line}")),
            };
            self.add(Instant::now(), transfer);
        }
        for line in counts.into_keys() {
            self.add(Instant::now(), Err(format!("never sent: {line}")));
        }
    }
}

/// All clients.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
    senders: [Messages; 2],
    receiver: hl7::Peer,
}

impl Load {
    /// Starts servers and clients. Both gateways must run.
    pub(super) fn start(links: &Links) -> Self {
        serve_streams(links.streams.target);
        let receiver = hl7::Peer::receiver(links.messages.target);
        let mut load = Self {
            stop: Arc::default(),
            clients: Vec::new(),
            senders: [
                Messages::start("MLLP messages", &links.messages, "M", 2000, 20),
                Messages::start("MLLP, long pauses", &links.messages, "P", 30_000, 700),
            ],
            receiver,
        };
        let pause = Duration::from_millis(20);
        let [short, long] = &links.stores;
        let mut store = Store::new(short, 4, 128);
        load.repeat("C-STORE, 4 of 32 KB", pause, move |turn| {
            store.transfer(turn)
        });
        let mut store = Store::new(long, 8, 512);
        load.repeat("C-STORE, 8 of 512 KB", pause, move |turn| {
            store.transfer(turn)
        });
        let mut study = Move::new(&links.query, &links.moved);
        load.repeat("C-MOVE, 8 of 32 KB", pause, move |_| study.transfer());
        let entry = links.streams.entry;
        load.repeat("short streams", Duration::from_millis(5), move |turn| {
            stream(entry, turn, 1, Duration::ZERO)
        });
        load.repeat("streams of 16 MB", pause, move |turn| {
            stream(entry, turn, 1000, Duration::from_millis(2))
        });
        load.whole_run("stream, whole run", links.streams.entry);
        load.whole_run("spare, whole run", links.spare.entry);
        load
    }

    fn repeat(
        &mut self,
        name: &'static str,
        pause: Duration,
        mut transfer: impl FnMut(u32) -> Transfer + Send + 'static,
    ) {
        let stop = Arc::clone(&self.stop);
        self.clients.push(thread::spawn(move || {
            let mut tally = Tally::new(name);
            for turn in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let before = tally.failed;
                tally.add(Instant::now(), transfer(turn));
                thread::sleep(match tally.failed > before {
                    true => AFTER_FAILURE,
                    false => pause,
                });
            }
            tally
        }));
    }

    // One stream that ends when the load is stopped.
    fn whole_run(&mut self, name: &'static str, entry: u16) {
        let stop = Arc::clone(&self.stop);
        self.repeat(name, Duration::ZERO, move |seed| {
            let transfer = || {
                let mut stream = Stream::open(entry, seed)?;
                while !stop.load(Ordering::Relaxed) {
                    stream.send_piece()?;
                    thread::sleep(Duration::from_millis(20));
                }
                stream.finish()
            };
            transfer().map_err(|error: std::io::Error| error.to_string())
        });
    }

    /// Lets every client end its last transfer.
    pub(super) fn stop(self) -> Vec<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let clients = self.clients.into_iter();
        let mut tallies: Vec<_> = clients
            .map(|client| client.join().expect("a client does not panic"))
            .collect();
        for sender in self.senders {
            tallies.push(sender.stop(&self.receiver));
        }
        tallies
    }
}

/// A sender of messages, which are acknowledged one by one.
struct Messages {
    name: &'static str,
    prefix: &'static str,
    start: Instant,
    sender: Background,
}

impl Messages {
    fn start(
        name: &'static str,
        link: &Link,
        prefix: &'static str,
        bytes: u32,
        pause_ms: u32,
    ) -> Self {
        let script = hl7::script("steady.py").args([
            link.entry.to_string(),
            prefix.to_owned(),
            bytes.to_string(),
            pause_ms.to_string(),
        ]);
        Self {
            name,
            prefix,
            start: Instant::now(),
            sender: Background::start(&script),
        }
    }

    /// Every acknowledged message was received exactly once, as it was sent.
    fn stop(mut self, receiver: &hl7::Peer) -> Tally {
        self.sender.try_write(b"stop\n");
        until("the sender of messages does not end", 3 * DEADLINE, || {
            self.sender.has_ended().then_some(())
        });
        let output = self.sender.output();
        let mut tally = Tally::new(self.name);
        let of = |word: &'static str| {
            let lines = output.lines();
            lines.filter_map(move |line| line.strip_prefix(word)?.strip_prefix(' '))
        };
        tally.repeated = of("again").count();
        let acknowledged: Vec<_> = of("acknowledged").collect();
        // The receiver writes before it acknowledges, but the two outputs come by two pipes.
        let last = acknowledged.last().and_then(|line| line.split(' ').next());
        if let Some(last) = last {
            until("the receiver's output ends", DEADLINE, || {
                receiver
                    .names()
                    .iter()
                    .any(|name| name == last)
                    .then_some(())
            });
        }
        let mut received = receiver.messages();
        received.retain(|line| line.starts_with(self.prefix));
        let sent: Vec<_> = of("sent").collect();
        tally.compare(&sent, received);
        if !output.lines().any(|line| line == "complete") {
            let tail: Vec<_> = output.lines().rev().take(5).collect();
            tally.add(self.start, Err(format!("the sender ended: {tail:?}")));
        }
        if acknowledged.len() != sent.len() || !acknowledged.iter().all(|it| it.ends_with(" AA")) {
            let counts = (sent.len(), acknowledged.len());
            tally.add(self.start, Err(format!("sent, acknowledged: {counts:?}")));
        }
        tally.slowest = Duration::ZERO;
        tally
    }
}

fn length(line: &str) -> usize {
    let length = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    length.unwrap_or_default()
}

#[test]
fn lost_doubled_and_changed_messages_are_failures() {
    let mut tally = Tally::new("messages");
    let sent = ["M0 10 aa", "M1 10 bb", "M2 10 cc", "M3 10 dd"];
    let received = ["M0 10 aa", "M1 10 bb", "M1 10 bb", "M3 10 d0"];
    tally.compare(&sent, received.map(str::to_owned).into());
    assert_eq!((tally.transfers, tally.bytes), (1, 10));
    // M1 came twice, M2 did not come, and of M3 neither version is right.
    assert_eq!(tally.failed, 4, "{:?}", tally.failures);
}
