//! `wardgate pki`: the certificates of a site.
//!
//! Each command prints what it wrote and what to do next. `pki::authority` and `pki::show` do the work.

mod crl;
mod csr;
mod show;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};

use super::EXIT_GOOD;
use crate::pki::authority::{
    Authority, CA_DAYS, CERTIFICATE_DAYS, CRL_DAYS, CrlWritten, Issued, KeyType, NewAuthority,
    NewCertificate, OutputFiles, Permitted, Replaced, Revocable, RevokeReason,
};

/// Allowed values of `--days`. No key should be used for more than a century.
const DAYS: std::ops::RangeInclusive<i64> = 1..=36_525;

/// The subcommands of `wardgate pki`.
#[derive(Debug, Subcommand)]
pub(crate) enum PkiCommand {
    /// Make a site's own certificate authority, with an empty revocation list
    Init(Init),
    /// Issue a certificate for a site, with a new key, for connecting and accepting
    Issue(Issue),
    /// Make a certificate signing request for the CA of your organisation, and a key if there is none
    Csr(csr::Csr),
    /// Describe the contents of certificate, key and revocation list files
    Show(show::Show),
    /// Issue a certificate again with a new key, or write a new revocation list
    Renew(Renew),
    /// Revoke a certificate and write a new revocation list
    Revoke(Revoke),
    /// Fetch the revocation lists of other sites
    #[command(subcommand)]
    Crl(crl::CrlCommand),
}

/// Which CA a command uses.
#[derive(Debug, Args)]
pub(crate) struct Dir {
    /// The CA's folder: ca.pem, ca.key, ca.crl and issued.toml
    #[arg(long, value_name = "DIR", default_value = "/etc/wardgate/ca")]
    dir: PathBuf,
}

/// How long a revocation list is valid.
#[derive(Debug, Args)]
pub(crate) struct CrlDays {
    /// Days until the revocation list must be renewed; gateways refuse peers if the list has expired
    #[arg(long, value_name = "DAYS", default_value_t = CRL_DAYS, value_parser = days())]
    crl_days: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    #[command(flatten)]
    ca: Dir,
    /// The name by which people know the CA, such as "Region North CA"
    #[arg(long)]
    name: String,
    /// The CA's key: ECDSA on P-256 or P-384
    #[arg(long, value_enum, default_value_t = KeyType::P384)]
    key: KeyType,
    /// Days that the CA is valid for
    #[arg(long, default_value_t = CA_DAYS, value_parser = days())]
    days: u32,
    /// A DNS name for which the CA may issue certificates, including all names below it; may be given several
    /// times. With this or --permit-uri the CA may issue certificates for no other name: peers refuse them,
    /// even if the CA's key was stolen
    #[arg(long, value_name = "NAME")]
    permit_dns: Vec<String>,
    /// A host for whose URIs the CA may issue certificates, .HOST for all hosts below it; may be given
    /// several times. A urn: has no host and cannot be permitted. wardgate and OpenSSL check the host; other
    /// programs that verify with webpki (rustls) refuse every URI of such a CA
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
    /// The file for the certificate; must not exist
    #[arg(long, value_name = "FILE", default_value = "site.pem")]
    out: PathBuf,
    /// The file for the private key; must not exist
    #[arg(long, value_name = "FILE", default_value = "site.key")]
    key_out: PathBuf,
    /// The site's key: ECDSA on P-256 or P-384
    #[arg(long, value_enum, default_value_t = KeyType::P256)]
    key: KeyType,
    /// Days that the certificate is valid; it never outlives its CA
    #[arg(long, default_value_t = CERTIFICATE_DAYS, value_parser = days())]
    days: u32,
}

/// The site's names: at least one, of either kind.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Names {
    /// A DNS name of the site, as peers list it; may be given several times
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// A URI of the site, such as urn:nhs:ods:X26; may be given several times
    #[arg(long, value_name = "URI")]
    uri: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Renew {
    #[command(flatten)]
    ca: Dir,
    #[command(flatten)]
    what: Renewed,
    /// The certificate's private key, which is replaced by a new one
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Days that the new certificate is valid; it never outlives its CA
    #[arg(long, default_value_t = CERTIFICATE_DAYS, value_parser = days())]
    days: u32,
    #[command(flatten)]
    crl_days: CrlDays,
    /// Copy the new revocation list to this file, as DER for other sites to fetch by HTTP
    #[arg(long, value_name = "FILE", requires = "crl")]
    crl_out: Option<PathBuf>,
}

/// What is renewed: a certificate, the revocation list, or both.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Renewed {
    /// The certificate to replace with a new one for the same names
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Write a new revocation list before the current one expires
    #[arg(long)]
    crl: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    ca: Dir,
    #[command(flatten)]
    what: What,
    /// The reason for the revocation
    #[arg(long, value_enum, default_value_t = RevokeReason::Unspecified)]
    reason: RevokeReason,
    #[command(flatten)]
    crl: CrlDays,
}

