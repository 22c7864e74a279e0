//! Options of stunnel about TLS: trust, the peer's name, versions, ciphers, sessions.

use std::collections::BTreeSet;

use super::super::ImportContext;
use super::super::address::host_and_port;
use super::super::draft::{ModeDraft, TrustDraft, dns_identity, fill_in, is_placeholder, quoted};
use super::super::report::{ImportClass, ImportReport, shell_word};
use super::is_yes;
use super::lines::OptionLine;
use super::service::Service;

use ImportClass::{Carried, NotCarried, Stricter};

/// The CA of the peers, and its revocation lists.
pub(super) fn trust(
    service: &Service<'_>,
    route: &str,
    context: &ImportContext,
    report: &mut ImportReport,
) -> TrustDraft {
    let missing = format!("/etc/wardgate/pki/{route}-ca.pem");
    let file = service
        .last("cafile")
        .filter(|line| !line.value().is_empty());
    if let Some(line) = file {
        let sentence = "trust of the peer: it must hold the CA of this partner alone, because every CA in it may issue for \
            the peer; a bundle of public CAs, or the peer's own certificate without its CA, is not enough";
        report.add(&line.place, &line.text, Stricter, sentence);
    }
    if let Some(line) = service.last("capath") {
        let sentence = format!(
            "wardgate reads one file for each peer, not a folder with hashes: `cat {}/*.0 > {missing}`, with the CA of \
             this partner alone",
            shell_word(&context.path(line.value()))
        );
        report.add(&line.place, &line.text, NotCarried, sentence);
    }
    let mut crl = Vec::new();
    if let Some(line) = service.last("crlfile") {
        crl.push(context.path(line.value()));
        let sentence = "crl of the peer; with an expired list, no peer of this CA is accepted";
        report.add(&line.place, &line.text, Stricter, sentence);
    }
    if let Some(line) = service.last("crlpath") {
        let sentence =
            "wardgate reads files, not a folder with hashes; list each file in `crl` of the peer";
        report.add(&line.place, &line.text, NotCarried, sentence);
        crl.push(fill_in(&format!(
            "list each file of {} that is a revocation list of this peer's CA",
            context.path(line.value())
        )));
    }
    // Otherwise no revoked certificate would be refused any more.
    if asks_ocsp(service) && crl.is_empty() {
        crl.push(fill_in(
            "write the file of the CA's revocation list in place of OCSP (`wardgate pki crl fetch` keeps it up to date \
             if crl_url has its address), or remove this entry if the CA publishes none",
        ));
    }
    TrustDraft {
        trust: file.map_or(missing, |line| context.path(line.value())),
        crl,
    }
}

/// Whether the service asks an OCSP responder.
fn asks_ocsp(service: &Service<'_>) -> bool {
    let responder = service.last("ocsp");
    responder.is_some_and(|line| !line.value().is_empty())
        || service.last("ocspaia").is_some_and(is_yes)
}

/// The names that the peer's certificate must prove.
pub(super) fn identities(
    service: &Service<'_>,
    route: &str,
    header: Option<&OptionLine>,
    context: &ImportContext,
    report: &mut ImportReport,
) -> BTreeSet<String> {
    let given = context.identities_of(route);
    let mut found = BTreeSet::new();
    for line in service.all("checkhost") {
        let (class, sentence) = match dns_identity(line.value()) {
            Some(identity) => {
                let sentence = format!(
                    "identity {} of the peer, which must be a subject alternative name of its certificate; a common name \
                     or a wildcard does not count",
                    quoted(&identity)
                );
                found.insert(identity);
                (Stricter, sentence)
            }
            None => (
                NotCarried,
                "this is not a DNS name; write a name of the certificate in `identity` of the peer"
                    .to_owned(),
            ),
        };
        report.add(&line.place, &line.text, class, sentence);
    }
    for line in service.all("checkip").chain(service.all("checkemail")) {
        let sentence = "peers are identified by a DNS name, a URI or a key; write one of them in `identity` of the peer";
        report.add(&line.place, &line.text, NotCarried, sentence);
    }
    if let Some(given) = given {
        found = given;
    }
    if found.is_empty() {
        found.insert(placeholder(service, route));
    }
    verification(service, route, &found, report);
    if service.last("cert").is_none()
        && let Some(header) = header
    {
        let sentence = "both ends must present a certificate, and this service has none; it uses that of [identity]. `wardgate \
            pki issue` makes one";
        report.add(&header.place, &header.text, Stricter, sentence);
    }
    found
}

