//! `wardgate setup --other-ca`: the CA of a partner is shown before it is replaced, and replaced only by a good one.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use wardgate_tests::{Outcome, Program, wardgate};

fn setup(site: &Path, options: &[&str]) -> Outcome {
    let answers = "--yes --no-start --site modalities --protocol dicom --other-site gw.region.example --listen 127.0.0.1 \
        --dns gw.hospital-a.example";
    let program = Program::new(wardgate()).arg("setup").arg("--config");
    let program = program.arg(site.join("wardgate.toml"));
    program.args(answers.split(' ')).args(options).run()
}

#[test]
fn setup_shows_the_ca_that_it_replaces_and_writes_it_only_after_the_check() {
    let folder = || TempDir::new().expect("the machine has a folder for temporary files");
    let [site, region, other] = [folder(), folder(), folder()];
    for partner in [&region, &other] {
        setup(partner.path(), &[]).expect_success();
    }
    let with = |ca: &Path, options: &[&str]| {
        let ca = ca.display().to_string();
        let identity = "dns:gw.region.example";
        let options = [&["--other-ca", &ca, "--other-identity", identity], options].concat();
        setup(site.path(), &options)
    };
    let file = |name: &str| fs::read(site.path().join(name)).expect("it is there");
    let first = region.path().join("ca/ca.pem");
    let shown = with(&first, &[]).expect_success().text();
    assert!(
        shown.contains("+ CA key sha256:") && !shown.contains("- CA key"),
        "{shown}"
    );
    let state = || (file("pki/region-ca.pem"), file("wardgate.toml"));
    let before = state();
    let again = with(&first, &[]).expect_success().text();
    assert!(
        !again.contains("CA key") && !again.contains("wrote"),
        "{again}"
    );
    // The certificate of a gateway is no CA.
    let refused = with(&other.path().join("pki/site.pem"), &[]).expect_failure();
    let text = refused.text();
    assert_eq!(
        refused.status.and_then(|status| status.code()),
        Some(78),
        "{text}"
    );
    assert!(
        text.contains("region-ca.pem") && !text.contains("other-ca.pem"),
        "{text}"
    );
    assert!(text.contains("neither was the CA of region"), "{text}");
    assert_eq!(state(), before);
    for (options, replaces) in [(&["--dry-run"][..], false), (&[], true)] {
        let shown = with(&other.path().join("ca/ca.pem"), options)
            .expect_success()
            .text();
        for says in [
            "wardgate.toml does not change",
            "- CA key sha256:",
            "+ CA key sha256:",
        ] {
            assert!(shown.contains(says), "{says}: {shown}");
        }
        assert_eq!(state() != before, replaces, "{shown}");
    }
    assert_eq!(
        file("pki/region-ca.pem"),
        fs::read(other.path().join("ca/ca.pem")).expect("it is there")
    );
}
