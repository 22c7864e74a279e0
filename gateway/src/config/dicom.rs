//! What a route of DICOM allows and where it leads: AE titles, commands, associations.

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
use crate::dicom::{AeTitle, Command};
use crate::limits::ASSOCIATIONS_MAX;

/// What a route of DICOM allows and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dicom {
    /// Titles that may be called; `None` is any. Never empty, at most `limits::AE_TITLES_MAX`.
    pub called: Option<Vec<AeTitle>>,
    /// Titles that may call; `None` is any. Never empty, at most `limits::AE_TITLES_MAX`.
    pub calling: Option<Vec<AeTitle>>,
    /// Calling titles that only these of the route's peers may use; others are free. No title is
    /// in it twice, identities are never empty.
    pub bound: Vec<(AeTitle, Vec<PeerName>)>,
    /// Commands that may be sent, by either side; `None` is any. Never empty.
    pub commands: Option<Vec<Command>>,
    /// Whether what the four above and the one below forbid is refused; else it is only told.
    pub enforce: bool,
    /// Associations that may be open at a time; `None` is no bound of the route's own.
    pub associations_max: Option<u32>,
    /// Of these, how many one peer may have open, as written: not above `associations_max`, and `None` on
    /// routes of mode `Originate`. `RouteConfig::associations_per_peer` is what holds.
    pub associations_per_peer: Option<u32>,
    /// Targets by called title. No title is in two of them, and all are in `called` if there is one.
    /// The route's own targets are for all other titles; where there are none, those are refused.
    pub by_title: Vec<ByTitle>,
    /// The route by which the far side's own associations come; it exists, carries DICOM and is of
    /// the opposite mode.
    pub returns: Option<String>,
}

/// What the meaning of these keys depends on.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) mode: Option<Mode>,
    pub(super) protocol: Option<Protocol>,
    pub(super) observe: Observe,
    pub(super) tables: &'a PeerTables,
    pub(super) peers: &'a RoutePeers,
    pub(super) expected: &'a Expected<'a>,
}

/// The rules of a route, and every target in them.
pub(super) struct Resolved {
    /// `None` on routes that do not look into DICOM at all.
    pub(super) dicom: Option<Dicom>,
    /// The targets of all `[[route.ae]]`.
    pub(super) targets: Vec<Located<Target>>,
}

/// Reads the keys that are for DICOM alone.
pub(super) fn resolve(
    route: &file::Route,
    ground: Ground<'_>,
    problems: &mut Problems,
) -> Resolved {
    let scope = &route.scope;
    let mut titles = |key, written: &file::Texts| {
        let list = written.value()?;
        Some(list::titles(scope, key, list, problems))
    };
    let called = titles("called_ae", &route.called_ae);
    let calling = titles("calling_ae", &route.calling_ae);
    let bound = bind::resolve(route, ground.tables, problems);
    let tables = by_title::resolve(route, ground.expected, problems);
    let is_fit = refuse_unfit(route, ground, problems);
    if is_fit {
        let calling = calling.as_deref();
        bind::check(route, ground.mode, &bound, ground.peers, calling, problems);
        by_title::check(route, &tables, called.as_deref(), problems);
    }
    let dicom = Dicom {
        called: called.map(values),
        calling: calling.map(values),
        bound: bind::meant(&bound),
        commands: commands(route, problems),
        enforce: enforce(route, problems),
        associations_max: associations(route, problems),
        associations_per_peer: associations_per_peer(route, ground.mode, problems),
        by_title: tables.iter().map(by_title::meant).collect(),
        returns: route.returns.value().map(|name| name.value.clone()),
    };
    let looks = ground.protocol == Some(Protocol::Dicom) && ground.mode != Some(Mode::Passthrough);
    Resolved {
        dicom: looks.then_some(dicom),
        targets: tables.into_iter().flat_map(|table| table.targets).collect(),
    }
}

fn commands(route: &file::Route, problems: &mut Problems) -> Option<Vec<Command>> {
    let list = List {
        scope: &route.scope,
        key: "commands",
        noun: "command",
        max: Command::ALL.len(),
        empty: "is empty, so that nothing could be done; name what is allowed, or remove it",
        long: "name each of them once",
    };
    let known = Command::ALL.map(|command| (command.name(), command));
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
            "{scope}{key} is for terminate routes: here applications connect in plaintext, and none \
             proves which peer it is; remove it, and bound all of them with associations"
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
    /// Associations that one peer may have open at a time on this route; `None` where only the route as
    /// a whole has a bound, or none at all.
    ///
    /// Where `associations_per_peer` is not written, `associations` keeps one place for each other peer,
    /// but no more than half of all places: a peer that takes all it can get shuts nobody out, and on a
    /// route of many peers most of the places still go to a peer that needs them.
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

/// Tells of keys that this route cannot keep; whether there is none.
fn refuse_unfit(route: &file::Route, ground: Ground<'_>, problems: &mut Problems) -> bool {
    let written = written_keys(route);
    let (needless, reason) = match (ground.mode, ground.protocol, ground.observe) {
        (Some(Mode::Passthrough), _, _) => ("", BLIND),
        (_, Some(Protocol::Mllp | Protocol::Tcp), _) => {
            ("", "applies only to protocol \"dicom\"; remove it")
        }
        // What comes back by another route is judged there.
        (_, _, Observe::Off) => ("return", UNSEEN),
        _ => return true,
    };
    for (key, line) in written.into_iter().filter(|(key, _)| *key != needless) {
        problems.wrong(line, format!("{}{key} {reason}", route.scope));
    }
    false
}

const UNSEEN: &str = "cannot be kept with observe = \"off\", because the route does not look at associations \
    then; remove it, or write observe = \"strict\" or \"lenient\"";

/// The keys for DICOM alone that are written, with their lines.
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
