//! The first bytes of the client, held until they are a legal start of the route's protocol.
//!
//! Until then, no byte is forwarded and no connection to the target is made. Pure: the socket is read
//! elsewhere.

use crate::audit::CloseReason;
use crate::config::{Connect, Mode, Protocol, RouteConfig};
use crate::dicom::{AssociateRq, AssociateRqError, ClosingPdu};
use crate::hl7::{self, Start};
use crate::stream_kind::StreamKind;

/// The first bytes of a connection.
#[derive(Default)]
pub(super) struct First {
    /// All bytes so far, in order.
    pub(super) bytes: Vec<u8>,
    /// The request in these bytes, on a route that observes DICOM.
    pub(super) request: Option<Box<AssociateRq>>,
    /// The bytes of that request.
    pub(super) request_bytes: usize,
}

/// The first bytes are not a start of the route's protocol.
#[derive(Debug)]
pub(super) struct Illegal {
    /// The reason, for the log.
    pub(super) sentence: String,
    /// The reply to the client; `None` if the client would not understand it.
    pub(super) answer: Option<ClosingPdu>,
}

/// Why there is no start.
#[derive(Debug)]
pub(super) enum NoStart {
    /// The other side ended before a start.
    Ended,
    /// The bytes are not a start.
    Illegal(Illegal),
}

/// How a route's connections begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Either side may send first, and no byte is held: `tcp`, and `connect = "early"`.
    Either,
    /// The client sends first. Its bytes are TLS, which is not checked here.
    Opener,
    /// With an A-ASSOCIATE-RQ (PS3.8 section 7.1).
    Request,
    /// With an MLLP frame.
    Frame,
}

impl Beginning {
    /// The start of the connections of `route`.
    pub(super) fn of(route: &RouteConfig) -> Self {
        match (route.protocol, route.mode) {
            (Protocol::Tcp, _) => Self::Either,
            _ if route.connect == Connect::Early => Self::Either,
            (Protocol::Dicom | Protocol::Mllp, Mode::Passthrough) => Self::Opener,
            (Protocol::Dicom, _) => Self::Request,
            (Protocol::Mllp, _) => Self::Frame,
        }
    }
}

impl First {
    /// Whether the bytes so far are a legal start, or may still become one.
    ///
    /// # Errors
    ///
    /// The bytes are not a start.
    pub(super) fn is_legal(&mut self, beginning: Beginning, mode: Mode) -> Result<bool, Illegal> {
        match beginning {
            Beginning::Either => Ok(true),
            Beginning::Opener => Ok(!self.bytes.is_empty()),
            Beginning::Request => self.has_request(mode),
            Beginning::Frame => match hl7::start(&self.bytes) {
                Start::More => Ok(false),
                Start::Legal => Ok(true),
                Start::Wrong => Err(Illegal {
                    sentence: {
                        let kind = hl7::kind_of(&self.bytes).unwrap_or(StreamKind::Unknown);
                        instead_of("HL7 in MLLP frames", kind, mode)
                    },
                    answer: None,
                }),
            },
        }
    }

    /// The result if the other side ended before a start.
    pub(super) fn unfinished(&self) -> CloseReason {
        match self.bytes.is_empty() {
            true => CloseReason::Empty,
            false => CloseReason::Illegal("ended before its first message was whole".to_owned()),
        }
    }

    fn has_request(&mut self, mode: Mode) -> Result<bool, Illegal> {
        let read = AssociateRq::read(&self.bytes).map_err(|no_request| {
            let kind = StreamKind::of(&self.bytes);
            let foreign =
                |kind: &StreamKind| !matches!(kind, StreamKind::Dicom | StreamKind::Unknown);
            Illegal {
                sentence: match (kind.filter(foreign), &no_request) {
                    (Some(kind), _) => instead_of("DICOM", kind, mode),
                    (None, AssociateRqError::NotDicom(_)) => {
                        instead_of("DICOM", StreamKind::Unknown, mode)
                    }
                    (None, _) => no_request.to_string(),
                },
                answer: no_request.answer(),
            }
        })?;
        if let Some((request, bytes)) = read {
            self.request = Some(Box::new(request));
            self.request_bytes = bytes;
        }
        Ok(self.request.is_some())
    }
}

