//! Finds cycles of imports between two or more files of one crate.
//!
//! An import is a path that names an item of another file, in a `use` or in code. A path through a re-export counts
//! as an import of the file that defines the item. A file uses the modules that it declares: its imports from these
//! modules do not count, their imports from it do. Test code (`#[cfg(test)]`, and the files that such a `mod` names) is
//! not restricted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::source::{Source, is_word};

/// A path of modules and an item, from the root of a crate.
type Names = Vec<String>;

/// Finds the cycles of every crate, each as the list of its files.
pub(crate) fn refused(sources: &[Source]) -> Vec<String> {
    let mut refused = Vec::new();
    for folder in crates(sources) {
        let tree = Tree::read(sources, &folder);
        let circles = tree.circles();
        refused.extend(circles.iter().map(|files| files.join(" -> ")));
    }
    refused
}

/// The files of the crate in `folder`, each as its path and its code without tests.
pub(crate) fn code_without_tests(sources: &[Source], folder: &str) -> Vec<(String, String)> {
    let files = Tree::read(sources, folder).files;
    let files = files.into_values();
    files.map(|file| (file.path, file.code)).collect()
}

/// The folders of the crates' modules.
fn crates(sources: &[Source]) -> BTreeSet<String> {
    let roots = sources.iter().filter_map(|source| {
        let root = source.path.strip_suffix("lib.rs");
        root.or_else(|| source.path.strip_suffix("main.rs"))
    });
    let mut folders: BTreeSet<_> = roots.map(str::to_owned).collect();
    folders.insert("tests/tidy/".to_owned());
    folders
}

/// The files of one crate by the path of their module.
struct Tree {
    files: BTreeMap<Names, File>,
}

struct File {
    path: String,
    /// The code without tests.
    code: String,
    paths: Vec<Written>,
    /// The path of each name that a `use` imports, from the root of the crate.
    used: BTreeMap<String, Names>,
}

/// One path in its source form.
struct Written {
    names: Names,
    /// The imported name, if the path is in a `use`.
    alias: Option<String>,
}

impl Tree {
    fn read(sources: &[Source], folder: &str) -> Self {
        let mut files = BTreeMap::new();
        let library = format!("{folder}lib.rs");
        let has_library = sources.iter().any(|source| source.path == library);
        for source in sources {
            let Some(module) = module(&source.path, folder) else {
                continue;
            };
            if has_library && source.path.strip_prefix(folder) == Some("main.rs") {
                continue;
            }
            let code = without_tests(&source.code);
            let paths = written(&code);
            let used = BTreeMap::new();
            let path = source.path.clone();
            let file = File {
                path,
                code,
                paths,
                used,
            };
            files.insert(module, file);
        }
        let mut tree = Self { files };
        tree.leave_out_tests();
        tree.bind_names();
        tree
    }

    /// Leaves out files that only tests declare.
    fn leave_out_tests(&mut self) {
        let is_declared = |module: &Names| {
            (1..=module.len()).all(|length| {
                let (name, parent) = module[..length].split_last().expect("at least one name");
                let parent = self.files.get(parent);
                parent.is_some_and(|file| declares(&file.code, name))
            })
        };
        let declared: BTreeSet<Names> = self
            .files
            .keys()
            .filter(|m| is_declared(m))
            .cloned()
            .collect();
        self.files.retain(|module, _| declared.contains(module));
    }

    /// Resolves the first name of each `use` with the names that the file itself imports.
    fn bind_names(&mut self) {
        let modules: BTreeSet<Names> = self.files.keys().cloned().collect();
        for (module, file) in &mut self.files {
            for path in &file.paths {
                let Some(alias) = &path.alias else { continue };
                if let Some(absolute) = absolute(&path.names, module, &modules) {
                    file.used.insert(alias.clone(), absolute);
                }
            }
        }
    }

    /// The files that each file imports.
    fn imports(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let modules: BTreeSet<Names> = self.files.keys().cloned().collect();
        let mut imports = BTreeMap::new();
        for (module, file) in &self.files {
            let targets = file.paths.iter().filter_map(|path| {
                let absolute = absolute(&path.names, module, &modules)
                    .or_else(|| file.expanded(&path.names))?;
                self.defining(absolute)
            });
            let others = targets.filter(|(target, _)| !target.starts_with(module));
            let paths = others.map(|(_, path)| path);
            imports.insert(file.path.as_str(), paths.collect());
        }
        imports
    }

    /// The file that defines an item, through re-exports; `None` for a module, which is no item.
    fn defining(&self, mut names: Names) -> Option<(&Names, &str)> {
        const REEXPORTS_MAX: usize = 16;
        for _ in 0..REEXPORTS_MAX {
            let found = (0..=names.len())
                .rev()
                .find_map(|length| self.files.get_key_value(&names[..length]));
            let (module, file) = found?;
            let length = module.len();
            let Some(target) = file.used.get(names.get(length)?) else {
                return Some((module, &file.path));
            };
            names = [target, &names[length + 1..]].concat();
        }
        None
    }

