//! The page as a whole, and the parts of it that change.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::history::History;
use super::{routes, sections, words};
use crate::control::GatewayStatus;

/// The changing parts of the page for one state of the gateway.
#[derive(Debug, Default)]
pub(crate) struct WebPage {
    host: String,
    // The routes with a card, in the order of the page.
    layout: Vec<String>,
    // The parts outside of the routes.
    parts: Vec<PagePart>,
    // Two for each card: its numbers and its plots.
    cards: Vec<PagePart>,
}

#[derive(Debug, PartialEq, Eq)]
struct PagePart {
    id: String,
    html: String,
}

impl PagePart {
    fn new(id: impl Into<String>, html: Markup) -> Self {
        Self {
            id: id.into(),
            html: html.into_string(),
        }
    }
}

impl WebPage {
    /// Renders the state of the gateway.
    pub(crate) fn new(status: &GatewayStatus, history: &History) -> Self {
        let shown = routes::shown(&status.routes);
        let cards = shown.iter().enumerate().flat_map(|(number, route)| {
            let history = history.route(&route.name);
            [
                PagePart::new(format!("route-{number}"), routes::card(route)),
                PagePart::new(format!("plots-{number}"), routes::plots(route, history)),
            ]
        });
        Self {
            host: words::outside(&status.host),
            layout: shown.iter().map(|route| route.name.clone()).collect(),
            cards: cards.collect(),
            parts: vec![
                PagePart::new("about", sections::about(status)),
                PagePart::new("state", sections::state(status)),
                PagePart::new("spoken", sections::spoken(status)),
                PagePart::new("picture", routes::picture(status, &shown)),
                PagePart::new("open", sections::open(status)),
                PagePart::new("certificates", sections::certificates(status)),
                PagePart::new("refusals", sections::refusals(&status.refusals)),
                PagePart::new("machine", sections::machine(status)),
            ],
        }
    }

    /// The parts that differ from those of `before`: the id of an element and its new content.
    pub(crate) fn changes(&self, before: &Self) -> Vec<(&str, String)> {
        let new = self
            .parts
            .iter()
            .filter(|part| !before.parts.contains(part));
        let mut changes: Vec<_> = new
            .map(|part| (part.id.as_str(), part.html.clone()))
            .collect();
        if self.layout == before.layout {
            let new = self
                .cards
                .iter()
                .filter(|part| !before.cards.contains(part));
            changes.extend(new.map(|part| (part.id.as_str(), part.html.clone())));
        } else {
            changes.push(("routes", self.routes().into_string()));
        }
        changes
    }

    fn part(&self, id: &str) -> Markup {
        let part = self.parts.iter().find(|part| part.id == id);
        html! { div id=(id) { (PreEscaped(part.map_or("", |part| part.html.as_str()))) } }
    }

    fn routes(&self) -> Markup {
        html! {
            @for card in self.cards.chunks(2) {
                article.card {
                    @for part in card {
                        div id=(part.id) { (PreEscaped(&part.html)) }
                    }
                }
            }
        }
    }

    /// The whole document.
    pub(crate) fn document(&self) -> String {
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    title { "wardgate " (self.host) }
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    link rel="icon" href=(ICON);
                    link rel="stylesheet" href="/style.css";
                    script src="/page.js" defer {}
                }
                body {
                    a.skip href="#main" { "Skip to the state of the routes" }
                    header {
                        div.brand {
                            (sections::logo())
                            h1 { "wardgate " span.host { (self.host) } }
                        }
                        (self.part("about"))
                        p #live role="status" {
                            "This page shows the state at the time above. "
                            a href="/" { "Reload the page" } " for a newer one."
                        }
                    }
                    main #main tabindex="-1" {
                        section aria-label="State" { (self.part("state")) }
                        // Numbers in the reasons may change each second, so only this sentence is read aloud.
                        div.spoken aria-live="polite" { (self.part("spoken")) }
                        (self.section("sites-title", "Sites and routes", self.part("picture")))
                        (self.section("routes-title", "Routes", html! { div #routes { (self.routes()) } }))
                        (self.section("open-title", "Open connections", self.part("open")))
                        (self.section("certificates-title", "Certificates and revocation lists", self.part("certificates")))
                        (self.section("refusals-title", "Refused connections", self.part("refusals")))
                        (self.section("machine-title", "This machine", self.part("machine")))
                    }
                    footer {
                        p { "This page changes nothing, and it holds no patient data." }
                        p { "The same data: " code { "wardgate status" } ", " a href="/metrics" { "metrics for Prometheus" } "." }
                    }
                }
            }
        };
        document.into_string()
    }

    fn section(&self, id: &str, title: &str, content: Markup) -> Markup {
        html! {
            section aria-labelledby=(id) { h2 id=(id) { (title) } (content) }
        }
    }
}

// A shield, without a request for another file.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E%3Cpath \
                    fill='%230b5cad' d='M12 1 3 5v6c0 6 4 10 9 12 5-2 9-6 9-12V5z'/%3E%3C/svg%3E";
