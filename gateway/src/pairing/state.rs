//! The state folder of the gateway: updates that were received, the own one, and how far peers have come.
//!
//! The process of the gateway may write here, so nothing here is trusted: an update is used only after its signature
//! was checked, and files are read without following links.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::limits::UPDATE_BYTES_MAX;
use super::update::{RenewalMessage, Update};
use crate::pki::write;

const MODE: u32 = 0o644;
/// Permissions of the folder, as `StateDirectoryMode` of the systemd unit.
const MODE_FOLDER: u32 = 0o770;
/// The own update. No peer can have this name, because a name has no comma.
const OWN: &str = "own,update";

/// The folder.
#[derive(Debug)]
pub struct StateFolder(PathBuf);

impl StateFolder {
    /// The folder at `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder at `path`. A missing one is made for the user and the group that the gateway becomes, `owner`, and is
    /// this process's own without them. One that is there stays as it is.
    ///
    /// # Errors
    /// The error of the system.
    pub fn made_for(path: &Path, owner: Option<(u32, u32)>) -> io::Result<Self> {
        write::make_folder(write::folder(path))?;
        make(path, owner)?;
        Ok(Self::new(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The own update, for other sites.
    #[must_use]
    pub fn own(&self) -> Option<Vec<u8>> {
        self.read(OWN)
    }

    /// Replaces the own update.
    ///
    /// # Errors
    /// The error of the system.
    pub fn set_own(&self, update: &[u8]) -> io::Result<()> {
        self.write(OWN, update)
    }

    /// The last update that a peer has sent.
    #[must_use]
    pub fn received(&self, peer: &str) -> Option<Vec<u8>> {
        self.read(&format!("{peer}.update"))
    }

    /// Stores an update of a peer.
    ///
    /// # Errors
    /// The error of the system.
    pub fn store(&self, peer: &str, update: &[u8]) -> io::Result<()> {
        self.write(&format!("{peer}.update"), update)
    }

    /// Removes the stored update of a peer, so that it cannot be taken for a later one than the next.
    ///
    /// # Errors
    /// The error of the system.
    pub fn forget(&self, peer: &str) -> io::Result<()> {
        self.remove(&format!("{peer}.update"))
    }

    /// Removes the own update.
    ///
    /// # Errors
    /// The error of the system.
    pub fn remove_own(&self) -> io::Result<()> {
        self.remove(OWN)
    }

    /// Notes the own update that a peer uses.
    ///
    /// # Errors
    /// The error of the system.
    pub fn note_in_use(&self, peer: &str, sequence: u64) -> io::Result<()> {
        let name = format!("{peer}.in-use");
        if self.number(&name) == sequence {
            return Ok(());
        }
        self.write(&name, sequence.to_string().as_bytes())
    }

    /// The sequence of the own update that a peer uses; 0 if it uses none.
    #[must_use]
    pub fn in_use_at(&self, peer: &str) -> u64 {
        self.number(&format!("{peer}.in-use"))
    }

    /// Notes the update of a peer that is used here.
    ///
    /// # Errors
    /// The error of the system.
    pub fn note_used(&self, peer: &str, sequence: u64) -> io::Result<()> {
        self.write(&format!("{peer}.used"), sequence.to_string().as_bytes())
    }

    /// What is sent to a peer at the beginning.
    #[must_use]
    pub fn message_for(&self, peer: &str) -> RenewalMessage {
        let own = self.own().filter(|bytes| Update::read(bytes).is_ok());
        RenewalMessage {
            in_use: self.number(&format!("{peer}.used")),
            update: own.unwrap_or_default(),
        }
    }

    fn number(&self, name: &str) -> u64 {
        let text = self
            .read(name)
            .and_then(|bytes| String::from_utf8(bytes).ok());
        text.and_then(|text| text.trim().parse().ok())
            .unwrap_or_default()
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        let file = File::options()
            .read(true)
            .custom_flags(flags)
            .open(self.0.join(name))
            .ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        // LIMIT: UPDATE_BYTES_MAX.
        let most = u64::try_from(UPDATE_BYTES_MAX).unwrap_or(u64::MAX);
        file.take(most.saturating_add(1))
            .read_to_end(&mut bytes)
            .ok()?;
        (bytes.len() <= UPDATE_BYTES_MAX).then_some(bytes)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let path = self.0.join(name);
        // A symbolic link at this path is not followed: the rename replaces it.
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            fs::remove_file(&path)?;
        }
        // Without the owner of an earlier file: root and the user of the gateway write here, each its own files.
        let mut file = tempfile::Builder::new()
            .prefix(".new")
            .permissions(fs::Permissions::from_mode(MODE))
            .tempfile_in(&self.0)?;
        // Whatever the umask is: the other of the two users reads it.
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(MODE))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Makes one folder with `MODE_FOLDER`, whatever the umask is. One that is there already is not changed.
fn make(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
            return Ok(());
        }
        outcome => outcome?,
    }
    // If a link has taken its place meanwhile, the folder to which that leads gets no other owner.
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
    let made = File::options().read(true).custom_flags(flags).open(path)?;
    if let Some((user, group)) = owner {
        fchown(&made, Some(user), Some(group))?;
    }
    made.set_permissions(fs::Permissions::from_mode(MODE_FOLDER))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    const OWNER: (u32, u32) = (12_345, 12_346);

    /// Owner, group and permissions.
    fn of(path: &Path) -> (u32, u32, u32) {
        let found = fs::metadata(path).expect("it is there");
        (found.uid(), found.gid(), found.mode() & 0o7777)
    }

    #[test]
    fn a_folder_that_root_makes_belongs_to_the_user_of_the_gateway() {
        let is_root = rustix::process::geteuid().is_root();
        let folder = tempfile::tempdir().expect("there is room");
        let (own, group, _) = of(folder.path());
        let owner = if is_root { OWNER } else { (own, group) };
        let above = folder.path().join("wardgate");
        let state = StateFolder::made_for(&above.join("state"), Some(owner)).expect("it is made");
        assert_eq!(of(state.path()), (owner.0, owner.1, 0o770));
        assert_eq!(of(&above), (own, group, 0o755));
        state.set_own(b"update").expect("it can be written");
        // Without a user that the gateway becomes, and a folder that is there.
        let other = folder.path().join("other");
        StateFolder::made_for(&other, None).expect("it is made");
        assert_eq!(of(&other), (own, group, 0o770));
    }

    #[test]
    fn a_folder_or_a_link_that_is_there_keeps_its_owner_and_its_permissions() {
        let folder = tempfile::tempdir().expect("there is room");
        let before = of(folder.path());
        StateFolder::made_for(folder.path(), Some(OWNER)).expect("it is there");
        let link = folder.path().join("link");
        symlink(folder.path(), &link).expect("our folder");
        StateFolder::made_for(&link, Some(OWNER)).expect("it is there");
        assert_eq!(of(folder.path()), before);
        // A link to nothing is no place for a folder of root.
        let dangling = folder.path().join("dangling");
        symlink(folder.path().join("nothing"), &dangling).expect("our folder");
        StateFolder::made_for(&dangling, Some(OWNER)).expect_err("it leads to no folder");
        assert!(!folder.path().join("nothing").exists());
    }
}