    /// One cycle for each group of files that import each other: the shortest through its first file.
    fn circles(&self) -> Vec<Vec<&str>> {
        let imports = self.imports();
        let mut circles = Vec::new();
        let mut seen = BTreeSet::new();
        for &file in imports.keys() {
            if seen.contains(file) {
                continue;
            }
            if let Some(circle) = shortest_circle(file, &imports) {
                seen.extend(circle.iter().copied());
                circles.push(circle);
            }
        }
        circles
    }
}

impl File {
    /// The path with its first name replaced by the path that a `use` of this file gives it.
    fn expanded(&self, names: &[String]) -> Option<Names> {
        let (first, rest) = names.split_first()?;
        self.used.get(first).map(|target| [target, rest].concat())
    }
}

/// The path from the root of the crate, if its first name is a keyword for that or a child module.
fn absolute(names: &[String], module: &[String], modules: &BTreeSet<Names>) -> Option<Names> {
    let first = names.first()?.as_str();
    let (start, rest) = match first {
        "crate" => (&module[..0], &names[1..]),
        "self" => (module, &names[1..]),
        "super" => {
            let climbed = names.iter().take_while(|name| *name == "super").count();
            let left = module.len().checked_sub(climbed)?;
            (&module[..left], &names[climbed..])
        }
        _ => (module, names),
    };
    let path = [start, rest].concat();
    let leads_inward =
        matches!(first, "crate" | "self" | "super") || modules.contains(&path[..=module.len()]);
    leads_inward.then_some(path)
}

/// The shortest cycle through a file.
fn shortest_circle<'a>(
    start: &'a str,
    imports: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> Option<Vec<&'a str>> {
    let mut from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(file) = waiting.pop_front() {
        for &next in imports.get(file).into_iter().flatten() {
            if from.contains_key(next) {
                continue;
            }
            from.insert(next, file);
            if next == start {
                let back = std::iter::successors(Some(file), |at| (*at != start).then(|| from[at]));
                let mut circle: Vec<_> = back.collect();
                circle.insert(0, start);
                circle.reverse();
                return Some(circle);
            }
            waiting.push_back(next);
        }
    }
    None
}

/// The module that a file of a crate is: `relay/seal.rs` is `[relay, seal]`, `lib.rs` the root.
fn module(path: &str, folder: &str) -> Option<Names> {
    let inside = match path.strip_prefix(folder) {
        Some(rest) => rest.strip_suffix(".rs")?,
        None if path.strip_suffix(".rs") == folder.strip_suffix('/') => "lib",
        None => return None,
    };
    let mut names: Names = inside.split('/').map(str::to_owned).collect();
    let is_root = matches!(inside, "lib" | "main");
    if is_root || names.last().is_some_and(|last| last == "mod") {
        names.pop();
    }
    Some(names)
}

/// Whether the code contains `mod name;`.
fn declares(code: &str, name: &str) -> bool {
    let all: Vec<_> = words(code).collect();
    all.windows(2).any(|pair| {
        let [(_, first), (at, second)] = pair else {
            return false;
        };
        *first == "mod" && *second == name && code[at + name.len()..].trim_start().starts_with(';')
    })
}

/// Blanks each item that is marked `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut left = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        left.push_str(&rest[..at]);
        rest = &rest[at + MARK.len()..];
        rest = &rest[item_length(rest)..];
    }
    left + rest
}

/// Length of the item at the start, up to its `;` or the closing brace of its body.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    let in_use = words(code).any(|(at, word)| word == "use" && code[..at].trim().is_empty());
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && c == '}' && !in_use {
                    return at + 1;
                }
            }
            ';' | ',' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Each word of the code with its position.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + code[at..].bytes().position(is_word)?;
        let length = code[start..].bytes().take_while(|&b| is_word(b)).count();
        at = start + length;
        Some((start, &code[start..at]))
    })
}

/// Every path in the code: those of each `use`, and elsewhere those of two names or more.
fn written(code: &str) -> Vec<Written> {
    let mut paths = Vec::new();
    let mut done = 0;
    for (at, word) in words(code) {
        let follows = code[..at].trim_end();
        if at >= done && word == "use" {
            let end = at + code[at..].find(';').unwrap_or(code.len() - at);
            add_uses(&code[at + word.len()..end], &[], &mut paths);
            done = end;
        } else if at >= done && !follows.ends_with("::") && !follows.ends_with('.') {
            let names = linear(&code[at..]);
            if names.len() > 1 {
                let alias = None;
                paths.push(Written { names, alias });
            }
        }
    }
    paths
}

