//! Why a handshake failed, in one sentence that an operator can act on.

use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible};

use super::identity::printable;
use super::verifier::{Judgement, Side};
use crate::limits::SENTENCE_CHARS_MAX;

/// Says why a handshake failed: who refused whom, by which rule, and what to do.
///
/// `received` are the first bytes that came from the peer, where they are at hand (eight suffice): they
/// tell a peer that speaks no TLS at all. They are looked at and not shown. The sentence has at most
/// `limits::SENTENCE_CHARS_MAX` characters, none of them a control character.
pub fn explain(error: &Error, judgement: &Judgement, received: &[u8]) -> String {
    bounded(match judgement.refusal() {
        Some(refusal) => refusal.to_string(),
        None => by_error(error, judgement, received),
    })
}

/// Says what it means that the peer closed the connection in the middle of the handshake.
pub fn explain_end(judgement: &Judgement, received: &[u8]) -> String {
    bounded(match (Spoken::by(received), judgement.side()) {
        (Spoken::Nothing, Side::Connector) => {
            "the server closed the connection before it sent a byte; does it listen for TLS at this \
             port, and may our address connect?"
                .to_owned()
        }
        (Spoken::Nothing, Side::Acceptor) => {
            "the client closed the connection before it sent a byte".to_owned()
        }
        (Spoken::Tls, _) => format!(
            "the {} closed the connection in the middle of the handshake without an alert; its log \
             says why",
            opposite(judgement)
        ),
        (spoken, _) => no_tls(spoken, judgement),
    })
}

fn by_error(error: &Error, judgement: &Judgement, received: &[u8]) -> String {
    let peer = opposite(judgement);
    match error {
        Error::AlertReceived(alert) => by_alert(*alert, judgement),
        Error::NoCertificatesPresented => format!(
            "the {peer} offered no certificate, and this route takes nobody without one; give the \
             {peer} a certificate of a CA that this route trusts"
        ),
        Error::PeerIncompatible(cause) => incompatible(cause, judgement),
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord
            if Spoken::by(received).is_foreign() =>
        {
            no_tls(Spoken::by(received), judgement)
        }
        Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => {
            format!(
                "the {peer} speaks an unknown version of TLS; it needs {}",
                judgement.demands()
            )
        }
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord => format!(
            "the {peer} broke the rules of TLS ({}); update its TLS software",
            printable(&error.to_string())
        ),
        Error::DecryptError => format!(
            "a record of the {peer} failed its integrity check; look for a device on the way that \
             changes bytes"
        ),
        Error::FailedToGetCurrentTime => "this machine has no valid time; set its clock".to_owned(),
        other => format!("the handshake failed: {}", printable(&other.to_string())),
    }
}

fn incompatible(cause: &PeerIncompatible, judgement: &Judgement) -> String {
    use PeerIncompatible as P;
    let peer = opposite(judgement);
    let lack = match cause {
        P::NoCipherSuitesInCommon => "offers no cipher suite that this route accepts",
        P::NoKxGroupsInCommon | P::NamedGroupsExtensionRequired | P::KeyShareExtensionRequired => {
            "offers no key exchange that this route accepts"
        }
        P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled
        | P::ServerDoesNotSupportTls12Or13
        | P::ServerTlsVersionIsDisabledByOurConfig
        | P::SupportedVersionsExtensionRequired => {
            "offers no version of TLS that this route accepts"
        }
        P::ExtendedMasterSecretExtensionRequired => {
            "speaks TLS 1.2 without extended master secret (RFC 7627)"
        }
        // TLS 1.2 brought the extension, and rustls looks for it before it looks at the version.
        P::SignatureAlgorithmsExtensionRequired => {
            "offers no signature algorithms, as TLS before 1.2 does not"
        }
        P::NoSignatureSchemesInCommon | P::NoCertificateRequestSignatureSchemesInCommon => {
            return format!(
                "the {peer} accepts no signature that our key can make (certificate {}); update the \
                 {peer}, or use a key of another kind",
                judgement.own().short_name()
            );
        }
        other => {
            let other = printable(&format!("{other:?}"));
            return format!(
                "the {peer} lacks something that TLS needs ({other}); it needs {}",
                judgement.demands()
            );
        }
    };
    format!("the {peer} {lack}; it needs {}", judgement.demands())
}

