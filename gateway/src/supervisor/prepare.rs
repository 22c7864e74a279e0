//! Turns a configuration file into everything that the workers need, and collects all problems.
//!
//! A file that cannot be used closes only the routes that need it. If a peer has unusable files, its routes
//! refuse this peer and serve their other peers. A route without an identity or without any usable peer is
//! not opened, so the kernel refuses its clients. An invalid configuration prevents the start.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::SystemTime;

use super::ambiguity::Listings;
use super::expiries::{Expiries, Owner};
use super::files_watch::{FilesState, files_of, files_state};
use super::materials::Materials;
use crate::config::{
    self, Config, Found, Gateway, Located, Mode, Peer, Problem, RouteConfig, RouteTls, RunAs,
};
use crate::metrics;
use crate::pki::expiry::{moment, unix};
use crate::pki::store::Store;
use crate::pki::{self, expiry};
use crate::pki::{Identity, Trust, WebToken};
use crate::route::{RouteDraft, RouteTable, Transport};
use crate::supervisor::limits::SHOWN_PROBLEMS_MAX;
use crate::tls::{Acceptor, Connector};

/// A configuration with at least one route that can be opened, for a start or a check.
pub struct Prepared {
    /// The configuration, with all its routes.
    pub config: Config,
    /// The routes that can be opened, with their certificates.
    pub table: Arc<RouteTable>,
    /// Every problem of the files: a message with file, line and remedy. Empty if all files are good.
    pub problems: Vec<String>,
    /// What does not run because of these problems, as messages.
    pub closed: Vec<String>,
    /// Remarks for the operator about good files.
    pub remarks: Vec<String>,
    /// Certificates in this site's files because of which peers may refuse this site.
    pub surplus: Vec<String>,
    /// The token of the web page, if there is one.
    pub web_token: Option<WebToken>,
    /// The expiry dates of the loaded files.
    pub expiries: Expiries,
    /// The same dates for the metrics.
    pub files: metrics::Files,
    /// `problems` and `closed`, as `LoadedConfig::known` compares them.
    pub(super) known: Vec<String>,
    /// What is in use, by its files.
    pub(super) materials: Arc<Materials>,
    /// The state of the files before they were read.
    pub(super) seen: FilesState,
}

/// A configuration and everything that its files hold. Nothing of a running gateway has changed yet.
pub(super) struct LoadedConfig {
    now: SystemTime,
    /// The configuration, with all its routes.
    pub(super) config: Config,
    /// Its routes, in the same order; `None` for those that cannot be opened.
    pub(super) drafts: Vec<Option<RouteDraft>>,
    /// Every problem of the files.
    pub(super) problems: Vec<Problem>,
    /// What does not run because of these problems, as messages.
    pub(super) closed: Vec<String>,
    /// What runs with earlier contents of its files because of these problems, as messages.
    pub(super) still_used: Vec<String>,
    remarks: Vec<String>,
    surplus: Vec<String>,
    /// The expiry dates of what is in use.
    pub(super) expiries: Expiries,
    /// The same dates for the metrics.
    pub(super) files: metrics::Files,
    /// What is in use, by its files.
    pub(super) materials: Arc<Materials>,
    /// The state of the files before they were read.
    pub(super) seen: FilesState,
}

impl LoadedConfig {
    /// A message without the time at which it was made, so that it can be compared with an earlier one.
    pub(super) fn key(&self, text: &str) -> String {
        text.replace(&moment(unix(self.now)), "")
    }

    /// Everything that was reported to an operator: the problems, and what they mean.
    pub(super) fn known(&self) -> Vec<String> {
        let problems = self.problems.iter().map(|problem| &problem.text);
        let all = problems.chain(&self.closed).chain(&self.still_used);
        all.map(|text| self.key(text)).collect()
    }

