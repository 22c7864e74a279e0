//! Whole configurations: wrong ones with their messages, good ones with their meaning.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// What the configurations in `tests/data/config` are written for, whatever machine the tests run on.
const CPUS: [usize; 5] = [0, 1, 2, 3, 6];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/config")
}

fn parse_here(text: &str, file: &str) -> Result<Config, Vec<Problem>> {
    let file = Path::new(file);
    parse_at(text, &Place { file, cpus: &CPUS })
}

/// The messages for `text`, one a line.
fn messages(text: &str, file: &str) -> String {
    let problems = parse_here(text, file).err().unwrap_or_default();
    let lines = problems
        .iter()
        .map(|problem| format!("{}\n", problem.display(Path::new(file))));
    lines.collect()
}

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is in the repository");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

/// Set `WARDGATE_BLESS=1` to write the messages as they are now, then read the difference.
#[test]
fn wrong_configurations_give_the_messages_kept_beside_them() {
    let bless = std::env::var_os("WARDGATE_BLESS").is_some();
    let cases = toml_files(&data());
    assert!(cases.len() >= 45, "only {} cases", cases.len());
    let mut differences = String::new();
    for case in cases {
        let name = case
            .file_name()
            .expect("it is a file")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&case).expect("it is text");
        let found = messages(&text, &name);
        assert!(!found.is_empty(), "{name} is taken as good");
        let expected_path = case.with_extension("expected");
        if bless {
            fs::write(&expected_path, &found).expect("the folder can be written");
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if found != expected {
            differences += &format!("{name}\nexpected:\n{expected}found:\n{found}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}
