//! The table of all settings, and the same as JSON.

use std::fmt;

use serde::Serialize;

use crate::finding::{Finding, Verdict};
use crate::goal::Goal;

/// The comparison of a host with a goal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Version of this form. It grows if a field changes its meaning or goes; new fields may come at any time.
    version: u32,
    /// The profile: `vm`, `1g`, `10g`, `25g` or `100g`.
    profile: String,
    /// Why it is this profile.
    profile_because: String,
    /// Rate of the WAN in bits per second.
    wan_bits_per_second: u64,
    /// Round-trip time of the WAN in microseconds.
    rtt_microseconds: u64,
    /// Wanted maximum of a socket buffer in bytes.
    buffer_bytes: u64,
    /// Whether a setting that matters differs.
    differs: bool,
    /// The settings, always in the same order.
    pub settings: Vec<Finding>,
    #[serde(skip)]
    heading: String,
}

/// A report as a table.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The report.
    pub report: &'a Report,
    /// Explain every setting, not only those that are not as wanted.
    pub explain: bool,
}

impl Report {
    pub(crate) fn new(goal: &Goal, settings: impl Iterator<Item = Finding>) -> Self {
        const MIB: u64 = 1 << 20;
        let settings: Vec<Finding> = settings.collect();
        let (wan, time) = (goal.wan, goal.round_trip);
        Self {
            version: 1,
            profile: goal.profile.to_string(),
            profile_because: goal.because.clone(),
            wan_bits_per_second: wan.bits(),
            rtt_microseconds: time.micros(),
            buffer_bytes: goal.buffer(),
            differs: settings
                .iter()
                .any(|finding| finding.verdict == Verdict::Differs),
            heading: format!(
                "profile {} ({}); WAN of {wan} with a round trip of {time}: buffers of {} MiB",
                goal.profile,
                goal.because,
                goal.buffer() / MIB
            ),
            settings,
        }
    }

    /// Whether a setting that matters differs.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.differs
    }

    /// The report as JSON, on several lines.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has only texts and numbers")
    }

    fn count(&self, verdict: Verdict) -> usize {
        let found = self
            .settings
            .iter()
            .filter(|finding| finding.verdict == verdict);
        found.count()
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        writeln!(f, "{}\n", report.heading)?;
        let rows = || report.settings.iter();
        let name = width("SETTING", rows().map(|row| row.setting.as_str()));
        let now = width("NOW", rows().filter_map(|row| row.now.as_deref()));
        let mut line = |setting: &str, verdict: &str, present: &str, wanted: &str| {
            let text = format!("{setting:name$}  {verdict:14}  {present:now$}  {wanted}");
            writeln!(f, "{}", text.trim_end())
        };
        line("SETTING", "VERDICT", "NOW", "WANTED")?;
        for row in rows() {
            let present = row
                .now
                .as_deref()
                .or(row.reason.as_deref())
                .unwrap_or_default();
            let wanted = row.wanted.as_deref().unwrap_or_default();
            line(&row.setting, &row.verdict.to_string(), present, wanted)?;
            let is_short = matches!(row.verdict, Verdict::Good | Verdict::NotApplicable);
            if self.explain || !is_short {
                line(&format!("    why: {}", row.why), "", "", "")?;
                line(&format!("    affects: {}", row.affects), "", "", "")?;
            }
            if let (Some(_), Some(reason)) = (&row.now, &row.reason) {
                line(&format!("    {reason}"), "", "", "")?;
            }
            if let Some(overridden) = &row.overridden {
                line(&format!("    overridden: {overridden}"), "", "", "")?;
            }
        }
        writeln!(
            f,
            "\n{} settings: {} good, {} differ and matter, {} differ a little, {} reported only, {} not applicable",
            report.settings.len(),
            report.count(Verdict::Good),
            report.count(Verdict::Differs),
            report.count(Verdict::Minor),
            report.count(Verdict::Report),
            report.count(Verdict::NotApplicable)
        )?;
        if report.count(Verdict::Differs) + report.count(Verdict::Minor) > 0 {
            writeln!(
                f,
                "`wardgate tune apply` changes what differs, and `wardgate tune undo` restores it"
            )?;
        }
        Ok(())
    }
}

/// The width of a column, within what a terminal has room for.
fn width<'a>(heading: &str, texts: impl Iterator<Item = &'a str>) -> usize {
    const MOST: usize = 40;
    let longest = texts.map(|text| text.chars().count()).max().unwrap_or(0);
    longest.max(heading.len()).min(MOST)
}
