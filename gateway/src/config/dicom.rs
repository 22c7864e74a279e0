//! The rules of a DICOM route: AE titles, commands, associations and targets by title.

use super::bind;
use super::by_title::{self, ByTitle};
use super::file;
use super::list::{self, List, values};
use super::observe::BLIND;
use super::peers::{PeerTables, RoutePeers};
use super::problem::Problems;
use super::targets::Expected;
use super::value;
use super::{Located, Mode, Observe, PeerName, Protocol, RouteConfig, Target};
use crate::config::limits::ASSOCIATIONS_MAX;
use crate::dicom::{AeTitle, DimseCommand};

/// The rules of a DICOM route, and its targets by title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dicom {
    /// Called titles that are allowed; `None` allows every title. Never empty, at most
    /// `limits::AE_TITLES_MAX`.
    pub called: Option<Vec<AeTitle>>,
    /// Calling titles that are allowed; `None` allows every title. Never empty, at most
    /// `limits::AE_TITLES_MAX`.
    pub calling: Option<Vec<AeTitle>>,
    /// Calling titles that only the given peers may use; every peer may use other titles. No title is in the
    /// list twice, and no list of peers is empty.
    pub bound: Vec<(AeTitle, Vec<PeerName>)>,
    /// Commands that either side may send; `None` allows every command. Never empty.
    pub commands: Option<Vec<DimseCommand>>,
    /// Whether violations of the rules in this struct are refused; if false, they are only logged.
    pub enforce: bool,
    /// Associations that may be open at a time; `None` is no limit for this route.
    pub associations_max: Option<u32>,
    /// The part of `associations_max` that one peer may have open, as written: at most `associations_max`,
    /// and `None` on routes with mode `Originate`. `RouteConfig::associations_per_peer` gives the limit that
    /// applies.
    pub associations_per_peer: Option<u32>,
    /// Targets by called title. No title is in two of them, and all are in `called` if it is set. The targets
    /// of the route are for all other titles; if the route has no targets, other titles are refused.
    pub by_title: Vec<ByTitle>,
    /// The route by which associations of the other site arrive. The route exists, carries DICOM and has the
    /// opposite mode.
    pub returns: Option<String>,
}

/// The other settings that these keys depend on.
#[derive(Clone, Copy)]
pub(super) struct RouteSettings<'a> {
    pub(super) mode: Option<Mode>,
    pub(super) protocol: Option<Protocol>,
    pub(super) observe: Observe,
    pub(super) tables: &'a PeerTables,
    pub(super) peers: &'a RoutePeers,
    pub(super) expected: &'a Expected<'a>,
}

/// The rules of a route, and every target in them.
pub(super) struct Resolved {
    /// `None` on routes that do not read DICOM.
    pub(super) dicom: Option<Dicom>,
    /// The targets of all `[[route.ae]]`.
    pub(super) targets: Vec<Located<Target>>,
}

/// Reads the keys that apply only to DICOM.
pub(super) fn resolve(
    route: &file::Route,
    settings: RouteSettings<'_>,
    problems: &mut Problems,
) -> Resolved {
    let scope = &route.scope;
    let mut titles = |key, written: &file::Texts| {
        let list = written.value()?;
        Some(list::titles(scope, key, list, problems))
    };
    let called = titles("called_ae", &route.called_ae);
    let calling = titles("calling_ae", &route.calling_ae);
    let bound = bind::resolve(route, settings.tables, problems);
    let tables = by_title::resolve(route, settings.expected, problems);
    let is_fit = refuse_unfit(route, settings, problems);
    if is_fit {
        let calling = calling.as_deref();
        bind::check(
            route,
            settings.mode,
            &bound,
            settings.peers,
            calling,
            problems,
        );
        by_title::check(route, &tables, called.as_deref(), problems);
    }
    let dicom = Dicom {
        called: called.map(values),
        calling: calling.map(values),
        bound: bind::meant(&bound),
        commands: commands(route, problems),
        enforce: enforce(route, problems),
        associations_max: associations(route, problems),
        associations_per_peer: associations_per_peer(route, settings.mode, problems),
        by_title: tables.iter().map(by_title::meant).collect(),
        returns: route.returns.value().map(|name| name.value.clone()),
    };
    let looks =
        settings.protocol == Some(Protocol::Dicom) && settings.mode != Some(Mode::Passthrough);
    Resolved {
        dicom: looks.then_some(dicom),
        targets: tables.into_iter().flat_map(|table| table.targets).collect(),
    }
}

fn commands(route: &file::Route, problems: &mut Problems) -> Option<Vec<DimseCommand>> {
    let list = List {
        scope: &route.scope,
        key: "commands",
        noun: "command",
        max: DimseCommand::ALL.len(),
        empty: "is empty, so no command would be allowed; list the allowed commands, or remove it",
        long: "name each of them once",
    };
    let known = DimseCommand::ALL.map(|command| (command.name(), command));
    let word = |text: &str| value::word(text, &known);
    Some(values(list.read(route.commands.value()?, word, problems)))
}

