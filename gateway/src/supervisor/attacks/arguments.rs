//! Calls that a list allows with some arguments only: ways to connect that Landlock does not see (TCP Fast Open and
//! multipath TCP), the handler of violations, and limits.

use std::io::{self, IoSlice};
use std::net::Ipv4Addr;
use std::path::Path;

use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrV4, sendmmsg, sendmsg_addr};
use socket2::{Domain, Protocol, Socket, Type};

use super::{OTHER, attack, is_killed, loopback, tcp};
use crate::hardening::Role;
use crate::sys;

// MSG_FASTOPEN: the call connects to the address, without a call of `connect`.
const FAST_OPEN: SendFlags = SendFlags::from_bits_retain(0x2000_0000);
const ELSEWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, OTHER);

fn send(_: &Path) -> io::Result<()> {
    let flags = FAST_OPEN.bits().cast_signed();
    let sent = tcp()?.send_to_with_flags(b"keys", &loopback(OTHER), flags);
    sent.map(drop)
}

fn send_message(_: &Path) -> io::Result<()> {
    let (parts, mut none) = ([IoSlice::new(b"keys")], SendAncillaryBuffer::default());
    sendmsg_addr(tcp()?, &ELSEWHERE, &parts, &mut none, FAST_OPEN)?;
    Ok(())
}

fn send_messages(_: &Path) -> io::Result<()> {
    let (parts, mut none) = ([IoSlice::new(b"keys")], SendAncillaryBuffer::default());
    let address = ELSEWHERE.into();
    let message = MMsgHdr::new_with_addr(&address, &parts, &mut none);
    sendmmsg(tcp()?, &mut [message], FAST_OPEN)?;
    Ok(())
}

fn multipath(_: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP))?;
    socket.connect(&loopback(OTHER))
}

// The journal may open datagram sockets only; the flag is refused on each socket.
fn send_from_datagram_socket(_: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    let sent = socket.send_with_flags(b"keys", FAST_OPEN.bits().cast_signed());
    sent.map(drop)
}

// Expects that `call` with these arguments kills a process. `name` is the test in this file.
fn kills(name: &str, role: Role, call: &str, run: fn(&Path) -> io::Result<()>) {
    is_killed(&attack(&format!("arguments::{name}"), role, run), call);
}

#[test]
fn a_worker_that_sends_by_tcp_fast_open_is_killed() {
    let name = "a_worker_that_sends_by_tcp_fast_open_is_killed";
    kills(name, Role::Worker, "sendto", send);
}

#[test]
fn a_worker_that_sends_a_message_by_tcp_fast_open_is_killed() {
    let name = "a_worker_that_sends_a_message_by_tcp_fast_open_is_killed";
    kills(name, Role::Worker, "sendmsg", send_message);
}

#[test]
fn the_main_thread_that_sends_by_tcp_fast_open_is_killed() {
    let name = "the_main_thread_that_sends_by_tcp_fast_open_is_killed";
    kills(name, Role::Supervisor, "sendto", send);
}

#[test]
fn the_main_thread_that_sends_a_message_by_tcp_fast_open_is_killed() {
    let name = "the_main_thread_that_sends_a_message_by_tcp_fast_open_is_killed";
    kills(name, Role::Supervisor, "sendmsg", send_message);
}

#[test]
fn a_resolver_that_sends_by_tcp_fast_open_is_killed() {
    let name = "a_resolver_that_sends_by_tcp_fast_open_is_killed";
    kills(name, Role::Resolver, "sendto", send);
}

#[test]
fn a_resolver_that_sends_a_message_by_tcp_fast_open_is_killed() {
    let name = "a_resolver_that_sends_a_message_by_tcp_fast_open_is_killed";
    kills(name, Role::Resolver, "sendmsg", send_message);
}

#[test]
fn a_resolver_that_sends_several_messages_by_tcp_fast_open_is_killed() {
    let name = "a_resolver_that_sends_several_messages_by_tcp_fast_open_is_killed";
    kills(name, Role::Resolver, "sendmmsg", send_messages);
}

#[test]
fn a_writer_of_the_log_that_sends_by_tcp_fast_open_is_killed() {
    let name = "a_writer_of_the_log_that_sends_by_tcp_fast_open_is_killed";
    kills(name, Role::Journal, "sendto", send_from_datagram_socket);
}

#[test]
fn the_main_thread_that_connects_by_multipath_tcp_is_killed() {
    let name = "the_main_thread_that_connects_by_multipath_tcp_is_killed";
    kills(name, Role::Supervisor, "socket", multipath);
}

#[test]
fn a_resolver_that_connects_by_multipath_tcp_is_killed() {
    let name = "a_resolver_that_connects_by_multipath_tcp_is_killed";
    kills(name, Role::Resolver, "socket", multipath);
}

#[test]
fn a_worker_that_replaces_the_handler_of_violations_is_killed() {
    let name = "a_worker_that_replaces_the_handler_of_violations_is_killed";
    kills(name, Role::Worker, "rt_sigaction", |_| {
        sys::report_violations()
    });
}

#[test]
fn the_main_thread_that_sets_a_limit_is_killed_whatever_the_address_of_the_limit() {
    let name = "the_main_thread_that_sets_a_limit_is_killed_whatever_the_address_of_the_limit";
    kills(name, Role::Supervisor, "prlimit64", |_| {
        sys::set_limit_at_round_address()
    });
}
