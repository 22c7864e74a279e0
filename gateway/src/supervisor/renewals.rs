//! Updates of CA certificates that paired peers send: kept in the state folder, for `wardgate pair renew`.
//!
//! The gateway changes no trust itself: its process may write only into its state folder, and what is there is used
//! only after the command has checked the signature of the old CA.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Instant, SystemTime};

use rustls::pki_types::CertificateDer;

use tokio::sync::mpsc;

use super::materials::Materials;
use super::notice;
use crate::audit::{Journal, messages};
use crate::config::Config;
use crate::pairing::limits::{RENEWAL_EVERY, RENEWALS_WAITING_MAX};
use crate::pairing::requests::RenewalRequest;
use crate::pairing::state::StateFolder;
use crate::pairing::update::{RenewalMessage, Update, UpdateError};
use crate::pki::{Trust, partner};
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
    /// What is loaded of the peer's trust file.
    trust: Option<Arc<Trust>>,
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
            let mut writer = StateWriter::default();
            for job in waiting {
                writer.answer(job, &journal);
            }
        })?;
        Ok(Self { jobs })
    }

    /// Passes a request on.
    pub(super) fn answer(
        &self,
        (config, materials): (&Config, &Materials),
        request: RenewalRequest,
        now: Instant,
    ) {
        let is_it = |peer: &&Arc<crate::config::Peer>| {
            peer.identities
                .iter()
                .any(|one| one.to_string() == request.identity)
        };
        let peer = config.renewed.iter().find(is_it);
        let trust = peer.and_then(|peer| materials.trust(&peer.trust));
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
            trust,
            at: now,
        });
    }
}

/// Reads and writes the state folder.
#[derive(Default)]
struct StateWriter {
    /// When an update of a peer was stored last.
    stored: HashMap<String, Instant>,
    /// When a message of a peer was last taken that no CA has signed: what it reports is noted, and a refusal is logged.
    unsigned: HashMap<String, Instant>,
}

impl StateWriter {
    fn answer(&mut self, job: Job, journal: &Journal) {
        let RenewalRequest {
            identity,
            received,
            answer,
        } = job.request;
        let reply = match received {
            None => Some(job.folder.message_for(&job.peer).bytes()),
            Some(bytes) => {
                let sender = Sender {
                    name: &job.peer,
                    identity,
                    trusted: job
                        .trust
                        .map_or_else(Vec::new, |trust| trust.anchors.clone()),
                };
                self.take(&job.folder, journal, &sender, &bytes, job.at)
            }
        };
        // The connection may have ended.
        let _ = answer.send(reply);
    }

    fn take(
        &mut self,
        folder: &StateFolder,
        journal: &Journal,
        sender: &Sender<'_>,
        bytes: &[u8],
        now: Instant,
    ) -> Option<Vec<u8>> {
        let name = sender.name;
        let message = RenewalMessage::read(bytes).ok().flatten()?;
        // LIMIT: RENEWAL_EVERY.
        let is_soon = |earlier: &HashMap<String, Instant>| {
            let earlier = earlier.get(name);
            earlier.is_some_and(|at| now.duration_since(*at) < RENEWAL_EVERY)
        };
        if is_soon(&self.stored) {
            return None;
        }
        // Messages without the signature of a CA have a limit of their own, so that they do not stand in the way of an
        // update.
        let is_first = !is_soon(&self.unsigned);
        let outcome = match is_first {
            true => note_in_use(folder, name, &message),
            false => Ok(()),
        };
        let outcome = outcome.and_then(|()| store(folder, sender, &message, SystemTime::now()));
        let (reply, message, text) = match outcome {
            Ok(Some(text)) => {
                self.stored.insert(name.to_owned(), now);
                (TAKEN, &messages::TRUST_UPDATE_RECEIVED, text)
            }
            other => {
                if is_first {
                    self.unsigned.insert(name.to_owned(), now);
                }
                match other {
                    Err(text) if is_first => (REFUSED, &messages::TRUST_UPDATE_REFUSED, text),
                    Err(_) => return Some(vec![REFUSED]),
                    Ok(_) => return Some(vec![TAKEN]),
                }
            }
        };
        notice(journal, message, format!("peer \"{name}\": {text}"));
        Some(vec![reply])
    }
}

/// A peer on a renewal connection.
struct Sender<'a> {
    /// The name of its table.
    name: &'a str,
    /// The identity by which it was accepted.
    identity: String,
    /// The CAs that are trusted for it.
    trusted: Vec<CertificateDer<'static>>,
}

impl Sender<'_> {
    /// Checks an update of the peer as `wardgate pair renew` will.
    fn check(
        &self,
        update: &Update,
        bytes: &[u8],
        known: u64,
        now: SystemTime,
    ) -> Result<(), UpdateError> {
        let is_valid = |ca: &&CertificateDer<'static>| partner::check_authority(ca, now).is_ok();
        let valid: Vec<_> = self.trusted.iter().filter(is_valid).cloned().collect();
        let identity = std::slice::from_ref(&self.identity);
        update.check(bytes, identity, &valid, known, now)
    }
}

/// Stores an update that a trusted CA has signed, and that is later than the stored one. `None` if there is nothing new.
/// The certificate of the connection is not enough: with the key of a leaf alone, no sender may block the updates that
/// follow.
fn store(
    folder: &StateFolder,
    sender: &Sender<'_>,
    message: &RenewalMessage,
    now: SystemTime,
) -> Result<Option<String>, String> {
    let name = sender.name;
    if message.update.is_empty() {
        return Ok(None);
    }
    let update = Update::read(&message.update).map_err(|error| format!("the update {error}"))?;
    let stored = folder.received(name);
    if stored.as_deref() == Some(&message.update[..]) {
        return Ok(None);
    }
    // One that would not be used does not prevent another one.
    let known = stored.and_then(|bytes| {
        let stored = Update::read(&bytes).ok()?;
        let is_good = sender.check(&stored, &bytes, 0, now).is_ok();
        is_good.then_some(stored.sequence)
    });
    sender
        .check(&update, &message.update, known.unwrap_or_default(), now)
        .map_err(|error| format!("the update {error}"))?;
    folder
        .store(name, &message.update)
        .map_err(|error| unwritable(folder.path(), &error))?;
    Ok(Some(
        "new CA certificates were received; `wardgate pair renew` checks and uses them".to_owned(),
    ))
}

/// Notes which update of this site the peer says that it uses.
fn note_in_use(folder: &StateFolder, name: &str, message: &RenewalMessage) -> Result<(), String> {
    folder
        .note_in_use(name, message.in_use)
        .map_err(|error| unwritable(folder.path(), &error))
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

#[cfg(test)]
mod tests;
