//! `import_stunnel` of the fuzz tier under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wardgate_fuzz::play("import_stunnel", input));
