//! Fuzzes the PEM reader with any bytes, and with texts composed of pieces of PEM.
//!
//! Three oracles: the number of markers in the text, an encoder (the result must match the text), and the
//! reader of rustls-pki-types (the gateway's reader finds or refuses what that reader finds).

use std::path::Path;

use gateway::pki::pem::{self, Pem, Section, SectionKind as Kind};
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

use crate::choices::Choices;

/// Bytes that reading may allocate for each byte of the text: the list of sections grows by doubling,
/// and the shortest section has some forty characters.
const PER_BYTE: usize = 8;

pub(crate) fn read(input: &[u8]) -> String {
    let text = match input.split_first() {
        Some((choice, rest)) if choice % 2 == 0 => rest.to_vec(),
        Some((_, rest)) => text_of_pieces(&mut Choices::new(rest)),
        None => Vec::new(),
    };
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    let pem = pem::read(&text);
    let allocated = region.change().bytes_allocated;
    let bound = 1024 + PER_BYTE * text.len();
    assert!(allocated <= bound, "{allocated} bytes of {bound}");
    judge_markers(&text, &pem);
    for section in &pem.sections {
        judge_section(&text, section);
    }
    if pem.fault.is_none() {
        judge_by_rustls(&text, &pem);
    }
    word(&pem)
}

/// Every marker belongs to a section that was read, or the text is refused.
fn judge_markers(text: &[u8], pem: &Pem) {
    let begins = count(text, b"-----BEGIN ");
    let ends = count(text, b"-----END ");
    let read = pem.sections.len();
    match &pem.fault {
        None => assert_eq!((begins, ends), (read, read), "markers and sections"),
        Some(fault) => {
            assert!(begins >= read && ends >= read, "{begins} {ends} {read}");
            assert!((1..=lines(text).len()).contains(&fault.line), "{fault:?}");
        }
    }
}

/// The result matches the text at the reported line.
fn judge_section(text: &[u8], section: &Section) {
    let line = lines(text)[section.line - 1];
    assert!(count(line, b"-----BEGIN ") > 0, "line {}", section.line);
    if section.der.is_empty() {
        return;
    }
    let encoded = encode(&section.der);
    // Several sections may begin in one line, so the first match is enough.
    let line_start = line.as_ptr() as usize - text.as_ptr() as usize;
    let mut rest = &text[line_start..];
    while let Some(begin) = position(rest, b"-----BEGIN ") {
        let after = &rest[begin + 11..];
        let body = &after[position(after, b"-----").expect("the label ends") + 5..];
        let body = &body[..position(body, b"-----").unwrap_or(body.len())];
        let said: Vec<u8> = body
            .iter()
            .copied()
            .filter(|byte| !b" \t\r\n\x0b\x0c".contains(byte))
            .collect();
        if said == encoded {
            return;
        }
        rest = after;
    }
    panic!("line {} does not say {encoded:?}", section.line);
}

/// The gateway's reader finds everything that the lax reader finds.
fn judge_by_rustls(text: &[u8], pem: &Pem) {
    // The lax reader makes a label of a whole section in one line, and puts all lines up to the next BEGIN
    // marker into the section which begins there.
    let is_swallowed = |line: &&[u8]| {
        line.starts_with(b"-----BEGIN ") && position(&line[5..], b"-----END ").is_some()
    };
    if lines(text).iter().any(is_swallowed) {
        return;
    }
    let mut ours = pem.sections.iter();
    for theirs in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        let Ok((kind, der)) = theirs else { continue };
        let kind = match kind {
            SectionKind::Certificate => Kind::Certificate,
            SectionKind::Crl => Kind::Crl,
            SectionKind::PrivateKey => Kind::Pkcs8Key,
            SectionKind::RsaPrivateKey => Kind::Pkcs1Key,
            SectionKind::EcPrivateKey => Kind::Sec1Key,
            _ => continue,
        };
        let same = |section: &Section| section.kind == kind && *section.der == der;
        assert!(ours.any(same), "only rustls found {kind:?} {der:?}");
    }
}

