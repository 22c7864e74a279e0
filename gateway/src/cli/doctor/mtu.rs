//! The size of packets on a path, examined with UDP packets that routers may not split.
//!
//! A host without a program at the UDP port answers with ICMP port unreachable, which proves that the packet
//! arrived. A router that cannot forward the packet answers with ICMP fragmentation needed, which the kernel
//! shows as the MTU of the path. If small packets are answered and large ones get neither answer, a device on
//! the path drops them silently: a black hole. If nothing is answered, only TLS can show one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::net::sockopt;

use super::report::{Side, StepFinding};
use crate::cli::limits::{DOCTOR_MTU_MAX, DOCTOR_MTU_WAIT};

/// What the packets showed. Sizes are bytes of whole IP packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathMtu {
    /// Packets of this size arrive. The interface of this machine would allow `interface`.
    Passes { size: usize, interface: usize },
    /// Small packets arrive, packets of this size do not, and no device reports it.
    BlackHole { size: usize },
    /// Nothing is answered.
    Unknown,
}

/// The fate of one packet.
enum Fate {
    Arrived,
    TooBig,
    Lost,
}

/// The size of a packet that every path has to carry without splitting it (RFC 791, RFC 8200 for IPv6: 1280).
const SMALL: usize = 576;

/// Attempts with smaller sizes: each router on the path may report one.
const STEPS_MAX: usize = 8;

/// Sends packets to the address of a target.
pub(super) fn examine(address: SocketAddr) -> PathMtu {
    try_examine(address).unwrap_or(PathMtu::Unknown)
}

fn try_examine(address: SocketAddr) -> io::Result<PathMtu> {
    let probe = MtuProbe::new(address)?;
    let interface = probe.mtu()?;
    let mut size = interface.min(DOCTOR_MTU_MAX);
    for _ in 0..STEPS_MAX {
        match probe.send(size)? {
            Fate::Arrived => return Ok(PathMtu::Passes { size, interface }),
            Fate::TooBig => {
                let reported = probe.mtu()?;
                if reported >= size {
                    return Ok(PathMtu::Unknown);
                }
                size = reported;
            }
            Fate::Lost => return probe.of_lost(size, interface),
        }
    }
    Ok(PathMtu::Unknown)
}

/// A UDP socket that is connected to the target, so that it gets the errors of the path.
struct MtuProbe {
    socket: UdpSocket,
    headers: usize,
}

impl MtuProbe {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let (any, headers): (IpAddr, usize) = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), 28),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), 48),
        };
        let socket = UdpSocket::bind((any, 0))?;
        if address.is_ipv4() {
            sockopt::set_ip_mtu_discover(&socket, sockopt::Ipv4PathMtuDiscovery::DO)?;
        } else {
            sockopt::set_ipv6_mtu_discover(&socket, sockopt::Ipv6PathMtuDiscovery::DO)?;
        }
        socket.connect(address)?;
        socket.set_read_timeout(Some(DOCTOR_MTU_WAIT))?;
        Ok(Self { socket, headers })
    }

    /// The MTU of the path as the kernel knows it now.
    fn mtu(&self) -> io::Result<usize> {
        let known = match self.headers {
            28 => sockopt::ip_mtu(&self.socket),
            _ => sockopt::ipv6_mtu(&self.socket),
        };
        Ok(usize::try_from(known?).unwrap_or(usize::MAX))
    }

    /// Sends a packet of this size and waits for what it causes.
    fn send(&self, size: usize) -> io::Result<Fate> {
        let payload = vec![0; size.saturating_sub(self.headers)];
        // A pending error of the packet before is reported by the first call, which then sends nothing.
        let sent = self
            .socket
            .send(&payload)
            .or_else(|error| match error.kind() {
                io::ErrorKind::ConnectionRefused => self.socket.send(&payload),
                _ => Err(error),
            });
        let outcome = sent.and_then(|_| self.socket.recv(&mut [0]));
        match outcome {
            Ok(_) => Ok(Fate::Arrived),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Fate::Arrived),
            Err(error) if error.raw_os_error() == Some(TOO_BIG) => Ok(Fate::TooBig),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Fate::Lost),
            Err(error) => Err(error),
        }
    }

    /// A large packet had no answer: it may have been lost once, or nothing is answered at all.
    fn of_lost(&self, size: usize, interface: usize) -> io::Result<PathMtu> {
        if !matches!(self.send(SMALL)?, Fate::Arrived) {
            return Ok(PathMtu::Unknown);
        }
        Ok(match self.send(size)? {
            Fate::Arrived => PathMtu::Passes { size, interface },
            _ => PathMtu::BlackHole { size },
        })
    }
}

const TOO_BIG: i32 = rustix::io::Errno::MSGSIZE.raw_os_error();

const REMEDY: &str = "let the devices on the path report too large packets (ICMP fragmentation needed, ICMPv6 packet too \
                      big), or lower the MTU of this machine's interface to that of the path";

impl PathMtu {
    /// The step `mtu`. `passed` is whether the TLS handshake passed with packets of full size; `None` if there was
    /// none. `passed_small` is whether it passed with small packets only.
    pub(super) fn finding(
        self,
        path: Side,
        passed: Option<bool>,
        passed_small: bool,
    ) -> StepFinding {
        if passed_small {
            return StepFinding::failed(
                path,
                "large packets are lost without an ICMP message: TLS succeeds with small TCP segments only",
                REMEDY,
            );
        }
        match self {
            Self::Passes { size, interface } if size < interface.min(DOCTOR_MTU_MAX) => {
                StepFinding::ok(format!(
                    "packets of {size} bytes pass; a device on the path reports that larger ones do not (the interface \
                     here allows {interface})"
                ))
            }
            Self::Passes { size, .. } => StepFinding::ok(format!("packets of {size} bytes pass")),
            Self::BlackHole { size } if passed == Some(false) => StepFinding::failed(
                path,
                format!(
                    "packets of {size} bytes are lost without an ICMP message, and small ones arrive"
                ),
                REMEDY,
            ),
            Self::BlackHole { size } => StepFinding::warning(
                path,
                format!(
                    "UDP packets of {size} bytes are lost without an ICMP message, and small ones arrive"
                ),
                REMEDY,
            ),
            Self::Unknown if passed == Some(true) => StepFinding::ok(
                "the packets of the TLS handshake passed; nothing replies to UDP packets, so larger ones were not \
                 examined",
            ),
            Self::Unknown => StepFinding::skipped("nothing replies to UDP packets"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_the_full_size_pass_on_loopback() {
        let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let found = examine(free.expect("a free port"));
        let size = DOCTOR_MTU_MAX;
        assert!(
            matches!(found, PathMtu::Passes { size: passed, .. } if passed == size),
            "{found:?}"
        );
    }

    #[test]
    fn a_lost_large_packet_is_a_fault_only_if_tls_fails() {
        let lost = PathMtu::BlackHole { size: 1500 };
        assert!(lost.finding(Side::Wan, Some(false), false).has_failed());
        assert!(!lost.finding(Side::Wan, Some(true), false).has_failed());
        assert!(!lost.finding(Side::OurLan, None, false).has_failed());
        let unknown = PathMtu::Unknown.finding(Side::Wan, Some(false), true);
        assert!(unknown.has_failed());
    }
}
