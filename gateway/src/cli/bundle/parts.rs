//! The parts of a support bundle, and where each comes from.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::program::{self, ProgramOutput};
use super::{gateway_arguments, secrets};
use crate::cli::limits::{
    BUNDLE_LOG_LINES, BUNDLE_METRICS_WAIT, BUNDLE_OUTPUT_BYTES_MAX, BUNDLE_PART_BYTES_MAX,
};
use crate::config::{self, LogFormat, RouteTls};

/// Which gateway the bundle is about.
pub(super) struct BundleScope<'a> {
    pub(super) config: &'a Path,
    pub(super) socket: Option<&'a Path>,
    pub(super) unit: &'a str,
    pub(super) log: Option<&'a Path>,
}

/// One file of the bundle.
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) source: PartSource,
}

/// Where a part comes from.
pub(super) enum PartSource {
    /// The output of this program with these arguments.
    Wardgate(Vec<String>),
    /// The state of the running gateway, which is missing if there is none.
    Status(Vec<String>),
    /// The output of another program.
    Program(&'static str, Vec<String>),
    /// The same of `systemctl`, about a unit.
    Unit(Vec<String>),
    /// The journal of a unit, which is missing if it has no line.
    Journal(Vec<String>),
    /// Text files, one after the other, each under its name.
    Files(Vec<PathBuf>),
    /// The end of a log file.
    LogFile(PathBuf),
    /// The certificates, trust anchors and lists that the configuration names, in words.
    Certificates,
    /// The metrics of the running gateway.
    Metrics,
    /// The limits of the running gateway's process.
    Process,
}

/// The text of a part.
pub(super) struct PartText {
    pub(super) text: String,
    /// Where it comes from, in words.
    pub(super) about: String,
    /// Why the part may not be complete.
    pub(super) remark: Option<String>,
}

/// All parts, those about the gateway first.
pub(super) fn all(scope: &BundleScope<'_>) -> Vec<Part> {
    let config = scope.config.display().to_string();
    let of_config = |words: &[&str]| {
        let words = words.iter().map(|word| (*word).to_owned());
        let config = ["--config".to_owned(), config.clone()];
        words.chain(config).collect::<Vec<_>>()
    };
    let mut status = vec!["status".to_owned(), "--json".to_owned()];
    status.extend(gateway_arguments(scope));
    let mut doctor = of_config(&["doctor", "--json"]);
    if let Some(socket) = scope.socket {
        doctor.extend(["--socket".to_owned(), socket.display().to_string()]);
    }
    let log = match scope.log {
        Some(file) => PartSource::LogFile(file.to_owned()),
        None => {
            let config = config::load(scope.config).config.ok();
            let format = config.map(|config| config.gateway.log);
            PartSource::Journal(journal_arguments(scope.unit, format.as_ref()))
        }
    };
    let program = |program, arguments: &[&str]| {
        let arguments = arguments.iter().map(|word| (*word).to_owned());
        PartSource::Program(program, arguments.collect())
    };
    let part = |name, source| Part { name, source };
    vec![
        part(
            "version.txt",
            PartSource::Wardgate(vec!["--version".to_owned()]),
        ),
        part(
            "wardgate.toml",
            PartSource::Files(vec![scope.config.to_owned()]),
        ),
        part("check.txt", PartSource::Wardgate(of_config(&["check"]))),
        part("certificates.txt", PartSource::Certificates),
        part("status.json", PartSource::Status(status)),
        part("doctor.json", PartSource::Wardgate(doctor)),
        part("metrics.txt", PartSource::Metrics),
        part("log.txt", log),
        part(
            "tuning.json",
            PartSource::Wardgate(["tune", "check", "--json"].map(str::to_owned).into()),
        ),
        part("host/system.txt", PartSource::Files(paths(&SYSTEM))),
        part("host/kernel.txt", PartSource::Files(paths(&KERNEL))),
        part("host/network.txt", PartSource::Files(paths(&NETWORK))),
        part("host/process.txt", PartSource::Process),
        part("host/addresses.txt", program("ip", &["-s", "address"])),
        part(
            "host/routes.txt",
            program("ip", &["route", "show", "table", "all"]),
        ),
        part("host/rules.txt", program("ip", &["rule"])),
        part(
            "host/sockets.txt",
            program("ss", &["-tinHO", "state", "established"]),
        ),
        part("host/listeners.txt", program("ss", &["-tlnH"])),
        part("host/time.txt", program("timedatectl", &["show"])),
        part(
            "host/unit.txt",
            PartSource::Unit(["cat", "--no-pager", scope.unit].map(str::to_owned).into()),
        ),
        part(
            "host/service.txt",
            PartSource::Unit(["show", "--no-pager", scope.unit].map(str::to_owned).into()),
        ),
    ]
}

fn journal_arguments(unit: &str, log: Option<&LogFormat>) -> Vec<String> {
    let lines = BUNDLE_LOG_LINES.to_string();
    // Fields in the journal are not in the short form.
    let format = match log {
        Some(LogFormat::Journald) => "json",
        _ => "short-iso",
    };
    let arguments = ["-u", unit, "-n", &lines, "--no-pager", "-o", format];
    arguments.map(str::to_owned).into()
}

const SYSTEM: [&str; 5] = [
    "/proc/version",
    "/etc/os-release",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/meminfo",
];

const KERNEL: [&str; 12] = [
    "/proc/sys/kernel/io_uring_disabled",
    "/proc/sys/kernel/io_uring_group",
    "/proc/sys/net/core/rmem_max",
    "/proc/sys/net/core/wmem_max",
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/net/core/default_qdisc",
    "/proc/sys/net/ipv4/tcp_rmem",
    "/proc/sys/net/ipv4/tcp_wmem",
    "/proc/sys/net/ipv4/tcp_congestion_control",
    "/proc/sys/net/ipv4/tcp_mtu_probing",
    "/proc/sys/net/ipv4/tcp_slow_start_after_idle",
    "/proc/sys/net/ipv4/ip_local_port_range",
];

const NETWORK: [&str; 5] = [
    "/proc/net/snmp",
    "/proc/net/netstat",
    "/proc/net/sockstat",
    "/proc/net/softnet_stat",
    "/proc/interrupts",
];

fn paths(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

/// The name of this host, as far as it can be a part of a file's name.
pub(super) fn host_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let name: String = name.chars().filter(plain).take(64).collect();
    name.trim_start_matches(['.', '-']).to_owned()
}

/// The output of `pki show` for each certificate, trust anchor and list that the configuration names; for no
/// key.
fn certificates(file: &Path) -> Result<PartText, String> {
    let mut words = vec!["pki".to_owned(), "show".to_owned()];
    let config = config::load(file).config;
    let routes = config.map(|config| config.routes).map_err(|_| NO_CONFIG)?;
    let tls = routes.iter().filter_map(|route| route.tls.as_ref());
    let files: BTreeSet<_> = tls.flat_map(RouteTls::public_files).collect();
    words.extend(files.iter().map(|file| file.display().to_string()));
    PartSource::wardgate(&words)
}

const NO_CONFIG: &str = "the configuration cannot be read; check.txt has the reason";

impl PartSource {
    /// The text of the part.
    ///
    /// # Errors
    /// Why it is not available, in words.
    pub(super) fn read(self, scope: &BundleScope<'_>) -> Result<PartText, String> {
        match self {
            Self::Wardgate(arguments) => Self::wardgate(&arguments),
            Self::Certificates => certificates(scope.config),
            Self::Status(arguments) => Self::wardgate(&arguments).and_then(|found| {
                match found.remark {
                    // The text is the reason.
                    Some(_) => Err(found.text),
                    None => Ok(found),
                }
            }),
            Self::Program(name, arguments) => {
                let found = program::output(name, &arguments)?;
                Ok(PartText::of(name, &arguments, found, &[0]))
            }
            Self::Unit(arguments) => {
                let found = program::output("systemctl", &arguments)?;
                let found = PartText::of("systemctl", &arguments, found, &[0]);
                let text = secrets::without_in_unit(&found.text);
                Ok(PartText { text, ..found })
            }
            Self::Journal(arguments) => {
                let advice = "name the log with `--log FILE`";
                let found = program::output("journalctl", &arguments);
                let found = found.map_err(|why| format!("{why}; {advice}"))?;
                match has_log_line(&found.text) && found.code == Some(0) {
                    true => Ok(PartText::of("journalctl", &arguments, found, &[0])),
                    false => {
                        let said = found.text.lines().next().unwrap_or_default();
                        let said = match said.is_empty() {
                            true => String::new(),
                            false => format!(" ({said})"),
                        };
                        let unit = scope.unit;
                        Err(format!("the journal has no line of {unit}{said}; {advice}"))
                    }
                }
            }
            Self::Files(files) => read_files(&files),
            Self::LogFile(file) => {
                let text = end_of(&file)
                    .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
                if !has_log_line(&text) {
                    return Err(format!("{} is empty", file.display()));
                }
                Ok(PartText::new(
                    text,
                    format!("the end of {}", file.display()),
                ))
            }
            Self::Metrics => metrics(scope.config),
            Self::Process => process(scope),
        }
    }

