//! What this machine's kernel is set to, beside what a busy gateway wants.
//!
//! Reads the settings that matter and compares each with the profile of an appliance. It changes
//! nothing: a finding carries the command that would, for an operator to judge.

mod machine;
mod profile;

use std::fmt;

pub use machine::{Machine, ReadError};

/// One setting: what it is, what it should be, and why.
#[derive(Debug)]
pub struct Finding {
    /// The setting's name, as `sysctl` or `ulimit` give it: `net.core.rmem_max`, `nofile`.
    pub setting: &'static str,
    /// What it is now, in the kernel's own words, or why that is not known.
    pub value: Result<String, ReadError>,
    /// What the profile asks for, in words.
    pub wanted: String,
    /// Whether it is so.
    pub verdict: Verdict,
    /// Why it matters to a gateway.
    pub reason: &'static str,
    /// A command or a line of a unit file that makes it so.
    pub remedy: String,
}

/// How a setting compares with the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As the profile asks, or better.
    Good,
    /// The gateway runs, and would run better with it changed.
    Improve,
    /// The gateway cannot start like this.
    Prevents,
    /// It could not be read, so nothing is said of it.
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

/// Compares a machine with the profile; tests give one that lies in a folder.
#[must_use]
pub fn report_of(machine: &Machine) -> Vec<Finding> {
    profile::SETTINGS
        .iter()
        .map(|setting| setting.judge(machine))
        .collect()
}
