//! Attacks by calls that a list allows for one use only.

use rustix::fs::{MemfdFlags, memfd_create};
use socket2::{Domain, Protocol, Socket, Type};

use super::{attack, is_killed, is_refused, tcp};
use crate::hardening::Role;

#[test]
fn a_worker_that_sets_an_option_that_it_does_not_need_is_killed() {
    let ended = attack(
        "narrow::a_worker_that_sets_an_option_that_it_does_not_need_is_killed",
        Role::Worker,
        |_| tcp()?.bind_device(Some(b"lo")),
    );
    is_killed(&ended, "setsockopt");
}

#[test]
fn the_resolver_that_opens_the_packet_filter_is_killed() {
    const NETLINK: i32 = 16;
    const NETFILTER: i32 = 12;
    let ended = attack(
        "narrow::the_resolver_that_opens_the_packet_filter_is_killed",
        Role::Resolver,
        |_| {
            let protocol = Some(Protocol::from(NETFILTER));
            Socket::new(Domain::from(NETLINK), Type::RAW, protocol).map(drop)
        },
    );
    is_killed(&ended, "socket");
}

#[test]
fn the_writer_of_the_log_makes_no_file_in_memory() {
    let ended = attack(
        "narrow::the_writer_of_the_log_makes_no_file_in_memory",
        Role::Journal,
        |_| {
            let made = memfd_create("code", MemfdFlags::CLOEXEC);
            made.map(drop).map_err(Into::into)
        },
    );
    is_refused(&ended);
}

#[test]
fn the_keeper_of_the_state_folder_that_asks_a_device_is_killed() {
    let ended = attack(
        "narrow::the_keeper_of_the_state_folder_that_asks_a_device_is_killed",
        Role::Renewals,
        |_| {
            let waiting = rustix::io::ioctl_fionread(std::io::stdin());
            waiting.map(drop).map_err(Into::into)
        },
    );
    is_killed(&ended, "ioctl");
}
