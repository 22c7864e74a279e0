//! What is done to the link, the processes and the clocks, and how it is undone.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use socket2::SockRef;

use crate::clock::Clock;
use crate::gateway::Machine;
use crate::net::{Net, Place};

/// What faults are made of.
#[derive(Debug)]
pub(crate) struct Parts {
    // Dropped before the namespaces that they are in.
    pub(crate) machines: [Machine; 2],
    pub(crate) relay: FaultRelay,
    pub(crate) clock: Clock,
    pub(crate) net: Arc<Net>,
}

impl Parts {
    /// The gateway of a site.
    pub(crate) fn machine(&mut self, place: Place) -> &mut Machine {
        match place {
            Place::A => &mut self.machines[0],
            Place::B => &mut self.machines[1],
        }
    }
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The link has no carrier, for less than the timeout.
    ShortCut,
    /// The same for longer than all timeouts.
    LongCut,
    /// Nothing from A reaches B.
    BlackHole,
    /// Packets are dropped at random.
    Loss,
    /// The link answers with resets.
    Resets,
    /// 2 Mbit/s with a short queue.
    Slow,
    /// The relay stops reading.
    Stall,
    /// The relay ends both connections cleanly, without close_notify.
    Truncate,
    /// The relay changes one byte.
    Flip,
    /// The relay resets both connections.
    Reset,
    /// The gateway stops for some seconds, as a virtual machine that is moved does.
    Freeze(Place),
    /// The gateway is killed and started again.
    Kill(Place),
    /// The time of day is after the end of all certificates, for some seconds.
    Expiry,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ShortCut => "link down 2 s",
            Self::LongCut => "link down 12 s",
            Self::BlackHole => "black hole 12 s",
            Self::Loss => "loss 3 %",
            Self::Resets => "resets on the link",
            Self::Slow => "2 Mbit/s",
            Self::Stall => "relay stalls",
            Self::Truncate => "relay truncates",
            Self::Flip => "relay changes a byte",
            Self::Reset => "relay resets",
            Self::Freeze(_) => "gateway frozen 4 s",
            Self::Kill(_) => "gateway killed",
            Self::Expiry => "clock after expiry",
        }
    }

    /// Makes the fault and undoes it.
    pub(crate) fn make(self, parts: &mut Parts) -> Result<(), String> {
        let net = Arc::clone(&parts.net);
        let hold = |seconds| thread::sleep(Duration::from_secs(seconds));
        match self {
            Self::ShortCut | Self::LongCut => {
                net.set_link("down");
                hold(if self == Self::ShortCut { 2 } else { 12 });
                net.set_link("up");
            }
            Self::BlackHole => {
                net.filter(Place::B, &["drop"]);
                hold(12);
                net.clear();
            }
            Self::Loss => {
                for place in Place::ALL {
                    let some = ["numgen", "random", "mod", "100", "<", "3", "drop"];
                    net.filter(place, &some);
                }
                hold(8);
                net.clear();
            }
            Self::Resets => {
                let all = ["meta", "l4proto", "tcp", "reject", "with", "tcp", "reset"];
                net.filter(Place::B, &all);
                hold(1);
                net.clear();
            }
            Self::Slow => {
                net.set_rate(Some("2mbit"));
                hold(8);
                net.set_rate(None);
            }
            Self::Stall => {
                parts.relay.set(Mode::Stall);
                hold(4);
                parts.relay.set(Mode::Pass);
            }
            Self::Truncate => parts.relay.once(Mode::Truncate),
            Self::Flip => parts.relay.once(Mode::Flip),
            Self::Reset => parts.relay.once(Mode::Reset),
            Self::Freeze(place) => {
                let process = parts.machine(place).process;
                process.signal(Signal::STOP);
                hold(4);
                process.signal(Signal::CONT);
            }
            Self::Kill(place) => parts.machine(place).kill_and_start()?,
            Self::Expiry => {
                parts.clock.set(DAYS * 100);
                hold(4);
                parts.clock.set(0);
            }
        }
        Ok(())
    }
}

/// Seconds of a day.
pub(crate) const DAYS: i64 = 86_400;

/// What the relay does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    Stall,
    Truncate,
    Flip,
    Reset,
}

const MODES: [Mode; 5] = [
    Mode::Pass,
    Mode::Stall,
    Mode::Truncate,
    Mode::Flip,
    Mode::Reset,
];

/// A relay between the gateways that changes, cuts or holds what passes.
#[derive(Debug)]
pub(crate) struct FaultRelay {
    mode: Arc<AtomicU32>,
}

impl FaultRelay {
    /// Relays connections at site B from one port to another.
    pub(crate) fn start(net: &Arc<Net>, from: SocketAddr, to: SocketAddr) -> Self {
        let bound = net.spawn(Place::B, move || TcpListener::bind(from));
        let listener = bound.join().expect("no panic").expect("the port is free");
        let mode = Arc::new(AtomicU32::new(0));
        let (net, shared) = (Arc::clone(net), Arc::clone(&mode));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mode = Arc::clone(&shared);
                net.spawn(Place::B, move || relay(client, to, &mode));
            }
        });
        Self { mode }
    }

    fn set(&self, mode: Mode) {
        let index = MODES.iter().position(|one| *one == mode);
        let index = u32::try_from(index.unwrap_or(0)).expect("few");
        self.mode.store(index, Ordering::SeqCst);
    }

    // For long enough that connections in transfer come upon it.
    fn once(&self, mode: Mode) {
        self.set(mode);
        thread::sleep(Duration::from_secs(1));
        self.set(Mode::Pass);
    }
}

fn relay(client: TcpStream, to: SocketAddr, mode: &Arc<AtomicU32>) {
    // Without a server, the client is reset.
    let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
    let Ok(server) = TcpStream::connect_timeout(&to, Duration::from_secs(5)) else {
        return;
    };
    let _ = SockRef::from(&server).set_linger(Some(Duration::ZERO));
    let pairs = [(&client, &server), (&server, &client)].map(|(from, to)| {
        let pair = (from.try_clone(), to.try_clone());
        (pair.0.expect("a descriptor"), pair.1.expect("a descriptor"))
    });
    let pumps = pairs.map(|(from, to)| {
        let mode = Arc::clone(mode);
        thread::spawn(move || pump(from, to, &mode))
    });
    drop((client, server));
    for pump in pumps {
        let _ = pump.join();
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, mode: &AtomicU32) {
    let _ = from.set_read_timeout(Some(Duration::from_millis(100)));
    let mut piece = [0; 4096];
    let reset = |from: &TcpStream| {
        // Both directions end: the other pump fails at its next step.
        let _ = from.shutdown(Shutdown::Both);
    };
    loop {
        let now = MODES[mode.load(Ordering::SeqCst) as usize % MODES.len()];
        if now == Mode::Stall {
            thread::sleep(Duration::from_millis(100));
            continue;
        }
        let count = match from.read(&mut piece) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return reset(&to),
        };
        if count == 0 {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        match now {
            Mode::Truncate => {
                // Half of what came, and a clean end of TCP; what comes later is thrown away.
                let _ = to.write_all(&piece[..count / 2]);
                let _ = SockRef::from(&to).set_linger(None);
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Mode::Reset => {
                let _ = from.shutdown(Shutdown::Read);
                return reset(&to);
            }
            Mode::Flip => piece[count / 2] ^= 0x10,
            Mode::Pass | Mode::Stall => {}
        }
        if to.write_all(&piece[..count]).is_err() {
            return reset(&from);
        }
    }
}
