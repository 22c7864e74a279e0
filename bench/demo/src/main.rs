//! `wardgate-demo`: two sites on this machine and a study between them.
//!
//! ```text
//! sender -> gateway of site A == TLS == wire == TLS == gateway of site B -> archive
//! ```
//!
//! Each gateway is a process that runs `wardgate run` with an ordinary configuration file. Sender, wire and
//! archive are threads of this process. It compares what the sender sent with what the archive received,
//! and searches the traffic on the wire for bytes that must not be visible there.
//!
//! The gateways' processes are this program, started again with `wardgate` as first argument. It then runs
//! the command line of `wardgate`, which is in the library that both programs link. One build is enough for
//! the demonstration, and the report covers the code of that build: an installed `wardgate` could be older.

mod archive;
mod certificates;
mod dimse;
mod files;
mod generated;
mod limits;
mod needles;
mod pixels;
mod records;
mod report;
mod sender;
mod setup;
mod site;
mod study;
mod wire;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Context;
use clap::Parser;
use dicom_ul::pdu::{AssociationRQ, write_pdu};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::signal::unix::{SignalKind, signal};

use gateway::cli::{EXIT_FAILED, EXIT_GOOD};

use self::needles::{Hits, Needles, Search};
use self::report::Report;
use self::sender::Titles;
use self::setup::{HOSPITAL, REGION, Setup};
use self::study::Study;

/// AE titles that are long enough not to occur in random bytes.
const TITLES: Titles = Titles {
    calling: "HOSPITAL_CT_DEMO",
    called: "REGION_PACS_DEMO",
};

/// First argument with which this program runs the command line of `wardgate`.
const GATEWAY: &str = "wardgate";

/// Starts two sites on this machine, sends a study through them, and reports what happened.
#[derive(Debug, Parser)]
#[command(name = "wardgate-demo", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Args {
    /// Size of the generated study, 1MiB to 32GiB: half of it CT slices, half one multi-frame object
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    size: u64,
    /// Send the DICOM files in this folder and its subfolders instead; other files are skipped
    #[arg(long, value_name = "DIR", conflicts_with = "size")]
    dicom: Option<PathBuf>,
    /// Keep the certificates and configurations, and print where they are
    #[arg(long)]
    keep: bool,
}

const AFTER_HELP: &str = "\
After the argument `wardgate`, this program takes the command line of `wardgate`, and its gateways are
started that way: try `wardgate-demo wardgate --help`.

