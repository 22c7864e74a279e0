//! `wardgate pki show`: describes files, and finds those that expire soon.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;

use super::super::{EXIT_CONFIG, EXIT_FAILED, EXIT_GOOD};
use super::days;
use crate::config::{self, Config};
use crate::pki::expiry::days_left;
use crate::pki::show::{self, ShowError, Shown};

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Show {
    /// Files to describe, PEM or DER
    #[arg(required_unless_present = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Describe the certificates, CAs and revocation lists that this configuration names, and no key
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    config: Option<PathBuf>,
    /// Fail if a certificate, CA or revocation list that is shown has fewer than this number of days left
    #[arg(long, value_name = "DAYS", value_parser = days())]
    expect_days: Option<u32>,
}

const HELP: &str = "\
Exit codes:
  0   all files are described; with --expect-days, everything in them has at
      least this number of days left
  1   a file cannot be read, or something has fewer days left than --expect-days
      or no date; standard error names each
  2   the command line is not valid
  78  the configuration is not valid; standard error names each problem";

/// Prints all files that can be read. A file that cannot be read fails the command, but the others are still
/// printed.
pub(super) fn run(args: &Show, now: SystemTime) -> anyhow::Result<u8> {
    let files = match &args.config {
        None => args.files.clone(),
        Some(file) => match config::load(file).config {
            Ok(config) => files_of(&config),
            Err(problems) => {
                for problem in problems {
                    eprintln!("{}", problem.display(file));
                }
                return Ok(EXIT_CONFIG);
            }
        },
    };
    let found = Described::of(&files, args.expect_days, now);
    match std::io::stdout().write_all(found.text.as_bytes()) {
        // The reader closed the pipe (`head`, for example) and needs no more output.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    for problem in &found.problems {
        eprintln!("wardgate: {problem}");
    }
    match found.problems.is_empty() {
        true => Ok(EXIT_GOOD),
        false => Ok(EXIT_FAILED),
    }
}

/// The files of a configuration in which something can expire, each once.
fn files_of(config: &Config) -> Vec<PathBuf> {
    let tls = || config.routes.iter().flat_map(|route| &route.tls);
    let own = tls().map(|tls| &tls.identity.certificate);
    let listed = tls().flat_map(|tls| &tls.peers);
    let trusts = listed.chain(&config.peers).map(|peer| &peer.trust);
    let of_trust = trusts.flat_map(|trust| std::iter::once(&trust.trust).chain(&trust.crl));
    let mut files: Vec<PathBuf> = Vec::new();
    for file in own.chain(of_trust) {
        if !files.contains(&file.value) {
            files.push(file.value.clone());
        }
    }
    files
}

/// What is printed about files.
pub(super) struct Described {
    pub(super) text: String,
    /// Files that cannot be read, and what expires too soon.
    pub(super) problems: Vec<String>,
}

