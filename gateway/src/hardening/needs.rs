//! What a configuration needs of the system: folders, ports, names, capabilities.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;

use super::part::SandboxPart;
use crate::config::{Config, Host, RouteConfig, Target};

/// All that a process with a configuration uses after its start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needs {
    /// Folders with files to read, as existing paths without symbolic links.
    folders: BTreeSet<PathBuf>,
    /// Single files to read.
    pub(super) files: BTreeSet<PathBuf>,
    /// Folders in which files are removed.
    pub(super) sockets: BTreeSet<PathBuf>,
    /// The state folder, in which files may be written.
    pub(super) state: Option<PathBuf>,
    /// Whether a peer takes part in renewals, so that files are written there.
    writes_state: bool,
    /// Ports to listen on, with the route.
    listen: Vec<(u16, String)>,
    /// Ports to connect to, with the route.
    connect: Vec<(u16, String)>,
    spare: Vec<RangeInclusive<u16>>,
    resolves: bool,
    is_transparent: bool,
}

impl Needs {
    /// What `config` needs. `folders` are those of its files, and of the symbolic links on the way to them.
    pub(crate) fn new(config: &Config, folders: impl IntoIterator<Item = PathBuf>) -> Self {
        let routes = || config.routes.iter().map(AsRef::as_ref);
        let metrics = config
            .gateway
            .metrics
            .map(|address| (address.port(), "metrics".to_owned()));
        let listen = routes().map(|route| (route.listen.port(), named(route)));
        let targets =
            || routes().flat_map(|route| targets(route).map(move |target| (route, target)));
        let mut connect: Vec<_> = targets()
            .map(|(route, target)| (target.port, named(route)))
            .collect();
        connect.sort();
        connect.dedup();
        Self {
            folders: folders
                .into_iter()
                .filter_map(|folder| existing(&folder))
                .collect(),
            files: BTreeSet::new(),
            sockets: BTreeSet::new(),
            state: None,
            writes_state: false,
            listen: listen.chain(metrics).collect(),
            connect,
            spare: config.gateway.reload_ports.clone(),
            resolves: targets().any(|(_, target)| matches!(target.host, Host::Name(_))),
            is_transparent: routes().any(|route| route.source.is_transparent),
        }
    }

    /// Adds a single file to read.
    pub(crate) fn with_file(mut self, file: &Path) -> Self {
        self.files.insert(file.to_owned());
        self
    }

    /// Adds the folder of a socket, which the process removes at its end.
    pub(crate) fn with_socket(mut self, socket: Option<&Path>) -> Self {
        let folder = socket.and_then(Path::parent).and_then(existing);
        self.sockets.extend(folder);
        self
    }

    /// Adds the state folder. A later reload may be the first that writes there, so it is allowed if it exists.
    pub(crate) fn with_state(mut self, folder: &Path, is_written: bool) -> Self {
        self.state = fs::canonicalize(folder).ok();
        self.writes_state = is_written;
        self
    }

    /// Folders with files to read.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(PathBuf::as_path)
    }

    /// Whether names are looked up.
    pub(super) fn resolves(&self) -> bool {
        self.resolves
    }

    /// The ports to bind.
    pub(super) fn bound_ports(&self) -> BTreeSet<u16> {
        let listen = self.listen.iter().map(|(port, _)| *port);
        // A connection from the address of a client is bound to a port that the kernel chooses.
        let chosen = self.is_transparent.then_some(0);
        listen
            .chain(self.spare.iter().cloned().flatten())
            .chain(chosen)
            .collect()
    }

    /// The ports that the workers connect to.
    pub(super) fn target_ports(&self) -> BTreeSet<u16> {
        let connect = self.connect.iter().map(|(port, _)| *port);
        connect
            .chain(self.spare.iter().cloned().flatten())
            .collect()
    }

    /// The capabilities that a process needs to serve, and to open its listeners again.
    pub(super) fn capabilities(&self) -> CapabilitySet {
        let mut kept = CapabilitySet::empty();
        if self.bound_ports().range(1..FIRST_FREE).next().is_some() {
            kept |= CapabilitySet::NET_BIND_SERVICE;
        }
        if self.is_transparent {
            kept |= CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
        }
        kept
    }

    /// What `wanted` needs beyond this, for those parts of the sandbox that are on: a message for each.
    pub(super) fn obstacles(
        &self,
        wanted: &Self,
        is_on: impl Fn(SandboxPart) -> bool,
    ) -> Vec<String> {
        let mut found = Vec::new();
        let mut needs = |what: String| found.push(format!("needs a restart: {what}; {REMEDY}"));
        if is_on(SandboxPart::Files) {
            let allowed = |folder: &Path| self.folders().any(|own| folder.starts_with(own));
            for folder in wanted.folders().filter(|folder| !allowed(folder)) {
                needs(format!(
                    "the sandbox of the running process does not allow to read {}",
                    folder.display()
                ));
            }
            let may_write = self.state.is_some() && self.state == wanted.state;
            if wanted.writes_state && !may_write {
                needs(
                    "the sandbox of the running process does not allow to write in the state folder (state), for \
                     renewals of paired peers"
                        .to_owned(),
                );
            }
            if wanted.resolves && !self.resolves {
                needs(
                    "no target was a name when this process started, so its sandbox does not allow look-ups of names"
                        .to_owned(),
                );
            }
        }
        if is_on(SandboxPart::Ports) {
            let (bound, connected) = (self.bound_ports(), self.target_ports());
            for (port, of) in wanted
                .listen
                .iter()
                .filter(|(port, _)| !bound.contains(port))
            {
                needs(format!(
                    "{of}: the sandbox of the running process does not allow to listen on port {port}"
                ));
            }
            for (port, of) in wanted
                .connect
                .iter()
                .filter(|(port, _)| !connected.contains(port))
            {
                needs(format!(
                    "{of}: the sandbox of the running process does not allow to connect to port {port}"
                ));
            }
        }
        if is_on(SandboxPart::Privileges) {
            let lost = wanted.capabilities() - self.capabilities();
            if lost.contains(CapabilitySet::NET_BIND_SERVICE) {
                needs("the process has given up the capability for ports below 1024".to_owned());
            }
            if lost.contains(CapabilitySet::NET_RAW) {
                needs(
                    "the process has given up the capability for source = \"transparent\""
                        .to_owned(),
                );
            }
        }
        found
    }
}

