//! Runs a program without some resource, to test what the program then reports.
//!
//! `deny SYSTEM_CALL=ERROR program arguments...` makes a system call of io_uring or of the sandbox fail;
//! `deny files=NUMBER program arguments...` lowers the limit of open files.

use std::collections::BTreeMap;
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("deny: {error}");
            ExitCode::from(125)
        }
    }
}

// Returns only where the program cannot be started.
fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let what = arguments.next().ok_or("what to deny is missing")?;
    let what = what.to_str().ok_or("what to deny is no text")?;
    let program = arguments.next().ok_or("the program is missing")?;
    match what.split_once('=') {
        Some(("files", number)) => lower_files(number.parse()?)?,
        Some((call, error)) => forbid(system_call(call)?, errno(error)?)?,
        None => return Err(format!("{what:?} denies nothing").into()),
    }
    Err(Command::new(program).args(arguments).exec().into())
}

fn lower_files(most: u64) -> Result<(), Errno> {
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::Nofile, limit)
}

fn forbid(call: i64, error: Errno) -> Result<(), Box<dyn Error>> {
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(error.raw_os_error().unsigned_abs()),
        TargetArch::x86_64,
    )?;
    let program: BpfProgram = filter.try_into()?;
    Ok(apply_filter(&program)?)
}

// The numbers of x86-64 (asm/unistd_64.h).
fn system_call(name: &str) -> Result<i64, String> {
    match name {
        "seccomp" => Ok(317),
        "landlock_restrict_self" => Ok(446),
        "io_uring_setup" => Ok(425),
        "io_uring_enter" => Ok(426),
        "io_uring_register" => Ok(427),
        _ => Err(format!("system call {name:?} is not known here")),
    }
}

fn errno(name: &str) -> Result<Errno, String> {
    match name {
        "ENOSYS" => Ok(Errno::NOSYS),
        "EPERM" => Ok(Errno::PERM),
        "ENOMEM" => Ok(Errno::NOMEM),
        "EINVAL" => Ok(Errno::INVAL),
        _ => Err(format!("error {name:?} is not known here")),
    }
}
