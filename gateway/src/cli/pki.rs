//! `wardgate pki`: the certificates of a site.
//!
//! Each command prints what it wrote and what to do next. `pki::authority` and `pki::show` do the work.

mod crl;
mod csr;
mod show;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::EXIT_GOOD;
use crate::pki::authority::{
    Authority, CA_DAYS, CERTIFICATE_DAYS, CRL_DAYS, CrlWritten, Issued, KeyType, NewAuthority,
    NewCertificate, OutputFiles, Permitted, Replaced, Revocable, RevokeReason,
};

/// Allowed values of `--days`. No key should be used for more than a century.
const DAYS: std::ops::RangeInclusive<i64> = 1..=36_525;

/// The folder of a site's CA, and the files of the site's certificate, where none is named.
const CA_DIR: &str = "/etc/wardgate/ca";
const SITE_CERTIFICATE: &str = "/etc/wardgate/pki/site.pem";
const SITE_KEY: &str = "/etc/wardgate/pki/site.key";

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

impl PkiCommand {
    /// Whether the command writes no file.
    pub(super) fn is_report(&self) -> bool {
        matches!(self, Self::Show(_))
    }
}

/// Which CA a command uses.
#[derive(Debug, Args)]
pub(crate) struct Dir {
    /// The CA's folder: ca.pem, ca.key, ca.crl and issued.toml
    #[arg(long, value_name = "DIR", default_value = CA_DIR)]
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
    /// Also issue the site's certificate, for this DNS name, with the defaults of `wardgate pki issue`; may be given
    /// several times
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// The same for a URI, such as urn:nhs:ods:X26
    #[arg(long, value_name = "URI")]
    uri: Vec<String>,
    #[command(flatten)]
    output: FirstOutput,
}

/// The files of the first certificate of a CA. They have no default if the CA is at a place of its own: it may be one
/// of several on this machine.
#[derive(Debug, Args)]
pub(crate) struct FirstOutput {
    /// The file for the site's certificate; must not exist. Required with --dns or --uri if --dir is not the default
    /// [default: /etc/wardgate/pki/site.pem]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The file for its private key; must not exist. Required like --out [default: /etc/wardgate/pki/site.key]
    #[arg(long, value_name = "FILE")]
    key_out: Option<PathBuf>,
}

impl FirstOutput {
    /// The files for the certificate of the CA in `dir`.
    ///
    /// # Errors
    /// A file is not named, and `dir` is not the default.
    fn of_authority(&self, dir: &Path) -> anyhow::Result<Output> {
        let is_named = self.out.is_some() && self.key_out.is_some();
        anyhow::ensure!(
            is_named || dir == Path::new(CA_DIR),
            "name --out and --key-out, because --dir is not the default ({CA_DIR}): the site's certificate would be \
             written to {SITE_CERTIFICATE}"
        );
        let file = |named: &Option<PathBuf>, default: &str| {
            let named = named.clone();
            named.unwrap_or_else(|| PathBuf::from(default))
        };
        Ok(Output {
            out: file(&self.out, SITE_CERTIFICATE),
            key_out: file(&self.key_out, SITE_KEY),
        })
    }
}

/// The files of a new certificate.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// The file for the site's certificate; must not exist
    #[arg(
        long,
        value_name = "FILE",
        default_value = SITE_CERTIFICATE
    )]
    out: PathBuf,
    /// The file for its private key; must not exist. If only one group may enter the folder, as /etc/wardgate/pki,
    /// and root runs this command, the group may read the key
    #[arg(
        long,
        value_name = "FILE",
        default_value = SITE_KEY
    )]
    key_out: PathBuf,
}

impl From<&Output> for OutputFiles {
    fn from(output: &Output) -> Self {
        Self {
            certificate: output.out.clone(),
            key: output.key_out.clone(),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Issue {
    #[command(flatten)]
    ca: Dir,
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    output: Output,
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
    // Before the CA is made, so that the corrected command line finds none.
    let first = match args.dns.is_empty() && args.uri.is_empty() {
        true => None,
        false => Some(args.output.of_authority(&args.ca.dir)?),
    };
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
    let mut authority = Authority::init(&args.ca.dir, &wanted, now)?;
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
    if let Some(output) = first {
        let wanted = NewCertificate {
            dns: args.dns.clone(),
            uri: args.uri.clone(),
            key: KeyType::P256,
            days: CERTIFICATE_DAYS,
        };
        issue_with(&mut authority, &wanted, &output, now).context(
            "the CA is complete, but its first certificate is missing; after you have fixed the following, run \
             `wardgate pki issue`",
        )?;
    } else {
        println!("next: issue a certificate with `wardgate pki issue --dir {dir} --dns NAME`");
    }
    println!(
        "next: give {dir}/ca.pem to the other site, which names it as \"trust\"; never give ca.key away"
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
    let mut authority = Authority::open(&args.ca.dir)?;
    issue_with(&mut authority, &wanted, &args.output, now)
}

fn issue_with(
    authority: &mut Authority,
    wanted: &NewCertificate,
    output: &Output,
    now: SystemTime,
) -> anyhow::Result<()> {
    let output = OutputFiles::from(output);
    let issued = authority.issue(wanted, &output, now)?;
    report_issued(&issued, &output);
    let key = std::fs::metadata(&output.key)?;
    if key.mode() & 0o040 != 0 {
        println!(
            "group {} may read the key, because this group may enter its folder",
            key.gid()
        );
    }
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
            "next: if the gateway runs on another machine, copy both files there; a running gateway notices new \
             files; peers that list the key by sha256: need the new one"
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
        // `wardgate pair renew` keeps the CAs before and after this one there. Partners that check lists need theirs too.
        for neighbour in ["next", "previous"] {
            if let Ok(mut other) = Authority::open(&args.ca.dir.join(neighbour)) {
                report_crl(&other.renew_crl(args.crl_days.crl_days, now)?, None);
            }
        }
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
            "next: send it to every site that trusts this CA; a running gateway there notices the new file"
        ),
    }
}

#[cfg(test)]
mod tests;
