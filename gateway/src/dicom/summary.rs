//! What is told of an association when it has ended.
//!
//! Numbers, AE titles, SOP classes and words of this program: no type here has room for anything that
//! stood in a data set, nor for the text of a command.

use std::fmt;
use std::time::Duration;

use super::command_set::Status;
use super::{
    Abort, AeTitle, Command, ContextResult, Reason, Rejection, Role, SopClass, UserInformation,
    Violation,
};
use crate::measure::Latencies;

/// One association, from its first octet to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct AssociationSummary {
    /// Who called; `None` where no request has passed.
    pub calling: Option<AeTitle>,
    /// Who was called.
    pub called: Option<AeTitle>,
    /// What the requestor said of itself.
    pub requestor: UserInformation,
    /// What the acceptor said of itself, if it accepted.
    pub acceptor: Option<UserInformation>,
    /// The presentation contexts, as proposed and answered.
    pub contexts: Vec<Context>,
    /// The commands, by who asked.
    pub commands: Vec<CommandCount>,
    /// Requests with a command that the standard does not have.
    pub unknown_commands: u64,
    /// C-CANCEL requests.
    pub cancels: u64,
    /// Responses to requests that were not, or not any more, waiting for one.
    pub unmatched: u64,
    /// Failures, by command and code.
    pub failures: Vec<Failure>,
    /// Failures beyond `FAILURES_MAX` codes.
    pub other_failures: u64,
    /// What was stored, by SOP class; an entry without one counts the others.
    pub classes: Vec<ClassCount>,
    /// How long C-STORE requests were under way, from the first octet to the answer: what overlaps
    /// counts once, and pauses do not count.
    pub storing: Duration,
    /// How long the answers to C-STORE requests took, from the last octet of the data set.
    pub latencies: Latencies,
    /// Where C-MOVE requests wanted objects sent.
    pub destinations: Vec<AeTitle>,
    /// Commands that the rules do not list, and that were asked for all the same.
    pub not_allowed: Vec<Command>,
    /// Requests with unknown commands, where the rules list commands: they list none of these.
    pub unknown_not_allowed: u64,
    /// From the beginning to the end.
    pub duration: Duration,
    /// Who ended it, and how.
    pub ending: Ending,
    /// Who sent what could not be followed: all numbers are of what passed before.
    pub not_followed: Option<(Role, Violation)>,
    /// Whether the association would have ended there if the rules were enforced.
    pub would_end: bool,
}

impl AssociationSummary {
    /// The record of an association in which nothing passed.
    #[must_use]
    pub fn new(ending: Ending, duration: Duration) -> Self {
        Self {
            calling: None,
            called: None,
            requestor: UserInformation::default(),
            acceptor: None,
            contexts: Vec::new(),
            commands: Vec::new(),
            unknown_commands: 0,
            cancels: 0,
            unmatched: 0,
            failures: Vec::new(),
            other_failures: 0,
            classes: Vec::new(),
            storing: Duration::ZERO,
            latencies: Latencies::default(),
            destinations: Vec::new(),
            not_allowed: Vec::new(),
            unknown_not_allowed: 0,
            duration,
            ending,
            not_followed: None,
            would_end: false,
        }
    }

    /// The commands that were asked for, each once.
    pub(super) fn asked_for(&self) -> impl Iterator<Item = Command> {
        let is_asked = |command: &Command| {
            let mut commands = self.commands.iter();
            commands.any(|count| count.command == *command && count.requests > 0)
        };
        Command::ALL.into_iter().filter(is_asked)
    }

    /// Objects that were stored.
    #[must_use]
    pub fn objects(&self) -> u64 {
        self.classes.iter().map(|class| class.objects).sum()
    }

    /// Octets of their data sets.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.classes.iter().map(|class| class.octets).sum()
    }

    /// Octets a second while objects were being stored; `None` where none was.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate has three digits of worth"
    )]
    pub fn rate(&self) -> Option<f64> {
        let seconds = self.storing.as_secs_f64();
        let octets = self.octets();
        (octets > 0 && seconds > 0.0).then(|| octets as f64 / seconds)
    }

    /// Whether it is of no worth to anyone: an association that was never asked for.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.calling.is_none() && !matches!(self.ending, Ending::Policy(_))
    }

    /// Presentation contexts that were accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        let accepted = |context: &&Context| context.result == ContextResult::Accepted;
        self.contexts.iter().filter(accepted).count()
    }

    /// Presentation contexts that were rejected, each for itself. Where the association as a whole was,
    /// and where no answer came, none was.
    #[must_use]
    pub fn rejected(&self) -> usize {
        let is_none =
            |result| matches!(result, ContextResult::Accepted | ContextResult::Unanswered);
        let rejected = |context: &&Context| !is_none(context.result);
        self.contexts.iter().filter(rejected).count()
    }
}

/// A presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Its identifier.
    pub id: u8,
    /// What became of it.
    pub result: ContextResult,
    /// Its abstract syntax; `None` where that was no well-formed UID.
    pub sop_class: Option<SopClass>,
}

/// How often a command was asked for, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandCount {
    /// The command.
    pub command: Command,
    /// Who asked.
    pub by: Role,
    /// Requests.
    pub requests: u64,
    /// Responses that say: under way.
    pub pending: u64,
    /// Final responses that say: done.
    pub success: u64,
    /// Final responses that say: done, but.
    pub warning: u64,
    /// Final responses that say: not done.
    pub failure: u64,
    /// Final responses that say: cancelled.
    pub cancel: u64,
}

