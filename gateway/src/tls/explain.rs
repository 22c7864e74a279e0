//! Why a handshake failed, in one sentence that an operator can act on.

use std::time::Duration;

use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible};

use super::role::TlsRole;
use super::text::printable;
use super::verifier::PeerVerification;
use crate::config::is_peer_name;
use crate::stream_kind::StreamKind;
use crate::tls::limits::SENTENCE_CHARS_MAX;

/// Explains why a handshake failed: which side refused the other, by which rule, and what to do.
///
/// `received` holds the first bytes from the peer, if available (eight suffice). They identify a peer that
/// does not speak TLS. The bytes are examined but not shown. The sentence has at most
/// `limits::SENTENCE_CHARS_MAX` characters, none of them a control character.
pub fn explain(error: &Error, verification: &PeerVerification, received: &[u8]) -> String {
    bounded(match verification.refusal() {
        Some(refusal) => refusal.to_string(),
        None => by_error(error, verification, received),
    })
}

/// Explains why the peer may have closed the connection during the handshake. `hello_bytes` is the number
/// of bytes sent before the peer had sent any.
pub(crate) fn explain_end(
    verification: &PeerVerification,
    received: &[u8],
    hello_bytes: usize,
) -> String {
    bounded(match (StreamKind::of(received), verification.side()) {
        (None, TlsRole::Client) => format!(
            "the server closed the connection before it sent a byte; does it expect TLS at this port, and may our \
             address connect?{}",
            after_hello(" If", verification, hello_bytes)
        ),
        (None, TlsRole::Server) => {
            "the client closed the connection before it sent a byte".to_owned()
        }
        (Some(StreamKind::Tls), _) => format!(
            "the {} closed the connection in the middle of the handshake without an alert; its log \
             has the reason",
            opposite(verification)
        ),
        (Some(kind), _) => no_tls(kind, verification),
    })
}

/// Explains why a handshake may not have ended within `limit`, which `key` sets. `received` and
/// `hello_bytes` are the same as for `explain_end`.
pub(crate) fn explain_silence(
    verification: &PeerVerification,
    received: &[u8],
    hello_bytes: usize,
    (limit, key): (Duration, &str),
) -> String {
    let limit = in_seconds(limit);
    bounded(match (StreamKind::of(received), verification.side()) {
        (None, TlsRole::Client) => format!(
            "no TLS answer within {limit} ({key}) to our ClientHello of {hello_bytes} bytes, although the connection was \
             accepted; does the server expect TLS at this port? Otherwise look for a firewall that drops TLS, or a \
             smaller MTU on the path{}",
            after_hello("; if", verification, hello_bytes)
        ),
        (Some(kind), _) if kind != StreamKind::Tls => no_tls(kind, verification),
        _ => format!(
            "the TLS handshake did not end within {limit} ({key}); the {} did not send the rest of it",
            opposite(verification)
        ),
    })
}

// A device on the path may expect the whole ClientHello in one packet. A hybrid key exchange does not fit
// in one.
fn after_hello(begin: &str, verification: &PeerVerification, hello_bytes: usize) -> String {
    match verification.offers_hybrid() && hello_bytes > ONE_PACKET {
        true => format!(
            "{begin} a device on the path drops a ClientHello that takes two packets (ours has {hello_bytes} bytes), write \
             hybrid = false in this route"
        ),
        false => String::new(),
    }
}

// Bytes that fit into one packet on a path with tunnels. A ClientHello has some 300 bytes without the
// hybrid key exchange, and more than 1400 with it.
const ONE_PACKET: usize = 1200;

fn in_seconds(time: Duration) -> String {
    let tenths = (time.as_millis() + 50) / 100;
    match tenths % 10 {
        0 => format!("{} s", tenths / 10),
        rest => format!("{}.{rest} s", tenths / 10),
    }
}

