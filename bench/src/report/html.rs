//! A page for readers: self-contained, without scripts and without external files.

use std::fmt::Write as _;

use super::machine::Machine;
use super::plot::Plot;

/// One part of a page.
#[derive(Debug, Clone, Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    /// A sentence below the title; may be empty.
    pub(crate) note: String,
    pub(crate) table: Table,
    pub(crate) plot: Option<Plot>,
}

/// Rows of text below a header. All cells but the first are right-aligned.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

const STYLE: &str = "body{font:16px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
padding:0 1rem;color:#1a1a1a;background:#fff}\
table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}\
th,td{padding:.2rem .8rem;border-bottom:1px solid #ddd;text-align:right}\
th:first-child,td:first-child{text-align:left}\
code{overflow-wrap:anywhere}.scroll{overflow-x:auto}svg{max-width:100%;height:auto}\
.legend span{margin-right:1.2rem;white-space:nowrap}\
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.4em}";

/// The whole page.
///
/// # Errors
///
/// Where a plot cannot be drawn.
pub(crate) fn page(title: &str, machine: &Machine, sections: &[Section]) -> anyhow::Result<String> {
    let title = escaped(title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
    );
    for section in sections {
        page.push_str(&section.html()?);
    }
    page.push_str("<h2>Machine</h2>\n");
    page.push_str(&facts(machine));
    page.push_str("</body></html>\n");
    Ok(page)
}

fn facts(machine: &Machine) -> String {
    let rows = machine.facts.iter().map(|(name, value)| {
        let (name, value) = (escaped(name), escaped(value));
        format!("<tr><th>{name}</th><td style=\"text-align:left\"><code>{value}</code></td></tr>\n")
    });
    format!("<table>\n{}</table>\n", rows.collect::<String>())
}

impl Section {
    fn html(&self) -> anyhow::Result<String> {
        let mut html = format!("<h2>{}</h2>\n", escaped(&self.title));
        if !self.note.is_empty() {
            // Writing to a String does not fail, here and below.
            let _ = writeln!(html, "<p>{}</p>", escaped(&self.note));
        }
        if let Some(plot) = &self.plot {
            let _ = writeln!(html, "<p class=\"legend\">{}</p>", legend(plot));
            html.push_str(&plot.svg()?);
        }
        html.push_str(&self.table.html());
        Ok(html)
    }
}

fn legend(plot: &Plot) -> String {
    let entry = |(name, colour): (&str, String)| {
        let name = escaped(name);
        format!("<span><i style=\"background:{colour}\"></i>{name}</span>")
    };
    plot.legend().into_iter().map(entry).collect()
}

impl Table {
    fn html(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut html = String::from("<div class=\"scroll\"><table>\n");
        if !self.head.is_empty() {
            html.push_str(&row("th", &self.head));
        }
        for cells in &self.rows {
            html.push_str(&row("td", cells));
        }
        html.push_str("</table></div>\n");
        html
    }
}

fn row(tag: &str, cells: &[String]) -> String {
    let cells = cells
        .iter()
        .map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell)));
    format!("<tr>{}</tr>\n", cells.collect::<String>())
}

/// Text with escapes for an element or a quoted attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plot::Lines;

    #[test]
    fn no_text_from_outside_becomes_markup() {
        let evil = "</style><script>alert('x')</script>&\"";
        let own = || evil.to_owned();
        let section = Section {
            title: own(),
            note: own(),
            table: Table {
                head: vec![own()],
                rows: vec![vec![own()]],
            },
            plot: Some(Plot::Lines(Lines {
                across: own(),
                up: own(),
                series: vec![(own(), vec![(1.0, 1.0), (2.0, 2.0)])],
                ..Lines::default()
            })),
        };
        let machine = Machine {
            facts: vec![(own(), own())],
        };
        let page = page(evil, &machine, &[section]).expect("it can be drawn");
        assert!(!page.contains("<script"), "{page}");
        assert_eq!(page.matches("</style>").count(), 1);
    }

    #[test]
    fn a_page_is_whole_and_asks_for_nothing() {
        let section = Section {
            title: "Bulk".to_owned(),
            ..Section::default()
        };
        let page = page("Run", &Machine::default(), &[section]).expect("nothing to draw");
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        for outside in ["src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