/// How often a command failed in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The command.
    pub command: Command,
    /// The code.
    pub status: Status,
    /// How often.
    pub count: u64,
}

/// What was stored of one SOP class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassCount {
    /// The class; `None` for those that are not counted apart, and for what is no UID.
    pub class: Option<SopClass>,
    /// C-STORE requests.
    pub requests: u64,
    /// Those that were answered by success or a warning.
    pub objects: u64,
    /// Octets of their data sets.
    pub octets: u64,
}

/// Who may have sent what ended an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AssociationEndpoint {
    /// Who asked for it.
    Requestor,
    /// Who was asked.
    Acceptor,
    /// This gateway, in the place of either.
    Gateway,
}

/// How an association ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// In order: an A-RELEASE was asked for and granted.
    Released {
        /// Who asked first.
        by: Role,
    },
    /// By an A-ABORT.
    Aborted {
        /// Who sent it.
        by: AssociationEndpoint,
        /// Its reason.
        abort: Abort,
    },
    /// Before it began, by an A-ASSOCIATE-RJ.
    Rejected {
        /// Who sent it.
        by: AssociationEndpoint,
        /// Its reason.
        rejection: Rejection,
    },
    /// Its connection was closed in order, and no release or abort came before.
    Closed {
        /// Who closed first.
        by: Role,
    },
    /// Its connection was reset, timed out or was lost; `None` where nobody can say on which side.
    Lost {
        /// On whose side.
        by: Option<Role>,
    },
    /// Its TLS stream ended without saying so: what came last may be missing.
    Truncated {
        /// Whose stream.
        by: Role,
    },
    /// The rules of the route did not allow it to begin; which of them, in words.
    Refused(String),
    /// The route did not allow it to go on.
    Policy(Reason),
    /// The gateway stopped, or the time of its drain was over.
    Stopped,
}

impl Ending {
    /// All that `word` may give.
    pub const WORDS: [&str; 9] = [
        "released",
        "aborted",
        "rejected",
        "closed",
        "lost",
        "truncated",
        "refused",
        "policy",
        "stopped",
    ];

    /// The kind of it, in one word: a value of logs and metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Released { .. } => "released",
            Self::Aborted { .. } => "aborted",
            Self::Rejected { .. } => "rejected",
            Self::Closed { .. } => "closed",
            Self::Lost { .. } => "lost",
            Self::Truncated { .. } => "truncated",
            Self::Refused(_) => "refused",
            Self::Policy(_) => "policy",
            Self::Stopped => "stopped",
        }
    }
}

impl From<Role> for AssociationEndpoint {
    fn from(role: Role) -> Self {
        match role {
            Role::Requestor => Self::Requestor,
            Role::Acceptor => Self::Acceptor,
        }
    }
}

impl fmt::Display for AssociationEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requestor => "requestor",
            Self::Acceptor => "acceptor",
            Self::Gateway => "gateway",
        })
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Released { by } => write!(f, "released by {by}"),
            Self::Aborted { by, abort } => write!(f, "aborted by {by}: {abort}"),
            Self::Rejected { by, rejection } => write!(f, "rejected by {by}: {rejection}"),
            Self::Closed { by } => write!(f, "closed by {by} without release"),
            Self::Lost { by: Some(by) } => write!(f, "lost on the side of the {by}"),
            Self::Lost { by: None } => f.write_str("lost"),
            Self::Truncated { by } => write!(f, "cut on the side of the {by}"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::Policy(reason) => write!(f, "ended: {reason}"),
            Self::Stopped => f.write_str("ended by the end of the gateway"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Answer, Asked, Refusal};
    use super::*;

    #[test]
    fn endings_say_who_and_how() {
        let by = Role::Requestor;
        let Answer::Abort(abort) = Answer::unexpected_pdu() else {
            panic!("an abort");
        };
        let Answer::Reject(rejection) = Answer::local_limit_exceeded() else {
            panic!("a rejection");
        };
        let reason = Reason::NotAllowed {
            by,
            command: Asked::For(Command::CMove),
        };
        let title = "CT_9".parse().expect("a title");
        let cases = [
            (Ending::Released { by }, "released by requestor"),
            (
                Ending::Aborted {
                    by: AssociationEndpoint::Acceptor,
                    abort,
                },
                "aborted by acceptor: service-provider, unexpected-PDU",
            ),
            (
                Ending::Rejected {
                    by: AssociationEndpoint::Gateway,
                    rejection,
                },
                "rejected by gateway: rejected-transient, service-provider (presentation), \
                 local-limit-exceeded",
            ),
            (Ending::Closed { by }, "closed by requestor without release"),
            (
                Ending::Lost { by: Some(by) },
                "lost on the side of the requestor",
            ),
            (Ending::Lost { by: None }, "lost"),
            (Ending::Truncated { by }, "cut on the side of the requestor"),
            (
                Ending::Refused(Refusal::Calling(title).to_string()),
                "refused: calling AE title \"CT_9\" is not in calling_ae",
            ),
            (
                Ending::Policy(reason),
                "ended: requestor sent C-MOVE, which is not in commands",
            ),
            (Ending::Stopped, "ended by the end of the gateway"),
        ];
        for (ending, words) in cases {
            assert_eq!(ending.to_string(), words);
            assert!(Ending::WORDS.contains(&ending.word()), "{ending}");
        }
    }
}
