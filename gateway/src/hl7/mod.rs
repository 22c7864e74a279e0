//! What passes in MLLP frames (HL7's Minimal Lower Layer Protocol, release 1), told from their bytes.
//!
//! Pure: no socket, no clock. Nothing past MSH and MSA is ever looked at.
