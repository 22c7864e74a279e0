//! The sandbox of the real program: the user that it becomes, what other processes of this user can reach, and parts
//! that are missing.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tempfile::TempDir;
use wardgate_tests::stream::{accept, connect, ping};
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{
    Background, DEADLINE, Pki, Process, Program, Site, built, http, until, wardgate,
};

use crate::pair::{A, B, address, listen, local};

/// A user of every Debian machine, and its group.
const USER: &str = "nobody";
const UID: u32 = 65534;
const GID: u32 = 65534;

/// client -> originate -> TLS -> terminate -> server: both routes in one gateway, whose files this user can read.
struct OfUser {
    folder: TempDir,
    site: Site,
    entry: SocketAddr,
    exit: TcpListener,
    keys: [PathBuf; 2],
    // Processes that took the place of the first one.
    successors: Vec<Process>,
    _pki: Pki,
}

impl Drop for OfUser {
    fn drop(&mut self) {
        for process in self.successors.iter().filter(|one| one.is_running()) {
            process.signal(Signal::KILL);
        }
    }
}

impl OfUser {
    fn new() -> Self {
        let pki = Pki::new();
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        // As the package makes them: root owns the configuration, and the service owns the folder of the admin socket.
        set_mode(folder.path(), 0o755);
        let run = folder.path().join("run");
        fs::create_dir(&run).expect("our folder");
        chown(&run, Some(UID), Some(GID)).expect("we are root");
        let (own_a, own_b) = (pki.leaf(A), pki.leaf(B));
        for key in [&own_a.key, &own_b.key] {
            chown(key, None, Some(GID)).expect("we are root");
            set_mode(key, 0o640);
        }
        let (entry, wan, exit) = (local(), local(), listen());
        let site = Site::with_identity(&own_b)
            .gateway("admin", "\"run/admin.sock\"")
            .gateway("run_as", format!("\"{USER}\""))
            .terminate(wan, address(&exit), &[format!("dns:{A}")])
            .protocol("tcp")
            .originate(entry, wan, &[format!("dns:{B}")])
            .protocol("tcp")
            .route_identity(&own_a);
        Self {
            folder,
            site,
            entry,
            exit,
            keys: [own_a.key, own_b.key],
            successors: Vec::new(),
            _pki: pki,
        }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("wardgate.toml")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/admin.sock")
    }

    /// Root starts the gateway, with core files allowed and a working directory that the user may write to.
    fn start(&self) -> Background {
        self.started("exec \"$0\" \"$@\"")
    }

    /// The user itself starts the gateway.
    fn start_as_user(&self) -> Background {
        // The folder of a build may be closed to other users.
        let program = self.folder.path().join("wardgate");
        fs::copy(wardgate(), &program).expect("there is room");
        let line = "exec setpriv --reuid=65534 --regid=65534 --clear-groups ./wardgate \"$@\"";
        self.started(&line.replace("./wardgate", &program.display().to_string()))
    }

    fn started(&self, line: &str) -> Background {
        self.site.write(&self.config());
        let program = Program::new("sh")
            .args(["-c", &format!("ulimit -c unlimited; cd run; {line}")])
            .arg(wardgate())
            .args(["run", "--config"])
            .arg(self.config())
            .current_dir(self.folder.path());
        let mut gateway = Background::start(&program);
        gateway.wait_for_output("\"message\":\"ready\"");
        gateway
    }

    fn command(&self, command: &str) -> String {
        let program = Program::new(wardgate()).args([command, "--socket"]);
        program.arg(self.socket()).run().expect_success().text()
    }

    fn serving(&self) -> Process {
        let program = Program::new(wardgate()).args(["status", "--json", "--socket"]);
        let text = program.arg(self.socket()).run().expect_success().text();
        let reply: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let id = reply["status"]["pid"].as_u64().expect("a number");
        Process::new(u32::try_from(id).expect("a process"))
    }

