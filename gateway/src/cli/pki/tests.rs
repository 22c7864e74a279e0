//! Command lines of `wardgate pki`, from their arguments to the files that they write.

use clap::{CommandFactory, Parser};

use super::show::Described;
use super::*;

#[derive(Debug, Parser)]
struct Program {
    #[command(subcommand)]
    command: PkiCommand,
}

fn parse(line: &str) -> Result<PkiCommand, clap::Error> {
    let words = std::iter::once("pki").chain(line.split_whitespace());
    Program::try_parse_from(words).map(|program| program.command)
}

pub(super) fn run_line(line: &str) -> anyhow::Result<u8> {
    run(parse(line).expect("a good command line"))
}

#[test]
fn the_command_tree_is_sound() {
    Program::command().debug_assert();
}

#[test]
fn a_site_is_set_up_renewed_and_revoked_by_commands() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path().display();
    let run = |line: &str| {
        let line = line.replace('@', &dir.to_string());
        run_line(&line).unwrap_or_else(|error| panic!("{line}: {error:#}"))
    };
    assert_eq!(run("init --dir @/ca --name Region --key p256"), 0);
    let files = "@/pki/site.pem --key-out @/pki/site.key";
    run(&format!(
        "issue --dir @/ca --dns gw.example --uri urn:x:y --out {files}"
    ));
    run("renew --dir @/ca --certificate @/pki/site.pem --key @/pki/site.key --crl");
    run("revoke --dir @/ca --certificate @/pki/site.pem --reason key-compromise");
    run("renew --dir @/ca --crl --crl-days 7 --crl-out @/published.crl");
    let published = [PathBuf::from(format!("{dir}/published.crl"))];
    let published = Described::of(&published, Some(6), SystemTime::now());
    assert_eq!(published.problems, [""; 0]);
    assert!(
        published.text.contains("  number        4\n"),
        "{}",
        published.text
    );
    let files = ["ca/ca.crl", "pki/site.pem"].map(|file| PathBuf::from(format!("{dir}/{file}")));
    let Described {
        text: shown,
        problems,
    } = Described::of(&files, None, SystemTime::now());
    assert_eq!(problems, [""; 0]);
    assert!(
        shown.starts_with(&format!("{dir}/ca/ca.crl\n\nrevocation list\n")),
        "{shown}"
    );
    assert!(
        shown.contains(&format!("\n\n{dir}/pki/site.pem\n\ncertificate 1\n")),
        "{shown}"
    );
    assert!(shown.contains("  number        4\n"), "{shown}");
    assert!(shown.contains("key-compromise"), "{shown}");
}

#[test]
fn one_command_makes_the_ca_and_the_certificate_of_a_site() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path().display();
    let files = format!("--out {dir}/pki/site.pem --key-out {dir}/pki/site.key");
    let init = |ca: &str, names: &str| {
        run_line(&format!(
            "init --dir {dir}/{ca} --name Region {names} {files}"
        ))
    };
    init("ca", "--dns gw.example --uri urn:x:y").expect("both are made");
    let file = PathBuf::from(format!("{dir}/pki/site.pem"));
    let shown = Described::of(&[file], None, SystemTime::now()).text;
    assert!(shown.contains("gw.example"), "{shown}");
    // The files are there now: the second CA is made without a certificate.
    let error = init("other", "--dns gw.example").expect_err("they exist");
    let text = format!("{error:#}");
    assert!(text.starts_with("the CA is complete, but"), "{text}");
    assert!(text.contains("run `wardgate pki issue`: "), "{text}");
}

#[test]
fn the_first_certificate_of_a_ca_elsewhere_needs_the_names_of_its_files() {
    let dir = tempfile::tempdir().expect("a folder");
    let ca = dir.path().join("ca");
    let line = format!("init --dir {} --name Region --dns gw.example", ca.display());
    let error = run_line(&line).expect_err("the certificate would be written elsewhere");
    let text = error.to_string();
    let expected = "name --out and --key-out, because --dir is not the default";
    assert!(text.starts_with(expected), "{text}");
    assert!(!ca.exists());
}

