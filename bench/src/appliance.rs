//! Appliance: what link this machine can fill with wardgate, measured without source code and without other
//! programs.
//!
//! A pair of gateways runs on loopback in a network namespace. CPU time per byte is measured at each end, since
//! the generator and both ends share the cores, so that the transferred bytes per second alone would report
//! too little.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use gateway::config::CipherSetting;
use gateway::tls::{Cipher, CipherChoice, CpuFeatures};

use crate::chain::{self, Chain, Kit, Running};
use crate::load::handshake::{self, Group};
use crate::load::{self, bulk, pingpong};
use crate::peers::namespace;
use crate::report::Report;
use crate::report::plot::{Bars, Plot, Spread};
use crate::{micro, pin, size};

/// The amounts, and the program to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The wardgate to measure [default: the installed one, or the release build]
    #[arg(long, value_name = "FILE")]
    wardgate: Option<PathBuf>,
    /// Payload of one bulk run
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size::parse)]
    size: u64,
    /// Full handshakes of one run
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    handshakes: u32,
    /// Messages of the latency run
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    messages: u32,
    /// Runs of each measurement; the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Run in this network namespace, which the program has made
    #[arg(long, hide = true)]
    inside: bool,
}

/// No measurement is silent for longer.
const STALL: Duration = Duration::from_secs(60);

/// Connections of a bulk run for each core.
const STREAMS_PER_CORE: u32 = 4;

/// Connections that each gateway must be able to hold.
const CONNECTIONS: u32 = 1100;

/// The bytes that a plain relay reads at once; no relay runs here.
const BATCH: u64 = 1 << 20;

/// Turns of a cipher on one core: about 0.1 s.
const CIPHER_TURNS: u32 = 201;

/// Links that hospitals buy, in Gbit/s.
const LINKS: [u32; 5] = [1, 10, 25, 40, 100];

/// Measures everything and returns the report.
///
/// # Errors
///
/// A permission or a program is missing, or a gateway fails, with its output.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    if !options.inside {
        namespace::enter(false)?;
    }
    namespace::prepare()?;
    load::allow_descriptors(u64::from(CONNECTIONS) * 3)?;
    let cores = pin::allowed()?;
    let mut report = Report::default();
    report.text("scenario", "appliance");
    let choice = CipherChoice::new(CipherSetting::Auto, CpuFeatures::detect());
    report.text("cipher", &choice.cipher.to_string());
    report.whole("cores", cores.len() as u64);
    ciphers(&mut report, &cores)?;
    let folder = tempfile::tempdir().context("cannot make a folder for the run")?;
    let wardgate = chain::wardgate(options.wardgate.as_deref())?;
    let mut kit = Kit::new(folder.path(), &wardgate, BATCH, CONNECTIONS)?;
    let capacity = transfers(&mut report, options, &mut kit, &cores)?;
    handshakes_and_latency(&mut report, options, &mut kit, &cores)?;
    for sentence in capacity.conclusion(cores.len()) {
        report.conclude(sentence);
    }
    Ok(report)
}

/// The speed of the chosen cipher on each core alone, and on all cores at once: less for each if cores share
/// hardware or slow down together.
fn ciphers(report: &mut Report, cores: &[usize]) -> anyhow::Result<()> {
    let case = match Cipher::fastest() {
        Cipher::Ring => "seal-ring-16k",
        _ => "seal-16k",
    };
    let on = |core: usize| -> anyhow::Result<f64> {
        let work = move || -> anyhow::Result<f64> {
            pin::this_thread(core)?;
            Ok(8.0 / micro::nanoseconds_per_byte(case, CIPHER_TURNS)?)
        };
        let ended = std::thread::spawn(work).join();
        ended.map_err(|_| anyhow::anyhow!("the cipher failed on core {core}"))?
    };
    let mut bars = Vec::new();
    for &core in cores {
        let rate = on(core)?;
        report.real(&format!("cipher_core_{core}_gbit_per_s"), rounded(rate));
        bars.push(Some(Spread::one(rate)));
    }
    let together: Vec<f64> = std::thread::scope(|scope| {
        let threads: Vec<_> = cores
            .iter()
            .map(|&core| scope.spawn(move || on(core)))
            .collect();
        let rates = threads.into_iter().map(|thread| match thread.join() {
            Ok(rate) => rate,
            Err(_) => Err(anyhow::anyhow!("the cipher failed")),
        });
        rates.collect::<anyhow::Result<_>>()
    })?;
    let sum = together.iter().sum();
    report.real("cipher_all_cores_gbit_per_s", rounded(sum));
    let plot = Bars {
        unit: "Gbit/s".to_owned(),
        groups: cores.iter().map(|core| format!("core {core}")).collect(),
        series: vec![("one core at a time".to_owned(), bars)],
    };
    report.plot("Cipher speed of each core", Plot::Bars(plot));
    Ok(())
}

