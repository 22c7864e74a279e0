//! Selects the core of a thread or a program.
//!
//! Threads and programs that a thread starts inherit its core, so it is enough to move the starting thread.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use clap::Args;
use rustix::process::Signal;
use rustix::thread::CpuSet;

/// A program and the cores that it gets.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The cores for the program and all its threads
    #[arg(long, value_name = "CORE", value_delimiter = ',', required = true)]
    cores: Vec<usize>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// Runs the program on its cores, in place of this one. It ends with the process that started it.
///
/// # Errors
///
/// The core does not exist or the program cannot be run; otherwise the function does not return.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let (program, arguments) = options.command.split_first().context("no program named")?;
    move_to(&options.cores)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .context("cannot ask to end with our parent")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

/// Moves the calling thread.
///
/// # Errors
///
/// Where this process may not run on that core.
pub(crate) fn this_thread(core: usize) -> anyhow::Result<()> {
    move_to(&[core])
}

fn move_to(cores: &[usize]) -> anyhow::Result<()> {
    let mut only = CpuSet::new();
    for &core in cores {
        anyhow::ensure!(core < CpuSet::MAX_CPU, "there is no core {core}");
        only.set(core);
    }
    rustix::thread::sched_setaffinity(None, &only)
        .with_context(|| format!("cannot move to the cores {cores:?}"))
}

/// The cores that the calling thread may run on, in ascending order.
pub(crate) fn allowed() -> anyhow::Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None).context("cannot read our own cores")?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&core| set.is_set(core))
        .collect())
}

/// The core of listening ends; [`ANY`] if none was requested.
static LISTENING: AtomicUsize = AtomicUsize::new(ANY);

const ANY: usize = usize::MAX;

/// From now on, listening ends run on this core; connecting ends stay on the core of the calling thread.
pub(crate) fn listening_ends(core: usize) {
    LISTENING.store(core, Ordering::Relaxed);
}

/// Moves the calling thread to the core of listening ends, if one was requested.
pub(crate) fn as_listening_end() {
    let core = LISTENING.load(Ordering::Relaxed);
    if core != ANY
        && let Err(error) = this_thread(core)
    {
        eprintln!("a listening end stays where it is: {error:#}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_thread_may_run_on_its_core_alone() {
        let before = allowed().expect("our cores are known");
        let core = *before.last().expect("there is a core");
        std::thread::spawn(move || {
            this_thread(core).expect("it is one of ours");
            assert_eq!(allowed().expect("our cores are known"), [core]);
        })
        .join()
        .expect("the thread ends well");
        assert_eq!(allowed().expect("our cores are known"), before);
    }

    #[test]
    fn a_core_that_is_not_there_is_an_error() {
        assert!(this_thread(CpuSet::MAX_CPU).is_err());
    }
}
