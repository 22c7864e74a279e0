//! Observes what passes on a connection, in the protocol of its route. It never changes a byte.
//!
//! Pure, as what it chooses between: the association observer of `dicom`, the conversation observer
//! of `hl7`, or none.

use crate::strictness::Strictness;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::dicom::{self, AeTitle, Answer, Association, Ending, Phase, Role, Rules};
use crate::hl7::{self, Conversation, NotMllp};

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From who connected to whom we connect.
    ToTarget,
    /// Back.
    ToClient,
}

/// Observes one connection.
#[derive(Debug, Default)]
pub enum Observer {
    /// Nothing.
    #[default]
    Blind,
    /// A DICOM association.
    Association(Box<Association>),
    /// HL7 messages and their acknowledgements, in MLLP frames.
    Conversation(Box<Conversation>),
}

/// What was observed, when the connection has ended.
#[derive(Debug)]
pub enum Observed {
    /// An association.
    Association(Box<dicom::AssociationSummary>),
    /// A conversation.
    Conversation(Box<hl7::ConversationSummary>),
}

/// What was observed until now of a connection that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Of an association.
    Association {
        /// The calling and the called title, once the request has passed.
        titles: Option<(AeTitle, AeTitle)>,
        /// Objects that were stored.
        objects: u64,
        /// Bytes of their data sets.
        object_bytes: u64,
    },
    /// Of a conversation in MLLP.
    Conversation {
        /// Messages that came whole.
        messages: u64,
        /// Bytes of these.
        message_bytes: u64,
        /// Acknowledgements that came whole.
        acknowledgements: u64,
    },
}

/// Why a connection must end whose bytes were observed: none of them may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Forbidden {
    /// What the route does not allow in an association.
    #[error("{0}")]
    Association(dicom::Reason),
    /// What is not MLLP, on a route that insists on it.
    #[error("{0}")]
    Conversation(NotMllp),
}

impl Observer {
    /// One for an association, which counts into `counts` as well.
    #[must_use]
    pub fn of_dicom(
        strictness: Strictness,
        rules: Arc<Rules>,
        counts: Option<Arc<dicom::Counts>>,
        now: Instant,
    ) -> Self {
        let association = Association::new(strictness, rules, now).counted(counts);
        Self::Association(Box::new(association))
    }

    /// One for a conversation, which counts into `counts` as well.
    #[must_use]
    pub fn of_mllp(strictness: Strictness, counts: Option<Arc<hl7::Counts>>) -> Self {
        Self::Conversation(Box::new(Conversation::new(strictness).counted(counts)))
    }

    /// The same for a conversation in which either side may send the first message.
    #[must_use]
    pub fn of_mllp_from_either(strictness: Strictness, counts: Option<Arc<hl7::Counts>>) -> Self {
        let conversation = Conversation::new(strictness).begun_by_either();
        Self::Conversation(Box::new(conversation.counted(counts)))
    }

