//! OpenSSL updates its keys in the middle of a stream, and requests updates of the gateway's keys.
//!
//! `s_client` and `s_server` do so when a line of their input begins with `K` (both ends) or `k` (only their
//! own end); all other input is payload.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wardgate_tests::stream::{accept, connect};
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{DEADLINE, Gateway, Pki, free_port, until};

use crate::pair::{A, B, originate, terminate};
use crate::peers::loopback;

/// Key updates that OpenSSL starts, with or without a request for the gateway's update.
const COMMANDS: [(&str, bool); 8] = [
    ("K", true),
    ("k", false),
    ("K", true),
    ("K", true),
    ("k", false),
    ("k", false),
    ("K", true),
    ("k", false),
];

/// A lowered limit, so that the gateway also updates its keys while OpenSSL does.
const KEY_RECORDS: &str = "2";

#[test]
fn terminate_follows_the_key_updates_of_s_client() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    for key_records in [None, Some(KEY_RECORDS)] {
        let pki = Pki::new();
        let (target, port) = listener();
        let wan = free_port();
        let mut site = terminate(&pki, "tcp", wan, port);
        if let Some(records) = key_records {
            site = site.set("key_records", records);
        }
        let gateway = site.start();
        let leaf = pki.leaf(A);
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-brief", "-connect", &loopback(wan)])
            .args(["-servername", B, "-tls1_3", "-cert"])
            .arg(&leaf.certificate)
            .arg("-key")
            .arg(&leaf.key);
        let peer = Peer::start(&mut command);
        let plain = accept(&target);
        converse(peer, &plain);
        assert_counted(&gateway, key_records.is_some());
    }
}

#[test]
fn originate_follows_the_key_updates_of_s_server() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    for key_records in [None, Some(KEY_RECORDS)] {
        let pki = Pki::new();
        let (entry, wan) = (free_port(), free_port());
        let mut site = originate(&pki, "tcp", entry, wan);
        if let Some(records) = key_records {
            site = site.set("key_records", records);
        }
        let gateway = site.start();
        let leaf = pki.leaf(B);
        let mut command = Command::new("openssl");
        command
            .args(["s_server", "-accept", &loopback(wan), "-tls1_3", "-cert"])
            .arg(&leaf.certificate)
            .arg("-key")
            .arg(&leaf.key)
            .args(["-Verify", "2", "-verify_return_error", "-CAfile"])
            .arg(&leaf.trust);
        let peer = Peer::start(&mut command);
        peer.wait_for_port(wan);
        let plain = connect(([127, 0, 0, 1], entry).into());
        converse(peer, &plain);
        assert_counted(&gateway, key_records.is_some());
    }
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

fn assert_counted(gateway: &Gateway, lowered: bool) {
    let asked = COMMANDS.iter().filter(|(_, asks)| *asks).count() as u64;
    let (sealed, opened) = gateway.key_updates();
    assert_eq!(opened, COMMANDS.len() as u64);
    match lowered {
        false => assert_eq!(sealed, asked),
        true => assert!(sealed > asked, "{sealed} updates, {asked} asked for"),
    }
}

/// A program with a pipe for the bytes it sends and one for those it receives. Dropping it ends it.
struct Peer {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Peer {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect("openssl runs");
        let input = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        Self {
            child,
            input,
            output,
        }
    }

    fn wait_for_port(&self, port: u16) {
        let process = wardgate_tests::Process::new(self.child.id());
        until("s_server does not listen", DEADLINE, || {
            process.sees_listener(port).then_some(())
        });
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines to and from OpenSSL at the same time, while it runs the commands. All lines are compared.
fn converse(mut peer: Peer, plain: &TcpStream) {
    let (enough, taken) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _end = End {
            enough: &enough,
            child: &mut peer.child,
        };
        let to_peer = scope.spawn(|| send_until(plain, &enough, &taken));
        let received = Lines::new(&mut peer.output);
        let from_gateway = scope.spawn(|| expect_until_last(received, &taken));
        let mut at_plain = Lines::new(plain);
        let mut count = 0;
        for (command, _) in COMMANDS {
            say(&mut peer.input, count, LINES);
            expect(&mut at_plain, count, LINES);
            count += LINES;
            // OpenSSL recognizes a command at the beginning of a read: the bytes sent before have arrived and
            // are read, and the bytes after wait until the command is read.
            let line = format!("{command}\n");
            peer.input.write_all(line.as_bytes()).expect("it reads");
            until("openssl does not read the command", DEADLINE, || {
                let unread = rustix::io::ioctl_fionread(&peer.input);
                (unread.expect("a pipe knows") == 0).then_some(())
            });
        }
        // With the last keys of both ends.
        say(&mut peer.input, count, LINES);
        expect(&mut at_plain, count, LINES);
        enough.store(true, Ordering::Relaxed);
        let sent = to_peer.join().expect("the plain side is connected");
        let received = from_gateway.join().expect("all lines are there");
        assert_eq!(received, sent);
        assert!(sent > AT_ONCE, "hardly a stream: {sent} lines");
    });
}

