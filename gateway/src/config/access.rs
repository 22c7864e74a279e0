//! Decides which users can change a file: its owner, its group, and every user who may write to a folder on
//! its path.
//!
//! A user who changes the configuration or a key file decides where patient data goes. Each of these files
//! must therefore belong to root or to the user that the process runs as. Access control lists are not read:
//! a user with write access from such a list counts as the group.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::RunAs;

/// The number of links that are followed on a path (`MAXSYMLINKS` of Linux).
const LINKS_MAX: usize = 40;

/// A user of this machine and its first group, as `/etc/passwd` describes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserIds {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl UserIds {
    /// The user that a process of root becomes with this `run_as`; `None` if it stays root, there is no such user, or
    /// this process is not root's.
    pub(crate) fn of_service(run_as: &RunAs) -> Option<Self> {
        let name = run_as
            .user()
            .filter(|_| rustix::process::geteuid().is_root());
        Self::read(Path::new("/"), name?)
    }

    /// The user of this name on the machine whose root folder is `root`.
    pub(crate) fn read(root: &Path, name: &str) -> Option<Self> {
        let users = fs::read_to_string(root.join("etc/passwd")).ok()?;
        // name:password:uid:gid:...
        let mut lines = users.lines();
        let line = lines.find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        let (user, group) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Self { user, group })
    }
}

/// The user and the group that the process runs as, and who else may own a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    user: u32,
    group: u32,
    /// The user of the service, where a process of root accepts its files too.
    service: Option<UserIds>,
    /// What to do if a file that root reads belongs to the user of the service.
    remedy: &'static str,
}

const AS_SERVICE: &str = "run this command as that user (`sudo -u USER wardgate ...`)";
const NAME_SERVICE: &str = "name it in run_as";

/// Owner, group and permission bits of a file or folder.
#[derive(Debug, Clone, Copy)]
struct Access {
    owner: u32,
    group: u32,
    mode: u32,
}

impl From<&Metadata> for Access {
    fn from(metadata: &Metadata) -> Self {
        Self {
            owner: metadata.uid(),
            group: metadata.gid(),
            mode: metadata.mode() & 0o7777,
        }
    }
}

impl Access {
    /// Whether others may add entries to a folder but not rename or delete the entries of its owner.
    fn is_shared(self) -> bool {
        self.mode & 0o1000 != 0 && self.mode & 0o022 != 0
    }
}

