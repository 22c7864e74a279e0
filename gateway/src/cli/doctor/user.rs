//! The user of the service, and whether that user can read a file.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The user as whom the gateway runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    /// Its name, or its number.
    pub(super) name: String,
    id: u32,
    groups: Vec<u32>,
}

/// Why a user cannot read a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// The file or the folder that the user may not use.
    pub(super) path: PathBuf,
    /// The end of a sentence about it: `has mode 0600 and belongs to user 0`.
    pub(super) why: String,
}

/// The permission bits for reading a file, and for passing through a folder.
const READ: u32 = 0o4;
const SEARCH: u32 = 0o1;

impl User {
    /// The user with this name or number in the user database of `root` (`/etc`).
    pub(super) fn named(name: &str, etc: &Path) -> Option<Self> {
        let users = fs::read_to_string(etc.join("passwd")).ok()?;
        let entry = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (found, id) = (fields.next()?, fields.nth(1)?);
            let group = fields.next()?.parse().ok()?;
            (found == name || id == name).then_some((found.to_owned(), id.parse().ok()?, group))
        });
        let (name, id, group) = entry?;
        let database = fs::read_to_string(etc.join("group")).unwrap_or_default();
        let mut groups = vec![group];
        groups.extend(database.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (number, members) = (fields.nth(2)?, fields.next()?);
            let is_member = members.split(',').any(|member| member == name);
            number.parse::<u32>().ok().filter(|_| is_member)
        }));
        Some(Self { name, id, groups })
    }

    /// The user of a process, from its `/proc/PID/status`.
    pub(super) fn of_process(id: u32) -> Option<Self> {
        Self::of_status(&fs::read_to_string(format!("/proc/{id}/status")).ok()?)
    }

    fn of_status(text: &str) -> Option<Self> {
        let numbers = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            let numbers = line.split_whitespace().map(str::parse::<u32>);
            numbers.collect::<Result<Vec<_>, _>>().ok()
        };
        // Real, effective, saved, and file system id: the last one is compared with files.
        let id = *numbers("Uid:")?.get(3)?;
        let mut groups = vec![*numbers("Gid:")?.get(3)?];
        groups.extend(numbers("Groups:").unwrap_or_default());
        let name = match id {
            0 => "root (uid 0)".to_owned(),
            _ => format!("user {id}"),
        };
        Some(Self { name, id, groups })
    }

    /// Whether the user may read the file, by the permission bits of the file and of the folders above it.
    ///
    /// # Errors
    /// The error with which this process cannot look.
    pub(super) fn can_read(&self, file: &Path) -> io::Result<Result<(), Unreadable>> {
        let file = fs::canonicalize(file)?;
        let mut folders: Vec<_> = file.ancestors().skip(1).collect();
        folders.reverse();
        let steps = folders.into_iter().map(|folder| (folder, SEARCH));
        for (path, need) in steps.chain([(&*file, READ)]) {
            if let Some(why) = self.refusal(&fs::metadata(path)?, need) {
                let path = path.to_owned();
                return Ok(Err(Unreadable { path, why }));
            }
        }
        Ok(Ok(()))
    }

    fn refusal(&self, metadata: &fs::Metadata, need: u32) -> Option<String> {
        let (mode, owner, group) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
        let shift = match () {
            () if owner == self.id => 6,
            () if self.groups.contains(&group) => 3,
            () => 0,
        };
        let is_allowed = self.id == 0 || (mode >> shift) & need != 0;
        let text = || format!("has mode {mode:04o} and belongs to user {owner}, group {group}");
        (!is_allowed).then(text)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn user(id: u32, groups: &[u32]) -> User {
        let (name, groups) = ("wardgate".to_owned(), groups.to_vec());
        User { name, id, groups }
    }

    #[test]
    fn the_user_database_gives_the_number_and_all_groups() {
        let etc = tempfile::tempdir().expect("a folder");
        let users = "root:x:0:0::/root:/bin/sh\nwardgate:x:990:980::/:/usr/sbin/nologin\n";
        fs::write(etc.path().join("passwd"), users).expect("the folder is ours");
        let groups = "root:x:0:\nssl-cert:x:105:other,wardgate\nx:x:7:wardgate2\n";
        fs::write(etc.path().join("group"), groups).expect("the folder is ours");
        let expected = user(990, &[980, 105]);
        assert_eq!(User::named("wardgate", etc.path()), Some(expected.clone()));
        assert_eq!(User::named("990", etc.path()), Some(expected));
        assert_eq!(User::named("absent", etc.path()), None);
    }

    #[test]
    fn the_status_of_a_process_gives_the_ids_that_are_compared_with_files() {
        let status = "Name:\twardgate\nUid:\t1\t2\t3\t990\nGid:\t1\t2\t3\t980\nGroups:\t105 106 \n";
        let found = User::of_status(status).expect("it has ids");
        assert_eq!((found.id, found.groups), (990, vec![980, 105, 106]));
    }

    #[test]
    fn a_file_is_readable_by_its_owner_its_group_or_every_user_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("site.key");
        fs::write(&file, "key").expect("the folder is ours");
        let metadata = fs::metadata(&file).expect("it was written");
        let (owner, group) = (metadata.uid(), metadata.gid());
        for (mode, who, allowed) in [
            (0o640, user(owner.max(7), &[]), owner >= 7),
            (0o640, user(7, &[group]), true),
            (0o640, user(7, &[group + 1]), false),
            (0o600, user(7, &[group]), false),
            (0o604, user(7, &[]), true),
            (0o000, user(0, &[]), true),
        ] {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(&file, permissions).expect("the file is ours");
            let metadata = fs::metadata(&file).expect("it was written");
            assert_eq!(who.refusal(&metadata, READ).is_none(), allowed, "{mode:o}");
        }
    }
}
