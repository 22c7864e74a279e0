//! What passes in MLLP frames (HL7's Minimal Lower Layer Protocol), told from their bytes.
//!
//! Pure: no socket, no clock. Nothing past MSH and MSA is ever looked at.

mod start;

pub use start::{Start, start};

/// Octets that programs put around frames and that nobody misses: CR, LF and NUL.
fn is_junk(octet: u8) -> bool {
    matches!(octet, b'\r' | b'\n' | 0)
}
