//! The intended differences between the two record layers, by name. No other difference is allowed.
//!
//! In each of them the connection ends, in the gateway's layer or in both; the bytes delivered before are the
//! same. rustls sends no alert in some of them, and waits for a complete message or record although its
//! header is enough to refuse it.

use gateway::tls::post_handshake::PostHandshakeError;
use gateway::tls::record::RecordError;
use rustls::{AlertDescription, Error, InvalidMessage, PeerMisbehaved};

use crate::engines::{End, Outcome};
use crate::recipe::Dish;

/// A difference, with the section of RFC 8446 that supports the gateway's layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Difference {
    /// The outer type of a protected record is application_data, and is authenticated as sent (5.2). rustls
    /// computes the authenticated data itself and checks only some types.
    OuterType,
    /// The outer version is authenticated as sent (5.2). rustls authenticates 0x0303 instead, and refuses
    /// versions beyond 0x03xx.
    OuterVersion,
    /// A record longer than 2^14 + 256 is record_overflow, by its header (5.2). rustls accepts 2^14 + 2048
    /// and checks the tag first; beyond that it sends decode_error.
    LongCiphertext,
    /// An unknown content type is unexpected_message (5). rustls sends decode_error.
    InnerType,
    /// Only zeros are unexpected_message (5.4). rustls sends nothing.
    NoContent,
    /// A record between the parts of a message is refused (5.1) with unexpected_message. rustls sends
    /// nothing.
    Interleaved,
    /// An empty handshake message or alert is unexpected_message (5.4). rustls ignores the first and sends
    /// decode_error for the second.
    EmptyMessage,
    /// The header of a message is enough to refuse it, by its type (4.6) or length (6.2). rustls waits for
    /// the rest and parses it first; for a message beyond 64 KiB it sends nothing.
    MessageHeader,
    /// The gateway does not use tickets and does not parse them (4.6.1). rustls parses them: decode_error.
    Ticket,
    /// More messages than the limit are unexpected_message. rustls sends nothing.
    TooMany,
    /// Records without payload do not count as payload between key updates. For rustls they do.
    EmptyBetweenUpdates,
    /// Counters against floods restart after the hand-over: rustls has counted the messages in the last bytes
    /// of the handshake.
    CountedAnew,
    /// An alert is fatal at any level, and is not answered (6.2). rustls answers a warning with decode_error.
    WarningAnswered,
}

/// Returns the difference between `ours` and `theirs`: none, a known one, or an unknown one.
pub(crate) fn between(
    dish: &Dish,
    ours: &Outcome,
    theirs: &Outcome,
) -> Result<Option<Difference>, String> {
    if is_same(ours, theirs) {
        return Ok(None);
    }
    let causes = [
        theirs_alone(dish, theirs),
        known(ours),
        ours_alone(dish, ours),
    ];
    let mut known = causes.into_iter().flatten();
    let known = known.find(|known| is_borne_out(*known, ours, theirs));
    known.map(Some).ok_or_else(|| {
        format!(
            "ours: {} bytes, {:?}, alert {:?}\ntheirs: {} bytes, {:?}, alert {:?}",
            ours.plain.len(),
            ours.end,
            ours.alert,
            theirs.plain.len(),
            theirs.end,
            theirs.alert
        )
    })
}

fn is_same(ours: &Outcome, theirs: &Outcome) -> bool {
    let ends = match (&ours.end, &theirs.end) {
        (End::Ours(..), End::Rustls(_)) => ours.alert == theirs.alert,
        (ours, theirs) => ours == theirs,
    };
    ends && ours.plain == theirs.plain
}

fn known(ours: &Outcome) -> Option<Difference> {
    let (wrong, outer) = match &ours.end {
        End::Ours(wrong, outer) => (wrong, outer),
        End::Open | End::Closed | End::Rustls(_) => return None,
    };
    Some(match wrong {
        PostHandshakeError::Record(RecordError::Type(_)) if *outer != Some(23) => {
            Difference::OuterType
        }
        PostHandshakeError::Record(RecordError::Type(_)) => Difference::InnerType,
        PostHandshakeError::Record(RecordError::Mac) => Difference::OuterVersion,
        PostHandshakeError::Record(RecordError::Oversized) => Difference::LongCiphertext,
        PostHandshakeError::Record(RecordError::NoContent) => Difference::NoContent,
        PostHandshakeError::Unexpected("a record between the parts of a message") => {
            Difference::Interleaved
        }
        PostHandshakeError::Unexpected("an empty message") => Difference::EmptyMessage,
        PostHandshakeError::Unexpected("type") => Difference::MessageHeader,
        PostHandshakeError::Malformed("key update" | "session ticket") => Difference::MessageHeader,
        PostHandshakeError::TooMany(_) => Difference::TooMany,
        PostHandshakeError::Alert(_) => Difference::WarningAnswered,
        _ => return None,
    })
}

