//! What happens to a connection whose bytes turn out not to be the route's protocol.

/// How an observer treats bytes that are not the protocol that it observes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Strictness {
    /// The connection ends, as PS3.8 demands of DICOM.
    Strict,
    /// The bytes pass, and nothing that follows is observed.
    ///
    /// Rules that are enforced make an association strict (`dicom::Rules::must_follow`): otherwise a side that makes
    /// the observer stop could send any command, or a second request with any titles.
    #[default]
    Lenient,
}
