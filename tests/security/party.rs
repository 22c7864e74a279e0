//! Applications at both plain ends that check every byte and every ending.
//!
//! Both ends know the whole plan of a connection from its number, which is in the first bytes. Each end sends
//! its stream in random pieces with random pauses, half-closes or resets as planned, and compares the
//! received bytes with the plan of the other end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::time::Duration;

use wardgate_tests::DEADLINE;

use crate::dice::{Dice, Pattern};
use crate::plain::{End, connect, listener};

/// The bytes that hold the number of a connection.
const NUMBER_BYTES: usize = 8;

/// The plan of both ends of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) number: u64,
    pub(crate) client: Part,
    pub(crate) target: Part,
}

/// The plan of one end.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    seed: u64,
    /// The number of bytes to send.
    pub(crate) length: u64,
    /// Reset after this number of bytes, in place of a finish.
    pub(crate) reset_after: Option<u64>,
    piece_max: u64,
    /// One of this number of pieces is followed by a pause.
    pause_in: u64,
}

impl Plan {
    /// The plan of one connection: the same for the same seed and number.
    pub(crate) fn of(seed: u64, number: u64, resets: bool) -> Self {
        let mut dice = Dice::of_case(seed, number);
        let mut part = || Part::throw(&mut dice);
        let (mut client, mut target) = (part(), part());
        if resets {
            // A third of all connections is reset: by one end, or by both.
            match dice.below(9) {
                0 => client.reset(&mut dice),
                1 => target.reset(&mut dice),
                2 => {
                    client.reset(&mut dice);
                    target.reset(&mut dice);
                }
                _ => {}
            }
        }
        Self {
            number,
            client,
            target,
        }
    }

    pub(crate) fn is_orderly(&self) -> bool {
        self.client.reset_after.is_none() && self.target.reset_after.is_none()
    }
}

impl Part {
    fn throw(dice: &mut Dice) -> Self {
        // Nothing, a message, a few records, or more than the sockets hold.
        let scale = dice.pick(&[1, 1_000, 40_000, 600_000]);
        let length = dice.below(scale);
        // Small pieces, but not so many that the run takes minutes.
        let piece_max = dice.pick(&[7, 500, 16_384, 100_000]).max(length / 300);
        Self {
            seed: dice.next(),
            length,
            reset_after: None,
            piece_max,
            pause_in: dice.pick(&[3, 40, 1_000]),
        }
    }

    fn reset(&mut self, dice: &mut Dice) {
        self.reset_after = Some(dice.below(self.length + 1));
    }

    fn pattern(&self) -> Pattern {
        Pattern(self.seed)
    }
}

/// The result of one end.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// Whether the end sent its whole stream.
    pub(crate) sent_whole: bool,
    pub(crate) received: u64,
    /// Whether each received byte was the byte that the other end sent at this position.
    pub(crate) is_true: bool,
    pub(crate) end: End,
}

impl Outcome {
    /// Checks the rule that always holds: only bytes that were sent, in that order, and never an incomplete
    /// stream with a clean end. `other` is the sender.
    pub(crate) fn assert_whole_or_told(&self, other: &Part, case: &str) {
        assert!(self.is_true, "{case}: bytes that nobody sent: {self:?}");
        assert_ne!(self.end, End::Late, "{case}: no end came: {self:?}");
        if self.end == End::Orderly {
            assert_eq!(self.received, other.length, "{case}: short and orderly");
            assert_eq!(other.reset_after, None, "{case}: a reset became an end");
        }
    }
}

/// Connects to a gateway's plaintext port and plays the client.
pub(crate) fn play_client(port: u16, plan: &Plan) -> Outcome {
    let stream = connect(port);
    // The gateway may have refused already; then the end shows it.
    let _ = (&stream).write_all(&plan.number.to_be_bytes());
    play(&stream, &plan.client, &plan.target)
}

/// The target's result of a connection.
#[derive(Debug)]
pub(crate) enum Told {
    /// The number of the connection is known.
    Played(u64, Outcome),
    /// The connection ended before its number was received.
    Unnamed(End),
}

