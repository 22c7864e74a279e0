//! The setup: both gateways, the wire between them and the archive, and one run with them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::TITLES;
use super::archive::Archive;
use super::certificates;
use super::needles::Hits;
use super::report::{GatewayResult, Measurements};
use super::sender::{self, Sent};
use super::site::{self, Plan, Site};
use super::study::Study;
use super::wire::Wire;
use crate::limits;

/// Folder of site A.
pub(super) const HOSPITAL: &str = "hospital";

/// Folder of site B.
pub(super) const REGION: &str = "region";

/// How often the progress bar is drawn and the gateways are checked.
const TICK: Duration = Duration::from_millis(100);

/// Both sites, the wire between them and the archive, all running.
pub(super) struct Setup {
    a: Site,
    b: Site,
    plan_a: Plan,
    plan_b: Plan,
    wire: Wire,
    archive: Archive,
}

impl Setup {
    /// Starts all parts, from the archive back to site A, so each part connects to one that is running.
    pub(super) fn start(dir: &Path, study: &Study) -> anyhow::Result<Self> {
        let archive = Archive::start(listener()?, TITLES.called, &study.transfer_syntaxes())?;
        let (listen_a, listen_b) = free_ports()?;
        let wire = Wire::start(listener()?, listen_b, Arc::clone(&study.needles))?;
        let plan_a = Plan {
            route: "ct-to-region",
            mode: "originate",
            listen: listen_a,
            target: wire.addr,
            note: "the wire of the demonstration",
            peer: REGION,
            identity: "dns:gw.region.example",
        };
        let plan_b = Plan {
            route: "hospital-to-pacs",
            mode: "terminate",
            listen: listen_b,
            target: archive.addr,
            note: "your archive",
            peer: HOSPITAL,
            identity: "dns:gw.hospital.example",
        };
        let (hospital, region) = (dir.join(HOSPITAL), dir.join(REGION));
        certificates::create_site(&hospital, "gw.hospital.example")?;
        certificates::create_site(&region, "gw.region.example")?;
        certificates::copy_trust(&hospital, &region, REGION)?;
        certificates::copy_trust(&region, &hospital, HOSPITAL)?;
        let b = Site::start("site B", &site::write_config(&region, &plan_b)?)?;
        let a = Site::start("site A", &site::write_config(&hospital, &plan_a)?)?;
        Ok(Self {
            a,
            b,
            plan_a,
            plan_b,
            wire,
            archive,
        })
    }

    /// Sends the study through all parts, and measures.
    pub(super) fn run_study(
        &mut self,
        study: &Arc<Study>,
        found: Vec<Hits>,
        stop: &AtomicBool,
    ) -> anyhow::Result<Measurements> {
        let (cpu_a, cpu_b) = (self.a.cpu()?, self.b.cpu()?);
        let begin = Instant::now();
        let sent = self.send(study, stop)?;
        let duration = begin.elapsed();
        let associations = study.series.len();
        self.wait_quiet(associations as u64, stop)?;
        let (a, b) = (
            self.a.connections(associations),
            self.b.connections(associations),
        );
        self.a.alive()?;
        self.b.alive()?;
        let result = |plan: &Plan, name, connections, cpu| GatewayResult {
            name,
            peer: plan.identity,
            connections,
            cpu,
        };
        Ok(Measurements {
            title: study.title.clone(),
            notes: study.notes.clone(),
            objects: study.objects(),
            associations: associations as u64,
            sent,
            received: self.archive.received(),
            duration,
            a: result(
                &self.plan_a,
                "site A",
                a,
                self.a.cpu()?.saturating_sub(cpu_a),
            ),
            b: result(
                &self.plan_b,
                "site B",
                b,
                self.b.cpu()?.saturating_sub(cpu_b),
            ),
            traffic: self.wire.traffic(),
            found,
            debug_build: cfg!(debug_assertions),
        })
    }

