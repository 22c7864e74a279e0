//! Reads PEM text (RFC 7468) strictly: every section is read, or reported with its line.
//!
//! Pure: no files and no configuration. A reader that skips unknown input can lose a revocation list, so
//! here each BEGIN and END marker is accounted for. If the meaning is certain, text is accepted although
//! RFC 7468 forbids it: a byte order mark, sections that share a line, indented sections, any line end,
//! base64 in lines of any length. Everything else is a `PemFault`. Text between sections is legal (`openssl
//! x509 -text`, "Bag Attributes") and has no effect.

use std::fmt;
use std::path::Path;

use memchr::memmem;
use zeroize::Zeroizing;

pub(super) mod base64;
mod encode;

pub(crate) use encode::of_certificate;
pub(super) use encode::{of_crl, of_key};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line outside of any section that begins with this many base64 characters is the content of a section
/// whose markers were lost: OpenSSL and RFC 7468 write 64 per line.
const ORPHAN_CHARS_MIN: usize = 60;

/// The contents of a section, by its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    /// A certificate.
    Certificate,
    /// A certificate revocation list.
    Crl,
    /// A private key in PKCS#8.
    Pkcs8Key,
    /// An RSA private key in PKCS#1.
    Pkcs1Key,
    /// An EC private key in SEC1.
    Sec1Key,
    /// A private key that requires a passphrase. It is not decoded.
    EncryptedKey,
    /// The curve of the EC key in the next section, which also contains the curve. It is not decoded.
    EcParameters,
    /// A section of another kind, which is not used. It is not decoded.
    Unused(Unused),
}

/// Kinds of sections that are not used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unused {
    /// A certificate with OpenSSL's own trust settings.
    TrustedCertificate,
    /// Certificates or lists in PKCS#7.
    Pkcs7,
    /// A request to a CA.
    CertificateRequest,
    /// A public key.
    PublicKey,
    /// Parameters for key exchange or of a curve.
    Parameters,
    /// A private key of a kind that TLS does not use, or in another program's format.
    OtherKey,
    /// An unknown label.
    Unknown,
}

/// All known labels. The older ones are from RFC 7468 section 5.1 and its appendix.
const LABELS: &[(&str, SectionKind)] = &[
    ("CERTIFICATE", SectionKind::Certificate),
    ("X509 CERTIFICATE", SectionKind::Certificate),
    ("X.509 CERTIFICATE", SectionKind::Certificate),
    ("X509 CRL", SectionKind::Crl),
    ("CRL", SectionKind::Crl),
    ("PRIVATE KEY", SectionKind::Pkcs8Key),
    ("RSA PRIVATE KEY", SectionKind::Pkcs1Key),
    ("EC PRIVATE KEY", SectionKind::Sec1Key),
    ("ENCRYPTED PRIVATE KEY", SectionKind::EncryptedKey),
    ("EC PARAMETERS", SectionKind::EcParameters),
    (
        "TRUSTED CERTIFICATE",
        SectionKind::Unused(Unused::TrustedCertificate),
    ),
    ("PKCS7", SectionKind::Unused(Unused::Pkcs7)),
    ("PKCS #7 SIGNED DATA", SectionKind::Unused(Unused::Pkcs7)),
    ("CMS", SectionKind::Unused(Unused::Pkcs7)),
    (
        "CERTIFICATE REQUEST",
        SectionKind::Unused(Unused::CertificateRequest),
    ),
    (
        "NEW CERTIFICATE REQUEST",
        SectionKind::Unused(Unused::CertificateRequest),
    ),
    ("PUBLIC KEY", SectionKind::Unused(Unused::PublicKey)),
    ("RSA PUBLIC KEY", SectionKind::Unused(Unused::PublicKey)),
    ("DH PARAMETERS", SectionKind::Unused(Unused::Parameters)),
    (
        "X9.42 DH PARAMETERS",
        SectionKind::Unused(Unused::Parameters),
    ),
    ("DSA PARAMETERS", SectionKind::Unused(Unused::Parameters)),
    ("DSA PRIVATE KEY", SectionKind::Unused(Unused::OtherKey)),
    ("OPENSSH PRIVATE KEY", SectionKind::Unused(Unused::OtherKey)),
];

