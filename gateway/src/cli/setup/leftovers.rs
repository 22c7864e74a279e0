//! What a setup that was killed has left beside the configuration: its trials, which may hold a copy of a key.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use crate::pki::write;

/// How the names of all trials begin.
pub(super) const PREFIX: &str = ".setup";
/// How the name of a trial that is a file ends: earlier versions made such files.
const SUFFIX: &str = ".toml";
/// The characters between them, which `tempfile` chooses.
const CHOSEN: usize = 6;

/// A younger trial may be one of a setup that runs now: a trial takes seconds.
const OLD: Duration = Duration::from_secs(600);

/// Removes old trials of this user in `folder`, and what is left of the keys of the site and its CA below it. What cannot
/// be removed stays, and links are not followed.
pub(super) fn remove(folder: &Path) {
    for file in ["pki/site.pem", "pki/site.key", "ca/ca.key"] {
        for path in write::remove_leftovers(&folder.join(file)) {
            report(&path);
        }
    }
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        // Of the entry itself, also if it is a link.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.uid() != own || !is_old(&metadata) {
            continue;
        }
        let removed = match name.to_str().and_then(chosen) {
            Some("") if metadata.is_dir() => fs::remove_dir_all(&path),
            Some(SUFFIX) if metadata.is_file() => fs::remove_file(&path),
            _ => continue,
        };
        if removed.is_ok() {
            report(&path);
        }
    }
}

fn report(path: &Path) {
    println!(
        "removed {}, which an earlier setup has left",
        path.display()
    );
}

// What follows the characters of `tempfile` in the name of a trial.
fn chosen(name: &str) -> Option<&str> {
    let (letters, rest) = name.strip_prefix(PREFIX)?.split_at_checked(CHOSEN)?;
    let is_chosen = letters.bytes().all(|letter| letter.is_ascii_alphanumeric());
    is_chosen.then_some(rest)
}

fn is_old(metadata: &Metadata) -> bool {
    let age = metadata.modified().ok().map(|at| at.elapsed());
    age.is_some_and(|age| age.is_ok_and(|age| age > OLD))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn only_old_trials_of_a_killed_setup_are_removed() {
        let root = tempfile::tempdir().expect("there is room");
        let folder = root.path().join("etc");
        let elsewhere = root.path().join("elsewhere");
        let trial = |name: &str| {
            let trial = folder.join(name);
            fs::create_dir_all(&trial).expect("our folder");
            fs::write(trial.join("site.key"), "a key").expect("our folder");
            trial
        };
        let age = |path: &Path| {
            let file = File::open(path).expect("our file");
            let long_ago = SystemTime::now() - OLD - OLD;
            file.set_modified(long_ago).expect("our file");
        };
        let key = trial("pki").join(".site.keyAb12cD");
        fs::write(&key, "a key").expect("our folder");
        File::open(&key)
            .and_then(|file| file.set_modified(SystemTime::now() - 10 * OLD))
            .expect("our file");
        let dead = trial(".setupAb12cD");
        fs::create_dir(&elsewhere).expect("our folder");
        fs::write(elsewhere.join("kept"), "").expect("our folder");
        symlink(&elsewhere, dead.join("link")).expect("our folder");
        let file = folder.join(".setupAb12cD.toml");
        fs::write(&file, "").expect("our folder");
        let others = [
            ".setup",
            ".setup-notes",
            ".setupAb12cDe",
            ".setupAb12c",
            "setupAb12cD",
        ];
        let kept = others.map(trial);
        [&dead, &file]
            .into_iter()
            .chain(&kept)
            .for_each(|path| age(path));
        let young = trial(".setupFresh1");
        let link = folder.join(".setupLinked");
        symlink(&elsewhere, &link).expect("our folder");
        age(&elsewhere);

        remove(&folder);
        assert!(!dead.exists() && !file.exists() && !key.exists());
        assert!(folder.join("pki/site.key").exists());
        for path in kept.iter().chain([&young, &link]) {
            assert!(path.exists(), "{}", path.display());
        }
        assert!(elsewhere.join("kept").exists());
    }
}
