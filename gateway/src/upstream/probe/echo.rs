//! A C-ECHO, from the gateway's own association to the archive and back.

use std::cell::Cell;

use super::Failure;
use super::channel::Channel;
use crate::dicom::{AeTitle, Answer, Echo, Next, NoEcho};
use crate::uring::Socket;

/// Asks, and releases the association.
///
/// An archive that was found there stays so, however the rest goes.
pub(super) async fn ask<S: Socket>(
    channel: &mut Channel<'_, S>,
    calling: AeTitle,
    called: AeTitle,
    awaited: &Cell<&'static str>,
) -> Result<(), Failure> {
    let (mut echo, request) = Echo::begin(calling, called);
    awaited.set(echo.awaited());
    let outcome = converse(channel, &mut echo, (calling, called), request, awaited).await;
    let abort = echo.last_words();
    if !abort.is_empty() {
        // Whoever broke off does not hear it.
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
    titles: (AeTitle, AeTitle),
    request: Vec<u8>,
    awaited: &Cell<&'static str>,
) -> Result<(), Failure> {
    let mut next = Next::Send(request);
    loop {
        let came = match next {
            Next::Send(bytes) => {
                channel.send(bytes).await?;
                Vec::new()
            }
            Next::Receive => channel.receive().await?,
            Next::Close => return Ok(()),
        };
        let taken = echo.take(&came);
        awaited.set(echo.awaited());
        next = taken.map_err(|why| Failure::Answer(in_words(&why, titles)))?;
    }
}

// A probe that the other end's rules reject is a mistake in the configuration, and the target may be well.
fn in_words(why: &NoEcho, (calling, called): (AeTitle, AeTitle)) -> String {
    let NoEcho::Rejected(rejection) = why else {
        return why.to_string();
    };
    let answer = Answer::Reject(*rejection);
    let (key, title) = if answer == Answer::called_ae_not_recognized() {
        ("called", called)
    } else if answer == Answer::calling_ae_not_recognized() {
        ("calling", calling)
    } else {
        return why.to_string();
    };
    format!(
        "{why}: {key} title \"{title}\" is not known there; write one that is as {key} in [route.health]"
    )
}
