//! The sheet of a site with routes of all kinds, as text and as HTML: golden files.
//!
//! `WARDGATE_BLESS=1` writes them again.

use std::fs;
use std::path::{Path, PathBuf};

use super::content::Sheet;
use super::{missing_peers, page, read, text};

const CONFIGURATION: &str = r#"
[gateway]
metrics = "127.0.0.1:9464"

[identity]
certificate = "/etc/wardgate/pki/site.pem"
key = "/etc/wardgate/pki/site.key"

[[peer]]
name = "region"
identity = "dns:gw.region.example"
trust = "/etc/wardgate/pki/region-ca.pem"

[[route]]
name = "pacs-to-region"
mode = "originate"
protocol = "dicom"
listen = "10.20.0.5:11112"
targets = ["gw.region.example:2762"]
peers = ["region"]
called_ae = ["ARCHIVE"]
calling_ae = ["CT_A", "MR_B"]

[[route]]
name = "region-to-pacs"
mode = "terminate"
protocol = "dicom"
listen = "198.51.100.7:2762"
targets = ["10.20.0.9:104"]
from = ["192.0.2.10/32"]
peers = ["region"]
associations = 20

[[route]]
name = "orders"
mode = "originate"
protocol = "mllp"
listen = "10.20.0.5:6660"
targets = ["203.0.113.40:6660"]
peers = ["laboratory"]
"#;

fn sheet() -> Sheet {
    let config =
        read(CONFIGURATION, Path::new("/etc/wardgate/wardgate.toml")).expect("it is valid");
    let names = ["dns:gw.hospital-a.example".to_owned()];
    Sheet::of(&config, &names, &missing_peers(CONFIGURATION))
}

fn golden(name: &str, text: &str) {
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/data/sheet")
        .join(name);
    if std::env::var_os("WARDGATE_BLESS").is_some() {
        fs::create_dir_all(file.parent().expect("it is in a folder"))
            .expect("the repository can be written");
        fs::write(&file, text).expect("the repository can be written");
    }
    let expected = fs::read_to_string(&file).expect("it is in the repository");
    assert_eq!(
        text, expected,
        "run it with WARDGATE_BLESS=1 if the change is meant"
    );
}

#[test]
fn the_sheet_as_text_is_the_golden_one_and_fits_80_columns() {
    let text = text::of(&sheet());
    golden("sheet.txt", &text);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_sheet_as_html_is_the_golden_one_and_loads_nothing() {
    let html = page::document(&sheet());
    golden("sheet.html", &html);
    for loads in ["src=", "href=", "url(", "<script", "@import"] {
        assert!(!html.contains(loads), "{loads}");
    }
    // Each table has a caption, and each cell of its head a scope.
    assert_eq!(
        html.matches("<table>").count(),
        html.matches("<caption").count()
    );
    assert_eq!(
        html.matches("<th ").count(),
        html.matches("<th scope=").count()
    );
}

#[test]
fn the_sheet_names_no_key_file() {
    for sheet in [text::of(&sheet()), page::document(&sheet())] {
        assert!(!sheet.contains("site.key"), "{sheet}");
    }
}

#[test]
fn a_name_in_a_certificate_cannot_control_the_terminal() {
    let config = read(CONFIGURATION, Path::new("wardgate.toml")).expect("it is valid");
    let names = ["dns:gw\u{1b}[2J\u{202e}.example".to_owned()];
    let text = text::of(&Sheet::of(&config, &names, &missing_peers(CONFIGURATION)));
    assert!(text.contains("dns:gw\\u{1b}[2J\\u{202e}.example"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
}

#[test]
fn a_site_that_is_not_paired_has_a_sheet() {
    let text = text::of(&sheet());
    assert!(text.contains("not paired yet"), "{text}");
    assert!(!text.contains("placeholder"), "{text}");
}