/// After a failure, the other threads must not wait forever.
struct End<'a> {
    enough: &'a AtomicBool,
    child: &'a mut Child,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        if std::thread::panicking() {
            let _ = self.child.kill();
        }
    }
}

/// Lines that OpenSSL sends between two commands: 256 KiB.
const LINES: u64 = 4096;
/// Bytes of a line, its end included.
const LINE: usize = 64;
/// Lines that are written at once.
const AT_ONCE: u64 = 1024;

/// Digits: no line begins with a letter that is a command of OpenSSL.
fn lines(first: u64, count: u64) -> Vec<u8> {
    let each = (first..first + count).map(|number| format!("{number:063}\n"));
    each.collect::<String>().into_bytes()
}

fn say(into: &mut impl Write, first: u64, count: u64) {
    let all = lines(first, count);
    into.write_all(&all).expect("the other end reads");
}

/// Sends lines until there are enough, then the last line; returns the number of lines before it.
///
/// `s_client` reads its input only while nothing comes from the network, hence the gaps: the next lines are
/// sent when these were `taken`.
fn send_until(mut plain: &TcpStream, enough: &AtomicBool, taken: &AtomicU64) -> u64 {
    let mut count = 0;
    while !enough.load(Ordering::Relaxed) {
        say(&mut plain, count, AT_ONCE);
        count += AT_ONCE;
        until("openssl does not take what was sent", DEADLINE, || {
            (taken.load(Ordering::Relaxed) == count).then_some(())
        });
    }
    say(&mut plain, LAST, 1);
    count
}

/// The number of the last line.
const LAST: u64 = u64::MAX - 1;

fn expect(from: &mut Lines<impl Read>, first: u64, count: u64) {
    for number in first..first + count {
        assert_eq!(from.next(), number, "a line is lost or altered");
    }
}

fn expect_until_last(mut from: Lines<impl Read>, taken: &AtomicU64) -> u64 {
    for number in 0.. {
        match from.next() {
            LAST => return number,
            other => assert_eq!(other, number, "a line is lost or altered"),
        }
        taken.store(number + 1, Ordering::Relaxed);
    }
    unreachable!("numbers do not end")
}

/// The messages of `s_server` in its output: about a key update, and about an incomplete record.
const REMARKS: [&[u8]; 2] = [b"SSL_do_handshake -> 1\n", b"Read BLOCK\n"];

/// Reads lines of 63 digits. The messages of `s_server` about the handshake come first; its other messages
/// may be anywhere, and are skipped.
struct Lines<R> {
    from: BufReader<R>,
    begun: bool,
}

impl<R: Read> Lines<R> {
    fn new(from: R) -> Self {
        Self {
            from: BufReader::with_capacity(64 << 10, from),
            begun: false,
        }
    }

    /// The number in the next line.
    fn next(&mut self) -> u64 {
        let mut line = Vec::with_capacity(2 * LINE);
        loop {
            let read = self.from.read_until(b'\n', &mut line);
            assert_ne!(read.expect("the other end writes"), 0, "ends too soon");
            if let Some(before) = REMARKS.iter().find_map(|it| line.strip_suffix(*it)) {
                line.truncate(before.len());
            } else if let Some(number) = number(&line) {
                self.begun = true;
                return number;
            } else {
                let text = String::from_utf8_lossy(&line);
                assert!(!self.begun, "no line of ours: {text}");
                line.clear();
            }
        }
    }
}

fn number(line: &[u8]) -> Option<u64> {
    let digits = line
        .strip_suffix(b"\n")
        .filter(|line| line.len() == LINE - 1)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
