//! Observes the traffic of a connection in the protocol of its route. It never changes a byte.
//!
//! Pure, like the observers that it selects from: the association observer of `dicom`, the conversation
//! observer of `hl7`, or none.

use crate::strictness::Strictness;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::dicom::{
    self, AeTitle, Association, AssociationRole, AssociationRules, ClosingPdu, Ending, Phase,
};
use crate::hl7::{self, Conversation, NotMllp};

/// The direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From client to target.
    ToTarget,
    /// From target to client.
    ToClient,
}

/// The observer of one connection.
#[derive(Debug, Default)]
pub enum Observer {
    /// None.
    #[default]
    Blind,
    /// Observes a DICOM association.
    Association(Box<Association>),
    /// Observes HL7 messages and their acknowledgements in MLLP frames.
    Conversation(Box<Conversation>),
}

/// The summary of what was observed, after the connection has ended.
#[derive(Debug)]
pub enum Observed {
    /// An association.
    Association(Box<dicom::AssociationSummary>),
    /// A conversation.
    Conversation(Box<hl7::ConversationSummary>),
}

/// What has been observed so far on an open connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Of an association.
    Association {
        /// The calling and the called title, after the request has passed.
        titles: Option<(AeTitle, AeTitle)>,
        /// The number of stored objects.
        objects: u64,
        /// The bytes of their data sets.
        object_bytes: u64,
    },
    /// Of an MLLP conversation.
    Conversation {
        /// Complete messages.
        messages: u64,
        /// The bytes of these messages.
        message_bytes: u64,
        /// Complete acknowledgements.
        acknowledgements: u64,
    },
}

/// What an operator may see of an open connection. Holds no patient data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveView {
    /// The calling and the called title of an association, after the request has passed.
    pub titles: Option<(AeTitle, AeTitle)>,
    /// The types of HL7 messages with their numbers.
    pub types: Vec<(hl7::MessageType, u64)>,
    /// The last time between a request and its response.
    pub latency: Option<Duration>,
}

/// Why an observed connection must end; the offending bytes are not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Forbidden {
    /// The association violates the rules of its route.
    #[error("{0}")]
    Association(dicom::AssociationEndReason),
    /// The stream is not MLLP, on a route that enforces MLLP.
    #[error("{0}")]
    Conversation(NotMllp),
}

impl Observer {
    /// Observes an association and also counts into `counts`.
    #[must_use]
    pub fn of_dicom(
        strictness: Strictness,
        rules: Arc<AssociationRules>,
        counts: Option<Arc<dicom::AssociationCounters>>,
        now: Instant,
    ) -> Self {
        let association = Association::new(strictness, rules, now).counted(counts);
        Self::Association(Box::new(association))
    }

    /// Observes a conversation and also counts into `counts`.
    #[must_use]
    pub fn of_mllp(strictness: Strictness, counts: Option<Arc<hl7::ConversationCounters>>) -> Self {
        Self::Conversation(Box::new(Conversation::new(strictness).counted(counts)))
    }

    /// Observes a conversation in which either side may send the first message.
    #[must_use]
    pub fn of_mllp_from_either(
        strictness: Strictness,
        counts: Option<Arc<hl7::ConversationCounters>>,
    ) -> Self {
        let conversation = Conversation::new(strictness).begun_by_either();
        Self::Conversation(Box::new(conversation.counted(counts)))
    }

    /// Whether nothing is observed.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        matches!(self, Self::Blind)
    }

    /// Observes bytes before they are forwarded. They may be split anywhere.
    ///
    /// # Errors
    /// These bytes, and all later ones, must not be forwarded.
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
                    dicom::AssociationVerdict::Pass => Ok(()),
                    dicom::AssociationVerdict::End(reason) => Err(Forbidden::Association(reason)),
                }
            }
            Self::Conversation(conversation) => {
                let by = match direction {
                    Direction::ToTarget => hl7::MllpRole::Sender,
                    Direction::ToClient => hl7::MllpRole::Receiver,
                };
                match conversation.observe(by, bytes, now) {
                    hl7::MllpVerdict::Pass => Ok(()),
                    hl7::MllpVerdict::End(why) => Err(Forbidden::Conversation(why)),
                }
            }
        }
    }

    /// Whether the gateway may send a message of its own to the application at the end of `direction`, after
    /// the observed bytes. This is only possible between two messages, in a protocol that has such a message.
    #[must_use]
    pub fn can_send_pdu(&self, direction: Direction) -> bool {
        match self {
            Self::Association(association) => association.is_between_pdus(source_of(direction)),
            Self::Blind | Self::Conversation(_) => false,
        }
    }

    /// The message to send to the application at the end of `direction` when the connection breaks. `why` is
    /// given if the gateway itself ends it. `None` if the protocol has no such message.
    #[must_use]
    pub fn closing_pdu(&self, direction: Direction, why: Option<&Forbidden>) -> Option<ClosingPdu> {
        let Self::Association(association) = self else {
            return None;
        };
        let abort = match why {
            Some(Forbidden::Association(reason)) => reason.answer(),
            Some(Forbidden::Conversation(_)) | None => ClosingPdu::aborted(),
        };
        match (association.phase(), direction) {
            (Phase::Over, _) | (Phase::Awaited, Direction::ToTarget) => None,
            // Bytes were only forwarded after a complete request, although that request may not have passed
            // completely here.
            (Phase::Awaited | Phase::Requested, Direction::ToClient) if why.is_none() => {
                Some(ClosingPdu::temporary_congestion())
            }
            (Phase::Awaited, Direction::ToClient) => None,
            (Phase::Requested | Phase::Established | Phase::Releasing, _) => Some(abort),
        }
    }

    /// Whether an association is open in which the application at the end of `direction` waits for the other
    /// one. It must then not take the other one's close for a clean end.
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

    /// Whether the applications have no outstanding messages, so that closing the connection now loses
    /// nothing: an association has ended, or all messages are acknowledged.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        match self {
            Self::Association(association) => association.is_over(),
            Self::Conversation(conversation) => conversation.is_at_rest(),
            Self::Blind => false,
        }
    }

    /// Whether the connection carries an open association in which nothing is outstanding.
    #[must_use]
    pub fn is_idle_association(&self) -> bool {
        match self {
            Self::Association(association) => association.is_idle(),
            Self::Conversation(_) | Self::Blind => false,
        }
    }

    /// Whether the connection carried an association that has been released, aborted or rejected.
    #[must_use]
    pub fn is_association_over(&self) -> bool {
        match self {
            Self::Association(association) => association.is_over(),
            Self::Conversation(_) | Self::Blind => false,
        }
    }

    /// How long the first request has waited, if it arrived at `began`; `None` if no request is complete yet.
    /// The caller knows whether there was an answer.
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

    /// Whether a side ended an MLLP message without the required CR.
    #[must_use]
    pub fn lacks_cr(&self) -> bool {
        match self {
            Self::Conversation(conversation) => conversation.lacks_cr(),
            Self::Association(_) | Self::Blind => false,
        }
    }

    /// Returns, once, the side that ended a message without CR.
    pub fn take_lack_of_cr(&mut self) -> Option<hl7::MllpRole> {
        match self {
            Self::Conversation(conversation) => conversation.take_lack_of_cr(),
            Self::Association(_) | Self::Blind => None,
        }
    }

    /// Returns what has been observed so far.
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

    /// Returns what an operator may see of the open connection.
    #[must_use]
    pub fn live(&self) -> LiveView {
        match self {
            Self::Blind => LiveView::default(),
            Self::Association(association) => LiveView {
                titles: association.titles(),
                types: Vec::new(),
                latency: association.last_latency(),
            },
            Self::Conversation(conversation) => {
                let record = conversation.so_far();
                LiveView {
                    titles: None,
                    types: record.messages.each().collect(),
                    latency: record.latencies.last(),
                }
            }
        }
    }

    /// Returns the summary. `ending` is how the connection ended, in case the association did not end itself.
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