    /// Leaves a route closed because of `problem`.
    pub(super) fn leave_closed(&mut self, name: &str, problem: &str) {
        let is_it = |draft: &&mut Option<RouteDraft>| {
            let draft = draft.as_ref();
            draft.is_some_and(|draft| draft.config.name == name)
        };
        if let Some(draft) = self.drafts.iter_mut().find(is_it) {
            *draft = None;
            self.closed
                .push(format!("route \"{name}\" stays closed: {problem}"));
        }
    }
}

/// Reads a configuration and the files that it names, as of `now`, for a start.
///
/// # Errors
/// Every problem, as messages with file, line and remedy, if the configuration itself is invalid or no route
/// can be opened.
pub fn prepare(file: &FilePath, now: SystemTime) -> Result<Prepared, Vec<String>> {
    prepare_found(config::load(file), file, now)
}

/// As [`prepare`], with this text in place of that of `file`.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn prepare_text(
    text: &str,
    file: &FilePath,
    now: SystemTime,
) -> Result<Prepared, Vec<String>> {
    prepare_found(config::find(text, file), file, now)
}

fn prepare_found(found: Found, file: &FilePath, now: SystemTime) -> Result<Prepared, Vec<String>> {
    let mut loaded = load_found(found, file, now, None)?;
    let web_token = match web_token(&loaded.config.gateway) {
        Ok(token) => token,
        Err(problem) => {
            let text = format!("the web page stays off: {}", problem.text);
            loaded.closed.push(text);
            loaded.problems.push(problem);
            None
        }
    };
    let known = loaded.known();
    let (drafts, routes) = (loaded.drafts.into_iter().flatten(), &loaded.config.routes);
    let cores = loaded.config.gateway.cores.len();
    Ok(Prepared {
        table: Arc::new(RouteTable::first(cores, drafts, routes)),
        config: loaded.config,
        known,
        web_token,
        problems: sentences(file, loaded.problems),
        closed: loaded.closed,
        remarks: loaded.remarks,
        surplus: loaded.surplus,
        expiries: loaded.expiries,
        files: loaded.files,
        materials: loaded.materials,
        seen: loaded.seen,
    })
}

/// Reads the token of the web page, if there is one.
///
/// # Errors
/// Why its file cannot be used.
pub(super) fn web_token(gateway: &Gateway) -> Result<Option<WebToken>, Problem> {
    let token = gateway.web.as_ref().and_then(|web| web.token.as_ref());
    let read = token.map(|Located { value, line }| {
        WebToken::read(value).map_err(|predicate| Problem {
            line: Some(*line),
            text: format!("[gateway]: web_token {value:?} {predicate}"),
        })
    });
    read.transpose()
}

/// Reads a configuration and the files that it names, as of `now`. In place of what cannot be read, `kept` is
/// used: what a running gateway has loaded of the same files.
///
/// # Errors
/// As `prepare`.
pub(super) fn load(
    file: &FilePath,
    now: SystemTime,
    kept: Option<Arc<Materials>>,
) -> Result<LoadedConfig, Vec<String>> {
    load_found(config::load(file), file, now, kept)
}

/// Reads the files of `config`, which is in use, as of `now`. In place of what cannot be read, `kept` is used.
///
/// # Errors
/// As `prepare`.
pub(super) fn load_files(
    config: &Config,
    now: SystemTime,
    kept: Arc<Materials>,
) -> Result<LoadedConfig, Vec<String>> {
    let found = Found {
        config: Ok(config.clone()),
        routes: config.routes.clone(),
        run_as: config.gateway.run_as.clone(),
    };
    load_found(found, &config.file, now, Some(kept))
}