// Names the protocol of other bytes, and the remedy.
fn instead_of(expected: &str, kind: StreamKind, mode: Mode) -> String {
    let (who, tls_remedy) = match mode {
        Mode::Originate | Mode::Passthrough => (
            "the client",
            "turn TLS off in the application, or should the mode be \"terminate\"?",
        ),
        Mode::Terminate => (
            "the application behind the TLS peer",
            "turn TLS off in that application: the gateways encrypt already",
        ),
    };
    let remedy = match kind {
        StreamKind::Tls | StreamKind::OldSsl => tls_remedy,
        other => other.remedy(),
    };
    format!("{who} sent {kind}, not {expected}; {remedy}")
}

#[cfg(test)]
mod tests {
    use test_peers::openings;

    use super::*;

    fn checked(beginning: Beginning, bytes: &[u8]) -> Result<bool, Option<ClosingPdu>> {
        let mut first = First {
            bytes: bytes.to_vec(),
            ..First::default()
        };
        first
            .is_legal(beginning, Mode::Originate)
            .map_err(|illegal| illegal.answer)
    }

    #[test]
    fn a_part_of_a_request_is_no_start_yet() {
        assert_eq!(checked(Beginning::Request, b""), Ok(false));
        assert_eq!(checked(Beginning::Request, &[1, 0, 0, 0, 1, 0]), Ok(false));
    }

    #[test]
    fn other_protocols_get_no_reply_and_another_pdu_gets_one() {
        assert_eq!(checked(Beginning::Request, b"GET / HTTP/1.1"), Err(None));
        let answer = Some(ClosingPdu::unexpected_pdu());
        assert_eq!(checked(Beginning::Request, &[4, 0]), Err(answer));
    }

    #[test]
    fn a_frame_begins_mllp() {
        assert_eq!(checked(Beginning::Frame, b"\x0bMSH|"), Ok(true));
        assert_eq!(checked(Beginning::Frame, b"\r"), Ok(false));
        assert_eq!(checked(Beginning::Frame, b"MSH|"), Err(None));
    }

    #[test]
    fn any_byte_begins_a_passthrough_stream() {
        assert_eq!(checked(Beginning::Opener, b""), Ok(false));
        assert_eq!(checked(Beginning::Opener, b"\x16"), Ok(true));
        assert_eq!(checked(Beginning::Either, b""), Ok(true));
    }

    /// First bytes that are sent by mistake, the route's protocol, and the log's text.
    const MISTAKES: [(Beginning, &[u8], &str); 9] = [
        (
            Beginning::Request,
            openings::TLS_HELLO,
            "sent TLS, not DICOM; turn TLS off",
        ),
        (
            Beginning::Request,
            openings::HL7,
            "sent HL7 in MLLP frames, not DICOM; is protocol = \"mllp\"",
        ),
        (
            Beginning::Request,
            openings::HTTP,
            "sent HTTP, not DICOM; check the port",
        ),
        (
            Beginning::Request,
            openings::SSH,
            "sent SSH, not DICOM; check the port",
        ),
        (
            Beginning::Frame,
            openings::TLS_HELLO,
            "sent TLS, not HL7 in MLLP frames; turn TLS off",
        ),
        (
            Beginning::Frame,
            openings::DICOM,
            "sent DICOM, not HL7 in MLLP frames; is protocol = \"dicom\"",
        ),
        (
            Beginning::Frame,
            openings::BARE_HL7,
            "sent HL7 without MLLP frames, not HL7 in MLLP frames; turn on MLLP",
        ),
        (
            Beginning::Frame,
            openings::STX_HL7,
            "sent HL7 between STX and ETX, not HL7 in MLLP frames; set the framing",
        ),
        (
            Beginning::Frame,
            openings::PROXY,
            "sent a PROXY protocol header, not",
        ),
    ];

    #[test]
    fn another_protocol_is_named_with_the_remedy() {
        for (beginning, bytes, words) in MISTAKES {
            for (mode, who) in [
                (Mode::Originate, "the client "),
                (Mode::Terminate, "the application behind the TLS peer "),
            ] {
                let mut first = First {
                    bytes: bytes.to_vec(),
                    ..First::default()
                };
                let illegal = first.is_legal(beginning, mode).expect_err(words);
                let begin = format!("{who}{words}");
                assert!(illegal.sentence.starts_with(&begin), "{}", illegal.sentence);
            }
        }
    }

    #[test]
    fn tls_on_a_plain_side_asks_for_the_other_mode() {
        let sentence = instead_of("DICOM", StreamKind::Tls, Mode::Originate);
        assert!(
            sentence.contains("should the mode be \"terminate\"?"),
            "{sentence}"
        );
    }
}