    fn wardgate(arguments: &[String]) -> Result<PartText, String> {
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let found = program::output(&this.display().to_string(), arguments)?;
        // Reports about a fault have these codes.
        let good: &[i32] = match arguments.first().map(String::as_str) {
            Some("check" | "doctor" | "tune") => &[0, 1, 78],
            _ => &[0],
        };
        Ok(PartText::of("wardgate", arguments, found, good))
    }
}

impl PartText {
    fn new(text: String, about: String) -> Self {
        let remark = None;
        Self {
            text,
            about,
            remark,
        }
    }

    /// What a program wrote. Exit codes other than `good` are remarked.
    fn of(name: &str, arguments: &[String], found: ProgramOutput, good: &[i32]) -> Self {
        let is_good = found.code.is_some_and(|code| good.contains(&code));
        let command = format!("{name} {}", arguments.join(" "));
        let remark = format!("`{command}` ended with {}", found.ended);
        Self {
            text: found.text,
            about: format!("{command} ({})", found.ended),
            remark: (!is_good).then_some(remark),
        }
    }
}

/// Whether a log has a line of the gateway, and not only those of `journalctl` itself.
fn has_log_line(text: &str) -> bool {
    let own = ["-- ", "No journal files", "Hint: "];
    let mut lines = text.lines();
    lines.any(|line| !line.trim().is_empty() && !own.iter().any(|own| line.starts_with(own)))
}

/// The texts of `files`, each under its name if there are several. Missing ones are named.
fn read_files(files: &[PathBuf]) -> Result<PartText, String> {
    if let [file] = files {
        let text =
            whole(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
        return Ok(PartText::new(text, file.display().to_string()));
    }
    let mut text = String::new();
    for file in files {
        text.push_str(&format!("{}:\n", file.display()));
        match whole(file) {
            Ok(found) => text.push_str(&found),
            Err(error) => text.push_str(&format!("cannot be read: {error}\n")),
        }
        text.push('\n');
    }
    Ok(PartText::new(text, "files of this host".to_owned()))
}

fn whole(file: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    // LIMIT: BUNDLE_OUTPUT_BYTES_MAX.
    File::open(file)?
        .take(BUNDLE_OUTPUT_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last `BUNDLE_PART_BYTES_MAX` bytes.
fn end_of(file: &Path) -> std::io::Result<String> {
    let mut file = File::open(file)?;
    let size = file.metadata()?.len();
    let part = u64::try_from(BUNDLE_PART_BYTES_MAX).unwrap_or(u64::MAX);
    file.seek(SeekFrom::Start(size.saturating_sub(part)))?;
    let mut bytes = Vec::new();
    file.take(part).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn metrics(config: &Path) -> Result<PartText, String> {
    let config = config::load(config).config;
    let config = config.map_err(|_| NO_CONFIG)?;
    let address: SocketAddr = config
        .gateway
        .metrics
        .ok_or("the configuration sets no address for metrics")?;
    let url = format!("http://{address}/metrics");
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(BUNDLE_METRICS_WAIT))
        .max_redirects(0)
        // Not from the environment: the metrics are those of this machine.
        .proxy(None)
        .build()
        .new_agent();
    let cannot = |error: ureq::Error| format!("{url} cannot be read: {error}");
    let mut response = agent.get(&url).call().map_err(cannot)?;
    let text = response
        .body_mut()
        .with_config()
        .limit(BUNDLE_OUTPUT_BYTES_MAX)
        .read_to_string()
        .map_err(cannot)?;
    Ok(PartText::new(text, url))
}

/// The limits and the memory of the running gateway's process.
fn process(scope: &BundleScope<'_>) -> Result<PartText, String> {
    let arguments = ["show", "--property", "MainPID", "--value", scope.unit];
    let found = program::output("systemctl", &arguments.map(str::to_owned))?;
    let pid = found.text.trim();
    if pid.parse::<u32>().is_ok_and(|pid| pid > 0) {
        let files = ["limits", "status"].map(|name| PathBuf::from(format!("/proc/{pid}/{name}")));
        return read_files(&files);
    }
    Err(format!(
        "systemd knows no running process of {}",
        scope.unit
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_journal_are_taken_only_if_the_log_goes_there() {
        let format = |log: Option<LogFormat>| journal_arguments("x.service", log.as_ref()).pop();
        assert_eq!(format(Some(LogFormat::Journald)).as_deref(), Some("json"));
        assert_eq!(format(Some(LogFormat::Json)).as_deref(), Some("short-iso"));
        assert_eq!(format(None).as_deref(), Some("short-iso"));
    }

    #[test]
    fn a_journal_without_a_line_of_the_gateway_is_no_log() {
        for text in [
            "",
            "\n",
            "-- No entries --\n",
            "No journal files were found.\n-- No entries --\n",
        ] {
            assert!(!has_log_line(text), "{text:?}");
        }
        assert!(has_log_line(
            "-- Boot 1 --\n2026-11-29T00:00:00+0000 gw wardgate[1]: msg=start\n"
        ));
    }

    #[test]
    fn a_program_that_failed_is_remarked_and_a_report_about_a_fault_is_not() {
        let found = |code| ProgramOutput {
            text: "x".to_owned(),
            ended: format!("exit status: {code}"),
            code: Some(code),
        };
        let arguments = ["rule".to_owned()];
        let remark = PartText::of("ip", &arguments, found(2), &[0]).remark;
        assert_eq!(
            remark.as_deref(),
            Some("`ip rule` ended with exit status: 2")
        );
        assert_eq!(
            PartText::of("ip", &arguments, found(78), &[0, 78]).remark,
            None
        );
    }
}