impl Described {
    pub(super) fn of(files: &[PathBuf], expected: Option<u32>, now: SystemTime) -> Self {
        let (mut text, mut problems) = (String::new(), Vec::new());
        let mut dates = 0_usize;
        for file in files {
            match show::describe(file, now) {
                Ok(shown) => {
                    if files.len() > 1 {
                        let gap = if text.is_empty() { "" } else { "\n" };
                        text += &format!("{gap}{}\n\n", file.display());
                    }
                    text += &shown.text;
                    problems.extend(shown.unread.iter().map(ShowError::to_string));
                    if let Some(expected) = expected {
                        problems.extend(too_short(file, &shown, expected, now));
                    }
                    dates = dates.saturating_add(shown.expiries.len());
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        // A check that looks at the wrong file must not succeed for ever.
        if expected.is_some() && dates == 0 && problems.is_empty() {
            problems.push(
                "nothing that expires is in these files; name a certificate or a revocation list"
                    .to_owned(),
            );
        }
        Self { text, problems }
    }
}

fn too_short(file: &Path, shown: &Shown, expected: u32, now: SystemTime) -> Vec<String> {
    let expected = i64::from(expected);
    let file = format!("{:?}", file.display().to_string());
    let soon = shown
        .expiries
        .iter()
        .filter(|expiry| days_left(expiry.ends, now) < expected);
    let soon = soon.map(|expiry| {
        let left = expiry.time_left(now);
        format!(
            "{file}: {} {:?} {left}; --expect-days asks for {expected}",
            expiry.object, expiry.name
        )
    });
    let undated = shown.undated.iter().map(ShowError::to_string);
    soon.chain(undated).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::run_line;
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn files_that_end_before_the_expected_days_are_named_one_by_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().display();
        run_line(&format!(
            "init --dir {dir}/ca --name Region --days 90 --crl-days 20"
        ))
        .expect("a CA");
        run_line(&format!(
            "issue --dir {dir}/ca --dns gw.example --days 40 --out {dir}/site.pem --key-out {dir}/site.key"
        ))
        .expect("a certificate");
        let files = ["site.pem", "ca/ca.pem", "ca/ca.crl", "site.key"]
            .map(|file| PathBuf::from(format!("{dir}/{file}")));
        // A minute after the files were made.
        let now = SystemTime::now() + Duration::from_secs(60);
        let problems = |expected| Described::of(&files, Some(expected), now).problems;
        assert_eq!(problems(19), [""; 0]);
        assert_eq!(
            Described::of(&files, None, now + 400 * DAY).problems,
            [""; 0]
        );
        let found = problems(80);
        let [certificate, list] = &found[..] else {
            panic!("two problems: {found:?}");
        };
        assert!(certificate.starts_with(&format!(
            "\"{dir}/site.pem\": certificate \"CN=gw.example\" expires on "
        )));
        assert!(
            certificate.ends_with(", in 39 days; --expect-days asks for 80"),
            "{certificate}"
        );
        assert!(
            list.contains("ca.crl\": revocation list of \"CN=Region\" expires on "),
            "{list}"
        );
        let [_, ca, _] = &problems(90)[..] else {
            panic!("the CA too");
        };
        assert!(
            ca.contains("ca.pem\": CA \"CN=Region\" expires on "),
            "{ca}"
        );
        let later = Described::of(&files, Some(1), now + 41 * DAY).problems;
        assert!(later[0].contains("expired on "), "{later:?}");
    }

    #[test]
    fn a_check_of_days_fails_where_nothing_expires_or_no_date_can_be_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().display();
        run_line(&format!("init --dir {dir}/ca --name Region")).expect("a CA");
        let key = [PathBuf::from(format!("{dir}/ca/ca.key"))];
        let of_key = |expected| Described::of(&key, expected, SystemTime::now()).problems;
        assert_eq!(of_key(None), [""; 0]);
        assert!(of_key(Some(1))[0].starts_with("nothing that expires"));
        let broken = PathBuf::from(format!("{dir}/broken.pem"));
        std::fs::write(
            &broken,
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        )
        .expect("written");
        let found = Described::of(&[broken], Some(1), SystemTime::now()).problems;
        assert!(
            found[0].contains("broken.pem\" holds a certificate whose end cannot be read"),
            "{found:?}"
        );
    }

    #[test]
    fn the_files_of_a_configuration_are_described_and_judged_without_their_keys() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().display();
        run_line(&format!("init --dir {dir}/ca --name Region --crl-days 3")).expect("a CA");
        run_line(&format!(
            "issue --dir {dir}/ca --dns gw.example --out {dir}/site.pem --key-out {dir}/site.key"
        ))
        .expect("a certificate");
        let text = "[identity]\ncertificate = \"site.pem\"\nkey = \"site.key\"\n\
             [[peer]]\nname = \"region\"\nidentity = \"dns:a.example\"\ntrust = \"ca/ca.pem\"\ncrl = [\"ca/ca.crl\"]\n\
             [[route]]\nname = \"in\"\nmode = \"terminate\"\nprotocol = \"dicom\"\nlisten = \"127.0.0.1:2762\"\n\
             targets = [\"127.0.0.1:104\"]\npeers = [\"region\"]\n";
        let file = folder.path().join("wardgate.toml");
        std::fs::write(&file, text).expect("written");
        let config = config::load(&file).config.expect("a good configuration");
        let expected = ["site.pem", "ca/ca.pem", "ca/ca.crl"].map(|name| folder.path().join(name));
        assert_eq!(files_of(&config), expected);
        let show = |line: &str| {
            run_line(&format!("show --config {dir}/wardgate.toml {line}")).expect("it runs")
        };
        assert_eq!(show(""), EXIT_GOOD);
        assert_eq!(show("--expect-days 2"), EXIT_GOOD);
        assert_eq!(show("--expect-days 30"), EXIT_FAILED, "the list");
        std::fs::write(&file, "nonsense").expect("written");
        assert_eq!(show(""), EXIT_CONFIG);
    }
}