// rustls ends where the gateway's layer may continue, to any end.
fn theirs_alone(dish: &Dish, theirs: &Outcome) -> Option<Difference> {
    match &theirs.end {
        End::Rustls(Error::DecryptError) if dish.has_odd_version => Some(Difference::OuterVersion),
        End::Rustls(Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion)) => {
            Some(Difference::OuterVersion)
        }
        End::Rustls(Error::InvalidMessage(_)) if dish.has_odd_ticket => Some(Difference::Ticket),
        End::Rustls(Error::PeerMisbehaved(
            PeerMisbehaved::TooManyEmptyFragments
            | PeerMisbehaved::TooManyKeyUpdateRequests
            | PeerMisbehaved::TooManyWarningAlertsReceived,
        )) if dish.has_flood => Some(Difference::CountedAnew),
        _ => None,
    }
}

// The gateway's layer ends where rustls continues, to any end.
fn ours_alone(dish: &Dish, ours: &Outcome) -> Option<Difference> {
    match &ours.end {
        End::Ours(PostHandshakeError::TooMany("key updates"), _) if dish.has_flood => {
            Some(Difference::EmptyBetweenUpdates)
        }
        _ => None,
    }
}

// The rules for each difference besides its name.
fn is_borne_out(difference: Difference, ours: &Outcome, theirs: &Outcome) -> bool {
    let sent_alert = ours.alert.as_deref();
    let is_alert = |alert: AlertDescription| sent_alert == Some(&[2, u8::from(alert)]);
    let (same, silent) = (ours.plain == theirs.plain, theirs.alert.is_none());
    let refuses = |refused: fn(&Error) -> bool| matches!(&theirs.end, End::Rustls(e) if refused(e));
    let goes_on = theirs.plain.starts_with(&ours.plain);
    match difference {
        Difference::OuterType => goes_on && is_alert(AlertDescription::UnexpectedMessage),
        Difference::OuterVersion => match &ours.end {
            End::Ours(PostHandshakeError::Record(RecordError::Mac), _) if goes_on => {
                is_alert(AlertDescription::BadRecordMac)
            }
            _ => ours.plain.starts_with(&theirs.plain),
        },
        Difference::LongCiphertext => {
            same && is_alert(AlertDescription::RecordOverflow) && theirs.end != End::Closed
        }
        Difference::InnerType => {
            same && is_alert(AlertDescription::UnexpectedMessage)
                && refuses(|error| {
                    matches!(
                        error,
                        Error::InvalidMessage(InvalidMessage::InvalidContentType)
                            | Error::PeerMisbehaved(
                                PeerMisbehaved::MessageInterleavedWithHandshakeMessage
                            )
                            | Error::PeerMisbehaved(PeerMisbehaved::TooManyEmptyFragments)
                    )
                })
        }
        Difference::NoContent => {
            same && silent
                && is_alert(AlertDescription::UnexpectedMessage)
                && refuses(|error| {
                    *error == Error::PeerMisbehaved(PeerMisbehaved::IllegalTlsInnerPlaintext)
                })
        }
        Difference::Interleaved => {
            same && silent
                && is_alert(AlertDescription::UnexpectedMessage)
                && refuses(|error| {
                    *error
                        == Error::PeerMisbehaved(
                            PeerMisbehaved::MessageInterleavedWithHandshakeMessage,
                        )
                })
        }
        Difference::EmptyMessage => goes_on && is_alert(AlertDescription::UnexpectedMessage),
        Difference::MessageHeader => {
            let expected = match &ours.end {
                End::Ours(PostHandshakeError::Unexpected(_), _) => {
                    AlertDescription::UnexpectedMessage
                }
                _ => AlertDescription::DecodeError,
            };
            same && is_alert(expected) && theirs.end != End::Closed
        }
        Difference::CountedAnew => ours.had_early && ours.plain.starts_with(&theirs.plain),
        Difference::Ticket => ours.plain.starts_with(&theirs.plain),
        Difference::TooMany => {
            same && silent
                && is_alert(AlertDescription::UnexpectedMessage)
                && refuses(|error| matches!(error, Error::PeerMisbehaved(_)))
        }
        Difference::EmptyBetweenUpdates => goes_on && is_alert(AlertDescription::UnexpectedMessage),
        Difference::WarningAnswered => {
            same && sent_alert.is_none()
                && refuses(|error| matches!(error, Error::AlertReceived(_)))
        }
    }
}
