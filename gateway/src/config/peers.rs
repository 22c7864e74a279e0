//! The `[[peer]]` tables, and the peers and identities that a route lists.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::crl_url::fetches;
use super::file;
use super::identity::Identities;
use super::list::{List, values};
use super::name::{dns_name, short_name};
use super::peer::peer;
use super::problem::{Problems, quoted};
use super::suggest;
use super::{CrlFetch, Located, Peer, PeerName, TrustFiles};
use crate::config::limits::{PEER_TABLES_MAX, PEERS_MAX, ROUTE_NAME_BYTES_MAX};

/// The `[[peer]]` tables of a file.
#[derive(Default)]
pub(super) struct PeerTables {
    /// In the order of the file.
    all: Vec<Arc<Peer>>,
    /// By name; `None` where the table has problems.
    by_name: HashMap<String, Option<Arc<Peer>>>,
    /// In the order of the file, so that the same file always gives the same suggestion.
    names: Vec<String>,
    /// Whether there may be tables with unknown names.
    is_cut: bool,
    /// The revocation lists that are fetched.
    fetches: Vec<CrlFetch>,
    /// The tables whose trust is renewed over the link.
    renewed: Vec<Arc<Peer>>,
}

/// The meaning of an element of `peers`, of `ae_bind` or of a target's `peer`.
#[derive(Debug, Clone)]
pub(super) enum Reference {
    /// A `[[peer]]` table.
    Table(Arc<Peer>),
    /// A `[[peer]]` table of this name that has problems.
    Unread(String),
    /// An identity.
    Identity(PeerName),
}

impl Reference {
    /// The name of the table.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Table(peer) => peer.name.as_deref(),
            Self::Unread(name) => Some(name),
            Self::Identity(_) => None,
        }
    }

    /// The identities of the element.
    pub(super) fn identities(&self) -> &[PeerName] {
        match self {
            Self::Table(peer) => &peer.identities,
            Self::Unread(_) => &[],
            Self::Identity(identity) => std::slice::from_ref(identity),
        }
    }
}

impl PartialEq for Reference {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Identity(one), Self::Identity(other)) => one == other,
            _ => self.name().is_some() && self.name() == other.name(),
        }
    }
}

impl PeerTables {
    /// Reads the tables.
    pub(super) fn resolve(
        file: &file::File,
        identities: &mut Identities<'_>,
        problems: &mut Problems,
    ) -> Self {
        let mut tables = Self::default();
        let Some(written) = file.peers.value() else {
            tables.is_cut = !file.peers.is_absent();
            return tables;
        };
        // LIMIT: `PEER_TABLES_MAX`.
        if let Some(beyond) = written.value.get(PEER_TABLES_MAX) {
            let text = format!(
                "more than {PEER_TABLES_MAX} tables [[peer]]; run a second gateway for the others"
            );
            problems.wrong(beyond.line, text);
            tables.is_cut = true;
        }
        let written = written.value.iter().take(PEER_TABLES_MAX);
        let (mut names, mut owners) = (HashMap::new(), HashMap::new());
        for table in written {
            tables.add(table, &mut names, &mut owners, identities, problems);
        }
        tables
    }

    fn add<'f>(
        &mut self,
        table: &'f file::Peer,
        names: &mut HashMap<&'f str, usize>,
        owners: &mut HashMap<PeerName, &'f file::Peer>,
        identities: &mut Identities<'_>,
        problems: &mut Problems,
    ) {
        let name = name(table, names, problems);
        let listed = identity(table, owners, problems);
        if table.trust.is_absent() {
            let text = format!(
                "{}trust is missing; write the file with the certificate of the CA that issues to \
                 this peer: trust = \"/etc/wardgate/pki/region-ca.pem\"",
                table.scope
            );
            problems.missing(Some(table.line), text);
        }
        let trust = identities.trust(&table.scope, &table.trust, &table.crl, problems);
        let Some(name) = name else {
            self.is_cut = true;
            return;
        };
        let peer = listed.zip(trust).map(|(identities, trust)| {
            Arc::new(Peer {
                name: Some(name.clone()),
                identities,
                trust,
            })
        });
        self.fetches.extend(fetches(table, peer.as_ref(), problems));
        if table.renew.value().is_some_and(|flag| flag.value) {
            self.renewed.extend(peer.clone());
        }
        self.all.extend(peer.clone());
        self.by_name.insert(name.clone(), peer);
        self.names.push(name);
    }

    /// The revocation lists that are fetched, in the order of the file.
    pub(super) fn fetches(&self) -> &[CrlFetch] {
        &self.fetches
    }

    /// The peers whose trust is renewed over the link, in the order of the file.
    pub(super) fn renewed(&self) -> &[Arc<Peer>] {
        &self.renewed
    }

    /// The tables without problems, in the order of the file.
    pub(super) fn all(&self) -> &[Arc<Peer>] {
        &self.all
    }

    /// Reads the name of a table, or an identity. An error is the end of a sentence.
    pub(super) fn reference(&self, text: &str) -> Result<Reference, String> {
        match self.by_name.get(text) {
            Some(Some(peer)) => return Ok(Reference::Table(Arc::clone(peer))),
            Some(None) => return Ok(Reference::Unread(text.to_owned())),
            None => {}
        }
        if !text.contains(':') {
            let known = self.names.iter().map(String::as_str);
            if self.is_cut && peer_name(text).is_ok() {
                return Ok(Reference::Unread(text.to_owned()));
            }
            if let Some(near) = suggest::nearest(text, known) {
                return Err(format!(
                    "is not the name of a [[peer]]; did you mean {near:?}?"
                ));
            }
            // Few peers have a DNS name with one label, and many have a short name here.
            if !text.contains('.') && dns_name(text).is_ok() {
                return Err(format!(
                    "is not the name of a [[peer]]; write a [[peer]] with this name, or \"dns:{text}\" if this is \
                     the DNS name in the peer's certificate"
                ));
            }
        }
        peer(text).map(Reference::Identity)
    }
}

