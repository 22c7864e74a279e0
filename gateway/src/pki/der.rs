//! Iterates over DER elements (X.690 section 8.1) without interpreting their contents.
//!
//! Everything here takes time linear in the input, allocates nothing and does not recurse, so it can
//! examine a certificate before any other code does.

/// Consecutive elements. Iteration ends at the first byte that begins no element; the rest is then not
/// empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elements<'a>(pub(crate) &'a [u8]);

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// Its identifier byte. Tag numbers above 30 take several bytes; no certificate has them.
    pub(crate) tag: u8,
    /// Its contents.
    pub(crate) content: &'a [u8],
    /// The same with tag and length.
    pub(crate) whole: &'a [u8],
}

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
/// Set in the identifier of an element that contains elements.
const CONSTRUCTED: u8 = 0x20;

/// `[number]` with content that is not an element.
pub(crate) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// `[number]` around further elements.
pub(crate) const fn context_constructed(number: u8) -> u8 {
    0xa0 | number
}

impl<'a> Elements<'a> {
    /// Takes the next element if it has this tag, and returns its contents.
    pub(crate) fn next_if(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element_if(tag).map(|element| element.content)
    }

    /// Takes the next element if it has this tag.
    pub(crate) fn element_if(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let element = ahead.next().filter(|element| element.tag == tag)?;
        *self = ahead;
        Some(element)
    }

    fn header(&mut self) -> Option<(u8, usize)> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let count = usize::from(first & 0x7f);
            // Four bytes can express 4 GiB; DER has no indefinite length (0x80).
            if !(1..=4).contains(&count) {
                return None;
            }
            let (bytes, after) = rest.split_at_checked(count)?;
            length = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            rest = after;
        }
        self.0 = rest;
        Some((tag, length))
    }

    /// The number of elements, including nested elements but not those inside strings. Stops counting above
    /// `most`.
    pub(crate) fn count_within(mut self, most: usize) -> usize {
        let mut count = 0;
        while count <= most
            && let Some((tag, length)) = self.header()
        {
            count += 1;
            // Nested elements follow the header, so skipping the header enters the element.
            if tag & CONSTRUCTED == 0 {
                self.0 = self.0.get(length..).unwrap_or_default();
            }
        }
        count
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let start = self.0;
        let mut ahead = *self;
        let (tag, length) = ahead.header()?;
        let (content, rest) = ahead.0.split_at_checked(length)?;
        self.0 = rest;
        let whole = start.get(..start.len().saturating_sub(rest.len()))?;
        Some(Element {
            tag,
            content,
            whole,
        })
    }
}

/// Encodes one DER element.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut element = Vec::with_capacity(length.saturating_add(10));
    element.push(tag);
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => element.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let leading = bytes.iter().take_while(|byte| **byte == 0).count();
            let bytes = bytes.get(leading..).unwrap_or_default();
            // At most 8 bytes of length.
            element.push(0x80 | bytes.len().to_le_bytes()[0]);
            element.extend_from_slice(bytes);
        }
    }
    element.extend_from_slice(content);
    element
}

/// The content of the only element in `bytes`, if it has this tag and nothing follows it.
pub(crate) fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let mut elements = Elements(bytes);
    let content = elements.next_if(tag)?;
    elements.0.is_empty().then_some(content)
}

/// The value of the extension with this object identifier (its content bytes) in a certificate.
pub(crate) fn certificate_extension<'a>(certificate: &'a [u8], oid: &[u8]) -> Option<&'a [u8]> {
    let signed = only(certificate, SEQUENCE)?;
    let to_be_signed = Elements(signed).next_if(SEQUENCE)?;
    let mut fields = Elements(to_be_signed);
    let extensions = fields.find(|field| field.tag == context_constructed(3))?;
    extension(only(extensions.content, SEQUENCE)?, oid)
}

/// The value of the extension with this object identifier in the content of an `Extensions`.
pub(crate) fn extension<'a>(extensions: &'a [u8], oid: &[u8]) -> Option<&'a [u8]> {
    Elements(extensions).find_map(|extension| {
        let mut fields = Elements(extension.content);
        if fields.next_if(OBJECT_IDENTIFIER)? != oid {
            return None;
        }
        fields.next_if(BOOLEAN);
        fields.next_if(OCTET_STRING)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_one_after_the_other() {
        let bytes = [0x02, 1, 5, 0x04, 0x81, 2, 7, 8, 0x30, 0];
        let read: Vec<_> = Elements(&bytes).collect();
        let contents: Vec<_> = read.iter().map(|one| (one.tag, one.content)).collect();
        let expected: [(u8, &[u8]); 3] =
            [(INTEGER, &[5]), (OCTET_STRING, &[7, 8]), (SEQUENCE, &[])];
        assert_eq!(contents, expected);
        assert_eq!(read[1].whole, &bytes[3..8]);
    }

    #[test]
    fn reading_ends_at_bytes_that_are_no_whole_element() {
        let cases: [&[u8]; 6] = [
            &[0x30],
            &[0x30, 2, 0],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x85, 0, 0, 0, 0, 1, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x3f, 0x20, 0],
        ];
        for bytes in cases {
            let mut elements = Elements(bytes);
            assert_eq!(elements.next(), None, "{bytes:x?}");
            assert_eq!(elements.0, bytes);
        }
        assert_eq!(only(&[0x30, 0, 0], SEQUENCE), None);
    }
}
