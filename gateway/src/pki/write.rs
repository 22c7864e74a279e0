//! Writes files completely or not at all: a temporary file in the same folder, synced, then renamed.
//!
//! A file has its permissions from its creation, so a key is never readable by others, not even briefly.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use tempfile::NamedTempFile;

/// Permissions of private keys.
pub(super) const MODE_KEY: u32 = 0o600;
/// Permissions of files that every user may read.
pub(super) const MODE_PUBLIC: u32 = 0o644;

/// The permissions of a key that a group may read, and those that a replaced key keeps at most: write for its owner, read for its group, none for
/// others.
const MODE_KEY_KEPT: u32 = 0o640;

/// Writes a new file.
///
/// # Errors
///
/// `AlreadyExists` if `path` exists, which is then left unchanged; otherwise the error of the system.
pub(crate) fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let file = temporary(path, bytes, mode)?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    sync_folder(path)
}

/// Replaces several files, or none: every new file is complete on disk beside its old one before the first is
/// renamed. A full disk or a folder that cannot be written therefore changes nothing. The files are renamed
/// one after another, in the order of `files`.
///
/// # Errors
///
/// As for `replace`. After an error of a rename, the files before it are new and the others are old.
pub(crate) fn replace_all(files: &[(&Path, &[u8], u32)]) -> io::Result<()> {
    let written = files.iter().map(|(path, bytes, mode)| {
        let file = temporary(path, bytes, *mode)?;
        if let Ok(old) = std::fs::metadata(path) {
            take_over(file.as_file(), &old, *mode)?;
        }
        Ok((file, *path))
    });
    let written: Vec<_> = written.collect::<io::Result<_>>()?;
    for (file, path) in written {
        file.persist(path).map_err(|error| error.error)?;
    }
    files.iter().try_for_each(|(path, ..)| sync_folder(path))
}

/// Writes the new private key of a site.
///
/// A folder of root that only one group may enter, such as `/etc/wardgate/pki`, names who may read what is in it:
/// if root makes a key there, that group may read the key.
///
/// # Errors
///
/// As for `create`.
pub(crate) fn create_key(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = temporary(path, bytes, MODE_KEY)?;
    let is_root = rustix::process::geteuid().is_root();
    let folder = std::fs::metadata(folder(path))?;
    if let Some(group) = reader(is_root, folder.uid(), folder.gid(), folder.mode()) {
        fchown(file.as_file(), None, Some(group))?;
        file.as_file()
            .set_permissions(Permissions::from_mode(MODE_KEY_KEPT))?;
    }
    file.persist_noclobber(path).map_err(|error| error.error)?;
    sync_folder(path)
}

/// The group that may read new keys in a folder with this owner, group and mode.
fn reader(is_root: bool, owner: u32, group: u32, mode: u32) -> Option<u32> {
    let for_group_only = mode & 0o077 == 0o050;
    (is_root && owner == 0 && group != 0 && for_group_only).then_some(group)
}

/// Replaces a file, keeping its owner and its permissions. If there is none, the same as `create`.
///
/// A key that a service reads through its group must stay readable for it after a renewal.
///
/// # Errors
///
/// The error of the system; the old file is then unchanged.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace_all(&[(path, bytes, mode)])
}

fn temporary(path: &Path, bytes: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    let mut file = tempfile::Builder::new()
        .prefix(&prefix)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Gives `file` the owner and the permissions of the file that it will replace.
fn take_over(file: &File, old: &Metadata, mode: u32) -> io::Result<()> {
    let new = file.metadata()?;
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid()))?;
    }
    let kept = if mode == MODE_KEY {
        MODE_KEY_KEPT
    } else {
        MODE_PUBLIC
    };
    file.set_permissions(Permissions::from_mode(old.mode() & kept))
}

/// A rename is stored on disk only after its folder was synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

