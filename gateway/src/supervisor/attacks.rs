//! What a break-in into a thread of the gateway reaches: nothing.
//!
//! Each test starts a process of this test program, which enters the sandbox of a real configuration and starts the
//! real workers. The attack then runs inside a worker's loop, or in a thread of another role. The test sees how the
//! process ended.

mod arguments;
mod narrow;

use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, Signal, kill_process, set_dumpable_behavior, setrlimit,
};
use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;

use super::inherited::Inherited;
use super::workers::Workers;
use super::{bind, enter_sandbox, environment, needs, prepare};
use crate::audit::Journal;
use crate::hardening::{Role, Sandbox};
use crate::pairing::state::StateFolder;
use crate::sys;
use crate::tls::Cipher;
use crate::uring;

/// Set in the process that is attacked: the folder of its configuration.
const ATTACKED: &str = "WARDGATE_TEST_ATTACKED";
/// Set in the process that is attacked: the role of the thread. A test may attack several roles.
const ATTACKED_ROLE: &str = "WARDGATE_TEST_ATTACKED_ROLE";

/// How the process of an attack ended.
struct Ended {
    role: Role,
    process: u32,
    status: ExitStatus,
    /// What the attack printed: `done`, or the error that it got.
    output: String,
    /// Standard error, which has the line about a violation.
    log: String,
}

/// Runs `attack` in a thread of `role` of a process of its own. `name` is the test, which is run again there.
fn attack(name: &str, role: Role, attack: fn(&Path) -> io::Result<()>) -> Ended {
    if let Some(folder) = std::env::var_os(ATTACKED) {
        let wanted = std::env::var(ATTACKED_ROLE).unwrap_or_default();
        let wanted = Role::ALL.into_iter().find(|role| role.name() == wanted);
        be_attacked(&PathBuf::from(folder), wanted.expect("a role"), attack);
    }
    let folder = TempDir::new().expect("there is room");
    let own = TcpListener::bind((own_address(), 0)).expect("a free port");
    let listen = own.local_addr().expect("it is bound");
    drop(own);
    let config = format!(
        "[gateway]\nsandbox = \"require\"\nrun_as = \"root\"\n[[route]]\nname = \"one\"\nmode = \"passthrough\"\n\
         protocol = \"tcp\"\nlisten = \"{listen}\"\ntargets = [\"127.0.0.1:{TARGET}\"]\n"
    );
    let inner = folder.path().join("etc");
    fs::create_dir(&inner).expect("our folder");
    fs::write(inner.join("wardgate.toml"), config).expect("our folder");
    fs::write(folder.path().join("secret"), "a key").expect("our folder");
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .args([
            "--exact",
            &format!("supervisor::attacks::{name}"),
            "--nocapture",
        ])
        .env(ATTACKED, &inner)
        .env(ATTACKED_ROLE, role.name())
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let (mut output, mut log) = (String::new(), String::new());
    let read = |from: &mut dyn Read, to: &mut String| from.read_to_string(to).expect("it is text");
    read(child.stdout.as_mut().expect("a pipe"), &mut output);
    read(child.stderr.as_mut().expect("a pipe"), &mut log);
    let status = child.wait().expect("it is ours");
    Ended {
        role,
        process: child.id(),
        status,
        output,
        log,
    }
}

/// An address of loopback for one attack: between the choice of the port and its use by the process that is attacked,
/// nothing else takes the port there.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = (std::process::id() << 5) + NEXT.fetch_add(1, Ordering::Relaxed);
    // 127.128.0.0/9: nothing else here uses these addresses.
    Ipv4Addr::from_bits(0x7f80_0000 | number & 0x7f_ffff)
}

/// The target of the only route. Nothing listens there.
const TARGET: u16 = 9;
/// A port of no route.
const OTHER: u16 = 47_808;

