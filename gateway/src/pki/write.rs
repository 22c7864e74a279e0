//! Writes files completely or not at all: a temporary file in the same folder, synced, then renamed.
//!
//! A file has its permissions from its creation, so a key is never readable by others, not even briefly.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

/// Permissions of private keys.
pub(super) const MODE_KEY: u32 = 0o600;
/// Permissions of files that every user may read.
pub(super) const MODE_PUBLIC: u32 = 0o644;

/// Permissions of new folders for such files. The folder above decides who may enter.
const MODE_FOLDER: u32 = 0o755;

/// Permissions of the configuration. An existing one keeps its own, without write permission for others than its owner:
/// the gateway refuses such a file. For a new one see `for_readers`.
pub(crate) const MODE_CONFIG: u32 = 0o640;

/// The permissions of a key that a group may read, and those that a replaced key keeps at most: write for its owner, read for its group, none for
/// others.
const MODE_KEY_KEPT: u32 = 0o640;

/// The characters that `tempfile` chooses for a name.
const CHOSEN: usize = 6;
/// A younger temporary file may be one of a command that runs now, which needs it for milliseconds.
const LEFT_AFTER: Duration = Duration::from_secs(60 * 60);

/// Writes a new file.
///
/// # Errors
///
/// `AlreadyExists` if `path` exists, which is then left unchanged; otherwise the error of the system.
pub(crate) fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let file = temporary(path, bytes, mode)?;
    if mode == MODE_CONFIG {
        for_readers(file.as_file(), path)?;
    }
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
        } else if *mode == MODE_CONFIG {
            for_readers(file.as_file(), path)?;
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
    if let Some(group) = reader_of(path)? {
        fchown(file.as_file(), None, Some(group))?;
        file.as_file()
            .set_permissions(Permissions::from_mode(MODE_KEY_KEPT))?;
    }
    file.persist_noclobber(path).map_err(|error| error.error)?;
    sync_folder(path)
}

/// Lets the service read a new configuration: its group in a folder that names one, such as `/etc/wardgate`. In every
/// other folder the service may be any user, so all may read what holds no secret.
fn for_readers(file: &File, path: &Path) -> io::Result<()> {
    let mode = match reader_of(path)? {
        Some(group) => {
            fchown(file, None, Some(group))?;
            MODE_CONFIG
        }
        None => MODE_PUBLIC,
    };
    file.set_permissions(Permissions::from_mode(mode))
}

/// The group that may read what this user creates at `path`.
fn reader_of(path: &Path) -> io::Result<Option<u32>> {
    let is_root = rustix::process::geteuid().is_root();
    let folder = std::fs::metadata(folder(path))?;
    Ok(reader(is_root, folder.uid(), folder.gid(), folder.mode()))
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
    let mut file = tempfile::Builder::new()
        .prefix(&temporary_prefix(path).ok_or(io::ErrorKind::InvalidFilename)?)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder(path))?;
    // Whatever the umask of an administrator is: the service reads what root has written.
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// How the names of temporary files for `path` begin.
fn temporary_prefix(path: &Path) -> Option<OsString> {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name()?);
    Some(prefix)
}

/// Removes what killed commands of this user have left for `path`: temporary files, which may hold a key. Returns what was
/// removed. A file that cannot be removed stays.
pub(crate) fn remove_leftovers(path: &Path) -> Vec<PathBuf> {
    match temporary_prefix(path) {
        Some(prefix) => remove_leftovers_named(folder(path), &prefix, ""),
        None => Vec::new(),
    }
}

/// The same for the files that `tempfile` has made in `folder` with this prefix and suffix.
pub(crate) fn remove_leftovers_named(folder: &Path, prefix: &OsStr, suffix: &str) -> Vec<PathBuf> {
    let own = rustix::process::geteuid().as_raw();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let left = entries.filter(|entry| {
        // Of the entry itself, also if it is a link.
        let is_left = |metadata: Metadata| {
            metadata.is_file() && metadata.uid() == own && is_older(&metadata, LEFT_AFTER)
        };
        is_chosen(&entry.file_name(), prefix, suffix) && entry.metadata().is_ok_and(is_left)
    });
    let paths = left.map(|entry| entry.path());
    paths
        .filter(|path| std::fs::remove_file(path).is_ok())
        .collect()
}

/// Whether `tempfile` has made a name of this prefix and suffix.
fn is_chosen(name: &OsStr, prefix: &OsStr, suffix: &str) -> bool {
    let name = name.as_bytes().strip_prefix(prefix.as_bytes());
    let chosen = name.and_then(|rest| rest.strip_suffix(suffix.as_bytes()));
    chosen.is_some_and(|chosen| {
        chosen.len() == CHOSEN && chosen.iter().all(u8::is_ascii_alphanumeric)
    })
}

