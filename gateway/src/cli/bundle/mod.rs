//! `wardgate support-bundle`: one file with what a support case needs, without keys and without patient data.
//!
//! Each part is the output of a program or the text of a file. A part that is not available is a line in
//! `about.txt`: the bundle is most useful where something does not work.

mod parts;
mod program;
mod secrets;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use time::OffsetDateTime;
use time::macros::format_description;

use self::parts::{BundleScope, Part};
use super::EXIT_GOOD;
use crate::cli::limits::BUNDLE_PART_BYTES_MAX;

/// The options of `wardgate support-bundle`.
#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// The configuration file of the gateway
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/wardgate/wardgate.toml"
    )]
    config: PathBuf,
    /// The admin socket, instead of the one that the configuration names
    #[arg(long, value_name = "SOCKET")]
    socket: Option<PathBuf>,
    /// The systemd unit whose log is taken
    #[arg(long, value_name = "UNIT", default_value = "wardgate.service")]
    unit: String,
    /// A log file, instead of the journal of the unit
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The file to write, which must not exist yet. By default wardgate-support-HOST-TIME.tar.gz in this folder
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Collects the parts and writes the file.
pub(crate) fn run(args: &BundleArgs) -> anyhow::Result<u8> {
    let now = OffsetDateTime::from(SystemTime::now());
    let host = parts::host_name();
    let time = now.format(format_description!(
        "[year][month][day]T[hour][minute][second]Z"
    ))?;
    let name = format!("wardgate-support-{host}-{time}");
    let output = match &args.output {
        Some(given) => given.clone(),
        None => PathBuf::from(format!("{name}.tar.gz")),
    };
    // Created before the work, so that a wrong path costs no time.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&output)
        .with_context(|| format!("cannot create {}", output.display()))?;
    let scope = BundleScope {
        config: &args.config,
        socket: args.socket.as_deref(),
        unit: &args.unit,
        log: args.log.as_deref(),
    };
    let written = write(&mut file, &name, &scope, &time);
    let (taken, remarks) = written.inspect_err(|_| {
        // An incomplete bundle cannot be read.
        let _ = std::fs::remove_file(&output);
    })?;
    println!(
        "wrote {} with {taken} parts; keys, passwords and tokens were left out",
        output.display()
    );
    for line in remarks {
        println!("{line}");
    }
    println!(
        "Look through it before you send it: it names your hosts, addresses, AE titles and partners."
    );
    Ok(EXIT_GOOD)
}

/// Writes the bundle. Returns the number of parts, and a line for each that is missing or may not be complete.
fn write(
    file: &mut std::fs::File,
    folder: &str,
    scope: &BundleScope<'_>,
    time: &str,
) -> anyhow::Result<(usize, Vec<String>)> {
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let (mut taken, mut remarks) = (0, Vec::new());
    let mut about = format!(
        "wardgate support bundle, made at {time} (UTC) by wardgate {}\n\
         Private keys, passwords and tokens are replaced by \"{}\".\n\n",
        env!("CARGO_PKG_VERSION"),
        secrets::REMOVED
    );
    let modified = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or_default();
    let mut add = |name: &str, text: &str| -> anyhow::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(text.len())?);
        header.set_mode(0o600);
        header.set_mtime(modified);
        let path = Path::new(folder).join(name);
        archive.append_data(&mut header, path, text.as_bytes())?;
        Ok(())
    };
    for Part { name, source } in parts::all(scope) {
        match source.read(scope) {
            Ok(found) => {
                let (text, note) = shortened(&secrets::without(&found.text));
                add(name, &text)?;
                let command = secrets::without(&found.about);
                about.push_str(&format!("{name}: {}{note}\n", command.trim_end()));
                if let Some(remark) = found.remark {
                    let remark = secrets::without(&remark);
                    let remark = remark.trim_end();
                    about.push_str(&format!("{name}: remark: {remark}\n"));
                    remarks.push(format!("{name}: remark: {remark}"));
                }
                taken += 1;
            }
            Err(why) => {
                let why = secrets::without(why.trim_end());
                let why = why.trim_end();
                about.push_str(&format!("{name}: left out, because {why}\n"));
                remarks.push(format!("left out {name}: {why}"));
            }
        }
    }
    add("about.txt", &about)?;
    let file = archive.into_inner()?.finish()?;
    file.sync_all().context("cannot write the whole file")?;
    Ok((taken, remarks))
}

/// The end of a text that is too long, and a note about the missing part.
fn shortened(text: &str) -> (String, String) {
    let Some(excess) = text.len().checked_sub(BUNDLE_PART_BYTES_MAX) else {
        return (text.to_owned(), String::new());
    };
    // LIMIT: BUNDLE_PART_BYTES_MAX.
    let from = (excess..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len());
    let kept = text.get(from..).unwrap_or_default().to_owned();
    (kept, format!(", without the first {from} bytes"))
}

/// Arguments by which a command of this program finds the running gateway.
fn gateway_arguments(scope: &BundleScope<'_>) -> [String; 2] {
    let (option, path) = match scope.socket {
        Some(socket) => ("--socket", socket),
        None => ("--config", scope.config),
    };
    [option.to_owned(), path.display().to_string()]
}
