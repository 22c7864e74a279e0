//! What the connecting side says first: held until it is a legal start of the route's protocol.
//!
//! Until then nothing goes onward, and no connection is made there. Pure: who reads is elsewhere.

use crate::audit::Reason;
use crate::config::{Mode, Protocol, Route};
use crate::dicom::{Answer, AssociateRq};
use crate::hl7::{self, Start};

/// The first bytes of a connection.
#[derive(Default)]
pub(super) struct First {
    /// All that has come, in order.
    pub(super) bytes: Vec<u8>,
    /// The request among them, on a route that looks into DICOM.
    pub(super) request: Option<Box<AssociateRq>>,
    /// Octets of that request.
    pub(super) request_octets: usize,
}

/// What came first is not how the route's protocol begins.
#[derive(Debug)]
pub(super) struct Illegal {
    /// Why, for the log.
    pub(super) sentence: String,
    /// What its sender is told; `None` where it would not understand.
    pub(super) answer: Option<Answer>,
}

/// Why there is no start.
#[derive(Debug)]
pub(super) enum NoStart {
    /// The other side ended before.
    Ended,
    /// It is none.
    Illegal(Illegal),
}

/// How a route's connections begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Either side may speak first, and nothing is held.
    Either,
    /// The connecting side speaks first. What it says is TLS, which is not judged here.
    Opener,
    /// With an A-ASSOCIATE-RQ (PS3.8 section 7.1).
    Request,
    /// With a frame of MLLP.
    Frame,
}

impl Beginning {
    /// That of `route`'s connections.
    pub(super) fn of(route: &Route) -> Self {
        match (route.protocol, route.mode) {
            (Protocol::Tcp, _) => Self::Either,
            (Protocol::Dicom | Protocol::Mllp, Mode::Passthrough) => Self::Opener,
            (Protocol::Dicom, _) => Self::Request,
            (Protocol::Mllp, _) => Self::Frame,
        }
    }
}

impl First {
    /// Whether what has come is a legal start, or may still become one.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn is_legal(&mut self, beginning: Beginning) -> Result<bool, Illegal> {
        match beginning {
            Beginning::Either => Ok(true),
            Beginning::Opener => Ok(!self.bytes.is_empty()),
            Beginning::Request => self.has_request(),
            Beginning::Frame => match hl7::start(&self.bytes) {
                Start::More => Ok(false),
                Start::Legal => Ok(true),
                Start::Wrong => Err(Illegal {
                    sentence: "not MLLP: no frame begins the stream".to_owned(),
                    answer: None,
                }),
            },
        }
    }

    /// What it means that the other side ended before there was a start.
    pub(super) fn unfinished(&self) -> Reason {
        match self.bytes.is_empty() {
            true => Reason::Empty,
            false => Reason::Illegal("ended before its first message was whole".to_owned()),
        }
    }

    fn has_request(&mut self) -> Result<bool, Illegal> {
        let read = AssociateRq::read(&self.bytes).map_err(|no_request| Illegal {
            sentence: no_request.to_string(),
            answer: no_request.answer(),
        })?;
        if let Some((request, octets)) = read {
            self.request = Some(Box::new(request));
            self.request_octets = octets;
        }
        Ok(self.request.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(beginning: Beginning, bytes: &[u8]) -> Result<bool, Option<Answer>> {
        let mut first = First {
            bytes: bytes.to_vec(),
            ..First::default()
        };
        first.is_legal(beginning).map_err(|illegal| illegal.answer)
    }

    #[test]
    fn a_part_of_a_request_is_no_start_yet() {
        assert_eq!(judged(Beginning::Request, b""), Ok(false));
        assert_eq!(judged(Beginning::Request, &[1, 0, 0, 0, 1, 0]), Ok(false));
    }

    #[test]
    fn what_is_not_dicom_has_no_answer_and_another_pdu_has_one() {
        assert_eq!(judged(Beginning::Request, b"GET / HTTP/1.1"), Err(None));
        let answer = Some(Answer::unexpected_pdu());
        assert_eq!(judged(Beginning::Request, &[4, 0]), Err(answer));
    }

    #[test]
    fn a_frame_begins_mllp() {
        assert_eq!(judged(Beginning::Frame, b"\x0bMSH|"), Ok(true));
        assert_eq!(judged(Beginning::Frame, b"\r"), Ok(false));
        assert_eq!(judged(Beginning::Frame, b"MSH|"), Err(None));
    }

    #[test]
    fn any_octet_begins_a_stream_that_is_passed_through() {
        assert_eq!(judged(Beginning::Opener, b""), Ok(false));
        assert_eq!(judged(Beginning::Opener, b"\x16"), Ok(true));
        assert_eq!(judged(Beginning::Either, b""), Ok(true));
    }
}
