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

use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use needs::Needs;
pub(crate) use part::{PartReport, PartState, SandboxPart};
pub(crate) use seccomp::Role;

use crate::config::{Gateway, SandboxSetting};
use crate::thread_sandbox::ThreadSandbox;
use landlock::Boundaries;
use seccomp::Filters;

/// The sandbox of this process.
pub(crate) struct Sandbox {
    setting: SandboxSetting,
    needs: Needs,
    boundaries: Boundaries,
    filters: Option<Arc<Filters>>,
    parts: Vec<PartReport>,
    // Why threads could not enter their part, if the setting lets them go on.
    failed: Arc<Mutex<Vec<String>>>,
}

impl Sandbox {
    /// Enters the parts of the process. The caller has opened all sockets, and no other thread exists yet. `needs` is
    /// all that the process may use from now on.
    ///
    /// # Errors
    /// With `sandbox = "require"`, the parts that the kernel has and that could not be put in force: one message for each.
    pub(crate) fn enter(gateway: &Gateway, needs: Needs) -> Result<Self, Vec<String>> {
        let setting = gateway.sandbox;
        // Without a sandbox too, keys stay out of core files and of other processes of the same user.
        let always = |part: SandboxPart, state: PartState| PartReport { part, state };
        if setting == SandboxSetting::Off {
            let closed = [SandboxPart::NotDumpable, SandboxPart::NoCore];
            let parts = SandboxPart::ALL.map(|part| {
                let is_on = closed.contains(&part) || part == SandboxPart::Ring;
                always(
                    part,
                    if is_on {
                        on(part)
                    } else {
                        PartState::Off("sandbox = \"off\"".to_owned())
                    },
                )
            });
            return Ok(Self {
                setting,
                needs,
                boundaries: Boundaries::default(),
                filters: None,
                parts: parts.to_vec(),
                failed: Arc::default(),
            });
        }
        // In this order: memory is locked before the capabilities are gone, and a change of the user makes a process
        // dumpable again.
        let mut parts = vec![
            always(SandboxPart::KeyMemory, memory::keep_from_swap()),
            always(SandboxPart::Privileges, privileges::drop(gateway, &needs)),
            always(SandboxPart::NoNewPrivileges, privileges::no_new()),
            always(SandboxPart::NotDumpable, memory::not_dumpable()),
            always(SandboxPart::NoCore, memory::no_core()),
            always(SandboxPart::NoNewCode, memory::no_new_code()),
        ];
        let (boundaries, [files, ports]) = landlock::enter(&needs);
        parts.push(always(SandboxPart::Files, files));
        parts.push(always(SandboxPart::Ports, ports));
        let (filters, state) = match Filters::compile() {
            Ok(filters) => (Some(Arc::new(filters)), on(SandboxPart::SystemCalls)),
            Err(state) => (None, state),
        };
        parts.push(always(SandboxPart::SystemCalls, state));
        parts.push(always(SandboxPart::Ring, on(SandboxPart::Ring)));
        let sandbox = Self {
            setting,
            needs,
            boundaries,
            filters,
            parts,
            failed: Arc::default(),
        };
        let refused = sandbox.parts.iter().filter_map(PartReport::obstacle);
        let refused: Vec<_> = refused.collect();
        match setting == SandboxSetting::Require && !refused.is_empty() {
            true => Err(refused),
            false => Ok(sandbox),
        }
    }

    /// What a thread of this role gives up.
    pub(crate) fn thread(&self, role: Role) -> ThreadSandbox {
        let Some(filters) = self.filters.clone() else {
            return ThreadSandbox::none();
        };
        let boundary = (role == Role::Worker)
            .then(|| self.boundaries.of_worker())
            .flatten();
        let (failed, setting) = (Arc::clone(&self.failed), self.setting);
        ThreadSandbox::new(move || {
            let entered = boundary
                .as_ref()
                .map_or(Ok(()), landlock::WorkerBoundary::enter)
                .and_then(|()| filters.apply(role));
            match entered {
                Err(error) if setting == SandboxSetting::Try => {
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    failed.push(format!("{}: {error}", role.name()));
                    Ok(())
                }
                outcome => outcome,
            }
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
        if let (Some(first), Some(report)) = (
            failed.first(),
            parts
                .iter_mut()
                .find(|report| report.part == SandboxPart::SystemCalls),
        ) {
            report.state = PartState::Missing(first.clone());
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

// A part without a detail.
fn on(_: SandboxPart) -> PartState {
    PartState::On(String::new())
}