// The part in the process that is attacked.
fn be_attacked(folder: &Path, role: Role, attack: fn(&Path) -> io::Result<()>) -> ! {
    let file = folder.join("wardgate.toml");
    let prepared = prepare(&file, SystemTime::now()).expect("a good configuration");
    let connections = environment::raise_descriptors(&prepared.config).expect("enough");
    let routes = &prepared.table.routes;
    let listeners = bind::routes(&prepared.config, routes, &mut Inherited::default());
    let sandbox = match role {
        // As if a peer took part in renewals.
        Role::Renewals => {
            let state = folder.with_file_name("state");
            fs::create_dir(&state).expect("our folder");
            let needs = needs(&file, &prepared.config).with_state(&state, true);
            Sandbox::enter(&prepared.config.gateway, needs)
        }
        _ => enter_sandbox(&file, &prepared.config),
    };
    let sandbox = sandbox.expect("this kernel has all parts");
    let (journal, _events) = Journal::unwritten();
    let (sender, outcome) = channel();
    let secret = folder.with_file_name("secret");
    let work = move || {
        let _ = sender.send(attack(&secret));
    };
    let mut threads = None;
    match role {
        Role::Worker => {
            let workers = Workers::start(
                &prepared.config.gateway,
                Arc::clone(&prepared.table),
                listeners.expect("the port is free"),
                (uring::probe().expect("io_uring"), Cipher::fastest()),
                [Role::Worker, Role::Resolver].map(|role| sandbox.thread(role)),
                &journal,
                connections,
            );
            let workers = workers.expect("they start");
            workers.attack(Box::new(work));
            threads = Some(workers);
        }
        role => {
            let thread = sandbox.thread(role).spawn("attacked", work);
            thread.expect("a thread");
        }
    }
    let parts = sandbox.parts();
    match outcome.recv_timeout(Duration::from_secs(20)) {
        Ok(Ok(())) => println!("outcome: done"),
        Ok(Err(error)) => println!("outcome: {error}"),
        Err(error) => println!("outcome: no answer: {error}, {parts:?}"),
    }
    drop(threads);
    std::process::exit(0);
}

/// The attack ended the process, with a line that names the thread and the call.
fn is_killed(ended: &Ended, call: &str) {
    let Ended {
        role,
        status,
        output,
        log,
        ..
    } = ended;
    assert_eq!(status.signal(), Some(31), "SIGSYS: {output}{log}");
    let line = log
        .lines()
        .find(|line| line.contains("which its list does not allow"));
    let line = line.unwrap_or_else(|| panic!("no line about a violation: {log}"));
    let named = match role {
        Role::Worker => "worker-",
        _ => "attacked\"",
    };
    assert!(
        line.starts_with(&format!("wardgate: seccomp: thread \"{named}")),
        "{line}"
    );
    assert!(line.contains(&format!(" ({call}), ")), "{line}");
    assert!(!status.core_dumped(), "a core file would hold the keys");
}

/// The attack got an error, and the process goes on.
fn is_refused(ended: &Ended) {
    let Ended {
        status,
        output,
        log,
        ..
    } = ended;
    assert!(status.success(), "{status}: {output}{log}");
    assert!(
        output.contains("outcome: Permission denied"),
        "{output}{log}"
    );
}

fn tcp() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))
}

fn loopback(port: u16) -> socket2::SockAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()
}

#[test]
fn a_worker_cannot_read_another_file() {
    let ended = attack(
        "a_worker_cannot_read_another_file",
        Role::Worker,
        |secret| fs::read(secret).map(drop),
    );
    is_refused(&ended);
}

#[test]
fn a_worker_that_starts_a_program_is_killed() {
    let ended = attack(
        "a_worker_that_starts_a_program_is_killed",
        Role::Worker,
        |_| Err(Command::new("/bin/sh").exec()),
    );
    is_killed(&ended, "execve");
}

#[test]
fn a_worker_that_traces_another_process_is_killed() {
    let ended = attack(
        "a_worker_that_traces_another_process_is_killed",
        Role::Worker,
        |_| sys::trace(1),
    );
    is_killed(&ended, "ptrace");
}

#[test]
fn a_worker_cannot_bind_another_port() {
    let ended = attack("a_worker_cannot_bind_another_port", Role::Worker, |_| {
        tcp()?
            .bind(&loopback(OTHER))
            .expect_err("the port of no route");
        // A port that the kernel chooses.
        tcp()?.bind(&loopback(0))
    });
    is_refused(&ended);
}

#[test]
fn a_worker_cannot_connect_elsewhere() {
    let ended = attack("a_worker_cannot_connect_elsewhere", Role::Worker, |_| {
        tcp()?.connect(&loopback(OTHER))
    });
    is_refused(&ended);
}