fn placeholder(service: &Service<'_>, route: &str) -> String {
    let host = service.last("sni").map(OptionLine::value);
    let host = host.or_else(|| host_and_port(service.last("connect")?.value()).0);
    let host = host.filter(|_| service.mode == ModeDraft::Originate);
    let guess = host.and_then(dns_identity);
    let probably = guess.map_or_else(
        || "for example \"dns:gw.partner.example\"".to_owned(),
        |identity| format!("probably {identity:?}"),
    );
    fill_in(&format!(
        "write the name that the peer's certificate must prove, {probably}; `wardgate pki show` prints the names in a \
         certificate (route {route:?})"
    ))
}

/// The lines that say whether and how the peer is verified. Without any, the header has the remark.
fn verification(
    service: &Service<'_>,
    route: &str,
    identities: &BTreeSet<String>,
    report: &mut ImportReport,
) {
    let is_open = identities.iter().any(|identity| is_placeholder(identity));
    let name = if is_open {
        format!(
            ". The name of the peer is not in this file: write it in `identity`, or import again with --peer \
             {route}=dns:NAME"
        )
    } else {
        String::new()
    };
    for option in ["verify", "verifychain", "verifypeer", "requirecert"] {
        let Some(line) = service.last(option) else {
            continue;
        };
        let level = line.value();
        let pins = option == "verifypeer" && is_yes(line)
            || option == "verify" && matches!(level, "3" | "4");
        let what = if pins {
            "stunnel accepts the certificates in CAfile alone. Wardgate accepts a named certificate of the peer's CA: put \
             the CA in `trust`; to pin the key as well, write \"sha256:\" and the digest that `wardgate pki show CAFILE` \
             prints in `identity`"
        } else if is_yes(line) || level == "2" {
            "both ends always verify each other: a certificate of the CA is needed, and it must prove a name that is \
             written in the configuration"
        } else {
            "verification cannot be turned off: both ends present a certificate of a known CA that proves a written name"
        };
        report.add(&line.place, &line.text, Stricter, format!("{what}{name}"));
    }
}

/// The other options about TLS.
pub(super) fn options(service: &mut Service<'_>, report: &mut ImportReport) {
    for line in service.lines.clone() {
        if let Some((class, sentence)) = option(line, service) {
            report.add(&line.place, &line.text, class, sentence);
        } else if !report.mentions(&line.place) {
            let sentence = "stunnel 5 has no such option for a service; look it up in the manual of the version that \
                reads this file";
            report.add(&line.place, &line.text, NotCarried, sentence);
        }
    }
}

fn option(line: &OptionLine, service: &mut Service<'_>) -> Option<(ImportClass, String)> {
    let value = line.value();
    let (class, sentence) = match line.name() {
        "sslversion" | "sslversionmin" | "sslversionmax" => return Some(version(line, service)),
        "options" => return Some(ssl_option(value, service)),
        "ciphers" => (
            Stricter,
            "policy = \"hscn\": in TLS 1.2 only ECDHE with AES-256-GCM; policy = \"dicom-b12\" adds AES-128-GCM for old \
             devices",
        ),
        "ciphersuites" if value == "TLS_AES_256_GCM_SHA384" => {
            (Carried, "policy = \"hscn\" uses the same suite")
        }
        "ciphersuites" => (
            Stricter,
            "policy = \"hscn\": in TLS 1.3 only TLS_AES_256_GCM_SHA384",
        ),
        "curve" | "curves" => (
            Stricter,
            "the key exchanges are X25519MLKEM768, X25519, P-256 and P-384, in this order; require_pq and hybrid change \
             it",
        ),
        "securitylevel" => (
            Stricter,
            "RSA keys have 2048 bits at least, and SHA-1 is refused, whatever the level was",
        ),
        "renegotiation" => (
            Stricter,
            "wardgate never renegotiates; TLS 1.3 updates its keys instead",
        ),
        "sessioncachesize"
        | "sessioncachetimeout"
        | "sessionresume"
        | "sessiond"
        | "ticketkeysecret"
        | "ticketmacsecret" => (
            Stricter,
            "wardgate keeps no sessions and no tickets: every connection verifies both certificates again",
        ),
        "pskidentity" | "psksecrets" => (
            NotCarried,
            "wardgate uses certificates in place of shared secrets: make one at each end (`wardgate pki init`, `wardgate \
             pki issue`) and exchange the CA certificates; the other end must change too",
        ),
        "engineid" | "enginenum" | "caengine" | "castore" => (
            NotCarried,
            "wardgate loads no OpenSSL engine or provider; keys, CAs and certificates are files",
        ),
        "config" => (
            NotCarried,
            "commands of OpenSSL have no counterpart; `policy` chooses versions and suites",
        ),
        "ocsp" | "ocspaia" | "ocspflag" | "ocspnonce" | "ocsprequire" | "timeoutocsp" => (
            NotCarried,
            "wardgate asks no OCSP responder, because an association would depend on it; write `crl` (and `crl_url`, which \
             `wardgate pki crl fetch` reads) in the [[peer]] table",
        ),
        "sni" if service.mode == ModeDraft::Originate => return Some(server_name(line, service)),
        "sni" => (
            NotCarried,
            "one listener cannot choose a service by the server name; give each service an address or a port of its own",
        ),
        _ => return None,
    };
    Some((class, sentence.to_owned()))
}

