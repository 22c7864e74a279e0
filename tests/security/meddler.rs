//! An attacker on the path who changes bytes once, at one position of one direction.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::dice::Dice;
use crate::party::reset;
use crate::plain::{connect, listener};

/// One change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deed {
    pub(crate) direction: Direction,
    /// Bytes of this direction that pass before the change.
    pub(crate) after: u64,
    pub(crate) act: Act,
}

/// The direction of the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

/// The kind of the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// One bit is flipped.
    Flip { bit: u8 },
    /// Up to this number of bytes is dropped.
    Drop { count: u64 },
    /// Up to this number of bytes is repeated.
    Repeat { count: u64 },
    /// The rest of one piece is swapped in blocks of this number of bytes.
    Reorder { count: u64 },
    /// FIN in this direction; the other continues.
    Truncate,
    /// FIN in both directions.
    Cut,
    /// RST in both directions.
    Reset,
}

impl Deed {
    pub(crate) fn throw(dice: &mut Dice, length: u64) -> Self {
        let count = 1 + dice.below(60);
        let act = dice.pick(&[
            Act::Flip {
                bit: (count % 8) as u8,
            },
            Act::Drop { count },
            Act::Repeat { count },
            Act::Reorder { count },
            Act::Truncate,
            Act::Cut,
            Act::Reset,
        ]);
        // A third in the handshake, the others anywhere, including the very end.
        let after = if dice.one_in(3) {
            dice.below(3_000)
        } else {
            dice.below(4_000 + length)
        };
        Self {
            direction: dice.pick(&[Direction::Up, Direction::Down]),
            after,
            act,
        }
    }
}

/// A relay that makes the requested changes, one connection after the other. It ends with the process.
pub(crate) struct Meddler {
    pub(crate) port: u16,
    orders: Arc<Mutex<Option<Order>>>,
}

/// A change, and whether the stream was long enough for it.
#[derive(Clone)]
struct Order {
    deed: Deed,
    done: Arc<AtomicBool>,
}

impl Meddler {
    pub(crate) fn start(target: u16) -> Self {
        let (listener, port) = listener();
        let orders = Arc::<Mutex<Option<Order>>>::default();
        let ours = Arc::clone(&orders);
        std::thread::spawn(move || serve(&listener, target, &ours));
        Self { port, orders }
    }

    /// Sets the change for the next connection; the returned flag becomes true when it is done.
    pub(crate) fn order(&self, deed: Deed) -> Arc<AtomicBool> {
        let done = Arc::<AtomicBool>::default();
        let order = Order {
            deed,
            done: Arc::clone(&done),
        };
        *self.orders.lock().expect("no holder panics") = Some(order);
        done
    }
}

fn serve(listener: &TcpListener, target: u16, orders: &Mutex<Option<Order>>) {
    for near in listener.incoming().flatten() {
        let order = orders.lock().expect("no holder panics").take();
        let order = order.expect("an order comes before its connection");
        std::thread::spawn(move || relay(&near, &connect(target), &order));
    }
}

fn relay(near: &TcpStream, far: &TcpStream, order: &Order) {
    std::thread::scope(|scope| {
        scope.spawn(|| pass(near, far, Direction::Up, order));
        pass(far, near, Direction::Down, order);
    });
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, direction: Direction, order: &Order) {
    let mut passed = 0;
    let mut room = [0; 4096];
    loop {
        let count = match from.read(&mut room) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(count) => count,
            // A reset is forwarded as a reset.
            Err(_) => return reset(to),
        };
        let mut piece = room[..count].to_vec();
        let place = order
            .deed
            .after
            .checked_sub(passed)
            .map(|place| place as usize);
        passed += count as u64;
        let mut goes_on = true;
        if let Some(place) = place.filter(|place| *place < count)
            && direction == order.deed.direction
        {
            order.done.store(true, Ordering::SeqCst);
            goes_on = meddle(order.deed.act, place, &mut piece);
        }
        if to.write_all(&piece).is_err() {
            return reset(from);
        }
        if !goes_on {
            return end(order.deed.act, from, to);
        }
    }
}

/// Changes a piece; returns whether the stream continues after it.
fn meddle(act: Act, place: usize, piece: &mut Vec<u8>) -> bool {
    let rest = piece.len() - place;
    let some = |count: u64| (count as usize).min(rest);
    match act {
        Act::Flip { bit } => piece[place] ^= 1 << bit,
        Act::Drop { count } => {
            piece.drain(place..place + some(count));
        }
        Act::Repeat { count } => {
            let twice = piece[place..place + some(count)].to_vec();
            piece.splice(place..place, twice);
        }
        Act::Reorder { count } => piece[place..].rotate_left(some(count)),
        Act::Truncate | Act::Cut | Act::Reset => {
            piece.truncate(place);
            return false;
        }
    }
    true
}

fn end(act: Act, mut from: &TcpStream, to: &TcpStream) {
    match act {
        Act::Truncate => {
            let _ = to.shutdown(Shutdown::Write);
            // The sender may continue to send; its bytes are dropped.
            let mut void = [0; 4096];
            while from.read(&mut void).is_ok_and(|count| count > 0) {}
        }
        Act::Cut => {
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        }
        _ => {
            reset(to);
            reset(from);
        }
    }
}
