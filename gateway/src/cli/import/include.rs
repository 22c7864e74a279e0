//! Reads files with a bound: the imported file, and the files of a folder that it includes.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use crate::cli::limits::{IMPORT_BYTES_MAX, IMPORT_FILES_MAX};

/// The text of a file. Bytes that are not UTF-8 become replacement characters: they are in comments and names only.
///
/// # Errors
///
/// The end of a sentence.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    let bound = u64::try_from(IMPORT_BYTES_MAX).unwrap_or(u64::MAX);
    file.take(bound.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    // LIMIT: IMPORT_BYTES_MAX.
    if bytes.len() > IMPORT_BYTES_MAX {
        return Err(format!(
            "has more than {IMPORT_BYTES_MAX} bytes, which no configuration has; is it the right one?"
        ));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The files of the folder `included`, in the order of their names. Only a folder beside the imported file is read: any
/// other one may belong to another user, or be large.
///
/// # Errors
///
/// A sentence with the remedy.
pub(super) fn folder(beside: &Path, included: &str) -> Result<Vec<(String, String)>, String> {
    let path = beside.join(included);
    let refused = |why: &str| format!("{} {why}; import its files on their own", path.display());
    let real = |path: &Path| {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        path.canonicalize()
    };
    let (Ok(folder), Ok(beside)) = (real(&path), real(beside)) else {
        return Err(refused("does not exist"));
    };
    if folder.parent() != Some(&beside) && folder != beside {
        return Err(refused("is not beside the imported file"));
    }
    let entries =
        fs::read_dir(&folder).map_err(|error| refused(&format!("cannot be read: {error}")))?;
    // One more than the bound shows that there are more.
    let entries = entries.take(IMPORT_FILES_MAX.saturating_add(1));
    let mut names: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    // LIMIT: IMPORT_FILES_MAX.
    if names.len() > IMPORT_FILES_MAX {
        return Err(refused(&format!("has more than {IMPORT_FILES_MAX} files")));
    }
    names.sort();
    let mut files = Vec::new();
    for name in names.iter().filter(|name| name.is_file()) {
        let text = read(name).map_err(|why| refused(&format!("has a file that {why}")))?;
        files.push((name.display().to_string(), text));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_beside_the_file_is_included_in_the_order_of_names() {
        let site = tempfile::tempdir().expect("there is room");
        let parts = site.path().join("conf.d");
        fs::create_dir(&parts).expect("there is room");
        fs::write(parts.join("b.conf"), "[b]").expect("there is room");
        fs::write(parts.join("a.conf"), "[a]").expect("there is room");
        let texts = |included| {
            let files = folder(site.path(), included)?;
            Ok::<_, String>(files.into_iter().map(|(_, text)| text).collect::<Vec<_>>())
        };
        assert_eq!(
            texts("conf.d"),
            Ok(vec!["[a]".to_owned(), "[b]".to_owned()])
        );
        let absolute = parts.display().to_string();
        assert!(texts(&absolute).is_ok());
        for (wrong, why) in [
            ("/etc", "not beside"),
            ("../..", "not beside"),
            ("none", "exist"),
        ] {
            let error = texts(wrong).expect_err(wrong);
            assert!(error.contains(why), "{error}");
        }
        for number in 0..IMPORT_FILES_MAX {
            fs::write(parts.join(number.to_string()), "").expect("there is room");
        }
        let error = texts("conf.d").expect_err("too many");
        assert!(error.contains("more than 64 files"), "{error}");
        fs::write(site.path().join("large"), vec![b' '; IMPORT_BYTES_MAX + 1]).expect("room");
        let error = read(&site.path().join("large")).expect_err("too large");
        assert!(error.contains("more than 1048576 bytes"), "{error}");
    }
}
