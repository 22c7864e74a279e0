//! Steps through DER elements (X.690 section 8.1) without reading what they hold.
//!
//! Everything here takes time linear in the bytes it looks at, allocates nothing and does not recurse, so
//! that it may look at a certificate before anything else does.

/// Elements that follow each other. Ends at the first byte that begins none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elements<'a>(pub(super) &'a [u8]);

/// One element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    /// Its identifier octet. Tag numbers above 30 take several; no certificate has them.
    pub(super) tag: u8,
    /// Its contents.
    pub(super) content: &'a [u8],
}

const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
/// `[0]` and `[3]`, as a certificate marks its version and its extensions.
pub(super) const EXPLICIT_0: u8 = 0xa0;
pub(super) const EXPLICIT_3: u8 = 0xa3;
/// Set in the identifier of an element that holds elements.
const CONSTRUCTED: u8 = 0x20;

impl<'a> Elements<'a> {
    /// Takes the next element if it has this tag, and gives its contents.
    pub(super) fn next_if(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let element = ahead.next().filter(|element| element.tag == tag)?;
        *self = ahead;
        Some(element.content)
    }

    fn header(&mut self) -> Option<(u8, usize)> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let count = usize::from(first & 0x7f);
            // Four octets are 4 GiB; DER has no indefinite length (0x80).
            if !(1..=4).contains(&count) {
                return None;
            }
            let (octets, after) = rest.split_at_checked(count)?;
            length = octets
                .iter()
                .fold(0, |sum, octet| sum << 8 | usize::from(*octet));
            rest = after;
        }
        self.0 = rest;
        Some((tag, length))
    }

    /// How many elements there are, with those inside of others, but not those inside of strings.
    /// Stops counting above `most`.
    pub(super) fn count_within(mut self, most: usize) -> usize {
        let mut count = 0;
        while count <= most
            && let Some((tag, length)) = self.header()
        {
            count += 1;
            // The elements inside follow the header, so that stepping over it enters it.
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
        let (tag, length) = self.header()?;
        let (content, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Element { tag, content })
    }
}

/// Where the parts of a certificate lie (RFC 5280 section 4.1). Contents, without tag and length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout<'a> {
    pub(super) serial: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    /// SubjectPublicKeyInfo.
    pub(super) key: &'a [u8],
    /// The same with tag and length.
    pub(super) key_element: &'a [u8],
    /// Validity, with tag and length.
    pub(super) validity_element: &'a [u8],
    /// Contents of AlgorithmIdentifier, as it stands beside the signature.
    pub(super) signature: &'a [u8],
    /// The extensions one after the other; none in versions 1 and 2.
    extensions: Elements<'a>,
    // All of TBSCertificate before the extensions.
    before: Elements<'a>,
}

impl<'a> Layout<'a> {
    /// Finds the parts. `None` where the bytes have not the outline of a certificate; webpki can read
    /// none of those.
    pub(super) fn of(certificate: &'a [u8]) -> Option<Self> {
        let mut outer = Elements(Elements(certificate).next_if(SEQUENCE)?);
        let tbs = outer.next_if(SEQUENCE)?;
        let signature = outer.next_if(SEQUENCE)?;
        let mut parts = Elements(tbs);
        let _version = parts.next_if(EXPLICIT_0);
        let serial = parts.next_if(INTEGER)?;
        let _algorithm = parts.next_if(SEQUENCE)?;
        let issuer = parts.next_if(SEQUENCE)?;
        let validity = parts.0;
        parts.next_if(SEQUENCE)?;
        let validity_element = upto(validity, parts);
        let subject = parts.next_if(SEQUENCE)?;
        let key_element = parts.0;
        let key = parts.next_if(SEQUENCE)?;
        let key_element = upto(key_element, parts);
        let before = Elements(upto(tbs, parts));
        let extensions = parts
            .find(|part| part.tag == EXPLICIT_3)
            .and_then(|part| Elements(part.content).next_if(SEQUENCE));
        Some(Self {
            serial,
            issuer,
            subject,
            key,
            key_element,
            validity_element,
            signature,
            extensions: Elements(extensions.unwrap_or_default()),
            before,
        })
    }

    /// The value of the first extension with this OID, without its OCTET STRING.
    pub(super) fn extension(&self, oid: &[u8]) -> Option<&'a [u8]> {
        self.extensions
            .map(extension)
            .find(|(id, _)| *id == oid)
            .map(|(_, value)| value)
    }

    /// How many extensions the certificate has. Stops counting above `most`.
    pub(super) fn extensions(&self, most: usize) -> usize {
        self.extensions.take(most.saturating_add(1)).count()
    }

    /// How many elements the certificate has, those in its extensions' values included. Stops counting
    /// above `most`.
    pub(super) fn elements(&self, most: usize) -> usize {
        let mut count = self.before.count_within(most);
        for part in self.extensions {
            if count > most {
                break;
            }
            let (_, value) = extension(part);
            count +=
                1 + Elements(part.content).count_within(most) + Elements(value).count_within(most);
        }
        count
    }
}

/// What was read since `start`.
fn upto<'a>(start: &'a [u8], now: Elements<'a>) -> &'a [u8] {
    let read = start.len().saturating_sub(now.0.len());
    start.get(..read).unwrap_or_default()
}

/// OID and value of an extension; empty what it has not.
fn extension(part: Element<'_>) -> (&[u8], &[u8]) {
    let mut parts = Elements(part.content);
    let oid = parts.next_if(OBJECT_IDENTIFIER).unwrap_or_default();
    let value = parts.find(|part| part.tag == OCTET_STRING);
    (oid, value.map_or(&[], |part| part.content))
}