#[test]
fn renew_reports_whether_the_old_certificate_is_revoked() {
    let dir = Path::new("/etc/wardgate/ca");
    let replaced = |revoked: Option<&str>| Replaced {
        serial: "4d2".to_owned(),
        revoked: revoked.map(str::to_owned),
    };
    assert_eq!(
        state_of(&replaced(Some("2026-11-28")), dir),
        "the old certificate (serial 4d2) was revoked on 2026-11-28"
    );
    let valid = state_of(&replaced(None), dir);
    let command = "`wardgate pki revoke --dir /etc/wardgate/ca --serial 4d2`";
    assert!(valid.contains("remains valid"), "{valid}");
    assert!(valid.ends_with(command), "{valid}");
}

#[test]
fn show_describes_readable_files_and_fails_for_the_others() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path().display();
    run_line(&format!("init --dir {dir}/ca --name Region")).expect("a CA");
    let files = [
        "ca/gone.pem",
        "ca/ca.pem",
        "ca/issued.toml",
        "ca/gone.crl",
        "ca/ca.crl",
    ]
    .map(|file| PathBuf::from(format!("{dir}/{file}")));
    let Described {
        text: shown,
        problems,
    } = Described::of(&files, None, SystemTime::now());
    assert!(
        shown.starts_with(&format!("{dir}/ca/ca.pem\n\ncertificate 1\n")),
        "{shown}"
    );
    assert!(
        shown.contains(&format!("\n\n{dir}/ca/ca.crl\n\nrevocation list\n")),
        "{shown}"
    );
    let [gone, other, list] = &problems[..] else {
        panic!("three problems: {problems:?}");
    };
    assert!(gone.contains("gone.pem"), "{gone}");
    assert!(other.contains("issued.toml"), "{other}");
    assert!(list.contains("gone.crl"), "{list}");
    let code = run_line(&format!("show {dir}/ca/ca.pem {dir}/ca/gone.pem"));
    assert_eq!(code.expect("it runs"), super::super::EXIT_FAILED);
}

#[test]
fn an_error_about_a_missing_choice_names_all_alternatives() {
    for (line, choices) in [
        ("issue", ["--dns <NAME>", "--uri <URI>"]),
        ("csr", ["--dns <NAME>", "--uri <URI>"]),
        ("renew", ["--certificate <FILE>", "--crl"]),
        ("revoke", ["--serial <HEX>", "--certificate <FILE>"]),
    ] {
        let error = parse(line).expect_err(line).to_string();
        let missing = error.split("Usage:").next().expect("the first part");
        for choice in choices {
            assert!(missing.contains(choice), "no {choice:?} in {error}");
        }
    }
}

#[test]
fn a_failed_command_reports_the_cause() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("ca").display().to_string();
    let error = run_line(&format!("issue --dir {path} --dns gw.example"));
    assert_eq!(
        error.expect_err("no CA").to_string(),
        format!("{path:?} does not exist; make a CA with `wardgate pki init`")
    );
}

#[test]
fn a_constrained_ca_issues_no_other_names() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path().display();
    run_line(&format!(
        "init --dir {dir}/ca --name Region --permit-dns gw.a.example --permit-uri a.example"
    ))
    .expect("a CA");
    let files = format!("--out {dir}/site.pem --key-out {dir}/site.key");
    let issue = |names: &str| run_line(&format!("issue --dir {dir}/ca {names} {files}"));
    let error = issue("--dns gw.a.example --dns gw.b.example").expect_err("not permitted");
    let expected = "may not issue certificates for name \"dns:gw.b.example\"";
    assert!(error.to_string().contains(expected), "{error}");
    issue("--dns gw.a.example --uri https://a.example/gw").expect("permitted");
}

#[test]
fn wrong_command_lines_are_usage_errors() {
    for line in [
        "init",
        "init --name x --key rsa",
        "init --name x --days 0",
        "init --name x --days 40000",
        "issue",
        "show",
        "show --expect-days 0 site.pem",
        "show --config wardgate.toml site.pem",
        "renew",
        "renew --certificate site.pem",
        "renew --key site.key --crl",
        "renew --certificate site.pem --key site.key --crl-out ca.crl",
        "revoke",
        "revoke --serial 12 --certificate site.pem",
        "revoke --serial 12 --reason bored",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(
            error.exit_code(),
            i32::from(super::super::EXIT_USAGE),
            "{line}"
        );
    }
}
