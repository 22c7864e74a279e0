//! Checks what the machine must offer before anything starts, and collects remarks for the operator.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::UnixTime;

use super::files_watch::files_of;
use super::{Prepared, bind};
use crate::audit::{self, Level, LogMessage, messages};
use crate::config::{Config, LogFormat, Mode, RouteConfig};
use crate::hardening;
pub(super) use crate::hardening::close_memory;
use crate::route::Transport;
use crate::supervisor::limits::DESCRIPTORS_RESERVED;
use crate::uring::limits::PIPES_MAX;
use crate::uring::{self, Capabilities, Unavailable};
use crate::worker::limits::PROBES_MAX;

/// Tests whether io_uring works.
///
/// # Errors
/// Why io_uring is not available, and what to do.
pub(super) fn probe() -> Result<Capabilities, Unavailable> {
    uring::probe()
}

/// Raises the limit of open file descriptors to the system's maximum and returns how many connections they
/// allow.
///
/// # Errors
/// If the limit does not even allow `CONNECTIONS_MIN` connections.
pub(super) fn raise_descriptors(config: &Config) -> Result<usize, String> {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    connections_allowed(config, most)
}

/// Returns how many connections a limit of `most` open files allows with this configuration.
///
/// # Errors
/// If the limit does not even allow `CONNECTIONS_MIN` connections.
pub(crate) fn connections_allowed(config: &Config, most: u64) -> Result<usize, String> {
    let passes = config.routes.iter().any(|r| r.mode == Mode::Passthrough);
    // Two descriptors per pipe.
    let pipes = if passes { 2 * PIPES_MAX } else { 0 };
    let probes_any = config.routes.iter().any(|r| r.health.is_some());
    let probes = if probes_any { PROBES_MAX } else { 0 };
    let cores = config.gateway.cores.len();
    let own = DESCRIPTORS_RESERVED + config.routes.len() + (8 + pipes + probes) * cores;
    let left = usize::try_from(most)
        .unwrap_or(usize::MAX)
        .saturating_sub(own);
    // Two sockets per connection.
    let connections = left / 2;
    if connections < CONNECTIONS_MIN {
        return Err(format!(
            "the limit of open files is {most}, which allows {connections} connections; \
             raise it to {} or more (LimitNOFILE in the unit, or `ulimit -n`)",
            own + 2 * CONNECTIONS_COMFORTABLE
        ));
    }
    let configured = config.gateway.connections.map(|most| most as usize);
    Ok(configured.unwrap_or(connections).min(connections))
}

/// Checks that connections may come from the addresses of clients, if a route needs it.
///
/// # Errors
/// The route, and what to do.
pub(super) fn check_transparent(config: &Config) -> Result<(), String> {
    let mut routes = config.routes.iter();
    match routes.find(|route| route.source.is_transparent) {
        Some(route) => {
            uring::may_bind_any().map_err(|error| format!("route \"{}\": {error}", route.name))
        }
        None => Ok(()),
    }
}

const CONNECTIONS_MIN: usize = 64;
const CONNECTIONS_COMFORTABLE: usize = 4096;

const AS_ROOT: &str =
    "wardgate runs as root; a security fault in it would expose the whole machine";

/// What the user that root's gateway has become cannot read. Root has read all files at the start, so only a reload, or a
/// renewed certificate, would show it.
pub(super) fn unreadable(file: &Path, config: &Config) -> Option<String> {
    let user = rustix::process::geteuid();
    if user.is_root() {
        return None;
    }
    let files = files_of(&config.routes);
    let mut files = files.iter().map(PathBuf::as_path).chain([file]);
    let (first, error) =
        files.find_map(|file| fs::File::open(file).err().map(|error| (file, error)))?;
    Some(format!(
        "this process has become uid {}, which cannot read {}: {error}; reloads and replaced files will fail until this \
         user may read all files (`chgrp` and mode 0640 for a key, 0750 for a folder)",
        user.as_raw(),
        first.display()
    ))
}

/// Whether a route lists identities itself and its trust has no revocation lists.
fn lists_without_crl(route: &RouteConfig) -> bool {
    let mut peers = route.tls.iter().flat_map(|tls| &tls.peers);
    peers.any(|peer| peer.name.is_none() && peer.trust.crl.is_empty())
}

/// A remark for the operator about a valid configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// `Warn` if the operator must act because the gateway, a peer or a target will refuse connections.
    pub level: Level,
    /// Its kind in the log.
    pub message: &'static LogMessage,
    /// The message.
    pub text: String,
    /// Whether the gateway cannot start on this machine until the operator has acted.
    pub prevents_start: bool,
}

