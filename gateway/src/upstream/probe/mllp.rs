//! Sends an HL7 message of the gateway itself and waits for its acknowledgement.

use std::cell::Cell;

use time::OffsetDateTime;

use super::ProbeFailure;
use super::channel::Channel;
use crate::hl7::{Reply, kind_of, question};
use crate::uring::Socket;

/// Sends the message and waits for an acknowledgement of any kind.
pub(super) async fn ask<S: Socket>(
    channel: &mut Channel<'_, S>,
    awaited: &Cell<&'static str>,
) -> Result<(), ProbeFailure> {
    awaited.set("an acknowledgement");
    channel.send(question(OffsetDateTime::now_utc())).await?;
    let mut reply = Reply::default();
    let mut first = None;
    loop {
        let came = channel.receive().await?;
        let kind = *first.get_or_insert_with(|| kind_of(&came));
        let taken = reply.take(&came).map_err(|why| match kind {
            Some(kind) => format!(
                "the target answered in {kind}, not HL7 in MLLP frames; {}",
                kind.remedy()
            ),
            None => why.to_string(),
        });
        if taken.map_err(ProbeFailure::Answer)? {
            return Ok(());
        }
    }
}
