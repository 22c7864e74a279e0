//! Tests which title a C-ECHO probe calls at a target.

use std::path::Path;

use super::ROUTE;
use crate::config;
use crate::upstream::RouteTargets;

/// The settings of a route, and the titles that its targets are probed with.
#[test]
fn a_c_echo_calls_a_title_that_leads_to_the_target() {
    let own = "[\"127.0.0.1:1\", \"127.0.0.1:2\"]";
    let tables = "[[route.ae]]\ncalled = [\"CT_B\", \"CT_C\"]\ntargets = [\"127.0.0.1:3\", \"127.0.0.1:1\"]\n";
    let listed = "called_ae = [\"CT_C\", \"CT_B\", \"CT_D\"]";
    let word = "health = \"c-echo\"";
    let written = "health = { probe = \"c-echo\", called = \"WRITTEN\" }";
    for (keys, tables, titles) in [
        (vec![word], "", ["ANY-SCP", "ANY-SCP"].as_slice()),
        (vec![word], tables, &["CT_B", "ANY-SCP", "CT_B"]),
        (vec![word, listed], "", &["CT_C", "CT_C"]),
        (vec![word, listed], tables, &["CT_B", "CT_D", "CT_B"]),
        (
            vec![written, listed],
            tables,
            &["WRITTEN", "WRITTEN", "CT_B"],
        ),
    ] {
        let targets = format!("targets = {own}\n{}", keys.join("\n"));
        let text = ROUTE.replace("targets = [\"gw.region.example:2762\"]", &targets) + tables;
        let config = config::parse(&text, Path::new("wardgate.toml")).expect("a good route");
        let probed = RouteTargets::new(&config.routes[0], &[]);
        let called = probed.all.iter().map(|probed| probed.called.to_string());
        let called: Vec<_> = called.collect();
        assert_eq!(called, titles, "{keys:?} {tables}");
    }
}