impl SectionKind {
    fn of(label: &[u8]) -> Self {
        let known = LABELS.iter().find(|(known, _)| known.as_bytes() == label);
        known.map_or(Self::Unused(Unused::Unknown), |(_, kind)| *kind)
    }

    fn is_secret(self) -> bool {
        matches!(self, Self::Pkcs8Key | Self::Pkcs1Key | Self::Sec1Key)
    }
}

/// One section.
pub struct Section {
    /// Its kind.
    pub kind: SectionKind,
    /// The line of its BEGIN marker, counted from 1.
    pub line: usize,
    /// Its content, wiped when dropped; empty if `kind` is not decoded.
    pub der: Zeroizing<Vec<u8>>,
    label: Label,
}

/// A label in the form of messages: only known labels are shown, because an unknown one may be part of a
/// key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Label(Option<&'static str>);

impl Label {
    fn of(label: &[u8]) -> Self {
        let known = LABELS.iter().find(|(known, _)| known.as_bytes() == label);
        Self(known.map(|(known, _)| *known))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(label) => write!(f, "section {label:?}"),
            None => f.write_str("section with an unknown label"),
        }
    }
}

// Not derived: the content may be a key.
impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section")
            .field("kind", &self.kind)
            .field("line", &self.line)
            .field("bytes", &self.der.len())
            .finish_non_exhaustive()
    }
}

/// The sections of a text, in order, up to the first fault.
#[derive(Debug, Default)]
pub struct Pem {
    /// The sections that were read, including unused ones.
    pub sections: Vec<Section>,
    /// Where reading stopped, if before the end of the text.
    pub fault: Option<PemFault>,
}

/// Why a text cannot be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PemFault {
    /// The line where reading stopped, counted from 1.
    pub line: usize,
    why: PemFaultKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PemFaultKind {
    /// The text is in the named encoding.
    Encoding(&'static str),
    Binary,
    TextBeforeBegin,
    TextAfterEnd,
    BrokenMarker,
    EndWithoutBegin,
    /// The text ends or another section begins before the end of the section with this label.
    NoEnd(Label),
    OtherEnd(Label),
    /// The section with this label contains invalid base64.
    Base64(Label, base64::Base64Fault),
    Empty(Label),
    Orphan,
}

/// Reads every section of `text`. The time is proportional to its length.
#[must_use]
pub fn read(text: &[u8]) -> Pem {
    let mut reader = PemReader {
        text,
        at: 0,
        line: 1,
        sections: Vec::new(),
    };
    let fault = match foreign_encoding(text) {
        Some(encoding) => Some(PemFault {
            line: 1,
            why: PemFaultKind::Encoding(encoding),
        }),
        None => reader.read().err(),
    };
    Pem {
        sections: reader.sections,
        fault,
    }
}

/// The encoding of a text whose characters have more than one byte.
fn foreign_encoding(text: &[u8]) -> Option<&'static str> {
    match text {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [0x09..=0x7e, 0, 0x09..=0x7e, 0, ..] => Some("UTF-16LE"),
        [0, 0x09..=0x7e, 0, 0x09..=0x7e, ..] => Some("UTF-16BE"),
        _ => None,
    }
}

struct PemReader<'a> {
    text: &'a [u8],
    /// The next byte to read.
    at: usize,
    /// The line of that byte.
    line: usize,
    sections: Vec<Section>,
}

impl<'a> PemReader<'a> {
    fn read(&mut self) -> Result<(), PemFault> {
        // Whether an END marker precedes on the same line.
        let mut after_end = false;
        while self.at < self.text.len() {
            let line = self.rest_of_line();
            let trimmed = trim_start(line);
            if trimmed.starts_with(BEGIN) {
                self.at += line.len() - trimmed.len();
                self.section()?;
                after_end = true;
                continue;
            }
            if let Some(why) = fault_of_text(trimmed, after_end) {
                return Err(self.fault(why));
            }
            self.advance(line.len());
            self.skip_line_end();
            after_end = false;
        }
        Ok(())
    }

