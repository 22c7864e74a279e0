//! The kernel's state of a TCP connection (TCP_INFO of tcp(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// The fields of `struct tcp_info` that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TcpInfo {
    /// State of the connection as a number of the kernel (`tcpi_state`).
    pub state: u8,
    /// Probes of a closed window in a row without an answer (`tcpi_probes`).
    pub probes: u8,
    /// How often the interval between retransmissions or probes was doubled (`tcpi_backoff`).
    pub backoff: u8,
    /// Segments that were sent and not acknowledged (`tcpi_unacked`).
    pub unacked: u32,
    /// Time since data was last sent, including retransmissions (`tcpi_last_data_sent`).
    pub last_data_sent: Duration,
    /// Time since the last acknowledgement arrived (`tcpi_last_ack_recv`).
    pub last_ack_received: Duration,
    /// Bytes acknowledged since the connection began (`tcpi_bytes_acked`).
    pub bytes_acked: u64,
    /// Bytes that the program has written and the kernel has never sent (`tcpi_notsent_bytes`).
    pub unsent_bytes: u32,
    /// Bytes sent, with each retransmission counted again (`tcpi_bytes_sent`, Linux 4.19).
    pub bytes_sent: u64,
    /// Retransmitted bytes among them (`tcpi_bytes_retrans`, Linux 4.19).
    pub bytes_sent_again: u64,
    /// The receive window that the peer last announced, in bytes (`tcpi_snd_wnd`, Linux 5.4).
    pub send_window: u32,
}

impl TcpInfo {
    /// Whether the connection has ended, by a reset of either end or by a timeout.
    #[must_use]
    pub(crate) fn has_ended(&self) -> bool {
        self.state == CLOSE
    }

    /// Bytes that were sent and not acknowledged. If this end opened the connection (`has_connected`), the
    /// acknowledgement of its SYN counted as one byte.
    #[must_use]
    pub(crate) fn in_flight_bytes(&self, has_connected: bool) -> u64 {
        let sent_once = self.bytes_sent.saturating_sub(self.bytes_sent_again);
        let acked = self.bytes_acked.saturating_sub(has_connected.into());
        sent_once.saturating_sub(acked)
    }
}

/// `TCP_CLOSE` (include/net/tcp_states.h).
const CLOSE: u8 = 7;

/// The length of `struct tcp_info` up to the last used field. The kernel appends fields and never moves one
/// (include/uapi/linux/tcp.h).
const LENGTH: usize = 232;

/// Reads the kernel's state of a connection.
///
/// # Errors
/// The kernel's error if `socket` is not a TCP socket. `Unsupported` if the kernel is older than Linux 5.4
/// and lacks fields of `TcpInfo`.
pub(crate) fn tcp_info(socket: impl AsFd) -> io::Result<TcpInfo> {
    let mut bytes = [0_u8; LENGTH];
    let mut length = libc::socklen_t::try_from(LENGTH).map_err(io::Error::other)?;
    let descriptor = socket.as_fd().as_raw_fd();
    // JUSTIFICATION: neither std nor rustix nor socket2 offers TCP_INFO.
    // SAFETY: the file descriptor is open for as long as `socket` is borrowed. The kernel writes at most
    // `length` bytes to `bytes`, which has that size and for which every value is valid. It writes the actual
    // number to `length`. Both variables outlive the call.
    let outcome = unsafe {
        libc::getsockopt(
            descriptor,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            bytes.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    let known = usize::try_from(length).is_ok_and(|length| length >= LENGTH);
    known
        .then(|| parse(&bytes))
        .ok_or_else(|| io::ErrorKind::Unsupported.into())
}

fn parse(bytes: &[u8; LENGTH]) -> TcpInfo {
    let millis = |at| Duration::from_millis(u64::from(u32_at(bytes, at)));
    TcpInfo {
        state: bytes[0],
        probes: bytes[3],
        backoff: bytes[4],
        unacked: u32_at(bytes, 24),
        last_data_sent: millis(44),
        last_ack_received: millis(56),
        bytes_acked: u64_at(bytes, 120),
        unsent_bytes: u32_at(bytes, 144),
        bytes_sent: u64_at(bytes, 200),
        bytes_sent_again: u64_at(bytes, 208),
        send_window: u32_at(bytes, 228),
    }
}

// Linux on x86-64 only, which is little-endian.
fn u32_at(bytes: &[u8; LENGTH], at: usize) -> u32 {
    let part = bytes.get(at..).and_then(|rest| rest.first_chunk());
    part.copied().map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8; LENGTH], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at.saturating_add(4))) << 32
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::thread::sleep;
    use std::time::Instant;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let ours = TcpStream::connect(address).expect("it listens");
        (ours, listener.accept().expect("a connection").0)
    }

    fn until(socket: &TcpStream, is_it: impl Fn(&TcpInfo) -> bool) -> TcpInfo {
        let start = Instant::now();
        loop {
            let info = tcp_info(socket).expect("it is TCP");
            if is_it(&info) {
                return info;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{info:?}");
            sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_receiver_that_does_not_read_closes_its_window_until_it_reads() {
        let (mut ours, mut peer) = pair();
        let fresh = tcp_info(&ours).expect("it is TCP");
        assert!(fresh.send_window > 0, "{fresh:?}");
        ours.set_nonblocking(true).expect("it is a socket");
        let mut sent = 0;
        loop {
            match ours.write(&[7; 65_536]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        let closed = until(&ours, |info| info.unacked == 0);
        assert!(closed.unsent_bytes > 0, "{closed:?}");
        let received = usize::try_from(closed.bytes_acked).expect("it is not much");
        // The connection's SYN counts as one byte.
        let account = received + closed.unsent_bytes as usize;
        assert!(account.abs_diff(sent) <= 1, "{closed:?} of {sent}");
        let mut whole = vec![0; sent];
        peer.read_exact(&mut whole).expect("all of it arrives");
        let done = until(&ours, |info| info.unsent_bytes == 0 && info.unacked == 0);
        assert!(done.bytes_acked > closed.bytes_acked, "{done:?}");
        assert!(done.last_ack_received < Duration::from_secs(5), "{done:?}");
        assert!(done.last_data_sent < Duration::from_secs(5), "{done:?}");
        assert_eq!((done.probes, done.backoff), (0, 0));
        assert_eq!(done.in_flight_bytes(true), 0, "{done:?}");
        assert!(!done.has_ended(), "{done:?}");
    }

    // A path without any traffic would show this too, but needs a network namespace.
    #[test]
    fn unacknowledged_bytes_are_visible_after_a_reset() {
        let (mut ours, peer) = pair();
        ours.set_nonblocking(true).expect("it is a socket");
        let mut sent = 0;
        while let Ok(count) = ours.write(&[7; 65_536]) {
            sent += count as u64;
        }
        let closed = until(&ours, |info| info.unacked == 0);
        // Closed with unread bytes, so the kernel resets the connection.
        drop(peer);
        let ended = until(&ours, TcpInfo::has_ended);
        let left = ended.in_flight_bytes(true) + u64::from(ended.unsent_bytes);
        assert!(left > 0, "{ended:?}");
        let account = closed.bytes_acked + left;
        assert!(account.abs_diff(sent) <= 1, "{ended:?} of {sent}");
    }

    #[test]
    fn a_socket_other_than_tcp_is_an_error() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        tcp_info(&socket).expect_err("UDP has no TCP_INFO");
    }
}
