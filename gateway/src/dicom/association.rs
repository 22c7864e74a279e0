//! Observes one association as its bytes pass, and decides whether they may (PS3.8 section 9.2).
//!
//! It looks at the PDUs by which associations begin and end, at the headers of what lies between, and at
//! command sets. Data sets are skipped, so no image and no query key enters it. It never changes a byte.

use crate::strictness::Strictness;
use std::sync::Arc;
use std::time::Instant;

use super::accept::AssociateAc;
use super::command_set::{CommandSet, Meaning};
use super::role::Both;
use super::stats::{AssociationStats, Observation};
use super::stream::{Event, Stream, Types};
use super::summary::{AssociationSummary, Context, Ending};
use super::{
    Abort, AeTitle, Asked, AssociateRq, Command, ContextResult, Counts, PduType, Reason, Rejection,
    Role, Rules, UserInformation, Verdict, Violation,
};

/// How far an association has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// No request has passed yet.
    Awaited,
    /// A request has passed, and no answer.
    Requested,
    /// It was accepted.
    Established,
    /// Its release was asked for.
    Releasing,
    /// It was released, aborted or rejected: the connection has nothing more to carry.
    Over,
}

/// One association, seen from between its two ends.
#[derive(Debug)]
pub struct Association {
    is_strict: bool,
    rules: Arc<Rules>,
    began: Instant,
    course: Course,
    streams: Both<Stream>,
    phase: Phase,
    // Who sent an A-RELEASE-RQ, and who granted one.
    asked: Both<bool>,
    granted: Both<bool>,
    released_by: Option<Role>,
    aborted_by: Option<Role>,
    ending: Option<Ending>,
    // Made when they are needed: most of the connections of a scan never come so far.
    parties: Option<Box<Parties>>,
    stats: Option<Box<AssociationStats>>,
    counts: Option<Arc<Counts>>,
}