    /// Whether nothing is observed.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        matches!(self, Self::Blind)
    }

    /// Observes bytes before they go on. They may be cut anywhere.
    ///
    /// # Errors
    /// They must not go on, and nothing behind them.
    pub fn observe(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), Forbidden> {
        match self {
            Self::Blind => Ok(()),
            Self::Association(association) => {
                match association.observe(source_of(direction), bytes, now) {
                    dicom::Verdict::Pass => Ok(()),
                    dicom::Verdict::End(reason) => Err(Forbidden::Association(reason)),
                }
            }
            Self::Conversation(conversation) => {
                let by = match direction {
                    Direction::ToTarget => hl7::Role::Sender,
                    Direction::ToClient => hl7::Role::Receiver,
                };
                match conversation.observe(by, bytes, now) {
                    hl7::Verdict::Pass => Ok(()),
                    hl7::Verdict::End(why) => Err(Forbidden::Conversation(why)),
                }
            }
        }
    }

    /// Whether the application that `direction` leads to may be told something of our own behind what
    /// has been observed: only between two messages of a protocol that has words for it.
    #[must_use]
    pub fn may_speak(&self, direction: Direction) -> bool {
        match self {
            Self::Association(association) => association.is_between_pdus(source_of(direction)),
            Self::Blind | Self::Conversation(_) => false,
        }
    }

    /// What the application that `direction` leads to is told when the connection breaks off, and why
    /// if it is our doing; `None` where there are no words.
    #[must_use]
    pub fn last_words(&self, direction: Direction, why: Option<&Forbidden>) -> Option<Answer> {
        let Self::Association(association) = self else {
            return None;
        };
        let broken_off = match why {
            Some(Forbidden::Association(reason)) => reason.answer(),
            Some(Forbidden::Conversation(_)) | None => Answer::aborted(),
        };
        match (association.phase(), direction) {
            (Phase::Over, _) | (Phase::Awaited, Direction::ToTarget) => None,
            // No connection goes on without a whole request, though it may not all have passed here.
            (Phase::Awaited | Phase::Requested, Direction::ToClient) if why.is_none() => {
                Some(Answer::temporary_congestion())
            }
            (Phase::Awaited, Direction::ToClient) => None,
            (Phase::Requested | Phase::Established | Phase::Releasing, _) => Some(broken_off),
        }
    }

    /// Whether an association is open in which the application that `direction` leads to waits for the other
    /// one, so that it must not take the other's end for a good one.
    #[must_use]
    pub fn waits_for_other(&self, direction: Direction) -> bool {
        let Self::Association(association) = self else {
            return false;
        };
        let is_open = matches!(
            association.phase(),
            Phase::Awaited | Phase::Requested | Phase::Established
        );
        is_open && association.is_followed() && direction == Direction::ToClient
    }

    /// Whether nothing is outstanding between the applications, so that a connection that is cut off now
    /// takes nothing with it: an association is over, or all messages are acknowledged.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        match self {
            Self::Association(association) => association.is_over(),
            Self::Conversation(conversation) => conversation.is_at_rest(),
            Self::Blind => false,
        }
    }

    /// Whether it carried an association that has been released, aborted or rejected.
    #[must_use]
    pub fn is_association_over(&self) -> bool {
        match self {
            Self::Association(association) => association.is_over(),
            Self::Conversation(_) | Self::Blind => false,
        }
    }

    /// How long a first request has waited that came at `began` at the earliest; `None` where none has come whole.
    /// Whether there was an answer is the caller's to know.
    #[must_use]
    pub fn first_request_waits(&self, began: Instant, now: Instant) -> Option<Duration> {
        let since_began = now.saturating_duration_since(began);
        match self {
            Self::Blind => Some(since_began),
            Self::Association(association) => {
                let has_asked = association.phase() != Phase::Awaited || !association.is_followed();
                has_asked.then_some(since_began)
            }
            Self::Conversation(conversation) => conversation.first_waits(now),
        }
    }

    /// Whether a side ended a message of MLLP without the CR that belongs there.
    #[must_use]
    pub fn lacks_cr(&self) -> bool {
        match self {
            Self::Conversation(conversation) => conversation.lacks_cr(),
            Self::Association(_) | Self::Blind => false,
        }
    }

    /// Takes the side that ended a message without CR, once.
    pub fn take_lack_of_cr(&mut self) -> Option<hl7::Role> {
        match self {
            Self::Conversation(conversation) => conversation.take_lack_of_cr(),
            Self::Association(_) | Self::Blind => None,
        }
    }

    /// Returns what was seen until now.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        match self {
            Self::Blind => None,
            Self::Association(association) => {
                let (objects, object_bytes) = association.stored();
                Some(Progress::Association {
                    titles: association.titles(),
                    objects,
                    object_bytes,
                })
            }
            Self::Conversation(conversation) => {
                let record = conversation.so_far();
                Some(Progress::Conversation {
                    messages: record.messages.total(),
                    message_bytes: record.message_bytes,
                    acknowledgements: record.acknowledgements.total(),
                })
            }
        }
    }

    /// Tells what was seen; `ending` is how the connection ended, where the association did not say.
    #[must_use]
    pub fn finish(self, ending: Ending, now: Instant) -> Option<Observed> {
        match self {
            Self::Blind => None,
            Self::Association(association) => {
                let record = association.finish(ending, now);
                Some(Observed::Association(Box::new(record)))
            }
            Self::Conversation(conversation) => {
                let record = conversation.finish(now);
                Some(Observed::Conversation(Box::new(record)))
            }
        }
    }
}

