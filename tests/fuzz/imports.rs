//! Configurations of stunnel and HAProxy: the importer's result has no mistake in its form, and the report has every line.

use std::path::Path;

use gateway::cli::import::{ImportContext, LinePlace, OtherProgram, import};
use gateway::config;

pub(crate) fn stunnel(input: &[u8]) -> String {
    let is_text = |line: &str| !line.starts_with([';', '#']);
    check(OtherProgram::Stunnel, input, is_text)
}

pub(crate) fn haproxy(input: &[u8]) -> String {
    // A line may consist of blanks of other alphabets and a comment.
    let is_text = |line: &str| line.starts_with(|c: char| c.is_ascii_alphanumeric());
    check(OtherProgram::Haproxy, input, is_text)
}

fn check(program: OtherProgram, input: &[u8], is_text: impl Fn(&str) -> bool) -> String {
    // The command refuses larger files; the inputs here are small.
    let text = String::from_utf8_lossy(input);
    let mut context = ImportContext::new("/etc/other".into(), Some([10, 20, 0, 5].into()));
    context
        .add_peer("a=dns:gw.region.example")
        .expect("a good option");
    context.add_protocol("a=mllp").expect("a good option");
    let include = |folder: &str| match folder {
        "parts" => Ok(vec![("parts/a".to_owned(), text.to_string())]),
        _ => Err("it is not there".to_owned()),
    };
    let new = Path::new("wardgate.toml");
    let result = import(program, &text, ("other.conf", new), &context, &include);
    if !result.routes.is_empty() {
        // What the importer wrote is TOML with known keys of the right types; a value of the file may be out of place.
        let forms = [
            "not TOML",
            "unknown key",
            "written twice",
            "must be a",
            "is out of range",
            "is missing",
        ];
        for problem in config::parse(&result.toml, new).err().unwrap_or_default() {
            let is_form = forms.iter().any(|form| problem.text.contains(form));
            assert!(!is_form, "{}\n{}", problem.text, result.toml);
        }
    }
    let trimmed = text.strip_prefix('\u{feff}').unwrap_or(&text);
    for (index, line) in trimmed.lines().enumerate() {
        let line = line.trim();
        let place = LinePlace {
            file: None,
            line: index + 1,
        };
        assert!(
            line.is_empty() || !is_text(line) || result.report.mentions(&place),
            "line {} is not in the report: {line:?}",
            index + 1
        );
    }
    let report = result.report.text("other.conf", &result.open);
    let is_clean = report.chars().all(|c| !c.is_control() || c == '\n');
    assert!(
        is_clean,
        "a control character reaches the terminal: {report:?}"
    );
    // Each sentence of the report is a result of its own.
    let last = result.report.sorted().pop();
    let sentence = last.map(|remark| remark.sentence.split(['"', ':']).next().unwrap_or_default());
    format!(
        "{} routes, {}",
        result.routes.len().min(4),
        sentence.unwrap_or_default()
    )
}
