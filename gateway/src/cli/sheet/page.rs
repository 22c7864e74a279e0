//! The sheet as one HTML file, for a browser or a printer. It loads nothing and has no script.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::content::{Connection, Fact, RouteSheet, Sheet, SheetValue};

/// Black on white, so that it prints as it looks. The contrast of every colour is above 7 to 1 (WCAG 2.2, level AAA).
const STYLE: &str = include_str!("style.css");

/// Writes the document.
pub(super) fn document(sheet: &Sheet) -> String {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Connections of " (sheet.title) }
                meta name="viewport" content="width=device-width, initial-scale=1";
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Connections of " (sheet.title) }
                    p {
                        "An empty box is for what this site does not know. Fill it in, and send the sheet to the teams for firewalls, \
                         archives and modalities of both sites."
                    }
                    (facts("All routes", &sheet.facts))
                    @for route in &sheet.routes { (self::route(route)) }
                }
            }
        }
    };
    let mut text = document.into_string();
    text.push('\n');
    text
}

fn route(route: &RouteSheet) -> Markup {
    html! {
        section {
            h2 { "Route " (route.name) }
            p { (route.summary) }
            (connections(route))
            @for section in &route.sections {
                h3 { (section.title) }
                (facts(&section.title, &section.facts))
            }
            h3 { "Test" }
            ol {
                @for step in &route.tests {
                    li {
                        (step.text)
                        @if let Some(command) = &step.command { br; code { (command) } }
                    }
                }
            }
        }
    }
}

fn connections(route: &RouteSheet) -> Markup {
    html! {
        h3 { "Allow in the firewalls (TCP)" }
        table {
            caption { "Connections of route " (route.name) ", which begin at \"from\"" }
            thead {
                tr {
                    @for head in ["At", "From", "Address", "To", "Address", "Port", "Carries"] {
                        th scope="col" { (head) }
                    }
                }
            }
            tbody {
                @for Connection { site, from, to, port, carries } in &route.connections {
                    tr {
                        th scope="row" { (site) }
                        td { (from.what) }
                        td { (cell(&from.address)) }
                        td { (to.what) }
                        td { (cell(&to.address)) }
                        td { (cell(port)) }
                        td { (carries) }
                    }
                }
            }
        }
    }
}

fn facts(caption: &str, facts: &[Fact]) -> Markup {
    html! {
        table {
            caption.hidden { (caption) }
            tbody {
                @for fact in facts {
                    tr { th scope="row" { (fact.label) } td { (cell(&fact.value)) } }
                }
            }
        }
    }
}

fn cell(cell: &SheetValue) -> Markup {
    match cell {
        SheetValue::Known(text) => html! { (text) },
        SheetValue::Blank => html! { span.blank { span.hidden { "to fill in" } } },
    }
}
