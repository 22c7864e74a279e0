//! One of the two sites, and a result about it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;

use crate::config::{self, Config, Found, Host, Mode, RouteConfig};
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

    /// The certificate chain that a route presents.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub(super) fn chain(
        &self,
        route: &RouteConfig,
    ) -> Result<Vec<CertificateDer<'static>>, String> {
        let Some(tls) = &route.tls else {
            return Err("the route has no certificate".to_owned());
        };
        let path = &tls.identity.certificate.value;
        let read = certificates(path);
        read.map_err(|why| format!("certificate \"{}\" {why}", path.display()))
    }

    /// The trust of a route in each of its peers.
    ///
    /// # Errors
    /// Why a file cannot be read or used.
    pub(super) fn trust(
        &self,
        route: &RouteConfig,
        now: SystemTime,
    ) -> Result<Vec<Arc<Trust>>, String> {
        let mut store = Store::new(now);
        let peers = route.tls.iter().flat_map(|tls| &tls.peers);
        let trusts = peers.map(|peer| {
            let loaded = store.trust("", &peer.trust);
            loaded.ok_or_else(|| {
                let problem = store.trust_problems(&peer.trust).first();
                problem.map_or_else(String::new, |problem| problem.text.clone())
            })
        });
        trusts.collect()
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