fn load_found(
    found: Found,
    file: &FilePath,
    now: SystemTime,
    kept: Option<Arc<Materials>>,
) -> Result<LoadedConfig, Vec<String>> {
    let seen = files_state(&files_of(&found.routes));
    let mut loader = RouteLoader::new(now, &found.run_as, kept.unwrap_or_default());
    loader.load(&found.routes);
    let refusals = loader.refusals(&found.routes);
    let drafts: Vec<_> = found
        .routes
        .iter()
        .map(|route| loader.draft(route))
        .collect();
    let of_files = [loader.store.problems(), &loader.problems].concat();
    let refusals = match &found.config {
        Ok(_) if refusals.is_empty() && drafts.iter().any(Option::is_some) => None,
        Ok(_) => Some(refusals),
        Err(of_the_text) => Some([of_the_text.as_slice(), &refusals].concat()),
    };
    let (Ok(config), None) = (found.config, &refusals) else {
        return Err(sentences(
            file,
            [of_files, refusals.unwrap_or_default()].concat(),
        ));
    };
    Ok(LoadedConfig {
        seen,
        ..loader.loaded(config, drafts, of_files)
    })
}

/// Whether a certificate of this site in the files of a configuration is not valid yet at `now`.
pub(super) fn begins_later(file: &FilePath, now: SystemTime) -> bool {
    let found = config::load(file);
    let mut loader = RouteLoader::new(now, &found.run_as, Arc::default());
    loader.load(&found.routes);
    loader.store.begins_later()
}

/// Problems as messages with file and line, in the order of the file.
pub(super) fn sentences(file: &FilePath, mut problems: Vec<Problem>) -> Vec<String> {
    problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
    problems.dedup();
    let sentences = problems
        .iter()
        .map(|problem| problem.display(file).to_string());
    sentences.collect()
}

struct RouteLoader {
    now: SystemTime,
    store: Store,
    /// Problems between several files, besides those of each single file.
    problems: Vec<Problem>,
    closed: Vec<String>,
    still_used: Vec<String>,
    refused: Vec<(String, String)>,
    remarks: Vec<String>,
    expiries: Expiries,
    /// What is used in place of files that cannot be read.
    kept: Arc<Materials>,
    used: Materials,
}

impl RouteLoader {
    fn new(now: SystemTime, run_as: &RunAs, kept: Arc<Materials>) -> Self {
        Self {
            now,
            store: Store::new(now).of_service(run_as),
            problems: Vec::new(),
            closed: Vec::new(),
            still_used: Vec::new(),
            refused: Vec::new(),
            remarks: Vec::new(),
            expiries: Expiries::default(),
            kept,
            used: Materials::default(),
        }
    }

    /// Loads all files before any route is checked, because one peer's revocation list can revoke the
    /// certificate of another route. Loads identities before trust, as `Store` requires.
    fn load(&mut self, routes: &[Arc<RouteConfig>]) {
        for route in routes {
            self.identity(route);
        }
        for route in routes {
            for peer in route.tls.iter().flat_map(|tls| &tls.peers) {
                self.trust(route, peer);
            }
        }
    }

    /// Returns the problems of the configuration itself that only the files show.
    fn refusals(&mut self, routes: &[Arc<RouteConfig>]) -> Vec<Problem> {
        let mut refusals = Vec::new();
        let mut listings = Listings::default();
        for route in routes {
            let Some(tls) = &route.tls else { continue };
            for peer in &tls.peers {
                // An update of a peer must not pass this check because a list of that day cannot be used.
                let loaded = self.trust(route, peer);
                let trust = loaded.or_else(|| self.store.without_lists(&peer.trust));
                if let Some(trust) = trust {
                    listings.note(route, peer, &trust);
                }
            }
            let identity = self.identity(route);
            refusals.extend(identity.and_then(|identity| own_name(route, tls, &identity)));
        }
        let named = routes.iter().flat_map(|route| &route.tls);
        let named: Vec<_> = named.flat_map(|tls| tls.peers.iter().cloned()).collect();
        refusals.extend(listings.problems(&named));
        self.remarks = listings.remarks();
        refusals
    }

