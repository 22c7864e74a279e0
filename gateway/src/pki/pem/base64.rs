//! Strict base64 (RFC 4648 section 4), decoded directly into memory that is wiped.
//!
//! There is no buffer between text and content, and the content's memory never moves while it grows: either
//! would leave a copy of a key in memory.

use zeroize::Zeroizing;

/// The fault of a base64 text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pki) enum Base64Fault {
    /// A character that is not in the alphabet.
    Character,
    /// Characters are missing, or the padding is wrong.
    Length,
}

/// The value of the padding character, which is neither in the alphabet nor a blank.
const PADDING: u8 = b'=';

/// Decodes `text`, which begins in `line`. Blanks and line ends are skipped. The error is the line and its
/// fault. The characters of a secret are decoded without table look-ups and without branches that depend on
/// them.
pub(in crate::pki) fn decode(
    text: &[u8],
    line: usize,
    is_secret: bool,
) -> Result<Zeroizing<Vec<u8>>, (usize, Base64Fault)> {
    let value = if is_secret {
        value_of_secret
    } else {
        value_of_public
    };
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3 + 3));
    let mut line = line;
    let mut group: u32 = 0;
    // The number of characters of the alphabet and of padding so far.
    let (mut characters, mut padding) = (0_usize, 0_usize);
    let mut previous = 0;
    for byte in text.iter().copied() {
        let before = std::mem::replace(&mut previous, byte);
        match byte {
            b'\n' if before == b'\r' => {}
            b'\n' | b'\r' => line += 1,
            b' ' | b'\t' | 0x0b | 0x0c => {}
            PADDING => padding += 1,
            _ if padding > 0 => return Err((line, Base64Fault::Length)),
            _ => {
                let value = value(byte);
                if value > 63 {
                    return Err((line, Base64Fault::Character));
                }
                group = (group << 6) | u32::from(value);
                characters += 1;
                if characters.is_multiple_of(4) {
                    decoded.extend_from_slice(&group.to_be_bytes()[1..]);
                    group = 0;
                }
            }
        }
    }
    // Unused bits of the last group must be 0, otherwise two texts would have the same meaning.
    let [_, first, second, _] = match characters % 4 {
        2 => group << 12,
        3 => group << 6,
        _ => group,
    }
    .to_be_bytes();
    match (characters % 4, padding) {
        (0, 0) => {}
        (2, 2) if group & 0xf == 0 => decoded.push(first),
        (3, 1) if group & 0x3 == 0 => decoded.extend_from_slice(&[first, second]),
        _ => return Err((line, Base64Fault::Length)),
    }
    Ok(decoded)
}

/// Characters per line in RFC 7468 section 2.
const LINE_CHARS: usize = 64;

/// Encodes `bytes` in lines of 64 characters, each with a line end, without table look-ups.
pub(super) fn encode(bytes: &[u8]) -> Zeroizing<String> {
    let characters = bytes.len().div_ceil(3) * 4;
    let mut text = Zeroizing::new(String::with_capacity(
        characters + characters / LINE_CHARS + 1,
    ));
    for chunk in bytes.chunks(LINE_CHARS / 4 * 3) {
        for group in chunk.chunks(3) {
            let byte = |index| u32::from(group.get(index).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for place in 0..4 {
                let is_padding = place > group.len();
                let value = (bits >> (18 - 6 * place) & 63) as u8;
                let character = if is_padding {
                    PADDING
                } else {
                    character(value)
                };
                text.push(char::from(character));
            }
        }
        text.push('\n');
    }
    text
}

/// The character for a value below 64, by arithmetic only.
fn character(value: u8) -> u8 {
    // The alphabet has five ranges; each term is the distance from one to the next.
    let beyond = |last: u8| within(i16::from(value), last + 1, 63);
    let character = i16::from(value)
        + i16::from(b'A')
        + (beyond(25) & 6)
        + (beyond(51) & -75)
        + (beyond(61) & -15)
        + (beyond(62) & 3);
    character.to_le_bytes()[0]
}

/// Whether a byte is a base64 character, including padding.
pub(super) fn is_in_alphabet(byte: u8) -> bool {
    byte == PADDING || value_of_public(byte) <= 63
}

const VALUES: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut byte = 0;
    while byte < values.len() {
        values[byte] = value_of_secret(byte as u8);
        byte += 1;
    }
    values
};

