//! The traffic of each scenario through a chain, and its figures.
//!
//! The name of a figure ends with its unit. `a` and `b` are the two ends; without either, the figure is for
//! both.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::Context as _;

use super::Plan;
use super::dicom::{self, Series};
use super::scenario::Scenario;
use crate::chain::{Program, Running, memory};
use crate::load::handshake::{self, Group};
use crate::load::{self, Between, bulk, mixed, pingpong};
use crate::report::Report;
use crate::server::{self, Server};

/// A name and a value.
pub(crate) type Figure = (String, f64);

/// No scenario is silent for longer.
const STALL: Duration = Duration::from_secs(60);

/// PDU lengths of stored objects: DCMTK's default, and a better one for archives.
const STORE_PDUS: [(u32, &str); 2] = [
    (16 << 10, "store_16k_s_per_gb"),
    (128 << 10, "store_128k_s_per_gb"),
];

/// Messages per second next to bulk.
const MIXED_RATE: u32 = 50;

/// The requirements of a scenario besides the chain.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) series: &'a Series,
    pub(crate) cores: dicom::Cores,
    /// Compare every byte: only in the warm-up, whose figures do not count.
    pub(crate) compare: bool,
}

impl Bench<'_> {
    /// # Errors
    ///
    /// Bytes are lost or changed, a program fails, or something stalls; with the output of the ends.
    pub(crate) fn measure(&self, what: Scenario, chain: &Running) -> anyhow::Result<Vec<Figure>> {
        let figures = match what {
            Scenario::Bulk => self.bulk(chain),
            Scenario::Handshake => self.handshake(chain),
            Scenario::Pingpong => self.pingpong(chain),
            Scenario::Mixed => self.mixed(chain),
            Scenario::Dicom => self.dicom(chain),
            Scenario::Store => self.store(chain),
            Scenario::Idle => self.idle(chain),
        };
        figures.with_context(|| chain.log_tail())
    }

    fn bulk(&self, chain: &Running) -> anyhow::Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for &streams in &self.plan.streams {
            let mut options: bulk::Options = load::defaults(chain.connect, chain.target);
            options.between.streams = streams;
            options.between.stall = STALL.as_secs();
            options.pieces.count_only = !self.compare;
            // The same connections with almost no payload: handshakes are not part of bulk.
            options.size = 4 * u64::from(streams);
            let (_, empty) = used(chain, || bulk::run(&options))?;
            options.size = self.plan.size.max(options.size);
            let (report, full) = used(chain, || bulk::run(&options))?;
            let rate = number(&report, "gigabytes_per_second")?;
            figures.push((format!("bulk_{streams}_gb_per_s"), rate));
            if let Some((full, empty)) = full.zip(empty) {
                let gigabytes = options.size as f64 / 1e9;
                let [a, b] = [0, 1].map(|end| (full[end] - empty[end]).max(0.0) / gigabytes);
                figures.push((format!("bulk_{streams}_a_s_per_gb"), a));
                figures.push((format!("bulk_{streams}_b_s_per_gb"), b));
                figures.push((format!("bulk_{streams}_s_per_gb"), a + b));
            }
        }
        Ok(figures)
    }

    /// With B only, by a client of the bench; the originating end is not involved.
    fn handshake(&self, chain: &Running) -> anyhow::Result<Vec<Figure>> {
        let Some(b) = chain.terminator.as_ref() else {
            return Ok(Vec::new());
        };
        let mut groups = vec![(Group::X25519, "handshake_ms")];
        if b.program == Program::Wardgate {
            groups.push((Group::X25519mlkem768, "handshake_pq_ms"));
        }
        let mut figures = Vec::new();
        for (group, figure) in groups {
            let options = handshake::Options {
                between: Between {
                    connect: b.address,
                    ..between(chain)
                },
                count: self.plan.handshakes,
                certificate: b.identity.certificate.clone(),
                key: b.identity.key.clone(),
                trust: b.identity.trust.clone(),
                name: b.name.to_owned(),
                group,
                bare_end: b.program == Program::Nginx,
            };
            let (_, spent) = used(chain, || handshake::run(&options))?;
            if let Some([_, b]) = spent {
                figures.push((figure.to_owned(), b * 1e3 / f64::from(options.count)));
            }
        }
        Ok(figures)
    }

    fn pingpong(&self, chain: &Running) -> anyhow::Result<Vec<Figure>> {
        let mut options: pingpong::Options = load::defaults(chain.connect, chain.target);
        options.count = self.plan.messages;
        options.between.stall = STALL.as_secs();
        let report = pingpong::run(&options)?;
        let p50 = number(&report, "latency_p50_us")?;
        let p99 = number(&report, "latency_p99_us")?;
        Ok(vec![
            ("pingpong_p50_us".to_owned(), p50),
            ("pingpong_p99_us".to_owned(), p99),
        ])
    }

    fn mixed(&self, chain: &Running) -> anyhow::Result<Vec<Figure>> {
        let mut options: mixed::Options = load::defaults(chain.connect, chain.target);
        options.between.stall = STALL.as_secs();
        options.pieces.count_only = !self.compare;
        // Few enough that a core with bulk can answer each before the next is due.
        options.rate = MIXED_RATE;
        options.count = (self.plan.messages / MIXED_RATE).max(1);
        let report = mixed::run(&options)?;
        let figures = [
            ("mixed_unloaded_p99_us", "unloaded_p99_us"),
            ("mixed_p99_us", "loaded_p99_us"),
            ("mixed_gb_per_s", "bulk_gigabytes_per_second"),
        ];
        figures
            .into_iter()
            .map(|(figure, row)| Ok((figure.to_owned(), number(&report, row)?)))
            .collect()
    }

    fn dicom(&self, chain: &Running) -> anyhow::Result<Vec<Figure>> {
        let defaults = self.series.send(chain, self.cores, false)?;
        let nodelay = self.series.send(chain, self.cores, true)?;
        Ok(vec![
            ("dicom_ms_per_object".to_owned(), defaults),
            ("dicom_nodelay_ms_per_object".to_owned(), nodelay),
        ])
    }

    fn store(&self, chain: &Running) -> anyhow::Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for (pdu, figure) in STORE_PDUS {
            let mut options: load::dicom::Options = load::defaults(chain.connect, chain.target);
            options.between.stall = STALL.as_secs();
            options.kind = load::dicom::Kind::Mg;
            let object = options.kind.pixels();
            let objects = (self.plan.size / u64::from(object)).max(1);
            options.objects = Some(u16::try_from(objects).unwrap_or(u16::MAX));
            options.pdu = pdu;
            options.nodelay = true;
            options.count_only = !self.compare;
            let (_, spent) = used(chain, || load::dicom::run(&options))?;
            if let Some([a, b]) = spent {
                let gigabytes = objects as f64 * f64::from(object) / 1e9;
                figures.push((figure.to_owned(), (a + b) / gigabytes));
            }
        }
        Ok(figures)
    }

    /// The chain must be new: memory that was used and freed before would hide the memory that is used now.
    fn idle(&self, chain: &Running) -> anyhow::Result<Vec<Figure>> {
        let Some(ends) = chain.pids() else {
            return Ok(Vec::new());
        };
        let before = [memory(&ends[0])?, memory(&ends[1])?];
        // A channel holds the far ends: a thread for each would cost memory.
        let (hold, held) = channel();
        let hold = Arc::new(hold);
        let between = between(chain);
        let echo = Server::start(&between, move |mut stream| {
            echo_once(&mut stream)?;
            // No thread receives any more after the run has failed elsewhere.
            let _ = hold.send(stream);
            Ok(())
        })?;
        let mut near = Vec::new();
        for _ in 0..self.plan.idle {
            let mut stream = server::connect(chain.connect, &between)?;
            speak(&mut stream)?;
            near.push(stream);
        }
        echo.wait(self.plan.idle, STALL)?;
        let ends = chain.pids().unwrap_or_default();
        let kib = |end: usize| -> anyhow::Result<f64> {
            let grown = memory(&ends[end])?.saturating_sub(before[end]);
            Ok(grown as f64 / 1024.0 / f64::from(self.plan.idle))
        };
        let figures = vec![
            ("idle_a_kib".to_owned(), kib(0)?),
            ("idle_b_kib".to_owned(), kib(1)?),
        ];
        drop((near, held));
        Ok(figures)
    }
}