    /// Returns the route with its TLS setup; `None` if its files do not allow it to be opened.
    fn draft(&mut self, route: &Arc<RouteConfig>) -> Option<RouteDraft> {
        let Some(tls) = &route.tls else {
            return Some(RouteDraft {
                config: Arc::clone(route),
                transport: Transport::Passthrough,
                material: [0; 32],
            });
        };
        let problems = self.store.identity_problems(&tls.identity, route.mode);
        let identity = match problems.is_empty() {
            true => self.identity(route),
            false => self.kept.identity(&tls.identity, route.mode),
        };
        let Some(identity) = identity else {
            return self.close(route, &problems);
        };
        if !problems.is_empty() {
            let whose = format!("route \"{}\"", route.name);
            self.note_still_used(&whose, "certificate and key", shown(route, &problems));
        }
        let (mut peers, mut trusts, mut bad) = (Vec::new(), Vec::new(), Vec::new());
        for peer in &tls.peers {
            match self.trust(route, peer) {
                Some(trust) => {
                    self.note_trust(route, peer, &trust);
                    peers.push(Arc::clone(peer));
                    trusts.push(trust);
                }
                None => bad.push(peer),
            }
        }
        if peers.is_empty() {
            let of_each = bad
                .iter()
                .map(|peer| self.store.trust_problems(&peer.trust));
            let problems = of_each.collect::<Vec<_>>().concat();
            return self.close(route, &problems);
        }
        // Identities of a peer that is left out cannot be proved.
        let usable = RouteTls {
            peers,
            ..tls.clone()
        };
        let transport = match route.mode {
            Mode::Originate => Connector::new(&identity, &usable, &trusts)
                .map(|connector| Transport::Originate(Box::new(connector))),
            Mode::Terminate => Acceptor::new(&identity, &usable, &trusts)
                .map(|acceptor| Transport::Terminate(Box::new(acceptor))),
            Mode::Passthrough => Ok(Transport::Passthrough),
        };
        let transport = match transport {
            Ok(transport) => transport,
            Err(error) => {
                let text = format!("route \"{}\": TLS cannot be set up: {error}", route.name);
                let line = Some(route.line);
                let problem = Problem { line, text };
                self.problems.push(problem.clone());
                return self.close(route, &[problem]);
            }
        };
        // The transport has made the form of the key that signs, so no bytes of its file are kept.
        self.used
            .keep_identity(&tls.identity, route.mode, &identity);
        for peer in bad {
            self.refuse(route, peer);
        }
        self.note_expiries(route, &usable, &identity, &trusts);
        Some(RouteDraft {
            config: Arc::clone(route),
            transport,
            material: pki::digest(&identity, &trusts),
        })
    }

    fn close(&mut self, route: &RouteConfig, problems: &[Problem]) -> Option<RouteDraft> {
        self.closed.push(format!(
            "route \"{}\" is closed and its clients are refused, until this is fixed: {}",
            route.name,
            shown(route, problems)
        ));
        None
    }

    fn note_still_used(&mut self, whose: &str, what: &str, problems: String) {
        let text =
            format!("{whose}: the earlier {what} stay in use, until this is fixed: {problems}");
        if !self.still_used.contains(&text) {
            self.still_used.push(text);
        }
    }

    fn note_trust(&mut self, route: &RouteConfig, peer: &Peer, trust: &Arc<Trust>) {
        self.used.keep_trust(&peer.trust, trust);
        let problems = self.store.trust_problems(&peer.trust);
        if !problems.is_empty() {
            let problems = shown(route, problems);
            let whose = match &peer.name {
                Some(name) => format!("peer \"{name}\""),
                None => format!("route \"{}\"", route.name),
            };
            self.note_still_used(&whose, "CAs and revocation lists", problems);
        }
    }

    fn refuse(&mut self, route: &RouteConfig, peer: &Peer) {
        let name = peer.name.clone().unwrap_or_default();
        let who = match &peer.name {
            Some(name) => format!("peer \"{name}\""),
            None => "the identities that it lists itself".to_owned(),
        };
        self.closed.push(format!(
            "route \"{}\" refuses {who} and serves its other peers, until this is fixed: {}",
            route.name,
            shown(route, self.store.trust_problems(&peer.trust))
        ));
        self.refused.push((route.name.clone(), name));
    }

