//! What is judged between routes: one name for two, two listeners in one place, and routes that
//! feed themselves.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use super::address::{covers, reaches};
use super::draft::Draft;
use super::problem::{Problems, quoted};
use super::{Located, Mode, Target};

/// Tells of names that stand more than once.
pub(super) fn check_names(drafts: &[Draft<'_>], problems: &mut Problems) {
    let mut lines = HashMap::new();
    for name in drafts.iter().filter_map(|draft| draft.written.name.value()) {
        if let Some(first) = lines.get(name.value.as_str()) {
            let reason =
                format!("is already used by the route of line {first}; give each route its own");
            problems.accept::<()>("route: ", "name", name, Err(reason));
        } else {
            lines.insert(name.value.as_str(), name.line);
        }
    }
}

/// Tells of listeners that cannot both be opened, and of loops.
pub(super) fn check_addresses(
    drafts: &[Draft<'_>],
    metrics: Option<(&Located<String>, SocketAddr)>,
    problems: &mut Problems,
) {
    for (at, draft) in drafts.iter().enumerate() {
        let earlier = drafts.get(..at).unwrap_or_default();
        if let Some(text) = clash_of(draft, earlier) {
            let line = draft
                .listen
                .as_ref()
                .map_or(draft.written.line, |listen| listen.line);
            problems.wrong(line, text);
        }
    }
    LoopSearch::new(drafts).run(problems);
    if let Some((written, address)) = metrics {
        check_metrics(written, address, drafts, problems);
    }
}

/// The first of the `earlier` routes that listens where `draft` does, in words.
fn clash_of(draft: &Draft<'_>, earlier: &[Draft<'_>]) -> Option<String> {
    let own = draft.listen.as_ref()?.value;
    let (other, taken) = earlier.iter().find_map(|other| {
        let taken = other.listen.as_ref()?;
        // Linux lets two sockets share an address when each is bound to an interface of its own.
        let are_apart = match (&draft.interface, &other.interface) {
            (Some(own), Some(other)) => own != other,
            _ => false,
        };
        (overlap(own, taken.value) && !are_apart).then_some((other, taken))
    })?;
    let scope = &draft.written.scope;
    let own_text = quoted(&draft.written.listen.value()?.value);
    let taken_text = quoted(&other.written.listen.value()?.value);
    let by = format!("{} (line {})", name(other), taken.line);
    if own != taken.value {
        return Some(format!(
            "{scope}listen {own_text} and {taken_text} of {by} overlap; {}, so give each route an \
             address or port of its own",
            wide_text(own, taken.value)
        ));
    }
    Some(match (draft.mode, other.mode) {
        (Some(Mode::Terminate), Some(Mode::Originate)) => {
            format!(
                "{scope}listen {own_text} would take TLS where {by} takes plaintext; give each its \
                 own address or port"
            )
        }
        (Some(Mode::Originate), Some(Mode::Terminate)) => {
            format!(
                "{scope}listen {own_text} would take plaintext where {by} takes TLS; give each its \
                 own address or port"
            )
        }
        _ => format!(
            "{scope}listen {own_text} is already used by {by}; give each route its own address or \
             port"
        ),
    })
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    covers(one, other) || covers(other, one)
}

fn wide_text(one: SocketAddr, other: SocketAddr) -> &'static str {
    let wide = if covers(one, other) { one } else { other };
    match wide {
        SocketAddr::V4(_) => "0.0.0.0 is every IPv4 address of this machine",
        SocketAddr::V6(_) => "[::] is every address of this machine, IPv4 too",
    }
}

fn name<'d>(draft: &'d Draft<'_>) -> &'d str {
    draft.written.scope.trim_end_matches(": ")
}

/// Tells of targets that lead back to where the connection came from, over one route or several.
struct LoopSearch<'a, 'd> {
    drafts: &'a [Draft<'d>],
    /// Routes on the way from the first to the one at hand.
    open: Vec<usize>,
    done: HashSet<usize>,
}

impl<'a, 'd> LoopSearch<'a, 'd> {
    fn new(drafts: &'a [Draft<'d>]) -> Self {
        Self {
            drafts,
            open: Vec::new(),
            done: HashSet::new(),
        }
    }

    fn run(&mut self, problems: &mut Problems) {
        for at in 0..self.drafts.len() {
            self.visit(at, problems);
        }
    }

    /// No deeper than there are routes.
    fn visit(&mut self, at: usize, problems: &mut Problems) {
        let Some(draft) = self.drafts.get(at).filter(|_| !self.done.contains(&at)) else {
            return;
        };
        self.open.push(at);
        for target in &draft.targets {
            for (next, other) in listeners_at(self.drafts, &target.value) {
                if self.open.contains(&next) {
                    problems.wrong(target.line, loop_text(draft, target, other, at == next));
                } else {
                    self.visit(next, problems);
                }
            }
        }
        self.open.pop();
        self.done.insert(at);
    }
}

fn listeners_at<'a, 'd>(
    drafts: &'a [Draft<'d>],
    target: &Target,
) -> impl Iterator<Item = (usize, &'a Draft<'d>)> {
    let is_reached = |draft: &Draft<'_>| {
        draft
            .listen
            .as_ref()
            .is_some_and(|listen| reaches(target, listen.value))
    };
    drafts
        .iter()
        .enumerate()
        .filter(move |(_, draft)| is_reached(draft))
}

fn loop_text(
    draft: &Draft<'_>,
    target: &Located<Target>,
    other: &Draft<'_>,
    is_own: bool,
) -> String {
    let Draft { written, .. } = draft;
    let what = if is_own {
        "this route listens, so it would connect to itself".to_owned()
    } else {
        format!(
            "{} listens, and its connections come back here",
            name(other)
        )
    };
    let target = &target.value;
    format!(
        "{}target \"{target}\" is where {what}; write where the stream is to go",
        written.scope
    )
}

fn check_metrics(
    written: &Located<String>,
    address: SocketAddr,
    drafts: &[Draft<'_>],
    problems: &mut Problems,
) {
    let taken = drafts.iter().find(|draft| {
        let listen = draft.listen.as_ref();
        listen.is_some_and(|listen| overlap(listen.value, address))
    });
    if let Some(draft) = taken {
        let reason = format!(
            "is where {} listens (line {}); choose another port",
            name(draft),
            draft
                .listen
                .as_ref()
                .map_or(draft.written.line, |listen| listen.line)
        );
        problems.accept::<()>("[gateway]: ", "metrics", written, Err(reason));
    }
}