/// A target that plays its part of every plan, on its own port. It ends with the process.
pub(crate) fn start_target(
    plan: impl Fn(u64) -> Plan + Send + Sync + Clone + 'static,
    told: &Sender<Told>,
) -> u16 {
    let (listener, port) = listener();
    let told = told.clone();
    std::thread::spawn(move || serve(&listener, &plan, &told));
    port
}

fn serve(
    listener: &TcpListener,
    plan: &(impl Fn(u64) -> Plan + Send + Sync + Clone + 'static),
    told: &Sender<Told>,
) {
    for stream in listener.incoming().flatten() {
        let (plan, told) = (plan.clone(), told.clone());
        std::thread::spawn(move || {
            // The test may have failed and ended.
            let _ = told.send(play_target(&stream, plan));
        });
    }
}

fn play_target(mut stream: &TcpStream, plan: impl Fn(u64) -> Plan) -> Told {
    limit(stream);
    let mut number = [0; NUMBER_BYTES];
    match stream.read_exact(&mut number) {
        Ok(()) => {
            let plan = plan(u64::from_be_bytes(number));
            Told::Played(plan.number, play(stream, &plan.target, &plan.client))
        }
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Told::Unnamed(End::Orderly),
        Err(error) => Told::Unnamed(failure(&error)),
    }
}

fn play(stream: &TcpStream, own: &Part, other: &Part) -> Outcome {
    limit(stream);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(stream, own));
        let (received, is_true, end) = receive(stream, other);
        let sent_whole = sending.join().expect("sending does not panic");
        let end = match end {
            _ if own.reset_after.is_some() => End::Own,
            // Linux reports a reset once, to the first call: here the writer got it.
            End::Orderly if !sent_whole => End::Failed(ErrorKind::BrokenPipe),
            other => other,
        };
        Outcome {
            sent_whole,
            received,
            is_true,
            end,
        }
    })
}

/// Whether all bytes and the end were sent.
fn send(mut stream: &TcpStream, own: &Part) -> bool {
    let mut dice = Dice::new(own.seed);
    let goal = own.reset_after.unwrap_or(own.length);
    let mut sent = 0;
    while sent < goal {
        let length = (1 + dice.below(own.piece_max)).min(goal - sent);
        let mut piece = vec![0; length as usize];
        own.pattern().fill(sent, &mut piece);
        if stream.write_all(&piece).is_err() {
            return false;
        }
        sent += length;
        pause(&mut dice, own.pause_in);
    }
    if own.reset_after.is_some() {
        reset(stream);
        return false;
    }
    stream.shutdown(Shutdown::Write).is_ok()
}

fn receive(mut stream: &TcpStream, other: &Part) -> (u64, bool, End) {
    let mut dice = Dice::new(!other.seed);
    let mut room = vec![0; 100_000];
    let (mut received, mut is_true) = (0, true);
    loop {
        let part = 1 + dice.below(room.len() as u64) as usize;
        let bytes = match stream.read(&mut room[..part]) {
            Ok(0) => return (received, is_true, End::Orderly),
            Ok(count) => &room[..count],
            Err(error) => return (received, is_true, failure(&error)),
        };
        let end = received + bytes.len() as u64;
        is_true &= end <= other.length && other.pattern().holds(received, bytes);
        received = end;
        pause(&mut dice, other.pause_in);
    }
}

// A part of the load, not a wait: a direction must meet both full and empty sockets.
fn pause(dice: &mut Dice, pause_in: u64) {
    if dice.one_in(pause_in) {
        std::thread::sleep(Duration::from_micros(dice.below(2_000)));
    }
}

/// Sends RST at once: on Linux, by a connect to "unspecified".
pub(crate) fn reset(stream: &TcpStream) {
    // A connection that has ended already needs no RST.
    let _ = rustix::net::connect_unspec(stream);
}

fn limit(stream: &TcpStream) {
    for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        set(stream, Some(DEADLINE)).expect("the deadline is not zero");
    }
}

fn failure(error: &std::io::Error) -> End {
    match error.kind() {
        ErrorKind::WouldBlock => End::Late,
        kind => End::Failed(kind),
    }
}
