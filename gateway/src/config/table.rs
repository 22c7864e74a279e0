//! A small typed reader of TOML tables: it takes one key after the other, and reports unknown keys and values
//! of a wrong type.

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::Located;
use super::problem::{Problems, quoted};
use super::schema::{Schema, SchemaKey};
use super::suggest;
use super::syntax::Lines;
use super::written::{Named, Texts, Written};

/// An element of a list of strings and tables.
pub(super) enum TextOrTable<'i> {
    Text(Located<String>),
    Table(Table<'i>),
}

/// A type of a single value.
pub(super) trait Leaf: DeserializeOwned {
    /// The description of the type in messages.
    const EXPECTED: &str;
}

impl Leaf for String {
    const EXPECTED: &str = "a string in double quotes";
}

impl Leaf for bool {
    const EXPECTED: &str = "true or false without quotes";
}

impl Leaf for i64 {
    const EXPECTED: &str = "a whole number without quotes";
}

/// The context of a reader besides the table.
pub(super) struct TableReader<'a> {
    pub(super) lines: &'a Lines,
    pub(super) problems: &'a mut Problems,
}

/// A table from which keys are taken.
pub(super) struct Table<'i> {
    /// The beginning of messages: `route "ct-to-region": `.
    pub(super) scope: String,
    /// The line of its header.
    pub(super) line: usize,
    schema: &'static Schema,
    entries: DeTable<'i>,
}

impl<'i> Table<'i> {
    /// The table at the top of the file.
    pub(super) fn root(schema: &'static Schema, entries: DeTable<'i>) -> Self {
        Self::new(schema, String::new(), 1, entries)
    }

    fn new(schema: &'static Schema, scope: String, line: usize, entries: DeTable<'i>) -> Self {
        Self {
            scope,
            line,
            schema,
            entries,
        }
    }

    /// Takes a value of a simple type.
    pub(super) fn leaf<T: Leaf>(&mut self, name: &str, reader: &mut TableReader<'_>) -> Written<T> {
        let Some((key, value)) = self.take(name) else {
            return Written::Absent;
        };
        let line = reader.lines.at(value.span().start);
        match deserialize(value) {
            Ok(value) => Written::Value(Located { value, line }),
            Err(found) => self.refuse(key, line, T::EXPECTED, &found, reader),
        }
    }

    /// Takes a list of values of one simple type, each with its own line.
    pub(super) fn list<T: Leaf>(
        &mut self,
        name: &str,
        reader: &mut TableReader<'_>,
    ) -> Written<Vec<Located<T>>> {
        let Some((key, value)) = self.take(name) else {
            return Written::Absent;
        };
        let line = reader.lines.at(value.span().start);
        let DeValue::Array(elements) = value.get_ref() else {
            return self.refuse(
                key,
                line,
                "a list in square brackets",
                &shown(&value),
                reader,
            );
        };
        self.elements(name, elements, line, reader)
    }

    /// Reads the elements of the list under `name`.
    fn elements<T: Leaf>(
        &self,
        name: &str,
        elements: &[Spanned<DeValue<'i>>],
        line: usize,
        reader: &mut TableReader<'_>,
    ) -> Written<Vec<Located<T>>> {
        let mut read = Vec::with_capacity(elements.len());
        for element in elements.iter().cloned() {
            let line = reader.lines.at(element.span().start);
            match deserialize(element) {
                Ok(value) => read.push(Located { value, line }),
                Err(found) => {
                    let scope = &self.scope;
                    let text = format!(
                        "{scope}{name}: each element must be {}, found {found}",
                        T::EXPECTED
                    );
                    reader.problems.wrong(line, text);
                }
            }
        }
        if read.is_empty() && !elements.is_empty() {
            return Written::Refused;
        }
        Written::Value(Located { value: read, line })
    }

    /// Takes a list whose elements are strings or tables of `schema`. `scope` is the beginning of the
    /// messages about these tables.
    pub(super) fn texts_or_tables(
        &mut self,
        name: &str,
        schema: &'static Schema,
        scope: &str,
        reader: &mut TableReader<'_>,
    ) -> Written<Vec<TextOrTable<'i>>> {
        let Some((key, value)) = self.take(name) else {
            return Written::Absent;
        };
        let line = reader.lines.at(value.span().start);
        let found = shown(&value);
        let DeValue::Array(elements) = value.into_inner() else {
            return self.refuse(key, line, "a list in square brackets", &found, reader);
        };
        let written = elements.len();
        let mut read = Vec::with_capacity(written);
        for element in elements {
            let line = reader.lines.at(element.span().start);
            match element.into_inner() {
                DeValue::String(text) => read.push(TextOrTable::Text(Located {
                    value: text.into_owned(),
                    line,
                })),
                DeValue::Table(entries) => {
                    let table = Self::new(schema, scope.to_owned(), line, entries);
                    read.push(TextOrTable::Table(table));
                }
                other => {
                    let found = shown_value(&other);
                    let text = format!(
                        "{}{name}: each element must be {} or a table of {}, found {found}",
                        self.scope,
                        String::EXPECTED,
                        schema.key_names()
                    );
                    reader.problems.wrong(line, text);
                }
            }
        }
        if read.is_empty() && written > 0 {
            return Written::Refused;
        }
        Written::Value(Located { value: read, line })
    }