    fn join(&self, entry: SocketAddr) -> (TcpStream, TcpStream) {
        let mut joined = (connect(entry), accept(&self.exit));
        exchange(&mut joined);
        joined
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("we are root");
}

fn exchange((client, server): &mut (TcpStream, TcpStream)) {
    ping(client, server);
    ping(server, client);
}

fn field(status: &str, name: &str) -> String {
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let words: Vec<_> = line.unwrap_or("missing").split_whitespace().collect();
    words.join(" ")
}

/// All threads have the user, no capability but the one for rings, no new privileges, and filters.
fn assert_confined(process: Process, bounding: bool) {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.id())).expect("it runs");
    let mut names = BTreeSet::new();
    for task in tasks {
        let path = task.expect("it runs").path().join("status");
        let Ok(status) = fs::read_to_string(path) else {
            // A thread that read files has ended.
            continue;
        };
        let is =
            |name: &str, value: &str| assert_eq!(field(&status, name), value, "{name}\n{status}");
        is("Uid", "65534 65534 65534 65534");
        is("Gid", "65534 65534 65534 65534");
        is("Groups", "");
        is("CapInh", "0000000000000000");
        is("CapAmb", "0000000000000000");
        is("NoNewPrivs", "1");
        is("Seccomp", "2");
        // A process that root has not started cannot lower its bounding set, which has no effect without new privileges.
        let sets = match bounding {
            true => &["CapPrm", "CapEff", "CapBnd"][..],
            false => &["CapPrm", "CapEff"],
        };
        for set in sets {
            let bits = u64::from_str_radix(&field(&status, set), 16).expect("a number");
            assert_eq!(bits & !CAP_IPC_LOCK, 0, "{set}\n{status}");
        }
        names.insert(field(&status, "Name"));
    }
    for name in [
        "wardgate", "worker-0", "resolver", "journal", "panic", "renewals",
    ] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
}

/// Kept where the limit of locked memory cannot be raised.
const CAP_IPC_LOCK: u64 = 1 << 14;

/// The process that was started with `first` as its first argument by this parent.
fn child_of(parent: Process, first: &str) -> Process {
    let all = fs::read_dir("/proc").expect("it is there");
    let ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_it = |id: &u32| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let second = line.split(|byte| *byte == 0).nth(1);
        field(&status, "PPid") == parent.id().to_string() && second == Some(first.as_bytes())
    };
    let found = { ids }.find(is_it);
    Process::new(found.unwrap_or_else(|| panic!("no child with the argument {first}")))
}

