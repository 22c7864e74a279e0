//! The state folder of the gateway: updates that were received, the own one, and how far peers have come.
//!
//! The process of the gateway may write here, so nothing here is trusted: an update is used only after its signature
//! was checked, and files are read without following links.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::limits::UPDATE_BYTES_MAX;
use super::update::{RenewalMessage, Update};

const MODE: u32 = 0o644;
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

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let path = self.0.join(name);
        // A link that somebody put there is not followed: the rename replaces it.
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
