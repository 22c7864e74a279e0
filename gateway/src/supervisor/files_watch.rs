//! Notices that a certificate, key, CA or revocation list was replaced.
//!
//! The folders of the files are watched (inotify), and the folders of every symbolic link on the way to a
//! file, because tools replace a whole set by swapping one link. From time to time the files are looked at
//! without an event as well: a folder that was removed and made again, or a network file system, gives none.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::config::{Config, RouteConfig};
use crate::supervisor::limits::{FILES_LOOK_EVERY, FILES_QUIET, FILES_SETTLED, LINKS_MAX};

/// The watched files.
pub(super) struct FilesWatch {
    // `None` if the kernel allows no further watches; then only the look from time to time is left.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    files: Arc<[PathBuf]>,
    seen: FilesState,
    event: Arc<Notify>,
    // The first event and the last one that were not reported yet.
    pending: Option<(Instant, Instant)>,
    next_look: Instant,
}

/// What distinguishes one state of the files from another, without reading them.
pub(super) type FilesState = Vec<Option<(u64, u64, u64, i64, i64)>>;

/// Why the files of the configuration are read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rotation {
    /// Some have changed, and others may follow: nothing changes unless all are good.
    NewFiles,
    /// The time for others to follow is over.
    CompleteFiles,
    /// Something has expired.
    Expiry,
}

impl FilesWatch {
    /// Watches nothing yet. Also returns why folders cannot be watched, if they cannot.
    pub(super) fn new() -> (Self, Option<String>) {
        let event = Arc::<Notify>::default();
        let heard = Arc::clone(&event);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the files is an event too.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                heard.notify_one();
            }
        });
        let (watcher, fault) = match watcher {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let watch = Self {
            watcher,
            folders: BTreeSet::new(),
            files: Arc::from([]),
            seen: FilesState::new(),
            event,
            pending: None,
            next_look: Instant::now() + FILES_LOOK_EVERY,
        };
        (watch, fault)
    }

    /// Watches the files of `routes`, whose state before they were read was `seen`. Returns the folders that
    /// cannot be watched, with the reason.
    pub(super) fn watch(&mut self, routes: &[Arc<RouteConfig>], seen: FilesState) -> Vec<String> {
        self.files = files_of(routes);
        self.seen = seen;
        let wanted: BTreeSet<_> = self
            .files
            .iter()
            .flat_map(|file| folders_of(file))
            .collect();
        let Some(watcher) = &mut self.watcher else {
            return Vec::new();
        };
        for folder in self.folders.difference(&wanted) {
            // A folder that is gone is not watched any more.
            let _ = watcher.unwatch(folder);
        }
        let mut problems = Vec::new();
        // All of them: a folder that was removed and made again is another one.
        for folder in &wanted {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                problems.push(format!("{}: {error}", folder.display()));
            }
        }
        if wanted != self.folders {
            // A change between reading and watching gives no event.
            self.event.notify_one();
        }
        self.folders = wanted;
        problems
    }

    /// The watched files.
    pub(super) fn files(&self) -> Arc<[PathBuf]> {
        Arc::clone(&self.files)
    }

    /// Takes a new state of the files. Returns whether it is another one.
    pub(super) fn take(&mut self, state: FilesState) -> bool {
        let is_other = state != self.seen;
        self.seen = state;
        is_other
    }

    /// Waits until the files may have changed, and a change has probably ended. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        loop {
            let until = match self.pending {
                Some((first, last)) => (last + FILES_QUIET).min(first + FILES_SETTLED),
                None => self.next_look,
            };
            tokio::select! {
                () = self.event.notified() => {
                    let now = Instant::now();
                    let (first, _) = self.pending.unwrap_or((now, now));
                    self.pending = Some((first, now));
                }
                () = sleep_until(until) => {
                    self.pending = None;
                    self.next_look = Instant::now() + FILES_LOOK_EVERY;
                    return;
                }
            }
        }
    }
}