/// What the peer's alert means for us (RFC 8446 section 6).
fn by_alert(alert: AlertDescription, judgement: &Judgement) -> String {
    let peer = opposite(judgement);
    let own = judgement.own();
    let name = alert_name(alert);
    let remedy = match alert {
        AlertDescription::AccessDenied
            if judgement.side() == Side::Connector && !judgement.was_asked() =>
        {
            let ours = match judgement.service() {
                Some(label) => format!("service = \"{}\"", label.0),
                None => "no service".to_owned(),
            };
            return format!(
                "the {peer} refused the connection before it saw our certificate: {name}; give the routes at \
                 both ends the same service (ours has {ours}), or see where the target's address leads"
            );
        }
        AlertDescription::UnknownCA => unknown_ca(judgement),
        AlertDescription::CertificateExpired => {
            "renew it, or compare the clocks of both ends".to_owned()
        }
        AlertDescription::CertificateRevoked => "have a new one issued".to_owned(),
        AlertDescription::AccessDenied => format!(
            "let the {peer} list one of its names or its key (sha256:{}) as a peer",
            own.key_sha256
        ),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::DecryptError => format!(
            "see with `wardgate pki show` whether names, key, purpose and chain are what the {peer} \
             asks for; its log says more"
        ),
        AlertDescription::CertificateRequired => {
            return format!(
                "the {peer} wants a client certificate and got none ({name}); let it accept the \
                 signatures of our key (certificate {})",
                own.short_name()
            );
        }
        other => return by_other_alert(other, judgement),
    };
    format!(
        "the {peer} does not accept our certificate {} ({name}); {remedy}",
        own.short_name()
    )
}

/// A CA that the peer does not know, an intermediate that we do not send, and an expired revocation list look the same
/// from here.
fn unknown_ca(judgement: &Judgement) -> String {
    let peer = opposite(judgement);
    match judgement.own_missing_issuer() {
        Some(missing) => format!(
            "our certificate file holds no certificate of \"{missing}\": append it if that is an \
             intermediate CA, else let the {peer} put that CA into its trust, with a current revocation list \
             where it uses one"
        ),
        None => format!(
            "let the {peer} put the CA that issued it into its trust, with a current revocation list where it \
             uses one"
        ),
    }
}

fn by_other_alert(alert: AlertDescription, judgement: &Judgement) -> String {
    let peer = opposite(judgement);
    let name = alert_name(alert);
    match alert {
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity => format!(
            "the {peer} found nothing in common with us: {name}; it needs {}, and must accept the \
             signatures of our key (certificate {})",
            judgement.demands(),
            judgement.own().short_name()
        ),
        AlertDescription::UnrecognisedName => format!(
            "the {peer} does not know the name that we asked for: {name}; write the target by a name \
             that it serves"
        ),
        AlertDescription::NoApplicationProtocol => format!(
            "the {peer} insists on an application protocol (ALPN): {name}; let it take connections \
             without one"
        ),
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => {
            format!("the {peer} ended the handshake on purpose: {name}; its log says why")
        }
        AlertDescription::InternalError => {
            format!("the {peer} failed on its own: {name}; its log says why")
        }
        _ => format!("the {peer} ended the handshake: {name}; its log says why"),
    }
}

/// The alert's name in the IANA registry.
fn alert_name(alert: AlertDescription) -> String {
    let name = match alert {
        AlertDescription::CloseNotify => "close_notify",
        AlertDescription::UnexpectedMessage => "unexpected_message",
        AlertDescription::BadRecordMac => "bad_record_mac",
        AlertDescription::RecordOverflow => "record_overflow",
        AlertDescription::HandshakeFailure => "handshake_failure",
        AlertDescription::BadCertificate => "bad_certificate",
        AlertDescription::UnsupportedCertificate => "unsupported_certificate",
        AlertDescription::CertificateRevoked => "certificate_revoked",
        AlertDescription::CertificateExpired => "certificate_expired",
        AlertDescription::CertificateUnknown => "certificate_unknown",
        AlertDescription::IllegalParameter => "illegal_parameter",
        AlertDescription::UnknownCA => "unknown_ca",
        AlertDescription::AccessDenied => "access_denied",
        AlertDescription::DecodeError => "decode_error",
        AlertDescription::DecryptError => "decrypt_error",
        AlertDescription::ProtocolVersion => "protocol_version",
        AlertDescription::InsufficientSecurity => "insufficient_security",
        AlertDescription::InternalError => "internal_error",
        AlertDescription::InappropriateFallback => "inappropriate_fallback",
        AlertDescription::UserCanceled => "user_canceled",
        AlertDescription::NoRenegotiation => "no_renegotiation",
        AlertDescription::MissingExtension => "missing_extension",
        AlertDescription::UnsupportedExtension => "unsupported_extension",
        AlertDescription::UnrecognisedName => "unrecognized_name",
        AlertDescription::CertificateRequired => "certificate_required",
        AlertDescription::NoApplicationProtocol => "no_application_protocol",
        other => return format!("alert {}", u8::from(other)),
    };
    name.to_owned()
}

