//! The rule on type names: the name of a type is defined once in a crate.

use std::collections::BTreeMap;

use crate::circles::code_without_tests;
use crate::source::{Source, is_word};

/// The types of this file mirror the TOML and are written `file::Route` beside `Route`, which is what they mean.
const MIRROR: &str = "gateway/src/config/file.rs";

/// Names that are still defined more than once, in `tls`, `pki` and `cli` alone. Each goes when its types are
/// renamed; none may be added.
const NOT_YET_UNIQUE: [&str; 0] = [];

/// Finds type names that the code of the crate in `folder` defines more than once, with the files that do. Code of
/// tests does not count.
pub(crate) fn repeated(sources: &[Source], folder: &str) -> Vec<String> {
    let mut files = BTreeMap::<String, Vec<String>>::new();
    for (path, code) in code_without_tests(sources, folder) {
        if path == MIRROR {
            continue;
        }
        for name in code.lines().filter_map(defined) {
            files.entry(name.to_owned()).or_default().push(path.clone());
        }
    }
    files
        .iter()
        .filter(|(name, files)| files.len() > 1 && !NOT_YET_UNIQUE.contains(&name.as_str()))
        .map(|(name, files)| format!("type `{name}` is defined in {}", files.join(" and ")))
        .collect()
}

/// The name of the type that this line of code begins to define. An indented `type` is an associated type, whose
/// name its trait decides.
fn defined(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().peekable();
    words.next_if(|word| word.starts_with("pub"));
    // The path of `pub(in path)`.
    words.next_if(|word| word.ends_with(')'));
    words.next_if_eq(&"unsafe");
    let is_indented = line.starts_with(' ');
    let is_definition = match words.next()? {
        "struct" | "enum" | "union" | "trait" => true,
        "type" => !is_indented,
        _ => false,
    };
    let rest = is_definition.then(|| words.next()).flatten()?;
    let end = rest.bytes().position(|byte| !is_word(byte));
    Some(&rest[..end.unwrap_or(rest.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the rule finds in a crate of two modules.
    fn found(a: &str, b: &str) -> Vec<String> {
        let sources = [
            Source::new("x/lib.rs", "mod a;\nmod b;\n"),
            Source::new("x/a.rs", a),
            Source::new("x/b.rs", b),
        ];
        repeated(&sources, "x/")
    }

    #[test]
    fn a_name_that_two_files_define_is_found() {
        let expected = ["type `State` is defined in x/a.rs and x/b.rs"];
        for a in [
            "struct State {",
            "pub struct State;",
            "pub(crate) enum State {",
            "pub(in crate::x) struct State<'a> {",
            "union State {",
            "pub unsafe trait State: Sync {",
            "type State = u8;",
            "fn f() {\n    struct State(u8);\n}",
        ] {
            assert_eq!(found(a, "enum State {\n}\n"), expected, "{a}");
        }
    }

    #[test]
    fn a_name_that_one_file_defines_twice_is_found() {
        let twice = "fn f() {\n    struct State;\n}\nfn g() {\n    struct State;\n}\n";
        assert_eq!(found(twice, "").len(), 1);
    }

    #[test]
    fn uses_associated_types_variants_and_tests_are_not_found() {
        for b in [
            "use a::State;",
            "impl State {",
            "impl T for U {\n    type State = u8;\n}",
            "enum Phase {\n    State,\n}",
            "struct StateOf;",
            "// struct State",
            "const S: &str = \"struct State\";",
            "#[cfg(test)]\nmod tests {\n    struct State;\n}\n",
        ] {
            assert_eq!(found("struct State;\n", b), [""; 0], "{b}");
        }
    }

    #[test]
    fn the_mirror_of_the_configuration_may_repeat_a_name() {
        let sources = [
            Source::new("gateway/src/lib.rs", "mod config;\n"),
            Source::new("gateway/src/config/mod.rs", "mod file;\nstruct Route;\n"),
            Source::new(MIRROR, "struct Route;\n"),
        ];
        assert_eq!(repeated(&sources, "gateway/src/"), [""; 0]);
    }
}
