//! Observes one association as its bytes pass, and decides whether they may pass (PS3.8 section 9.2).
//!
//! The observer reads the PDUs that begin and end associations, the headers of the PDUs between these, and
//! command sets. It skips data sets, so it holds no image and no query key. It never changes a byte.

use crate::strictness::Strictness;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accept::AssociateAc;
use super::command_set::{CommandSet, Meaning};
use super::role::Both;
use super::stats::{AssociationStats, Observation};
use super::stream::{Stream, StreamElement, Types};
use super::summary::{AssociationSummary, Context, Ending};
use super::{
    Abort, AeTitle, AssociateRq, AssociationCounters, AssociationEndReason, AssociationRole,
    AssociationRules, AssociationVerdict, ContextResult, DimseCommand, PduType, Rejection,
    RequestedCommand, UserInformation, Violation,
};

/// The state of an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// No request has passed yet.
    Awaited,
    /// A request has passed, but no reply.
    Requested,
    /// The association is accepted.
    Established,
    /// A side has requested the release.
    Releasing,
    /// The association was released, aborted or rejected: the connection has nothing more to carry.
    Over,
}

/// One association, observed between its two ends.
#[derive(Debug)]
pub struct Association {
    is_strict: bool,
    rules: Arc<AssociationRules>,
    began: Instant,
    course: Course,
    streams: Both<Stream>,
    phase: Phase,
    // Which side sent an A-RELEASE-RQ, and which side granted one.
    asked: Both<bool>,
    granted: Both<bool>,
    released_by: Option<AssociationRole>,
    aborted_by: Option<AssociationRole>,
    ending: Option<Ending>,
    // Allocated when needed: most connections of a port scan never need it.
    parties: Option<Box<Parties>>,
    stats: Option<Box<AssociationStats>>,
    counts: Option<Arc<AssociationCounters>>,
}

#[derive(Debug, Clone, Copy)]
enum Course {
    Followed,
    // Set on a lenient route that has stopped reading: the side and its violation, unless the association was
    // over already.
    Lost(Option<(AssociationRole, Violation)>),
    // What did not pass, and whether everything before it was complete.
    Ended(AssociationEndReason, Both<bool>),
}

#[derive(Debug)]
struct Parties {
    calling: AeTitle,
    called: AeTitle,
    requestor: UserInformation,
    acceptor: Option<UserInformation>,
    contexts: Vec<Context>,
}

impl Association {
    /// An association without any bytes yet.
    #[must_use]
    pub fn new(strictness: Strictness, rules: Arc<AssociationRules>, now: Instant) -> Self {
        Self {
            is_strict: strictness == Strictness::Strict || rules.must_follow(),
            rules,
            began: now,
            course: Course::Followed,
            streams: Both {
                requestor: Stream::new(Types::of(&[PduType::AssociateRq])),
                acceptor: Stream::new(Types::of(&[PduType::Abort])),
            },
            phase: Phase::Awaited,
            asked: Both::default(),
            granted: Both::default(),
            released_by: None,
            aborted_by: None,
            ending: None,
            parties: None,
            stats: None,
            counts: None,
        }
    }

    /// Also counts into `counts`, the counts of the route, if there are any.
    #[must_use]
    pub fn counted(mut self, counts: Option<Arc<AssociationCounters>>) -> Self {
        self.counts = counts;
        self
    }