impl Process {
    /// The current process, by its effective ids.
    pub(crate) fn current() -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
            service: None,
            remedy: AS_SERVICE,
        }
    }

    /// The same for revocation lists. If root reads them, they may belong to the user of the service, because
    /// `wardgate pki crl fetch` runs as that user. A list counts only with the signature of its CA, so its owner can
    /// keep a newer list away or bring back an earlier one, and nothing else.
    pub(crate) fn for_lists(self, service: Option<UserIds>) -> Self {
        Self {
            service,
            remedy: NAME_SERVICE,
            ..self
        }
    }

    /// Returns which other users can change or replace the file at `path`, which has this metadata. The text
    /// is a predicate of the file and includes the command that fixes the problem.
    pub(crate) fn problem(self, path: &Path, metadata: &Metadata) -> Option<String> {
        self.problem_of_file(path, metadata.into())
            .or_else(|| self.problem_of_path(path))
    }

    /// The same for a private key, whose permission bits are checked by a stricter rule elsewhere.
    pub(crate) fn problem_of_key(self, path: &Path, metadata: &Metadata) -> Option<String> {
        let mut file = Access::from(metadata);
        file.mode = 0;
        self.problem_of_file(path, file)
            .or_else(|| self.problem_of_path(path))
    }

    fn problem_of_file(self, path: &Path, file: Access) -> Option<String> {
        let path = path.display();
        if !self.trusts(file.owner) {
            let (owner, user, remedy) = (file.owner, self.user, self.remedy);
            let owner = name(owner);
            if self.user == 0 {
                return Some(format!(
                    "belongs to {owner}, and wardgate runs as root; if {owner} is the user of the service, \
                     {remedy}, else look at what the file holds, then `chown 0 {path}`"
                ));
            }
            return Some(format!(
                "belongs to {owner}, but only {} may own it; look at what it holds, then `chown {user} \
                 {path}`, or run wardgate as {owner}",
                self.owners(),
            ));
        }
        let writer = self.writer(file)?;
        Some(format!(
            "has mode {:04o}: {writer} can change it; look at what it holds, then `chmod go-w {path}`",
            file.mode
        ))
    }

    /// Follows the path from the root folder through links, as the kernel does.
    fn problem_of_path(self, path: &Path) -> Option<String> {
        let mut at = PathBuf::from("/");
        let mut pending = names(&std::path::absolute(path).ok()?);
        let mut links = 0;
        // If part of the path cannot be read, opening the file has failed or will fail.
        let mut folder = Access::from(&at.symlink_metadata().ok()?);
        loop {
            if let Some(problem) = self.problem_of_folder(&at, folder) {
                return Some(problem);
            }
            let name = pending.pop()?;
            if name == ".." {
                at.pop();
                folder = Access::from(&at.symlink_metadata().ok()?);
                continue;
            }
            let next = at.join(&name);
            let metadata = next.symlink_metadata().ok()?;
            if metadata.is_symlink() {
                links += 1;
                if links > LINKS_MAX {
                    return None;
                }
                if !self.trusts_link(metadata.uid(), folder) {
                    return Some(self.problem_of_link(&next, metadata.uid()));
                }
                let target = next.read_link().ok()?;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                    folder = Access::from(&at.symlink_metadata().ok()?);
                }
                pending.extend(names(&target));
            } else if metadata.is_dir() {
                at = next;
                folder = Access::from(&metadata);
            } else {
                return None;
            }
        }
    }

    fn problem_of_folder(self, path: &Path, folder: Access) -> Option<String> {
        let (mode, user, remedy) = (folder.mode, self.user, self.remedy);
        let path = path.display();
        if !self.trusts(folder.owner) {
            let owner = name(folder.owner);
            if user == 0 {
                return Some(format!(
                    "is below folder \"{path}\" of {owner}, and wardgate runs as root; if {owner} is the user of \
                     the service, {remedy}, else `chown 0 {path}`, or move the file"
                ));
            }
            return Some(format!(
                "is below folder \"{path}\" of {owner}, but only {} may own the folders above it; \
                 `chown {user} {path}`, or move the file",
                self.owners()
            ));
        }
        // Entries of a shared folder are accepted only if they belong to root or to this process's user:
        // others cannot change these.
        if folder.is_shared() {
            return None;
        }
        let writer = self.writer(folder)?;
        Some(format!(
            "is below folder \"{path}\" with mode {mode:04o}: {writer} can replace the file; \
             `chmod go-w {path}`, or move the file"
        ))
    }

    fn problem_of_link(self, path: &Path, owner: u32) -> String {
        let path = path.display();
        let owner = name(owner);
        format!(
            "is reached through link \"{path}\", which belongs to {owner}, who can make it lead \
             elsewhere; name the file itself"
        )
    }

    /// Which users may write besides the owner. Members of root's group, of the process's own group and of that of
    /// an accepted user are trusted like the process.
    fn writer(self, access: Access) -> Option<String> {
        let of_service = self.service.map(|service| service.group);
        let trusted = [Some(0), Some(self.group), of_service];
        if access.mode & 0o002 != 0 {
            Some("every user of this machine".to_owned())
        } else if access.mode & 0o020 != 0 && !trusted.contains(&Some(access.group)) {
            Some(format!("group {}", access.group))
        } else {
            None
        }
    }

    /// The trusted users if the process does not run as root.
    fn owners(self) -> String {
        format!("root and uid {} (wardgate's user)", self.user)
    }

    fn trusts(self, user: u32) -> bool {
        user == 0 || user == self.user || self.is_service(user)
    }

    /// Whether a link with this owner in `folder` is followed. In a folder that is not shared, only its owner can
    /// make links. With a link, the user of the service could choose any file of root.
    fn trusts_link(self, owner: u32, folder: Access) -> bool {
        !self.is_service(owner) && (!folder.is_shared() || self.trusts(owner))
    }

    fn is_service(self, user: u32) -> bool {
        self.service.is_some_and(|service| service.user == user)
    }
}

fn name(user: u32) -> String {
    match user {
        0 => "root".to_owned(),
        user => format!("uid {user}"),
    }
}