    /// Takes a list of strings, or a single string as a list with one element.
    pub(super) fn one_or_list(&mut self, name: &str, reader: &mut TableReader<'_>) -> Texts {
        let value = self.entries.get(name).map(Spanned::get_ref);
        match value {
            None | Some(DeValue::String(_)) => {}
            Some(DeValue::Array(_)) => return self.list(name, reader),
            Some(other) => {
                let found = shown_value(other);
                let Some((key, value)) = self.take(name) else {
                    return Written::Absent;
                };
                let line = reader.lines.at(value.span().start);
                let expected = "a string or a list of strings";
                return self.refuse(key, line, expected, &found, reader);
            }
        }
        match self.leaf(name, reader) {
            Written::Value(one) => Written::Value(list_of_one(one)),
            Written::Absent => Written::Absent,
            Written::Refused => Written::Refused,
        }
    }

    /// Takes a table whose keys are names that the operator chooses, each with a string or a list of strings,
    /// in the order of the file.
    pub(super) fn named_lists(
        &mut self,
        name: &str,
        reader: &mut TableReader<'_>,
    ) -> Written<Named> {
        let Some((key, value)) = self.take(name) else {
            return Written::Absent;
        };
        let line = reader.lines.at(value.span().start);
        let DeValue::Table(entries) = value.get_ref() else {
            return self.refuse(key, line, "a table", &shown(&value), reader);
        };
        // If a value is missing, the TOML parser adds an empty value without a position.
        let entries = entries.iter().filter(|(_, value)| !value.span().is_empty());
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut read = Vec::with_capacity(entries.len());
        for (word, value) in entries {
            let line = reader.lines.at(word.span().start);
            let list = self.named_list(key, word.get_ref(), value, reader);
            let value = word.get_ref().clone().into_owned();
            read.push((Located { value, line }, list));
        }
        Written::Value(Located { value: read, line })
    }

    fn named_list(
        &self,
        key: &SchemaKey,
        word: &str,
        value: &Spanned<DeValue<'i>>,
        reader: &mut TableReader<'_>,
    ) -> Texts {
        let line = reader.lines.at(value.span().start);
        let name = format!("{}: {}", key.name, quoted(word));
        match value.get_ref() {
            DeValue::String(text) => {
                let value = text.clone().into_owned();
                Written::Value(list_of_one(Located { value, line }))
            }
            DeValue::Array(elements) => self.elements(&name, elements, line, reader),
            other => {
                let text = format!(
                    "{}{name} must be a string or a list of strings, found {}; write for example {} \
                     = {}",
                    self.scope,
                    shown_value(other),
                    key.name,
                    key.example
                );
                reader.problems.wrong(line, text);
                Written::Refused
            }
        }
    }

    /// Takes a table within this table. `scope` is the beginning of its messages.
    pub(super) fn table(
        &mut self,
        name: &str,
        schema: &'static Schema,
        scope: String,
        reader: &mut TableReader<'_>,
    ) -> Option<Self> {
        let (key, value) = self.take(name)?;
        let line = reader.lines.at(value.span().start);
        match value.into_inner() {
            DeValue::Table(entries) => Some(Self::new(schema, scope, line, entries)),
            DeValue::Array(_) => {
                let text = format!(
                    "{}{name} must be one table; write [{}{name}] once, in single brackets",
                    self.scope, self.schema.parent
                );
                reader.problems.wrong(line, text);
                None
            }
            other => {
                let found = shown_value(&other);
                self.refuse::<()>(key, line, "a table", &found, reader);
                None
            }
        }
    }

