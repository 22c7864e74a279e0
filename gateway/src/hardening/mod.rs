//! The sandbox: what the process gives up after start-up, because a running gateway does not need it.
//!
//! Each part has a type of its own and a state that the log, `wardgate status` and a metric report. The parts of the
//! process are entered once by the main thread, before any other thread exists, so every thread inherits them; the
//! parts of a thread (a list of system calls, and for workers no file and fewer ports) are entered by the thread itself.
//! `docs/src/design/hardening.md` says what each part stops and what is left.

mod landlock;
mod memory;
mod needs;
mod part;
mod privileges;
pub(crate) mod seccomp;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use memory::close_memory;
pub(crate) use needs::Needs;
pub(crate) use part::{PartReport, PartState, SandboxPart};
pub(crate) use privileges::{becomes, stays_root};
pub(crate) use seccomp::Role;

use crate::config::{Gateway, SandboxSetting};
use crate::thread_sandbox::ThreadSandbox;
use landlock::{Boundaries, WorkerBoundary};
use seccomp::Filters;

/// The sandbox of this process.
pub(crate) struct Sandbox {
    setting: SandboxSetting,
    needs: Needs,
    boundaries: Boundaries,
    filters: Option<Arc<Filters>>,
    parts: Vec<PartReport>,
    // Why threads could not enter their part, if the setting lets them go on.
    failed: Arc<Mutex<Vec<PartReport>>>,
}

impl Sandbox {
    /// Enters the parts of the process. The caller has opened all sockets, and no other thread exists yet. `needs` is
    /// all that the process may use from now on.
    ///
    /// # Errors
    /// With `sandbox = "require"`, a message for each part that is missing and must not be.
    pub(crate) fn enter(gateway: &Gateway, needs: Needs) -> Result<Self, Vec<String>> {
        let mut sandbox = Self {
            setting: gateway.sandbox,
            needs,
            boundaries: Boundaries::default(),
            filters: None,
            parts: Vec::new(),
            failed: Arc::default(),
        };
        match gateway.sandbox {
            SandboxSetting::Off => sandbox.close_memory_only(),
            SandboxSetting::Try | SandboxSetting::Require => sandbox.enter_all(gateway),
        }
        let refused = sandbox.parts.iter().filter_map(PartReport::obstacle);
        let refused: Vec<_> = refused.collect();
        match sandbox.setting == SandboxSetting::Require && !refused.is_empty() {
            true => Err(refused),
            false => Ok(sandbox),
        }
    }

    // Without a sandbox too, keys stay out of core files and of other processes of the same user.
    fn close_memory_only(&mut self) {
        for part in SandboxPart::ALL {
            let state = match part {
                SandboxPart::NotDumpable => memory::not_dumpable(),
                SandboxPart::NoCore => memory::no_core(),
                SandboxPart::Ring => ring(),
                _ => PartState::Off("sandbox = \"off\"".to_owned()),
            };
            self.report(part, state);
        }
    }

    // In this order: memory is locked before the capabilities are gone, and a change of the user makes a process
    // dumpable again.
    fn enter_all(&mut self, gateway: &Gateway) {
        self.report(SandboxPart::KeyMemory, memory::keep_from_swap());
        let privileges = privileges::drop(gateway, &self.needs);
        self.report(SandboxPart::Privileges, privileges);
        self.report(SandboxPart::NoNewPrivileges, privileges::no_new());
        self.report(SandboxPart::NotDumpable, memory::not_dumpable());
        self.report(SandboxPart::NoCore, memory::no_core());
        self.report(SandboxPart::NoNewCode, memory::no_new_code());
        let (boundaries, [files, ports]) = landlock::enter(&self.needs);
        self.boundaries = boundaries;
        self.report(SandboxPart::Files, files);
        self.report(SandboxPart::Ports, ports);
        let calls = match Filters::compile() {
            Ok(filters) => {
                self.filters = Some(Arc::new(filters));
                PartState::On(String::new())
            }
            Err(state) => state,
        };
        self.report(SandboxPart::SystemCalls, calls);
        self.report(SandboxPart::Ring, ring());
    }

    fn report(&mut self, part: SandboxPart, state: PartState) {
        self.parts.push(PartReport { part, state });
    }