    /// Reads a section whose BEGIN marker is next.
    fn section(&mut self) -> Result<(), PemFault> {
        let begin = self.line;
        let line = self.rest_of_line();
        let after = line.get(BEGIN.len()..).unwrap_or_default();
        let Some(length) = memmem::find(after, DASHES) else {
            return Err(self.fault(PemFaultKind::BrokenMarker));
        };
        // Dashes of the next marker do not close this marker.
        let closing = after.get(length..).unwrap_or_default();
        let is_marker = |at| {
            let rest = closing.get(at..).unwrap_or_default();
            rest.starts_with(BEGIN) || rest.starts_with(END)
        };
        if (0..DASHES.len()).any(is_marker) {
            return Err(self.fault(PemFaultKind::BrokenMarker));
        }
        let name = after.get(..length).unwrap_or_default();
        let label = Label::of(name);
        self.advance(BEGIN.len() + length + DASHES.len());
        let body_line = self.line;
        let body = self.up_to_dashes();
        self.advance(body.len());
        self.end_marker(begin, name, label)?;
        let fault = |why| PemFault { line: begin, why };
        let mut kind = SectionKind::of(name);
        // The old form of encryption has headers before the base64 (RFC 1421 section 4.6.1.1).
        if kind.is_secret() && body.trim_ascii_start().starts_with(b"Proc-Type:") {
            kind = SectionKind::EncryptedKey;
        }
        let der = match kind {
            SectionKind::Unused(_) | SectionKind::EncryptedKey | SectionKind::EcParameters => {
                Zeroizing::default()
            }
            _ => {
                let decoded = base64::decode(body, body_line, kind.is_secret());
                let der = decoded.map_err(|(line, why)| PemFault {
                    line,
                    why: PemFaultKind::Base64(label, why),
                })?;
                if der.is_empty() {
                    return Err(fault(PemFaultKind::Empty(label)));
                }
                der
            }
        };
        self.sections.push(Section {
            kind,
            line: begin,
            der,
            label,
        });
        Ok(())
    }

    /// Reads the END marker of the section that began in line `begin` with the label `name`.
    fn end_marker(&mut self, begin: usize, name: &[u8], label: Label) -> Result<(), PemFault> {
        let line = self.rest_of_line();
        let Some(after) = line.strip_prefix(END) else {
            // The end of the text, the BEGIN marker of another section, or stray dashes.
            let lost = line.is_empty() || line.starts_with(BEGIN);
            return Err(if lost {
                PemFault {
                    line: begin,
                    why: PemFaultKind::NoEnd(label),
                }
            } else {
                self.fault(PemFaultKind::BrokenMarker)
            });
        };
        let Some(length) = memmem::find(after, DASHES) else {
            return Err(self.fault(PemFaultKind::BrokenMarker));
        };
        if after.get(..length) != Some(name) {
            return Err(self.fault(PemFaultKind::OtherEnd(label)));
        }
        self.advance(END.len() + length + DASHES.len());
        Ok(())
    }

    fn fault(&self, why: PemFaultKind) -> PemFault {
        let line = self.line;
        PemFault { line, why }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn rest_of_line(&self) -> &'a [u8] {
        let rest = self.rest();
        let length = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        rest.get(..length).unwrap_or_default()
    }

    fn up_to_dashes(&self) -> &'a [u8] {
        let rest = self.rest();
        let length = memmem::find(rest, DASHES).unwrap_or(rest.len());
        rest.get(..length).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) {
        let passed = self.rest().get(..bytes).unwrap_or_default();
        self.line += line_ends(passed);
        self.at += passed.len();
    }

    fn skip_line_end(&mut self) {
        match self.rest() {
            [b'\r', b'\n', ..] => self.advance(2),
            [_, ..] => self.advance(1),
            [] => {}
        }
    }
}

