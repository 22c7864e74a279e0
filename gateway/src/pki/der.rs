//! Reads DER (X.690) element by element, without copying. It knows lengths and tags, not what they mean.

/// One element: tag, length, content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// The identifier byte.
    pub(crate) tag: u8,
    /// What stands behind the length.
    pub(crate) content: &'a [u8],
    /// The element with its tag and length.
    pub(crate) whole: &'a [u8],
}

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;

/// `[number]` with content that is no element itself.
pub(crate) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// `[number]` around further elements.
pub(crate) const fn context_constructed(number: u8) -> u8 {
    0xa0 | number
}

/// The elements that stand one after the other in some bytes.
///
/// It ends at the first byte that is no whole element; `rest` is then not empty.
#[derive(Debug, Clone)]
pub(crate) struct Elements<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Elements<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next element where it has this tag; else nothing is taken.
    pub(crate) fn next_tagged(&mut self, tag: u8) -> Option<Element<'a>> {
        if self.rest.first() != Some(&tag) {
            return None;
        }
        self.next()
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    // Tags above 30 and lengths of more than four bytes stand in no certificate and no list.
    fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, behind_tag) = self.rest.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, behind_first) = behind_tag.split_first()?;
        let (length, behind) = match first {
            0..=0x7f => (usize::from(first), behind_first),
            0x81..=0x84 => {
                let (bytes, behind) = behind_first.split_at_checked(usize::from(first & 0x7f))?;
                let add = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
                (bytes.iter().fold(0, add), behind)
            }
            _ => return None,
        };
        let (content, rest) = behind.split_at_checked(length)?;
        let whole = self.rest.get(..self.rest.len().checked_sub(rest.len())?)?;
        self.rest = rest;
        Some(Element {
            tag,
            content,
            whole,
        })
    }
}

/// The content of the only element in `bytes`, where it has this tag and nothing follows it.
pub(crate) fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let mut elements = Elements::of(bytes);
    let element = elements.next_tagged(tag)?;
    elements.rest.is_empty().then_some(element.content)
}

/// The value of the extension with this object identifier (its content bytes) in a certificate.
pub(crate) fn certificate_extension<'a>(certificate: &'a [u8], oid: &[u8]) -> Option<&'a [u8]> {
    let signed = only(certificate, SEQUENCE)?;
    let to_be_signed = Elements::of(signed).next_tagged(SEQUENCE)?.content;
    let mut fields = Elements::of(to_be_signed);
    let extensions = fields.find(|field| field.tag == context_constructed(3))?;
    extension(only(extensions.content, SEQUENCE)?, oid)
}

/// The value of the extension with this object identifier in the content of an `Extensions`.
pub(crate) fn extension<'a>(extensions: &'a [u8], oid: &[u8]) -> Option<&'a [u8]> {
    Elements::of(extensions).find_map(|extension| {
        let mut fields = Elements::of(extension.content);
        if fields.next_tagged(OBJECT_IDENTIFIER)?.content != oid {
            return None;
        }
        fields.next_tagged(BOOLEAN);
        Some(fields.next_tagged(OCTET_STRING)?.content)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_one_after_the_other() {
        let bytes = [0x02, 1, 5, 0x04, 0x81, 2, 7, 8, 0x30, 0];
        let read: Vec<_> = Elements::of(&bytes).collect();
        let contents: Vec<_> = read.iter().map(|one| (one.tag, one.content)).collect();
        let expected: [(u8, &[u8]); 3] =
            [(INTEGER, &[5]), (OCTET_STRING, &[7, 8]), (SEQUENCE, &[])];
        assert_eq!(contents, expected);
        assert_eq!(read[1].whole, &bytes[3..8]);
    }

    #[test]
    fn bytes_that_are_no_whole_element_end_the_reading() {
        let cases: [&[u8]; 6] = [
            &[0x30],
            &[0x30, 2, 0],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x85, 0, 0, 0, 0, 1, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x3f, 0x20, 0],
        ];
        for bytes in cases {
            let mut elements = Elements::of(bytes);
            assert_eq!(elements.next(), None, "{bytes:x?}");
            assert_eq!(elements.rest, bytes);
        }
        assert_eq!(only(&[0x30, 0, 0], SEQUENCE), None);
    }
}
