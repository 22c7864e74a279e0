//! Bounds of what the observer of DICOM remembers and what a probe accepts.

/// Bytes of a whole A-ASSOCIATE-RQ or A-ASSOCIATE-AC. 128 contexts with ten transfer syntaxes each take 80
/// KiB; a user identity (a SAML assertion) may add some tens of KiB.
///
/// When reached: the association is refused (A-ABORT, invalid PDU parameter value), or no longer followed.
pub(crate) const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Presentation contexts of one association: there are 128 odd identifiers (PS3.8 section 9.3.2.2).
///
/// When reached: further ones are not logged.
pub(super) const CONTEXTS_MAX: usize = 128;

/// Bytes of a command set. The longest, of a C-MOVE response or an N-SET request, take a few hundred.
///
/// When reached: the association is no longer observed, or ends.
pub(super) const COMMAND_BYTES_MAX: usize = 64 << 10;

/// Requests of one direction that the observer remembers until they are answered. Most applications wait for
/// each answer; asynchronous windows of some tens occur.
///
/// When reached: a further request is counted, but not matched with its answer;
/// `wardgate_bound_reached_total{bound="dicom_outstanding"}`.
pub(super) const OUTSTANDING_MAX: usize = 256;

/// SOP classes of one association that are counted separately. A study has a handful.
///
/// When reached: further ones count as "other".
pub(super) const SOP_CLASSES_MAX: usize = 64;

/// Failure codes of one association that are counted separately.
///
/// When reached: further ones count as "other".
pub(super) const FAILURES_MAX: usize = 16;

/// Move destinations of one association that are logged. A workstation moves to itself, a router to a few.
///
/// When reached: further ones are not logged.
pub(super) const DESTINATIONS_MAX: usize = 16;

/// Bytes of a PDU, and of the command in it, that an archive may send in answer to a C-ECHO probe. The
/// longest, the A-ASSOCIATE-AC of one presentation context, takes some hundreds.
///
/// When reached: the probe fails; `wardgate_health_probes_total`.
pub(super) const ECHO_PDU_BYTES_MAX: u32 = 16_384;
