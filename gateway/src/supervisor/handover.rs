//! The installed program takes the place of this process: it gets the listeners, and this process drains.
//!
//! Both processes accept for a moment, so no client is refused. If the new process does not start, or ends
//! before it serves, this one goes on as if nothing had happened.

use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command as Program, Stdio};
use std::time::Instant;

use tokio::sync::oneshot;

use super::running::Running;
use super::{bind, notice, notify};
use crate::admin::{Answer, Caller};
use crate::audit::Level;
use crate::control::{HandedListener, Reply};
use crate::supervisor::limits::UPGRADE_WITHIN;

/// A program that was started to take the place of this process.
pub(super) struct Upgrade {
    child: Child,
    since: Instant,
    answer: oneshot::Sender<Answer>,
}

/// What this process needs to hand over.
pub(super) struct Handover {
    /// The program's file at the start of this process. After an upgrade of the package it is the new one.
    pub(super) program: PathBuf,
    /// The metrics listener and the admin socket.
    pub(super) sockets: Vec<(HandedListener, OwnedFd)>,
    /// The connection that asked for the listeners last.
    pub(super) asked_by: Option<u64>,
    /// The new program, while it starts.
    pub(super) upgrade: Option<Upgrade>,
    /// The new program, once it serves.
    pub(super) successor: Option<Child>,
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

impl Running {
    /// Starts the installed program. `answer` is used when it serves, or has failed.
    pub(super) fn begin_upgrade(&mut self, answer: oneshot::Sender<Answer>) {
        let refuse = |answer: oneshot::Sender<Answer>, why: String| {
            let _ = answer.send(Reply::refused([why]).into());
        };
        if self.handover.upgrade.is_some() {
            let why = "an upgrade has begun already and has not ended yet".to_owned();
            return refuse(answer, why);
        }
        let Some(socket) = bind::admin_path(&self.config) else {
            let why = "this gateway has no admin socket".to_owned();
            return refuse(answer, why);
        };
        let mut program = Program::new(&self.handover.program);
        program
            .args(["run", "--config"])
            .arg(&self.file)
            .arg("--take-over")
            .arg(socket)
            // These name this process to the service manager's library.
            .env_remove("WATCHDOG_PID")
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .stdin(Stdio::null());
        match program.spawn() {
            Ok(child) => {
                let since = Instant::now();
                self.handover.upgrade = Some(Upgrade {
                    child,
                    since,
                    answer,
                });
            }
            Err(error) => {
                let program = self.handover.program.display();
                refuse(answer, format!("{program} cannot be started: {error}"));
            }
        }
    }

    /// Looks whether the new program has ended or takes too long.
    pub(super) fn look_at_upgrade(&mut self) {
        let Some(mut upgrade) = self.handover.upgrade.take() else {
            return;
        };
        let ended = upgrade.child.try_wait();
        let why = match ended {
            Ok(Some(status)) => format!("it ended ({status}); the log has its reasons"),
            Ok(None) if upgrade.since.elapsed() < UPGRADE_WITHIN => {
                self.handover.upgrade = Some(upgrade);
                return;
            }
            _ => {
                // It serves nobody yet, so nothing is lost.
                let _ = upgrade.child.kill();
                let _ = upgrade.child.wait();
                format!("it did not serve within {} s", UPGRADE_WITHIN.as_secs())
            }
        };
        let reply = Reply::refused([format!(
            "the new program did not take over: {why}; this process goes on"
        )]);
        self.log_reply("upgrade", &reply);
        let _ = upgrade.answer.send(reply.into());
    }

    /// The listeners, for the process that asks.
    pub(super) fn hand_over(&mut self, caller: Caller) -> Answer {
        // Whoever has the listeners reads what hospitals send.
        if !caller.is_trusted() {
            let why = format!(
                "the listeners are handed over to root and to the user of this gateway only, not to uid {}",
                caller.uid
            );
            return Reply::refused([why]).into();
        }
        let (mut listeners, mut descriptors) = (Vec::new(), Vec::new());
        for route in &self.workers.table().routes {
            let Some(listener) = self.workers.listener(route.id()) else {
                continue;
            };
            let address = Some(route.config.listen);
            // Without a descriptor the other process opens its own listener, or says why it cannot.
            if let Ok(descriptor) = listener.as_fd().try_clone_to_owned() {
                listeners.push(HandedListener { address });
                descriptors.push(descriptor);
            }
        }
        for (named, descriptor) in &self.handover.sockets {
            if let Ok(descriptor) = descriptor.try_clone() {
                listeners.push(named.clone());
                descriptors.push(descriptor);
            }
        }
        self.handover.asked_by = Some(caller.connection);
        let reply = Reply {
            listeners,
            ..Reply::done([])
        };
        Answer { reply, descriptors }
    }

    /// The process that has asked for the listeners serves now: this one drains and ends.
    pub(super) async fn taken_over(&mut self, caller: Caller) -> Reply {
        if self.handover.asked_by != Some(caller.connection) {
            return Reply::refused([
                "the listeners were not asked for on this connection, or by another one since"
                    .to_owned(),
            ]);
        }
        if let Some(pid) = caller.pid {
            notify::main_process(pid);
            let text = format!("process {pid} serves now; this process drains and ends");
            notice(&self.journal, Level::Info, text);
        }
        self.handover.sockets.clear();
        self.view.handed_over.notify_waiters();
        self.begin_stop(false).await;
        let reply = Reply::done([format!(
            "process {} serves now; the earlier process ends after its {} open connections",
            caller.pid.unwrap_or_default(),
            self.workers.open()
        )]);
        if let Some(upgrade) = self.handover.upgrade.take() {
            let _ = upgrade.answer.send(reply.clone().into());
            self.handover.successor = Some(upgrade.child);
        }
        reply
    }

    /// Ends this process soon if the one that took over has failed: until then that one is a child of this
    /// process, and the service manager learns of its end, and starts the service again, only after this one.
    pub(super) fn look_at_successor(&mut self) {
        let Some(child) = &mut self.handover.successor else {
            return;
        };
        let Ok(Some(status)) = child.try_wait() else {
            return;
        };
        self.handover.successor = None;
        if !status.success() {
            let text = format!(
                "the process that took over has failed ({status}); this process resets its connections and ends, so \
                 that the service manager starts the gateway again"
            );
            notice(&self.journal, Level::Error, text);
            self.drains.hurry(Instant::now());
        }
    }
}