/// Sockets that a process has, as the kernel numbers them.
fn sockets(process: Process) -> BTreeSet<PathBuf> {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", process.id())).expect("we are root");
    let targets = descriptors.filter_map(|one| fs::read_link(one.ok()?.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .collect()
}

/// The launcher has the user of its own start, and nothing of the gateway.
fn assert_launcher(gateway: Process, uid: u32) -> Process {
    let launcher = child_of(gateway, "launcher");
    let status = fs::read_to_string(format!("/proc/{}/status", launcher.id())).expect("it runs");
    assert_eq!(
        field(&status, "Uid"),
        [
            uid.to_string(),
            uid.to_string(),
            uid.to_string(),
            uid.to_string()
        ]
        .join(" ")
    );
    assert_eq!(field(&status, "Threads"), "1", "{status}");
    let (own, others) = (sockets(launcher), sockets(gateway));
    assert!(
        !own.is_empty() && own.is_disjoint(&others),
        "{own:?} {others:?}"
    );
    launcher
}

/// Goal: root may start a gateway, which then is another user and works as any other. Method: traffic, a reload, and
/// two upgrades, each looked at from outside.
#[test]
fn a_gateway_that_root_starts_becomes_another_user_and_can_be_reloaded_and_upgraded() {
    if !tier::ready("direct", &[Need::Root]) {
        return;
    }
    let mut of_user = OfUser::new();
    let later = local();
    of_user.site = of_user.site.clone().reload_ports(&[later]);
    // Root reads this key at the start, and the user could not read it again.
    set_mode(&of_user.keys[0], 0o600);
    let gateway = of_user.start();
    let warned = format!(
        "which cannot read {}: Permission denied",
        of_user.keys[0].display()
    );
    assert!(gateway.output().contains(&warned), "{}", gateway.output());
    set_mode(&of_user.keys[0], 0o640);
    assert_confined(gateway.process(), true);
    let first = assert_launcher(gateway.process(), 0);
    let mut open = of_user.join(of_user.entry);
    let socket = fs::metadata(of_user.socket()).expect("it is open");
    assert_eq!((socket.uid(), socket.gid()), (UID, GID));
    // The files are read again, by the user.
    let site = of_user.site.clone();
    let more = site.passthrough(later, address(&of_user.exit)).name("more");
    more.write(&of_user.config());
    let text = of_user.command("reload");
    assert!(text.contains("route \"more\": added"), "{text}");
    of_user.join(later);
    let mut last = gateway.process().id();
    for _ in 0..2 {
        let text = of_user.command("upgrade");
        let now = of_user.serving();
        of_user.successors.push(now);
        assert_ne!(now.id(), last, "{text}");
        assert_confined(now, true);
        assert_launcher(now, 0);
        of_user.join(of_user.entry);
        of_user.join(later);
        last = now.id();
    }
    exchange(&mut open);
    assert!(!first.has_ended());
    drop(open);
    // Its successors have its pipes, so the end of its output is not waited for.
    until("the first process has ended", DEADLINE, || {
        gateway.process().has_ended().then_some(())
    });
    until("its launcher has ended", DEADLINE, || {
        first.has_ended().then_some(())
    });
    let output = gateway.output();
    assert!(output.contains("user nobody, uid 65534, "), "{output}");
    assert!(!output.contains("runs_as_root"), "{output}");
    Process::new(last).signal(Signal::TERM);
    for process in &of_user.successors {
        until("each process has ended", DEADLINE, || {
            process.has_ended().then_some(())
        });
    }
    assert!(!of_user.socket().exists());
}

/// What another process of the same user tries. Prints one line for each attempt: its name, and `done` or the error.
const THIEF: &str = r#"
use strict;
my $of = $ARGV[0] + 0;
my ($child, $handle, $some);
if (!$of) { $child = fork(); if (!$child) { sleep 60; exit } $of = $child; select(undef, undef, undef, 0.2); }
sub outcome { my ($what, $ok) = @_; print "$what: ", ($ok ? "done" : "$!"), "\n"; }
for my $file ("mem", "maps", "environ", "auxv", "map_files", "fd") {
    if (-d "/proc/$of/$file") { outcome($file, opendir(my $folder, "/proc/$of/$file")); }
    else { outcome($file, open($handle, "<", "/proc/$of/$file")); }
}
my $room = "\0" x 16;
my $own = pack("QQ", unpack("Q", pack("p", $room)), 16);
my $other = pack("QQ", 4096, 16);
# Nothing is mapped there: EFAULT is the answer to a process that may read.
my $count = syscall(310, $of, $own, 1, $other, 1, 0);
outcome("process_vm_readv", $count >= 0 || $!{EFAULT});
$count = syscall(311, $of, $own, 1, $other, 1, 0);
outcome("process_vm_writev", $count >= 0 || $!{EFAULT});
my $pidfd = syscall(434, $of, 0);
outcome("pidfd_getfd", syscall(438, $pidfd, 0, 0) >= 0);
outcome("ptrace", syscall(101, 0x4206, $of, 0, 0) == 0);
kill 9, $child if $child;
"#;

/// The attempts of another process of the same user against `process`, or against a child of its own.
fn attempts(process: Option<Process>) -> Vec<(String, String)> {
    let id = process.map_or("0".to_owned(), |process| process.id().to_string());
    let text = Program::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["perl", "-MErrno", "-e", THIEF, &id])
        .run()
        .expect_success()
        .text();
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    lines
        .map(|(what, outcome)| (what.to_owned(), outcome.to_owned()))
        .collect()
}

/// Goal: keys of a gateway are out of reach for other processes of its user, and for core files. Method: the same
/// attempts reach a process that is not protected; a gateway is killed by signals that write a core file.
#[test]
fn another_process_of_the_same_user_reads_no_memory_and_a_crash_leaves_no_core_file() {
    let needs = [Need::Root, Need::Program("setpriv"), Need::Program("perl")];
    if !tier::ready("direct", &needs) {
        return;
    }
    let unprotected = attempts(None);
    assert_eq!(unprotected.len(), 10, "{unprotected:?}");
    for (what, outcome) in &unprotected {
        assert_eq!(outcome, "done", "{what}");
    }
    for (as_user, signal) in [(false, Signal::ABORT), (true, Signal::SEGV)] {
        let of_user = OfUser::new();
        let gateway = match as_user {
            true => of_user.start_as_user(),
            false => of_user.start(),
        };
        let process = gateway.process();
        assert_confined(process, !as_user);
        assert_launcher(process, if as_user { UID } else { 0 });
        of_user.join(of_user.entry);
        for (what, outcome) in attempts(Some(process)) {
            let is_refused =
                ["Permission denied", "Operation not permitted"].contains(&outcome.as_str());
            assert!(is_refused, "{what}: {outcome}");
        }
        // Files in /proc of a process whose memory is protected belong to root.
        let environment = fs::metadata(format!("/proc/{}/environ", process.id())).expect("it runs");
        assert_eq!(environment.uid(), 0);
        let limits =
            fs::read_to_string(format!("/proc/{}/limits", process.id())).expect("we are root");
        let cores = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let cores: Vec<_> = cores
            .unwrap_or_default()
            .split_whitespace()
            .skip(4)
            .collect();
        assert_eq!(cores, ["0", "0", "bytes"], "{limits}");
        until("the gateway has crashed", DEADLINE, || {
            // The handler of stack overflows takes the first SIGSEGV.
            process.signal(signal);
            process.has_ended().then_some(())
        });
        let status = gateway.wait(DEADLINE);
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
        assert!(!status.core_dumped(), "{status}");
        let left: Vec<_> = files(&of_user.folder.path().join("run")).collect();
        assert_eq!(left, ["admin.sock"]);
    }
}

fn files(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).expect("our folder");
    entries.map(|entry| {
        entry
            .expect("ours")
            .file_name()
            .to_string_lossy()
            .into_owned()
    })
}

