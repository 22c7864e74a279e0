//! MLLP with the Python package `hl7` at both ends of a pair of gateways.
//!
//! Complete or visibly broken: the receiver has a message exactly once, or the sender sees that the message
//! may be missing. No program between the two sends anything a second time.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;

use rustix::process::Signal;
use wardgate_tests::tier::{self, Need, python};
use wardgate_tests::{Background, DEADLINE, Gateway, Pki, Program, free_port, until};

use crate::pair::{self, assert_accepted, originate, terminate};
use crate::peers::loopback;

/// The size of the largest reports: a PDF inside a message.
const LARGE: usize = 10_000_000;

/// Python's names for the errors of a broken connection.
const RESET: &str = "ConnectionResetError";
/// The result when the receiver was killed: the kernel closes the sockets of a process cleanly if the process
/// had read all bytes. The missing acknowledgement shows it to the sender.
const KILLED: &[&str] = &[RESET, "IncompleteReadError"];

#[test]
fn a_message_and_its_acknowledgement_pass() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    chain.sender.does("send ONE 500");
    assert_eq!(chain.sender.accepted(), ["ONE"]);
    chain.stop();
}

#[test]
fn a_message_of_10_mb_arrives_as_it_was_sent() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    chain.sender.does(&format!("send LARGE {LARGE}"));
    chain.sender.does("send SMALL 100");
    assert_eq!(chain.sender.accepted(), ["LARGE", "SMALL"]);
    chain.stop();
}

#[test]
fn pipelined_messages_are_acknowledged_in_their_order() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    for number in 0..40 {
        // Some messages are longer than a record, most are not.
        let bytes = if number % 8 == 3 { 40_000 } else { 300 };
        chain.sender.does(&format!("put M{number} {bytes}"));
    }
    for _ in 0..40 {
        chain.sender.does("take");
    }
    assert_eq!(chain.sender.accepted(), chain.sender.names());
    chain.stop();
}

#[test]
fn many_messages_in_a_row_are_counted_alike_at_both_ends() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    chain.sender.does("row M 1000 2000");
    assert_eq!(chain.sender.accepted().len(), 1000);
    assert_eq!(chain.received().len(), 1000);
    chain.stop();
}

#[test]
fn the_remote_gateway_is_killed_in_the_middle_of_a_message() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    chain.sender.does("send BEFORE 500");
    chain.sender.does(&format!("half MIDDLE {LARGE}"));
    chain.wait_for_bytes_at_the_far_end(1_000_000);
    chain.kill_far_gateway();
    chain.sender.fails("take", &[RESET]);
    chain.receiver.says("reset");
    assert_eq!(chain.receiver.names(), ["BEFORE"]);
    chain.start_far_gateway();
    chain.sender.connects(chain.entry);
    chain.sender.does(&format!("send MIDDLE {LARGE}"));
    assert_eq!(chain.received(), ["BEFORE", "MIDDLE"]);
    assert_eq!(chain.receiver.messages(), chain.sender.messages());
    assert_eq!(chain.receiver.connections(), 2);
}

#[test]
fn the_receiver_is_killed_in_the_middle_of_a_message() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    chain.sender.does("send BEFORE 500");
    chain.sender.does(&format!("half MIDDLE {LARGE}"));
    chain.wait_for_bytes_at_the_far_end(1_000_000);
    chain.receiver.kill();
    assert_eq!(chain.received(), ["BEFORE"]);
    chain.sender.fails("take", KILLED);
    chain.start_receiver();
    chain.sender.connects(chain.entry);
    chain.sender.does(&format!("send MIDDLE {LARGE}"));
    assert_eq!(chain.received(), ["MIDDLE"], "since its new start");
    assert_eq!(
        chain.receiver.connections(),
        1,
        "nobody came but the sender"
    );
}

/// The receiver has the message and has not answered when the remote gateway dies. Only the sender may decide
/// to send it again.
#[test]
fn a_message_under_way_is_not_replayed() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    chain.sender.does("put HOLD 5000");
    chain.receiver.says("received HOLD ");
    chain.kill_far_gateway();
    chain.sender.fails("take", &[RESET]);
    chain.start_far_gateway();
    chain.sender.connects(chain.entry);
    chain.sender.does("send NEXT 500");
    assert_eq!(chain.received(), ["HOLD", "NEXT"]);
    assert_eq!(chain.receiver.connections(), 2);
}

