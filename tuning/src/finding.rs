//! The result of comparing a setting.

use std::fmt;

use serde::Serialize;

/// A setting, its value, the wanted value, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Finding {
    /// The name of the setting: `net.core.rmem_max`, `eth0 ring rx`.
    pub setting: String,
    /// The result of the comparison.
    pub verdict: Verdict,
    /// The present value; null if there is none.
    pub now: Option<String>,
    /// The wanted value in words; null if there is none.
    pub wanted: Option<String>,
    /// Why this value.
    pub why: String,
    /// What the setting affects, beside the gateway too.
    pub affects: String,
    /// Why the setting is not applicable; null otherwise.
    pub reason: Option<String>,
    /// Which file sets another value at each start of the host; null if there is none.
    pub overridden: Option<String>,
}

/// How a setting compares with the goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As wanted, or better.
    Good,
    /// Not as wanted, and it matters: the gateway does not start, or is slower.
    Differs,
    /// Not as wanted, with little effect.
    Minor,
    /// Reported only: this program does not change it.
    Report,
    /// This host, kernel or hardware does not have the setting, or does not let it be changed.
    NotApplicable,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Good => "good",
            Self::Differs => "differs",
            Self::Minor => "minor",
            Self::Report => "report",
            Self::NotApplicable => "not applicable",
        })
    }
}