    /// Takes the tables of a list: `[[route]]`.
    pub(super) fn tables(
        &mut self,
        name: &str,
        schema: &'static Schema,
        reader: &mut TableReader<'_>,
    ) -> Written<Vec<Self>> {
        let Some((_, value)) = self.take(name) else {
            return Written::Absent;
        };
        let line = reader.lines.at(value.span().start);
        let (scope, name) = (&self.scope, format!("{}{name}", self.schema.parent));
        let elements = match value.into_inner() {
            DeValue::Array(elements) => elements,
            DeValue::Table(_) => {
                let text = format!(
                    "{scope}[{name}] is a list of tables; write [[{name}]], in double brackets, and its keys below it"
                );
                reader.problems.wrong(line, text);
                return Written::Refused;
            }
            other => {
                let found = shown_value(&other);
                let text = format!(
                    "{scope}{name} must be tables, found {found}; write [[{name}]] and its keys below it"
                );
                reader.problems.wrong(line, text);
                return Written::Refused;
            }
        };
        let written = elements.len();
        let mut tables = Vec::with_capacity(written);
        for element in elements {
            let line = reader.lines.at(element.span().start);
            match element.into_inner() {
                DeValue::Table(entries) => {
                    tables.push(Self::new(schema, String::new(), line, entries));
                }
                other => {
                    let found = shown_value(&other);
                    let text = format!("{scope}each [[{name}]] must be a table, found {found}");
                    reader.problems.wrong(line, text);
                }
            }
        }
        if tables.is_empty() && written > 0 {
            return Written::Refused;
        }
        Written::Value(Located {
            value: tables,
            line,
        })
    }

    /// Reports every key that was not taken.
    pub(super) fn finish(self, reader: &mut TableReader<'_>) {
        for (key, _) in &self.entries {
            let line = reader.lines.at(key.span().start);
            let remedy = suggest::remedy(key.get_ref(), self.schema);
            let text = format!(
                "{}unknown key {}; {remedy}",
                self.scope,
                quoted(key.get_ref())
            );
            reader.problems.wrong(line, text);
        }
    }

    /// Reads the string under `name` without taking it: messages need some names in advance.
    pub(super) fn peek(&self, name: &str) -> Option<&str> {
        self.entries.get(name)?.get_ref().as_str()
    }

    /// Whether the value under `name` is a string.
    pub(super) fn is_string(&self, name: &str) -> bool {
        self.peek(name).is_some()
    }

    fn take(&mut self, name: &str) -> Option<(&'static SchemaKey, Spanned<DeValue<'i>>)> {
        let key = self.schema.keys.iter().find(|key| key.name == name);
        let key = key.expect("only keys of the table's schema are taken");
        let value = self.entries.remove(name)?;
        // If a value is missing, the TOML parser adds an empty value without a position.
        (!value.span().is_empty()).then_some((key, value))
    }

    fn refuse<T>(
        &self,
        key: &SchemaKey,
        line: usize,
        expected: &str,
        found: &str,
        reader: &mut TableReader<'_>,
    ) -> Written<T> {
        let SchemaKey { name, example, .. } = key;
        let scope = &self.scope;
        let text = format!(
            "{scope}{name} must be {expected}, found {found}; write for example {name} = {example}"
        );
        reader.problems.wrong(line, text);
        Written::Refused
    }
}

fn list_of_one(one: Located<String>) -> Located<Vec<Located<String>>> {
    let line = one.line;
    let value = vec![one];
    Located { value, line }
}

fn deserialize<T: Leaf>(value: Spanned<DeValue<'_>>) -> Result<T, String> {
    let found = shown(&value);
    T::deserialize(ValueDeserializer::from(value)).map_err(|_| found)
}

fn shown(value: &Spanned<DeValue<'_>>) -> String {
    shown_value(value.get_ref())
}

/// Describes a value of a wrong type.
fn shown_value(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {}", quoted(text)),
        DeValue::Integer(number) => format!("the number {}", brief(number)),
        DeValue::Float(number) => format!("the number {}", brief(number)),
        DeValue::Boolean(value) => format!("{value}"),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn brief(number: &impl ToString) -> String {
    number.to_string().chars().take(40).collect()
}