/// The names of a path without braces: `a::b::c`.
fn linear(code: &str) -> Names {
    let mut names = Names::new();
    let mut rest = code;
    loop {
        let length = rest.bytes().take_while(|&b| is_word(b)).count();
        if length == 0 {
            return names;
        }
        names.push(rest[..length].to_owned());
        let Some(after) = rest[length..].strip_prefix("::") else {
            return names;
        };
        rest = after;
    }
}

/// Adds the paths of one tree of a `use`: `a::{self, b as c, d::*}`.
fn add_uses(tree: &str, before: &[String], paths: &mut Vec<Written>) {
    let tree = tree.trim();
    if let Some(group) = tree.strip_prefix('{') {
        let group = group.strip_suffix('}').unwrap_or(group);
        for part in parts(group) {
            add_uses(part, before, paths);
        }
        return;
    }
    let length = tree.bytes().take_while(|&b| is_word(b)).count();
    let (name, rest) = tree.split_at(length);
    if let Some(deeper) = rest.strip_prefix("::") {
        let names = [before, &[name.to_owned()]].concat();
        return add_uses(deeper, &names, paths);
    }
    let renamed = rest.trim().strip_prefix("as ").map(str::trim);
    let mut names = before.to_vec();
    if name == "self" && !names.is_empty() {
        let alias = renamed.or(names.last().map(String::as_str));
        let alias = alias.map(str::to_owned);
        paths.push(Written { names, alias });
        return;
    }
    if name.is_empty() && rest.trim() != "*" {
        return;
    }
    let name = if name.is_empty() { "*" } else { name };
    names.push(name.to_owned());
    let alias = Some(renamed.unwrap_or(name).to_owned());
    paths.push(Written { names, alias });
}

/// The parts of a group between its outer commas.
fn parts(group: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let at_outer_comma = |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    group.split(at_outer_comma).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: &str = "mod a; mod b; mod c; pub use a::A; pub(crate) use b::B; struct Own;";

    /// The cycles of an example module with three files.
    fn found(a: &str, b: &str, c: &str) -> Vec<String> {
        let files = [
            ("x/src/lib.rs", "mod room;"),
            ("x/src/room/mod.rs", ROOM),
            ("x/src/room/a.rs", a),
            ("x/src/room/b.rs", b),
            ("x/src/room/c.rs", c),
        ];
        let sources = files.map(|(path, text)| Source::new(path, text));
        refused(&sources)
    }

    #[test]
    fn two_files_that_import_each_other_are_found_in_every_form() {
        let circle = "x/src/room/a.rs -> x/src/room/b.rs -> x/src/room/a.rs";
        for (a, b) in [
            ("use super::b::B;", "use super::a::A;"),
            (
                "use crate::room::b::{self, B};",
                "use crate::room::{a::A, c::C};",
            ),
            (
                "use super::b; fn f() { b::g() }",
                "fn g() { super::a::f() }",
            ),
            ("use super::B;", "pub(super) use super::A as Other;"),
            (
                "use crate::room; type T = room::B;",
                "use super::{a::{A, D}};",
            ),
        ] {
            assert_eq!(found(a, b, ""), [circle], "{a} {b}");
        }
    }

    #[test]
    fn a_circle_of_three_files_is_found() {
        let circles = found("use super::b::B;", "use super::c::C;", "use super::A;");
        let circle = "x/src/room/a.rs -> x/src/room/b.rs -> x/src/room/c.rs -> x/src/room/a.rs";
        assert_eq!(circles, [circle]);
    }

    #[test]
    fn imports_in_one_direction_are_no_cycle() {
        for (a, b) in [
            ("use super::b::B;", "use super::c::C;"),
            ("use super::b::B;", "use super::Own;"),
            ("use super::b;", "use super::a;"),
            ("use super::B;", "use other::a::A; // super::a::A"),
        ] {
            assert!(found(a, b, "use super::Own;").is_empty(), "{a} {b}");
        }
    }

    #[test]
    fn test_code_is_not_restricted() {
        let b =
            "#[cfg(test)] use super::a::{A, D};\n#[cfg(test)]\nmod tests { use super::super::A; }";
        assert!(found("use super::B;", b, "").is_empty());
        assert_eq!(
            found("use super::B;", &format!("{b} use super::A;"), "").len(),
            1
        );
    }

    #[test]
    fn files_of_tests_are_left_out() {
        let files = [
            ("x/src/lib.rs", "mod a; #[cfg(test)] mod made;"),
            ("x/src/a.rs", "use crate::made::M;"),
            ("x/src/made.rs", "use crate::a::A;"),
        ];
        let sources = files.map(|(path, text)| Source::new(path, text));
        assert!(refused(&sources).is_empty());
    }
}
