//! Steps about the files of a route: permissions, the own certificate, and the trust in the peers.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::report::{Side, StepFinding};
use super::user::User;
use crate::config::{Peer, Problem, RouteConfig, RouteTls};
use crate::pki::expiry::{self, Expiry, ExpiryStage};
use crate::pki::store::Store;

/// Whether the files of the route exist, can be read by the user of the service, and the key by no other user.
pub(super) fn permissions(tls: &RouteTls, user: Option<&User>) -> StepFinding {
    for (role, path) in paths(tls) {
        let fault = match user {
            Some(user) => unreadable_by(user, path),
            None => unreadable(path),
        };
        if let Some(fault) = fault {
            return fault.finding(role, path);
        }
    }
    let key = &tls.identity.key.value;
    if let Some(mode) = mode_open_to_all(key) {
        let path = key.display();
        return StepFinding::failed(
            Side::ThisGateway,
            format!("key \"{path}\" has mode {mode:04o}: it is open to every user"),
            format!("`chmod 0640 {path}`, and replace the key if others had it"),
        );
    }
    let count = paths(tls).len();
    StepFinding::ok(match user {
        Some(user) => format!("{count} files, readable by {}", user.name),
        None => format!("{count} files, readable by this command"),
    })
}

/// The files of a route, the key last.
fn paths(tls: &RouteTls) -> Vec<(&'static str, &PathBuf)> {
    let mut paths = vec![("certificate", &tls.identity.certificate.value)];
    for peer in &tls.peers {
        paths.push(("trust", &peer.trust.trust.value));
        paths.extend(peer.trust.crl.iter().map(|crl| ("crl", &crl.value)));
    }
    paths.push(("key", &tls.identity.key.value));
    paths.dedup();
    paths
}

/// Why a file cannot be used.
struct FileFault {
    /// Whether this process may not look, so that nothing is known about the file.
    is_hidden: bool,
    /// The end of a sentence about the file.
    text: String,
    remedy: String,
}

impl FileFault {
    fn finding(self, role: &str, path: &Path) -> StepFinding {
        let text = format!("{role} \"{}\" {}", path.display(), self.text);
        match self.is_hidden {
            true => StepFinding::warning(Side::ThisGateway, text, self.remedy),
            false => StepFinding::failed(Side::ThisGateway, text, self.remedy),
        }
    }
}

fn unreadable_by(user: &User, path: &Path) -> Option<FileFault> {
    match user.can_read(path) {
        Ok(Ok(())) => None,
        Ok(Err(refusal)) => {
            let (place, name) = (refusal.path.display(), &user.name);
            let need = if refusal.path == *path { "r" } else { "x" };
            Some(FileFault {
                is_hidden: false,
                text: format!("cannot be read by {name}: \"{place}\" {}", refusal.why),
                remedy: format!(
                    "`chgrp` it to the group of the service, and `chmod g+{need} {place}`"
                ),
            })
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(FileFault {
            is_hidden: true,
            text: format!("could not be examined by this command: {error}"),
            remedy: "run this command as root, or as the user of the service".to_owned(),
        }),
        Err(error) => Some(of_error(&error)),
    }
}

fn unreadable(path: &Path) -> Option<FileFault> {
    File::open(path).err().map(|error| of_error(&error))
}

fn of_error(error: &io::Error) -> FileFault {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => {
            "correct the path in the configuration, or put the file there; the file in `trust` is the ca.pem of \
             the other site"
        }
        io::ErrorKind::PermissionDenied => {
            "run this command as root, or let the group of the service read the file (`chmod 0640`)"
        }
        _ => "look at the file and its file system",
    };
    FileFault {
        // The user of the service is not known here, and may be another one.
        is_hidden: error.kind() == io::ErrorKind::PermissionDenied,
        text: format!("cannot be read: {error}"),
        remedy: remedy.to_owned(),
    }
}

/// Whether this command may not read a file of the route, so that the contents of its files are not known.
pub(super) fn are_hidden(tls: &RouteTls) -> bool {
    paths(tls).iter().any(|(_, path)| {
        let error = File::open(path).err();
        error.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    })
}

fn mode_open_to_all(key: &Path) -> Option<u32> {
    let mode = fs::metadata(key).ok()?.mode() & 0o7777;
    (mode & 0o007 != 0).then_some(mode)
}

/// The certificate and the key of this site.
pub(super) fn certificate(store: &mut Store, route: &RouteConfig, now: SystemTime) -> StepFinding {
    let Some(tls) = &route.tls else {
        return StepFinding::skipped("mode \"passthrough\" has no certificate");
    };
    let scope = scope(route);
    let loaded = store.identity(&scope, &tls.identity, route.mode);
    let problems = store.identity_problems(&tls.identity, route.mode);
    match (loaded, problems.is_empty()) {
        (Some(identity), true) => dated(
            &expiry::of_identity(&tls.identity, &identity, now),
            now,
            String::new(),
        ),
        _ => first(&problems, &scope),
    }
}

/// The CAs and the revocation lists of the peers.
pub(super) fn trust(store: &mut Store, route: &RouteConfig, now: SystemTime) -> StepFinding {
    let Some(tls) = &route.tls else {
        return StepFinding::skipped("mode \"passthrough\" trusts no CA");
    };
    let mut dates = Vec::new();
    for peer in &tls.peers {
        let scope = peer_scope(route, peer);
        let loaded = store.trust(&scope, &peer.trust);
        let problems = store.trust_problems(&peer.trust);
        match loaded {
            Some(trust) if problems.is_empty() => {
                dates.extend(expiry::of_trust("", &peer.trust, &trust));
            }
            _ => return first(problems, &scope),
        }
    }
    let without_list = tls.peers.iter().filter(|peer| peer.trust.crl.is_empty());
    let remark = match without_list.count() {
        0 => String::new(),
        _ => "; no revocation list is configured for some peers".to_owned(),
    };
    dated(&dates, now, remark)
}

/// The scope of the problems of a route.
pub(super) fn scope(route: &RouteConfig) -> String {
    format!("route \"{}\": ", route.name)
}

/// The scope of the problems of a peer.
pub(super) fn peer_scope(route: &RouteConfig, peer: &Peer) -> String {
    match &peer.name {
        Some(name) => format!("peer \"{name}\": "),
        None => scope(route),
    }
}

fn first(problems: &[Problem], scope: &str) -> StepFinding {
    let Some(problem) = problems.first() else {
        let text = "the files cannot be used";
        return StepFinding::failed(
            Side::ThisGateway,
            text,
            "`wardgate check` names the problems",
        );
    };
    let text = problem.text.strip_prefix(scope).unwrap_or(&problem.text);
    StepFinding::failed_sentence(Side::ThisGateway, text)
}

/// A warning for what expires soon, else the nearest date.
fn dated(dates: &[Expiry], now: SystemTime, remark: String) -> StepFinding {
    let Some(next) = dates.iter().min_by_key(|date| date.ends) else {
        return StepFinding::ok(format!("no date to watch{remark}"));
    };
    match next.stage(now) {
        ExpiryStage::Far => {
            let (name, left) = (&next.name, next.time_left(now));
            StepFinding::ok(format!("\"{name}\" {left}{remark}"))
        }
        _ => StepFinding::warning_sentence(Side::ThisGateway, &next.sentence(now)),
    }
}
