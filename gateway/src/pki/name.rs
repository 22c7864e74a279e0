//! Distinguished names in a form in which equal names have equal bytes (RFC 5280 section 7.1).
//!
//! A CA may write one name in several string types, letter cases and spacings, for example after its
//! software was replaced. RFC 5280 compares such names by value. Here every string that can be decoded
//! becomes a UTF8String in lower case with single spaces. A string that cannot be decoded stays unchanged
//! and equals only itself.
//!
//! Not implemented: Unicode normalization (NFKC) and the removal of invisible characters (RFC 4518 sections
//! 2.2 and 2.3). Names that differ only in these count as different, as in OpenSSL.

use super::der::{self, Element, Elements, OBJECT_IDENTIFIER, SEQUENCE};

const SET: u8 = 0x31;
const UTF8_STRING: u8 = 0x0c;
const TELETEX_STRING: u8 = 0x14;
const UNIVERSAL_STRING: u8 = 0x1c;
const BMP_STRING: u8 = 0x1e;
/// NumericString, PrintableString, IA5String, VisibleString.
const ASCII_STRINGS: [u8; 4] = [0x12, 0x13, 0x16, 0x1a];

/// The comparable form of a Name with its tag and length.
pub(crate) fn comparable(name: &[u8]) -> Vec<u8> {
    match der::only(name, SEQUENCE) {
        Some(content) => der::element(SEQUENCE, &comparable_content(content)),
        None => name.to_vec(),
    }
}

/// The comparable form of the contents of a Name, without tag and length. Each relative distinguished name
/// keeps its position, so a name is a prefix of another if and only if the same holds for their comparable
/// forms.
///
/// A name that cannot be read stays unchanged and equals only itself.
pub(crate) fn comparable_content(name: &[u8]) -> Vec<u8> {
    read_content(name).unwrap_or_else(|| name.to_vec())
}

/// The same as `comparable_content`, but `None` for a name that cannot be read.
pub(crate) fn read_content(name: &[u8]) -> Option<Vec<u8>> {
    let mut comparable = Vec::with_capacity(name.len());
    let mut relative_names = Elements(name);
    for relative in relative_names.by_ref() {
        comparable.extend(der::element(SET, &attributes(relative)?));
    }
    relative_names.0.is_empty().then_some(comparable)
}

/// The attributes of one relative distinguished name, sorted as DER sorts a SET.
fn attributes(relative: Element<'_>) -> Option<Vec<u8>> {
    // Checked first, because the contents of other elements count as one in the bound of a certificate's
    // elements.
    if relative.tag != SET {
        return None;
    }
    let mut all = Vec::new();
    let mut attributes = Elements(relative.content);
    for attribute in attributes.by_ref() {
        all.push(self::attribute(attribute)?);
    }
    let is_whole = !all.is_empty() && attributes.0.is_empty();
    all.sort();
    is_whole.then(|| all.concat())
}

fn attribute(attribute: Element<'_>) -> Option<Vec<u8>> {
    if attribute.tag != SEQUENCE {
        return None;
    }
    let mut parts = Elements(attribute.content);
    let kind = parts.element_if(OBJECT_IDENTIFIER)?.whole;
    let value = parts.next()?;
    if !parts.0.is_empty() {
        return None;
    }
    let value = match decoded(value) {
        Some(text) => der::element(UTF8_STRING, folded(&text).as_bytes()),
        None => value.whole.to_vec(),
    };
    Some(der::element(SEQUENCE, &[kind, &value].concat()))
}

/// The text of a string; `None` if it is of another type, or not valid in its type.
fn decoded(value: Element<'_>) -> Option<String> {
    let bytes = value.content;
    let text = |bytes: &[u8]| Some(std::str::from_utf8(bytes).ok()?.to_owned());
    match value.tag {
        UTF8_STRING => text(bytes),
        tag if ASCII_STRINGS.contains(&tag) => text(bytes).filter(|text| text.is_ascii()),
        // In practice TeletexString contains Latin-1, as OpenSSL assumes.
        TELETEX_STRING => Some(bytes.iter().copied().map(char::from).collect()),
        BMP_STRING => units(bytes).map(char::from_u32).collect(),
        UNIVERSAL_STRING => {
            let (units, rest) = bytes.as_chunks::<4>();
            let letters = units
                .iter()
                .map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
            rest.is_empty().then(|| letters.collect()).flatten()
        }
        _ => None,
    }
}