/// The number of line ends in a text: LF, CR LF and CR count as one each.
fn line_ends(text: &[u8]) -> usize {
    let mut count = 0;
    for at in memchr::memchr2_iter(b'\n', b'\r', text) {
        let is_pair = text.get(at) == Some(&b'\r') && text.get(at + 1) == Some(&b'\n');
        count += usize::from(!is_pair);
    }
    count
}

/// Removes blanks and byte order marks at the start.
fn trim_start(mut line: &[u8]) -> &[u8] {
    loop {
        let trimmed = line.trim_ascii_start();
        let trimmed = trimmed.strip_prefix(BYTE_ORDER_MARK).unwrap_or(trimmed);
        if trimmed.len() == line.len() {
            return line;
        }
        line = trimmed;
    }
}

/// The fault of a line, or of its rest, outside of every section.
fn fault_of_text(text: &[u8], after_end: bool) -> Option<PemFaultKind> {
    let text = text.trim_ascii_end();
    if text.starts_with(END) {
        Some(PemFaultKind::EndWithoutBegin)
    } else if memmem::find(text, BEGIN).is_some() {
        Some(PemFaultKind::TextBeforeBegin)
    } else if has_marker(text) {
        Some(PemFaultKind::BrokenMarker)
    } else if text.iter().any(|byte| is_binary(*byte)) {
        Some(PemFaultKind::Binary)
    } else if is_orphan(text) {
        Some(PemFaultKind::Orphan)
    } else if after_end && !text.is_empty() {
        Some(PemFaultKind::TextAfterEnd)
    } else {
        None
    }
}

/// Control characters that do not occur in text, but in DER and UTF-16.
fn is_binary(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\t' | 0x0b | 0x0c | 0x1b)
}

/// Whether this is the first line of a DER structure in base64: a SEQUENCE of 128 bytes or more.
fn is_orphan(text: &[u8]) -> bool {
    let start = text.get(..ORPHAN_CHARS_MIN).unwrap_or_default();
    start.starts_with(b"MI") && start.iter().all(|byte| base64::is_in_alphabet(*byte))
}

/// Words of the labels. A line with one of them that resembles a marker is a damaged marker.
const LABEL_WORDS: [&[u8]; 8] = [
    b"CERT",
    b"CRL",
    b"KEY",
    b"PKCS",
    b"CMS",
    b"PARAM",
    b"REQUEST",
    b"REVOCATION",
];

/// Whether a line has a marker or a damaged one: `-----BEGIN` or `-----END` anywhere; or BEGIN or END, in
/// any case, after two dashes or a word processor's long dash, and before a word of a label.
fn has_marker(text: &[u8]) -> bool {
    let mut words = None;
    let candidates =
        memchr::memchr3_iter(b'B', b'E', b'b', text).chain(memchr::memchr_iter(b'e', text));
    for at in candidates {
        let (before, rest) = text.split_at(at);
        let Some(after) = begin_or_end(rest) else {
            continue;
        };
        if before.ends_with(DASHES) {
            return true;
        }
        let before = before.trim_ascii_end();
        if (before.ends_with(b"--") || ends_with_long_dash(before))
            && *words.get_or_insert_with(|| last_label_word(text)) > Some(text.len() - after.len())
        {
            return true;
        }
    }
    false
}

/// The text after the word BEGIN or END, if it begins with one of them.
fn begin_or_end(text: &[u8]) -> Option<&[u8]> {
    [&b"BEGIN"[..], b"END"].into_iter().find_map(|word| {
        let (start, after) = text.split_at_checked(word.len())?;
        let is_whole = !after.first().is_some_and(u8::is_ascii_alphabetic);
        (start.eq_ignore_ascii_case(word) && is_whole).then_some(after)
    })
}

/// The hyphens and dashes of Unicode, U+2010 to U+2015 and U+2212, in UTF-8.
fn ends_with_long_dash(text: &[u8]) -> bool {
    matches!(text, [.., 0xe2, 0x80, 0x90..=0x95] | [.., 0xe2, 0x88, 0x92])
}

/// The position of the last label word in a text.
fn last_label_word(text: &[u8]) -> Option<usize> {
    let upper = text.to_ascii_uppercase();
    let positions = LABEL_WORDS
        .iter()
        .filter_map(|word| memmem::rfind(&upper, word));
    positions.max()
}

