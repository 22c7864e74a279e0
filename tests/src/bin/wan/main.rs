//! The scenarios of the tier `wan`, which run in a user-mode Linux kernel: that kernel has netem.
//!
//! ```text
//! client -> A ===== router (netem) ===== B -> server
//! ```
//!
//! `wan short` or `wan full` runs each scenario and prints one line for each: `RESULT name ok: text`, or `RESULT
//! name failed: text`.

mod path;
mod scenarios;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use scenarios::{Scenario, Transfers};

fn main() -> ExitCode {
    let transfers = match std::env::args().nth(1).as_deref() {
        Some("short") => Transfers::SHORT,
        Some("full") => Transfers::FULL,
        _ => {
            eprintln!("wan short|full");
            return ExitCode::FAILURE;
        }
    };
    // One after the other: the kernel has one processor, and a rate is measured.
    let results = scenarios::ALL.into_iter().enumerate();
    // A rate needs a machine that does nothing else.
    let results =
        results.filter(|(_, scenario)| transfers.is_full() || *scenario != Scenario::StoreRate);
    let results = results.map(|(number, scenario)| one(number, scenario, transfers));
    let is_good = results.fold(true, |all, is_good| all & is_good);
    match is_good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn one(number: usize, scenario: Scenario, transfers: Transfers) -> bool {
    let (name, start) = (scenario.name(), Instant::now());
    let outcome = catch_unwind(AssertUnwindSafe(|| scenario.run(number, transfers)));
    let seconds = start.elapsed().as_secs_f64();
    let (word, text) = match outcome {
        Ok(text) => ("ok", text),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()));
            ("failed", text.unwrap_or_else(|| "a panic".to_owned()))
        }
    };
    println!(
        "RESULT {name} {word}: {} ({seconds:.1} s)",
        text.replace('\n', " ")
    );
    word == "ok"
}
