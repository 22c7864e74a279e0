//! From a configuration file to everything that the workers need, with every problem on the way.

use std::collections::HashMap;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::SystemTime;

use super::Paths;
use crate::config::{self, Config, IdentityFiles, Mode, Problem, Route, RouteTls};
use crate::pki::{self, Identity};
use crate::relay::{Path, Side};
use crate::tls::{Acceptor, Connector};

/// A configuration whose files were loaded and found good.
pub struct Prepared {
    /// The configuration.
    pub config: Config,
    /// Its routes with their certificates.
    pub paths: Paths,
}

/// Reads a configuration and the files that it names, as of `now`.
///
/// # Errors
/// Every problem found, in sentences with file, line and remedy.
pub fn prepare(file: &FilePath, now: SystemTime) -> Result<Prepared, Vec<String>> {
    let found = config::load(file);
    let mut loader = Loader {
        now,
        loaded: HashMap::new(),
        problems: Vec::new(),
    };
    let paths: Vec<_> = found
        .routes
        .iter()
        .enumerate()
        .filter_map(|(index, route)| Some((index, route, loader.side(route)?)))
        .map(|(index, route, side)| Path::new(Arc::clone(route), index, side))
        .collect();
    let mut problems = loader.problems;
    match found.config {
        Ok(config) if problems.is_empty() => {
            return Ok(Prepared {
                config,
                paths: paths.into(),
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
    now: SystemTime,
    // Routes that share an identity read its files once, and its problems are told once.
    loaded: HashMap<(*const IdentityFiles, Mode), Option<Arc<Identity>>>,
    problems: Vec<Problem>,
}

impl Loader {
    fn side(&mut self, route: &Route) -> Option<Side> {
        let Some(tls) = &route.tls else {
            return Some(Side::Passthrough);
        };
        let identity = self.identity(route, tls)?;
        if let Some(own) = identity.among(&tls.peers) {
            let text = format!(
                "route \"{}\": peers lists \"{own}\", which this site's own certificate {:?} proves: \
                 every holder of that key would count as the peer, and so would this gateway itself; \
                 write the identity of the other site, which `wardgate pki show` prints of its \
                 certificate",
                route.name,
                tls.identity.certificate.value.display().to_string()
            );
            let line = Some(route.line);
            self.problems.push(Problem { line, text });
            return None;
        }
        let side = match route.mode {
            Mode::Originate => Connector::new(&identity, tls).map(|c| Side::Originate(Box::new(c))),
            Mode::Terminate => Acceptor::new(&identity, tls).map(|a| Side::Terminate(Box::new(a))),
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

    fn identity(&mut self, route: &Route, tls: &RouteTls) -> Option<Arc<Identity>> {
        let key = (Arc::as_ptr(&tls.identity), route.mode);
        if let Some(known) = self.loaded.get(&key) {
            return known.clone();
        }
        let identity = match pki::store::load(&tls.identity, route.mode, self.now) {
            Ok(identity) => Some(Arc::new(identity)),
            Err(problems) => {
                self.problems
                    .extend(problems.into_iter().map(|problem| Problem {
                        line: problem.line,
                        text: format!("route \"{}\": {}", route.name, problem.text),
                    }));
                None
            }
        };
        self.loaded.insert(key, identity.clone());
        identity
    }
}
