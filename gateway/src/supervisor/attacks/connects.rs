//! Ways to connect that Landlock does not see: TCP Fast Open and multipath TCP. The lists of system calls refuse them.

use std::io::{self, IoSlice};
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg_addr};
use socket2::{Domain, Protocol, Socket, Type};

use super::{OTHER, attack, is_killed, loopback, tcp};
use crate::hardening::Role;
use crate::sys;

// MSG_FASTOPEN: the call connects to the address, and its data go with the first packet.
const FAST_OPEN: SendFlags = SendFlags::from_bits_retain(0x2000_0000);

fn sendto(_: &Path) -> io::Result<()> {
    let flags = FAST_OPEN.bits().cast_signed();
    tcp()?
        .send_to_with_flags(b"keys", &loopback(OTHER), flags)
        .map(drop)
}

fn sendmsg(_: &Path) -> io::Result<()> {
    let address = (std::net::Ipv4Addr::LOCALHOST, OTHER).into();
    let mut none = SendAncillaryBuffer::default();
    sendmsg_addr(tcp()?, &address, &[IoSlice::new(b"keys")], &mut none, FAST_OPEN)?;
    Ok(())
}

fn sendmmsg(_: &Path) -> io::Result<()> {
    sys::send_fast_open(&tcp()?, OTHER)
}

fn multipath(_: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP))?;
    socket.connect(&loopback(OTHER))
}
