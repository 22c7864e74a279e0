//! A C-ECHO, from the gateway's own association to the archive and back.

use std::cell::Cell;

use super::Failure;
use super::channel::Channel;
use crate::dicom::{AeTitle, Echo, Next};
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
    let outcome = converse(channel, &mut echo, request, awaited).await;
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
        next = taken.map_err(|why| Failure::Answer(why.to_string()))?;
    }
}