    fn note_expiries(
        &mut self,
        route: &RouteConfig,
        tls: &RouteTls,
        identity: &Identity,
        trusts: &[Arc<Trust>],
    ) {
        let of_route = Owner::Route(route.name.clone());
        let own = expiry::of_identity(&tls.identity, identity, self.now);
        self.expiries.add(&of_route, own);
        for (peer, trust) in tls.peers.iter().zip(trusts) {
            let of_trust = expiry::of_trust(&scope(route, peer), &peer.trust, trust);
            match &peer.name {
                Some(name) => self.expiries.add(&Owner::Peer(name.clone()), of_trust),
                None => self.expiries.add(&of_route, of_trust),
            }
        }
    }

    fn identity(&mut self, route: &RouteConfig) -> Option<Arc<Identity>> {
        let files = &route.tls.as_ref()?.identity;
        let scope = format!("route \"{}\": ", route.name);
        let loaded = self.store.identity(&scope, files, route.mode);
        loaded.or_else(|| self.kept.identity(files, route.mode))
    }

    fn trust(&mut self, route: &RouteConfig, peer: &Peer) -> Option<Arc<Trust>> {
        let loaded = self.store.trust(&scope(route, peer), &peer.trust);
        loaded.or_else(|| self.kept.trust(&peer.trust))
    }

    fn loaded(
        self,
        config: Config,
        drafts: Vec<Option<RouteDraft>>,
        mut problems: Vec<Problem>,
    ) -> LoadedConfig {
        let names = config.routes.iter().map(|route| route.name.clone());
        let files = metrics::Files {
            routes: names.zip(drafts.iter().map(Option::is_none)).collect(),
            refused: self.refused,
            expiries: self.expiries.rows(),
        };
        problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        problems.dedup();
        LoadedConfig {
            now: self.now,
            config,
            drafts,
            problems,
            closed: self.closed,
            still_used: self.still_used,
            remarks: self.remarks,
            surplus: self.store.remarks().to_vec(),
            expiries: self.expiries,
            files,
            materials: Arc::new(self.used),
            seen: FilesState::new(),
        }
    }
}

/// A route that lists this site's own certificate among its peers.
fn own_name(route: &RouteConfig, tls: &RouteTls, identity: &Identity) -> Option<Problem> {
    let own = identity.among(tls.peers.iter().flat_map(|peer| &peer.identities))?;
    let text = format!(
        "route \"{}\": peers lists \"{own}\", which is an identity of this site's own certificate {:?}: \
         every holder of that key, this gateway included, would be accepted as the peer; \
         write the identity of the other site, which `wardgate pki show` prints for its \
         certificate; if the certificates of the two sites were swapped, install this site's own here",
        route.name,
        tls.identity.certificate.value.display().to_string()
    );
    let line = Some(route.line);
    Some(Problem { line, text })
}

fn scope(route: &RouteConfig, peer: &Peer) -> String {
    match &peer.name {
        Some(name) => format!("peer \"{name}\": "),
        None => format!("route \"{}\": ", route.name),
    }
}

/// Problems of files in one line that already names the route.
fn shown(route: &RouteConfig, problems: &[Problem]) -> String {
    let scope = format!("route \"{}\": ", route.name);
    let texts = problems.iter().map(|problem| problem.text.as_str());
    let texts = texts.map(|text| text.strip_prefix(&scope).unwrap_or(text));
    let mut texts: Vec<_> = texts.take(SHOWN_PROBLEMS_MAX).collect();
    // LIMIT: SHOWN_PROBLEMS_MAX.
    let further = problems.len().saturating_sub(SHOWN_PROBLEMS_MAX);
    let rest = format!("and {further} more, which `wardgate check` lists");
    if further > 0 {
        texts.push(&rest);
    }
    texts.join("; ")
}
