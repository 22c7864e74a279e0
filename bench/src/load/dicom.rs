//! DICOM: associations that store objects with the sizes of real modalities.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;

use super::delay::{self, Delay};
use super::{Between, latency, per_second};
use crate::cpu::{self, Meter, Used};
use crate::report::Report;
use crate::server::Server;
use crate::size;

pub(crate) mod pdu;
mod store;

use store::{Job, Storer, Writes};

/// The objects, and how they are stored.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// `--streams` is the number of associations
    #[command(flatten)]
    pub(crate) between: Between,
    /// Kind of the objects, which sets their size
    #[arg(long, value_enum, default_value = "ct")]
    pub(crate) kind: Kind,
    /// Objects in each association; the default depends on the kind
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) objects: Option<u16>,
    /// Operations that may be outstanding; 1 is synchronous
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) asynchronous: u16,
    /// A round-trip time that the bench adds between generator and gateway: 20ms
    #[arg(long, value_name = "TIME", value_parser = delay::parse)]
    pub(crate) rtt: Option<Duration>,
    /// Send small pieces at once (TCP_NODELAY) at both ends; without it, Nagle holds them back
    #[arg(long)]
    pub(crate) nodelay: bool,
    /// How a PDU is passed to the kernel at both ends
    #[arg(long, value_enum, default_value = "split")]
    pub(crate) writes: Writes,
    /// The largest PDU that both ends accept
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = pdu_max)]
    pub(crate) pdu: u32,
    /// Count bytes without comparing them: cheaper for the receiving end
    #[arg(long)]
    pub(crate) count_only: bool,
}

/// A shorter PDU cannot hold a command.
const PDU_MIN: u64 = 4096;

fn pdu_max(text: &str) -> Result<u32, String> {
    let size = size::parse(text)?;
    let fits = (PDU_MIN..=pdu::PDU_MAX as u64).contains(&size);
    match u32::try_from(size) {
        Ok(size) if fits => Ok(size),
        _ => Err(format!("must be {PDU_MIN} to {} bytes", pdu::PDU_MAX)),
    }
}

/// The objects of real modalities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A slice of computed tomography, 0.5 MiB
    Ct,
    /// A slice of magnetic resonance, 0.25 MiB
    Mr,
    /// A mammogram, 27 MiB
    Mg,
    /// A breast tomosynthesis, 250 MiB
    Tomo,
    /// A whole slide, 1 GiB
    Wsi,
}

impl Kind {
    /// The bytes of an object's pixels.
    pub(crate) fn pixels(self) -> u32 {
        self.facts().2
    }

    /// Name, SOP class, bytes of pixels, and the default number of objects in an association.
    fn facts(self) -> (&'static str, &'static str, u32, u16) {
        match self {
            Self::Ct => ("ct", "1.2.840.10008.5.1.4.1.1.2", 512 << 10, 500),
            Self::Mr => ("mr", "1.2.840.10008.5.1.4.1.1.4", 256 << 10, 500),
            Self::Mg => ("mg", "1.2.840.10008.5.1.4.1.1.1.2", 27 << 20, 20),
            Self::Tomo => ("tomo", "1.2.840.10008.5.1.4.1.1.13.1.3", 250 << 20, 4),
            Self::Wsi => ("wsi", "1.2.840.10008.5.1.4.1.1.77.1.6", 1 << 30, 1),
        }
    }
}

/// Stores the objects and reports the time of each.
///
/// # Errors
///
/// An association fails or stalls, or an object arrives with different bytes.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let between = &options.between;
    between.with_threads()?;
    let job = job(options);
    cpu::pinned(between.cpu, || {
        let server = start_keeper(&job, between)?;
        measure(options, &job, &server, between.connect)
    })
}

fn job(options: &Options) -> Job {
    let (_, sop_class, pixels, objects) = options.kind.facts();
    Job {
        sop_class,
        pixels,
        objects: options.objects.unwrap_or(objects),
        outstanding: options.asynchronous,
        pdu_max: options.pdu,
        nodelay: options.nodelay,
        writes: options.writes,
        compare: !options.count_only,
    }
}

fn start_keeper(job: &Job, between: &Between) -> anyhow::Result<Server<Vec<u32>>> {
    let job = job.clone();
    Server::start(between, move |stream| store::keep(stream, &job))
}