const REMEDY: &str = "`wardgate upgrade` uses the new configuration without a refused connection, and reload_ports in \
                      [gateway] names ports for later reloads";

/// The first port that needs no capability.
const FIRST_FREE: u16 = 1024;

fn named(route: &RouteConfig) -> String {
    format!("route \"{}\"", route.name)
}

// The targets of a route, those of its AE titles included.
fn targets(route: &RouteConfig) -> impl Iterator<Item = &Target> {
    let by_title = route.dicom.iter().flat_map(|dicom| &dicom.by_title);
    route
        .targets
        .iter()
        .chain(by_title.flat_map(|one| &one.targets))
}

// The folder without symbolic links; the nearest one above it if it does not exist yet. Never the root, which would
// allow everything.
fn existing(folder: &Path) -> Option<PathBuf> {
    let found = folder.ancestors().find_map(|one| {
        let one = if one.as_os_str().is_empty() {
            Path::new(".")
        } else {
            one
        };
        fs::canonicalize(one).ok()
    });
    found.filter(|found| found.parent().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(listen: &[u16], connect: &[u16]) -> Needs {
        let of = |ports: &[u16]| {
            ports
                .iter()
                .map(|port| (*port, "route \"ct\"".to_owned()))
                .collect()
        };
        Needs {
            listen: of(listen),
            connect: of(connect),
            ..Needs::default()
        }
    }

    #[test]
    fn a_reload_may_write_in_the_state_folder_only_if_the_process_started_with_it() {
        let folder = tempfile::tempdir().expect("there is room");
        let without = needs(&[], &[]).with_state(&folder.path().join("missing"), false);
        let with = needs(&[], &[]).with_state(folder.path(), false);
        let wanted = needs(&[], &[]).with_state(folder.path(), true);
        assert!(with.obstacles(&wanted, |_| true).is_empty());
        let found = without.obstacles(&wanted, |_| true);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("state folder"), "{found:?}");
        assert!(without.obstacles(&with, |_| true).is_empty());
    }

    #[test]
    fn a_reload_may_use_the_same_ports_and_those_that_were_named_for_it() {
        let mut own = needs(&[11112], &[104]);
        own.spare = vec![12000..=12010];
        assert_eq!(
            own.obstacles(&needs(&[12003], &[104, 12010]), |_| true),
            Vec::<String>::new()
        );
        let found = own.obstacles(&needs(&[11113], &[105]), |_| true);
        assert_eq!(found.len(), 2);
        assert!(
            found[0].starts_with("needs a restart: route \"ct\": "),
            "{}",
            found[0]
        );
        assert!(found[0].contains("listen on port 11113"), "{}", found[0]);
        assert!(found[1].contains("connect to port 105"), "{}", found[1]);
        let without = own.obstacles(&needs(&[11113], &[105]), |part| part != SandboxPart::Ports);
        assert_eq!(without, Vec::<String>::new());
    }

    #[test]
    fn a_reload_may_use_folders_below_those_of_the_start_only() {
        let folder = |path: &str| Needs {
            folders: BTreeSet::from([PathBuf::from(path)]),
            ..Needs::default()
        };
        let own = folder("/etc/wardgate");
        assert_eq!(
            own.obstacles(&folder("/etc/wardgate/pki"), |_| true),
            Vec::<String>::new()
        );
        let found = own.obstacles(&folder("/etc/wardgate-b"), |_| true);
        assert!(
            found[0].contains("does not allow to read /etc/wardgate-b"),
            "{found:?}"
        );
    }

    #[test]
    fn a_reload_cannot_have_a_capability_back_or_begin_to_look_names_up() {
        let own = needs(&[11112], &[104]);
        assert_eq!(own.capabilities(), CapabilitySet::empty());
        let mut wanted = needs(&[11112, 104], &[104]);
        wanted.resolves = true;
        wanted.is_transparent = true;
        let found = own
            .obstacles(&wanted, |part| part != SandboxPart::Ports)
            .join("\n");
        for what in [
            "look-ups of names",
            "ports below 1024",
            "source = \"transparent\"",
        ] {
            assert!(found.contains(what), "{found}");
        }
    }

    #[test]
    fn a_folder_that_is_missing_is_replaced_by_the_nearest_one_but_never_by_the_root() {
        let folder = tempfile::tempdir().expect("there is room");
        let own = fs::canonicalize(folder.path()).expect("our folder");
        assert_eq!(existing(&own.join("a/b")), Some(own));
        assert_eq!(existing(Path::new("/no-such-folder/pki")), None);
    }
}