/// Which certificate to revoke.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct What {
    /// The certificate's serial number in hexadecimal, as `wardgate pki show` prints it
    #[arg(long, value_name = "HEX")]
    serial: Option<String>,
    /// The certificate file
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(DAYS)
}

/// Runs one of the commands.
pub(crate) fn run(command: PkiCommand) -> anyhow::Result<u8> {
    let now = SystemTime::now();
    match &command {
        PkiCommand::Init(args) => init(args, now)?,
        PkiCommand::Issue(args) => issue(args, now)?,
        PkiCommand::Csr(args) => csr::run(args)?,
        PkiCommand::Show(args) => return show::run(args, now),
        PkiCommand::Renew(args) => renew(args, now)?,
        PkiCommand::Crl(command) => return crl::run(command, now),
        PkiCommand::Revoke(args) => revoke(args, now)?,
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
        // The list ends with the kinds of names of which none is permitted.
        let permitted = permitted.replace(", no URIs", ", and no URIs");
        println!("the CA may issue certificates for only {permitted}");
    }
    println!(
        "next: issue a certificate with `wardgate pki issue --dir {dir} --dns NAME`, and give \
         ca.pem to the other site, which names it as \"trust\"; never give ca.key away"
    );
    println!(
        "if a site uses {dir}/ca.crl as \"crl\": this list is valid for {} days; run `wardgate pki renew \
         --crl --crl-days 60 --dir {dir}` before that and then every month, and send each new list to that site",
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
    let output = OutputFiles {
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

fn report_issued(issued: &Issued, output: &OutputFiles) {
    let cut = if issued.cut_by_authority {
        ", when its CA expires"
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

fn renew(args: &Renew, now: SystemTime) -> anyhow::Result<()> {
    let mut authority = Authority::open(&args.ca.dir)?;
    if let (Some(certificate), Some(key)) = (&args.what.certificate, &args.key) {
        let output = OutputFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let issued = authority.renew(&output, args.days, now)?;
        report_issued(&issued, &output);
        println!(
            "next: restart the gateways that use it ({ENDINGS}); peers that list its key by sha256: \
             need the new one"
        );
        if let Some(replaced) = &issued.replaced {
            println!("{}", state_of(replaced, &args.ca.dir));
        }
    }
    if args.what.crl {
        let written = authority.renew_crl(args.crl_days.crl_days, now)?;
        if let Some(path) = &args.crl_out {
            authority.publish_crl(path)?;
        }
        report_crl(&written, args.crl_out.as_deref());
    }
    Ok(())
}

/// Whether a replaced certificate is still valid, and how to revoke it.
fn state_of(replaced: &Replaced, dir: &Path) -> String {
    let serial = &replaced.serial;
    match &replaced.revoked {
        Some(date) => format!("the old certificate (serial {serial}) was revoked on {date}"),
        None => format!(
            "the old certificate remains valid until it expires; if its key may be in other hands, revoke it: \
             `wardgate pki revoke --dir {} --serial {serial}`",
            dir.display()
        ),
    }
}

fn revoke(args: &Revoke, now: SystemTime) -> anyhow::Result<()> {
    let what = match (&args.what.serial, &args.what.certificate) {
        (_, Some(file)) => Revocable::Certificate(file.clone()),
        (serial, None) => Revocable::Serial(serial.clone().unwrap_or_default()),
    };
    let mut authority = Authority::open(&args.ca.dir)?;
    let revoked = authority.revoke(&what, args.reason, args.crl.crl_days, now)?;
    let before = if revoked.again { " already" } else { "" };
    let names = revoked.names.join(", ");
    println!("revoked{before}: serial {}, {names}", revoked.serial);
    report_crl(&revoked.crl, None);
    Ok(())
}

fn report_crl(crl: &CrlWritten, published: Option<&Path>) {
    println!(
        "wrote {}: list {}, {} revoked, to be renewed before {}",
        crl.path.display(),
        crl.number,
        crl.revoked,
        crl.due
    );
    match published {
        Some(path) => println!(
            "wrote {}: the same list for other sites to fetch",
            path.display()
        ),
        None => println!(
            "next: send it to every site that trusts this CA, and restart wardgate there ({ENDINGS})"
        ),
    }
}

/// What a restart does to open connections.
const ENDINGS: &str = "after SIGTERM, open connections have their drain time to finish";

#[cfg(test)]
mod tests {
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
        let files =
            ["ca/ca.crl", "pki/site.pem"].map(|file| PathBuf::from(format!("{dir}/{file}")));
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
}