impl PemFault {
    /// What is wrong with the file at `path` and what to do, as a predicate. It quotes nothing from the
    /// file.
    #[must_use]
    pub fn predicate(&self, path: &Path) -> String {
        let path = path.display();
        let problem = match self.why {
            PemFaultKind::Encoding(encoding) => {
                return format!(
                    "is {encoding} text, which is not read; convert it with `(umask 077; iconv -f \
                     {encoding} -t UTF-8 -o {path}.new {path})`, and name that file"
                );
            }
            PemFaultKind::Binary => {
                "it holds bytes that are not text (DER, or UTF-16 that was appended); \
                            convert each part to PEM, then put the parts together"
                    .to_owned()
            }
            PemFaultKind::TextBeforeBegin => {
                "text stands before the BEGIN marker; put the marker on a line of \
                                     its own, or delete a section that is commented out"
                    .to_owned()
            }
            PemFaultKind::TextAfterEnd => {
                "text stands after the END marker; put it on a line of its own".to_owned()
            }
            PemFaultKind::BrokenMarker => {
                "this looks like a damaged BEGIN or END marker; copy the section again".to_owned()
            }
            PemFaultKind::EndWithoutBegin => {
                "an END marker without the BEGIN marker of its section; copy the section again"
                    .to_owned()
            }
            PemFaultKind::NoEnd(label) => {
                format!("the {label} that begins here has no END marker; copy it again")
            }
            PemFaultKind::OtherEnd(label) => format!(
                "the {label} is open, and this END marker has another label; copy the section again"
            ),
            PemFaultKind::Base64(label, base64::Base64Fault::Character) => {
                format!("the base64 of the {label} is broken here; copy the section again")
            }
            PemFaultKind::Base64(label, base64::Base64Fault::Length) => format!(
                "the base64 of the {label} is incomplete or has wrong padding (\"=\"); copy the \
                 section again"
            ),
            PemFaultKind::Empty(label) => format!("the {label} is empty; copy it again"),
            PemFaultKind::Orphan => {
                "this is the content of a section whose BEGIN marker is missing; copy the \
                            section again"
                    .to_owned()
            }
        };
        format!("cannot be read beyond line {}: {problem}", self.line)
    }
}

impl Section {
    /// Why this section is not used, and what to do, as a predicate of the file at `path`. `next` is the
    /// next section. `None` if the section is used.
    #[must_use]
    pub fn unused(&self, next: Option<&Self>, path: &Path) -> Option<String> {
        let path = path.display();
        let remedy = match self.kind {
            SectionKind::EcParameters if next.is_some_and(|next| next.kind == SectionKind::Sec1Key) => return None,
            SectionKind::EcParameters | SectionKind::Unused(Unused::PublicKey | Unused::Parameters) => {
                "it has no use here; delete the section".to_owned()
            }
            SectionKind::Unused(Unused::TrustedCertificate) => format!(
                "convert the file with `openssl storeutl -certs -out {path}.new {path}`, and name that \
                 file"
            ),
            SectionKind::Unused(Unused::Pkcs7) => format!(
                "convert the file with `openssl pkcs7 -print_certs -in {path} -out {path}.new`, and \
                 name that file"
            ),
            SectionKind::Unused(Unused::CertificateRequest) => {
                "put the certificate there that the CA issued for this request".to_owned()
            }
            SectionKind::Unused(Unused::OtherKey) => "keys that can be used are RSA of 2048 to 4096 bit, EC \
                                               P-256, EC P-384 and Ed25519 in PKCS#8, SEC1 or PKCS#1"
                .to_owned(),
            SectionKind::Unused(Unused::Unknown) => {
                "see what it is, then convert it to a kind that is read here or delete the section"
                    .to_owned()
            }
            _ => return None,
        };
        let (label, line) = (self.label, self.line);
        Some(format!(
            "has a {label} in line {line} that is not read; {remedy}"
        ))
    }
}

#[cfg(test)]
mod tests;