fn enforce(route: &file::Route, problems: &mut Problems) -> bool {
    let Some(text) = route.rules.value() else {
        return true;
    };
    let read = value::word(&text.value, &[("enforce", true), ("report", false)]);
    let read = problems.accept(&route.scope, "rules", text, read);
    read.unwrap_or(true)
}

fn associations(route: &file::Route, problems: &mut Problems) -> Option<u32> {
    // LIMIT: `ASSOCIATIONS_MAX`.
    let max = ASSOCIATIONS_MAX.into();
    let read = problems.accept_number(&route.scope, "associations", &route.associations, max)?;
    u32::try_from(read).ok()
}

fn associations_per_peer(
    route: &file::Route,
    mode: Option<Mode>,
    problems: &mut Problems,
) -> Option<u32> {
    let (scope, written) = (&route.scope, &route.associations_per_peer);
    let key = "associations_per_peer";
    if let (Some(Mode::Originate), Some(number)) = (mode, written.value()) {
        let text = format!(
            "{scope}{key} applies only to mode \"terminate\": here applications connect in plaintext and prove no \
                identity; remove it, and limit all associations with associations"
        );
        problems.wrong(number.line, text);
        return None;
    }
    // LIMIT: `ASSOCIATIONS_MAX`.
    let number = problems.accept_number(scope, key, written, ASSOCIATIONS_MAX.into())?;
    let all = route.associations.value().map(|all| all.value);
    let all = all.and_then(|all| u64::try_from(all).ok());
    if let (Some(all), Some(written)) = (all.filter(|all| *all < number), written.value()) {
        let text = format!(
            "{scope}{key} {number} is more than associations {all}, which all peers share; write {all} or less"
        );
        problems.wrong(written.line, text);
    }
    u32::try_from(number).ok()
}

impl RouteConfig {
    /// Associations that one peer may have open at a time on this route; `None` if only the route as a whole
    /// has a limit, or no limit.
    ///
    /// If `associations_per_peer` is not written, `associations` reserves one association for each other
    /// peer, but at most half of all. A greedy peer therefore excludes no other peer, and on a route with
    /// many peers most associations remain for a peer that needs them.
    #[must_use]
    pub fn associations_per_peer(&self) -> Option<u32> {
        let dicom = self.dicom.as_ref()?;
        let tls = self.tls.as_ref().filter(|_| self.mode == Mode::Terminate)?;
        let share = || Some(share(dicom.associations_max?, tls.sites().count()));
        dicom.associations_per_peer.or_else(share)
    }
}

fn share(associations: u32, peers: usize) -> u32 {
    let others = u32::try_from(peers.saturating_sub(1)).unwrap_or(u32::MAX);
    associations.saturating_sub(others.min(associations / 2))
}

/// Reports keys that are not available on this route; returns whether there are none.
fn refuse_unfit(route: &file::Route, settings: RouteSettings<'_>, problems: &mut Problems) -> bool {
    let written = written_keys(route);
    let (needless, reason) = match (settings.mode, settings.protocol, settings.observe) {
        (Some(Mode::Passthrough), _, _) => ("", BLIND),
        (_, Some(Protocol::Mllp | Protocol::Tcp), _) => {
            ("", "applies only to protocol \"dicom\"; remove it")
        }
        // The named route checks the associations that come back.
        (_, _, Observe::Off) => ("return", UNSEEN),
        _ => return true,
    };
    for (key, line) in written.into_iter().filter(|(key, _)| *key != needless) {
        problems.wrong(line, format!("{}{key} {reason}", route.scope));
    }
    false
}

const UNSEEN: &str = "is not available with observe = \"off\", because the route then does not read \
    associations; remove it, or write observe = \"strict\" or \"lenient\"";

/// The keys for DICOM that are written, with their lines.
fn written_keys(route: &file::Route) -> Vec<(&'static str, usize)> {
    let line = |texts: &file::Texts| texts.value().map(|list| list.line);
    let lines = [
        ("called_ae", line(&route.called_ae)),
        ("calling_ae", line(&route.calling_ae)),
        ("ae_bind", route.ae_bind.value().map(|table| table.line)),
        ("commands", line(&route.commands)),
        ("rules", route.rules.value().map(|text| text.line)),
        (
            "associations",
            route.associations.value().map(|number| number.line),
        ),
        (
            "associations_per_peer",
            route
                .associations_per_peer
                .value()
                .map(|number| number.line),
        ),
        ("[[route.ae]]", route.ae.value().map(|tables| tables.line)),
        ("return", route.returns.value().map(|text| text.line)),
    ];
    let written = lines.into_iter();
    written
        .filter_map(|(key, line)| Some((key, line?)))
        .collect()
}