/// Whenever the remote gateway dies within a sequence: acknowledged messages are present, each message is
/// present once, and at most the one message with an error is present without an acknowledgement.
#[test]
fn a_row_of_messages_is_broken_off_at_any_place() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    for turn in 0..5 {
        let row = chain.sender.begins(&format!("row T{turn}- 100000 90000"));
        chain
            .sender
            .says(&format!("acknowledged T{turn}-{} ", 20 + 7 * turn));
        chain.kill_far_gateway();
        chain.sender.expect_failure(row, &[RESET]);
        chain.start_far_gateway();
        chain.sender.connects(chain.entry);
    }
    // After this, all earlier messages have arrived.
    chain.sender.does("send LAST 500");
    let (received, accepted) = (chain.received(), chain.sender.accepted());
    let is_there = |name: &String| received.contains(name);
    assert!(accepted.iter().all(is_there), "one is lost");
    let once: BTreeSet<_> = received.iter().collect();
    assert_eq!(once.len(), received.len(), "one has come twice");
    assert!(received.len() <= accepted.len() + 5, "more than one a turn");
    let sent = chain.sender.messages();
    let came = chain.receiver.messages();
    assert!(came.iter().all(|message| sent.contains(message)));
}

#[test]
fn a_message_that_has_begun_goes_to_no_other_target() {
    if !tier::ready("interop", &[Need::Python]) {
        return;
    }
    let pki = Pki::new();
    let [entry, wan, port, other] = [(); 4].map(|()| free_port());
    let (mut first, mut second) = (Peer::receiver(port), Peer::receiver(other));
    let targets = [loopback(port), loopback(other)];
    let far = terminate(&pki, "mllp", wan, port).targets(&targets);
    let (_far, _near) = (far.start(), originate(&pki, "mllp", entry, wan).start());
    let mut sender = Peer::sender(entry);
    sender.does("put HOLD 500");
    first.says("received HOLD ");
    first.kill();
    sender.fails("take", KILLED);
    // The next connection may go there, and carries what the sender repeats.
    sender.connects(entry);
    sender.does("send NEXT 500");
    second.says("received NEXT ");
    assert_eq!(second.names(), ["NEXT"]);
    assert_eq!(second.connections(), 1);
}

#[test]
fn a_sender_keeps_its_message_while_the_remote_gateway_is_down() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    chain.kill_far_gateway();
    chain.sender.fails("send QUEUED 500", &[RESET]);
    chain.start_far_gateway();
    chain.sender.connects(chain.entry);
    chain.sender.does("send QUEUED 500");
    assert_eq!(chain.sender.accepted(), ["QUEUED"]);
    assert_eq!(chain.received(), ["QUEUED"]);
}

#[test]
fn a_sender_keeps_its_message_while_the_receiver_is_down() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    chain.receiver.kill();
    chain.sender.fails("send QUEUED 500", &[RESET]);
    chain.start_receiver();
    chain.sender.connects(chain.entry);
    chain.sender.does("send QUEUED 500");
    assert_eq!(chain.sender.accepted(), ["QUEUED"]);
    assert_eq!(chain.received(), ["QUEUED"]);
}

/// Sender, two gateways, receiver: all on loopback, and the test may kill each of them.
struct Chain {
    sender: Peer,
    near: Gateway,
    far: Option<Gateway>,
    receiver: Peer,
    entry: u16,
    wan: u16,
    port: u16,
    pki: Pki,
}

impl Chain {
    /// `None` if the programs are missing.
    fn start() -> Option<Self> {
        if !tier::ready("interop", &[Need::Python]) {
            return None;
        }
        let pki = Pki::new();
        let [entry, wan, port] = [(); 3].map(|()| free_port());
        let receiver = Peer::receiver(port);
        let far = Some(terminate(&pki, "mllp", wan, port).start());
        let near = originate(&pki, "mllp", entry, wan).start();
        let sender = Peer::sender(entry);
        Some(Self {
            sender,
            near,
            far,
            receiver,
            entry,
            wan,
            port,
            pki,
        })
    }

    fn far(&self) -> &Gateway {
        self.far.as_ref().expect("it was not killed")
    }

    fn kill_far_gateway(&mut self) {
        let far = self.far.take().expect("it was not killed yet");
        far.process().signal(Signal::KILL);
        let (status, _) = far.wait(DEADLINE);
        assert!(!status.success());
        // The kernel removes a ring after the end of its process, and the listener with it.
        until("the port does not become free", DEADLINE, || {
            TcpListener::bind(loopback(self.wan)).ok()
        });
    }

    fn start_far_gateway(&mut self) {
        self.far = Some(terminate(&self.pki, "mllp", self.wan, self.port).start());
    }

    fn start_receiver(&mut self) {
        self.receiver = Peer::receiver(self.port);
    }

    fn wait_for_bytes_at_the_far_end(&self, bytes: u32) {
        until("the message does not arrive", DEADLINE, || {
            let opened = self.far().metric("wardgate_opened_bytes_total");
            (opened >= f64::from(bytes)).then_some(())
        });
    }

