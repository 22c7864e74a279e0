//! Runs a program of the workspace in a user-mode Linux kernel: Debian's package `user-mode-linux`. Its root file
//! system is this machine's, read-only.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity};
use tempfile::TempDir;
use wardgate_tests::{Program, built, preload, wardgate};

/// The kernel is killed after this time.
const LIMIT: Duration = Duration::from_secs(900);
/// Memory of the machine, allocated as it is used.
const MEMORY: &str = "mem=1024M";
/// Modules that the scenarios need, with those that they depend on.
const MODULES: &str = "veth sch_netem ipv6";

/// Starts the kernel, runs the program `name` with `arguments` and returns the output of both.
///
/// It stays on one processor of this machine, the `turn`th that it may use: user-mode Linux changes between two
/// processes for each system call, which takes many times as long if they are on different processors.
pub(crate) fn run(name: &str, arguments: &str, turn: usize) -> String {
    // Short, because it holds sockets of the kernel.
    let folder = TempDir::with_prefix_in("wguml", "/tmp").expect("there is room");
    let init = folder.path().join("init");
    fs::write(&init, script(folder.path(), &built(name), arguments)).expect("our folder");
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).expect("our file");
    // The memory of the machine is a file there, which a disk would write out.
    let memory = TempDir::with_prefix_in("wguml", "/dev/shm").expect("a tmpfs");
    let ptrace = preload::compile(folder.path(), "ptrace", include_str!("ptrace.c"));
    let program = Program::new("taskset")
        .args(["-c", &processor(turn).to_string(), "linux.uml"])
        .args([
            "root=/dev/root",
            "rootfstype=hostfs",
            "rootflags=/",
            "ro",
            MEMORY,
        ])
        .arg(format!("init={}", init.display()))
        .arg(format!("uml_dir={}", folder.path().display()))
        .args([
            "con=null",
            "con0=null,fd:1",
            "quiet",
            "loglevel=3",
            "panic=-1",
        ])
        .env("TMPDIR", memory.path())
        .env("LD_PRELOAD", ptrace)
        .deadline(LIMIT);
    program.run().text()
}

fn processor(turn: usize) -> usize {
    let allowed = sched_getaffinity(None).expect("the kernel knows this thread");
    let allowed: Vec<_> = (0..CpuSet::MAX_CPU)
        .filter(|cpu| allowed.is_set(*cpu))
        .collect();
    allowed[turn % allowed.len()]
}

fn script(folder: &Path, program: &Path, arguments: &str) -> String {
    let (folder, program) = (folder.display(), program.display());
    let gateway = wardgate();
    let gateway = gateway.display();
    // The modules' folder is that of the kernel, in the shape that modprobe expects.
    format!(
        "#!/bin/sh\n\
         export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\n\
         mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev 2>/dev/null\n\
         mkdir -p /dev/shm; mount -t tmpfs t /run; mkdir /run/tmp /run/netns /run/kernel /run/kernel/lib\n\
         ln -s /usr/lib/uml/modules /run/kernel/lib/modules\n\
         for module in {MODULES}; do modprobe -d /run/kernel $module; done\n\
         ip link set lo up; ulimit -n 65536; export TMPDIR=/run/tmp; cd {folder}\n\
         export WARDGATE_PROGRAM={gateway}\n\
         {program} {arguments} </dev/null 2>&1\n\
         echo \"STATUS $?\"\n\
         echo o >/proc/sysrq-trigger; sleep 10\n"
    )
}