    /// Reads the next bytes of one side, before they pass on. The split into slices has no meaning.
    ///
    /// If the verdict is to end, none of `bytes` may pass, and every further verdict is the same.
    pub fn observe(
        &mut self,
        by: AssociationRole,
        bytes: &[u8],
        now: Instant,
    ) -> AssociationVerdict {
        match self.course {
            Course::Followed => {}
            Course::Lost(_) => return AssociationVerdict::Pass,
            Course::Ended(reason, _) => return AssociationVerdict::End(reason),
        }
        let between = self.between_pdus();
        match self.follow(Observation { by, now }, bytes) {
            Ok(()) => AssociationVerdict::Pass,
            Err(AssociationEndReason::Violation { what, .. }) if !self.is_strict => {
                // After its end, an association has nothing more to send, valid or not. But rules that only
                // report must report what could evade them there.
                let is_reported = self.phase != Phase::Over || self.rules.are_any();
                self.course = Course::Lost(is_reported.then_some((by, what)));
                if let Some(counts) = self.counts.as_ref().filter(|_| is_reported) {
                    counts.not_followed.add(1);
                }
                AssociationVerdict::Pass
            }
            Err(reason) => {
                self.course = Course::Ended(reason, between);
                AssociationVerdict::End(reason)
            }
        }
    }

    fn follow(&mut self, seen: Observation, mut bytes: &[u8]) -> Result<(), AssociationEndReason> {
        let violation = |what| AssociationEndReason::Violation { by: seen.by, what };
        loop {
            let event = self.streams.of_mut(seen.by).next(&mut bytes);
            let Some(event) = event.map_err(violation)? else {
                return Ok(());
            };
            match event {
                _ if self.phase == Phase::Over => {}
                StreamElement::Pdu(kind, body) => {
                    self.pdu(seen.by, kind, &body).map_err(violation)?;
                }
                StreamElement::Command(set) => self.command(seen, &set)?,
                StreamElement::DataSet(length) => self.stats().data_set(seen, length),
            }
        }
    }

    fn pdu(&mut self, by: AssociationRole, kind: PduType, body: &[u8]) -> Result<(), Violation> {
        match kind {
            PduType::AssociateRq => self.requested(body)?,
            PduType::AssociateAc => self.accepted(body)?,
            PduType::ReleaseRq => self.release_asked(by),
            PduType::ReleaseRp => self.release_granted(by),
            _ => self.ended(by, kind, body),
        }
        for role in [AssociationRole::Requestor, AssociationRole::Acceptor] {
            self.streams.of_mut(role).legal = self.legal(role);
        }
        Ok(())
    }

    fn requested(&mut self, body: &[u8]) -> Result<(), Violation> {
        let request = AssociateRq::read_body(body).map_err(Violation::Request)?;
        self.parties = Some(Box::new(Parties::new(request)));
        self.phase = Phase::Requested;
        Ok(())
    }

    fn accepted(&mut self, body: &[u8]) -> Result<(), Violation> {
        let accept = AssociateAc::read_body(body).map_err(|_| Violation::Acceptance)?;
        if let Some(parties) = &mut self.parties {
            parties.accepted(&accept);
        }
        self.phase = Phase::Established;
        Ok(())
    }

    fn release_asked(&mut self, by: AssociationRole) {
        self.released_by.get_or_insert(by);
        *self.asked.of_mut(by) = true;
        self.phase = Phase::Releasing;
    }

    // Both sides may request the release at once; each then grants the other's request (PS3.8 section 7.2.2).
    fn release_granted(&mut self, by: AssociationRole) {
        *self.granted.of_mut(by) = true;
        let waits = |role: AssociationRole| *self.asked.of(role) && !self.granted.of(role.other());
        if !waits(AssociationRole::Requestor) && !waits(AssociationRole::Acceptor) {
            self.phase = Phase::Over;
            let by = self.released_by.unwrap_or(by.other());
            self.ending = Some(Ending::Released { by });
        }
    }

    // By an A-ABORT or A-ASSOCIATE-RJ; the stream lets only PDUs of the right length pass.
    fn ended(&mut self, by: AssociationRole, kind: PduType, body: &[u8]) {
        self.phase = Phase::Over;
        self.aborted_by = Some(by).filter(|_| kind == PduType::Abort);
        let [_, result, source, reason] = body.first_chunk().copied().unwrap_or_default();
        self.ending = Some(match kind {
            PduType::AssociateRj => Ending::Rejected {
                by: by.into(),
                rejection: Rejection {
                    result,
                    source,
                    reason,
                },
            },
            _ => Ending::Aborted {
                by: by.into(),
                abort: Abort { source, reason },
            },
        });
    }

