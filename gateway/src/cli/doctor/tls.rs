//! The TLS of one examined target: the handshake, and the decision of the server on our certificate.

use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, Error, InvalidMessage, ProtocolVersion};

use super::report::{Side, StepFinding, StepName};
use super::wire::Wire;
use crate::buffers::Buffer;
use crate::buffers::limits::PLAINTEXT_ROOM;
use crate::cli::limits::DOCTOR_STEP;
use crate::config::Target;
use crate::handshake::limits::HANDSHAKE_BYTES_MAX;
use crate::handshake::{Cause, FailedHandshake};
use crate::proxy;
use crate::tls::session::{HandshakeStep, Opened, Session};
use crate::tls::{
    CertificateDescription, Connector, PeerVerification, Rule, describe, explain, explain_end,
    explain_silence,
};

/// A connection after a mutual handshake.
pub(in crate::cli) struct TargetTls {
    wire: Wire,
    session: Session,
    verification: Arc<PeerVerification>,
    incoming: Buffer,
}

/// A handshake that failed.
pub(in crate::cli) struct FailedTls {
    failed: FailedHandshake,
    verification: Arc<PeerVerification>,
    // Segments of ours that the other end had not acknowledged at the end.
    unacknowledged: u32,
}

/// Why nothing more can be received.
#[derive(Debug)]
pub(in crate::cli) enum ChannelEnd {
    /// The other end closed cleanly.
    Closed,
    /// The TLS stream ended without close_notify.
    Truncated,
    /// The socket failed, or the deadline passed (`TimedOut`).
    Socket(io::Error),
    /// TLS failed.
    Tls(Error),
}

/// The next TLS event. Not `Debug`, because payload must not reach a report.
enum TlsEvent {
    Payload(Vec<u8>),
    /// A session ticket or a key update.
    Message,
}

// As many first bytes as an explanation looks at.
const FIRST_BYTES: usize = 64;

/// Room for close_notify or a short message in a record.
const CONTROL_ROOM: usize = 1024;

/// Performs the handshake on a connection.
///
/// # Errors
/// Why it failed. A handshake that cannot begin is the error of `Connector::start`.
pub(in crate::cli) fn shake(
    wire: Wire,
    connector: &Connector,
    target: &Target,
) -> Result<Result<TargetTls, Box<FailedTls>>, Error> {
    let (connection, verification) = connector.start(target)?;
    let mut tls = TargetTls {
        wire: wire.within(DOCTOR_STEP),
        session: Session::from(connection),
        verification,
        incoming: Buffer::with_room(HANDSHAKE_BYTES_MAX),
    };
    let mut first = Vec::new();
    let mut hello_bytes = 0;
    let shaken = tls.run(&mut first, &mut hello_bytes);
    Ok(match shaken {
        Ok(()) => Ok(tls),
        Err(cause) => {
            let failed = FailedHandshake {
                cause,
                first,
                hello_bytes,
            };
            Err(Box::new(tls.fail(failed)))
        }
    })
}

impl TargetTls {
    fn run(&mut self, first: &mut Vec<u8>, hello_bytes: &mut usize) -> Result<(), Cause> {
        loop {
            let mut outgoing = Vec::new();
            let step = self.session.advance(&mut self.incoming, &mut outgoing);
            if first.is_empty() {
                *hello_bytes = hello_bytes.saturating_add(outgoing.len());
            }
            self.wire.write_all(&outgoing).map_err(of_socket)?;
            match step.map_err(Cause::Tls)? {
                HandshakeStep::Progress => {}
                HandshakeStep::NeedBytes => {
                    self.fill()?;
                    if first.is_empty() {
                        first.extend(self.incoming.filled().iter().take(FIRST_BYTES));
                    }
                }
                HandshakeStep::Done => break,
            }
        }
        let state = self.session.state();
        self.verification
            .check_confirmed(state)
            .map_err(Cause::Tls)?;
        match self.verification.peer() {
            Some(_) => Ok(()),
            None => Err(Cause::Tls(Error::NoCertificatesPresented)),
        }
    }

    fn fill(&mut self) -> Result<(), Cause> {
        self.incoming.compact();
        let room = self.incoming.spare_mut();
        // LIMIT: HANDSHAKE_BYTES_MAX.
        if room.is_empty() {
            return Err(Cause::TooLong);
        }
        match self.wire.read(room).map_err(of_socket)? {
            0 => Err(Cause::Closed),
            count => {
                self.incoming.fill(count);
                Ok(())
            }
        }
    }

    fn fail(mut self, failed: FailedHandshake) -> FailedTls {
        let error = match &failed.cause {
            Cause::Tls(error) => Some(error.clone()),
            Cause::TooLong => Some(Error::InvalidMessage(
                InvalidMessage::HandshakePayloadTooLarge,
            )),
            Cause::Socket(_) | Cause::Closed | Cause::Deadline => None,
        };
        if let Some(error) = error {
            // The other end may have closed already.
            let _ = self.wire.write_all(&self.session.alert(&error));
        }
        FailedTls {
            failed,
            unacknowledged: self.wire.unacknowledged(),
            verification: self.verification,
        }
    }

