//! Updates of CA certificates that paired peers send: kept in the state folder, for `wardgate pair renew`.
//!
//! The gateway changes no trust itself: its process may write only into its state folder, and what is there is used
//! only after the command has checked the signature of the old CA.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

use tokio::sync::mpsc;

use super::notice;
use crate::audit::{Journal, messages};
use crate::config::Config;
use crate::pairing::desk::RenewalRequest;
use crate::pairing::limits::{RENEWAL_EVERY, RENEWALS_WAITING_MAX};
use crate::pairing::state::StateFolder;
use crate::pairing::update::{RenewalMessage, Update};
use crate::thread_sandbox::ThreadSandbox;

/// The next request of a worker.
pub(super) async fn next_renewal(
    requests: &mut Option<mpsc::Receiver<RenewalRequest>>,
) -> Option<RenewalRequest> {
    match requests {
        Some(requests) => requests.recv().await,
        None => None,
    }
}

/// The last byte of a renewal connection.
const TAKEN: u8 = 1;
const REFUSED: u8 = 0;

/// Answers the requests of workers, in a thread of its own: only this one may change files, and no other thread waits
/// for them.
pub(super) struct Renewals {
    jobs: SyncSender<Job>,
}

/// A request of a peer that takes part in renewals.
struct Job {
    peer: String,
    request: RenewalRequest,
    folder: StateFolder,
    at: Instant,
}

impl Renewals {
    /// Starts the thread, which ends with this value.
    ///
    /// # Errors
    /// The system gives no thread, or the thread cannot enter its sandbox.
    pub(super) fn start(sandbox: &ThreadSandbox, journal: &Journal) -> io::Result<Self> {
        // LIMIT: RENEWALS_WAITING_MAX; a further request is answered with `None`.
        let (jobs, waiting) = sync_channel::<Job>(RENEWALS_WAITING_MAX);
        let journal = journal.clone();
        sandbox.spawn("renewals", move || {
            let mut keeper = Keeper::default();
            for job in waiting {
                keeper.answer(job, &journal);
            }
        })?;
        Ok(Self { jobs })
    }

    /// Passes a request on.
    pub(super) fn answer(&self, config: &Config, request: RenewalRequest, now: Instant) {
        let is_it = |peer: &&std::sync::Arc<crate::config::Peer>| {
            peer.identities
                .iter()
                .any(|one| one.to_string() == request.identity)
        };
        let peer = config.renewed.iter().find(is_it);
        let Some(peer) = peer.and_then(|peer| peer.name.clone()) else {
            // The connection may have ended.
            let _ = request.answer.send(None);
            return;
        };
        // If the queue is full, the dropped request is the answer.
        let _ = self.jobs.try_send(Job {
            peer,
            request,
            folder: StateFolder::new(&config.gateway.state),
            at: now,
        });
    }
}

/// Reads and writes the state folder.
#[derive(Default)]
struct Keeper {
    /// When an update of a peer was stored last.
    stored: HashMap<String, Instant>,
}

impl Keeper {
    fn answer(&mut self, job: Job, journal: &Journal) {
        let RenewalRequest {
            identity,
            received,
            answer,
        } = job.request;
        let reply = match received {
            None => Some(job.folder.message_for(&job.peer).bytes()),
            Some(bytes) => self.take(&job.folder, journal, (&job.peer, &identity), &bytes, job.at),
        };
        // The connection may have ended.
        let _ = answer.send(reply);
    }

    fn take(
        &mut self,
        folder: &StateFolder,
        journal: &Journal,
        (name, identity): (&str, &str),
        bytes: &[u8],
        now: Instant,
    ) -> Option<Vec<u8>> {
        let message = RenewalMessage::read(bytes).ok().flatten()?;
        let is_soon = self
            .stored
            .get(name)
            .is_some_and(|at| now.duration_since(*at) < RENEWAL_EVERY);
        // LIMIT: RENEWAL_EVERY.
        if is_soon {
            return None;
        }
        self.stored.insert(name.to_owned(), now);
        let outcome = store(folder, name, identity, &message);
        let (reply, message, text) = match outcome {
            Ok(None) => return Some(vec![TAKEN]),
            Ok(Some(text)) => (TAKEN, &messages::TRUST_UPDATE_RECEIVED, text),
            Err(text) => (REFUSED, &messages::TRUST_UPDATE_REFUSED, text),
        };
        notice(journal, message, format!("peer \"{name}\": {text}"));
        Some(vec![reply])
    }
}

/// Stores an update that is later than the stored one. `None` if there is nothing new.
fn store(
    folder: &StateFolder,
    name: &str,
    identity: &str,
    message: &RenewalMessage,
) -> Result<Option<String>, String> {
    folder
        .note_in_use(name, message.in_use)
        .map_err(|error| unwritable(folder.path(), &error))?;
    if message.update.is_empty() {
        return Ok(None);
    }
    let update = Update::read(&message.update).map_err(|error| format!("the update {error}"))?;
    if update.identity != identity {
        return Err(format!(
            "the update is of {:?}, and the peer is {identity:?}",
            update.identity
        ));
    }
    let stored = folder.received(name);
    if stored.as_deref() == Some(&message.update[..]) {
        return Ok(None);
    }
    let known = stored
        .and_then(|bytes| Update::read(&bytes).ok())
        .map_or(0, |update| update.sequence);
    if update.sequence <= known {
        return Err("the update is older than the one that was received before".to_owned());
    }
    folder
        .store(name, &message.update)
        .map_err(|error| unwritable(folder.path(), &error))?;
    Ok(Some(
        "new CA certificates were received; `wardgate pair renew` checks and uses them".to_owned(),
    ))
}

fn unwritable(folder: &Path, error: &io::Error) -> String {
    let is_there = fs::metadata(folder).is_ok();
    let remedy = if is_there {
        "let the user of the gateway write there"
    } else {
        "make this folder for the user of the gateway"
    };
    format!("{} cannot be written: {error}; {remedy}", folder.display())
}
