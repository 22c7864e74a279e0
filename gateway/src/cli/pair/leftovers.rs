//! What a command that was killed has left: temporary files, which may hold a key.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::rotate::FILES;
use super::write::TRIAL;
use crate::pki::write;

/// Removes what is left beside the certificate and the key of this site, and in the folders of its CA.
pub(super) fn remove_of_site(certificate: &Path, key: &Path, authority: &Path) {
    let neighbours = ["", "next", "previous"].map(|folder| authority.join(folder));
    let of_authority = neighbours
        .iter()
        .flat_map(|folder| FILES.map(|file| folder.join(file)));
    let files = of_authority.chain([certificate.to_owned(), key.to_owned()]);
    report(files.flat_map(|file| write::remove_leftovers(&file)));
}

/// Removes what is left beside the CA certificates of a partner.
pub(super) fn remove_of_trust(trust: &Path) {
    report(write::remove_leftovers(trust));
    remove_trials(write::folder(trust));
}

/// Removes what is left of checks of CA certificates in this folder.
pub(super) fn remove_trials(folder: &Path) {
    report(write::remove_leftovers_named(
        folder,
        OsStr::new(TRIAL.0),
        TRIAL.1,
    ));
}

fn report(removed: impl IntoIterator<Item = PathBuf>) {
    for path in removed {
        println!(
            "removed {}, which an earlier command has left",
            path.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn keys_that_a_killed_command_has_left_are_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("ca/next")).expect("our folder");
        fs::create_dir_all(path("peers")).expect("our folder");
        let left = [
            ".site.keyAb12cD",
            ".site.pemAb12cD",
            "ca/.ca.keyAb12cD",
            "ca/next/.ca.keyAb12cD",
            "peers/.pairAb12cD.pem",
            "peers/.clinic.pemAb12cD",
        ];
        let kept = ["site.key", "site.pem", "ca/ca.key", "peers/clinic.pem"];
        for name in left.iter().chain(&kept) {
            fs::write(path(name), "").expect("our folder");
            let day = Duration::from_secs(24 * 60 * 60);
            let file = File::open(path(name)).expect("our file");
            file.set_modified(SystemTime::now() - day)
                .expect("our file");
        }
        remove_of_site(&path("site.pem"), &path("site.key"), &path("ca"));
        remove_of_trust(&path("peers/clinic.pem"));
        for name in left {
            assert!(!path(name).exists(), "{name}");
        }
        for name in kept {
            assert!(path(name).exists(), "{name}");
        }
    }
}
