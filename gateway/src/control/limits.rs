//! Bounds of the state that is reported.

/// Open connections that `status` reports, those with the most bytes first. Their JSON has about 400 KB, and no
/// operator reads more.
///
/// When reached: further connections are left out; `open_left_out` has their number.
pub(crate) const CONNECTIONS_SHOWN_MAX: usize = 1000;

/// Certificates and lists that `status` reports, those that expire first. A site with many peers has some hundreds.
///
/// When reached: those that expire last are left out.
pub(crate) const CERTIFICATES_SHOWN_MAX: usize = 500;

/// Message types of a connection that `status` reports, the most frequent ones.
///
/// When reached: the others are left out.
pub(crate) const TYPES_SHOWN_MAX: usize = 4;
