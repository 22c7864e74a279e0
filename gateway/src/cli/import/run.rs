//! The command: reads the file, writes the new configuration and the report.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::report::ImportClass;
use super::{ImportContext, OtherProgram, include};
use crate::cli::limits::IMPORT_LINES_MAX;
use crate::cli::{EXIT_CONFIG, EXIT_FAILED, EXIT_GOOD, EXIT_USAGE};

/// The options of `wardgate import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The program whose configuration FILE is
    #[arg(value_name = "PROGRAM")]
    program: OtherProgram,
    /// The configuration to import, such as /etc/stunnel/stunnel.conf
    file: PathBuf,
    /// Write the new configuration to this file, and not to standard output
    #[arg(short, long, value_name = "NEW")]
    output: Option<PathBuf>,
    /// Replace the file of --output if it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// The identity that the peer of a route must prove, such as to-region=dns:gw.region.example; may be repeated
    #[arg(long, value_name = "ROUTE=IDENTITY")]
    peer: Vec<String>,
    /// What a route carries: to-region=dicom, adt=mllp or other=tcp; may be repeated
    #[arg(long, value_name = "ROUTE=PROTOCOL")]
    protocol: Vec<String>,
    /// The address of this machine on the LAN, for listeners that take plaintext from every network
    #[arg(long, value_name = "ADDRESS")]
    lan_address: Option<IpAddr>,
    /// The form of the report on standard error
    #[arg(long, value_enum, default_value_t)]
    report: ReportForm,
}

/// The form of the report.
#[derive(Debug, Default, Clone, Copy, ValueEnum)]
enum ReportForm {
    /// For readers
    #[default]
    Text,
    /// For programs: one object with `remarks` and `open`
    Json,
}

/// Imports a file.
pub(crate) fn run(args: &ImportArgs) -> anyhow::Result<u8> {
    let folder = args.file.parent().unwrap_or(Path::new("")).to_owned();
    let context = match context(args, folder.clone()) {
        Ok(context) => context,
        Err(why) => return Ok(refuse(&why, EXIT_USAGE)),
    };
    let file = args.file.display().to_string();
    let text = match include::read(&args.file) {
        Ok(text) => text,
        Err(why) => return Ok(refuse(&format!("{file} {why}"), EXIT_CONFIG)),
    };
    // LIMIT: IMPORT_LINES_MAX.
    if text.lines().count() > IMPORT_LINES_MAX {
        let why = format!("{file} has more than {IMPORT_LINES_MAX} lines; split it");
        return Ok(refuse(&why, EXIT_CONFIG));
    }
    let new = args.output.as_deref().unwrap_or(Path::new("wardgate.toml"));
    let include = |name: &str| include::folder(&folder, name);
    let import = super::import(args.program, &text, (&file, new), &context, &include);
    if !import.unknown.is_empty() {
        let why = format!(
            "no route is called {}; the routes are {}",
            import.unknown.join(", "),
            import.routes.join(", ")
        );
        return Ok(refuse(&why, EXIT_USAGE));
    }
    match &args.output {
        Some(path) => write(path, &import.toml, args.force)?,
        None => print!("{}", import.toml),
    }
    let report = match args.report {
        ReportForm::Text => import.report.text(&file, &import.open),
        ReportForm::Json => import.report.json(&file, &import.open),
    };
    eprint!("{report}");
    Ok(match import.report.count(ImportClass::NotCarried) {
        0 => EXIT_GOOD,
        _ => EXIT_FAILED,
    })
}

fn refuse(why: &str, code: u8) -> u8 {
    eprintln!("wardgate: {why}");
    code
}

fn context(args: &ImportArgs, folder: PathBuf) -> Result<ImportContext, String> {
    let mut context = ImportContext::new(folder, args.lan_address);
    if let Some(lan) = args
        .lan_address
        .filter(|lan| lan.is_unspecified() || lan.is_multicast())
    {
        return Err(format!(
            "--lan-address {lan} is not one address of this machine; write the one that clients on the LAN connect to"
        ));
    }
    for text in &args.peer {
        context.add_peer(text)?;
    }
    for text in &args.protocol {
        context.add_protocol(text)?;
    }
    Ok(context)
}

