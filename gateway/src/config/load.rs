//! Reads the configuration file, after checking that it belongs to root or to the process's user.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::access::Process;
use super::syntax::Lines;
use super::{Found, Problem, find, find_elsewhere};
use crate::config::limits::CONFIG_BYTES_MAX;

/// Reads the configuration from `path`, and what is readable of a wrong one.
#[must_use]
pub fn load(path: &Path) -> Found {
    match read(path) {
        Ok(text) => find(&text, path),
        Err(problem) => vec![problem].into(),
    }
}

/// Reads the configuration of another machine: `cores` is not compared with the CPUs of this one.
#[must_use]
pub(crate) fn load_elsewhere(path: &Path) -> Found {
    match read(path) {
        Ok(text) => find_elsewhere(&text, path),
        Err(problem) => vec![problem].into(),
    }
}

fn read(path: &Path) -> Result<String, Problem> {
    let file = open(path).map_err(|error| whole(unreadable(&error)))?;
    let metadata = file.metadata().map_err(|error| whole(unreadable(&error)))?;
    check(&metadata).map_err(whole)?;
    if let Some(problem) = Process::current().problem(path, &metadata) {
        return Err(whole(format!("the file {problem}")));
    }
    let mut bytes = Vec::new();
    let mut bounded = file.take(CONFIG_BYTES_MAX.saturating_add(1));
    bounded
        .read_to_end(&mut bytes)
        .map_err(|error| whole(unreadable(&error)))?;
    check_size(bytes.len() as u64).map_err(whole)?;
    if is_utf16(&bytes) {
        let path = path.display();
        return Err(whole(format!(
            "the file is UTF-16, as some Windows editors save text; save it as UTF-8, or convert it: `iconv -f UTF-16 \
             -t UTF-8 {path} > new.toml`"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let start = error.utf8_error().valid_up_to();
        let valid =
            String::from_utf8_lossy(error.as_bytes().get(..start).unwrap_or_default()).into_owned();
        Problem {
            line: Some(Lines::of(&valid).at(valid.len())),
            text: "this line of the file is not UTF-8; save the file as UTF-8".to_owned(),
        }
    })
}

// UTF-16 is recognized by its byte order mark, or by the zero byte in each character of such a text.
fn is_utf16(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=255, ..] | [1..=255, 0, ..]
    )
}

fn open(path: &Path) -> io::Result<File> {
    // A named pipe must not block the start; the metadata shows the file type without opening it.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn check(metadata: &Metadata) -> Result<(), String> {
    if !metadata.is_file() {
        return Err(
            "this is not a regular file; give the path of the configuration file itself".to_owned(),
        );
    }
    // A user who can write the file decides where patient data goes.
    if metadata.mode() & 0o002 != 0 {
        return Err(
            "every user of this machine can change the file and redirect traffic; `chmod o-w` it"
                .to_owned(),
        );
    }
    check_size(metadata.len())
}

fn check_size(bytes: u64) -> Result<(), String> {
    // LIMIT: `CONFIG_BYTES_MAX`.
    if bytes > CONFIG_BYTES_MAX {
        return Err(format!(
            "the file has more than {CONFIG_BYTES_MAX} bytes, which no configuration has; is it \
             the right one?"
        ));
    }
    Ok(())
}

fn unreadable(error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "give its path with --config, or create it",
        io::ErrorKind::PermissionDenied => "give read permission to the user that wardgate runs as",
        _ => "check the path",
    };
    format!("the file cannot be read: {error}; {remedy}")
}

fn whole(text: String) -> Problem {
    Problem { line: None, text }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn problem_of(path: &Path) -> Problem {
        let problems = load(path).config.expect_err("it is refused");
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.into_iter().next().expect("there is one")
    }

    fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("wardgate.toml");
        fs::write(&path, bytes).expect("there is room");
        (folder, path)
    }

    #[test]
    fn a_good_file_is_loaded_with_paths_in_its_folder() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/config");
        let text = fs::read(data.join("good/minimal.toml")).expect("it is in the repository");
        let (folder, path) = written(&text);
        let config = load(&path).config.expect("it is good");
        let tls = config.routes[0].tls.as_ref().expect("it speaks TLS");
        assert_eq!(
            tls.peers[0].trust.trust.value,
            folder.path().join("pki/trust.pem")
        );
        assert!(!config.gateway.cores.is_empty());
    }

    #[test]
    fn a_world_writable_file_is_refused() {
        let (_folder, path) = written(b"");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).expect("it is ours");
        let problem = problem_of(&path);
        assert!(problem.text.contains("chmod o-w"), "{problem:?}");
    }

    #[test]
    fn a_file_that_is_not_regular_is_refused_without_waiting() {
        let folder = tempfile::tempdir().expect("there is room");
        assert!(
            problem_of(folder.path())
                .text
                .contains("not a regular file")
        );
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR)
            .expect("it can be made");
        assert!(problem_of(&pipe).text.contains("not a regular file"));
        let missing = problem_of(&folder.path().join("missing"));
        assert!(
            missing.text.contains("give its path with --config"),
            "{missing:?}"
        );
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let (_folder, path) = written(&vec![b'\n'; CONFIG_BYTES_MAX as usize + 1]);
        let problem = problem_of(&path);
        assert!(
            problem.text.contains("more than 4194304 bytes"),
            "{problem:?}"
        );
    }

    #[test]
    fn a_file_in_utf16_is_named_with_the_converting_command() {
        let text = "[gateway]\n";
        type ToBytes = fn(u16) -> [u8; 2];
        let (little, big): (ToBytes, ToBytes) = (u16::to_le_bytes, u16::to_be_bytes);
        for (mark, bytes_of) in [(true, little), (false, little), (true, big), (false, big)] {
            let units = mark
                .then_some(0xfeff)
                .into_iter()
                .chain(text.encode_utf16());
            let bytes: Vec<u8> = units.flat_map(bytes_of).collect();
            let (_folder, path) = written(&bytes);
            let problem = problem_of(&path);
            assert!(
                problem.text.contains("`iconv -f UTF-16 -t UTF-8 "),
                "{problem:?}"
            );
        }
    }

    #[test]
    fn a_file_that_is_not_utf8_is_refused_with_the_line() {
        let (_folder, path) = written(b"# one\n# two\n# K\xf6ln\n");
        let problem = problem_of(&path);
        assert_eq!(problem.line, Some(3));
        assert!(problem.text.contains("UTF-8"), "{problem:?}");
        let shown = problem.display(Path::new("wardgate.toml")).to_string();
        assert!(shown.starts_with("wardgate.toml:3: "), "{shown}");
    }
}
