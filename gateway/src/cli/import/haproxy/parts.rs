//! What a route of HAProxy is made of.

use super::super::ImportContext;
use super::super::address::ProtocolGuess;
use super::super::draft::{ModeDraft, quoted};
use super::Proxy;
use super::lines::WordLine;
use super::server::ServerLine;

/// Options of one side of a route, as HAProxy has them on `bind` and `server` lines.
pub(super) type Options<'a> = &'a [(&'a str, &'a str)];

/// What a route is made of.
pub(super) struct Parts<'a> {
    pub(super) front: &'a Proxy<'a>,
    pub(super) back: &'a Proxy<'a>,
    pub(super) bind: &'a WordLine,
    pub(super) bind_options: Vec<(&'a str, &'a str)>,
    pub(super) servers: Vec<ServerLine<'a>>,
    pub(super) mode: ModeDraft,
    pub(super) protocol: ProtocolGuess,
    pub(super) name: String,
}

/// The value of the last option of this name.
pub(super) fn last<'a>(options: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    let mut last = options.iter().rev();
    last.find(|(known, _)| *known == name)
        .map(|(_, value)| *value)
}

/// A path below the folder of `global`, if that has one.
pub(super) fn based(base: Option<&str>, path: &str, context: &ImportContext) -> String {
    match base {
        Some(base) => std::path::Path::new(base).join(path).display().to_string(),
        None => context.path(path),
    }
}

/// A duration in TOML.
pub(super) fn duration(millis: u64) -> String {
    if millis.is_multiple_of(1000) {
        quoted(&format!("{}s", millis / 1000))
    } else {
        quoted(&format!("{millis}ms"))
    }
}
