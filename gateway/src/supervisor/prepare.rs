//! From a configuration file to everything that the workers need, with every problem on the way.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::SystemTime;

use super::Paths;
use super::ambiguity::Listings;
use crate::config::{self, Config, Mode, Peer, Problem, Route};
use crate::pki::store::Store;
use crate::pki::{Identity, Trust};
use crate::relay::{Path, Side};
use crate::tls::{Acceptor, Connector};

/// A configuration whose files were loaded and found good.
pub struct Prepared {
    /// The configuration.
    pub config: Config,
    /// Its routes with their certificates.
    pub paths: Paths,
    /// What an operator should know about the CAs that it trusts.
    pub(super) trust_remarks: Vec<String>,
}

/// Reads a configuration and the files that it names, as of `now`.
///
/// # Errors
/// Every problem found, in sentences with file, line and remedy.
pub fn prepare(file: &FilePath, now: SystemTime) -> Result<Prepared, Vec<String>> {
    let found = config::load(file);
    let mut loader = Loader {
        store: Store::new(now),
        problems: Vec::new(),
    };
    // Identities are loaded before trust, as `Store` asks.
    for route in &found.routes {
        loader.identity(route);
    }
    let mut listings = Listings::default();
    let paths: Vec<_> = found
        .routes
        .iter()
        .enumerate()
        .filter_map(|(index, route)| Some((index, route, loader.side(route, &mut listings)?)))
        .map(|(index, route, side)| Path::new(Arc::clone(route), index, side))
        .collect();
    let mut problems = loader.into_problems();
    let named = found.routes.iter().flat_map(|route| &route.tls);
    let named: Vec<_> = named.flat_map(|tls| tls.peers.iter().cloned()).collect();
    problems.extend(listings.problems(&named));
    match found.config {
        Ok(config) if problems.is_empty() => {
            return Ok(Prepared {
                config,
                paths: paths.into(),
                trust_remarks: listings.remarks(),
            });
        }
        Ok(_) => {}
        Err(of_the_text) => problems.extend(of_the_text),
    }
    problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
    problems.dedup();
    Err(problems
        .iter()
        .map(|problem| problem.display(file).to_string())
        .collect())
}

struct Loader {
    store: Store,
    problems: Vec<Problem>,
}

impl Loader {
    fn side<'r>(&mut self, route: &'r Route, listings: &mut Listings<'r>) -> Option<Side> {
        let Some(tls) = &route.tls else {
            return Some(Side::Passthrough);
        };
        let identity = self.identity(route);
        // All of it is loaded, so that all problems are found.
        let trust: Vec<_> = tls
            .peers
            .iter()
            .map(|peer| self.trust(route, peer))
            .collect();
        for (peer, trust) in tls.peers.iter().zip(&trust) {
            if let Some(trust) = trust {
                listings.note(route, peer, trust);
            }
        }
        let (identity, trust) = (identity?, trust.into_iter().collect::<Option<Vec<_>>>()?);
        if let Some(own) = identity.among(tls.peers.iter().flat_map(|peer| &peer.identities)) {
            let text = format!(
                "route \"{}\": peers lists \"{own}\", which this site's own certificate {:?} proves: \
                 every holder of that key would count as the peer, and so would this gateway itself; \
                 write the identity of the other site, which `wardgate pki show` prints of its \
                 certificate; if the certificates of the two sites were swapped, put this site's own \
                 there",
                route.name,
                tls.identity.certificate.value.display().to_string()
            );
            let line = Some(route.line);
            self.problems.push(Problem { line, text });
            return None;
        }
        let side = match route.mode {
            Mode::Originate => Connector::new(&identity, tls, &trust)
                .map(|connector| Side::Originate(Box::new(connector))),
            Mode::Terminate => Acceptor::new(&identity, tls, &trust)
                .map(|acceptor| Side::Terminate(Box::new(acceptor))),
            Mode::Passthrough => Ok(Side::Passthrough),
        };
        side.map_err(|error| {
            let text = format!("route \"{}\": TLS cannot be set up: {error}", route.name);
            self.problems.push(Problem {
                line: Some(route.line),
                text,
            });
        })
        .ok()
    }

    fn identity(&mut self, route: &Route) -> Option<Arc<Identity>> {
        let files = &route.tls.as_ref()?.identity;
        let scope = format!("route \"{}\": ", route.name);
        self.store.identity(&scope, files, route.mode)
    }

    fn trust(&mut self, route: &Route, peer: &Peer) -> Option<Arc<Trust>> {
        let scope = match &peer.name {
            Some(name) => format!("peer \"{name}\": "),
            None => format!("route \"{}\": ", route.name),
        };
        self.store.trust(&scope, &peer.trust)
    }

    fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems;
        problems.extend(self.store.into_problems());
        problems
    }
}