/// Writes the new configuration for its owner and its group, as `wardgate.toml` of the package is.
fn write(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o644);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let remedy = if force {
        ""
    } else {
        " (--force replaces a file)"
    };
    let mut file = options
        .open(path)
        .with_context(|| format!("cannot create {}{remedy}", path.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser as _;

    use super::*;
    use crate::cli::limits::{IMPORT_BYTES_MAX, IMPORT_LINES_MAX};

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: ImportArgs,
    }

    const GOOD: &str = "[pacs]\naccept = 192.0.2.10:2762\nconnect = 10.30.0.9:104\ncert = a.pem\nkey = a.key\nCAfile = \
        ca.pem\nverifyChain = yes\ncheckHost = gw.a.example\n";

    /// The exit code of an import of this text to `new.toml` in `folder`.
    fn code(folder: &Path, text: &str, options: &[&str]) -> anyhow::Result<u8> {
        let old = folder.join("stunnel.conf");
        fs::write(&old, text).expect("there is room");
        let new = folder.join("new.toml").display().to_string();
        let old = old.display().to_string();
        let words = ["import", "stunnel", &old, "-o", &new];
        run(&Command::parse_from(words.iter().chain(options)).args)
    }

    #[test]
    fn the_exit_code_says_whether_everything_was_carried() {
        let folder = tempfile::tempdir().expect("there is room");
        let code = |text: &str, options: &[&str]| code(folder.path(), text, options).ok();
        assert_eq!(code(GOOD, &[]), Some(EXIT_GOOD));
        let first = fs::read(folder.path().join("new.toml")).expect("it was written");
        assert_eq!(code("[other]\n", &[]), None, "the file exists");
        let kept = fs::read(folder.path().join("new.toml")).expect("it is still there");
        assert_eq!(first, kept);
        let worse = format!("{GOOD}OCSPaia = yes\n");
        assert_eq!(code(&worse, &["--force"]), Some(EXIT_FAILED));
        let wrong = ["--force", "--peer", "other=dns:gw.b.example"];
        assert_eq!(code(GOOD, &wrong), Some(EXIT_USAGE));
        assert_eq!(code(GOOD, &["--force", "--peer", "pacs"]), Some(EXIT_USAGE));
        assert_eq!(
            code(GOOD, &["--force", "--lan-address", "0.0.0.0"]),
            Some(EXIT_USAGE)
        );
        assert_eq!(
            code(&" ".repeat(IMPORT_BYTES_MAX + 1), &[]),
            Some(EXIT_CONFIG)
        );
        assert_eq!(
            code(&"\n".repeat(IMPORT_LINES_MAX + 1), &[]),
            Some(EXIT_CONFIG)
        );
        let missing = Command::parse_from(["import", "haproxy", "/nowhere/haproxy.cfg"]);
        assert_eq!(run(&missing.args).ok(), Some(EXIT_CONFIG));
    }

    #[test]
    fn a_service_beyond_the_bound_of_routes_is_reported() {
        let context = ImportContext::default();
        let section = "[a]\naccept = 127.0.0.1:1\nconnect = 2\n";
        let text = section.repeat(crate::cli::limits::IMPORT_ROUTES_MAX + 1);
        let none = |_: &str| Err("none".to_owned());
        let names = ("stunnel.conf", Path::new("w.toml"));
        let import =
            crate::cli::import::import(OtherProgram::Stunnel, &text, names, &context, &none);
        assert_eq!(import.routes.len(), crate::cli::limits::IMPORT_ROUTES_MAX);
        let last = import.report.sorted().pop().expect("it has lines");
        assert_eq!(last.class, ImportClass::NotCarried);
        assert!(
            import
                .report
                .text("a", &[])
                .contains("256 routes are written at most")
        );
    }
}