#[test]
fn a_worker_connects_to_the_port_of_a_target() {
    let ended = attack(
        "a_worker_connects_to_the_port_of_a_target",
        Role::Worker,
        |_| tcp()?.connect(&loopback(TARGET)),
    );
    assert!(
        ended.output.contains("outcome: Connection refused"),
        "{}{}",
        ended.output,
        ended.log
    );
}

#[test]
fn a_worker_cannot_write_a_file() {
    let ended = attack("a_worker_cannot_write_a_file", Role::Worker, |secret| {
        fs::write(secret.with_file_name("new"), "x")
    });
    is_refused(&ended);
}

#[test]
fn a_worker_that_opens_a_raw_socket_is_killed() {
    let ended = attack(
        "a_worker_that_opens_a_raw_socket_is_killed",
        Role::Worker,
        |_| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).map(drop),
    );
    is_killed(&ended, "socket");
}

#[test]
fn a_worker_that_connects_by_multipath_tcp_is_killed() {
    let ended = attack(
        "a_worker_that_connects_by_multipath_tcp_is_killed",
        Role::Worker,
        |_| Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).map(drop),
    );
    is_killed(&ended, "socket");
}

#[test]
fn a_worker_cannot_read_memory_as_a_file() {
    let ended = attack(
        "a_worker_cannot_read_memory_as_a_file",
        Role::Worker,
        |_| fs::File::open("/proc/self/mem").map(drop),
    );
    is_refused(&ended);
}

#[test]
fn a_worker_that_allows_core_files_again_is_killed() {
    let ended = attack(
        "a_worker_that_allows_core_files_again_is_killed",
        Role::Worker,
        |_| {
            let all = Rlimit {
                current: None,
                maximum: None,
            };
            setrlimit(Resource::Core, all).map_err(io::Error::from)
        },
    );
    is_killed(&ended, "prlimit64");
}

#[test]
fn a_worker_that_makes_the_process_readable_again_is_killed() {
    let ended = attack(
        "a_worker_that_makes_the_process_readable_again_is_killed",
        Role::Worker,
        |_| set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(io::Error::from),
    );
    is_killed(&ended, "prctl");
}

#[test]
fn a_worker_that_reads_the_memory_of_another_process_is_killed() {
    let ended = attack(
        "a_worker_that_reads_the_memory_of_another_process_is_killed",
        Role::Worker,
        |_| sys::read_memory_of(1),
    );
    is_killed(&ended, "process_vm_readv");
}

#[test]
fn a_worker_that_crashes_leaves_no_core_file() {
    let ended = attack(
        "a_worker_that_crashes_leaves_no_core_file",
        Role::Worker,
        |_| std::process::abort(),
    );
    assert_eq!(ended.status.signal(), Some(6), "{}", ended.log);
    assert!(!ended.status.core_dumped());
}

#[test]
fn a_worker_that_makes_another_ring_is_killed() {
    let ended = attack(
        "a_worker_that_makes_another_ring_is_killed",
        Role::Worker,
        |_| uring::probe().map(drop).map_err(io::Error::other),
    );
    is_killed(&ended, "io_uring_setup");
}

#[test]
fn a_worker_that_signals_another_process_is_killed() {
    let ended = attack(
        "a_worker_that_signals_another_process_is_killed",
        Role::Worker,
        |_| kill_process(Pid::INIT, Signal::CONT).map_err(io::Error::from),
    );
    is_killed(&ended, "kill");
}

#[test]
fn a_worker_that_makes_memory_executable_is_killed() {
    let ended = attack(
        "a_worker_that_makes_memory_executable_is_killed",
        Role::Worker,
        |_| sys::make_executable(),
    );
    is_killed(&ended, "mprotect");
}

#[test]
fn a_worker_that_starts_a_thread_is_killed() {
    // The kernel writes ten such lines in 5 s at most, and the tests beside this one cause some.
    for _ in 0..6 {
        let ended = attack(
            "a_worker_that_starts_a_thread_is_killed",
            Role::Worker,
            |_| thread::Builder::new().spawn(|| {}).map(drop),
        );
        // The C library blocks all signals at this call, so the handler does not run; the kernel's log has the line.
        assert_eq!(ended.status.signal(), Some(31), "{}", ended.log);
        if !kernel_logs_violations() || kernel_logs_a_call(435, ended.process) {
            return;
        }
    }
    panic!("the kernel's log has no line about the call");
}

