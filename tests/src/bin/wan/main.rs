//! The scenarios of the tier `wan`, which run in a user-mode Linux kernel: that kernel has netem.
//!
//! ```text
//! client -> A ===== router (netem) ===== B -> server
//! ```
//!
//! `wan lines short|full` runs what disturbs, stops or loses connections, beside each other, because these scenarios
//! wait most of their time. `wan rates short|full` measures C-STORE, which needs a machine that does nothing else.
//! Each scenario prints one line: `RESULT name ok: text`, or `RESULT name failed: text`. Lines of tables begin with
//! `|`.

mod lateness;
mod lines;
mod path;
mod rates;
mod silence;
mod sites;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use path::{Network, Place};
use sites::{Route, Sites};

/// How long a scenario waits and how much it transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// For every run of the tests: the default timeouts divided by ten.
    Short,
    /// The default timeouts themselves, more bytes and repetitions.
    Full,
}

impl Scale {
    /// A timeout of a gateway at this scale.
    fn of(self, timeout: Duration) -> Duration {
        match self {
            Self::Short => timeout / 10,
            Self::Full => timeout,
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (run, scale): (fn(Scale) -> bool, Scale) = match words[..] {
        ["lines", "short"] => (all_lines, Scale::Short),
        ["lines", "full"] => (all_lines, Scale::Full),
        ["rates", "short"] => (rates, Scale::Short),
        ["rates", "full"] => (rates, Scale::Full),
        _ => {
            eprintln!("wan lines|rates short|full");
            return ExitCode::FAILURE;
        }
    };
    match run(scale) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

// Two pairs of gateways: a pair takes seconds to start in an emulated machine.
fn all_lines(scale: Scale) -> bool {
    thread::scope(|scope| {
        let losses = scope.spawn(move || losses(scale));
        let disturbances = disturbances(scale);
        losses.join().expect("panics were caught") & disturbances
    })
}

/// Scenarios that mostly wait, all at one time.
fn losses(scale: Scale) -> bool {
    let network = Network::new("lost", 3);
    let [down, lost, kept] = [0, 1, 2].map(|line| network.line(line));
    let mut routes = vec![Route::new(down, Vec::new())];
    routes.extend(silence::routes(lost, kept, scale));
    let sites = Sites::start(&network, "tcp", routes);
    let (network, sites) = (&network, &sites);
    thread::scope(|scope| {
        let threads = [
            scope.spawn(move || one("down_10_s", || lines::down_and_up(down, sites, 0, scale))),
            scope.spawn(move || one("wan_lost", || silence::wan_lost(lost, sites, 1, scale))),
            scope.spawn(move || {
                let lost = || silence::lan_lost(network, sites, 3, Place::Client, scale);
                one("client_lost", lost)
            }),
            scope.spawn(move || {
                let lost = || silence::lan_lost(network, sites, 4, Place::Archive, scale);
                one("archive_lost", lost)
            }),
        ];
        let results = threads.map(|thread| thread.join().expect("panics were caught"));
        results.iter().all(|is_good| *is_good)
    })
}

/// One after the other: they read or set what all lines of a machine share.
fn disturbances(scale: Scale) -> bool {
    let network = Network::new("line", 3);
    let sites = Sites::start(&network, "tcp", lines::routes(&network, scale));
    let (network, sites) = (&network, &sites);
    let results = [
        one("mtu_not_probed", || {
            lines::mtu_not_probed(network, sites, scale)
        }),
        one("mtu_probed", || lines::mtu_probed(network, sites, scale)),
        one("completes", || lines::completes(network, sites, scale)),
    ];
    results.iter().all(|is_good| *is_good)
}

fn rates(scale: Scale) -> bool {
    one("store_rate", || {
        rates::compare(&Network::new("rate", 1), scale)
    })
}

/// Runs a scenario, which panics if an application sees what it must not see, and reports it.
fn one(name: &str, run: impl FnOnce() -> String) -> bool {
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(run));
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