/// What the first bytes of a peer look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoken {
    Nothing,
    Tls,
    Dicom,
    Hl7,
    Http,
    Ssh,
    ProxyHeader,
    OldSsl,
    Unknown,
}

impl Spoken {
    fn by(received: &[u8]) -> Self {
        match received {
            [] => Self::Nothing,
            // A record of TLS: handshake or alert, version 3.x (RFC 8446 section 5.1).
            [0x16 | 0x15] | [0x16 | 0x15, 3, ..] => Self::Tls,
            // An upper layer PDU: type, reserved, length of four bytes (PS3.8 section 9.3).
            [1..=7, 0, 0, ..] => Self::Dicom,
            // The start of an MLLP block, or a message without one.
            [0x0b, ..] | [b'M', b'S', b'H', ..] => Self::Hl7,
            [b'P', b'R', b'O', b'X', b'Y', ..] | [b'\r', b'\n', b'\r', b'\n', ..] => {
                Self::ProxyHeader
            }
            [b'S', b'S', b'H', b'-', ..] => Self::Ssh,
            [0x80..=0xff, _, 1, ..] => Self::OldSsl,
            other if is_http(other) => Self::Http,
            _ => Self::Unknown,
        }
    }

    fn is_foreign(self) -> bool {
        !matches!(self, Self::Nothing | Self::Tls)
    }
}

fn is_http(received: &[u8]) -> bool {
    let words: [&[u8]; 9] = [
        b"GET ",
        b"HEAD ",
        b"POST ",
        b"PUT ",
        b"DELETE ",
        b"OPTIONS ",
        b"CONNECT ",
        b"PATCH ",
        b"HTTP/",
    ];
    // Fewer bytes than a word are enough where they are its beginning, four at least.
    words.iter().any(|word| {
        let length = word.len().min(received.len());
        length >= 4 && word.get(..length) == received.get(..length)
    })
}

fn no_tls(spoken: Spoken, judgement: &Judgement) -> String {
    let peer = opposite(judgement);
    let what = match spoken {
        Spoken::Dicom => "plaintext DICOM",
        Spoken::Hl7 => "plaintext HL7",
        Spoken::Http => "plaintext HTTP",
        Spoken::Ssh => "SSH",
        Spoken::ProxyHeader => {
            return format!(
                "the {peer} sent a PROXY protocol header before TLS; turn that off at the {peer}"
            );
        }
        Spoken::OldSsl => {
            return format!(
                "the {peer} speaks SSL 2 or an equally old hello; it needs {}",
                judgement.demands()
            );
        }
        Spoken::Nothing | Spoken::Tls | Spoken::Unknown => "something else",
    };
    let remedy = match judgement.side() {
        Side::Connector => {
            "is the target a terminate route or another TLS server, and the port the right one?"
        }
        Side::Acceptor => {
            "is the far end an originate route or another TLS client, and not in the same mode as this \
             one?"
        }
    };
    format!("the {peer} sent {what}, not TLS; {remedy}")
}

fn opposite(judgement: &Judgement) -> &'static str {
    match judgement.side() {
        Side::Connector => "server",
        Side::Acceptor => "client",
    }
}

// Every part is bounded on its own; this holds whatever they add up to.
fn bounded(mut sentence: String) -> String {
    if let Some((end, _)) = sentence.char_indices().nth(SENTENCE_CHARS_MAX) {
        sentence.truncate(end);
    }
    sentence
}
