//! Reads the configuration of HAProxy (its configuration manual, versions 1.8 to 3.0) and drafts a route for each listener
//! in mode tcp that has TLS on one side.

mod differing;
mod keywords;
mod lines;
mod options;
mod parts;
mod peer;
mod route;
mod server;
mod settings;
mod sources;
mod targets;

use std::collections::BTreeMap;

use super::ImportContext;
use super::draft::NewConfig;
use super::report::{ImportClass, ImportReport};
use lines::{ProxySection, WordLine};

/// What `global` says about all listeners.
#[derive(Debug, Default)]
struct Global {
    /// Folders at which relative paths of certificates and of CAs begin.
    crt_base: Option<String>,
    ca_base: Option<String>,
    /// Whether `ssl-default-bind-options` and `ssl-default-server-options` allow TLS 1.3 alone.
    is_bind_13: bool,
    is_server_13: bool,
}

/// A frontend, backend or listen section with the defaults that it inherits.
struct Proxy<'a> {
    section: &'a ProxySection,
    /// The lines that count, those of the defaults first.
    lines: Vec<&'a WordLine>,
    /// Lines that would count, and cannot be read exactly.
    doubtful: Vec<&'a WordLine>,
}

impl<'a> Proxy<'a> {
    fn kind(&self) -> &'a str {
        self.section.header.word(0)
    }

    fn name(&self) -> &'a str {
        self.section.header.word(1)
    }

    /// The last line that begins with these words.
    fn last(&self, words: &[&str]) -> Option<&'a WordLine> {
        self.lines
            .iter()
            .rev()
            .find(|line| line.begins(words))
            .copied()
    }

    /// All lines that begin with this word.
    fn all(&self, word: &'static str) -> impl Iterator<Item = &'a WordLine> {
        self.lines
            .iter()
            .filter(move |line| line.word(0) == word)
            .copied()
    }
}

/// Imports the text of a configuration.
pub(super) fn import(text: &str, context: &ImportContext) -> (NewConfig, ImportReport) {
    let mut report = ImportReport::default();
    let mut draft = NewConfig::default();
    let (sections, outside) = lines::sections(text);
    let all = || {
        let of_sections = sections
            .iter()
            .flat_map(|section| std::iter::once(&section.header).chain(&section.lines));
        outside.iter().chain(of_sections)
    };
    for line in all() {
        if let Some(doubt) = line.doubt {
            report.add(&line.place, &line.text, ImportClass::NotCarried, doubt);
        }
    }
    let global = global(&sections, context, &mut draft, &mut report);
    let proxies = proxies(&sections);
    for proxy in proxies.iter().filter(|proxy| proxy.kind() != "backend") {
        route::import(proxy, &proxies, &global, &mut draft, context, &mut report);
    }
    for section in &sections {
        keywords::report_section(section, &mut report);
    }
    for line in all() {
        if !report.mentions(&line.place) {
            let sentence = "no route that is carried uses this line";
            report.add(&line.place, &line.text, ImportClass::NotCarried, sentence);
        }
    }
    (draft, report)
}

fn global(
    sections: &[ProxySection],
    context: &ImportContext,
    draft: &mut NewConfig,
    report: &mut ImportReport,
) -> Global {
    let mut global = Global::default();
    let sections = sections
        .iter()
        .filter(|section| section.header.word(0) == "global");
    for line in sections.flat_map(|section| &section.lines) {
        match line.word(0) {
            "crt-base" => global.crt_base = Some(context.path(line.word(1))),
            "ca-base" => global.ca_base = Some(context.path(line.word(1))),
            name @ ("ssl-default-bind-options" | "ssl-default-server-options") => {
                let options = options::read(line.words.get(1..).unwrap_or_default());
                if options.iter().any(options::is_13_alone) {
                    match name {
                        "ssl-default-bind-options" => global.is_bind_13 = true,
                        _ => global.is_server_13 = true,
                    }
                    let sentence = "TLS 1.3 alone: policy = \"hscn-tls13\" of each route";
                    report.add(&line.place, &line.text, ImportClass::Carried, sentence);
                }
            }
            "maxconn" => {
                let number = line.word(1).parse::<u64>().ok();
                match number.filter(|number| (64..=1 << 20).contains(number)) {
                    Some(number) => {
                        draft.gateway.insert("connections", number.to_string());
                        let sentence = format!("connections = {number} in [gateway]");
                        report.add(&line.place, &line.text, ImportClass::Carried, sentence);
                    }
                    None => {
                        let sentence = "`connections` of [gateway] is 64 to 1048576; without it, the limit of open files \
                            decides";
                        report.add(&line.place, &line.text, ImportClass::NotCarried, sentence);
                    }
                }
            }
            _ => {}
        }
    }
    global
}

/// The proxies, each with the lines of its defaults: those that it names, or the latest above it.
fn proxies(sections: &[ProxySection]) -> Vec<Proxy<'_>> {
    let mut latest: Option<&ProxySection> = None;
    let mut named: BTreeMap<&str, &ProxySection> = BTreeMap::new();
    let mut proxies = Vec::new();
    for section in sections {
        match section.header.word(0) {
            "defaults" => {
                latest = Some(section);
                named.insert(section.header.word(1), section);
            }
            "frontend" | "backend" | "listen" => {
                let from = match section.header.word(2) {
                    "from" => named.get(section.header.word(3)).copied(),
                    _ => latest,
                };
                let inherited = from.into_iter().flat_map(|defaults| &defaults.lines);
                let lines = inherited.chain(&section.lines);
                let (lines, doubtful) = lines.partition(|line| line.doubt.is_none());
                proxies.push(Proxy {
                    section,
                    lines,
                    doubtful,
                });
            }
            _ => {}
        }
    }
    proxies
}
