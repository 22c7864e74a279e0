//! Texts and certificates as bytes, each behind its length.

use rustls::pki_types::CertificateDer;

/// Appends a value behind its length in two bytes.
pub(super) fn put(bytes: &mut Vec<u8>, value: &[u8]) {
    // Nothing of ours is longer than a frame.
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(value.iter().take(usize::from(length)));
}

/// Takes values from the front. `None` if there is not enough, or more than allowed.
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let bytes = self.take(8)?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    }

    /// A value behind its length, 1 to `max` bytes.
    pub(super) fn value(&mut self, max: usize) -> Option<&'b [u8]> {
        let length = self.take(2)?;
        let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
        if length == 0 || length > max {
            return None;
        }
        self.take(length)
    }

    /// A text of printable ASCII.
    pub(super) fn text(&mut self, max: usize) -> Option<String> {
        let bytes = self.value(max)?;
        let is_printable = bytes.iter().all(u8::is_ascii_graphic);
        let text = std::str::from_utf8(bytes).ok().filter(|_| is_printable)?;
        Some(text.to_owned())
    }

    /// 1 to `max` certificates.
    pub(super) fn certificates(
        &mut self,
        max: usize,
        bytes_max: usize,
    ) -> Option<Vec<CertificateDer<'static>>> {
        let count = usize::from(self.byte()?);
        if count == 0 || count > max {
            return None;
        }
        (0..count)
            .map(|_| Some(CertificateDer::from(self.value(bytes_max)?.to_vec())))
            .collect()
    }

    pub(super) fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}