    /// What a thread of this role gives up.
    pub(crate) fn thread(&self, role: Role) -> ThreadSandbox {
        let filters = self.filters.clone();
        let boundary = (role == Role::Worker)
            .then(|| self.boundaries.of_worker())
            .flatten();
        let (failed, setting) = (Arc::clone(&self.failed), self.setting);
        ThreadSandbox::new(move || {
            // One that fails does not prevent the other.
            let bounded = boundary.as_ref().map_or(Ok(()), WorkerBoundary::enter);
            let applied = filters.as_ref().map_or(Ok(()), |one| one.apply(role));
            let outcomes = [
                (SandboxPart::Files, bounded),
                (SandboxPart::SystemCalls, applied),
            ];
            for (part, outcome) in outcomes {
                let Err(error) = outcome else { continue };
                let state = PartState::Missing(format!("thread {}: {error}", role.name()));
                let report = PartReport { part, state };
                if setting == SandboxSetting::Require {
                    return Err(io::Error::other(report.obstacle().unwrap_or_default()));
                }
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push(report);
            }
            Ok(())
        })
    }

    /// The parts with their states, in a fixed order.
    pub(crate) fn parts(&self) -> Vec<PartReport> {
        let mut parts = self.parts.clone();
        parts.sort_by_key(|report| {
            SandboxPart::ALL
                .iter()
                .position(|part| *part == report.part)
        });
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        // The first failure of each part is shown.
        for of_thread in failed.iter().rev() {
            let mut same = parts.iter_mut();
            if let Some(report) = same.find(|report| report.part == of_thread.part) {
                report.state = of_thread.state.clone();
            }
        }
        parts
    }

    /// Why a reload cannot use a configuration that needs `wanted`: the sandbox of a running process cannot be widened.
    pub(crate) fn obstacles(&self, wanted: &Needs) -> Vec<String> {
        let is_on = |part: SandboxPart| {
            let mut parts = self.parts.iter();
            parts.any(|report| report.part == part && matches!(report.state, PartState::On(_)))
        };
        self.needs.obstacles(wanted, is_on)
    }
}

// The ring of a worker is always restricted: a worker whose ring cannot be restricted does not start.
fn ring() -> PartState {
    PartState::On(String::new())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    // With the boundary of a worker only. The boundary of a process is that of a thread which ends.
    fn with_boundary() -> Sandbox {
        let boundaries = std::thread::spawn(|| landlock::enter(&Needs::default()).0);
        Sandbox {
            setting: SandboxSetting::Try,
            needs: Needs::default(),
            boundaries: boundaries.join().expect("no panic"),
            filters: None,
            parts: Vec::new(),
            failed: Arc::default(),
        }
    }

    #[test]
    fn a_worker_whose_boundary_fails_has_its_filter_and_the_states_tell_them_apart() {
        let mut sandbox = with_boundary();
        sandbox.filters = Filters::compile().ok().map(Arc::new);
        for part in SandboxPart::ALL {
            sandbox.report(part, PartState::On(String::new()));
        }
        let of_worker = sandbox.thread(Role::Worker);
        let outcome = std::thread::spawn(move || {
            landlock::use_up_boundaries();
            of_worker.enter().expect("with \"try\" the thread goes on");
            // No boundary refuses this file: the worker's list does.
            std::fs::File::open("/proc/self/status").map(drop)
        });
        let outcome = outcome.join().expect("no panic");
        assert_eq!(
            outcome.expect_err("refused").kind(),
            ErrorKind::PermissionDenied
        );
        let mut missing = sandbox.parts();
        missing.retain(|report| report.state.word() == "missing");
        let [report] = &missing[..] else {
            panic!("one part: {missing:?}");
        };
        assert_eq!(report.part, SandboxPart::Files);
        let detail = report.state.detail();
        assert!(detail.starts_with("thread worker: "), "{detail}");
    }

    #[test]
    fn a_worker_has_its_boundary_without_a_filter_too() {
        let of_worker = with_boundary().thread(Role::Worker);
        let outcome = std::thread::spawn(move || {
            of_worker.enter().expect("this kernel has Landlock");
            std::fs::File::open("/proc/self/status").map(drop)
        });
        let outcome = outcome.join().expect("no panic");
        assert_eq!(
            outcome.expect_err("refused").kind(),
            ErrorKind::PermissionDenied
        );
    }
}
