//! The installed program takes the place of this process: it gets the listeners, and this process drains.
//!
//! The new process accepts when this one has stopped; clients wait in the queue of the listeners meanwhile, so
//! none is refused. If the new process does not start, or ends before it serves, this one goes on as if nothing
//! had happened.

use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::Instant;

use tokio::sync::oneshot;

use super::launcher::Launcher;
use crate::admin::Answer;
use crate::control::HandedListener;

/// A program that was started to take the place of this process.
pub(super) struct Upgrade {
    pub(super) since: Instant,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What this process needs to hand over.
pub(super) struct Handover {
    /// Starts the program's file as it was named at the start of this process. After an upgrade of the package it is
    /// the new one.
    pub(super) launcher: Launcher,
    /// The metrics listener and the admin socket.
    pub(super) sockets: Vec<(HandedListener, OwnedFd)>,
    /// The connection that asked for the listeners last.
    pub(super) asked_by: Option<u64>,
    /// The new program, while it starts.
    pub(super) upgrade: Option<Upgrade>,
    /// Whether the new program has taken over, and runs.
    pub(super) has_successor: bool,
}

/// Copies of the metrics listener and of the admin socket, to be handed over.
pub(super) fn sockets(
    metrics: Option<&TcpListener>,
    admin: Option<&UnixListener>,
) -> Vec<(HandedListener, OwnedFd)> {
    let address = metrics.and_then(|listener| listener.local_addr().ok());
    let metrics = metrics.and_then(|listener| listener.as_fd().try_clone_to_owned().ok());
    let admin = admin.and_then(|listener| listener.as_fd().try_clone_to_owned().ok());
    let metrics = metrics.map(|descriptor| (HandedListener { address }, descriptor));
    let admin = admin.map(|descriptor| (HandedListener { address: None }, descriptor));
    metrics.into_iter().chain(admin).collect()
}
