//! The guide's table of settings is that of the program.

use std::fmt::Write as _;
use std::path::Path;

use super::fixture::Fixture;

const BEGIN: &str = "<!-- settings: written by a test of wardgate-tuning -->\n";
const END: &str = "<!-- end of settings -->\n";

#[test]
fn the_guide_lists_every_setting_with_its_reason_and_effect() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/guide/tuning.md");
    let guide = std::fs::read_to_string(&file).expect("the guide is there");
    let (before, rest) = guide
        .split_once(BEGIN)
        .expect("the guide has the table's beginning");
    let (table, after) = rest.split_once(END).expect("the guide has the table's end");
    let expected = settings();
    if std::env::var_os("WARDGATE_BLESS").is_some() {
        let guide = format!("{before}{BEGIN}{expected}{END}{after}");
        std::fs::write(&file, guide).expect("the guide can be written");
        return;
    }
    assert_eq!(table, expected, "WARDGATE_BLESS=1 writes the table");
}

fn settings() -> String {
    let fixture = Fixture::new();
    let report = crate::check(&fixture.host(), &fixture.goal());
    let mut table =
        "\n| setting | wanted on this host | why | affects |\n|---|---|---|---|\n".to_owned();
    for row in report.settings {
        let wanted = row.wanted.unwrap_or_else(|| "-".to_owned());
        let (setting, why, affects) = (row.setting, row.why, row.affects);
        writeln!(table, "| `{setting}` | {wanted} | {why} | {affects} |")
            .expect("a string takes all");
    }
    table + "\n"
}