/// `sni` of a client: wardgate sends the name in `targets`.
fn server_name(line: &OptionLine, service: &Service<'_>) -> (ImportClass, String) {
    let mut hosts = service
        .all("connect")
        .map(|line| host_and_port(line.value()).0);
    if hosts.all(|host| host.is_some_and(|host| host.eq_ignore_ascii_case(line.value()))) {
        return (
            Carried,
            "wardgate sends the name in `targets`, which is the same".to_owned(),
        );
    }
    let sentence = "wardgate sends the host name in `targets` as the server name. If the other end chooses by it, write this \
        name in `targets` and make it known in the DNS or in /etc/hosts; most gateways ignore it";
    (NotCarried, sentence.to_owned())
}

fn version(line: &OptionLine, service: &mut Service<'_>) -> (ImportClass, String) {
    let is_max = line.is("sslversionmax");
    let is_range_end = line.is("sslversion");
    match line.value().to_ascii_lowercase().as_str() {
        "tlsv1.3" if is_max => (Carried, "TLS 1.3 is the newest version".to_owned()),
        "tlsv1.3" => {
            service.keys.insert("policy", quoted("hscn-tls13"));
            (Carried, "policy = \"hscn-tls13\"".to_owned())
        }
        "tlsv1.2" if is_max || is_range_end => (
            Stricter,
            "TLS 1.3 is used when the other end has it; TLS 1.2 remains possible".to_owned(),
        ),
        "tlsv1.2" => (Carried, "policy = \"hscn\" begins with TLS 1.2".to_owned()),
        "all" if is_max => (Carried, "TLS 1.3 is the newest version".to_owned()),
        _ => (
            Stricter,
            "policy = \"hscn\": only TLS 1.2 and TLS 1.3; a peer that has older versions alone must be updated first"
                .to_owned(),
        ),
    }
}

fn ssl_option(value: &str, service: &mut Service<'_>) -> (ImportClass, String) {
    let upper = value
        .trim()
        .trim_start_matches("SSL_OP_")
        .to_ascii_uppercase();
    let (class, sentence) = match upper.as_str() {
        "NO_SSLV2" | "NO_SSLV3" | "NO_TLSV1" | "NO_TLSV1_1" | "NO_TLSV1.1" => {
            (Carried, "policy = \"hscn\": only TLS 1.2 and TLS 1.3")
        }
        "NO_TLSV1_2" | "NO_TLSV1.2" => {
            service.keys.insert("policy", quoted("hscn-tls13"));
            (Carried, "policy = \"hscn-tls13\"")
        }
        "NO_TLSV1_3" | "NO_TLSV1.3" => (
            Stricter,
            "TLS 1.3 is used when the other end has it, and is at least as strict",
        ),
        "NO_TICKET"
        | "NO_COMPRESSION"
        | "NO_RENEGOTIATION"
        | "CIPHER_SERVER_PREFERENCE"
        | "SINGLE_DH_USE"
        | "SINGLE_ECDH_USE"
        | "NO_SESSION_RESUMPTION_ON_RENEGOTIATION" => (Carried, "wardgate always does so"),
        _ => (
            Stricter,
            "options of OpenSSL have no counterpart; wardgate uses no workarounds for old programs, no tickets, no \
             compression and no renegotiation",
        ),
    };
    (class, sentence.to_owned())
}
