//! `wardgate-bench appliance`: what an installed machine can do, without source code and other programs.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Program, built, wardgate};

#[test]
fn an_appliance_is_measured_and_the_report_names_the_links_that_it_can_fill() {
    if !tier::ready("direct", &[Need::Root]) {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let page = folder.path().join("report.html");
    let outcome = Program::new(built("wardgate-bench"))
        .args(["--json", "--html"])
        .arg(&page)
        .args(["appliance", "--rounds", "1", "--size", "256MiB"])
        .args(["--handshakes", "100", "--messages", "100", "--wardgate"])
        .arg(wardgate())
        .run()
        .expect_success();
    let report: Value = serde_json::from_slice(&outcome.stdout).expect("one JSON object");
    for figure in [
        "cipher_all_cores_gbit_per_s",
        "bulk_1_cores_gbit_per_s",
        "one_core_seals_gbit_per_s",
        "one_core_opens_gbit_per_s",
        "handshakes_per_s_and_core",
        "latency_p99_us",
    ] {
        let value = report[figure].as_f64();
        assert!(
            value.is_some_and(|value| value > 0.0),
            "{figure}: {report:#}"
        );
    }
    let sentences = report["conclusion"].as_array().expect("an array");
    let of_link = |text: &Value| {
        text.as_str()
            .is_some_and(|text| text.starts_with("A 10 Gbit/s link needs "))
    };
    assert!(sentences.iter().any(of_link), "{report:#}");
    let page = fs::read_to_string(page).expect("the page is written");
    assert!(
        page.contains("<svg") && !page.contains("src="),
        "self-contained"
    );
}
