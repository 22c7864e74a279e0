//! The sheet as text of 80 columns.

use std::fmt::Write as _;

use super::super::socket::escape;
use super::content::{Connection, Fact, RouteSheet, Sheet, SheetSection, SheetValue};

/// The most columns of a line. A longer address is not broken.
const COLUMNS: usize = 80;
/// Where a value begins.
const VALUE_COLUMN: usize = 30;
/// A blank that a person fills in.
const BLANK: &str = "______________________";
/// A blank for a port.
const BLANK_PORT: &str = "_______";

/// Writes the sheet.
pub(super) fn of(sheet: &Sheet) -> String {
    let mut out = String::new();
    let title = format!("Connections of {}", sheet.title);
    let _ = writeln!(out, "{title}\n{}\n", "=".repeat(title.chars().count()));
    paragraph(
        &mut out,
        "",
        "A blank is for what this site does not know. Fill it in, and send the sheet to the teams for firewalls, archives and modalities of both sites.",
    );
    out.push('\n');
    facts(&mut out, &sheet.facts);
    for route in &sheet.routes {
        self::route(&mut out, route);
    }
    // Names come from a certificate, and reach a terminal.
    let lines = out.lines().map(|line| escape(line) + "\n");
    lines.collect()
}

fn route(out: &mut String, route: &RouteSheet) {
    let title = format!("Route {}", route.name);
    let _ = writeln!(out, "\n{title}\n{}\n", "-".repeat(title.chars().count()));
    paragraph(out, "", &route.summary);
    out.push_str("\nAllow in the firewalls (TCP, connections begin at \"from\")\n");
    let mut site = "";
    for connection in &route.connections {
        if connection.site != site {
            site = &connection.site;
            let _ = writeln!(out, "\n  at {site}");
        }
        self::connection(out, connection);
    }
    for SheetSection { title, facts } in &route.sections {
        out.push('\n');
        paragraph(out, "", title);
        out.push('\n');
        self::facts(out, facts);
    }
    out.push_str("\nTest\n\n");
    for (number, step) in (1..).zip(&route.tests) {
        paragraph(out, &format!("  {number}. "), &step.text);
        if let Some(command) = &step.command {
            let _ = writeln!(out, "     {command}");
        }
    }
}

fn connection(out: &mut String, connection: &Connection) {
    let Connection {
        from,
        to,
        port,
        carries,
        ..
    } = connection;
    value(
        out,
        &format!("    from  {}", from.what),
        shown(&from.address),
    );
    value(
        out,
        &format!("    to    {}", to.what),
        &format!("{}, port {}", shown(&to.address), shown_port(port)),
    );
    value(out, "          carries", carries);
}

fn facts(out: &mut String, facts: &[Fact]) {
    for fact in facts {
        value(out, &format!("  {}", fact.label), shown(&fact.value));
    }
}

fn shown_port(cell: &SheetValue) -> &str {
    match cell {
        SheetValue::Known(text) => text,
        SheetValue::Blank => BLANK_PORT,
    }
}

fn shown(cell: &SheetValue) -> &str {
    match cell {
        SheetValue::Known(text) => text,
        SheetValue::Blank => BLANK,
    }
}

/// A label, and a value in its column: on the next line if the label is long.
fn value(out: &mut String, label: &str, value: &str) {
    let width = label.chars().count();
    let start = match width.saturating_add(2) <= VALUE_COLUMN {
        true => format!("{label:<VALUE_COLUMN$}"),
        false => format!("{label}\n{:VALUE_COLUMN$}", ""),
    };
    out.push_str(&start);
    wrapped(out, VALUE_COLUMN, value);
}

fn paragraph(out: &mut String, start: &str, text: &str) {
    out.push_str(start);
    wrapped(out, start.chars().count(), text);
}

/// Words in lines that begin at this column; the first line has begun.
fn wrapped(out: &mut String, column: usize, text: &str) {
    let mut at = column;
    for word in text.split(' ') {
        let width = word.chars().count();
        if at > column && at.saturating_add(width).saturating_add(1) > COLUMNS {
            let _ = write!(out, "\n{:column$}", "");
            at = column;
        }
        if at > column {
            out.push(' ');
            at = at.saturating_add(1);
        }
        out.push_str(word);
        at = at.saturating_add(width);
    }
    out.push('\n');
}
