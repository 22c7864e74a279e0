//! A C-ECHO on an association that the gateway itself opens to the archive.

use std::cell::Cell;

use super::ProbeFailure;
use super::channel::Channel;
use crate::dicom::{AeTitle, ClosingPdu, Echo, EchoError, EchoStep};
use crate::stream_kind::StreamKind;
use crate::uring::Socket;

/// Sends the C-ECHO, then releases the association.
///
/// After an answer to the C-ECHO the archive counts as up, even if the release fails.
pub(super) async fn ask<S: Socket>(
    channel: &mut Channel<'_, S>,
    calling: AeTitle,
    called: AeTitle,
    awaited: &Cell<&'static str>,
) -> Result<(), ProbeFailure> {
    let (mut echo, request) = Echo::begin(calling, called);
    awaited.set(echo.awaited());
    let titles = Titles { calling, called };
    let outcome = converse(channel, &mut echo, request, titles, awaited).await;
    let abort = echo.closing_pdu();
    if !abort.is_empty() {
        // The send fails if the archive has closed the connection already.
        let _ = channel.send(abort).await;
    }
    match outcome {
        Err(why) if !echo.is_there() => Err(why),
        _ => Ok(()),
    }
}

async fn converse<S: Socket>(
    channel: &mut Channel<'_, S>,
    echo: &mut Echo,
    request: Vec<u8>,
    titles: Titles,
    awaited: &Cell<&'static str>,
) -> Result<(), ProbeFailure> {
    let mut next = EchoStep::Send(request);
    let mut first = None;
    loop {
        let came = match next {
            EchoStep::Send(bytes) => {
                channel.send(bytes).await?;
                Vec::new()
            }
            EchoStep::Receive => channel.receive().await?,
            EchoStep::Close => return Ok(()),
        };
        first = first.or(StreamKind::of(&came));
        let taken = echo.take(&came);
        awaited.set(echo.awaited());
        next = taken.map_err(|why| ProbeFailure::Answer(titles.sentence(why, first)))?;
    }
}

/// The titles of a probe's request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Titles {
    /// The title of the gateway.
    pub(crate) calling: AeTitle,
    /// The title of the archive.
    pub(crate) called: AeTitle,
}

impl Titles {
    /// The failure message with advice. `first` is the protocol that the answer looks like.
    pub(crate) fn sentence(self, why: EchoError, first: Option<StreamKind>) -> String {
        let Self { calling, called } = self;
        match (why, first) {
            (EchoError::Rejected(rejection), _)
                if ClosingPdu::Reject(rejection) == ClosingPdu::called_ae_not_recognized() =>
            {
                format!(
                    "the probe was rejected: called title \"{called}\" is not known there; set `called` in \
                     [route.health] (or in [[route.ae]]) to a title of the archive"
                )
            }
            (EchoError::Rejected(rejection), _)
                if ClosingPdu::Reject(rejection) == ClosingPdu::calling_ae_not_recognized() =>
            {
                format!(
                    "the probe was rejected: calling title \"{calling}\" is not allowed there; allow it, or set \
                     `calling` in [route.health] to a title that is"
                )
            }
            (_, Some(kind)) if !matches!(kind, StreamKind::Dicom | StreamKind::Unknown) => {
                format!(
                    "the target answered in {kind}, not DICOM; {}",
                    kind.remedy()
                )
            }
            _ => why.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Rejection;

    fn sentence(result: u8, source: u8, reason: u8) -> String {
        let titles = Titles {
            calling: "WARDGATE".parse().expect("a title"),
            called: "ANY-SCP".parse().expect("a title"),
        };
        let rejection = Rejection {
            result,
            source,
            reason,
        };
        titles.sentence(EchoError::Rejected(rejection), Some(StreamKind::Dicom))
    }

    #[test]
    fn a_rejected_title_is_named_with_the_key_that_sets_it() {
        let called = sentence(1, 1, 7);
        let expected = "the probe was rejected: called title \"ANY-SCP\" is not known there; set `called` in \
            [route.health]";
        assert!(called.starts_with(expected), "{called}");
        let calling = sentence(1, 1, 3);
        assert!(
            calling.contains("calling title \"WARDGATE\" is not allowed there"),
            "{calling}"
        );
        assert!(calling.contains("`calling` in [route.health]"), "{calling}");
        let other = sentence(1, 2, 2);
        assert!(other.contains("A-ASSOCIATE-RJ"), "{other}");
    }
}
