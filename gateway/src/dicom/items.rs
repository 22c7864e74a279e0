//! The items of an A-ASSOCIATE PDU: a type, a length, a value (PS3.8 section 9.3.2).

/// The bytes of an item's header: type, reserved, length.
const HEADER: usize = 4;

/// An item is longer than the bytes that are present, or shorter than its type needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The type and the value of an item.
type Item<'a> = (u8, &'a [u8]);

/// A sequence of items.
pub(super) struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn split(&self) -> Option<(Item<'a>, &'a [u8])> {
        let (header, rest) = self.0.split_first_chunk::<HEADER>()?;
        let [kind, _, high, low] = *header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length)?;
        Some(((kind, value), rest))
    }
}

/// Returns the type and the value of each item; ends after a malformed item.
impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (item, rest) = match self.split() {
            Some((item, rest)) => (Ok(item), rest),
            None => (Err(Malformed), [].as_slice()),
        };
        self.0 = rest;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_in_order_and_end_at_what_does_not_fit() {
        let bytes = [0x10, 0, 0, 1, 7, 0x20, 9, 0, 0, 0x50, 0, 0xff, 0xff, 1];
        let items: Vec<_> = Items::new(&bytes).collect();
        let good = [Ok((0x10, [7].as_slice())), Ok((0x20, [].as_slice()))];
        assert_eq!(items, [&good[..], &[Err(Malformed)]].concat());
        let cut: Vec<_> = Items::new(&[0x10, 0, 0]).collect();
        assert_eq!(cut, [Err(Malformed)]);
    }
}
