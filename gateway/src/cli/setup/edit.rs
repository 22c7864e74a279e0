//! Reads the answers out of a present configuration, and changes it in place: comments, order and other keys stay.

use anyhow::{Context as _, bail};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};

use super::super::unpaired::tables;
use super::draft::{Question, SetupAnswers};

/// The configuration of the package, in which every route is a comment.
const STARTER: &str = include_str!("../../../../packaging/etc/starter.toml");

/// Whether an operator has written nothing into the file yet.
pub(super) fn is_new(text: &str) -> bool {
    text.trim().is_empty() || text.trim() == STARTER.trim()
}

/// The names of the routes of a configuration.
pub(super) fn route_names(document: &DocumentMut) -> Vec<String> {
    let names = tables(document, "route").filter_map(|route| route.get("name")?.as_str());
    names.map(str::to_owned).collect()
}

/// The names of the `[[peer]]` tables of a configuration.
pub(super) fn peer_names(document: &DocumentMut) -> Vec<String> {
    let names = tables(document, "peer").filter_map(|peer| peer.get("name")?.as_str());
    names.map(str::to_owned).collect()
}

/// The answers that the route `name` of the configuration has.
///
/// # Errors
/// The route is of a kind that setup does not write.
pub(super) fn answers(document: &DocumentMut, name: &str) -> anyhow::Result<SetupAnswers> {
    let mut draft = SetupAnswers::default();
    let Some(route) = route(document, name) else {
        return Ok(draft);
    };
    let text = |key: &str| route.get(key).and_then(Item::as_str);
    let by_hand = || {
        format!(
            "route {name:?} cannot be changed by setup; change it with an editor, or add another with --route"
        )
    };
    draft.adopt(Question::Route, name.to_owned());
    let is_modalities = match text("mode") {
        Some("originate") => true,
        Some("terminate") => false,
        other => bail!("{}: its mode is {:?}", by_hand(), other.unwrap_or_default()),
    };
    let side = if is_modalities {
        "modalities"
    } else {
        "archive"
    };
    draft.adopt(Question::Side, side.to_owned());
    match text("protocol") {
        Some("dicom") => draft.adopt(Question::Protocol, "dicom".to_owned()),
        Some("mllp") => draft.adopt(Question::Protocol, "hl7".to_owned()),
        other => bail!(
            "{}: its protocol is {:?}",
            by_hand(),
            other.unwrap_or_default()
        ),
    }
    if let Some(listen) = text("listen") {
        draft.adopt(Question::Listen, listen.to_owned());
    }
    let list = |key: &str| route.get(key).map(texts).unwrap_or_default().join(", ");
    let targets = if is_modalities {
        Question::OtherSite
    } else {
        Question::Archive
    };
    let mut adopt = |question, value: String| {
        if !value.is_empty() {
            draft.adopt(question, value);
        }
    };
    adopt(targets, list("targets"));
    adopt(Question::OtherName, list("peers"));
    if !is_modalities {
        let from = list("from");
        adopt(
            Question::OtherSite,
            if from.is_empty() {
                "any".to_owned()
            } else {
                from
            },
        );
    }
    Ok(draft)
}

fn route<'d>(document: &'d DocumentMut, name: &str) -> Option<&'d Table> {
    tables(document, "route").find(|route| has_name(route, name))
}

fn has_name(table: &Table, name: &str) -> bool {
    table.get("name").and_then(Item::as_str) == Some(name)
}

/// The present configuration with the values of the new one, which has one route and at most one peer.
///
/// # Errors
/// The present one writes its tables in a form that cannot be changed in place.
pub(super) fn merged(present: &str, new: &str) -> anyhow::Result<String> {
    if is_new(present) {
        return Ok(new.to_owned());
    }
    let mut document: DocumentMut = present
        .parse()
        .context("the present configuration is not valid TOML")?;
    let new: DocumentMut = new
        .parse()
        .context("the new configuration is not valid TOML")?;
    if let Some(identity) = new.get("identity").and_then(Item::as_table) {
        match document.get_mut("identity") {
            Some(present) => {
                let present = present
                    .as_table_like_mut()
                    .context("identity is written as something else than a table")?;
                for (key, item) in identity {
                    change(present, key, item);
                }
            }
            None => {
                document.insert("identity", Item::Table(placed_last(identity)));
            }
        }
    }
    for (array, optional) in [("peer", &[][..]), ("route", &["from"])] {
        for table in tables(&new, array) {
            let name = table.get("name").and_then(Item::as_str).unwrap_or_default();
            let present = document
                .entry(array)
                .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
            let present = present.as_array_of_tables_mut();
            let present = present.with_context(|| {
                format!("write {array} as [[{array}]] tables; setup changes only these")
            })?;
            let position = present.iter().position(|present| has_name(present, name));
            match position.and_then(|position| present.get_mut(position)) {
                Some(present) => {
                    for (key, item) in table {
                        change(present, key, item);
                    }
                    for key in optional {
                        if !table.contains_key(key) {
                            present.remove(key);
                        }
                    }
                }
                None => present.push(placed_last(table)),
            }
        }
    }
    Ok(document.to_string())
}

/// A copy whose place in the text is not that of its old document.
fn placed_last(table: &Table) -> Table {
    let mut table = table.clone();
    table.set_position(None);
    table
}

/// Gives a key its new value, and keeps what is written around an earlier one. A list with the same elements stays as it is,
/// whatever form its elements have.
fn change(table: &mut dyn toml_edit::TableLike, key: &str, new: &Item) {
    let Some(mut value) = new.as_value().cloned() else {
        return;
    };
    if let Some(present) = table.get(key) {
        if texts(present) == texts(new) {
            return;
        }
        if let Some(present) = present.as_value() {
            *value.decor_mut() = present.decor().clone();
        }
    }
    table.insert(key, Item::Value(value));
}

/// The texts of a text or a list of texts. A target may be a table with its address.
fn texts(item: &Item) -> Vec<&str> {
    let elements = item.as_array().into_iter().flatten();
    let elements = elements.filter_map(|element| match element {
        Value::InlineTable(table) => table.get("address")?.as_str(),
        other => other.as_str(),
    });
    item.as_str().into_iter().chain(elements).collect()
}