// The number of sections, the last section, the number of unused ones, and the fault without line and label.
fn word(pem: &Pem) -> String {
    let path = Path::new("FILE");
    let last = pem.sections.last().map(|section| section.kind);
    let next = pem.sections.iter().skip(1).map(Some).chain([None]);
    let unused = pem.sections.iter().zip(next);
    let unused = unused.filter_map(|(section, next)| section.unused(next, path));
    let (read, unused) = (pem.sections.len().min(3), unused.count().min(2));
    let fault = pem.fault.map(|fault| {
        let text = fault.predicate(path);
        let outside_quotes: String = text.split('"').step_by(2).collect();
        outside_quotes.replace(|c: char| c.is_ascii_digit(), "")
    });
    format!("{read} {last:?} {unused} {fault:?}")
}

/// A text of pieces, most of which fit together.
fn text_of_pieces(choices: &mut Choices<'_>) -> Vec<u8> {
    const LABELS: [&str; 14] = [
        "CERTIFICATE",
        "CERTIFICATE",
        "X509 CRL",
        "PRIVATE KEY",
        "EC PRIVATE KEY",
        "RSA PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "EC PARAMETERS",
        "TRUSTED CERTIFICATE",
        "X509 CERTIFICATE",
        "PKCS7",
        "PUBLIC KEY",
        "FOO",
        "",
    ];
    const PIECES: [&[u8]; 24] = [
        b"\n",
        b"\r\n",
        b"\r",
        b" ",
        b"\t",
        b"\xef\xbb\xbf",
        b"-",
        b"-----",
        b"-----BEGIN ",
        b"-----END ",
        b"----- BEGIN CERTIFICATE -----",
        b"-----begin certificate-----",
        b"\xe2\x80\x94BEGIN CERTIFICATE",
        b"BEGIN CERTIFICATE",
        b"MIIBszCCAVmgAwIBAgIUAAAAAAAAAAAAAAAAAAAAAAAAAAAwCgYIKoZIzj0EAwIw",
        b"subject=CN = CA\n",
        b"Bag Attributes\n    localKeyID: 01\n",
        b"Proc-Type: 4,ENCRYPTED\n\n",
        b"\0",
        b"# ",
        b"=",
        b"AA==",
        b"-----END CERTIFICATE-----",
        b"-----BEGIN X509 CRL-----",
    ];
    let mut text = Vec::new();
    while !choices.are_made() {
        if choices.chance(120) {
            text.extend_from_slice(choices.pick(&PIECES));
            continue;
        }
        let label = choices.pick(&LABELS);
        let line_end = choices.pick(&["\n", "\n", "\n", "\r\n", "\r", ""]);
        let length = choices.below(60);
        let body = encode(choices.take(length));
        text.extend_from_slice(format!("-----BEGIN {label}-----{line_end}").as_bytes());
        let width = 1 + choices.below(64);
        for line in body.chunks(width) {
            text.extend_from_slice(line);
            text.extend_from_slice(line_end.as_bytes());
        }
        text.extend_from_slice(format!("-----END {label}-----").as_bytes());
        text.extend_from_slice(
            choices
                .pick(&["\n", "\n", "\n", "\r\n", "\r", "", " "])
                .as_bytes(),
        );
    }
    text
}

fn encode(bytes: &[u8]) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let group = u32::from_be_bytes(group);
        for place in 0..4 {
            let value = group >> (18 - 6 * place) & 63;
            let is_padding = place > chunk.len();
            text.push(if is_padding {
                b'='
            } else {
                alphabet[value as usize]
            });
        }
    }
    text
}

/// The lines of a text without their ends; the last may be empty.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.iter().position(|byte| b"\r\n".contains(byte)) {
        lines.push(&rest[..end]);
        let long = 1 + usize::from(rest[end..].starts_with(b"\r\n"));
        rest = &rest[end + long..];
    }
    lines.push(rest);
    lines
}

fn position(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len())
        .position(|window| window == needle)
}

fn count(text: &[u8], needle: &[u8]) -> usize {
    text.windows(needle.len())
        .filter(|window| *window == needle)
        .count()
}
