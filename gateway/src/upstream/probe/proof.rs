//! The proof that the far side has accepted our certificate.
//!
//! In TLS 1.3 our side of the handshake ends before the server has judged our certificate, so that it
//! "succeeds" towards one that will refuse us. So we say close_notify, and what comes then decides:
//!
//! | what comes | it means |
//! |---|---|
//! | an alert | refused, and why |
//! | a session ticket, a key update | accepted: both come after our Finished was verified (RFC 8446 section 4.6) |
//! | close_notify | accepted: who refuses sends an error alert (sections 4.4.2.4 and 6.1) |
//! | payload | nothing: a server may send it before it has judged us (section 4.4.4); wait on |
//! | FIN without close_notify, a reset, silence | nothing: not proved, so the probe is a bad one |
//!
//! A bare end does not count, since whoever refuses without an alert ends so as well, and so does a
//! device on the way or a gateway that is killed. Nobody needs it: OpenSSL's s_server, HAProxy and
//! stunnel answer with a ticket, or with close_notify where they give none, DCMTK and Orthanc with a
//! ticket, and our own terminate side with close_notify; all of them refuse by an alert.
//!
//! In TLS 1.2 there is nothing to wait for: the server's Finished comes after it has judged us (RFC
//! 5246 section 7.3).

use std::cell::Cell;

use super::Failure;
use super::channel::{Channel, Heard};
use crate::uring::Socket;

/// Waits for the proof; the connection is of no use for anything else after.
pub(super) async fn wait<S: Socket>(
    channel: &mut Channel<'_, S>,
    awaited: &Cell<&'static str>,
) -> Result<(), Failure> {
    let tls = match channel {
        Channel::Tls(tls) if tls.is_tls13() => tls,
        _ => return Ok(()),
    };
    awaited.set("the server's word on our certificate");
    tls.say_goodbye().await?;
    while let Heard::Payload(_) = tls.hear().await? {}
    Ok(())
}
