//! Proves that the peer has accepted our certificate.
//!
//! In TLS 1.3, our side of the handshake ends before the server has checked our certificate, so the handshake
//! "succeeds" even if the server will refuse us. The probe therefore sends close_notify, and the server's
//! next message decides:
//!
//! | received | meaning |
//! |---|---|
//! | an alert | refused, with the reason |
//! | a session ticket, a key update | accepted: both come after our Finished was verified (RFC 8446 section 4.6) |
//! | close_notify | accepted: a server that refuses sends an error alert (sections 4.4.2.4 and 6.1) |
//! | payload | no proof: a server may send it before it has checked our certificate (section 4.4.4); keep waiting |
//! | FIN without close_notify, a reset, silence | no proof, so the probe fails |
//!
//! An end without close_notify fails the probe, because a server that refuses without an alert, a middlebox
//! and a killed gateway look the same. No known server depends on this case: OpenSSL's s_server, HAProxy and
//! stunnel answer with a session ticket, or with close_notify if they send no tickets; DCMTK and Orthanc
//! answer with a ticket; wardgate's terminate side answers with close_notify. All of them refuse with an
//! alert.
//!
//! In TLS 1.2 the handshake itself is the proof: the server sends its Finished after it has checked our
//! certificate (RFC 5246 section 7.3).

use std::cell::Cell;

use super::ProbeFailure;
use super::channel::{Channel, Received};
use crate::uring::Socket;

/// Waits for the proof. The connection cannot be used for anything else afterwards.
pub(super) async fn wait<S: Socket>(
    channel: &mut Channel<'_, S>,
    awaited: &Cell<&'static str>,
) -> Result<(), ProbeFailure> {
    let tls = match channel {
        Channel::Tls(tls) if tls.is_tls13() => tls,
        _ => return Ok(()),
    };
    awaited.set("the server's decision on our certificate");
    tls.send_close_notify().await?;
    while let Received::Payload(_) = tls.receive_message().await? {}
    Ok(())
}