/// The state of `files` now.
pub(super) fn files_state(files: &[PathBuf]) -> FilesState {
    let each = files.iter().map(|file| {
        let found = fs::metadata(file).ok()?;
        let changed = (found.ctime(), found.ctime_nsec());
        Some((found.dev(), found.ino(), found.size(), changed.0, changed.1))
    });
    each.collect()
}

/// Every file that `routes` name, once.
pub(super) fn files_of(routes: &[Arc<RouteConfig>]) -> Arc<[PathBuf]> {
    let mut files = BTreeSet::new();
    for tls in routes.iter().filter_map(|route| route.tls.as_ref()) {
        files.insert(tls.identity.key.value.clone());
        files.extend(tls.public_files().cloned());
    }
    files.into_iter().collect()
}

/// The folders of the configuration `file` and of every file that `config` names.
pub(super) fn folders_of_all(file: &Path, config: &Config) -> BTreeSet<PathBuf> {
    let token = config
        .gateway
        .web
        .as_ref()
        .and_then(|web| web.token.as_ref());
    let files = files_of(&config.routes);
    let files = files.iter().map(PathBuf::as_path);
    let token = token.map(|token| token.value.as_path());
    files
        .chain([file])
        .chain(token)
        .flat_map(folders_of)
        .collect()
}

/// The folders in which a change can change what `file` means: its own, and those of the symbolic links on
/// the way to it.
fn folders_of(file: &Path) -> BTreeSet<PathBuf> {
    let (mut folders, mut rest) = (BTreeSet::new(), vec![file.to_owned()]);
    // LIMIT: LINKS_MAX.
    for _ in 0..LINKS_MAX {
        let Some(path) = rest.pop() else { break };
        let mut at = PathBuf::new();
        let mut components = path.components();
        while let Some(component) = components.next() {
            let folder = at.clone();
            at.push(component);
            let Component::Normal(_) = component else {
                continue;
            };
            if let Ok(target) = fs::read_link(&at) {
                rest.push(folder.join(target).join(components.as_path()));
                folders.insert(folder);
                break;
            }
            if components.as_path().as_os_str().is_empty() {
                folders.insert(folder);
            }
        }
    }
    // A path in the working directory has an empty folder.
    folders
        .into_iter()
        .map(|folder| match folder.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => folder,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_folders_of_all_links_on_the_way_are_watched() {
        let folder = tempfile::tempdir().expect("there is room");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("sets")).expect("our folder");
        fs::create_dir(at("sets/1")).expect("our folder");
        fs::write(at("sets/1/site.pem"), "").expect("our folder");
        symlink("sets/1", at("now")).expect("our folder");
        symlink("../now/site.pem", at("sets/site.pem")).expect("our folder");
        let folders = folders_of(&at("sets/site.pem"));
        let ours = folders
            .iter()
            .filter(|found| found.starts_with(folder.path()));
        // The link itself, the link to the folder, and the file.
        let expected = [
            folder.path().join("sets"),
            folder.path().join("sets/.."),
            at("sets/../sets/1"),
        ];
        assert_eq!(
            ours.cloned().collect::<BTreeSet<_>>(),
            BTreeSet::from(expected)
        );
        assert_eq!(
            folders_of(Path::new("site.pem")),
            BTreeSet::from([PathBuf::from(".")])
        );
        symlink("loop", at("loop")).expect("our folder");
        assert_eq!(folders_of(&at("loop")).len(), folders_of(&at("x")).len());
    }

    #[test]
    fn a_replaced_file_has_another_state() {
        let folder = tempfile::tempdir().expect("there is room");
        let file = folder.path().join("site.pem");
        let files = [file.clone()];
        let gone = files_state(&files);
        fs::write(&file, "1").expect("our folder");
        let first = files_state(&files);
        let beside = folder.path().join("new");
        fs::write(&beside, "2").expect("our folder");
        fs::rename(&beside, &file).expect("our folder");
        let second = files_state(&files);
        assert_ne!(gone, first);
        assert_ne!(first, second);
        assert_eq!(second, files_state(&files));
    }
}