fn measure(
    options: &Options,
    job: &Job,
    server: &Server<Vec<u32>>,
    connect: SocketAddr,
) -> anyhow::Result<Report> {
    let between = &options.between;
    let delay = options
        .rtt
        .map(|time| Delay::start(connect, time, between))
        .transpose()?;
    let connect = delay.as_ref().map_or(connect, Delay::address);
    let associations = u16::try_from(between.streams).context("too many associations")?;
    // The associations are opened first, so that handshakes are not part of the time.
    let storers = (0..associations)
        .map(|association| Storer::associate(job, association, connect, between))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let meter = Meter::start(&between.pids)?;
    let begun = Instant::now();
    let stored = store_all(&storers);
    let elapsed = begun.elapsed();
    if let Err(near) = stored {
        // What the keeping end saw says more than that a connection then broke.
        drop(storers);
        return Err(match server.wait(1, between.stall()) {
            Ok(_) => near,
            Err(far) => near.context(format!("{far:#}")),
        });
    }
    let used = meter.read()?;
    for storer in storers {
        storer.release()?;
    }
    let kept = server.wait(associations.into(), between.stall())?;
    compare(job, associations, kept)?;
    Ok(report(options, job, &stored?, elapsed, &used))
}

/// Every association in a thread of its own.
fn store_all(storers: &[Storer]) -> anyhow::Result<Histogram<u64>> {
    thread::scope(|scope| {
        let threads: Vec<_> = storers
            .iter()
            .map(|storer| scope.spawn(|| storer.store_all()))
            .collect();
        let mut times = latency::histogram();
        for (number, thread) in threads.into_iter().enumerate() {
            let own = thread.join().map_err(|_| anyhow!("a storer panicked"))?;
            times.add(&own.with_context(|| format!("association {number} failed"))?)?;
        }
        Ok(times)
    })
}

/// Every object must have been kept once.
fn compare(job: &Job, associations: u16, kept: Vec<Vec<u32>>) -> anyhow::Result<()> {
    let mut kept: Vec<u32> = kept.into_iter().flatten().collect();
    kept.sort_unstable();
    let stored = (0..associations).flat_map(|association| job.objects_of(association));
    let stored: Vec<u32> = stored.collect();
    anyhow::ensure!(
        kept == stored,
        "{} objects were stored and {} kept, not the same ones",
        stored.len(),
        kept.len()
    );
    Ok(())
}

fn report(
    options: &Options,
    job: &Job,
    times: &Histogram<u64>,
    elapsed: Duration,
    used: &Used,
) -> Report {
    let mut report = Report::default();
    report.text("scenario", "dicom");
    report.text("kind", options.kind.facts().0);
    report.whole("associations", options.between.streams.into());
    report.whole("objects", times.len());
    report.whole("object_bytes", job.pixels.into());
    report.whole("outstanding", job.outstanding.into());
    report.whole("pdu_bytes", job.pdu_max.into());
    let rtt = options.rtt.unwrap_or_default();
    report.real("rtt_ms", rtt.as_secs_f64() * 1e3);
    report.text("nagle", if job.nodelay { "off" } else { "on" });
    let writes = match job.writes {
        Writes::Whole => "whole",
        Writes::Split => "split",
    };
    report.text("writes", writes);
    let objects = times.len().max(1) as f64;
    let gigabytes = objects * f64::from(job.pixels) / 1e9;
    report.real("elapsed_seconds", elapsed.as_secs_f64());
    report.real("objects_per_second", per_second(objects, elapsed));
    report.real("gigabytes_per_second", per_second(gigabytes, elapsed));
    report.real("object_mean_ms", times.mean() / 1e3);
    for (name, quantile) in [
        ("object_p50_ms", 0.5),
        ("object_p90_ms", 0.9),
        ("object_p99_ms", 0.99),
        ("object_max_ms", 1.0),
    ] {
        let time = times.value_at_quantile(quantile) as f64;
        report.real(name, time / 1e3);
    }
    used.rows(&mut report, "cpu_seconds", 1.0);
    used.rows(&mut report, "cpu_seconds_per_gigabyte", 1.0 / gigabytes);
    used.rows(&mut report, "cpu_ms_per_object", 1e3 / objects);
    let curve = latency::curves("object", &[("objects", times)]);
    report.plot("Time of an object", curve);
    report
}

#[cfg(test)]
mod tests;
