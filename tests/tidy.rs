//! Reads the project's files and reports where they break a rule of CONTRIBUTING.md.
//!
//! Each test here is one rule for the whole tree. The finders are in `tidy/`; next to each finder, a test
//! shows it a violation.

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/commands.rs"]
mod commands;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/language.rs"]
mod language;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/links.rs"]
mod links;
#[path = "tidy/manifests.rs"]
mod manifests;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/text.rs"]
mod text;

use std::path::Path;

use commands::Commands;
use source::{Finding, Source};

#[test]
fn modules_use_layers_below_their_own() {
    expect_none(layers::upward_uses);
}

#[test]
fn imports_between_files_form_no_cycle() {
    let circles = circles::refused(&source::all(root()));
    assert!(
        circles.is_empty(),
        "cycles of imports:\n{}",
        circles.join("\n")
    );
}

#[test]
fn the_name_of_a_type_is_unique_in_the_gateway() {
    let repeated = names::repeated(&source::all(root()), "gateway/src/");
    assert!(repeated.is_empty(), "{}", repeated.join("\n"));
}

#[test]
fn only_uring_and_sys_name_the_crates_of_the_ring() {
    expect_none(layers::ring_crates);
}

#[test]
fn code_on_a_worker_sleeps_with_the_timers_of_its_loop() {
    expect_none(layers::tokio_timers);
}

#[test]
fn tls_and_the_protocols_use_no_socket_and_no_clock() {
    expect_none(layers::sockets_and_clocks);
}

#[test]
fn one_file_names_the_unbuffered_api_of_rustls() {
    expect_none(layers::unbuffered_api);
}

#[test]
fn one_verifier_and_one_forged_key_serve_all_tests() {
    expect_none(layers::verifiers);
}

#[test]
fn only_sys_holds_unsafe_code() {
    expect_none(layers::unsafe_code);
}

#[test]
fn the_bench_does_not_use_the_relay() {
    expect_none(layers::bench_uses_relay);
}

#[test]
fn nothing_is_marked_as_unfinished() {
    expect_none(text::unfinished);
}

#[test]
fn documents_and_rewritten_files_are_in_plain_english() {
    expect_none(language::dialect);
}

#[test]
fn every_allow_has_a_reason() {
    expect_none(text::allow_without_reason);
}

#[test]
fn no_file_is_longer_than_600_lines() {
    expect_none(text::too_long);
}

#[test]
fn every_rust_file_begins_with_its_purpose() {
    expect_none(text::without_opening);
}

#[test]
fn no_file_names_a_path_of_the_machine_it_was_written_on() {
    expect_none(text::machine_paths);
}

#[test]
fn every_dependency_has_its_reason_beside_it() {
    expect_none(manifests::without_reason);
}

#[test]
fn crates_take_all_dependencies_from_the_workspace() {
    expect_none(manifests::own_version);
}

#[test]
fn the_gateway_needs_no_crate_of_the_demonstration() {
    expect_none(manifests::demonstration_in_gateway);
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    expect_none(|source| links::dead(source, root()));
}

#[test]
fn every_file_that_a_page_of_the_book_names_exists() {
    expect_none(|source| links::missing_files(source, root()));
}

#[test]
fn the_summary_of_the_book_lists_every_page() {
    report(&links::unlisted_pages(&source::all(root())));
}

#[test]
fn the_readme_is_one_page() {
    let sources = source::all(root());
    report(&documents::long_readme(named(&sources, "README.md")));
}

#[test]
fn the_readme_shows_the_two_commands() {
    let sources = source::all(root());
    let readme = named(&sources, "README.md");
    let missing = documents::missing_commands(&readme.text);
    assert!(missing.is_empty(), "README.md does not show {missing:?}");
}

#[test]
fn every_command_that_a_text_names_exists() {
    let sources = source::all(root());
    let cli = named(&sources, "gateway/src/cli/mod.rs");
    let pki = named(&sources, "gateway/src/cli/pki.rs");
    let commands = Commands::of(cli, pki);
    expect_none(|source| commands::unknown(source, &commands));
}

#[test]
fn every_message_of_the_page_on_troubleshooting_exists() {
    let sources = source::all(root());
    let page = named(&sources, "docs/src/guide/troubleshooting.md");
    report(&documents::unknown_messages(page, &sources));
}

#[test]
fn every_promise_names_tests_that_exist() {
    let sources = source::all(root());
    let promises = named(&sources, "docs/src/design/promises.md");
    report(&documents::promises_without_test(promises, &sources));
    report(&documents::rows_without_test(promises));
}

#[test]
fn every_test_that_a_document_names_exists() {
    let sources = source::all(root());
    let documents = sources.iter().filter(|source| source.is("md"));
    for document in documents {
        report(&documents::promises_without_test(document, &sources));
    }
}

#[test]
fn every_row_of_the_threat_model_names_tests_that_exist() {
    let sources = source::all(root());
    let model = named(&sources, "docs/src/design/threat-model.md");
    report(&documents::promises_without_test(model, &sources));
    report(&documents::rows_without_test(model));
}

/// Checks every file against one rule and reports each violation.
fn expect_none<F: IntoIterator<Item = Finding>>(rule: impl Fn(&Source) -> F) {
    report(
        &source::all(root())
            .iter()
            .flat_map(rule)
            .collect::<Vec<_>>(),
    );
}

fn report(findings: &[Finding]) {
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(
        lines.is_empty(),
        "the rule is broken:\n{}",
        lines.join("\n")
    );
}

fn named<'a>(sources: &'a [Source], path: &str) -> &'a Source {
    let found = sources.iter().find(|source| source.path == path);
    found.unwrap_or_else(|| panic!("there is no {path}"))
}

fn root() -> &'static Path {
    let crate_of_tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_of_tests
        .parent()
        .expect("the tests' crate lies in the root")
}
