//! The table and the JSON of the fixture machine, as golden texts.

use std::path::Path;

use super::fixture::Fixture;
use crate::Shown;

/// Compares a text with a file of `tests/data/tuning`; `WARDGATE_BLESS=1` writes the file.
fn expect(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/data/tuning")
        .join(name);
    if std::env::var_os("WARDGATE_BLESS").is_some() {
        std::fs::write(&file, text).expect("the golden text can be written");
    }
    let golden = std::fs::read_to_string(&file).expect("the golden text is there");
    assert_eq!(text, golden, "WARDGATE_BLESS=1 accepts the new text");
}

#[test]
fn the_table_of_an_untuned_machine_is_the_golden_one() {
    let fixture = Fixture::new();
    let report = crate::check(&fixture.host(), &fixture.goal());
    assert!(report.differs());
    expect(
        "check.txt",
        &Shown {
            report: &report,
            explain: false,
        }
        .to_string(),
    );
    expect("check.json", &(report.json() + "\n"));
}

#[test]
fn the_table_of_a_tuned_machine_is_the_golden_one() {
    let fixture = Fixture::new();
    fixture.apply();
    let report = crate::check(&fixture.host(), &fixture.goal());
    assert!(!report.differs());
    expect(
        "tuned.txt",
        &Shown {
            report: &report,
            explain: false,
        }
        .to_string(),
    );
}

#[test]
fn explanations_are_shown_for_every_setting_if_asked_for() {
    let fixture = Fixture::new();
    fixture.apply();
    let report = crate::check(&fixture.host(), &fixture.goal());
    let shown = Shown {
        report: &report,
        explain: true,
    }
    .to_string();
    assert_eq!(shown.matches("    why: ").count(), report.settings.len());
}

#[test]
fn the_running_machine_can_be_compared() {
    let host = crate::Host::running();
    let goal = crate::Goal::new(&host, crate::Options::default());
    let report = crate::check(&host, &goal);
    let read = report
        .settings
        .iter()
        .filter(|row| row.now.is_some())
        .count();
    assert!(read >= 10, "{report:#?}");
}
