//! Bounds of the commands.

use std::time::Duration;

/// Target names that `wardgate check` looks up, each in its own thread. The configuration of a large region
/// has some tens.
///
/// When reached: `check` reports names that were not looked up.
pub(super) const CHECK_NAMES_MAX: usize = 64;

/// How long `wardgate check` waits for the lookup of target names. A resolver gives up after 5 s per server.
///
/// When reached: `check` reports names that were not looked up.
pub(super) const CHECK_NAMES_WAIT: Duration = Duration::from_secs(5);

/// Seconds in which a revocation list must arrive, from the look-up of the name to the last byte. The largest
/// lists need that time at 5 Mbit/s; `--timeout` sets another.
///
/// When reached: the list is not fetched, and the present file stays.
pub(super) const FETCH_SECONDS: u32 = 120;

/// Bytes of the header of an HTTP response with a revocation list. Servers send less than a kilobyte.
///
/// When reached: the list is not fetched, and the present file stays.
pub(super) const FETCH_HEADER_BYTES_MAX: usize = 16 << 10;

/// Characters of an address to which a server redirects that are shown.
///
/// When reached: the rest is not shown.
pub(super) const LOCATION_CHARS_MAX: usize = 200;

/// The reply of a running gateway, in bytes. The state of 1024 routes with 8 targets each and 1000 connections needs about 3 MB.
///
/// When reached: the reply is not understood.
pub(super) const REPLY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How long a running gateway may take to reply. A reload reads every file, and an upgrade starts a program.
///
/// When reached: the command ends with an error; the gateway may still carry it out.
pub(super) const REPLY_WITHIN: Duration = Duration::from_secs(120);

/// Bytes of one part of a support bundle. A day's log of a busy gateway has some megabytes.
///
/// When reached: the part begins later; `about.txt` names the number of missing bytes.
pub(super) const BUNDLE_PART_BYTES_MAX: usize = 8 << 20;

/// Bytes that are read of a program's output, a file or the metrics for a support bundle.
///
/// When reached: the rest is not read.
pub(super) const BUNDLE_OUTPUT_BYTES_MAX: u64 = 32 << 20;

/// Lines of the log in a support bundle.
///
/// When reached: earlier lines are not in the bundle.
pub(super) const BUNDLE_LOG_LINES: u32 = 20_000;

/// How long a program that makes a part of a support bundle may run. `wardgate doctor` takes the longest (`DOCTOR_ALL`).
///
/// When reached: the program is ended, and the part is left out.
pub(super) const BUNDLE_PROGRAM_WAIT: Duration = Duration::from_secs(150);

/// How long a running gateway may take to send its metrics for a support bundle.
///
/// When reached: the metrics are left out.
pub(super) const BUNDLE_METRICS_WAIT: Duration = Duration::from_secs(10);

/// How long `wardgate doctor` waits for the reply of a running gateway.
///
/// When reached: the report says that the gateway does not reply, and the other steps follow.
pub(super) const DOCTOR_REPLY_WITHIN: Duration = Duration::from_secs(5);

/// How long one network step of `wardgate doctor` may take: a name, a connection, a handshake, a probe. The
/// timeouts of the route apply if they are shorter. A name server and a lost SYN take up to 3 s.
///
/// When reached: the step fails, and the report names the timeout.
pub(super) const DOCTOR_STEP: Duration = Duration::from_secs(5);

/// How long `wardgate doctor` begins to examine targets. One silent target takes about 20 s, and the targets of
/// several routes are examined at the same time.
///
/// When reached: the remaining targets are skipped, and the report says so.
pub(super) const DOCTOR_ALL: Duration = Duration::from_secs(120);

/// Routes that `wardgate doctor` examines at the same time. Most of the time is waiting.
///
/// When reached: further routes wait for their turn.
pub(super) const DOCTOR_ROUTES_AT_A_TIME: usize = 16;

