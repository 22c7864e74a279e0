//! The files of this program in `/etc`, and files that are written whole or not at all.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::host::{Host, NoValue, reason};

/// A file that this program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OurFile {
    /// Sysctls.
    Sysctl,
    /// Applies rings and offloads at each start of the host, before the network is configured.
    LinkUnit,
    /// Applies at each start of the host what else no file of sysctl.d can hold.
    BootUnit,
    /// Limits of the service, and its wish for the units above.
    DropIn,
}

/// A file as it was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) text: String,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl OurFile {
    pub(crate) const ALL: [Self; 4] = [Self::Sysctl, Self::LinkUnit, Self::BootUnit, Self::DropIn];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Sysctl => "etc/sysctl.d/90-wardgate.conf",
            Self::LinkUnit => "etc/systemd/system/wardgate-tune-link.service",
            Self::BootUnit => "etc/systemd/system/wardgate-tune.service",
            Self::DropIn => "etc/systemd/system/wardgate.service.d/90-tune.conf",
        }
    }

    /// The file as it is; nothing if there is none.
    ///
    /// A file that is a symbolic link (`/dev/null` masks it) or no text was decided by an administrator: an error.
    pub(crate) fn read(self, host: &Host) -> Result<Option<Saved>, NoValue> {
        let metadata = match fs::symlink_metadata(host.path(self.path())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(NoValue(reason(&error))),
            Ok(metadata) => metadata,
        };
        if !metadata.is_file() {
            return Err(NoValue("it is not a regular file".to_owned()));
        }
        let bytes = host
            .bytes(self.path())
            .map_err(|error| NoValue(reason(&error)))?;
        let is_whole = u64::try_from(bytes.len()) == Ok(metadata.len());
        match String::from_utf8(bytes) {
            Ok(text) if is_whole => Ok(Some(Saved {
                text,
                mode: metadata.mode() & 0o7777,
                uid: metadata.uid(),
                gid: metadata.gid(),
            })),
            _ => Err(NoValue(
                "it is not a text that this program could restore".to_owned(),
            )),
        }
    }
}

/// Writes a file whole or not at all, and returns the folders that had to be made, below the root.
pub(crate) fn write(
    host: &Host,
    path: &str,
    text: &str,
    like: Option<&Saved>,
) -> io::Result<Vec<String>> {
    let made = make_folders(host, path)?;
    let target = host.path(path);
    let folder = target.parent().unwrap_or_else(|| host.root());
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Some(saved) = like {
        chown(file.path(), Some(saved.uid), Some(saved.gid))?;
    }
    let mode = like.map_or(0o644, |saved| saved.mode);
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(&target)?;
    sync_folder(folder)?;
    Ok(made)
}

/// Removes a file, and makes sure that it is gone after a crash.
pub(crate) fn remove(host: &Host, path: &str) -> io::Result<()> {
    let target = host.path(path);
    fs::remove_file(&target)?;
    target.parent().map_or(Ok(()), sync_folder)
}

/// Makes the folders of a file that are missing, and returns them, the outermost first.
pub(crate) fn make_folders(host: &Host, path: &str) -> io::Result<Vec<String>> {
    let mut made = Vec::new();
    for (at, _) in path.match_indices('/') {
        let folder = path.get(..at).unwrap_or_default();
        match fs::create_dir(host.path(folder)) {
            Ok(()) => {
                fs::set_permissions(host.path(folder), Permissions::from_mode(0o755))?;
                made.push(folder.to_owned());
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(made)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}
