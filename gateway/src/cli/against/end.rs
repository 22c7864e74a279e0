//! One of the two sites, and a result about it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;

use crate::config::{self, Config, Found, Host, Mode, RouteConfig, TrustFiles};
use crate::pki::Trust;
use crate::pki::store::{Store, certificates};

/// One of the two sites.
pub(super) struct ComparedSite {
    /// `this site` or `the other site`.
    pub(super) label: &'static str,
    /// Its configuration file, as given.
    pub(super) file: PathBuf,
    /// The configuration.
    pub(super) config: Config,
    /// Where its files are on this machine; `None` for this site, whose paths are right as they are.
    pub(super) copies: Option<CopiedFiles>,
}

/// The copies of the other site's files. Its absolute paths are those of another machine: the same path names a file
/// of this site here.
pub(super) struct CopiedFiles {
    /// The absolute paths of its configuration, after its escapes are read; `None` if they are unknown.
    absolute: Option<BTreeSet<PathBuf>>,
    /// The folder of the configuration.
    folder: PathBuf,
    /// Files of this site, as `fs::canonicalize` names them.
    own: Vec<PathBuf>,
}

impl CopiedFiles {
    /// The copies beside `other`. The certificates of `own` are none of them.
    pub(super) fn beside(other: &Path, own: &Config) -> Self {
        let tls = own.routes.iter().filter_map(|route| route.tls.as_ref());
        let own = tls.filter_map(|tls| fs::canonicalize(&tls.identity.certificate.value).ok());
        Self {
            // It was read before; without its text, every path counts as one of another machine.
            absolute: fs::read_to_string(other)
                .ok()
                .and_then(|text| absolute_paths(&text)),
            folder: other.parent().map(Path::to_owned).unwrap_or_default(),
            own: own.collect(),
        }
    }

    /// The copy of a file that the configuration names.
    fn find(&self, path: &Path) -> Option<PathBuf> {
        // The configuration has joined relative paths to its folder.
        let absolute = self.absolute.as_ref();
        let is_absolute = absolute.is_none_or(|absolute| absolute.contains(path));
        let as_named = (!is_absolute).then(|| path.to_owned());
        let beside = path.file_name().map(|name| self.folder.join(name));
        let mut copies = as_named.into_iter().chain(beside);
        copies.find(|copy| fs::canonicalize(copy).is_ok_and(|found| !self.own.contains(&found)))
    }
}