// The endpoint that receives the bytes. The client is the association requestor (PS3.8 section 7.1).
fn source_of(direction: Direction) -> AssociationRole {
    match direction {
        Direction::ToTarget => AssociationRole::Requestor,
        Direction::ToClient => AssociationRole::Acceptor,
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
        let rules = Arc::new(AssociationRules::default());
        Observer::of_dicom(Strictness::Strict, rules, None, Instant::now())
    }

    #[test]
    fn a_requestor_without_an_answer_gets_a_transient_rejection() {
        let mut observer = observer();
        let pdu = observer.closing_pdu(Direction::ToClient, None);
        assert_eq!(pdu, Some(ClosingPdu::temporary_congestion()));
        assert_eq!(observer.closing_pdu(Direction::ToTarget, None), None);
        let seen = observer.observe(Direction::ToTarget, &request(), Instant::now());
        assert_eq!(seen, Ok(()));
        let pdu = observer.closing_pdu(Direction::ToClient, None);
        assert_eq!(pdu, Some(ClosingPdu::temporary_congestion()));
        let pdu = observer.closing_pdu(Direction::ToTarget, None);
        assert_eq!(pdu, Some(ClosingPdu::aborted()));
        assert!(observer.can_send_pdu(Direction::ToClient));
    }

    #[test]
    fn nothing_is_sent_within_a_pdu() {
        let mut observer = observer();
        let request = request();
        let seen = observer.observe(Direction::ToTarget, &request[..20], Instant::now());
        assert_eq!(seen, Ok(()));
        assert!(!observer.can_send_pdu(Direction::ToTarget));
        let seen = observer.observe(Direction::ToTarget, &request[20..], Instant::now());
        assert_eq!(seen, Ok(()));
        assert!(observer.can_send_pdu(Direction::ToTarget));
    }

    #[test]
    fn an_association_that_was_aborted_is_over() {
        let mut observer = observer();
        let now = Instant::now();
        assert_eq!(
            observer.observe(Direction::ToTarget, &request(), now),
            Ok(())
        );
        let abort = ClosingPdu::aborted().to_bytes();
        assert_eq!(observer.observe(Direction::ToTarget, &abort, now), Ok(()));
        assert!(observer.is_at_rest());
        assert_eq!(observer.closing_pdu(Direction::ToClient, None), None);
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
        let reject = ClosingPdu::temporary_congestion().to_bytes();
        assert_eq!(observer.observe(Direction::ToClient, &reject, now), Ok(()));
        assert!(!observer.waits_for_other(Direction::ToClient));
        assert!(!Observer::Blind.waits_for_other(Direction::ToClient));
    }

    #[test]
    fn a_strict_route_forbids_bytes_that_are_not_mllp() {
        let mut observer = Observer::of_mllp(Strictness::Strict, None);
        let seen = observer.observe(Direction::ToTarget, b"GET / HTTP/1.1", Instant::now());
        assert!(matches!(seen, Err(Forbidden::Conversation(_))));
        assert_eq!(observer.closing_pdu(Direction::ToClient, None), None);
    }

    #[test]
    fn without_an_observer_everything_passes_and_nothing_is_reported() {
        let mut observer = Observer::default();
        let seen = observer.observe(Direction::ToTarget, b"anything", Instant::now());
        assert_eq!(seen, Ok(()));
        assert!(observer.finish(Ending::Stopped, Instant::now()).is_none());
    }
}
