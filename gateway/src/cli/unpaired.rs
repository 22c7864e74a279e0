//! Configurations whose other sites are not known yet: routes list a name in `peers`, and `wardgate pair` writes its
//! `[[peer]]` table later.
//!
//! Placeholders take the place of the missing tables, so that everything else is checked and shown.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};

use crate::config::check_site_name;

/// The file that the placeholders name as `trust`, unless another one is given.
pub(super) const NO_FILE: &str = "/dev/null";

/// The names that routes list in `peers` and no `[[peer]]` table has; empty if `text` is not TOML.
pub(super) fn missing_peers(text: &str) -> BTreeSet<String> {
    let Ok(document) = text.parse::<DocumentMut>() else {
        return BTreeSet::new();
    };
    let known: BTreeSet<_> = tables(&document, "peer")
        .filter_map(|peer| peer.get("name")?.as_str().map(str::to_owned))
        .collect();
    let listed = tables(&document, "route").filter_map(|route| route.get("peers")?.as_array());
    let names = listed.flatten().filter_map(Value::as_str);
    let names = names.filter(|name| check_site_name(name).is_ok() && !known.contains(*name));
    names.map(str::to_owned).collect()
}

/// The text with a placeholder for each missing `[[peer]]` table, at its end: the lines of all problems stay.
pub(super) fn with_placeholders(text: &str, trust: &str) -> String {
    let mut text = text.to_owned();
    for (number, name) in missing_peers(&text).into_iter().enumerate() {
        // Each peer has an identity of its own.
        let _ = write!(
            text,
            "\n[[peer]]\nname = {}\nidentity = \"dns:placeholder-{number}.invalid\"\ntrust = {}\n",
            Value::from(name),
            Value::from(trust)
        );
    }
    text
}

/// The tables of an array in a document, if it is written as tables.
pub(super) fn tables<'d>(document: &'d DocumentMut, key: &str) -> impl Iterator<Item = &'d Table> {
    let all = document.get(key).and_then(Item::as_array_of_tables);
    all.into_iter().flat_map(ArrayOfTables::iter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_no_table_has_gets_a_placeholder_and_nothing_else_changes() {
        let text = "[[peer]]\nname = \"a\"\n[[route]]\npeers = [\"a\", \"b\", \"dns:x.example\"]\n[[route]]\npeers = [\"b\"]\n";
        assert_eq!(missing_peers(text).into_iter().collect::<Vec<_>>(), ["b"]);
        let whole = with_placeholders(text, NO_FILE);
        assert!(whole.starts_with(text), "{whole}");
        assert!(missing_peers(&whole).is_empty());
        assert_eq!(missing_peers("not = = toml").len(), 0);
    }
}
