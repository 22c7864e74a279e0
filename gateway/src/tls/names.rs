//! Names in certificates as text for people: escaped, and bounded whatever the certificate holds.
//!
//! A certificate is described even if it is too large, so nothing here reads further than what is shown.

use std::borrow::Cow;

use x509_parser::asn1_rs::Oid;
use x509_parser::objects::{oid_registry, oid2abbrev};

use super::der::{Element, Elements, Layout, OBJECT_IDENTIFIER, SEQUENCE};
use super::text::{hex, printable};
use crate::pki::algorithms::{OID_BYTES_SHOWN, object_identifier};
use crate::tls::limits::{SHOWN_NAME_CHARS_MAX, SHOWN_NAMES_MAX};

/// A distinguished name (the contents of Name, RFC 5280 section 4.1.2.4), for example `CN=gateway,
/// O=Hospital`.
pub(super) fn distinguished_name(name: &[u8]) -> String {
    let mut text = String::new();
    for relative in Elements(name) {
        for (index, attribute) in Elements(relative.content).enumerate() {
            if text.len() > SHOWN_NAME_CHARS_MAX {
                return printable(&text);
            }
            text.push_str(match (text.is_empty(), index) {
                (true, _) => "",
                (false, 0) => ", ",
                (false, _) => " + ",
            });
            text.push_str(&self::attribute(attribute));
        }
    }
    printable(&text)
}

/// DNS and URI names of a certificate in the form of `peers`, at most `SHOWN_NAMES_MAX`, and the number of
/// further names.
pub(super) fn alternative_names(certificate: &Layout<'_>) -> (Vec<String>, usize) {
    let value = certificate.extension(SUBJECT_ALT_NAME).unwrap_or_default();
    let all = Elements(value).next_if(SEQUENCE).unwrap_or_default();
    let mut names = Vec::new();
    let mut hidden = 0;
    for name in Elements(all) {
        let kind = match name.tag {
            DNS_NAME => "dns",
            URI => "uri",
            _ => continue,
        };
        if names.len() < SHOWN_NAMES_MAX {
            names.push(format!("{kind}:{}", printable(&text(name.content))));
        } else {
            hidden += 1;
        }
    }
    (names, hidden)
}

/// id-ce-subjectAltName (RFC 5280 section 4.2.1.6), and the tags of GeneralName.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;

const BMP_STRING: u8 = 0x1e;
/// UTF8String, NumericString, PrintableString, TeletexString, IA5String, VisibleString.
const TEXT: [u8; 6] = [0x0c, 0x12, 0x13, 0x14, 0x16, 0x1a];

/// Bytes to read of a text of which `SHOWN_NAME_CHARS_MAX` characters are shown.
const TEXT_BYTES_READ: usize = 4 * (SHOWN_NAME_CHARS_MAX + 1);

fn attribute(attribute: Element<'_>) -> String {
    let mut parts = Elements(attribute.content);
    let oid = parts.next_if(OBJECT_IDENTIFIER).unwrap_or_default();
    let value = match parts.next() {
        Some(value) if TEXT.contains(&value.tag) => text(value.content),
        Some(value) if value.tag == BMP_STRING => utf16(value.content),
        Some(value) => hex(start(value.content)),
        None => String::new(),
    };
    let shown = oid.get(..=OID_BYTES_SHOWN).unwrap_or(oid);
    match oid2abbrev(&Oid::new(Cow::Borrowed(shown)), oid_registry()) {
        Ok(known) => format!("{known}={value}"),
        Err(_) => format!("OID({})={value}", object_identifier(oid)),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(start(bytes)).into_owned()
}

fn utf16(bytes: &[u8]) -> String {
    let units = start(bytes).chunks_exact(2).map(|pair| {
        pair.iter()
            .fold(0, |unit, byte| unit << 8 | u16::from(*byte))
    });
    let letters = char::decode_utf16(units);
    letters
        .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

fn start(bytes: &[u8]) -> &[u8] {
    bytes.get(..TEXT_BYTES_READ).unwrap_or(bytes)
}