/// Goal: a part that is missing is never missing in silence. Method: the kernel refuses a call of the part, or there
/// is no user for it; once with each setting.
#[test]
fn a_part_that_is_missing_stops_a_gateway_with_require_and_is_reported_with_try() {
    if !tier::ready("direct", &[Need::Root]) {
        return;
    }
    let cases = [
        (
            Some("landlock_restrict_self=EPERM"),
            "root",
            "files",
            "Landlock: ",
        ),
        (Some("seccomp=EPERM"), "root", "system_calls", "seccomp"),
        (None, "no-such-user", "privileges", "there is no user"),
    ];
    let expected_metrics = tier::workspace().join("tests/data/metrics.expected");
    let expected_metrics = fs::read_to_string(expected_metrics).expect("the list is there");
    // The rows of the metric without their values.
    let parts = |metrics: &str| -> BTreeSet<String> {
        let rows = metrics
            .lines()
            .filter(|row| row.starts_with("wardgate_sandbox{"));
        rows.filter_map(|row| Some(row.split_once('}')?.0.to_owned()))
            .collect()
    };
    assert!(!parts(&expected_metrics).is_empty());
    for (denied, user, part, why) in cases {
        let of_user = OfUser::new();
        let metrics = local();
        let run = |setting: &str| {
            let site = of_user
                .site
                .clone()
                .gateway("sandbox", format!("\"{setting}\""));
            let site = site
                .gateway("run_as", format!("\"{user}\""))
                .gateway("metrics", format!("\"{metrics}\""));
            site.write(&of_user.config());
            let program = match denied {
                Some(denied) => Program::new(built("deny")).arg(denied).arg(wardgate()),
                None => Program::new(wardgate()),
            };
            program.args(["run", "--config"]).arg(of_user.config())
        };
        let outcome = run("require").run();
        let text = outcome.text();
        assert_eq!(
            outcome.status.and_then(|status| status.code()),
            Some(78),
            "{text}"
        );
        let expected = format!("sandbox = \"require\": the part {part} is missing: ");
        assert!(text.contains(&expected) && text.contains(why), "{text}");
        let mut gateway = Background::start(&run("try"));
        gateway.wait_for_output("\"message\":\"ready\"");
        of_user.join(of_user.entry);
        let status = of_user.command("status");
        let is_shown = |line: &str| line.contains(part) && line.contains("missing");
        assert!(status.lines().any(is_shown), "{status}");
        let shown = http::get(metrics, "/metrics").text();
        let is_missing = format!("wardgate_sandbox{{part=\"{part}\"}} 0\n");
        assert!(shown.contains(&is_missing), "{shown}");
        assert_eq!(parts(&shown), parts(&expected_metrics));
        let log = gateway.stop();
        let warned = format!("sandbox: {part}: missing (");
        assert!(log.contains(&warned) && log.contains(why), "{log}");
    }
    // Without a sandbox, memory is protected all the same.
    let mut of_user = OfUser::new();
    of_user.site = of_user.site.clone().gateway("sandbox", "\"off\"");
    let gateway = of_user.start();
    let environment = fs::metadata(format!("/proc/{}/environ", gateway.process().id()));
    assert_eq!(environment.expect("it runs").uid(), 0);
    let status = of_user.command("status");
    assert!(status.contains("system_calls is off"), "{status}");
    let log = gateway.stop();
    assert!(log.contains("wardgate runs as root; "), "{log}");
    assert!(
        log.contains("with sandbox = \\\"off\\\" it does not become the user"),
        "{log}"
    );
}