/// The folder of a file.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).expect("a folder");
        let name = |entry: io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("stat").mode() & 0o7777
    }

    #[test]
    fn create_writes_the_whole_file_with_its_mode_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("site.key");
        create(&path, b"secret", MODE_KEY).expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"secret");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(dir.path()), ["site.key"]);
    }

    #[test]
    fn create_leaves_an_existing_file_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("site.key");
        std::fs::write(&path, "old").expect("write");
        let error = create(&path, b"new", MODE_KEY).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).expect("read"), b"old");
        assert_eq!(names(dir.path()), ["site.key"]);
    }

    #[test]
    fn only_the_group_that_may_enter_a_folder_of_root_may_read_a_new_key() {
        assert_eq!(reader(true, 0, 990, 0o750), Some(990));
        assert_eq!(reader(true, 0, 990, 0o2750), Some(990));
        for (is_root, owner, group, mode, why) in [
            (false, 0, 990, 0o750, "another user makes the key"),
            (true, 1000, 990, 0o750, "another user owns the folder"),
            (true, 0, 0, 0o750, "root's group is no service"),
            (true, 0, 990, 0o755, "every user may enter"),
            (true, 0, 990, 0o700, "the group may not enter"),
            (true, 0, 990, 0o770, "the group may change the folder"),
            (true, 0, 990, 0o710, "the group may not list the folder"),
        ] {
            assert_eq!(reader(is_root, owner, group, mode), None, "{why}");
        }
    }

    #[test]
    fn a_replaced_key_keeps_its_mode_but_no_access_for_others() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("site.key");
        create(&path, b"old", MODE_KEY).expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("chmod");
        replace(&path, b"new", MODE_KEY).expect("replaced");
        assert_eq!(mode(&path), 0o640);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("chmod");
        replace(&path, b"newer", MODE_KEY).expect("replaced");
        assert_eq!(mode(&path), 0o640);
        assert_eq!(std::fs::read(&path).expect("read"), b"newer");
        assert_eq!(names(dir.path()), ["site.key"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let dir = tempfile::tempdir().expect("a folder");
        // A folder that is not empty cannot be replaced by a file, so the last step fails.
        let path = dir.path().join("taken");
        std::fs::create_dir(&path).expect("mkdir");
        std::fs::write(path.join("inside"), "old").expect("write");
        replace(&path, b"new", MODE_PUBLIC).expect_err("refused");
        assert_eq!(names(dir.path()), ["taken"]);
        assert_eq!(names(&path), ["inside"]);
    }

    #[test]
    fn several_files_are_all_replaced_or_stay_as_they_were() {
        let dir = tempfile::tempdir().expect("a folder");
        let [key, certificate] = ["site.key", "site.pem"].map(|name| dir.path().join(name));
        let both = |bytes: &'static [u8]| {
            let files = [
                (&*key, bytes, MODE_KEY),
                (&*certificate, bytes, MODE_PUBLIC),
            ];
            replace_all(&files)
        };
        both(b"old").expect("written");
        both(b"new").expect("replaced");
        assert_eq!(std::fs::read(&key).expect("read"), b"new");
        assert_eq!(names(dir.path()), ["site.key", "site.pem"]);
        // The second file cannot be written, because its folder is missing.
        let missing = dir.path().join("missing/site.pem");
        let files = [
            (&*key, &b"newer"[..], MODE_KEY),
            (&*missing, b"newer", MODE_PUBLIC),
        ];
        replace_all(&files).expect_err("refused");
        assert_eq!(std::fs::read(&key).expect("read"), b"new");
        assert_eq!(names(dir.path()), ["site.key", "site.pem"]);
    }

    #[test]
    fn readers_see_the_whole_old_file_or_the_whole_new_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("site.pem");
        let contents = [vec![b'a'; 1 << 20], vec![b'b'; 1 << 19]];
        create(&path, &contents[0], MODE_PUBLIC).expect("written");
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..50 {
                    replace(&path, &contents[round % 2], MODE_PUBLIC).expect("replaced");
                }
                done.store(true, std::sync::atomic::Ordering::Release);
            });
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                let seen = std::fs::read(&path).expect("read");
                assert!(contents.contains(&seen), "{} bytes seen", seen.len());
            }
        });
    }
}