#[derive(Debug, Clone, Copy)]
enum Course {
    Followed,
    // Lenient: nobody looks any more. Who sent what, unless the association was over already.
    Lost(Option<(Role, Violation)>),
    // What did not pass, and whether what had passed before was whole.
    Ended(Reason, Both<bool>),
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
    /// An association that begins with the next octet of its requestor.
    #[must_use]
    pub fn new(strictness: Strictness, rules: Arc<Rules>, now: Instant) -> Self {
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

    /// Counts what passes into `counts` as well, those of its route, where there are some.
    #[must_use]
    pub fn counted(mut self, counts: Option<Arc<Counts>>) -> Self {
        self.counts = counts;
        self
    }

    /// Observes the next bytes of one side, before they pass on. They may be cut anywhere.
    ///
    /// Where the verdict is to end, none of `bytes` may pass, and every further verdict is the same.
    pub fn observe(&mut self, by: Role, bytes: &[u8], now: Instant) -> Verdict {
        match self.course {
            Course::Followed => {}
            Course::Lost(_) => return Verdict::Pass,
            Course::Ended(reason, _) => return Verdict::End(reason),
        }
        let between = self.between_pdus();
        match self.follow(Observation { by, now }, bytes) {
            Ok(()) => Verdict::Pass,
            Err(Reason::Violation { what, .. }) if !self.is_strict => {
                // After its end an association has nothing more to send, well or badly; but rules that
                // only report must report what could evade them there.
                let told = self.phase != Phase::Over || self.rules.are_any();
                self.course = Course::Lost(told.then_some((by, what)));
                if let Some(counts) = self.counts.as_ref().filter(|_| told) {
                    counts.not_followed.add(1);
                }
                Verdict::Pass
            }
            Err(reason) => {
                self.course = Course::Ended(reason, between);
                Verdict::End(reason)
            }
        }
    }

    fn follow(&mut self, seen: Observation, mut bytes: &[u8]) -> Result<(), Reason> {
        let violation = |what| Reason::Violation { by: seen.by, what };
        loop {
            let event = self.streams.of_mut(seen.by).next(&mut bytes);
            let Some(event) = event.map_err(violation)? else {
                return Ok(());
            };
            match event {
                _ if self.phase == Phase::Over => {}
                Event::Pdu(kind, body) => self.pdu(seen.by, kind, &body).map_err(violation)?,
                Event::Command(set) => self.command(seen, &set)?,
                Event::DataSet(octets) => self.stats().data_set(seen, octets),
            }
        }
    }

    fn pdu(&mut self, by: Role, kind: PduType, body: &[u8]) -> Result<(), Violation> {
        match kind {
            PduType::AssociateRq => self.requested(body)?,
            PduType::AssociateAc => self.accepted(body)?,
            PduType::ReleaseRq => self.release_asked(by),
            PduType::ReleaseRp => self.release_granted(by),
            _ => self.broken_off(by, kind, body),
        }
        for role in [Role::Requestor, Role::Acceptor] {
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

    fn release_asked(&mut self, by: Role) {
        self.released_by.get_or_insert(by);
        *self.asked.of_mut(by) = true;
        self.phase = Phase::Releasing;
    }

    // Both sides may ask at once; then each grants the other's (PS3.8 section 7.2.2).
    fn release_granted(&mut self, by: Role) {
        *self.granted.of_mut(by) = true;
        let waits = |role: Role| *self.asked.of(role) && !self.granted.of(role.other());
        if !waits(Role::Requestor) && !waits(Role::Acceptor) {
            self.phase = Phase::Over;
            let by = self.released_by.unwrap_or(by.other());
            self.ending = Some(Ending::Released { by });
        }
    }

    // By an A-ABORT or A-ASSOCIATE-RJ; the stream lets none pass of another length.
    fn broken_off(&mut self, by: Role, kind: PduType, body: &[u8]) {
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

    // What `by` may send next (PS3.8 section 9.2.3). What crosses on its way is legal for each side:
    // nothing is known here before it has passed.
    fn legal(&self, by: Role) -> Types {
        let abort = Types::of(&[PduType::Abort]);
        match (self.phase, by) {
            (Phase::Awaited, Role::Requestor) => Types::of(&[PduType::AssociateRq]),
            (Phase::Awaited, Role::Acceptor) | (Phase::Requested, Role::Requestor) => abort,
            (Phase::Requested, Role::Acceptor) => {
                Types::of(&[PduType::AssociateAc, PduType::AssociateRj, PduType::Abort])
            }
            (Phase::Established | Phase::Releasing, _) => abort.and(self.legal_within(by)),
            // Was on its way when the other side aborted, and is ignored there (state 13).
            (Phase::Over, _) if self.aborted_by == Some(by.other()) => {
                Types::ALL.without(PduType::AssociateRq)
            }
            // A side that has ended the association may only abort what it still receives.
            (Phase::Over, _) => abort,
        }
    }

    fn legal_within(&self, by: Role) -> Types {
        let (asked, granted) = (*self.asked.of(by), *self.granted.of(by));
        let may_grant = *self.asked.of(by.other()) && !granted;
        let grant: &[PduType] = if may_grant {
            &[PduType::ReleaseRp]
        } else {
            &[]
        };
        let talk: &[PduType] = if asked || granted {
            &[]
        } else {
            &[PduType::Data, PduType::ReleaseRq]
        };
        Types::of(grant).and(Types::of(talk))
    }

    fn command(&mut self, seen: Observation, octets: &[u8]) -> Result<(), Reason> {
        let by = seen.by;
        let set = CommandSet::read(octets);
        let meaning = set.as_ref().and_then(CommandSet::meaning);
        let (Some(set), Some(meaning)) = (set, meaning) else {
            let what = Violation::Command;
            return Err(Reason::Violation { by, what });
        };
        match meaning {
            Meaning::Request(asked, message) => {
                self.stats().request(seen, asked, message, &set);
                return self.judge(by, asked);
            }
            Meaning::Cancel => self.stats().cancel(by),
            Meaning::Response(asked, message, status) => {
                self.stats().response(seen, asked, message, status);
            }
        }
        Ok(())
    }

    fn judge(&self, by: Role, command: Asked) -> Result<(), Reason> {
        let is_allowed = match command {
            Asked::For(command) => self.rules.allows(command),
            Asked::Unknown(_) => self.rules.commands.is_none(),
        };
        if is_allowed || !self.rules.enforce {
            return Ok(());
        }
        Err(Reason::NotAllowed { by, command })
    }

    fn stats(&mut self) -> &mut AssociationStats {
        let make = || Box::new(AssociationStats::new(self.counts.clone()));
        self.stats.get_or_insert_with(make)
    }

    /// How far it has come. It stays where it was when nobody looks any more.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether an A-RELEASE-RP, an A-ABORT or an A-ASSOCIATE-RJ has passed whole, so that a connection
    /// that ends now takes nothing with it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether bytes are still looked at.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        matches!(self.course, Course::Followed)
    }

    /// Who sent what could not be followed, where that is why nobody looks any more: worth one warning.
    #[must_use]
    pub fn not_followed(&self) -> Option<(Role, Violation)> {
        match self.course {
            Course::Lost(why) => why,
            Course::Followed | Course::Ended(..) => None,
        }
    }

    /// Whether every PDU that began from this side has passed whole, so that an A-ABORT may stand behind
    /// it. False where nobody knows.
    #[must_use]
    pub fn is_between_pdus(&self, by: Role) -> bool {
        match &self.course {
            Course::Followed => self.streams.of(by).is_between_pdus(),
            Course::Lost(_) => false,
            Course::Ended(_, between) => *between.of(by),
        }
    }

    fn between_pdus(&self) -> Both<bool> {
        Both {
            requestor: self.streams.requestor.is_between_pdus(),
            acceptor: self.streams.acceptor.is_between_pdus(),
        }
    }

    /// Where C-MOVE requests wanted objects sent so far: those associations come from elsewhere.
    #[must_use]
    pub fn destinations(&self) -> &[AeTitle] {
        self.stats
            .as_deref()
            .map_or(&[], AssociationStats::destinations)
    }

    /// The calling and the called title, once the request has passed.
    #[must_use]
    pub fn titles(&self) -> Option<(AeTitle, AeTitle)> {
        let parties = self.parties.as_deref()?;
        Some((parties.calling, parties.called))
    }

    /// Objects that were stored until now, and the bytes of their data sets.
    #[must_use]
    pub fn stored(&self) -> (u64, u64) {
        self.stats
            .as_deref()
            .map_or((0, 0), AssociationStats::stored)
    }

    /// Tells of it when its connection has ended.
    ///
    /// `ending` is how the connection ended; it counts where the association itself did not say.
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
        let is_not_allowed = |command: &Command| !self.rules.allows(*command);
        record.not_allowed = record.asked_for().filter(is_not_allowed).collect();
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