/// The addresses of the chain, for ends of the bench.
fn between(chain: &Running) -> Between {
    let options: pingpong::Options = load::defaults(chain.connect, chain.target);
    Between {
        stall: STALL.as_secs(),
        ..options.between
    }
}

/// The CPU seconds of A and B meanwhile; none if there is neither.
fn used<T>(
    chain: &Running,
    run: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, Option<[f64; 2]>)> {
    let before = chain.cpu()?;
    let outcome = run()?;
    let spent = before.zip(chain.cpu()?).map(|(before, after)| {
        [0, 1].map(|end: usize| after[end].since(&before[end]).as_secs_f64())
    });
    Ok((outcome, spent))
}

fn number(report: &Report, name: &str) -> anyhow::Result<f64> {
    report
        .number(name)
        .with_context(|| format!("the scenario gives no {name}"))
}

/// The message of an idle or short connection, and its echo.
const WORD: [u8; 200] = [b'w'; 200];

fn speak(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut heard = [0; WORD.len()];
    stream.write_all(&WORD)?;
    stream.read_exact(&mut heard)?;
    anyhow::ensure!(heard == WORD, "the echo differs");
    Ok(())
}

fn echo_once(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut heard = [0; WORD.len()];
    stream.read_exact(&mut heard)?;
    stream.write_all(&heard)
}
