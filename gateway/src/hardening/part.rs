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
        match &self.state {
            PartState::Missing(why) => Some(format!(
                "[gateway]: sandbox = \"require\": the part {} is missing: {why}; or write sandbox = \"try\"",
                self.part.name()
            )),
            PartState::On(_) | PartState::NotInKernel(_) | PartState::Off(_) => None,
        }
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
    fn only_what_the_kernel_has_and_is_missing_prevents_a_start() {
        let obstacle = |state| {
            PartReport {
                part: SandboxPart::Files,
                state,
            }
            .obstacle()
        };
        let missing = obstacle(PartState::Missing("it failed".to_owned())).expect("an obstacle");
        assert!(
            missing.contains("the part files is missing: it failed"),
            "{missing}"
        );
        assert_eq!(obstacle(PartState::NotInKernel("old".to_owned())), None);
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