    // The PDUs that `by` may send next (PS3.8 section 9.2.3). PDUs that cross on the way are legal for each
    // side, because the observer sees a PDU only when it passes.
    fn legal(&self, by: AssociationRole) -> Types {
        let abort = Types::of(&[PduType::Abort]);
        match (self.phase, by) {
            (Phase::Awaited, AssociationRole::Requestor) => Types::of(&[PduType::AssociateRq]),
            (Phase::Awaited, AssociationRole::Acceptor)
            | (Phase::Requested, AssociationRole::Requestor) => abort,
            (Phase::Requested, AssociationRole::Acceptor) => {
                Types::of(&[PduType::AssociateAc, PduType::AssociateRj, PduType::Abort])
            }
            (Phase::Established | Phase::Releasing, _) => abort.and(self.legal_when_open(by)),
            // The PDU was on its way when the other side aborted, and is ignored there (state 13).
            (Phase::Over, _) if self.aborted_by == Some(by.other()) => {
                Types::ALL.without(PduType::AssociateRq)
            }
            // A side that has ended the association may only send an A-ABORT for PDUs that it still receives.
            (Phase::Over, _) => abort,
        }
    }

    fn legal_when_open(&self, by: AssociationRole) -> Types {
        let (asked, granted) = (*self.asked.of(by), *self.granted.of(by));
        let may_grant = *self.asked.of(by.other()) && !granted;
        let grant: &[PduType] = if may_grant {
            &[PduType::ReleaseRp]
        } else {
            &[]
        };
        let data: &[PduType] = if asked || granted {
            &[]
        } else {
            &[PduType::Data, PduType::ReleaseRq]
        };
        Types::of(grant).and(Types::of(data))
    }

    fn command(&mut self, seen: Observation, bytes: &[u8]) -> Result<(), AssociationEndReason> {
        let by = seen.by;
        let set = CommandSet::read(bytes);
        let meaning = set.as_ref().and_then(CommandSet::meaning);
        let (Some(set), Some(meaning)) = (set, meaning) else {
            let what = Violation::Command;
            return Err(AssociationEndReason::Violation { by, what });
        };
        match meaning {
            Meaning::Request(asked, message) => {
                self.stats().request(seen, asked, message, &set);
                return self.check_command(by, asked);
            }
            Meaning::Cancel => self.stats().cancel(by),
            Meaning::Response(asked, message, status) => {
                self.stats().response(seen, asked, message, status);
            }
        }
        Ok(())
    }

    fn check_command(
        &self,
        by: AssociationRole,
        command: RequestedCommand,
    ) -> Result<(), AssociationEndReason> {
        let is_allowed = match command {
            RequestedCommand::For(command) => self.rules.allows(command),
            RequestedCommand::Unknown(_) => self.rules.commands.is_none(),
        };
        if is_allowed || !self.rules.enforce {
            return Ok(());
        }
        Err(AssociationEndReason::NotAllowed { by, command })
    }

    fn stats(&mut self) -> &mut AssociationStats {
        let make = || Box::new(AssociationStats::new(self.counts.clone()));
        self.stats.get_or_insert_with(make)
    }