/// All strings of a configuration that are absolute paths.
fn absolute_paths(text: &str) -> Option<BTreeSet<PathBuf>> {
    fn collect(value: &toml::Value, found: &mut BTreeSet<PathBuf>) {
        match value {
            toml::Value::String(text) if text.starts_with('/') => {
                found.insert(PathBuf::from(text));
            }
            toml::Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            toml::Value::Table(table) => table.values().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let table: toml::Table = text.parse().ok()?;
    let mut found = BTreeSet::new();
    table.values().for_each(|value| collect(value, &mut found));
    Some(found)
}

/// Why a file of a site cannot be compared.
pub(super) enum FileLack {
    /// A file of the other site is not here.
    Absent {
        /// Its path there.
        path: PathBuf,
        /// The configuration beside which it belongs.
        beside: PathBuf,
    },
    /// The file is here and cannot be used: the reason.
    Unusable(String),
}

impl FileLack {
    /// A sentence that names what was not compared.
    pub(super) fn sentence(&self, what: &str) -> String {
        match self {
            Self::Absent { path, beside } => format!(
                "the file \"{}\" of the other site is not on this machine, so {what} was not compared; copy it beside {}",
                path.display(),
                beside.display()
            ),
            Self::Unusable(why) => format!("{why}; {what} was not compared"),
        }
    }
}

/// One result of the comparison.
pub(super) struct Mismatch {
    /// Whether the route would not work.
    pub(super) is_mistake: bool,
    /// The file to change.
    pub(super) file: PathBuf,
    /// The line in it.
    pub(super) line: usize,
    /// The site of the file.
    pub(super) label: &'static str,
    /// A sentence.
    pub(super) text: String,
}

impl ComparedSite {
    /// Takes what was read of a site's file.
    ///
    /// # Errors
    /// All problems of the file.
    pub(super) fn new(label: &'static str, file: &Path, found: Found) -> Result<Self, Vec<String>> {
        let shown = |problem: &config::Problem| problem.display(file).to_string();
        let file_name = file.to_owned();
        match found.config {
            Ok(config) => Ok(Self {
                label,
                file: file_name,
                config,
                copies: None,
            }),
            Err(problems) => Err(problems.iter().map(shown).collect()),
        }
    }

    /// The routes of this mode.
    pub(super) fn routes(&self, mode: Mode) -> impl Iterator<Item = &Arc<RouteConfig>> {
        let routes = self.config.routes.iter();
        routes.filter(move |route| route.mode == mode)
    }

    fn finding(&self, is_mistake: bool, route: &RouteConfig, text: &str) -> Mismatch {
        Mismatch {
            is_mistake,
            file: self.file.clone(),
            line: route.line,
            label: self.label,
            text: format!("route \"{}\": {text}", route.name),
        }
    }

    /// A setting because of which the route would not work.
    pub(super) fn mistake(&self, route: &RouteConfig, text: impl AsRef<str>) -> Mismatch {
        self.finding(true, route, text.as_ref())
    }

    /// A setting that works badly with the other end.
    pub(super) fn remark(&self, route: &RouteConfig, text: impl AsRef<str>) -> Mismatch {
        self.finding(false, route, text.as_ref())
    }

    /// Where a file of this configuration is on this machine.
    fn here(&self, path: &Path) -> Result<PathBuf, FileLack> {
        let found = match &self.copies {
            None => Some(path.to_owned()),
            Some(copies) => copies.find(path),
        };
        found.ok_or_else(|| FileLack::Absent {
            path: path.to_owned(),
            beside: self.file.clone(),
        })
    }

    /// The certificate chain that a route presents.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub(super) fn chain(
        &self,
        route: &RouteConfig,
    ) -> Result<Vec<CertificateDer<'static>>, FileLack> {
        let Some(tls) = &route.tls else {
            let why = "the route has no certificate".to_owned();
            return Err(FileLack::Unusable(why));
        };
        let path = self.here(&tls.identity.certificate.value)?;
        let read = certificates(&path);
        read.map_err(|why| FileLack::Unusable(format!("certificate \"{}\" {why}", path.display())))
    }

    /// The trust of a route in each of its peers.
    ///
    /// # Errors
    /// Why a file cannot be read or used.
    pub(super) fn trust(
        &self,
        route: &RouteConfig,
        now: SystemTime,
    ) -> Result<Vec<Arc<Trust>>, FileLack> {
        let mut store = Store::new(now).of_service(&self.config.gateway.run_as);
        let peers = route.tls.iter().flat_map(|tls| &tls.peers);
        let files = peers.map(|peer| self.trust_files(&peer.trust));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let trusts = files.iter().map(|files| {
            let loaded = store.trust("", files);
            loaded.ok_or_else(|| {
                let problem = store.trust_problems(files).first();
                let why = problem.map_or_else(String::new, |problem| problem.text.clone());
                FileLack::Unusable(why)
            })
        });
        trusts.collect()
    }

    fn trust_files(&self, named: &TrustFiles) -> Result<Arc<TrustFiles>, FileLack> {
        let mut files = named.clone();
        for file in std::iter::once(&mut files.trust).chain(&mut files.crl) {
            file.value = self.here(&file.value)?;
        }
        Ok(Arc::new(files))
    }
}

/// How well the host of a target fits the address of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AddressFit {
    /// Two different addresses: right only if a device on the path translates the address.
    Translated,
    /// A name, or a listener on every address.
    Possible,
    /// The same address.
    Same,
}

/// Compares the host of a target with the address of a listener.
pub(super) fn address_fits(host: &Host, route: &RouteConfig) -> AddressFit {
    let listen = route.listen.ip();
    match host {
        Host::Ip(ip) if ip.to_canonical() == listen.to_canonical() => AddressFit::Same,
        Host::Name(_) => AddressFit::Possible,
        Host::Ip(_) if listen.is_unspecified() => AddressFit::Possible,
        Host::Ip(_) => AddressFit::Translated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_path_of_the_other_site_is_none_of_this_machine_however_it_is_written() {
        let folder = tempfile::tempdir().expect("there is room");
        let secret = folder.path().join("secret.pem");
        fs::write(&secret, "x").expect("our folder");
        let shown = secret.display().to_string();
        let text = |path: &str| format!("[[peer]]\nlist = [{{ trust = \"{path}\" }}]\n");
        for written in [shown.clone(), format!("\\u002f{}", &shown[1..])] {
            let copies = CopiedFiles {
                absolute: absolute_paths(&text(&written)),
                folder: folder.path().join("copies"),
                own: Vec::new(),
            };
            assert_eq!(copies.find(&secret), None, "{written}");
        }
        // A relative path was joined to the folder of the configuration.
        let copies = CopiedFiles {
            absolute: absolute_paths(&text("secret.pem")),
            folder: folder.path().to_owned(),
            own: Vec::new(),
        };
        assert_eq!(copies.find(&secret), Some(secret.clone()));
        let unread = CopiedFiles {
            absolute: None,
            folder: folder.path().join("copies"),
            own: Vec::new(),
        };
        assert_eq!(unread.find(&secret), None);
    }
}
