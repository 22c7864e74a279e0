//! The plain side of a gateway: applications that connect, and targets.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wardgate_tests::{DEADLINE, Gateway, until};

/// A marker for the content of a study: an association request, so that a DICOM route accepts it. No byte of
/// it may reach a wrong receiver.
pub(crate) const MARKER: &[u8] = b"\x01\x00\x00\x00\x00\x44\x00\x01\x00\x00\
    MARKER^PATIENT^^OF^THIS^TEST^^^^\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The PDU for an application without a reachable target: a transient rejection (PS3.8 table 9-21).
const REJECTED: &[u8] = &[3, 0, 0, 0, 0, 4, 0, 2, 3, 1];

/// The PDU for an application whose association is aborted between two PDUs (PS3.8 table 9-26).
const ABORTED: &[u8] = &[7, 0, 0, 0, 0, 4, 0, 0, 2, 0];

/// `127.0.0.1:port`.
pub(crate) fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// How a stream ended, as its reader saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN: the received bytes claim to be complete.
    Orderly,
    /// Reset or another failure: visibly broken.
    Failed(ErrorKind),
    /// FIN after a DICOM PDU that reports the failure.
    Told,
    /// The reader reset the connection itself, which gives it no information.
    Own,
    /// Nothing within the waiting time of a test.
    Late,
}

impl End {
    /// Whether the reader saw the failure.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Failed(_) | Self::Told)
    }
}

/// The received bytes, and how the stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
}

/// Reads to the end of the stream.
pub(crate) fn receive_all(mut stream: &TcpStream) -> Received {
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("the deadline is not zero");
    let mut bytes = Vec::new();
    let end = match stream.read_to_end(&mut bytes) {
        Ok(_) => match [REJECTED, ABORTED]
            .into_iter()
            .any(|word| bytes.ends_with(word))
        {
            true => {
                bytes.truncate(bytes.len() - REJECTED.len());
                End::Told
            }
            false => End::Orderly,
        },
        Err(error) if error.kind() == ErrorKind::WouldBlock => End::Late,
        Err(error) => End::Failed(error.kind()),
    };
    Received { bytes, end }
}

/// Connects to a gateway's plaintext port as an application does.
pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(loopback(port)).expect("the gateway listens");
    stream.set_nodelay(true).expect("TCP has the option");
    stream
}

/// Sends the marker to a gateway's plaintext port and returns the result.
pub(crate) fn offer_marker(port: u16) -> Received {
    offer(connect(port))
}

fn offer(mut stream: TcpStream) -> Received {
    let written = stream.write_all(MARKER);
    let mut received = receive_all(&stream);
    // A reset that came before the marker is reported once, by the write; the read after it sees the end of a stream.
    if let (Err(error), End::Orderly) = (written, received.end) {
        received.end = End::Failed(error.kind());
    }
    received
}

#[test]
fn a_reset_before_the_marker_is_seen_as_a_failure() {
    let (listener, port) = listener();
    let stream = connect(port);
    let (far, _) = listener.accept().expect("it is connected");
    wardgate_tests::stream::reset(far);
    // A poll does not take the error.
    let mut polled = [PollFd::new(&stream, PollFlags::IN)];
    until("the reset comes", DEADLINE, || {
        poll(&mut polled, Some(&Timespec::default())).expect("the socket is open");
        polled[0].revents().contains(PollFlags::ERR).then_some(())
    });
    let received = offer(stream);
    assert_eq!(received.end, End::Failed(ErrorKind::ConnectionReset));
}

/// Waits for the next connection at `listener`.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    listener
        .set_nonblocking(true)
        .expect("a listener has the option");
    let (stream, _) = until("nobody connects", DEADLINE, || listener.accept().ok());
    stream
        .set_nonblocking(false)
        .expect("a stream has the option");
    stream.set_nodelay(true).expect("TCP has the option");
    stream
}

/// A loopback port of a test.
pub(crate) fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

/// A silent target that counts its connections and the bytes it receives. It ends with the process.
#[derive(Clone)]
pub(crate) struct Witness {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Witness {
    pub(crate) fn start() -> Self {
        let (listener, port) = listener();
        let witness = Self {
            port,
            connections: Arc::default(),
            heard: Arc::default(),
        };
        let ours = witness.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                witness.connections.fetch_add(1, Ordering::SeqCst);
                let heard = Arc::clone(&witness.heard);
                std::thread::spawn(move || listen_to(stream, &heard));
            }
        });
        ours
    }

    /// The number of connections.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The received bytes.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.heard.lock().expect("no holder panics").clone()
    }

    /// Checks that no connection ever came.
    pub(crate) fn assert_alone(&self, case: &str) {
        assert_eq!(self.connections(), 0, "{case}: the target was reached");
        assert_eq!(self.heard(), b"", "{case}: the target heard something");
    }
}

fn listen_to(mut stream: TcpStream, heard: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 {
            return;
        }
        let mut heard = heard.lock().expect("no holder panics");
        heard.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
}

/// Checks that there was no internal error: a panic in a connection's task ends only that connection, and
/// would look like the failure that the test expects.
pub(crate) fn assert_sound(gateway: &Gateway) {
    let output = gateway.output();
    assert!(!output.contains("panicked"), "{output}");
    assert!(!output.contains("internal error"), "{output}");
}

/// The value of one metric for one route.
pub(crate) fn of_route(gateway: &Gateway, metric: &str, route: &str) -> u64 {
    let text = gateway.metrics();
    let start = format!("{metric}{{route=\"{route}\"}} ");
    text.lines()
        .find_map(|line| line.strip_prefix(&start)?.parse().ok())
        .unwrap_or_else(|| panic!("no {start} in\n{text}"))
}