    /// Sends the study in another thread, and checks that bytes move and that both gateways run.
    fn send(&mut self, study: &Arc<Study>, stop: &AtomicBool) -> anyhow::Result<Vec<Sent>> {
        let bar = progress_bar(study.bytes());
        let moved = Arc::new(AtomicU64::new(0));
        let (done, outcome) = mpsc::channel();
        let (work, counter, to) = (Arc::clone(study), Arc::clone(&moved), self.plan_a.listen);
        let send = move || {
            // The receiver is only gone if the run has failed for another reason.
            let _ = done.send(sender::send(&work, to, TITLES, &counter));
        };
        thread::Builder::new().name("sender".into()).spawn(send)?;
        let mut watch = Watch::new();
        loop {
            match outcome.recv_timeout(TICK) {
                Ok(Ok(sent)) => {
                    bar.finish_and_clear();
                    return Ok(sent);
                }
                Ok(Err(error)) => return Err(self.explain(error)),
                Err(RecvTimeoutError::Disconnected) => bail!("the sender's thread has panicked"),
                Err(RecvTimeoutError::Timeout) => {}
            }
            bar.set_position(moved.load(Ordering::Relaxed));
            self.check(stop)?;
            watch.progress(self.wire.moved() + moved.load(Ordering::Relaxed))?;
        }
    }

    /// Waits until the wire has seen the end of every connection.
    fn wait_quiet(&mut self, connections: u64, stop: &AtomicBool) -> anyhow::Result<()> {
        let deadline = Instant::now() + limits::STALL;
        while !self.wire.quiet(connections) && Instant::now() < deadline {
            self.check(stop)?;
            thread::sleep(Duration::from_millis(5));
        }
        // If the wire is still not quiet, the report shows what is missing.
        Ok(())
    }

    fn check(&mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        if stop.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        self.a.alive()?;
        self.b.alive()
    }

    /// Adds the errors and log lines of the other parts to an error of the sender.
    fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        // If a gateway has ended, that is the cause.
        if let Err(death) = self.a.alive().and_then(|()| self.b.alive()) {
            return death;
        }
        let faults = self.archive.received().faults.join("\n");
        let (a, b) = (self.a.last_lines(), self.b.last_lines());
        error.context(format!(
            "the study was not transferred\nlast log lines of site A:\n{a}\nlast log lines of site B:\n{b}\n{faults}"
        ))
    }

    /// Changes the kept configuration so that site A connects to site B directly, without the wire.
    pub(super) fn join_sites(&self, dir: &Path) -> anyhow::Result<()> {
        let plan = Plan {
            target: self.plan_b.listen,
            note: "the gateway of site B",
            ..self.plan_a
        };
        site::write_config(&dir.join(HOSPITAL), &plan).map(drop)
    }
}

/// Gives up when no byte has moved for `limits::STALL`.
struct Watch {
    moved: u64,
    since: Instant,
}

impl Watch {
    fn new() -> Self {
        Self {
            moved: 0,
            since: Instant::now(),
        }
    }

    fn progress(&mut self, moved: u64) -> anyhow::Result<()> {
        if moved != self.moved {
            *self = Self {
                moved,
                since: Instant::now(),
            };
        }
        if self.since.elapsed() > limits::STALL {
            let stall = limits::STALL;
            bail!("no byte has moved for {stall:?}, after {moved} bytes at sender and wire");
        }
        Ok(())
    }
}

pub(super) fn listener() -> anyhow::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on 127.0.0.1")
}

/// Two ports that are currently free. Another program may take one before a gateway does; the gateway then
/// refuses to start and logs the reason.
pub(super) fn free_ports() -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let (one, two) = (listener()?, listener()?);
    Ok((one.local_addr()?, two.local_addr()?))
}

/// indicatif hides it if standard error is not a terminal.
fn progress_bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    let template = "{bar:40} {bytes} of {total_bytes}  {bytes_per_sec}  {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
