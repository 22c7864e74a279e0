//! How an observer treats bytes that are not in the route's protocol.

/// What an observer does when the bytes are not in its protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Strictness {
    /// The connection ends, as PS3.8 requires for DICOM.
    Strict,
    /// The bytes pass, and nothing after them is observed.
    ///
    /// Enforced rules make an association strict (`dicom::AssociationRules::must_follow`). Otherwise a side could make
    /// the observer stop, and then send any command, or a second request with any titles.
    #[default]
    Lenient,
}