/// Whether a file was last changed so long ago.
fn is_older(metadata: &Metadata, age: Duration) -> bool {
    let elapsed = metadata.modified().ok().and_then(|at| at.elapsed().ok());
    elapsed.is_some_and(|elapsed| elapsed > age)
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

/// Makes a folder for public files, and those above it that are missing. All users may enter them, whatever the umask is;
/// folders that exist stay as they are.
///
/// # Errors
///
/// The error of the system.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder == Path::new("") || folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folder(above)?;
    }
    match std::fs::create_dir(folder) {
        // Another process has made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {
            return Ok(());
        }
        outcome => outcome?,
    }
    std::fs::set_permissions(folder, Permissions::from_mode(MODE_FOLDER))
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

    /// The test below, in a process of its own: a umask is that of a process.
    const WITH_UMASK: &str = "WARDGATE_TEST_FOLDER_OF_UMASK";

    #[test]
    fn the_umask_does_not_close_what_others_must_read() {
        if let Some(folder) = std::env::var_os(WITH_UMASK) {
            let path = |name| Path::new(&folder).join(name);
            make_folder(&path("pki/peers")).expect("made");
            create(&path("site.pem"), b"public", MODE_PUBLIC).expect("written");
            create(&path("site.key"), b"secret", MODE_KEY).expect("written");
            replace(&path("ca.pem"), b"public", MODE_PUBLIC).expect("written");
            return;
        }
        for umask in ["077", "027", "000"] {
            let dir = tempfile::tempdir().expect("a folder");
            let this = "pki::write::tests::the_umask_does_not_close_what_others_must_read";
            let status = std::process::Command::new("sh")
                .args(["-c", "umask $0; exec \"$@\"", umask])
                .arg(std::env::current_exe().expect("this program"))
                .args(["--exact", this])
                .env(WITH_UMASK, dir.path())
                .stdout(std::process::Stdio::null())
                .status();
            assert!(status.expect("it runs").success());
            for (name, expected) in [
                ("site.pem", 0o644),
                ("ca.pem", 0o644),
                ("site.key", 0o600),
                ("pki", 0o755),
                ("pki/peers", 0o755),
            ] {
                let found = mode(&dir.path().join(name));
                assert_eq!(found, expected, "{name} with umask {umask}: {found:o}");
            }
        }
    }

    #[test]
    fn only_old_temporary_files_of_a_path_are_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("site.key");
        let age = |path: &Path, by: Duration| {
            let file = File::open(path).expect("our file");
            let long_ago = std::time::SystemTime::now() - by;
            file.set_modified(long_ago).expect("our file");
        };
        // A name as `temporary` makes it, so that a new form of the names is noticed.
        let (_, left) = temporary(&path, b"secret", MODE_KEY)
            .expect("written")
            .keep()
            .expect("it stays");
        age(&left, LEFT_AFTER + Duration::from_secs(1));
        let others = [
            "site.key",
            ".site.key",
            ".site.keyAb12c",
            ".site.keyAb12cDe",
            ".site.key.bak12",
            ".site.pemAb12cD",
            "site.keyAb12cD",
        ];
        for name in others {
            std::fs::write(dir.path().join(name), "").expect("our folder");
            age(&dir.path().join(name), LEFT_AFTER + LEFT_AFTER);
        }
        let young = dir.path().join(".site.keyYoung1");
        std::fs::write(&young, "").expect("our folder");
        let link = dir.path().join(".site.keyLinked");
        std::os::unix::fs::symlink(&path, &link).expect("our folder");
        std::fs::create_dir(dir.path().join(".site.keyFolder")).expect("our folder");

        assert_eq!(remove_leftovers(&path), [left]);
        assert_eq!(names(dir.path()).len(), others.len() + 3);

        let trial = dir.path().join(".pairAb12cD.pem");
        std::fs::write(&trial, "").expect("our folder");
        let remove = || remove_leftovers_named(dir.path(), OsStr::new(".pair"), ".pem");
        assert!(remove().is_empty());
        age(&trial, LEFT_AFTER + LEFT_AFTER);
        assert_eq!(remove(), [trial]);
    }

    /// csync2 compares a pattern without a slash with the name of the file, and `*` also begins with a dot there.
    #[test]
    fn csync2_copies_no_temporary_file() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/ha/csync2.cfg");
        let text = std::fs::read_to_string(path).expect("it is there");
        let excluded = |line: &str| line.trim() == "exclude .*;";
        assert!(text.lines().any(excluded), "{text}");
        let file = temporary(&std::env::temp_dir().join("site.key"), b"", MODE_KEY);
        let file = file.expect("written");
        let name = file.path().file_name().expect("it has a name");
        assert!(name.as_bytes().starts_with(b"."), "{}", name.display());
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
    fn a_configuration_keeps_its_mode_and_its_owner() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("wardgate.toml");
        create(&path, b"old", MODE_CONFIG).expect("written");
        // The folder of a test names no group of a service.
        assert_eq!(mode(&path), 0o644);
        let is_root = rustix::process::geteuid().is_root();
        let owner = is_root.then_some(12_345);
        for (before, kept) in [
            (0o600, 0o600),
            (0o640, 0o640),
            (0o644, 0o644),
            (0o660, 0o640),
        ] {
            std::fs::set_permissions(&path, Permissions::from_mode(before)).expect("chmod");
            std::os::unix::fs::chown(&path, owner, owner).expect("chown");
            replace(&path, b"new", MODE_CONFIG).expect("replaced");
            let now = std::fs::metadata(&path).expect("stat");
            assert_eq!(now.mode() & 0o7777, kept);
            let owners = (now.uid(), now.gid());
            assert!(!is_root || owners == (12_345, 12_345), "{owners:?}");
        }
    }

    #[test]
    fn a_new_configuration_is_for_the_group_that_may_enter_its_folder() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::chown(dir.path(), Some(0), Some(12_345)).expect("chown");
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o750)).expect("chmod");
        let [created, replaced] = ["a.toml", "b.toml"].map(|name| dir.path().join(name));
        create(&created, b"new", MODE_CONFIG).expect("written");
        replace(&replaced, b"new", MODE_CONFIG).expect("written");
        for path in [created, replaced] {
            let now = std::fs::metadata(&path).expect("stat");
            assert_eq!(
                (now.mode() & 0o7777, now.uid(), now.gid()),
                (0o640, 0, 12_345)
            );
        }
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
