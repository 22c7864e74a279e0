//! Compares the kernel settings of this machine with those that a busy gateway needs.
//!
//! The library reads the relevant settings and compares each with the profile of an appliance. It changes
//! nothing: a finding has the command that would, for the operator to decide.

mod machine;
mod profile;

use std::fmt;

pub use machine::{Machine, ReadError};

/// One setting: its value, the recommended value, and the reason.
#[derive(Debug)]
pub struct Finding {
    /// The setting's name, as `sysctl` or `ulimit` give it: `net.core.rmem_max`, `nofile`.
    pub setting: &'static str,
    /// The current value as the kernel prints it, or why it is unknown.
    pub value: Result<String, ReadError>,
    /// The recommended value as text.
    pub wanted: String,
    /// The result of the comparison.
    pub verdict: Verdict,
    /// Why the setting matters to a gateway.
    pub reason: &'static str,
    /// A command, or a line of a unit file, that sets the recommended value.
    pub remedy: String,
}

/// How a setting compares with the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As recommended, or better.
    Good,
    /// The gateway runs, and would run better with the recommended value.
    Improve,
    /// The gateway cannot start with this value.
    Prevents,
    /// The setting is not readable, so there is no verdict.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Improve => "improve",
            Self::Prevents => "prevents",
            Self::Unknown => "unknown",
        })
    }
}

/// Compares the running machine with the profile, setting by setting, always in the same order.
#[must_use]
pub fn report() -> Vec<Finding> {
    report_of(&Machine::running())
}

/// Compares a machine with the profile; tests pass one in a folder.
#[must_use]
pub fn report_of(machine: &Machine) -> Vec<Finding> {
    profile::SETTINGS
        .iter()
        .map(|setting| setting.judge(machine))
        .collect()
}