Exit codes:
  0  every check of the report passed
  1  a check failed, or the demonstration could not be run
  2  the command line was not understood";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == GATEWAY) {
        return gateway::cli::main(arguments);
    }
    match run(&Args::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("wardgate-demo: {error:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Runs the demonstration.
fn run(args: &Args) -> anyhow::Result<u8> {
    let stop = watch_signals()?;
    let study = Arc::new(choose_study(args)?);
    let found = try_search(&study)?;
    let mut builder = tempfile::Builder::new();
    // With --keep the folder also stays after a failure, so that the user can see why.
    let dir = builder
        .prefix("wardgate-demo-")
        .disable_cleanup(args.keep)
        .tempdir()?;
    let report = perform(args, dir.path(), &study, found, &stop).inspect_err(|_| {
        if args.keep {
            eprintln!("wardgate-demo: kept {}", dir.path().display());
        }
    })?;
    let mut out = io::stdout().lock();
    write!(out, "{report}")?;
    write!(out, "\n{}", what_next(args.keep, dir.path(), &invocation()))?;
    Ok(if report.holds() {
        EXIT_GOOD
    } else {
        EXIT_FAILED
    })
}

/// Starts the sites in `dir`, sends the study, and reports.
fn perform(
    args: &Args,
    dir: &Path,
    study: &Arc<Study>,
    found: Vec<Hits>,
    stop: &AtomicBool,
) -> anyhow::Result<Report> {
    let mut setup = Setup::start(dir, study)?;
    let measured = setup.run_study(study, found, stop)?;
    if args.keep {
        setup.join_sites(dir)?;
    }
    Ok(Report::new(&measured))
}

fn choose_study(args: &Args) -> anyhow::Result<Study> {
    let mut needles = Needles::default();
    needles.add("DICM", b"DICM");
    needles.add(
        format!("AE title {}", TITLES.calling),
        TITLES.calling.as_bytes(),
    );
    needles.add(
        format!("AE title {}", TITLES.called),
        TITLES.called.as_bytes(),
    );
    match &args.dicom {
        Some(dir) => files::study(dir, needles),
        None => {
            let mut seed = [0; 8];
            let filled = SystemRandom::new().fill(&mut seed);
            filled.ok().context("the system returned no random bytes")?;
            generated::study(args.size, u64::from_le_bytes(seed), needles)
        }
    }
}

/// Checks that the search works: in the plaintext of the association request and the objects, it must find
/// every needle.
fn try_search(study: &Study) -> anyhow::Result<Vec<Hits>> {
    let mut sink = Searching(Search::new(Arc::clone(&study.needles)));
    let request = AssociationRQ {
        protocol_version: 1,
        calling_ae_title: TITLES.calling.into(),
        called_ae_title: TITLES.called.into(),
        application_context_name: "1.2.840.10008.3.1.1.1".into(),
        presentation_contexts: Vec::new(),
        user_variables: Vec::new(),
    };
    write_pdu(&mut sink, &request.into()).context("cannot encode an association request")?;
    let objects = study.series.iter().flat_map(|series| &series.objects);
    for object in objects.filter(|object| object.witness) {
        object
            .stream_at_rest(&mut sink)
            .context("cannot read an object of the study")?;
    }
    Ok(study.needles.describe(sink.0.hits()))
}

struct Searching(Search);

impl Write for Searching {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.feed(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A flag that becomes true on SIGINT, SIGTERM and SIGHUP, so the gateways are stopped too.
fn watch_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    let wait = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        flag.store(true, Ordering::Relaxed);
    };
    thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(stop)
}

/// The end of the report: the location of the files, and commands to try. `program` is the command that
/// starts this program.
fn what_next(keep: bool, dir: &Path, program: &str) -> String {
    if !keep {
        return format!(
            "Next:\n  \
             {program} --keep                keep the certificates and configurations\n  \
             {program} --dicom DIR           send your own files\n  \
             {program} {GATEWAY} pki --help   make certificates for two real sites\n"
        );
    }
    let (a, b) = (dir.join(HOSPITAL), dir.join(REGION));
    let (a, b) = (a.display(), b.display());
    format!(
        "The files are in {}. Next: run each site in a terminal of its own, and show a certificate:\n  \
         {program} {GATEWAY} run --config {b}/wardgate.toml\n  \
         {program} {GATEWAY} run --config {a}/wardgate.toml\n  \
         {program} {GATEWAY} pki show {a}/site.pem\n",
        dir.display()
    )
}

/// The command that starts this program again from the current folder, whatever is installed.
fn invocation() -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "wardgate-demo".into());
    std::env::current_dir()
        .ok()
        .and_then(|here| by_cargo(&program, &here))
        .unwrap_or_else(|| program.display().to_string())
}

/// The cargo command that starts `program`, if cargo built it for the project in `here`.
fn by_cargo(program: &Path, here: &Path) -> Option<String> {
    let profile = program.parent()?.strip_prefix(here.join("target")).ok()?;
    let command = match profile.to_str()? {
        "quick" => "cargo demo",
        "release" => "cargo run --release -p wardgate-demo --",
        "debug" => "cargo run -p wardgate-demo --",
        _ => return None,
    };
    here.join("Cargo.toml").is_file().then(|| command.into())
}

/// `64MiB`, `1GiB`: whole numbers of KiB, MiB or GiB.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("write it with its unit, as in 64MiB or 1GiB".into()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "write a whole number and its unit")?;
    let bytes = number.saturating_mul(1 << shift);
    let allowed = limits::SIZE_MIN_BYTES..=limits::SIZE_MAX_BYTES;
    match allowed.contains(&bytes) {
        true => Ok(bytes),
        false => Err("it must be between 1MiB and 32GiB".into()),
    }
}
