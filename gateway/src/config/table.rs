//! A small typed reader of TOML tables: takes key by key, and tells what is left over or of another
//! type than it must be.

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::Located;
use super::problem::{Problems, quoted};
use super::schema::{Key, Schema};
use super::suggest;
use super::syntax::Lines;
use super::written::{Named, Texts, Written};

/// An element of a list that may hold strings and tables.
pub(super) enum TextOrTable<'i> {
    Text(Located<String>),
    Table(Table<'i>),
}

/// A type that stands alone under a key.
pub(super) trait Leaf: DeserializeOwned {
    /// What an operator must write.
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

/// What reading needs besides the table.
pub(super) struct Reader<'a> {
    pub(super) lines: &'a Lines,
    pub(super) problems: &'a mut Problems,
}

/// A table from which keys are taken.
pub(super) struct Table<'i> {
    /// What messages begin with: `route "ct-to-region": `.
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
    pub(super) fn leaf<T: Leaf>(&mut self, name: &str, reader: &mut Reader<'_>) -> Written<T> {
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
        reader: &mut Reader<'_>,
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

    /// Reads the elements of a list that stands under `name`.
    fn elements<T: Leaf>(
        &self,
        name: &str,
        elements: &[Spanned<DeValue<'i>>],
        line: usize,
        reader: &mut Reader<'_>,
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

    /// Takes a list whose elements are strings or tables of `schema`. `scope` is what the messages of
    /// the tables begin with.
    pub(super) fn texts_or_tables(
        &mut self,
        name: &str,
        schema: &'static Schema,
        scope: &str,
        reader: &mut Reader<'_>,
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

    /// Takes a list of strings, or a string alone as a list of one.
    pub(super) fn one_or_list(&mut self, name: &str, reader: &mut Reader<'_>) -> Texts {
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

    /// Takes a table whose keys are the operator's own words, each with a string or a list of
    /// strings, in the order of the file.
    pub(super) fn named_lists(&mut self, name: &str, reader: &mut Reader<'_>) -> Written<Named> {
        let Some((key, value)) = self.take(name) else {
            return Written::Absent;
        };
        let line = reader.lines.at(value.span().start);
        let DeValue::Table(entries) = value.get_ref() else {
            return self.refuse(key, line, "a table", &shown(&value), reader);
        };
        // Where a value is missing, the TOML parser puts one of its own that stands nowhere.
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
        key: &Key,
        word: &str,
        value: &Spanned<DeValue<'i>>,
        reader: &mut Reader<'_>,
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

    /// Takes a table within this one. `scope` is what its messages begin with.
    pub(super) fn table(
        &mut self,
        name: &str,
        schema: &'static Schema,
        scope: String,
        reader: &mut Reader<'_>,
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
        reader: &mut Reader<'_>,
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
                    "{scope}[{name}] is a list of tables; write [[{name}]], in double brackets, and what \
                     belongs to it below"
                );
                reader.problems.wrong(line, text);
                return Written::Refused;
            }
            other => {
                let found = shown_value(&other);
                let text = format!(
                    "{scope}{name} must be tables, found {found}; write [[{name}]] and what belongs to it \
                     below"
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

    /// Tells of every key that nobody asked for.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
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

    /// What stands under `name` without taking it: for a label that messages need before.
    pub(super) fn peek(&self, name: &str) -> Option<&str> {
        self.entries.get(name)?.get_ref().as_str()
    }

    /// Whether the value under `name` is a string.
    pub(super) fn is_string(&self, name: &str) -> bool {
        self.peek(name).is_some()
    }

    fn take(&mut self, name: &str) -> Option<(&'static Key, Spanned<DeValue<'i>>)> {
        let key = self.schema.keys.iter().find(|key| key.name == name);
        let key = key.expect("only keys of the table's schema are taken");
        let value = self.entries.remove(name)?;
        // Where a value is missing, the TOML parser puts one of its own that stands nowhere.
        (!value.span().is_empty()).then_some((key, value))
    }

    fn refuse<T>(
        &self,
        key: &Key,
        line: usize,
        expected: &str,
        found: &str,
        reader: &mut Reader<'_>,
    ) -> Written<T> {
        let Key { name, example, .. } = key;
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

/// A value of the wrong type in words.
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
