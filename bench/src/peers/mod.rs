//! Peers: chains of wardgate and of comparable programs, in one interleaved run.
//!
//! Each round measures each chain once, so that drift of the machine affects all. All chains have the same
//! certificates, cipher, congestion control, cores and load. A warm-up, in which every byte is compared, does
//! not count.

mod cipher;
mod dicom;
mod measure;
pub(crate) mod namespace;
mod plan;
mod results;
mod scenario;
mod tables;
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use rustix::process::Resource;
use serde_json::json;

use crate::chain::{self, Cores, Kit, Running, packages};
use crate::load::{self, DESCRIPTORS_BESIDE};
use crate::pin;
use crate::report::html;
use crate::report::machine::Machine;
use dicom::Series;
use measure::Bench;
pub(crate) use plan::{Options, Plan};
use results::{Placement, Results};
use scenario::Scenario;

/// Measures and prints; returns whether everything could be measured and wardgate stayed below `--at-most`.
///
/// # Errors
///
/// The run cannot begin: a program, a permission or a core is missing.
pub(crate) fn run(options: &Options, html: Option<&Path>) -> anyhow::Result<bool> {
    let mut plan = Plan::of(options);
    if !options.inside {
        packages::prepare(&plan.packages(), !options.no_install)?;
        if options.wardgate.is_none() && chain::installed().is_none() {
            build()?;
        }
        namespace::enter(!options.no_install)?;
    }
    namespace::prepare()?;
    let connections = connections(&mut plan)?;
    let folder = tempfile::tempdir().context("cannot make a folder for the run")?;
    let kit = Kit::new(
        folder.path(),
        &chain::wardgate(options.wardgate.as_deref())?,
        options.batch,
        connections,
    )?;
    let mut campaign = Campaign {
        series: Series::make(folder.path(), plan.objects)?,
        plan,
        kit,
        seats: Seats::find()?,
        results: Results::default(),
        failures: Vec::new(),
    };
    let ciphers = campaign.ciphers()?;
    campaign.run()?;
    conclude(options, html, &campaign, ciphers)
}

/// The connections that every program must be able to hold; fewer idle connections if the machine does not
/// allow as many descriptors. Each gateway needs two for each connection, and inherits the limit of the
/// bench.
fn connections(plan: &mut Plan) -> anyhow::Result<u32> {
    let idle = if plan.has(Scenario::Idle) {
        plan.idle
    } else {
        0
    };
    // stunnel reserves one in 40 of its descriptors.
    let sockets = |connections: u32| u64::from(connections) * 33 / 16 + BESIDE;
    if let Err(error) = load::allow_descriptors(sockets(idle)) {
        let allowed = rustix::process::getrlimit(Resource::Nofile).maximum;
        let allowed = allowed
            .unwrap_or(u64::MAX)
            .saturating_sub(BESIDE + DESCRIPTORS_BESIDE);
        plan.idle = u32::try_from(allowed * 16 / 33).unwrap_or(u32::MAX);
        eprintln!(
            "{} idle connections instead of {idle}: {error:#}",
            plan.idle
        );
        load::allow_descriptors(sockets(plan.idle))?;
        return Ok(plan.idle + ROOM);
    }
    Ok(idle + ROOM)
}

/// Connections besides the idle ones: no other scenario has as many.
const ROOM: u32 = 200;

/// Descriptors for these and for all other files of a program.
const BESIDE: u64 = 600;

/// Cargo checks whether the release build is current. The folder of the sources is that of `cargo run`, or the
/// one around the target folder: a path in the program would differ from build to build.
fn build() -> anyhow::Result<()> {
    let manifest = match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(folder) => PathBuf::from(folder).join("../Cargo.toml"),
        None => chain::target_folder()?.join("../Cargo.toml"),
    };
    let status = Command::new("cargo")
        .args(["build", "--release", "-p", "wardgate", "--manifest-path"])
        .arg(manifest)
        .status()
        .context("cannot run cargo; name a built wardgate by --wardgate")?;
    anyhow::ensure!(status.success(), "wardgate cannot be built");
    Ok(())
}

/// The two cores of a run.
#[derive(Debug, Clone, Copy)]
struct Seats {
    first: usize,
    second: usize,
}

/// The core of each part.
#[derive(Debug, Clone, Copy)]
struct Seating {
    gateways: Cores,
    load: dicom::Cores,
}

impl Seats {
    /// The first two cores that this process may use.
    fn find() -> anyhow::Result<Self> {
        let cores = pin::allowed()?;
        let &[first, second, ..] = cores.as_slice() else {
            anyhow::bail!("two cores are needed, we may use {}", cores.len());
        };
        Ok(Self { first, second })
    }

    /// All on the second core, because interrupts go to the first by default; or A and the sink on the first,
    /// B and the source on the second, as for [`Placement`].
    fn at(self, placement: Placement) -> Seating {
        let Self { first, second } = self;
        let (a, b) = match placement {
            Placement::One => (second, second),
            Placement::Split => (first, second),
        };
        Seating {
            gateways: Cores { a, b },
            load: dicom::Cores { source: b, sink: a },
        }
    }
}

/// A run and its results.
struct Campaign {
    plan: Plan,
    kit: Kit,
    series: Series,
    seats: Seats,
    results: Results,
    /// The measurements that failed, with their reasons.
    failures: Vec<String>,
}

impl Campaign {
    fn ciphers(&self) -> anyhow::Result<[cipher::Cost; 2]> {
        pin::this_thread(self.seats.second)?;
        cipher::measure()
    }