    /// The negotiated parameters and the certificate of the other gateway, in words.
    pub(in crate::cli) fn description(&self) -> String {
        let state = self.session.state();
        let negotiated = describe(state).map_or_else(String::new, |info| {
            format!("{}, {}, {}", info.version, info.suite, info.group)
        });
        let leaf = state.peer_certificates().and_then(|chain| chain.first());
        let shown = leaf.map(CertificateDescription::new);
        let shown = shown.map_or_else(String::new, |leaf| {
            let (subject, issuer) = (&leaf.subject, &leaf.issuer);
            format!("; the certificate of \"{subject}\" ({leaf}) is issued by \"{issuer}\"")
        });
        negotiated + &shown
    }

    /// When the certificate of the other gateway expires, in seconds since 1970.
    pub(in crate::cli) fn peer_expires(&self) -> Option<i64> {
        let peer = self.verification.peer()?;
        peer.chain
            .iter()
            .map(|certificate| certificate.not_after)
            .min()
    }

    /// The identity by which the other gateway was accepted.
    pub(in crate::cli) fn identity(&self) -> Option<String> {
        Some(self.verification.peer()?.identity.clone())
    }

    /// Sends payload.
    pub(in crate::cli) fn send(&mut self, plain: &[u8]) -> Result<(), ChannelEnd> {
        let mut records = Buffer::with_room(plain.len().saturating_add(CONTROL_ROOM));
        let sealed = self.session.seal(plain, &mut records);
        sealed.map_err(|error| ChannelEnd::Tls(Error::General(error.to_string())))?;
        let sent = self.wire.write_all(records.filled());
        sent.map_err(|error| self.end_of(error))
    }

    /// Receives payload; never empty.
    pub(in crate::cli) fn receive(&mut self) -> Result<Vec<u8>, ChannelEnd> {
        loop {
            if let TlsEvent::Payload(payload) = self.next()? {
                return Ok(payload);
            }
        }
    }

    /// Closes our direction.
    pub(in crate::cli) fn close_notify(&mut self) -> Result<(), ChannelEnd> {
        let mut records = Buffer::with_room(CONTROL_ROOM);
        let _ = self.session.close_notify(&mut records);
        let sent = self.wire.write_all(records.filled());
        sent.map_err(|error| self.end_of(error))
    }

    /// Waits for the server's decision on our certificate, as a health probe does
    /// (`upstream/probe/proof.rs` has the reasons). The connection is used up afterwards.
    ///
    /// `carries` is whether the route carries addresses: the header that names no client then comes first.
    pub(super) fn acceptance(mut self, carries: bool) -> StepFinding {
        let accepted = || StepFinding::ok("the other gateway accepts our certificate");
        if self.session.state().protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return accepted();
        }
        let greeted = match carries {
            true => self.send(&proxy::local()),
            false => Ok(()),
        };
        let closed = greeted.and_then(|()| self.close_notify());
        let decision = closed.and_then(|()| {
            loop {
                if let TlsEvent::Message = self.next()? {
                    return Ok(());
                }
            }
        });
        match decision {
            Ok(()) | Err(ChannelEnd::Closed) => accepted(),
            Err(ChannelEnd::Tls(error)) => {
                let sentence = explain(&error, &self.verification, &[]);
                match &error {
                    Error::AlertReceived(alert) => {
                        StepFinding::failed_sentence(side_of_alert(*alert), &sentence)
                    }
                    _ => StepFinding::failed_sentence(Side::OtherGateway, &sentence),
                }
            }
            Err(ChannelEnd::Socket(error)) if error.kind() == io::ErrorKind::TimedOut => {
                StepFinding::warning(
                    Side::OtherGateway,
                    format!(
                        "the other gateway did not answer close_notify within {} s, so its decision on our certificate is \
                         not known",
                        DOCTOR_STEP.as_secs()
                    ),
                    "if connections fail, read the log of the other gateway; it has the reason",
                )
            }
            Err(ChannelEnd::Truncated | ChannelEnd::Socket(_)) => StepFinding::failed(
                Side::OtherGateway,
                "the other gateway ended the connection without a decision on our certificate",
                "read the log of the other gateway for this time; it has the reason",
            ),
        }
    }

    // An alert with the reason may have arrived before the reset.
    fn end_of(&mut self, error: io::Error) -> ChannelEnd {
        match self.next() {
            Err(end @ ChannelEnd::Tls(_)) => end,
            _ => ChannelEnd::Socket(error),
        }
    }

    fn next(&mut self) -> Result<TlsEvent, ChannelEnd> {
        loop {
            let before = self.incoming.filled().len();
            let mut payload = Buffer::with_room(PLAINTEXT_ROOM);
            let mut answer = Vec::new();
            let opened = self
                .session
                .open(&mut self.incoming, &mut payload, &mut answer)
                .map_err(ChannelEnd::Tls)?;
            self.wire.write_all(&answer).map_err(ChannelEnd::Socket)?;
            if !payload.is_empty() {
                return Ok(TlsEvent::Payload(payload.filled().to_vec()));
            }
            match opened {
                Opened::Closed => return Err(ChannelEnd::Closed),
                _ if self.incoming.filled().len() < before => return Ok(TlsEvent::Message),
                Opened::Full => {}
                Opened::NeedBytes => match self.fill() {
                    Ok(()) => {}
                    Err(Cause::Socket(error)) => return Err(ChannelEnd::Socket(error)),
                    Err(Cause::Deadline) => {
                        return Err(ChannelEnd::Socket(io::ErrorKind::TimedOut.into()));
                    }
                    Err(_) => return Err(ChannelEnd::Truncated),
                },
            }
        }
    }
}