impl Remark {
    fn new(message: &'static LogMessage, text: String) -> Self {
        Self {
            level: message.level(),
            message,
            text,
            prevents_start: false,
        }
    }

    /// A remark about something that this machine lacks.
    fn no_start(text: String) -> Self {
        Self {
            prevents_start: true,
            ..Self::new(&messages::MACHINE_LACKS, text)
        }
    }
}

/// Remarks of one kind.
fn of(message: &'static LogMessage) -> impl Fn(String) -> Remark {
    move |text| Remark::new(message, text)
}

/// What peers will reject in the certificate that a route presents.
fn own_chain(transport: &Transport, route: &RouteConfig) -> impl Iterator<Item = String> {
    let now = UnixTime::now();
    let remarks = match transport {
        Transport::Originate(connector) => connector.own_chain_remarks(now),
        Transport::Terminate(acceptor) => acceptor.own_chain_remarks(now),
        Transport::Passthrough => Vec::new(),
    };
    let certificate = route.tls.as_ref().map(|tls| &tls.identity.certificate);
    let file = certificate.map_or_else(String::new, |file| file.value.display().to_string());
    remarks
        .into_iter()
        .map(move |remark| format!("certificate {file:?}: {remark}"))
}

/// Why the log cannot be written where the configuration sends it.
pub(super) fn missing_log(config: &Config) -> Option<String> {
    match config.gateway.log {
        LogFormat::Journald => audit::journald_problem(),
        LogFormat::Text | LogFormat::Json => None,
    }
}

/// Returns all remarks for the operator about a valid configuration.
#[must_use]
pub fn remarks(prepared: &Prepared) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let stays_root = hardening::stays_root(&prepared.config.gateway);
    if let Some(what_to_do) = stays_root.filter(|_| rustix::process::geteuid().is_root()) {
        let text = format!("{AS_ROOT}; {what_to_do}");
        remarks.push(Remark::new(&messages::RUNS_AS_ROOT, text));
    }
    remarks.extend(missing_log(&prepared.config).map(Remark::no_start));
    let of_config = prepared.config.remarks().into_iter();
    remarks.extend(of_config.map(of(&messages::CONFIGURATION_REMARK)));
    let refused = prepared.config.refused_probes().into_iter();
    remarks.extend(refused.map(of(&messages::PROBE_REFUSED)));
    remarks.extend(
        prepared
            .remarks
            .iter()
            .cloned()
            .map(of(&messages::CONFIGURATION_REMARK)),
    );
    let surplus = prepared.surplus.iter().cloned();
    remarks.extend(surplus.map(of(&messages::OWN_CERTIFICATE)));
    for peer in prepared
        .config
        .peers
        .iter()
        .filter(|peer| peer.trust.crl.is_empty())
    {
        remarks.push(Remark::new(&messages::NO_REVOCATION_LIST, format!(
            "peer \"{}\": no crl is configured, so a revoked certificate of this peer would be accepted until \
             it expires",
            peer.name.as_deref().unwrap_or_default()
        )));
    }
    let transparent = check_transparent(&prepared.config);
    remarks.extend(transparent.err().map(Remark::no_start));
    let mut seen = HashSet::new();
    for route in &prepared.table.routes {
        if matches!(route.transport, Transport::Passthrough) {
            remarks.push(Remark::new(&messages::PASSTHROUGH_PLAINTEXT, format!(
                "route \"{}\": passthrough forwards bytes unchanged; traffic that is not TLS already \
                 crosses the network as plaintext",
                route.config.name
            )));
        }
        let of_chain =
            own_chain(&route.transport, &route.config).filter(|remark| seen.insert(remark.clone()));
        remarks.extend(of_chain.map(of(&messages::OWN_CERTIFICATE)));
        let interface = route.config.interface.as_ref();
        if let Some(interface) = interface.filter(|interface| !bind::is_there(interface)) {
            remarks.push(Remark::no_start(format!(
                "route \"{}\": {}",
                route.config.name,
                bind::missing(interface)
            )));
        }
        if !bind::has_address(route.config.listen) {
            remarks.push(Remark::no_start(format!(
                "route \"{}\": listen \"{}\": this machine has no such address now; write one that `ip address` \
                 lists, or add the address",
                route.config.name, route.config.listen
            )));
        }
        if lists_without_crl(&route.config) {
            remarks.push(Remark::new(
                &messages::NO_REVOCATION_LIST,
                format!(
                    "route \"{}\": no crl is configured, so a revoked certificate of a listed peer \
                 would be accepted until it expires",
                    route.config.name
                ),
            ));
        }
        let of_route = route.config.remarks().into_iter();
        remarks.extend(of_route.map(of(&messages::CONFIGURATION_REMARK)));
    }
    remarks
}