/// Bulk through both gateways on 1, 2, 4 and more cores, up to all.
fn transfers(
    report: &mut Report,
    options: &Options,
    kit: &mut Kit,
    cores: &[usize],
) -> anyhow::Result<Capacity> {
    let mut capacity = Capacity::default();
    let mut bars = Vec::new();
    let counts = counts(cores.len());
    for &count in &counts {
        let some = &cores[..count];
        let chain = kit.start_on(wardgate_chain()?, [some, some])?;
        let (mut rates, mut seals, mut opens) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let bulk = transfer(options, &chain, count)?;
            rates.push(bulk.gbit_per_s);
            seals.push(bulk.seal_s_per_gb);
            opens.push(bulk.open_s_per_gb);
        }
        let [rate, seal, open] = [&rates, &seals, &opens].map(|figures| Spread::of(figures));
        let (Some(rate), Some(seal), Some(open)) = (rate, seal, open) else {
            continue;
        };
        report.real(
            &format!("bulk_{count}_cores_gbit_per_s"),
            rounded(rate.median),
        );
        report.real(&format!("seal_{count}_cores_s_per_gb"), exact(seal.median));
        report.real(&format!("open_{count}_cores_s_per_gb"), exact(open.median));
        bars.push(Some(rate));
        capacity = Capacity {
            seal_gbit_per_s: 8.0 / seal.median,
            open_gbit_per_s: 8.0 / open.median,
        };
    }
    report.real(
        "one_core_seals_gbit_per_s",
        rounded(capacity.seal_gbit_per_s),
    );
    report.real(
        "one_core_opens_gbit_per_s",
        rounded(capacity.open_gbit_per_s),
    );
    let plot = Bars {
        unit: "Gbit/s".to_owned(),
        groups: counts
            .iter()
            .map(|count| format!("{count} cores"))
            .collect(),
        series: vec![(
            "both gateways and the generator on this machine".to_owned(),
            bars,
        )],
    };
    report.plot("Bulk by number of cores", Plot::Bars(plot));
    Ok(capacity)
}

fn wardgate_chain() -> anyhow::Result<Chain> {
    Chain::named("wardgate").map_err(anyhow::Error::msg)
}

/// 1, 2, 4 and so on, and all.
fn counts(cores: usize) -> Vec<usize> {
    let mut counts: Vec<_> = std::iter::successors(Some(1), |count| Some(count * 2))
        .take_while(|&count| count < cores)
        .collect();
    counts.push(cores);
    counts
}

/// The figures of one transfer.
struct Bulk {
    gbit_per_s: f64,
    seal_s_per_gb: f64,
    open_s_per_gb: f64,
}

fn transfer(options: &Options, chain: &Running, cores: usize) -> anyhow::Result<Bulk> {
    let mut bulk: bulk::Options = load::defaults(chain.connect, chain.target);
    bulk.between.streams = STREAMS_PER_CORE * u32::try_from(cores).unwrap_or(u32::MAX);
    bulk.between.stall = STALL.as_secs();
    bulk.pieces.count_only = true;
    bulk.pieces.threads = u8::try_from(cores.min(64)).unwrap_or(1);
    bulk.size = options.size.max(4 * u64::from(bulk.between.streams));
    let before = chain.cpu()?.context("the chain has no gateway")?;
    let outcome = bulk::run(&bulk)?;
    let after = chain.cpu()?.context("the chain has no gateway")?;
    let gigabytes = bulk.size as f64 / 1e9;
    let [seal, open] =
        [0, 1].map(|end: usize| after[end].since(&before[end]).as_secs_f64() / gigabytes);
    let rate = outcome.number("gigabytes_per_second").context("no rate")?;
    // CPU time has a grain of 10 ms: less would be no measurement.
    anyhow::ensure!(
        seal * gigabytes > 0.05,
        "--size is too small to measure the CPU time"
    );
    Ok(Bulk {
        gbit_per_s: rate * 8.0,
        seal_s_per_gb: seal,
        open_s_per_gb: open,
    })
}