// Whose bytes go there. Who connects is who asks for the association (PS3.8 section 7.1).
fn source_of(direction: Direction) -> Role {
    match direction {
        Direction::ToTarget => Role::Requestor,
        Direction::ToClient => Role::Acceptor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::AssociateRq;

    fn request() -> Vec<u8> {
        let title = |text: &str| text.parse::<AeTitle>().expect("a title").to_field();
        let mut body = vec![0, 1, 0, 0];
        body.extend(title("PACS"));
        body.extend(title("CT_1"));
        body.extend([0; 32]);
        let mut pdu = vec![1, 0, 0, 0, 0, 68];
        pdu.append(&mut body);
        assert!(matches!(AssociateRq::read(&pdu), Ok(Some(_))));
        pdu
    }

    fn observer() -> Observer {
        let rules = Arc::new(Rules::default());
        Observer::of_dicom(Strictness::Strict, rules, None, Instant::now())
    }

    #[test]
    fn who_waits_for_an_answer_to_its_request_is_rejected_for_the_moment() {
        let mut observer = observer();
        let words = observer.last_words(Direction::ToClient, None);
        assert_eq!(words, Some(Answer::temporary_congestion()));
        assert_eq!(observer.last_words(Direction::ToTarget, None), None);
        let seen = observer.observe(Direction::ToTarget, &request(), Instant::now());
        assert_eq!(seen, Ok(()));
        let words = observer.last_words(Direction::ToClient, None);
        assert_eq!(words, Some(Answer::temporary_congestion()));
        let words = observer.last_words(Direction::ToTarget, None);
        assert_eq!(words, Some(Answer::aborted()));
        assert!(observer.may_speak(Direction::ToClient));
    }

    #[test]
    fn nothing_is_said_inside_of_a_pdu() {
        let mut observer = observer();
        let request = request();
        let seen = observer.observe(Direction::ToTarget, &request[..20], Instant::now());
        assert_eq!(seen, Ok(()));
        assert!(!observer.may_speak(Direction::ToTarget));
        let seen = observer.observe(Direction::ToTarget, &request[20..], Instant::now());
        assert_eq!(seen, Ok(()));
        assert!(observer.may_speak(Direction::ToTarget));
    }

    #[test]
    fn an_association_that_was_aborted_is_over() {
        let mut observer = observer();
        let now = Instant::now();
        assert_eq!(
            observer.observe(Direction::ToTarget, &request(), now),
            Ok(())
        );
        let abort = Answer::aborted().octets();
        assert_eq!(observer.observe(Direction::ToTarget, &abort, now), Ok(()));
        assert!(observer.is_at_rest());
        assert_eq!(observer.last_words(Direction::ToClient, None), None);
    }

    #[test]
    fn the_requestor_of_an_open_association_waits_for_the_acceptor() {
        let mut observer = observer();
        let now = Instant::now();
        assert!(observer.waits_for_other(Direction::ToClient));
        assert_eq!(
            observer.observe(Direction::ToTarget, &request(), now),
            Ok(())
        );
        assert!(observer.waits_for_other(Direction::ToClient));
        assert!(!observer.waits_for_other(Direction::ToTarget));
        let reject = Answer::temporary_congestion().octets();
        assert_eq!(observer.observe(Direction::ToClient, &reject, now), Ok(()));
        assert!(!observer.waits_for_other(Direction::ToClient));
        assert!(!Observer::Blind.waits_for_other(Direction::ToClient));
    }

    #[test]
    fn what_is_not_mllp_is_forbidden_where_the_route_insists() {
        let mut observer = Observer::of_mllp(Strictness::Strict, None);
        let seen = observer.observe(Direction::ToTarget, b"GET / HTTP/1.1", Instant::now());
        assert!(matches!(seen, Err(Forbidden::Conversation(_))));
        assert_eq!(observer.last_words(Direction::ToClient, None), None);
    }

    #[test]
    fn who_is_blind_lets_everything_pass_and_tells_nothing() {
        let mut observer = Observer::default();
        let seen = observer.observe(Direction::ToTarget, b"anything", Instant::now());
        assert_eq!(seen, Ok(()));
        assert!(observer.finish(Ending::Stopped, Instant::now()).is_none());
    }
}