// UCS-2: a surrogate is not a character. An odd byte at the end makes the last unit invalid too.
fn units(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks(2).map(|unit| match unit {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => 0xd800,
    })
}

/// Converts to lower case, removes leading and trailing spaces, and reduces all other spaces to one.
fn folded(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words
        .join(" ")
        .chars()
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON_NAME: &[u8] = &[6, 3, 0x55, 4, 3];
    const ORGANISATION: &[u8] = &[6, 3, 0x55, 4, 10];
    const PRINTABLE: u8 = 0x13;

    fn attribute_of(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        der::element(SEQUENCE, &[kind, &der::element(tag, value)].concat())
    }

    fn name(parts: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
        let sets = parts
            .iter()
            .map(|(kind, tag, value)| der::element(SET, &attribute_of(kind, *tag, value)));
        der::element(SEQUENCE, &sets.collect::<Vec<_>>().concat())
    }

    fn common(tag: u8, value: &[u8]) -> Vec<u8> {
        comparable(&name(&[(COMMON_NAME, tag, value)]))
    }

    #[test]
    fn names_are_equal_by_value_whatever_their_string_type_case_and_spacing() {
        let plain = common(PRINTABLE, b"Hospital CA");
        let utf16: Vec<u8> = "Hospital CA"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        let utf32: Vec<u8> = "Hospital CA"
            .chars()
            .flat_map(|letter| u32::from(letter).to_be_bytes())
            .collect();
        for (tag, value) in [
            (UTF8_STRING, &b"Hospital CA"[..]),
            (TELETEX_STRING, b"HOSPITAL ca"),
            (0x16, b"  hospital   CA "),
            (BMP_STRING, &utf16),
            (UNIVERSAL_STRING, &utf32),
        ] {
            assert_eq!(common(tag, value), plain, "{tag:#x}");
        }
        let accented = common(UTF8_STRING, "H\u{f4}pital".as_bytes());
        assert_eq!(common(TELETEX_STRING, b"H\xd4PITAL"), accented);
    }

    #[test]
    fn other_values_attributes_and_orders_stay_different() {
        let both: [(&[u8], u8, &[u8]); 2] = [
            (ORGANISATION, PRINTABLE, b"Hospital"),
            (COMMON_NAME, PRINTABLE, b"CA"),
        ];
        let [one, other] = both;
        let plain = comparable(&name(&both));
        for different in [
            name(&[other, one]),
            name(&[one]),
            name(&[one, other, other]),
            name(&[(COMMON_NAME, PRINTABLE, b"Hospital"), other]),
            name(&[one, (COMMON_NAME, PRINTABLE, b"C A")]),
            name(&[one, (COMMON_NAME, PRINTABLE, b"CB")]),
        ] {
            assert_ne!(comparable(&different), plain, "{different:x?}");
        }
    }

    #[test]
    fn attributes_of_one_relative_name_are_compared_in_any_order() {
        let [one, other] = [
            attribute_of(ORGANISATION, PRINTABLE, b"ZZ"),
            attribute_of(COMMON_NAME, UTF8_STRING, b"aa"),
        ];
        let set = |parts: [&[u8]; 2]| der::element(SEQUENCE, &der::element(SET, &parts.concat()));
        assert_eq!(
            comparable(&set([&one, &other])),
            comparable(&set([&other, &one]))
        );
    }

    #[test]
    fn a_name_that_cannot_be_decoded_equals_only_itself() {
        let broken: [(u8, &[u8]); 5] = [
            (UTF8_STRING, b"\xff"),
            (PRINTABLE, b"\xe9"),
            (BMP_STRING, b"\xd8\x00"),
            (BMP_STRING, b"\x00A\x00"),
            (3, b"\x00bits"),
        ];
        for (tag, value) in broken {
            let whole = name(&[(COMMON_NAME, tag, value)]);
            assert_eq!(comparable(&whole), whole, "{tag:#x}");
        }
        for no_name in [&b""[..], b"\x30\x02\x31", b"\x30\x02\x31\x05", b"\x04\x00"] {
            assert_eq!(comparable(no_name), no_name);
        }
    }
}