    /// The names of the messages that the receiver has, at least those that the sender knows of: the lines of
    /// two programs come through two pipes.
    fn received(&mut self) -> Vec<String> {
        let last = self.sender.accepted().pop().expect("it accepted one");
        self.receiver.says(&format!("received {last} "));
        self.receiver.names()
    }

    /// Ends all programs cleanly. Both ends have the same messages, and both gateways log one complete
    /// connection.
    fn stop(mut self) {
        assert_eq!(self.received(), self.sender.names());
        assert_eq!(self.receiver.messages(), self.sender.messages());
        self.sender.does("close");
        for (gateway, peer) in [(&self.near, pair::B), (self.far(), pair::A)] {
            for line in gateway.wait_for_connections(1) {
                assert_accepted(&line, peer);
                assert_eq!(line.text("reason"), "complete", "{line:?}");
            }
        }
        self.near.stop();
        self.far.expect("it was not killed").stop();
    }
}

/// One of the two programs, with its output.
pub(crate) struct Peer {
    program: Background,
    commands: usize,
}

impl Peer {
    pub(crate) fn receiver(port: u16) -> Self {
        let program = script("receiver.py").arg(port.to_string());
        let program = Background::listening(&program, port);
        Self {
            program,
            commands: 0,
        }
    }

    /// A sender that is connected.
    pub(crate) fn sender(port: u16) -> Self {
        let program = Background::start(&script("sender.py"));
        let mut sender = Self {
            program,
            commands: 0,
        };
        sender.connects(port);
        sender
    }

    fn kill(&mut self) {
        self.program.process().signal(Signal::KILL);
        until("it does not die", DEADLINE, || {
            self.program.has_ended().then_some(())
        });
    }

    fn connects(&mut self, port: u16) {
        self.does(&format!("connect {port}"));
    }

    /// Begins with a command, and returns its number.
    fn begins(&mut self, command: &str) -> usize {
        self.commands += 1;
        let line = format!("{} {command}\n", self.commands);
        self.program.try_write(line.as_bytes());
        self.commands
    }

    /// Runs a command.
    pub(crate) fn does(&mut self, command: &str) {
        let number = self.begins(command);
        let line = self.waits_for_one_of([&format!("done {number}"), &format!("failed {number} ")]);
        assert!(line.starts_with("done"), "{command}: {line}");
    }

    /// Runs a command that fails with one of these errors.
    fn fails(&mut self, command: &str, errors: &[&str]) {
        let number = self.begins(command);
        self.expect_failure(number, errors);
    }

    /// The command with this number fails with one of these errors.
    fn expect_failure(&mut self, number: usize, errors: &[&str]) {
        let line = self.waits_for_one_of([&format!("failed {number} "), &format!("done {number}")]);
        let mut expected = errors
            .iter()
            .map(|error| format!("failed {number} {error}"));
        assert!(
            expected.any(|expected| expected == line),
            "{line}, not {errors:?}"
        );
    }

    /// Waits for a line with this beginning.
    pub(crate) fn says(&mut self, beginning: &str) {
        self.waits_for_one_of([beginning, beginning]);
    }

    fn waits_for_one_of(&mut self, beginnings: [&str; 2]) -> String {
        until(&format!("nobody says {beginnings:?}"), DEADLINE, || {
            let ended = self.program.has_ended();
            let line = beginnings.iter().find_map(|words| self.lines(words).pop());
            assert!(
                line.is_some() || !ended,
                "it ended: {}",
                self.program.output()
            );
            line
        })
    }

    /// The lines with this beginning, until now.
    fn lines(&self, beginning: &str) -> Vec<String> {
        let output = self.program.output();
        let lines = output.lines().filter(|line| line.starts_with(beginning));
        lines.map(str::to_owned).collect()
    }

    /// The sent or received messages: name, length and digest of each.
    pub(crate) fn messages(&self) -> Vec<String> {
        let lines = [self.lines("sent "), self.lines("received ")].concat();
        let behind = |line: &String| line.split_once(' ').map(|(_, rest)| rest.to_owned());
        lines.iter().filter_map(behind).collect()
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |line: &String| line.split(' ').next().map(str::to_owned);
        self.messages().iter().filter_map(name).collect()
    }

    /// The names of accepted messages, in the order in which the sender learned of it.
    pub(crate) fn accepted(&self) -> Vec<String> {
        let name = |line: &String| line.split(' ').nth(1).map(str::to_owned);
        let lines = self.lines("acknowledged ");
        assert!(lines.iter().all(|line| line.ends_with(" AA")), "{lines:?}");
        lines.iter().filter_map(name).collect()
    }

    fn connections(&self) -> usize {
        self.lines("connected").len()
    }
}

/// A script of the folder `hl7`.
pub(crate) fn script(name: &str) -> Program {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/hl7");
    Program::new(python()).arg(folder.join(name))
}
