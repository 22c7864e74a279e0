//! Sockets on a real ring.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::super::{Pipe, probe};
use super::*;
use crate::thread_sandbox::ThreadSandbox;

#[test]
fn a_reset_after_a_failed_send_is_not_a_clean_end() {
    on_ring(async |socket, peer| {
        reset(peer);
        socket.wait_readable().await.expect("a reset is readable");
        // The first operation gets the reset error, and Linux reports it only once.
        let (sent, _) = socket.write(vec![0], 0..1).await;
        assert!(sent.is_err(), "{sent:?}");
        let (read, _) = socket.read(vec![0], 0..1).await;
        let error = read.expect_err("not a clean end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_reset_after_a_failed_send_is_not_a_clean_end_for_splice() {
    on_ring(async |socket, peer| {
        let pipe = KernelPipe::new().expect("a pipe");
        reset(peer);
        socket.wait_readable().await.expect("a reset is readable");
        let (sent, _) = socket.write(vec![0], 0..1).await;
        assert!(sent.is_err(), "{sent:?}");
        socket.splice_in(&pipe).expect_err("not a clean end");
    });
}

#[test]
fn both_directions_report_a_timeout_that_the_kernel_reports_once() {
    on_ring(async |socket, peer| {
        // A peer whose window stays closed is given up after this time.
        socket.set_user_timeout(Some(Duration::from_millis(300)));
        let sent = loop {
            if let Err(error) = socket.write(vec![0; 100_000], 0..100_000).await.0 {
                break error;
            }
        };
        assert_eq!(sent.kind(), io::ErrorKind::TimedOut, "{sent}");
        let (read, _) = socket.read(vec![0], 0..1).await;
        let error = read.expect_err("not a clean end");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        let (sent, _) = socket.write(vec![0], 0..1).await;
        let error = sent.expect_err("it is broken");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        drop(peer);
    });
}

/// The network tier has such a peer, with one direction that waits.
#[test]
fn both_directions_report_what_the_network_reported_once() {
    on_ring(async |socket, peer| {
        let code = Errno::HOSTUNREACH.raw_os_error();
        let first = socket.cause::<()>(Err(io::Error::from_raw_os_error(code)));
        assert_eq!(first.expect_err("it failed").raw_os_error(), Some(code));
        reset(peer);
        socket.wait_readable().await.expect("a reset is readable");
        let (read, _) = socket.read(vec![0], 0..1).await;
        let error = read.expect_err("not a clean end");
        assert_eq!(error.raw_os_error(), Some(code), "{error}");
        let (sent, _) = socket.write(vec![0], 0..1).await;
        let error = sent.expect_err("it is broken");
        assert_eq!(error.raw_os_error(), Some(code), "{error}");
    });
}

#[test]
fn a_splice_moves_the_available_bytes_without_waiting_for_more() {
    on_ring(async |socket, mut peer| {
        let pipe = KernelPipe::new().expect("a pipe");
        let none = socket.splice_in(&pipe).expect_err("nothing was sent");
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        peer.write_all(b"there").expect("it is connected");
        socket.wait_readable().await.expect("something is there");
        assert_eq!(socket.splice_in(&pipe).expect("five bytes"), 5);
        assert_eq!(pipe.held(), 5);
        // With a full pipe, `WouldBlock` would mean nothing about the socket.
        let full = socket.splice_in(&pipe).expect_err("it is not empty");
        assert_eq!(full.kind(), io::ErrorKind::InvalidInput);
        // Both ends are the same socket here, so the bytes return to their sender.
        assert_eq!(socket.splice_out(&pipe).await.expect("room for five"), 5);
        let mut back = [0; 5];
        peer.read_exact(&mut back).expect("they come back");
        assert_eq!((&back, pipe.held()), (b"there", 0));
        let empty = socket.splice_out(&pipe).await;
        assert_eq!(
            empty.expect_err("it is empty").kind(),
            io::ErrorKind::InvalidInput
        );
        peer.shutdown(std::net::Shutdown::Write).expect("open");
        socket.wait_readable().await.expect("an end is readable");
        assert_eq!(socket.splice_in(&pipe).expect("a clean end"), 0);
    });
}

#[test]
fn the_peers_clean_end_is_seen_on_a_half_closed_connection() {
    on_ring(async |socket, peer| {
        peer.shutdown(std::net::Shutdown::Write).expect("open");
        let (read, _) = socket.read(vec![0], 0..1).await;
        assert_eq!(read.expect("a clean end"), 0);
    });
    on_ring(async |socket, peer| {
        socket.finish().expect("open");
        drop(peer);
        let (read, _) = socket.read(vec![0], 0..1).await;
        assert_eq!(read.expect("a clean end"), 0);
    });
}

#[test]
fn a_socket_dropped_without_finish_resets() {
    on_ring(async |socket, mut peer| {
        drop(socket);
        let error = peer.read(&mut [0]).expect_err("not a clean end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
    on_ring(async |socket, mut peer| {
        socket.finish().expect("open");
        drop(socket);
        assert_eq!(peer.read(&mut [0]).expect("a clean end"), 0);
    });
}

#[test]
fn both_kinds_of_sockets_are_marked_with_the_dscp() {
    let options = SocketOptions {
        dscp: Some(18),
        ..unmarked()
    };
    for listen in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
        let listener = TcpListener::bind(listen).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let to: SocketAddr = match listen {
            "[::1]:0" => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
            _ => SocketAddr::from(([127, 0, 0, 1], port)),
        };
        let ring = Ring::new(Resolver::start(&ThreadSandbox::none()).expect("a thread"));
        let connected = ring.connect(to, &options).expect("it listens");
        let (accepted, _) = listener.accept().expect("a connection");
        let accepted = RingSocket::new(accepted, &options).expect("good options");
        for socket in [connected, accepted] {
            let socket = SockRef::from(&*socket.stream);
            let is_v6 = socket.domain().expect("it has one") == Domain::IPV6;
            assert_eq!(socket.tos_v4().expect("it is set"), 18 << 2, "{listen}");
            if is_v6 {
                assert_eq!(socket.tclass_v6().expect("it is set"), 18 << 2);
            }
        }
    }
}

fn unmarked() -> SocketOptions {
    SocketOptions {
        keepalive_idle: Duration::from_secs(60),
        keepalive_interval: Duration::from_secs(10),
        keepalive_probes: 6,
        user_timeout: Duration::from_secs(120),
        dscp: None,
        source: None,
    }
}

fn on_ring(test: impl AsyncFnOnce(RingSocket, TcpStream)) {
    let capabilities = probe().expect("io_uring");
    start(&capabilities, async {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let ours = TcpStream::connect(address).expect("it listens");
        let (peer, _) = listener.accept().expect("a connection");
        let options = unmarked();
        let socket = RingSocket::new(ours, &options).expect("good options");
        test(socket, peer).await;
    })
    .expect("a ring");
}

fn reset(peer: TcpStream) {
    let peer = SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .map(|()| peer);
    drop(peer.expect("linger can be set"));
}
