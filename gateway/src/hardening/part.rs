//! The parts of the sandbox and their states.

use std::fmt;

/// A part of the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SandboxPart {
    /// The user, and the capabilities that are left.
    Privileges,
    /// No program that this process starts can have more rights than the process.
    NoNewPrivileges,
    /// No process of the same user can read the memory.
    NotDumpable,
    /// No core file.
    NoCore,
    /// Memory is not written to swap.
    KeyMemory,
    /// Memory that was writable cannot become code (MDWE).
    NoNewCode,
    /// Files and folders (Landlock).
    Files,
    /// TCP ports (Landlock, ABI 4).
    Ports,
    /// System calls of each thread (seccomp).
    SystemCalls,
    /// Operations of the rings of io_uring.
    Ring,
}

impl SandboxPart {
    pub(crate) const ALL: [Self; 10] = [
        Self::Privileges,
        Self::NoNewPrivileges,
        Self::NotDumpable,
        Self::NoCore,
        Self::KeyMemory,
        Self::NoNewCode,
        Self::Files,
        Self::Ports,
        Self::SystemCalls,
        Self::Ring,
    ];

    /// The name in the log, in `wardgate status` and in the metric.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Privileges => "privileges",
            Self::NoNewPrivileges => "no_new_privs",
            Self::NotDumpable => "not_dumpable",
            Self::NoCore => "no_core",
            Self::KeyMemory => "key_memory",
            Self::NoNewCode => "no_new_code",
            Self::Files => "files",
            Self::Ports => "ports",
            Self::SystemCalls => "system_calls",
            Self::Ring => "ring",
        }
    }

    /// Whether a gateway with `sandbox = "require"` starts on a kernel that does not have the part. The oldest kernels on
    /// which the gateway runs have all other parts, unless they were built without them.
    fn may_be_absent(self) -> bool {
        matches!(self, Self::NoNewCode | Self::Ports)
    }
}

/// Whether a part is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PartState {
    /// In force, with a detail that may be empty.
    On(String),
    /// Not in force although it should be, with the reason and what to do.
    Missing(String),
    /// Not in force, because this kernel does not have it.
    NotInKernel(String),
    /// Not in force, because the configuration turns it off.
    Off(String),
}

impl PartState {
    /// `on`, `missing` or `off`.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::On(_) => "on",
            Self::Missing(_) | Self::NotInKernel(_) => "missing",
            Self::Off(_) => "off",
        }
    }

    /// The detail or the reason.
    pub(crate) fn detail(&self) -> &str {
        let (Self::On(text) | Self::Missing(text) | Self::NotInKernel(text) | Self::Off(text)) =
            self;
        text
    }
}

/// A part and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartReport {
    pub(crate) part: SandboxPart,
    pub(crate) state: PartState,
}

impl PartReport {
    /// Why a gateway with `sandbox = "require"` does not start.
    pub(super) fn obstacle(&self) -> Option<String> {
        let why = match &self.state {
            PartState::Missing(why) => why,
            PartState::NotInKernel(why) if !self.part.may_be_absent() => why,
            PartState::On(_) | PartState::NotInKernel(_) | PartState::Off(_) => return None,
        };
        Some(format!(
            "[gateway]: sandbox = \"require\": the part {} is missing: {why}; or write sandbox = \"try\"",
            self.part.name()
        ))
    }
}

impl fmt::Display for PartReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part.name(), self.state.word())?;
        match self.state.detail() {
            "" => Ok(()),
            detail => write!(f, " ({detail})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_missing_prevents_a_start_unless_an_older_kernel_may_lack_it() {
        let obstacle_of = |part, state| PartReport { part, state }.obstacle();
        let obstacle = |state| obstacle_of(SandboxPart::Files, state);
        let missing = obstacle(PartState::Missing("it failed".to_owned())).expect("an obstacle");
        assert!(
            missing.contains("the part files is missing: it failed"),
            "{missing}"
        );
        let absent: Vec<_> = SandboxPart::ALL
            .into_iter()
            .filter(|part| obstacle_of(*part, PartState::NotInKernel("old".to_owned())).is_none())
            .collect();
        assert_eq!(absent, [SandboxPart::NoNewCode, SandboxPart::Ports]);
        assert_eq!(obstacle(PartState::On(String::new())), None);
        assert_eq!(obstacle(PartState::Off(String::new())), None);
    }

    #[test]
    fn a_report_is_one_line() {
        let state = PartState::On("Landlock ABI 7".to_owned());
        let report = PartReport {
            part: SandboxPart::Files,
            state,
        };
        assert_eq!(report.to_string(), "files: on (Landlock ABI 7)");
    }
}
