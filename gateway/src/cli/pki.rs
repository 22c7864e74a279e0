//! `wardgate pki`: the certificates of a site.
//!
//! Each command says what it wrote and what comes next. The work is done in `pki::authority` and
//! `pki::show`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Subcommand};

use super::EXIT_GOOD;
use crate::pki::authority::{
    Authority, CA_DAYS, CERTIFICATE_DAYS, CRL_DAYS, CrlWritten, Issued, KeyType, NewAuthority,
    NewCertificate, Output, Permitted, Reason, Revocable,
};
use crate::pki::show;

/// The days that may be asked for: a century is more than any key deserves.
const DAYS: std::ops::RangeInclusive<i64> = 1..=36_525;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a site's own certificate authority, with an empty revocation list
    Init(Init),
    /// Issue a certificate for a site, with a new key, for connecting and accepting
    Issue(Issue),
    /// Say in words what is in certificate, key and revocation files
    Show(Show),
    /// Issue a certificate again with a new key, or write the revocation list anew
    Renew(Renew),
    /// Revoke a certificate and write the revocation list anew
    Revoke(Revoke),
}

/// Which CA.
#[derive(Debug, Args)]
pub(crate) struct Dir {
    /// The CA's folder: ca.pem, ca.key, ca.crl and issued.toml
    #[arg(long, value_name = "DIR", default_value = "/etc/wardgate/ca")]
    dir: PathBuf,
}

/// How long a revocation list lasts.
#[derive(Debug, Args)]
pub(crate) struct CrlDays {
    /// Days until the revocation list must be renewed; gateways refuse peers without a current one
    #[arg(long, value_name = "DAYS", default_value_t = CRL_DAYS, value_parser = days())]
    crl_days: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    #[command(flatten)]
    ca: Dir,
    /// The name that people will know the CA by, such as "Region North CA"
    #[arg(long)]
    name: String,
    /// The CA's key: ECDSA on P-256 or P-384
    #[arg(long, value_enum, default_value_t = KeyType::P384)]
    key: KeyType,
    /// Days that the CA is valid for
    #[arg(long, default_value_t = CA_DAYS, value_parser = days())]
    days: u32,
    /// A DNS name that the CA may vouch for, with all names below it; may be given several times. With
    /// this or --permit-uri the CA may vouch for nothing else: peers refuse its certificates for other
    /// names, even where its key was stolen
    #[arg(long, value_name = "NAME")]
    permit_dns: Vec<String>,
    /// A host whose URIs the CA may vouch for, .HOST for all hosts below it; may be given several times.
    /// A urn: has no host and cannot be permitted. wardgate and OpenSSL check the host; other programs
    /// that verify with webpki (rustls) refuse every URI of such a CA
    #[arg(long, value_name = "HOST")]
    permit_uri: Vec<String>,
    #[command(flatten)]
    crl: CrlDays,
}

#[derive(Debug, Args)]
pub(crate) struct Issue {
    #[command(flatten)]
    ca: Dir,
    #[command(flatten)]
    names: Names,
    /// Where the certificate goes; must not exist
    #[arg(long, value_name = "FILE", default_value = "site.pem")]
    out: PathBuf,
    /// Where the private key goes; must not exist
    #[arg(long, value_name = "FILE", default_value = "site.key")]
    key_out: PathBuf,
    /// The site's key: ECDSA on P-256 or P-384
    #[arg(long, value_enum, default_value_t = KeyType::P256)]
    key: KeyType,
    /// Days that the certificate is valid for; it never outlives its CA
    #[arg(long, default_value_t = CERTIFICATE_DAYS, value_parser = days())]
    days: u32,
}

/// Who the site is: one name at least, of either kind.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Names {
    /// A DNS name of the site, as peers will list it; may be given several times
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// A URI of the site, such as urn:nhs:ods:X26; may be given several times
    #[arg(long, value_name = "URI")]
    uri: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Files to describe, PEM or DER
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Renew {
    #[command(flatten)]
    ca: Dir,
    #[command(flatten)]
    what: Renewed,
    /// Its private key, which is replaced by a new one
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Days that the certificate is valid for; it never outlives its CA
    #[arg(long, default_value_t = CERTIFICATE_DAYS, value_parser = days())]
    days: u32,
    #[command(flatten)]
    crl_days: CrlDays,
}

