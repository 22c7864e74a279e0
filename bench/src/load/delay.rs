//! A forwarder that adds a round-trip time: every byte is held for half of it, in each direction.
//!
//! It delays bytes, not packets: the connection of each side is its own, so acknowledgements are not
//! delayed, and it acknowledges at once. What a request waits for its answer is what it shows.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::Between;
use crate::server::{self, Server};

/// Listens on a port that the system gives, and forwards to `to`.
pub(crate) struct Delay {
    server: Server<()>,
}

impl Delay {
    pub(crate) fn start(
        to: SocketAddr,
        round_trip: Duration,
        between: &Between,
    ) -> anyhow::Result<Self> {
        let own = Between {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..between.clone()
        };
        let onward = between.clone();
        let server = Server::start(&own, move |near| {
            let far = server::connect(to, &onward).map_err(io::Error::other)?;
            forward(&near, &far, round_trip / 2)
        })?;
        Ok(Self { server })
    }

    /// Where the generator connects instead.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

/// Pieces that a direction holds at most, and bytes of a piece: together, 64 MiB.
///
/// LIMIT: more than that in half a round trip is not forwarded faster.
const HELD_MAX: usize = 256;
const PIECE: usize = 256 << 10;

/// What was read, and when it is due at the other side; an error is the other side's too.
type Held = (Instant, io::Result<Vec<u8>>);

/// Both directions, until both have ended.
fn forward(near: &TcpStream, far: &TcpStream, hold: Duration) -> io::Result<()> {
    for stream in [near, far] {
        // An answer may be long in coming: that is its reader's matter.
        stream.set_read_timeout(None)?;
    }
    thread::scope(|scope| {
        for (from, to) in [(near, far), (far, near)] {
            let (sender, receiver) = sync_channel(HELD_MAX);
            scope.spawn(move || take(from, &sender, hold));
            scope.spawn(move || give(to, from, &receiver));
        }
    });
    Ok(())
}

/// Reads until the end, an error, or until nobody takes it any more.
fn take(mut from: &TcpStream, held: &SyncSender<Held>, hold: Duration) {
    let mut room = vec![0; PIECE];
    loop {
        let piece = from.read(&mut room).map(|n| room[..n].to_vec());
        // Without this the sender might wait for an acknowledgement that the real path sends at once.
        let _ = rustix::net::sockopt::set_tcp_quickack(from, true);
        let over = piece.as_ref().map_or(true, Vec::is_empty);
        if held.send((Instant::now() + hold, piece)).is_err() || over {
            return;
        }
    }
}

/// Writes each piece when it is due; an end ends, and an error resets.
fn give(mut to: &TcpStream, from: &TcpStream, held: &Receiver<Held>) {
    for (due, piece) in held {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let done = match piece {
            Ok(piece) if piece.is_empty() => to.shutdown(Shutdown::Write),
            Ok(piece) => to.write_all(&piece),
            Err(error) => Err(error),
        };
        if done.is_err() {
            for stream in [to, from] {
                // What fails here is closed already.
                let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
                let _ = stream.shutdown(Shutdown::Both);
            }
            return;
        }
    }
}

/// Reads a round-trip time: `20ms`, `500us` or `1s`, a minute at most.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{text:?} does not begin with a whole number"))?;
    let time = match unit {
        "us" => Duration::from_micros(number),
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        other => return Err(format!("unknown unit {other:?}; write 20ms, 500us or 1s")),
    };
    if time > Duration::from_secs(60) {
        return Err(format!("{text:?} is more than a minute"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_ends_are_delayed_in_both_directions_and_unchanged() {
        const ROUND_TRIP: Duration = Duration::from_millis(40);
        let between = Between::on_loopback(1);
        let echo = Server::start(&between, |mut stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all)?;
            stream.write_all(&all)
        });
        let echo = echo.expect("it listens");
        let delay = Delay::start(echo.address(), ROUND_TRIP, &between).expect("it listens");
        let mut stream = server::connect(delay.address(), &between).expect("it forwards");
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let begun = Instant::now();
        let mut came = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                (&stream).write_all(&sent).expect("it is open");
                stream.shutdown(Shutdown::Write).expect("it is open");
            });
            (&stream).read_to_end(&mut came).expect("it comes back");
        });
        assert!(begun.elapsed() >= ROUND_TRIP);
        assert!(came == sent, "{} of {} came", came.len(), sent.len());
        let _ = stream.flush();
    }

    #[test]
    fn times_are_read_with_their_units_alone() {
        assert_eq!(parse("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(parse("500us"), Ok(Duration::from_micros(500)));
        for text in ["20", "ms", "-1ms", "61s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