fn handshakes_and_latency(
    report: &mut Report,
    options: &Options,
    kit: &mut Kit,
    cores: &[usize],
) -> anyhow::Result<()> {
    let (first, last) = (
        cores.first().context("no core")?,
        cores.last().context("no core")?,
    );
    let chain = kit.start_on(wardgate_chain()?, [&[*first], &[*last]])?;
    for (group, name) in [
        (Group::X25519mlkem768, "handshakes_per_s_and_core"),
        (Group::X25519, "handshakes_x25519_per_s_and_core"),
    ] {
        let mut rates = Vec::new();
        for _ in 0..options.rounds {
            rates.push(handshakes(options, &chain, group)?);
        }
        let rate = Spread::of(&rates).map_or(0.0, |rate| rate.median);
        report.real(name, rate.round());
    }
    let mut pings: pingpong::Options = load::defaults(chain.connect, chain.target);
    pings.count = options.messages;
    pings.between.stall = STALL.as_secs();
    let outcome = pingpong::run(&pings)?;
    for name in ["latency_p50_us", "latency_p99_us"] {
        report.real(name, outcome.number(name).context("no latency")?);
    }
    Ok(())
}

/// Handshakes per second of CPU time of the terminating gateway.
fn handshakes(options: &Options, chain: &Running, group: Group) -> anyhow::Result<f64> {
    let end = chain
        .terminator
        .as_ref()
        .context("the chain has no gateway")?;
    let pings: pingpong::Options = load::defaults(end.address, chain.target);
    let mut between = pings.between;
    between.stall = STALL.as_secs();
    let options = handshake::Options {
        between,
        count: options.handshakes,
        certificate: end.identity.certificate.clone(),
        key: end.identity.key.clone(),
        trust: end.identity.trust.clone(),
        name: end.name.to_owned(),
        group,
        bare_end: false,
    };
    let before = chain.cpu()?.context("the chain has no gateway")?;
    handshake::run(&options)?;
    let after = chain.cpu()?.context("the chain has no gateway")?;
    let spent = after[1].since(&before[1]).as_secs_f64();
    anyhow::ensure!(
        spent > 0.05,
        "--handshakes is too small to measure the CPU time"
    );
    Ok(f64::from(options.count) / spent)
}

/// What one core can do.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Capacity {
    seal_gbit_per_s: f64,
    open_gbit_per_s: f64,
}

impl Capacity {
    /// Sentences about links, for a machine with this number of cores.
    fn conclusion(self, cores: usize) -> Vec<String> {
        let Self {
            seal_gbit_per_s: seal,
            open_gbit_per_s: open,
        } = self;
        // Traffic in both directions at full speed: each core divides its time between both.
        let both = cores as f64 / (1.0 / seal + 1.0 / open);
        let one = cores as f64 * seal.min(open);
        let mut sentences = vec![
            format!("One core seals about {seal:.0} Gbit/s and opens about {open:.0} Gbit/s."),
            format!(
                "With {}, this machine can fill a link of about {one:.0} Gbit/s in one direction, or of about {both:.0} \
                 Gbit/s in both directions at once.",
                counted(cores as f64)
            ),
        ];
        sentences.extend(LINKS.map(|link| {
            let [out, back] = [seal, open].map(|rate| (f64::from(link) / rate).ceil());
            let verdict = if f64::from(link) <= both {
                ""
            } else {
                "; this machine has too few for both directions at once"
            };
            let out = counted(out);
            format!("A {link} Gbit/s link needs {out} to send and {back} to receive{verdict}.")
        }));
        let card =
            "These figures are of loopback: the driver of a network card takes CPU time as well.";
        sentences.push(card.to_owned());
        sentences
    }
}

fn counted(cores: f64) -> String {
    let noun = if cores > 1.0 { "cores" } else { "core" };
    format!("{cores} {noun}")
}

fn rounded(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

fn exact(figure: f64) -> f64 {
    (figure * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_doubled_up_to_all() {
        assert_eq!(counts(1), [1]);
        assert_eq!(counts(2), [1, 2]);
        assert_eq!(counts(6), [1, 2, 4, 6]);
    }

    #[test]
    fn the_conclusion_names_the_link_and_the_cores_that_each_link_needs() {
        let capacity = Capacity {
            seal_gbit_per_s: 18.0,
            open_gbit_per_s: 20.0,
        };
        let text = capacity.conclusion(2);
        let expected = [
            "With 2 cores, this machine can fill a link of about 36 Gbit/s in one direction, or of about 19 Gbit/s in \
             both directions at once.",
            "A 10 Gbit/s link needs 1 core to send and 1 to receive.",
            "A 100 Gbit/s link needs 6 cores to send and 5 to receive; this machine has too few for both directions \
             at once.",
        ];
        for sentence in expected {
            assert!(text.iter().any(|of_text| of_text == sentence), "{text:#?}");
        }
    }
}
