//! The fuzz tier: our record layer and our parsers under what nobody should send.
//!
//! `pair` makes handshakes that can be had twice, `peer` any record there is, `recipe` streams of them
//! from `choices`, `engines` takes a stream through our layer and rustls's, and `differences` names
//! what may differ between the two. `differential` compares them over seeds; `targets` are fuzzed by
//! `driver`, from the corpus that is kept. `hl7` has the targets of MLLP, `pem` that of the reader of PEM
//! files, `chains` those of certificates, `crls` that of
//! revocation lists.

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
