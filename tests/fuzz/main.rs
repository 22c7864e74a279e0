//! The fuzz tier: the record layer and the parsers with invalid input.
//!
//! `pair` makes repeatable handshakes, `peer` any record, `recipe` streams of records from `choices`.
//! `engines` runs a stream through the gateway's layer and rustls, and `differences` names the permitted
//! differences between the two. `differential` compares them over seeds; `targets` are fuzzed by `driver`,
//! from the kept corpus. `hl7` has the targets of MLLP, `pem` that of the reader of PEM files, `chains` those
//! of certificates, `crls` that of revocation lists.

mod choices;
mod dicom;
mod differences;
mod driver;
mod engines;
mod odd_certificates;
mod pair;
mod peer;
mod pem;
#[path = "../simulation/random.rs"]
mod random;
mod recipe;

mod chains;
mod crls;
mod differential;
mod hl7;
mod targets;