/// What is renewed: a certificate, the revocation list, or both.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Renewed {
    /// The certificate to replace by one with the same names
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Write the revocation list anew, before it expires
    #[arg(long)]
    crl: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    ca: Dir,
    #[command(flatten)]
    what: What,
    /// Why
    #[arg(long, value_enum, default_value_t = Reason::Unspecified)]
    reason: Reason,
    #[command(flatten)]
    crl: CrlDays,
}

/// Which certificate is revoked.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct What {
    /// The certificate's serial number in hexadecimal, as `wardgate pki show` prints it
    #[arg(long, value_name = "HEX")]
    serial: Option<String>,
    /// The certificate itself
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(DAYS)
}

/// Runs one of the commands.
pub(crate) fn run(command: Command) -> anyhow::Result<u8> {
    let now = SystemTime::now();
    match &command {
        Command::Init(args) => init(args, now)?,
        Command::Issue(args) => issue(args, now)?,
        Command::Show(args) => show(args, now)?,
        Command::Renew(args) => renew(args, now)?,
        Command::Revoke(args) => revoke(args, now)?,
    }
    Ok(EXIT_GOOD)
}

fn init(args: &Init, now: SystemTime) -> anyhow::Result<()> {
    let wanted = NewAuthority {
        name: args.name.clone(),
        key: args.key,
        days: args.days,
        crl_days: args.crl.crl_days,
        permitted: Permitted {
            dns: args.permit_dns.clone(),
            uri: args.permit_uri.clone(),
        },
    };
    let authority = Authority::init(&args.ca.dir, &wanted, now)?;
    let dir = args.ca.dir.display();
    println!(
        "wrote {dir}/ca.pem, ca.key and ca.crl: CA {:?}, valid until {}",
        args.name,
        authority.ends()
    );
    if let Some(permitted) = authority.permitted() {
        println!("the CA may vouch for {permitted}, and for nothing else");
    }
    println!(
        "next: issue a certificate with `wardgate pki issue --dir {dir} --dns NAME`, and give \
         ca.pem to the other site, where it goes into \"trust\"; ca.key stays here"
    );
    println!(
        "where a site has {dir}/ca.crl as \"crl\": run `wardgate pki renew --crl --dir {dir}` \
         at least every {} days and hand the list on",
        args.crl.crl_days
    );
    Ok(())
}

fn issue(args: &Issue, now: SystemTime) -> anyhow::Result<()> {
    let wanted = NewCertificate {
        dns: args.names.dns.clone(),
        uri: args.names.uri.clone(),
        key: args.key,
        days: args.days,
    };
    let output = Output {
        certificate: args.out.clone(),
        key: args.key_out.clone(),
    };
    let issued = Authority::open(&args.ca.dir)?.issue(&wanted, &output, now)?;
    report_issued(&issued, &output);
    println!(
        "next: name both files under [identity]; the other site writes identity = {:?} in its [[peer]] table \
         for this site",
        issued.names.first().map_or("", String::as_str)
    );
    Ok(())
}

fn report_issued(issued: &Issued, output: &Output) {
    let cut = if issued.cut_by_authority {
        ", when its CA ends"
    } else {
        ""
    };
    println!(
        "wrote {} and {}: {}, serial {}, valid until {}{cut}",
        output.certificate.display(),
        output.key.display(),
        issued.names.join(", "),
        issued.serial,
        issued.ends
    );
}

/// Shows what can be read; a file that cannot be read fails the command, and hides none of the others.
fn show(args: &Show, now: SystemTime) -> anyhow::Result<()> {
    let (text, problems) = described(&args.files, now);
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever read it, `head` perhaps, has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    anyhow::ensure!(problems.is_empty(), problems.join("\n"));
    Ok(())
}

