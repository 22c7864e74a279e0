//! Locates the parts of a certificate in time linear in its bytes and without allocation, so that a
//! certificate can be examined before anything else reads it.

use x509_parser::prelude::{FromDer, Validity};

pub(super) use crate::pki::der::{Element, Elements, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE};
use crate::pki::der::{INTEGER, context_constructed};

/// The parts of a certificate (RFC 5280 section 4.1). Contents, without tag and length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout<'a> {
    pub(super) serial: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    /// SubjectPublicKeyInfo.
    pub(super) key: &'a [u8],
    /// The same with tag and length.
    pub(super) key_element: &'a [u8],
    // Validity, with tag and length.
    validity_element: &'a [u8],
    /// Contents of the AlgorithmIdentifier beside the signature.
    pub(super) signature: &'a [u8],
    /// The extensions, one after the other; none in versions 1 and 2.
    extensions: Elements<'a>,
    // All of TBSCertificate before the extensions.
    before: Elements<'a>,
}

impl<'a> Layout<'a> {
    /// Locates the parts. `None` if the bytes do not have the structure of a certificate; webpki cannot
    /// read such bytes either.
    pub(super) fn of(certificate: &'a [u8]) -> Option<Self> {
        let mut outer = Elements(Elements(certificate).next_if(SEQUENCE)?);
        let tbs = outer.next_if(SEQUENCE)?;
        let signature = outer.next_if(SEQUENCE)?;
        let mut parts = Elements(tbs);
        let _version = parts.next_if(context_constructed(0));
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
            .find(|part| part.tag == context_constructed(3))
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

    /// The dates of the certificate; `None` if they cannot be read.
    pub(super) fn validity(&self) -> Option<Validity> {
        let (_, dates) = Validity::from_der(self.validity_element).ok()?;
        Some(dates)
    }

    /// The value of the first extension with this OID, without the enclosing `OCTET STRING`.
    pub(super) fn extension(&self, oid: &[u8]) -> Option<&'a [u8]> {
        self.extensions
            .map(extension)
            .find(|(id, _)| *id == oid)
            .map(|(_, value)| value)
    }

    /// All extensions, one after the other.
    pub(super) fn each_extension(&self) -> Elements<'a> {
        self.extensions
    }

    /// How many extensions the certificate has. Stops counting above `most`.
    pub(super) fn extensions(&self, most: usize) -> usize {
        self.extensions.take(most.saturating_add(1)).count()
    }

    /// How many elements the certificate has, including those in the values of its extensions. Stops
    /// counting above `most`.
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

/// The bytes that were read since `start`.
fn upto<'a>(start: &'a [u8], now: Elements<'a>) -> &'a [u8] {
    let read = start.len().saturating_sub(now.0.len());
    start.get(..read).unwrap_or_default()
}

/// OID and value of an extension; a missing part is empty.
fn extension(part: Element<'_>) -> (&[u8], &[u8]) {
    let mut parts = Elements(part.content);
    let oid = parts.next_if(OBJECT_IDENTIFIER).unwrap_or_default();
    let value = parts.find(|part| part.tag == OCTET_STRING);
    (oid, value.map_or(&[], |part| part.content))
}