/// The value of a character; more than 63 if it is not in the alphabet.
fn value_of_public(byte: u8) -> u8 {
    VALUES.get(usize::from(byte)).copied().unwrap_or(0xff)
}

/// The same as `value_of_public`, by arithmetic only.
const fn value_of_secret(byte: u8) -> u8 {
    let byte = byte as i16;
    // Each range adds its value plus one if it contains the byte: `within` is then all ones.
    let mut sum = 0;
    sum |= within(byte, b'A', b'Z') & (byte - b'A' as i16 + 1);
    sum |= within(byte, b'a', b'z') & (byte - b'a' as i16 + 27);
    sum |= within(byte, b'0', b'9') & (byte - b'0' as i16 + 53);
    sum |= within(byte, b'+', b'+') & 63;
    sum |= within(byte, b'/', b'/') & 64;
    (sum - 1) as u8
}

/// -1 if `byte` is in the range, else 0.
const fn within(byte: i16, first: u8, last: u8) -> i16 {
    let below = (byte - first as i16) >> 15;
    let above = (last as i16 - byte) >> 15;
    !(below | above)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Result<Vec<u8>, (usize, Base64Fault)> {
        let decode = |is_secret| decode(text.as_bytes(), 1, is_secret).map(|der| der.to_vec());
        assert_eq!(decode(true), decode(false), "{text:?}");
        decode(true)
    }

    #[test]
    fn the_examples_of_rfc_4648_are_decoded() {
        let examples = [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ];
        for (text, content) in examples {
            assert_eq!(decoded(text).as_deref(), Ok(content.as_bytes()));
        }
    }

    #[test]
    fn both_decoders_accept_the_same_64_characters() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for byte in 0..=255 {
            let expected = alphabet.iter().position(|known| *known == byte);
            let expected = expected.map_or(0xff, |value| u8::try_from(value).expect("below 64"));
            assert_eq!(value_of_secret(byte), expected, "{byte:#x}");
            assert_eq!(value_of_public(byte), expected, "{byte:#x}");
        }
    }

    #[test]
    fn encoded_bytes_can_be_decoded_again() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..200 {
            let bytes = &bytes[256 - length..];
            let text = encode(bytes);
            assert_eq!(decoded(&text).as_deref(), Ok(bytes));
            assert!(text.lines().all(|line| line.len() <= 64), "{text:?}");
            let characters = bytes.len().div_ceil(3) * 4;
            assert_eq!(text.capacity(), characters + characters / 64 + 1);
        }
    }

    #[test]
    fn wrong_padding_and_unused_bits_are_refused() {
        for text in [
            "Z", "Zg", "Zg=", "Zg===", "Zm8", "Zm8==", "Zm9v=", "=", "Zh==", "Zm9=", "Zg==Zg==",
            "Zm=8", "Zm9vY",
        ] {
            assert_eq!(decoded(text), Err((1, Base64Fault::Length)), "{text:?}");
        }
    }

    #[test]
    fn a_fault_names_its_line_whatever_ends_the_lines() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["Zm9v", " Zm9v\t", "", "Zm-v", "Zm9v"].join(end);
            assert_eq!(decoded(&text), Err((4, Base64Fault::Character)), "{end:?}");
        }
    }

    #[test]
    fn memory_for_the_content_is_reserved_at_the_start() {
        for length in 0..200 {
            let mut text = "A".repeat(length);
            text.push_str(["", "?", "==", "="][length % 4]);
            if let Ok(der) = decode(text.as_bytes(), 1, true) {
                assert_eq!(der.capacity(), text.len() / 4 * 3 + 3);
            }
        }
    }
}