fn described(files: &[PathBuf], now: SystemTime) -> (String, Vec<String>) {
    let (mut text, mut problems) = (String::new(), Vec::new());
    for file in files {
        match show::describe(file, now) {
            Ok(shown) => {
                if files.len() > 1 {
                    let gap = if text.is_empty() { "" } else { "\n" };
                    text += &format!("{gap}{}\n\n", file.display());
                }
                text += &shown.text;
                problems.extend(shown.unread.iter().map(show::Error::to_string));
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    (text, problems)
}

fn renew(args: &Renew, now: SystemTime) -> anyhow::Result<()> {
    let mut authority = Authority::open(&args.ca.dir)?;
    if let (Some(certificate), Some(key)) = (&args.what.certificate, &args.key) {
        let output = Output {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let issued = authority.renew(&output, args.days, now)?;
        report_issued(&issued, &output);
        println!(
            "next: restart wardgate where it is used ({ENDINGS}); peers that list its key by sha256: \
             need the new one. The old certificate stays good until it ends or `wardgate pki revoke \
             --serial {}`",
            issued.replaced.as_deref().unwrap_or_default()
        );
    }
    if args.what.crl {
        report_crl(&authority.renew_crl(args.crl_days.crl_days, now)?);
    }
    Ok(())
}

fn revoke(args: &Revoke, now: SystemTime) -> anyhow::Result<()> {
    let what = match (&args.what.serial, &args.what.certificate) {
        (_, Some(file)) => Revocable::Certificate(file.clone()),
        (serial, None) => Revocable::Serial(serial.clone().unwrap_or_default()),
    };
    let mut authority = Authority::open(&args.ca.dir)?;
    let revoked = authority.revoke(&what, args.reason, args.crl.crl_days, now)?;
    let before = if revoked.again { " before" } else { "" };
    let names = revoked.names.join(", ");
    println!("revoked{before}: serial {}, {names}", revoked.serial);
    report_crl(&revoked.crl);
    Ok(())
}

fn report_crl(crl: &CrlWritten) {
    println!(
        "wrote {}: list {}, {} revoked, to be renewed before {}",
        crl.path.display(),
        crl.number,
        crl.revoked,
        crl.due
    );
    println!(
        "next: hand it to every site that trusts this CA, and restart wardgate there ({ENDINGS})"
    );
}

/// What a restart does to connections, for those who hesitate.
const ENDINGS: &str = "SIGTERM lets open connections end first, within their drain time";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        command: Command,
    }

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let words = std::iter::once("pki").chain(line.split_whitespace());
        Program::try_parse_from(words).map(|program| program.command)
    }

    fn run_line(line: &str) -> anyhow::Result<u8> {
        run(parse(line).expect("a good command line"))
    }

    #[test]
    fn the_command_tree_is_sound() {
        Program::command().debug_assert();
    }

    #[test]
    fn a_site_is_brought_up_renewed_and_revoked_by_commands() {
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
        run("renew --dir @/ca --crl --crl-days 7");
        let files =
            ["ca/ca.crl", "pki/site.pem"].map(|file| PathBuf::from(format!("{dir}/{file}")));
        let (shown, problems) = described(&files, SystemTime::now());
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
    fn show_describes_what_it_can_read_and_fails_for_the_rest() {
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
        let (shown, problems) = described(&files, SystemTime::now());
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
        let error = run_line(&format!("show {dir}/ca/ca.pem {dir}/ca/gone.pem"));
        let error = error.expect_err("one file is missing").to_string();
        assert_eq!(error, *gone);
    }

    #[test]
    fn a_command_that_misses_a_choice_names_all_of_it() {
        for (line, choices) in [
            ("issue", ["--dns <NAME>", "--uri <URI>"]),
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
    fn a_command_that_fails_says_why() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ca").display().to_string();
        let error = run_line(&format!("issue --dir {path} --dns gw.example"));
        assert_eq!(
            error.expect_err("no CA").to_string(),
            format!("{path:?} does not exist; make a CA with `wardgate pki init`")
        );
    }

    #[test]
    fn a_ca_for_some_names_issues_no_others() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().display();
        run_line(&format!(
            "init --dir {dir}/ca --name Region --permit-dns gw.a.example --permit-uri a.example"
        ))
        .expect("a CA");
        let files = format!("--out {dir}/site.pem --key-out {dir}/site.key");
        let issue = |names: &str| run_line(&format!("issue --dir {dir}/ca {names} {files}"));
        let error = issue("--dns gw.a.example --dns gw.b.example").expect_err("not permitted");
        let expected = "name \"dns:gw.b.example\" is not one that the CA in";
        assert!(error.to_string().starts_with(expected), "{error}");
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
            "renew",
            "renew --certificate site.pem",
            "renew --key site.key --crl",
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
}
