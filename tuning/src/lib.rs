//! Compares the settings of a host with those that a busy gateway needs, changes them, and undoes the change.
//!
//! A [`Goal`] (profile, bandwidth and round-trip time of the WAN, cores) and a [`Host`] give a list of
//! [`Setting`]s. Each reads, explains, compares, applies and undoes itself. [`check`] compares all of them,
//! [`apply`] changes those that differ, and [`undo`] restores what `apply` changed.
//!
//! - Everything is below a root folder, `/` for the running machine. Tests pass a folder with copies of files of
//!   `/proc`, `/sys` and `/etc`.
//! - `apply` writes the previous values to a record before it changes a value. A value without a record is
//!   never changed, and `undo` writes to no place that the program does not know.
//! - What this host does not have is "not applicable" with the reason, never an error.

mod apply;
mod cpus;
mod files;
mod finding;
mod goal;
mod host;
mod interrupts;
mod kept;
mod later;
mod limits;
mod place;
mod programs;
mod qdisc;
mod record;
mod report;
mod service;
mod setting;
mod settings;
mod steering;
#[cfg(test)]
mod tests;
mod turn;
mod undo;
mod units;
mod want;

pub use apply::{Applied, ApplyError, apply, apply_at_boot, plan};
pub use cpus::{CpuList, CpuListError};
pub use finding::{Finding, Verdict};
pub use goal::{Goal, Options, Profile};
pub use host::Host;
pub use programs::{Installed, NoPrograms, ProgramError, Programs};
pub use record::RecordError;
pub use report::{Report, Shown};
pub use setting::Setting;
pub use turn::BootStage;
pub use undo::{Left, Undone, undo};
pub use units::{Rate, RoundTrip, UnitError};

/// Compares every setting with the goal, always in the same order.
#[must_use]
pub fn check(host: &Host, goal: &Goal) -> Report {
    let settings = settings::all(host, goal);
    let later = later::assignments(host);
    Report::new(
        goal,
        settings.iter().map(|setting| setting.check(host, &later)),
    )
}
