//! The commands that hand the listeners over to another process.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::handover::Upgrade;
use super::running::Running;
use super::{notice, notify};
use crate::admin::{Answer, Caller};
use crate::audit::messages;
use crate::control::{CommandReply, HandedListener};
use crate::route::Route;
use crate::supervisor::limits::UPGRADE_WITHIN;

impl Running {
    /// Starts the installed program. `answer` is used when it serves, or has failed.
    pub(super) fn begin_upgrade(&mut self, answer: oneshot::Sender<Answer>) {
        let refuse = |answer: oneshot::Sender<Answer>, why: String| {
            let _ = answer.send(CommandReply::refused([why]).into());
        };
        if let Some(why) = self.obstacle_of_upgrade() {
            return refuse(answer, why);
        }
        if self.handover.upgrade.is_some() {
            let why = "another upgrade is in progress".to_owned();
            return refuse(answer, why);
        }
        match self.handover.launcher.launch() {
            Ok(()) => {
                let since = Instant::now();
                self.handover.upgrade = Some(Upgrade { since, answer });
            }
            Err(why) => refuse(answer, why),
        }
    }

    // What the new process would not know.
    fn obstacle_of_upgrade(&self) -> Option<String> {
        if let Some(problem) = self.still_used.first() {
            return Some(format!(
                "the new process could not read what this one still uses; fix this first: {problem}"
            ));
        }
        let routes = &self.workers.table().routes;
        let drained = routes
            .iter()
            .find(|route| self.drains.is_by_command(route.id()));
        let in_maintenance = |route: &&Arc<Route>| {
            let mut targets = route.targets.all.iter();
            targets.any(|one| one.state.is_in_maintenance())
        };
        if let Some(route) = routes.iter().find(in_maintenance) {
            return Some(format!(
                "a target of route \"{}\" is in maintenance, and the new process would use it again; run `wardgate \
                 maintenance --off` first, or remove the target and reload",
                route.config.name
            ));
        }
        drained.map(|route| {
            let name = &route.config.name;
            format!(
                "route \"{name}\" is drained, and the new process would accept on it again; run `wardgate drain \
                 --undo {name}` first, or remove the route and reload"
            )
        })
    }

    /// Looks whether the new program has ended or takes too long.
    pub(super) fn look_at_upgrade(&mut self) {
        self.look_at_successor();
        let Some(upgrade) = self.handover.upgrade.take() else {
            return;
        };
        let why = match self.handover.launcher.try_ended() {
            Some(status) => format!("it ended ({status}), and the log has the reasons"),
            None if upgrade.since.elapsed() < UPGRADE_WITHIN => {
                self.handover.upgrade = Some(upgrade);
                return;
            }
            None => {
                // It serves no client yet, so nothing is lost.
                self.handover.launcher.kill();
                format!("it was not ready within {} s", UPGRADE_WITHIN.as_secs())
            }
        };
        let reply = CommandReply::refused([format!(
            "the new process did not take over: {why}; the running process continues"
        )]);
        self.log_reply("upgrade", &reply);
        let _ = upgrade.answer.send(reply.into());
    }

    /// The listeners, for the process that asks.
    pub(super) fn hand_over(&mut self, caller: Caller) -> Answer {
        // A process with the listeners reads what hospitals send.
        if !caller.is_trusted() {
            let why = format!(
                "the listeners are handed over to root and to the user of this gateway only, not to uid {}",
                caller.uid
            );
            return CommandReply::refused([why]).into();
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
        let text = format!("{} listeners are handed to {caller}", listeners.len());
        let reply = CommandReply {
            listeners,
            ..CommandReply::done([text])
        };
        Answer { reply, descriptors }
    }

    /// The process that has asked for the listeners serves now: this one drains and ends.
    pub(super) async fn taken_over(&mut self, caller: Caller) -> CommandReply {
        if self.handover.asked_by != Some(caller.connection) {
            return CommandReply::refused([
                "this connection has not asked for the listeners, or another one has asked since"
                    .to_owned(),
            ]);
        }
        if let Some(pid) = caller.pid {
            notify::main_process(pid);
            let text =
                format!("process {pid} serves now; this process drains its connections and ends");
            notice(&self.journal, &messages::SUCCEEDED, text);
        }
        self.handover.sockets.clear();
        self.view.handed_over.send_replace(true);
        self.begin_stop(false).await;
        let reply = CommandReply::done([format!(
            "process {} serves now; the earlier process drains its {} open connections and ends",
            caller.pid.unwrap_or_default(),
            self.workers.open()
        )]);
        if let Some(upgrade) = self.handover.upgrade.take() {
            let _ = upgrade.answer.send(reply.clone().into());
            self.handover.has_successor = true;
        }
        reply
    }

    // While this process drains, its launcher is the parent of the new one, so the service manager does not notice the end
    // of the new one. The service then begins again with the end of this process.
    fn look_at_successor(&mut self) {
        if !self.handover.has_successor {
            return;
        }
        if let Some(status) = self.handover.launcher.try_ended() {
            self.handover.has_successor = false;
            // It was stopped, or another process has taken its place in turn.
            if status.success() {
                return;
            }
            let text = format!(
                "the process that serves in place of this one has ended ({status}); this one ends at once, so \
                 that the service manager starts the service again"
            );
            notice(&self.journal, &messages::SUCCESSOR_ENDED, text);
            self.drains.hurry(Instant::now());
        }
    }
}