/// The name of a table, unless another table has it.
fn name<'f>(
    table: &'f file::Peer,
    names: &mut HashMap<&'f str, usize>,
    problems: &mut Problems,
) -> Option<String> {
    let scope = &table.scope;
    if table.name.is_absent() {
        let text =
            format!("{scope}name is missing; write one for routes to list: name = \"region\"");
        problems.missing(Some(table.line), text);
    }
    let text = table.name.value()?;
    let name = problems.accept("peer: ", "name", text, peer_name(&text.value))?;
    if let Some(first) = names.get(text.value.as_str()) {
        let reason = format!("duplicates line {first}; give each peer a name of its own");
        return problems.accept("peer: ", "name", text, Err(reason));
    }
    names.insert(&text.value, text.line);
    Some(name)
}

/// Reads the name of a peer. An error is the end of a sentence.
///
/// A name has no colon, so it cannot be confused with an identity.
fn peer_name(text: &str) -> Result<String, String> {
    if let Ok(identity) = peer(text) {
        return Err(format!(
            "is an identity; write a short name, such as \"region\", and identity = \"{identity}\""
        ));
    }
    short_name(text, "region", ROUTE_NAME_BYTES_MAX)
}

/// Reads the identities of a table.
///
/// No identity is in two tables, because a CA that may issue certificates for one peer could then issue certificates for the other as
/// well.
fn identity<'f>(
    table: &'f file::Peer,
    owners: &mut HashMap<PeerName, &'f file::Peer>,
    problems: &mut Problems,
) -> Option<Vec<PeerName>> {
    let scope = &table.scope;
    if table.identity.is_absent() {
        let text = format!(
            "{scope}identity is missing; write what the peer's certificate must prove: identity = \
             \"dns:gw.region.example\""
        );
        problems.missing(Some(table.line), text);
    }
    // LIMIT: `PEERS_MAX`.
    let list = List {
        scope,
        key: "identity",
        noun: "identity",
        max: PEERS_MAX,
        empty: "is empty, but a certificate of a trusted CA alone is never enough; name at least \
                one identity",
        long: "split the peer",
    };
    let written = table.identity.value()?;
    let read = list.read(written, peer, problems);
    for identity in &read {
        let Some(owner) = owners.get(&identity.value) else {
            owners.insert(identity.value.clone(), table);
            continue;
        };
        let text = format!(
            "{scope}identity \"{}\" belongs to {} already (line {}); only one peer may have an \
             identity, because only its CA may issue certificates for it; remove it from one of the two",
            identity.value,
            owner.scope.trim_end_matches(": "),
            owner.line
        );
        problems.wrong(identity.line, text);
    }
    (read.len() == written.value.len()).then(|| values(read))
}

/// The peers that a route lists.
#[derive(Default)]
pub(super) struct RoutePeers {
    tables: Vec<Arc<Peer>>,
    /// The identities that are written in the route itself.
    own: Vec<PeerName>,
    /// The line of the first of these identities.
    own_line: Option<usize>,
    identities: HashSet<PeerName>,
    /// Whether all elements are readable. If not, checks that depend on the whole list are skipped.
    is_whole: bool,
}

impl RoutePeers {
    /// Reads `peers`.
    pub(super) fn resolve(
        route: &file::Route,
        tables: &PeerTables,
        problems: &mut Problems,
    ) -> Self {
        let mut peers = Self::default();
        let Some(written) = route.peers.value() else {
            return peers;
        };
        // LIMIT: `PEERS_MAX`.
        let list = List {
            scope: &route.scope,
            key: "peers",
            noun: "peer",
            max: PEERS_MAX,
            empty: "is empty, but a certificate of a trusted CA alone is never enough; name at \
                    least one peer",
            long: "split the route",
        };
        let read = list.read(written, |text| tables.reference(text), problems);
        let unread = |element: &Located<_>| matches!(element.value, Reference::Unread(_));
        peers.is_whole = read.len() == written.value.len() && !read.iter().any(unread);
        for element in read {
            peers.add(element);
        }
        peers.check(route, written, problems);
        peers
    }