    /// The state of the association. It no longer changes after the observer has stopped reading.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether a complete A-RELEASE-RP, A-ABORT or A-ASSOCIATE-RJ has passed, so that nothing is lost if the
    /// connection ends now.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the observer still reads the bytes.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        matches!(self.course, Course::Followed)
    }

    /// The side and the violation at which the observer stopped reading, for one warning in the log.
    #[must_use]
    pub fn not_followed(&self) -> Option<(AssociationRole, Violation)> {
        match self.course {
            Course::Lost(why) => why,
            Course::Followed | Course::Ended(..) => None,
        }
    }

    /// Whether every PDU of this side has passed completely, so that an A-ABORT may follow. False if the
    /// observer has stopped reading.
    #[must_use]
    pub fn is_between_pdus(&self, by: AssociationRole) -> bool {
        match &self.course {
            Course::Followed => self.streams.of(by).is_between_pdus(),
            Course::Lost(_) => false,
            Course::Ended(_, between) => *between.of(by),
        }
    }

    /// Whether the association is open and nothing is outstanding in it: every request has its final response,
    /// and no message has passed only in part. False if the observer has stopped reading.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_followed()
            && self.phase == Phase::Established
            && self.streams.requestor.is_between_messages()
            && self.streams.acceptor.is_between_messages()
            && self
                .stats
                .as_deref()
                .is_none_or(AssociationStats::is_all_answered)
    }

    fn between_pdus(&self) -> Both<bool> {
        Both {
            requestor: self.streams.requestor.is_between_pdus(),
            acceptor: self.streams.acceptor.is_between_pdus(),
        }
    }

    /// The calling and the called title, after the request has passed.
    #[must_use]
    pub fn titles(&self) -> Option<(AeTitle, AeTitle)> {
        let parties = self.parties.as_deref()?;
        Some((parties.calling, parties.called))
    }

    /// The number of objects that were stored so far, and the bytes of their data sets.
    #[must_use]
    pub fn stored(&self) -> (u64, u64) {
        self.stats
            .as_deref()
            .map_or((0, 0), AssociationStats::stored)
    }

    /// The last time from the end of a C-STORE request to its response.
    #[must_use]
    pub fn last_latency(&self) -> Option<Duration> {
        self.stats.as_deref()?.last_latency()
    }

    /// Returns the summary when the connection has ended.
    ///
    /// `ending` is how the connection ended; it applies if the association itself did not end.
    #[must_use]
    pub fn finish(self, ending: Ending, now: Instant) -> AssociationSummary {
        let not_followed = self.not_followed();
        let ending = match self.course {
            Course::Ended(reason, _) => Ending::Policy(reason),
            Course::Followed | Course::Lost(_) => self.ending.unwrap_or(ending),
        };
        let mut record = AssociationSummary::new(ending, now.saturating_duration_since(self.began));
        record.not_followed = not_followed;
        record.would_end = not_followed.is_some() && self.rules.are_any();
        if let Some(parties) = self.parties {
            parties.finish(&mut record);
        }
        if let Some(stats) = self.stats {
            stats.finish(&mut record);
        }
        let is_not_allowed = |command: &DimseCommand| !self.rules.allows(*command);
        record.not_allowed = record.requested_commands().filter(is_not_allowed).collect();
        if self.rules.commands.is_some() {
            record.unknown_not_allowed = record.unknown_commands;
        }
        if let Some(counts) = self.counts.filter(|_| !record.is_void()) {
            counts.ended(&record.ending);
        }
        record
    }
}

impl Parties {
    fn new(request: AssociateRq) -> Self {
        let contexts = request.contexts.into_iter().map(|proposed| Context {
            id: proposed.id,
            result: ContextResult::Unanswered,
            sop_class: proposed.sop_class,
        });
        Self {
            calling: request.calling,
            called: request.called,
            requestor: request.user,
            acceptor: None,
            contexts: contexts.collect(),
        }
    }

    fn accepted(&mut self, accept: &AssociateAc) {
        self.acceptor = Some(accept.user);
        for context in &mut self.contexts {
            let mut results = accept.results.iter();
            if let Some((_, result)) = results.find(|(id, _)| *id == context.id) {
                context.result = *result;
            }
        }
    }

    fn finish(self, record: &mut AssociationSummary) {
        record.calling = Some(self.calling);
        record.called = Some(self.called);
        record.requestor = self.requestor;
        record.acceptor = self.acceptor;
        record.contexts = self.contexts;
    }
}
