//! The summary of an association when it has ended.
//!
//! It holds numbers, AE titles, SOP classes and keywords of this program. No type here can hold a part of a
//! data set or the text of a command.

use std::fmt;
use std::time::Duration;

use super::command_set::Status;
use super::{
    Abort, AeTitle, AssociationEndReason, AssociationRole, ContextResult, DimseCommand, Rejection,
    SopClass, UserInformation, Violation,
};
use crate::measure::Latencies;

/// One association, from its first byte to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct AssociationSummary {
    /// The calling AE title; `None` if no request has passed.
    pub calling: Option<AeTitle>,
    /// The called AE title.
    pub called: Option<AeTitle>,
    /// The user information of the requestor.
    pub requestor: UserInformation,
    /// The user information of the acceptor, if it accepted.
    pub acceptor: Option<UserInformation>,
    /// The presentation contexts with their results.
    pub contexts: Vec<Context>,
    /// The commands, by requesting side.
    pub commands: Vec<CommandCount>,
    /// Requests with a command that is not in the standard.
    pub unknown_commands: u64,
    /// C-CANCEL requests.
    pub cancels: u64,
    /// Responses to requests that did not wait for one, or no longer did.
    pub unmatched: u64,
    /// Failures, by command and code.
    pub failures: Vec<CommandFailures>,
    /// Failures beyond `FAILURES_MAX` codes.
    pub other_failures: u64,
    /// Stored objects by SOP class; an entry without a class counts all others.
    pub classes: Vec<ClassCount>,
    /// How long C-STORE requests were in progress, from the first byte to the response. Overlapping times
    /// count once, and pauses do not count.
    pub storing: Duration,
    /// Times from the last byte of the data set of a C-STORE request to its response.
    pub latencies: Latencies,
    /// The destinations of C-MOVE requests.
    pub destinations: Vec<AeTitle>,
    /// Commands that were requested although the rules do not list them.
    pub not_allowed: Vec<DimseCommand>,
    /// Requests with unknown commands, if the rules list commands: the list contains none of these.
    pub unknown_not_allowed: u64,
    /// From the beginning to the end.
    pub duration: Duration,
    /// How the association ended, and by which side.
    pub ending: Ending,
    /// The side and the violation at which the observer stopped reading: all numbers are from before.
    pub not_followed: Option<(AssociationRole, Violation)>,
    /// Whether the association would have ended at a violation if the rules were enforced.
    pub would_end: bool,
}

impl AssociationSummary {
    /// The summary of an association without any bytes.
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
    pub(super) fn requested_commands(&self) -> impl Iterator<Item = DimseCommand> {
        let is_asked = |command: &DimseCommand| {
            let mut commands = self.commands.iter();
            commands.any(|count| count.command == *command && count.requests > 0)
        };
        DimseCommand::ALL.into_iter().filter(is_asked)
    }

    /// The number of stored objects.
    #[must_use]
    pub fn objects(&self) -> u64 {
        self.classes.iter().map(|class| class.objects).sum()
    }

    /// The bytes of their data sets.
    #[must_use]
    pub fn object_bytes(&self) -> u64 {
        self.classes.iter().map(|class| class.bytes).sum()
    }

    /// The bytes per second while objects were stored; `None` if no object was stored.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate has three significant digits"
    )]
    pub fn rate(&self) -> Option<f64> {
        let seconds = self.storing.as_secs_f64();
        let bytes = self.object_bytes();
        (bytes > 0 && seconds > 0.0).then(|| bytes as f64 / seconds)
    }

    /// Whether the summary is of no use: no association was ever requested.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.calling.is_none() && !matches!(self.ending, Ending::Policy(_))
    }

    /// The number of accepted presentation contexts.
    #[must_use]
    pub fn accepted(&self) -> usize {
        let accepted = |context: &&Context| context.result == ContextResult::Accepted;
        self.contexts.iter().filter(accepted).count()
    }

    /// The number of presentation contexts that were rejected one by one. Zero if the whole association was
    /// rejected, or if no reply came.
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
    /// Its result.
    pub result: ContextResult,
    /// Its abstract syntax; `None` if that is not a well-formed UID.
    pub sop_class: Option<SopClass>,
}

