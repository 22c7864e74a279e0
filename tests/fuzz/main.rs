//! The fuzz tier: the record layer and the parsers with invalid input.
//!
//! `pair` makes repeatable handshakes, `peer` any record, `recipe` streams of records from `choices`.
//! `engines` runs a stream through the gateway's layer and rustls, and `differences` names the permitted
//! differences between the two. `differential` compares them over seeds. `targets` lists the fuzz targets, which
//! `driver` fuzzes from the kept corpus: `records` has those of the record layer, `dicom` and `hl7` those of the
//! protocols, `pem` that of the reader of PEM files, `chains` those of certificates, `crls` that of revocation
//! lists, `proxy` that of PROXY headers, `imports` those of configurations of other programs, `pairing` that of what
//! another site sends.
//!
//! The same file is the library of `wardgate-fuzz` (Cargo.toml beside it), whose programs run the targets under
//! libFuzzer.

#![cfg_attr(
    not(test),
    allow(
        dead_code,
        unused_imports,
        reason = "the tests of this tier are not part of the library"
    )
)]

mod choices;
mod dicom;
mod differences;
mod driver;
mod engines;
mod odd_certificates;
mod pair;
mod pairing;
mod peer;
mod pem;
#[path = "../simulation/random.rs"]
mod random;
mod recipe;

mod chains;
mod crls;
mod differential;
mod hl7;
mod imports;
mod proxy;
mod records;
mod targets;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// Runs the fuzz target of this name with one input.
///
/// # Panics
///
/// The input is a find, or no target has this name.
pub fn play(target: &str, input: &[u8]) {
    targets::named(target)(input);
}
