//! An HL7 message of our own, and its acknowledgement.

use std::cell::Cell;

use time::OffsetDateTime;

use super::Failure;
use super::channel::Channel;
use crate::hl7::{Reply, question};
use crate::uring::Socket;

/// Sends the message and waits for an acknowledgement, whatever it says.
pub(super) async fn ask<S: Socket>(
    channel: &mut Channel<'_, S>,
    awaited: &Cell<&'static str>,
) -> Result<(), Failure> {
    awaited.set("an acknowledgement");
    channel.send(question(OffsetDateTime::now_utc())).await?;
    let mut reply = Reply::default();
    loop {
        let taken = reply.take(&channel.receive().await?);
        if taken.map_err(|why| Failure::Answer(why.to_string()))? {
            return Ok(());
        }
    }
}
