//! A site whose certificates are issued by the CA of its organisation: `wardgate pki csr`, openssl as the CA, and
//! `wardgate check`.

use std::fs;

use tempfile::TempDir;
use wardgate_tests::{Program, free_port, wardgate};

#[test]
fn a_certificate_that_openssl_issues_for_a_request_passes_check() {
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let run = |name: &str, line: &str| {
        let name = if name == "wardgate" {
            wardgate()
        } else {
            name.into()
        };
        let program = Program::new(name)
            .args(line.split(' '))
            .current_dir(folder.path());
        program.run().expect_success().text()
    };
    run(
        "openssl",
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -subj /CN=Hospital -keyout ca.key -out ca.pem \
         -days 30 -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign",
    );
    let printed = run(
        "wardgate",
        "pki csr --dns gw.hospital.example --uri urn:nhs:ods:X26 --out site.csr --key-out site.key",
    );
    assert!(!printed.contains("PRIVATE"), "{printed}");
    let request = run("openssl", "req -in site.csr -verify -noout -text");
    assert!(
        request.contains("DNS:gw.hospital.example, URI:urn:nhs:ods:X26"),
        "{request}"
    );
    run(
        "openssl",
        "x509 -req -in site.csr -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy -days 30 -out site.pem",
    );
    let text = format!(
        "[identity]\ncertificate = \"site.pem\"\nkey = \"site.key\"\n\n[[peer]]\nname = \"region\"\n\
         identity = \"dns:gw.region.example\"\ntrust = \"ca.pem\"\n\n[[route]]\nname = \"in\"\nmode = \"terminate\"\n\
         protocol = \"dicom\"\nlisten = \"127.0.0.1:{}\"\ntargets = [\"127.0.0.1:104\"]\npeers = [\"region\"]\n\n\
         [[route]]\nname = \"out\"\nmode = \"originate\"\nprotocol = \"dicom\"\nlisten = \"127.0.0.1:{}\"\n\
         targets = [\"127.0.0.1:2762\"]\npeers = [\"region\"]\n",
        free_port(),
        free_port()
    );
    fs::write(folder.path().join("wardgate.toml"), text).expect("the folder is ours");
    let checked = run("wardgate", "check wardgate.toml");
    assert!(checked.contains("good; 2 routes"), "{checked}");
    let show = |days: &str| {
        let program = Program::new(wardgate()).args([
            "pki",
            "show",
            "--config",
            "wardgate.toml",
            "--expect-days",
            days,
        ]);
        program.current_dir(folder.path()).run()
    };
    show("29").expect_success();
    let soon = show("31").expect_failure().text();
    assert!(
        soon.contains("\"site.pem\": certificate \"CN=gw.hospital.example\" expires on "),
        "{soon}"
    );
}