    fn add(&mut self, Located { value, line }: Located<Reference>) {
        self.identities.extend(value.identities().iter().cloned());
        match value {
            Reference::Table(peer) => self.tables.push(peer),
            Reference::Identity(identity) => {
                self.own.push(identity);
                self.own_line = self.own_line.or(Some(line));
            }
            Reference::Unread(_) => {}
        }
    }

    /// Checks the listed elements together.
    fn check(
        &self,
        route: &file::Route,
        written: &Located<Vec<Located<String>>>,
        problems: &mut Problems,
    ) {
        let scope = &route.scope;
        // LIMIT: `PEERS_MAX`.
        let count = self.identities.len();
        if count > PEERS_MAX && written.value.len() <= PEERS_MAX {
            let text = format!(
                "{scope}peers has {count} identities in all, and {PEERS_MAX} is the maximum; split \
                 the route"
            );
            problems.wrong(written.line, text);
        }
        let of_tables: HashMap<_, _> = self
            .tables
            .iter()
            .flat_map(|peer| peer.identities.iter().map(move |one| (one, peer)))
            .collect();
        for text in &written.value {
            let Some(peer) = peer(&text.value).ok().and_then(|one| of_tables.get(&one)) else {
                continue;
            };
            let reason = format!(
                "belongs to peer {}, which is listed here as well; remove it",
                quoted(peer.name.as_deref().unwrap_or_default())
            );
            problems.accept::<()>(scope, "peer", text, Err(reason));
        }
    }

    /// Whether an identity belongs to a listed peer, as far as this is known.
    pub(super) fn may_have(&self, identity: &PeerName) -> bool {
        !self.is_whole || self.identities.contains(identity)
    }

    /// Whether the peer or identity of a reference is listed, as far as this is known.
    pub(super) fn may_list(&self, reference: &Reference) -> bool {
        match reference {
            Reference::Unread(_) => true,
            Reference::Table(peer) => {
                !self.is_whole || self.tables.iter().any(|listed| Arc::ptr_eq(listed, peer))
            }
            Reference::Identity(identity) => self.may_have(identity),
        }
    }

    /// The identities of the only listed peer, if there is only one.
    pub(super) fn only(&self) -> Option<&[PeerName]> {
        match (&self.tables[..], &self.own[..]) {
            ([peer], []) => Some(&peer.identities),
            ([], own @ [_]) => Some(own),
            _ => None,
        }
    }

    /// The identities of the peer that has `identity`: those of its table, or only `identity` itself.
    pub(super) fn of(&self, identity: &PeerName) -> Option<&[PeerName]> {
        let mut tables = self.tables.iter().map(|peer| &peer.identities[..]);
        let mut own = self.own.iter().map(std::slice::from_ref);
        let has = |identities: &&[PeerName]| identities.contains(identity);
        tables.find(has).or_else(|| own.find(has))
    }

    /// Whether all of `peers` is readable.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The listed tables.
    pub(super) fn tables(&self) -> &[Arc<Peer>] {
        &self.tables
    }

    /// The line of the first identity that is written in the route itself. For these identities, the trust of
    /// the route's identity counts.
    pub(super) fn own_line(&self) -> Option<usize> {
        self.own_line
    }

    /// The listed names, as operators write them: `"a", "b" or "dns:gw.c.example"`.
    pub(super) fn choices(&self) -> String {
        let tables = self.tables.iter().filter_map(|peer| peer.name.clone());
        let own = self.own.iter().map(ToString::to_string);
        let all: Vec<_> = tables.chain(own).map(|text| quoted(&text)).collect();
        match &all[..] {
            many if many.len() > CHOICES_MAX => "one of the route's peers".to_owned(),
            [others @ .., last] if !others.is_empty() => {
                format!("{} or {last}", others.join(", "))
            }
            few => few.concat(),
        }
    }

    /// The resolved peers; `None` if there is a problem. `trust` counts for the identities that are written
    /// in the route itself.
    pub(super) fn meant(&self, trust: Option<&Arc<TrustFiles>>) -> Option<Vec<Arc<Peer>>> {
        let mut peers = self.tables.clone();
        if !self.own.is_empty() {
            peers.push(Arc::new(Peer {
                name: None,
                identities: self.own.clone(),
                trust: Arc::clone(trust?),
            }));
        }
        (!peers.is_empty()).then_some(peers)
    }
}

/// The maximum number of peers in a message; more would hide the message.
const CHOICES_MAX: usize = 4;