    fn run(&mut self) -> anyhow::Result<()> {
        for at in self.plan.placements.clone() {
            self.sit(at)?;
            self.rounds(at)?;
        }
        if self.plan.has(Scenario::Idle)
            && let Some(&at) = self.plan.placements.last()
        {
            self.idle(at)?;
        }
        Ok(())
    }

    /// Moves the load to its cores.
    fn sit(&self, at: Placement) -> anyhow::Result<Seating> {
        let seating = self.seats.at(at);
        pin::this_thread(seating.load.source)?;
        pin::listening_ends(seating.load.sink);
        Ok(seating)
    }

    fn rounds(&mut self, at: Placement) -> anyhow::Result<()> {
        let scenarios = self.plan.of_round(at);
        if scenarios.is_empty() {
            return Ok(());
        }
        let cores = self.seats.at(at).gateways;
        let chains = self.plan.chains.clone();
        let running: Vec<Running> = chains
            .into_iter()
            .map(|chain| self.kit.start(chain, cores))
            .collect::<anyhow::Result<_>>()?;
        for round in 0..=self.plan.rounds {
            for &scenario in &scenarios {
                let fits = |running: &&Running| scenario.fits(&running.chain);
                for chain in running.iter().filter(fits) {
                    self.measure(at, round, scenario, chain);
                }
            }
        }
        Ok(())
    }

    /// One chain after the other, each new: one round, because memory hardly varies.
    fn idle(&mut self, at: Placement) -> anyhow::Result<()> {
        let cores = self.sit(at)?.gateways;
        for chain in self.plan.chains.clone() {
            if !Scenario::Idle.fits(&chain) {
                continue;
            }
            let running = self.kit.start(chain, cores)?;
            self.measure(at, 1, Scenario::Idle, &running);
        }
        Ok(())
    }

    /// Round 0 is the warm-up.
    fn measure(&mut self, at: Placement, round: u32, scenario: Scenario, chain: &Running) {
        let bench = Bench {
            plan: &self.plan,
            series: &self.series,
            cores: self.seats.at(at).load,
            compare: round == 0,
        };
        let name = chain.chain.name;
        let what = format!("{at}, round {round} of {}: {scenario:?}", self.plan.rounds);
        let figures = match bench.measure(scenario, chain) {
            Ok(figures) => figures,
            Err(error) => {
                let failure = format!("{what} through {name}: {error:#}");
                eprintln!("{failure}");
                self.failures.push(failure);
                return;
            }
        };
        let shown: Vec<_> = figures
            .iter()
            .map(|(figure, value)| format!("{figure} {value:.3}"))
            .collect();
        eprintln!("{what} through {name}: {}", shown.join(", "));
        if round > 0 {
            for (figure, value) in figures {
                self.results.push(at, name, &figure, value);
            }
        }
    }
}

/// Prints the tables and the targets, writes the files, and returns the verdict.
fn conclude(
    options: &Options,
    html: Option<&Path>,
    campaign: &Campaign,
    ciphers: [cipher::Cost; 2],
) -> anyhow::Result<bool> {
    let Campaign {
        plan,
        results,
        failures,
        ..
    } = campaign;
    let floor = targets::Floor {
        cipher: cipher::cheaper(ciphers),
        results,
    };
    let goals = targets::all(plan, results, &floor);
    let sections = tables::sections(plan, results, &floor, &ciphers, &goals);
    for section in &sections {
        println!("{}", tables::text(section));
    }
    if let Some(path) = html {
        let page = html::page("wardgate-bench: peers", &Machine::here(), &sections)?;
        write(path, &page)?;
    }
    if let Some(path) = &options.json_file {
        let all = json!({
            "samples": results.json(),
            "ciphers": ciphers.map(|cost| json!({
                "provider": cost.provider,
                "seal_s_per_gb": cost.seal,
                "open_s_per_gb": cost.open,
            })),
            "targets": goals.iter().map(targets::Goal::json).collect::<Vec<_>>(),
            "failures": failures,
        });
        write(path, &format!("{all:#}\n"))?;
    }
    for failure in failures {
        println!("not measured: {failure}");
    }
    let kept = match options.at_most {
        Some(limit) => keeps(plan, results, limit)?,
        None => true,
    };
    Ok(kept && failures.is_empty())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Whether wardgate's CPU time for bulk is at most this multiple of HAProxy's, wherever both were measured.
///
/// # Errors
///
/// They were not measured: a gate without a measurement must fail.
fn keeps(plan: &Plan, results: &Results, limit: f64) -> anyhow::Result<bool> {
    let mut kept = true;
    let mut compared = 0;
    for &at in &plan.placements {
        for streams in &plan.streams {
            let figure = format!("bulk_{streams}_s_per_gb");
            if let Some(ratio) = results.ratio(at, "wardgate", "haproxy", &figure) {
                compared += 1;
                kept &= ratio <= limit;
                println!("{at}, {streams} streams: wardgate / haproxy {ratio:.3}, at most {limit}");
            }
        }
    }
    anyhow::ensure!(
        compared > 0,
        "--at-most compares bulk through wardgate and haproxy; neither may be left out"
    );
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hop_crosses_the_cores_where_they_are_split() {
        let seats = Seats {
            first: 0,
            second: 1,
        };
        let split = seats.at(Placement::Split);
        assert_ne!(split.load.source, split.gateways.a);
        assert_ne!(split.gateways.a, split.gateways.b);
        assert_ne!(split.gateways.b, split.load.sink);
        let one = seats.at(Placement::One);
        assert_eq!(one.gateways, Cores { a: 1, b: 1 });
        assert_eq!((one.load.source, one.load.sink), (1, 1));
    }
}