/// The requests of one command, and their responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandCount {
    /// The command.
    pub command: DimseCommand,
    /// The requesting side.
    pub by: AssociationRole,
    /// Requests.
    pub requests: u64,
    /// Responses with a pending status.
    pub pending: u64,
    /// Final responses with success.
    pub success: u64,
    /// Final responses with a warning.
    pub warning: u64,
    /// Final responses with a failure.
    pub failure: u64,
    /// Final responses with status cancelled.
    pub cancel: u64,
}

/// The number of failures of one command with one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandFailures {
    /// The command.
    pub command: DimseCommand,
    /// The status.
    pub status: Status,
    /// The number of failures.
    pub count: u64,
}

/// The stored objects of one SOP class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassCount {
    /// The class; `None` for all classes beyond the bound, and for text that is not a UID.
    pub class: Option<SopClass>,
    /// C-STORE requests.
    pub requests: u64,
    /// C-STORE requests with a response of success or warning.
    pub objects: u64,
    /// Bytes of their data sets.
    pub bytes: u64,
}

/// The party that sent the PDU that ended an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AssociationEndpoint {
    /// The side that requested the association.
    Requestor,
    /// The side that received the request.
    Acceptor,
    /// This gateway, in place of either side.
    Gateway,
}

/// How an association ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Orderly: an A-RELEASE was requested and granted.
    Released {
        /// The side that requested first.
        by: AssociationRole,
    },
    /// By an A-ABORT.
    Aborted {
        /// The sender.
        by: AssociationEndpoint,
        /// Its reason.
        abort: Abort,
    },
    /// Before it began, by an A-ASSOCIATE-RJ.
    Rejected {
        /// The sender.
        by: AssociationEndpoint,
        /// Its reason.
        rejection: Rejection,
    },
    /// Its connection was closed cleanly, without a release or abort before.
    Closed {
        /// The side that closed first.
        by: AssociationRole,
    },
    /// Its connection was reset, timed out or was lost; `None` if the side is unknown.
    Lost {
        /// The side.
        by: Option<AssociationRole>,
    },
    /// Its TLS stream ended without close_notify: the last bytes may be missing.
    Truncated {
        /// The side.
        by: AssociationRole,
    },
    /// The rules of the route refused the association; the rule as text.
    Refused(String),
    /// The rules of the route ended the association.
    Policy(AssociationEndReason),
    /// The gateway stopped, or the time of its drain was over.
    Stopped,
}

impl Ending {
    /// All keywords that `word` returns.
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

    /// The way it ended as one keyword: a value in logs and metrics.
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

impl From<AssociationRole> for AssociationEndpoint {
    fn from(role: AssociationRole) -> Self {
        match role {
            AssociationRole::Requestor => Self::Requestor,
            AssociationRole::Acceptor => Self::Acceptor,
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
            Self::Truncated { by } => write!(f, "truncated on the side of the {by}"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::Policy(reason) => write!(f, "ended: {reason}"),
            Self::Stopped => {
                f.write_str("ended by the gateway; the line `connection` has the reason")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AssociationRefusal, ClosingPdu, RequestedCommand};
    use super::*;

    #[test]
    fn endings_name_the_side_and_the_way() {
        let by = AssociationRole::Requestor;
        let ClosingPdu::Abort(abort) = ClosingPdu::unexpected_pdu() else {
            panic!("an abort");
        };
        let ClosingPdu::Reject(rejection) = ClosingPdu::local_limit_exceeded() else {
            panic!("a rejection");
        };
        let reason = AssociationEndReason::NotAllowed {
            by,
            command: RequestedCommand::For(DimseCommand::CMove),
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
            (
                Ending::Truncated { by },
                "truncated on the side of the requestor",
            ),
            (
                Ending::Refused(AssociationRefusal::Calling(title).to_string()),
                "refused: calling AE title \"CT_9\" is not in calling_ae",
            ),
            (
                Ending::Policy(reason),
                "ended: requestor sent C-MOVE, which is not in commands",
            ),
            (
                Ending::Stopped,
                "ended by the gateway; the line `connection` has the reason",
            ),
        ];
        for (ending, words) in cases {
            assert_eq!(ending.to_string(), words);
            assert!(Ending::WORDS.contains(&ending.word()), "{ending}");
        }
    }
}