fn of_socket(error: io::Error) -> Cause {
    match error.kind() {
        io::ErrorKind::TimedOut => Cause::Deadline,
        _ => Cause::Socket(error),
    }
}

impl FailedTls {
    /// Why, in one sentence.
    pub(in crate::cli) fn sentence(&self) -> String {
        let (_, finding) = self.finding();
        finding.sentence()
    }

    /// Whether the other end did not answer in time. A path that drops large packets is a possible cause.
    pub(in crate::cli) fn is_silence(&self) -> bool {
        matches!(self.failed.cause, Cause::Deadline)
    }

    /// Which step failed, and why.
    pub(super) fn finding(&self) -> (StepName, StepFinding) {
        let (first, verification) = (&self.failed.first, &self.verification);
        let hello_bytes = self.failed.hello_bytes;
        match &self.failed.cause {
            Cause::Tls(error) => {
                let sentence = explain(error, verification, first);
                let (step, side) = place(error, verification);
                (step, StepFinding::failed_sentence(side, &sentence))
            }
            Cause::Closed | Cause::Socket(_) => {
                let sentence = explain_end(verification, first, hello_bytes);
                (
                    StepName::Tls,
                    StepFinding::failed_sentence(Side::OtherGateway, &sentence),
                )
            }
            Cause::Deadline => {
                let limit = (DOCTOR_STEP, "the limit of this step");
                let sentence = explain_silence(verification, first, hello_bytes, limit);
                let side = match self.unacknowledged {
                    0 => Side::OtherGateway,
                    _ => Side::Wan,
                };
                (StepName::Tls, StepFinding::failed_sentence(side, &sentence))
            }
            Cause::TooLong => {
                let text = "the other gateway sent too many bytes in one flight of the handshake";
                let remedy = "look where the address of the target leads";
                (
                    StepName::Tls,
                    StepFinding::failed(Side::OtherGateway, text, remedy),
                )
            }
        }
    }
}

/// The step that a failed handshake belongs to, and the side that has to act.
fn place(error: &Error, verification: &PeerVerification) -> (StepName, Side) {
    if let Some(refusal) = verification.refusal() {
        return match refusal.rule {
            Rule::NotListed { .. } | Rule::OtherAuthority { .. } | Rule::NotExpected { .. } => {
                (StepName::Identity, Side::ThisGateway)
            }
            // These are about our files in `trust` and `crl`.
            Rule::AnchorExpired { .. }
            | Rule::AnchorKey { .. }
            | Rule::ListExpired { .. }
            | Rule::ListMissing
            | Rule::ListOfOtherKey
            | Rule::ListOutOfScope { .. }
            | Rule::ListUnusable { .. } => (StepName::Tls, Side::ThisGateway),
            _ => (StepName::Tls, Side::OtherGateway),
        };
    }
    match error {
        Error::AlertReceived(alert) if is_about_certificate(*alert, verification) => {
            (StepName::Acceptance, side_of_alert(*alert))
        }
        _ => (StepName::Tls, Side::OtherGateway),
    }
}

/// Whether the server has seen our certificate and refuses it.
fn is_about_certificate(alert: AlertDescription, verification: &PeerVerification) -> bool {
    use AlertDescription as A;
    let has_seen = verification.peer().is_some();
    has_seen
        && matches!(
            alert,
            A::AccessDenied
                | A::BadCertificate
                | A::CertificateExpired
                | A::CertificateRequired
                | A::CertificateRevoked
                | A::CertificateUnknown
                | A::DecryptError
                | A::UnknownCA
                | A::UnsupportedCertificate
        )
}

/// The side that has to act if the server refuses our certificate with this alert.
fn side_of_alert(alert: AlertDescription) -> Side {
    use AlertDescription as A;
    match alert {
        A::CertificateExpired
        | A::CertificateRevoked
        | A::BadCertificate
        | A::UnsupportedCertificate => Side::ThisGateway,
        _ => Side::OtherGateway,
    }
}
