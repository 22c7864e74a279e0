//! The list of fuzz targets, for this tier and for libFuzzer.

use crate::{chains, crls, dicom, hl7, imports, pairing, pem, proxy, records};

/// Returns a word for the result of its input, and panics on a fault.
pub(crate) type Target = fn(&[u8]) -> String;

/// Every target. `cargo xtask fuzz` finds the tests by the names of the targets.
pub(crate) const TARGETS: [(&str, Target); 15] = [
    ("chain_filter", chains::filter),
    ("crl_reader", crls::read),
    ("der_names", chains::names),
    ("dicom_association", dicom::watch),
    ("dicom_request", dicom::read),
    ("hand_over", records::take_over),
    ("hl7_conversation", hl7::converse),
    ("hl7_start", hl7::begin),
    ("import_haproxy", imports::haproxy),
    ("import_stunnel", imports::stunnel),
    ("opener_octets", records::open_octets),
    ("opener_recipes", records::open_recipes),
    ("pairing_messages", pairing::read),
    ("pem_reader", pem::read),
    ("proxy_header", proxy::read),
];

/// The target of this name.
pub(crate) fn named(name: &str) -> Target {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found
        .unwrap_or_else(|| panic!("no target is called {name}"))
        .1
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::{TARGETS, named};
    use crate::driver;

    fn fuzz(name: &str) {
        driver::fuzz(name, named(name));
    }

    #[test]
    fn chain_filter() {
        fuzz("chain_filter");
    }

    #[test]
    fn crl_reader() {
        fuzz("crl_reader");
    }

    #[test]
    fn der_names() {
        fuzz("der_names");
    }

    #[test]
    fn dicom_association() {
        fuzz("dicom_association");
    }

    #[test]
    fn dicom_request() {
        fuzz("dicom_request");
    }

    #[test]
    fn hand_over() {
        fuzz("hand_over");
    }

    #[test]
    fn hl7_conversation() {
        fuzz("hl7_conversation");
    }

    #[test]
    fn hl7_start() {
        fuzz("hl7_start");
    }

    #[test]
    fn import_haproxy() {
        fuzz("import_haproxy");
    }

    #[test]
    fn import_stunnel() {
        fuzz("import_stunnel");
    }

    #[test]
    fn opener_octets() {
        fuzz("opener_octets");
    }

    #[test]
    fn opener_recipes() {
        fuzz("opener_recipes");
    }

    #[test]
    fn pairing_messages() {
        fuzz("pairing_messages");
    }

    #[test]
    fn pem_reader() {
        fuzz("pem_reader");
    }

    #[test]
    fn proxy_header() {
        fuzz("proxy_header");
    }

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
    }

    fn read(file: &Path) -> String {
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// The names in a folder, without extensions.
    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("it lies beside the tests");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn every_target_is_a_program_for_libfuzzer_with_a_corpus_and_a_test() {
        let _alone = driver::alone();
        let targets = TARGETS.map(|(name, _)| name);
        assert_eq!(names(&folder().join("fuzz_targets")), targets);
        assert_eq!(names(&folder().join("corpus")), targets);
        let manifest = read(&folder().join("Cargo.toml"));
        let programs = manifest.matches("[[bin]]").count();
        assert_eq!(programs, targets.len());
        let tests = include_str!("targets.rs");
        for name in targets {
            let program = read(&folder().join("fuzz_targets").join(format!("{name}.rs")));
            let act =
                format!("fuzz_target!(|input: &[u8]| wardgate_fuzz::play(\"{name}\", input));");
            assert!(program.contains(&act), "{name}: {program}");
            let part = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n");
            assert!(manifest.contains(&part), "{name} is not in the manifest");
            let test = format!("fn {name}() {{\n        fuzz(\"{name}\");");
            assert!(tests.contains(&test), "{name} has no test");
        }
    }
}