/// The names on a path, beginning with the last.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const SERVICE: Process = Process {
        user: 993,
        group: 990,
        service: None,
        remedy: AS_SERVICE,
    };

    fn access(owner: u32, group: u32, mode: u32) -> Access {
        Access { owner, group, mode }
    }

    fn of_file(owner: u32, group: u32, mode: u32) -> Option<String> {
        SERVICE.problem_of_file(Path::new("/etc/site.pem"), access(owner, group, mode))
    }

    fn of_folder(owner: u32, group: u32, mode: u32) -> Option<String> {
        SERVICE.problem_of_folder(Path::new("/srv"), access(owner, group, mode))
    }

    #[test]
    fn files_and_folders_of_root_and_of_the_service_user_are_accepted() {
        for (owner, group, mode) in [
            (0, 0, 0o644),
            (993, 990, 0o600),
            (0, 990, 0o640),
            (0, 0, 0o664),
            (993, 990, 0o770),
        ] {
            assert_eq!(of_file(owner, group, mode), None);
            assert_eq!(of_folder(owner, group, mode), None);
        }
        // /tmp.
        assert_eq!(of_folder(0, 0, 0o1777), None);
    }

    #[test]
    fn a_file_that_another_user_can_change_is_refused_with_the_command_that_fixes_it() {
        assert_eq!(
            of_file(1000, 990, 0o600).as_deref(),
            Some(
                "belongs to uid 1000, but only root and uid 993 (wardgate's user) may own it; look at \
                 what it holds, then `chown 993 /etc/site.pem`, or run wardgate as uid 1000"
            )
        );
        assert_eq!(
            of_file(0, 100, 0o664).as_deref(),
            Some(
                "has mode 0664: group 100 can change it; look at what it holds, then `chmod go-w \
                 /etc/site.pem`"
            )
        );
    }

    #[test]
    fn a_folder_in_which_another_user_can_replace_files_is_refused() {
        assert_eq!(
            of_folder(1000, 990, 0o755).as_deref(),
            Some(
                "is below folder \"/srv\" of uid 1000, but only root and uid 993 (wardgate's user) may own \
                 the folders above it; `chown 993 /srv`, or move the file"
            )
        );
        assert_eq!(
            of_folder(0, 100, 0o775).as_deref(),
            Some(
                "is below folder \"/srv\" with mode 0775: group 100 can replace the file; `chmod go-w /srv`, \
                 or move the file"
            )
        );
        assert_eq!(
            of_folder(0, 0, 0o777).as_deref(),
            Some(
                "is below folder \"/srv\" with mode 0777: every user of this machine can replace the file; \
                 `chmod go-w /srv`, or move the file"
            )
        );
    }

    #[test]
    fn revocation_lists_that_root_reads_may_belong_to_the_user_of_the_service() {
        let root = Process {
            user: 0,
            group: 0,
            ..SERVICE
        };
        let service = UserIds {
            user: 993,
            group: 990,
        };
        let of_list = |process: Process, owner, group, mode| {
            let file = access(owner, group, mode);
            process.problem_of_file(Path::new("/srv/a.crl"), file)
        };
        let of_folder = |process: Process, owner, group, mode| {
            process.problem_of_folder(Path::new("/srv"), access(owner, group, mode))
        };
        let lists = root.for_lists(Some(service));
        for (owner, group, mode) in [(993, 990, 0o644), (993, 990, 0o775), (0, 990, 0o664)] {
            assert_eq!(of_list(lists, owner, group, mode), None);
            assert_eq!(of_folder(lists, owner, group, mode), None);
            assert!(of_list(root, owner, group, mode).is_some());
            assert!(of_folder(root, owner, group, mode).is_some());
        }
        assert!(of_folder(lists, 993, 100, 0o775).is_some());
        assert_eq!(
            of_list(lists, 1000, 990, 0o644).as_deref(),
            Some(
                "belongs to uid 1000, and wardgate runs as root; if uid 1000 is the user of the service, name it in \
                 run_as, else look at what the file holds, then `chown 0 /srv/a.crl`"
            )
        );
        assert!(of_folder(root.for_lists(None), 993, 990, 0o755).is_some());
    }

    #[test]
    fn a_link_of_the_user_of_the_service_does_not_lead_root_to_a_file_of_another_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let link = dir.path().join("a.crl");
        symlink("/etc/passwd", &link).expect("a link");
        let own = Process::current();
        assert_eq!(own.problem_of_path(&link), None);
        let service = UserIds {
            user: own.user,
            group: own.group,
        };
        let problem = own.for_lists(Some(service)).problem_of_path(&link);
        let problem = problem.expect("it is refused");
        assert!(problem.contains("is reached through link"), "{problem}");
    }

    /// Folders `open` (mode 0777) and `closed`, each with a file, in a folder of ours.
    fn folders() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["open", "closed"] {
            fs::create_dir(dir.path().join(name)).expect("mkdir");
            fs::write(dir.path().join(name).join("file"), "").expect("written");
        }
        let open = Permissions::from_mode(0o777);
        fs::set_permissions(dir.path().join("open"), open).expect("chmod");
        dir
    }

    fn is_below_open_folder(dir: &Path, path: &str) -> bool {
        let problem = Process::current().problem_of_path(&dir.join(path));
        let folder = dir.join("open");
        problem.is_some_and(|problem| {
            assert!(
                problem.contains(&format!("{folder:?} with mode 0777")),
                "{problem}"
            );
            true
        })
    }

    #[test]
    fn every_folder_on_the_path_is_checked_in_any_form_of_the_path() {
        let dir = folders();
        let dir = dir.path();
        fs::create_dir(dir.join("open/below")).expect("mkdir");
        fs::write(dir.join("open/below/file"), "").expect("written");
        symlink(dir.join("open"), dir.join("closed/absolute")).expect("a link");
        symlink("../open/below", dir.join("closed/relative")).expect("a link");
        symlink(dir.join("closed/file"), dir.join("open/out")).expect("a link");
        symlink("loop", dir.join("closed/loop")).expect("a link");
        for path in [
            "open/file",
            "open/below/file",
            "open/../closed/file",
            "open/out",
            "closed/absolute/file",
            "closed/relative/file",
        ] {
            assert!(is_below_open_folder(dir, path), "{path}");
        }
        for path in [
            "closed/file",
            "closed/../closed/./file",
            "closed/loop",
            "none",
        ] {
            assert!(!is_below_open_folder(dir, path), "{path}");
        }
    }
}
