//! The result of a run: rows of a name and a value, as a table or a page for readers or as JSON for programs.

use std::fmt::Write as _;

pub(crate) mod html;
pub(crate) mod machine;
pub(crate) mod plot;

use html::{Section, Table};
use plot::Plot;

/// The rows of one run. Names carry their unit last: `latency_p99_us`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    rows: Vec<(String, Value)>,
    plots: Vec<(String, Plot)>,
    conclusion: Vec<String>,
}

#[derive(Debug, Clone)]
enum Value {
    Text(String),
    Whole(u64),
    Real(f64),
}

impl Report {
    /// Adds a row of text.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        let value = Value::Text(value.to_owned());
        self.rows.push((name.to_owned(), value));
    }

    /// Adds a row with a whole number.
    pub(crate) fn whole(&mut self, name: &str, value: u64) {
        self.rows.push((name.to_owned(), Value::Whole(value)));
    }

    /// Adds a row with a number, which must be finite because of JSON.
    pub(crate) fn real(&mut self, name: &str, value: f64) {
        debug_assert!(value.is_finite(), "{name} is {value}");
        self.rows.push((name.to_owned(), Value::Real(value)));
    }

    /// The number in the row of this name; `None` where there is no such row, or it holds text.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        let found = self.numbers().find(|(row, _)| *row == name);
        found.map(|(_, number)| number)
    }

    /// All rows that hold numbers.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (&str, f64)> {
        self.rows.iter().filter_map(|(name, value)| match value {
            Value::Text(_) => None,
            Value::Whole(number) => Some((name.as_str(), *number as f64)),
            Value::Real(number) => Some((name.as_str(), *number)),
        })
    }

    /// The scenario's name, from the row that holds it.
    pub(crate) fn name(&self) -> &str {
        let row = self.rows.iter().find(|(name, _)| name == "scenario");
        match row {
            Some((_, Value::Text(name))) => name,
            _ => "run",
        }
    }

    /// Adds a sentence that readers find below the rows.
    pub(crate) fn conclude(&mut self, sentence: String) {
        self.conclusion.push(sentence);
    }

    /// Adds a plot that pages show under its title.
    pub(crate) fn plot(&mut self, title: &str, plot: Plot) {
        self.plots.push((title.to_owned(), plot));
    }

    /// The rows as a section of a page, and one more for each plot.
    pub(crate) fn sections(&self, title: &str) -> Vec<Section> {
        let rows = self.rows.iter();
        let rows = rows.map(|(name, value)| vec![name.clone(), value.shown()]);
        let table = Table {
            head: Vec::new(),
            rows: rows.collect(),
        };
        let figures = Section {
            title: title.to_owned(),
            note: self.conclusion.join(" "),
            table,
            ..Section::default()
        };
        let plots = self.plots.iter().map(|(title, plot)| Section {
            title: title.clone(),
            plot: Some(plot.clone()),
            ..Section::default()
        });
        [figures].into_iter().chain(plots).collect()
    }

    /// One line a row, the values under each other.
    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|(name, _)| name.len()).max();
        let width = width.unwrap_or_default();
        let mut table = String::new();
        for (name, value) in &self.rows {
            let value = value.shown();
            // Writing to a String does not fail.
            let _ = writeln!(table, "{name:<width$}  {value:>16}");
        }
        for sentence in &self.conclusion {
            let _ = write!(table, "\n{sentence}");
        }
        if !self.conclusion.is_empty() {
            table.push('\n');
        }
        table
    }

    /// One JSON object on one line: the rows, and the sentences below them as an array.
    pub(crate) fn json(&self) -> String {
        let mut members: Vec<String> = self
            .rows
            .iter()
            .map(|(name, value)| match value {
                Value::Text(text) => format!("{}:{}", quoted(name), quoted(text)),
                Value::Whole(number) => format!("{}:{number}", quoted(name)),
                Value::Real(number) => format!("{}:{number}", quoted(name)),
            })
            .collect();
        if !self.conclusion.is_empty() {
            let sentences: Vec<_> = self.conclusion.iter().map(|text| quoted(text)).collect();
            members.push(format!("\"conclusion\":[{}]", sentences.join(",")));
        }
        format!("{{{}}}", members.join(","))
    }
}

impl Value {
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Whole(number) => number.to_string(),
            Self::Real(number) => format!("{number:.3}"),
        }
    }
}

/// A JSON string (RFC 8259 section 7).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        let mut report = Report::default();
        report.text("scenario", "a \"b\"\n");
        report.whole("streams", 8);
        report.real("seconds", 0.5);
        report
    }

    #[test]
    fn json_is_one_flat_object() {
        let expected = r#"{"scenario":"a \"b\"\u000a","streams":8,"seconds":0.5}"#;
        assert_eq!(sample().json(), expected);
    }

    #[test]
    fn numbers_are_found_by_name_and_text_is_none() {
        let report = sample();
        assert_eq!(report.number("streams"), Some(8.0));
        assert_eq!(report.number("seconds"), Some(0.5));
        assert_eq!(report.number("scenario"), None);
        assert_eq!(report.number("missing"), None);
    }

    #[test]
    fn a_table_has_a_line_for_each_row_that_is_not_text_of_several() {
        let mut report = Report::default();
        report.whole("streams", 8);
        report.real("seconds", 0.5);
        let expected = "streams                 8\nseconds             0.500\n";
        assert_eq!(report.table(), expected);
    }
}