/// Targets of one route that `wardgate doctor` examines.
///
/// When reached: the report says how many targets were not examined.
pub(super) const DOCTOR_TARGETS_MAX: usize = 16;

/// Addresses of one name that `wardgate doctor` tries to connect to.
///
/// When reached: further addresses are not tried.
pub(super) const DOCTOR_ADDRESSES_MAX: usize = 4;

/// How long `wardgate doctor` waits for the reply to one UDP packet that examines the path MTU. The round trip
/// between two sites is below 100 ms.
///
/// When reached: the packet counts as lost.
pub(super) const DOCTOR_MTU_WAIT: Duration = Duration::from_millis(300);

/// The largest packet with which `wardgate doctor` examines the path MTU: a jumbo frame.
///
/// When reached: larger packets are not examined.
pub(super) const DOCTOR_MTU_MAX: usize = 9000;

/// Bytes that a target may send to a probe of `wardgate doctor` before it answers.
///
/// When reached: the probe fails.
pub(super) const DOCTOR_PROBE_BYTES_MAX: usize = 64 << 10;

/// How long a running gateway may take to report its state to a monitoring program or to the live view: it answers
/// within half a second.
///
/// When reached: the gateway counts as not answering.
pub(super) const STATUS_WITHIN: Duration = Duration::from_secs(8);

/// Interval at which the live view asks for the state.
pub(super) const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Commands of the live view that wait for the gateway.
///
/// When reached: a further command is refused with a message.
pub(super) const COMMANDS_WAITING_MAX: usize = 4;

/// Replies that wait for the live view, which takes them ten times a second.
///
/// When reached: the gateway is asked later.
pub(super) const NEWS_WAITING_MAX: usize = 4;

/// Characters of the filter of the live view.
///
/// When reached: further characters are ignored.
pub(super) const FILTER_CHARS_MAX: usize = 40;

/// Connections that `wardgate status` prints, those with the most bytes.
///
/// When reached: the number of the others is printed; `--watch` and `--json` show more.
pub(super) const CONNECTIONS_PRINTED_MAX: usize = 10;

/// Certificates and lists that `wardgate status` prints: those that expire soon, or the first three.
///
/// When reached: the number of the others is printed.
pub(super) const CERTIFICATES_PRINTED_MAX: usize = 10;

/// Refusals that `wardgate status` prints, the newest.
///
/// When reached: the number of the others is printed.
pub(super) const REFUSALS_PRINTED_MAX: usize = 5;

/// Bytes of a configuration that `wardgate import` reads, and of each file that it includes. Real ones have some
/// kilobytes.
///
/// When reached: the file is not imported; an included file is reported and left out.
pub(super) const IMPORT_BYTES_MAX: usize = 1 << 20;

/// Lines of a configuration that `wardgate import` reads, with those of included files.
///
/// When reached: the file is not imported; further included files are reported and left out.
pub(super) const IMPORT_LINES_MAX: usize = 4096;

/// Files that a configuration of stunnel may include. Real ones include some tens.
///
/// When reached: the folder is reported and left out.
pub(super) const IMPORT_FILES_MAX: usize = 64;

/// Routes that `wardgate import` writes. Real configurations have some tens of services.
///
/// When reached: further services are reported as not carried.
pub(super) const IMPORT_ROUTES_MAX: usize = 256;

/// Characters of an imported line in the report.
///
/// When reached: the rest of the line is not shown.
pub(super) const IMPORT_LINE_CHARS_MAX: usize = 120;

/// Bytes of one answer to `wardgate setup`. A DNS name has 253, and 16 targets are a list.
///
/// When reached: the command ends, and nothing was changed.
pub(super) const ANSWER_BYTES_MAX: u64 = 4096;

/// Characters of a sentence of the import report. The longest ones have about 500 and name two paths.
///
/// When reached: the rest of the sentence is not shown.
pub(super) const IMPORT_SENTENCE_CHARS_MAX: usize = 1000;