/// Waits for the line for longer than the kernel limits its lines.
fn kernel_logs_a_call(number: u32, process: u32) -> bool {
    let line = format!(" pid={process} comm=\"worker-");
    let call = format!(" syscall={number} ");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(6) {
        if kernel_log().any(|one| one.contains(&line) && one.contains(&call)) {
            return true;
        }
        thread::sleep(Duration::from_millis(50));
    }
    false
}

/// Whether this kernel has audit, and its log is where this test looks: without a daemon of audit, and readable.
fn kernel_logs_violations() -> bool {
    let names = fs::read_dir("/proc").expect("it is there").flatten();
    let is_daemon = |name: String| name.trim() == "auditd";
    let mut names = names.filter_map(|one| fs::read_to_string(one.path().join("comm")).ok());
    let is_readable = fs::File::open(KERNEL_LOG).is_ok();
    is_readable && Path::new("/proc/self/loginuid").exists() && !names.any(is_daemon)
}

const KERNEL_LOG: &str = "/dev/kmsg";

/// The records of the kernel's log until now.
fn kernel_log() -> impl Iterator<Item = String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let log = rustix::fs::open(KERNEL_LOG, flags, Mode::empty()).expect("it is readable");
    std::iter::from_fn(move || {
        let mut record = [0; 8192];
        loop {
            match rustix::io::read(&log, &mut record) {
                Ok(count) => {
                    let record = record.get(..count).unwrap_or_default();
                    return Some(String::from_utf8_lossy(record).into_owned());
                }
                // The oldest record was overwritten meanwhile.
                Err(Errno::PIPE) => {}
                Err(_) => return None,
            }
        }
    })
}

// The other roles: a break-in into a worker may write into their memory.

#[test]
fn no_other_thread_can_start_a_program() {
    for role in [
        Role::Supervisor,
        Role::Resolver,
        Role::Journal,
        Role::Renewals,
    ] {
        let ended = attack("no_other_thread_can_start_a_program", role, |_| {
            Err(Command::new("/bin/sh").exec())
        });
        is_killed(&ended, "execve");
    }
}

#[test]
fn no_other_thread_can_read_a_secret_file() {
    for role in [
        Role::Supervisor,
        Role::Resolver,
        Role::Journal,
        Role::Renewals,
    ] {
        // These threads may open files for reading: only Landlock is between them and the secret.
        let ended = attack("no_other_thread_can_read_a_secret_file", role, |secret| {
            fs::read(secret).map(drop)
        });
        is_refused(&ended);
    }
}

#[test]
fn the_main_thread_cannot_read_the_memory_of_another_process() {
    let name = "the_main_thread_cannot_read_the_memory_of_another_process";
    let ended = attack(name, Role::Supervisor, |_| {
        fs::File::open("/proc/1/mem").map(drop)
    });
    is_refused(&ended);
}

#[test]
fn the_main_thread_reads_its_configuration_and_cannot_write_it() {
    let name = "the_main_thread_reads_its_configuration_and_cannot_write_it";
    let ended = attack(name, Role::Supervisor, |secret| {
        fs::read(secret.with_file_name("etc").join("wardgate.toml"))?;
        fs::write(secret.with_file_name("etc").join("new"), "x")
    });
    is_killed(&ended, "openat");
}

#[test]
fn the_thread_that_writes_the_state_folder_cannot_write_elsewhere() {
    let name = "the_thread_that_writes_the_state_folder_cannot_write_elsewhere";
    let ended = attack(name, Role::Renewals, |secret| {
        let state = secret.with_file_name("state");
        StateFolder::new(&state).store("clinic", b"an update")?;
        let own = StateFolder::new(&state).received("clinic");
        assert_eq!(own.as_deref(), Some(&b"an update"[..]));
        fs::write(secret.with_file_name("etc").join("new"), "x")
    });
    is_refused(&ended);
    assert!(!ended.output.contains("panicked"), "{}", ended.output);
}

#[test]
fn the_main_thread_cannot_listen_on_another_port() {
    let ended = attack(
        "the_main_thread_cannot_listen_on_another_port",
        Role::Supervisor,
        |_| TcpListener::bind((Ipv4Addr::LOCALHOST, OTHER)).map(drop),
    );
    is_refused(&ended);
}