fn by_error(error: &Error, verification: &PeerVerification, received: &[u8]) -> String {
    let peer = opposite(verification);
    match error {
        Error::AlertReceived(alert) => by_alert(*alert, verification),
        Error::NoCertificatesPresented => format!(
            "the {peer} offered no certificate, and this route requires one; give the \
             {peer} a certificate of a CA that this route trusts"
        ),
        Error::PeerIncompatible(cause) => incompatible(cause, verification),
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord
            if StreamKind::of(received).is_some_and(|kind| kind != StreamKind::Tls) =>
        {
            no_tls(
                StreamKind::of(received).unwrap_or(StreamKind::Unknown),
                verification,
            )
        }
        Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => {
            format!(
                "the {peer} speaks an unknown version of TLS; it needs {}",
                verification.demands()
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

fn incompatible(cause: &PeerIncompatible, verification: &PeerVerification) -> String {
    use PeerIncompatible as P;
    let peer = opposite(verification);
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
        // TLS 1.2 introduced the extension, and rustls looks for it before it looks at the version.
        P::SignatureAlgorithmsExtensionRequired => {
            "offers no signature algorithms, as TLS before 1.2 does not"
        }
        P::NoSignatureSchemesInCommon | P::NoCertificateRequestSignatureSchemesInCommon => {
            return format!(
                "the {peer} accepts no signature that our key can make (certificate {}); update the \
                 {peer}, or use a key of another kind",
                verification.own().short_name()
            );
        }
        other => {
            let other = printable(&format!("{other:?}"));
            return format!(
                "the {peer} lacks something that TLS needs ({other}); it needs {}",
                verification.demands()
            );
        }
    };
    format!("the {peer} {lack}; it needs {}", verification.demands())
}

/// Explains the peer's alert (RFC 8446 section 6).
fn by_alert(alert: AlertDescription, verification: &PeerVerification) -> String {
    let peer = opposite(verification);
    let own = verification.own();
    let name = alert_name(alert);
    let remedy = match alert {
        AlertDescription::AccessDenied
            if verification.side() == TlsRole::Client && !verification.was_asked() =>
        {
            let ours = match verification.service() {
                Some(label) => format!("service = \"{}\"", label.0),
                None => "no service".to_owned(),
            };
            let carries = match verification.agreement().carries_source {
                true => " and carry_source (ours is true)",
                false => " and carry_source (ours is false)",
            };
            return format!(
                "the {peer} refused the connection before it saw our certificate: {name}; give the routes at \
                 both ends the same service (ours has {ours}){carries}, or see where the target's address leads"
            );
        }
        AlertDescription::UnknownCA => unknown_ca(verification),
        AlertDescription::CertificateExpired => {
            "renew it, or compare the clocks of both ends".to_owned()
        }
        AlertDescription::CertificateRevoked => "have a new one issued".to_owned(),
        AlertDescription::AccessDenied => {
            let key = &own.key_sha256;
            // Suggests no name that `check` refuses at the other site, for example a wildcard.
            match own.names.iter().find(|name| is_peer_name(name)) {
                Some(name) => {
                    format!("let the {peer} list \"{name}\" or \"sha256:{key}\" as a peer")
                }
                None => format!(
                    "none of its names can be listed: let the {peer} add \"sha256:{key}\" to its peers"
                ),
            }
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::DecryptError => format!(
            "see with `wardgate pki show` whether names, key, purpose and chain are what the {peer} \
             asks for; its log says more"
        ),
        AlertDescription::CertificateRequired => {
            return format!(
                "the {peer} required a client certificate and got none ({name}); let it accept the \
                 signatures of our key (certificate {})",
                own.short_name()
            );
        }
        other => return by_other_alert(other, verification),
    };
    format!(
        "the {peer} does not accept our certificate {} ({name}); {remedy}",
        own.short_name()
    )
}

/// An unknown CA, a missing intermediate and an expired revocation list cause the same alert.
fn unknown_ca(verification: &PeerVerification) -> String {
    let peer = opposite(verification);
    if verification.own().is_self_signed() {
        return "it is self-signed: have it issued by a CA, for example one of your own (`wardgate pki init` and \
                `wardgate pki issue`), and give the ca.pem to that site"
            .to_owned();
    }
    match verification.own_missing_issuer() {
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

fn by_other_alert(alert: AlertDescription, verification: &PeerVerification) -> String {
    let peer = opposite(verification);
    let name = alert_name(alert);
    match alert {
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity => format!(
            "the {peer} found nothing in common with us: {name}; it needs {}, and must accept the \
             signatures of our key (certificate {})",
            verification.demands(),
            verification.own().short_name()
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
            format!("the {peer} ended the handshake on purpose: {name}; its log has the reason")
        }
        AlertDescription::InternalError => {
            format!("the {peer} failed on its own: {name}; its log has the reason")
        }
        _ => format!("the {peer} ended the handshake: {name}; its log has the reason"),
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

fn no_tls(kind: StreamKind, verification: &PeerVerification) -> String {
    let peer = opposite(verification);
    let what = match kind {
        StreamKind::Dicom => "plaintext DICOM",
        StreamKind::Mllp | StreamKind::BareHl7 | StreamKind::StxHl7 => "plaintext HL7",
        StreamKind::Http => "plaintext HTTP",
        StreamKind::Ssh => "SSH",
        StreamKind::ProxyHeader => {
            return format!(
                "the {peer} sent a PROXY protocol header before TLS; turn that off at the {peer}"
            );
        }
        StreamKind::OldSsl => {
            return format!(
                "the {peer} speaks SSL 2 or an equally old hello; it needs {}",
                verification.demands()
            );
        }
        StreamKind::Tls | StreamKind::Unknown => "bytes of an unknown protocol",
    };
    let remedy = match verification.side() {
        TlsRole::Client => of_server(kind),
        TlsRole::Server => of_client(kind),
    };
    format!("the {peer} sent {what}, not TLS; {remedy}")
}

/// If a target answers in another protocol, its address or port is wrong, or TLS is off at the target.
fn of_server(kind: StreamKind) -> &'static str {
    match kind {
        StreamKind::Dicom | StreamKind::Mllp | StreamKind::BareHl7 | StreamKind::StxHl7 => {
            "the target must be the port of a terminate route at the other site, or turn TLS on there: an application \
             without TLS belongs behind a terminate route"
        }
        StreamKind::Http | StreamKind::Ssh => {
            "correct the port of the target: a program of another kind listens there"
        }
        _ => {
            "correct the address and the port of the target: it must be a terminate route or another TLS server"
        }
    }
}

/// If a client speaks another protocol, it uses the wrong port of this gateway, or TLS is off at the
/// client.
fn of_client(kind: StreamKind) -> &'static str {
    match kind {
        StreamKind::Dicom | StreamKind::Mllp | StreamKind::BareHl7 | StreamKind::StxHl7 => {
            "this port takes TLS from another site's gateway: an application on the LAN must connect to the listener of \
             a route with mode = \"originate\"; if the client is the other site's gateway, write mode = \"originate\" in \
             its route"
        }
        StreamKind::Http => {
            "this port takes TLS from another site's gateway and serves no web page; metrics and health checks have an \
             address of their own (metrics in [gateway]), so point the browser or the load balancer's check there"
        }
        StreamKind::Ssh => {
            "this port takes TLS from another site's gateway and serves no SSH; correct the port in the SSH client, and \
             if no user has one, it is a port scan"
        }
        _ => {
            "this port takes TLS from another site's gateway; turn TLS on in the client, or correct its port; from an \
             address that you do not know, it is a port scan"
        }
    }
}

fn opposite(verification: &PeerVerification) -> &'static str {
    match verification.side() {
        TlsRole::Client => "server",
        TlsRole::Server => "client",
    }
}

// Every part has its own bound; this bounds the whole sentence.
fn bounded(mut sentence: String) -> String {
    if let Some((end, _)) = sentence.char_indices().nth(SENTENCE_CHARS_MAX) {
        sentence.truncate(end);
    }
    sentence
}
